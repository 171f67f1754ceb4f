//! What passes between callers, gateway and upstreams: who the client is taken for, and what both sides are told.

use http::HeaderName;
use ipnet::IpNet;

use crate::page::Pages;
use crate::trace::TraceMode;
use crate::upstream::headers::Via;

/// `[client_address]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientAddressSettings {
    /// Whose word about the client's address is believed. Default: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Which header carries it.
    pub header: ForwardedHeader,
}

/// The header that names the client behind a trusted proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// `[forwarding]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardingSettings {
    /// The gateway's name in `Via` (RFC 9110 section 7.6.3). `None`: it does not name itself. Default `portcullis`.
    pub via: Option<Via>,
    /// The `X-Request-Id` of a trusted proxy is kept. Default: every request gets an id of the gateway's.
    pub keep_request_id: bool,
    /// What becomes of `traceparent` and `tracestate`. Default: a valid one is continued.
    pub trace: TraceMode,
}

impl Default for ForwardingSettings {
    fn default() -> Self {
        Self { via: Via::new("portcullis"), keep_request_id: false, trace: TraceMode::default() }
    }
}

/// `[identity.headers]`: what the upstream is told. Every look-alike from the client is removed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The principal's id.
    pub user: Option<HeaderName>,
    /// Its groups, separated by commas.
    pub groups: Option<HeaderName>,
    /// Its roles on the route, separated by commas.
    pub roles: Option<HeaderName>,
    /// Its email address.
    pub email: Option<HeaderName>,
    /// All of it, signed by the gateway: see [`Settings::assertions`](super::Settings::assertions).
    pub assertion: Option<HeaderName>,
    /// Which of the lists were left out for their length, and how many entries each has.
    pub overage: Option<HeaderName>,
    /// How long a list may be, in bytes as it is sent. Default 4 KiB.
    pub max_size: usize,
}

impl IdentityHeaders {
    /// The default of `max_size`: half of what servers take for one header at least.
    pub const MAX_SIZE: usize = 4 << 10;
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        let (user, groups, roles, email, assertion, overage) = (None, None, None, None, None, None);
        Self { user, groups, roles, email, assertion, overage, max_size: Self::MAX_SIZE }
    }
}

/// `[refusal]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalSettings {
    /// Where the page of a reason code is: the code is appended. Default `https://portcullis.example/denials/`.
    pub help_base: String,
    /// The `realm` of a challenge. Default `portcullis`.
    pub realm: String,
    /// What a person sees. Default: the gateway's own page.
    pub pages: Pages,
}

impl Default for RefusalSettings {
    fn default() -> Self {
        Self {
            help_base: "https://portcullis.example/denials/".into(),
            realm: "portcullis".into(),
            pages: Pages::default(),
        }
    }
}
