//! Signing keys made for one test, their key set (RFC 7517), and tokens signed with them (RFC 7515, RFC 7519), good and bad.
//!
//! Nothing here verifies: that is the gateway's part, and the tests of this module use an independent verifier.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac, rand};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value, json};

/// How long a token is valid where a test does not say.
const LIFETIME: i64 = 300;

/// A freshly generated private key with the `kid` under which its public half is published.
#[derive(Debug)]
pub struct SigningKey {
    kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    /// Boxed because it is ten times the size of the others.
    Rs256(Box<RsaKeyPair>),
}

impl SigningKey {
    /// An Ed25519 key, `alg` `EdDSA` (RFC 8037).
    pub fn ed25519(kid: &str) -> Self {
        Self::new(kid, Pair::EdDsa(Ed25519KeyPair::generate().expect("the system gives random bytes")))
    }

    /// A P-256 key, `alg` `ES256` (RFC 7518 section 3.4).
    pub fn es256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the system gives random bytes");
        Self::new(kid, Pair::Es256(pair))
    }

    /// A 2048-bit RSA key, `alg` `RS256` (RFC 7518 section 3.3). Generating one takes far longer than the other two.
    pub fn rs256(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("the system gives random bytes");
        Self::new(kid, Pair::Rs256(Box::new(pair)))
    }

    fn new(kid: &str, pair: Pair) -> Self {
        Self { kid: kid.to_owned(), pair }
    }

    /// Another key of the same kind under the same `kid`: what a forger without the private key would use.
    #[must_use]
    pub fn impostor(&self) -> Self {
        match self.pair {
            Pair::EdDsa(_) => Self::ed25519(&self.kid),
            Pair::Es256(_) => Self::es256(&self.kid),
            Pair::Rs256(_) => Self::rs256(&self.kid),
        }
    }

    /// The `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The `alg` (RFC 7518 section 3.1) that this key signs with.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::EdDsa(_) => "EdDSA",
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
        }
    }

    /// The public half as a JWK with `kid`, `alg` and `use` (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::EdDsa(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
            Pair::Es256(pair) => {
                // An uncompressed point is 0x04, then both coordinates (SEC 1 section 2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Rs256(pair) => json!({
                "kty": "RSA",
                "n": encode(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": encode(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
        };
        for (name, value) in [("kid", self.kid()), ("alg", self.algorithm()), ("use", "sig")] {
            set(&mut jwk, name, value.into());
        }
        jwk
    }

    /// The private half in the form of PKCS #8 (RFC 5958) and PEM, as a file has it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn pem(&self) -> String {
        let rsa = |pair: &RsaKeyPair| -> Vec<u8> {
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().expect("a key that was made can be written");
            der.as_ref().to_vec()
        };
        let der = match &self.pair {
            Pair::EdDsa(pair) => pair.to_pkcs8v1().expect("a key that was made can be written").as_ref().to_vec(),
            Pair::Es256(pair) => pair.to_pkcs8v1().expect("a key that was made can be written").as_ref().to_vec(),
            Pair::Rs256(pair) => rsa(pair),
        };
        let lines: Vec<String> =
            BASE64.encode(&der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    }

    /// The SHA-256 that names the public half (RFC 7638), in base64url: the `jkt` of a token that is bound to this key.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let members: &[&str] = match self.pair {
            Pair::EdDsa(_) => &["crv", "kty", "x"],
            Pair::Es256(_) => &["crv", "kty", "x", "y"],
            Pair::Rs256(_) => &["e", "kty", "n"],
        };
        let members: Vec<String> =
            members.iter().filter_map(|name| Some(format!("\"{name}\":{}", jwk.get(*name)?))).collect();
        sha256_base64url(format!("{{{}}}", members.join(",")).as_bytes())
    }

    /// The header of a proof that this key signs (RFC 9449 section 4.2), for a test that changes it.
    pub fn proof_header(&self) -> Value {
        let mut jwk = self.jwk();
        for name in ["kid", "alg", "use"] {
            jwk.as_object_mut().expect("a key is an object").remove(name);
        }
        json!({"typ": "dpop+jwt", "alg": self.algorithm(), "jwk": jwk})
    }

    /// A proof for one request with this token (RFC 9449), made now.
    pub fn proof(&self, method: &str, address: &str, token: &str) -> String {
        self.token_with(&self.proof_header(), &Claims::proof(method, address, token))
    }

    /// A token with these claims under the usual header: `alg`, `typ` `JWT` and `kid`.
    pub fn token(&self, claims: &Claims) -> String {
        self.token_with(&self.header(), claims)
    }

    /// The header of [`Self::token`], for a test that changes it.
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.kid()})
    }

    /// A token whose header is exactly `header`, whatever it claims; the signature is this key's.
    pub fn token_with(&self, header: &Value, claims: &Claims) -> String {
        let signed = signing_input(header, claims);
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Es256(pair) => pair.sign(&random, message).expect("a generated key signs").as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a generated key signs");
                signature
            }
        }
    }

    /// A bad token: `HS256`, keyed with the text of this key's public JWK. A verifier that lets the header choose the
    /// algorithm takes the public key for the shared secret and accepts it (RFC 8725 section 2.1).
    pub fn confused_token(&self, claims: &Claims) -> String {
        let signed = signing_input(&json!({"alg": "HS256", "typ": "JWT", "kid": self.kid()}), claims);
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.jwk().to_string().as_bytes());
        format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes()).as_ref()))
    }
}

