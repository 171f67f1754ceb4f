//! Private keys under a passphrase: `EncryptedPrivateKeyInfo` (RFC 5958 section 3) by PBES2 (RFC 8018 section 6.2).

use aws_lc_rs::rand;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::{EncryptedPrivateKeyInfoOwned, ObjectIdentifier};

use crate::key::{KeyError, SigningKey, pem};
use crate::request::unarmored;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Rounds of PBKDF2 with HMAC and SHA-256: as many as OWASP asks for. `openssl` reads them, and limits scrypt to less than is asked for there.
const ROUNDS: u32 = 600_000;
/// Rounds that are worked for, in a file of somebody else's making.
const MOST_ROUNDS: u32 = 10_000_000;
/// Memory that scrypt is given, in bytes, and how often it goes through that.
const MOST_MEMORY: u64 = 256 << 20;
const MOST_PASSES: u16 = 64;
const SALT: usize = 16;

/// Whether a file is a private key under a passphrase.
pub(crate) fn is_encrypted(pem: &[u8]) -> bool {
    std::str::from_utf8(pem).is_ok_and(|text| text.contains(&format!("-----BEGIN {LABEL}-----")))
}

impl SigningKey {
    /// Reads a key under a passphrase, such as `openssl genpkey -algorithm ed25519 -aes256` makes.
    ///
    /// # Errors
    /// When it is none, or the passphrase is another one.
    pub fn from_encrypted_pem(pem: &[u8], passphrase: &str) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(pem).map_err(|_| KeyError::Private)?;
        let der = unarmored(LABEL, text).map_err(|_| KeyError::Private)?;
        // The scheme is a part of what is read: one that is not known is no error of the file.
        let info = EncryptedPrivateKeyInfoOwned::from_der(&der).map_err(|_| KeyError::Scheme)?;
        if !is_bounded(&info.encryption_algorithm) {
            return Err(KeyError::Scheme);
        }
        let decrypted = info.decrypt(passphrase).map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => KeyError::Scheme,
            _ => KeyError::Passphrase,
        })?;
        // One wrong passphrase in 256 leaves bytes that look like some; and what is right may be a key of another kind.
        match Self::from_der(decrypted.as_bytes()) {
            Err(_) if names_another_kind(decrypted.as_bytes()) => Err(KeyError::Private),
            Err(_) => Err(KeyError::Passphrase),
            Ok(key) => Ok(key),
        }
    }

    /// Makes a key, and gives it in PEM under a passphrase, too: AES-256 in CBC, by a key of PBKDF2 (HMAC with SHA-256, 600,000 rounds, a salt of 16 bytes).
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate_encrypted(passphrase: &str) -> Result<(Self, String), KeyError> {
        let (key, _) = Self::generate()?;
        let (mut salt, mut iv) = ([0; SALT], [0; 16]);
        rand::fill(&mut salt).and_then(|()| rand::fill(&mut iv)).map_err(|_| KeyError::NoRandomness)?;
        let parameters =
            Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv).map_err(|_| KeyError::Scheme)?;
        let data = parameters.encrypt(passphrase, key.secret_der()?.as_ref()).map_err(|_| KeyError::Scheme)?;
        let encrypted_data = pkcs8::der::asn1::OctetString::new(data).map_err(|_| KeyError::Scheme)?;
        let info = EncryptedPrivateKeyInfoOwned { encryption_algorithm: parameters.into(), encrypted_data };
        let text = pem(LABEL, &info.to_der().map_err(|_| KeyError::Scheme)?);
        Ok((key, text))
    }
}

/// Whether what it takes to try a passphrase is bounded: whoever wrote the file chose that.
fn is_bounded(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(kdf) => {
            // RFC 7914, section 2: 128 * r bytes for each of N blocks, and for each of p passes.
            let blocks = kdf.cost_parameter.saturating_add(u64::from(kdf.parallelization));
            let memory = u64::from(kdf.block_size).saturating_mul(128).saturating_mul(blocks);
            memory <= MOST_MEMORY && kdf.parallelization <= MOST_PASSES
        }
        _ => false,
    }
}

