//! Since when a recovery of approvers' keys is known to a gateway that tells of it, in a file of its own beside the store: a row of the store alone says when it
//! began by a time that whoever writes it chooses, and its delay is there so that somebody hears of it.

use std::io::ErrorKind;
use std::path::Path;

use crate::durable;
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::head::HeadFile;

const TITLE: &str = "portcullis-recovery/1";
const SUFFIX: &str = ".recovery";

/// What is known of recoveries beside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The version with which the last one began; 0 for none.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
    /// When a gateway told of it, in microseconds since 1970.
    pub since: i64,
    /// Of the versions up to this one is told what they did to a recovery.
    pub told: u64,
}

impl Heard {
    /// Of a log in which none has begun.
    pub const NONE: Self = Self { n: 0, hash: Hash::NONE, since: 0, told: 0 };

    /// Whether it is of the recovery that began with that version.
    pub fn is_of(&self, n: u64, hash: Hash) -> bool {
        (self.n, self.hash) == (n, hash)
    }

    fn to_text(self) -> String {
        format!("{TITLE} {} {} {} {}\n", self.n, self.hash, self.since, self.told)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        if words.next() != Some(TITLE) {
            return None;
        }
        let (n, hash) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (since, told) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { n, hash, since, told })
    }
}

fn failed(path: &Path, why: impl ToString) -> GovernanceError {
    GovernanceError::Head { path: path.to_owned(), why: why.to_string() }
}

impl HeadFile {
    /// What was written last of recoveries; `None`: nothing ever, as before the version of the program that began to.
    pub(crate) fn read_heard(&self) -> Result<Option<Heard>, GovernanceError> {
        let path = self.beside_it(SUFFIX);
        let text = match durable::read(&path) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            // It is no text.
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(GovernanceError::HeardDamaged { path }),
            Err(error) => return Err(failed(&path, error)),
        };
        Heard::from_text(&text).map(Some).ok_or(GovernanceError::HeardDamaged { path })
    }

    /// Writes that.
    pub(crate) fn write_heard(&self, heard: Heard) -> Result<(), GovernanceError> {
        let path = self.beside_it(SUFFIX);
        durable::write(&path, &heard.to_text()).map_err(|error| failed(&path, error))
    }

    /// Takes it away: the store is another one from now on, and the delay of a recovery that has begun in it counts anew from when that is told.
    ///
    /// # Errors
    /// It is still there.
    pub fn forget_recovery(&self) -> Result<(), GovernanceError> {
        let path = self.beside_it(SUFFIX);
        durable::remove(&path).map_err(|error| failed(&path, error))
    }

    /// The same, and the next start tells what became of recoveries since the version `told`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell_recoveries_since(&self, told: u64) -> Result<(), GovernanceError> {
        self.write_heard(Heard { told, ..Heard::NONE })
    }
}

#[cfg(test)]
mod tests {
    use crate::head::HeadPlace as _;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeadFile::beside(&folder.path().join("portcullis.db"));
        assert_eq!(file.heard().unwrap(), None);
        let path = folder.path().join("portcullis.db.recovery");
        for heard in [Heard { n: 7, hash: Hash([9; 32]), since: -5, told: 8 }, Heard::NONE] {
            file.hear(heard).unwrap();
            assert_eq!(file.heard().unwrap(), Some(heard));
            let good = std::fs::read_to_string(&path).unwrap();
            let long = "9".repeat(600);
            for wrong in ["", &good[..good.len() - 1], &format!("{good}\n"), &good.replace("/1", "/2"), &long] {
                std::fs::write(&path, wrong).unwrap();
                assert!(matches!(file.heard(), Err(GovernanceError::HeardDamaged { .. })), "{wrong:?}");
            }
            std::fs::write(&path, [0xff, 0xfe]).unwrap();
            assert!(matches!(file.heard(), Err(GovernanceError::HeardDamaged { .. })));
        }
        file.forget_recovery().unwrap();
        assert_eq!(file.heard().unwrap(), None);
    }
}
