//! The rows of power that is given for a time: a log that only grows, held together by `portcullis_governance::power`.
//!
//! They are written through a connection of their own, and every transaction is on the disk when it returns. How far they have come is in a file beside the
//! store as well ([`PowerAnchorFile`]), so that what somebody else writes into the table is told from what the gateway wrote.

use jiff::Timestamp;
use portcullis_governance::power::{Limits, Power, PowerBook, PowerError, PowerKind, PowerLedger, PowerState};
use portcullis_governance::power::{Place, PowerAnchor, PowerAnchorFile};
use portcullis_governance::{Hash, LedgerError};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use crate::database::{PATIENCE, Settings};
use crate::error::{StoreError, Trouble};
use crate::lock::Lock;
use crate::looking;
use crate::risk::{keep, kept};
use crate::schema;

/// The latest time of day that was noted, in the table `kept`.
const SEEN: &str = "power_seen";
/// That there is a file beside the store, so that it is told where somebody removes it.
pub(crate) const ANCHORED: &str = "power_anchored";

/// The log in a store.
#[derive(Debug)]
pub struct PowerLog {
    db: Connection,
    anchor: PowerAnchorFile,
    /// No gateway opens it while it is looked at.
    _lock: Option<Lock>,
    /// Whoever may say so takes the rows as they are: a file that was removed is made again by what is appended.
    takes: bool,
}

impl PowerLog {
    /// Opens the log in a store that was opened before.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(&settings.path, flags)?;
            db.busy_timeout(PATIENCE)?;
            schema::check(&db)?;
            db.pragma_update(None, "synchronous", "FULL")?;
            Ok(db)
        };
        let db = open().map_err(|trouble: Trouble| StoreError { path: settings.path.clone(), trouble })?;
        Ok(Self { db, anchor: PowerAnchorFile::beside(&settings.path), _lock: None, takes: false })
    }

    /// The same for whoever takes the rows as they are: what is appended makes a file beside the store that was removed again.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn open_to_take(settings: &Settings) -> Result<Self, StoreError> {
        Ok(Self { takes: true, ..Self::open(settings)? })
    }

    /// Opens the log to look at it: nothing is written, neither to the store nor beside it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn look(settings: &Settings) -> Result<Self, StoreError> {
        let opened = looking::open(&settings.path);
        let (db, lock) = opened.map_err(|trouble| StoreError { path: settings.path.clone(), trouble })?;
        Ok(Self { db, anchor: PowerAnchorFile::beside(&settings.path), _lock: lock, takes: false })
    }

    /// Opens the log to read it, for whoever has the store open already: nothing is written. It asks for no lock, since one of its own process would keep it
    /// waiting.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(settings: &Settings) -> Result<Self, StoreError> {
        let db = looking::shared(&settings.path);
        let db = db.map_err(|trouble| StoreError { path: settings.path.clone(), trouble })?;
        Ok(Self { db, anchor: PowerAnchorFile::beside(&settings.path), _lock: None, takes: false })
    }

    /// Takes the rows as they are: what is beside the store knows them from now on. Says whether it knew something else before. `anew`: only where it knows
    /// nothing yet, as of a store from before the version of the program that began to keep it.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn take_as_it_is(&mut self, anew: bool) -> Result<bool, LedgerError> {
        let (transaction, anchor) = self.begin()?;
        let known = anchor.read().map_err(unwritten);
        // What cannot be read may know that the rows are others.
        let known = if anew { Ok(known?) } else { known };
        let is_noted = kept(&transaction, ANCHORED).map_err(failed)?.is_some();
        let is_there = known.as_ref().is_ok_and(Option::is_some);
        // Somebody has removed it: whoever reads the log says so.
        if anew && is_noted && !is_there {
            return Ok(false);
        }
        let end = last(&transaction)?;
        let is_other = !anew
            && match &known {
                Ok(Some(known)) => !known.holds(end),
                Ok(None) => is_noted,
                Err(_) => true,
            };
        if is_other || !is_there {
            anchor.write(PowerAnchor::at(end)).map_err(unwritten)?;
        }
        if !is_noted {
            note_anchored(&transaction)?;
            transaction.commit().map_err(failed)?;
        }
        Ok(is_other)
    }

    /// The store comes from a backup, and is to take the place of another one, whose file beside it goes: what is in it is taken as it is once.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn without_anchor(settings: &Settings) -> Result<(), StoreError> {
        let log = Self::open(settings)?;
        let forgotten = log.db.execute("DELETE FROM kept WHERE name = ?1", [ANCHORED]);
        forgotten.map(drop).map_err(|error| StoreError { path: settings.path.clone(), trouble: error.into() })
    }

    /// Whoever has begun is alone with the rows and with what is beside them.
    fn begin(&mut self) -> Result<(Transaction<'_>, &PowerAnchorFile), LedgerError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        schema::check(&transaction).map_err(failed)?;
        Ok((transaction, &self.anchor))
    }

    /// Writes records behind the last one: what is beside the store knows of them before anybody can read them.
    fn write(&mut self, n: u64, records: &[&[u8]], gone: &[u64]) -> Result<(), LedgerError> {
        let numbered = || (n..).zip(records);
        let Some((next, record)) = numbered().last() else { return Ok(()) };
        let next = (next, Hash::of(record));
        let takes = self.takes;
        let (transaction, anchor) = self.begin()?;
        let known = last(&transaction)?;
        if known.0.checked_add(1) != Some(n) {
            return Err(LedgerError::Conflict);
        }
        if !takes && matches!(anchor.read(), Ok(None)) && kept(&transaction, ANCHORED).map_err(failed)?.is_some() {
            return Err(LedgerError::Failed(
                "the file beside it that says how far the log of temporary power has come was removed".to_owned(),
            ));
        }
        anchor.write(PowerAnchor { known, next }).map_err(unwritten)?;
        note_anchored(&transaction)?;
        for (n, record) in numbered() {
            insert(&transaction, n, record)?;
        }
        for gone in gone {
            transaction.execute("DELETE FROM power WHERE n = ?1", [gone.cast_signed()]).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        // It is there: where this cannot be noted nobody notices if it is taken away, and nothing else is lost.
        let noted = self.begin().and_then(|(transaction, anchor)| match last(&transaction)? {
            end if end == next => anchor.write(PowerAnchor::at(next)).map_err(unwritten),
            _ => Ok(()),
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "that the log of temporary power has grown is not noted beside the store");
        }
        Ok(())
    }
}

