//! What the gateway signs for the upstream: a short-lived token (JWT, RFC 7519) that says who calls, so that a request that went round
//! the gateway is recognisable. Its keys are published as a set (RFC 7517) under [`WELL_KNOWN`].
//!
//! It says who the caller is and how that was proven, not what it may do: that was decided for this request, and is decided anew for
//! the next. It is bounded, for upstreams bound what they read: whoever is in too many groups has none named, and is told from who is in none.
//! For a caller without a credential it has no subject, and still shows that the request came through the gateway.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::Principal;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

/// Where the public keys are, on every listener.
pub const WELL_KNOWN: &str = "/.well-known/portcullis/jwks.json";

/// How long an assertion holds unless the configuration says otherwise.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// How long an assertion may be unless the configuration says otherwise, in bytes: servers take a header of 8 KiB, some all headers together.
pub const MAX_SIZE: usize = 4 << 10;

/// How far the clock of whoever verifies it may be behind (RFC 7519 section 4.1.5).
const BEFORE: SignedDuration = SignedDuration::from_secs(5);

/// A key that signs assertions.
#[derive(Debug, Clone)]
pub struct AssertionKey {
    pair: Arc<Pair>,
    /// Its thumbprint (RFC 7638).
    id: Arc<str>,
    /// The header of its tokens, in base64url.
    header: Arc<str>,
    public: Value,
}

#[derive(Debug)]
enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a text is no such key. It never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no private key for ES256 (P-256) or EdDSA (Ed25519) in the form of PKCS #8 and PEM")]
pub struct AssertionKeyError;

/// Signing failed: the system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assertion cannot be signed")]
pub struct SigningError;

impl AssertionKey {
    /// Reads a private key in the form of PKCS #8 (RFC 5958) and PEM, such as
    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AssertionKeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| AssertionKeyError)?;
        let der = der.secret_pkcs8_der();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Self::new(Pair::P256(pair));
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| AssertionKeyError)?;
        Self::new(Pair::Ed25519(pair))
    }

    fn new(pair: Pair) -> Result<Self, AssertionKeyError> {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        // The members that a thumbprint is made of, in the order of their names and without a space (RFC 7638 section 3.2 and,
        // for Ed25519, RFC 8037 appendix A.3).
        let (algorithm, required) = match &pair {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (point.get(1..33).ok_or(AssertionKeyError)?, point.get(33..65).ok_or(AssertionKeyError)?);
                ("ES256", format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y)))
            }
            Pair::Ed25519(pair) => {
                let x = encode(pair.public_key().as_ref());
                ("EdDSA", format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
            }
        };
        let id = encode(digest(&SHA256, required.as_bytes()).as_ref());
        let mut public: Value = serde_json::from_str(&required).map_err(|_| AssertionKeyError)?;
        if let Value::Object(members) = &mut public {
            members.insert("kid".to_owned(), json!(id));
            members.insert("alg".to_owned(), json!(algorithm));
            members.insert("use".to_owned(), json!("sig"));
        }
        let header = encode(json!({ "alg": algorithm, "kid": id, "typ": "JWT" }).to_string().as_bytes());
        Ok(Self { pair: Arc::new(pair), id: id.into(), header: header.into(), public })
    }

    /// What its tokens name it by: its thumbprint (RFC 7638).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How long a token with so many bytes of payload is.
    fn signed_length(&self, payload: usize) -> usize {
        let encoded = |bytes: usize| BASE64URL_NOPAD.encode_len(bytes);
        self.header.len() + encoded(payload) + encoded(SIGNATURE_BYTES) + 2
    }

    fn sign(&self, payload: &[u8]) -> Result<String, SigningError> {
        let mut token = format!("{}.{}", self.header, BASE64URL_NOPAD.encode(payload));
        let signature = match &*self.pair {
            Pair::P256(pair) => {
                let signed = pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| SigningError)?;
                BASE64URL_NOPAD.encode(signed.as_ref())
            }
            Pair::Ed25519(pair) => BASE64URL_NOPAD.encode(pair.sign(token.as_bytes()).as_ref()),
        };
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }
}

/// Makes assertions.
#[derive(Debug)]
pub struct Assertions {
    issuer: Box<str>,
    lifetime: SignedDuration,
    key: AssertionKey,
    published: Box<str>,
    max_size: usize,
}

