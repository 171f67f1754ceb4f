//! Identity providers with their key sets and keys, and the headers that tell the upstream who calls.
//!
//! What makes a provider usable is the authenticator's knowledge: it is asked, and its answers are led back to lines.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use portcullis_events::settings::Secret;
use portcullis_identity::assertion::{AssertionKey, AssertionKeyError, Assertions};
use portcullis_identity::settings::{
    ApiKeyProvider, ApiKeyRecord, BesideCredential, Bound, CertificateProvider, IntrospectionProvider, JwtProvider,
    KeySource, LdapDirectory, OidcProvider, PasswordProvider, Settings, UserRecord,
};
use portcullis_identity::{Authenticator, IdentityError, IdentityProblem};
use portcullis_proxy::settings::IdentityHeaders;

use crate::codes;
use crate::compile::report_duplicates;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::document::{FileToRead, MAX_KEY_SET, read_text};
use crate::file::{
    self, ClientAuth, HeaderRole, Identity, Key, KeyPlace, Listener, User, read_key_file, read_user_file,
};
use crate::section::{Reader, shown};
use crate::suggest;

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

fn compile_api_key(
    reader: &Reader<'_>,
    provider: &file::ApiKeyProvider,
    places: &mut Places,
) -> Option<ApiKeyProvider> {
    let keys = provider.file.as_ref().and_then(|file| {
        places.files.push(file.value.path.clone());
        read_key_file(reader, &file.value.path, &file.value.written, Some(file.span))
    });
    let (header, file, keys) = (provider.header.as_ref()?, provider.file.as_ref()?, keys?);
    let place = ProviderPlaces {
        name: provider.name.span,
        file: file.span,
        credential: header.span,
        prefix: provider.name.span,
        keys: keys.iter().map(|key| (key.id.value.clone(), key.id.span)).collect(),
    };
    places.providers.insert(provider.name.value.clone(), place);
    places.key_roles.extend(keys.iter().flat_map(|key| key.roles.iter().cloned()));
    places.key_scopes.0.extend(keys.iter().flat_map(|key| key.routes.iter().cloned()));
    places.key_scopes.1.extend(keys.iter().flat_map(|key| key.networks.iter().cloned()));
    places.carried.extend(keys.iter().filter(|key| !key.revoked).map(carried));
    Some(ApiKeyProvider {
        name: provider.name.value.as_str().into(),
        header: header.value.clone(),
        keys: keys.into_iter().map(record).collect(),
    })
}

fn compile_password(
    reader: &Reader<'_>,
    provider: &file::PasswordProvider,
    places: &mut Places,
) -> Option<PasswordProvider> {
    let users = provider.file.as_ref().and_then(|file| {
        places.files.push(file.value.path.clone());
        read_user_file(reader, &file.value.path, &file.value.written, Some(file.span))
    });
    let (file, users) = (provider.file.as_ref()?, users?);
    let place = ProviderPlaces {
        name: provider.name.span,
        file: file.span,
        credential: file.span,
        prefix: provider.prefix.span,
        keys: users.iter().map(|user| (user.name.value.clone(), user.name.span)).collect(),
    };
    places.providers.insert(provider.name.value.clone(), place);
    let carried = |user: &User| Carried {
        principal: format!("user:{}{}", provider.prefix.value, user.name.value),
        groups: user.groups.clone(),
        roles: Vec::new(),
    };
    places.carried.extend(users.iter().filter(|user| !user.disabled).map(carried));
    let record = |user: User| UserRecord {
        name: user.name.value,
        hash: user.hash,
        groups: user.groups,
        disabled: user.disabled,
        expires: user.expires,
    };
    Some(PasswordProvider {
        name: provider.name.value.as_str().into(),
        prefix: provider.prefix.value.clone(),
        users: users.into_iter().map(record).collect(),
        remember: provider.remember,
    })
}

/// Whether a listener asks its clients for a certificate.
fn asks_for_certificates(listener: &Listener) -> bool {
    let auth = listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
    auth.is_some_and(|auth| auth.value != ClientAuth::Off)
}

