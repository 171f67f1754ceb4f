//! What the process can do, and what is recorded of it.

use std::future::Future;

use crate::access;
use crate::api::{
    Acceptance, AlertTested, Alerts, BanReport, Bans, Calibrations, Done, FeedRollbackTried, Feeds, Health, Located,
    MutedAlert, NewBan, NewBans, NewMute, PastLogins, PolicyText, Previewed, Problem, Profile, ReloadWanted, Reloaded,
    Sessions, SinkTested, Spikes, Status, WhereIs, WhichSessions,
};
use crate::api::{
    Allowed, DiffWanted, EventExplained, EventId, EventsCounted, EventsFound, EventsWanted, Explained, ListQuestion,
    Listed, PolicyDiffered, PolicyQuestion, ReplayDone, ReplayWanted, Verdict,
};
use crate::api::{FactorBegun, FactorCode, FactorConfirmed, Factors, NewFactor};
use crate::api::{KeyUses, NewRevocation, Revocations, RevokedName};
use crate::audit::{AuditAnswer, AuditWanted};
use crate::backup::{BackupAnswer, BackupWanted};
use crate::govern;
use crate::peer::Peer;
use crate::tail::Tail;

/// A running gateway, as the control channel needs it. Everything but what is a future is called on a thread that may block.
pub trait Gateway: Send + Sync + 'static {
    /// How it does. It may read and compile the files, to say what a reload would find.
    fn status(&self) -> Status;

    /// Whether it lives, and is ready: quick, and without a file.
    fn health(&self) -> Health;

    /// Reads the files anew and puts them in force, or says why not. What becomes a version with it has the peer as its author.
    fn reload(&self, peer: &Peer, wanted: ReloadWanted) -> impl Future<Output = Reloaded> + Send;

    /// Begins to drain, as SIGTERM does.
    fn drain(&self);

    /// All bans in force, the one that lasts longest first.
    fn bans(&self) -> Bans;

    /// What is known about somebody's bans.
    ///
    /// # Errors
    /// A name that is nobody's.
    fn explain_ban(&self, on: &str) -> Result<BanReport, Problem>;

    /// Makes a ban.
    ///
    /// # Errors
    /// Why there is none.
    fn add_ban(&self, ban: &NewBan) -> Result<Done, Problem>;

    /// Makes all these bans, or none.
    ///
    /// # Errors
    /// Why there are none.
    fn import_bans(&self, bans: &NewBans) -> Result<Done, Problem>;

    /// Lifts the ban on somebody, and forgets the offences.
    ///
    /// # Errors
    /// That there is none.
    fn remove_ban(&self, on: &str) -> Result<Done, Problem>;

    /// What is usual for a principal.
    ///
    /// # Errors
    /// That nothing is known of it.
    fn profile(&self, on: &str) -> Result<Profile, Problem>;

    /// Forgets what is usual for a principal.
    ///
    /// # Errors
    /// That there is nothing to forget.
    fn forget_profile(&self, on: &str) -> Result<Done, Problem>;

    /// Learns from logins of the past.
    ///
    /// # Errors
    /// That risk is off.
    fn warm(&self, logins: &PastLogins) -> Result<Done, Problem>;

    /// The calibrations of risk that are kept, and what is counted for the next.
    fn calibrations(&self) -> Calibrations;

    /// Works out thresholds from what is counted now, as a calibration that is not in force yet.
    ///
    /// # Errors
    /// Why there is none.
    fn propose_calibration(&self) -> Result<Done, Problem>;

    /// Puts a calibration in force.
    ///
    /// # Errors
    /// That there is none of that id.
    fn activate_calibration(&self, id: &str) -> Result<Done, Problem>;

    /// Takes the calibration in force back.
    ///
    /// # Errors
    /// That none is in force.
    fn roll_calibration_back(&self) -> Result<Done, Problem>;

    /// Has a sink deliver a test event, which is also the record of this action, and says what came of it within some seconds.
    ///
    /// # Errors
    /// That there is no such sink.
    fn test_sink(&self, peer: &Peer, name: &str) -> Result<SinkTested, Problem>;

    /// The alerts, and what they contain.
    fn alerts(&self) -> Alerts;

    /// Has each notifier of an alert tell a test, and says what came of it within a minute.
    ///
    /// # Errors
    /// That there is no such alert.
    fn test_alert(&self, name: &str) -> Result<AlertTested, Problem>;

    /// Lifts what an alert contains.
    ///
    /// # Errors
    /// That there is no such thing.
    fn lift_containment(&self, id: &str) -> Result<Done, Problem>;

    /// Has an alert, or all, tell nobody and contain nothing for a while.
    ///
    /// # Errors
    /// That there is no such alert, or that the time or the reason is none.
    fn mute_alerts(&self, mute: &NewMute) -> Result<Done, Problem>;

    /// Ends that.
    ///
    /// # Errors
    /// That nobody muted it.
    fn unmute_alerts(&self, whose: &MutedAlert) -> Result<Done, Problem>;

    /// The networks that keep themselves current.
    fn feeds(&self) -> Feeds;

    /// Fetches the list of a network now, and says within a minute what came of it.
    ///
    /// # Errors
    /// That it is not in force now, and why.
    fn refresh_feed(&self, name: &str) -> impl Future<Output = Result<Done, Problem>> + Send;

    /// Which networks an address is in.
    fn locate(&self, address: &WhereIs) -> Located;

    /// Puts in force what is held back.
    ///
    /// # Errors
    /// Why not.
    fn accept_feed(&self, acceptance: &Acceptance) -> Result<Done, Problem>;

    /// Puts the list before the one in force back, and holds that one back.
    ///
    /// # Errors
    /// Why not.
    fn roll_feed_back(&self, name: &str) -> Result<Done, Problem>;

    /// What that would do. Nothing is changed.
    ///
    /// # Errors
    /// Why it would not be done.
    fn try_feed_rollback(&self, name: &str) -> Result<FeedRollbackTried, Problem>;

    /// When API keys were last used.
    fn key_uses(&self) -> KeyUses;

    /// What is revoked.
    fn revocations(&self) -> Revocations;

    /// Revokes, and returns when it is written down and in force.
    ///
    /// # Errors
    /// Why nothing is revoked.
    fn revoke(&self, revocation: &NewRevocation) -> Result<Done, Problem>;

    /// Lifts a revocation.
    ///
    /// # Errors
    /// That there is none, or that it cannot be written down.
    fn lift_revocation(&self, revoked: &RevokedName) -> Result<Done, Problem>;
    /// Versions, proposals and approvals.
    ///
    /// # Errors
    /// Why it is not done.
    fn govern(
        &self,
        peer: &Peer,
        wanted: govern::Governed,
    ) -> impl Future<Output = Result<govern::Answer, Problem>> + Send;

    /// Power for a time: who has what, who asks, who approves.
    ///
    /// # Errors
    /// Why it is not done.
    fn access(&self, peer: &Peer, wanted: &access::Access) -> Result<access::Answer, Problem>;

    /// The second factors of a principal.
    ///
    /// # Errors
    /// That it is none that could have any, or that the gateway keeps none.
    fn factors(&self, on: &str) -> Result<Factors, Problem>;

    /// Begins an app with codes for a principal.
    ///
    /// # Errors
    /// Why not.
    fn enroll_factor(&self, new: &NewFactor) -> Result<FactorBegun, Problem>;

    /// Confirms it with a code.
    ///
    /// # Errors
    /// Why not.
    fn confirm_factor(&self, code: &FactorCode) -> Result<FactorConfirmed, Problem>;

    /// Removes all second factors of a principal.
    ///
    /// # Errors
    /// Why not.
    fn reset_factors(&self, on: &str) -> Result<Done, Problem>;

    /// All sessions of browsers that hold, the last used first.
    fn sessions(&self) -> Sessions;

    /// Ends sessions: it is done when this returns, and a restart does not bring them back.
    ///
    /// # Errors
    /// That there are none, or that the store does not know of it yet.
    fn revoke_sessions(&self, which: &WhichSessions) -> Result<Done, Problem>;
    /// Tries a policy on the requests of the sample.
    ///
    /// # Errors
    /// What is wrong with it, or that no requests are kept.
    fn preview_policy(&self, candidate: &PolicyText) -> Result<Previewed, Untried>;

    /// Spikes of refusals that were explained.
    ///
    /// # Errors
    /// That nobody looks for them.
    fn spikes(&self) -> Result<Spikes, Problem>;

    /// Audits: makes one, shows those that are kept, suppresses a finding.
    ///
    /// # Errors
    /// Why not.
    fn audit(&self, wanted: &AuditWanted, by: &Peer) -> Result<AuditAnswer, Problem>;

    /// Backups: makes one, lists them, verifies one, tries a restoration.
    ///
    /// # Errors
    /// Why not.
    fn backups(&self, peer: &Peer, wanted: &BackupWanted) -> Result<BackupAnswer, Problem>;

    /// The newest of the recorded events that are wanted.
    ///
    /// # Errors
    /// That what is wanted cannot be read, or that no events are kept where they can be.
    fn search_events(&self, wanted: &EventsWanted) -> Result<EventsFound, Problem>;

    /// How many of them there are.
    ///
    /// # Errors
    /// Likewise.
    fn count_events(&self, wanted: &EventsWanted) -> Result<EventsCounted, Problem>;

    /// One of them, and what is around it.
    ///
    /// # Errors
    /// Likewise, or that there is none of that id.
    fn explain_event(&self, id: &EventId) -> Result<EventExplained, Problem>;

    /// What the policy in force would decide, in short.
    ///
    /// # Errors
    /// That the question makes no sense.
    fn can(&self, question: &PolicyQuestion) -> Result<Verdict, Problem>;

    /// The same with every check of it.
    ///
    /// # Errors
    /// Likewise.
    fn explain(&self, question: &PolicyQuestion) -> Result<Explained, Problem>;

    /// Who may do that.
    ///
    /// # Errors
    /// Likewise.
    fn who_can(&self, question: &PolicyQuestion) -> Result<Allowed, Problem>;

    /// All that somebody may do.
    ///
    /// # Errors
    /// Likewise.
    fn list(&self, question: &ListQuestion) -> Result<Listed, Problem>;

    /// Decides on recorded requests again, under another policy.
    ///
    /// # Errors
    /// What is wrong with it, or that no events are kept.
    fn replay(&self, wanted: &ReplayWanted) -> Result<ReplayDone, Untried>;

    /// How two policies differ.
    ///
    /// # Errors
    /// What is wrong with one of them.
    fn compare_policies(&self, wanted: &DiffWanted) -> Result<PolicyDiffered, Untried>;

    /// The events as they are recorded.
    fn tail(&self) -> &Tail;

    /// Records an action: exactly one event.
    fn record(&self, action: &Action<'_>);
}

