//! What identity needs to know, as plain values. The TOML shape lives in `config`.

use std::sync::Arc;
use std::time::Duration;

use portcullis_fetch::UrlSource;
use portcullis_ldap::{Filter, Server};
use portcullis_policy::PrincipalKind;
use rustls_pki_types::CertificateDer;

use crate::jws::Algorithm;

pub use crate::client::ClientProof;
pub use crate::client_key::{ClientAlgorithm, ClientAudience, ClientKey, ClientKeyError};
pub use crate::directory::{Bind, GroupName, Membership, Nested};
use crate::password::PasswordHash;
use crate::secret::SecretText;
use crate::session::SessionBounds;

/// All identity providers of one configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Providers of signed tokens.
    pub jwt: Vec<JwtProvider>,
    /// The provider that is asked about tokens which are none of the providers'.
    pub introspection: Option<IntrospectionProvider>,
    /// Providers of API keys. No two share a header.
    pub api_key: Vec<ApiKeyProvider>,
    /// Listeners whose clients are known by their certificates. No two share a listener.
    pub certificate: Vec<CertificateProvider>,
    /// Users with passwords. No two have a user of one name.
    pub password: Vec<PasswordProvider>,
    /// How many passwords are checked at once; at least 1. Default 1.
    pub password_threads: usize,
    /// How many checks may wait; who comes then is told to come again (503). Default 64.
    pub password_waiting: usize,
    /// Directories that principals get groups from. No two serve one provider.
    pub ldap: Vec<LdapDirectory>,
    /// How browsers log in; `None`: they cannot, and no cookie counts.
    pub login: Option<LoginSettings>,
    /// Where they log in. Only with `login`.
    pub oidc: Vec<OidcProvider>,
    /// How many verified tokens are remembered; at least 1. Default 65,536.
    pub token_cache_entries: usize,
    /// How proofs of possession are verified.
    pub dpop: DpopSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            jwt: Vec::new(),
            introspection: None,
            api_key: Vec::new(),
            certificate: Vec::new(),
            password: Vec::new(),
            password_threads: Self::PASSWORD_THREADS,
            password_waiting: Self::PASSWORD_WAITING,
            ldap: Vec::new(),
            login: None,
            oidc: Vec::new(),
            token_cache_entries: 65_536,
            dpop: DpopSettings::default(),
        }
    }
}

impl Settings {
    /// The default of `password_threads`.
    pub const PASSWORD_THREADS: usize = 1;
    /// The default of `password_waiting`.
    pub const PASSWORD_WAITING: usize = 64;
}

/// `[identity.login]`
#[derive(Debug, Clone, Default)]
pub struct LoginSettings {
    /// How many sessions there may be, and how long they hold.
    pub sessions: SessionBounds,
    /// Sessions count in plain text, too. Default no.
    pub allow_http: bool,
    /// Whether a page tells a caller what is known of it. Default no.
    pub whoami: bool,
    /// What seals the state of logins under way, for several gateways that share it; `None`: a key that is made at each start.
    pub key: Option<SecretText<'static>>,
}

/// `[[identity.oidc]]`: a provider of OpenID Connect at which browsers log in.
#[derive(Debug, Clone)]
pub struct OidcProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// What the page on which a login is chosen calls it.
    pub label: String,
    /// The exact issuer. What it offers and where its keys are is found by discovery.
    pub issuer: Arc<str>,
    /// As whom the gateway is known there: the audience of its id tokens.
    pub client_id: String,
    /// How the gateway proves that it is that client.
    pub client: ClientProof,
    /// What is asked for; `openid` is always.
    pub scopes: Vec<String>,
    /// Which ways to authenticate are asked for, the preferred one first (`acr_values`).
    pub acr_values: Vec<String>,
    /// Where its discovery document is, and how its keys are fetched.
    pub keys: RemoteKeySource,
    /// Its endpoints may be spoken to without TLS. Default no.
    pub allow_http: bool,
    /// Which claims carry what.
    pub claims: ClaimNames,
    /// Put before ids and groups.
    pub prefix: String,
    /// The local groups that its claims may carry.
    pub trust_groups: Vec<String>,
    /// Clock leeway for `exp`, `nbf` and `iat`; at most 60 s. Default 30 s.
    pub leeway: Duration,
    /// How often the provider is asked again whether a session still holds, by its refresh token; `None`: never.
    pub refresh: Option<Duration>,
    /// Whoever logs out here logs out there, too. Default yes.
    pub logout: bool,
    /// How its answer to a login comes back.
    pub response_mode: ResponseMode,
    /// It may say by a frame in a browser that a session is over. Default no.
    pub frontchannel_logout: bool,
}