/// The text of a key set with the public halves of `keys` (RFC 7517 section 5).
pub fn jwks(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A bad token: `alg` `none` and an empty signature (RFC 7519 section 6).
pub fn unsigned(claims: &Claims) -> String {
    format!("{}.", signing_input(&json!({"alg": "none", "typ": "JWT"}), claims))
}

/// A bad token: `token` with other claims under the signature of the old ones.
///
/// # Panics
/// When `token` has not three parts.
pub fn with_other_claims(token: &str, claims: &Claims) -> String {
    let (header, _, signature) = parts(token);
    format!("{header}.{}.{signature}", encode(claims.to_string().as_bytes()))
}

/// A bad token: `token` with one bit of its signature flipped.
///
/// # Panics
/// When `token` has not three parts or no signature.
pub fn with_flipped_signature(token: &str) -> String {
    let (header, payload, signature) = parts(token);
    let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).expect("the signature is base64url");
    *signature.last_mut().expect("the token is signed") ^= 1;
    format!("{header}.{payload}.{}", encode(&signature))
}

/// The claims of a token: a JSON object that a test fills as it likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Valid from now on for five minutes: `iss`, `aud`, `sub`, `iat`, `nbf`, `exp` and a random `jti`.
    pub fn new(issuer: &str, audience: &str, subject: &str) -> Self {
        let now = now();
        Self(Map::new())
            .set("iss", issuer)
            .set("aud", audience)
            .set("sub", subject)
            .set("iat", now)
            .set("nbf", now)
            .set("exp", now + LIFETIME)
            .set("jti", data_encoding::HEXLOWER.encode(&random_bytes::<16>()))
    }

    /// Those of a proof (RFC 9449 section 4.2), made now: `htm`, `htu`, `ath`, `iat` and a random `jti`.
    pub fn proof(method: &str, address: &str, token: &str) -> Self {
        Self(Map::new())
            .set("htm", method)
            .set("htu", address)
            .set("ath", sha256_base64url(token.as_bytes()))
            .set("iat", now())
            .set("jti", data_encoding::HEXLOWER.encode(&random_bytes::<16>()))
    }

    /// Sets a claim, in place of an earlier value.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a claim away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Sets `groups`.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.set("groups", groups)
    }

    /// Sets a time claim (`exp`, `nbf`, `iat`, `auth_time`) to whole seconds from now; negative is in the past.
    #[must_use]
    pub fn seconds_from_now(self, name: &str, seconds: i64) -> Self {
        self.set(name, now() + seconds)
    }

    /// Expired for `ago`: issued a lifetime before that.
    #[must_use]
    pub fn expired(self, ago: Duration) -> Self {
        let ended = -seconds(ago);
        self.seconds_from_now("exp", ended)
            .seconds_from_now("nbf", ended - LIFETIME)
            .seconds_from_now("iat", ended - LIFETIME)
    }

    /// Not valid before `ahead` has passed.
    #[must_use]
    pub fn not_yet_valid(self, ahead: Duration) -> Self {
        let begin = seconds(ahead);
        self.seconds_from_now("nbf", begin).seconds_from_now("exp", begin + LIFETIME)
    }

    /// A claim's value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl std::fmt::Display for Claims {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&serde_json::to_string(&self.0).map_err(|_| std::fmt::Error)?)
    }
}

