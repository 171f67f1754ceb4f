//! The bans in force, and the memory of past ones that makes the next one longer.
//!
//! A ban in force is never evicted. Where the table is full of them, a new offender is not banned until one ends: it is
//! still refused by policy like everybody else, whereas evicting would let a flood of offenders free the worst one.
//! Principals have a quarter of the table for themselves, which no flood of addresses can fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use portcullis_policy::{Ban, BanScope};

use crate::actor::{Actor, Keys};
use crate::bucket::Bucket;
use crate::evidence::BanSample;
use crate::hearing::{EXCUSED_OF_ONE_ADDRESS, GUESSES_OF_ONE_ADDRESS, may_be_narrowed};
use crate::moment::{Moment, ticks};
use crate::pace::Pace;
use crate::settings::BanSettings;
use crate::table::Table;

/// A ban that began with the observation just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanNotice {
    /// Whom it is on.
    pub actor: Actor,
    /// The ban.
    pub ban: Arc<Ban>,
    /// The last requests that led to it, newest first. At most five.
    pub evidence: Vec<BanSample>,
}

/// A ban in force, for a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanEntry {
    /// Whom it is on.
    pub actor: Actor,
    /// The ban.
    pub ban: Arc<Ban>,
    /// When it began.
    pub began: Timestamp,
    /// The last requests that led to it, newest first. At most five.
    pub evidence: Arc<[BanSample]>,
}

/// A ban with what led to it.
#[derive(Debug, Clone)]
pub(crate) struct Imposed {
    pub(crate) ban: Arc<Ban>,
    pub(crate) began: Timestamp,
    pub(crate) evidence: Arc<[BanSample]>,
}

impl Imposed {
    pub(crate) fn entry(&self, actor: Actor) -> BanEntry {
        BanEntry { actor, ban: Arc::clone(&self.ban), began: self.began, evidence: Arc::clone(&self.evidence) }
    }
}

/// The bans on addresses, or those on principals.
#[derive(Debug)]
pub(crate) struct BanTable {
    table: Table<BanRecord>,
    /// The latest end of any ban there ever was, in microseconds: from then on nobody is looked up.
    latest_end: AtomicI64,
    /// The table is full of bans in force until this, in microseconds: before that, room is not sought again.
    full_until: AtomicI64,
}

#[derive(Debug)]
struct BanRecord {
    actor: Actor,
    ban: ArcSwapOption<Imposed>,
    /// The end of the last ban in microseconds.
    end: AtomicI64,
    offences: Bucket,
    /// Credentials that were looked at in spite of the ban and failed as guesses do.
    guesses: Pace,
    /// Others that led to nothing.
    excused: Pace,
}

/// The ban to start.
#[derive(Debug)]
pub(crate) struct Sentence {
    pub(crate) actor: Actor,
    pub(crate) key: u64,
    pub(crate) scope: BanScope,
    pub(crate) cause: String,
    pub(crate) simulated: bool,
}

/// What came of a sentence.
#[derive(Debug)]
pub(crate) enum Started {
    /// The ban begins.
    New(Arc<Imposed>),
    /// One is in force already.
    InForce,
    /// The table is full of bans in force.
    NoRoom,
}

impl BanTable {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            table: Table::exhaustive(bound),
            latest_end: AtomicI64::new(i64::MIN),
            full_until: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether any ban can be in force: one atomic load.
    pub(crate) fn any(&self, now: Moment) -> bool {
        now.micros < self.latest_end.load(Ordering::Acquire)
    }

    pub(crate) fn in_force(&self, key: u64, now: Moment) -> Option<Arc<Ban>> {
        self.table.with(key, |record| record.in_force(now)).flatten()
    }

    /// `evidence` is asked for what led to the ban, where it begins.
    pub(crate) fn start(
        &self,
        sentence: Sentence,
        evidence: impl FnOnce() -> Vec<BanSample>,
        settings: &BanSettings,
        keys: &Keys,
        now: Moment,
    ) -> Started {
        let key = sentence.key;
        if now.micros < self.full_until.load(Ordering::Relaxed) && self.table.with(key, |_| ()).is_none() {
            return Started::NoRoom;
        }
        let make = || BanRecord::new(sentence.actor.clone());
        let started = self.table.with_or_insert(
            key,
            make,
            |record| record.worth(now),
            |record| record.start(&sentence, evidence, settings, keys, now),
        );
        match started {
            Some(Some(imposed)) => {
                self.latest_end.fetch_max(imposed.ban.until.as_microsecond(), Ordering::AcqRel);
                self.table.mark(key);
                Started::New(imposed)
            }
            Some(None) => Started::InForce,
            None => {
                self.full_until.store(self.soonest_end(), Ordering::Relaxed);
                Started::NoRoom
            }
        }
    }

