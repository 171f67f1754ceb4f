//! The log of temporary power as it is, where the file beside the store does not know all of it: an operator says that an earlier version of the program ran
//! on the store meanwhile. No gateway runs then. What needed signatures is held to them, and all that these entries gave is ended, so that taking gives nobody anything; who had it
//! taken is written down, and told by the next start.

use std::path::Path;

use jiff::Timestamp;
use portcullis_admin::access::Answer;
use portcullis_events::{Answer as Decided, EventKind};
use portcullis_governance::Hash;
use portcullis_governance::power::{
    Demands, Limits, Power, PowerAnchor, PowerBook, PowerLedger as _, PowerState, Taken, TakenFile,
};
use portcullis_store::{PowerLog, Settings};

use super::holding::{Holding, NotHeld};
use super::{Lender, shown};
use crate::governing::{Governing, GoverningError, Who};

/// Why it is not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The store cannot be had, or is not what was approved.
    Governing(GoverningError),
    /// A sentence.
    Refused(String),
}

fn refused(why: impl ToString) -> NotTaken {
    NotTaken::Refused(why.to_string())
}

/// Takes it, if all of it that nobody knows was signed by whoever had to, or needed no signature; and ends all that this gave, or waits.
///
/// # Errors
/// Why it is not: nothing has changed then.
pub(crate) fn take(
    config: &Path,
    store: &Settings,
    (who, reason): (&Who, &str),
    now: Timestamp,
) -> Result<Answer, NotTaken> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MOST_REASON || reason.chars().any(char::is_control) {
        return Err(refused(format!("it needs a reason, on one line of at most {MOST_REASON} bytes")));
    }
    let governing = Governing::open_alone(config, store).map_err(NotTaken::Governing)?;
    if governing.loosen() == 0 {
        return Err(refused("nothing has to be approved here: a start takes the log of temporary power as it is"));
    }
    let open = || PowerLog::open_to_take(store).map_err(refused);
    let log = open()?;
    let anchor = log.anchor();
    let mut book = PowerBook::read_rows(Box::new(log), Limits::default()).map_err(refused)?;
    let known = match &anchor {
        Ok(None) => {
            return Err(refused("no file beside the store says how far the log had come: a start takes it as it is"));
        }
        // It was removed, and knows none.
        Ok(Some(anchor)) if *anchor == PowerAnchor::LOST => None,
        Ok(Some(anchor)) => Some(anchor),
        // Then it knows nothing: all of it is held to its signatures, and ended.
        Err(_) => None,
    };
    let unknown = book.unknown_to(known).map_err(refused)?.map_err(refused)?;
    let is_lost = anchor.as_ref().is_ok_and(|anchor| *anchor == Some(PowerAnchor::LOST));
    let nothing = is_lost.then_some((0, Hash::NONE));
    let Some(last) = unknown.last().map(|entry| (entry.n, entry.hash())).or(nothing) else {
        return Err(refused("the file beside the store knows all of the log: there is nothing to take"));
    };
    let demands = governing.demands().ok_or_else(|| refused("nothing has to be approved here"))?;
    book.are_takeable(&unknown, &demands, now).map_err(refused)?;
    let touched = book.touched_by(&unknown);
    let loaded = governing.serving().map_err(refused)?;
    let holding = Holding { policy: &loaded.policy, demands: Some(&demands), break_glass: loaded.break_glass.as_ref() };
    touched.iter().try_for_each(|power| held(&book, &holding, power))?;
    false_signature(&book, &demands)?;
    let taken = Taken {
        at: now.as_microsecond(),
        known: known.map_or(0, |anchor| anchor.known.0),
        last,
        by: who.names.join(", "),
        reason: reason.to_owned(),
        is_told: false,
    };
    // Before anything is taken: where it cannot be written nothing is.
    TakenFile::beside(&store.path)
        .add(taken)
        .map_err(|error| refused(format!("that it is taken cannot be written: {error}")))?;
    let why = format!("the log was taken as it is, which gives nobody anything: {reason}");
    let ended = book.end_what_is_touched(&unknown, &why, &who.names, now).map_err(refused)?;
    if ended == 0 {
        open()?.take_as_it_is(false).map_err(refused)?;
    }
    let mut message = format!(
        "{} entries that the file beside the store did not know are taken, up to {}: whoever had to sign them did, or nobody had to; the next start tells of it",
        unknown.len(),
        last.0
    );
    if ended > 0 {
        message.push_str(&format!("; {ended} that were in force by them or waited are ended: ask for them again"));
    }
    Ok(Answer { message, ..Answer::default() })
}

/// The longest reason, in bytes: with the words before it, it is as long as an entry's may be.
const MOST_REASON: usize = 400;

/// Whether what it gives or gave was approved as it had to be.
fn held(book: &PowerBook, holding: &Holding<'_>, power: &Power) -> Result<(), NotTaken> {
    let (began, until) = match power.state {
        PowerState::InForce { began, until } => (began, until),
        PowerState::Ended { began, ended, .. } => (began, ended),
        PowerState::Waiting { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => return Ok(()),
    };
    match holding.until(book, power, began, until) {
        Err(NotHeld::Forged(why)) => Err(refused(format!(
            "{} is among the entries that the file beside the store does not know, and {why}: somebody has written to the store; restore a backup",
            shown::name(power)
        ))),
        // What may not be in force any more is ended by the next start, as ever.
        Ok(_) | Err(NotHeld::TooFew | NotHeld::NotOpened | NotHeld::NoMore(_)) => Ok(()),
    }
}

fn false_signature(book: &PowerBook, demands: &Demands) -> Result<(), NotTaken> {
    match book.first_false_signature(demands.instance) {
        None => Ok(()),
        Some(power) => Err(refused(format!(
            "{} holds an approval that is signed under something else: somebody has written to the store; restore a backup",
            shown::name(power)
        ))),
    }
}

impl Lender {
    /// Tells of each time that an operator had the log taken as it is, and no gateway ran to tell of it.
    pub(super) fn tell_taken(&self, store: &Settings) {
        let file = TakenFile::beside(&store.path);
        let told = match file.read() {
            Ok(taken) => taken.into_iter().filter(|taken| !taken.is_told).map(|taken| self.tell_one(&taken)).max(),
            Err(error) => {
                tracing::error!(%error, "who had the log of temporary power taken as it is cannot be read beside the store");
                None
            }
        };
        let noted = told.map(|at| file.are_told(at));
        if let Some(Err(error)) = noted {
            tracing::warn!(%error, "that it was told who had the log of temporary power taken is not noted: the next start tells it again");
        }
    }

    fn tell_one(&self, taken: &Taken) -> i64 {
        let Taken { at, known, last: (n, hash), by, reason, is_told: _ } = taken;
        let time = Timestamp::from_microsecond(*at).map_or_else(|_| at.to_string(), |time| time.to_string());
        let message = format!(
            "{by} had the log of temporary power taken as it is, at {time}, while no gateway ran: what follows on entry {known}, up to {n} ({}): {reason}",
            hash.short()
        );
        let mut event = self.shared.event(EventKind::AdminAccessTake, Timestamp::now());
        event.decision = Some(Decided::Permit);
        event.identity.name = by.split(", ").next().map(str::to_owned);
        tracing::warn!("{message}");
        event.message = Some(message);
        self.shared.recorder.record(event);
        *at
    }
}
