//! The rows of identity providers' keys: what was fetched last, so that a gateway which starts while a provider is down goes on with it.
//!
//! They are public keys. What they are worth is decided by `portcullis_identity`, which holds each row to its sum, its issuer and its age; here
//! they are bounded in number, size and age.

use std::path::PathBuf;

use portcullis_identity::remote::SavedKeys;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::database::{Database, Settings, change};
use crate::error::{StoreError, Trouble};

/// Where they are written to.
#[derive(Debug)]
pub struct ProviderKeyBook {
    path: PathBuf,
}

/// The most rows that are kept: those that were confirmed last.
const MOST: i64 = 256;
/// Rows that are older serve nobody, whatever is configured, in seconds: 90 days.
const OLDEST_S: i64 = 90 * 86_400;
/// The longest set, in bytes.
const LONGEST: i64 = 1 << 20;

impl Database {
    /// Those that were kept. A row that has not even the form of one is left out, and said.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn provider_keys(&self) -> Result<Vec<SavedKeys>, StoreError> {
        let (rows, damaged) = read(&self.db).map_err(|trouble| self.error(trouble))?;
        if damaged > 0 {
            tracing::warn!(path = %self.path.display(), damaged, "keys of identity providers in the store are damaged: they are not used");
        }
        Ok(rows)
    }
}

impl ProviderKeyBook {
    /// That of a store which was opened before.
    pub fn of(settings: &Settings) -> Self {
        Self { path: settings.path.clone() }
    }

    /// Writes these in the place of what was there of the same issuers and addresses. It returns when they are on the disk.
    ///
    /// # Errors
    /// Nothing is written.
    pub fn write(&self, all: &[SavedKeys]) -> Result<(), StoreError> {
        change(&self.path, |db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for SavedKeys { place, provider, confirmed, text, sum } in all {
                transaction.execute(
                    "INSERT OR REPLACE INTO provider_key (place, provider, confirmed, text, sum) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![place, provider, confirmed, text, sum],
                )?;
            }
            let latest = all.iter().map(|each| each.confirmed).max().unwrap_or_default();
            transaction.execute("DELETE FROM provider_key WHERE confirmed < ?1", [latest.saturating_sub(OLDEST_S)])?;
            transaction.execute(
                "DELETE FROM provider_key WHERE place NOT IN (SELECT place FROM provider_key ORDER BY confirmed DESC LIMIT ?1)",
                [MOST],
            )?;
            Ok(transaction.commit()?)
        })
    }
}

/// The rows, and how many are none.
fn read(db: &Connection) -> Result<(Vec<SavedKeys>, usize), Trouble> {
    let mut statement = db.prepare(
        "SELECT place, provider, confirmed, CASE WHEN length(text) <= ?2 THEN text END, sum FROM provider_key \
         ORDER BY confirmed DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([MOST, LONGEST], |row| {
        let (place, sum): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(4)?);
        let (provider, confirmed, text): (String, i64, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let whole = || {
            Some(SavedKeys {
                place: place.try_into().ok()?,
                provider,
                confirmed,
                text: text?,
                sum: sum.try_into().ok()?,
            })
        };
        Ok(whole())
    })?;
    let (mut found, mut damaged) = (Vec::new(), 0);
    for row in rows {
        match row {
            Ok(Some(row)) => found.push(row),
            Ok(None) => damaged += 1,
            Err(
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..),
            ) => damaged += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((found, damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(place: u8, confirmed: i64, text: &str) -> SavedKeys {
        let text = text.as_bytes().to_vec();
        SavedKeys { place: [place; 32], provider: format!("p{place}"), confirmed, text, sum: [9; 32] }
    }

    struct Site {
        book: ProviderKeyBook,
        settings: Settings,
        _folder: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let settings = Settings { path: folder.path().join("store.db") };
            drop(Database::open(&settings).unwrap());
            Self { book: ProviderKeyBook::of(&settings), settings, _folder: folder }
        }

        fn read(&self) -> Vec<SavedKeys> {
            Database::open(&self.settings).unwrap().provider_keys().unwrap()
        }

        fn spoil(&self, sql: &str) {
            Connection::open(&self.settings.path).unwrap().execute_batch(sql).unwrap();
        }
    }

    #[test]
    fn what_was_written_last_of_each_place_is_read_again() {
        let site = Site::new();
        assert_eq!(site.read(), []);
        site.book.write(&[saved(1, 10, "a"), saved(2, 20, "b")]).unwrap();
        site.book.write(&[saved(1, 30, "c")]).unwrap();
        assert_eq!(site.read(), [saved(1, 30, "c"), saved(2, 20, "b")]);
        // The clock was set back, and this is what was fetched last.
        site.book.write(&[saved(1, 5, "d")]).unwrap();
        assert_eq!(site.read(), [saved(2, 20, "b"), saved(1, 5, "d")]);
    }

    #[test]
    fn they_are_bounded_in_number_and_age() {
        let site = Site::new();
        let many: Vec<SavedKeys> = (0..300_u32)
            .map(|number| {
                let mut row = saved(0, i64::from(number), "a");
                row.place[..4].copy_from_slice(&number.to_le_bytes());
                row
            })
            .collect();
        site.book.write(&many).unwrap();
        let found = site.read();
        assert_eq!((found.len(), found[0].confirmed, found[255].confirmed), (256, 299, 44));
        site.book.write(&[saved(7, OLDEST_S + 298, "b")]).unwrap();
        assert_eq!(site.read().iter().map(|row| row.confirmed).collect::<Vec<_>>(), [OLDEST_S + 298, 299, 298]);
    }

    #[test]
    fn a_row_that_is_none_is_left_out_and_the_others_count() {
        let site = Site::new();
        for spoilt in [
            "UPDATE provider_key SET place = x'00' WHERE provider = 'p2'",
            "UPDATE provider_key SET sum = x'' WHERE provider = 'p2'",
            "UPDATE provider_key SET text = zeroblob(1048577) WHERE provider = 'p2'",
            "UPDATE provider_key SET provider = CAST(x'ff' AS TEXT) WHERE provider = 'p2'",
        ] {
            site.spoil("DELETE FROM provider_key");
            site.book.write(&[saved(1, 10, "a"), saved(2, 20, "b")]).unwrap();
            site.spoil(spoilt);
            assert_eq!(site.read(), [saved(1, 10, "a")], "{spoilt}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let site = Site::new();
        std::fs::remove_file(&site.settings.path).unwrap();
        assert!(site.book.write(&[saved(1, 10, "a")]).is_err(), "it is not made here");
    }
}
