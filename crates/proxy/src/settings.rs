//! What the data plane needs to know, as plain values. The TOML shape lives in `config`.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use portcullis_identity::assertion::Assertions;
use portcullis_identity::posture::PostureReader;

use crate::introduction::Introduction;
use crate::page::Pages;
use crate::pages::PagesSettings;
use crate::route::{Cors, FieldRules, LocationBack, Maintenance, PathTemplate, RouteAction};
use crate::tls::ServerTls;
use crate::trace::TraceMode;
use crate::upstream::ClientTls;
use crate::upstream::headers::Via;

/// What is fixed while the process runs: a change needs a restart.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Where to listen.
    pub listeners: Vec<ListenerSettings>,
    /// How many workers, each one thread; at least 1. Default: the number of processors.
    pub workers: usize,
    /// How draining goes.
    pub shutdown: ShutdownSettings,
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The address it binds.
    pub address: SocketAddr,
}

/// What a reload may change of a `[[listener]]`: connections that come later are served by it.
#[derive(Debug, Clone)]
pub struct InboundSettings {
    /// The listener's name.
    pub name: Arc<str>,
    /// How TLS is spoken. Default: it is not.
    pub tls: Option<ServerTls>,
    /// Whether clients may speak HTTP/2: over TLS where ALPN says so, in plain text by prior knowledge. Default true.
    pub http2: bool,
    /// Who begins with a header of the PROXY protocol. Default: nobody.
    pub proxy_protocol: ProxyProtocol,
    /// It is the listener of the operators' API, which is asked for under these hosts, in the form that routes compare: requests on it are
    /// for that API alone, and requests on others never are. Default: it is not.
    pub operators: Option<Arc<[Box<str>]>>,
}

/// The host of the operators' API in routes, policies and events. It can be no host of the network (RFC 6761 section 6.4), and a request
/// that names it on another listener is refused.
pub const OPERATORS_HOST: &str = "operators.portcullis.invalid";

/// `proxy_protocol`: who begins a connection with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// Nobody.
    #[default]
    Off,
    /// Trusted proxies do, always; others do not.
    Trusted,
    /// Trusted proxies do, and others may not come.
    Required,
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// How long `/readyz` says no before the listeners close. Default 0 s.
    pub delay: Duration,
    /// How long requests may then take to finish. Default 30 s.
    pub grace: Duration,
}

/// What a reload replaces as a whole.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[[listener]]`, in order.
    pub inbound: Vec<Arc<InboundSettings>>,
    /// `[[upstream]]`, in order; routes refer to them by index.
    pub upstreams: Vec<UpstreamSettings>,
    /// `[[route]]`, in the order of the policy's `RouteId`.
    pub routes: Vec<RouteSettings>,
    /// `[client_address]`
    pub client_address: ClientAddressSettings,
    /// `[identity.headers]`
    pub identity_headers: IdentityHeaders,
    /// `[risk.posture]` of the policy: who reads what is said of devices. `None`: nothing is expected to be.
    pub posture: Option<Arc<PostureReader>>,
    /// `[identity.assertion]`: what signs the assertion; its public keys are under
    /// [`WELL_KNOWN`](portcullis_identity::assertion::WELL_KNOWN) on every listener.
    pub assertions: Option<Arc<Assertions>>,
    /// `[forwarding]`
    pub forwarding: ForwardingSettings,
    /// `[limits]`
    pub limits: Limits,
    /// `[refusal]`
    pub refusal: RefusalSettings,
    /// Where the gateway's own pages are; `None`: nowhere.
    pub pages: Option<PagesSettings>,
}

/// `[[upstream]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Its endpoints, at least one. The one with the fewest requests under way is preferred.
    pub endpoints: Vec<Endpoint>,
    /// How long to wait for it.
    pub timeouts: UpstreamTimeouts,
    /// How many idle connections each worker keeps to it. Default 128.
    pub max_idle: usize,
    /// How TLS is spoken to its `https` endpoints. Without it they are unreachable.
    pub tls: Option<ClientTls>,
    /// When it is not asked any more for a while; `None`: never.
    pub breaker: Option<BreakerSettings>,
    /// When an endpoint is passed over for a while; `None`: never.
    pub ejection: Option<EjectionSettings>,
    /// How many of a hundred requests may be sent again. Default 20.
    pub retry_percent: u8,
    /// Which version of HTTP its endpoints are spoken to in. Default HTTP/1.1.
    pub http: UpstreamHttp,
    /// How HTTP/2 is spoken, where it is.
    pub http2: Http2Settings,
    /// How its endpoints are checked without requests. Default: they are not.
    pub health: Option<HealthSettings>,
    /// How long an endpoint that has come back gets less than its share; zero: not at all. Default 0 s.
    pub slow_start: Duration,
    /// How many requests may be under way to it at once, over all workers. Default: any number.
    pub max_requests: Option<usize>,
    /// How long an answer of the resolver is used. Default 5 s.
    pub dns_refresh: Duration,
}

