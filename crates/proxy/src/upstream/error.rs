//! What goes wrong between the gateway and an upstream, told apart by whose fault it is.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};

/// Any error, boxed, as hyper takes it from a body.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why an exchange with an upstream failed. [`fmt::Display`] is for the operator; the caller only hears the reason code
/// that `kind` leads to.
#[derive(Debug)]
pub struct UpstreamError {
    /// Whose fault it is.
    pub kind: FaultKind,
    /// What exactly happened, for the operator: at most 256 bytes, without anything that the request or response carried.
    pub detail: String,
    /// The endpoint that it was about, as the configuration names it, where it was about one.
    pub endpoint: Option<std::sync::Arc<str>>,
    /// For [`FaultKind::RequestBody`], the error of the request's own body.
    source: Option<BoxError>,
}

/// The kinds of failure, each with its own answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No endpoint took a connection: refused, not routed, or its name does not resolve (`upstream.unreachable`, 502).
    Unreachable,
    /// The upstream took too long (`upstream.timeout`, 504).
    Timeout(TimeoutPhase),
    /// The upstream answered with something that is not HTTP, or broke off (`upstream.protocol`, 502).
    Protocol,
    /// As many requests are under way to it as its limits allow (`limit.overload`, 503).
    Busy,
    /// The upstream failed so often that it is not asked for a while (`upstream.circuit_open`, 503).
    CircuitOpen {
        /// When it is asked again, in seconds; at least 1.
        retry_after_s: u64,
    },
    /// The request's own body failed, or stalled for longer than the idle limit: the caller's fault, not the upstream's.
    RequestBody,
}

/// What the gateway was waiting for when the time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutPhase {
    /// A connection (`timeouts.connect`).
    Connect,
    /// That the upstream takes more of the request (`timeouts.idle`).
    Send,
    /// The response's head (`timeouts.first_byte`).
    FirstByte,
    /// The next piece of the response's body (`timeouts.idle`).
    Idle,
    /// The end of the whole exchange (`timeouts.total`).
    Total,
}

impl UpstreamError {
    /// An error of this kind; the detail is cut to 256 bytes.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Self { kind, detail, endpoint: None, source: None }
    }

    /// The answer was not HTTP, or broke off, as hyper describes it.
    pub(super) fn protocol(what: &str, error: &dyn StdError) -> Self {
        let mut detail = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            if detail.len() >= DETAIL_BYTES_MAX {
                break;
            }
            let _ = write!(detail, ": {error}");
            cause = error.source();
        }
        Self::new(FaultKind::Protocol, detail)
    }

    /// The request's body gave an error instead of its next piece.
    pub(super) fn request_body(source: BoxError) -> Self {
        Self { source: Some(source), ..Self::new(FaultKind::RequestBody, "the request's body broke off") }
    }

    /// The time for this phase ran out.
    pub(super) fn timeout(phase: TimeoutPhase) -> Self {
        let detail = match phase {
            TimeoutPhase::Connect => "no connection in time",
            TimeoutPhase::Send => "the upstream stopped taking the request",
            TimeoutPhase::FirstByte => "no response head in time",
            TimeoutPhase::Idle => "the response's body stalled",
            TimeoutPhase::Total => "the whole exchange took too long",
        };
        Self::new(FaultKind::Timeout(phase), detail)
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl StdError for UpstreamError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

const DETAIL_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let error = UpstreamError::new(FaultKind::Protocol, "é".repeat(200));
        assert_eq!(error.detail, "é".repeat(128));
        let error = UpstreamError::new(FaultKind::Protocol, format!("x{}", "é".repeat(200)));
        assert_eq!(error.detail.len(), 255);
    }

    #[test]
    fn a_body_error_can_be_found_again_behind_it() {
        let error = UpstreamError::request_body("too large".into());
        assert_eq!(error.kind, FaultKind::RequestBody);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("too large"));
    }
}
