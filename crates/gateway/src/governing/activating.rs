//! How a change becomes live: at once, or by steps; and what it is held to before.

use jiff::Timestamp;
use portcullis_config::{ProcessEnvironment, load};
use portcullis_governance::{
    Change, ChangeId, Class, Content, GovernanceError, Governor, Kind, MadeLive, Stages, Version,
};

use super::desk::{Outcome, PATIENCE, Performed, Who, said};
use super::foresight::{Foresight, Weight, in_words};
use super::made_live::{exceptions_in_words, made_live};
use super::moments::reached;
use super::source::{content_of, in_a_line, load_sealed, not_stageable};
use super::written::{differs_outside, prepare_all};
use super::{AsOf, Governing, shown};

/// Otherwise than a change becomes live by itself: each with the reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'h> {
    /// Without the steps.
    pub(super) at_once: Option<&'h str>,
    /// Also where it cannot be tried once more, and was signed by what was foreseen.
    pub(super) unseen: Option<&'h str>,
}

/// A version that became live.
struct Lived {
    version: Version,
    /// The one that was being rolled out.
    over: Option<u64>,
    /// Files that are left as they are.
    left: Vec<String>,
    /// What became of what was edited by hand.
    spared: String,
    /// Why its files are still to be written.
    unwritten: Option<String>,
    /// What else could not be written.
    trouble: Option<GovernanceError>,
}

impl Governing {
    /// Makes a change live, if it may be.
    pub(super) fn activate(
        &self,
        id: &str,
        how: How<'_>,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Outcome {
        let at_once = how.at_once.map(one_line).transpose()?;
        let unseen = how.unseen.map(one_line).transpose()?;
        let named = self.governor().find(id).ok();
        let _ahead = self.read_ahead(named.as_slice());
        if let Some(recovered) = self.recover(id, who, foresight, now)? {
            return Ok(recovered);
        }
        let id = self.governor().find(id).map_err(said)?;
        if let Some(rolling) = self.rollout().filter(|rolling| rolling.rollout.change == id) {
            return self.hurry(rolling.rollout.n, at_once.as_deref());
        }
        // Also one that changes no answer would have the version that is rolled out be live for everybody.
        if let (Some(rolling), None) = (self.rollout(), &at_once) {
            return Err(said(GovernanceError::RollingOut(rolling.rollout.n)));
        }
        let required = self.is_required();
        let (change, content, before) = {
            let governor = self.governor();
            // Before anything of it is written anywhere.
            let content = governor.ready(id, now).map_err(said)?;
            let before = governor.served().map(|(_, content)| content).unwrap_or_default();
            (governor.proposal(id, now).map_err(said)?.change, content, before)
        };
        let was_seen = !required || self.hold_to_what_was_signed(&change, &content, foresight, unseen.is_some())?;
        let stages = self.steps_of(&change, &before)?;
        let left_out = at_once.clone().filter(|_| !stages.is_empty());
        let made = made_live(who.first(), left_out, unseen.filter(|_| !was_seen));
        if at_once.is_none() && !stages.is_empty() {
            if !foresight.watches() {
                let why = "requests are kept only from the next start on, and without them nobody sees what it denies: restart, or have it live at once, with --now and a reason";
                return Err(why.to_owned());
            }
            return self.roll_out(id, &change, (&content, &before), made, now);
        }
        let Lived { version, over, left, spared, unwritten, trouble } =
            self.make_live(id, at_once.is_some(), &made, now)?;
        let mut message = self.is_live(&version, "live");
        if let Some(n) = over.filter(|_| version.change.kind != Kind::Rollback) {
            message.push_str(&format!(
                "; it follows on version {n}, which was being rolled out: what that changed is live for everybody with it"
            ));
        }
        if !left.is_empty() {
            message.push_str(&format!("; the files on disk still hold something else ({})", left.join(", ")));
        }
        if let Some(error) = unwritten {
            message.push_str(&unwritten_in_words(&error));
        }
        message.push_str(&spared);
        Ok(self.activated(&version, message, trouble))
    }

