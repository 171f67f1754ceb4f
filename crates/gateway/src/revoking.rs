//! Revocations in a running gateway: written down first, then in force, then answered.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{NewRevocation, Revocations as Shown, ShownRevocation};
use portcullis_identity::revocation::{MAX_REASON_BYTES, Revocation, Revocations, RevokeError, Revoked};
use portcullis_store::{Database, RevocationBook, RevocationRow, Settings, StoreError, Trouble};

/// What counts no longer, and where that is written down.
#[derive(Debug)]
pub(crate) struct Revoking {
    all: Arc<Revocations>,
    /// `None`: there is no store.
    book: Option<RevocationBook>,
    /// One change after the other, so that memory and file agree. No request asks for it.
    changing: Mutex<()>,
}

/// How long a token or a principal stays revoked where nobody says: longer than what was issued is good for.
const LASTS: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The longest.
const LONGEST_S: u64 = 10 * 366 * 86_400;

impl Revoking {
    /// What was written before.
    ///
    /// # Errors
    /// A store that cannot be read: whoever was revoked would count again.
    pub(crate) fn restored(settings: Option<&Settings>, database: Option<&Database>) -> Result<Self, StoreError> {
        let all = Arc::<Revocations>::default();
        if let (Some(settings), Some(database)) = (settings, database) {
            let rows = database.revocations()?;
            let read: Result<Vec<_>, _> = rows.into_iter().map(|row| revocation(row, &settings.path)).collect();
            let restored = all.restore(read?, Timestamp::now());
            if restored > 0 {
                tracing::info!(revocations = restored, "what was revoked before stays revoked");
            }
        }
        let book = settings.map(RevocationBook::of);
        Ok(Self { all, book, changing: Mutex::new(()) })
    }

    /// What requests are held to.
    pub(crate) fn all(&self) -> &Arc<Revocations> {
        &self.all
    }

    /// All that are in force.
    pub(crate) fn shown(&self) -> Shown {
        let now = Timestamp::now();
        let shown = |each: Arc<Revocation>| ShownRevocation {
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
    /// Why nothing is revoked.
    pub(crate) fn revoke(&self, new: &NewRevocation) -> Result<String, String> {
        let now = Timestamp::now();
        let wanted = wanted(new, now)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.all.has_room(&wanted.what, now) {
            return Err(RevokeError::Full.to_string());
        }
        // Never milder than the one that is there.
        let wanted = match self.all.find(&wanted.what, now) {
            Some(before) => Revocation {
                before: wanted.before.max(before.before),
                until: wanted.until.zip(before.until).map(|(one, other)| one.max(other)),
                ..wanted
            },
            None => wanted,
        };
        if let Some(book) = &self.book {
            book.write(&row(&wanted), now.as_microsecond())
                .map_err(|error| format!("nothing is revoked, because it cannot be written down: {error}"))?;
        }
        let made = self.all.add(wanted, now).map_err(|error| error.to_string())?;
        tracing::warn!(what = %made.what, reason = %made.reason, "revoked by hand");
        let what = match &made.what {
            Revoked::Token(_) | Revoked::Key(_) => made.what.to_string(),
            Revoked::Principal(..) => format!("all that {} was issued until {:.0}", made.what, made.before),
        };
        let until = made.until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until:.0}"));
        let kept = if self.book.is_some() { "" } else { " (not kept over a restart: there is no [store])" };
        Ok(format!("{what} is revoked {until}{kept}: {}", made.reason))
    }

    /// Lifts a revocation, and says so.
    ///
    /// # Errors
    /// There is none, or that it is lifted cannot be written down.
    pub(crate) fn lift(&self, what: &str, name: &str) -> Result<String, String> {
        let revoked = read(what, name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.all.find(&revoked, Timestamp::now()).is_none() {
            return Err(format!("{revoked} is not revoked"));
        }
        if let Some(book) = &self.book {
            book.remove(revoked.kind(), &revoked.name())
                .map_err(|error| format!("it stays revoked, because it cannot be written down: {error}"))?;
        }
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
    if before > now {
        return Err("what will be issued cannot be revoked: the time lies ahead".to_owned());
    }
    let until = match new.for_s {
        Some(seconds) if (1..=LONGEST_S).contains(&seconds) => {
            Some(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        Some(_) => return Err("it is revoked for a second to ten years".to_owned()),
        None => match what {
            Revoked::Key(_) => None,
            Revoked::Token(_) | Revoked::Principal(..) => Some(LASTS),
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
    }

    #[test]
    fn what_cannot_be_written_down_is_not_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let settings = file(&folder);
        let database = Database::open(&settings).unwrap();
        let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
        revoking.revoke(&new("token", "a")).unwrap();
        drop(database);
        std::fs::remove_file(&settings.path).unwrap();
        assert!(revoking.revoke(&new("token", "b")).unwrap_err().contains("nothing is revoked"));
        assert!(revoking.lift("token", "a").unwrap_err().contains("stays revoked"));
        assert_eq!(revoking.shown().revocations.len(), 1);
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
