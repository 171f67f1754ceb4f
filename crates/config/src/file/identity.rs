//! `[identity]` and the providers below it.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;
use portcullis_events::settings::Secret;
use portcullis_identity::assertion::{LIFETIME, MAX_SIZE};
use portcullis_identity::settings::{
    self, BesideCredential, Bound, ClaimNames, DpopSettings, ProofAlgorithm, SanKind, Settings, TokenTypes,
};
use portcullis_policy::PrincipalKind;
use portcullis_proxy::settings::IdentityHeaders;

use crate::diagnostics::{At, Span};
use crate::file::directory::{Directory, read_directory};
use crate::file::introspection::{Introspection, read_introspection};
use crate::file::key_source::{KeyPlace, read_jwks};
use crate::file::login::{Login, Oidc, read_login, read_oidc};
use crate::file::receiver::{optional_text, required_text};
use crate::kinds::{AnyText, Choice, FilePath, Flag, Header, Integer, Name, ResolvedPath, Size, Text, Time};
use crate::section::Section;

/// Default leeway of clocks (identity's settings).
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);

/// Default number of remembered tokens.
pub(crate) const TOKEN_CACHE: u64 = 65_536;

/// Everything below `[identity]`.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) jwt: Vec<JwtProvider>,
    pub(crate) introspection: Vec<Introspection>,
    pub(crate) api_key: Vec<ApiKeyProvider>,
    pub(crate) certificate: Vec<CertificateProvider>,
    pub(crate) password: Vec<PasswordProvider>,
    pub(crate) ldap: Vec<Directory>,
    pub(crate) oidc: Vec<Oidc>,
    /// Some are written, with errors or without.
    pub(crate) has_oidc: bool,
    pub(crate) login: Option<Login>,
    pub(crate) headers: Vec<(HeaderRole, At<HeaderName>)>,
    /// How long a list in one of them may be.
    pub(crate) headers_size: usize,
    /// `Some(None)`: it is there and has errors.
    pub(crate) assertion: Option<Option<Assertion>>,
    pub(crate) token_cache: u64,
    pub(crate) dpop: DpopSettings,
    pub(crate) password_threads: u64,
    pub(crate) password_waiting: u64,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            jwt: Vec::new(),
            introspection: Vec::new(),
            api_key: Vec::new(),
            certificate: Vec::new(),
            password: Vec::new(),
            ldap: Vec::new(),
            oidc: Vec::new(),
            has_oidc: false,
            login: None,
            headers: Vec::new(),
            headers_size: IdentityHeaders::MAX_SIZE,
            assertion: None,
            token_cache: TOKEN_CACHE,
            dpop: DpopSettings::default(),
            password_threads: Settings::PASSWORD_THREADS as u64,
            password_waiting: Settings::PASSWORD_WAITING as u64,
        }
    }
}

/// What an identity header tells the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderRole {
    User,
    Groups,
    Roles,
    Email,
    Assertion,
    Overage,
}

/// `[identity.assertion]`
#[derive(Debug)]
pub(crate) struct Assertion {
    pub(crate) at: Span,
    pub(crate) issuer: At<String>,
    pub(crate) key: At<Secret>,
    pub(crate) other_key: Option<At<Secret>>,
    pub(crate) lifetime: Duration,
    pub(crate) max_size: usize,
}

/// How long lists in headers may be made.
pub(crate) const HEADER_SIZES: RangeInclusive<usize> = 256..=64 << 10;

/// How long assertions may be made.
pub(crate) const ASSERTION_SIZES: RangeInclusive<usize> = 2 << 10..=64 << 10;

/// `[[identity.jwt]]`
#[derive(Debug)]
pub(crate) struct JwtProvider {
    pub(crate) name: At<String>,
    pub(crate) issuer: Option<At<String>>,
    pub(crate) audiences: Vec<At<String>>,
    pub(crate) jwks: Option<KeyPlace>,
    pub(crate) claims: ClaimNames,
    pub(crate) principal: PrincipalKind,
    pub(crate) prefix: At<String>,
    pub(crate) trust_groups: Vec<String>,
    pub(crate) leeway: Duration,
    pub(crate) require: Bound,
    pub(crate) types: TokenTypes,
}

/// What can be written as `typ`.
pub(crate) const TOKEN_TYPES: &[(&str, TokenTypes)] =
    &[("jwt", TokenTypes::Access), ("at+jwt", TokenTypes::AccessAlone)];

/// `[[identity.api_key]]`
#[derive(Debug)]
pub(crate) struct ApiKeyProvider {
    pub(crate) name: At<String>,
    pub(crate) header: Option<At<HeaderName>>,
    pub(crate) file: Option<At<ResolvedPath>>,
}

/// `[[identity.password]]`
#[derive(Debug)]
pub(crate) struct PasswordProvider {
    pub(crate) name: At<String>,
    pub(crate) file: Option<At<ResolvedPath>>,
    pub(crate) prefix: At<String>,
    pub(crate) remember: Duration,
}