/// `health = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked for; `None`: a connection is enough.
    pub path: Option<Arc<str>>,
    /// How long between two checks of an endpoint. Default 5 s.
    pub interval: Duration,
    /// How long one may take. Default 2 s.
    pub timeout: Duration,
    /// After so many good ones in a row an endpoint is in again, at least 1. Default 2.
    pub healthy: u32,
    /// After so many bad ones in a row it is out, at least 1. Default 3.
    pub unhealthy: u32,
    /// The statuses that are good. Empty: 200 to 399.
    pub status: Vec<u16>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy: 2,
            unhealthy: 3,
            status: Vec::new(),
        }
    }
}

impl HealthSettings {
    /// Whether an answer of this status is a good one.
    pub fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..400).contains(&status) } else { self.status.contains(&status) }
    }
}

/// `http`: which version of HTTP an upstream is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamHttp {
    /// HTTP/1.1.
    #[default]
    One,
    /// HTTP/2: over TLS by ALPN, else by prior knowledge.
    Two,
    /// Over TLS what the endpoint chooses by ALPN, else HTTP/1.1.
    Auto,
}

/// `http2 = { … }` of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Settings {
    /// How many connections each worker has to an endpoint, at least 1. Default 4.
    pub max_connections: usize,
    /// How many requests are under way on one of them, at least 1, if the endpoint allows as many. Default 100.
    pub max_streams: usize,
    /// After how long a silence a connection with requests under way is asked for a sign of life; `Duration::MAX`: never.
    /// Default: never. One on which a time ran out always is.
    pub ping_interval: Duration,
    /// How long it has for that sign, before it is given up. Default 5 s.
    pub ping_timeout: Duration,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_connections: 4,
            max_streams: 100,
            ping_interval: Duration::MAX,
            ping_timeout: Duration::from_secs(5),
        }
    }
}

/// `breaker = { … }`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many requests in a row must fail, at least 1. Default 5.
    pub failures: u32,
    /// Within this time. Default 10 s.
    pub window: Duration,
    /// How long it is then not asked. Default 5 s.
    pub open: Duration,
    /// The most that it becomes, doubled after each probe that fails. Default 30 s.
    pub longest: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
            longest: Duration::from_secs(30),
        }
    }
}

/// `ejection = { … }`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectionSettings {
    /// After so many failures in a row, at least 1. Default 5.
    pub failures: u32,
    /// How long the first time. Default 10 s.
    pub first: Duration,
    /// The most that it becomes, doubled each time. Default 5 min.
    pub longest: Duration,
    /// The most endpoints that are passed over at once, of a hundred. Default 50.
    pub max_share_percent: u8,
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self { failures: 5, first: Duration::from_secs(10), longest: Duration::from_secs(300), max_share_percent: 50 }
    }
}

impl UpstreamSettings {
    /// An upstream with these endpoints and every default.
    pub fn new(name: impl Into<Arc<str>>, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name: name.into(),
            endpoints,
            timeouts: UpstreamTimeouts::default(),
            max_idle: 128,
            tls: None,
            breaker: Some(BreakerSettings::default()),
            ejection: Some(EjectionSettings::default()),
            retry_percent: 20,
            http: UpstreamHttp::default(),
            http2: Http2Settings::default(),
            health: None,
            slow_start: Duration::ZERO,
            max_requests: None,
            dns_refresh: Duration::from_secs(5),
        }
    }
}

/// One of `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What is spoken to it.
    pub scheme: EndpointScheme,
    /// Where it listens.
    pub address: EndpointAddress,
    /// Its share of the requests, beside those of the others; at least 1. Default 1.
    pub weight: u32,
}

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointScheme {
    /// Plain text: `http://HOST:PORT`, `unix:/PATH`.
    Http,
    /// HTTP over TLS: `https://HOST:PORT`.
    Https,
    /// HTTP/2 in plain text, by prior knowledge: `h2c://HOST:PORT`.
    H2c,
}

