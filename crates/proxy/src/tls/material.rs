//! Certificates, private keys and revocation lists, from the bytes of PEM files (RFC 7468) to what rustls takes.
//!
//! Nothing is left out in silence: a section that cannot be read refuses the whole file, and a file that holds none of what
//! it is named for is an error. Text between the sections is skipped, as RFC 7468 section 5.2 has it, and so are sections of
//! another kind, since certificates and keys are often kept in one file.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
pub use rustls::sign::CertifiedKey;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;

/// Why bytes are not the material that they should be. The text is for the operator, and holds nothing of a key.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// The PEM is broken.
    #[error("it is not valid PEM: {0}")]
    Pem(String),
    /// There is no section of the wanted kind.
    #[error("it holds no {0}")]
    Nothing(&'static str),
    /// There are several keys, and it is not known which one is meant.
    #[error("it holds more than one private key")]
    SeveralKeys,
    /// The key is encrypted: there is nobody to ask for its passphrase.
    #[error("its private key is encrypted")]
    EncryptedKey,
    /// More sections than anybody can mean.
    #[error("it holds more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A certificate cannot be parsed.
    #[error("certificate {number} in it cannot be read")]
    Certificate {
        /// Which, from 1.
        number: usize,
    },
    /// The key is of a kind that cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(#[source] rustls::Error),
    /// The key is that of another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// A certificate cannot be a root.
    #[error("certificate {number} in it cannot be a root: {source}")]
    Root {
        /// Which, from 1.
        number: usize,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// A chain is a few certificates long; a file of roots may hold those of the whole web.
const MAX_CERTIFICATES: usize = 1_000;
/// One list for each authority.
const MAX_REVOCATION_LISTS: usize = 100;

/// The certificates in `pem`, in their order; at least one, at most 1,000, and each can be parsed.
///
/// # Errors
/// [`MaterialError`]
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let found = all::<CertificateDer<'static>>(pem, "certificates", MAX_CERTIFICATES)?;
    if found.is_empty() {
        return Err(MaterialError::Nothing("certificate"));
    }
    for (index, certificate) in found.iter().enumerate() {
        let whole = matches!(X509Certificate::from_der(certificate), Ok((rest, _)) if rest.is_empty());
        if !whole {
            return Err(MaterialError::Certificate { number: index + 1 });
        }
    }
    Ok(found)
}

/// The one private key in `pem`: PKCS #8, PKCS #1 or SEC 1, not encrypted.
///
/// # Errors
/// [`MaterialError`]
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let mut keys = all::<PrivateKeyDer<'static>>(pem, "private keys", 2)?;
    match (keys.pop(), keys.pop()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(MaterialError::SeveralKeys),
        (None, _) if is_encrypted(pem) => Err(MaterialError::EncryptedKey),
        (None, _) => Err(MaterialError::Nothing("private key")),
    }
}

/// The certificate revocation lists in `pem` (RFC 5280 section 5); at least one, at most 100.
///
/// # Errors
/// [`MaterialError`]
pub fn revocation_lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
    let found = all::<CertificateRevocationListDer<'static>>(pem, "revocation lists", MAX_REVOCATION_LISTS)?;
    if found.is_empty() { Err(MaterialError::Nothing("certificate revocation list")) } else { Ok(found) }
}

/// The roots to verify a peer by: every certificate in `pem`.
///
/// # Errors
/// [`MaterialError`]: also when one of them cannot be a root.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, MaterialError> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates(pem)?.into_iter().enumerate() {
        store.add(certificate).map_err(|source| MaterialError::Root { number: index + 1, source })?;
    }
    Ok(store)
}

/// A certificate chain, the own one first, and the key that belongs to it.
///
/// # Errors
/// [`MaterialError`]: also when they do not belong together.
pub fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, MaterialError> {
    let signing = provider().key_provider.load_private_key(key).map_err(MaterialError::Key)?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(MaterialError::Mismatch),
        Err(error) => Err(MaterialError::Key(error)),
    }
}

/// The last second at which a certificate is valid, since the epoch; `None` if it cannot be read.
#[must_use]
pub fn valid_until(certificate: &CertificateDer<'_>) -> Option<i64> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed.validity().not_after.timestamp())
}

fn all<T: PemObject>(pem: &[u8], what: &'static str, limit: usize) -> Result<Vec<T>, MaterialError> {
    let mut found = Vec::new();
    for item in T::pem_slice_iter(pem) {
        if found.len() == limit {
            return Err(MaterialError::TooMany { what, limit });
        }
        found.push(item.map_err(|error| MaterialError::Pem(words(&error)))?);
    }
    Ok(found)
}

/// The library's own text shows the bytes that it did not understand; they may be those of a key.
fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section without its end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section that does not begin properly".to_owned(),
        pem::Error::Base64Decode(_) => "a section that is not base64".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    let text = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    pem.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn told<T>(result: Result<T, MaterialError>) -> String {
        result.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_chain_and_its_key_are_read_from_one_file_or_two() {
        let (certificate, key) = pair();
        let both = format!("a comment\n{key}\n{certificate}");
        for (certificates_in, key_in) in [(&certificate, &key), (&both, &both)] {
            let chain = certificates(certificates_in.as_bytes()).unwrap();
            assert_eq!(chain.len(), 1);
            assert!(certified_key(chain, private_key(key_in.as_bytes()).unwrap()).is_ok());
        }
        assert_eq!(roots(format!("{certificate}{certificate}").as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_bytes() {
        let (certificate, key) = pair();
        let (other, other_key) = pair();
        let cut = certificate.replace("-----END CERTIFICATE-----", "");
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_base64 = "-----BEGIN PRIVATE KEY-----\nhush!\n-----END PRIVATE KEY-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (text, expected) in [
            ("", "it holds no certificate"),
            (&key, "it holds no certificate"),
            (&cut, "it is not valid PEM: a section without its end"),
            (garbled, "certificate 1 in it cannot be read"),
            (&format!("{certificate}{garbled}"), "certificate 2 in it cannot be read"),
        ] {
            assert_eq!(told(certificates(text.as_bytes())), expected, "{text}");
            assert!(roots(text.as_bytes()).is_err(), "{text}");
        }
        for (text, expected) in [
            ("", "it holds no private key"),
            (&certificate, "it holds no private key"),
            (no_base64, "it is not valid PEM: a section that is not base64"),
            (encrypted, "its private key is encrypted"),
            (&format!("{key}{other_key}"), "it holds more than one private key"),
        ] {
            assert_eq!(told(private_key(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(told(revocation_lists(certificate.as_bytes())), "it holds no certificate revocation list");
        let mismatched = certified_key(certificates(other.as_bytes()).unwrap(), private_key(key.as_bytes()).unwrap());
        assert_eq!(told(mismatched), "the private key does not belong to the certificate");
    }

    #[test]
    fn a_key_of_a_kind_that_cannot_sign_is_told() {
        let text = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let (certificate, _) = pair();
        let result =
            certified_key(certificates(certificate.as_bytes()).unwrap(), private_key(text.as_bytes()).unwrap());
        assert!(told(result).starts_with("the private key cannot be used"));
    }
}
