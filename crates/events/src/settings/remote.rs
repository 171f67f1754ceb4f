//! Receivers over the network: where they are, how they are spoken to, and what proves who the gateway is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::format::Format;

/// A receiver over the network, fed from the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteKind {
    /// RFC 5424.
    Syslog(SyslogSettings),
    /// HTTP POST, in the shape that the receiver wants.
    Http(HttpSettings),
    /// Azure Monitor's Logs Ingestion API, which Microsoft Sentinel reads from.
    Sentinel(SentinelSettings),
    /// OpenTelemetry logs over HTTP.
    Otlp(OtlpSettings),
    /// A topic of Apache Kafka; only where the crate is built for that ([`HAS_KAFKA`]).
    Kafka(KafkaSettings),
}

/// Whether this build writes to Kafka: the feature `kafka`.
pub const HAS_KAFKA: bool = cfg!(feature = "kafka");

/// `[sink.syslog]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    /// The receiver's name or address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// How it is reached.
    pub transport: SyslogTransport,
    /// What stands in MSG. Default native JSON.
    pub format: Format,
    /// The facility's number, 0 to 23. Default 16, `local0`.
    pub facility: u8,
    /// APP-NAME: visible ASCII, at most 48. Default `portcullis`.
    pub app_name: Arc<str>,
    /// The private enterprise number of the structured data. Default 32473, which is the one for documentation.
    pub enterprise_id: u32,
    /// The longest datagram over UDP, in bytes. Default 2,048.
    pub max_datagram: usize,
    /// How long connecting, or one write, may take. Default 10 s.
    pub timeout: Duration,
}

/// How a syslog receiver is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogTransport {
    /// One datagram for each event (RFC 5426).
    Udp,
    /// Frames with their length before them (RFC 6587 section 3.4.1).
    Tcp,
    /// The same over TLS (RFC 5425).
    Tls(TlsSettings),
}

/// Whom the gateway believes to be the receiver, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// The authorities that may have signed the receiver's certificate; empty: those that this system believes.
    pub roots: Vec<CertificateDer<'static>>,
    /// The certificate that the gateway shows, its own first, and the key to it.
    pub identity: Option<Arc<TlsIdentity>>,
    /// The name that the receiver's certificate must have instead of its host.
    pub server_name: Option<Arc<str>>,
}

/// A certificate and its key. `Debug` shows no key.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The chain.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private key of the first of them.
    pub key: PrivateKeyDer<'static>,
}

/// Where to post, and how the connection is made.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// Whether it is TLS; plain text else.
    pub tls: Option<TlsSettings>,
    /// The host, without a port.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// The path and the query, beginning with `/`. Whoever knows those of an incoming webhook can write to it: a secret.
    pub path: Arc<str>,
    /// How long a request may take in all, connecting included. Default 30 s.
    pub timeout: Duration,
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, path: _, timeout } = self;
        let mut shown = formatter.debug_struct("HttpTarget");
        shown
            .field("tls", tls)
            .field("host", host)
            .field("port", port)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

/// `[sink.http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where to.
    pub target: HttpTarget,
    /// In which shape.
    pub body: HttpBody,
    /// The form of each event in it. Default native.
    pub format: Format,
    /// What proves who the gateway is.
    pub auth: HttpAuth,
    /// Further header fields: names in lower case, values of visible ASCII and spaces.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Whether bodies are compressed. Default: yes.
    pub gzip: bool,
    /// How much one request may hold.
    pub batch: BatchSettings,
}

/// How much one call may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Events. Default 500.
    pub events: usize,
    /// Bytes of native lines. Default 1 MiB.
    pub bytes: usize,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { events: 500, bytes: 1 << 20 }
    }
}