/// An assertion, and for how long it may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// The token.
    pub token: String,
    /// Until before when it may be sent again: half of its life, so that what was sent still holds when it is looked at.
    pub renew: Timestamp,
    /// How many groups it does not name, because it would be too long with them: none, or all of the caller's.
    pub groups_left_out: usize,
}

impl Assertions {
    /// `key` signs; `other` is published beside it, before it signs or after. `lifetime` is at most a day.
    pub fn new(issuer: &str, lifetime: Duration, key: AssertionKey, other: Option<&AssertionKey>) -> Self {
        let keys: Vec<&Value> = std::iter::once(&key.public).chain(other.map(|other| &other.public)).collect();
        let published = json!({ "keys": keys }).to_string().into();
        let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::from_secs(60));
        Self { issuer: issuer.into(), lifetime, key, published, max_size: MAX_SIZE }
    }

    /// The same for assertions of at most so many bytes: where groups would make one longer they are left out, all of them, and
    /// `groups_overage` says how many there are. Which of them an upstream needs nobody here knows, and a part of them would look like the
    /// whole.
    #[must_use]
    pub fn with_max_size(self, max_size: usize) -> Self {
        Self { max_size, ..self }
    }

    /// The set of public keys, as JSON.
    pub fn published(&self) -> &str {
        &self.published
    }

    /// An assertion for an upstream, made now. `principal`: who calls, where that was verified.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn sign(
        &self,
        principal: Option<&Principal>,
        audience: &str,
        now: Timestamp,
    ) -> Result<Assertion, SigningError> {
        let mut ends = now.saturating_add(self.lifetime).unwrap_or(Timestamp::MAX);
        // It says nothing for longer than what it rests on.
        if let Some(expires) = principal.and_then(|principal| principal.authentication.expires) {
            ends = ends.min(expires.max(now));
        }
        let half = ends.duration_since(now) / 2;
        let renew = now.saturating_add(half).unwrap_or(now);
        let starts = now.saturating_sub(BEFORE).unwrap_or(now);
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("iss", json!(&*self.issuer));
        claim("aud", json!(audience));
        claim("iat", json!(now.as_second()));
        claim("nbf", json!(starts.as_second()));
        // At least a second, for these are whole ones.
        claim("exp", json!(ends.as_second().max(now.as_second() + 1)));
        if let Some(principal) = principal {
            describe(principal, &mut claim);
        }
        let (mut payload, mut groups_left_out) = (Value::Object(claims), 0);
        let mut text = payload.to_string();
        for (list, overage) in LISTS {
            if self.key.signed_length(text.len()) <= self.max_size {
                break;
            }
            let Value::Object(claims) = &mut payload else { break };
            let Some(Value::Array(left_out)) = claims.remove(list) else { continue };
            claims.insert(overage.to_owned(), json!(left_out.len()));
            groups_left_out += if list == GROUPS { left_out.len() } else { 0 };
            text = payload.to_string();
        }
        let token = self.key.sign(text.as_bytes())?;
        Ok(Assertion { token, renew, groups_left_out })
    }
}

const GROUPS: &str = "groups";
/// What is left out where it is too long, one after the other, and the claim that says how many there are instead. All else is short.
const LISTS: [(&str, &str); 2] = [(GROUPS, "groups_overage"), ("amr", "amr_overage")];
/// What a signature is, in bytes, by either algorithm (RFC 7518 section 3.4, RFC 8032 section 5.1.6).
const SIGNATURE_BYTES: usize = 64;

/// Who it is, and how that was proven (OpenID Connect Core section 2, RFC 8176).
fn describe(principal: &Principal, claim: &mut impl FnMut(&str, Value) -> Option<Value>) {
    claim("sub", json!(principal.reference()));
    let groups: Vec<&str> = principal.groups.iter().map(|group| &*group.name).collect();
    claim(GROUPS, json!(groups));
    let authentication = &principal.authentication;
    claim("provider", json!(&*authentication.provider));
    let texts = [
        ("email", &principal.email),
        ("name", &principal.name),
        ("acr", &authentication.acr),
        ("upstream_iss", &authentication.issuer),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            claim(name, json!(&**text));
        }
    }
    if !authentication.amr.is_empty() {
        claim("amr", json!(authentication.amr.iter().map(|means| &**means).collect::<Vec<_>>()));
    }
    if let Some(at) = authentication.auth_time {
        claim("auth_time", json!(at.as_second()));
    }
}

#[cfg(test)]
mod tests;
