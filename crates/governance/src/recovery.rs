//! Other keys for approvers who have lost theirs, so many that the numbers of approvals cannot be reached any more.
//!
//! A set of approvers can name keys that lie somewhere safe, and how many persons who hold one have to sign. They can do one thing: have approvers who are
//! enrolled sign with other keys. That takes two versions of the log. The first ([`Kind::Recovery`]) says what is to be, and changes nothing; the second
//! ([`Kind::Recovered`]) follows on it and on nothing else, once the delay is over by the times in the log. In between any approver can say no
//! ([`Kind::Veto`]), also with a key that is said to be lost: who has it shows that it is not. So can any change that enough approvers sign, since what
//! follows on another version follows on that one no more.

use jiff::{SignedDuration, Timestamp};

use crate::approval::{Approval, Decision};
use crate::approver::{Approver, ApproverSet, EnrolledKey, name_problem};
use crate::change::{Change, Kind};
use crate::hash::Hash;
use crate::key::PublicKey;
use crate::threshold::{Count, Need, SKEW};
use crate::version::Version;
use crate::wire::{Malformed, Parser, Writer};

/// Recovery keys that can be enrolled at once.
pub const MAX_RECOVERY_KEYS: usize = 32;
/// The shortest delay: somebody must have the time to hear of it.
pub const SHORTEST_DELAY: SignedDuration = SignedDuration::from_hours(1);
/// The longest one.
pub const LONGEST_DELAY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Fewer persons than this would be one who takes over alone.
const FEWEST: u8 = 2;

/// Who may have approvers sign with other keys, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// How many different holders have to sign. At least 2.
    pub quorum: u8,
    /// How long any approver can say no, in seconds: from [`SHORTEST_DELAY`] to [`LONGEST_DELAY`].
    pub delay_s: u64,
    /// The keys, by holder. At most [`MAX_RECOVERY_KEYS`].
    pub keys: Vec<RecoveryKey>,
}

/// A key that lies somewhere safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryKey {
    /// Who holds it: a person, or a place to which two persons have no key together. Lower case. A holder of several keys counts once.
    pub holder: String,
    /// The key.
    pub public: PublicKey,
    /// Since when it is enrolled, in microseconds since 1970.
    pub added: i64,
}

impl Recovery {
    /// These keys. They are put in order.
    ///
    /// # Errors
    /// Numbers out of their bounds, a name that is none, more keys than fit, or fewer holders than have to sign.
    pub fn new(quorum: u8, delay_s: u64, mut keys: Vec<RecoveryKey>) -> Result<Self, String> {
        keys.sort_by(|one, other| (&one.holder, one.public).cmp(&(&other.holder, other.public)));
        let recovery = Self { quorum, delay_s, keys };
        match recovery.problem() {
            Some(problem) => Err(problem),
            None => Ok(recovery),
        }
    }

    /// What is wrong with it; `None`: nothing.
    pub(crate) fn problem(&self) -> Option<String> {
        if let Some(key) = self.keys.iter().find(|key| name_problem(&key.holder).is_some()) {
            return Some(format!("`{}`: {}", key.holder.escape_debug(), name_problem(&key.holder).unwrap_or_default()));
        }
        if self.keys.len() > MAX_RECOVERY_KEYS {
            return Some(format!("at most {MAX_RECOVERY_KEYS} recovery keys can be enrolled"));
        }
        for (at, key) in self.keys.iter().enumerate() {
            if let Some(other) = self.keys.iter().skip(at.saturating_add(1)).find(|other| other.public == key.public) {
                return Some(format!(
                    "the key {} is named of {} and of {}: a key has one holder, and is named once",
                    key.public.id(),
                    key.holder,
                    other.holder
                ));
            }
        }
        let holders = self.holders();
        if self.quorum < FEWEST || usize::from(self.quorum) > holders {
            return Some(format!(
                "the quorum is {FEWEST} to the number of different holders ({holders}): one alone must not take over, and more cannot sign"
            ));
        }
        let (shortest, longest) = (SHORTEST_DELAY.as_secs(), LONGEST_DELAY.as_secs());
        if !i64::try_from(self.delay_s).is_ok_and(|delay| (shortest..=longest).contains(&delay)) {
            return Some(format!(
                "the delay is {} hour to {} days: somebody must have the time to say no",
                shortest / 3_600,
                longest / 86_400
            ));
        }
        None
    }

