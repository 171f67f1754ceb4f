//! Certificates of clients, and tokens that are bound to one, or to a key.

use std::collections::HashMap;

use portcullis_identity::settings::{BesideCredential, Bound, CertificateProvider};

use crate::diagnostics::{At, Diagnostic};
use crate::file::{self, ClientAuth, Identity, Listener};
use crate::section::{Reader, shown};
use crate::{codes, suggest};

use super::{Places, ProviderPlaces};

/// A provider that counts on no listener would be one that nobody notices is missing.
pub(super) fn compile_certificate(
    reader: &Reader<'_>,
    provider: &file::CertificateProvider,
    listeners: &[Listener],
    places: &mut Places,
) -> Option<CertificateProvider> {
    let asks = listeners.iter().filter(|each| asks_for_certificates(each));
    let asking: Vec<&str> = asks.map(|each| each.name.value.as_str()).collect();
    let counted: Vec<&str> = match &provider.listeners {
        Some(named) => named.iter().filter_map(|name| counted_listener(reader, name, listeners, &asking)).collect(),
        None => asking,
    };
    let place = ProviderPlaces {
        name: provider.name.span,
        file: provider.name.span,
        credential: provider
            .listeners
            .as_ref()
            .and_then(|named| named.first())
            .map_or(provider.name.span, |at| at.span),
        prefix: provider.prefix.span,
        keys: HashMap::new(),
    };
    if provider.san.is_empty() || counted.is_empty() && provider.listeners.is_some() {
        // What is wrong was reported.
        return None;
    }
    places.providers.insert(provider.name.value.clone(), place);
    Some(CertificateProvider {
        name: provider.name.value.as_str().into(),
        listeners: counted.into_iter().map(Into::into).collect(),
        san: provider.san.iter().map(|kind| kind.value).collect(),
        prefix: provider.prefix.value.clone(),
        beside_credential: provider.beside_credential,
    })
}

/// A listener that a provider names, if it is there and asks its clients for a certificate.
fn counted_listener<'n>(
    reader: &Reader<'_>,
    name: &'n At<String>,
    listeners: &[Listener],
    asking: &[&str],
) -> Option<&'n str> {
    let written = name.value.as_str();
    let known: Vec<&str> = listeners.iter().map(|each| each.name.value.as_str()).collect();
    if asking.contains(&written) {
        return Some(written);
    }
    if !known.contains(&written) && reader.is_complete() {
        let message = format!("there is no listener `{}`", shown(written));
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, name.span, message);
        diagnostic.help = suggest::remedy(written, &known, "known listeners");
        reader.report(diagnostic);
    } else if known.contains(&written) {
        let message = format!("the listener `{written}` asks no client for a certificate");
        let help = "write `client_auth = \"optional\"` or `\"required\"`, and `client_ca`, in its `tls`";
        reader.report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help(help));
    }
    None
}

/// Whether a listener asks its clients for a certificate.
fn asks_for_certificates(listener: &Listener) -> bool {
    let auth = listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
    auth.is_some_and(|auth| auth.value != ClientAuth::Off)
}

/// A provider whose tokens must be bound to a certificate lets nobody in where no connection has one, or where a certificate is a credential that
/// no token may stand beside.
pub(super) fn report_unbindable(
    reader: &Reader<'_>,
    identity: &Identity,
    listeners: &[Listener],
    certificate: &[CertificateProvider],
) {
    let signed = identity.jwt.iter().map(|each| (&each.name, each.require));
    let asked = identity.introspection.iter().map(|each| (&each.name, each.settings.require));
    let mut bound = signed.chain(asked).filter(|(_, require)| *require == Bound::Mtls).peekable();
    if bound.peek().is_none() || !reader.is_complete() {
        return;
    }
    let asking: Vec<&str> =
        listeners.iter().filter(|each| asks_for_certificates(each)).map(|each| each.name.value.as_str()).collect();
    let refuses = |listener: &str| {
        let counts = |each: &&CertificateProvider| each.listeners.iter().any(|name| **name == *listener);
        let counting = certificate.iter().find(counts);
        counting.is_some_and(|each| each.beside_credential == BesideCredential::Refuse)
    };
    let (message, help) = if asking.is_empty() {
        (
            "no token of this provider can count: they must be bound to a client certificate, and no listener asks for one",
            "write `client_auth` and `client_ca` in the `tls` of a listener, or another `require`",
        )
    } else if asking.iter().all(|listener| refuses(listener)) {
        (
            "no token of this provider can count: where clients show a certificate, it is a credential of its own",
            "write `beside_credential = \"credential\"` in `[[identity.certificate]]`, or another `require`",
        )
    } else {
        return;
    };
    for (name, _) in bound {
        reader.report(Diagnostic::warning(codes::WITHOUT_EFFECT, name.span, message).with_help(help));
    }
}

/// Whether a proof was used before is known to one process alone. Who shares the key of logins has several gateways behind one name, at each of which a proof would be good once.
pub(super) fn report_unshared_proofs(reader: &Reader<'_>, identity: &Identity) {
    let Some(login) = identity.login.as_ref().filter(|login| login.settings.key.is_some()) else { return };
    let signed = identity.jwt.iter().map(|each| (&each.name, each.require));
    let asked = identity.introspection.iter().map(|each| (&each.name, each.settings.require));
    let mut bound = signed.chain(asked).filter(|(_, require)| matches!(require, Bound::Dpop | Bound::Either));
    let (Some((name, _)), false) = (bound.next(), identity.dpop.nonce) else { return };
    let message = "tokens of this provider are bound to keys, and several gateways do not know of each other which proofs were used: one that was seen on its way counts once more at another";
    let diagnostic = Diagnostic::warning(codes::UNSHARED_PROOFS, name.span, message);
    let diagnostic = diagnostic.with_related(login.at, "`key` is for several gateways that share it");
    reader.report(diagnostic.with_help("write `nonce = true` in [identity.dpop]"));
}