/// How a provider's answer to a login comes back through the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseMode {
    /// In the address that the browser is led to.
    #[default]
    Query,
    /// In a form that the browser sends, so that no address has the code (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

impl OidcProvider {
    /// Its id tokens, as tokens of any other provider: for this client alone.
    pub(crate) fn id_tokens(&self) -> JwtProvider {
        JwtProvider {
            name: Arc::clone(&self.name),
            issuer: self.issuer.to_string(),
            audiences: vec![self.client_id.clone()],
            keys: KeySource::Remote(self.keys.clone()),
            claims: self.claims.clone(),
            principal: PrincipalKind::User,
            prefix: self.prefix.clone(),
            trust_groups: self.trust_groups.clone(),
            leeway: self.leeway,
            require: Bound::Unbound,
        }
    }

    /// What of it says whom a session is of, as a number: where that changes, sessions that were opened before do not hold any more.
    pub(crate) fn fingerprint(&self) -> u64 {
        let ClaimNames { id, groups, email, name, device, device_compliant, acr, amr, auth_time } = &self.claims;
        let claims = [id, groups, email, name, device, device_compliant, acr, amr, auth_time];
        let fixed = [&*self.issuer, &self.client_id, &self.prefix];
        let parts = fixed.into_iter().chain(claims.into_iter().map(String::as_str));
        let parts = parts.chain(self.trust_groups.iter().map(String::as_str));
        let mut text = Vec::new();
        for part in parts {
            // With its length, so that no two lists are written alike.
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let hash = crate::secret::sha256(&text);
        hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }
}

/// `[[identity.jwt]]`
#[derive(Debug, Clone)]
pub struct JwtProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The exact `iss`.
    pub issuer: String,
    /// The acceptable `aud` values; never empty.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Which claims carry what.
    pub claims: ClaimNames,
    /// Whether its subjects are users or services.
    pub principal: PrincipalKind,
    /// Put before ids and groups.
    pub prefix: String,
    /// The local groups that its claims may carry.
    pub trust_groups: Vec<String>,
    /// Clock leeway for `exp`, `nbf` and `iat`; at most 60 s. Default 30 s.
    pub leeway: Duration,
    /// What its tokens must be bound to.
    pub require: Bound,
}

/// What a provider's tokens must be bound to. What a token is bound to counts in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bound {
    /// Nothing: bearer tokens are accepted, too.
    #[default]
    Unbound,
    /// The client's certificate (RFC 8705).
    Mtls,
    /// A key of which each request brings a proof (RFC 9449).
    Dpop,
    /// One or the other.
    Either,
}

/// `[identity.dpop]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpopSettings {
    /// Which algorithms may sign proofs; never empty. Default: all.
    pub algorithms: Vec<ProofAlgorithm>,
    /// How long ago a proof may have been made. Default 60 s.
    pub max_age: Duration,
    /// How far the caller's clock may be ahead. Default 30 s.
    pub leeway: Duration,
    /// Whether a proof must have a nonce of the gateway. Default no.
    pub nonce: bool,
    /// How long a nonce is good. Default 5 min.
    pub nonce_lifetime: Duration,
    /// How many proofs are remembered until they are too old to be used again; beyond, none is accepted. Default 500,000.
    pub remembered: usize,
}

impl DpopSettings {
    /// The default of `max_age`.
    pub const MAX_AGE: Duration = Duration::from_secs(60);
    /// The default of `leeway`.
    pub const LEEWAY: Duration = Duration::from_secs(30);
    /// The default of `nonce_lifetime`.
    pub const NONCE_LIFETIME: Duration = Duration::from_secs(5 * 60);
    /// The default of `remembered`.
    pub const REMEMBERED: usize = 500_000;
}

impl Default for DpopSettings {
    fn default() -> Self {
        Self {
            algorithms: ProofAlgorithm::ALL.to_vec(),
            max_age: Self::MAX_AGE,
            leeway: Self::LEEWAY,
            nonce: false,
            nonce_lifetime: Self::NONCE_LIFETIME,
            remembered: Self::REMEMBERED,
        }
    }
}

