//! How the gateway proves to a provider that it is its client, by a signature instead of a secret that both know: `private_key_jwt` (RFC 7523 section 2.2; OpenID
//! Connect Core 1.0, section 9). The key stays here; the provider has its public half.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::secret::sha256;
use crate::strict_json::{self, Object};

/// For how long an assertion holds, in seconds: as long as a request may be on its way.
const LIFETIME_S: i64 = 60;
/// What says which kind of assertion it is (RFC 7523 section 2.2).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key that signs assertions of who the client is. `Debug` hides it.
#[derive(Clone)]
pub struct ClientKey {
    pair: Arc<Pair>,
    algorithm: ClientAlgorithm,
    /// What the provider knows it by, where it has several.
    id: Option<Arc<str>>,
    /// SHA-256 of its text: whether another one is the same.
    fingerprint: [u8; 32],
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        (self.fingerprint, self.algorithm, &self.id) == (other.fingerprint, other.algorithm, &other.id)
    }
}

impl Eq for ClientKey {}

/// How assertions are signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// RSA with PSS and SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// Whom assertions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAudience {
    /// The provider, by its issuer: no other server can be told that it is the one that was meant.
    #[default]
    Issuer,
    /// The address that it is sent to, as OpenID Connect Core asks for and some providers insist on.
    Endpoint,
}

/// Why there is no such key. It never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyError {
    /// It is in neither form, or of another kind.
    #[error("it is no private key, in PEM or as a JWK, of RSA with 2048 bits or more, P-256 or Ed25519")]
    NotAKey,
    /// The algorithm is none of this kind of key.
    #[error("a key of this kind does not sign with {}", .0.as_str())]
    OtherKind(ClientAlgorithm),
    /// The JWK says that it is for something else.
    #[error("the JWK says that it is for another algorithm or use")]
    OtherUse,
}

/// Signing failed: the system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's assertion cannot be signed")]
pub(crate) struct ClientSigningError;

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl ClientAlgorithm {
    /// As `alg` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl ClientKey {
    /// Reads a private key: PEM (PKCS #8, PKCS #1 or SEC 1), or one JWK (RFC 7517). `algorithm`: left out, that of the JWK, else the usual one of this kind of key. `id`: left out,
    /// that of the JWK, else none is named.
    ///
    /// # Errors
    /// [`ClientKeyError`]
    pub fn read(text: &str, algorithm: Option<ClientAlgorithm>, id: Option<&str>) -> Result<Self, ClientKeyError> {
        let jwk = text.trim_start().starts_with('{').then(|| strict_json::parse_object(text.as_bytes()));
        let jwk = jwk.transpose().map_err(|_| ClientKeyError::NotAKey)?;
        let pair = match &jwk {
            Some(jwk) => Pair::of_jwk(jwk),
            None => Pair::of_pem(text.as_bytes()),
        };
        let pair = pair.ok_or(ClientKeyError::NotAKey)?;
        let stated = |name: &str| jwk.as_ref()?.get(name)?.as_str();
        let fits = match algorithm {
            Some(algorithm) => pair.algorithms().contains(&algorithm).then_some(algorithm),
            None => match stated("alg") {
                Some(stated) => pair.algorithms().iter().copied().find(|known| known.as_str() == stated),
                None => pair.algorithms().first().copied(),
            },
        };
        let algorithm = fits.ok_or(algorithm.map_or(ClientKeyError::OtherUse, ClientKeyError::OtherKind))?;
        if stated("alg").is_some_and(|stated| stated != algorithm.as_str())
            || stated("use").is_some_and(|stated| stated != "sig")
        {
            return Err(ClientKeyError::OtherUse);
        }
        let id = id.or_else(|| stated("kid")).map(Arc::from);
        Ok(Self { pair: Arc::new(pair), algorithm, id, fingerprint: sha256(text.as_bytes()) })
    }

    /// How it signs.
    pub fn algorithm(&self) -> ClientAlgorithm {
        self.algorithm
    }

    /// An assertion by this client for this audience, good once and for a minute.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<String, ClientSigningError> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| ClientSigningError)?;
        let mut header = json!({ "alg": self.algorithm.as_str(), "typ": "JWT" });
        if let (Some(id), Value::Object(members)) = (&self.id, &mut header) {
            members.insert("kid".to_owned(), json!(&**id));
        }
        let issued = now.as_second();
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": BASE64URL_NOPAD.encode(&random),
            "iat": issued,
            "exp": issued.saturating_add(LIFETIME_S),
        });
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ClientSigningError> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    ClientAlgorithm::Ps256 => &RSA_PSS_SHA256,
                    ClientAlgorithm::Rs256 | ClientAlgorithm::Es256 | ClientAlgorithm::EdDsa => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map_err(|_| ClientSigningError)?;
                Ok(signature)
            }
            Pair::P256(pair) => {
                pair.sign(&random, message).map(|signed| signed.as_ref().to_vec()).map_err(|_| ClientSigningError)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl Pair {
    /// Those that sign, the usual one first.
    fn algorithms(&self) -> &'static [ClientAlgorithm] {
        match self {
            Self::Rsa(_) => &[ClientAlgorithm::Rs256, ClientAlgorithm::Ps256],
            Self::P256(_) => &[ClientAlgorithm::Es256],
            Self::Ed25519(_) => &[ClientAlgorithm::EdDsa],
        }
    }

    fn of_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let p256 = |der: &[u8]| EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok();
        match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Self::Rsa),
            PrivateKeyDer::Sec1(der) => p256(der.secret_sec1_der()).map(Self::P256),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519);
                let rsa = || RsaKeyPair::from_pkcs8(der).ok().map(Self::Rsa);
                let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok().map(Self::P256);
                p256.or_else(ed25519).or_else(rsa)
            }
            _ => None,
        }
    }

    /// RFC 7518 section 6.2.2 and 6.3.2; RFC 8037 section 2.
    fn of_jwk(jwk: &Object) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => {
                let point = [&[4_u8][..], &bytes("x")?, &bytes("y")?].concat();
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &bytes("d")?, &point).ok().map(Self::P256)
            }
            ("OKP", Some("Ed25519")) => {
                Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?).ok().map(Self::Ed25519)
            }
            ("RSA", None) => {
                let numbers: Vec<Vec<u8>> =
                    ["n", "e", "d", "p", "q", "dp", "dq", "qi"].into_iter().map(bytes).collect::<Option<_>>()?;
                RsaKeyPair::from_der(&rsa_private_key(&numbers)?).ok().map(Self::Rsa)
            }
            _ => None,
        }
    }
}

/// `RSAPrivateKey` (RFC 8017 appendix A.1.2) of two primes, from its numbers in the order in which they stand there.
fn rsa_private_key(numbers: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut body = der(0x02, &[0])?;
    for number in numbers {
        let start = number.iter().position(|byte| *byte != 0)?;
        let digits = number.get(start..)?;
        // One more zero where the first bit would be a sign.
        let is_high = digits.first().is_some_and(|first| first & 0x80 != 0);
        let digits = if is_high { [&[0_u8][..], digits].concat() } else { digits.to_vec() };
        body.extend(der(0x02, &digits)?);
    }
    der(0x30, &body)
}

/// One value of DER; `None` where it is longer than any key.
fn der(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    let [high, low] = length.to_be_bytes();
    let head = match (high, low) {
        (0, low @ 0..=0x7f) => vec![tag, low],
        (0, low) => vec![tag, 0x81, low],
        (high, low) => vec![tag, 0x82, high, low],
    };
    Some([head.as_slice(), content].concat())
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientKey")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "client_key_tests.rs"]
mod tests;
