//! The door of this crate: headers and the time in, an identity out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use portcullis_policy::{CredentialProblem, CredentialProblemKind, Dependency, IdentityFact, Principal};

use crate::api_key::ApiKeys;
use crate::binding::{Binding, Terms};
use crate::client_certificate::{CertificateIdentity, CertificateReader, ChainProblem, ClientCertificate};
use crate::credentials::{CredentialSources, DPOP, Presented, Scheme, SessionCookies};
use crate::directory::{Directory, Grouped, GroupsAwaited};
use crate::error::IdentityError;
use crate::introspection::{Introspection, TokenAwaited, Told, Verdict};
use crate::jws::Jws;
use crate::jwt::{JwtProviders, Unverified};
use crate::oidc::RelyingParties;
use crate::password::{Asks, Judged, PasswordAwaited, PasswordBench, Passwords, Unchecked, is_password, is_user_name};
use crate::proof::{ProofTarget, Proofs, Unproven};
use crate::refusal::{Challenge, Refusal, Rejection};
use crate::remote::{KeysAwaited, Patience, RemoteKeys};
use crate::revocation::Revocations;
use crate::secret::SecretText;
use crate::session::{CookieKind, EndCause, Found, Session, SessionId, Sessions, cookie_value};
use crate::settings::{BesideCredential, Bound, LdapDirectory, LoginSettings, Settings};
use crate::settings_check;
use crate::token_cache::{CacheKey, TokenCache, TokenHash};

/// Who makes a request, as far as its credentials say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// No credential was given.
    Anonymous,
    /// The one credential holds.
    Verified(Arc<Principal>),
    /// A credential was given and is bad, or more than one was given.
    Rejected(Box<Rejection>),
    /// A credential was given and what would check it is missing, as the text says. Key sets that are read at start
    /// are never missing: without them there is no [`Authenticator`]. Those that are fetched can be.
    Unavailable(Dependency, String),
    /// A password was given and not looked at. Whoever asks refuses at once, and decides nothing.
    Unchecked(Unchecked),
}

/// What a request shows besides its headers, which tokens that are bound to their holder are held to; and how long it may wait.
#[derive(Debug, Clone, Copy)]
pub struct Presenting<'a> {
    /// The client certificate of its connection: verified in the handshake, and vouched for by the configuration in force.
    pub certificate: Option<&'a ClientCertificate>,
    /// What it asks for. Without it no proof proves anything.
    pub target: Option<ProofTarget<'a>>,
    /// The same token was accepted for this very request before, so that its proof is used up: it is not asked for again.
    pub proven: bool,
    /// How long it may wait.
    pub patience: Patience<'a>,
}

impl<'a> Presenting<'a> {
    /// Nothing.
    pub fn nothing(patience: Patience<'a>) -> Self {
        Self { certificate: None, target: None, proven: false, patience }
    }
}

/// Whether callers may prove to hold the key of their token (DPoP, RFC 9449), for who has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofOffer {
    /// Nobody asks for it. Tokens that are bound to a key are held to it all the same.
    Unasked,
    /// Some provider's tokens must be bound.
    Beside,
    /// All of them must be bound to a key.
    Only,
}

/// Who makes a request, or what to wait for to know.
#[derive(Debug)]
pub enum Authentication {
    /// It is known.
    Known(Identity),
    /// What would tell is being fetched: wait for that, and ask again. It may bring nothing.
    Awaited {
        /// What to wait for.
        awaited: Awaited,
        /// What holds as long as nothing else is known.
        otherwise: Identity,
    },
    /// A name and a password were given: [`Authenticator::check_password`] says whose they are, to who knows where the request comes from.
    Typed(Typed),
}

/// A name and a password that were not looked at yet.
#[derive(Debug)]
pub struct Typed {
    name: Box<str>,
    password: SecretText<'static>,
}