/// An algorithm that signs proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA on Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl ProofAlgorithm {
    /// All, what most libraries sign with first.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// Its name (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl From<Algorithm> for ProofAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::Es256,
            Algorithm::EdDsa => Self::EdDsa,
            Algorithm::Rs256 => Self::Rs256,
        }
    }
}

/// `[[identity.introspection]]`: who is asked about opaque tokens (RFC 7662).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Where it is asked.
    pub endpoint: UrlSource,
    /// As whom it is asked.
    pub client_id: String,
    /// How the gateway proves that it is that client. Where it signs that for the provider's issuer, `issuer` is there.
    pub client: ClientProof,
    /// The exact `iss`, where an answer says one.
    pub issuer: Option<String>,
    /// The acceptable `aud` values; none: it is not looked at. Either these or `clients` are there.
    pub audiences: Vec<String>,
    /// The acceptable `client_id` values; none: it is not looked at.
    pub clients: Vec<String>,
    /// Which members of an answer carry what.
    pub claims: ClaimNames,
    /// Whether its subjects are users or services.
    pub principal: PrincipalKind,
    /// Put before ids and groups.
    pub prefix: String,
    /// The local groups that its answers may put callers into.
    pub trust_groups: Vec<String>,
    /// Clock leeway for `exp`, `nbf` and `iat`; at most 60 s. Default 30 s.
    pub leeway: Duration,
    /// What its tokens must be bound to.
    pub require: Bound,
    /// How long one question may take. Default 5 s.
    pub timeout: Duration,
    /// How long it counts that a token is good. Default 60 s.
    pub max_cache: Duration,
    /// How long it counts that one is not. Default 10 s.
    pub negative: Duration,
    /// How many tokens are remembered. Default 10,000.
    pub entries: usize,
    /// How many questions are asked at once. Default 8.
    pub connections: usize,
    /// How many may wait for that. Default 256.
    pub max_waiting: usize,
}

impl IntrospectionProvider {
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of `max_cache`.
    pub const MAX_CACHE: Duration = Duration::from_secs(60);
    /// The default of `negative`.
    pub const NEGATIVE: Duration = Duration::from_secs(10);
    /// The default of `entries`.
    pub const ENTRIES: usize = 10_000;
    /// The default of `connections`.
    pub const CONNECTIONS: usize = 8;
    /// The default of `max_waiting`.
    pub const MAX_WAITING: usize = 256;
}

/// Where a provider's keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Here: the text of a key set (RFC 7517 section 5), at most 1 MiB.
    Text(Arc<str>),
    /// They are fetched while the gateway runs.
    Remote(RemoteKeySource),
}

/// A key set that is fetched, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteKeySource {
    /// Where it is.
    pub location: KeyLocation,
    /// How often it is fetched, give or take a tenth. Default 10 min.
    pub refresh: Duration,
    /// How long a set is used after it was last confirmed. Default 24 h.
    pub max_stale: Duration,
    /// After a fetch, nobody who meets an unknown key asks for another one before that time is over; one that failed is tried again
    /// after it. Default 5 s.
    pub cooldown: Duration,
    /// How long fetching one document may take. Default 5 s.
    pub timeout: Duration,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// At this address.
    Url(UrlSource),
    /// At the address that the issuer's discovery document names.
    Discovery {
        /// Where the document is.
        document: UrlSource,
        /// The issuer that it must name.
        issuer: Arc<str>,
        /// The keys may be fetched without TLS. Default no.
        allow_http: bool,
    },
}

impl RemoteKeySource {
    /// The default of `refresh`.
    pub const REFRESH: Duration = Duration::from_secs(10 * 60);
    /// The default of `max_stale`.
    pub const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
    /// The default of `cooldown`.
    pub const COOLDOWN: Duration = Duration::from_secs(5);
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// A source with the defaults.
    pub fn new(location: KeyLocation) -> Self {
        Self {
            location,
            refresh: Self::REFRESH,
            max_stale: Self::MAX_STALE,
            cooldown: Self::COOLDOWN,
            timeout: Self::TIMEOUT,
        }
    }
}

