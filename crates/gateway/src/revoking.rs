//! Revocations in a running gateway: written down first, then in force, then answered.
//!
//! Room is kept on the disk for them. One that cannot be written down for all that is in force all the same, in this process alone, and is told as a failure; it is
//! written as soon as that goes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{NewRevocation, Revocations as Shown, ShownRevocation};
use portcullis_identity::revocation::{AHEAD, MAX_REASON_BYTES, Revocation, Revocations, Revoked};
use portcullis_store::{Database, RevocationBook, RevocationFollower, RevocationRow, Settings, StoreError, Trouble};
use tokio::time::MissedTickBehavior;

use crate::running::Running;

/// What counts no longer, and where that is written down.
#[derive(Debug)]
pub(crate) struct Revoking {
    all: Arc<Revocations>,
    /// `None`: there is no store.
    book: Option<Book>,
    /// What is in force and not written down. One change after the other, so that memory and file agree. No request asks for it.
    changing: Mutex<Unwritten>,
}

/// In force here, and forgotten by a restart; as many at most as can be in force.
type Unwritten = Vec<Arc<Revocation>>;

/// The file that revocations are kept in, and what others wrote into it.
#[derive(Debug)]
struct Book {
    rows: RevocationBook,
    /// `None` after the end: whoever closes the file last has it stand alone.
    follower: Mutex<Option<RevocationFollower>>,
    path: PathBuf,
}

/// How long a token stays revoked where nobody says: longer than one is good for.
const LASTS: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often it is looked whether another process revoked something, and tried to write down what could not be written.
const LOOK: Duration = Duration::from_secs(1);
/// How many of these at a time.
const AGAIN: usize = 64;
/// How often it is looked whether there is room kept on the disk, in such looks.
const KEEP_ROOM: u64 = 60;
/// The longest.
const LONGEST_S: u64 = 10 * 366 * 86_400;

impl Revoking {
    /// What was written before.
    ///
    /// # Errors
    /// A store that cannot be read: whoever was revoked would count again.
    pub(crate) fn restored(settings: Option<&Settings>, database: Option<&Database>) -> Result<Self, StoreError> {
        let (all, changing) = (Arc::<Revocations>::default(), Mutex::default());
        let (Some(settings), Some(_)) = (settings, database) else {
            return Ok(Self { all, book: None, changing });
        };
        let (rows, path) = (RevocationBook::of(settings), settings.path.clone());
        let follower = Mutex::new(Some(rows.follow()?));
        let revoking = Self { all, book: Some(Book { rows, follower, path }), changing };
        revoking.look(&[])?;
        revoking.keep_room();
        if !revoking.all.is_empty() {
            tracing::info!(revocations = revoking.all.len(), "what was revoked before stays revoked");
        }
        Ok(revoking)
    }

