//! `tls` of a receiver: whom the gateway believes to be it, and what it says of itself.

use std::sync::Arc;

use portcullis_events::settings::{TlsIdentity, TlsSettings};
use portcullis_proxy::tls::material;

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::kinds::{FilePath, Text};
use crate::pem::read_pem;
use crate::section::Section;

/// `Some` where TLS is spoken and nothing is wrong with it. What is written where it is not spoken is an error.
pub(super) fn read_tls(section: &Section<'_>, key: &'static str, spoken: bool) -> Option<TlsSettings> {
    let Some(table) = section.table(key) else {
        return (spoken && !section.has(key)).then(TlsSettings::default);
    };
    let ca = table.optional("ca", FilePath);
    let certificate = table.optional("certificate", FilePath);
    let private_key = table.optional("key", FilePath);
    let server_name = table.optional("server_name", Text);
    let (reader, span) = (section.reader(), table.span());
    table.finish();
    if !spoken {
        let message = format!("`{key}` says how TLS is spoken, and here it is not");
        reader.report(Diagnostic::error(codes::CONFLICT, span, message).with_help("remove it"));
        return None;
    }
    let roots = match &ca {
        Some(ca) => read_pem(reader, "ca", ca, material::certificates)?,
        None => Vec::new(),
    };
    let identity = match (&certificate, &private_key) {
        (Some(certificate), Some(key)) => {
            let certificates = read_pem(reader, "certificate", certificate, material::certificates);
            let key = read_pem(reader, "key", key, material::private_key);
            Some(Arc::new(TlsIdentity { certificates: certificates?, key: key? }))
        }
        (None, None) => None,
        (Some(at), None) | (None, Some(at)) => {
            let message = "`certificate` and `key` belong together";
            reader.report(Diagnostic::error(codes::CONFLICT, at.span, message).with_help("write both or neither"));
            return None;
        }
    };
    let server_name = match server_name {
        Some(name) if rustls_pki_types::ServerName::try_from(name.value.as_str()).is_err() => {
            let message = "`server_name`: is no name that a certificate could have";
            let help = "write a DNS name or an address, without a port";
            reader.report(Diagnostic::error(codes::BAD_VALUE, name.span, message).with_help(help));
            return None;
        }
        Some(name) => Some(Arc::from(name.value)),
        None => None,
    };
    Some(TlsSettings { roots, identity, server_name })
}