impl EndpointScheme {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }
}

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// A TCP port.
    Tcp {
        /// A name or an address (an IPv6 address without its brackets).
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// A unix socket, by its path.
    Unix(Arc<Path>),
}

impl Endpoint {
    /// `http://HOST:PORT`
    pub fn http(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { scheme: EndpointScheme::Http, address: EndpointAddress::Tcp { host: host.into(), port }, weight: 1 }
    }

    /// `https://HOST:PORT`
    pub fn https(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { scheme: EndpointScheme::Https, ..Self::http(host, port) }
    }

    /// `h2c://HOST:PORT`
    pub fn h2c(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { scheme: EndpointScheme::H2c, ..Self::http(host, port) }
    }

    /// `unix:/PATH`
    pub fn unix(path: impl Into<Arc<Path>>) -> Self {
        Self { scheme: EndpointScheme::Http, address: EndpointAddress::Unix(path.into()), weight: 1 }
    }
}

/// As it is written in the configuration.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            EndpointAddress::Tcp { host, port } => {
                let scheme = self.scheme.as_str();
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{open}{host}{close}:{port}")
            }
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `timeouts = { … }`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To connect. Default 2 s.
    pub connect: Duration,
    /// From the request sent to the response's head. Default 15 s.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way; `Duration::MAX` is any time. Default 60 s.
    pub idle: Duration,
    /// For the whole exchange; `Duration::MAX` is any time. Default 300 s.
    pub total: Duration,
    /// How long an unused connection is kept. Default 4 s: below the 5 s of common servers.
    pub keep_alive: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(300),
            keep_alive: Duration::from_secs(4),
        }
    }
}

/// `[[route]]`, apart from its hosts and paths, which are in the policy's route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// Its name, unique.
    pub name: Arc<str>,
    /// What becomes of a permitted request.
    pub action: RouteAction,
    /// Whether the caller's Authorization or API key is passed on. Its cookies are the application's own, and always are.
    pub forward_credentials: bool,
    /// The protocols that a connection may be switched to, in lower case, such as `websocket`. Default: none.
    pub upgrades: Vec<Arc<str>>,
    /// The caller sees role and rule names in a refusal (`disclose = "caller"`). Default: no.
    pub disclose: bool,
    /// The path that the upstream gets instead of the client's. Default: the client's.
    pub rewrite: Option<PathTemplate>,
    /// The prefix that `rewrite` takes off, for `X-Forwarded-Prefix`.
    pub stripped_prefix: Option<HeaderValue>,
    /// What undoes the route's changes in `Location` and `Content-Location`. Default: they pass as they are.
    pub location: Option<Box<LocationBack>>,
    /// How long an exchange may take with the upstream of each index, where it is not as that one says.
    pub timeouts: Vec<(usize, UpstreamTimeouts)>,
    /// Trailer fields pass both ways, as they always do for gRPC. Default: they are dropped.
    pub trailers: bool,
    /// The `Host` that the upstream gets. Default: the client's.
    pub upstream_host: Option<HeaderValue>,
    /// Rules for the fields of requests to the upstream.
    pub request_headers: Option<Box<FieldRules>>,
    /// Rules for the fields of answers, the upstream's and the route's own; not for those of refusals.
    pub response_headers: Option<Box<FieldRules>>,
    /// Whose scripts may read answers. Default: what the upstream says.
    pub cors: Option<Box<Cors>>,
    /// Permitted requests are answered with 503.
    pub maintenance: Option<Box<Maintenance>>,
    /// How much of it callers may use.
    pub limits: RouteLimits,
    /// What of permitted requests becomes an event. Default: nothing.
    pub recorded: Recorded,
    /// It leads to the operators' API, which is told who asks. Default: it does not.
    pub operators: Option<Box<Introduction>>,
}

/// `[event] permits` and `upstream_refusals`, as they are for one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// How many of ten thousand permitted requests.
    pub permits: u32,
    /// Every answer 401 or 403 of the upstream's own.
    pub upstream_refusals: bool,
}

impl RouteSettings {
    /// A route of this name and action, and every default.
    pub fn new(name: impl Into<Arc<str>>, action: RouteAction) -> Self {
        Self {
            name: name.into(),
            action,
            forward_credentials: false,
            upgrades: Vec::new(),
            disclose: false,
            rewrite: None,
            stripped_prefix: None,
            location: None,
            timeouts: Vec::new(),
            trailers: false,
            upstream_host: None,
            request_headers: None,
            response_headers: None,
            cors: None,
            maintenance: None,
            limits: RouteLimits::default(),
            recorded: Recorded::default(),
            operators: None,
        }
    }

