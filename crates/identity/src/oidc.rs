//! Login of browsers at a provider of OpenID Connect: the part of a relying party, by the authorization code flow with PKCE (OpenID Connect Core 1.0;
//! RFC 6749, 7636, 9207, 9700).
//!
//! A login has three steps. [`RelyingParty::begin`] makes the address that the browser is sent to, and the [`LoginState`] that it keeps for us, sealed.
//! [`RelyingParty::returned`] judges what the browser comes back with: that it is the same browser, the same login, and the provider that was asked. The code is then exchanged beside
//! the requests ([`exchange`]), and [`RelyingParty::admit`] verifies the id token, by the code that verifies bearer tokens, and says who it is.
//!
//! Nothing is kept of a login under way: all of it is in the browser's cookie, so that a flood of logins that nobody ends costs no memory. It reads no
//! file, and no clock but in an exchange, to say when that was signed.

pub mod exchange;
mod login;
mod logout_token;
mod metadata;
mod replay;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, CredentialProblem, CredentialProblemKind, Principal};

use crate::authentication::Awaited;
use crate::error::IdentityError;
use crate::jwt::{JwtProviders, Unverified};
use crate::refusal::Refusal;
use crate::remote::{Patience, RemoteKeys};
use crate::session::Opening;
use crate::settings::OidcProvider;

pub use login::{Begun, LoginState, Place, Proof, Returned, ReturnedProblem, Wanted};
pub use logout_token::{LoggedOut, LogoutTokenProblem};
pub use metadata::{Metadata, MetadataProblem};
pub use replay::{Replay, Replays, Reserved, Unreserved};
pub use url::{encoded, encoded_place, with_parameters};

/// All providers at which browsers log in.
#[derive(Debug, Default)]
pub struct RelyingParties(Vec<Arc<RelyingParty>>);

/// One provider, as the client that it knows.
#[derive(Debug)]
pub struct RelyingParty {
    settings: OidcProvider,
    tokens: JwtProviders,
    /// What the provider offers, once that was fetched.
    metadata: ArcSwapOption<Metadata>,
}

/// Why nobody is admitted.
#[derive(Debug)]
pub enum NotAdmitted {
    /// The id token is bad.
    Rejected(CredentialProblem),
    /// The keys that would tell are missing, as the text says.
    NoKeys(String),
    /// They are being fetched: wait for that, and ask again with it.
    Awaited(Awaited),
}

impl RelyingParties {
    pub(crate) fn new(settings: &[OidcProvider], prefixes: &[&str]) -> Result<Self, Vec<IdentityError>> {
        let all = || settings.iter().map(|provider| provider.prefix.as_str());
        let party = |provider: &OidcProvider| {
            let others: Vec<&str> = prefixes.iter().copied().chain(all()).collect();
            let tokens = JwtProviders::new(&[provider.id_tokens()], &others)?;
            Ok(Arc::new(RelyingParty { settings: provider.clone(), tokens, metadata: ArcSwapOption::empty() }))
        };
        settings.iter().map(party).collect::<Result<_, _>>().map(Self)
    }

    /// Each of them, in the order of the configuration.
    pub fn all(&self) -> &[Arc<RelyingParty>] {
        &self.0
    }

    /// That of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<RelyingParty>> {
        self.0.iter().find(|party| *party.settings.name == *name)
    }

    /// The keys that are fetched.
    pub(crate) fn remote(&self) -> impl Iterator<Item = &Arc<RemoteKeys>> {
        self.0.iter().flat_map(|party| party.tokens.remote())
    }

    /// Goes on with what another configuration fetched from the same addresses.
    pub(crate) fn adopt(&mut self, previous: &Self) {
        for party in &mut self.0 {
            // Just made: nobody else has it.
            let Some(own) = Arc::get_mut(party) else { continue };
            let Some(before) = previous.named(&own.settings.name) else { continue };
            own.tokens.adopt(&before.tokens);
            if own.settings.issuer == before.settings.issuer && own.settings.allow_http == before.settings.allow_http {
                own.metadata.store(before.metadata.load_full());
            }
        }
    }
}

impl RelyingParty {
    /// What it was made from.
    pub fn settings(&self) -> &OidcProvider {
        &self.settings
    }

    /// What the provider offers, where that is known.
    pub fn metadata(&self) -> Option<Arc<Metadata>> {
        self.metadata.load_full()
    }

    /// From now on the provider offers this.
    pub fn offers(&self, metadata: Metadata) {
        self.metadata.store(Some(Arc::new(metadata)));
    }