impl govern::Governed {
    /// What it is as an action; `None`: a question.
    pub fn action(&self) -> Option<ActionKind> {
        match self {
            Self::List { .. } | Self::Show { .. } | Self::Verify | Self::Request { .. } | Self::Approvers => None,
            Self::Propose(_) => Some(ActionKind::PolicyPropose),
            Self::Rollback { .. } | Self::Revert { .. } | Self::Abort { .. } => Some(ActionKind::PolicyRollback),
            Self::Approve { .. } => Some(ActionKind::PolicyApprove),
            Self::Reject { .. } => Some(ActionKind::PolicyReject),
            Self::Activate { .. } => Some(ActionKind::PolicyActivate),
            Self::ApproverAdd { .. }
            | Self::ApproverRevoke { .. }
            | Self::ApproverRecovery { .. }
            | Self::ApproverRecover { .. }
            | Self::Init { .. } => Some(ActionKind::Approvers),
        }
    }
}

impl access::Access {
    /// What it is as an action; `None`: a question.
    pub fn action(&self) -> Option<ActionKind> {
        match self {
            Self::List { .. } | Self::Show { .. } | Self::Verify => None,
            Self::Activate(_) => Some(ActionKind::AccessActivate),
            Self::Approve { .. } => Some(ActionKind::AccessApprove),
            Self::Reject { .. } => Some(ActionKind::AccessReject),
            Self::End { .. } => Some(ActionKind::AccessEnd),
            Self::Seal(_) => Some(ActionKind::AccessSeal),
            Self::BreakGlass(_) | Self::BreakGlassSigned { .. } => Some(ActionKind::AccessBreakGlass),
            Self::Review { .. } => Some(ActionKind::AccessReview),
            Self::Request(_) => Some(ActionKind::AccessRequest),
            Self::Grant(_) => Some(ActionKind::AccessGrant),
        }
    }
}