    /// The route's own timeouts towards this upstream, where it has any.
    pub fn timeouts_to(&self, upstream: Option<usize>) -> Option<&UpstreamTimeouts> {
        self.timeouts.iter().find(|(index, _)| Some(*index) == upstream).map(|(_, timeouts)| timeouts)
    }
}

/// How much of a route callers may use. Default: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteLimits {
    /// `rate_limit`: each is asked, and the first that refuses counts.
    pub rates: Vec<RateLimit>,
    /// `max_concurrent`
    pub concurrent: Concurrency,
    /// `max_request_body`, in bytes. Default: any size.
    pub max_request_body: Option<usize>,
    /// `max_response_body`, in bytes. Default: any size.
    pub max_response_body: Option<usize>,
}

impl RouteLimits {
    /// Whether bodies are limited, either way.
    pub fn limit_bodies(&self) -> bool {
        self.max_request_body.is_some() || self.max_response_body.is_some()
    }
}

/// `{ per = …, requests = …, window = … }`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Whose requests are counted together.
    pub per: Per,
    /// How many in a window, in the long run.
    pub requests: u64,
    /// The window.
    pub window: Duration,
    /// How many at once. Default: as many as in a window.
    pub burst: u64,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// A verified principal's; a caller without one counts by its address.
    Principal,
    /// A client address's, IPv6 by /64; where the client is unknown, the peer's.
    Address,
    /// Everybody's.
    Route,
}

impl Per {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Route => "route",
        }
    }
}

/// `max_concurrent = { … }`: how many requests may be under way at once, until the last byte of their answers. Default: any
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Concurrency {
    /// For the whole route.
    pub route: Option<u64>,
    /// For one principal on the route; a caller without one counts by its address.
    pub principal: Option<u64>,
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
    /// All of it, signed by the gateway: see [`Settings::assertions`].
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

/// `[limits]`: the defaults are R4 of the security bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From accept to the first byte. Default 10 s.
    pub first_byte_timeout: Duration,
    /// From accept to the end of the TLS handshake. Default 10 s.
    pub tls_handshake_timeout: Duration,
    /// From the first byte of a head to its end. Default 10 s.
    pub header_timeout: Duration,
    /// Between two requests on one connection. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// Between two pieces of a request's body. Default 30 s.
    pub body_idle_timeout: Duration,
    /// Header fields in a head. Default 100.
    pub max_header_fields: usize,
    /// Bytes of a head. Default 64 KiB.
    pub max_header_bytes: usize,
    /// Bytes of one field line. Default 16 KiB.
    pub max_field_bytes: usize,
    /// Bytes of the request target. Default 8 KiB.
    pub max_uri_bytes: usize,
    /// Connections over all workers. Default 10,000.
    pub max_connections: usize,
    /// Connections of one client over all workers, IPv6 by /64; trusted proxies have any number. Default: any number.
    pub max_connections_per_client: Option<u64>,
    /// Requests in flight over all workers. Default 10,000.
    pub max_requests: usize,
    /// How long what is ready may wait for a worker before requests are shed; zero is any time. Default 100 ms.
    pub shed_after: Duration,
    /// Requests at once on one HTTP/2 connection. Default 100.
    pub http2_max_streams: u32,
    /// Bytes of one request's body that an HTTP/2 client may send ahead. Default 64 KiB.
    pub http2_stream_window: u32,
    /// The same of all requests on a connection. Default 1 MiB.
    pub http2_connection_window: u32,
    /// How long nothing may move in a tunnel. Default 1 h.
    pub upgrade_idle_timeout: Duration,
    /// How often what is under way for long is decided on again, from 1 s to 30 s. Default 10 s.
    pub recheck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(30),
            max_header_fields: 100,
            max_header_bytes: 64 * 1024,
            max_field_bytes: 16 * 1024,
            max_uri_bytes: 8 * 1024,
            max_connections: 10_000,
            max_connections_per_client: None,
            max_requests: 10_000,
            shed_after: Duration::from_millis(100),
            http2_max_streams: 100,
            http2_stream_window: 64 * 1024,
            http2_connection_window: 1024 * 1024,
            upgrade_idle_timeout: Duration::from_secs(60 * 60),
            recheck: Duration::from_secs(10),
        }
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
