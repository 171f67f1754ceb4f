//! TLS to receivers. The receiver's certificate is always verified, for its name too: there is no switch that turns that off.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::settings::TlsSettings;

/// How to speak TLS with one receiver.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Connector {
    /// TLS 1.2 or 1.3 with whoever can prove to be `host`, or the name that the settings give instead. `protocols` are offered by
    /// ALPN.
    ///
    /// # Errors
    /// When there is no root to believe, or a certificate, a key or a name cannot be used.
    pub(crate) fn new(settings: &TlsSettings, host: &str, protocols: &[&[u8]]) -> io::Result<Self> {
        let bad = |what: &str, error: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error}"))
        };
        let wanted = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(wanted.to_owned()).map_err(|error| bad(wanted, &error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad("TLS is not available", &error))?
            .with_root_certificates(roots(&settings.roots)?);
        let mut config = match &settings.identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.certificates.clone(), identity.key.clone_key())
                .map_err(|error| bad("the client certificate and its key cannot be used", &error))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { config: Arc::new(config), name })
    }

    /// A session that has not yet said anything.
    pub(crate) fn session(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)
    }
}

/// The configured roots, each of which must be one; else those of the system, of which those that cannot be used are left out,
/// since systems carry some that are broken.
fn roots(configured: &[CertificateDer<'static>]) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in configured {
        store.add(root.clone()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("a root certificate cannot be used: {error}"))
        })?;
    }
    if configured.is_empty() {
        for root in rustls_native_certs::load_native_certs().certs {
            // One that cannot be used is one less to believe.
            let _ = store.add(root);
        }
    }
    if store.is_empty() {
        let what = "there is no root certificate to verify the receiver by";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(store)
}
