//! What an event tells of. A kind's word is stable once it is released.

use serde::{Serialize, Serializer};

use crate::event::Severity;

/// Makes the enum and its table out of one row for each kind, so that no column can forget one.
macro_rules! event_kinds {
    ($($(#[$doc:meta])+ $variant:ident, $word:literal, $severity:ident;)+) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])+ $variant,)+
        }

        impl EventKind {
            const COUNT: usize = [$($word),+].len();
            /// All of them.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// The word that events use.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The severity where no reason code says another.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)+
                }
            }
        }
    };
}

event_kinds! {
    /// A request was answered instead of forwarded. Exactly one for each refusal.
    AccessDenied, "access.denied", Medium;
    /// A request was forwarded.
    AccessAllowed, "access.allowed", Low;
    /// An address or a principal was banned.
    BanCreated, "ban.created", High;
    /// A rule over the events holds: for one key, once.
    AlertFired, "alert.fired", High;
    /// It holds no longer.
    AlertResolved, "alert.resolved", Low;
    /// Somebody was to be told of it, and could not be.
    AlertUndelivered, "alert.undelivered", High;
    /// There are more refusals than usual, and this is why.
    SpikeExplained, "spike.explained", High;
    /// Grants were audited.
    AuditCompleted, "audit.completed", Low;
    /// An audit has found something that no earlier one had: high or worse.
    AuditFinding, "audit.finding", High;
    /// An audit that is scheduled could not be made, and the one before could, or for another reason.
    AuditFailed, "audit.failed", High;
    /// A finding is suppressed no longer: the time that somebody gave it is over.
    AuditSuppressionEnded, "audit.suppression_ended", Medium;
    /// A new policy or configuration is in force.
    PolicyReloaded, "policy.reloaded", Low;
    /// A new policy or configuration was not accepted; the old one stays in force.
    PolicyRejected, "policy.rejected", High;
    /// Another list of a network is in force.
    FeedUpdated, "feed.updated", Low;
    /// An update of a network's list is held back; the old one stays in force.
    FeedHeld, "feed.held", High;
    /// A network's list could not be refreshed, and before it could; the old one stays in force.
    FeedFailed, "feed.failed", Medium;
    /// A network's list is older than it may be.
    FeedStale, "feed.stale", High;
    /// Other keys of an identity provider are in force, or they can be fetched again.
    KeysUpdated, "keys.updated", Low;
    /// An identity provider's keys cannot be fetched or used, and before they could; those fetched last stay in force.
    KeysFailed, "keys.failed", Medium;
    /// An identity provider's keys are older than they may be: its tokens cannot be judged.
    KeysStale, "keys.stale", High;
    /// A directory does not answer as it should, and before it did; what it said last stays in force for a while.
    DirectoryFailed, "directory.failed", High;
    /// A directory that failed answers again.
    DirectoryRecovered, "directory.recovered", Low;
    /// A provider does not say which opaque tokens are good.
    IntrospectionFailed, "introspection.failed", High;
    /// It says so again.
    IntrospectionRecovered, "introspection.recovered", Low;
    /// A browser has logged in.
    SessionOpened, "session.opened", Low;
    /// A session was ended before its time: its holder logged out, or its provider said so.
    SessionEnded, "session.ended", Low;
    /// Other thresholds of risk are in force: a calibration, or what was before it.
    RiskCalibrated, "risk.calibrated", Low;
    /// An operator had the configuration reloaded, or tried to.
    AdminReload, "admin.reload", Low;
    /// An operator told the gateway to drain.
    AdminDrain, "admin.drain", Low;
    /// An operator banned somebody, or tried to.
    AdminBanAdd, "admin.ban_add", Medium;
    /// An operator lifted a ban, or tried to.
    AdminBanRemove, "admin.ban_remove", Medium;
    /// An operator had what is usual for a principal forgotten, or tried to.
    AdminRiskForget, "admin.risk_forget", Medium;
    /// An operator had logins of the past learnt from, or tried to.
    AdminRiskWarm, "admin.risk_warm", Medium;
    /// An operator had thresholds of risk worked out, put in force or taken back, or tried to.
    AdminRiskCalibration, "admin.risk_calibration", Medium;
    /// An operator tested a sink: this event is the test.
    AdminSinkTest, "admin.sink_test", Low;
    /// An operator had the notifiers of an alert tested.
    AdminAlertTest, "admin.alert_test", Low;
    /// An operator lifted what an alert contained, or tried to.
    AdminAlertLift, "admin.alert_lift", Medium;
    /// An operator muted alerts for a while or ended that, or tried to.
    AdminAlertMute, "admin.alert_mute", Medium;
    /// A finding of an audit was suppressed by hand for a while, or is not any more.
    AdminAuditSuppress, "admin.audit_suppress", Medium;
    /// An operator had a network's list refreshed, or tried to.
    AdminFeedRefresh, "admin.feed_refresh", Low;
    /// An operator put an update of a network's list in force that was held back, or tried to.
    AdminFeedAccept, "admin.feed_accept", Medium;
    /// An operator put the list of a network back that was in force before, or tried to.
    AdminFeedRollback, "admin.feed_rollback", Medium;
    /// An operator revoked a token, a key or what a principal was issued, or tried to.
    AdminRevoke, "admin.revoke", Medium;
    /// An operator lifted a revocation, or tried to.
    AdminRevokeLift, "admin.revoke_lift", Medium;
    /// The files on the disk are not what was approved: what was approved stays in force.
    PolicyTampered, "policy.tampered", Critical;
    /// Keys of approvers are to be replaced by whoever holds recovery keys: that has begun, was refused by an approver, or is done.
    GovernanceRecovery, "governance.recovery", Critical;
    /// A version that comes into force step by step has begun a step, or is in force for everybody.
    PolicyRollout, "policy.rollout", Low;
    /// Such a version denied too much, and was taken back: the one before it is live again, as a new one.
    PolicyReverted, "policy.reverted", High;
    /// A copy of the store was made.
    BackupCreated, "backup.created", Low;
    /// No copy of the store could be made.
    BackupFailed, "backup.failed", High;
    /// A backup was put in the place of the store while no gateway ran.
    BackupRestored, "backup.restored", High;
    /// An operator proposed a change of what is live, or tried to.
    AdminPolicyPropose, "admin.policy_propose", Medium;
    /// An operator brought an approval of a change, or tried to.
    AdminPolicyApprove, "admin.policy_approve", Medium;
    /// An operator ended a proposal, or tried to.
    AdminPolicyReject, "admin.policy_reject", Medium;
    /// An operator made a change live, or tried to.
    AdminPolicyActivate, "admin.policy_activate", Medium;
    /// An operator had an earlier version live again or proposed that, or tried to.
    AdminPolicyRollback, "admin.policy_rollback", Medium;
    /// An operator named or proposed approvers, or tried to.
    AdminApprovers, "admin.approvers", Medium;
    /// A session has shown a second factor.
    AuthStepUp, "auth.step_up", Low;
    /// A second factor, or a password in the form of a login, was not accepted.
    AuthFailed, "auth.failed", Medium;
    /// It was not looked at: too many were wrong.
    AuthLocked, "auth.locked", High;
    /// Somebody has added a second factor of their own.
    AuthFactorAdded, "auth.factor_added", Medium;
    /// Somebody has removed a second factor of their own.
    AuthFactorRemoved, "auth.factor_removed", Medium;
    /// An operator gave somebody a second factor, or tried to.
    AdminFactorEnroll, "admin.factor_enroll", Medium;
    /// An operator took all second factors of somebody away, or tried to.
    AdminFactorReset, "admin.factor_reset", Medium;
    /// Somebody has power for a time.
    GrantBegan, "grant.began", Medium;
    /// Power for a time has ended.
    GrantEnded, "grant.ended", Low;
    /// An operator activated an eligible assignment for somebody, or tried to.
    AdminAccessActivate, "admin.access_activate", Medium;
    /// An operator brought an approval of temporary power, or tried to.
    AdminAccessApprove, "admin.access_approve", Medium;
    /// An operator rejected temporary power that waited, or tried to.
    AdminAccessReject, "admin.access_reject", Medium;
    /// An operator ended temporary power, or tried to.
    AdminAccessEnd, "admin.access_end", Medium;
    /// Somebody has broken a seal and has power for a time.
    BreakGlassOpened, "break_glass.opened", Critical;
    /// Somebody who was refused asks for access.
    GrantRequested, "grant.requested", Medium;
    /// Somebody takes back what they asked for, before anybody answered.
    GrantWithdrawn, "grant.withdrawn", Low;
    /// An operator had a code sealed with which somebody can break glass, or tried to.
    AdminAccessSeal, "admin.access_seal", High;
    /// An operator brought a sealed code to break glass, or a wrong one.
    AdminAccessBreakGlass, "admin.access_break_glass", High;
    /// An operator brought a review of what was done with a broken seal, or tried to.
    AdminAccessReview, "admin.access_review", Medium;
    /// An operator asked for access for somebody who was refused, or tried to.
    AdminAccessRequest, "admin.access_request", Medium;
    /// An operator granted a request for access, or tried to.
    AdminAccessGrant, "admin.access_grant", Medium;
    /// An operator had the log of temporary power taken as it is, while no gateway ran.
    AdminAccessTake, "admin.access_take", High;
    /// An operator ended sessions, or tried to.
    AdminSessionRevoke, "admin.session_revoke", Medium;
    /// An operator began to follow the events.
    AdminEventsTail, "admin.events_tail", Low;
    /// An operator searched, counted or explained recorded events, which name people, or tried to.
    AdminEventsSearch, "admin.events_search", Low;
    /// An operator had a backup made, or tried to.
    AdminBackupCreate, "admin.backup_create", Low;
    /// An operator tried whether a backup can be restored.
    AdminBackupDrill, "admin.backup_drill", Low;
    /// Somebody who may not use the control channel tried to.
    AdminRefused, "admin.refused", High;
    /// The gateway serves.
    GatewayStarted, "gateway.started", Low;
    /// The gateway has drained and stops.
    GatewayStopped, "gateway.stopped", Low;
    /// How far the chain has come, signed.
    IntegrityCheckpoint, "integrity.checkpoint", Low;
}

impl EventKind {
    /// Whether it is about an alert. Such an event never feeds one.
    pub const fn is_alert(self) -> bool {
        matches!(self, Self::AlertFired | Self::AlertResolved | Self::AlertUndelivered)
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