impl Typed {
    /// What was typed in a form; `None` where it can be nobody's.
    pub fn new(name: &str, password: &str) -> Option<Self> {
        let is_good = is_user_name(name) && is_password(password);
        is_good.then(|| Self { name: name.into(), password: SecretText::new(password.to_owned()) })
    }
}

/// What a request may wait for.
#[derive(Debug)]
pub enum Awaited {
    /// A provider's keys.
    Keys(KeysAwaited),
    /// What its provider says of a token.
    Token(TokenAwaited),
    /// What a directory says of the caller.
    Groups(GroupsAwaited),
    /// Whether a password is right.
    Password(PasswordAwaited),
}

impl Awaited {
    /// How long to wait at most.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Keys(keys) => keys.patience(),
            Self::Token(token) => token.patience(),
            Self::Groups(groups) => groups.patience(),
            Self::Password(password) => password.patience(),
        }
    }

    /// Ends when it is there, or does not come. Whoever waits bounds it by [`patience`](Self::patience).
    pub async fn ended(&mut self) {
        match self {
            Self::Keys(keys) => keys.ended().await,
            Self::Token(token) => token.ended().await,
            Self::Groups(groups) => groups.ended().await,
            Self::Password(password) => password.ended().await,
        }
    }
}

impl Authentication {
    /// What holds without waiting for anything.
    pub fn settled(self) -> Identity {
        match self {
            Self::Known(identity) | Self::Awaited { otherwise: identity, .. } => identity,
            Self::Typed(_) => Identity::Unchecked(Unchecked::Full),
        }
    }
}

impl Identity {
    /// The fact that the policy decides on.
    pub fn fact(&self) -> IdentityFact<'_> {
        match self {
            Self::Anonymous => IdentityFact::Anonymous,
            Self::Verified(principal) => IdentityFact::Verified(principal),
            Self::Rejected(rejection) => IdentityFact::Rejected(&rejection.problem),
            Self::Unavailable(dependency, _) => IdentityFact::Unavailable(*dependency),
            // INVARIANT: nobody asks. Were it asked, nothing is known of the caller, and so nothing can be decided.
            Self::Unchecked(_) => IdentityFact::Unavailable(Dependency::Keys),
        }
    }

    /// What a caller whose token is bound to a key is to be told.
    pub fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Rejected(rejection) => rejection.challenge.as_ref(),
            Self::Anonymous | Self::Verified(_) | Self::Unavailable(..) | Self::Unchecked(_) => None,
        }
    }

    /// The **unverified** name that a refused credential claims, for counting how many an address tries.
    pub fn attempted_id(&self) -> Option<&str> {
        match self {
            Self::Rejected(rejection) => rejection.attempted.as_deref(),
            Self::Unchecked(Unchecked::Locked { attempted, .. }) => Some(attempted),
            Self::Anonymous | Self::Verified(_) | Self::Unavailable(..) | Self::Unchecked(Unchecked::Full) => None,
        }
    }
}

impl From<Identity> for Authentication {
    fn from(identity: Identity) -> Self {
        Self::Known(identity)
    }
}

impl From<Unverified> for Authentication {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Rejected(rejection) => Self::Known(Identity::Rejected(Box::new(rejection))),
            Unverified::AwaitedToken(token, detail) => {
                let otherwise = Identity::Unavailable(Dependency::Store, detail);
                Self::Awaited { awaited: Awaited::Token(token), otherwise }
            }
            Unverified::NoAnswer(detail) => Self::Known(Identity::Unavailable(Dependency::Store, detail)),
            Unverified::NoMemory => {
                let detail = "as many proofs are remembered as may be (`[identity.dpop] remembered`)".to_owned();
                Self::Known(Identity::Unavailable(Dependency::Store, detail))
            }
            Unverified::NoKeys(detail) => Self::Known(Identity::Unavailable(Dependency::Keys, detail)),
            Unverified::Awaited(keys, detail) => {
                let otherwise = Identity::Unavailable(Dependency::Keys, detail);
                Self::Awaited { awaited: Awaited::Keys(keys), otherwise }
            }
        }
    }
}

