//! The objects inside an event. Each key of a part is always present; `None` is `null`.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{CountryCode, Words};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::event::{Answer, rfc3339_micros};
use crate::reason_code::ReasonCode;

/// `policy`: what decided, and where it stands.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Policy {
    /// The version of the policy in force.
    pub version: Option<u64>,
    /// The SHA-256 of its text, in lower-case hex.
    pub sha256: Option<Arc<str>>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The name of the rule that decided, where one rule did.
    pub rule: Option<Arc<str>>,
    /// The file of that rule.
    pub file: Option<Arc<str>>,
    /// The line of that rule, from 1.
    pub line: Option<u32>,
    /// The stage of the decisive reason: the part of its code before the dot.
    pub stage: Option<&'static str>,
    /// Whether the route's resource is enforced.
    pub mode: Option<Mode>,
}

/// `policy.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It is reported only.
    Shadow,
}

/// `request`
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    /// The request's id; on a refusal the event's id, unless a trusted proxy named the request.
    pub id: Option<RequestId>,
    /// The trace it belongs to: 32 hex digits (W3C Trace Context section 3.2.2.3).
    pub trace_id: Option<String>,
    /// The gateway's span: 16 hex digits.
    pub span_id: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// The host, without a port.
    pub host: Option<String>,
    /// The port that was asked for.
    pub port: Option<u16>,
    /// The path, never with a query. At most 2,048 bytes.
    pub path: Option<String>,
    /// Whether there was a query, which is not recorded.
    pub query_redacted: bool,
    /// `1.0`, `1.1` or `2`.
    pub http_version: Option<&'static str>,
    /// Bytes of the body that were received before the answer.
    pub bytes: Option<u64>,
    /// `User-Agent`. At most 1,024 bytes.
    pub user_agent: Option<String>,
    /// `Referer` without user information, query and fragment. At most 1,024 bytes.
    pub referrer: Option<String>,
}

/// What a request is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// The id that the gateway gave it.
    Own(Uuid),
    /// The id that a trusted proxy gave it.
    Kept(Box<str>),
}

impl From<Uuid> for RequestId {
    fn from(id: Uuid) -> Self {
        Self::Own(id)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own(id) => id.serialize(serializer),
            Self::Kept(text) => text.serialize(serializer),
        }
    }
}

/// `client`
#[derive(Debug, Clone, Default, Serialize)]
pub struct Client {
    /// The client's address, after the trusted proxies; `None` where it could not be established.
    pub ip: Option<IpAddr>,
    /// The client's port, known only where the client is the peer.
    pub port: Option<u16>,
    /// The socket's peer.
    pub peer_ip: Option<IpAddr>,
    /// The hops that a trusted proxy's header named, as they stood there, leftmost first. At most 32.
    pub forwarded: Vec<String>,
    /// Whether the address is the word of a trusted proxy.
    pub via_trusted_proxy: bool,
    /// ISO 3166-1 alpha-2.
    #[serde(serialize_with = "country")]
    pub country: Option<CountryCode>,
    /// The first-level subdivision.
    pub region: Option<Arc<str>>,
    /// The city.
    pub city: Option<Arc<str>>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// Who runs it.
    pub as_org: Option<Arc<str>>,
}

/// `identity`: a verified principal; all null without one. What an unverified credential claims is never recorded here.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Identity {
    /// The principal's id, with its provider's prefix.
    pub id: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// `user`, `service` or `certificate`.
    #[serde(rename = "type")]
    pub kind: Option<&'static str>,
    /// By which means: `jwt`, `api_key`, `client_certificate`.
    pub method: Option<&'static str>,
    /// The token's issuer.
    pub issuer: Option<String>,
    /// A hash of the session's id.
    pub session: Option<String>,
    /// The groups that the credential claims, and those of the directory. At most 64.
    pub groups: Vec<String>,
    /// The directory that knows the principal, where one was asked.
    pub directory: Option<String>,
    /// The roles that the principal effectively holds on the route. At most 64.
    pub roles: Vec<String>,
    /// Authentication context class reference.
    pub acr: Option<String>,
    /// Whether the credential itself says that several factors were used; `None` where it says nothing.
    pub mfa: Option<bool>,
    /// Seconds since the caller last authenticated.
    pub auth_age_s: Option<u64>,
    /// The id of the API key, never the key.
    pub api_key_id: Option<String>,
    /// SHA-256 of the client certificate, in lower-case hex.
    pub cert_sha256: Option<String>,
    /// Its subject.
    pub cert_subject: Option<String>,
}

/// `device`
#[derive(Debug, Clone, Default, Serialize)]
pub struct Device {
    /// Its id.
    pub id: Option<String>,
    /// Whether the organisation manages it.
    pub managed: Option<bool>,
    /// Whether it meets the organisation's rules.
    pub compliant: Option<bool>,
    /// A fingerprint of the client's software.
    pub fingerprint: Option<String>,
}

/// `risk`: all null where the request was refused before its risk was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Risk {
    /// The score in centi-nats: hundredths of a natural-log likelihood ratio, so 300 is 3.0 nats.
    pub score: Option<i32>,
    /// `low`, `medium` or `high`.
    pub level: Option<&'static str>,
    /// The threshold that was crossed, or would be crossed next, in centi-nats.
    pub threshold: Option<i32>,
    /// The score again, in the milli-nats that it is decided on: the sum of the signals, each family clipped to its bounds.
    pub mnats: Option<i32>,
    /// The record that the thresholds are by; `None`: they are those of the policy, or built in.
    pub calibration: Option<Arc<str>>,
    /// What the score means by that record, from 0 (all good traffic scores as much) to 1,000 (one visit in ten thousand).
    pub display: Option<u16>,
    /// Something could not be looked up, so a signal may be missing. It is never held against anybody.
    pub degraded: Option<bool>,
    /// What the score was worked out from, so that it can be worked out again; `None` where no signal fired. Of at most 1,024 bytes, and mostly less
    /// than 200.
    pub inputs: Option<String>,
    /// The signals that fired, strongest first. At most 16.
    pub signals: Vec<Signal>,
}