impl KeyLocation {
    /// Whether it is the same place, whoever may vouch for it.
    pub(crate) fn is_place_of(&self, other: &Self) -> bool {
        let place = |address: &UrlSource| UrlSource { roots: Vec::new(), ..address.clone() };
        match (self, other) {
            (Self::Url(own), Self::Url(other)) => place(own) == place(other),
            (
                Self::Discovery { document: own, issuer, .. },
                Self::Discovery { document: other, issuer: other_issuer, .. },
            ) => place(own) == place(other) && issuer == other_issuer,
            (Self::Url(_), Self::Discovery { .. }) | (Self::Discovery { .. }, Self::Url(_)) => false,
        }
    }

    /// As a person writes it, without a query.
    pub fn shown(&self) -> String {
        match self {
            Self::Url(address) => address.shown(),
            Self::Discovery { document, .. } => document.shown(),
        }
    }
}

/// Which claims carry what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Default `sub`.
    pub id: String,
    /// Default `groups`.
    pub groups: String,
    /// Default `email`.
    pub email: String,
    /// Default `name`.
    pub name: String,
    /// Default `device_id`.
    pub device: String,
    /// Default `device_compliant`, a boolean.
    pub device_compliant: String,
    /// Default `acr`.
    pub acr: String,
    /// Default `amr`.
    pub amr: String,
    /// Default `auth_time`.
    pub auth_time: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            id: "sub".into(),
            groups: "groups".into(),
            email: "email".into(),
            name: "name".into(),
            device: "device_id".into(),
            device_compliant: "device_compliant".into(),
            acr: "acr".into(),
            amr: "amr".into(),
            auth_time: "auth_time".into(),
        }
    }
}

/// `[[identity.api_key]]`, its file already read.
#[derive(Debug, Clone)]
pub struct ApiKeyProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The header that carries the key, lower case.
    pub header: http::HeaderName,
    /// The keys: ids and hashes, never secrets. Ids are unique over all providers.
    pub keys: Vec<ApiKeyRecord>,
}

/// One `[[key]]` of a key file.
#[derive(Debug, Clone)]
pub struct ApiKeyRecord {
    /// The key's id, part of the key's text.
    pub id: String,
    /// SHA-256 of the 32 secret bytes.
    pub sha256: [u8; 32],
    /// The principal that the key stands for: kind and id.
    pub principal: (PrincipalKind, String),
    /// Local groups that the key carries.
    pub groups: Vec<String>,
    /// Roles that the key carries.
    pub roles: Vec<String>,
    /// When it was made, where the file says so.
    pub created: Option<jiff::Timestamp>,
    /// From when on it is refused with `authn.expired`.
    pub expires: Option<jiff::Timestamp>,
    /// The routes that it is for; none: all.
    pub routes: Vec<String>,
    /// The networks that it is for; none: any.
    pub networks: Vec<String>,
    /// The secret of before it was rotated, which is good until then beside it.
    pub previous: Option<PreviousSecret>,
    /// Withdrawn: refused with `authn.revoked`.
    pub revoked: bool,
}

/// `[[identity.password]]`, its file already read.
#[derive(Debug, Clone)]
pub struct PasswordProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Put before the users' names.
    pub prefix: String,
    /// The users. Names are unique over all providers.
    pub users: Vec<UserRecord>,
    /// How long a password that was verified is not checked again. Default 1 min.
    pub remember: Duration,
}

impl PasswordProvider {
    /// The default of `remember`.
    pub const REMEMBER: Duration = Duration::from_secs(60);
}

/// One `[[user]]` of a file of users.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// What the user types, and the id of the principal after the prefix.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// Local groups that the user is in.
    pub groups: Vec<String>,
    /// Refused with `authn.revoked`.
    pub disabled: bool,
    /// From when on the user is refused with `authn.expired`.
    pub expires: Option<jiff::Timestamp>,
}

/// A secret that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousSecret {
    /// SHA-256 of the 32 secret bytes.
    pub sha256: [u8; 32],
    /// From when on it is refused with `authn.expired`.
    pub until: jiff::Timestamp,
}

/// `[[identity.certificate]]`
#[derive(Debug, Clone)]
pub struct CertificateProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The listeners whose clients' certificates count; never empty.
    pub listeners: Vec<Arc<str>>,
    /// The kinds of name that count, the preferred one first; never empty. Default: all, in the order of [`SanKind`].
    pub san: Vec<SanKind>,
    /// Put before the names.
    pub prefix: String,
    /// What counts where a header carries a credential, too. Default: the request is refused.
    pub beside_credential: BesideCredential,
}

