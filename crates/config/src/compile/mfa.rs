//! Second factors: keys that can be used, and origins that browsers would let have such passkeys.

use portcullis_events::settings::Secret;
use portcullis_identity::mfa::MfaSettings;
use portcullis_identity::mfa::seal::{FactorKey, FactorKeys};
use portcullis_identity::mfa::webauthn::RelyingParty;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::{Mfa, Passkeys};
use crate::section::{Reader, shown};

/// `[mfa]`, with its keys.
#[derive(Debug)]
pub struct MfaLoaded {
    /// What seals the secrets of factors.
    pub keys: FactorKeys,
    /// The rest.
    pub settings: MfaSettings,
}

/// `has_store`: there is something to keep them in.
pub(crate) fn compile(reader: &Reader<'_>, mfa: Option<Mfa>, has_store: bool) -> Option<MfaLoaded> {
    let mfa = mfa?;
    if !has_store {
        let message = "there is nothing to keep second factors in";
        let help = "write `[store]`: what was used must stay used over a restart";
        reader.report(Diagnostic::error(codes::CONFLICT, mfa.at, message).with_help(help));
    }
    let current = key(reader, &mfa.key);
    let other = mfa.other_key.as_ref().map(|other| key(reader, other));
    let passkeys = mfa.passkeys.map(|passkeys| party(reader, &passkeys, &mfa.issuer));
    let other = match other {
        Some(other) => Some(other?),
        None => None,
    };
    let passkeys = match passkeys {
        Some(party) => Some(party?),
        None => None,
    };
    let settings =
        MfaSettings { issuer: mfa.issuer.into(), totp: mfa.totp, first_by_login: mfa.first_by_login, passkeys };
    has_store.then_some(MfaLoaded { keys: FactorKeys::new(current?, other), settings })
}

fn key(reader: &Reader<'_>, secret: &At<Secret>) -> Option<FactorKey> {
    let read = FactorKey::parse(secret.value.reveal());
    let report = |error: portcullis_identity::mfa::seal::FactorKeyError| {
        let message = format!("this cannot be a key of [mfa]: {error}");
        let help = "make one: `openssl rand -base64 32 > mfa.key`";
        reader.report(Diagnostic::error(codes::BAD_VALUE, secret.span, message).with_help(help));
    };
    read.map_err(report).ok()
}

fn party(reader: &Reader<'_>, passkeys: &Passkeys, name: &str) -> Option<RelyingParty> {
    let id = passkeys.rp_id.value.as_str();
    let mut is_good = true;
    let mut report = |at, message: String, help: &str| {
        is_good = false;
        reader.report(Diagnostic::error(codes::BAD_VALUE, at, message).with_help(help));
    };
    if !is_domain(id) {
        let message = format!("`{}` is no domain", shown(id));
        report(
            passkeys.rp_id.span,
            message,
            "write the domain that the origins have in common, such as \"example.com\"",
        );
    }
    for origin in &passkeys.origins {
        match host_of(&origin.value) {
            None => {
                let message = format!("`{}` is no origin that can have passkeys", shown(&origin.value));
                let help = "write `https://` and the host in lower case, and the port where it is not 443; `http://` for localhost alone";
                report(origin.span, message, help);
            }
            Some(host) if host != id && !host.ends_with(&format!(".{id}")) => {
                let message = format!("`{}` is not below `{}`", shown(host), shown(id));
                report(
                    origin.span,
                    message,
                    "browsers would refuse: `rp_id` is the host of each origin, or a domain above it",
                );
            }
            Some(_) => {}
        }
    }
    let origins = passkeys.origins.iter().map(|origin| origin.value.as_str().into()).collect();
    is_good.then(|| RelyingParty { id: id.into(), name: name.into(), origins })
}

/// The host of an origin as a browser writes it (RFC 6454 section 6.1), where it is one that WebAuthn works in.
fn host_of(origin: &str) -> Option<&str> {
    let (scheme, rest) = origin.split_once("://")?;
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let own = if scheme == "https" { "443" } else { "80" };
    let is_port = |port: &str| {
        port != own
            && !port.starts_with('0')
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    };
    let is_safe = scheme == "https" || scheme == "http" && (host == "localhost" || host.ends_with(".localhost"));
    (is_safe && is_domain(host) && port.is_none_or(is_port)).then_some(host)
}

/// A name of DNS in lower case, which is no address.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ends_in_digits = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && !ends_in_digits && text.split('.').all(is_label)
}