/// One of `risk.signals`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// Its stable name.
    pub name: &'static str,
    /// `novelty`, `evidence`, `posture` or `trust`.
    pub family: &'static str,
    /// What it contributed, in centi-nats.
    pub weight: i32,
    /// The same in milli-nats, which the score is the sum of.
    pub mnats: i32,
    /// The value it looked at.
    pub value: String,
    /// A sentence for a person.
    pub reason: String,
}

/// `alert`: a rule over the events that holds for a key.
#[derive(Debug, Clone, Serialize)]
pub struct Alert {
    /// The rule's name.
    pub rule: Arc<str>,
    /// Whether it begins or ends.
    pub state: AlertState,
    /// What the rule demands, in words.
    pub condition: String,
    /// What it counted together.
    pub key: AlertKey,
    /// How many events, or different values, it counted within its window.
    pub count: u64,
    /// When the first of them was seen; of an end, when it began.
    #[serde(serialize_with = "rfc3339_micros")]
    pub since: Timestamp,
    /// The ids of the last events that counted, newest first. At most 5.
    pub evidence: Vec<Uuid>,
    /// What was done, such as `notify ops-chat`. At most 64.
    pub actions: Vec<String>,
    /// Why nobody was told and nothing was done.
    pub muted: Option<String>,
    /// The page that says what to do.
    pub runbook: Option<String>,
}

/// `finding`: what an audit has found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditFinding {
    /// The kind, such as `LP05`; null where only the fingerprint is known.
    pub id: Option<String>,
    /// The name of the kind.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How bad it is: `info`, `low`, `medium`, `high` or `critical`.
    pub severity: Option<String>,
    /// Whom it is about, as a policy file writes it.
    pub principal: Option<String>,
    /// What it is about: an action, a role, a route, a prefix.
    pub permission: Option<String>,
    /// The same for the same matter, from run to run.
    pub fingerprint: String,
    /// The run that has it.
    pub run: Option<String>,
}

/// `alert.key`
#[derive(Debug, Clone, Serialize)]
pub struct AlertKey {
    /// What events are counted by: `all`, `principal`, `address`, `route` or `reason`.
    pub per: &'static str,
    /// The one that it is about.
    pub value: String,
}

/// `alert.state`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It holds.
    Fired,
    /// It holds no longer.
    Resolved,
}

/// `ban`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ban {
    /// Whether a ban is in force. A simulated one is not.
    pub active: bool,
    /// When it ends.
    #[serde(serialize_with = "optional_time")]
    pub until: Option<Timestamp>,
    /// How many offences led to it.
    pub offences: Option<u32>,
}

/// One of `nearest`: a set of changes that together would let the request pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// The changes, such as `role:billing.reader`. At most 16.
    pub needs: Vec<String>,
    /// The assignment that would then grant it, where one would.
    pub grant: Option<Arc<str>>,
    /// The file to look at: the assignment's, else that of the role that is needed.
    pub file: Option<Arc<str>>,
    /// The line to look at, from 1.
    pub line: Option<u32>,
}

/// One of `checks`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The stage, such as `network`.
    pub name: &'static str,
    /// `pass`, `fail`, `unknown` or `skipped`.
    pub outcome: &'static str,
    /// The value it looked at.
    pub value: Words,
    /// What about it.
    pub detail: Words,
}

/// One of `shadow`: what a rule in shadow mode would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadow {
    /// The decision it would have given.
    pub decision: Answer,
    /// The reason it would have given; `None` for a grant that would have permitted.
    pub reason: Option<ReasonCode>,
    /// The rule's name.
    pub rule: Option<Arc<str>>,
    /// The rule's file.
    pub file: Option<Arc<str>>,
    /// The rule's line, from 1.
    pub line: Option<u32>,
}

/// `remedy`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Remedy {
    /// Roles each of which would be a step to being let in.
    pub required_roles: Option<Vec<String>>,
    /// The `acr` values that a step-up must bring, in order of preference.
    pub acr_values: Option<Vec<String>>,
    /// How many seconds ago an authentication may have been, where it has to be fresher.
    pub max_age_s: Option<u64>,
    /// After how many seconds it may be tried again.
    pub retry_after_s: Option<u64>,
    /// The page that explains the reason.
    pub help: Option<String>,
    /// The path at the gateway where the caller can ask for access, or activate what it is eligible for; left out where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
}

/// `upstream`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Upstream {
    /// Its name.
    pub name: Option<Arc<str>>,
    /// The endpoint that did not answer properly, as the configuration names it.
    pub endpoint: Option<Arc<str>>,
    /// Whether any part of the request was sent to it.
    pub forwarded: bool,
}

/// `latency_us`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Latency {
    /// From the request's head to the answer, in microseconds.
    pub total: Option<u64>,
    /// Of that, the time to decide.
    pub decision: Option<u64>,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
pub(crate) fn country<S: Serializer>(code: &Option<CountryCode>, serializer: S) -> Result<S::Ok, S::Error> {
    code.as_ref().map(CountryCode::as_str).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
pub(crate) fn optional_time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339_micros(time, serializer),
        None => serializer.serialize_none(),
    }
}
