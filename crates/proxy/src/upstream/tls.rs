//! TLS to upstreams: whom the gateway believes to be the upstream, and what it says of itself.
//!
//! The endpoint's certificate is always verified, for its name too: there is no switch that turns that off. TLS 1.2 and 1.3.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;

/// ALPN's names of HTTP/1.1 and HTTP/2 (RFC 7301 section 6, RFC 9113 section 3.2).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// What a connection to an upstream offers to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, else HTTP/1.1.
    Either,
}

/// Whether the endpoint chose HTTP/2 in the handshake.
pub(super) fn chose_http2(session: &ClientConnection) -> bool {
    session.alpn_protocol() == Some(HTTP2)
}

/// How the gateway speaks TLS to one upstream. Cheap to clone. Two are equal if they were made of the same certificates, key
/// and name.
#[derive(Clone)]
pub struct ClientTls {
    parts: Arc<Parts>,
    /// By what is offered: HTTP/1.1, HTTP/2, either.
    connectors: [TlsConnector; 3],
}

/// What a [`ClientTls`] is made of.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<ClientIdentity>,
    server_name: Option<ServerName<'static>>,
}

/// The certificate that the gateway shows to an upstream, its own first, and the key to it. Its `Debug` shows no key.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private key of the first of them.
    pub key: PrivateKeyDer<'static>,
}

/// Why TLS to an upstream cannot be set up.
#[derive(Debug, Error)]
pub enum ClientTlsError {
    /// A connection could never be verified.
    #[error("there is no root certificate to verify the upstream by")]
    NoRoots,
    /// The name is none that a certificate could have.
    #[error("it is no name that a certificate could have")]
    ServerName,
    /// A certificate among the roots can be none.
    #[error("a root certificate cannot be used")]
    Root(#[source] rustls::Error),
    /// The certificate or its key cannot be used, or they do not belong together.
    #[error("the client certificate and its key cannot be used")]
    Identity(#[source] rustls::Error),
    /// The library was built without what this needs.
    #[error("TLS is not available")]
    Unavailable(#[source] rustls::Error),
}

impl ClientTls {
    /// TLS that believes these roots, with an optional certificate of the gateway's own, and an optional name that the
    /// endpoint's certificate must have instead of its host (`server_name`, which is also the SNI that is sent).
    ///
    /// # Errors
    /// [`ClientTlsError`]; no certificate is left out in silence.
    pub fn new(
        roots: Vec<CertificateDer<'static>>,
        identity: Option<ClientIdentity>,
        server_name: Option<&str>,
    ) -> Result<Self, ClientTlsError> {
        let server_name = match server_name {
            Some(name) => Some(ServerName::try_from(name.to_owned()).map_err(|_| ClientTlsError::ServerName)?),
            None => None,
        };
        if roots.is_empty() {
            return Err(ClientTlsError::NoRoots);
        }
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(ClientTlsError::Root)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientTlsError::Unavailable)?
            .with_root_certificates(store);
        let config = match &identity {
            Some(ClientIdentity { certificates, key }) => builder
                .with_client_auth_cert(certificates.clone(), key.clone_key())
                .map_err(ClientTlsError::Identity)?,
            None => builder.with_no_client_auth(),
        };
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self {
            connectors: [offering(&[HTTP1]), offering(&[HTTP2]), offering(&[HTTP2, HTTP1])],
            parts: Arc::new(Parts { roots, identity, server_name }),
        })
    }

    /// The roots that this system believes (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where the system keeps them); those that
    /// cannot be used are left out, since systems carry some that are broken. May be empty.
    pub fn system_roots() -> Vec<CertificateDer<'static>> {
        let mut store = RootCertStore::empty();
        let mut roots = rustls_native_certs::load_native_certs().certs;
        roots.retain(|root| store.add(root.clone()).is_ok());
        roots
    }

    pub(super) fn connector(&self, offer: Offer) -> &TlsConnector {
        let [http1, http2, either] = &self.connectors;
        match offer {
            Offer::Http1 => http1,
            Offer::Http2 => http2,
            Offer::Either => either,
        }
    }

    /// The name that the certificate of this host must have; `None` if the host is no name that could be in one.
    pub(super) fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        match &self.parts.server_name {
            Some(name) => Some(name.clone()),
            None => ServerName::try_from(host.to_owned()).ok(),
        }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { roots, identity, server_name } = &*self.parts;
        f.debug_struct("ClientTls")
            .field("roots", &roots.len())
            .field("certificate", &identity.is_some())
            .field("server_name", server_name)
            .finish()
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for ClientTls {}
