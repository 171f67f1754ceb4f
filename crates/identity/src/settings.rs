//! What identity needs to know, as plain values. The TOML shape lives in `config`.

mod certificate;
mod directory;
mod keys;
mod listed;
mod login;
mod token;

use std::sync::Arc;

use portcullis_policy::{PrincipalKind, Spelling};

pub use crate::client::ClientProof;
pub use crate::client_key::{ClientAlgorithm, ClientAudience, ClientKey, ClientKeyError};
pub use crate::directory::{Bind, GroupName, Membership, Nested, PrincipalId};
pub use certificate::{BesideCredential, CertificateProvider, SanKind};
pub use directory::LdapDirectory;
pub use keys::{KeyLocation, KeySource, RemoteKeySource};
pub use listed::{ApiKeyProvider, ApiKeyRecord, PasswordProvider, PreviousSecret, UserRecord};
pub use login::{LoginSettings, OidcProvider, ResponseMode};
pub use token::{Bound, ClaimNames, DpopSettings, IntrospectionProvider, JwtProvider, ProofAlgorithm, TokenTypes};

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

    /// How the ids of the principals of these providers are compared: exactly, but where a directory knows them that ignores case.
    pub fn spelling(&self) -> Spelling {
        let user = PrincipalKind::User;
        let signed = self.jwt.iter().map(|each| (each.principal, &each.name, &each.prefix));
        let asked = self.introspection.iter().map(|each| (each.principal, &each.name, &each.prefix));
        let logins = self.oidc.iter().map(|each| (user, &each.name, &each.prefix));
        let shown = self.certificate.iter().map(|each| (PrincipalKind::Certificate, &each.name, &each.prefix));
        // Nobody spells these but whoever writes their file.
        let listed = self.password.iter().map(|each| (user, each.prefix.as_str(), false));
        let ignores_case = |provider: &Arc<str>| {
            let mut of = self.ldap.iter().filter(|directory| directory.providers.contains(provider));
            of.any(|directory| directory.id_ignores_case && directory.id != PrincipalId::Claimed)
        };
        let claimed = signed.chain(asked).chain(logins).chain(shown);
        Spelling::new(claimed.map(|(kind, name, prefix)| (kind, prefix.as_str(), ignores_case(name))).chain(listed))
    }
}
