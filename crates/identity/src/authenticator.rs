//! The door of this crate: headers and the time in, an identity out.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use portcullis_policy::{CredentialProblemKind, Dependency, IdentityFact, Principal};

use crate::api_key::ApiKeys;
use crate::client_certificate::{CertificateIdentity, CertificateReader, ChainProblem, ClientCertificate};
use crate::credentials::{CredentialSources, Presented};
use crate::directory::{Directory, Grouped, GroupsAwaited};
use crate::error::IdentityError;
use crate::jwt::{JwtProviders, Unverified};
use crate::refusal::{Refusal, Rejection};
use crate::remote::{KeysAwaited, Patience, RemoteKeys};
use crate::settings::{BesideCredential, LdapDirectory, Settings};
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
}

/// What a request may wait for.
#[derive(Debug)]
pub enum Awaited {
    /// A provider's keys.
    Keys(KeysAwaited),
    /// What a directory says of the caller.
    Groups(GroupsAwaited),
}

impl Awaited {
    /// How long to wait at most.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Keys(keys) => keys.patience(),
            Self::Groups(groups) => groups.patience(),
        }
    }

    /// Ends when it is there, or does not come. Whoever waits bounds it by [`patience`](Self::patience).
    pub async fn ended(&mut self) {
        match self {
            Self::Keys(keys) => keys.ended().await,
            Self::Groups(groups) => groups.ended().await,
        }
    }
}

impl Authentication {
    /// What holds without waiting for anything.
    pub fn settled(self) -> Identity {
        match self {
            Self::Known(identity) | Self::Awaited { otherwise: identity, .. } => identity,
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
        }
    }

    /// The **unverified** name that a refused credential claims, for counting how many an address tries.
    pub fn attempted_id(&self) -> Option<&str> {
        match self {
            Self::Rejected(rejection) => rejection.attempted.as_deref(),
            Self::Anonymous | Self::Verified(_) | Self::Unavailable(..) => None,
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
    cache: TokenCache,
    keys: Vec<ApiKeys>,
    certificates: Vec<CertificateReader>,
    directories: Vec<Arc<Directory>>,
}

impl Authenticator {
    /// Reads every key set and key record.
    ///
    /// # Errors
    /// Everything that is wrong, each problem with the name of its provider: a key set that cannot verify anything, two
    /// providers that accept the same token, share a name, a header, a prefix or a key id, and values out of bounds.
    pub fn new(settings: Settings) -> Result<Self, Vec<IdentityError>> {
        let mut errors = settings_check::check(&settings);
        let prefixes: Vec<&str> = settings.ldap.iter().map(|directory| directory.prefix.as_str()).collect();
        let tokens = match JwtProviders::new(&settings.jwt, &prefixes) {
            Ok(tokens) if errors.is_empty() => tokens,
            Ok(_) => return Err(errors),
            Err(more) => {
                errors.extend(more);
                return Err(errors);
            }
        };
        let key_headers = || settings.api_key.iter().map(|provider| provider.header.clone());
        Ok(Self {
            sources: CredentialSources::new(!settings.jwt.is_empty(), key_headers()),
            credential_headers: std::iter::once(AUTHORIZATION).chain(key_headers()).collect(),
            tokens,
            cache: TokenCache::new(settings.token_cache_entries),
            keys: settings.api_key.iter().map(ApiKeys::new).collect(),
            certificates: CertificateReader::all(&settings.certificate),
            directories: directories(&settings),
        })
    }

    /// Goes on with the keys that another configuration fetched from the same addresses, and with what it found in the same
    /// directories, so that a reload waits for nobody.
    pub fn adopt(&mut self, previous: &Self) {
        self.tokens.adopt(&previous.tokens);
        for directory in &mut self.directories {
            if let Some(before) = previous.directories.iter().find(|before| before.serves(directory)) {
                *directory = Arc::clone(before);
            }
        }
    }

    /// The directories that are to be asked while this is in force.
    pub fn directories(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    /// The keys that are to be fetched while this is in force.
    pub fn remote_keys(&self) -> Vec<Arc<RemoteKeys>> {
        self.tokens.remote().map(Arc::clone).collect()
    }

    /// Who makes the request with these headers, at this time. It does not block; a token that is seen again while it holds costs one
    /// SHA-256 and one look into the cache for each token provider.
    pub fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Authentication {
        self.authenticate_with(headers, now, Patience::Request)
    }

    /// The same for somebody with more or less patience.
    pub fn authenticate_with(&self, headers: &HeaderMap, now: Timestamp, patience: Patience<'_>) -> Authentication {
        let verified = match self.sources.extract(headers) {
            Ok(None) => return Identity::Anonymous.into(),
            Ok(Some(Presented::Bearer(token))) => self.verify_token(token.expose(), now, patience),
            Ok(Some(Presented::ApiKey { provider, key })) => match self.keys.get(provider) {
                Some(keys) => keys.verify(key.expose(), now).map_err(Unverified::from),
                None => Err(Rejection::new(Refusal::invalid("no provider reads this header").by(None), None).into()),
            },
            Err(refusal) => Err(Rejection::new(refusal.by(None), None).into()),
        };
        match verified {
            Ok(principal) => self.grouped(principal, now),
            Err(unverified) => unverified.into(),
        }
    }

    /// The principal with the groups of the directory that knows those of its provider, if one does.
    fn grouped(&self, principal: Arc<Principal>, now: Timestamp) -> Authentication {
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
        patience: Patience<'_>,
    ) -> Authentication {
        let Some(carrier) = self.sources.carrier(headers) else { return self.grouped_certificate(certificate, now) };
        match certificate.beside_credential() {
            BesideCredential::Certificate => self.grouped_certificate(certificate, now),
            BesideCredential::Credential if certificate_only => self.grouped_certificate(certificate, now),
            BesideCredential::Credential => self.authenticate_with(headers, now, patience),
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

    /// The headers that carry credentials: `authorization`, always, and the header of each API-key provider. The
    /// upstream does not see them unless its route asks for it.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    fn verify_token(&self, token: &str, now: Timestamp, patience: Patience<'_>) -> Result<Arc<Principal>, Unverified> {
        let hash = TokenHash::of(token);
        let cached =
            self.tokens.current(now).find_map(|provider| self.cache.get(&CacheKey { provider, token: hash }, now));
        if let Some(principal) = cached {
            return Ok(principal);
        }
        let verified = self.tokens.verify(token, now, patience)?;
        let principal = Arc::new(verified.principal);
        let key = CacheKey { provider: verified.provider, token: hash };
        self.cache.insert(key, Arc::clone(&principal), verified.valid_from, verified.valid_before);
        Ok(principal)
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

fn directories(settings: &Settings) -> Vec<Arc<Directory>> {
    let tokens = || settings.jwt.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let keys = || settings.api_key.iter().map(|provider| (&provider.name, ""));
    let certificates = || settings.certificate.iter().map(|provider| (&provider.name, provider.prefix.as_str()));
    let all = || tokens().chain(keys()).chain(certificates());
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
