//! The door of this crate: headers and the time in, an identity out. Here is what it is made of; how it answers is in the parts below.

mod asking;
mod offers;
mod sessions;
mod tokens;

use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use portcullis_policy::Spelling;

use crate::api_key::ApiKeys;
use crate::client_certificate::CertificateReader;
use crate::credentials::{CredentialSources, DPOP, SessionCookies};
use crate::directory::Directory;
use crate::error::IdentityError;
use crate::introspection::Introspection;
use crate::jwt::JwtProviders;
use crate::oidc::RelyingParties;
use crate::password::{PasswordBench, Passwords};
use crate::proof::Proofs;
use crate::remote::{self, KeyNotice, RemoteKeys, SavedKeys};
use crate::revocation::Revocations;
use crate::session::Sessions;
use crate::settings::{LdapDirectory, LoginSettings, Settings};
use crate::settings_check;
use crate::token_cache::TokenCache;

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
    spelling: Spelling,
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
    pub fn new(mut settings: Settings) -> Result<Self, Vec<IdentityError>> {
        let spelling = settings.spelling();
        // Whom a key stands for is called as everybody of that name is.
        for record in settings.api_key.iter_mut().flat_map(|provider| &mut provider.keys) {
            let (kind, id) = &mut record.principal;
            *id = spelling.id(*kind, id).into_owned();
        }
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
            directories: directories(&settings, &spelling),
            spelling,
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
        revocations.respell(&self.spelling);
        Self { revocations, ..self }
    }

    /// Goes by these sessions from now on: those of the process, which outlive a configuration.
    pub fn use_sessions(&mut self, sessions: &Arc<Sessions>) {
        if let Some(login) = &self.login {
            sessions.configure(login.sessions);
        }
        sessions.respell(&self.spelling);
        self.sessions = Arc::clone(sessions);
    }

    /// How the ids of principals are compared.
    pub fn spelling(&self) -> &Spelling {
        &self.spelling
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
        self.revocations.respell(&self.spelling);
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

    /// The process has begun, and none before it or beside it accepts proofs (RFC 9449) after `then`. One that was made until then has to have a nonce
    /// of this process, since it may have been used there.
    pub fn proofs_begin_after(&self, then: Timestamp) {
        self.proofs.begin_after(then);
    }

    /// Begins with the keys that were kept when a process before had fetched them, each where its issuer and address are the same; says what
    /// became of it. It comes before anything is fetched.
    pub fn restore_keys(&self, saved: &[SavedKeys], now: Timestamp) -> Vec<KeyNotice> {
        remote::restore(&self.remote_keys(), saved, now)
    }

    /// Where passwords are checked, where there are users with passwords.
    pub fn password_bench(&self) -> Option<&Arc<PasswordBench>> {
        self.passwords.as_ref().map(Passwords::bench)
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

fn directories(settings: &Settings, spelling: &Spelling) -> Vec<Arc<Directory>> {
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
        Arc::new(Directory::new(directory, served, prefixes, spelling))
    };
    settings.ldap.iter().map(directory).collect()
}

#[cfg(test)]
mod tests;
