//! How much there may be: of what is open, so that nobody who asks for themselves keeps operators from anything; and of the log, whose oldest entries go.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use crate::hash::Hash;
use crate::power::book::{PowerBook, PowerError};
use crate::power::entry::{Act, Asked, Entry, PowerKind};
use crate::power::state::{Power, PowerState};

/// Open of one principal at once.
const MOST_OF_ONE: usize = 16;
/// Of these it asked for so many by itself.
const MOST_OF_ONE_ITSELF: usize = 8;
/// One in so many of all that may be open, and of all entries, is for what principals ask for by themselves.
const SHARE: usize = 4;
/// One entry in so many is let go at once.
const LET_GO: usize = 5;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// The principal, by itself: it has a share of what there may be.
    Itself,
    /// An operator.
    Operator,
    /// Whoever has a code that was sealed, or a key that may. In an emergency nothing is too much.
    Emergency,
}

impl PowerBook {
    /// Whether one more may be open. What takes the place of one that is in force needs no place of its own: of each one such waits at most, so that there is never
    /// more than twice of what there may be.
    pub(super) fn check_room(&self, asked: &Asked, asker: Asker, now: Timestamp) -> Result<(), PowerError> {
        let principal = &asked.principal;
        let own = || self.placed().filter(|power| power.is_self_asked());
        let most = self.limits.most;
        let share = (most / SHARE).max(1);
        let why = match asker {
            Asker::Emergency => return Ok(()),
            Asker::Itself | Asker::Operator if !self.extended_by(asked, now).is_empty() => return Ok(()),
            Asker::Itself if own().count() >= share => {
                format!(
                    "{share} that principals asked for by themselves are in force or wait already, their share of `[access] most`"
                )
            }
            Asker::Itself if !self.has_room_of(principal) => format!("{principal} has asked for as much as it may"),
            Asker::Itself | Asker::Operator if self.placed().count() >= most => {
                format!("{most} are in force or wait already, as many as `[access] most` allows")
            }
            Asker::Operator if self.placed_of(principal).count() >= MOST_OF_ONE => {
                format!("{principal} has {MOST_OF_ONE} that are in force or wait already")
            }
            Asker::Itself | Asker::Operator => return Ok(()),
        };
        Err(PowerError::Full(why))
    }

    /// Whether a principal may ask for this by itself, for all that it has already.
    pub fn has_room_for(&self, asked: &Asked, now: Timestamp) -> bool {
        self.has_room_of(&asked.principal) || !self.extended_by(asked, now).is_empty()
    }

    fn has_room_of(&self, principal: &str) -> bool {
        let itself = || self.placed_of(principal).filter(|power| power.is_self_asked());
        self.placed_of(principal).count() < MOST_OF_ONE && itself().count() < MOST_OF_ONE_ITSELF
    }

    /// What is open, but for what waits to take the place of what is in force: that has its place there.
    fn placed(&self) -> impl Iterator<Item = &Power> {
        let activations = || self.powers.values().filter(|power| power.asked.kind == PowerKind::Activation);
        let in_force = activations().filter(|power| matches!(power.state, PowerState::InForce { .. }));
        let given: HashSet<(&str, &str)> = in_force.map(what_it_gives).collect();
        let extends = move |power: &Power| {
            power.asked.kind == PowerKind::Activation
                && matches!(power.state, PowerState::Waiting { .. })
                && given.contains(&what_it_gives(power))
        };
        self.powers.values().filter(move |power| power.state.is_open() && !extends(power))
    }

    fn placed_of<'b>(&'b self, principal: &'b str) -> impl Iterator<Item = &'b Power> {
        self.placed().filter(move |power| power.asked.principal == principal)
    }

