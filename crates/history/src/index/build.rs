//! Writes the index: follows the event files, and keeps it within its bounds.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::tally::{self, Sums, TABLE as TALLY};
use super::{
    APPLICATION, IndexError, IndexSettings, PATIENCE, TABLES, VERSION, What, address_bytes, check_version, known,
    signed,
};
use crate::facts::Facts;
use crate::files::{BEGINNING, EventFile, files_of};
use crate::lines::{Line, Lines};

/// Events that are written in one transaction.
const BATCH: usize = 5_000;
/// How often the event file is looked at.
const POLL: Duration = Duration::from_millis(500);
/// After an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(30);
/// How often it is looked at whether the index keeps its bounds.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Words that are remembered, so that they need not be looked up.
const REMEMBERED: usize = 50_000;
/// Only the gateway's user may read who was refused what.
const MODE: u32 = 0o600;

/// Writes an index. There must be one at a time for a path.
#[derive(Debug)]
pub struct Indexer {
    db: Connection,
    settings: IndexSettings,
    words: HashMap<(What, Box<str>), i64>,
    /// The event file as it was when all of it was indexed: its inode and size.
    seen: Option<(u64, u64)>,
    pruned: Option<Instant>,
}

impl Indexer {
    /// Opens the index for writing, or makes it. One that is damaged or of another version is made anew.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn open(settings: IndexSettings) -> Result<Self, IndexError> {
        let db = match open(&settings.path) {
            Ok(db) => db,
            Err(error) => {
                tracing::warn!(path = %settings.path.display(), %error, "the index of events is made anew");
                remove(&settings.path);
                open(&settings.path)?
            }
        };
        Ok(Self { db, settings, words: HashMap::new(), seen: None, pruned: None })
    }

    /// Follows the event files until `stop` is dropped or says so. It takes at most half of a processor's time, so that what it
    /// catches up with costs nobody else much.
    pub fn run(mut self, stop: &Receiver<()>) {
        loop {
            let wait = match self.step(&mut |busy| !matches!(stop.recv_timeout(busy), Err(RecvTimeoutError::Timeout))) {
                Ok(true) => return,
                Ok(false) => POLL,
                Err(error) => {
                    tracing::error!(path = %self.settings.path.display(), %error, "events are not indexed for now");
                    PAUSE_AFTER_ERROR
                }
            };
            if !matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    /// Indexes all that is there now, and keeps the bounds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn catch_up(&mut self) -> Result<(), IndexError> {
        self.pruned = None;
        self.step(&mut |_| false).map(|_| ())
    }

    /// The same; after each batch `stopped` is asked, with how long it took. Says whether it was stopped.
    fn step(&mut self, stopped: &mut dyn FnMut(Duration) -> bool) -> Result<bool, IndexError> {
        let now = fs::metadata(&self.settings.events).ok().map(|file| (file.ino(), file.len()));
        if now.is_none() || now != self.seen {
            let (files, _) = files_of(&self.settings.events);
            let oldest = self.oldest();
            // The oldest first, so that what is left out at the end is what is written now.
            for file in files.iter().rev().filter(|file| file.may_hold(Some(oldest), None)) {
                if self.index(file, stopped)? {
                    return Ok(true);
                }
            }
            self.seen = now;
        }
        if self.pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY) {
            self.prune()?;
            self.pruned = Some(Instant::now());
            // Rotated files may have been compressed, which the file that is written to does not show.
            self.seen = None;
        }
        Ok(false)
    }

    /// Events before this do not belong into the index.
    fn oldest(&self) -> i64 {
        let age = SignedDuration::try_from(self.settings.max_age).unwrap_or(SignedDuration::MAX);
        Timestamp::now().checked_sub(age).map_or(i64::MIN, |oldest| oldest.as_microsecond())
    }

    fn index(&mut self, file: &EventFile, stopped: &mut dyn FnMut(Duration) -> bool) -> Result<bool, IndexError> {
        // A file that has just begun cannot be told from others yet.
        if file.beginning.len() < BEGINNING {
            return Ok(false);
        }
        let mut known = match known(&self.db, &file.beginning)? {
            Some(known) => known,
            None => self.enter(&file.beginning)?,
        };
        if !file.compressed && known.indexed > file.bytes {
            // It was cut, and is being written anew behind the same beginning.
            self.db.execute("DELETE FROM event WHERE file = ?1", [known.id])?;
            tally::forget(&self.db, known.id)?;
            self.db.execute(
                "UPDATE file SET indexed = 0, finished = 0, too_long = 0, malformed = 0 WHERE id = ?1",
                [known.id],
            )?;
            known = super::Known { indexed: 0, finished: 0, too_long: 0, malformed: 0, ..known };
        }
        if known.is_all_of(file) {
            return Ok(false);
        }
        let reader = match file.reader(known.indexed) {
            Ok(reader) => reader,
            // It was renamed since it was listed: it is found under its new name.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                tracing::warn!(path = %file.path.display(), %error, "an event file cannot be indexed");
                return Ok(false);
            }
        };
        let mut lines = Lines::new(reader, known.indexed);
        loop {
            let began = Instant::now();
            let more = self.batch(file, &mut known, &mut lines)?;
            if !more {
                return Ok(false);
            }
            if stopped(began.elapsed()) {
                return Ok(true);
            }
        }
    }

    fn enter(&self, beginning: &[u8]) -> Result<super::Known, IndexError> {
        self.db.execute(
            "INSERT INTO file (beginning, indexed, finished, too_long, malformed) VALUES (?1, 0, 0, 0, 0)",
            [beginning],
        )?;
        Ok(super::Known { id: self.db.last_insert_rowid(), indexed: 0, finished: 0, too_long: 0, malformed: 0 })
    }

    /// Indexes some lines. Says whether there may be more.
    fn batch(
        &mut self,
        file: &EventFile,
        known: &mut super::Known,
        lines: &mut Lines<impl std::io::BufRead>,
    ) -> Result<bool, IndexError> {
        let transaction = self.db.unchecked_transaction()?;
        let before: i64 = transaction.query_row("SELECT before FROM pruned", [], |row| row.get(0))?;
        let (mut more, mut sums) = (true, Sums::default());
        {
            let mut insert = transaction.prepare(
                "INSERT OR IGNORE INTO event (time, seq, id, file, offset, length, kind, reason, route, principal, address)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            for _ in 0..BATCH {
                match lines.next() {
                    Ok(Line::Whole(offset, line)) => {
                        match Facts::of_line(line) {
                            // What is older is found in the files.
                            Some(facts) if facts.time_us < before => {}
                            Some(facts) => {
                                let mut word =
                                    |what, text: Option<&str>| remember(&transaction, &mut self.words, what, text);
                                let numbers = Numbers {
                                    kind: word(What::Kind, Some(&facts.kind))?,
                                    reason: word(What::Reason, facts.reason.as_deref())?,
                                    route: word(What::Route, facts.route.as_deref())?,
                                    principal: word(What::Principal, facts.principal.as_deref())?,
                                };
                                if write(&mut insert, (known.id, offset, line.len()), &facts, &numbers)? {
                                    sums.add(&facts, &numbers);
                                }
                            }
                            None if line.is_empty() => {}
                            None => known.malformed += 1,
                        }
                        known.indexed = lines.offset();
                    }
                    Ok(Line::TooLong) => {
                        known.too_long += 1;
                        known.indexed = lines.offset();
                    }
                    Ok(Line::Unfinished(_)) => {
                        more = false;
                        break;
                    }
                    Ok(Line::End) => {
                        if file.compressed {
                            known.finished = file.bytes;
                        }
                        more = false;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(path = %file.path.display(), %error, "an event file cannot be read to its end");
                        more = false;
                        break;
                    }
                }
            }
        }
        sums.write(&transaction, known.id)?;
        transaction.execute(
            "UPDATE file SET indexed = ?2, finished = ?3, too_long = ?4, malformed = ?5 WHERE id = ?1",
            params![
                known.id,
                signed(known.indexed),
                signed(known.finished),
                signed(known.too_long),
                signed(known.malformed)
            ],
        )?;
        transaction.commit()?;
        Ok(more)
    }

    /// Takes out what is too old, and the oldest of what is too much.
    fn prune(&mut self) -> Result<(), IndexError> {
        let oldest = self.oldest();
        loop {
            let too_large = self.bytes()? > self.settings.max_bytes;
            // The oldest batch ends here.
            let batch: Option<i64> = self
                .db
                .query_row("SELECT time FROM event ORDER BY time LIMIT 1 OFFSET ?1", [signed(BATCH as u64)], |row| {
                    row.get(0)
                })
                .optional()?;
            let last: Option<i64> = self.db.query_row("SELECT max(time) FROM event", [], |row| row.get(0))?;
            let Some(end) = batch.or(last).map(|last| last.saturating_add(1)) else { break };
            let end = if too_large { end } else { end.min(oldest) };
            let transaction = self.db.unchecked_transaction()?;
            let gone = transaction.execute("DELETE FROM event WHERE time < ?1", [end])?;
            if gone > 0 {
                transaction.execute("UPDATE pruned SET before = max(before, ?1)", [end])?;
                tally::prune(&transaction, end)?;
            }
            transaction.commit()?;
            if gone == 0 {
                break;
            }
            self.db.execute_batch("PRAGMA incremental_vacuum(10000)")?;
        }
        self.forget_files()
    }

    /// Files that are gone, and of which no event is left.
    fn forget_files(&mut self) -> Result<(), IndexError> {
        let (files, _) = files_of(&self.settings.events);
        let mut statement = self.db.prepare("SELECT id, beginning FROM file")?;
        let known: Vec<(i64, Vec<u8>)> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        for (id, beginning) in known {
            if files.iter().all(|file| file.beginning != beginning) {
                self.db.execute("DELETE FROM event WHERE file = ?1", [id])?;
                tally::forget(&self.db, id)?;
                self.db.execute("DELETE FROM file WHERE id = ?1", [id])?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<u64, IndexError> {
        let pragma = |name: &str| self.db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
        Ok(super::unsigned(pages.saturating_mul(pragma("page_size")?)))
    }
}

fn open(path: &Path) -> Result<Connection, IndexError> {
    let db = Connection::open(path)?;
    db.busy_timeout(PATIENCE)?;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(MODE));
    let is_new = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0;
    if is_new {
        db.execute_batch(&format!(
            "PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal;
             BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {TABLES} {TALLY} COMMIT;"
        ))?;
    }
    check_version(&db)?;
    // What is lost with the power is indexed again.
    db.execute_batch("PRAGMA synchronous = normal; PRAGMA cache_size = -16384;")?;
    Ok(db)
}

fn remove(path: &Path) {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        name
    };
    for name in [path.as_os_str().to_owned(), beside("-wal"), beside("-shm")] {
        // What is not there need not go; what cannot go is an error of the next opening.
        let _ = fs::remove_file(name);
    }
}

