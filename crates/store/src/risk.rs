//! The rows of risk: bans with their evidence, demands, profiles, and where principals were let in from.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{BanScope, PrincipalKind};
use portcullis_risk::state::{
    Bounds, Changes, Downtime, NOTES, Reading, Restored, SavedBan, SavedDemand, Secret, StateStore,
};
use portcullis_risk::{Actor, BanSample, Demand, RiskEngine};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use crate::clock::{move_times, moved, undo_setback};
use crate::database::Database;
use crate::error::{StoreError, Trouble};
use crate::owner::{Owner, Right};
use crate::schema;

/// Places in the table `kept`.
pub(crate) const WRITTEN: &str = "written";
const FINGERPRINT: &str = "fingerprint";
/// Principals let in from an address say nothing of it after this.
const HEALTHY_FOR: SignedDuration = SignedDuration::from_hours(24);

impl StateStore for Database {
    type Error = StoreError;

    fn secret(&self) -> Secret {
        self.secret
    }

    fn restore(&mut self, engine: &RiskEngine, now: Reading) -> Result<Restored, StoreError> {
        let restored = undo_setback(&mut self.db, now).and_then(|()| restore(&self.db, engine, now));
        let restored = restored.map_err(|trouble| self.error(trouble))?;
        self.unsettled = Some(engine.fingerprint());
        self.owner = Owner { began: Some(now.wall), ..Owner::default() };
        self.ahead = None;
        Ok(restored)
    }

    fn save(&mut self, changes: &Changes, now: Reading) -> Result<(), StoreError> {
        self.write(changes, now).map(|_| ())
    }
}

impl Database {
    /// Writes changes, and says whether the file is this process's again after it was another one's: then all has to be written.
    pub(crate) fn write(&mut self, changes: &Changes, now: Reading) -> Result<bool, StoreError> {
        let ahead = *self.ahead.get_or_insert(now.offset());
        let right = save(&mut self.db, changes, self.unsettled, &self.owner, ahead, now);
        let right = right.map_err(|trouble| self.error(trouble))?;
        if let Right::All(_) = right {
            self.unsettled = None;
        }
        Ok(self.owner.note(right, &self.path))
    }

    /// The time of day was set by so much while the process ran: what was written before is moved with it. An older process leaves that to
    /// the owner.
    pub(crate) fn follow_the_clock(&mut self, by: SignedDuration, now: Reading) -> Result<(), StoreError> {
        let followed = match self.owner.owns(&self.db) {
            Ok(true) => move_times(&mut self.db, by, now),
            Ok(false) => Ok(()),
            Err(trouble) => Err(trouble),
        };
        followed.map_err(|trouble| self.error(trouble))?;
        self.ahead = self.ahead.map(|ahead| ahead.saturating_add(by));
        Ok(())
    }

    /// Removes what says nothing any more, and of the rest what is more than an engine can hold: the oldest.
    pub(crate) fn prune(&mut self, bounds: &Bounds, now: Reading) -> Result<(), StoreError> {
        let pruned = match self.owner.is_older {
            // Its engine may be a smaller one.
            true => Ok(()),
            false => prune(&mut self.db, bounds, now),
        };
        pruned.map_err(|trouble| self.error(trouble))
    }
}

fn restore(db: &Connection, engine: &RiskEngine, now: Reading) -> Result<Restored, Trouble> {
    // All that is read is of one moment.
    let reading = db.unchecked_transaction()?;
    let last: Option<i64> = kept(&reading, WRITTEN)?;
    let downtime = Downtime::new(now, last.map_or(Ok(now.wall), time)?);
    let mut restored = Restored::default();
    restore_bans(&reading, engine, &downtime, &mut restored)?;
    restore_demands(&reading, engine, &downtime, &mut restored)?;
    let fingerprint: Option<i64> = kept(&reading, FINGERPRINT)?;
    if fingerprint.is_some_and(|fingerprint| fingerprint != engine.fingerprint().cast_signed()) {
        let count: i64 = reading.query_row("SELECT (SELECT count(*) FROM profile)", [], |row| row.get(0))?;
        tracing::warn!(
            profiles = count,
            "profiles are kept under keys of another version of this program: they begin anew"
        );
        restored.forgotten += usize::try_from(count).unwrap_or_default();
    } else {
        restore_notes(&reading, engine)?;
        restore_profiles(&reading, engine, &downtime, &mut restored)?;
        restore_healthy(&reading, engine, &downtime, &mut restored)?;
    }
    engine.begin();
    Ok(restored)
}

