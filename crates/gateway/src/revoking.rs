//! Revocations in a running gateway: in force first, whatever the disk does, then written down, then answered.
//!
//! They are written by a thread of their own, and nobody waits for it without an end: a disk that hangs keeps nobody from being revoked, nor from seeing what is. Room is kept on
//! the disk for them. One that cannot be written down for all that is in force all the same, in this process alone, and is told as a failure; it is written as soon as that goes.

#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{NewRevocation, Revocations as Shown, ShownRevocation};
use portcullis_identity::revocation::{AHEAD, MAX_REASON_BYTES, MOST, Revocation, Revocations, RevokeError, Revoked};
use portcullis_store::{Database, RevocationBook, Settings, StoreError};

use writer::{Job, Writer};

/// What counts no longer, and where that is written down.
#[derive(Debug)]
pub(crate) struct Revoking {
    in_force: Arc<InForce>,
    /// `None`: there is no store.
    book: Option<Book>,
}

/// What is in force, and what of it would be forgotten by a restart. It is locked for moments, never while a disk is waited for, and no request asks for it.
#[derive(Debug, Default)]
struct InForce {
    all: Arc<Revocations>,
    unwritten: Mutex<Unwritten>,
    /// Rows in the store that cannot be read, or not whole.
    damaged: AtomicU64,
}

/// As it is in force. As many at most as can be in force, and those that were over a short while ago.
type Unwritten = HashMap<Revoked, Arc<Revocation>>;

/// The file that revocations are kept in, by way of its thread.
#[derive(Debug)]
struct Book {
    rows: RevocationBook,
    jobs: SyncSender<Job>,
    /// How long an operator waits for the disk: longer than the file can be locked by others.
    patience: Duration,
}

/// How long a token stays revoked where nobody says: longer than one is good for.
const LASTS: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The longest.
const LONGEST_S: u64 = 10 * 366 * 86_400;
/// How long an operator waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process does.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// Jobs of the thread that wait.
const WAITING: usize = 64;
/// Where there are more that are not written down, those that are over are let go.
const MOST_UNWRITTEN: usize = 4 * MOST;

impl InForce {
    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it counts no longer, and is to be written down where there is something to write to. It is no milder than what was in force.
    fn revoke(&self, wanted: Revocation, now: Timestamp, is_written: bool) -> Result<Arc<Revocation>, RevokeError> {
        let mut unwritten = self.unwritten();
        let made = self.all.add(wanted, now)?;
        if is_written {
            if unwritten.len() >= MOST_UNWRITTEN {
                unwritten.retain(|_, each| each.until.is_none_or(|until| now < until));
            }
            unwritten.insert(made.what.clone(), Arc::clone(&made));
        }
        Ok(made)
    }

    /// It counts again, if it is still the one that was taken out of the file.
    fn lift(&self, lifted: &Revocation, now: Timestamp) -> bool {
        // Nobody revokes it meanwhile.
        let _unwritten = self.unwritten();
        match self.all.find(&lifted.what, now) {
            Some(found) if *found == *lifted => self.all.lift(&lifted.what),
            Some(_) => false,
            None => true,
        }
    }
}

impl Book {
    /// Has the thread do something, and waits for what comes of it.
    ///
    /// # Errors
    /// Nobody knows what comes of it, or when.
    fn ask<T>(&self, job: Job, answer: &Receiver<T>) -> Result<T, String> {
        let busy = || "the disk does not answer, and too much waits for it".to_owned();
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => "the process ends".to_owned(),
        })?;
        answer.recv_timeout(self.patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("the disk has not answered for {} s", self.patience.as_secs_f32()),
            RecvTimeoutError::Disconnected => "the process ends".to_owned(),
        })
    }
}

impl Revoking {
    /// What was written before.
    ///
    /// # Errors
    /// A store that cannot be read: whoever was revoked would count again.
    pub(crate) fn restored(settings: Option<&Settings>, database: Option<&Database>) -> Result<Self, StoreError> {
        let in_force = Arc::<InForce>::default();
        let (Some(settings), Some(_)) = (settings, database) else { return Ok(Self { in_force, book: None }) };
        let writer = Writer::restore(settings, &in_force)?;
        if !in_force.all.is_empty() {
            tracing::info!(revocations = in_force.all.len(), "what was revoked before stays revoked");
        }
        let (jobs, waiting) = sync_channel(WAITING);
        writer.start(waiting)?;
        Ok(Self { in_force, book: Some(Book { rows: RevocationBook::of(settings), jobs, patience: PATIENCE }) })
    }

