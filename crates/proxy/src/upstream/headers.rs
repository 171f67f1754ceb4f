//! Which headers cross the gateway, as pure functions on a header map.
//!
//! The order is what makes it safe (security rules I1 and I2): first everything goes that ends at this hop, with whatever
//! `Connection` names, that only the gateway may say, with all its look-alikes, or that is a credential; and only then the
//! gateway's own headers are set, so that nothing the caller sent can remove or double them.
//!
//! It does not decide anything, and it does not touch the request line. `Host` is passed on as it is, unless the route names
//! another.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
    VIA,
};
use portcullis_identity::session::{is_own_cookie, without_own};
use portcullis_policy::ClientAddress;

use crate::route::FieldRules;
use crate::settings::IdentityHeaders;

/// What configuration says about headers, prepared once.
#[derive(Debug, Clone)]
pub struct HeaderPlan {
    reserved: LookAlikes,
    credentials: Vec<HeaderName>,
    identity: IdentityHeaders,
    /// The gateway has cookies of its own.
    own_cookies: bool,
}

impl HeaderPlan {
    /// For these identity headers, and these headers that carry API keys.
    pub fn new(identity: &IdentityHeaders, api_key_headers: &[HeaderName]) -> Self {
        Self::with_posture(identity, api_key_headers, None)
    }

    /// The same where this header says something of the caller's device.
    pub fn with_posture(
        identity: &IdentityHeaders,
        api_key_headers: &[HeaderName],
        posture: Option<&HeaderName>,
    ) -> Self {
        let IdentityHeaders { user, groups, roles, email, assertion, overage, max_size: _ } = identity;
        let configured = [user, groups, roles, email, assertion, overage];
        let configured = configured.into_iter().flatten().chain(posture);
        Self {
            reserved: LookAlikes::new(RESERVED.iter().copied().chain(configured.map(HeaderName::as_str))),
            credentials: api_key_headers.to_vec(),
            identity: identity.clone(),
            own_cookies: false,
        }
    }

    /// The same where browsers have cookies of the gateway's own, which no upstream sees or sets.
    #[must_use]
    pub fn with_own_cookies(self, own_cookies: bool) -> Self {
        Self { own_cookies, ..self }
    }

    /// Whether only the gateway may say this to an upstream, in this spelling or another.
    pub fn is_reserved(&self, name: &HeaderName) -> bool {
        self.reserved.contains(name.as_str())
    }

    /// Whether it carries a caller's credential, in this spelling or another.
    pub fn is_credential(&self, name: &HeaderName) -> bool {
        let folded = |name: &HeaderName| name.as_str().bytes().map(fold).collect::<Vec<u8>>();
        name == AUTHORIZATION || self.credentials.iter().any(|credential| folded(credential) == folded(name))
    }
}

/// What the gateway tells an upstream about one request.
#[derive(Debug)]
pub struct Forwarding<'a> {
    /// Where the request comes from.
    pub client: ClientAddress,
    /// The client where it is the peer: what is written of it is the same for all requests of a connection.
    pub peer: Option<&'a Peer>,
    /// The trusted proxies between the client and the gateway, the nearest last; empty without any.
    pub proxies: &'a [IpAddr],
    /// How it came to the gateway.
    pub scheme: Scheme,
    /// The request's id.
    pub request_id: HeaderValue,
    /// Who it is, if that was verified.
    pub identity: Option<&'a IdentityValues>,
    /// Whether the caller's credentials are passed on.
    pub forward_credentials: bool,
    /// The route's rules.
    pub rules: Option<&'a FieldRules>,
    /// The `Host` that the upstream gets instead of the caller's.
    pub host: Option<&'a HeaderValue>,
    /// The prefix that the route takes off the path.
    pub stripped_prefix: Option<&'a HeaderValue>,
    /// What the gateway adds to `Via`.
    pub via: Option<&'a HeaderValue>,
}

/// What is written of the other end of a connection, kept from one request to the next.
#[derive(Debug)]
pub struct Peer {
    text: HeaderValue,
    /// The last `Host` and scheme, and the `Forwarded` of a request with them that came from there without a proxy.
    forwarded: RefCell<Option<(HeaderValue, Scheme, HeaderValue)>>,
}

impl Peer {
    /// At this address.
    pub fn new(address: IpAddr) -> Option<Self> {
        let text = HeaderValue::try_from(address.to_string()).ok()?;
        Some(Self { text, forwarded: RefCell::new(None) })
    }