fn restore_bans(
    db: &Connection,
    engine: &RiskEngine,
    downtime: &Downtime,
    restored: &mut Restored,
) -> Result<(), Trouble> {
    let mut evidence = evidence(db)?;
    // Those that end last come first: they are in force, and are what there must be room for.
    let mut statement = db.prepare(BANS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let samples = evidence.remove(&(row.get(0)?, row.get(1)?)).unwrap_or_default();
        let ban = SavedBan { evidence: samples.into(), ..ban(row)? };
        match engine.restore_ban(ban, downtime) {
            Some(true) => restored.bans += 1,
            Some(false) => restored.past += 1,
            None => restored.forgotten += 1,
        }
    }
    Ok(())
}

/// All bans, those that end last first, as [`ban`] reads them.
pub(crate) const BANS: &str =
    "SELECT kind, name, scope, began, until, offences, cause, simulated, past, past_at FROM ban ORDER BY until DESC";

/// One of them, without its evidence.
pub(crate) fn ban(row: &Row<'_>) -> Result<SavedBan, Trouble> {
    let (kind, name): (i64, String) = (row.get(0)?, row.get(1)?);
    let actor = actor(kind, &name)?;
    let scope = match row.get(2)? {
        0 => BanScope::Address,
        1 => BanScope::Anonymous,
        2 => BanScope::Principal,
        other => return Err(damaged("ban", format!("a scope {other}"))),
    };
    let past: f64 = row.get(8)?;
    Ok(SavedBan {
        actor,
        scope,
        began: time(row.get(3)?)?,
        until: time(row.get(4)?)?,
        offences: row.get(5)?,
        cause: row.get::<_, String>(6)?.into(),
        simulated: row.get(7)?,
        past: if past.is_finite() { past.max(0.0) } else { 0.0 },
        past_at: time(row.get(9)?)?,
        evidence: Arc::default(),
    })
}

type Evidence = HashMap<(i64, String), Vec<BanSample>>;

fn evidence(db: &Connection) -> Result<Evidence, Trouble> {
    let mut evidence = Evidence::new();
    let mut statement = db.prepare("SELECT kind, name, reason, path FROM evidence ORDER BY kind, name, place")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sample = BanSample { reason: row.get::<_, String>(2)?.into(), path: row.get::<_, String>(3)?.into() };
        evidence.entry((row.get(0)?, row.get(1)?)).or_default().push(sample);
    }
    Ok(evidence)
}

fn restore_demands(
    db: &Connection,
    engine: &RiskEngine,
    downtime: &Downtime,
    restored: &mut Restored,
) -> Result<(), Trouble> {
    let mut statement =
        db.prepare("SELECT what, kind, name, alert, since, until, simulated FROM demand ORDER BY until DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (what, kind, name): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let demand = match what {
            0 => Demand::StepUp(principal_kind(kind)?, name.into()),
            1 => Demand::Revoke(principal_kind(kind)?, name.into()),
            2 => Demand::Tighten(name.into()),
            other => return Err(damaged("demand", format!("a demand {other}"))),
        };
        let saved = SavedDemand {
            demand,
            alert: row.get::<_, String>(3)?.into(),
            since: time(row.get(4)?)?,
            until: time(row.get(5)?)?,
            simulated: row.get(6)?,
        };
        match engine.restore_demand(saved, downtime) {
            Some(true) => restored.demands += 1,
            Some(false) => {}
            None => restored.forgotten += 1,
        }
    }
    Ok(())
}

fn restore_profiles(
    db: &Connection,
    engine: &RiskEngine,
    downtime: &Downtime,
    restored: &mut Restored,
) -> Result<(), Trouble> {
    let most = limit(engine.bounds().profiles);
    let moved = moved(db)?;
    let mut statement = db.prepare("SELECT key, value FROM profile ORDER BY written DESC LIMIT ?1")?;
    let mut rows = statement.query([most])?;
    while let Some(row) = rows.next()? {
        let (key, value): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let restore = |(profile, ahead): (&[u8], &[u8; 8])| {
            let ahead = SignedDuration::from_micros(i64::from_le_bytes(*ahead).saturating_add(moved));
            engine.restore_profile(key.cast_unsigned(), profile, ahead, downtime)
        };
        match value.split_last_chunk().map(restore) {
            Some(true) => restored.profiles += 1,
            Some(false) | None => restored.forgotten += 1,
        }
    }
    Ok(())
}

