//! Thresholds of risk from the budget of the policy: the thread that has them worked out once a day, and what puts them in force.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::EventKind;
use portcullis_governance::Hash;
use portcullis_policy::{Policy, RiskThresholds};
use portcullis_proxy::Snapshot;
use portcullis_risk::{Calibration, CalibrationError, RiskEngine, Settled};

use crate::running::Running;

/// The running thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Calibrating {
    _stop: Sender<()>,
}

/// How often it is looked whether a calibration is due.
const LOOK: Duration = Duration::from_secs(60);
/// From one to the next.
const EVERY: SignedDuration = SignedDuration::from_hours(24);

impl Calibrating {
    /// Starts it.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(running: &Arc<Running>) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let running = Arc::clone(running);
        thread::Builder::new().name("calibration".to_owned()).spawn(move || {
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                running.calibrate_if_due(Timestamp::now());
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// What was just compiled, with the thresholds of the calibration that its policy names, or of the one in force, where there is one and the policy wants it. And what
/// came of that, to be told once it is in force.
pub(crate) fn calibrated(snapshot: Snapshot, risk: &RiskEngine) -> (Snapshot, Settled) {
    let settled = risk.settle_calibration(digest_of);
    let snapshot = match risk.calibration() {
        Some(_) => recalibrated(&snapshot, risk),
        None => snapshot,
    };
    (snapshot, settled)
}

/// The SHA-256 by which policies name calibrations.
pub(crate) fn digest_of(text: &str) -> [u8; 32] {
    Hash::of(text.as_bytes()).0
}

/// What a policy says so that this one is in force.
pub(crate) fn line_for(made: &Calibration) -> String {
    format!("calibration = \"{}\"", name_of(digest_of(&made.text())))
}

/// As a policy writes it.
pub(crate) fn name_of(digest: [u8; 32]) -> String {
    format!("sha256:{}", Hash(digest))
}

fn recalibrated(snapshot: &Snapshot, risk: &RiskEngine) -> Snapshot {
    let Ok(snapshot) = snapshot.with_policies(|policy| Ok::<_, Infallible>(with_thresholds(policy, risk)));
    snapshot
}

/// A policy with the thresholds of the calibration in force.
pub(crate) fn with_thresholds(policy: &Policy, risk: &RiskEngine) -> Policy {
    policy.with_calibration(risk.calibration().map(|made| (Arc::clone(&made.id), made.thresholds)))
}

impl Running {
    /// Works thresholds out and puts them in force where the last ones are a day old. While too little is counted, nothing is done.
    pub(crate) fn calibrate_if_due(&self, now: Timestamp) {
        let risk = &self.shared().risk;
        let is_recent = |made: Timestamp| now.duration_since(made).abs() < EVERY;
        if !risk.calibrates_daily() || risk.last_calibrated().is_some_and(is_recent) {
            return;
        }
        if let Ok(made) = risk.calibrate(now, true) {
            // It was made a moment ago, so it is there.
            let _ = self.put_calibration(&made.id);
        }
    }

    /// Puts a calibration in force.
    ///
    /// # Errors
    /// There is none of that id.
    pub(crate) fn put_calibration(&self, id: &str) -> Result<Arc<Calibration>, CalibrationError> {
        let put = self.change_thresholds(|risk| risk.put_calibration(id))?;
        self.tell_of_thresholds(format!("calibration {} is in force: {}", put.id, self.thresholds_in_words()));
        Ok(put)
    }

    /// Takes the one in force back.
    ///
    /// # Errors
    /// None is in force.
    pub(crate) fn take_calibration_back(&self) -> Result<Option<Arc<Calibration>>, CalibrationError> {
        let before = self.change_thresholds(RiskEngine::take_calibration_back)?;
        let what = match &before {
            Some(before) => format!("calibration {} is in force again", before.id),
            None => "no calibration is in force any more".to_owned(),
        };
        self.tell_of_thresholds(format!("{what}: {}", self.thresholds_in_words()));
        Ok(before)
    }

    /// Reloads, lists of networks and thresholds are put in force one after the other.
    fn change_thresholds<T>(
        &self,
        change: impl FnOnce(&RiskEngine) -> Result<T, CalibrationError>,
    ) -> Result<T, CalibrationError> {
        let one_at_a_time = self.feeds().keeper();
        let shared = self.shared();
        let changed = change(&shared.risk)?;
        let snapshot = shared.snapshot().load_full();
        shared.replace(recalibrated(&snapshot, &shared.risk));
        drop(one_at_a_time);
        Ok(changed)
    }

    /// `step-up from 2.500 (low), 1.550 (normal), 1.200 (high) nats`
    pub(crate) fn thresholds_in_words(&self) -> String {
        let [low, normal, high] = self
            .shared()
            .snapshot()
            .load()
            .policy
            .risk_thresholds()
            .map(|each: RiskThresholds| nats(each.step_up_mnats));
        format!("step-up from {low} (low), {normal} (normal), {high} (high) nats")
    }

    /// Tells what came of the calibration that the configuration names.
    pub(crate) fn tell_settled(&self, settled: &Settled) {
        let message = match settled {
            Settled::Same => return,
            Settled::Changed(None) => "no calibration is in force any more".to_owned(),
            Settled::Changed(Some(made)) => format!("calibration {} is in force", made.id),
            Settled::Missing => {
                let named = self.shared().risk.named_calibration().map(name_of).unwrap_or_default();
                tracing::warn!(%named, "the policy names a calibration that is not kept here: the thresholds that are built in hold");
                format!(
                    "the calibration {named} that the policy names is not kept here: the thresholds that are built in hold"
                )
            }
        };
        self.tell_of_thresholds(format!("{message}: {}", self.thresholds_in_words()));
    }

    fn tell_of_thresholds(&self, message: String) {
        tracing::info!("{message}");
        self.record(EventKind::RiskCalibrated, message);
    }
}

/// Milli-nats, none of which is below 0.
fn nats(mnats: i32) -> String {
    format!("{}.{:03}", mnats / 1_000, mnats % 1_000)
}
