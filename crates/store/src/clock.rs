//! The time of day, by which everything is kept. Where it was set, all rows are moved with it in one transaction, so that at no instant some of
//! them are by one clock and some by another.

use jiff::{SignedDuration, Timestamp};
use portcullis_risk::state::Reading;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::error::Trouble;
use crate::owner::SINCE;
use crate::risk::{WRITTEN, keep, kept, time};

/// The time of day was set where it moved by more than this.
pub(crate) const CLOCK_WAS_SET: SignedDuration = SignedDuration::from_secs(1);

/// How far everything was moved since the file was made, in microseconds: a profile is moved by this when it is read.
const MOVED: &str = "moved";

/// See [`MOVED`].
pub(crate) fn moved(db: &Connection) -> Result<i64, Trouble> {
    Ok(kept(db, MOVED)?.unwrap_or(0))
}

/// Where the time of day was set back since the last writing, everything is moved back with it, as if no time had passed: the next writing
/// says the earlier time, and nothing would tell of it after that.
pub(crate) fn undo_setback(db: &mut Connection, now: Reading) -> Result<(), Trouble> {
    let Some(last) = kept(db, WRITTEN)? else { return Ok(()) };
    let by = now.wall.duration_since(time(last)?);
    if by >= -CLOCK_WAS_SET {
        return Ok(());
    }
    tracing::warn!("the clock was set back since the store was last written: bans go on as if no time had passed");
    move_times(db, by, now)
}

/// Moves all that is kept by the time of day. What an alert demands of credentials issued until then stays as it is: these have times of day
/// of their own.
pub(crate) fn move_times(db: &mut Connection, by: SignedDuration, now: Reading) -> Result<(), Trouble> {
    let by = i64::try_from(by.as_micros()).unwrap_or(if by.is_negative() { i64::MIN } else { i64::MAX });
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (first, last) = (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
    // What is no time stays none.
    let shifted = |name: &str| {
        format!("{name} = CASE WHEN {name} BETWEEN ?2 AND ?3 THEN max(?2, min(?3, {name} + ?1)) ELSE {name} END")
    };
    let set = |table: &str, names: &[&str]| {
        let moved: Vec<String> = names.iter().map(|name| shifted(name)).collect();
        transaction.execute(&format!("UPDATE {table} SET {}", moved.join(", ")), params![by, first, last])
    };
    set("ban", &["began", "until", "past_at"])?;
    set("demand", &["until"])?;
    set("profile", &["written"])?;
    set("healthy", &["seen"])?;
    let since = format!("UPDATE kept SET {} WHERE name = ?4", shifted("value"));
    transaction.execute(&since, params![by, first, last, SINCE])?;
    keep(&transaction, MOVED, moved(&transaction)?.saturating_add(by))?;
    keep(&transaction, WRITTEN, now.wall.as_microsecond())?;
    transaction.commit()?;
    Ok(())
}