/// What is kept as a whole. One that cannot be read is forgotten, and said.
fn restore_notes(db: &Connection, engine: &RiskEngine) -> Result<(), Trouble> {
    for name in NOTES {
        let kept: Option<Vec<u8>> =
            db.query_row("SELECT value FROM kept WHERE name = ?1", [name], |row| row.get(0)).optional()?;
        if kept.is_some_and(|kept| !engine.restore_note(name, &kept)) {
            tracing::warn!(name, "what is kept under this name is of another version of this program: it begins anew");
        }
    }
    Ok(())
}

fn restore_healthy(
    db: &Connection,
    engine: &RiskEngine,
    downtime: &Downtime,
    restored: &mut Restored,
) -> Result<(), Trouble> {
    let mut statement = db.prepare("SELECT key, seen FROM healthy ORDER BY seen DESC LIMIT ?1")?;
    let mut rows = statement.query([limit(engine.bounds().addresses)])?;
    while let Some(row) = rows.next()? {
        let (key, seen): (i64, i64) = (row.get(0)?, row.get(1)?);
        match engine.restore_healthy(key.cast_unsigned(), time(seen)?, downtime) {
            true => restored.healthy += 1,
            false => restored.forgotten += 1,
        }
    }
    Ok(())
}

fn save(
    db: &mut Connection,
    changes: &Changes,
    unsettled: Option<u64>,
    owner: &Owner,
    ahead: SignedDuration,
    now: Reading,
) -> Result<Right, Trouble> {
    let Changes { lifted, bans, released, demands, profiles, healthy, notes, more: _ } = changes;
    // What must be written at once is forced to the disk; of profiles a loss of power may take the last seconds.
    let urgent = !(lifted.is_empty() && bans.is_empty() && released.is_empty() && demands.is_empty());
    db.pragma_update(None, "synchronous", if urgent { "FULL" } else { "NORMAL" })?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // A newer version may have taken over meanwhile, and have brought the tables to its own.
    schema::check(&transaction)?;
    let right = owner.right(&transaction, now.wall)?;
    match right {
        Right::All(_) => {
            if let Some(fingerprint) = unsettled {
                settle(&transaction, fingerprint.cast_signed())?;
            }
            forget_bans(&transaction, lifted)?;
            save_bans(&transaction, bans, None)?;
            forget_demands(&transaction, released)?;
            save_demands(&transaction, demands, None)?;
            save_profiles(&transaction, profiles, ahead, now)?;
            save_healthy(&transaction, healthy)?;
            save_notes(&transaction, notes)?;
        }
        Right::Add(since) => {
            save_bans(&transaction, bans, Some(since))?;
            save_demands(&transaction, demands, Some(since))?;
        }
    }
    keep(&transaction, WRITTEN, now.wall.as_microsecond())?;
    transaction.commit()?;
    Ok(right)
}

/// Behind each stands how far the time of day was ahead of the clock that its times are by, when nothing in the file had been moved yet.
fn save_profiles(
    transaction: &Transaction<'_>,
    profiles: &[(u64, Vec<u8>)],
    ahead: SignedDuration,
    now: Reading,
) -> Result<(), Trouble> {
    let ahead = i64::try_from(ahead.as_micros()).unwrap_or(0).saturating_sub(moved(transaction)?).to_le_bytes();
    // One that is marked has been in use, and often nothing in it has changed: then no page is written.
    let mut upsert = transaction.prepare(
        "INSERT INTO profile (key, written, value) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET written = excluded.written, value = excluded.value WHERE value <> excluded.value",
    )?;
    for (key, value) in profiles {
        let value = [value, &ahead[..]].concat();
        upsert.execute(params![key.cast_signed(), now.wall.as_microsecond(), value])?;
    }
    Ok(())
}

fn save_notes(transaction: &Transaction<'_>, notes: &[(&'static str, Vec<u8>)]) -> Result<(), Trouble> {
    for (name, kept) in notes {
        transaction.execute(
            "INSERT INTO kept (name, value) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
            params![name, kept],
        )?;
    }
    Ok(())
}

