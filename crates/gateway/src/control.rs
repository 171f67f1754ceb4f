//! What the control channel can have done: the running gateway as `admin` needs it.

mod action;
mod alert;
mod archive;
pub(crate) mod audit;
mod backups;
mod ban;
mod banned_meanwhile;
mod factor;
mod feed_rollback;
mod govern;
mod policies;
mod preview;
mod providers;
mod questions;
mod risk;
pub(crate) mod session;
mod sink;
pub(crate) mod spikes;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_admin::access::{Access, Answer as AccessAnswer};
use portcullis_admin::api::{
    Acceptance, AlertTested, Alerts, BanReport, Bans, Calibrations, Done, FeedRollbackTried, Feeds, Health, Located,
    NewBan, NewBans, PastLogins, PolicyText, Previewed, Problem, Profile, ReloadWanted, Reloaded, Sessions, SinkTested,
    Spikes, Status, WhereIs, WhichSessions,
};
use portcullis_admin::api::{
    Allowed, DiffWanted, EventExplained, EventId, EventsCounted, EventsFound, EventsWanted, Explained, ListQuestion,
    Listed, PolicyDiffered, PolicyQuestion, ReplayDone, ReplayWanted, Verdict,
};
use portcullis_admin::api::{FactorBegun, FactorCode, FactorConfirmed, Factors, NewFactor};
use portcullis_admin::api::{KeyUses, MutedAlert, NewMute, NewRevocation, Revocations, RevokedName};
use portcullis_admin::audit::{AuditAnswer, AuditWanted};
use portcullis_admin::backup::{BackupAnswer, BackupWanted};
use portcullis_admin::govern::{Answer as GovernAnswer, Governed};
use portcullis_admin::{Action, ActionKind, Gateway, Peer, Tail, Untried};
use portcullis_events::Tap;
use portcullis_risk::CalibrationError;
use tokio::sync::{mpsc, oneshot};

use crate::answers::feed;
use crate::calibrating::line_for;
use crate::governing::{Asked, Who, Why};
use crate::reload::Outcome;
use crate::running::Running;

pub(crate) use govern::Kept;

/// What the main thread is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Reload for this reason, as these want it, and say what came of it.
    Reload(Why, Asked, oneshot::Sender<Outcome>),
    /// Drain and end.
    Drain,
}

/// Where orders go.
pub(crate) type Orders = mpsc::Sender<Order>;

/// A running gateway under an operator's hand.
#[derive(Debug)]
pub(crate) struct Operated {
    running: Arc<Running>,
    config: PathBuf,
    orders: Orders,
    tail: Tail,
}

/// Shows the events to those who follow them.
#[derive(Debug)]
struct Followed(Tail);

impl Tap for Followed {
    fn is_looking(&self) -> bool {
        self.0.is_followed()
    }

    fn see(&self, line: &[u8]) {
        self.0.offer(line);
    }
}

impl Operated {
    pub(crate) fn new(running: Arc<Running>, config: &Path, orders: Orders) -> Self {
        let tail = Tail::default();
        running.shared().recorder.set_tap(Box::new(Followed(tail.clone())));
        let operated = Self { running, config: config.to_owned(), orders, tail };
        operated.note_deeds(None);
        operated
    }

    /// Has who explains spikes look at bans by hand and revocations: who did it, and what was said of it.
    fn note_deeds(&self, by: Option<(&str, &str)>) {
        if let Some(insight) = self.running.insight() {
            insight.operator_did(self.running.revoking().all(), by);
        }
    }

    /// A principal's name with its id as requests bring it, however it is typed.
    fn as_compared(&self, name: &str) -> String {
        self.running.shared().snapshot().load().policy.spelling().name(name).into_owned()
    }

    /// Whether nobody changes alone who gets in.
    fn needs_approvals(&self) -> bool {
        self.running.governing().is_some_and(|governing| governing.demands_approvals())
    }

    /// Whether only a policy puts another calibration in force.
    fn is_calibrated_by_policy(&self) -> bool {
        self.needs_approvals() || self.running.shared().risk.named_calibration().is_some()
    }

    /// Why no operator does.
    fn by_policy(&self) -> &'static str {
        match self.needs_approvals() {
            true => "changes need approvals here, and so does from which score on somebody is asked",
            false => "the policy names the calibration that is in force",
        }
    }
}

/// Whether it makes or lifts what turns callers away whatever the policy says.
fn is_of_credentials_or_bans(kind: ActionKind) -> bool {
    matches!(kind, ActionKind::BanAdd | ActionKind::BanRemove | ActionKind::Revoke | ActionKind::RevokeLift)
}

