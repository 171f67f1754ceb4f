//! TLS to the server of a document, or to another server that is known by its name. Its certificate is always verified, for its name too: there is no switch that turns that off.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Speaks TLS 1.2 or 1.3 over the stream with whoever can prove to be `host`. `roots`: the authorities that may have signed its
/// certificate; none: those that this system believes. `protocols`: what is offered by ALPN (RFC 7301).
///
/// # Errors
/// No root to believe, a name that no certificate can have, or a server that cannot prove who it is.
pub async fn connect(
    stream: TcpStream,
    host: &str,
    roots: &[CertificateDer<'static>],
    protocols: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| invalid(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_root_certificates(store(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The configured roots, each of which must be one; else those of the system, of which those that cannot be used are left out.
fn store(configured: &[CertificateDer<'static>]) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in configured {
        let unusable = |error| format!("a root certificate cannot be used: {error}");
        store.add(root.clone()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, unusable(error)))?;
    }
    if configured.is_empty() {
        for root in rustls_native_certs::load_native_certs().certs {
            // One that cannot be used is one less to believe.
            let _ = store.add(root);
        }
    }
    if store.is_empty() {
        let what = "there is no root certificate to verify the server by";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(store)
}