/// `[[identity.certificate]]`
#[derive(Debug)]
pub(crate) struct CertificateProvider {
    pub(crate) name: At<String>,
    /// `None`: every listener that asks clients for a certificate.
    pub(crate) listeners: Option<Vec<At<String>>>,
    pub(crate) san: Vec<At<SanKind>>,
    pub(crate) prefix: At<String>,
    pub(crate) beside_credential: BesideCredential,
}

/// What can be written in `san`.
pub(crate) const SAN: &[(&str, SanKind)] = &[("uri", SanKind::Uri), ("dns", SanKind::Dns), ("email", SanKind::Email)];
/// What can be written as `require`.
pub(crate) const REQUIRE: &[(&str, Bound)] =
    &[("none", Bound::Unbound), ("mtls", Bound::Mtls), ("dpop", Bound::Dpop), ("either", Bound::Either)];
/// What can be written in `algorithms`.
pub(crate) const PROOF_ALGORITHMS: &[(&str, ProofAlgorithm)] =
    &[("ES256", ProofAlgorithm::Es256), ("EdDSA", ProofAlgorithm::EdDsa), ("RS256", ProofAlgorithm::Rs256)];
/// How many used proofs may be remembered.
pub(crate) const REMEMBERED: RangeInclusive<u64> = 1..=100_000_000;
/// What can be written as `beside_credential`.
pub(crate) const BESIDE_CREDENTIAL: &[(&str, BesideCredential)] = &[
    ("refuse", BesideCredential::Refuse),
    ("certificate", BesideCredential::Certificate),
    ("credential", BesideCredential::Credential),
];

/// Reads `[identity]`. An included file may add providers; the rest is the main file's.
pub(crate) fn read_identity(root: &Section<'_>, identity: &mut Identity, main: bool) {
    let Some(section) = root.table("identity") else { return };
    identity.jwt.extend(section.tables("jwt").into_iter().filter_map(read_jwt));
    identity.introspection.extend(section.tables("introspection").into_iter().filter_map(read_introspection));
    identity.api_key.extend(section.tables("api_key").into_iter().filter_map(read_api_key));
    identity.certificate.extend(section.tables("certificate").into_iter().filter_map(read_certificate));
    identity.password.extend(section.tables("password").into_iter().filter_map(read_password));
    identity.ldap.extend(section.tables("ldap").into_iter().filter_map(read_directory));
    let oidc = section.tables("oidc");
    identity.has_oidc |= !oidc.is_empty();
    identity.oidc.extend(oidc.into_iter().filter_map(read_oidc));
    if main {
        identity.token_cache = section.or("token_cache", Integer(1..=10_000_000), TOKEN_CACHE);
        let (threads, waiting) = (identity.password_threads, identity.password_waiting);
        identity.password_threads = section.or("password_threads", Integer(1..=64), threads);
        identity.password_waiting = section.or("password_waiting", Integer(1..=10_000), waiting);
        if let Some(headers) = section.table("headers") {
            (identity.headers, identity.headers_size) = read_headers(headers);
        }
        identity.login = section.table("login").map(read_login);
        identity.assertion = section.table("assertion").map(read_assertion);
        if let Some(dpop) = section.table("dpop") {
            identity.dpop = read_dpop(dpop);
        }
    }
    section.finish();
}

fn read_jwt(section: Section<'_>) -> Option<JwtProvider> {
    let name = section.required("name", Name);
    let issuer = section.required("issuer", Text);
    let audiences = section.required_list("audiences", Text);
    if let Some(audiences) = audiences.as_ref().filter(|list| list.value.is_empty()) {
        section.report_empty("audiences", audiences.span, "name at least one: a token for another service is no proof");
    }
    let jwks = read_jwks(&section, issuer.as_ref());
    let claims = section.table("claims").map_or_else(ClaimNames::default, read_claims);
    let kinds = Choice(&[("user", PrincipalKind::User), ("service", PrincipalKind::Service)]);
    let principal = section.or("principal", kinds, PrincipalKind::User);
    let prefix = section.optional("prefix", AnyText);
    let trust_groups = section.list("trust_groups", Text).map_or_else(Vec::new, |list| list.value);
    let leeway = section.or("leeway", Time::within("0s", "60s"), LEEWAY);
    let require = section.or("require", Choice(REQUIRE), Bound::Unbound);
    let types = section.or("typ", Choice(TOKEN_TYPES), TokenTypes::Access);
    section.finish();
    let name = name?;
    Some(JwtProvider {
        prefix: prefix.unwrap_or_else(|| At::new(String::new(), name.span)),
        name,
        issuer,
        audiences: audiences.map_or_else(Vec::new, |list| list.value),
        jwks,
        claims,
        principal,
        trust_groups: trust_groups.into_iter().map(|group| group.value).collect(),
        leeway,
        require,
        types,
    })
}

