//! Where requests go, and how that is spoken to and looked after.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::upstream::ClientTls;

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