fn save_healthy(transaction: &Transaction<'_>, healthy: &[(u64, Timestamp)]) -> Result<(), Trouble> {
    let mut upsert = transaction.prepare(
        "INSERT INTO healthy (key, seen) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET seen = excluded.seen WHERE seen <> excluded.seen",
    )?;
    for (key, seen) in healthy {
        upsert.execute(params![key.cast_signed(), seen.as_microsecond()])?;
    }
    Ok(())
}

fn forget_bans(transaction: &Transaction<'_>, lifted: &[Actor]) -> Result<(), Trouble> {
    let mut forget = transaction.prepare("DELETE FROM ban WHERE kind = ?1 AND name = ?2")?;
    let mut forget_evidence = transaction.prepare("DELETE FROM evidence WHERE kind = ?1 AND name = ?2")?;
    for actor in lifted {
        let (kind, name) = row_of(actor);
        forget.execute(params![kind, name])?;
        forget_evidence.execute(params![kind, name])?;
    }
    Ok(())
}

/// With `since` only what began no earlier, and where it ends later than what is there.
fn save_bans(transaction: &Transaction<'_>, bans: &[SavedBan], since: Option<i64>) -> Result<(), Trouble> {
    let mut forget_evidence = transaction.prepare("DELETE FROM evidence WHERE kind = ?1 AND name = ?2")?;
    let mut upsert = transaction.prepare(
        "INSERT INTO ban (kind, name, scope, began, until, offences, cause, simulated, past, past_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT DO UPDATE SET scope = excluded.scope, began = excluded.began, until = excluded.until,
             offences = excluded.offences, cause = excluded.cause, simulated = excluded.simulated, past = excluded.past,
             past_at = excluded.past_at
         WHERE ?11 OR until < excluded.until",
    )?;
    let mut insert =
        transaction.prepare("INSERT INTO evidence (kind, name, place, reason, path) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for ban in bans.iter().filter(|ban| since.is_none_or(|since| ban.began.as_microsecond() >= since)) {
        let (kind, name) = row_of(&ban.actor);
        let scope = match ban.scope {
            BanScope::Address => 0,
            BanScope::Anonymous => 1,
            BanScope::Principal => 2,
        };
        let rows = upsert.execute(params![
            kind,
            name,
            scope,
            ban.began.as_microsecond(),
            ban.until.as_microsecond(),
            ban.offences,
            &*ban.cause,
            ban.simulated,
            ban.past,
            ban.past_at.as_microsecond(),
            since.is_none(),
        ])?;
        if rows == 0 {
            continue;
        }
        forget_evidence.execute(params![kind, name])?;
        for (place, sample) in (0_i64..).zip(ban.evidence.iter()) {
            insert.execute(params![kind, name, place, &*sample.reason, &*sample.path])?;
        }
    }
    Ok(())
}

fn forget_demands(transaction: &Transaction<'_>, released: &[(Demand, Box<str>)]) -> Result<(), Trouble> {
    let mut forget =
        transaction.prepare("DELETE FROM demand WHERE what = ?1 AND kind = ?2 AND name = ?3 AND alert = ?4")?;
    for (demand, alert) in released {
        let (what, kind, name) = row_of_demand(demand);
        forget.execute(params![what, kind, name, &**alert])?;
    }
    Ok(())
}

/// With `since` only what began no earlier, and where it ends later than what is there.
fn save_demands(transaction: &Transaction<'_>, demands: &[SavedDemand], since: Option<i64>) -> Result<(), Trouble> {
    let mut upsert = transaction.prepare(
        "INSERT INTO demand (what, kind, name, alert, since, until, simulated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET since = excluded.since, until = excluded.until, simulated = excluded.simulated
         WHERE ?8 OR until < excluded.until",
    )?;
    for saved in demands.iter().filter(|saved| since.is_none_or(|since| saved.since.as_microsecond() >= since)) {
        let (what, kind, name) = row_of_demand(&saved.demand);
        let times = (saved.since.as_microsecond(), saved.until.as_microsecond());
        let alert = &*saved.alert;
        upsert.execute(params![what, kind, name, alert, times.0, times.1, saved.simulated, since.is_none()])?;
    }
    Ok(())
}

fn row_of_demand(demand: &Demand) -> (i64, i64, &str) {
    match demand {
        Demand::StepUp(kind, id) => (0, number(*kind), id),
        Demand::Revoke(kind, id) => (1, number(*kind), id),
        Demand::Tighten(route) => (2, 0, route),
    }
}