fn problem(error: impl Into<String>) -> Problem {
    Problem { error: error.into() }
}

/// The beginning of what somebody wrote, fit for a line.
fn shown(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}

impl Gateway for Operated {
    fn status(&self) -> Status {
        status::whole(self)
    }

    fn health(&self) -> Health {
        Health { live: status::alive(self), ready: !self.running.shared().is_draining() }
    }

    async fn reload(&self, peer: &Peer, wanted: ReloadWanted) -> Reloaded {
        let (answer, outcome) = oneshot::channel();
        let mut asked = Asked::by(Who::of(peer).names);
        asked.reason =
            wanted.reason.map(|reason| shown(&reason)).filter(|reason| !reason.is_empty()).unwrap_or(asked.reason);
        asked.ticket = wanted.ticket.map(|ticket| shown(&ticket)).unwrap_or_default();
        // Where the main thread does not take it, the answer is dropped with it.
        let _ = self.orders.try_send(Order::Reload(Why::Asked, asked, answer));
        let outcome = outcome.await;
        let sha256 = status::policy(self).sha256;
        let Ok(outcome) = outcome else {
            let message = "not reloaded: the gateway stops, or reloads already".to_owned();
            return Reloaded {
                reloaded: false,
                message,
                sha256,
                report: None,
                problems: Vec::new(),
                restart: Vec::new(),
            };
        };
        let report = &outcome.report;
        let any = report.errors() + report.warnings() > 0;
        Reloaded {
            reloaded: outcome.result.is_ok(),
            report: any.then(|| report.render_human(false)),
            problems: serde_json::from_str(&report.render_json()).unwrap_or_default(),
            restart: outcome.restart.iter().map(|table| (*table).to_owned()).collect(),
            message: outcome.result.unwrap_or_else(|reason| format!("not reloaded: {reason}")),
            sha256,
        }
    }

    fn drain(&self) {
        // A full queue holds an order to drain already, or reloads that end soon: then there is a signal for it.
        if self.orders.try_send(Order::Drain).is_err() {
            tracing::warn!("the order to drain could not be given: it stops already, or is busy");
        }
    }

    fn bans(&self) -> Bans {
        ban::list(self)
    }

    fn explain_ban(&self, on: &str) -> Result<BanReport, Problem> {
        ban::explain(self, on)
    }

    fn profile(&self, on: &str) -> Result<Profile, Problem> {
        let shared = self.running.shared();
        let actor = ban::actor(self, on)?;
        let report = shared.risk.profile_of(&actor, shared.clock.now());
        let report = report.ok_or_else(|| problem(format!("nothing is known of {actor}")))?;
        Ok(risk::shown(actor.to_string(), report))
    }

    fn forget_profile(&self, on: &str) -> Result<Done, Problem> {
        // To whom nothing is usual nothing is new: a stolen session would be asked for nothing.
        if self.needs_approvals() {
            return Err(problem(
                "changes need approvals here, and who has what is usual for somebody forgotten decides that nothing is new to them: whoever is asked too much shows a second factor, which makes it usual, or propose other weights or thresholds of `[risk]`",
            ));
        }
        let actor = ban::actor(self, on)?;
        if self.running.shared().risk.forget_profile(&actor) {
            Ok(Done { message: format!("what was usual for {actor} is forgotten") })
        } else {
            Err(problem(format!("nothing is known of {actor}")))
        }
    }

    fn warm(&self, logins: &PastLogins) -> Result<Done, Problem> {
        if self.needs_approvals() {
            return Err(problem(
                "changes need approvals here, and what is usual for somebody decides about them: the gateway learns it from what it lets in, and from no history",
            ));
        }
        let shared = self.running.shared();
        if !shared.risk.scores() {
            return Err(problem("risk is off, so nothing is learnt"));
        }
        let risk::Warmed { learnt, left_out } = risk::warm(shared, logins);
        Ok(Done { message: format!("learnt from {learnt} logins of the past, {left_out} left out") })
    }

    fn calibrations(&self) -> Calibrations {
        risk::calibrations(&self.running.shared().risk)
    }

    fn propose_calibration(&self) -> Result<Done, Problem> {
        let made = self.running.shared().risk.calibrate(Timestamp::now(), false);
        let made = made.map_err(|error| problem(error.to_string()))?;
        let id = &made.id;
        let then = match self.is_calibrated_by_policy() {
            true => format!("a policy whose [risk] says `{}` puts it in force", line_for(&made)),
            false => format!("`risk calibration show {id}`, then `activate {id}`"),
        };
        Ok(Done { message: format!("calibration {id} is made, and not in force: {then}") })
    }

