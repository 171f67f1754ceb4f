//! The native event, `portcullis.event/1`: one JSON object per line, its keys stable and only ever added to.
//!
//! These structs are the wire shape and nothing else: whoever refuses a request fills them, the recorder numbers and bounds
//! them, a writer thread serializes them. Every key of the fixed part is always present; what is not known is `null`. There
//! is no field for a credential, a cookie, a query's value or a body, so none of them can be recorded.

mod facts;
mod kind;
mod parts;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::checkpoint::Checkpoint;
use crate::reason_code::ReasonCode;

pub use facts::{DecidedOn, ScopedTo};
pub use kind::EventKind;
pub use parts::*;

/// The value of `schema`. Its number changes only if a key changes its meaning or goes away.
pub const SCHEMA: &str = "portcullis.event/1";

/// One event. The keys are in the order of the contract.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// UUID version 7 (RFC 9562 section 5.7). On a refusal it is the request's id and `x-request-id`, unless a
    /// trusted proxy named the request.
    pub id: Uuid,
    /// When it happened: on a refusal, when the answer was decided.
    #[serde(serialize_with = "rfc3339_micros")]
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// How much it deserves a look.
    pub severity: Severity,
    /// The number of the event in this process, from 1. Set by the recorder; a gap in a sink is a dropped event. 0 for a permit that was
    /// recorded by chance.
    pub seq: u64,
    /// The node that saw it. Set by the recorder.
    pub node: Arc<str>,
    /// The cluster of the node. Set by the recorder.
    pub cluster: Option<Arc<str>>,
    /// The gateway's version.
    pub version: &'static str,
    /// What was answered; `None` where nobody asked, such as `gateway.started`.
    pub decision: Option<Answer>,
    /// The HTTP status that the caller got.
    pub status: Option<u16>,
    /// Who answered.
    pub origin: Origin,
    /// The decisive reason.
    pub reason: Option<ReasonCode>,
    /// Every reason that would have refused, the decisive one first.
    pub reasons: Vec<ReasonCode>,
    /// One sentence for the operator. It may change from release to release. At most 2,048 bytes.
    pub message: Option<String>,
    /// The policy that decided.
    pub policy: Policy,
    /// The request.
    pub request: Request,
    /// Where it came from.
    pub client: Client,
    /// Who it was.
    pub identity: Identity,
    /// [`claimed_name`] of whom a credential that failed claimed to be. In no line: rules within this process count by it, and nobody else
    /// is to know what anybody typed.
    #[serde(skip)]
    pub claimed: Option<u64>,
    /// On which device.
    pub device: Device,
    /// How risky the caller looked.
    pub risk: Risk,
    /// The ban that touched it.
    pub ban: Ban,
    /// The smallest changes that would let the request pass, fewest first.
    pub nearest: Vec<Nearest>,
    /// Every check of the decision, in the form of `explain -o json`.
    pub checks: Vec<Check>,
    /// What rules in shadow mode would have done; `None` where no such rule applied.
    pub shadow: Option<Vec<Shadow>>,
    /// What the caller could do about it.
    pub remedy: Remedy,
    /// The upstream.
    pub upstream: Upstream,
    /// How long it took.
    pub latency_us: Latency,
    /// What else the decision rested on. Present only where a policy was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<DecidedOn>>,
    /// The alert that fired. Present only in events of kind `alert.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<Box<Alert>>,
    /// What an audit has found. Present only in events of kind `audit.finding` and `audit.suppression_ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Box<AuditFinding>>,
    /// The keys whose value was cut to its bound. Present only where something was cut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<&'static str>,
    /// How far the chain had come, signed. Present only on a checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<Checkpoint>>,
    /// Null until the line is sealed: see `chain`, which needs it to stand last.
    pub integrity: Unchained,
}

impl Event {
    /// An event of some kind, with nothing else known yet.
    pub fn new(kind: EventKind, id: Uuid, time: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            id,
            time,
            kind,
            severity: kind.severity(),
            seq: 0,
            node: Arc::default(),
            cluster: None,
            version: env!("CARGO_PKG_VERSION"),
            decision: None,
            status: None,
            origin: Origin::Gateway,
            reason: None,
            reasons: Vec::new(),
            message: None,
            policy: Policy::default(),
            request: Request::default(),
            client: Client::default(),
            identity: Identity::default(),
            claimed: None,
            device: Device::default(),
            risk: Risk::default(),
            ban: Ban::default(),
            nearest: Vec::new(),
            checks: Vec::new(),
            shadow: None,
            remedy: Remedy::default(),
            upstream: Upstream::default(),
            latency_us: Latency::default(),
            facts: None,
            alert: None,
            finding: None,
            truncated: Vec::new(),
            checkpoint: None,
            integrity: Unchained,
        }
    }

    /// A refusal: the code's default decision, status and severity. `id` is the request's id.
    pub fn denied(id: Uuid, time: Timestamp, code: ReasonCode) -> Self {
        let mut event = Self::new(EventKind::AccessDenied, id, time);
        event.request.id = Some(id.into());
        event.set_reason(code);
        event
    }

    /// Whether it is one of the permits that are recorded by chance. Only who asks for them gets them; they have no number and are in no
    /// chain, since of what is a sample nothing can be missing.
    pub fn is_sampled_permit(&self) -> bool {
        self.kind == EventKind::AccessAllowed && self.shadow.is_none()
    }

    /// Makes `code` the decisive reason, with its default decision, status, severity and stage.
    pub fn set_reason(&mut self, code: ReasonCode) {
        self.decision = Some(code.answer());
        self.status = code.status();
        self.severity = code.severity();
        self.reason = Some(code);
        self.reasons.clear();
        self.reasons.push(code);
        self.policy.stage = Some(code.stage());
    }
}

/// A number that tells names apart within this process, by a key of this process alone, and does not say what they are.
pub fn claimed_name(name: &str) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(name)
}

/// How much an event deserves a look. The rule is in `docs/events.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It happens every day and mends itself.
    Low,
    /// Somebody could not do what they tried.
    Medium,
    /// It looks like an attack, or the gateway could not do its work.
    High,
    /// The gateway's own protection is in doubt. No reason code has it.
    Critical,
}

/// The decision word: a policy's outcome, or one of the two answers that no policy gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Forwarded.
    Permit,
    /// Refused for good: 403, or the status of a malformed request.
    Deny,
    /// 401: a credential is missing or bad.
    Challenge,
    /// 401: a stronger or fresher authentication is needed (RFC 9470).
    StepUp,
    /// 429 or 503: too much at once.
    Throttle,
    /// 503: the facts did not suffice to decide.
    Undecided,
    /// The upstream or the gateway itself failed: 500, 502, 503, 504.
    Failed,
}

impl Answer {
    /// The word that events and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Challenge => "challenge",
            Self::StepUp => "step_up",
            Self::Throttle => "throttle",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        }
    }
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The gateway.
    Gateway,
    /// The upstream, whose own refusal was passed on.
    Upstream,
}

/// What `integrity` is where an event is not sealed: null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Unchained;

/// RFC 3339 with exactly six fractional digits, so that all times are of one width and sort as text.
pub(crate) fn rfc3339_micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    let mut text = String::with_capacity("2026-11-29T13:45:16.480092Z".len());
    PRINTER.print_timestamp(time, &mut text).map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

#[cfg(test)]
pub(crate) mod tests;