fn prune(db: &mut Connection, bounds: &Bounds, now: Reading) -> Result<(), Trouble> {
    let before = |age: SignedDuration| now.wall.saturating_sub(age).unwrap_or(Timestamp::MIN).as_microsecond();
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM ban WHERE until < ?1", [before(bounds.forgets_after)])?;
    transaction.execute(
        "DELETE FROM ban WHERE (kind, name) IN (SELECT kind, name FROM ban ORDER BY until DESC LIMIT -1 OFFSET ?1)",
        [limit(bounds.bans)],
    )?;
    transaction.execute("DELETE FROM demand WHERE until < ?1", [now.wall.as_microsecond()])?;
    transaction.execute(
        "DELETE FROM demand WHERE (what, kind, name, alert) IN
             (SELECT what, kind, name, alert FROM demand ORDER BY until DESC LIMIT -1 OFFSET ?1)",
        [limit(bounds.demands)],
    )?;
    transaction.execute("DELETE FROM evidence WHERE (kind, name) NOT IN (SELECT kind, name FROM ban)", [])?;
    transaction.execute(
        "DELETE FROM profile WHERE key IN (SELECT key FROM profile ORDER BY written DESC LIMIT -1 OFFSET ?1)",
        [limit(bounds.profiles)],
    )?;
    transaction.execute("DELETE FROM healthy WHERE seen < ?1", [before(HEALTHY_FOR)])?;
    transaction.execute(
        "DELETE FROM healthy WHERE key IN (SELECT key FROM healthy ORDER BY seen DESC LIMIT -1 OFFSET ?1)",
        [limit(bounds.addresses)],
    )?;
    transaction.commit()?;
    Ok(())
}

/// Notes by which keys profiles are kept from now on. What was kept under others is removed.
fn settle(transaction: &Transaction<'_>, fingerprint: i64) -> Result<(), Trouble> {
    if kept(transaction, FINGERPRINT)?.is_some_and(|found| found != fingerprint) {
        transaction.execute_batch("DELETE FROM profile; DELETE FROM healthy;")?;
    }
    keep(transaction, FINGERPRINT, fingerprint)
}

pub(crate) fn kept(db: &Connection, name: &str) -> Result<Option<i64>, Trouble> {
    Ok(db.query_row("SELECT value FROM kept WHERE name = ?1", [name], |row| row.get(0)).optional()?)
}

pub(crate) fn keep(db: &Connection, name: &str, value: i64) -> Result<(), Trouble> {
    db.execute("INSERT OR REPLACE INTO kept (name, value) VALUES (?1, ?2)", params![name, value])?;
    Ok(())
}

/// An actor as a row names it: a network with its length, or a principal's id.
fn row_of(actor: &Actor) -> (i64, String) {
    match actor {
        Actor::Network(network) => (NETWORK, network.to_string()),
        Actor::Principal { kind, id } => (number(*kind), id.to_string()),
    }
}

const NETWORK: i64 = 0;

fn actor(kind: i64, name: &str) -> Result<Actor, Trouble> {
    if kind == NETWORK {
        let network: IpNet = name.parse().map_err(|_| damaged("ban", "a network that is none"))?;
        return Ok(Actor::Network(network.trunc()));
    }
    Ok(Actor::Principal { kind: principal_kind(kind)?, id: name.into() })
}

pub(crate) fn number(kind: PrincipalKind) -> i64 {
    match kind {
        PrincipalKind::User => 1,
        PrincipalKind::Service => 2,
        PrincipalKind::Certificate => 3,
    }
}

pub(crate) fn principal_kind(number: i64) -> Result<PrincipalKind, Trouble> {
    match number {
        1 => Ok(PrincipalKind::User),
        2 => Ok(PrincipalKind::Service),
        3 => Ok(PrincipalKind::Certificate),
        other => Err(damaged("ban", format!("a kind {other} of principal"))),
    }
}

pub(crate) fn time(micros: i64) -> Result<Timestamp, Trouble> {
    Timestamp::from_microsecond(micros).map_err(|_| damaged("a row", "a time that is none"))
}

fn damaged(place: &str, what: impl std::fmt::Display) -> Trouble {
    Trouble::Damaged(format!("{place} has {what}"))
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