/// A provider whose tokens must be bound to a certificate lets nobody in where no connection has one, or where a certificate is a credential that
/// no token may stand beside.
fn report_unbindable(
    reader: &Reader<'_>,
    identity: &Identity,
    listeners: &[Listener],
    certificate: &[CertificateProvider],
) {
    let signed = identity.jwt.iter().map(|each| (&each.name, each.require));
    let asked = identity.introspection.iter().map(|each| (&each.name, each.settings.require));
    let mut bound = signed.chain(asked).filter(|(_, require)| *require == Bound::Mtls).peekable();
    if bound.peek().is_none() || !reader.is_complete() {
        return;
    }
    let asking: Vec<&str> =
        listeners.iter().filter(|each| asks_for_certificates(each)).map(|each| each.name.value.as_str()).collect();
    let refuses = |listener: &str| {
        let counts = |each: &&CertificateProvider| each.listeners.iter().any(|name| **name == *listener);
        let counting = certificate.iter().find(counts);
        counting.is_some_and(|each| each.beside_credential == BesideCredential::Refuse)
    };
    let (message, help) = if asking.is_empty() {
        (
            "no token of this provider can count: they must be bound to a client certificate, and no listener asks for one",
            "write `client_auth` and `client_ca` in the `tls` of a listener, or another `require`",
        )
    } else if asking.iter().all(|listener| refuses(listener)) {
        (
            "no token of this provider can count: where clients show a certificate, it is a credential of its own",
            "write `beside_credential = \"credential\"` in `[[identity.certificate]]`, or another `require`",
        )
    } else {
        return;
    };
    for (name, _) in bound {
        reader.report(Diagnostic::warning(codes::WITHOUT_EFFECT, name.span, message).with_help(help));
    }
}

/// Whether a proof was used before is known to one process alone. Who shares the key of logins has several gateways behind one name, at each of which a proof would be good once.
fn report_unshared_proofs(reader: &Reader<'_>, identity: &Identity) {
    let Some(login) = identity.login.as_ref().filter(|login| login.settings.key.is_some()) else { return };
    let signed = identity.jwt.iter().map(|each| (&each.name, each.require));
    let asked = identity.introspection.iter().map(|each| (&each.name, each.settings.require));
    let mut bound = signed.chain(asked).filter(|(_, require)| matches!(require, Bound::Dpop | Bound::Either));
    let (Some((name, _)), false) = (bound.next(), identity.dpop.nonce) else { return };
    let message = "tokens of this provider are bound to keys, and several gateways do not know of each other which proofs were used: one that was seen on its way counts once more at another";
    let diagnostic = Diagnostic::warning(codes::UNSHARED_PROOFS, name.span, message);
    let diagnostic = diagnostic.with_related(login.at, "`key` is for several gateways that share it");
    reader.report(diagnostic.with_help("write `nonce = true` in [identity.dpop]"));
}

/// A provider that counts on no listener would be one that nobody notices is missing.
fn compile_certificate(
    reader: &Reader<'_>,
    provider: &file::CertificateProvider,
    listeners: &[Listener],
    places: &mut Places,
) -> Option<CertificateProvider> {
    let asks = listeners.iter().filter(|each| asks_for_certificates(each));
    let asking: Vec<&str> = asks.map(|each| each.name.value.as_str()).collect();
    let counted: Vec<&str> = match &provider.listeners {
        Some(named) => named.iter().filter_map(|name| counted_listener(reader, name, listeners, &asking)).collect(),
        None => asking,
    };
    let place = ProviderPlaces {
        name: provider.name.span,
        file: provider.name.span,
        credential: provider
            .listeners
            .as_ref()
            .and_then(|named| named.first())
            .map_or(provider.name.span, |at| at.span),
        prefix: provider.prefix.span,
        keys: HashMap::new(),
    };
    if provider.san.is_empty() || counted.is_empty() && provider.listeners.is_some() {
        // What is wrong was reported.
        return None;
    }
    places.providers.insert(provider.name.value.clone(), place);
    Some(CertificateProvider {
        name: provider.name.value.as_str().into(),
        listeners: counted.into_iter().map(Into::into).collect(),
        san: provider.san.iter().map(|kind| kind.value).collect(),
        prefix: provider.prefix.value.clone(),
        beside_credential: provider.beside_credential,
    })
}