    /// Has a change live for everybody, and its files hold it. What could not be written before it was admitted has changed nothing; what cannot be written
    /// after that is written as soon as it can be.
    fn make_live(&self, id: ChangeId, at_once: bool, made: &MadeLive, now: Timestamp) -> Result<Lived, String> {
        // Held to the end: nobody else writes files in between. The governor is not: what hangs on a file keeps nobody from taking something back.
        let _writing = self.writing();
        for _ in 0..TRIES {
            let (as_of, content, before, is_believed) = {
                let governor = self.governor();
                held_up(&governor, at_once)?;
                let content = governor.ready(id, now).map_err(said)?;
                // Also where files are believed from then on.
                let rules = governor.proposal(id, now).map_err(said)?.change.rules;
                let is_believed = !governor.is_required() || !rules.required;
                let mut before: Vec<Content> = governor.live().into_iter().collect();
                before.extend(governor.served().map(|(_, content)| content));
                (AsOf::now(&governor), content, before, is_believed)
            };
            let next = as_of.n.saturating_add(1);
            let prepared = prepare_all(&self.config, &content, &before, next, is_believed)?;
            reached("it is prepared");
            let mut governor = self.governor();
            // Something was taken back, or came into force by steps, while the files were read.
            if AsOf::now(&governor) != as_of {
                continue;
            }
            let over = held_up(&governor, at_once)?;
            let spared = prepared.spared.in_words();
            let (version, trouble) = governor.activate_and_write(id, made.clone(), now).map_err(said)?;
            let n = version.n;
            self.owe(n);
            drop(governor);
            // It is live, and nobody can take it back as if it were not: what is left is to write it.
            let (left, unwritten) = match self.put_in_place(prepared, is_believed) {
                Ok(left) => (left, self.governor().finish_rollout(n).err().map(said)),
                Err(error) => (Vec::new(), Some(error)),
            };
            return Ok(Lived { version, over, left, spared, unwritten, trouble });
        }
        Err("versions become live faster than the files can be read: ask again".to_owned())
    }

    fn is_live(&self, version: &Version, how: &str) -> String {
        let change = &version.change;
        // With its hash, so that whoever gathers events has written down how far the log had come.
        let mut message = format!(
            "version {0} is {how} ({0}:{1}): change {2} by {3}",
            version.n,
            version.hash(),
            change.id.short(),
            change.authors.join(", ")
        );
        if !version.approvals.is_empty() {
            let persons = shown::approved(version, &self.governor().standing());
            message.push_str(&format!(", approved by {}", persons.join(", ")));
        }
        message.push_str(&exceptions_in_words(&version.exceptions));
        message
    }

    pub(super) fn activated(
        &self,
        version: &Version,
        mut message: String,
        trouble: Option<GovernanceError>,
    ) -> Performed {
        if let Some(error) = trouble {
            message.push_str(&format!("; it is in the store, but the head file does not know it: {error}"));
        }
        let mut performed = self.answer(message);
        performed.answer.versions = vec![shown::version(version, &self.governor().standing())];
        performed.activated = Some(version.n);
        performed
    }

    /// The steps by which a change comes into force: none for one that changes no answer, for approvers, and for what only takes refusals back: steps are there
    /// to see whom a version turns away, and whoever is locked out does not wait for them.
    fn steps_of(&self, change: &Change, before: &Content) -> Result<Stages, String> {
        let only_takes_back = change.kind != Kind::Change && change.class == Class::Loosens;
        let is_staged =
            change.kind.can_take_steps() && change.base_n > 0 && change.class != Class::Neutral && !only_takes_back;
        if !is_staged {
            return Ok(Stages::default());
        }
        let before = load_sealed(&self.config, before).map_err(|report| in_a_line(&report))?;
        Ok(before.stages)
    }

    /// Begins with the first step.
    fn roll_out(
        &self,
        id: ChangeId,
        change: &Change,
        (content, before): (&Content, &Content),
        made: MadeLive,
        now: Timestamp,
    ) -> Outcome {
        let read = |content| load_sealed(&self.config, content).map_err(|report| in_a_line(&report));
        if let Some(what) = not_stageable(&read(before)?, &read(content)?) {
            return Err(format!(
                "change {} cannot be tried on some callers first, since it changes {what}: have it live at once, with `policy activate --now --reason`",
                change.id.short()
            ));
        }
        if !self.is_required() && self.holds_on_disk(content) {
            return Err(format!(
                "change {} is what the files on disk are already, and these are believed where nobody has to approve: propose it as a FILE beside them, or have it live at once, with `policy activate --now --reason`",
                change.id.short()
            ));
        }
        if let Some(name) = differs_outside(content, before).filter(|_| !self.is_required()) {
            return Err(format!(
                "`{name}` is outside of the gateway's folder, where it could not be written once the steps are over: change it by hand, or have it live at once, with `policy activate --now --reason`"
            ));
        }
        let (version, trouble) = self.governor().begin_rollout(id, made, now).map_err(said)?;
        self.owe(version.n);
        let serving = version.n.saturating_sub(1);
        let how = format!("approved and being rolled out, and version {serving} serves until that is over");
        let message = format!(
            "{}; its steps take {} at least, and `portcullis policy activate {} --now --reason TEXT` skips them",
            self.is_live(&version, &how),
            lasting(&read(before)?.stages),
            id.short()
        );
        Ok(self.activated(&version, message, trouble))
    }

    /// Whether the files on disk are this content.
    fn holds_on_disk(&self, content: &Content) -> bool {
        load(&self.config, &ProcessEnvironment).is_ok_and(|loaded| content_of(&loaded) == *content)
    }

