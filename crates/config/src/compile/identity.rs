//! Identity providers with their key sets and keys, and the headers that tell the upstream who calls.
//!
//! What makes a provider usable is the authenticator's knowledge: it is asked, and its answers are led back to lines.

mod bound;
mod headers;
mod judgement;
mod listed;

pub(crate) use headers::{compile_assertions, compile_headers};
pub(crate) use listed::{report_unknown_roles, report_unknown_scopes};

use std::collections::HashMap;
use std::path::PathBuf;

use portcullis_identity::settings::{
    ApiKeyProvider, CertificateProvider, IntrospectionProvider, JwtProvider, KeySource, LdapDirectory, OidcProvider,
    Settings,
};

use crate::codes;
use crate::compile::report_duplicates;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::document::{FileToRead, MAX_KEY_SET, read_text};
use crate::file::{self, Identity, KeyPlace, Listener};
use crate::section::Reader;

use self::bound::{compile_certificate, report_unbindable, report_unshared_proofs};
use self::judgement::ask_authenticator;
use self::listed::{compile_api_key, compile_password};

/// What identity makes of the files.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) settings: Settings,
    /// The key sets and key files that were read.
    pub(crate) files: Vec<PathBuf>,
    /// The roles that API keys carry.
    pub(crate) key_roles: Vec<At<String>>,
    /// The routes, and the networks, that API keys are for.
    pub(crate) key_scopes: (Vec<At<String>>, Vec<At<String>>),
    /// What API keys carry that were not revoked.
    pub(crate) carried: Vec<Carried>,
}

/// Whom an API key stands for, and what it carries.
#[derive(Debug)]
pub(crate) struct Carried {
    /// As a policy writes it.
    pub(crate) principal: String,
    pub(crate) groups: Vec<String>,
    pub(crate) roles: Vec<At<String>>,
}

/// Reads the providers' files and checks all providers together.
pub(crate) fn compile(reader: &Reader<'_>, identity: &Identity, listeners: &[Listener]) -> Compiled {
    let keys = identity.api_key.iter().map(|each| &each.name);
    let certificates = identity.certificate.iter().map(|each| &each.name);
    let passwords = identity.password.iter().map(|each| &each.name);
    let directories = identity.ldap.iter().map(|each| &each.name);
    let asked = identity.introspection.iter().map(|each| &each.name);
    let names = identity.jwt.iter().map(|each| &each.name).chain(asked).chain(keys).chain(certificates);
    let logins = identity.oidc.iter().map(|each| &each.name);
    let names = names.chain(passwords).chain(directories).chain(logins);
    report_duplicates(reader, "identity provider", names);
    let mut places = Places::default();
    let jwt = identity.jwt.iter().filter_map(|provider| compile_jwt(reader, provider, &mut places));
    let jwt: Vec<JwtProvider> = jwt.collect();
    let api_key = identity.api_key.iter().filter_map(|provider| compile_api_key(reader, provider, &mut places));
    let api_key: Vec<ApiKeyProvider> = api_key.collect();
    let introspection = compile_introspection(reader, identity, &mut places);
    let certificate =
        identity.certificate.iter().filter_map(|each| compile_certificate(reader, each, listeners, &mut places));
    let certificate: Vec<CertificateProvider> = certificate.collect();
    report_unbindable(reader, identity, listeners, &certificate);
    report_unshared_proofs(reader, identity);
    let password = identity.password.iter().filter_map(|each| compile_password(reader, each, &mut places)).collect();
    let settings = Settings {
        introspection,
        certificate,
        password,
        password_threads: usize::try_from(identity.password_threads).unwrap_or(1),
        password_waiting: usize::try_from(identity.password_waiting).unwrap_or(1),
        api_key,
        jwt,
        ldap: identity.ldap.iter().map(|directory| compile_directory(directory, &mut places)).collect(),
        login: identity.login.as_ref().map(|login| login.settings.clone()),
        oidc: identity.oidc.iter().map(|provider| compile_oidc(provider, &mut places)).collect(),
        token_cache_entries: usize::try_from(identity.token_cache).unwrap_or(1),
        dpop: identity.dpop.clone(),
    };
    let nobody = !identity.has_oidc && identity.password.is_empty();
    if let Some(login) = identity.login.as_ref().filter(|_| nobody && reader.is_complete()) {
        let message = "nobody can log in: there is no provider";
        let help = "write `[[identity.oidc]]` or `[[identity.password]]`, or remove it";
        reader.report(Diagnostic::warning(codes::WITHOUT_EFFECT, login.at, message).with_help(help));
    }
    // A name that is there twice was reported, and would lead the answers to the wrong one.
    let asked = usize::from(settings.introspection.is_some());
    let verifying = settings.jwt.len() + settings.api_key.len() + settings.certificate.len() + settings.password.len();
    let providers = asked + verifying + settings.ldap.len() + settings.oidc.len();
    // Nor can it be said which provider a directory names where one of them could not be read.
    let written = identity.jwt.len() + identity.api_key.len() + identity.certificate.len();
    let written = written + identity.introspection.len() + identity.password.len() + identity.ldap.len();
    let written = written + identity.oidc.len();
    if places.providers.len() == providers && (settings.ldap.is_empty() || providers == written && reader.is_complete())
    {
        ask_authenticator(reader, &settings, &places);
    }
    Compiled {
        settings,
        files: places.files,
        key_roles: places.key_roles,
        key_scopes: places.key_scopes,
        carried: places.carried,
    }
}

