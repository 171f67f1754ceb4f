//! The rows of sessions, and the thread that writes them.
//!
//! What comes while a transaction is written goes into the next one, so that a hundred logouts at once are two writes to the disk. A removal that could not be
//! written is tried again until it is: a session that somebody ended must not come back with a restart.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_identity::session::{SavedSession, SessionChange, SessionKey, SessionStore, Sessions, Writing, Written};
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior, params};

use crate::database::{Database, PATIENCE};
use crate::error::{StoreError, Trouble};
use crate::risk::time;
use crate::schema;

/// Sessions that are kept in the file of a store. Without it the thread ends.
#[derive(Debug)]
pub struct KeptSessions {
    tasks: SyncSender<Task>,
    unwritten: Arc<Mutex<Vec<SessionKey>>>,
}

/// What a store has of sessions when it is opened.
#[derive(Debug)]
pub struct RestoredSessions {
    connection: Connection,
    /// The sessions that hold, the last used first.
    pub sessions: Vec<SavedSession>,
}

struct Task {
    changes: Vec<SessionChange>,
    writing: Writing,
    /// Nothing comes after it: the file is closed.
    closes: bool,
}

/// Tasks that wait. Whoever comes then is told that it is not kept.
const TASKS: usize = 4_096;
/// Changes in one transaction, unless one task has more.
const BATCH: usize = 4_096;
/// Removals that wait to be tried again.
const UNWRITTEN_MAX: usize = 100_000;
/// How often they are tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often what has run out is removed.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);
/// The most sessions that are read.
const MOST: i64 = 10_000_000;

impl RestoredSessions {
    /// Reads what the store has, by this time of day. The store has been opened, and so verified, before.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(database: &Database, now: Timestamp) -> Result<Self, StoreError> {
        let opened = open(&database.path).and_then(|connection| {
            let sessions = read(&connection, now)?;
            Ok(Self { connection, sessions })
        });
        opened.map_err(|trouble| database.error(trouble))
    }
}

impl KeptSessions {
    /// Keeps these sessions from now on.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(restored: RestoredSessions, sessions: &Arc<Sessions>) -> io::Result<Arc<Self>> {
        let (tasks, received) = sync_channel(TASKS);
        let unwritten = Arc::<Mutex<Vec<SessionKey>>>::default();
        let writer = Writer {
            db: restored.connection,
            sessions: Arc::downgrade(sessions),
            unwritten: Arc::clone(&unwritten),
            late: Vec::new(),
            is_failing: false,
            next_prune: Instant::now(),
        };
        thread::Builder::new().name("sessions".to_owned()).spawn(move || writer.run(&received))?;
        let kept = Arc::new(Self { tasks, unwritten });
        sessions.keep_in(Arc::clone(&kept) as Arc<dyn SessionStore>);
        Ok(kept)
    }

    /// Waits until everything that was given to it is on the disk.
    ///
    /// # Errors
    /// Why it is not.
    pub fn flush(&self) -> Result<(), String> {
        self.send(Vec::new(), false).wait()
    }

    /// The same, and closes the file: whoever closes it last has it stand alone. Nothing is kept from then on.
    ///
    /// # Errors
    /// Why something is not on the disk.
    pub fn close(&self) -> Result<(), String> {
        let flushed = self.flush();
        let closed = self.send(Vec::new(), true).wait();
        flushed.and(closed)
    }

    fn send(&self, changes: Vec<SessionChange>, closes: bool) -> Written {
        let (writing, written) = Written::pair();
        match self.tasks.try_send(Task { changes, writing, closes }) {
            Ok(()) => written,
            Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) => {
                keep_for_later(&self.unwritten, &task.changes);
                Written::failed("the store has more to write than it can")
            }
        }
    }
}

impl SessionStore for KeptSessions {
    fn write(&self, changes: Vec<SessionChange>) -> Written {
        self.send(changes, false)
    }
}

/// Notes removals that were not written.
fn keep_for_later(unwritten: &Mutex<Vec<SessionKey>>, changes: &[SessionChange]) {
    let mut unwritten = unwritten.lock().unwrap_or_else(PoisonError::into_inner);
    unwritten.extend(changes.iter().filter_map(|change| match change {
        SessionChange::Remove(key) => Some(*key),
        // It is marked again, and comes with the next sweep.
        SessionChange::Save(_) | SessionChange::Seen(..) => None,
    }));
    let surplus = unwritten.len().saturating_sub(UNWRITTEN_MAX);
    unwritten.drain(..surplus);
}

struct Writer {
    db: Connection,
    sessions: Weak<Sessions>,
    unwritten: Arc<Mutex<Vec<SessionKey>>>,
    /// Removals that found no place among the tasks, or could not be written: made behind the tasks, again and again until all that waited with them is
    /// written. A key that was removed is never saved again, so what of it still waits is older.
    late: Vec<SessionKey>,
    is_failing: bool,
    next_prune: Instant,
}