fn note_anchored(transaction: &Transaction<'_>) -> Result<(), LedgerError> {
    keep(transaction, ANCHORED, 1).map_err(failed)
}

/// Where the log ends.
fn last(db: &Connection) -> Result<Place, LedgerError> {
    let row = db.query_row("SELECT n, record FROM power ORDER BY n DESC LIMIT 1", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    match row {
        Ok((n, record)) => Ok((n.cast_unsigned(), Hash::of(&record))),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok((0, Hash::NONE)),
        Err(error) => Err(failed(error)),
    }
}

fn unwritten(error: std::io::Error) -> LedgerError {
    LedgerError::Failed(format!("the file beside it that says how far the log of temporary power has come: {error}"))
}

fn insert(transaction: &Transaction<'_>, n: u64, record: &[u8]) -> Result<(), LedgerError> {
    let row = params![n.cast_signed(), record];
    let inserted = transaction.execute("INSERT INTO power (n, record) VALUES (?1, ?2)", row);
    inserted.map(drop).map_err(failed)
}

fn failed(error: impl Into<Trouble>) -> LedgerError {
    LedgerError::Failed(error.into().to_string())
}

impl PowerLedger for PowerLog {
    fn after(&self, n: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        let read = || {
            let mut statement = self.db.prepare("SELECT record FROM power WHERE n > ?1 ORDER BY n")?;
            let rows = statement.query_map([n.cast_signed()], |row| row.get(0))?;
            rows.collect::<Result<Vec<Vec<u8>>, _>>()
        };
        read().map_err(failed)
    }

    fn append(&mut self, n: u64, records: &[Vec<u8>]) -> Result<(), LedgerError> {
        self.write(n, &records.iter().map(Vec::as_slice).collect::<Vec<_>>(), &[])
    }

    fn forget(&mut self, n: u64, record: &[u8], gone: &[u64]) -> Result<(), LedgerError> {
        self.write(n, &[record], gone)
    }

    fn anchor(&self) -> Result<Option<PowerAnchor>, LedgerError> {
        match self.anchor.read().map_err(unwritten)? {
            None if kept(&self.db, ANCHORED).map_err(failed)?.is_some() => Ok(Some(PowerAnchor::LOST)),
            known => Ok(known),
        }
    }

    fn seen(&self) -> Result<Option<i64>, LedgerError> {
        kept(&self.db, SEEN).map_err(failed)
    }

    fn note_seen(&mut self, at: i64) -> Result<(), LedgerError> {
        keep(&self.db, SEEN, at).map_err(failed)
    }
}

/// Takes the log of a newer store into one that a backup held, in its place, where it goes on from there. Says whether it does: else nobody knows
/// what was ended since, and whoever restores ends all of it.
///
/// # Errors
/// One of the two cannot be used.
pub(crate) fn take_newer(transaction: &Connection) -> Result<bool, Trouble> {
    let goes_on: bool = transaction.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM main.power) OR EXISTS (
             SELECT 1 FROM main.power AS old JOIN newer.power AS new ON old.n = new.n AND old.record = new.record
             WHERE old.n = (SELECT max(n) FROM main.power))",
        [],
        |row| row.get(0),
    )?;
    if goes_on {
        transaction.execute("DELETE FROM main.power", [])?;
        transaction.execute("INSERT INTO main.power SELECT * FROM newer.power", [])?;
        let seen = "INSERT OR REPLACE INTO main.kept SELECT * FROM newer.kept WHERE name = ?1";
        transaction.execute(seen, [SEEN])?;
    }
    Ok(goes_on)
}