    /// Lets old entries go where there are too many: of what is over, and reviewed. First what principals asked for by themselves, where that is more than its share;
    /// then whatever is the oldest. What is open stays, however old it is, and keeps nothing else.
    pub(super) fn make_room(&mut self, now: Timestamp) -> Result<(), PowerError> {
        if self.entries < self.limits.entries {
            return Ok(());
        }
        let all = self.entries_after(0)?;
        if all.last().map(|(entry, hash)| (entry.n, *hash)) != Some(self.last) {
            return Err(PowerError::Conflict);
        }
        let powers = self.to_let_go(&all, now);
        // What is behind the first that stays, set back or not, says until when it was.
        let first = self.powers.keys().find(|n| !powers.contains(n)).copied().unwrap_or(u64::MAX);
        let is_about_nothing = |entry: &Entry| match (&entry.act, entry.act.of(entry.n)) {
            (Act::SetBack { .. }, _) => entry.n < first,
            (_, Some(of)) => powers.contains(&of) || !self.powers.contains_key(&of),
            (_, None) => false,
        };
        let mut gone: Vec<u64> =
            all.iter().map(|(entry, _)| entry).filter(|e| is_about_nothing(e)).map(|e| e.n).collect();
        let Some(last) = gone.last().copied() else {
            let full = "the log of temporary power is full of what is in force, waits, or is not reviewed";
            return Err(PowerError::Full(full.to_owned()));
        };
        let up_to = last.max(self.forgot);
        // One that let others go before says nothing any more where this one says it.
        let is_said = |entry: &Entry| matches!(entry.act, Act::Forgot { .. }) && entry.n <= up_to;
        gone.extend(all.iter().map(|(entry, _)| entry).filter(|entry| is_said(entry)).map(|entry| entry.n));
        gone.sort_unstable();
        let stays = |n: u64| gone.binary_search(&n).is_err();
        let left = all.iter().filter(|(entry, _)| entry.n <= up_to && stays(entry.n));
        let left = Hash::of(&left.flat_map(|(_, hash)| hash.0).collect::<Vec<u8>>());
        let (n, prev) = (self.last.0.saturating_add(1), self.last.1);
        let entry = Entry { n, prev, at: now.as_microsecond(), by: Vec::new(), act: Act::Forgot { up_to, left } };
        let record = entry.encode();
        self.ledger.forget(n, &record, &gone)?;
        let own = all.iter().filter(|(entry, _)| stays(entry.n) && self.is_own(entry)).count();
        self.powers.retain(|n, _| !powers.contains(n));
        (self.entries, self.own) = (all.len().saturating_sub(gone.len()), own);
        self.take(&entry, Hash::of(&record))
    }

    fn is_own(&self, entry: &Entry) -> bool {
        let of = entry.act.of(entry.n).and_then(|of| self.powers.get(&of));
        of.is_some_and(Power::is_self_asked)
    }

    /// Powers of which all entries go.
    fn to_let_go(&self, all: &[(Entry, Hash)], now: Timestamp) -> HashSet<u64> {
        let mut entries: BTreeMap<u64, usize> = BTreeMap::new();
        for of in all.iter().filter_map(|(entry, _)| entry.act.of(entry.n)) {
            let count = entries.entry(of).or_default();
            *count = count.saturating_add(1);
        }
        let wanted = (self.limits.entries / LET_GO).max(1);
        let too_many_own = self.own.saturating_sub(self.limits.entries / SHARE);
        // By these it is known that what they were opened as was approved.
        let broken =
            self.powers.values().filter(|power| power.asked.kind == PowerKind::BreakGlass && power.is_kept(now));
        let kept: HashSet<u64> = broken.filter_map(|power| self.seal_of(power)).map(|seal| seal.n).collect();
        let mut powers = HashSet::new();
        let mut freed = 0_usize;
        for (of_own_alone, wanted) in [(true, wanted.min(too_many_own)), (false, wanted)] {
            for power in self.powers.values() {
                if freed >= wanted {
                    break;
                }
                if !power.is_kept(now)
                    && !kept.contains(&power.n)
                    && (!of_own_alone || power.is_self_asked())
                    && powers.insert(power.n)
                {
                    freed = freed.saturating_add(entries.get(&power.n).copied().unwrap_or_default());
                }
            }
        }
        powers
    }
}

/// To whom, and what.
fn what_it_gives(power: &Power) -> (&str, &str) {
    (&power.asked.principal, &power.asked.gives)
}
