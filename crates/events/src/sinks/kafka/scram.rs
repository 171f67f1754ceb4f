//! SCRAM (RFC 5802, RFC 7677), the client's side, without channel binding: the password stays here, and the broker has to prove that it
//! knows it, too.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::{hmac, pbkdf2};
use data_encoding::BASE64;
use std::num::NonZeroU32;

use super::message::Fault;

/// A broker that wants more would keep the gateway busy, and one that wants fewer makes the password easy to guess (RFC 7677 section 4).
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn mac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text).as_ref().to_vec()
    }
}

/// An exchange that was begun.
pub(super) struct Scram {
    hash: Hash,
    nonce: String,
    /// The client's first message without its head.
    first: String,
}

impl Scram {
    pub(super) fn new(hash: Hash, user: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash, nonce: nonce.to_owned(), first: format!("n={user},r={nonce}") }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The client's answer to the server's first message; and what the server has to say then.
    pub(super) fn answer(&self, server: &str, password: &str) -> Result<(String, String), Fault> {
        let bad = || Fault::Barred("the broker does not speak SCRAM as it is described".to_owned());
        let part = |name: &str| server.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = part("r=").filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce));
        let nonce = nonce.ok_or_else(bad)?;
        let salt = part("s=").and_then(|salt| BASE64.decode(salt.as_bytes()).ok()).ok_or_else(bad)?;
        let iterations = part("i=").and_then(|count| count.parse().ok()).filter(|count| ITERATIONS.contains(count));
        let iterations = iterations.and_then(NonZeroU32::new).ok_or_else(bad)?;
        let mut salted = vec![0; self.hash.digest().output_len()];
        pbkdf2::derive(self.hash.pbkdf2(), iterations, &salt, password.as_bytes(), &mut salted);
        let client_key = self.hash.mac(&salted, b"Client Key");
        let stored = digest(self.hash.digest(), &client_key);
        let without_proof = format!("c=biws,r={nonce}");
        let all = [&*self.first, server, &without_proof].join(",");
        let signature = self.hash.mac(stored.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
        let server_key = self.hash.mac(&salted, b"Server Key");
        let expected = format!("v={}", BASE64.encode(&self.hash.mac(&server_key, all.as_bytes())));
        Ok((format!("{without_proof},p={}", BASE64.encode(&proof)), expected))
    }
}

/// Whether the server's last message is the one that only who knows the password can make.
pub(super) fn is_proof(said: &[u8], expected: &str) -> bool {
    let said = said.split(|byte| *byte == b',').next().unwrap_or_default();
    verify_slices_are_equal(said, expected.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_description() {
        // RFC 7677 section 3.
        let scram = Scram::new(Hash::Sha256, "user", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (answer, expected) = scram.answer(server, "pencil").unwrap();
        let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(answer, format!("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,{proof}"));
        assert_eq!(expected, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(is_proof(expected.as_bytes(), &expected) && is_proof(format!("{expected},x=1").as_bytes(), &expected));
        for wrong in ["", "v=", "e=other-error", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="] {
            assert!(!is_proof(wrong.as_bytes(), &expected), "{wrong}");
        }
    }

    #[test]
    fn a_broker_that_wants_something_else_gets_no_proof() {
        let scram = Scram::new(Hash::Sha512, "a=b,c", "nonce");
        assert_eq!(scram.first(), "n,,n=a=3Db=2Cc,r=nonce");
        scram.answer("r=nonce-more,s=AAAA,i=4096", "p").unwrap();
        for wrong in [
            "",
            "r=nonce,s=AAAA,i=4096",
            "r=other,s=AAAA,i=4096",
            "r=nonce-more,s=AAAA,i=4095",
            "r=nonce-more,s=AAAA,i=1000001",
            "r=nonce-more,s=AAAA,i=0",
            "r=nonce-more,s=!,i=4096",
            "r=nonce-more,i=4096",
        ] {
            assert!(matches!(scram.answer(wrong, "p"), Err(Fault::Barred(_))), "{wrong}");
        }
    }
}