/// Ends all that is in force by the log in a store, of which nobody knows what happened after it was written.
///
/// # Errors
/// It cannot be read or written.
pub fn end_all_power(settings: &Settings, reason: &str, by: &[String], now: Timestamp) -> Result<usize, PowerError> {
    let log = PowerLog::open(settings).map_err(|error| PowerError::Ledger(LedgerError::Failed(error.to_string())))?;
    let mut book = PowerBook::open(Box::new(log), Limits::default(), now)?;
    let ended = book.end_all(reason, by, now)?;
    drop(book);
    Ok(ended)
}

/// Glass that somebody broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Its number: what `portcullis access review` takes.
    pub id: u64,
    /// Whose: `user:alice`.
    pub principal: String,
    /// What it gives: `role:NAME,ROUTE`.
    pub gives: String,
    /// Why.
    pub reason: String,
    /// When.
    pub opened: Timestamp,
    /// When it ends or ended.
    pub ends: Timestamp,
    /// Who has looked at what was done with it: two have to.
    pub reviewed_by: Vec<String>,
}

/// All that is known of broken glass, the last first. It changes nothing in the store.
///
/// # Errors
/// The log cannot be read, or is not what it was.
pub fn break_glass(settings: &Settings) -> Result<Vec<BreakGlass>, PowerError> {
    let log = PowerLog::open(settings).map_err(|error| PowerError::Ledger(LedgerError::Failed(error.to_string())))?;
    let book = PowerBook::read(Box::new(log), Limits::default())?;
    let of = |power: &Power| {
        let (began, ends) = match power.state {
            PowerState::InForce { began, until } => (began, until),
            PowerState::Ended { began, ended, .. } => (began, ended),
            PowerState::Waiting { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => return None,
        };
        let time = |micros| Timestamp::from_microsecond(micros).ok();
        let first = |(names, _): &(Vec<String>, String)| names.first().cloned().unwrap_or_default();
        Some(BreakGlass {
            id: power.n,
            principal: power.asked.principal.clone(),
            gives: power.asked.gives.clone(),
            reason: power.asked.reason.clone(),
            opened: time(began)?,
            ends: time(ends)?,
            reviewed_by: power.reviewed.iter().map(first).collect(),
        })
    };
    Ok(book.powers().filter(|power| power.asked.kind == PowerKind::BreakGlass).filter_map(of).collect())
}

/// An eligible assignment that was activated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activated {
    /// By whom.
    pub principal: String,
    /// The name of the assignment.
    pub assignment: String,
    /// When it came into force.
    pub began: Timestamp,
}

