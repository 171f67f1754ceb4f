//! Signed tokens (RFC 7519, held to RFC 8725): from text to a principal and the time it is good for.
//!
//! The order is fixed. The unverified issuer only chooses which key set to ask; nothing else of a token counts before
//! its signature holds. So an expired token with a bad signature is invalid, not expired.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{CredentialProblemKind as Kind, Principal};
use serde_json::Value;

use crate::binding::Terms;
use crate::claims::{ClaimReader, numeric_date};
use crate::error::{IdentityError, IdentityProblem};
use crate::introspection::TokenAwaited;
use crate::jwks::KeySet;
use crate::jws::Jws;
use crate::namespace::Namespace;
use crate::refusal::{Refusal, Rejection, excerpt};
use crate::remote::{KeysAwaited, Patience, Recourse, RemoteKeys};
use crate::settings::{Bound, JwtProvider, KeySource, TokenTypes};
use crate::strict_json::{self, Object};

/// All providers of signed tokens.
#[derive(Debug)]
pub(crate) struct JwtProviders(Vec<Provider>);

/// A token that holds.
#[derive(Debug)]
pub(crate) struct Verified {
    /// The place of the provider in the settings, and which set of its keys it was.
    pub(crate) provider: (usize, u64),
    pub(crate) principal: Principal,
    pub(crate) terms: Terms,
    /// From when on and until before when the token holds, leeway included.
    pub(crate) valid_from: Timestamp,
    pub(crate) valid_before: Timestamp,
}

/// A token whose signature, issuer, audience and times hold, whomever it is about.
#[derive(Debug)]
pub(crate) struct Proven {
    provider: (usize, u64),
    pub(crate) claims: Object,
    key_id: Option<Box<str>>,
    pub(crate) expires: Timestamp,
    valid_from: Timestamp,
    valid_before: Timestamp,
}

/// A token that was not verified.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// It is bad.
    Rejected(Rejection),
    /// The keys that would tell are missing, as the text says.
    NoKeys(String),
    /// They may come: they are being fetched. The text is what holds meanwhile.
    Awaited(KeysAwaited, String),
    /// It holds, and whether its proof was used before cannot be known.
    NoMemory,
    /// Its provider is being asked about it. The text is what holds meanwhile.
    AwaitedToken(TokenAwaited, String),
    /// Its provider cannot be asked about it, as the text says.
    NoAnswer(String),
}

impl From<Rejection> for Unverified {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl JwtProviders {
    /// Reads every provider's key set that is there; on failure says which ones are bad and why. `directories`: what directories put
    /// before their groups, which no token may name.
    pub(crate) fn new(settings: &[JwtProvider], directories: &[&str]) -> Result<Self, Vec<IdentityError>> {
        let mut providers = Vec::with_capacity(settings.len());
        let mut errors = Vec::new();
        for provider in settings {
            let keys = match &provider.keys {
                KeySource::Text(text) => KeySet::parse(text).map(Keys::Fixed),
                KeySource::Remote(source) => {
                    let keys = RemoteKeys::new(&provider.name, &provider.issuer, source.clone());
                    Ok(Keys::Remote(Arc::new(keys)))
                }
            };
            match keys {
                Ok(keys) => providers.push(Provider::new(provider, keys, settings, directories)),
                Err(problems) => errors.extend(
                    problems
                        .into_iter()
                        .map(|problem| IdentityError::new(&provider.name, IdentityProblem::KeySet(problem))),
                ),
            }
        }
        if errors.is_empty() { Ok(Self(providers)) } else { Err(errors) }
    }

    /// The providers that can be asked now, each with the set of keys that it has.
    pub(crate) fn current(&self, now: Timestamp) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().enumerate().filter_map(move |(place, provider)| Some((place, provider.keys.generation(now)?)))
    }

    /// What the providers' tokens must be bound to.
    pub(crate) fn demands(&self) -> impl Iterator<Item = Bound> {
        self.0.iter().map(|provider| provider.require)
    }

    /// The keys that are fetched.
    pub(crate) fn remote(&self) -> impl Iterator<Item = &Arc<RemoteKeys>> {
        self.0.iter().filter_map(|provider| match &provider.keys {
            Keys::Remote(keys) => Some(keys),
            Keys::Fixed(_) => None,
        })
    }

    /// Goes on with the keys that another configuration fetched from the same addresses.
    pub(crate) fn adopt(&mut self, previous: &Self) {
        for provider in &mut self.0 {
            if let Keys::Remote(keys) = &mut provider.keys
                && let Some(carried) = previous.remote().find_map(|before| before.carried_to(keys))
            {
                *keys = carried;
            }
        }
    }

    /// Verifies a token at a point in time.
    pub(crate) fn verify(&self, token: &str, now: Timestamp, patience: Patience<'_>) -> Result<Verified, Unverified> {
        let proven = self.prove(token, now, patience)?;
        Ok(self.principal(&proven)?)
    }