fn read_dpop(section: Section<'_>) -> DpopSettings {
    let default = DpopSettings::default();
    let algorithms = section.one_or_list("algorithms", Choice(PROOF_ALGORITHMS));
    if let Some(algorithms) = algorithms.as_ref().filter(|algorithms| algorithms.value.is_empty()) {
        section.report_empty("algorithms", algorithms.span, "leave it out for all: \"ES256\", \"EdDSA\", \"RS256\"");
    }
    let remembered = section.or("remembered", Integer(REMEMBERED), default.remembered as u64);
    let dpop = DpopSettings {
        algorithms: algorithms.map_or(default.algorithms, |list| list.value.into_iter().map(|at| at.value).collect()),
        max_age: section.or("max_age", Time::within("1s", "10m"), DpopSettings::MAX_AGE),
        leeway: section.or("leeway", Time::within("0s", "60s"), DpopSettings::LEEWAY),
        nonce: section.or("nonce", Flag, false),
        nonce_lifetime: section.or("nonce_lifetime", Time::within("1s", "1h"), DpopSettings::NONCE_LIFETIME),
        remembered: usize::try_from(remembered).unwrap_or(DpopSettings::REMEMBERED),
    };
    section.finish();
    dpop
}

pub(crate) fn read_claims(section: Section<'_>) -> ClaimNames {
    let default = ClaimNames::default();
    let claims = ClaimNames {
        id: section.or("id", Text, default.id),
        groups: section.or("groups", Text, default.groups),
        email: section.or("email", Text, default.email),
        name: section.or("name", Text, default.name),
        device: section.or("device", Text, default.device),
        device_compliant: section.or("device_compliant", Text, default.device_compliant),
        acr: section.or("acr", Text, default.acr),
        amr: section.or("amr", Text, default.amr),
        auth_time: section.or("auth_time", Text, default.auth_time),
    };
    section.finish();
    claims
}

fn read_api_key(section: Section<'_>) -> Option<ApiKeyProvider> {
    let name = section.required("name", Name);
    let header = section.required("header", Header);
    let file = section.required("file", FilePath);
    section.finish();
    Some(ApiKeyProvider { name: name?, header, file })
}

fn read_password(section: Section<'_>) -> Option<PasswordProvider> {
    let name = section.required("name", Name);
    let file = section.required("file", FilePath);
    let prefix = section.optional("prefix", AnyText);
    let remember = section.or("remember", Time::within("0s", "15m"), settings::PasswordProvider::REMEMBER);
    section.finish();
    let name = name?;
    Some(PasswordProvider { prefix: prefix.unwrap_or_else(|| At::new(String::new(), name.span)), name, file, remember })
}

fn read_certificate(section: Section<'_>) -> Option<CertificateProvider> {
    let name = section.required("name", Name);
    let listeners = section.one_or_list("listeners", Name);
    if let Some(listeners) = listeners.as_ref().filter(|list| list.value.is_empty()) {
        section.report_empty("listeners", listeners.span, "leave it out for every listener with `client_auth`");
    }
    let san = section.one_or_list("san", Choice(SAN));
    if let Some(san) = san.as_ref().filter(|list| list.value.is_empty()) {
        section.report_empty("san", san.span, "name the kinds of name that count: \"uri\", \"dns\", \"email\"");
    }
    let prefix = section.optional("prefix", AnyText);
    let beside_credential = section.or("beside_credential", Choice(BESIDE_CREDENTIAL), BesideCredential::Refuse);
    section.finish();
    let name = name?;
    let all = || SanKind::ALL.into_iter().map(|kind| At::new(kind, name.span)).collect();
    Some(CertificateProvider {
        prefix: prefix.unwrap_or_else(|| At::new(String::new(), name.span)),
        listeners: listeners.map(|list| list.value),
        san: san.map_or_else(all, |list| list.value),
        beside_credential,
        name,
    })
}

fn read_assertion(section: Section<'_>) -> Option<Assertion> {
    let at = section.span();
    let issuer = section.required("issuer", Text);
    let key = required_text(&section, "key");
    let other_key = optional_text(&section, "other_key");
    let lifetime = section.or("lifetime", Time::within("10s", "1h"), LIFETIME);
    let max_size = section.or("max_size", Size(ASSERTION_SIZES), MAX_SIZE);
    section.finish();
    Some(Assertion { at, issuer: issuer?, key: key?, other_key: other_key.ok()?, lifetime, max_size })
}

fn read_headers(section: Section<'_>) -> (Vec<(HeaderRole, At<HeaderName>)>, usize) {
    let roles = [
        ("user", HeaderRole::User),
        ("groups", HeaderRole::Groups),
        ("roles", HeaderRole::Roles),
        ("email", HeaderRole::Email),
        ("assertion", HeaderRole::Assertion),
        ("overage", HeaderRole::Overage),
    ];
    let found = roles.into_iter().filter_map(|(key, role)| Some((role, section.optional(key, Header)?))).collect();
    let size = section.or("max_size", Size(HEADER_SIZES), IdentityHeaders::MAX_SIZE);
    section.finish();
    (found, size)
}
