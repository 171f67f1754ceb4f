//! How browsers log in, and where.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::PrincipalKind;

use crate::secret::SecretText;
use crate::session::SessionBounds;

use super::{Bound, ClaimNames, ClientProof, JwtProvider, KeySource, RemoteKeySource, TokenTypes};

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
            types: TokenTypes::Id,
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

/// How a provider's answer to a login comes back through the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseMode {
    /// In the address that the browser is led to.
    #[default]
    Query,
    /// In a form that the browser sends, so that no address has the code (OAuth 2.0 Form Post Response Mode).
    FormPost,
}