    /// The `Forwarded` that was written for these, if they were the last.
    fn forwarded(&self, host: &HeaderValue, scheme: Scheme) -> Option<HeaderValue> {
        let last = self.forwarded.borrow();
        let (last_host, last_scheme, forwarded) = last.as_ref()?;
        (*last_scheme == scheme && last_host == host).then(|| forwarded.clone())
    }

    fn keep(&self, host: &HeaderValue, scheme: Scheme, forwarded: &HeaderValue) {
        // A copy: what the head of a request came in must not be kept for as long as the connection lives.
        if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
            *self.forwarded.borrow_mut() = Some((host, scheme, forwarded.clone()));
        }
    }
}

/// What the gateway adds to `Via`, by the version that a request came in (RFC 9110 section 7.6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl Via {
    /// Under this name, which must be a token (RFC 9110 section 5.6.2).
    pub fn new(pseudonym: &str) -> Option<Self> {
        let name =
            Some(pseudonym).filter(|name| !name.is_empty() && name.len() <= 128 && name.bytes().all(is_token_byte))?;
        let value = |version: &str| HeaderValue::try_from(format!("{version} {name}")).ok();
        Some(Self { http_10: value("1.0")?, http_11: value("1.1")?, http_2: value("2.0")? })
    }

    /// For a request of this version.
    pub fn of(&self, version: http::Version) -> &HeaderValue {
        match version {
            http::Version::HTTP_10 => &self.http_10,
            http::Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        }
    }
}

/// The scheme of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Makes a request's headers fit for the upstream. See the module for the order.
pub fn prepare_request(headers: &mut HeaderMap, plan: &HeaderPlan, forwarding: &Forwarding<'_>) {
    let is_credential = |name: &HeaderName| *name == AUTHORIZATION || plan.credentials.contains(name);
    remove(headers, |name| {
        // An expectation is met by the gateway: it says 100 to the caller when it begins to read the body.
        ends_here(name)
            || *name == EXPECT
            || plan.reserved.contains(name.as_str())
            || (!forwarding.forward_credentials && is_credential(name))
    });
    if plan.own_cookies {
        without_own(headers);
    }
    // No rule is about a name that is set below.
    if let Some(rules) = forwarding.rules {
        rules.apply(headers);
    }
    set_forwarded(headers, forwarding);
    if let Some(host) = forwarding.host {
        headers.insert(HOST, host.clone());
    }
    headers.insert(X_REQUEST_ID, forwarding.request_id.clone());
    if let Some(via) = forwarding.via {
        headers.append(VIA, via.clone());
    }
    if let Some(values) = forwarding.identity {
        values.set(headers, &plan.identity);
    }
}

/// Makes a response's headers fit for the caller: what ends at this hop goes, and so does an `X-Request-Id`, which is the
/// gateway's to set. Nor does an upstream set the gateway's own cookies: it could put somebody into another one's session.
pub fn prepare_response(headers: &mut HeaderMap, plan: &HeaderPlan) {
    remove(headers, |name| ends_here(name) || *name == X_REQUEST_ID);
    if plan.own_cookies && headers.get_all(SET_COOKIE).iter().any(sets_own) {
        let others: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|each| !sets_own(each)).cloned().collect();
        headers.remove(SET_COOKIE);
        for other in others {
            headers.append(SET_COOKIE, other);
        }
    }
}

/// Whether a `Set-Cookie` names one of the gateway's own.
fn sets_own(value: &HeaderValue) -> bool {
    let name = value.as_bytes().split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    is_own_cookie(name.trim_ascii())
}

/// Removes what is `unwanted`, and what `Connection` names. `Connection` itself must be unwanted.
fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    // Neither list allocates while it is empty, which is the common case.
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    if doomed.contains(&CONNECTION) {
        let named: Vec<HeaderName> = headers.get_all(CONNECTION).iter().flat_map(connection_options).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in doomed {
        headers.remove(name);
    }
}

/// The headers that a `Connection` value names (RFC 9110 section 7.6.1), without those that it has no power over: where the
/// request goes and how long its body is.
fn connection_options(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| name != HOST && name != CONTENT_LENGTH)
}

/// Whether a header concerns this connection only (RFC 9110 section 7.6.1), or is taken for one that does. Trailers are not
/// passed on, so neither is their announcement; nor is `Proxy`, which CGI programs mistake for a setting of their own.
pub(crate) fn ends_here(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings"
        | "proxy" => true,
        name => name.starts_with("proxy-"),
    }
}

/// Names of which every spelling is reserved: `_`, `.` and `-` are one character, because upstreams (CGI, WSGI and their
/// kin) take them for one; HTTP itself ignores case.
#[derive(Debug, Clone)]
struct LookAlikes {
    /// Folded and sorted.
    names: Vec<Box<[u8]>>,
    /// The first characters of the names, one bit each: most headers are none of these by their first letter.
    firsts: u128,
    /// The lengths of the names, likewise.
    lengths: u128,
}

