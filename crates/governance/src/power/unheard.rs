//! Rows that nothing but the store vouches for, and those that are not there any more.

use crate::hash::Hash;
use crate::power::anchor::{Place, PowerAnchor};
use crate::power::book::{PowerBook, PowerError};
use crate::power::entry::{Act, Entry};

/// How often rows and anchor are read where another process appends between the two.
const TRIES: usize = 5;
/// What helps, behind each reason why rows and anchor do not fit.
const UNKNOWN: &str = "the file beside the store does not know it: somebody has written to the store, or an earlier version of the program ran on it \
     meanwhile; restore a backup, or, where it was that program, stop the gateway and say so with `portcullis access verify --take-as-it-is --reason TEXT`, \
     which takes what was rightly signed, or needs no signature, and ends what it gave";
const CUT_OFF: &str = "what came behind it is not there any more, by the file beside the store: restore a backup";
const LOST: &str = "the file beside the store that says how far it has come is not there any more: somebody has removed it, and nobody can tell what was taken \
     away; put it back, restore a backup, or stop the gateway and say so with `portcullis access verify --take-as-it-is --reason TEXT`, which takes what was \
     rightly signed, or needs no signature, and ends what it gave";
const GONE: &str = "it is not there any more, or is another one than this process has read: somebody has written to the store; restore a backup";

/// What was appended since.
pub(super) struct Heard {
    /// Each with its hash.
    pub(super) entries: Vec<(Entry, Hash)>,
    /// [`PowerBook::beyond`] behind them.
    pub(super) beyond: Option<(Place, Place)>,
    /// How many of them the anchor does not know.
    pub(super) unknown: usize,
}

impl PowerBook {
    /// What was appended since, held to the anchor: rows that it does not know were written behind the gateway's back, and one that it knows or that was read
    /// before and that is not there was taken away.
    pub(super) fn heard(&self) -> Result<Heard, PowerError> {
        let mut tries = TRIES;
        loop {
            // From the last one that is known on, which has to be there still.
            let mut entries = self.entries_after(self.last.0.saturating_sub(1))?;
            let at = entries.first().map(|(entry, _)| entry.at).filter(|_| self.last.0 > 0);
            let is_there = entries.first().is_some_and(|(entry, hash)| (entry.n, *hash) == self.last);
            if is_there {
                entries.remove(0);
            } else if self.last.0 > 0 && !entries.iter().any(|(entry, _)| matches!(entry.act, Act::Forgot { .. })) {
                return Err(PowerError::Broken { n: self.last.0, why: GONE });
            }
            let end = entries.last().map_or(self.last, |(entry, hash)| (entry.n, *hash));
            // Read behind the rows: what another process appends is noted there first.
            let Some(anchor) = self.ledger.anchor()? else { return Ok(Heard { entries, beyond: None, unknown: 0 }) };
            if anchor == PowerAnchor::LOST {
                return Err(PowerError::Broken { n: end.0, why: LOST });
            }
            if anchor.holds(end) {
                return Ok(Heard { entries, beyond: None, unknown: 0 });
            }
            let beyond = self.beyond.filter(|(next, _)| *next == anchor.next).map(|(_, end)| end);
            if let Some(unknown) = only_takes_away((self.last, at), &entries, &anchor, beyond) {
                return Ok(Heard { entries, beyond: Some((anchor.next, end)), unknown });
            }
            tries = tries.saturating_sub(1);
            if tries == 0 {
                let why = if end.0 < anchor.known.0 { CUT_OFF } else { UNKNOWN };
                return Err(PowerError::Broken { n: end.0, why });
            }
        }
    }

    /// How many rows were heard since it was last asked that the file beside the store does not know, and that were taken all the same since they end power and
    /// give none: whoever asks says so.
    pub fn take_unknown(&mut self) -> usize {
        std::mem::take(&mut self.unknown)
    }
}

/// How many rows the anchor does not know, where all of them end power and give none: a process of an earlier version of the program, which knows no anchor,
/// ends what is over while this one takes its place. `beyond`: up to where such rows were heard before. `None`: they do something else, or do not follow on it.
fn only_takes_away(
    (before, mut at): (Place, Option<i64>),
    heard: &[(Entry, Hash)],
    anchor: &PowerAnchor,
    beyond: Option<Place>,
) -> Option<usize> {
    let known = match before == anchor.next || Some(before) == beyond {
        true => 0,
        false => heard.iter().position(|(entry, hash)| (entry.n, *hash) == anchor.next)?.saturating_add(1),
    };
    let earlier = known.checked_sub(1).and_then(|last| heard.get(last));
    at = earlier.map_or(at, |(entry, _)| Some(entry.at));
    let behind = heard.get(known..)?;
    for (entry, _) in behind {
        let takes_away = match entry.act {
            Act::Ended { .. } | Act::Unvouched { .. } | Act::Rejected { .. } => true,
            // Not one that has the next start think that it is earlier than what the log says.
            Act::SetBack { .. } => at.is_none_or(|at| at <= entry.at),
            Act::Asked(_)
            | Act::Signed { .. }
            | Act::Approved { .. }
            | Act::Began { .. }
            | Act::Reviewed { .. }
            | Act::Forgot { .. } => false,
        };
        if !takes_away {
            return None;
        }
        at = Some(entry.at);
    }
    Some(behind.len())
}
