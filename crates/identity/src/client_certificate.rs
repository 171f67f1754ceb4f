//! From a client certificate to a principal.
//!
//! The TLS handshake has verified the chain, and that the client holds the key; here the leaf is read, once for each
//! connection. Who it is stands in the subject alternative name. The common name is never looked at (RFC 9525 section 2),
//! and of several names of one kind none is chosen: the next reader might choose another.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{
    Authentication, AuthenticationMethod, CredentialProblemKind as Kind, Principal, PrincipalKind,
};
use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authentication::Identity;
use crate::claims::MAX_TEXT_BYTES;
use crate::namespace::Namespace;
use crate::refusal::{Refusal, Rejection, excerpt};
use crate::secret::sha256;
use crate::settings::{BesideCredential, CertificateProvider, SanKind};

/// The most names that one certificate may have and be a credential.
const MAX_NAMES: usize = 64;
/// The longest subject that is kept for events, in bytes.
const MAX_SUBJECT_BYTES: usize = 512;

/// What is read of a client's certificate. It is kept while the connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    hash: [u8; 32],
    sha256: Box<str>,
    subject: Option<Box<str>>,
    /// From when until when it is valid, in seconds since the epoch, both included.
    validity: Option<(i64, i64)>,
    /// What it says, or why it cannot be a credential.
    content: Result<Content, &'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    names: Vec<(SanKind, Result<Box<str>, &'static str>)>,
}

impl ClientCertificate {
    /// Reads a leaf (DER, RFC 5280). One that cannot be read is nobody's, and that is told when it is asked for.
    pub fn read(der: &[u8]) -> Self {
        let hash = sha256(der);
        let hex = data_encoding::HEXLOWER.encode(&hash).into();
        match X509Certificate::from_der(der) {
            Ok(([], parsed)) => {
                let subject = parsed.subject().to_string();
                let (subject, _) = subject.split_at(subject.floor_char_boundary(MAX_SUBJECT_BYTES));
                let validity = parsed.validity();
                let validity = Some((validity.not_before.timestamp(), validity.not_after.timestamp()));
                Self { hash, sha256: hex, subject: Some(subject.into()), validity, content: Content::of(&parsed) }
            }
            Ok(_) | Err(_) => {
                Self { hash, sha256: hex, subject: None, validity: None, content: Err("it cannot be read") }
            }
        }
    }

    /// The SHA-256 of the certificate, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether it is the one that a token is bound to by its SHA-256 (RFC 8705 section 3), and is valid now: connections outlive
    /// certificates.
    ///
    /// # Errors
    /// Another one, or one whose time is over or yet to come, or cannot be read.
    pub(crate) fn is_bound(&self, hash: &[u8; 32], now: Timestamp) -> Result<(), Refusal> {
        if self.hash != *hash {
            return Err(Refusal::invalid("the token is bound to another client certificate"));
        }
        let cannot = || Refusal::invalid("the validity of the token's client certificate cannot be read");
        check_validity(self.validity.ok_or_else(cannot)?, now)
    }

    /// Its subject, for people; at most 512 bytes. It never decides anything.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

impl Content {
    fn of(parsed: &X509Certificate<'_>) -> Result<Self, &'static str> {
        let names = match parsed.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.as_slice(),
            Ok(None) => &[],
            Err(_) => return Err("its subject alternative name cannot be read"),
        };
        if names.len() > MAX_NAMES {
            return Err("it has more than 64 names");
        }
        Ok(Self { names: names.iter().filter_map(name).collect() })
    }
}

/// A name of a kind that can be a principal.
fn name(name: &GeneralName<'_>) -> Option<(SanKind, Result<Box<str>, &'static str>)> {
    // The tags of GeneralName (RFC 5280 section 4.2.1.6).
    const EMAIL: Tag = Tag(1);
    const DNS: Tag = Tag(2);
    const URI: Tag = Tag(6);
    Some(match name {
        GeneralName::URI(uri) => (SanKind::Uri, sound(uri).and_then(uri_name)),
        GeneralName::DNSName(dns) => (SanKind::Dns, sound(dns).and_then(dns_name)),
        GeneralName::RFC822Name(email) => (SanKind::Email, sound(email).and_then(email_name)),
        GeneralName::Invalid(URI, _) => (SanKind::Uri, Err(NOT_VISIBLE)),
        GeneralName::Invalid(DNS, _) => (SanKind::Dns, Err(NOT_VISIBLE)),
        GeneralName::Invalid(EMAIL, _) => (SanKind::Email, Err(NOT_VISIBLE)),
        GeneralName::Invalid(..)
        | GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_) => return None,
    })
}

const NOT_VISIBLE: &str = "is not visible ASCII";

fn sound(text: &str) -> Result<&str, &'static str> {
    match text {
        "" => Err("is empty"),
        text if text.len() > MAX_TEXT_BYTES => Err("is longer than 256 bytes"),
        text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(NOT_VISIBLE),
        text => Ok(text),
    }
}

fn uri_name(uri: &str) -> Result<Box<str>, &'static str> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if is_scheme { Ok(uri.into()) } else { Err("is not absolute") }
}

fn dns_name(dns: &str) -> Result<Box<str>, &'static str> {
    if dns.contains('*') { Err("is a wildcard") } else { Ok(dns.to_ascii_lowercase().into()) }
}

fn email_name(email: &str) -> Result<Box<str>, &'static str> {
    match email.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
            Ok(format!("{local}@{}", domain.to_ascii_lowercase()).into())
        }
        Some(_) | None => Err("is no address of mail"),
    }
}