    /// Whom a token is about.
    pub(crate) fn principal(&self, proven: &Proven) -> Result<Verified, Rejection> {
        let Some(provider) = self.0.get(proven.provider.0) else {
            return Err(Rejection::new(Refusal::invalid("no provider has verified the token").by(None), None));
        };
        let Proven { provider: place, claims, key_id, expires, valid_from, valid_before } = proven;
        let rejected = |refusal: Refusal| {
            let attempted = provider.claims.attempted(claims);
            Rejection::new(refusal.by(Some(&provider.name)), attempted.as_deref())
        };
        let terms = Terms::of(claims, provider.require).map_err(rejected)?;
        let principal = provider.claims.principal(claims, key_id.as_deref(), *expires).map_err(rejected)?;
        Ok(Verified { provider: *place, principal, terms, valid_from: *valid_from, valid_before: *valid_before })
    }

    /// Verifies all of a token but whom it is about: one of those that its provider's settings count.
    pub(crate) fn prove(&self, token: &str, now: Timestamp, patience: Patience<'_>) -> Result<Proven, Unverified> {
        self.prove_as(None, token, now, patience)
    }

    /// The same for something else than what these settings are for.
    pub(crate) fn prove_as(
        &self,
        types: Option<TokenTypes>,
        token: &str,
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<Proven, Unverified> {
        let nameless = |refusal: Refusal| Rejection::new(refusal.by(None), None);
        let jws = Jws::parse(token).map_err(nameless)?;
        let claims = strict_json::parse_object(&jws.payload)
            .map_err(|problem| nameless(Refusal::invalid(format!("the token's payload is {problem}"))))?;
        let (place, provider) = self
            .find(&claims)
            .map_err(|refusal| Rejection::new(refusal.by(None), claims.get("sub").and_then(Value::as_str)))?;
        let rejected = |refusal: Refusal| {
            let attempted = provider.claims.attempted(&claims);
            Unverified::Rejected(Rejection::new(refusal.by(Some(&provider.name)), attempted.as_deref()))
        };
        check_type(types.unwrap_or(provider.types), jws.typ.as_deref(), &claims).map_err(rejected)?;
        let keys = match &provider.keys {
            Keys::Fixed(keys) => {
                let key = keys.verify(&jws).map_err(rejected)?.id.clone();
                let times = provider.check(&claims, now).map_err(rejected)?;
                return Ok(times.proven((place, 0), key, claims));
            }
            Keys::Remote(keys) => keys,
        };
        let held = keys.usable(now);
        let (refusal, missing) = match &held {
            None => (None, "are not there, or too old"),
            Some(held) => match held.set.verify(&jws) {
                Ok(key) => {
                    let key = key.id.clone();
                    let times = provider.check(&claims, now).map_err(rejected)?;
                    return Ok(times.proven((place, held.generation), key, claims));
                }
                // It is in the set and cannot be used, which another fetch would not change.
                Err(refusal) if held.set.has_left_out(jws.key_id.as_deref()) => return Err(rejected(refusal)),
                // A provider that rotates its keys signs with the new one before anybody has it.
                Err(refusal) if refusal.kind == Kind::UnknownKey || jws.key_id.is_none() => {
                    (Some(refusal), "do not have that of the token, and cannot be fetched anew")
                }
                Err(refusal) => return Err(rejected(refusal)),
            },
        };
        let missing = format!("the keys of {} {missing}", provider.name);
        Err(match (keys.recourse(patience), refusal) {
            (Recourse::Wait(awaited), _) => Unverified::Awaited(awaited, missing),
            (Recourse::Current, Some(refusal)) => rejected(refusal),
            (Recourse::Current | Recourse::Unreachable, _) => Unverified::NoKeys(missing),
        })
    }

    /// The provider that an unverified token names. Two may share an issuer if no audience is accepted by both; then
    /// the audience chooses.
    fn find(&self, claims: &Object) -> Result<(usize, &Provider), Refusal> {
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) => issuer,
            Some(_) => return Err(Refusal::invalid("the claim `iss` is not a string")),
            None => return Err(Refusal::invalid("the token has no claim `iss`")),
        };
        let of_issuer = || self.0.iter().enumerate().filter(|(_, provider)| provider.issuer == *issuer);
        let audiences = audiences(claims).unwrap_or_default();
        let mut addressed = of_issuer().filter(|(_, provider)| provider.is_addressed(&audiences));
        match (addressed.next(), addressed.next()) {
            (Some(provider), None) => Ok(provider),
            (Some(_), Some(_)) => Err(Refusal::invalid("the token is meant for more than one provider")),
            // It will be refused; by which code is for whoever verifies the signature to say.
            (None, _) => of_issuer().next().ok_or_else(|| {
                Refusal::new(Kind::WrongIssuer, format!("no provider has the issuer {}", excerpt(issuer)))
            }),
        }
    }
}

/// What `events` of a security event token (RFC 8417) begin with that says something of a session or an account.
const EVENTS: [&str; 2] = ["http://schemas.openid.net/", "https://schemas.openid.net/"];

