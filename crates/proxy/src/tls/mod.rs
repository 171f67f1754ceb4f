//! TLS: what it is made of, and the client's side of it.
//!
//! There is one provider of cryptography, aws-lc-rs, and it is named wherever rustls is set up: nothing depends on which one
//! the process installed first.

pub mod material;
pub mod peer;
pub mod server;

use std::rc::Rc;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use peer::PeerCertificate;
pub use server::{Authorities, ClientAuth, ServerParts, ServerTls};

/// The provider of cryptography for everything that speaks TLS.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What the handshake of a connection established.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server that the client named (RFC 6066 section 3), in lower case.
    pub server_name: Option<Box<str>>,
    /// What the client asks for must be on that server.
    pub binds_name: bool,
    /// What the client showed of itself, where it was asked and did.
    pub certificate: Option<Rc<PeerCertificate>>,
}

impl Tls {
    /// Whether a request for this canonical host is not one for the server that the client named. A client that named none
    /// came by an address, and may ask for any host.
    #[must_use]
    pub fn disagrees(&self, host: &str) -> bool {
        self.binds_name
            && self.server_name.as_deref().is_some_and(|name| name.strip_suffix('.').unwrap_or(name) != host)
    }
}
