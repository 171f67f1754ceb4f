//! The tables, by version. A step that was released is never changed: whoever needs another table adds a step.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Trouble;

/// "pcst": what tells this file from others (`PRAGMA application_id`).
pub(crate) const APPLICATION: i64 = 0x7063_7374;

/// What each version adds to the one before. `PRAGMA user_version` is how many of them were taken.
const STEPS: &[&str] = &[
    // 1: risk. Times are microseconds since 1970 by the time of day. A name is a network with its length, or a principal's id.
    "
    CREATE TABLE kept (name TEXT PRIMARY KEY NOT NULL, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE ban (
        kind INTEGER NOT NULL, name TEXT NOT NULL,
        scope INTEGER NOT NULL, began INTEGER NOT NULL, until INTEGER NOT NULL, offences INTEGER NOT NULL,
        cause TEXT NOT NULL, simulated INTEGER NOT NULL, past REAL NOT NULL, past_at INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE evidence (
        kind INTEGER NOT NULL, name TEXT NOT NULL, place INTEGER NOT NULL, reason TEXT NOT NULL, path TEXT NOT NULL,
        PRIMARY KEY (kind, name, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE demand (
        what INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
        alert TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, simulated INTEGER NOT NULL,
        PRIMARY KEY (what, kind, name, alert)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE profile (key INTEGER PRIMARY KEY NOT NULL, written INTEGER NOT NULL, value BLOB NOT NULL) STRICT;
    CREATE TABLE healthy (key INTEGER PRIMARY KEY NOT NULL, seen INTEGER NOT NULL) STRICT;
    ",
    // Credentials that were revoked. Times are microseconds since 1970, by the clocks of those who issue credentials.
    "
    CREATE TABLE revocation (
        what TEXT NOT NULL, name TEXT NOT NULL,
        before INTEGER NOT NULL, made INTEGER NOT NULL, until INTEGER, reason TEXT NOT NULL,
        PRIMARY KEY (what, name)
    ) STRICT, WITHOUT ROWID;
    ",
    // Governance. Records and blobs are what the crate `governance` wrote, which holds them to their hashes.
    "
    CREATE TABLE version (
        n INTEGER PRIMARY KEY NOT NULL, hash BLOB NOT NULL, content BLOB NOT NULL, approvers BLOB NOT NULL, record BLOB NOT NULL
    ) STRICT;
    CREATE TABLE blob (hash BLOB PRIMARY KEY NOT NULL, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE change (
        place INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL,
        content BLOB NOT NULL, approvers BLOB NOT NULL, record BLOB NOT NULL
    ) STRICT;
    CREATE TABLE approval (
        change BLOB NOT NULL, key TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (change, key)
    ) STRICT, WITHOUT ROWID;
    ",
    // When API keys were last used, in seconds since 1970.
    "
    CREATE TABLE key_use (id TEXT PRIMARY KEY NOT NULL, used INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    ",
    // Second factors, their secrets sealed, and wrong codes. Times of factors are microseconds since 1970, those of attempts seconds.
    "
    CREATE TABLE factor (
        principal TEXT NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
        created INTEGER NOT NULL, used INTEGER, confirmed INTEGER NOT NULL, counter INTEGER NOT NULL, credential BLOB UNIQUE,
        key INTEGER NOT NULL, sealed BLOB NOT NULL, version INTEGER NOT NULL,
        PRIMARY KEY (principal, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE factor_attempt (
        principal TEXT PRIMARY KEY NOT NULL, failures INTEGER NOT NULL, last INTEGER NOT NULL, until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    // Sessions of browsers, by the hash of what is in their cookies. Times are microseconds since 1970, `idle` too.
    "
    CREATE TABLE session (
        key BLOB PRIMARY KEY NOT NULL, provider TEXT NOT NULL, subject TEXT NOT NULL, sid TEXT,
        fingerprint INTEGER NOT NULL, created INTEGER NOT NULL, until INTEGER NOT NULL, idle INTEGER NOT NULL,
        seen INTEGER NOT NULL, content TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    // Keys of identity providers as they were fetched last, by the hash of issuer and address. Seconds since 1970.
    "
    CREATE TABLE provider_key (
        place BLOB PRIMARY KEY NOT NULL, provider TEXT NOT NULL, confirmed INTEGER NOT NULL, text BLOB NOT NULL, sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    // Governance: which report on the impact a version or a change refers to (empty: none), and how far a version has come that is rolled out.
    "
    ALTER TABLE version ADD COLUMN impact BLOB NOT NULL DEFAULT x'';
    ALTER TABLE change ADD COLUMN impact BLOB NOT NULL DEFAULT x'';
    CREATE TABLE rollout (place INTEGER PRIMARY KEY NOT NULL CHECK (place = 1), record BLOB NOT NULL) STRICT;
    ",
    // Power that is given for a time: what the crate `governance` wrote, which holds it to its chain.
    "
    CREATE TABLE power (n INTEGER PRIMARY KEY NOT NULL, record BLOB NOT NULL) STRICT;
    ",
    // Audits: which permissions were used by whom, the runs, and what is suppressed. Times are seconds since 1970; 0 is never.
    "
    CREATE TABLE usage_principal (
        id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, carried BLOB NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, overflowed INTEGER NOT NULL, UNIQUE (kind, name)
    ) STRICT;
    CREATE TABLE usage_action (id INTEGER PRIMARY KEY, route TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (route, name)) STRICT;
    CREATE TABLE usage (
        principal INTEGER NOT NULL, action INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, uses INTEGER NOT NULL, days INTEGER NOT NULL,
        denied INTEGER NOT NULL, last_denied INTEGER NOT NULL,
        PRIMARY KEY (principal, action)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE usage_address (
        network TEXT PRIMARY KEY NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE usage_rule (
        kind TEXT NOT NULL, name TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE audit_run (id TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL, report BLOB NOT NULL) STRICT;
    CREATE TABLE audit_suppression (
        fingerprint TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL, reason TEXT NOT NULL, made INTEGER NOT NULL, until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    // Audits: the spans of time in which usage was counted (seconds since 1970), the runs in the order in which they were made, whatever the
    // clock said, who suppressed what when it was how bad, and what was done while no gateway ran that could have told it.
    "
    CREATE TABLE audit_observed (began INTEGER PRIMARY KEY NOT NULL, until INTEGER NOT NULL) STRICT;
    CREATE TABLE audit_made (
        n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, report BLOB NOT NULL
    ) STRICT;
    INSERT INTO audit_made (id, at, report) SELECT id, at, report FROM audit_run ORDER BY rowid;
    DROP TABLE audit_run;
    ALTER TABLE audit_suppression ADD COLUMN made_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE audit_suppression ADD COLUMN severity TEXT NOT NULL DEFAULT '';
    CREATE TABLE audit_untold (n INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, message TEXT NOT NULL) STRICT;
    ",
    // Spikes of refusals: what is known of usual days, and the last ones that were explained. All of it is in the words of who writes it.
    "
    CREATE TABLE spike_known (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE spike_found (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, report BLOB NOT NULL) STRICT;
    ",
    // Suppressions: all names of whoever made one, by lines; who else confirmed it; and whether its end was told.
    "
    ALTER TABLE audit_suppression ADD COLUMN names TEXT NOT NULL DEFAULT '';
    ALTER TABLE audit_suppression ADD COLUMN confirmed_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE audit_suppression ADD COLUMN end_told INTEGER NOT NULL DEFAULT 0;
    ",
    // What was used and is good once, by its hash, until when it could be used again: microseconds since 1970.
    "
    CREATE TABLE used_once (hash BLOB PRIMARY KEY NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    ",
];

/// Takes the steps before the one that makes this table: what a test of that step begins with.
#[cfg(test)]
pub(crate) fn migrate_before(db: &Connection, table: &str) {
    let made = format!("CREATE TABLE {table} ");
    let before = STEPS.iter().position(|step| step.contains(&made)).unwrap();
    STEPS[..before].iter().for_each(|step| db.execute_batch(step).unwrap());
    db.pragma_update(None, "application_id", APPLICATION).unwrap();
    db.pragma_update(None, "user_version", i64::try_from(before).unwrap()).unwrap();
}

/// Whether the file is a store of a version that is known, or empty. It changes nothing.
pub(crate) fn check(db: &Connection) -> Result<(), Trouble> {
    let application = pragma(db, "application_id")?;
    let version = pragma(db, "user_version")?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, version, tables) == (0, 0, 0) {
        return Ok(());
    }
    if application != APPLICATION {
        return Err(Trouble::Foreign);
    }
    let known = known();
    if version > known {
        return Err(Trouble::Newer { found: version, known });
    }
    Ok(())
}

/// Brings the tables to the version of now: all steps that are missing, or none.
pub(crate) fn migrate(db: &mut Connection) -> Result<(), Trouble> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it since the check.
    check(&transaction)?;
    let taken = usize::try_from(pragma(&transaction, "user_version")?).unwrap_or_default();
    if taken < STEPS.len() {
        for step in STEPS.iter().skip(taken) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known())?;
    }
    transaction.commit()?;
    Ok(())
}

/// Whether the tables are those of now.
pub(crate) fn is_known(db: &Connection) -> Result<bool, Trouble> {
    Ok(pragma(db, "user_version")? == known())
}

fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

fn pragma(db: &Connection, name: &str) -> Result<i64, Trouble> {
    Ok(db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}