    /// Has the version that is rolled out in force for everybody now.
    fn hurry(&self, n: u64, at_once: Option<&str>) -> Outcome {
        let Some(reason) = at_once else {
            return Err(format!(
                "version {n} is being rolled out: --now and a reason have it live for everybody at once"
            ));
        };
        let trouble = match self.finish_rollout(n) {
            Ok(trouble) => trouble.map_or_else(String::new, |trouble| format!("; {trouble}")),
            // Some of its files may be in place: it goes on, and not back.
            Err(error) if self.is_ending(n) => unwritten_in_words(&error),
            Err(error) => return Err(error),
        };
        self.owe(n);
        let mut performed = self
            .answer(format!("version {n} is live for everybody, without the steps that were left: {reason}{trouble}"));
        performed.activated = Some(n);
        Ok(performed)
    }

    /// Takes the version that is rolled out back by hand: what served until then serves everybody, as a version that nobody has to approve.
    pub(super) fn abort(&self, reason: &str, who: &Who, now: Timestamp) -> Outcome {
        let reason = one_line(reason)?;
        let (taken, version, trouble) = {
            let mut governor = self.governor();
            let rollout = governor.standing().rollout.ok_or("no version is being rolled out")?;
            let (version, trouble) = governor.take_back(&reason, &who.names, now).map_err(|error| match error {
                // Whoever wants it gone does not wait for a disk.
                GovernanceError::Ledger(error) => {
                    self.withdraw(rollout.n);
                    format!(
                        "version {} decides for nobody from now on, and it could not be written that it was taken back ({error}): ask again once it can be, since the next start rolls it out again",
                        rollout.n
                    )
                }
                error => said(error),
            })?;
            self.owe(version.n);
            (rollout.n, version, trouble)
        };
        let message = format!(
            "version {taken} was taken back by {}: {reason}; version {} has what version {} had, and is live",
            who.first(),
            version.n,
            version.change.restores
        );
        Ok(self.activated(&version, message, trouble))
    }

    /// Tries a change once more before it becomes live: what would be another thing than what was signed has to be signed again. Says whether it could be tried,
    /// or need not be; `unseen`: where nobody can look, it need not be possible.
    fn hold_to_what_was_signed(
        &self,
        change: &Change,
        content: &Content,
        foresight: &dyn Foresight,
        unseen: bool,
    ) -> Result<bool, String> {
        let signed = self.governor().impact_of(change).map_err(said)?;
        // What was signed blind is what was wanted: the report says so. And of what changes no answer there is nothing to be seen.
        let Some(signed) = Weight::of(&signed).filter(|_| change.class != Class::Neutral) else { return Ok(true) };
        let now = self.foresee(change.kind, content, foresight, PATIENCE);
        let Some(weight) = Weight::of(&now) else {
            if unseen && !foresight.can_look() {
                return Ok(false);
            }
            // A gateway that runs looks when it is less busy, or keeps requests again.
            let or = if foresight.can_look() {
                ", so that it is signed that nobody could look".to_owned()
            } else {
                format!(
                    ", so that it is signed that nobody could look; or, where no gateway can run before it is live, say so with `policy activate {} --unseen --reason TEXT`, which stands in the version",
                    change.id.short()
                )
            };
            return Err(format!(
                "it cannot be tried once more before it is live ({}), and it was signed by what was foreseen: activate it when it can; propose it again{or}",
                in_words(&now).first().map_or("", String::as_str),
            ));
        };
        match Some(weight).filter(|now| now.outgrows(signed)) {
            None => Ok(true),
            Some(outgrown) => Err(format!(
                "by now it would newly deny {} callers and newly let in {}, and what was signed says {} and {}: propose it again, so that this is approved",
                outgrown.denied, outgrown.permitted, signed.denied, signed.permitted
            )),
        }
    }
}

/// Files are read so often, where another version becomes live meanwhile.
const TRIES: usize = 5;

/// The version that is rolled out, which this one follows on.
fn held_up(governor: &Governor, at_once: bool) -> Result<Option<u64>, String> {
    match governor.standing().rollout.map(|rollout| rollout.n) {
        Some(n) if !at_once => Err(said(GovernanceError::RollingOut(n))),
        over => Ok(over),
    }
}

/// How long all steps last together, for people.
fn lasting(stages: &Stages) -> String {
    let steps = u32::try_from(stages.canary.len()).unwrap_or(u32::MAX);
    let seconds = stages.shadow.saturating_add(stages.step.saturating_mul(steps)).as_secs();
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let parts = [(hours, "h"), (minutes, "m"), (rest, "s")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

fn unwritten_in_words(error: &str) -> String {
    format!(
        "; its files are not all written ({error}): until they are they are not believed, which is tried every ten seconds, and at each start"
    )
}

/// A reason that stands in the log.
fn one_line(reason: &str) -> Result<String, String> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > 1_024 || reason.chars().any(char::is_control) {
        return Err("it needs a reason, on one line of at most 1,024 bytes".to_owned());
    }
    Ok(reason.to_owned())
}
