//! What a store holds of bans and sessions, where no gateway runs. It is [looked at](crate::looking): nothing is written.

use jiff::Timestamp;
use portcullis_identity::session::SavedSession;
use portcullis_risk::state::SavedBan;
use rusqlite::Connection;

use crate::database::Settings;
use crate::error::{StoreError, Trouble};
use crate::{looking, risk, sessions};

fn look<T>(settings: &Settings, look: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, StoreError> {
    let found = looking::open(&settings.path).and_then(|(db, _lock)| look(&db));
    found.map_err(|trouble| StoreError { path: settings.path.clone(), trouble })
}

/// The bans that hold at this time of day, the one that ends last first, without what led to them.
///
/// # Errors
/// It cannot be read.
pub fn kept_bans(settings: &Settings, now: Timestamp) -> Result<Vec<SavedBan>, StoreError> {
    look(settings, |db| {
        let mut statement = db.prepare(risk::BANS)?;
        let mut rows = statement.query([])?;
        let mut bans = Vec::new();
        while let Some(row) = rows.next()? {
            let ban = risk::ban(row)?;
            // The ones behind it are past offences.
            if ban.until <= now {
                break;
            }
            bans.push(ban);
        }
        Ok(bans)
    })
}

/// The sessions of browsers that hold at this time of day, the last used first.
///
/// # Errors
/// Likewise.
pub fn kept_sessions(settings: &Settings, now: Timestamp) -> Result<Vec<SavedSession>, StoreError> {
    look(settings, |db| sessions::read(db, now))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::database::Database;

    #[test]
    fn a_store_that_is_looked_at_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("state.db") };
        Database::open(&settings).unwrap().close().unwrap();
        let before = fs::read(&settings.path).unwrap();
        let now = Timestamp::now();
        assert_eq!(kept_bans(&settings, now).unwrap(), Vec::new());
        assert_eq!(kept_sessions(&settings, now).unwrap(), Vec::new());
        assert_eq!(fs::read(&settings.path).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_none_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("state.db") };
        assert!(kept_bans(&settings, Timestamp::now()).is_err());
        assert!(!settings.path.exists());
        fs::write(&settings.path, "no store").unwrap();
        assert!(kept_sessions(&settings, Timestamp::now()).is_err());
    }
}
