//! TLS on a listener: which certificate a client is shown, and which one it must show itself.
//!
//! A server name chooses among the certificates by the names that are in them (RFC 6125 section 6.4: exact, or a wildcard for
//! one leftmost label). A client that names no server, or an unknown one, is shown the first certificate: it will not believe
//! it, and says so better than a broken handshake does. What the client then asks for is held against the name in
//! [`Tls::disagrees`](super::Tls).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;
use crate::http2;

/// What a listener's TLS is made of.
#[derive(Debug)]
pub struct ServerParts {
    /// The certificates, the default one first; at least one.
    pub certificates: Vec<Arc<CertifiedKey>>,
    /// Whether clients show a certificate. Default: they are not asked.
    pub client_auth: ClientAuth,
    /// Only TLS 1.3. Default: 1.2 as well.
    pub only_tls13: bool,
    /// Whether HTTP/2 is offered (RFC 7301), and preferred.
    pub http2: bool,
}

/// Whether clients show a certificate.
#[derive(Debug)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They may: one that does not hold ends the handshake.
    Optional(Authorities),
    /// They must.
    Required(Authorities),
}

/// Who vouches for clients.
#[derive(Debug)]
pub struct Authorities {
    /// The roots; at least one.
    pub roots: RootCertStore,
    /// What they have revoked. Where there are lists, each certificate of a chain must be covered by one that has not passed
    /// its date.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// Why TLS on a listener cannot be set up.
#[derive(Debug, Error)]
pub enum ServerTlsError {
    /// There is nothing to show to a client.
    #[error("there is no certificate")]
    NoCertificate,
    /// Nobody could ever be believed.
    #[error("clients cannot be verified: {0}")]
    ClientAuth(String),
    /// The library was built without what this needs.
    #[error("TLS is not available")]
    Unavailable(#[source] rustls::Error),
}

/// TLS of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// What a client asks for must be on the server that it named.
    pub(crate) binds_name: bool,
    /// Who judges clients' certificates; `None` where they are not asked for any.
    pub(crate) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    /// Sets TLS up.
    ///
    /// # Errors
    /// [`ServerTlsError`]: nothing that does not hold is left out.
    pub fn new(parts: ServerParts) -> Result<Self, ServerTlsError> {
        if parts.certificates.is_empty() {
            return Err(ServerTlsError::NoCertificate);
        }
        let versions: &[&SupportedProtocolVersion] =
            if parts.only_tls13 { &[&version::TLS13] } else { &[&version::TLS13, &version::TLS12] };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(ServerTlsError::Unavailable)?;
        let binds_name = parts.certificates.len() > 1 || !matches!(parts.client_auth, ClientAuth::Off);
        let verifier = match parts.client_auth {
            ClientAuth::Off => None,
            ClientAuth::Optional(authorities) => Some(verifier(authorities, true)?),
            ClientAuth::Required(authorities) => Some(verifier(authorities, false)?),
        };
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(parts.certificates)));
        let offered: &[&[u8]] = if parts.http2 { &[http2::ALPN, b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        // Tickets make a second handshake cheap without a cache here; their keys change by themselves (RFC 8446 section 4.6.1).
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(ServerTlsError::Unavailable)?;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        // INVARIANT: data before the handshake is over can be replayed, and is not taken.
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), binds_name, verifier })
    }
}

fn verifier(authorities: Authorities, optional: bool) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities.roots), provider());
    if !authorities.revoked.is_empty() {
        builder = builder.with_crls(authorities.revoked).enforce_revocation_expiration();
    }
    if optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| ServerTlsError::ClientAuth(error.to_string()))
}

/// Certificates by the names that are in them.
#[derive(Debug)]
struct ByName {
    default: Option<Arc<CertifiedKey>>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands behind the star and its dot.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// Of two certificates with one name the first is shown.
    fn new(certificates: Vec<Arc<CertifiedKey>>) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for certificate in &certificates {
            for name in dns_names(certificate) {
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.entry(parent.to_owned()).or_insert_with(|| Arc::clone(certificate)),
                    None => exact.entry(name).or_insert_with(|| Arc::clone(certificate)),
                };
            }
        }
        Self { default: certificates.into_iter().next(), exact, wildcard }
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let parent = name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(&name).or_else(|| self.wildcard.get(parent?)).map(Arc::clone)
        });
        by_name.or_else(|| self.default.clone())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// The DNS names of a certificate, in lower case. A subject's common name is none (RFC 9525 section 2).
fn dns_names(certificate: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = certificate.cert.first() else { return Vec::new() };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

#[cfg(test)]
mod tests {
    use super::super::material::{certificates, certified_key, private_key};
    use super::*;

    fn certificate(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let chain = certificates(made.cert.pem().as_bytes()).unwrap();
        certified_key(chain, private_key(made.signing_key.serialize_pem().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_server_name_chooses_the_certificate() {
        let all = vec![
            certificate(&["first.example"]),
            certificate(&["a.example", "*.b.example"]),
            certificate(&["c.b.example", "a.example"]),
        ];
        let resolver = ByName::new(all.clone());
        let check = |name: Option<&str>, expected: usize| {
            let found = resolver.find(name).unwrap();
            assert!(Arc::ptr_eq(&found, &all[expected]), "{name:?}");
        };
        check(None, 0);
        check(Some("first.example"), 0);
        check(Some("unknown.example"), 0);
        check(Some("a.example"), 1);
        check(Some("A.Example"), 1);
        check(Some("a.example."), 1);
        check(Some("x.b.example"), 1);
        check(Some("c.b.example"), 2);
        // A wildcard stands for one label.
        check(Some("x.y.b.example"), 0);
        check(Some("b.example"), 0);
        check(Some(""), 0);
    }

    #[test]
    fn clients_that_nobody_could_vouch_for_are_an_error() {
        let parts =
            |certificates, client_auth| ServerParts { certificates, client_auth, only_tls13: false, http2: true };
        let nobody = || Authorities { roots: RootCertStore::empty(), revoked: Vec::new() };
        let own = || vec![certificate(&["a.example"])];
        assert!(matches!(ServerTls::new(parts(vec![], ClientAuth::Off)), Err(ServerTlsError::NoCertificate)));
        for auth in [ClientAuth::Optional(nobody()), ClientAuth::Required(nobody())] {
            assert!(matches!(ServerTls::new(parts(own(), auth)), Err(ServerTlsError::ClientAuth(_))));
        }
        let plain = ServerTls::new(parts(own(), ClientAuth::Off)).unwrap();
        assert!(!plain.binds_name);
        assert!(ServerTls::new(parts([own(), own()].concat(), ClientAuth::Off)).unwrap().binds_name);
    }
}