/// Something that somebody did or tried over the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action<'a> {
    /// What.
    pub kind: ActionKind,
    /// Who.
    pub peer: &'a Peer,
    /// It was done.
    pub succeeded: bool,
    /// What came of it, in one sentence.
    pub message: String,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// The configuration was to be reloaded.
    Reload,
    /// The gateway was told to drain.
    Drain,
    /// A ban was to be made.
    BanAdd,
    /// A ban was to be lifted.
    BanRemove,
    /// What is usual for a principal was to be forgotten.
    RiskForget,
    /// Logins of the past were learnt from.
    RiskWarm,
    /// Thresholds of risk were worked out, put in force or taken back.
    RiskCalibration,
    /// A sink was tested.
    SinkTest,
    /// The notifiers of an alert were tested.
    AlertTest,
    /// What an alert contains was to be lifted.
    AlertLift,
    /// Alerts were to be muted, or not any more.
    AlertMute,
    /// A finding of an audit was to be suppressed, or not any more.
    AuditSuppress,
    /// A network's list was to be refreshed.
    FeedRefresh,
    /// An update of a network's list was to be put in force.
    FeedAccept,
    /// The list before the one in force was to be put back.
    FeedRollback,
    /// Something was to be revoked.
    Revoke,
    /// A revocation was to be lifted.
    RevokeLift,
    /// A change of what is live was to be proposed.
    PolicyPropose,
    /// A proposal was to be approved.
    PolicyApprove,
    /// A proposal was to be ended.
    PolicyReject,
    /// A proposal was to become live.
    PolicyActivate,
    /// An earlier version was to be live again.
    PolicyRollback,
    /// Other approvers were to be proposed, or the first ones to be named.
    Approvers,
    /// An eligible assignment was to be activated.
    AccessActivate,
    /// Temporary power was to be approved.
    AccessApprove,
    /// Temporary power was to be refused.
    AccessReject,
    /// Temporary power was to be ended.
    AccessEnd,
    /// A code was to be sealed.
    AccessSeal,
    /// Glass was to be broken.
    AccessBreakGlass,
    /// What was done with a broken seal was to be reviewed.
    AccessReview,
    /// Access was to be asked for.
    AccessRequest,
    /// A request for access was to be granted.
    AccessGrant,
    /// Sessions were to be ended.
    SessionRevoke,
    /// Somebody began to follow the events, which name people.
    EventsTail,
    /// Recorded events, which name people, were searched, counted, explained or replayed.
    EventsSearch,
    /// A backup was to be made.
    BackupCreate,
    /// A restoration was to be tried.
    BackupDrill,
    /// A second factor was to be given to somebody.
    FactorEnroll,
    /// All second factors of somebody were to be taken away.
    FactorReset,
    /// Somebody who may not use the channel tried to.
    Refused,
}

/// Why a policy was not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untried {
    /// It does not compile, or is too large to.
    Invalid(Problem),
    /// No requests are kept, or another policy is being tried.
    Refused(Problem),
}

impl Untried {
    /// What is said of it.
    pub fn problem(&self) -> &Problem {
        match self {
            Self::Invalid(problem) | Self::Refused(problem) => problem,
        }
    }
}

/// It is nothing of the policy's.
impl From<Problem> for Untried {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}