/// Verifies the credentials of requests. Immutable but for its cache and the keys that are fetched; shared by all workers.
#[derive(Debug)]
pub struct Authenticator {
    sources: CredentialSources,
    credential_headers: Vec<HeaderName>,
    tokens: JwtProviders,
    introspection: Option<Arc<Introspection>>,
    proofs: Proofs,
    cache: TokenCache,
    keys: Vec<ApiKeys>,
    certificates: Vec<CertificateReader>,
    passwords: Option<Passwords>,
    directories: Vec<Arc<Directory>>,
    revocations: Arc<Revocations>,
    sessions: Arc<Sessions>,
    /// Each login by its name, with what its settings are as a number.
    logins: Vec<(Box<str>, u64)>,
    relying: RelyingParties,
    login: Option<LoginSettings>,
}

impl Authenticator {
    /// Reads every key set and key record.
    ///
    /// # Errors
    /// Everything that is wrong, each problem with the name of its provider: a key set that cannot verify anything, two
    /// providers that accept the same token, share a name, a header, a prefix or a key id, and values out of bounds.
    pub fn new(settings: Settings) -> Result<Self, Vec<IdentityError>> {
        let mut errors = settings_check::check(&settings);
        let asked = settings.introspection.iter().map(|provider| provider.prefix.as_str());
        let passwords = settings.password.iter().map(|provider| provider.prefix.as_str());
        let of_directories = settings.ldap.iter().map(|directory| directory.prefix.as_str());
        let others: Vec<&str> = of_directories.chain(asked).chain(passwords).collect();
        let of_logins = settings.oidc.iter().map(|provider| provider.prefix.as_str());
        let prefixes: Vec<&str> = others.iter().copied().chain(of_logins).collect();
        let tokens = match JwtProviders::new(&settings.jwt, &prefixes) {
            Ok(tokens) if errors.is_empty() => tokens,
            Ok(_) => return Err(errors),
            Err(more) => {
                errors.extend(more);
                return Err(errors);
            }
        };
        let of_tokens = settings.jwt.iter().map(|provider| provider.prefix.as_str());
        let prefixes: Vec<&str> = others.iter().copied().chain(of_tokens).collect();
        let relying = RelyingParties::new(&settings.oidc, &prefixes)?;
        let key_headers = || settings.api_key.iter().map(|provider| provider.header.clone());
        let cookies = match &settings.login {
            None => SessionCookies::None,
            Some(login) if login.allow_http => SessionCookies::Any,
            Some(_) => SessionCookies::Secure,
        };
        let sessions = Sessions::default();
        if let Some(login) = &settings.login {
            sessions.configure(login.sessions);
        }
        Ok(Self {
            sources: CredentialSources::new(
                !settings.jwt.is_empty() || settings.introspection.is_some(),
                !settings.password.is_empty(),
                key_headers(),
                cookies,
            ),
            credential_headers: [AUTHORIZATION, DPOP].into_iter().chain(key_headers()).collect(),
            tokens,
            introspection: introspection(&settings),
            proofs: Proofs::new(&settings.dpop),
            cache: TokenCache::new(settings.token_cache_entries),
            keys: settings.api_key.iter().map(ApiKeys::new).collect(),
            certificates: CertificateReader::all(&settings.certificate),
            passwords: (!settings.password.is_empty()).then(|| Passwords::new(&settings)),
            directories: directories(&settings),
            revocations: Arc::default(),
            sessions: Arc::new(sessions),
            logins: settings.oidc.iter().map(|each| (Box::from(&*each.name), each.fingerprint())).collect(),
            relying,
            login: settings.login,
        })
    }

    /// The same, held to these revocations, which outlive it.
    #[must_use]
    pub fn with_revocations(self, revocations: Arc<Revocations>) -> Self {
        Self { revocations, ..self }
    }