/// A kind of subject alternative name (RFC 5280 section 4.2.1.6) that can be a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SanKind {
    /// A URI, such as a SPIFFE id. Compared exactly.
    Uri,
    /// A DNS name, in lower case. A wildcard is nobody's name.
    Dns,
    /// An address of mail, its domain in lower case.
    Email,
}

impl SanKind {
    /// All kinds, the one that says most about a workload first.
    pub const ALL: [Self; 3] = [Self::Uri, Self::Dns, Self::Email];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::Email => "email",
        }
    }
}

/// Who makes a request that comes with a client certificate and with a credential in a header. The roles of the two are
/// never united.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BesideCredential {
    /// Nobody: it is refused with `authn.ambiguous`.
    #[default]
    Refuse,
    /// The certificate's principal. The header is not looked at.
    Certificate,
    /// The header's principal. A bad one is refused, and never gives way to the certificate.
    Credential,
}

/// `[[identity.ldap]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapDirectory {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The providers whose principals it knows; never empty. What a provider puts before its ids is taken off first.
    pub providers: Vec<Arc<str>>,
    /// Where it is, the preferred one first; never empty.
    pub servers: Vec<Server>,
    /// StartTLS on connections that do not begin with TLS.
    pub start_tls: bool,
    /// The authorities that may have signed the servers' certificates; empty: those that this system believes.
    pub roots: Vec<CertificateDer<'static>>,
    /// As whom it is asked; `None`: as nobody.
    pub bind: Option<Bind>,
    /// Where searches for principals begin.
    pub base: Box<str>,
    /// Finds the one entry of a principal.
    pub user_filter: Filter,
    /// An entry that it does not match is an account that does not count.
    pub account_filter: Option<Filter>,
    /// Where groups are.
    pub membership: Membership,
    /// How groups of groups are found.
    pub nested: Nested,
    /// What a group is named by.
    pub group_name: GroupName,
    /// Put before the names of groups.
    pub prefix: String,
    /// The local groups that it may put principals into, without the prefix.
    pub trust_groups: Vec<String>,
    /// Of how many groups a principal may be; one in more has none that are known. Default 1,000.
    pub max_groups: usize,
    /// How long one look-up may take, and each connection before it. Default 5 s.
    pub timeout: Duration,
    /// How many connections it is asked on. Default 2.
    pub connections: usize,
    /// How long what was found is used. Default 5 min.
    pub refresh: Duration,
    /// How long it is used while the directory does not answer. Default 1 h.
    pub max_stale: Duration,
    /// How long it counts that somebody was not found. Default 1 min.
    pub negative: Duration,
    /// How many principals are remembered. Default 10,000.
    pub entries: usize,
    /// How many look-ups may wait. Default 256.
    pub max_waiting: usize,
}

impl LdapDirectory {
    /// The default of `max_groups`.
    pub const MAX_GROUPS: usize = 1_000;
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of `connections`.
    pub const CONNECTIONS: usize = 2;
    /// The default of `refresh`.
    pub const REFRESH: Duration = Duration::from_secs(5 * 60);
    /// The default of `max_stale`.
    pub const MAX_STALE: Duration = Duration::from_secs(60 * 60);
    /// The default of `negative`.
    pub const NEGATIVE: Duration = Duration::from_secs(60);
    /// The default of `entries`.
    pub const ENTRIES: usize = 10_000;
    /// The default of `max_waiting`.
    pub const MAX_WAITING: usize = 256;
    /// Nobody waits longer than this.
    const LONGEST_WAIT: Duration = Duration::from_secs(60);

    /// All its filters.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        let groups = match &self.membership {
            Membership::Search { filter, .. } => Some(filter),
            Membership::Attribute(_) => None,
        };
        std::iter::once(&self.user_filter).chain(&self.account_filter).chain(groups)
    }

    /// How long somebody waits for a look-up: for each server, for the look-up itself, and somewhat longer.
    pub fn patience(&self) -> Duration {
        let steps = u32::try_from(self.servers.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.timeout.saturating_mul(steps).saturating_add(Duration::from_secs(1)).min(Self::LONGEST_WAIT)
    }
}