/// Whether it is a private key all the same, of an algorithm that is not Ed25519.
fn names_another_kind(der: &[u8]) -> bool {
    const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    pkcs8::PrivateKeyInfoRef::try_from(der).is_ok_and(|info| info.algorithm.oid != ED25519)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PublicKey;

    /// The public half of what `openssl genpkey -algorithm ed25519` made, and then `openssl pkcs8 -topk8` with these options, of OpenSSL 3.0, and the passphrase `correct horse`.
    const PUBLIC: &str = include_str!("../testdata/approver.pub.pem");
    const BY_OPENSSL: [(&str, &str); 3] = [
        ("-v2 aes-256-cbc", include_str!("../testdata/approver.pbkdf2.pem")),
        ("-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 100000", include_str!("../testdata/approver.sha512.pem")),
        ("-scrypt", include_str!("../testdata/approver.scrypt.pem")),
    ];

    #[test]
    fn keys_that_openssl_has_encrypted_are_read_by_their_passphrase_alone() {
        let public = PublicKey::from_pem(PUBLIC.as_bytes()).unwrap();
        for (name, text) in BY_OPENSSL {
            assert_eq!(SigningKey::from_pem(text.as_bytes()).unwrap_err(), KeyError::Encrypted, "{name}");
            let read = SigningKey::from_encrypted_pem(text.as_bytes(), "correct horse").unwrap();
            assert_eq!(read.public(), public, "{name}");
            for wrong in ["", "correct horse ", "Correct horse"] {
                let refused = SigningKey::from_encrypted_pem(text.as_bytes(), wrong).unwrap_err();
                assert_eq!(refused, KeyError::Passphrase, "{name}: {wrong:?}");
            }
        }
        assert_eq!(SigningKey::from_encrypted_pem(PUBLIC.as_bytes(), "x").unwrap_err(), KeyError::Private);
        // Encrypted, and a key of another kind (P-256).
        let other = include_str!("../testdata/approver.p256.pem");
        assert_eq!(SigningKey::from_encrypted_pem(other.as_bytes(), "correct horse").unwrap_err(), KeyError::Private);
    }

    #[test]
    fn a_key_is_read_as_it_was_encrypted() {
        let (key, text) = SigningKey::generate_encrypted("correct horse").unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
        assert_eq!(SigningKey::from_encrypted_pem(text.as_bytes(), "correct horse").unwrap().public(), key.public());
        assert_eq!(SigningKey::from_encrypted_pem(text.as_bytes(), "another").unwrap_err(), KeyError::Passphrase);
    }

    /// What would take for ever, or all memory, is not begun.
    #[test]
    fn what_a_file_asks_for_is_bounded() {
        let old = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(SigningKey::from_encrypted_pem(old.as_bytes(), "x").unwrap_err(), KeyError::Scheme);
        let of = |rounds| Parameters::generate_pbkdf2_sha256_aes256cbc(rounds, &[1; 16], [2; 16]).unwrap().into();
        assert!(is_bounded(&of(MOST_ROUNDS)) && !is_bounded(&of(MOST_ROUNDS + 1)));
        let scheme = |cost: u64, passes: u16| {
            let der = unarmored(LABEL, BY_OPENSSL[2].1).unwrap();
            let mut scheme = EncryptedPrivateKeyInfoOwned::from_der(&der).unwrap().encryption_algorithm;
            let EncryptionScheme::Pbes2(parameters) = &mut scheme else { panic!("{scheme:?}") };
            let Kdf::Scrypt(kdf) = &mut parameters.kdf else { panic!("{parameters:?}") };
            (kdf.cost_parameter, kdf.parallelization) = (cost, passes);
            is_bounded(&scheme)
        };
        assert!(scheme(1 << 14, 1) && scheme((1 << 18) - 64, MOST_PASSES));
        assert!(
            !scheme((1 << 18) - 63, MOST_PASSES)
                && !scheme(1 << 19, 1)
                && !scheme(1 << 40, 1)
                && !scheme(u64::MAX, 1)
                && !scheme(2, MOST_PASSES + 1)
        );
    }
}