/// A listener that a provider names, if it is there and asks its clients for a certificate.
fn counted_listener<'n>(
    reader: &Reader<'_>,
    name: &'n At<String>,
    listeners: &[Listener],
    asking: &[&str],
) -> Option<&'n str> {
    let written = name.value.as_str();
    let known: Vec<&str> = listeners.iter().map(|each| each.name.value.as_str()).collect();
    if asking.contains(&written) {
        return Some(written);
    }
    if !known.contains(&written) && reader.is_complete() {
        let message = format!("there is no listener `{}`", shown(written));
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, name.span, message);
        diagnostic.help = suggest::remedy(written, &known, "known listeners");
        reader.report(diagnostic);
    } else if known.contains(&written) {
        let message = format!("the listener `{written}` asks no client for a certificate");
        let help = "write `client_auth = \"optional\"` or `\"required\"`, and `client_ca`, in its `tls`";
        reader.report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help(help));
    }
    None
}

fn carried(key: &Key) -> Carried {
    let (kind, id) = &key.principal;
    let principal = format!("{}:{id}", kind.as_str());
    Carried { principal, groups: key.groups.clone(), roles: key.roles.clone() }
}

fn record(key: Key) -> ApiKeyRecord {
    ApiKeyRecord {
        id: key.id.value,
        sha256: key.sha256,
        principal: key.principal,
        groups: key.groups,
        roles: key.roles.into_iter().map(|role| role.value).collect(),
        created: key.created,
        expires: key.expires,
        routes: key.routes.into_iter().map(|route| route.value).collect(),
        networks: key.networks.into_iter().map(|network| network.value).collect(),
        previous: key.previous,
        revoked: key.revoked,
    }
}

/// Warns of roles of keys that the policy does not have: they grant nothing. It is no error, for keys and policy are
/// changed by different people, and a policy that is put back must load.
pub(crate) fn report_unknown_roles(reader: &Reader<'_>, key_roles: &[At<String>], roles: &[file::Role]) {
    let known: HashSet<&str> = roles.iter().map(|role| role.name.value.as_str()).collect();
    for role in key_roles.iter().filter(|role| reader.is_complete() && !known.contains(role.value.as_str())) {
        let message = format!("the policy has no role `{}`", shown(&role.value));
        let mut diagnostic = Diagnostic::warning(codes::UNKNOWN_ROLE, role.span, message);
        let near = suggest::nearest(&role.value, known.iter().copied());
        diagnostic.help = Some(near.map_or("remove it".into(), |name| format!("did you mean `{name}`?")));
        reader.report(diagnostic);
    }
}

/// Warns of routes and networks of keys that are not there: such a key counts nowhere, or from nowhere. It is no error for the same reason.
pub(crate) fn report_unknown_scopes<'n>(
    reader: &Reader<'_>,
    (routes, networks): &(Vec<At<String>>, Vec<At<String>>),
    known_routes: impl IntoIterator<Item = &'n str>,
    known_networks: impl IntoIterator<Item = &'n str>,
) {
    report_absent(reader, "the configuration has no route", routes, &known_routes.into_iter().collect());
    report_absent(reader, "the policy has no network", networks, &known_networks.into_iter().collect());
}

fn report_absent(reader: &Reader<'_>, message: &str, named: &[At<String>], known: &HashSet<&str>) {
    for name in named.iter().filter(|name| reader.is_complete() && !known.contains(name.value.as_str())) {
        let message = format!("{message} `{}`: the key does not count there", shown(&name.value));
        let mut diagnostic = Diagnostic::warning(codes::UNKNOWN_ROLE, name.span, message);
        let near = suggest::nearest(&name.value, known.iter().copied());
        diagnostic.help = Some(near.map_or("remove it".into(), |name| format!("did you mean `{name}`?")));
        reader.report(diagnostic);
    }
}

