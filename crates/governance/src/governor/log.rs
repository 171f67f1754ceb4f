//! Opening the log: it is held to its chain, to the signatures in it, and to the head file.

use jiff::{SignedDuration, Timestamp};

use super::{Governor, PolicySource, decode_content};
use crate::approver::ApproverSet;
use crate::change::{Change, Kind};
use crate::content::Content;
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::head::{Head, HeadPlace};
use crate::ledger::Ledger;
use crate::recovery;
use crate::request::{Base, Request};
use crate::steps::Steps;
use crate::threshold::{Count, Need};
use crate::version::Version;

/// A beginning that was cut off is finished within so long. An old store whose head file was taken away would else be taken for one.
const CUT_OFF: SignedDuration = SignedDuration::from_hours(24);

impl Governor {
    /// Opens the log. `pinned`: the gateway is to run governed, and where an instance is named, as that one. Returns also what happened on the
    /// way that an operator should know, a sentence each.
    ///
    /// # Errors
    /// The store or the head file is not what it was, and approvals are required; or it cannot be read.
    pub fn open(
        ledger: Box<dyn Ledger + Send>,
        head: Box<dyn HeadPlace + Send>,
        source: Box<dyn PolicySource + Send>,
        pinned: Option<Option<Hash>>,
    ) -> Result<(Self, Vec<String>), GovernanceError> {
        let (mut governor, Read { known, steps, mut remarks }) = Self::read_log(ledger, head, source)?;
        governor.check_pin(pinned)?;
        governor.list_revocations()?;
        governor.bring_forward(known, &mut remarks)?;
        governor.note_steps(steps)?;
        Ok((governor, remarks))
    }