    fn activate_calibration(&self, id: &str) -> Result<Done, Problem> {
        if self.running.shared().risk.counted().0.is_none() {
            return Err(problem(CalibrationError::NoBudget.to_string()));
        }
        if self.is_calibrated_by_policy() {
            let found = self.running.shared().risk.calibration_named(id);
            let made = found.ok_or_else(|| problem(CalibrationError::Unknown.to_string()))?;
            return Err(problem(format!(
                "{}: propose a policy whose [risk] says `{}`",
                self.by_policy(),
                line_for(&made)
            )));
        }
        let put = self.running.put_calibration(id).map_err(|error| problem(error.to_string()))?;
        Ok(Done { message: format!("calibration {} is in force: {}", put.id, self.running.thresholds_in_words()) })
    }

    fn roll_calibration_back(&self) -> Result<Done, Problem> {
        if self.is_calibrated_by_policy() {
            let remedy = match self.running.shared().risk.calibration_before().flatten() {
                Some(before) => format!("propose a policy whose [risk] says `{}`", line_for(&before)),
                // One that merely names none has the one that was put in force last.
                None => "propose a policy whose [risk] names another `calibration`, or leaves `step_up_budget` out and names none: then the \
                         built-in thresholds hold"
                    .to_owned(),
            };
            return Err(problem(format!("{}: {remedy}", self.by_policy())));
        }
        let before = self.running.take_calibration_back().map_err(|error| problem(error.to_string()))?;
        let what = before.map_or_else(|| "none is".to_owned(), |before| format!("{} is again", before.id));
        Ok(Done { message: format!("of the calibrations {what} in force: {}", self.running.thresholds_in_words()) })
    }

    fn add_ban(&self, ban: &NewBan) -> Result<Done, Problem> {
        ban::add(self, ban)
    }

    fn import_bans(&self, bans: &NewBans) -> Result<Done, Problem> {
        ban::import(self, bans)
    }

    fn remove_ban(&self, on: &str) -> Result<Done, Problem> {
        ban::remove(self, on)
    }

    fn test_sink(&self, peer: &Peer, name: &str) -> Result<SinkTested, Problem> {
        sink::test(self, peer, name)
    }

    fn alerts(&self) -> Alerts {
        alert::list(self)
    }

    fn test_alert(&self, name: &str) -> Result<AlertTested, Problem> {
        alert::test(self, name)
    }

    fn lift_containment(&self, id: &str) -> Result<Done, Problem> {
        let lifted = self.running.alerting().lift(id, self.running.shared());
        lifted.map(|message| Done { message }).map_err(problem)
    }

    fn mute_alerts(&self, mute: &NewMute) -> Result<Done, Problem> {
        alert::mute(self, mute)
    }

    fn unmute_alerts(&self, muted: &MutedAlert) -> Result<Done, Problem> {
        alert::unmute(self, muted)
    }

    fn feeds(&self) -> Feeds {
        Feeds { feeds: self.running.feeds().reports().iter().cloned().map(feed::shown).collect() }
    }

    async fn refresh_feed(&self, name: &str) -> Result<Done, Problem> {
        match self.running.feeds().refresh(name).await {
            Some(finished) if finished.is_current => Ok(Done { message: finished.message }),
            Some(finished) => Err(problem(finished.message)),
            None if self.running.feeds().keeper().has(name) => Err(problem("it takes too long, or the gateway stops")),
            None => Err(problem(format!("there is no network `{}` with a source", shown(name)))),
        }
    }

    fn locate(&self, address: &WhereIs) -> Located {
        let settings = self.running.feeds().keeper().settings();
        feed::located(&self.running.shared().snapshot().load().policy, &settings, address.address)
    }

    fn accept_feed(&self, acceptance: &Acceptance) -> Result<Done, Problem> {
        if self.needs_approvals() {
            // Who is in a network is who gets in: whoever demands approvals for the one demands them for the other.
            let (name, sha256) = (shown(&acceptance.name), shown(&acceptance.sha256));
            return Err(problem(format!(
                "changes need approvals here, and so does a list that the guards hold back: propose a policy whose source of the network {name} \
                 says `accepted = [\"{sha256}\"]`"
            )));
        }
        let accepted = self.running.accept_feed(&acceptance.name, &acceptance.sha256);
        accepted.map(|finished| Done { message: finished.message }).map_err(|error| problem(error.to_string()))
    }

    fn try_feed_rollback(&self, name: &str) -> Result<FeedRollbackTried, Problem> {
        feed_rollback::may_go_back(&self.running, name)
            .and_then(|()| feed_rollback::try_rollback(&self.running, name))
            .map_err(problem)
    }

