//! Listeners: their addresses, and the TLS that is spoken on them.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_proxy::settings::{InboundSettings, ProxyProtocol};
use portcullis_proxy::tls::material::{
    CertifiedKey, MaterialError, certificates, certified_key, private_key, revocation_lists, roots, valid_until,
};
use portcullis_proxy::tls::{self, Authorities, ServerParts, ServerTls};

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::document::{FileToRead, MAX_KEY_SET, read_material};
use crate::file::{ClientAddress, ClientAuth, Listener, Pair, Tls};
use crate::kinds::ResolvedPath;
use crate::section::Reader;

/// What the listeners are, and the files that they are made of.
pub(crate) fn compile(
    reader: &Reader<'_>,
    listeners: &[Listener],
    client: &ClientAddress,
) -> (Vec<Arc<InboundSettings>>, Vec<PathBuf>) {
    let mut files = Vec::new();
    let settings = listeners.iter().map(|listener| {
        let tls = listener.tls.as_ref().and_then(|tls| compile_tls(reader, tls, listener.http2, &mut files));
        let proxy_protocol = listener.proxy_protocol.as_ref().map_or(ProxyProtocol::Off, |mode| mode.value);
        if let Some(mode) = listener.proxy_protocol.as_ref().filter(|mode| mode.value != ProxyProtocol::Off)
            && client.trusted_proxies.is_empty()
        {
            let message = "`proxy_protocol` without `trusted_proxies`: nobody may speak it";
            let help = "name the proxies in `trusted_proxies` of [client_address]";
            reader.report(Diagnostic::error(codes::CONFLICT, mode.span, message).with_help(help));
        }
        // Without its TLS, which was reported, these settings are never used.
        Arc::new(InboundSettings {
            name: listener.name.value.as_str().into(),
            tls,
            http2: listener.http2,
            proxy_protocol,
            operators: listener.operators.as_deref().map(Arc::from),
        })
    });
    (settings.collect(), files)
}

fn compile_tls(reader: &Reader<'_>, tls: &Tls, http2: bool, files: &mut Vec<PathBuf>) -> Option<ServerTls> {
    // Each is looked at, also behind one that is wrong.
    let pairs: Vec<_> = tls.pairs.iter().map(|pair| compile_pair(reader, pair, files)).collect();
    let client_auth = compile_client_auth(reader, tls, files);
    let certificates: Option<Vec<_>> = pairs.into_iter().collect();
    let certificates = certificates.filter(|certificates| !certificates.is_empty())?;
    let parts = ServerParts { certificates, client_auth: client_auth?, only_tls13: tls.only_tls13, http2 };
    ServerTls::new(parts)
        .map_err(|error| reader.report(Diagnostic::error(codes::BAD_VALUE, tls.span, format!("`tls`: {error}"))))
        .ok()
}

fn compile_pair(reader: &Reader<'_>, pair: &Pair, files: &mut Vec<PathBuf>) -> Option<Arc<CertifiedKey>> {
    let chain = read(reader, "certificate", &pair.certificate, files, certificates);
    let key = read(reader, "key", &pair.key, files, private_key);
    let chain = chain?;
    if let (Some(until), Some(now)) = (chain.first().and_then(valid_until), reader.now())
        && until < now.as_second()
    {
        let since = Timestamp::from_second(until).map_or_else(|_| String::new(), |until| format!(" since {until}"));
        let message = format!("the certificate `{}` has been expired{since}", pair.certificate.value.written);
        let diagnostic = Diagnostic::warning(codes::EXPIRED_CERTIFICATE, pair.certificate.span, message);
        reader.report(diagnostic.with_help("renew it; clients refuse it"));
    }
    certified_key(chain, key?).map_err(|error| report(reader, "key", &pair.key, &error)).ok()
}

/// Who must be able to vouch for clients and cannot is an error: it is never taken for nobody having to be vouched for.
fn compile_client_auth(reader: &Reader<'_>, tls: &Tls, files: &mut Vec<PathBuf>) -> Option<tls::ClientAuth> {
    let wanted = tls.client_auth.as_ref().map_or(ClientAuth::Off, |wanted| wanted.value);
    let roots = tls.client_ca.as_ref().map(|file| read(reader, "client_ca", file, files, roots));
    let revoked = tls.client_crl.as_ref().map(|file| read(reader, "client_crl", file, files, revocation_lists));
    let idle = [("client_ca", &tls.client_ca), ("client_crl", &tls.client_crl)];
    if let (ClientAuth::Off, Some((key, file))) =
        (wanted, idle.iter().find_map(|(key, file)| Some((key, file.as_ref()?))))
    {
        let message = format!("`{key}` is written, and clients are not asked for a certificate");
        let help = "write `client_auth = \"required\"` or `\"optional\"`, or remove it";
        reader.report(Diagnostic::error(codes::CONFLICT, file.span, message).with_help(help));
        return None;
    }
    if wanted == ClientAuth::Off {
        return Some(tls::ClientAuth::Off);
    }
    let Some(roots) = roots else {
        let at = tls.client_auth.as_ref().map_or(tls.span, |wanted| wanted.span);
        let message = "`client_auth` without `client_ca`: nobody could vouch for a client";
        let help = "write `client_ca = \"ca.crt\"`, the certificates of those who issue the clients' ones";
        reader.report(Diagnostic::error(codes::CONFLICT, at, message).with_help(help));
        return None;
    };
    let authorities = Authorities { roots: roots?, revoked: revoked.map_or(Some(Vec::new()), |lists| lists)? };
    Some(match wanted {
        ClientAuth::Off => tls::ClientAuth::Off,
        ClientAuth::Optional => tls::ClientAuth::Optional(authorities),
        ClientAuth::Required => tls::ClientAuth::Required(authorities),
    })
}

fn read<T>(
    reader: &Reader<'_>,
    key: &str,
    file: &At<ResolvedPath>,
    files: &mut Vec<PathBuf>,
    parse: impl FnOnce(&[u8]) -> Result<T, MaterialError>,
) -> Option<T> {
    let ResolvedPath { written, path } = &file.value;
    files.push(path.clone());
    let bytes = read_material(
        reader,
        FileToRead { path, short_name: written, named_at: Some(file.span), limit: MAX_KEY_SET, defines_names: false },
    )?;
    if key == "client_ca" {
        reader.pin(path, &bytes);
    }
    parse(&bytes).map_err(|error| report(reader, key, file, &error)).ok()
}

fn report(reader: &Reader<'_>, key: &str, file: &At<ResolvedPath>, error: &MaterialError) {
    let message = format!("`{key}`: `{}` cannot be used: {error}", file.value.written);
    reader.report(Diagnostic::error(codes::BAD_VALUE, file.span, message).with_help(remedy(error)));
}

fn remedy(error: &MaterialError) -> &'static str {
    match error {
        MaterialError::Nothing(_) | MaterialError::Pem(_) => "it must be PEM, with `-----BEGIN …-----` and its end",
        MaterialError::EncryptedKey => "decrypt it, and keep the file readable for the gateway alone",
        MaterialError::Mismatch => "name the key that the certificate was issued for",
        MaterialError::SeveralKeys => "keep one key in the file",
        MaterialError::Key(_) => "use an ECDSA, Ed25519 or RSA key",
        MaterialError::TooMany { .. } => "keep only those that are meant",
        MaterialError::Certificate { .. } | MaterialError::Root { .. } => "export the certificate anew",
    }
}