/// Where the parts of the providers are.
#[derive(Debug, Default)]
struct Places {
    files: Vec<PathBuf>,
    key_roles: Vec<At<String>>,
    key_scopes: (Vec<At<String>>, Vec<At<String>>),
    carried: Vec<Carried>,
    providers: HashMap<String, ProviderPlaces>,
}

#[derive(Debug)]
struct ProviderPlaces {
    name: Span,
    /// The file of the key set or of the keys, where it is named.
    file: Span,
    /// What tells which credentials are its own: the issuer or the header.
    credential: Span,
    prefix: Span,
    /// Each key by its id.
    keys: HashMap<String, Span>,
}

fn compile_jwt(reader: &Reader<'_>, provider: &file::JwtProvider, places: &mut Places) -> Option<JwtProvider> {
    let keys = provider.jwks.as_ref().and_then(|jwks| match jwks {
        KeyPlace::File(jwks) => {
            let (path, short_name) = (&jwks.value.path, jwks.value.written.as_str());
            places.files.push(path.clone());
            let named_at = Some(jwks.span);
            let file = FileToRead { path, short_name, named_at, limit: MAX_KEY_SET, defines_names: false };
            read_text(reader, file).map(|(_, text)| (KeySource::Text(text), jwks.span))
        }
        KeyPlace::Remote(source) => Some((KeySource::Remote(source.value.clone()), source.span)),
    });
    let (issuer, (keys, file)) = (provider.issuer.as_ref()?, keys?);
    let place = ProviderPlaces {
        name: provider.name.span,
        file,
        credential: issuer.span,
        prefix: provider.prefix.span,
        keys: HashMap::new(),
    };
    places.providers.insert(provider.name.value.clone(), place);
    Some(JwtProvider {
        name: provider.name.value.as_str().into(),
        issuer: issuer.value.clone(),
        audiences: provider.audiences.iter().map(|audience| audience.value.clone()).collect(),
        keys,
        claims: provider.claims.clone(),
        principal: provider.principal,
        prefix: provider.prefix.value.clone(),
        trust_groups: provider.trust_groups.clone(),
        leeway: provider.leeway,
        require: provider.require,
        types: provider.types,
    })
}

/// One provider alone is asked: of two nobody could say which one a token belongs to.
fn compile_introspection(
    reader: &Reader<'_>,
    identity: &Identity,
    places: &mut Places,
) -> Option<IntrospectionProvider> {
    let (first, more) = identity.introspection.split_first()?;
    if let Some(second) = more.first() {
        let message = "there is one `[[identity.introspection]]`: of two nobody could say whose token it is";
        let diagnostic = Diagnostic::error(codes::CONFLICT, second.name.span, message)
            .with_related(first.name.span, "the first one is here")
            .with_help("remove one of them");
        reader.report(diagnostic);
    }
    let place = ProviderPlaces {
        name: first.name.span,
        file: first.name.span,
        credential: first.name.span,
        prefix: first.prefix,
        keys: HashMap::new(),
    };
    places.providers.insert(first.name.value.clone(), place);
    Some(first.settings.clone())
}

fn compile_oidc(provider: &file::Oidc, places: &mut Places) -> OidcProvider {
    let place = ProviderPlaces {
        name: provider.name.span,
        file: provider.issuer,
        credential: provider.issuer,
        prefix: provider.prefix,
        keys: HashMap::new(),
    };
    places.providers.insert(provider.name.value.clone(), place);
    provider.settings.clone()
}

fn compile_directory(directory: &file::Directory, places: &mut Places) -> LdapDirectory {
    let place = ProviderPlaces {
        name: directory.name.span,
        file: directory.user_filter,
        credential: directory.providers.first().map_or(directory.name.span, |provider| provider.span),
        prefix: directory.prefix,
        // Where each provider that it is for is named.
        keys: directory.providers.iter().map(|provider| (provider.value.clone(), provider.span)).collect(),
    };
    places.providers.insert(directory.name.value.clone(), place);
    directory.settings.clone()
}