    /// Puts a ban in force whatever was there before, an ordinary end of it aside: a ban by hand. `None`: the table is full of
    /// bans in force.
    pub(crate) fn impose(&self, actor: &Actor, key: u64, imposed: Imposed, now: Moment) -> Option<()> {
        let make = || BanRecord::new(actor.clone());
        let until = imposed.ban.until.as_microsecond();
        self.table.with_or_insert(key, make, |record| record.worth(now), |record| record.impose(imposed))?;
        self.latest_end.fetch_max(until, Ordering::AcqRel);
        self.table.mark(key);
        Some(())
    }

    /// Puts back what was kept of an actor: its last ban, also one that has ended, and its past offences. What has come since is
    /// newer, and stays. Nobody makes room: those that end last are put back first. Says whether there was room.
    pub(crate) fn restore(&self, actor: Actor, key: u64, imposed: Imposed, past: (f64, u64), now: Moment) -> bool {
        let until = imposed.ban.until.as_microsecond();
        if self.table.len() >= self.table.bound() && self.table.with(key, |_| ()).is_none() {
            return false;
        }
        let make = || BanRecord {
            actor,
            end: AtomicI64::new(until),
            ban: ArcSwapOption::from_pointee(imposed),
            offences: Bucket::of_parts(past.0, past.1),
            guesses: Pace::default(),
            excused: Pace::default(),
        };
        let room = self.table.with_or_insert(key, make, |record| record.worth(now), |_| ()).is_some();
        if room {
            self.latest_end.fetch_max(until, Ordering::AcqRel);
        }
        room
    }

    /// Whether a credential is looked at while this is banned: few have led to nothing of late.
    pub(crate) fn hears(&self, key: u64, now: Moment) -> bool {
        let hears = |record: &BanRecord| {
            record.in_force(now).is_some()
                && record.guesses.has_room(GUESSES_OF_ONE_ADDRESS, now.micros)
                && record.excused.has_room(EXCUSED_OF_ONE_ADDRESS, now.micros)
        };
        self.table.with(key, hears) == Some(true)
    }

    /// A credential was looked at, and failed as guesses do.
    pub(crate) fn heard_in_vain(&self, key: u64, now: Moment) {
        self.table.with(key, |record| record.guesses.note(GUESSES_OF_ONE_ADDRESS, now.micros));
    }

    /// A credential was looked at, and led to nothing.
    pub(crate) fn heard_an_excuse(&self, key: u64, now: Moment) {
        self.table.with(key, |record| record.excused.note(EXCUSED_OF_ONE_ADDRESS, now.micros));
    }

    /// Makes a ban of a whole address, if it is of the gateway's own making, one of its anonymous traffic. Says whether it was one.
    pub(crate) fn narrow(&self, key: u64, now: Moment) -> bool {
        let narrowed = self.table.with(key, |record| record.narrow(now)) == Some(true);
        if narrowed {
            self.table.mark(key);
        }
        narrowed
    }

    /// Shows what has changed, about `most` records of it; says whether there is more.
    pub(crate) fn take_changed(&self, most: usize, mut show: impl FnMut(&Actor, &Imposed, (f64, u64))) -> bool {
        self.table.take_marked(most, |_, record| {
            // One that is just being made is marked again when it is.
            if let Some(imposed) = record.ban.load_full() {
                show(&record.actor, &imposed, record.offences.parts());
            }
        })
    }

    /// Shows the record of one actor, where there is one.
    pub(crate) fn show(&self, key: u64, show: impl FnOnce(&Actor, &Imposed, (f64, u64))) {
        self.table.with(key, |record| {
            if let Some(imposed) = record.ban.load_full() {
                show(&record.actor, &imposed, record.offences.parts());
            }
        });
    }

    pub(crate) fn mark_all(&self) {
        self.table.mark_all();
    }

    pub(crate) fn marked(&self) -> usize {
        self.table.marked()
    }

    pub(crate) fn bound(&self) -> usize {
        self.table.bound()
    }

    pub(crate) fn take_marks(&self) {
        self.table.take_marks();
    }

    /// Has this table asked until then, for bans that are kept elsewhere.
    pub(crate) fn ask_until(&self, end: Timestamp) {
        self.latest_end.fetch_max(end.as_microsecond(), Ordering::AcqRel);
    }