    /// Goes by these sessions from now on: those of the process, which outlive a configuration.
    pub fn use_sessions(&mut self, sessions: &Arc<Sessions>) {
        if let Some(login) = &self.login {
            sessions.configure(login.sessions);
        }
        self.sessions = Arc::clone(sessions);
    }

    /// The sessions that cookies are looked up in.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The providers at which browsers log in.
    pub fn relying(&self) -> &RelyingParties {
        &self.relying
    }

    /// How browsers log in, where they can.
    pub fn login(&self) -> Option<&LoginSettings> {
        self.login.as_ref()
    }

    /// Whether cookies of sessions count at all, and so must not go on to upstreams.
    pub fn reads_sessions(&self) -> bool {
        self.login.is_some()
    }

    /// Goes on with the keys that another configuration fetched from the same addresses, and with what it found in the same
    /// directories, so that a reload waits for nobody.
    pub fn adopt(&mut self, previous: &Self) {
        self.tokens.adopt(&previous.tokens);
        self.proofs.adopt(&previous.proofs);
        if let (Some(own), Some(before)) = (&mut self.introspection, &previous.introspection)
            && before.is_same(own)
        {
            *own = Arc::clone(before);
        }
        self.revocations = Arc::clone(&previous.revocations);
        if let (Some(passwords), Some(before)) = (&mut self.passwords, &previous.passwords) {
            passwords.adopt(before);
        }
        self.remember_key_uses(previous.key_uses());
        self.relying.adopt(&previous.relying);
        for directory in &mut self.directories {
            if let Some(before) = previous.directories.iter().find(|before| before.serves(directory)) {
                *directory = Arc::clone(before);
            }
        }
    }

    /// When API keys were last accepted, in seconds since 1970, give or take a minute, by their ids.
    pub fn key_uses(&self) -> Vec<(String, i64)> {
        self.keys.iter().flat_map(ApiKeys::uses).map(|(id, used)| (id.to_owned(), used)).collect()
    }

    /// That keys were accepted then, as was known before.
    pub fn remember_key_uses(&self, uses: Vec<(String, i64)>) {
        for (id, used) in &uses {
            self.keys.iter().for_each(|keys| keys.remember_use(id, *used));
        }
    }

    /// The provider that is to be asked about tokens while this is in force.
    pub fn introspection(&self) -> Option<&Arc<Introspection>> {
        self.introspection.as_ref()
    }

