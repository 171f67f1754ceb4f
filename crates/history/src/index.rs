//! An index of event files: where each event stands, and what filters and counts look at, in an SQLite file.
//!
//! It is a convenience and never the truth: events are read from their files, whatever of them is not in the index yet is found by
//! reading, and an index that is damaged, of another version or gone costs time and no answer. One process writes it
//! ([`Indexer`]), behind the gateway and never in a request's way; any number read it meanwhile ([`Index`]).

mod build;
mod by_number;
mod query;
mod tally;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use thiserror::Error;

use crate::files::EventFile;

pub use build::Indexer;
pub(crate) use query::Place;

/// What an index needs to know, as plain values. The shape of TOML (`[index]`) lives in `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSettings {
    /// The index.
    pub path: PathBuf,
    /// The event file that it is of, with those rotated beside it.
    pub events: PathBuf,
    /// Events that are older are not in it. Default 31 days.
    pub max_age: Duration,
    /// The most bytes on disk; the oldest events go first. Default 2 GiB.
    pub max_bytes: u64,
}

/// Why an index cannot be used.
#[derive(Debug, Error)]
pub enum IndexError {
    /// SQLite says so.
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    /// It is of another version of this program.
    #[error("it is of another version")]
    Version,
}

/// "pcix": what tells this database from others (`PRAGMA application_id`).
const APPLICATION: i32 = 0x7063_6978;
/// The version of its tables. One of another version is made anew.
const VERSION: i32 = 2;
/// How long a writer or a reader waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        beginning BLOB NOT NULL UNIQUE,
        indexed INTEGER NOT NULL,
        finished INTEGER NOT NULL,
        too_long INTEGER NOT NULL,
        malformed INTEGER NOT NULL
    );
    CREATE TABLE word (id INTEGER PRIMARY KEY, what INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (what, text));
    CREATE TABLE event (
        time INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL,
        file INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        kind INTEGER NOT NULL, reason INTEGER, route INTEGER, principal INTEGER, address BLOB,
        PRIMARY KEY (time, file, offset)
    ) WITHOUT ROWID;
    CREATE INDEX event_id ON event (id);
    CREATE INDEX event_principal ON event (principal) WHERE principal IS NOT NULL;
    CREATE INDEX event_address ON event (address) WHERE address IS NOT NULL;
    CREATE TABLE pruned (before INTEGER NOT NULL);
    INSERT INTO pruned VALUES (-9223372036854775808);
";

/// What a word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Kind = 0,
    Reason = 1,
    Route = 2,
    Principal = 3,
}

/// An index that is read. All its answers are about one moment.
#[derive(Debug)]
pub struct Index {
    db: Connection,
    /// Events before this are not in it: microseconds since the epoch.
    pub(crate) pruned_before: i64,
}

/// How far a file is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: i64,
    /// Everything before this offset of its content.
    pub(crate) indexed: u64,
    /// The size on disk of a compressed file that is indexed as a whole; else 0.
    pub(crate) finished: u64,
    pub(crate) too_long: u64,
    pub(crate) malformed: u64,
}

impl Known {
    /// Whether nothing follows on what is indexed.
    pub(crate) fn is_all_of(&self, file: &EventFile) -> bool {
        if file.compressed { self.finished == file.bytes } else { self.indexed == file.bytes }
    }
}

impl Index {
    /// Opens an index to read it. `None`: there is none.
    ///
    /// # Errors
    /// One that cannot be used.
    pub fn open(path: &Path) -> Result<Option<Self>, IndexError> {
        if !path.exists() {
            return Ok(None);
        }
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(PATIENCE)?;
        check_version(&db)?;
        // From the first look on it shows one moment, whatever is written meanwhile.
        db.execute_batch("BEGIN")?;
        let pruned_before = db.query_row("SELECT before FROM pruned", [], |row| row.get(0))?;
        Ok(Some(Self { db, pruned_before }))
    }

    /// How far a file is indexed; `None`: not at all, or it is shorter than what is known of it.
    pub(crate) fn known(&self, file: &EventFile) -> Result<Option<Known>, IndexError> {
        let known = known(&self.db, &file.beginning)?;
        Ok(known.filter(|known| file.compressed || known.indexed <= file.bytes))
    }

    fn words(&self, what: What) -> Result<HashMap<i64, Box<str>>, IndexError> {
        let mut statement = self.db.prepare("SELECT id, text FROM word WHERE what = ?1")?;
        let rows =
            statement.query_map([what as i64], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.into_boxed_str())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn check_version(db: &Connection) -> Result<(), IndexError> {
    let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    if (pragma("application_id")?, pragma("user_version")?) == (APPLICATION, VERSION) {
        Ok(())
    } else {
        Err(IndexError::Version)
    }
}

fn known(db: &Connection, beginning: &[u8]) -> Result<Option<Known>, IndexError> {
    let mut statement =
        db.prepare("SELECT id, indexed, finished, too_long, malformed FROM file WHERE beginning = ?1")?;
    let row = statement.query_row(params![beginning], |row| {
        Ok(Known {
            id: row.get(0)?,
            indexed: unsigned(row.get(1)?),
            finished: unsigned(row.get(2)?),
            too_long: unsigned(row.get(3)?),
            malformed: unsigned(row.get(4)?),
        })
    });
    Ok(row.optional()?)
}

/// SQLite's integers are signed; what is counted here is far below.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// An address as sixteen bytes, IPv4 in its IPv6 form, so that every network is a range.
fn address_bytes(address: std::net::IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    }
}
