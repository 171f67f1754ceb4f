//! The authenticator's judgement of all providers, led back to the lines that it is about.

use portcullis_identity::settings::Settings;
use portcullis_identity::{Authenticator, IdentityError, IdentityProblem};

use crate::codes;
use crate::diagnostics::{Diagnostic, Span};
use crate::section::Reader;

use super::{Places, ProviderPlaces};

/// Builds the authenticator once, for its judgement alone. It is asked even when other things are wrong.
pub(super) fn ask_authenticator(reader: &Reader<'_>, settings: &Settings, places: &Places) {
    let Err(errors) = Authenticator::new(settings.clone()) else { return };
    for error in errors {
        if let Some(diagnostic) = places.diagnostic(&error) {
            reader.report(diagnostic);
        }
    }
}

impl Places {
    /// The place and the remedy of a provider's problem.
    fn diagnostic(&self, error: &IdentityError) -> Option<Diagnostic> {
        let place = self.providers.get(&*error.provider)?;
        if is_reported_by_reader(error) {
            return None;
        }
        let (span, other, help) = self.place_of(place, &error.problem);
        let mut diagnostic = Diagnostic::error(codes::PROVIDER, span, error.to_string()).with_help(help);
        if let Some(other) = other {
            diagnostic = diagnostic.with_related(other, "the other one is here");
        }
        Some(diagnostic)
    }

    fn place_of(&self, place: &ProviderPlaces, problem: &IdentityProblem) -> (Span, Option<Span>, &'static str) {
        let other = |name: &str| self.providers.get(name);
        match problem {
            IdentityProblem::KeySet(_) => (place.file, None, "the file holds a JSON Web Key Set (RFC 7517 section 5)"),
            IdentityProblem::SharedPrefix { other: name, .. } => {
                let help = "give each provider a `prefix` of its own; at most one may leave it empty";
                (place.prefix, other(name).map(|other| other.prefix), help)
            }
            IdentityProblem::SharedAudience { other: name, .. } => {
                let help = "a token must belong to one provider: change the issuer or the audiences of one";
                (place.credential, other(name).map(|other| other.credential), help)
            }
            IdentityProblem::SharedHeader { other: name, .. } => {
                (place.credential, other(name).map(|other| other.credential), "give each provider a header of its own")
            }
            IdentityProblem::ReservedHeader(_) => {
                (place.credential, None, "use a header of its own, such as `x-api-key`")
            }
            IdentityProblem::DuplicateKeyId { key, other: name } => {
                let first = other(name).and_then(|other| other.keys.get(key)).copied();
                (place.key(key), first, "ids are unique over all key files: create the key anew under another id")
            }
            IdentityProblem::BadKeyId { key } | IdentityProblem::BadKeyPrincipal { key, .. } => {
                (place.key(key), None, "create the key anew with `portcullis key create`")
            }
            IdentityProblem::SharedListener { other: name, .. } => {
                let help = "a client must belong to one provider: name its listeners in one of them";
                (place.credential, other(name).map(|other| other.credential), help)
            }
            IdentityProblem::NoListener => {
                let help = "write `client_auth` and `client_ca` in the `tls` of a listener, or remove the provider";
                (place.name, None, help)
            }
            IdentityProblem::DuplicateUser { user, other: name } => {
                let first = other(name).and_then(|other| other.keys.get(user)).copied();
                (place.key(user), first, "names are unique over all files of users: rename one, or remove it")
            }
            IdentityProblem::BadUserName { user } | IdentityProblem::BadUserGroup { user } => {
                (place.key(user), None, "remove the user, and add it anew with `portcullis user add`")
            }
            IdentityProblem::ForeignUser { user, other: name, .. } => {
                let help = "rename the user, or give the users a `prefix` of their own";
                (place.key(user), other(name).map(|other| other.prefix), help)
            }
            IdentityProblem::BadSanKinds => (place.name, None, "write each kind in `san` once"),
            IdentityProblem::UnknownProvider(provider) => (
                place.key(provider),
                None,
                "name providers of `[[identity.jwt]]`, `api_key`, `certificate`, `password` or `oidc`",
            ),
            IdentityProblem::SharedProvider { provider, other: name } => {
                let first = other(name).map(|other| other.key(provider));
                (place.key(provider), first, "a principal has one directory: remove it from one of them")
            }
            IdentityProblem::BadDirectory(_) => {
                (place.file, None, "see `[[identity.ldap]]` in the documentation of directories")
            }
            IdentityProblem::NoClient => (place.name, None, "write the `client_id` that the provider has given"),
            IdentityProblem::NoLogin => (place.name, None, "write `[identity.login]`"),
            IdentityProblem::NoDirectory => (place.name, None, "write `for` and `url`"),
            IdentityProblem::NoIssuer => (place.credential, None, "write the `iss` that its tokens carry"),
            IdentityProblem::BadPrefix => (place.prefix, None, "choose a short prefix, such as \"partner:\""),
            IdentityProblem::DuplicateName
            | IdentityProblem::NoAudience
            | IdentityProblem::NoAddressee
            | IdentityProblem::NoClaimName(_)
            | IdentityProblem::LeewayTooLong
            | IdentityProblem::CertificateKind
            | IdentityProblem::NoPasswordThreads
            | IdentityProblem::NoCacheEntries => (place.name, None, "change the settings of this provider"),
        }
    }
}

/// Whether the strict reader has said this already, at a better place.
fn is_reported_by_reader(error: &IdentityError) -> bool {
    match &error.problem {
        IdentityProblem::NoIssuer | IdentityProblem::NoAudience | IdentityProblem::NoAddressee => true,
        IdentityProblem::DuplicateKeyId { other, .. } | IdentityProblem::DuplicateUser { other, .. } => {
            **other == *error.provider
        }
        _ => false,
    }
}

impl ProviderPlaces {
    fn key(&self, id: &str) -> Span {
        self.keys.get(id).copied().unwrap_or(self.file)
    }
}