    /// Ends the ban and forgets the offences; says whether there was anything to forget.
    pub(crate) fn lift(&self, key: u64) -> bool {
        let lifted = self.table.remove(key);
        if lifted {
            self.full_until.store(i64::MIN, Ordering::Relaxed);
        }
        lifted
    }

    pub(crate) fn active(&self, now: Moment) -> usize {
        let mut active = 0;
        if self.any(now) {
            self.table.for_each(|record| active += usize::from(now.micros < record.end.load(Ordering::Acquire)));
        }
        active
    }

    /// The past offences of an actor, faded, and about how long the next ban would be; `None` where nothing is known of it.
    pub(crate) fn outlook(&self, key: u64, settings: &BanSettings, now: Moment) -> Option<(f64, Duration)> {
        let past = self.table.with(key, |record| record.offences.level(ticks(settings.forget_half), now.ticks))?;
        // Without the jitter, which nobody is to foretell.
        let end = end_of_ban(settings, ordinal(past), 100, now);
        Some((past, end.duration_since(now.time()).unsigned_abs()))
    }

    /// How many bans in force are such.
    pub(crate) fn count(&self, now: Moment, is_such: impl Fn(&Ban) -> bool) -> usize {
        let mut count = 0;
        if self.any(now) {
            self.table.for_each(|record| count += usize::from(record.in_force(now).is_some_and(|ban| is_such(&ban))));
        }
        count
    }

    pub(crate) fn list(&self, entries: &mut Vec<BanEntry>, now: Moment) {
        self.table.for_each(|record| {
            if let Some(imposed) = record.imposed(now) {
                entries.push(imposed.entry(record.actor.clone()));
            }
        });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn soonest_end(&self) -> i64 {
        let mut soonest = i64::MAX;
        self.table.for_each(|record| soonest = soonest.min(record.end.load(Ordering::Acquire)));
        soonest
    }
}

impl BanRecord {
    fn new(actor: Actor) -> Self {
        Self {
            actor,
            ban: ArcSwapOption::empty(),
            end: AtomicI64::new(i64::MIN),
            offences: Bucket::default(),
            guesses: Pace::default(),
            excused: Pace::default(),
        }
    }

    fn in_force(&self, now: Moment) -> Option<Arc<Ban>> {
        self.imposed(now).map(|imposed| Arc::clone(&imposed.ban))
    }

    fn imposed(&self, now: Moment) -> Option<Arc<Imposed>> {
        if now.micros >= self.end.load(Ordering::Acquire) {
            return None;
        }
        // The end is set before the ban is: for that instant the old ban, which has ended, is still here.
        self.ban.load_full().filter(|imposed| now.micros < imposed.ban.until.as_microsecond())
    }

    /// `None` where a ban is in force already. Of several threads, one starts the ban.
    fn start(
        &self,
        sentence: &Sentence,
        evidence: impl FnOnce() -> Vec<BanSample>,
        settings: &BanSettings,
        keys: &Keys,
        now: Moment,
    ) -> Option<Arc<Imposed>> {
        let end = self.end.load(Ordering::Acquire);
        if now.micros < end {
            return None;
        }
        let half = ticks(settings.forget_half);
        let offences = ordinal(self.offences.level(half, now.ticks));
        let until = end_of_ban(settings, offences, keys.jitter(sentence.key, offences), now);
        self.end.compare_exchange(end, until.as_microsecond(), Ordering::AcqRel, Ordering::Acquire).ok()?;
        self.offences.pour(1.0, half, now.ticks);
        let cause = sentence.cause.as_str().into();
        let ban = Arc::new(Ban { scope: sentence.scope, until, offences, cause, simulated: sentence.simulated });
        let imposed = Arc::new(Imposed { ban, began: now.time(), evidence: evidence().into() });
        self.ban.store(Some(Arc::clone(&imposed)));
        Some(imposed)
    }

    /// A ban that takes its place meanwhile stays as it is.
    fn narrow(&self, now: Moment) -> bool {
        let Some(current) = self.imposed(now).filter(|imposed| may_be_narrowed(&imposed.ban)) else { return false };
        let ban = Arc::new(Ban { scope: BanScope::Anonymous, ..Ban::clone(&current.ban) });
        let narrowed = Arc::new(Imposed { ban, ..Imposed::clone(&current) });
        let before = self.ban.compare_and_swap(&Some(Arc::clone(&current)), Some(narrowed));
        before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &current))
    }

    fn impose(&self, imposed: Imposed) {
        let until = imposed.ban.until.as_microsecond();
        // For an instant the end is not that of the ban: whichever is earlier counts there.
        self.ban.store(Some(Arc::new(imposed)));
        self.end.store(until, Ordering::Release);
    }

    /// A ban in force must stay. Of the ended ones, that which ended first goes first.
    fn worth(&self, now: Moment) -> Option<u64> {
        let end = self.end.load(Ordering::Acquire);
        (now.micros >= end).then(|| u64::try_from(end).unwrap_or(0))
    }
}