    /// Opens the log to look at it, held to all that [`Self::open`] holds it to: nothing is written, neither to the store nor beside it. What is asked of it
    /// must not change anything.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn look(
        ledger: Box<dyn Ledger + Send>,
        head: Box<dyn HeadPlace + Send>,
        source: Box<dyn PolicySource + Send>,
    ) -> Result<(Self, Vec<String>), GovernanceError> {
        Self::read_log(ledger, head, source).map(|(governor, read)| (governor, read.remarks))
    }

    /// Reads the log, and holds it to everything but what it is to be by whoever starts.
    fn read_log(
        ledger: Box<dyn Ledger + Send>,
        head: Box<dyn HeadPlace + Send>,
        source: Box<dyn PolicySource + Send>,
    ) -> Result<(Self, Read), GovernanceError> {
        let last = ledger.last()?.map(|(n, record)| read(n, &record)).transpose()?;
        let required = last.as_ref().is_some_and(|last| last.rules().required);
        let known = head.read()?;
        let mut remarks = Vec::new();
        let found = last.as_ref().map_or(0, |last| last.n);
        let from = match known {
            None if required => return Err(GovernanceError::HeadMissing { found }),
            None => 0,
            Some(known) => match is_there(&*ledger, &known)? {
                true => known.n,
                false if known.required || required => {
                    let found = if found == 0 { "none".to_owned() } else { format!("{found}, or another one") };
                    return Err(GovernanceError::Downgraded { head: known.n, found });
                }
                false => {
                    remarks.push(format!(
                        "the store is another one than before, with {found} versions: the head file knew version {}",
                        known.n
                    ));
                    0
                }
            },
        };
        let approvers = ApproverSet::default();
        let mut governor = Self {
            ledger,
            head,
            source,
            last,
            approvers,
            rollout: None,
            kept: None,
            heard: None,
            unknown: None,
            told: 0,
        };
        let steps = governor.head.steps()?;
        let strict = required || known.is_some_and(|known| known.required);
        governor.read_rollout(steps, strict, &mut remarks)?;
        governor.approvers = match &governor.last {
            Some(last) => governor.set_of(&last.change)?,
            None => ApproverSet::default(),
        };
        governor.read_heard(from)?;
        remarks.extend(governor.unknown_recovery());
        // Where anything is demanded, all of it is verified; where nothing is, what the head file does not know yet.
        governor.verify(if strict { 1 } else { from.max(1) })?;
        governor.verify_unknown(from, steps)?;
        governor.hold_to_revocations(&mut remarks)?;
        Ok((governor, Read { known, steps, remarks }))
    }

    /// Writes the head file of a log in which governance has just begun, where the process ended before it was written. An operator says so, since
    /// a start cannot tell that from a file that was taken away. Nor could an operator of a store from long ago.
    ///
    /// # Errors
    /// There is a head file, or the last version is not the one that begins governance, or not of the last day.
    pub fn finish_beginning(
        ledger: &dyn Ledger,
        head: &mut dyn HeadPlace,
        now: Timestamp,
    ) -> Result<(), GovernanceError> {
        let last = ledger.last()?.map(|(n, record)| read(n, &record)).transpose()?;
        let is_recent = |version: &Version| {
            let age = now.as_microsecond().saturating_sub(version.time);
            age < i64::try_from(CUT_OFF.as_micros()).unwrap_or(i64::MAX)
        };
        match last {
            Some(last)
                if last.begins_governance() && is_recent(&last) && head.read()?.is_none_or(|known| !known.required) =>
            {
                head.write(Head { n: last.n, hash: last.hash(), required: last.rules().required })
            }
            _ => Err(GovernanceError::Unknown(
                "beginning of governance that was cut off within the last day: restore a backup".to_owned(),
            )),
        }
    }

    /// Takes up what another process appended, held to all that it would be held to at a start, and how far the last version has come.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be: what was known before is known still.
    pub(crate) fn catch_up(&mut self) -> Result<(), GovernanceError> {
        let before = (self.last.clone(), self.approvers.clone(), self.rollout, self.kept.clone());
        let taken = self.take_up();
        if taken.is_err() {
            (self.last, self.approvers, self.rollout, self.kept) = before;
        }
        taken
    }

    fn take_up(&mut self) -> Result<(), GovernanceError> {
        let changed = |n| GovernanceError::Broken { n, why: "the store was changed meanwhile".to_owned() };
        let last = self.ledger.last()?.map(|(n, record)| read(n, &record)).transpose()?;
        // What was known is where it was: what comes after it is held to it.
        if let Some(known) = &self.last
            && self.ledger.record(known.n)?.is_none_or(|record| Hash::of(&record) != known.hash())
        {
            return Err(changed(known.n));
        }
        let (known, steps) = (self.n(), self.head.steps()?);
        // The other process tells what it does.
        if let Some(remark) = self.read_again()? {
            tracing::warn!("{remark}");
        }
        let mut strict = self.is_required();
        let mut remarks = Vec::new();
        if let Some(last) = last.filter(|last| last.n > known) {
            let set = self.set_of(&last.change)?;
            self.last = Some(last);
            self.verify(known.saturating_add(1))?;
            // The other process wrote the head file behind its version.
            let vouched = match self.head.read()? {
                Some(head) if head.n > known && is_there(&*self.ledger, &head)? => head.n,
                Some(_) | None => known,
            };
            self.verify_unknown(vouched, steps)?;
            let told = self.heard.map_or(0, |heard| heard.told);
            self.told = self.told.max(told.min(self.n()));
            self.approvers = set;
            self.hold_to_revocations(&mut remarks)?;
            self.list_revocations()?;
            strict |= self.is_required();
        }
        self.read_rollout(steps, strict, &mut remarks)
    }

    fn check_pin(&self, pinned: Option<Option<Hash>>) -> Result<(), GovernanceError> {
        let Some(wanted) = pinned else { return Ok(()) };
        if !self.is_required() {
            return Err(GovernanceError::NotGoverned);
        }
        match wanted {
            Some(wanted) if wanted != self.instance() => {
                Err(GovernanceError::WrongInstance { wanted, found: self.instance() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The process may have ended between the store and the file.
    fn bring_forward(&mut self, known: Option<Head>, remarks: &mut Vec<String>) -> Result<(), GovernanceError> {
        let Some(last) = &self.last else { return Ok(()) };
        let head = Head { n: last.n, hash: last.hash(), required: last.rules().required };
        if known == Some(head) {
            return Ok(());
        }
        if known.is_some_and(|known| known.n < head.n) {
            remarks.push(format!(
                "version {} is in the store and approved, and the head file did not know it yet",
                head.n
            ));
        }
        self.head.write(head)
    }

    /// Holds the versions from this one on to the chain, to the approvers and rules of their time, and to the signatures.
    ///
    /// # Errors
    /// The first that is not what it should be.
    pub fn verify(&self, from: u64) -> Result<(), GovernanceError> {
        let from = from.max(1);
        let mut before = match from {
            1 => None,
            n => Some(self.version(n - 1)?),
        };
        let mut earlier = match from {
            1 | 2 => None,
            n => Some(self.version(n - 2)?),
        };
        // What a version takes back is the one before the last, which nothing else is held to here.
        if let (Some(earlier), Some(before)) = (&earlier, &before)
            && before.prev != earlier.hash()
        {
            let why = "it does not follow on the one before it".to_owned();
            return Err(GovernanceError::Broken { n: before.n, why });
        }
        let mut set = match &before {
            Some(before) => self.set_of(&before.change)?,
            None => ApproverSet::default(),
        };
        let last = self.last.as_ref().map_or(0, |last| last.n);
        for n in from..=last {
            let version = self.version(n)?;
            let new = match version.change.approvers == set.hash() {
                true => set.clone(),
                false => self.set_of(&version.change)?,
            };
            follows([earlier.as_ref(), before.as_ref()], &version, [&set, &new])
                .map_err(|why| GovernanceError::Broken { n, why })?;
            (earlier, before, set) = (before, Some(version), new);
        }
        match (&before, &self.last) {
            (Some(before), Some(last)) if before != last => {
                Err(GovernanceError::Broken { n: last.n, why: "the store was changed meanwhile".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The same, and the files of all versions, too. Returns how many there are.
    ///
    /// # Errors
    /// The first that is not what it should be.
    pub fn verify_all(&self) -> Result<u64, GovernanceError> {
        self.verify(1)?;
        let last = self.n();
        for n in 1..=last {
            let version = self.version(n)?;
            let broken = |error: GovernanceError| GovernanceError::Broken { n, why: error.to_string() };
            self.content_of(&version).map_err(broken)?;
            self.impact_of(&version.change).map_err(broken)?;
        }
        Ok(last)
    }

    /// A version by its number.
    ///
    /// # Errors
    /// There is none, or it is not what it was.
    pub fn version(&self, n: u64) -> Result<Version, GovernanceError> {
        let record = self.ledger.record(n)?.ok_or_else(|| GovernanceError::Unknown(format!("version {n}")))?;
        read(n, &record)
    }

    /// The files of a version.
    ///
    /// # Errors
    /// They are not there, or not what they were.
    pub fn content_of(&self, version: &Version) -> Result<Content, GovernanceError> {
        decode_content(&self.blob(version.change.content)?)
    }

    /// The files of a change.
    ///
    /// # Errors
    /// They are not there, or not what they were.
    pub fn content_of_change(&self, change: &Change) -> Result<Content, GovernanceError> {
        decode_content(&self.blob(change.content)?)
    }

    /// What goes to another machine to be signed there: the change, and all that its hashes are of.
    ///
    /// # Errors
    /// A part is not there, or not what it was.
    pub fn request(&self, change: Change) -> Result<Request, GovernanceError> {
        let base = match change.base_n {
            0 => None,
            n => {
                let version = self.version(n)?;
                let (content, approvers) = (self.content_of(&version)?, self.set_of(&version.change)?);
                Some(Base { version, content, approvers })
            }
        };
        let id = change.id.short();
        Ok(Request {
            instance: self.instance(),
            content: still_kept(self.content_of_change(&change), &id)?,
            base,
            approvers: still_kept(self.set_meant(&change), &id)?,
            impact: still_kept(self.impact_of(&change), &id)?,
            change,
        })
    }

    /// The report on the impact of a change; empty where nobody looked.
    ///
    /// # Errors
    /// It is not there, or not what it was.
    pub fn impact_of(&self, change: &Change) -> Result<Vec<u8>, GovernanceError> {
        if change.impact.is_none() { Ok(Vec::new()) } else { self.blob(change.impact) }
    }

    /// The approvers after a change.
    ///
    /// # Errors
    /// They are not there, or not what they were.
    pub fn approvers_of(&self, change: &Change) -> Result<ApproverSet, GovernanceError> {
        self.set_of(change)
    }

    /// The approvers that a change leads to: of a recovery once its delay is over, else at once.
    pub(super) fn set_meant(&self, change: &Change) -> Result<ApproverSet, GovernanceError> {
        if change.recovers.is_none() { self.set_of(change) } else { self.decoded_set(change.recovers) }
    }

    /// The approvers after a change.
    pub(super) fn set_of(&self, change: &Change) -> Result<ApproverSet, GovernanceError> {
        if change.approvers.is_none() {
            return Ok(ApproverSet::default());
        }
        if change.approvers == self.approvers.hash() {
            return Ok(self.approvers.clone());
        }
        self.decoded_set(change.approvers)
    }

    fn decoded_set(&self, hash: Hash) -> Result<ApproverSet, GovernanceError> {
        let bytes = self.blob(hash)?;
        ApproverSet::decode(&bytes).map_err(|error| GovernanceError::Invalid(format!("the approvers: {error}")))
    }

    /// Bytes of the store, held to their hash.
    pub(super) fn blob(&self, hash: Hash) -> Result<Vec<u8>, GovernanceError> {
        let bytes =
            self.ledger.blob(hash)?.ok_or_else(|| GovernanceError::Unknown(format!("content {}", hash.short())))?;
        if Hash::of(&bytes) == hash {
            Ok(bytes)
        } else {
            Err(GovernanceError::Invalid(format!("the content {} is not what it was", hash.short())))
        }
    }

    /// Ends it, so that another one can be opened on the same store.
    pub fn into_parts(self) -> (Box<dyn Ledger + Send>, Box<dyn HeadPlace + Send>) {
        (self.ledger, self.head)
    }
}

/// A part of a change, or whose it was: of what ended long ago not all is kept.
fn still_kept<T>(part: Result<T, GovernanceError>, id: &str) -> Result<T, GovernanceError> {
    part.map_err(|error| match error {
        GovernanceError::Unknown(what) => GovernanceError::Unknown(format!(
            "{what} any more, which change {id} is of: of changes that ended, files are kept of those that became live, and of the last that were overtaken"
        )),
        other => other,
    })
}

/// What a log was read with.
struct Read {
    /// What the head file says.
    known: Option<Head>,
    /// What is beside the store of the steps.
    steps: Option<Steps>,
    /// What an operator should know, a sentence each.
    remarks: Vec<String>,
}

/// Whether what the head file says is in the log.
fn is_there(ledger: &dyn Ledger, head: &Head) -> Result<bool, GovernanceError> {
    let record = ledger.record(head.n)?;
    Ok(record.is_some_and(|record| Hash::of(&record) == head.hash))
}

fn read(n: u64, record: &[u8]) -> Result<Version, GovernanceError> {
    let version = Version::decode(record).map_err(|error| GovernanceError::Broken { n, why: error.to_string() })?;
    if version.n == n {
        Ok(version)
    } else {
        Err(GovernanceError::Broken { n, why: format!("it says that it is {}", version.n) })
    }
}

/// Whether a version may follow on the two before it; the error is what is wrong.
pub(crate) fn follows(
    [earlier, before]: [Option<&Version>; 2],
    version: &Version,
    [old, new]: [&ApproverSet; 2],
) -> Result<(), String> {
    let (n, prev) = before.map_or((0, Hash::NONE), |before| (before.n, before.hash()));
    let change = &version.change;
    if version.n != n + 1 || version.prev != prev {
        return Err("it does not follow on the one before it".to_owned());
    }
    if (change.base_n, change.base) != (n, prev) {
        return Err("it was proposed for another version".to_owned());
    }
    if version.instance != before.map_or(Hash::NONE, Version::instance_after) {
        return Err("it belongs to another gateway".to_owned());
    }
    if !new.keeps(old) {
        return Err("an approver or a key is gone, or came back".to_owned());
    }
    if new != old {
        let content = before.map(|before| before.change.content);
        let begins = old.is_empty();
        if !matches!(change.kind, Kind::Keys | Kind::Recovered) || !(begins || content == Some(change.content)) {
            return Err("other approvers came with another change".to_owned());
        }
    }
    match change.kind {
        Kind::Revert => return takes_back([earlier, before], version),
        Kind::Recovery | Kind::Recovered | Kind::Veto => return recovery::follows(before, version, [old, new]),
        Kind::Change | Kind::Rollback | Kind::Feed | Kind::Calibration | Kind::BreakGlass | Kind::Keys | Kind::Undo => {
        }
    }
    let rules = before.map_or_else(Default::default, Version::rules);
    let need = Need::of(&rules, change);
    if need.old == 0 {
        return Ok(());
    }
    let time = Timestamp::from_microsecond(version.time).map_err(|_| "its time is none".to_owned())?;
    if change.has_expired(time) {
        return Err("its time was over".to_owned());
    }
    Count::of(version.instance, change, &version.approvals, [old, new], time)
        .meets(need)
        .map_err(|shortfall| shortfall.to_string())
}

/// Whether a version is the one before the last again, which is what a gateway does by itself and without being asked: what it puts in force was
/// approved, and was in force until then.
fn takes_back([earlier, before]: [Option<&Version>; 2], version: &Version) -> Result<(), String> {
    let change = &version.change;
    let (Some(earlier), Some(before)) = (earlier, before) else {
        return Err("there was nothing before that it could take back".to_owned());
    };
    let of_kind = before.change.kind.can_take_steps();
    let was = &earlier.change;
    let same = (change.content, change.governed, change.approvers, change.rules)
        == (was.content, was.governed, was.approvers, was.rules);
    if of_kind && same && change.restores == earlier.n {
        Ok(())
    } else {
        Err("it takes back something else than the version before it".to_owned())
    }
}
