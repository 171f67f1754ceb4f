//! How much is accepted.

use std::time::Duration;

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