    /// Whom an id token admits that was got for this login: it holds, for this client, and was made for the login with this `nonce` (OpenID Connect Core 1.0,
    /// section 3.1.3.7). Where somebody had to authenticate anew, its `auth_time` says so.
    ///
    /// # Errors
    /// [`NotAdmitted`]
    pub fn admit(
        &self,
        id_token: &str,
        login: &LoginState,
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<Opening, NotAdmitted> {
        let opening = self.opening(id_token, now, patience, |claims| {
            match claims.get("nonce").and_then(serde_json::Value::as_str) {
                Some(found) if found == &*login.nonce => Ok(()),
                Some(_) => Err("the id token was made for another login: its `nonce` is another one"),
                None => Err("the id token has no `nonce`"),
            }
        })?;
        let auth_time = opening.principal.authentication.auth_time;
        if login.proof != Proof::Any && !auth_time.is_some_and(|at| login.is_since(at)) {
            let detail = match auth_time {
                Some(at) => format!("it had its user authenticate at {at}, and not anew as it was asked to"),
                None => "it does not say when its user authenticated (`auth_time`), as it was asked to".to_owned(),
            };
            // It is the provider's doing, so it counts towards no ban.
            let refusal = Refusal::new(CredentialProblemKind::Expired, detail);
            return Err(NotAdmitted::Rejected(refusal.by(Some(&self.settings.name))));
        }
        Ok(opening)
    }

    /// Whom an id token is about that came with a refresh token (section 12.2): it must be the same subject, and has no `nonce` of this moment.
    ///
    /// # Errors
    /// [`NotAdmitted`]
    pub fn renew(
        &self,
        id_token: &str,
        subject: &str,
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<Principal, NotAdmitted> {
        let opening = self.opening(id_token, now, patience, |claims| {
            let is_same = claims.get("sub").and_then(serde_json::Value::as_str) == Some(subject);
            if is_same { Ok(()) } else { Err("the refreshed id token is about somebody else") }
        })?;
        Ok(opening.principal)
    }

    fn opening(
        &self,
        id_token: &str,
        now: Timestamp,
        patience: Patience<'_>,
        also: impl FnOnce(&crate::strict_json::Object) -> Result<(), &'static str>,
    ) -> Result<Opening, NotAdmitted> {
        let proven = self.tokens.prove(id_token, now, patience).map_err(NotAdmitted::from)?;
        let rejected = |detail: &str| NotAdmitted::Rejected(Refusal::invalid(detail).by(Some(&self.settings.name)));
        also(&proven.claims).map_err(rejected)?;
        let text = |name: &str| proven.claims.get(name).and_then(serde_json::Value::as_str);
        // Who is meant among several audiences (section 3.1.3.7, steps 4 and 5).
        let several = proven.claims.get("aud").and_then(serde_json::Value::as_array).is_some_and(|all| all.len() > 1);
        match (proven.claims.get("azp"), text("azp")) {
            (None, _) if several => return Err(rejected("the id token has several audiences and no `azp`")),
            (None, _) => {}
            (Some(_), Some(azp)) if azp == self.settings.client_id => {}
            (Some(_), _) => return Err(rejected("the id token was given to another client (`azp`)")),
        }
        let subject: Box<str> = text("sub")
            .filter(|subject| crate::claims::is_sound(subject))
            .map(Box::from)
            .ok_or_else(|| rejected("the id token has no `sub` that can be used"))?;
        let sid = text("sid").filter(|sid| crate::claims::is_sound(sid)).map(Box::from);
        let mut principal =
            self.tokens.principal(&proven).map_err(|rejection| NotAdmitted::Rejected(rejection.problem))?.principal;
        principal.authentication.method = AuthenticationMethod::Oidc;
        principal.authentication.key_id = None;
        Ok(Opening { principal, subject, sid, fingerprint: self.settings.fingerprint(), host: None })
    }
}

impl From<Unverified> for NotAdmitted {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Rejected(rejection) => Self::Rejected(rejection.problem),
            Unverified::NoKeys(detail) => Self::NoKeys(detail),
            // No id token has a proof.
            Unverified::NoMemory => Self::NoKeys("a proof cannot be remembered".to_owned()),
            // Nor is any provider asked about one.
            Unverified::AwaitedToken(_, detail) | Unverified::NoAnswer(detail) => Self::NoKeys(detail),
            Unverified::Awaited(keys, _) => Self::Awaited(Awaited::Keys(keys)),
        }
    }
}
