//! Real credentials, made for one run: tokens signed with a key that never leaves this process, and an API key.
//!
//! What the gateway reads of them is public (a key set) or a hash (the key file). The credentials themselves are secrets
//! for as long as the demo runs.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use portcullis_identity::SecretText;
use portcullis_identity::api_key::{MintError, mint};
use serde_json::{Value, json};

/// What `portcullis.toml` of the demo says about its tokens.
const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "billing";
const SIGNING_KEY_ID: &str = "demo";
/// The id of the API key.
pub(crate) const API_KEY_ID: &str = "reporting";
const API_KEY_HEADER: &str = "x-api-key";

/// How long a token holds: long enough to try things out.
const LIFETIME_S: i64 = 8 * 60 * 60;
const DAY_S: i64 = 24 * 60 * 60;

/// Whose credential a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// None at all.
    Nobody,
    /// `user:alice`, of finance.
    Alice,
    /// Alice, who has shown a second factor.
    AliceMfa,
    /// Alice's token of yesterday.
    AliceYesterday,
    /// `user:bob`, who runs billing.
    Bob,
    /// `user:carol`, a contractor.
    Carol,
    /// `service:reporting`, by its API key.
    Reporting,
    /// A key of the right form and the wrong secret.
    Guess,
}

impl Caller {
    /// Everybody who has a credential.
    pub(crate) const WITH_CREDENTIAL: [Self; 7] =
        [Self::Alice, Self::AliceMfa, Self::AliceYesterday, Self::Bob, Self::Carol, Self::Reporting, Self::Guess];

    /// The shell variable that holds the header with the credential.
    pub(crate) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Nobody => None,
            Self::Alice => Some("ALICE"),
            Self::AliceMfa => Some("ALICE_MFA"),
            Self::AliceYesterday => Some("ALICE_YESTERDAY"),
            Self::Bob => Some("BOB"),
            Self::Carol => Some("CAROL"),
            Self::Reporting => Some("REPORTING"),
            Self::Guess => Some("GUESS"),
        }
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The operating system gave no random bytes for the signing key.
    #[error("no signing key could be made")]
    SigningKey,
    /// The API key could not be made.
    #[error("no API key could be made")]
    ApiKey(#[from] MintError),
}

/// The credentials of one run.
#[derive(Debug)]
pub(crate) struct Credentials {
    jwks: String,
    api_key_sha256: [u8; 32],
    headers: Vec<(Caller, &'static str, SecretText<'static>)>,
}

impl Credentials {
    /// Makes all of them, as of now.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub(crate) fn make(now: Timestamp) -> Result<Self, CredentialError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| CredentialError::SigningKey)?;
        let now = now.as_second();
        let token = |claims: Value| SecretText::new(format!("Bearer {}", sign(&pair, &claims)));
        let minted = mint(API_KEY_ID)?;
        let headers = vec![
            (Caller::Alice, "authorization", token(claims("alice", now))),
            (Caller::AliceMfa, "authorization", token(with_second_factor(claims("alice", now), now))),
            (Caller::AliceYesterday, "authorization", token(claims("alice", now - DAY_S))),
            (Caller::Bob, "authorization", token(claims("bob", now))),
            (Caller::Carol, "authorization", token(in_group(claims("carol", now), "contractors"))),
            (Caller::Reporting, API_KEY_HEADER, minted.text),
            // A second key of the same id: nobody wrote down its hash.
            (Caller::Guess, API_KEY_HEADER, mint(API_KEY_ID)?.text),
        ];
        Ok(Self { jwks: key_set(&pair), api_key_sha256: minted.sha256, headers })
    }

    /// The header that carries a caller's credential: its name and its value.
    pub(crate) fn header(&self, caller: Caller) -> Option<(&'static str, &SecretText<'static>)> {
        self.headers.iter().find(|(whose, ..)| *whose == caller).map(|(_, name, value)| (*name, value))
    }

    /// The public half of the signing key, as a key set (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// SHA-256 of the API key's secret.
    pub(crate) fn api_key_sha256(&self) -> [u8; 32] {
        self.api_key_sha256
    }
}

fn claims(subject: &str, issued: i64) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject,
        "iat": issued, "exp": issued + LIFETIME_S,
    })
}

fn with_second_factor(mut claims: Value, authenticated: i64) -> Value {
    set(&mut claims, "acr", json!("urn:mfa"));
    set(&mut claims, "auth_time", json!(authenticated));
    claims
}

fn in_group(mut claims: Value, group: &str) -> Value {
    set(&mut claims, "groups", json!([group]));
    claims
}

fn set(claims: &mut Value, name: &str, value: Value) {
    if let Some(claims) = claims.as_object_mut() {
        claims.insert(name.to_owned(), value);
    }
}

/// A token in compact serialization (RFC 7515 section 7.1), signed with Ed25519 (RFC 8037 section 3.1).
fn sign(pair: &Ed25519KeyPair, claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": SIGNING_KEY_ID });
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = pair.sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}

/// The public key as RFC 8037 section 2 writes it.
fn key_set(pair: &Ed25519KeyPair) -> String {
    let public = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
    let key = json!({
        "kty": "OKP", "crv": "Ed25519", "x": public,
        "kid": SIGNING_KEY_ID, "alg": "EdDSA", "use": "sig",
    });
    json!({ "keys": [key] }).to_string()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn decoded(credentials: &Credentials, caller: Caller) -> Value {
        let (name, value) = credentials.header(caller).unwrap();
        assert_eq!(name, "authorization");
        let token = value.expose().strip_prefix("Bearer ").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let keys: Value = serde_json::from_str(credentials.jwks()).unwrap();
        let public = BASE64URL_NOPAD.decode(keys["keys"][0]["x"].as_str().unwrap().as_bytes()).unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &signature).unwrap();
        let payload = BASE64URL_NOPAD.decode(signed.split('.').nth(1).unwrap().as_bytes()).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }

    #[test]
    fn tokens_verify_with_the_published_key_and_say_what_the_story_needs() {
        let now = 1_800_000_000;
        let credentials = Credentials::make(at(now)).unwrap();
        let alice = decoded(&credentials, Caller::Alice);
        assert_eq!((alice["sub"].as_str(), alice["exp"].as_i64()), (Some("alice"), Some(now + LIFETIME_S)));
        assert_eq!(alice.get("acr"), None);
        assert_eq!(decoded(&credentials, Caller::AliceMfa)["auth_time"], now);
        assert!(decoded(&credentials, Caller::AliceYesterday)["exp"].as_i64().unwrap() < now);
        assert_eq!(decoded(&credentials, Caller::Carol)["groups"], json!(["contractors"]));
    }

    #[test]
    fn everybody_but_nobody_has_a_credential_and_a_variable_of_their_own() {
        let credentials = Credentials::make(at(0)).unwrap();
        assert!(credentials.header(Caller::Nobody).is_none() && Caller::Nobody.variable().is_none());
        let mut seen = std::collections::HashSet::new();
        for caller in Caller::WITH_CREDENTIAL {
            let (_, value) = credentials.header(caller).unwrap();
            assert!(seen.insert(value.expose().to_owned()), "{caller:?}");
            assert!(seen.insert(caller.variable().unwrap().to_owned()), "{caller:?}");
        }
        assert_eq!(credentials.headers.len(), Caller::WITH_CREDENTIAL.len());
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::make(at(0)).unwrap();
        let shown = format!("{credentials:?}");
        for caller in Caller::WITH_CREDENTIAL {
            assert!(!shown.contains(credentials.header(caller).unwrap().1.expose()), "{caller:?}");
        }
    }
}
