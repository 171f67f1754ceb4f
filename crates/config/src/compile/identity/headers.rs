//! What the upstream is told of the caller: `[identity.headers]`, and `[identity.assertion]`, which signs it.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;
use portcullis_events::settings::Secret;
use portcullis_identity::assertion::{AssertionKey, AssertionKeyError, Assertions};
use portcullis_proxy::settings::IdentityHeaders;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::{HeaderRole, Identity};
use crate::section::Reader;

/// `[identity.headers]`
pub(crate) fn compile_headers(reader: &Reader<'_>, identity: &Identity) -> IdentityHeaders {
    let mut headers = IdentityHeaders { max_size: identity.headers_size, ..IdentityHeaders::default() };
    let mut seen: HashMap<String, Span> = HashMap::new();
    for (role, header) in &identity.headers {
        report_reserved(reader, header);
        report_credential(reader, header, identity);
        if let Some(first) = seen.insert(folded(&header.value), header.span) {
            let message = format!("two identity headers are named `{}`", header.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, header.span, message)
                .with_related(first, "the first one is here")
                .with_help("`-`, `_` and `.` count as one: rename one of the headers");
            reader.report(diagnostic);
        }
        let slot = match role {
            HeaderRole::User => &mut headers.user,
            HeaderRole::Groups => &mut headers.groups,
            HeaderRole::Roles => &mut headers.roles,
            HeaderRole::Email => &mut headers.email,
            HeaderRole::Assertion => &mut headers.assertion,
            HeaderRole::Overage => &mut headers.overage,
        };
        *slot = Some(header.value.clone());
    }
    headers
}

/// `[identity.assertion]`, which goes with the header that carries what it signs.
pub(crate) fn compile_assertions(reader: &Reader<'_>, identity: &Identity) -> Option<Arc<Assertions>> {
    let header = identity.headers.iter().find(|(role, _)| *role == HeaderRole::Assertion).map(|(_, header)| header);
    let Some(assertion) = &identity.assertion else {
        if let Some(header) = header {
            let message = "nothing signs what this header is to carry";
            let help = "write `[identity.assertion]` with `issuer` and `key`";
            reader.report(Diagnostic::error(codes::CONFLICT, header.span, message).with_help(help));
        }
        return None;
    };
    let assertion = assertion.as_ref()?;
    if header.is_none() {
        let message = "no header carries the assertion";
        let help = "write `assertion = \"x-auth-assertion\"` in [identity.headers]";
        reader.report(Diagnostic::error(codes::CONFLICT, assertion.at, message).with_help(help));
    }
    let read = |key: &At<Secret>| {
        let read = AssertionKey::from_pem(key.value.reveal().as_bytes());
        let report = |error: AssertionKeyError| {
            let help = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`";
            let message = format!("the key of `assertion` cannot be used: {error}");
            reader.report(Diagnostic::error(codes::BAD_VALUE, key.span, message).with_help(help));
        };
        read.map_err(report).ok()
    };
    let (key, other) = (read(&assertion.key), assertion.other_key.as_ref().map(read));
    let other = match other {
        Some(other) => Some(other?),
        None => None,
    };
    let assertions = Assertions::new(&assertion.issuer.value, assertion.lifetime, key?, other.as_ref());
    Some(Arc::new(assertions.with_max_size(assertion.max_size)))
}

fn report_reserved(reader: &Reader<'_>, header: &At<HeaderName>) {
    let name = folded(&header.value);
    if RESERVED.iter().any(|reserved| *reserved == name) {
        let message = format!("the header `{}` has a meaning of its own", header.value);
        let diagnostic = Diagnostic::error(codes::CONFLICT, header.span, message);
        reader.report(diagnostic.with_help("use a header such as `x-auth-user`"));
    }
}

/// The gateway would remove the credential as a look-alike, or overwrite it.
fn report_credential(reader: &Reader<'_>, header: &At<HeaderName>, identity: &Identity) {
    let name = folded(&header.value);
    let credentials = identity.api_key.iter().filter_map(|provider| provider.header.as_ref());
    for credential in credentials.filter(|credential| folded(&credential.value) == name) {
        let message = format!("the header `{}` already carries an API key", header.value);
        let diagnostic = Diagnostic::error(codes::CONFLICT, header.span, message)
            .with_related(credential.span, "the API key is read here")
            .with_help("use a header such as `x-auth-user`");
        reader.report(diagnostic);
    }
}

/// The form in which servers confuse header names: `-`, `_` and `.` are one (security.md I1).
fn folded(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}

/// Headers with a meaning of their own: between two connections, to the framing, to the routing or to the credentials.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];
