//! Certificate authorities of a test's own, and what they issue and revoke. Everything is PEM.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    serial: Vec<u8>,
}

/// A name that a certificate is for.
#[derive(Debug, Clone, Copy)]
pub enum San<'a> {
    /// A DNS name, or an address.
    Host(&'a str),
    /// A URI, such as a SPIFFE id.
    Uri(&'a str),
    /// An address of mail.
    Email(&'a str),
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// If no certificate can be made: then no test can go on.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority can be made") }
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, valid until the first day of this year.
    ///
    /// # Panics
    /// If a name cannot be in a certificate.
    #[must_use]
    pub fn issue_until(&self, names: &[San<'_>], year: i32) -> Issued {
        self.issue_with(names, |params| params.not_after = date_time_ymd(year, 1, 1))
    }

    /// The same, valid for so long from now, to the second.
    ///
    /// # Panics
    /// If a name cannot be in a certificate.
    #[must_use]
    pub fn issue_for(&self, names: &[San<'_>], validity: Duration) -> Issued {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.issue_with(names, |params| params.not_after = date_time_ymd(1970, 1, 1) + now + validity)
    }

    fn issue_with(&self, names: &[San<'_>], set_validity: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(san).collect();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a common name is no identity");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        set_validity(&mut params);
        let key = KeyPair::generate().expect("a key can be made");
        // INVARIANT: two keys differ, and so do these bytes of theirs. The first bit is the sign of a number.
        let serial: Vec<u8> = key.public_key_raw().iter().rev().take(8).map(|byte| byte & 0x7f | 1).collect();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be made");
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), serial }
    }

    /// The same, valid for long.
    #[must_use]
    pub fn issue(&self, names: &[San<'_>]) -> Issued {
        self.issue_until(names, 2090)
    }

    /// A list of what it has revoked.
    ///
    /// # Panics
    /// If no list can be made.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Issued]) -> String {
        let revoked = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&issued.serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list can be made").pem().expect("a list is PEM")
    }
}

fn san(name: &San<'_>) -> SanType {
    match name {
        San::Host(host) => match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*host).try_into().expect("a DNS name is ASCII")),
        },
        San::Uri(uri) => SanType::URI((*uri).try_into().expect("a URI is ASCII")),
        San::Email(email) => SanType::Rfc822Name((*email).try_into().expect("an address of mail is ASCII")),
    }
}