impl Writer {
    fn run(mut self, received: &Receiver<Task>) {
        loop {
            let mut tasks = match received.recv_timeout(AGAIN) {
                Ok(task) => vec![task],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // First: whatever was saved of these before waits already.
            self.late.append(&mut self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
            let mut count = tasks.iter().map(|task| task.changes.len()).sum::<usize>();
            let mut is_all = false;
            while count < BATCH && !is_all {
                match received.try_recv() {
                    Ok(task) => {
                        count += task.changes.len();
                        tasks.push(task);
                    }
                    Err(_) => is_all = true,
                }
            }
            let closing = tasks.iter().position(|task| task.closes).map(|place| tasks.remove(place));
            self.write(tasks, is_all);
            if let Some(closing) = closing {
                drop(self.db);
                return closing.writing.end(Ok(()));
            }
            self.prune();
        }
    }

    /// `is_all`: nothing waits behind these tasks.
    fn write(&mut self, tasks: Vec<Task>, is_all: bool) {
        let removals: Vec<SessionChange> = self.late.iter().copied().map(SessionChange::Remove).collect();
        let changes = || tasks.iter().flat_map(|task| &task.changes).chain(&removals);
        if changes().next().is_none() {
            return answer(tasks, &Ok(()));
        }
        let written = write(&mut self.db, changes()).map_err(|trouble| trouble.to_string());
        match &written {
            Ok(()) => {
                if is_all {
                    self.late.clear();
                }
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("sessions are kept again");
                }
            }
            Err(why) => {
                if !self.is_failing {
                    tracing::error!(error = %why, "sessions are not kept: what is ended now would be open after a restart");
                }
                self.is_failing = true;
                let surplus = self.late.len().saturating_sub(UNWRITTEN_MAX);
                self.late.drain(..surplus);
                tasks.iter().for_each(|task| keep_for_later(&self.unwritten, &task.changes));
                if let Some(sessions) = self.sessions.upgrade() {
                    sessions.mark_all();
                }
            }
        }
        answer(tasks, &written);
    }

    fn prune(&mut self) {
        if Instant::now() < self.next_prune {
            return;
        }
        self.next_prune = Instant::now() + PRUNE_EVERY;
        let now = Timestamp::now().as_microsecond();
        if let Err(error) = self.db.execute("DELETE FROM session WHERE until <= ?1 OR seen + idle <= ?1", [now]) {
            tracing::warn!(%error, "sessions that have run out stay in the store for now");
        }
    }
}

fn answer(tasks: Vec<Task>, written: &Result<(), String>) {
    for task in tasks {
        task.writing.end(written.clone());
    }
}

/// A connection of its own to a store that is open already.
fn open(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    schema::check(&db)?;
    // What somebody waits for is on the disk when the transaction ends.
    db.pragma_update(None, "synchronous", "FULL")?;
    Ok(db)
}

fn write<'c>(db: &mut Connection, changes: impl Iterator<Item = &'c SessionChange>) -> Result<(), Trouble> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // A newer version may have taken over meanwhile, and have brought the tables to its own.
    schema::check(&transaction)?;
    {
        let mut save = transaction.prepare(
            "INSERT OR REPLACE INTO session (key, provider, subject, sid, fingerprint, created, until, idle, seen, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        let mut seen = transaction.prepare("UPDATE session SET seen = max(seen, ?2) WHERE key = ?1")?;
        let mut remove = transaction.prepare("DELETE FROM session WHERE key = ?1")?;
        for change in changes {
            match change {
                SessionChange::Save(saved) => save.execute(params![
                    saved.key.as_bytes(),
                    &*saved.provider,
                    &*saved.subject,
                    saved.sid.as_deref(),
                    saved.fingerprint.cast_signed(),
                    saved.created.as_microsecond(),
                    saved.until.as_microsecond(),
                    saved.idle_s.saturating_mul(1_000_000),
                    saved.seen.as_microsecond(),
                    saved.content,
                ])?,
                SessionChange::Seen(key, at) => seen.execute(params![key.as_bytes(), at.as_microsecond()])?,
                SessionChange::Remove(key) => remove.execute([key.as_bytes()])?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

pub(crate) fn read(db: &Connection, now: Timestamp) -> Result<Vec<SavedSession>, Trouble> {
    let mut statement = db.prepare(
        "SELECT key, provider, subject, sid, fingerprint, created, until, idle, seen, content FROM session
         WHERE until > ?1 AND seen + idle > ?1 ORDER BY seen DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![now.as_microsecond(), MOST])?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(session(row)?);
    }
    Ok(sessions)
}

fn session(row: &Row<'_>) -> Result<SavedSession, Trouble> {
    let key: Vec<u8> = row.get(0)?;
    let key = <[u8; 32]>::try_from(key).map_err(|_| Trouble::Damaged("a session has a key that is none".to_owned()))?;
    Ok(SavedSession {
        key: SessionKey::from_bytes(key),
        provider: row.get::<_, String>(1)?.into(),
        subject: row.get::<_, String>(2)?.into(),
        sid: row.get::<_, Option<String>>(3)?.map(String::into_boxed_str),
        fingerprint: row.get::<_, i64>(4)?.cast_unsigned(),
        created: time(row.get(5)?)?,
        until: time(row.get(6)?)?,
        idle_s: row.get::<_, i64>(7)? / 1_000_000,
        seen: time(row.get(8)?)?,
        content: row.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use portcullis_identity::session::{EndCause, Found, Opening, SessionBounds};
    use portcullis_policy::{AuthenticationMethod, Principal};
    use tempfile::TempDir;

    use super::*;
    use crate::database::Settings;

    fn settings(folder: &TempDir) -> Settings {
        Settings { path: folder.path().join("state.db") }
    }

    fn now() -> Timestamp {
        Timestamp::now()
    }

    fn started(folder: &TempDir) -> (Arc<Sessions>, Arc<KeptSessions>, usize) {
        let database = Database::open(&settings(folder)).unwrap();
        let mut restored = RestoredSessions::open(&database, now()).unwrap();
        let sessions = Arc::new(Sessions::default());
        let minute = Duration::from_secs(60);
        sessions.configure(SessionBounds { most: 100, idle: minute, absolute: 10 * minute });
        let count = sessions.restore(std::mem::take(&mut restored.sessions), now());
        let kept = KeptSessions::start(restored, &sessions).unwrap();
        (sessions, kept, count)
    }

    fn opening(id: &str) -> Opening {
        let mut principal = Principal::user(id);
        principal.authentication.method = AuthenticationMethod::Oidc;
        principal.authentication.provider = "corporate".into();
        let host = Some("app.test".into());
        Opening { principal, subject: id.into(), sid: Some("s".into()), fingerprint: u64::MAX, host }
    }

    #[test]
    fn what_was_ended_is_not_there_after_a_process_that_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (sessions, _kept, count) = started(&folder);
        assert_eq!(count, 0);
        let (stays, _, written) = sessions.open(opening("stays"), now()).unwrap();
        written.wait().unwrap();
        let (goes, session, _) = sessions.open(opening("goes"), now()).unwrap();
        let (was_open, written) = sessions.end(&session.key, EndCause::Revoked);
        assert!(was_open);
        written.wait().unwrap();
        // No orderly end: whoever opens the file now finds what was waited for.
        let (again, _also_kept, count) = started(&folder);
        assert_eq!(count, 1);
        let Found::Live(restored) = again.find(&stays, now(), true) else { panic!("it is gone") };
        assert_eq!((&*restored.subject, restored.sid.as_deref(), restored.fingerprint), ("stays", Some("s"), u64::MAX));
        assert!(matches!(again.find(&goes, now(), true), Found::None));
    }

    #[test]
    fn what_has_run_out_is_neither_read_nor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (sessions, kept, _) = started(&folder);
        let long_ago = now().checked_sub(SignedDuration::from_secs(61)).unwrap();
        let (_, _, written) = sessions.open(opening("idle"), long_ago).unwrap();
        written.wait().unwrap();
        // Kept until the end: a thread that nobody has any more ends without having looked.
        let (_sessions_of_the_next, _next, count) = started(&folder);
        assert_eq!(count, 0);
        drop((sessions, kept));
        let database = Database::open(&settings(&folder)).unwrap();
        let gone = || {
            let rows: i64 = database.db.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
            rows == 0
        };
        // The thread that was started last removes it when it begins.
        let until = Instant::now() + Duration::from_secs(60);
        while !gone() {
            assert!(Instant::now() < until, "it is not removed");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_file_holds_nothing_that_opens_a_session() {
        let folder = tempfile::tempdir().unwrap();
        let (sessions, kept, _) = started(&folder);
        let (id, _, _) = sessions.open(opening("u"), now()).unwrap();
        kept.flush().unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let text = id.expose();
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()));
        }
    }

    #[test]
    fn a_removal_that_fails_is_said_and_tried_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let (sessions, kept, _) = started(&folder);
        let (_, session, written) = sessions.open(opening("u"), now()).unwrap();
        written.wait().unwrap();
        // Somebody else holds the file for longer than anybody waits.
        let blocker = Database::open(&settings(&folder)).unwrap();
        blocker.db.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (was_open, written) = sessions.end(&session.key, EndCause::LoggedOut);
        assert!(was_open && written.wait().is_err());
        blocker.db.execute_batch("COMMIT").unwrap();
        kept.flush().unwrap();
        let rows: i64 = blocker.db.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
    }
}