impl LookAlikes {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<Box<[u8]>> = names.map(|name| name.bytes().map(fold).collect()).collect();
        names.sort_unstable();
        let firsts = names.iter().filter_map(|name| name.first()).fold(0, |bits, first| bits | bit(*first));
        let lengths = names.iter().fold(0, |bits, name| bits | length_bit(name.len()));
        Self { names, firsts, lengths }
    }

    fn contains(&self, name: &str) -> bool {
        let Some(first) = name.bytes().next() else { return false };
        let is_name = || {
            self.firsts & bit(fold(first)) != 0
                && self.lengths & length_bit(name.len()) != 0
                && self.names.binary_search_by(|reserved| reserved.iter().copied().cmp(name.bytes().map(fold))).is_ok()
        };
        let begins = |prefix: &&[u8]| name.bytes().map(fold).take(prefix.len()).eq(prefix.iter().copied());
        RESERVED_PREFIXES.iter().any(begins) || is_name()
    }
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' => b'-',
        byte => byte.to_ascii_lowercase(),
    }
}

/// All lengths from 127 on share a bit.
fn length_bit(length: usize) -> u128 {
    1_u128 << length.min(127)
}

fn bit(ascii: u8) -> u128 {
    1_u128.checked_shl(ascii.into()).unwrap_or(0)
}

/// What only the gateway may tell an upstream, and what some upstreams let override the method or path that was authorised
/// (security rule P4). Proxies that end TLS tell of client certificates in the headers of RFC 9440 and in others: this one
/// tells nothing of them by a header, so whatever comes is forged.
const RESERVED: &[&str] = &[
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "true-client-ip",
    "x-auth-assertion",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-arr-clientcert",
    "x-auth-user",
    "x-client-cert",
    "x-client-dn",
    "x-client-ip",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-ssl-cert",
];
const RESERVED_PREFIXES: &[&[u8]] = &[b"x-forwarded-", b"ssl-client-", b"x-ssl-client-", b"x-amzn-mtls-"];

/// Who it is, ready to be written into headers: made once per verified credential, set on each of its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityValues {
    user: Option<HeaderValue>,
    groups: Option<HeaderValue>,
    roles: Option<HeaderValue>,
    email: Option<HeaderValue>,
    assertion: Option<HeaderValue>,
    overage: Option<HeaderValue>,
}

impl IdentityValues {
    /// Encodes the values: visible ASCII stays, everything else, `%` and `,` are percent-encoded, so that no value can end
    /// a header or a list. Names in a list are joined by `,`. What is empty has no header. Neither has a list that would be longer than `max_size` bytes: a part of it would
    /// look like the whole.
    pub fn new<'a>(
        user: &str,
        groups: impl ExactSizeIterator<Item = &'a str>,
        roles: impl ExactSizeIterator<Item = &'a str>,
        email: Option<&str>,
        max_size: usize,
    ) -> Self {
        let counts = [("groups", groups.len()), ("roles", roles.len())];
        let [groups, roles] = [list(groups, max_size), list(roles, max_size)];
        let left_out = [groups.is_none(), roles.is_none()];
        let left_out = counts.into_iter().zip(left_out).filter(|(_, is_left_out)| *is_left_out);
        let mut overage = String::new();
        for ((name, count), _) in left_out {
            let between = if overage.is_empty() { "" } else { "," };
            // Writing to a text never fails.
            let _ = write!(overage, "{between}{name}={count}");
        }
        Self {
            user: encode([user]),
            groups: groups.flatten(),
            roles: roles.flatten(),
            email: encode(email),
            assertion: None,
            overage: if overage.is_empty() { None } else { HeaderValue::try_from(overage).ok() },
        }
    }

    /// Whether a list is left out for its length.
    pub fn is_cut(&self) -> bool {
        self.overage.is_some()
    }

    /// The same with the gateway's signed word.
    #[must_use]
    pub fn asserted(mut self, assertion: Option<HeaderValue>) -> Self {
        self.assertion = assertion;
        self
    }

    fn set(&self, headers: &mut HeaderMap, names: &IdentityHeaders) {
        let pairs = [
            (&names.user, &self.user),
            (&names.groups, &self.groups),
            (&names.roles, &self.roles),
            (&names.email, &self.email),
            (&names.assertion, &self.assertion),
            (&names.overage, &self.overage),
        ];
        for (name, value) in pairs {
            if let (Some(name), Some(value)) = (name, value) {
                headers.insert(name, value.clone());
            }
        }
    }
}