    /// The directories that are to be asked while this is in force.
    pub fn directories(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    /// The keys that are to be fetched while this is in force.
    pub fn remote_keys(&self) -> Vec<Arc<RemoteKeys>> {
        self.tokens.remote().chain(self.relying.remote()).map(Arc::clone).collect()
    }

    /// Who makes the request with these headers, at this time. It does not block; a token that is seen again while it holds costs one
    /// SHA-256 and one look into the cache for each token provider.
    pub fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Authentication {
        self.authenticate_with(headers, now, &Presenting::nothing(Patience::Request))
    }

    /// The same for somebody who shows more, or has more or less patience.
    pub fn authenticate_with(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Authentication {
        let verified = match self.sources.extract(headers) {
            Ok(None) => return Identity::Anonymous.into(),
            Ok(Some(Presented::Token { scheme, token })) => {
                self.verify_token(&Shown { scheme, token: token.expose(), headers }, now, presenting)
            }
            Ok(Some(Presented::Basic { name, password })) => return Authentication::Typed(Typed { name, password }),
            Ok(Some(Presented::ApiKey { provider, key })) => match self.keys.get(provider) {
                Some(keys) => keys.verify(key.expose(), now).map_err(Unverified::from),
                None => Err(Rejection::new(Refusal::invalid("no provider reads this header").by(None), None).into()),
            },
            Ok(Some(Presented::Session(id))) => self
                .session(id.expose(), now, presenting.patience)
                .map_err(|refusal| Rejection::new(refusal, None).into()),
            Err(refusal) => Err(Rejection::new(refusal.by(None), None).into()),
        };
        match verified {
            Ok(principal) => self.grouped(principal, now),
            Err(unverified) => unverified.into(),
        }
    }

    /// Whose name and password these are. A request from `address` may have to wait for that; `waited` is what it has waited for.
    pub fn check_password(
        &self,
        typed: &Typed,
        address: IpAddr,
        now: Timestamp,
        waited: Option<&PasswordAwaited>,
    ) -> Authentication {
        self.judge(typed, waited.map_or(Asks::Request(address), |waited| Asks::Waited(waited, address)), now)
    }

    /// The same of a stream that goes on meanwhile: its caller was verified when it began, so that somebody else's failures do not count.
    pub fn check_password_again(
        &self,
        typed: &Typed,
        now: Timestamp,
        waited: Option<&PasswordAwaited>,
    ) -> Authentication {
        self.judge(typed, Asks::Stream(waited), now)
    }

    fn judge(&self, typed: &Typed, asks: Asks<'_>, now: Timestamp) -> Authentication {
        let Some(passwords) = &self.passwords else {
            let refusal = Refusal::invalid("no provider has users with passwords any more");
            return Identity::Rejected(Box::new(Rejection::new(refusal.by(None), Some(&typed.name)))).into();
        };
        match passwords.check(&typed.name, typed.password.expose(), asks, now) {
            Judged::Verified(principal) => self.grouped(principal, now),
            Judged::Rejected(rejection) => Identity::Rejected(Box::new(rejection)).into(),
            Judged::Unchecked(why) => Identity::Unchecked(why).into(),
            Judged::Awaited(password) => {
                let otherwise = Identity::Unchecked(Unchecked::Full);
                Authentication::Awaited { awaited: Awaited::Password(password), otherwise }
            }
        }
    }

    /// The principal of a session that holds, and that was opened by a login which still stands in the configuration as it did then.
    fn session(&self, id: &str, now: Timestamp, patience: Patience<'_>) -> Result<Arc<Principal>, CredentialProblem> {
        let Some(id) = SessionId::parse(id) else {
            return Err(Refusal::invalid("the cookie of the session is not one that this gateway gave").by(None));
        };
        let over = |kind, detail: &str, provider: Option<&str>| Err(Refusal::new(kind, detail).by(provider));
        let found = match patience {
            Patience::Request => self.sessions.find(&id, now, true),
            // What goes on already is no request, and goes on where its session was given another id.
            Patience::Waited(_) | Patience::Stream => self.sessions.find_followed(&id, now),
        };
        match found {
            Found::Live(session) if self.is_current(&session, now) => Ok(Arc::clone(&session.principal)),
            Found::Live(session) => {
                let detail = "the login that opened the session is not configured any more as it was then";
                over(CredentialProblemKind::Expired, detail, Some(&session.principal.authentication.provider))
            }
            Found::Ended(EndCause::Revoked) => over(CredentialProblemKind::Revoked, "the session was revoked", None),
            Found::Ended(EndCause::LoggedOut | EndCause::Replaced) | Found::None => {
                over(CredentialProblemKind::Expired, "the session is over, or there never was one with this id", None)
            }
        }
    }

    /// Whether the cookie of a session is there and opens none any more. It uses none.
    pub fn is_session_over(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let ids = [true, false].into_iter().filter_map(|secure| cookie_value(headers, CookieKind::Session, secure));
        let mut found = ids.map(|text| SessionId::parse(text).map(|id| self.sessions.find(&id, now, false))).peekable();
        found.peek().is_some() && !found.any(|found| matches!(found, Some(Found::Live(_))))
    }

    /// Whether what a principal was verified by is not revoked.
    pub fn is_good(&self, principal: &Principal, now: Timestamp) -> bool {
        self.revocations.of_principal(principal, now).is_ok()
    }

    /// Where passwords are checked, where there are users with passwords.
    pub fn password_bench(&self) -> Option<&Arc<PasswordBench>> {
        self.passwords.as_ref().map(Passwords::bench)
    }

    /// Whether the login that opened a session is configured as it was then.
    pub fn is_current(&self, session: &Session, now: Timestamp) -> bool {
        let provider = &*session.principal.authentication.provider;
        self.logins.iter().any(|(name, fingerprint)| **name == *provider && *fingerprint == session.fingerprint)
            || self.user_fingerprint(&session.subject, provider, now) == Some(session.fingerprint)
    }

    /// What a session has to be opened with by a local user of this name; `None` where there is none that counts.
    pub fn user_fingerprint(&self, name: &str, provider: &str, now: Timestamp) -> Option<u64> {
        self.passwords.as_ref()?.fingerprint(name, provider, now)
    }

    /// The principal with the groups of the directory that knows those of its provider, if one does; unless what it was verified by, in
    /// whatever way that was, counts no longer.
    fn grouped(&self, principal: Arc<Principal>, now: Timestamp) -> Authentication {
        if let Err(refusal) = self.revocations.of_principal(&principal, now) {
            let problem = refusal.by(Some(&principal.authentication.provider));
            return Identity::Rejected(Box::new(Rejection::new(problem, Some(&principal.id)))).into();
        }
        let provider = &*principal.authentication.provider;
        let found = self.directories.iter().find_map(|directory| Some((directory, directory.prefix_of(provider)?)));
        match found {
            None => Identity::Verified(principal).into(),
            Some((directory, prefix)) => judged(directory.group(&principal, prefix, now)),
        }
    }

    /// The same for what a certificate says.
    fn grouped_certificate(&self, certificate: &CertificateIdentity, now: Timestamp) -> Authentication {
        match certificate.at(now) {
            Identity::Verified(principal) => self.grouped(principal, now),
            other => other.into(),
        }
    }

    /// What a client certificate says on this listener, for all requests of its connection; `None` where certificates are
    /// nobody's credential there. `chain` is whether it is still vouched for.
    pub fn certificate_identity(
        &self,
        listener: &str,
        certificate: &ClientCertificate,
        chain: Result<(), ChainProblem>,
    ) -> Option<CertificateIdentity> {
        let reader = self.certificates.iter().find(|reader| reader.reads(listener))?;
        Some(reader.identity(certificate, chain))
    }

    /// Who makes the request with these headers on a connection with this certificate. `certificate_only`: the route takes
    /// nothing else, so that a header which would come before the certificate does not count.
    pub fn authenticate_connection(
        &self,
        headers: &HeaderMap,
        certificate: &CertificateIdentity,
        certificate_only: bool,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Authentication {
        let Some(carrier) = self.sources.carrier(headers) else { return self.grouped_certificate(certificate, now) };
        match certificate.beside_credential() {
            BesideCredential::Certificate => self.grouped_certificate(certificate, now),
            BesideCredential::Credential if certificate_only => self.grouped_certificate(certificate, now),
            BesideCredential::Credential => self.authenticate_with(headers, now, presenting),
            BesideCredential::Refuse => {
                let detail = format!("a client certificate, and a credential in `{carrier}`");
                let refusal = Refusal::new(CredentialProblemKind::Ambiguous, detail);
                Identity::Rejected(Box::new(Rejection::new(refusal.by(None), None))).into()
            }
        }
    }

    /// Whether bearer tokens are accepted at all.
    pub fn accepts_tokens(&self) -> bool {
        self.sources.reads_tokens()
    }

    /// Whether there are users with passwords.
    pub fn accepts_passwords(&self) -> bool {
        self.sources.reads_passwords()
    }

    /// Whether a request with these headers brings something that would be verified as a credential, and that nobody can guess: a password is
    /// none. It verifies nothing.
    pub fn is_credential_brought(&self, headers: &HeaderMap) -> bool {
        !self.is_password_brought(headers) && self.sources.carrier(headers).is_some()
    }

    /// Whether a request with these headers brings a password (RFC 7617), accepted here or not: something that can be guessed.
    pub fn is_password_brought(&self, headers: &HeaderMap) -> bool {
        const BASIC: &[u8] = b"basic ";
        let begins =
            |value: &HeaderValue| value.as_bytes().get(..BASIC.len()).is_some_and(|it| it.eq_ignore_ascii_case(BASIC));
        headers.get_all(AUTHORIZATION).iter().any(begins)
    }

    /// Whether callers are told that they may prove to hold the key of their token.
    pub fn proof_offer(&self) -> ProofOffer {
        let asked = self.introspection.iter().map(|introspection| introspection.demand());
        let mut demands = self.tokens.demands().chain(asked).peekable();
        let some = demands.peek().is_some();
        let (mut any, mut all) = (false, some);
        for demanded in demands {
            any |= matches!(demanded, Bound::Dpop | Bound::Either);
            all &= demanded == Bound::Dpop;
        }
        match (any, all) {
            (_, true) => ProofOffer::Only,
            (true, false) => ProofOffer::Beside,
            (false, false) => ProofOffer::Unasked,
        }
    }

    /// The algorithms that may sign proofs, separated by spaces, as a challenge names them.
    pub fn proof_algorithms(&self) -> String {
        self.proofs.algorithms()
    }

    /// The headers that carry credentials: `authorization` and the proof that goes with it, always, and the header of each API-key
    /// provider. The upstream does not see them unless its route asks for it.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    fn verify_token(
        &self,
        shown: &Shown<'_>,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Result<Arc<Principal>, Unverified> {
        let hash = TokenHash::of(shown.token);
        let hold = |principal: &Arc<Principal>, terms: &Terms| {
            // First, so that one that counts no longer uses up no proof.
            let counts = self.revocations.of_token(terms.id.as_deref(), now).map_err(Unproven::from);
            let held = counts.and_then(|()| self.hold(&terms.binding, shown, &hash, now, presenting));
            held.map(|()| Arc::clone(principal)).map_err(|unproven| unproven.of(principal))
        };
        let cached = self.tokens.current(now).find_map(|provider| {
            self.cache.look(&CacheKey { provider, token: hash }, now, |principal, terms| hold(principal, terms))
        });
        if let Some(held) = cached {
            return held;
        }
        if let Some(introspection) = self.introspection.as_ref().filter(|_| !Jws::is_signed(shown.token)) {
            return match introspection.look(shown.token, &hash, now) {
                Told::Known(Verdict::Active(held)) => hold(&held.principal, &held.terms),
                Told::Known(Verdict::Inactive(refusal)) => {
                    Err(Rejection::new(refusal.by(Some(introspection.name())), None).into())
                }
                Told::Awaited(awaited, otherwise) => Err(Unverified::AwaitedToken(awaited, otherwise)),
                Told::Unavailable(detail) => Err(Unverified::NoAnswer(detail)),
            };
        }
        let verified = self.tokens.verify(shown.token, now, presenting.patience)?;
        let principal = Arc::new(verified.principal);
        let held = hold(&principal, &verified.terms);
        // The token itself holds, whoever shows it.
        let key = CacheKey { provider: verified.provider, token: hash };
        self.cache.insert(key, (principal, verified.terms), verified.valid_from, verified.valid_before);
        held
    }

    /// Whether who shows a token that holds is who it is bound to. One that is bound to nothing is anybody's, as a bearer token.
    fn hold(
        &self,
        binding: &Binding,
        shown: &Shown<'_>,
        hash: &TokenHash,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Result<(), Unproven> {
        if let Some(bound) = &binding.certificate {
            match presenting.certificate {
                Some(certificate) => certificate.is_bound(bound, now)?,
                None => {
                    let detail = "the token is bound to a client certificate, and the connection has none that counts";
                    return Err(Refusal::new(CredentialProblemKind::CertificateRequired, detail).into());
                }
            }
        }
        let misused = |detail: &str| Err(Unproven::Bad(Refusal::invalid(detail), Some(Challenge::BadToken)));
        match (&binding.key, shown.scheme) {
            (None, Scheme::Bearer) => Ok(()),
            // RFC 9449 section 7.1: a proof for a token that demands none proves nothing.
            (None, Scheme::Dpop) => misused("the token is bound to no key, and came under the scheme DPoP"),
            // RFC 9449 section 7.2: whoever stole it would leave the proof out.
            (Some(_), Scheme::Bearer) => misused("the token is bound to a key, and came as a bearer token"),
            (Some(_), Scheme::Dpop) if presenting.proven => Ok(()),
            (Some(key), Scheme::Dpop) => {
                self.proofs.check(shown.headers, key, &hash.0, presenting.target.as_ref(), now)
            }
        }
    }
}

/// A token as it came.
struct Shown<'a> {
    scheme: Scheme,
    token: &'a str,
    headers: &'a HeaderMap,
}

impl Unproven {
    /// What that makes of the token of this principal.
    fn of(self, principal: &Principal) -> Unverified {
        match self {
            Self::Full => Unverified::NoMemory,
            Self::Bad(refusal, challenge) => {
                let problem = refusal.by(Some(&principal.authentication.provider));
                Unverified::Rejected(Rejection { challenge, ..Rejection::new(problem, Some(&principal.id)) })
            }
        }
    }
}

/// What follows from what a directory says.
fn judged(grouped: Grouped) -> Authentication {
    match grouped {
        Grouped::Known(principal) => Identity::Verified(principal).into(),
        Grouped::Disabled(provider, id, detail) => {
            let refusal = Refusal::new(CredentialProblemKind::Revoked, detail);
            Identity::Rejected(Box::new(Rejection::new(refusal.by(Some(&provider)), Some(&id)))).into()
        }
        Grouped::Unavailable(detail) => Identity::Unavailable(Dependency::Directory, detail).into(),
        Grouped::Awaited(groups, otherwise) => {
            Authentication::Awaited { awaited: Awaited::Groups(groups), otherwise: judged(*otherwise).settled() }
        }
    }
}

fn introspection(settings: &Settings) -> Option<Arc<Introspection>> {
    let tokens = settings.jwt.iter().map(|provider| provider.prefix.clone());
    let passwords = settings.password.iter().map(|provider| provider.prefix.clone());
    let directories = settings.ldap.iter().map(|directory| directory.prefix.clone());
    let logins = settings.oidc.iter().map(|provider| provider.prefix.clone());
    let prefixes: Vec<String> = tokens.chain(passwords).chain(directories).chain(logins).collect();
    settings.introspection.as_ref().map(|provider| Arc::new(Introspection::new(provider, &prefixes)))
}

fn directories(settings: &Settings) -> Vec<Arc<Directory>> {
    let signed = || settings.jwt.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let opaque = || settings.introspection.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let tokens = || signed().chain(opaque());
    let keys = || settings.api_key.iter().map(|provider| (&provider.name, ""));
    let certificates = || settings.certificate.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let passwords = || settings.password.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let logins = || settings.oidc.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let all = || tokens().chain(keys()).chain(certificates()).chain(passwords()).chain(logins());
    let directory = |directory: &LdapDirectory| {
        let served = all().filter(|(name, _)| directory.providers.contains(name));
        let served = served.map(|(name, prefix)| (Arc::clone(name), Box::from(prefix))).collect();
        let prefixes = all().map(|(_, prefix)| prefix).chain(settings.ldap.iter().map(|other| other.prefix.as_str()));
        Arc::new(Directory::new(directory, served, prefixes))
    };
    settings.ldap.iter().map(directory).collect()
}

#[cfg(test)]
mod tests;
