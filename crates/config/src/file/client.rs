//! How the gateway proves to a provider that it is its client: `client_secret` or `client_key`, and what belongs to them, in `[[identity.oidc]]` and
//! `[[identity.introspection]]`.

use portcullis_events::settings::Secret;
use portcullis_identity::SecretText;
use portcullis_identity::settings::{ClientAlgorithm, ClientAudience, ClientKey, ClientProof};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::receiver::{optional_secret, optional_text};
use crate::kinds::{Choice, Text};
use crate::section::Section;

/// What can be written as `client_auth`.
pub(crate) const CLIENT_PROOFS: &[(&str, ClientAuth)] = &[
    ("basic", ClientAuth::Secret(SecretSent::Basic)),
    ("post", ClientAuth::Secret(SecretSent::Post)),
    ("private_key_jwt", ClientAuth::Key),
];
/// What can be written as `client_key_alg`.
pub(crate) const CLIENT_ALGORITHMS: &[(&str, ClientAlgorithm)] = &[
    ("RS256", ClientAlgorithm::Rs256),
    ("PS256", ClientAlgorithm::Ps256),
    ("ES256", ClientAlgorithm::Es256),
    ("EdDSA", ClientAlgorithm::EdDsa),
];
/// What can be written as `client_audience`.
pub(crate) type ClientAudiences = &'static [(&'static str, ClientAudience)];

/// Of a provider at which browsers log in.
pub(crate) const AT_LOGIN: ClientAudiences =
    &[("issuer", ClientAudience::Issuer), ("token_endpoint", ClientAudience::Endpoint)];
/// Of one that is asked about tokens.
pub(crate) const AT_INTROSPECTION: ClientAudiences =
    &[("issuer", ClientAudience::Issuer), ("endpoint", ClientAudience::Endpoint)];

/// How the client's secret is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretSent {
    Basic,
    Post,
}

/// How the client proves that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Secret(SecretSent),
    Key,
}

/// The text of a secret.
pub(crate) fn text_of(secret: &Secret) -> SecretText<'static> {
    SecretText::new(secret.reveal().to_owned())
}

/// Reads how the gateway proves who it is; `audiences`: whom what it signs may be for. `None` after an error.
pub(crate) fn read_client(section: &Section<'_>, audiences: ClientAudiences) -> Option<ClientProof> {
    let auth = section.optional("client_auth", Choice(CLIENT_PROOFS));
    let secret = optional_secret(section, "client_secret");
    let key = optional_text(section, "client_key").ok()?;
    let id = section.optional("client_key_id", Text);
    let algorithm = section.optional("client_key_alg", Choice(CLIENT_ALGORITHMS));
    let audience = section.optional("client_audience", Choice(audiences));
    let wanted = auth.as_ref().map(|auth| auth.value);
    let of_key = [
        ("client_key_id", id.as_ref().map(|id| id.span)),
        ("client_key_alg", algorithm.as_ref().map(|algorithm| algorithm.span)),
        ("client_audience", audience.as_ref().map(|audience| audience.span)),
    ];
    if key.is_none() {
        for (name, span) in of_key {
            let Some(span) = span else { continue };
            conflict(section, span, &format!("`{name}` is about a key, and there is none"), "write `client_key`");
        }
    }
    match (secret, auth) {
        (None, _) if section.has("client_secret") => None,
        (Some(_), _) if key.is_some() => {
            let span = key?.span;
            conflict(section, span, "a secret and a key: the client proves itself in one way", "remove one of them");
            None
        }
        (Some(_), Some(auth)) if auth.value == ClientAuth::Key => {
            let message = "`private_key_jwt` needs a key, and there is a secret";
            conflict(section, auth.span, message, "write `client_key` instead of `client_secret`");
            None
        }
        (None, Some(auth)) if auth.value == ClientAuth::Key && key.is_none() => {
            conflict(section, auth.span, "`private_key_jwt` needs a key, and there is none", "write `client_key`");
            None
        }
        (None, Some(auth)) if auth.value != ClientAuth::Key && key.is_some() => {
            let message = "a secret is sent so, and there is a key";
            conflict(section, auth.span, message, "write `client_auth = \"private_key_jwt\"`, or leave it out");
            None
        }
        (None, _) if key.is_some() => read_key(section, &key?, algorithm, id.as_ref(), audience),
        (Some(secret), _) => Some(match wanted {
            Some(ClientAuth::Secret(SecretSent::Post)) => ClientProof::Post(text_of(&secret)),
            Some(ClientAuth::Secret(SecretSent::Basic) | ClientAuth::Key) | None => {
                ClientProof::Basic(text_of(&secret))
            }
        }),
        (None, Some(auth)) => {
            let message = "`client_auth` says how a secret is sent, and there is none";
            conflict(section, auth.span, message, "write `client_secret`, or remove it for a public client");
            None
        }
        (None, None) => Some(ClientProof::None),
    }
}

fn read_key(
    section: &Section<'_>,
    key: &At<Secret>,
    algorithm: Option<At<ClientAlgorithm>>,
    id: Option<&At<String>>,
    audience: Option<At<ClientAudience>>,
) -> Option<ClientProof> {
    let algorithm = algorithm.map(|algorithm| algorithm.value);
    match ClientKey::read(key.value.reveal(), algorithm, id.map(|id| id.value.as_str())) {
        Ok(read) => Some(ClientProof::Key(read, audience.map_or_else(Default::default, |audience| audience.value))),
        Err(error) => {
            let help = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one";
            conflict(section, key.span, &format!("`client_key` cannot be used: {error}"), help);
            None
        }
    }
}

fn conflict(section: &Section<'_>, span: Span, message: &str, help: &str) {
    section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
}
