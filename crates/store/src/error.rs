//! Why a store cannot be used, and what is to be done.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A store that cannot be used.
#[derive(Debug, Error)]
#[error("the store {}: {trouble}", path.display())]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with its remedy.
    pub trouble: Trouble,
}

/// What is wrong with a store.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The file cannot be made or looked at.
    #[error("{0}: its folder must be there, and this user must be able to write in it")]
    File(io::Error),
    /// It cannot be looked at.
    #[error("it cannot be read: {0}")]
    Look(io::Error),
    /// It is no file.
    #[error("it is no regular file: `[store] path` names a file of the gateway's own")]
    NoFile,
    /// Others could read or change it, and that cannot be changed.
    #[error(
        "others may use it, and that cannot be changed ({0}): it holds who is banned and the secret of the profiles; `chmod 600` it"
    )]
    Open(io::Error),
    /// Its content is not what was written.
    #[error(
        "it is damaged ({0}): put a copy of it back, or move it away and start again; then bans, offences and profiles begin anew"
    )]
    Damaged(String),
    /// It is no store.
    #[error("it is another program's: `[store] path` names a file of the gateway's own")]
    Foreign,
    /// A newer version has written it.
    #[error(
        "a newer version of this program has written it (tables of version {found}, and this one knows {known}): run that version, or \
         move the file away; then bans, offences and profiles begin anew"
    )]
    Newer {
        /// What is in the file.
        found: i64,
        /// What this program knows.
        known: i64,
    },
    /// There is nothing that would write to it.
    #[error("there is no thread that writes to it: {0}")]
    NoThread(io::Error),
    /// SQLite cannot do it now.
    #[error("{0}")]
    Database(rusqlite::Error),
}

impl Trouble {
    /// Whether it stays until somebody does something about the file.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NoFile | Self::Damaged(_) | Self::Foreign | Self::Newer { .. } => true,
            Self::File(_) | Self::Look(_) | Self::Open(_) | Self::NoThread(_) | Self::Database(_) => false,
        }
    }

    /// Whether it may be for want of room on the disk.
    pub(crate) fn is_for_room(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
        let Self::Database(error) = self else { return false };
        // What SQLite lays beside the file may find no room either.
        matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure | CannotOpen))
    }

    /// What SQLite says: that the file is damaged, or that it cannot be used now.
    pub(crate) fn of(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            // A table or a column that is not there, or a value that is none.
            _ if is_of_shape(&error) => Self::Damaged(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

fn is_of_shape(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => code.code == rusqlite::ErrorCode::Unknown,
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(error)
    }
}