fn encode<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<HeaderValue> {
    list(values, usize::MAX).flatten()
}

/// The header of a list; inside `None` where it is empty. Outside `None`: it would be longer than `most` bytes.
#[expect(clippy::option_option, reason = "no value and none that may be sent are two things")]
fn list<'a>(values: impl IntoIterator<Item = &'a str>, most: usize) -> Option<Option<HeaderValue>> {
    let mut text = String::new();
    for value in values.into_iter().filter(|value| !value.is_empty()) {
        if !text.is_empty() {
            text.push(',');
        }
        for byte in value.bytes() {
            match byte {
                b'%' | b',' => push_escaped(&mut text, byte),
                0x21..=0x7e => text.push(byte.into()),
                _ => push_escaped(&mut text, byte),
            }
        }
        if text.len() > most {
            return None;
        }
    }
    Some(if text.is_empty() { None } else { HeaderValue::try_from(text).ok() })
}

fn push_escaped(text: &mut String, byte: u8) {
    let _ = write!(text, "%{byte:02X}");
}

/// Sets `X-Forwarded-*` and `Forwarded` (RFC 7239). The chain is what is known: the client, then the trusted proxies. What
/// else the caller or a proxy claimed is gone.
fn set_forwarded(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    let host = headers.get(HOST).cloned();
    // Without a proxy between, each request of a connection says the same, as long as it has the same host.
    let peer = forwarding.peer.filter(|_| forwarding.proxies.is_empty() && forwarding.client.ip().is_some());
    let known = peer.zip(host.as_ref()).and_then(|(peer, host)| peer.forwarded(host, forwarding.scheme));
    match (peer, forwarding.client.ip()) {
        (Some(peer), _) => {
            headers.insert(X_FORWARDED_FOR, peer.text.clone());
        }
        (None, Some(client)) => {
            let mut text = BytesMut::with_capacity(64);
            write_address(&mut text, client);
            for proxy in forwarding.proxies {
                text.extend_from_slice(b", ");
                write_address(&mut text, *proxy);
            }
            insert(headers, X_FORWARDED_FOR, text.freeze());
        }
        (None, None) => {}
    }
    let made = || {
        let value = HeaderValue::from_maybe_shared(forwarded(forwarding, host.as_ref())).ok()?;
        if let (Some(peer), Some(host)) = (peer, &host) {
            peer.keep(host, forwarding.scheme, &value);
        }
        Some(value)
    };
    if let Some(value) = known.or_else(made) {
        headers.insert(FORWARDED, value);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(forwarding.scheme.as_str()));
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if let Some(prefix) = forwarding.stripped_prefix {
        headers.insert(X_FORWARDED_PREFIX, prefix.clone());
    }
}

/// The value of `Forwarded`. Host and scheme are those of the last hop, the one that the gateway saw.
fn forwarded(forwarding: &Forwarding<'_>, host: Option<&HeaderValue>) -> Bytes {
    let mut text = BytesMut::with_capacity(160);
    match forwarding.client.ip() {
        Some(client) => write_node(&mut text, client),
        None => text.extend_from_slice(b"for=unknown"),
    }
    for proxy in forwarding.proxies {
        text.extend_from_slice(b", ");
        write_node(&mut text, *proxy);
    }
    if let Some(host) = host {
        write_host(&mut text, host.as_bytes());
    }
    text.extend_from_slice(b";proto=");
    text.extend_from_slice(forwarding.scheme.as_str().as_bytes());
    text.freeze()
}

fn write_address(text: &mut BytesMut, address: IpAddr) {
    let _ = write!(text, "{address}");
}

/// RFC 7239 section 6: an IPv6 address is bracketed and therefore quoted.
fn write_node(text: &mut BytesMut, address: IpAddr) {
    let _ = match address {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
}

/// RFC 7239 section 4: a value that is no token, such as a host with its port, is quoted. One that would have to be escaped
/// is no host, and is left out.
fn write_host(text: &mut BytesMut, host: &[u8]) {
    if host.iter().copied().all(is_token_byte) && !host.is_empty() {
        text.extend_from_slice(b";host=");
        text.extend_from_slice(host);
    } else if host.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) && !host.is_empty() {
        text.extend_from_slice(b";host=\"");
        text.extend_from_slice(host);
        text.extend_from_slice(b"\"");
    }
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    let is_sign = |byte| {
        matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
    };
    byte.is_ascii_alphanumeric() || is_sign(byte)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(value) {
        headers.insert(name, value);
    }
}

/// `X-Request-Id`, which the gateway sets on requests and on responses.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