    /// Has room kept on the disk for what will be revoked.
    fn keep_room(&self) {
        let Some(book) = &self.book else { return };
        match book.rows.keep_room() {
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "no room is kept on the disk for what will be revoked"),
        }
    }

    /// Puts in force what another process wrote since the last look, and leaves in force what this one could not write.
    fn look(&self, unwritten: &[Arc<Revocation>]) -> Result<(), StoreError> {
        let Some(book) = &self.book else { return Ok(()) };
        let mut follower = book.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(follower) = follower.as_mut() else { return Ok(()) };
        if let Some(rows) = follower.look()? {
            let read: Result<Vec<_>, _> = rows.into_iter().map(|row| revocation(row, &book.path)).collect();
            let unwritten = unwritten.iter().map(|each| Revocation::clone(each));
            self.all.restore(read?.into_iter().chain(unwritten), Timestamp::now());
        }
        Ok(())
    }

    /// Tries again to write down what could not be written.
    fn write_again(&self, unwritten: &mut Unwritten) {
        let (Some(book), now) = (&self.book, Timestamp::now()) else { return };
        unwritten.retain(|each| each.until.is_none_or(|until| now < until));
        // So many at a time that nobody who revokes meanwhile waits long.
        for _ in 0..AGAIN {
            let Some(each) = unwritten.last() else { return };
            if book.rows.write(&row(each), now.as_microsecond()).is_err() {
                return;
            }
            tracing::info!(what = %each.what, "what was revoked is written down by now, and survives a restart");
            unwritten.pop();
        }
    }

    /// Looks each second what another process wrote, as long as this one lives: in a takeover an operator may have spoken to either.
    pub(crate) async fn follow(running: Arc<Running>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failing, mut looks) = (false, 0_u64);
        while running.revoking().book.is_some() {
            tick.tick().await;
            looks = looks.wrapping_add(1);
            let looking = Arc::clone(&running);
            let looked = tokio::task::spawn_blocking(move || {
                let revoking = looking.revoking();
                let mut unwritten = revoking.changing.lock().unwrap_or_else(PoisonError::into_inner);
                revoking.write_again(&mut unwritten);
                if unwritten.is_empty() && looks.is_multiple_of(KEEP_ROOM) {
                    revoking.keep_room();
                }
                revoking.look(&unwritten)
            });
            let error = match looked.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = error.as_ref().filter(|_| !failing) {
                tracing::error!(%error, "what another process revokes is not seen: what is in force stays");
            }
            failing = error.is_some();
        }
    }

    /// Looks no more: the process ends.
    pub(crate) fn shutdown(&self) {
        let mut unwritten = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = usize::MAX;
        while unwritten.len() < left {
            left = unwritten.len();
            self.write_again(&mut unwritten);
        }
        if !unwritten.is_empty() {
            tracing::error!(
                revocations = unwritten.len(),
                "what was revoked could not be written down, and counts again from now on"
            );
        }
        if let Some(book) = &self.book {
            *book.follower.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// What requests are held to.
    pub(crate) fn all(&self) -> &Arc<Revocations> {
        &self.all
    }

    /// Where the use of keys is noted, too.
    pub(crate) fn book(&self) -> Option<&RevocationBook> {
        self.book.as_ref().map(|book| &book.rows)
    }

    /// All that are in force.
    pub(crate) fn shown(&self) -> Shown {
        let now = Timestamp::now();
        let unwritten = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |each: Arc<Revocation>| ShownRevocation {
            kept: self.book.is_some() && !unwritten.iter().any(|other| other.what == each.what),
            what: each.what.kind().to_owned(),
            name: each.what.name(),
            before: matches!(each.what, Revoked::Principal(..)).then(|| format!("{:.0}", each.before)),
            made: format!("{:.0}", each.made),
            until: each.until.map(|until| format!("{until:.0}")),
            reason: each.reason.to_string(),
        };
        Shown { revocations: self.all.list(now).into_iter().map(shown).collect(), kept: self.book.is_some() }
    }

    /// Revokes, and says what came of it. When it returns, it is on the disk and every request that begins is held to it.
    ///
    /// # Errors
    /// Why nothing is revoked; or that something is, in this process and not on the disk.
    pub(crate) fn revoke(&self, new: &NewRevocation) -> Result<String, String> {
        let now = Timestamp::now();
        let wanted = wanted(new, now)?;
        let mut unwritten = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.all.has_room(&wanted.what, now).map_err(|full| full.to_string())?;
        let written = match &self.book {
            Some(book) => {
                let written = book.rows.write(&row(&wanted), now.as_microsecond());
                written.and_then(|row| revocation(row, &book.path)).map(Some)
            }
            None => Ok(None),
        };
        let (in_force, problem) = match written {
            Ok(written) => (written.unwrap_or(wanted), None),
            Err(error) => (wanted, Some(error)),
        };
        let made = self.all.add(in_force, now).map_err(|error| error.to_string())?;
        unwritten.retain(|each| each.what != made.what);
        tracing::warn!(what = %made.what, reason = %made.reason, "revoked by hand");
        let what = match &made.what {
            Revoked::Token(_) | Revoked::Key(_) => made.what.to_string(),
            Revoked::Principal(..) => format!("all that {} was issued until {:.0}", made.what, made.before),
        };
        let until = made.until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until:.0}"));
        if let Some(error) = problem {
            tracing::error!(%error, what = %made.what, "what was revoked is in force, and could not be written down: a restart would end it");
            unwritten.push(Arc::clone(&made));
            return Err(format!(
                "{what} is revoked {until} IN THIS PROCESS ALONE, and could not be written down ({error}): a restart would end it; it is tried again each second"
            ));
        }
        let kept = if self.book.is_some() { "" } else { " (not kept over a restart: there is no [store])" };
        Ok(format!("{what} is revoked {until}{kept}: {}", made.reason))
    }

    /// Lifts a revocation, and says so.
    ///
    /// # Errors
    /// There is none, or that it is lifted cannot be written down.
    pub(crate) fn lift(&self, what: &str, name: &str) -> Result<String, String> {
        let revoked = read(what, name)?;
        let mut unwritten = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = |error| format!("it stays revoked, because the store cannot be used: {error}");
        self.look(&unwritten).map_err(stays)?;
        if self.all.find(&revoked, Timestamp::now()).is_none() {
            return Err(format!("{revoked} is not revoked"));
        }
        if let Some(book) = &self.book {
            book.rows.remove(revoked.kind(), &revoked.name()).map_err(stays)?;
        }
        unwritten.retain(|each| each.what != revoked);
        self.all.lift(&revoked);
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
fn revocation(row: RevocationRow, path: &std::path::Path) -> Result<Revocation, StoreError> {
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
    use super::*;

    fn new(what: &str, name: &str) -> NewRevocation {
        NewRevocation { what: what.into(), name: name.into(), before: None, for_s: None, reason: "lost".into() }
    }

    fn file(folder: &tempfile::TempDir) -> Settings {
        Settings { path: folder.path().join("store.db") }
    }

    #[test]
    fn what_is_answered_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let settings = file(&folder);
        let database = Database::open(&settings).unwrap();
        let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
        for (what, name) in [("token", "a"), ("key", "ci"), ("principal", "user:alice")] {
            let told = revoking.revoke(&new(what, name)).unwrap();
            assert!(told.contains(name) && !told.contains("not kept"), "{told}");
        }
        revoking.lift("key", "ci").unwrap();
        // A process that begins now, as after a kill.
        let again = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap())).unwrap();
        assert_eq!(again.shown().revocations.len(), 2);
        assert!(again.lift("key", "ci").unwrap_err().contains("not revoked"));
        // The other one is told something meanwhile.
        revoking.revoke(&new("key", "late")).unwrap();
        assert_eq!(again.shown().revocations.len(), 2);
        again.look(&[]).unwrap();
        assert_eq!(again.shown().revocations.len(), 3);
        again.lift("principal", "user:alice").unwrap();
        revoking.look(&[]).unwrap();
        assert_eq!(revoking.shown().revocations.len(), 2);
    }

    #[test]
    fn a_principal_stays_revoked_until_it_is_lifted_and_a_token_for_ninety_days() {
        let revoking = Revoking::restored(None, None).unwrap();
        for (what, name, ends) in [("token", "a", true), ("key", "ci", false), ("principal", "user:alice", false)] {
            revoking.revoke(&new(what, name)).unwrap();
            let shown = revoking.shown().revocations.into_iter().find(|each| each.name == name).unwrap();
            assert_eq!(shown.until.is_some(), ends, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_written_down_is_in_force_until_it_can_and_that_is_told_as_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let settings = file(&folder);
        let database = Database::open(&settings).unwrap();
        let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
        revoking.revoke(&new("token", "a")).unwrap();
        // Nobody can write to it: another one does, and does not end.
        let elsewhere = folder.path().join("elsewhere.db");
        std::fs::rename(&settings.path, &elsewhere).unwrap();
        let told = revoking.revoke(&new("token", "b")).unwrap_err();
        assert!(told.contains("token b is revoked until") && told.contains("IN THIS PROCESS ALONE"), "{told}");
        assert!(revoking.lift("token", "a").unwrap_err().contains("stays revoked"));
        let kept = |revoking: &Revoking| {
            let mut all: Vec<_> = revoking.shown().revocations.into_iter().map(|each| (each.name, each.kept)).collect();
            all.sort();
            all
        };
        assert_eq!(kept(&revoking), [("a".to_owned(), true), ("b".to_owned(), false)]);
        let again = |revoking: &Revoking| {
            let mut unwritten = revoking.changing.lock().unwrap();
            revoking.write_again(&mut unwritten);
            revoking.look(&unwritten).unwrap();
        };
        again(&revoking);
        assert_eq!(kept(&revoking), [("a".to_owned(), true), ("b".to_owned(), false)]);
        // What another process writes meanwhile takes nothing of it out of force.
        std::fs::rename(&elsewhere, &settings.path).unwrap();
        let other = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap())).unwrap();
        assert_eq!(kept(&other), [("a".to_owned(), true)]);
        other.revoke(&new("key", "c")).unwrap();
        revoking.look(&revoking.changing.lock().unwrap()).unwrap();
        assert_eq!(revoking.shown().revocations.len(), 3);
        again(&revoking);
        assert!(revoking.changing.lock().unwrap().is_empty() && kept(&revoking).iter().all(|(_, kept)| *kept));
        other.look(&[]).unwrap();
        assert_eq!(other.shown().revocations.len(), 3);
    }

    #[test]
    fn without_a_store_that_is_said() {
        let revoking = Revoking::restored(None, None).unwrap();
        assert!(revoking.revoke(&new("token", "a")).unwrap().contains("not kept over a restart"));
        assert!(!revoking.shown().kept);
    }

    #[test]
    fn what_makes_no_sense_revokes_nothing() {
        let revoking = Revoking::restored(None, None).unwrap();
        let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap().to_string();
        for (bad, expected) in [
            (new("key", "NO"), "a key's id"),
            (new("principal", "alice"), "`user:ID`"),
            (new("token", ""), "a `jti`"),
            (NewRevocation { reason: " ".into(), ..new("token", "a") }, "the reason"),
            (NewRevocation { reason: "x".repeat(129), ..new("token", "a") }, "the reason"),
            (NewRevocation { for_s: Some(0), ..new("token", "a") }, "a second to ten years"),
            (NewRevocation { before: Some("yesterday".into()), ..new("principal", "user:a") }, "RFC 3339"),
            (NewRevocation { before: Some(later), ..new("principal", "user:a") }, "lies ahead"),
        ] {
            let told = revoking.revoke(&bad).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
        assert!(revoking.shown().revocations.is_empty());
    }
}
