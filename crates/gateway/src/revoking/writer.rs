//! The thread that writes revocations down, and looks what another process wrote: in a takeover an operator may have spoken to either. It alone waits for the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use portcullis_identity::revocation::{Revocation, Revoked};
use portcullis_store::{RevocationBook, RevocationFollower, RevocationRow, Settings, StoreError, Trouble};

use super::{InForce, LAST_PATIENCE};

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Job {
    /// To write down what is in force of this and is not written down.
    Write(Revoked, SyncSender<Result<Arc<Revocation>, StoreError>>),
    /// To take it out of the file, and to say what was in force of it. Where nobody takes the answer, it stays.
    Lift(Revoked, SyncSender<Result<Option<Arc<Revocation>>, StoreError>>),
    /// To end.
    End(SyncSender<()>),
    /// To wait, as a disk has one wait that does not answer.
    #[cfg(test)]
    Hang(Receiver<()>),
    /// To do at once what is done each second.
    #[cfg(test)]
    Look(SyncSender<()>),
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Writer {
    in_force: Arc<InForce>,
    rows: RevocationBook,
    /// Dropped with the thread: whoever closes the file last has it stand alone.
    follower: RevocationFollower,
    path: PathBuf,
    looks: u64,
    is_failing: bool,
}

/// How often it is looked whether another process revoked something, and tried to write down what could not be written.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether there is room kept on the disk, in such looks.
const KEEP_ROOM: u64 = 60;
/// How many are tried again in one look: others wait meanwhile.
const AGAIN_AT_ONCE: usize = 256;
/// How long one that has ended is tried again: a clock that jumped ahead and is set back has cost nothing.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

impl Writer {
    /// Puts in force what was written before, and has room kept for what will be.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) fn restore(settings: &Settings, in_force: &Arc<InForce>) -> Result<Self, StoreError> {
        let (rows, path) = (RevocationBook::of(settings), settings.path.clone());
        let follower = rows.follow()?;
        let mut writer = Self { in_force: Arc::clone(in_force), rows, follower, path, looks: 0, is_failing: false };
        writer.look()?;
        writer.keep_room();
        Ok(writer)
    }

    /// Starts the thread. It ends when it is told to, or with whoever may ask it.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn start(self, jobs: Receiver<Job>) -> Result<(), StoreError> {
        let path = self.path.clone();
        let started = thread::Builder::new().name("revocations".to_owned()).spawn(move || self.tend(&jobs));
        started.map(|_| ()).map_err(|error| StoreError { path, trouble: Trouble::NoThread(error) })
    }

    fn tend(mut self, jobs: &Receiver<Job>) {
        let mut due = Instant::now() + LOOK;
        loop {
            match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Job::Write(what, answer)) => self.write_for(&what, &answer),
                Ok(Job::Lift(what, answer)) => self.lift(&what, &answer),
                Ok(Job::End(ended)) => {
                    self.write_all_until(Instant::now() + LAST_PATIENCE);
                    drop(self);
                    let _ = ended.send(());
                    return;
                }
                #[cfg(test)]
                Ok(Job::Hang(until)) => while until.recv().is_ok() {},
                #[cfg(test)]
                Ok(Job::Look(done)) => {
                    self.tick();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if due <= Instant::now() {
                self.tick();
                due = Instant::now() + LOOK;
            }
        }
    }

    /// What is done each second.
    fn tick(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        self.write_again();
        if self.looks.is_multiple_of(KEEP_ROOM) && self.in_force.unwritten().is_empty() {
            self.keep_room();
        }
        let problem = self.look().err();
        if let Some(error) = problem.as_ref().filter(|_| !self.is_failing) {
            tracing::error!(%error, "what another process revokes is not seen: what is in force stays");
        }
        self.is_failing = problem.is_some();
    }

    /// Has room kept on the disk for what will be revoked.
    fn keep_room(&self) {
        if let Err(error) = self.rows.keep_room() {
            tracing::warn!(%error, "no room is kept on the disk for what will be revoked");
        }
    }

    /// Puts in force what another process wrote since the last look, and leaves in force what this one could not write.
    fn look(&mut self) -> Result<(), StoreError> {
        let Some(rows) = self.follower.look()? else { return Ok(()) };
        let read: Vec<_> = rows.into_iter().map(|row| revocation(row, &self.path)).collect::<Result<_, _>>()?;
        // Nobody revokes meanwhile. What is written nowhere else finds room first.
        let unwritten = self.in_force.unwritten();
        let first = unwritten.values().map(|each| Revocation::clone(each));
        self.in_force.all.restore(first.chain(read), Timestamp::now());
        Ok(())
    }

    fn write_for(&self, what: &Revoked, answer: &SyncSender<Result<Arc<Revocation>, StoreError>>) {
        let unwritten = self.in_force.unwritten().get(what).cloned();
        let written = match unwritten {
            Some(wanted) => self.write(&wanted),
            // It was written while this waited, and may have been lifted since.
            None => match self.in_force.all.find(what, Timestamp::now()) {
                Some(found) => Ok(found),
                None => return,
            },
        };
        let is_written = written.is_ok();
        if answer.send(written).is_err() && is_written {
            tell_written(what);
        }
    }

    /// Writes what is in force, which is no milder than what was, and puts in force what stands in the file then, which is no milder either.
    fn write(&self, wanted: &Arc<Revocation>) -> Result<Arc<Revocation>, StoreError> {
        let now = Timestamp::now();
        let written = revocation(self.rows.write(&row(wanted), now.as_microsecond())?, &self.path)?;
        let mut unwritten = self.in_force.unwritten();
        // There was room for it, unless it is over.
        let made = self.in_force.all.add(written, now).unwrap_or_else(|_| Arc::clone(wanted));
        // What was made stricter meanwhile is not what was written.
        if unwritten.get(&wanted.what).is_some_and(|now| now == wanted) {
            unwritten.remove(&wanted.what);
        }
        Ok(made)
    }

    /// Tries again to write down what could not be written.
    fn write_again(&self) {
        let now = Timestamp::now();
        let is_remembered = |until: Timestamp| until.checked_add(REMEMBERED).map_or(true, |until| now < until);
        let again: Vec<_> = {
            let mut unwritten = self.in_force.unwritten();
            unwritten.retain(|_, each| each.until.is_none_or(is_remembered));
            unwritten.values().take(AGAIN_AT_ONCE).cloned().collect()
        };
        for each in again {
            if self.write(&each).is_err() {
                return;
            }
            tell_written(&each.what);
        }
    }

    /// Writes what can be written, piece by piece, as long as somebody waits for it.
    fn write_all_until(&self, end: Instant) {
        let mut left = usize::MAX;
        loop {
            let now_left = self.in_force.unwritten().len();
            if now_left == 0 || now_left >= left || Instant::now() >= end {
                return;
            }
            left = now_left;
            self.write_again();
        }
    }

    fn lift(&mut self, what: &Revoked, answer: &SyncSender<Result<Option<Arc<Revocation>>, StoreError>>) {
        let lifted = self.take_out(what);
        let kept = lifted.as_ref().ok().cloned().flatten();
        // Whoever asked has been told that it stays revoked.
        if let (Err(_), Some(kept)) = (answer.send(lifted), kept) {
            self.in_force.unwritten().entry(what.clone()).or_insert_with(|| Arc::clone(&kept));
            // At once, since a kill would lose it, and another process of a takeover would let it go.
            let _ = self.write(&kept);
        }
    }

    /// Takes it out of the file. It stays in force.
    fn take_out(&mut self, what: &Revoked) -> Result<Option<Arc<Revocation>>, StoreError> {
        self.look()?;
        let Some(found) = self.in_force.all.find(what, Timestamp::now()) else { return Ok(None) };
        self.rows.remove(what.kind(), &what.name())?;
        let mut unwritten = self.in_force.unwritten();
        if unwritten.get(what).is_some_and(|unwritten| *unwritten == found) {
            unwritten.remove(what);
        }
        Ok(Some(found))
    }
}

fn tell_written(what: &Revoked) {
    tracing::info!(%what, "what was revoked is written down by now, and survives a restart");
}

fn row(revocation: &Revocation) -> RevocationRow {
    RevocationRow {
        what: revocation.what.kind().to_owned(),
        name: revocation.what.name(),
        before: revocation.before.as_microsecond(),
        made: revocation.made.as_microsecond(),
        until: revocation.until.map(Timestamp::as_microsecond),
        reason: revocation.reason.to_string(),
    }
}

/// One that cannot be read is no reason to let somebody in: the store is damaged then.
fn revocation(row: RevocationRow, path: &Path) -> Result<Revocation, StoreError> {
    let read = || {
        let time = |micros: i64| Timestamp::from_microsecond(micros).ok();
        Some(Revocation {
            what: Revoked::parse(&row.what, &row.name)?,
            before: time(row.before)?,
            made: time(row.made)?,
            until: match row.until {
                Some(until) => Some(time(until)?),
                None => None,
            },
            reason: row.reason.as_str().into(),
        })
    };
    read().ok_or_else(|| StoreError {
        path: PathBuf::from(path),
        trouble: Trouble::Damaged(format!("a revocation of a {} that is none", row.what.escape_debug())),
    })
}