    /// How many different persons or places hold a key.
    pub fn holders(&self) -> usize {
        let mut holders: Vec<&str> = self.keys.iter().map(|key| key.holder.as_str()).collect();
        holders.sort_unstable();
        holders.dedup();
        holders.len()
    }

    /// Whose recovery key this is.
    pub fn holder(&self, public: &PublicKey) -> Option<&RecoveryKey> {
        self.keys.iter().find(|key| key.public == *public)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.byte(self.quorum);
        writer.number(self.delay_s);
        writer.list(&self.keys, |writer, key| {
            writer.text(&key.holder);
            writer.fixed(&key.public.0);
            writer.time(key.added);
        });
    }

    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        let recovery = Self {
            quorum: parser.byte()?,
            delay_s: parser.number()?,
            keys: parser.list(MAX_RECOVERY_KEYS, |parser| {
                let holder = parser.text()?;
                let public = PublicKey::from_bytes(parser.array()?).map_err(|_| Malformed)?;
                Ok(RecoveryKey { holder, public, added: parser.time()? })
            })?,
        };
        let in_order =
            recovery.keys.is_sorted_by(|one, other| (&one.holder, one.public) < (&other.holder, other.public));
        if in_order && recovery.problem().is_none() { Ok(recovery) } else { Err(Malformed) }
    }
}

impl ApproverSet {
    /// The set in which these persons sign with these keys, and with none that they had.
    ///
    /// # Errors
    /// Nobody is named, somebody who is not enrolled, or a key that cannot be enrolled.
    pub fn with_keys_replaced(&self, keys: &[(String, PublicKey)], now: Timestamp) -> Result<Self, String> {
        if keys.is_empty() {
            return Err("name whose keys are replaced, and by which".to_owned());
        }
        let mut set = self.clone();
        let persons: std::collections::BTreeSet<String> =
            keys.iter().map(|(person, _)| person.to_ascii_lowercase()).collect();
        for person in &persons {
            let Some(approver) = set.approvers.iter().find(|approver| approver.person == *person) else {
                return Err(format!("`{}` is not enrolled: a recovery gives nobody a voice", person.escape_debug()));
            };
            if !approver.is_active() {
                return Err(format!(
                    "all keys of `{}` were revoked, and who was dismissed does not come back by a recovery: enrol a key with `portcullis approver add`",
                    person.escape_debug()
                ));
            }
            set.revoke(person, None, now)?;
        }
        for (person, key) in keys {
            set.add(person, &[], *key, now)?;
        }
        Ok(set)
    }

    /// Whose keys are replaced in a set that follows on another one by a recovery; `None`: it is no such set. Nobody comes, nobody goes, nobody is called otherwise,
    /// the recovery keys stay, and of whoever signs with another key every earlier one is revoked.
    pub fn replaced_since(&self, before: &Self) -> Option<Vec<String>> {
        if self.recovery != before.recovery || self.approvers.len() != before.approvers.len() || !self.keeps(before) {
            return None;
        }
        let mut replaced = Vec::new();
        for (old, new) in before.approvers.iter().zip(&self.approvers) {
            if (&old.person, &old.aliases) != (&new.person, &new.aliases) {
                return None;
            }
            if old != new {
                is_replaced(old, new).then(|| replaced.push(new.person.clone()))?;
            }
        }
        (!replaced.is_empty()).then_some(replaced)
    }
}

/// Whether a person who approves signs with other keys, and with none of before. Whoever was dismissed does not come back so.
fn is_replaced(old: &Approver, new: &Approver) -> bool {
    let was = |public: &PublicKey| old.keys.iter().any(|key| key.public == *public);
    let (earlier, later): (Vec<&EnrolledKey>, Vec<&EnrolledKey>) = new.keys.iter().partition(|key| was(&key.public));
    old.is_active()
        && earlier.iter().all(|key| key.revoked.is_some())
        && !later.is_empty()
        && later.iter().all(|key| key.revoked.is_none())
}

/// A recovery that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovering {
    /// The version with which it began.
    pub n: u64,
    /// Whose keys are replaced.
    pub persons: Vec<String>,
    /// From when on it can be ended, in microseconds since 1970: until then any approver can say no, and after that, too, until it is.
    pub due: i64,
    /// When it cannot be ended any more.
    pub lapses: i64,
}