/// That a token is one of those that count here. It is asked before any signature: whatever it says, it is refused for what it is not.
fn check_type(types: TokenTypes, typ: Option<&str>, claims: &Object) -> Result<(), Refusal> {
    let noun = types.noun();
    if !types.has(typ) {
        let what =
            typ.map_or_else(|| "says not what it is".to_owned(), |typ| format!("is of the type {}", excerpt(typ)));
        return Err(Refusal::invalid(format!("the token {what}, and so no {noun}")));
    }
    // Many who say that a session is over do not say that this is what it is.
    let tells = |events: &Object| events.keys().any(|event| EVENTS.iter().any(|begin| event.starts_with(begin)));
    if types != TokenTypes::Logout && claims.get("events").and_then(Value::as_object).is_some_and(tells) {
        return Err(Refusal::invalid(format!("the token tells of an event (`events`), and so is no {noun}")));
    }
    Ok(())
}

#[derive(Debug)]
struct Provider {
    name: Arc<str>,
    issuer: String,
    audiences: Vec<String>,
    leeway: SignedDuration,
    require: Bound,
    types: TokenTypes,
    keys: Keys,
    claims: ClaimReader,
}

/// A provider's keys.
#[derive(Debug)]
enum Keys {
    Fixed(KeySet),
    Remote(Arc<RemoteKeys>),
}

impl Keys {
    /// Which set it is; `None` while there is none.
    fn generation(&self, now: Timestamp) -> Option<u64> {
        match self {
            Self::Fixed(_) => Some(0),
            Self::Remote(keys) => keys.generation(now),
        }
    }
}

/// When a token holds.
struct Times {
    expires: Timestamp,
    valid_from: Timestamp,
    valid_before: Timestamp,
}

impl Times {
    fn proven(self, provider: (usize, u64), key_id: Option<Box<str>>, claims: Object) -> Proven {
        let Self { expires, valid_from, valid_before } = self;
        Proven { provider, claims, key_id, expires, valid_from, valid_before }
    }
}

impl Provider {
    fn new(settings: &JwtProvider, keys: Keys, all: &[JwtProvider], directories: &[&str]) -> Self {
        let prefixes = all.iter().map(|other| other.prefix.as_str()).chain(directories.iter().copied());
        let namespace = Namespace::new(&settings.prefix, prefixes);
        Self {
            name: Arc::clone(&settings.name),
            issuer: settings.issuer.clone(),
            audiences: settings.audiences.clone(),
            // INVARIANT: a leeway over 60 s was refused, so it always converts; without leeway is the strict side.
            leeway: SignedDuration::try_from(settings.leeway).unwrap_or(SignedDuration::ZERO),
            require: settings.require,
            types: settings.types,
            keys,
            claims: ClaimReader::new(settings, namespace),
        }
    }

    /// That a signed token is for us and for now.
    fn check(&self, claims: &Object, now: Timestamp) -> Result<Times, Refusal> {
        let expires = numeric_date(claims, "exp")?.ok_or_else(|| Refusal::invalid("the token has no claim `exp`"))?;
        let starts = self.starts(claims)?;
        if !self.is_addressed(&audiences(claims)?) {
            return Err(Refusal::new(Kind::WrongAudience, "none of the token's audiences is accepted"));
        }
        let valid_before = expires.checked_add(self.leeway).unwrap_or(Timestamp::MAX);
        if now >= valid_before {
            return Err(Refusal::new(Kind::Expired, format!("the token expired at {expires}")));
        }
        let valid_from = match starts {
            Some((_, start)) => start.checked_sub(self.leeway).unwrap_or(Timestamp::MIN),
            None => Timestamp::MIN,
        };
        if let Some((claim, start)) = starts
            && now < valid_from
        {
            return Err(Refusal::new(Kind::NotYetValid, format!("`{claim}` of the token is {start}, yet to come")));
        }
        Ok(Times { expires, valid_from, valid_before })
    }

    /// The latest time that must have come: not before (RFC 7519 section 4.1.5), issued at (4.1.6), and the last
    /// authentication, which no step-up could ever find stale if it lay in the future.
    fn starts(&self, claims: &Object) -> Result<Option<(&'static str, Timestamp)>, Refusal> {
        let times = [
            ("nbf", numeric_date(claims, "nbf")?),
            ("iat", numeric_date(claims, "iat")?),
            ("auth_time", self.claims.auth_time(claims)?),
        ];
        Ok(times.into_iter().filter_map(|(claim, time)| Some((claim, time?))).max_by_key(|(_, time)| *time))
    }

    fn is_addressed(&self, audiences: &[&str]) -> bool {
        self.audiences.iter().any(|ours| audiences.contains(&ours.as_str()))
    }
}

/// The `aud` claim: one string or an array of them (RFC 7519 section 4.1.3).
fn audiences(claims: &Object) -> Result<Vec<&str>, Refusal> {
    let wrong = || Refusal::invalid("the claim `aud` is not a string or an array of strings");
    match claims.get("aud") {
        Some(Value::String(audience)) => Ok(vec![audience]),
        Some(Value::Array(audiences)) => audiences.iter().map(|one| one.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
        None => Err(Refusal::invalid("the token has no claim `aud`")),
    }
}