    fn roll_feed_back(&self, name: &str) -> Result<Done, Problem> {
        feed_rollback::may_go_back(&self.running, name).map_err(problem)?;
        let rolled_back = self.running.roll_feed_back(name);
        rolled_back.map(|finished| Done { message: finished.message }).map_err(|error| problem(error.to_string()))
    }

    fn key_uses(&self) -> KeyUses {
        self.running.key_uses()
    }

    fn revocations(&self) -> Revocations {
        self.running.revoking().shown()
    }

    fn revoke(&self, revocation: &NewRevocation) -> Result<Done, Problem> {
        self.running.revoking().revoke(revocation).map(|message| Done { message }).map_err(problem)
    }

    fn lift_revocation(&self, revoked: &RevokedName) -> Result<Done, Problem> {
        let lifted = self.running.revoking().lift(&revoked.what, &revoked.name);
        lifted.map(|message| Done { message }).map_err(problem)
    }

    async fn govern(&self, peer: &Peer, wanted: Governed) -> Result<GovernAnswer, Problem> {
        govern::perform(self, peer, wanted).await
    }

    fn access(&self, peer: &Peer, wanted: &Access) -> Result<AccessAnswer, Problem> {
        let who = Who::of(peer);
        self.running.lender().perform(wanted, &who, Timestamp::now).map_err(problem)
    }

    fn factors(&self, on: &str) -> Result<Factors, Problem> {
        factor::list(self.running.factors(), &self.as_compared(on))
    }

    fn enroll_factor(&self, new: &NewFactor) -> Result<FactorBegun, Problem> {
        let on = self.as_compared(&new.on);
        factor::enroll(self.running.factors(), &NewFactor { on, ..new.clone() })
    }

    fn confirm_factor(&self, code: &FactorCode) -> Result<FactorConfirmed, Problem> {
        let on = self.as_compared(&code.on);
        factor::confirm(self.running.factors(), &FactorCode { on, ..code.clone() })
    }

    fn reset_factors(&self, on: &str) -> Result<Done, Problem> {
        factor::reset(self.running.factors(), on, &self.as_compared(on))
    }

    fn sessions(&self) -> Sessions {
        session::list(self)
    }

    fn revoke_sessions(&self, which: &WhichSessions) -> Result<Done, Problem> {
        session::revoke(self, which)
    }

    fn preview_policy(&self, candidate: &PolicyText) -> Result<Previewed, Untried> {
        preview::preview(&self.running, &self.config, candidate)
    }

    fn spikes(&self) -> Result<Spikes, Problem> {
        spikes::shown(&self.running).map_err(problem)
    }

    fn audit(&self, wanted: &AuditWanted, by: &Peer) -> Result<AuditAnswer, Problem> {
        audit::perform(&self.running, &self.config, wanted, by).map_err(problem)
    }

    fn backups(&self, peer: &Peer, wanted: &BackupWanted) -> Result<BackupAnswer, Problem> {
        backups::perform(self, peer, wanted)
    }

    fn search_events(&self, wanted: &EventsWanted) -> Result<EventsFound, Problem> {
        archive::found(self, wanted)
    }

    fn count_events(&self, wanted: &EventsWanted) -> Result<EventsCounted, Problem> {
        archive::counted(self, wanted)
    }

    fn explain_event(&self, id: &EventId) -> Result<EventExplained, Problem> {
        archive::explained(self, id)
    }

    fn can(&self, question: &PolicyQuestion) -> Result<Verdict, Problem> {
        questions::can(self, question)
    }

    fn explain(&self, question: &PolicyQuestion) -> Result<Explained, Problem> {
        questions::explain(self, question)
    }

    fn who_can(&self, question: &PolicyQuestion) -> Result<Allowed, Problem> {
        questions::who_can(self, question)
    }

    fn list(&self, question: &ListQuestion) -> Result<Listed, Problem> {
        questions::list(self, question)
    }

    fn replay(&self, wanted: &ReplayWanted) -> Result<ReplayDone, Untried> {
        policies::replay(self, wanted)
    }

    fn compare_policies(&self, wanted: &DiffWanted) -> Result<PolicyDiffered, Untried> {
        policies::differ(self, wanted)
    }

    fn tail(&self) -> &Tail {
        &self.tail
    }

    fn record(&self, action: &Action<'_>) {
        self.running.shared().recorder.record(action::event(self, action));
        if action.succeeded && is_of_credentials_or_bans(action.kind) {
            self.note_deeds(Some((&action.peer.shown(), &action.message)));
        }
    }
}