/// Fresh random bytes, for secrets of API keys and the like.
pub fn random_bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 in unpadded base64url.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn signing_input(header: &Value, claims: &Claims) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

fn parts(token: &str) -> (&str, &str, &str) {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => (header, payload, signature),
        _ => panic!("a token has three parts: {token}"),
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn now() -> i64 {
    seconds(SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970"))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).expect("the time fits")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::errors::ErrorKind;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;

    const ISSUER: &str = "https://idp.test";
    const AUDIENCE: &str = "payroll";

    fn claims() -> Claims {
        Claims::new(ISSUER, AUDIENCE, "u-17")
    }

    fn keys() -> [(SigningKey, Algorithm); 3] {
        [
            (SigningKey::ed25519("ed"), Algorithm::EdDSA),
            (SigningKey::es256("es"), Algorithm::ES256),
            (SigningKey::rs256("rs"), Algorithm::RS256),
        ]
    }

    /// What an independent verifier makes of `token` with the public half of `key` as its key set gives it.
    fn verify(key: &SigningKey, algorithm: Algorithm, token: &str) -> Result<Value, ErrorKind> {
        let set: JwkSet = serde_json::from_str(&jwks(&[key])).unwrap();
        let key = DecodingKey::from_jwk(set.find(key.kid()).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        decode::<Value>(token, &key, &validation)
            .map(|data| data.claims)
            .map_err(jsonwebtoken::errors::Error::into_kind)
    }

    #[test]
    fn a_good_token_verifies_under_the_published_key() {
        for (key, algorithm) in keys() {
            let verified = verify(&key, algorithm, &key.token(&claims().groups(&["hr", "staff"]))).unwrap();
            assert_eq!(verified["sub"], "u-17");
            assert_eq!(verified["groups"], json!(["hr", "staff"]));
            assert_eq!(key.jwk()["alg"], key.algorithm());
        }
    }

    #[test]
    fn forged_and_damaged_tokens_do_not_verify() {
        for (key, algorithm) in keys() {
            let good = key.token(&claims());
            let bad = [
                key.impostor().token(&claims()),
                with_other_claims(&good, &claims().set("sub", "admin")),
                with_flipped_signature(&good),
            ];
            for token in bad {
                assert_eq!(verify(&key, algorithm, &token), Err(ErrorKind::InvalidSignature), "{token}");
            }
            assert!(verify(&key, algorithm, &unsigned(&claims())).is_err());
            assert_eq!(verify(&key, algorithm, &key.confused_token(&claims())), Err(ErrorKind::InvalidAlgorithm));
        }
    }

    #[test]
    fn each_bad_claim_is_bad_in_its_own_way() {
        let key = SigningKey::es256("k");
        let check = |claims: Claims, expected: ErrorKind| {
            assert_eq!(verify(&key, Algorithm::ES256, &key.token(&claims)), Err(expected), "{claims}");
        };
        check(claims().expired(Duration::from_secs(60)), ErrorKind::ExpiredSignature);
        check(claims().not_yet_valid(Duration::from_secs(60)), ErrorKind::ImmatureSignature);
        check(claims().set("iss", "https://other.test"), ErrorKind::InvalidIssuer);
        check(claims().set("aud", "other"), ErrorKind::InvalidAudience);
        check(claims().without("exp"), ErrorKind::MissingRequiredClaim("exp".to_owned()));
    }

    #[test]
    fn the_header_is_the_tests_to_choose() {
        let key = SigningKey::ed25519("k");
        let mut header = key.header();
        set(&mut header, "crit", json!(["b64"]));
        let token = key.token_with(&header, &claims());
        let decoded = BASE64URL_NOPAD.decode(token.split('.').next().unwrap().as_bytes()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&decoded).unwrap(), header);
        assert_eq!(unsigned(&claims()).split('.').nth(2), Some(""));
    }

    #[test]
    fn keys_and_token_ids_are_fresh() {
        assert_ne!(SigningKey::ed25519("k").jwk(), SigningKey::ed25519("k").jwk());
        assert_ne!(claims().get("jti"), claims().get("jti"));
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