/// The number of the next offence after a faded count of past ones. More than half an offence is still one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "levels are 0 to 16,383")]
fn ordinal(past: f64) -> u32 {
    (past - 0.5).ceil().max(0.0) as u32 + 1
}

/// first · factor^(n−1), ±10 % so that bans which began together do not end together, at most `longest`.
fn end_of_ban(settings: &BanSettings, offences: u32, jitter: u64, now: Moment) -> Timestamp {
    let factor = u128::from(settings.factor.max(1)).saturating_pow(offences.saturating_sub(1));
    let longest = settings.longest.as_micros();
    let base = settings.first.as_micros().saturating_mul(factor).min(longest);
    // Thousandths, from 900 to 1,100.
    let per_mille = 900 + u128::from(jitter % 201);
    let length = (base.saturating_mul(per_mille) / 1_000).min(longest);
    let end = now.micros.saturating_add(i64::try_from(length).unwrap_or(i64::MAX));
    Timestamp::from_microsecond(end).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Secret;

    #[test]
    fn more_than_half_an_offence_is_still_one() {
        let check = |past: f64, expected: u32| assert_eq!(ordinal(past), expected, "{past}");
        check(0.0, 1);
        check(0.5, 1);
        check(0.51, 2);
        check(1.0, 2);
        check(1.5, 2);
        check(16_383.0, 16_384);
    }

    #[test]
    fn the_ladder_grows_by_its_factor_to_its_top() {
        let settings = BanSettings::default();
        let now = Moment::from(Timestamp::UNIX_EPOCH);
        let check = |offences: u32, jitter: u64, seconds: u64| {
            let length = end_of_ban(&settings, offences, jitter, now).duration_since(Timestamp::UNIX_EPOCH);
            assert_eq!(length.unsigned_abs(), Duration::from_secs(seconds), "{offences}, {jitter}");
        };
        check(1, 100, 600);
        check(1, 0, 540);
        check(1, 200, 660);
        check(2, 100, 1_200);
        check(8, 100, 76_800);
        check(9, 100, 86_400);
        check(9, 200, 86_400);
        check(9, 0, 77_760);
        check(u32::MAX, 100, 86_400);
    }

    #[test]
    fn lengths_beyond_the_calendar_end_with_it() {
        let settings = BanSettings { first: Duration::MAX, longest: Duration::MAX, ..BanSettings::default() };
        assert_eq!(end_of_ban(&settings, 9, 200, Moment::from(Timestamp::UNIX_EPOCH)), Timestamp::MAX);
    }

    #[test]
    fn a_table_full_of_bans_in_force_takes_no_more_until_one_ends() {
        let (table, keys, settings) =
            (BanTable::new(3), Keys::new(Secret::from_bytes([7; 16])), BanSettings::default());
        let start = |n: u8, now: Moment| {
            let actor = Actor::address([192, 0, 2, n].into());
            let key = keys.actor(&actor);
            let sentence =
                Sentence { actor, key, scope: BanScope::Address, cause: String::from("test"), simulated: false };
            (key, table.start(sentence, Vec::new, &settings, &keys, now))
        };
        let begin = Moment::from(Timestamp::UNIX_EPOCH);
        let first = start(1, begin).0;
        let ends: Vec<i64> = [2, 3]
            .map(|n| start(n, begin))
            .into_iter()
            .map(|(key, _)| key)
            .chain([first])
            .map(|key| table.in_force(key, begin).unwrap().until.as_microsecond())
            .collect();
        for n in 4..=250 {
            assert!(matches!(start(n, begin).1, Started::NoRoom));
        }
        assert!(matches!(start(1, begin).1, Started::InForce));
        assert_eq!((table.len(), table.active(begin)), (3, 3));
        let soonest = *ends.iter().min().unwrap();
        let end = Moment::from(Timestamp::from_microsecond(soonest).unwrap());
        assert!(matches!(start(9, end).1, Started::New(_)));
        assert_eq!(table.len(), 3);
    }
}