/// Every activation of an eligible assignment that came into force, as the log has it.
///
/// # Errors
/// The log cannot be read, or was changed.
pub fn activations(settings: &Settings) -> Result<Vec<Activated>, PowerError> {
    let log = PowerLog::open(settings).map_err(|error| PowerError::Ledger(LedgerError::Failed(error.to_string())))?;
    let book = PowerBook::read(Box::new(log), Limits::default())?;
    let of = |power: &Power| {
        let began = match power.state {
            PowerState::InForce { began, .. } | PowerState::Ended { began, .. } => began,
            PowerState::Waiting { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => return None,
        };
        Some(Activated {
            principal: power.asked.principal.clone(),
            assignment: power.asked.gives.clone(),
            began: Timestamp::from_microsecond(began).ok()?,
        })
    };
    Ok(book.powers().filter(|power| power.asked.kind == PowerKind::Activation).filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use portcullis_governance::power::Asked;

    use super::*;
    use crate::database::Database;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn book(settings: &Settings, now: i64) -> PowerBook {
        let log = PowerLog::open(settings).unwrap();
        PowerBook::open(Box::new(log), Limits::default(), at(now)).unwrap()
    }

    fn asked(principal: &str) -> Asked {
        Asked {
            kind: PowerKind::Activation,
            principal: principal.to_owned(),
            gives: "on-call".to_owned(),
            lasts_s: 3_600,
            reason: "INC-7".to_owned(),
            ticket: String::new(),
            approvals: 0,
            waits_s: 60,
        }
    }

    #[test]
    fn what_was_appended_is_there_for_the_next_process_and_for_the_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        let (mut one, mut other) = (book(&settings, 0), book(&settings, 0));
        let n = one.ask(asked("user:alice"), &[], at(0)).unwrap().n;
        assert_eq!(other.ask(asked("user:bert"), &[], at(0)), Err(PowerError::Conflict));
        other.catch_up().unwrap();
        assert!(other.power(n).unwrap().is_in_force(at(0)));
        one.note_seen().unwrap();
        // A process that is killed has closed nothing.
        let mut third = book(&settings, -1_000);
        let PowerState::InForce { until, .. } = third.power(n).unwrap().state else { panic!("it is not in force") };
        assert_eq!(until, at(2_600).as_microsecond(), "the clock was set back meanwhile");
        third.tell_time(at(2_600)).unwrap();
        assert_eq!(third.take_over().len(), 1);
        let damage = Connection::open(&settings.path).unwrap();
        damage.execute("UPDATE power SET record = x'00' WHERE n = 1", []).unwrap();
        let log = PowerLog::open(&settings).unwrap();
        assert!(PowerBook::open(Box::new(log), Limits::default(), at(0)).is_err());
    }

    #[test]
    fn whoever_has_the_store_alone_reads_the_log_beside_it_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        let _alone = Lock::alone(&settings.path).unwrap();
        let n = book(&settings, 0).ask(asked("user:alice"), &[], at(0)).unwrap().n;
        let mut log = PowerLog::read(&settings).unwrap();
        assert!(log.append(n + 1, &[b"more".to_vec()]).is_err() && log.note_seen(1).is_err());
        let read = PowerBook::read_rows(Box::new(log), Limits::default()).unwrap();
        assert!(read.power(n).unwrap().is_in_force(at(0)));
        assert_eq!(read.powers().count(), 1);
    }

    /// Finding of 2026-11: rows that somebody else wrote were taken over within a second, and one that was cut off was never missed.
    #[test]
    fn rows_that_somebody_else_writes_or_takes_away_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        let beside = PowerAnchorFile::beside(&settings.path);
        let mut book = book(&settings, 0);
        assert_eq!(beside.read().unwrap(), None);
        let n = book.ask(asked("user:alice"), &[], at(0)).unwrap().n;
        let known = beside.read().unwrap().unwrap();
        assert_eq!(known, PowerAnchor::at((2, book.head().1)));
        book.end(n, "done", &[], at(1)).unwrap();
        let damage = Connection::open(&settings.path).unwrap();
        damage.execute("CREATE TEMP TABLE cut AS SELECT * FROM power WHERE n = 3", []).unwrap();
        damage.execute("DELETE FROM power WHERE n = 3", []).unwrap();
        let open = || PowerBook::open(Box::new(PowerLog::open(&settings).unwrap()), Limits::default(), at(2));
        assert!(open().unwrap_err().to_string().contains("is not there any more"));
        damage.execute("INSERT INTO power SELECT * FROM cut", []).unwrap();
        assert_eq!(open().unwrap().head().0, 3);
        // One that is written behind its back.
        let entry = portcullis_governance::power::Entry {
            n: 4,
            prev: book.head().1,
            at: at(2).as_microsecond(),
            by: Vec::new(),
            act: portcullis_governance::power::Act::Asked(asked("user:bert")),
        };
        damage.execute("INSERT INTO power (n, record) VALUES (4, ?1)", [entry.encode()]).unwrap();
        assert!(book.catch_up().unwrap_err().to_string().contains("does not know it"));
        assert!(open().is_err());
        // Only whoever may say so has it taken as it is; by itself only what nobody knew anything of yet.
        let mut log = PowerLog::open(&settings).unwrap();
        assert!(!log.take_as_it_is(true).unwrap() && open().is_err());
        assert!(log.take_as_it_is(false).unwrap());
        assert!(!log.take_as_it_is(false).unwrap());
        open().unwrap();
        // What cannot be read may know better.
        std::fs::write(beside.path(), "torn").unwrap();
        assert!(log.take_as_it_is(true).is_err());
        assert_eq!(std::fs::read_to_string(beside.path()).unwrap(), "torn");
        std::fs::write(beside.path(), "").unwrap();
        // Finding of 2026-11: whoever removed it by hand had the log taken without a word, also with rows taken away.
        beside.forget().unwrap();
        assert!(!log.take_as_it_is(true).unwrap());
        assert!(beside.read().unwrap().is_none());
        assert!(open().unwrap_err().to_string().contains("somebody has removed it"));
        assert!(
            book.catch_up().unwrap_err().to_string().contains("somebody has removed it"),
            "while a gateway runs, too"
        );
        let refused = log.append(5, &[entry.encode()]).unwrap_err().to_string();
        assert!(refused.contains("was removed") && beside.read().unwrap().is_none(), "{refused}");
        assert!(log.take_as_it_is(false).unwrap(), "whoever may say so");
        open().unwrap();
        // A store from before there was such a file, and one that comes from a backup.
        PowerLog::without_anchor(&settings).unwrap();
        beside.forget().unwrap();
        assert!(!log.take_as_it_is(true).unwrap());
        assert!(beside.read().unwrap().is_some());
        open().unwrap();
    }

    #[test]
    fn what_is_let_go_is_gone_and_what_is_left_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        let limits = Limits { entries: 30, ..Limits::default() };
        let open = |now: i64| PowerBook::open(Box::new(PowerLog::open(&settings).unwrap()), limits, at(now));
        let mut one = open(0).unwrap();
        let stays = one.ask(asked("user:alice"), &[], at(0)).unwrap().n;
        let mut other = open(0).unwrap();
        for second in 1..30 {
            let n = one.ask(asked("user:bert"), &[], at(second)).unwrap().n;
            one.end(n, "done", &[], at(second)).unwrap();
        }
        // The other process heard of none of it until now.
        other.catch_up().unwrap();
        assert_eq!((other.head(), one.head().0 <= 33), (one.head(), true));
        assert!(other.power(stays).unwrap().is_in_force(at(30)));
        assert_eq!(open(31).unwrap().head(), one.head());
        let damage = Connection::open(&settings.path).unwrap();
        damage.execute("DELETE FROM power WHERE n = 2", []).unwrap();
        assert!(open(32).unwrap_err().to_string().contains("what was left"));
    }

    #[test]
    fn broken_glass_is_listed_until_two_have_looked() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        let mut open = book(&settings, 0);
        let code = Hash::of(b"code");
        let seal = Asked { kind: PowerKind::Seal, gives: code.to_string(), ..asked("user:alice") };
        open.ask(seal, &[], at(0)).unwrap();
        assert_eq!(break_glass(&settings).unwrap(), []);
        let broken = Asked { kind: PowerKind::BreakGlass, gives: "role:admin,*".to_owned(), ..asked("user:alice") };
        let n = open.break_seal(code, broken, &["carl".to_owned()], at(1)).unwrap().n;
        let dora = ["dora".to_owned()];
        let who = portcullis_governance::power::Reviewer::Account { names: &dora, is_shared: false };
        open.review(n, "", who, &portcullis_governance::ApproverSet::default(), at(2)).unwrap();
        let found = break_glass(&settings).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].opened, found[0].ends), (at(1), at(3_601)));
        assert_eq!((&*found[0].principal, &found[0].reviewed_by), ("user:alice", &vec!["dora".to_owned()]));
    }

    #[test]
    fn a_restored_store_has_nothing_in_force_of_which_nobody_knows() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        let n = book(&settings, 0).ask(asked("user:alice"), &[], at(0)).unwrap().n;
        assert_eq!(end_all_power(&settings, "restored", &[], at(10)).unwrap(), 1);
        assert_eq!(end_all_power(&settings, "restored", &[], at(11)).unwrap(), 0);
        assert!(!book(&settings, 12).power(n).unwrap().is_in_force(at(12)));
    }
}
