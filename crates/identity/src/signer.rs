//! For tests: makes keys, their public JWKs and tokens signed with them.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Making an RSA key takes long, so all tests share one.
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

pub(crate) struct Signer {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa,
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn rsa(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Rsa }
    }

    pub(crate) fn p256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id: id.to_owned(), pair: Pair::P256(pair) }
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match &self.pair {
            Pair::Rsa => {
                // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: 9 bytes of DER, the modulus, 2 bytes, the exponent.
                let der = RSA.public_key().as_ref();
                json!({"kty":"RSA","kid":self.id,"n":encode(&der[9..265]),"e":encode(&der[267..])})
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty":"EC","crv":"P-256","kid":self.id,"x":encode(&point[1..33]),"y":encode(&point[33..])})
            }
            Pair::Ed25519(pair) => {
                json!({"kty":"OKP","crv":"Ed25519","kid":self.id,"x":encode(pair.public_key().as_ref())})
            }
        }
    }

    pub(crate) fn jwks(&self) -> String {
        json!({"keys":[self.jwk()]}).to_string()
    }

    pub(crate) fn header(&self) -> Value {
        let algorithm = match self.pair {
            Pair::Rsa => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        };
        json!({"alg":algorithm,"kid":self.id,"typ":"JWT"})
    }

    /// A token with the key's own header.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims.to_string().as_bytes())
    }

    /// A token with any header and any payload.
    pub(crate) fn sign_with(&self, header: &Value, payload: &[u8]) -> String {
        let header = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
        let signing_input = format!("{header}.{}", BASE64URL_NOPAD.encode(payload));
        let signature = self.signature(signing_input.as_bytes());
        format!("{signing_input}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa => {
                let mut signature = vec![0; RSA.public_modulus_len()];
                RSA.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}
