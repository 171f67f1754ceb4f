//! `[[listener]]`

use std::borrow::Cow;
use std::net::SocketAddr;

use portcullis_proxy::settings::ProxyProtocol;
use serde_json::{Value, json};
use toml::de::DeValue;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::kinds::{Choice, FilePath, Flag, Name, ResolvedPath, Socket};
use crate::section::{Field, Kind, Section};

/// `[[listener]]`
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: At<String>,
    pub(crate) address: At<SocketAddr>,
    pub(crate) tls: Option<Tls>,
    pub(crate) http2: bool,
    pub(crate) proxy_protocol: Option<At<ProxyProtocol>>,
    /// The hosts of the operators' API; `None`: it is not its listener.
    pub(crate) operators: Option<Vec<Box<str>>>,
}

/// `tls = { … }`
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) span: Span,
    /// The default one first.
    pub(crate) pairs: Vec<Pair>,
    pub(crate) only_tls13: bool,
    pub(crate) client_auth: Option<At<ClientAuth>>,
    pub(crate) client_ca: Option<At<ResolvedPath>>,
    pub(crate) client_crl: Option<At<ResolvedPath>>,
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: At<ResolvedPath>,
    pub(crate) key: At<ResolvedPath>,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Off,
    Optional,
    Required,
}

/// What can be written as `client_auth`.
pub(crate) const CLIENT_AUTH: &[(&str, ClientAuth)] =
    &[("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
/// What can be written as `min_version`, and whether it rules out TLS 1.2.
pub(crate) const MIN_VERSION: &[(&str, bool)] = &[("1.2", false), ("1.3", true)];

/// More certificates on one listener are kept more readily in one with several names.
const MAX_CERTIFICATES: usize = 1_000;

pub(crate) fn read_listener(section: Section<'_>) -> Option<Listener> {
    let name = section.required("name", Name);
    let address = section.required("address", Socket);
    let tls = section.table("tls").map(read_tls);
    let http2 = section.or("http2", Flag, true);
    let proxy_protocol = section.optional("proxy_protocol", ProxyMode);
    section.finish();
    Some(Listener { name: name?, address: address?, tls, http2, proxy_protocol, operators: None })
}

/// `true`, `false` or `"required"`.
pub(crate) struct ProxyMode;

impl Kind for ProxyMode {
    type Value = ProxyProtocol;

    fn expected(&self) -> Cow<'static, str> {
        "`true`, `false` or \"required\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<ProxyProtocol> {
        match field.value {
            DeValue::Boolean(true) => Some(ProxyProtocol::Trusted),
            DeValue::Boolean(false) => Some(ProxyProtocol::Off),
            DeValue::String(_) => Choice(&[("required", ProxyProtocol::Required)]).read(field),
            _ => {
                field.wrong_type(&self.expected(), None);
                None
            }
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [{ "type": "boolean" }, Choice(&[("required", ())]).schema()] })
    }
}

pub(super) fn read_tls(section: Section<'_>) -> Tls {
    let span = section.span();
    let first = read_pair(&section);
    let more = section.tables("certificates");
    if let Some(surplus) = more.get(MAX_CERTIFICATES) {
        let message = format!("`certificates`: more than {MAX_CERTIFICATES} on one listener");
        let diagnostic = Diagnostic::error(codes::BAD_VALUE, surplus.span(), message);
        section.reader().report(diagnostic.with_help("issue certificates that hold several names"));
    }
    let more = more.into_iter().filter_map(|section| {
        let pair = read_pair(&section);
        section.finish();
        pair
    });
    let tls = Tls {
        span,
        pairs: first.into_iter().chain(more).collect(),
        only_tls13: section.or("min_version", Choice(MIN_VERSION), false),
        client_auth: section.optional("client_auth", Choice(CLIENT_AUTH)),
        client_ca: section.optional("client_ca", FilePath),
        client_crl: section.optional("client_crl", FilePath),
    };
    section.finish();
    tls
}

fn read_pair(section: &Section<'_>) -> Option<Pair> {
    let certificate = section.required("certificate", FilePath);
    let key = section.required("key", FilePath);
    Some(Pair { certificate: certificate?, key: key? })
}