/// When a recovery that began with this version can be ended, from and to, in microseconds since 1970.
pub(crate) fn window(begun: &Version, recovery: &Recovery) -> (i64, i64) {
    let micros = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let due = begun.time.saturating_add(micros(recovery.delay_s));
    (due, due.saturating_add(micros(begun.rules().proposal_ttl_s)))
}

/// Whose voice an approval of a recovery is, and whether it is one for it.
pub(crate) fn voice(
    change: &Change,
    approval: &Approval,
    set: &ApproverSet,
    now: Timestamp,
) -> Option<(String, Decision)> {
    let within = |added: i64, ends: i64| {
        let skew = i64::try_from(SKEW.as_micros()).unwrap_or(0);
        let begins = change.created.max(added).saturating_sub(skew);
        (begins..=ends.min(now.as_microsecond().saturating_add(skew))).contains(&approval.signed)
    };
    match approval.decision {
        Decision::Approve => {
            let key = set.recovery.as_ref()?.holder(&approval.key)?;
            let names = set.approvers.iter().find(|approver| approver.is_called(&key.holder));
            let is_author = change.authors.iter().any(|author| {
                author.eq_ignore_ascii_case(&key.holder) || names.is_some_and(|approver| approver.is_called(author))
            });
            (!is_author && within(key.added, change.expires)).then(|| (key.holder.clone(), Decision::Approve))
        }
        // No time is over for a no.
        Decision::Reject => {
            let (approver, key) = set.owner(&approval.key)?;
            within(key.added, i64::MAX).then(|| (approver.person.clone(), Decision::Reject))
        }
    }
}

/// Whether a version that is a part of a recovery may follow on the one before it; the error is what is wrong.
pub(crate) fn follows(
    before: Option<&Version>,
    version: &Version,
    [old, new]: [&ApproverSet; 2],
) -> Result<(), String> {
    let (change, Some(before)) = (&version.change, before) else {
        return Err("there was nothing before that it could recover".to_owned());
    };
    let rules = before.rules();
    let (Some(recovery), true) = (&old.recovery, rules.required) else {
        return Err("no keys were enrolled by which anything could be recovered".to_owned());
    };
    let same = (change.content, change.governed, change.rules)
        == (before.change.content, before.change.governed, before.change.rules);
    if !same {
        return Err("a recovery changes nothing but keys of approvers".to_owned());
    }
    if version.time < before.time {
        return Err("it is older than the version before it".to_owned());
    }
    let time = Timestamp::from_microsecond(version.time).map_err(|_| "its time is none".to_owned())?;
    let begun = || match before.change.kind {
        Kind::Recovery => Ok(&before.change),
        _ => Err("no recovery began with the version before it".to_owned()),
    };
    match change.kind {
        Kind::Recovery if new != old || change.recovers.is_none() => Err("it changes the approvers at once".to_owned()),
        Kind::Recovery if change.has_expired(time) => Err("its time was over".to_owned()),
        Kind::Recovery => Count::of(version.instance, change, &version.approvals, [old, new], time)
            .meets(Need::of_recovery(recovery))
            .map_err(|shortfall| shortfall.to_string()),
        Kind::Recovered => {
            let (due, lapses) = window(before, recovery);
            if change.approvers != begun()?.recovers {
                return Err("the approvers are others than those that were signed".to_owned());
            }
            if new.replaced_since(old).is_none() {
                return Err("it replaces more than keys of approvers".to_owned());
            }
            match (due..lapses).contains(&version.time) {
                true => Ok(()),
                false => Err("it was ended before its delay was over, or after its time".to_owned()),
            }
        }
        Kind::Veto => {
            let begun = begun()?;
            let is_no = |approval: &Approval| {
                approval.is_valid(version.instance, begun)
                    && matches!(voice(begun, approval, old, time), Some((_, Decision::Reject)))
            };
            match new == old && version.approvals.iter().any(is_no) {
                true => Ok(()),
                false => Err("nobody who approves has said no".to_owned()),
            }
        }
        Kind::Change
        | Kind::Rollback
        | Kind::Feed
        | Kind::Calibration
        | Kind::BreakGlass
        | Kind::Keys
        | Kind::Revert
        | Kind::Undo => Err("it is no part of a recovery".to_owned()),
    }
}

/// The hash of the approvers that a change leads to; of a recovery not at once.
pub(crate) fn means(change: &Change) -> Hash {
    if change.recovers.is_none() { change.approvers } else { change.recovers }
}