/// The numbers of an event's words.
pub(super) struct Numbers {
    pub(super) kind: Option<i64>,
    pub(super) reason: Option<i64>,
    pub(super) route: Option<i64>,
    pub(super) principal: Option<i64>,
}

/// An event's line: in which file, where, and how long.
type Spot = (i64, u64, usize);

/// Says whether it was not there yet.
fn write(
    insert: &mut Statement<'_>,
    (file, offset, length): Spot,
    facts: &Facts,
    words: &Numbers,
) -> Result<bool, IndexError> {
    let written = insert.execute(params![
        facts.time_us,
        signed(facts.seq),
        facts.id.as_bytes().as_slice(),
        file,
        signed(offset),
        signed(length as u64),
        words.kind,
        words.reason,
        words.route,
        words.principal,
        facts.address.map(address_bytes),
    ])?;
    Ok(written > 0)
}

/// The number of a word.
fn remember(
    db: &Connection,
    words: &mut HashMap<(What, Box<str>), i64>,
    what: What,
    text: Option<&str>,
) -> Result<Option<i64>, IndexError> {
    let Some(text) = text else { return Ok(None) };
    let key = (what, Box::from(text));
    if let Some(id) = words.get(&key) {
        return Ok(Some(*id));
    }
    db.prepare("INSERT OR IGNORE INTO word (what, text) VALUES (?1, ?2)")?.execute(params![what as i64, text])?;
    let id = db
        .prepare("SELECT id FROM word WHERE what = ?1 AND text = ?2")?
        .query_row(params![what as i64, text], |row| row.get(0))?;
    if words.len() >= REMEMBERED {
        words.clear();
    }
    words.insert(key, id);
    Ok(Some(id))
}