/// Builds the authenticator once, for its judgement alone. It is asked even when other things are wrong.
fn ask_authenticator(reader: &Reader<'_>, settings: &Settings, places: &Places) {
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

/// Headers with a meaning of their own: between two connections, to the framing, to the routing or to the credentials.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// `[identity.headers]`
pub(crate) fn compile_headers(reader: &Reader<'_>, identity: &Identity) -> IdentityHeaders {
    let mut headers = IdentityHeaders { max_size: identity.headers_size, ..IdentityHeaders::default() };
    let mut seen: HashMap<String, Span> = HashMap::new();
    for (role, header) in &identity.headers {
        report_reserved(reader, header);
        report_credential(reader, header, identity);
        if let Some(first) = seen.insert(folded(&header.value), header.span) {
            let message = format!("two identity headers are named `{}`", header.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, header.span, message)
                .with_related(first, "the first one is here")
                .with_help("`-`, `_` and `.` count as one: rename one of the headers");
            reader.report(diagnostic);
        }
        let slot = match role {
            HeaderRole::User => &mut headers.user,
            HeaderRole::Groups => &mut headers.groups,
            HeaderRole::Roles => &mut headers.roles,
            HeaderRole::Email => &mut headers.email,
            HeaderRole::Assertion => &mut headers.assertion,
            HeaderRole::Overage => &mut headers.overage,
        };
        *slot = Some(header.value.clone());
    }
    headers
}

/// `[identity.assertion]`, which goes with the header that carries what it signs.
pub(crate) fn compile_assertions(reader: &Reader<'_>, identity: &Identity) -> Option<Arc<Assertions>> {
    let header = identity.headers.iter().find(|(role, _)| *role == HeaderRole::Assertion).map(|(_, header)| header);
    let Some(assertion) = &identity.assertion else {
        if let Some(header) = header {
            let message = "nothing signs what this header is to carry";
            let help = "write `[identity.assertion]` with `issuer` and `key`";
            reader.report(Diagnostic::error(codes::CONFLICT, header.span, message).with_help(help));
        }
        return None;
    };
    let assertion = assertion.as_ref()?;
    if header.is_none() {
        let message = "no header carries the assertion";
        let help = "write `assertion = \"x-auth-assertion\"` in [identity.headers]";
        reader.report(Diagnostic::error(codes::CONFLICT, assertion.at, message).with_help(help));
    }
    let read = |key: &At<Secret>| {
        let read = AssertionKey::from_pem(key.value.reveal().as_bytes());
        let report = |error: AssertionKeyError| {
            let help = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`";
            let message = format!("the key of `assertion` cannot be used: {error}");
            reader.report(Diagnostic::error(codes::BAD_VALUE, key.span, message).with_help(help));
        };
        read.map_err(report).ok()
    };
    let (key, other) = (read(&assertion.key), assertion.other_key.as_ref().map(read));
    let other = match other {
        Some(other) => Some(other?),
        None => None,
    };
    let assertions = Assertions::new(&assertion.issuer.value, assertion.lifetime, key?, other.as_ref());
    Some(Arc::new(assertions.with_max_size(assertion.max_size)))
}

fn report_reserved(reader: &Reader<'_>, header: &At<HeaderName>) {
    let name = folded(&header.value);
    if RESERVED.iter().any(|reserved| *reserved == name) {
        let message = format!("the header `{}` has a meaning of its own", header.value);
        let diagnostic = Diagnostic::error(codes::CONFLICT, header.span, message);
        reader.report(diagnostic.with_help("use a header such as `x-auth-user`"));
    }
}

/// The gateway would remove the credential as a look-alike, or overwrite it.
fn report_credential(reader: &Reader<'_>, header: &At<HeaderName>, identity: &Identity) {
    let name = folded(&header.value);
    let credentials = identity.api_key.iter().filter_map(|provider| provider.header.as_ref());
    for credential in credentials.filter(|credential| folded(&credential.value) == name) {
        let message = format!("the header `{}` already carries an API key", header.value);
        let diagnostic = Diagnostic::error(codes::CONFLICT, header.span, message)
            .with_related(credential.span, "the API key is read here")
            .with_help("use a header such as `x-auth-user`");
        reader.report(diagnostic);
    }
}

/// The form in which servers confuse header names: `-`, `_` and `.` are one (security.md I1).
fn folded(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}
