//! A version that comes into force step by step: what is put in force of it, and what is kept of how far it has come.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_config::Loaded;
use portcullis_governance::{Class, Content, GovernanceError, Governor, Rollout, Stage, Stages, Version, WHOLE_PPM};
use portcullis_policy::Policy;
use portcullis_proxy::Staged;

use super::moments::reached;
use super::source::load_sealed;
use super::written::{Prepared, prepare_all, prepare_change};
use super::{Governing, Refused};

/// A version that decides for some callers.
#[derive(Debug)]
pub(crate) struct StagedVersion {
    policy: Policy,
    rollout: Rollout,
    share: u32,
}

impl StagedVersion {
    /// As the data plane needs it.
    pub(crate) fn into_staged(self) -> Staged {
        let Self { policy, rollout, share } = self;
        Staged::new(policy.into(), rollout.change.0, share)
    }
}

/// How a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) rollout: Rollout,
    /// The version that serves whoever it does not decide for.
    pub(crate) serving: u64,
    pub(crate) stages: Stages,
    /// It only tightens, or cannot be read: what its canary closed may not be opened again by the clock.
    pub(crate) only_tightens: bool,
}

impl Standing {
    /// The step that it is in.
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.stages.at(self.rollout.stage)
    }

    /// Why the step does not end though its time is over, and what ends it, in a sentence; `None`: it does not wait.
    pub(crate) fn waits_for(&self) -> Option<String> {
        let (rollout, stages) = (&self.rollout, &self.stages);
        let stage = self.stage().filter(|stage| self.spent() >= stage.lasts && !stages.is_tried(rollout))?;
        let left = stage.lasts.saturating_add(stages.max_wait).saturating_sub(self.spent());
        let by_itself = match self.only_tightens {
            true => "which the clock does not, since it only tightens".to_owned(),
            false => format!("as is done by itself in {} s", left.as_secs()),
        };
        Some(format!(
            "its time is over, and it was not tried: {}; it goes on by itself when they have come, `portcullis policy activate {} --now --reason \"…\"` has it live without them, and `portcullis policy abort --reason \"…\"` takes it back, {by_itself}",
            self.tried_by(),
            rollout.change.short(),
        ))
    }

    /// How much was seen of the step, of what is asked for.
    pub(crate) fn tried_by(&self) -> String {
        let Stages { min_requests, min_callers, .. } = self.stages;
        format!(
            "{} of the {min_requests} requests that `min_requests` asks for were decided on by both, by {} of the {min_callers} callers that `min_callers` asks for",
            self.rollout.seen(),
            self.rollout.callers
        )
    }

    /// Whether a step has waited as long as it may. One of what only tightens never has: taken back it would open again what its canary closed.
    pub(crate) fn waits_too_long(&self) -> bool {
        if self.only_tightens {
            return false;
        }
        let lasts = self.stage().map_or(Duration::ZERO, |stage| stage.lasts);
        self.spent() >= lasts.saturating_add(self.stages.max_wait)
    }

    fn spent(&self) -> Duration {
        Duration::from_millis(self.rollout.spent_ms)
    }
}

/// `shadow`, or `canary, 5 % of the callers`.
pub(crate) fn in_words(share: u32) -> String {
    if share == 0 { "shadow: no caller".to_owned() } else { format!("canary: {} of the callers", percent(share)) }
}

/// A share in millionths, in percent: `0.1 %`.
pub(crate) fn percent(share: u32) -> String {
    let (whole, part) = (share / (WHOLE_PPM / 100), share % (WHOLE_PPM / 100));
    let part = format!("{part:04}");
    match part.trim_end_matches('0') {
        "" => format!("{whole} %"),
        part => format!("{whole}.{part} %"),
    }
}

impl Governing {
    /// How a rollout stands; `None`: a version is in force for everybody.
    pub(crate) fn rollout(&self) -> Option<Standing> {
        let (rollout, serving, only_tightens) = {
            let governor = self.governor();
            let standing = governor.standing();
            let rollout = standing.rollout?;
            let only_tightens = standing.version.is_none_or(|version| version.change.class == Class::Tightens);
            (rollout, governor.serving(), only_tightens)
        };
        Some(Standing { rollout, serving, stages: self.stages(), only_tightens })
    }

    /// The same, as of a moment ago: it is written down more seldom.
    pub(crate) fn rollout_now(&self) -> Option<Standing> {
        let standing = self.rollout()?;
        Some(Standing { rollout: self.as_seen(standing.rollout), ..standing })
    }