/// The shape of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpBody {
    /// A line for each event.
    Ndjson,
    /// One JSON array.
    Array,
    /// The objects of Splunk's HTTP Event Collector, one after another.
    SplunkHec {
        /// `index`, where the token's own is not meant.
        index: Option<Arc<str>>,
        /// `source`. Default `portcullis`.
        source: Arc<str>,
        /// `sourcetype`. Default `portcullis:event`.
        sourcetype: Arc<str>,
    },
    /// Elasticsearch's bulk API: an action and a document for each event. The document's id is the event's, so that what is sent
    /// twice is there once.
    ElasticBulk {
        /// The index or data stream.
        index: Arc<str>,
    },
    /// Loki's push API: a stream for each kind and severity.
    Loki {
        /// Further labels of every stream.
        labels: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// What proves who the gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HttpAuth {
    /// Nothing.
    #[default]
    None,
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// `Authorization: Basic …`
    Basic {
        /// The name, without a colon.
        user: Arc<str>,
        /// The password.
        password: Secret,
    },
    /// A header field of the receiver's own.
    Header {
        /// Its name, in lower case.
        name: Arc<str>,
        /// Its value.
        value: Secret,
    },
}

/// `[sink.sentinel]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelSettings {
    /// The data collection endpoint, or the rule's own endpoint. Its path is empty.
    pub endpoint: HttpTarget,
    /// The immutable id of the data collection rule: `dcr-` and 32 hexadecimal digits.
    pub rule: Arc<str>,
    /// The stream that the rule declares. Default `Custom-Portcullis_CL`.
    pub stream: Arc<str>,
    /// Where tokens are given out. Its path is empty.
    pub authority: HttpTarget,
    /// The directory.
    pub tenant: Arc<str>,
    /// The application's id.
    pub client_id: Arc<str>,
    /// Its secret.
    pub client_secret: Secret,
    /// What the token is for. Default `https://monitor.azure.com`.
    pub audience: Arc<str>,
    /// Whether bodies are compressed. Default: yes.
    pub gzip: bool,
}

/// `[sink.otlp]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// Where to; the path is usually `/v1/logs`.
    pub target: HttpTarget,
    /// What proves who the gateway is.
    pub auth: HttpAuth,
    /// Further header fields.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Whether bodies are compressed. Default: yes.
    pub gzip: bool,
    /// How much one request may hold.
    pub batch: BatchSettings,
}

/// `[sink.kafka]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Brokers that are asked who leads the topic: their names or addresses, and ports.
    pub brokers: Vec<(Arc<str>, u16)>,
    /// The topic, which has to be there.
    pub topic: Arc<str>,
    /// The form of each record's value. Default native.
    pub format: Format,
    /// Whether it is TLS; plain text else.
    pub tls: Option<TlsSettings>,
    /// What proves who the gateway is, besides a certificate.
    pub sasl: Option<SaslSettings>,
    /// Whether batches are compressed. Default: yes.
    pub gzip: bool,
    /// How long connecting, and each request, may take. Default 30 s.
    pub timeout: Duration,
    /// How much one batch may hold.
    pub batch: BatchSettings,
}

/// A name and a password for a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslSettings {
    /// How they are shown.
    pub mechanism: SaslMechanism,
    /// The name.
    pub user: Arc<str>,
    /// The password.
    pub password: Secret,
}

/// How a broker is shown a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// As it is (RFC 4616); only over TLS.
    Plain,
    /// By a proof (RFC 7677).
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// What brokers call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A text that no log, report or event shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Shows it to whom it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let auth = HttpAuth::Basic { user: "u".into(), password: Secret::new("hunter2") };
        assert!(!format!("{auth:?}").contains("hunter2"));
        let target = HttpTarget {
            tls: None,
            host: "chat.example".into(),
            port: 443,
            path: "/services/hunter2?key=hunter2".into(),
            timeout: Duration::from_secs(30),
        };
        let shown = format!("{target:?}");
        assert!(shown.contains("chat.example") && !shown.contains("hunter2"), "{shown}");
    }
}