    /// The process ends: tries a last time to write what is not, but not for ever.
    pub(crate) fn shutdown(&self) {
        let Some(book) = &self.book else { return };
        let (ended, end) = sync_channel(1);
        let left = || self.in_force.unwritten().len();
        let is_asked = book.jobs.try_send(Job::End(ended)).is_ok();
        if !is_asked || end.recv_timeout(LAST_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                unwritten = left(),
                "the disk does not answer: what is not written down of revocations is forgotten"
            );
        } else if left() > 0 {
            tracing::error!(unwritten = left(), "what was revoked and could not be written down is forgotten");
        }
    }

    /// What requests are held to.
    pub(crate) fn all(&self) -> &Arc<Revocations> {
        &self.in_force.all
    }

    /// Where the use of keys is noted, too.
    pub(crate) fn book(&self) -> Option<&RevocationBook> {
        self.book.as_ref().map(|book| &book.rows)
    }

    /// All that are in force. It waits for no disk.
    pub(crate) fn shown(&self) -> Shown {
        let now = Timestamp::now();
        let unwritten = self.in_force.unwritten();
        let shown = |each: Arc<Revocation>| ShownRevocation {
            kept: self.book.is_some() && !unwritten.contains_key(&each.what),
            what: each.what.kind().to_owned(),
            name: each.what.name(),
            before: matches!(each.what, Revoked::Principal(..)).then(|| format!("{:.0}", each.before)),
            made: format!("{:.0}", each.made),
            until: each.until.map(|until| format!("{until:.0}")),
            reason: each.reason.to_string(),
        };
        let revocations = self.all().list(now).into_iter().map(shown).collect();
        Shown { revocations, kept: self.book.is_some(), more: false, damaged: self.damaged() }
    }

    /// How many rows in the store cannot be read, or not whole.
    pub(crate) fn damaged(&self) -> u64 {
        self.in_force.damaged.load(Ordering::Relaxed)
    }

    /// Revokes, and says what came of it. Every request that begins from now on is held to it; when it returns without an error, it is on the disk as well.
    ///
    /// # Errors
    /// Why nothing is revoked; or that something is, in this process and not on the disk.
    pub(crate) fn revoke(&self, new: &NewRevocation) -> Result<String, String> {
        let now = Timestamp::now();
        let wanted = wanted(new, now)?;
        let wanted = Revocation { what: self.all().as_compared(&wanted.what), ..wanted };
        let made = self.in_force.revoke(wanted, now, self.book.is_some()).map_err(|error| error.to_string())?;
        tracing::warn!(what = %made.what, reason = %made.reason, "revoked by hand");
        let written = match &self.book {
            Some(book) => {
                let (answer, answered) = sync_channel(1);
                let written = book.ask(Job::Write(made.what.clone(), answer), &answered);
                written.and_then(|written| written.map_err(|error| error.to_string()))
            }
            None => Ok(Arc::clone(&made)),
        };
        let (made, problem) = match written {
            Ok(written) => (written, None),
            Err(problem) => (made, Some(problem)),
        };
        let what = match &made.what {
            Revoked::Token(_) | Revoked::Key(_) => made.what.to_string(),
            Revoked::Principal(..) => format!("all that {} was issued until {:.0}", made.what, made.before),
        };
        let until = made.until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until:.0}"));
        if let Some(problem) = problem {
            tracing::error!(%problem, what = %made.what, "what was revoked is in force, and is not written down: a restart would end it");
            return Err(format!(
                "{what} is revoked {until} IN THIS PROCESS ALONE, and could not be written down ({problem}): a restart would end it; it is tried again each second"
            ));
        }
        let kept = if self.book.is_some() { "" } else { " (not kept over a restart: there is no [store])" };
        Ok(format!("{what} is revoked {until}{kept}: {}", made.reason))
    }

    /// Lifts a revocation, and says so.
    ///
    /// # Errors
    /// There is none, or that it is lifted cannot be written down: then it stays.
    pub(crate) fn lift(&self, what: &str, name: &str) -> Result<String, String> {
        let revoked = self.all().as_compared(&read(what, name)?);
        let not_revoked = || format!("{revoked} is not revoked");
        let lifted = match &self.book {
            Some(book) => {
                // Nothing is put into it that nobody takes out: else whoever is told that it stays revoked would be wrong.
                let (answer, answered) = sync_channel(0);
                let lifted = book.ask(Job::Lift(revoked.clone(), answer), &answered);
                let lifted = lifted.and_then(|lifted| lifted.map_err(|error| error.to_string()));
                lifted.map_err(|problem| format!("it stays revoked, because the store cannot be used: {problem}"))?
            }
            None => self.all().find(&revoked, Timestamp::now()),
        };
        let lifted = lifted.ok_or_else(not_revoked)?;
        if !self.in_force.lift(&lifted, Timestamp::now()) {
            return Err(format!("{revoked} was revoked anew meanwhile, and stays so"));
        }
        tracing::warn!(what = %revoked, "a revocation was lifted by hand");
        Ok(format!("{revoked} is not revoked any more"))
    }
}

fn read(what: &str, name: &str) -> Result<Revoked, String> {
    Revoked::parse(what, name).ok_or_else(|| {
        let form = match what {
            "token" => "a `jti` of 1 to 256 bytes",
            "key" => "a key's id: 1 to 64 of a-z, 0-9 and `-`",
            _ => "`user:ID`, `service:ID` or `certificate:NAME`",
        };
        format!(
            "`{}` names nothing that can be revoked: write {form}",
            name.chars().take(64).flat_map(char::escape_debug).collect::<String>()
        )
    })
}

fn wanted(new: &NewRevocation, now: Timestamp) -> Result<Revocation, String> {
    let what = read(&new.what, &new.name)?;
    let reason = new.reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON_BYTES || reason.chars().any(char::is_control) {
        return Err(format!("the reason is 1 to {MAX_REASON_BYTES} bytes long, without control characters"));
    }
    let before = match &new.before {
        None => now,
        Some(text) => text.parse().map_err(|_| "`before` is a time in RFC 3339".to_owned())?,
    };
    // As far as the clock of an issuer may be ahead of this one.
    if before > now.saturating_add(AHEAD).unwrap_or(now) {
        return Err("what will be issued cannot be revoked: the time lies ahead by more than a minute".to_owned());
    }
    let until = match new.for_s {
        Some(seconds) if (1..=LONGEST_S).contains(&seconds) => {
            Some(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        Some(_) => return Err("it is revoked for a second to ten years".to_owned()),
        // API keys and certificates may be good for years, and a principal has them as well.
        None => match what {
            Revoked::Key(_) | Revoked::Principal(..) => None,
            Revoked::Token(_) => Some(LASTS),
        },
    };
    let until = until.map(|lasts| now.checked_add(lasts)).transpose().map_err(|error| error.to_string())?;
    Ok(Revocation { what, before, made: now, until, reason: reason.into() })
}