    fn as_seen(&self, rollout: Rollout) -> Rollout {
        let seen = *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of = |rollout: &Rollout| (rollout.n, rollout.change, rollout.stage);
        seen.filter(|seen| of(seen) == of(&rollout)).unwrap_or(rollout)
    }

    /// How far a version has come now, for whoever asks.
    pub(crate) fn see(&self, rollout: Rollout) {
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(rollout);
    }

    /// The steps of the version that serves.
    pub(super) fn stages(&self) -> Stages {
        self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn set_stages(&self, stages: &Stages) {
        *self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = stages.clone();
    }

    /// What is rolled out beside the version that serves, held to what was signed.
    pub(super) fn staged(&self, serving: &Loaded) -> Result<Option<StagedVersion>, Refused> {
        let other = |error: GovernanceError| Refused::Other(error.to_string());
        let rollout = self.governor().standing().rollout;
        // Of one that is held nobody knows for whom it may decide.
        let is_staged = |rollout: &Rollout| !rollout.is_held() && !self.is_withdrawn(rollout.n);
        let Some(rollout) = rollout.filter(is_staged) else { return Ok(None) };
        let (version, content): (Version, Content) = {
            let governor = self.governor();
            (governor.version(rollout.n).map_err(other)?, governor.live().map_err(other)?)
        };
        let loaded = load_sealed(&self.config, &content).map_err(|report| Refused::Files(Box::new(report)))?;
        if !loaded.governed.is(&version.change.governed.0) {
            let n = rollout.n;
            return Err(Refused::Other(format!(
                "version {n} cannot be rolled out: with the files that it names it is not what was approved"
            )));
        }
        // Past the last step it is about to be in force for everybody.
        let share = serving.stages.at(rollout.stage).map_or(WHOLE_PPM, |stage| stage.share);
        Ok(Some(StagedVersion { policy: loaded.policy.numbered(rollout.n), rollout, share }))
    }

    /// Keeps how far it has come.
    ///
    /// # Errors
    /// It cannot be written, or is rolled out no more.
    pub(crate) fn note_progress(&self, rollout: Rollout) -> Result<(), String> {
        let mut governor = self.governor();
        let noted = governor.note_progress(rollout).map_err(|error| error.to_string());
        // Another process may have had another version live meanwhile.
        let n = governor.n();
        if n != rollout.n || governor.standing().rollout.is_none() {
            self.owe(n);
        }
        noted
    }

    /// Has the version of this number, which is rolled out, be in force for everybody from the next reload on, which the caller orders. Returns what is
    /// still to be said.
    ///
    /// # Errors
    /// It is not rolled out any more, or it cannot be written: then it is rolled out as before, or, where some of its files are in place already, live for
    /// everybody and still to be finished ([`Rollout::is_ending`]).
    pub(crate) fn finish_rollout(&self, n: u64) -> Result<Option<String>, String> {
        let said = |error: GovernanceError| error.to_string();
        // Held to the end, so that nobody else writes files. The governor is not: what hangs on a file keeps nobody from asking or taking back.
        let _writing = self.writing();
        let (is_at_once, content, before, is_believed) = {
            let governor = self.governor();
            let rollout = governor.rolls_out(n).map_err(said)?;
            let before = match rollout.is_at_once() {
                true => self.before(&governor),
                false => vec![governor.served().map_err(said)?.1],
            };
            // Where files are believed they have to hold it, or the next reload would undo it.
            (rollout.is_at_once(), governor.live().map_err(said)?, before, !governor.is_required())
        };
        let prepared = match (is_at_once, before.as_slice()) {
            (false, [before]) => prepare_change(&self.config, &content, before, n),
            (_, before) => prepare_all(&self.config, &content, before, n, is_believed),
        };
        let mut spared = String::new();
        let mut left = match prepared {
            Ok(prepared) => {
                spared = prepared.spared.in_words();
                {
                    let mut governor = self.governor();
                    // It may have been taken back while the files were read.
                    let rollout = governor.rolls_out(n).map_err(said)?;
                    if !rollout.is_ending() {
                        // From here on a start goes on with the writing: of several files some might hold the one version, and some the other. With what was seen of
                        // its last step, so that whoever finishes it says that.
                        governor.note_progress(self.as_seen(rollout).ending()).map_err(said)?;
                    }
                }
                // Nor can it be taken back any more.
                self.owe(n);
                self.put_in_place(prepared, is_believed)?
            }
            Err(error) if is_believed => return Err(error),
            Err(error) => vec![error],
        };
        self.governor().finish_rollout(n).map_err(said)?;
        self.owe(n);
        left.dedup();
        let mut remark = match left.is_empty() {
            true => String::new(),
            false => {
                format!("; the files on disk still hold something else, and are left as they are ({})", left.join(", "))
            }
        };
        remark.push_str(&spared);
        Ok(remark.strip_prefix("; ").map(str::to_owned))
    }

    /// Whether the version of this number is live for everybody, and its files are still to be written.
    pub(crate) fn is_ending(&self, n: u64) -> bool {
        let rollout = self.governor().standing().rollout;
        rollout.is_some_and(|rollout| rollout.n == n && rollout.is_ending())
    }

    /// Has what was prepared take its place. Returns what is not written.
    pub(super) fn put_in_place(&self, prepared: Prepared, is_believed: bool) -> Result<Vec<String>, String> {
        let mut left = prepared.left.clone();
        match prepared.put_in_place() {
            Ok(()) => {}
            Err(error) if is_believed => return Err(error),
            Err(error) => left.push(error),
        }
        reached("all files are in place");
        Ok(left)
    }

    /// The contents before the last one whose files may still be on the disk: the version before it, and the one before that, where that was still served.
    pub(super) fn before(&self, governor: &Governor) -> Vec<Content> {
        let last = governor.n();
        let earlier = [last.saturating_sub(1), last.saturating_sub(2)].into_iter().filter(|n| *n > 0);
        earlier.filter_map(|n| governor.version(n).and_then(|version| governor.content_of(&version)).ok()).collect()
    }

    /// The version of this number, which is rolled out, decides for nobody from now on, also after a reload: before it is written that it was taken back, and
    /// where that cannot be. A restart begins with what is written.
    pub(crate) fn withdraw(&self, n: u64) {
        self.withdrawn.store(n, Ordering::SeqCst);
    }

    /// Whether it does.
    pub(crate) fn is_withdrawn(&self, n: u64) -> bool {
        self.withdrawn.load(Ordering::SeqCst) == n
    }

    /// Takes the version of this number, which is rolled out, back. The version that it is then, and what is still to be said.
    ///
    /// # Errors
    /// It is not rolled out any more, or it cannot be written: at the next start it would be rolled out as before.
    pub(crate) fn take_back(&self, n: u64, reason: &str, now: Timestamp) -> Result<(u64, Option<String>), String> {
        let taken = {
            let mut governor = self.governor();
            governor.rolls_out(n).and_then(|_| governor.take_back(reason, &[], now))
        };
        let (version, trouble) = taken.map_err(|error| error.to_string())?;
        self.owe(version.n);
        Ok((version.n, trouble.map(|error| format!("the head file does not know it: {error}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nobody tried is taken back in the end, but not what closes something.
    #[test]
    fn the_clock_takes_nothing_back_that_only_tightens() {
        let stages =
            Stages { shadow: Duration::from_secs(60), max_wait: Duration::from_secs(3_600), ..Stages::default() };
        let check = |only_tightens, spent_s: u64, too_long, words: &str| {
            let rollout =
                Rollout { spent_ms: spent_s * 1_000, ..Rollout::new(2, portcullis_governance::ChangeId([7; 16])) };
            let standing = Standing { rollout, serving: 1, stages: stages.clone(), only_tightens };
            assert_eq!(standing.waits_too_long(), too_long, "{only_tightens} {spent_s}");
            let waits = standing.waits_for().unwrap();
            assert!(waits.ends_with(words), "{waits}");
        };
        check(false, 61, false, "as is done by itself in 3599 s");
        check(false, 3_660, true, "as is done by itself in 0 s");
        for spent_s in [61, 3_660, 1_000_000] {
            check(true, spent_s, false, "takes it back, which the clock does not, since it only tightens");
        }
    }

    #[test]
    fn shares_are_for_people() {
        let shares = [0, 1, 1_000, 5_000, 50_000, 255_000, WHOLE_PPM].map(percent);
        assert_eq!(shares, ["0 %", "0.0001 %", "0.1 %", "0.5 %", "5 %", "25.5 %", "100 %"]);
        assert_eq!(in_words(50_000), "canary: 5 % of the callers");
    }
}
