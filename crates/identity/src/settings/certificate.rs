//! Clients that are known by their certificates.

use std::sync::Arc;

/// `[[identity.certificate]]`
#[derive(Debug, Clone)]
pub struct CertificateProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The listeners whose clients' certificates count; never empty.
    pub listeners: Vec<Arc<str>>,
    /// The kinds of name that count, the preferred one first; never empty. Default: all, in the order of [`SanKind`].
    pub san: Vec<SanKind>,
    /// Put before the names.
    pub prefix: String,
    /// What counts where a header carries a credential, too. Default: the request is refused.
    pub beside_credential: BesideCredential,
}

/// A kind of subject alternative name (RFC 5280 section 4.2.1.6) that can be a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SanKind {
    /// A URI, such as a SPIFFE id. Compared exactly.
    Uri,
    /// A DNS name, in lower case. A wildcard is nobody's name.
    Dns,
    /// An address of mail, its domain in lower case.
    Email,
}

impl SanKind {
    /// All kinds, the one that says most about a workload first.
    pub const ALL: [Self; 3] = [Self::Uri, Self::Dns, Self::Email];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::Email => "email",
        }
    }
}

/// Who makes a request that comes with a client certificate and with a credential in a header. The roles of the two are
/// never united.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BesideCredential {
    /// Nobody: it is refused with `authn.ambiguous`.
    #[default]
    Refuse,
    /// The certificate's principal. The header is not looked at.
    Certificate,
    /// The header's principal. A bad one is refused, and never gives way to the certificate.
    Credential,
}
