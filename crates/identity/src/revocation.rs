//! Credentials that count no longer, whatever they say of themselves: single tokens, API keys, and all that a principal was issued until a
//! moment.
//!
//! One list for the process, which outlives reloads. While it is empty it costs a request one atomic load; else a look into a table that is
//! replaced as a whole, so that nobody waits, and every request that begins after a change sees it. What was verified before is held to it as
//! well: it is asked after the cache of tokens.
//!
//! It does not keep itself on disk: who changes it writes the change down, too, and reads all of it back at a start.

mod asked;
mod revoked;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_policy::Spelling;

pub use asked::AHEAD;
pub use revoked::{Revocation, Revoked};
use table::{Place, TOKENS, Table};

/// How many there can be at once: of tokens, and apart from them of keys and principals. So nobody who revokes many tokens takes the place of what ends all that somebody has.
pub const MOST: usize = 50_000;

/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 128;

/// Why something is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// There are as many as there may be.
    #[error("{MOST} {0} are revoked, and there is no room for another: {1}")]
    Full(&'static str, &'static str),
}

/// All of them.
#[derive(Debug, Default)]
pub struct Revocations {
    count: AtomicUsize,
    table: ArcSwap<Table>,
    /// How the ids of principals are compared: all that are here have that form.
    spelling: ArcSwap<Spelling>,
}

impl Revocations {
    /// All that are in force, the last first.
    pub fn list(&self, now: Timestamp) -> Vec<Arc<Revocation>> {
        let mut all: Vec<_> = self.table.load().all().filter(|each| !each.is_over(now)).cloned().collect();
        all.sort_by(|a, b| b.made.cmp(&a.made).then_with(|| a.what.name().cmp(&b.what.name())));
        all
    }

    /// How many there are, those that are over and not forgotten yet included.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one of this, if it is in force.
    pub fn find(&self, what: &Revoked, now: Timestamp) -> Option<Arc<Revocation>> {
        self.find_at(self.as_compared(what).place(), now)
    }

    fn find_at(&self, place: Place<'_>, now: Timestamp) -> Option<Arc<Revocation>> {
        self.table.load().get(place).filter(|found| !found.is_over(now)).cloned()
    }

    /// The same in the form in which it is here: a principal's id as it is compared.
    pub fn as_compared(&self, what: &Revoked) -> Revoked {
        what.clone().spelled(&self.spelling.load())
    }

    /// How the ids of principals are compared.
    pub fn spelling(&self) -> Arc<Spelling> {
        self.spelling.load_full()
    }

    /// Compares the ids of principals so from now on, also of what was revoked before: however that was spelled, it stays revoked.
    pub fn respell(&self, spelling: &Spelling) {
        if **self.spelling.load() == *spelling {
            return;
        }
        self.spelling.store(Arc::new(spelling.clone()));
        self.change(|table| {
            let mut next = Table::default();
            for each in table.all() {
                let what = each.what.clone().spelled(spelling);
                next.join(Arc::new(Revocation { what, ..Revocation::clone(each) }));
            }
            *table = next;
        });
    }

    /// Whether there is room for one of this.
    ///
    /// # Errors
    /// There is none.
    pub fn has_room(&self, what: &Revoked, now: Timestamp) -> Result<(), RevokeError> {
        let has_room = self.table.load().has_room(self.as_compared(what).place(), now);
        if has_room { Ok(()) } else { Err(what.no_room()) }
    }

    /// From now on. One of the same is replaced, and never to a milder one: a principal's later moment and the later end stay.
    ///
    /// # Errors
    /// There is no room.
    pub fn add(&self, revocation: Revocation, now: Timestamp) -> Result<Arc<Revocation>, RevokeError> {
        let what = self.as_compared(&revocation.what);
        let (mut added, mut room) = (Arc::new(Revocation { what, ..revocation }), true);
        self.change(|table| {
            table.retain(|each| !each.is_past(now));
            room = table.has_room(added.what.place(), now);
            if !room {
                return;
            }
            let (kind, _) = added.what.place();
            if table.beside(kind).count() >= MOST {
                table.retain(|each| !each.is_over(now));
            }
            added = table.stricter(Arc::clone(&added), now);
            table.insert(Arc::clone(&added));
        });
        if room { Ok(added) } else { Err(added.what.no_room()) }
    }

    /// Those that are written down, and those that could not be, and no others: read at a start, and again when another process wrote. How many are in force.
    pub fn restore(&self, revocations: impl IntoIterator<Item = Revocation>, now: Timestamp) -> usize {
        let kept = revocations.into_iter().filter(|each| !each.is_past(now));
        // Those that are over find room only beside the others.
        let (live, over): (Vec<_>, Vec<_>) = kept.partition(|each| !each.is_over(now));
        let mut table = Table::default();
        let mut left = [MOST; 2];
        for each in live.into_iter().chain(over) {
            let each = Revocation { what: self.as_compared(&each.what), ..each };
            let place = each.what.place();
            let Some(left) = left.get_mut(usize::from(place.0 == TOKENS)) else { continue };
            if table.get(place).is_none() {
                match left.checked_sub(1) {
                    Some(rest) => *left = rest,
                    None => continue,
                }
            }
            let each = table.stricter(Arc::new(each), now);
            table.insert(each);
        }
        let in_force = table.all().filter(|each| !each.is_over(now)).count();
        self.change(|all| all.clone_from(&table));
        in_force
    }

    /// It counts again. Says whether it was revoked.
    pub fn lift(&self, what: &Revoked) -> bool {
        let mut found = false;
        let what = self.as_compared(what);
        self.change(|table| found = table.remove(what.place()));
        found
    }

    fn change(&self, mut change: impl FnMut(&mut Table)) {
        self.table.rcu(|table| {
            let mut next = Table::clone(table);
            change(&mut next);
            next
        });
        // After the table: who sees a count finds what is counted.
        self.count.store(self.table.load().len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
