//! The native event, `portcullis.event/1`: one JSON object per line, its keys stable and only ever added to.
//!
//! These structs are the wire shape and nothing else: whoever refuses a request fills them, the recorder numbers and bounds
//! them, a writer thread serializes them. Every key of the fixed part is always present; what is not known is `null`. There
//! is no field for a credential, a cookie, a query's value or a body, so none of them can be recorded.

mod facts;
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

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum EventKind {
    /// A request was answered instead of forwarded. Exactly one for each refusal.
    #[serde(rename = "access.denied")]
    AccessDenied,
    /// A request was forwarded.
    #[serde(rename = "access.allowed")]
    AccessAllowed,
    /// An address or a principal was banned.
    #[serde(rename = "ban.created")]
    BanCreated,
    /// A rule over the events holds: for one key, once.
    #[serde(rename = "alert.fired")]
    AlertFired,
    /// It holds no longer.
    #[serde(rename = "alert.resolved")]
    AlertResolved,
    /// Somebody was to be told of it, and could not be.
    #[serde(rename = "alert.undelivered")]
    AlertUndelivered,
    /// There are more refusals than usual, and this is why.
    #[serde(rename = "spike.explained")]
    SpikeExplained,
    /// Grants were audited.
    #[serde(rename = "audit.completed")]
    AuditCompleted,
    /// An audit has found something that no earlier one had: high or worse.
    #[serde(rename = "audit.finding")]
    AuditFinding,
    /// A new policy or configuration is in force.
    #[serde(rename = "policy.reloaded")]
    PolicyReloaded,
    /// A new policy or configuration was not accepted; the old one stays in force.
    #[serde(rename = "policy.rejected")]
    PolicyRejected,
    /// Another list of a network is in force.
    #[serde(rename = "feed.updated")]
    FeedUpdated,
    /// An update of a network's list is held back; the old one stays in force.
    #[serde(rename = "feed.held")]
    FeedHeld,
    /// A network's list could not be refreshed, and before it could; the old one stays in force.
    #[serde(rename = "feed.failed")]
    FeedFailed,
    /// A network's list is older than it may be.
    #[serde(rename = "feed.stale")]
    FeedStale,
    /// Other keys of an identity provider are in force, or they can be fetched again.
    #[serde(rename = "keys.updated")]
    KeysUpdated,
    /// An identity provider's keys cannot be fetched or used, and before they could; those fetched last stay in force.
    #[serde(rename = "keys.failed")]
    KeysFailed,
    /// An identity provider's keys are older than they may be: its tokens cannot be judged.
    #[serde(rename = "keys.stale")]
    KeysStale,
    /// A directory does not answer as it should, and before it did; what it said last stays in force for a while.
    #[serde(rename = "directory.failed")]
    DirectoryFailed,
    /// A directory that failed answers again.
    #[serde(rename = "directory.recovered")]
    DirectoryRecovered,
    /// A provider does not say which opaque tokens are good.
    #[serde(rename = "introspection.failed")]
    IntrospectionFailed,
    /// It says so again.
    #[serde(rename = "introspection.recovered")]
    IntrospectionRecovered,
    /// A browser has logged in.
    #[serde(rename = "session.opened")]
    SessionOpened,
    /// A session was ended before its time: its holder logged out, or its provider said so.
    #[serde(rename = "session.ended")]
    SessionEnded,
    /// Other thresholds of risk are in force: a calibration, or what was before it.
    #[serde(rename = "risk.calibrated")]
    RiskCalibrated,
    /// An operator had the configuration reloaded, or tried to.
    #[serde(rename = "admin.reload")]
    AdminReload,
    /// An operator told the gateway to drain.
    #[serde(rename = "admin.drain")]
    AdminDrain,
    /// An operator banned somebody, or tried to.
    #[serde(rename = "admin.ban_add")]
    AdminBanAdd,
    /// An operator lifted a ban, or tried to.
    #[serde(rename = "admin.ban_remove")]
    AdminBanRemove,
    /// An operator had what is usual for a principal forgotten, or tried to.
    #[serde(rename = "admin.risk_forget")]
    AdminRiskForget,
    /// An operator had logins of the past learnt from, or tried to.
    #[serde(rename = "admin.risk_warm")]
    AdminRiskWarm,
    /// An operator had thresholds of risk worked out, put in force or taken back, or tried to.
    #[serde(rename = "admin.risk_calibration")]
    AdminRiskCalibration,
    /// An operator tested a sink: this event is the test.
    #[serde(rename = "admin.sink_test")]
    AdminSinkTest,
    /// An operator had the notifiers of an alert tested.
    #[serde(rename = "admin.alert_test")]
    AdminAlertTest,
    /// An operator lifted what an alert contained, or tried to.
    #[serde(rename = "admin.alert_lift")]
    AdminAlertLift,
    /// An operator muted alerts for a while or ended that, or tried to.
    #[serde(rename = "admin.alert_mute")]
    AdminAlertMute,
    /// A finding of an audit was suppressed by hand for a while, or is not any more.
    #[serde(rename = "admin.audit_suppress")]
    AdminAuditSuppress,
    /// An operator had a network's list refreshed, or tried to.
    #[serde(rename = "admin.feed_refresh")]
    AdminFeedRefresh,
    /// An operator put an update of a network's list in force that was held back, or tried to.
    #[serde(rename = "admin.feed_accept")]
    AdminFeedAccept,
    /// An operator revoked a token, a key or what a principal was issued, or tried to.
    #[serde(rename = "admin.revoke")]
    AdminRevoke,
    /// An operator lifted a revocation, or tried to.
    #[serde(rename = "admin.revoke_lift")]
    AdminRevokeLift,
    /// The files on the disk are not what was approved: what was approved stays in force.
    #[serde(rename = "policy.tampered")]
    PolicyTampered,
    /// A version that comes into force step by step has begun a step, or is in force for everybody.
    #[serde(rename = "policy.rollout")]
    PolicyRollout,
    /// Such a version denied too much, and was taken back: the one before it is live again, as a new one.
    #[serde(rename = "policy.reverted")]
    PolicyReverted,
    /// A copy of the store was made.
    #[serde(rename = "backup.created")]
    BackupCreated,
    /// No copy of the store could be made.
    #[serde(rename = "backup.failed")]
    BackupFailed,
    /// An operator proposed a change of what is live, or tried to.
    #[serde(rename = "admin.policy_propose")]
    AdminPolicyPropose,
    /// An operator brought an approval of a change, or tried to.
    #[serde(rename = "admin.policy_approve")]
    AdminPolicyApprove,
    /// An operator ended a proposal, or tried to.
    #[serde(rename = "admin.policy_reject")]
    AdminPolicyReject,
    /// An operator made a change live, or tried to.
    #[serde(rename = "admin.policy_activate")]
    AdminPolicyActivate,
    /// An operator had an earlier version live again or proposed that, or tried to.
    #[serde(rename = "admin.policy_rollback")]
    AdminPolicyRollback,
    /// An operator named or proposed approvers, or tried to.
    #[serde(rename = "admin.approvers")]
    AdminApprovers,
    /// A session has shown a second factor.
    #[serde(rename = "auth.step_up")]
    AuthStepUp,
    /// A second factor, or a password in the form of a login, was not accepted.
    #[serde(rename = "auth.failed")]
    AuthFailed,
    /// It was not looked at: too many were wrong.
    #[serde(rename = "auth.locked")]
    AuthLocked,
    /// Somebody has added a second factor of their own.
    #[serde(rename = "auth.factor_added")]
    AuthFactorAdded,
    /// Somebody has removed a second factor of their own.
    #[serde(rename = "auth.factor_removed")]
    AuthFactorRemoved,
    /// An operator gave somebody a second factor, or tried to.
    #[serde(rename = "admin.factor_enroll")]
    AdminFactorEnroll,
    /// An operator took all second factors of somebody away, or tried to.
    #[serde(rename = "admin.factor_reset")]
    AdminFactorReset,
    /// Somebody has power for a time.
    #[serde(rename = "grant.began")]
    GrantBegan,
    /// Power for a time has ended.
    #[serde(rename = "grant.ended")]
    GrantEnded,
    /// An operator activated an eligible assignment for somebody, or tried to.
    #[serde(rename = "admin.access_activate")]
    AdminAccessActivate,
    /// An operator brought an approval of temporary power, or tried to.
    #[serde(rename = "admin.access_approve")]
    AdminAccessApprove,
    /// An operator rejected temporary power that waited, or tried to.
    #[serde(rename = "admin.access_reject")]
    AdminAccessReject,
    /// An operator ended temporary power, or tried to.
    #[serde(rename = "admin.access_end")]
    AdminAccessEnd,
    /// Somebody has broken a seal and has power for a time.
    #[serde(rename = "break_glass.opened")]
    BreakGlassOpened,
    /// Somebody who was refused asks for access.
    #[serde(rename = "grant.requested")]
    GrantRequested,
    /// Somebody takes back what they asked for, before anybody answered.
    #[serde(rename = "grant.withdrawn")]
    GrantWithdrawn,
    /// An operator had a code sealed with which somebody can break glass, or tried to.
    #[serde(rename = "admin.access_seal")]
    AdminAccessSeal,
    /// An operator brought a sealed code to break glass, or a wrong one.
    #[serde(rename = "admin.access_break_glass")]
    AdminAccessBreakGlass,
    /// An operator brought a review of what was done with a broken seal, or tried to.
    #[serde(rename = "admin.access_review")]
    AdminAccessReview,
    /// An operator asked for access for somebody who was refused, or tried to.
    #[serde(rename = "admin.access_request")]
    AdminAccessRequest,
    /// An operator granted a request for access, or tried to.
    #[serde(rename = "admin.access_grant")]
    AdminAccessGrant,
    /// An operator ended sessions, or tried to.
    #[serde(rename = "admin.session_revoke")]
    AdminSessionRevoke,
    /// An operator began to follow the events.
    #[serde(rename = "admin.events_tail")]
    AdminEventsTail,
    /// Somebody who may not use the control channel tried to.
    #[serde(rename = "admin.refused")]
    AdminRefused,
    /// The gateway serves.
    #[serde(rename = "gateway.started")]
    GatewayStarted,
    /// The gateway has drained and stops.
    #[serde(rename = "gateway.stopped")]
    GatewayStopped,
    /// How far the chain has come, signed.
    #[serde(rename = "integrity.checkpoint")]
    IntegrityCheckpoint,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 79] = [
        Self::AccessDenied,
        Self::AccessAllowed,
        Self::BanCreated,
        Self::AlertFired,
        Self::AlertResolved,
        Self::AlertUndelivered,
        Self::SpikeExplained,
        Self::AuditCompleted,
        Self::AuditFinding,
        Self::PolicyReloaded,
        Self::PolicyRejected,
        Self::FeedUpdated,
        Self::FeedHeld,
        Self::FeedFailed,
        Self::FeedStale,
        Self::KeysUpdated,
        Self::KeysFailed,
        Self::KeysStale,
        Self::DirectoryFailed,
        Self::DirectoryRecovered,
        Self::IntrospectionFailed,
        Self::IntrospectionRecovered,
        Self::SessionOpened,
        Self::SessionEnded,
        Self::RiskCalibrated,
        Self::AdminReload,
        Self::AdminDrain,
        Self::AdminBanAdd,
        Self::AdminBanRemove,
        Self::AdminRiskForget,
        Self::AdminRiskWarm,
        Self::AdminRiskCalibration,
        Self::AdminSinkTest,
        Self::AdminAlertTest,
        Self::AdminAlertLift,
        Self::AdminAlertMute,
        Self::AdminAuditSuppress,
        Self::AdminFeedRefresh,
        Self::AdminFeedAccept,
        Self::AdminRevoke,
        Self::AdminRevokeLift,
        Self::PolicyTampered,
        Self::PolicyRollout,
        Self::PolicyReverted,
        Self::BackupCreated,
        Self::BackupFailed,
        Self::AdminPolicyPropose,
        Self::AdminPolicyApprove,
        Self::AdminPolicyReject,
        Self::AdminPolicyActivate,
        Self::AdminPolicyRollback,
        Self::AdminApprovers,
        Self::AuthStepUp,
        Self::AuthFailed,
        Self::AuthLocked,
        Self::AuthFactorAdded,
        Self::AuthFactorRemoved,
        Self::AdminFactorEnroll,
        Self::AdminFactorReset,
        Self::GrantBegan,
        Self::GrantEnded,
        Self::AdminAccessActivate,
        Self::AdminAccessApprove,
        Self::AdminAccessReject,
        Self::AdminAccessEnd,
        Self::BreakGlassOpened,
        Self::GrantRequested,
        Self::GrantWithdrawn,
        Self::AdminAccessSeal,
        Self::AdminAccessBreakGlass,
        Self::AdminAccessReview,
        Self::AdminAccessRequest,
        Self::AdminAccessGrant,
        Self::AdminSessionRevoke,
        Self::AdminEventsTail,
        Self::AdminRefused,
        Self::GatewayStarted,
        Self::GatewayStopped,
        Self::IntegrityCheckpoint,
    ];

    /// The word that events use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access.denied",
            Self::AccessAllowed => "access.allowed",
            Self::BanCreated => "ban.created",
            Self::AlertFired => "alert.fired",
            Self::AlertResolved => "alert.resolved",
            Self::AlertUndelivered => "alert.undelivered",
            Self::SpikeExplained => "spike.explained",
            Self::AuditCompleted => "audit.completed",
            Self::AuditFinding => "audit.finding",
            Self::PolicyReloaded => "policy.reloaded",
            Self::PolicyRejected => "policy.rejected",
            Self::FeedUpdated => "feed.updated",
            Self::FeedHeld => "feed.held",
            Self::FeedFailed => "feed.failed",
            Self::FeedStale => "feed.stale",
            Self::KeysUpdated => "keys.updated",
            Self::KeysFailed => "keys.failed",
            Self::KeysStale => "keys.stale",
            Self::DirectoryFailed => "directory.failed",
            Self::DirectoryRecovered => "directory.recovered",
            Self::IntrospectionFailed => "introspection.failed",
            Self::IntrospectionRecovered => "introspection.recovered",
            Self::SessionOpened => "session.opened",
            Self::SessionEnded => "session.ended",
            Self::RiskCalibrated => "risk.calibrated",
            Self::AdminReload => "admin.reload",
            Self::AdminDrain => "admin.drain",
            Self::AdminBanAdd => "admin.ban_add",
            Self::AdminBanRemove => "admin.ban_remove",
            Self::AdminRiskForget => "admin.risk_forget",
            Self::AdminRiskWarm => "admin.risk_warm",
            Self::AdminRiskCalibration => "admin.risk_calibration",
            Self::AdminSinkTest => "admin.sink_test",
            Self::AdminAlertTest => "admin.alert_test",
            Self::AdminAlertLift => "admin.alert_lift",
            Self::AdminAlertMute => "admin.alert_mute",
            Self::AdminAuditSuppress => "admin.audit_suppress",
            Self::AdminFeedRefresh => "admin.feed_refresh",
            Self::AdminFeedAccept => "admin.feed_accept",
            Self::AdminRevoke => "admin.revoke",
            Self::AdminRevokeLift => "admin.revoke_lift",
            Self::PolicyTampered => "policy.tampered",
            Self::PolicyRollout => "policy.rollout",
            Self::PolicyReverted => "policy.reverted",
            Self::BackupCreated => "backup.created",
            Self::BackupFailed => "backup.failed",
            Self::AdminPolicyPropose => "admin.policy_propose",
            Self::AdminPolicyApprove => "admin.policy_approve",
            Self::AdminPolicyReject => "admin.policy_reject",
            Self::AdminPolicyActivate => "admin.policy_activate",
            Self::AdminPolicyRollback => "admin.policy_rollback",
            Self::AdminApprovers => "admin.approvers",
            Self::AuthStepUp => "auth.step_up",
            Self::AuthFailed => "auth.failed",
            Self::AuthLocked => "auth.locked",
            Self::AuthFactorAdded => "auth.factor_added",
            Self::AuthFactorRemoved => "auth.factor_removed",
            Self::AdminFactorEnroll => "admin.factor_enroll",
            Self::AdminFactorReset => "admin.factor_reset",
            Self::GrantBegan => "grant.began",
            Self::GrantEnded => "grant.ended",
            Self::AdminAccessActivate => "admin.access_activate",
            Self::AdminAccessApprove => "admin.access_approve",
            Self::AdminAccessReject => "admin.access_reject",
            Self::AdminAccessEnd => "admin.access_end",
            Self::BreakGlassOpened => "break_glass.opened",
            Self::GrantRequested => "grant.requested",
            Self::GrantWithdrawn => "grant.withdrawn",
            Self::AdminAccessSeal => "admin.access_seal",
            Self::AdminAccessBreakGlass => "admin.access_break_glass",
            Self::AdminAccessReview => "admin.access_review",
            Self::AdminAccessRequest => "admin.access_request",
            Self::AdminAccessGrant => "admin.access_grant",
            Self::AdminSessionRevoke => "admin.session_revoke",
            Self::AdminEventsTail => "admin.events_tail",
            Self::AdminRefused => "admin.refused",
            Self::GatewayStarted => "gateway.started",
            Self::GatewayStopped => "gateway.stopped",
            Self::IntegrityCheckpoint => "integrity.checkpoint",
        }
    }

    /// Whether it is about an alert. Such an event never feeds one.
    pub const fn is_alert(self) -> bool {
        matches!(self, Self::AlertFired | Self::AlertResolved | Self::AlertUndelivered)
    }

    /// The severity where no reason code says another.
    pub const fn severity(self) -> Severity {
        match self {
            Self::AccessDenied
            | Self::FeedFailed
            | Self::KeysFailed
            | Self::AdminBanAdd
            | Self::AdminBanRemove
            | Self::AdminFeedAccept
            | Self::AdminRevoke
            | Self::AdminRevokeLift
            | Self::AuthFailed
            | Self::AuthFactorAdded
            | Self::AuthFactorRemoved
            | Self::AdminFactorEnroll
            | Self::AdminFactorReset
            | Self::GrantBegan
            | Self::AdminAccessActivate
            | Self::AdminAccessApprove
            | Self::AdminAccessReject
            | Self::AdminAccessEnd
            | Self::GrantRequested
            | Self::AdminAccessReview
            | Self::AdminAccessRequest
            | Self::AdminAccessGrant
            | Self::AdminSessionRevoke
            | Self::AdminRiskForget
            | Self::AdminRiskWarm
            | Self::AdminRiskCalibration
            | Self::AdminAlertLift
            | Self::AdminAlertMute
            | Self::AdminAuditSuppress
            | Self::AdminPolicyPropose
            | Self::AdminPolicyApprove
            | Self::AdminPolicyReject
            | Self::AdminPolicyActivate
            | Self::AdminPolicyRollback
            | Self::AdminApprovers => Severity::Medium,
            Self::PolicyTampered | Self::BreakGlassOpened => Severity::Critical,
            Self::BanCreated
            | Self::AlertFired
            | Self::AlertUndelivered
            | Self::SpikeExplained
            | Self::AuditFinding
            | Self::PolicyRejected
            | Self::PolicyReverted
            | Self::FeedHeld
            | Self::FeedStale
            | Self::KeysStale
            | Self::DirectoryFailed
            | Self::BackupFailed
            | Self::IntrospectionFailed
            | Self::AuthLocked
            | Self::AdminAccessSeal
            | Self::AdminAccessBreakGlass
            | Self::AdminRefused => Severity::High,
            Self::AccessAllowed
            | Self::AlertResolved
            | Self::PolicyReloaded
            | Self::PolicyRollout
            | Self::FeedUpdated
            | Self::KeysUpdated
            | Self::DirectoryRecovered
            | Self::IntrospectionRecovered
            | Self::SessionOpened
            | Self::SessionEnded
            | Self::RiskCalibrated
            | Self::AdminReload
            | Self::AdminDrain
            | Self::AdminSinkTest
            | Self::AdminAlertTest
            | Self::AdminFeedRefresh
            | Self::BackupCreated
            | Self::AuditCompleted
            | Self::AuthStepUp
            | Self::GrantEnded
            | Self::GrantWithdrawn
            | Self::AdminEventsTail
            | Self::GatewayStarted
            | Self::GatewayStopped
            | Self::IntegrityCheckpoint => Severity::Low,
        }
    }
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