fn check_validity((not_before, not_after): (i64, i64), now: Timestamp) -> Result<(), Refusal> {
    let seconds = now.as_second();
    if seconds > not_after {
        return Err(Refusal::new(Kind::Expired, "the client certificate has expired"));
    }
    if seconds < not_before {
        return Err(Refusal::new(Kind::NotYetValid, "the client certificate is not valid yet"));
    }
    Ok(())
}

/// Why a certificate that was verified once is not vouched for any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainProblem {
    /// `Revoked`, `Expired`, or `CertificateInvalid`.
    pub kind: Kind,
    /// What exactly, for the operator.
    pub detail: String,
}

/// What a certificate says to one configuration: made once for a connection, asked for each of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateIdentity {
    provider: Arc<str>,
    proven: Result<Arc<Principal>, Box<Rejection>>,
    not_before: i64,
    not_after: i64,
    beside_credential: BesideCredential,
}

impl CertificateIdentity {
    /// Who it is at this time: a certificate that has expired since the handshake does not count any more.
    pub(crate) fn at(&self, now: Timestamp) -> Identity {
        let principal = match &self.proven {
            Ok(principal) => principal,
            Err(rejection) => return Identity::Rejected(rejection.clone()),
        };
        match check_validity((self.not_before, self.not_after), now) {
            Ok(()) => Identity::Verified(Arc::clone(principal)),
            Err(refusal) => Identity::Rejected(Box::new(Rejection::new(refusal.by(Some(&self.provider)), None))),
        }
    }

    pub(crate) fn beside_credential(&self) -> BesideCredential {
        self.beside_credential
    }
}

/// How one provider reads certificates.
#[derive(Debug)]
pub(crate) struct CertificateReader {
    name: Arc<str>,
    listeners: Vec<Arc<str>>,
    san: Vec<SanKind>,
    namespace: Namespace,
    beside_credential: BesideCredential,
}

impl CertificateReader {
    pub(crate) fn all(settings: &[CertificateProvider]) -> Vec<Self> {
        let prefixes = || settings.iter().map(|provider| provider.prefix.as_str());
        let reader = |provider: &CertificateProvider| Self {
            name: Arc::clone(&provider.name),
            listeners: provider.listeners.clone(),
            san: provider.san.clone(),
            namespace: Namespace::new(&provider.prefix, prefixes()),
            beside_credential: provider.beside_credential,
        };
        settings.iter().map(reader).collect()
    }

    pub(crate) fn reads(&self, listener: &str) -> bool {
        self.listeners.iter().any(|each| **each == *listener)
    }

    pub(crate) fn identity(
        &self,
        certificate: &ClientCertificate,
        chain: Result<(), ChainProblem>,
    ) -> CertificateIdentity {
        let principal = chain
            .map_err(|problem| Refusal::new(problem.kind, problem.detail))
            .and_then(|()| self.principal(certificate))
            .map(Arc::new)
            .map_err(|refusal| Box::new(Rejection::new(refusal.by(Some(&self.name)), None)));
        // One that cannot be read is no principal, either.
        let (not_before, not_after) = certificate.validity.unwrap_or((i64::MAX, i64::MIN));
        CertificateIdentity {
            provider: Arc::clone(&self.name),
            proven: principal,
            not_before,
            not_after,
            beside_credential: self.beside_credential,
        }
    }

    fn principal(&self, certificate: &ClientCertificate) -> Result<Principal, Refusal> {
        let content = certificate.content.as_ref().map_err(|problem| invalid(problem))?;
        let (not_before, not_after) = certificate.validity.ok_or_else(|| invalid("it cannot be read"))?;
        let id = self.namespace.local(self.name_of(content)?).map_err(|refusal| invalid(&refusal.detail))?;
        Ok(Principal {
            kind: PrincipalKind::Certificate,
            id,
            name: None,
            email: None,
            groups: Vec::new(),
            directory: None,
            roles: Vec::new(),
            device: None,
            scope: None,
            authentication: Authentication {
                method: AuthenticationMethod::ClientCertificate,
                provider: Box::from(&*self.name),
                issuer: None,
                key_id: None,
                acr: None,
                amr: Vec::new(),
                auth_time: None,
                issued: Timestamp::from_second(not_before).ok(),
                // A date that no calendar reaches is the "no well-defined expiration" of RFC 5280 section 4.1.2.5.
                expires: Timestamp::from_second(not_after).ok(),
                stated_mfa: false,
            },
        })
    }

    /// The one name of the first kind that the certificate has.
    fn name_of<'c>(&self, content: &'c Content) -> Result<&'c str, Refusal> {
        for kind in &self.san {
            let mut names = content.names.iter().filter(|(each, _)| each == kind).map(|(_, name)| name);
            let Some(first) = names.next() else { continue };
            let word = kind.as_str();
            let name = first.as_deref().map_err(|problem| invalid(&format!("its {word} name {problem}")))?;
            if names.any(|other| other != first) {
                return Err(invalid(&format!("it has several {word} names; {} is one of them", excerpt(name))));
            }
            return Ok(name);
        }
        let wanted: Vec<&str> = self.san.iter().map(|kind| kind.as_str()).collect();
        Err(invalid(&format!("it has no subject alternative name of kind {}", wanted.join(", "))))
    }
}

fn invalid(problem: &str) -> Refusal {
    Refusal::new(Kind::CertificateInvalid, format!("the client certificate is no credential: {problem}"))
}

#[cfg(test)]
mod tests;
