//! The thread that writes revocations down, and looks what another process wrote: in a takeover an operator may have spoken to either. It alone waits for the disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
    /// What could not be written when it was last tried, and at which of all failures: its turn comes after all others, so that one that cannot be written at all is in nobody's way.
    behind: HashMap<Revoked, u64>,
    failures: u64,
}

/// Rows that are damaged.
#[derive(Debug, Clone, Copy, Default)]
struct Damaged {
    /// They say what they are about.
    named: u64,
    /// They do not.
    nameless: u64,
}

impl Damaged {
    fn all(self) -> u64 {
        self.named + self.nameless
    }
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
        let (in_force, behind) = (Arc::clone(in_force), HashMap::new());
        let mut writer = Self { in_force, rows, follower, path, looks: 0, is_failing: false, behind, failures: 0 };
        // At a start nobody knows what was in force before: one that names nothing may be of anybody.
        for row in writer.rows.follow()?.look()?.into_iter().flatten() {
            if Revoked::parse(&row.what, &row.name).is_none() {
                revocation(row, &writer.path)?;
            }
        }
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
        let now = Timestamp::now();
        let (read, damaged) = self.taken(rows);
        // Nobody revokes meanwhile. What is written nowhere else finds room first.
        let unwritten = self.in_force.unwritten();
        let first = unwritten.values().map(|each| Revocation::clone(each));
        // Of one that names nothing any more nobody knows whether it was among these.
        let before = if damaged.nameless > 0 { self.in_force.all.list(now) } else { Vec::new() };
        let before = before.iter().map(|each| Revocation::clone(each));
        self.in_force.all.restore(first.chain(read).chain(before), now);
        drop(unwritten);
        let was = self.in_force.damaged.swap(damaged.all(), Ordering::Relaxed);
        if damaged.all() > was {
            let Damaged { named, nameless } = damaged;
            tracing::error!(path = %self.path.display(), named, nameless, "revocations in the store are damaged: what they name is revoked until it is lifted, and of those that name nothing what was in force stays until the process ends");
        }
        Ok(())
    }

    /// What rows say, and how many are damaged. One whose times are none has what it names revoked, whenever it was issued, until somebody lifts it.
    fn taken(&self, rows: Vec<RevocationRow>) -> (Vec<Revocation>, Damaged) {
        let (mut taken, mut damaged) = (Vec::with_capacity(rows.len()), Damaged::default());
        for row in rows {
            let (what, reason) = (Revoked::parse(&row.what, &row.name), row.reason.clone());
            match (revocation(row, &self.path), what) {
                (Ok(read), _) => taken.push(read),
                (Err(_), Some(what)) => {
                    damaged.named += 1;
                    let (before, made) = (Timestamp::MAX, Timestamp::UNIX_EPOCH);
                    let reason = format!("{reason} (what is kept of it is damaged)").into();
                    taken.push(Revocation { what, before, made, until: None, reason });
                }
                (Err(_), None) => damaged.nameless += 1,
            }
        }
        (taken, damaged)
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

    /// Tries again to write down what could not be written, until something cannot be: then it may be the disk, which others wait for as well.
    fn write_again(&mut self) {
        for each in self.in_turn(AGAIN_AT_ONCE) {
            if !self.try_again(&each) {
                return;
            }
        }
    }

    /// Tries to write all of it, as long as somebody waits for it.
    fn write_all_until(&mut self, end: Instant) {
        for each in self.in_turn(usize::MAX) {
            if Instant::now() >= end {
                return;
            }
            self.try_again(&each);
        }
    }

    /// What is not written down, at most so many: what failed comes last, and of that first what failed longest ago.
    fn in_turn(&mut self, most: usize) -> Vec<Arc<Revocation>> {
        let now = Timestamp::now();
        let is_remembered = |until: Timestamp| until.checked_add(REMEMBERED).map_or(true, |until| now < until);
        let mut unwritten = self.in_force.unwritten();
        unwritten.retain(|_, each| each.until.is_none_or(is_remembered));
        self.behind.retain(|what, _| unwritten.contains_key(what));
        let mut behind: Vec<_> = self.behind.iter().collect();
        behind.sort_unstable_by_key(|(_, failure)| **failure);
        let first = unwritten.values().filter(|each| !self.behind.contains_key(&each.what));
        first.chain(behind.into_iter().filter_map(|(what, _)| unwritten.get(what))).take(most).cloned().collect()
    }

    fn try_again(&mut self, wanted: &Arc<Revocation>) -> bool {
        let is_written = self.write(wanted).is_ok();
        if is_written {
            tell_written(&wanted.what);
        } else {
            self.failures = self.failures.wrapping_add(1);
            self.behind.insert(wanted.what.clone(), self.failures);
        }
        is_written
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
        self.remove_other_spellings(what)?;
        // What is not written down of it is a part of what is in force, which another process may have made stricter; unless somebody has revoked it anew since.
        let mut unwritten = self.in_force.unwritten();
        if self.in_force.all.find(what, Timestamp::now()).is_some_and(|now| now == found) {
            unwritten.remove(what);
        }
        Ok(Some(found))
    }

    /// Rows of the same principal that were written while its id was compared otherwise: a restart would bring it back by them.
    fn remove_other_spellings(&self, what: &Revoked) -> Result<(), StoreError> {
        if self.in_force.all.spelling().is_exact() || !matches!(what, Revoked::Principal(..)) {
            return Ok(());
        }
        for row in self.rows.follow()?.look()?.into_iter().flatten() {
            let read = Revoked::parse(&row.what, &row.name);
            if read.is_some_and(|read| self.in_force.all.as_compared(&read) == *what) {
                self.rows.remove(&row.what, &row.name)?;
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use portcullis_store::Database;

    use super::*;

    /// A store, and what writes to it, whose thread is not begun: nothing is done but what a test does.
    fn begun(folder: &tempfile::TempDir) -> (Database, Writer) {
        let settings = Settings { path: folder.path().join("store.db") };
        let database = Database::open(&settings).unwrap();
        let writer = Writer::restore(&settings, &Arc::default()).unwrap();
        (database, writer)
    }

    fn of(what: &str, name: &str, before: Timestamp) -> Revocation {
        let what = Revoked::parse(what, name).unwrap();
        Revocation { what, before, made: Timestamp::now(), until: None, reason: "lost".into() }
    }

    fn revoke(writer: &Writer, revocation: Revocation) {
        writer.in_force.revoke(revocation, Timestamp::now(), true).unwrap();
    }

    /// Another process writes one with a moment that is none, which no other can be merged with.
    fn spoil(writer: &Writer, user: &str) {
        let (what, name, made) = ("principal".to_owned(), user.to_owned(), 1);
        let row = RevocationRow { what, name, before: i64::MAX, made, until: None, reason: "x".into() };
        writer.rows.write(&row, made).unwrap();
    }

    #[test]
    fn one_that_cannot_be_written_is_in_the_way_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (database, mut writer) = begun(&folder);
        let now = Timestamp::now();
        for user in ["user:spoilt-1", "user:spoilt-2", "user:spoilt-3"] {
            spoil(&writer, user);
            revoke(&writer, of("principal", user, now));
        }
        for number in 0..50 {
            revoke(&writer, of("token", &number.to_string(), now));
        }
        // Each look is stopped by one that fails; and the next one begins with the others.
        for _ in 0..4 {
            writer.write_again();
        }
        let written = database.revocations().unwrap();
        assert_eq!(written.iter().filter(|row| row.what == "token").count(), 50);
        assert_eq!(writer.in_force.unwritten().len(), 3, "what is not written is tried again, and stays in force");
        // At the end of the process as well.
        for number in 50..60 {
            revoke(&writer, of("token", &number.to_string(), now));
        }
        writer.write_all_until(Instant::now() + Duration::from_secs(60));
        assert_eq!(writer.in_force.unwritten().len(), 3);
    }

    #[test]
    fn what_is_lifted_stays_so_though_another_process_had_made_it_stricter() {
        let folder = tempfile::tempdir().unwrap();
        let (database, mut writer) = begun(&folder);
        let now = Timestamp::now();
        let earlier = now.checked_sub(SignedDuration::from_hours(1)).unwrap();
        let alice = Revoked::parse("principal", "user:alice").unwrap();
        // Not written down here yet; the other one's is later, and both are merged.
        revoke(&writer, of("principal", "user:alice", earlier));
        writer.rows.write(&row(&of("principal", "user:alice", now)), now.as_microsecond()).unwrap();
        let lifted = writer.take_out(&alice).unwrap().unwrap();
        assert!(writer.in_force.lift(&lifted, Timestamp::now()));
        writer.tick();
        assert_eq!(writer.in_force.all.find(&alice, Timestamp::now()), None);
        assert!(database.revocations().unwrap().is_empty());
    }

    #[test]
    fn what_is_revoked_anew_while_it_is_lifted_stays_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let (_database, mut writer) = begun(&folder);
        let now = Timestamp::now();
        let earlier = now.checked_sub(SignedDuration::from_hours(1)).unwrap();
        let alice = Revoked::parse("principal", "user:alice").unwrap();
        revoke(&writer, of("principal", "user:alice", earlier));
        let lifted = writer.take_out(&alice).unwrap().unwrap();
        revoke(&writer, of("principal", "user:alice", now));
        assert!(!writer.in_force.lift(&lifted, Timestamp::now()));
        writer.tick();
        assert!(writer.in_force.all.find(&alice, Timestamp::now()).is_some());
        // Whoever asked had no answer: it is as if nobody had.
        let (answer, answered) = sync_channel(0);
        drop(answered);
        writer.lift(&alice, &answer);
        writer.tick();
        assert!(writer.in_force.all.find(&alice, Timestamp::now()).is_some());
    }
}
