//! Where requests come in, and what is fixed while the process runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::tls::ServerTls;

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
