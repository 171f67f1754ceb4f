//! Since when a recovery of approvers' keys is known to a gateway that tells of it, in a file of its own beside the store: a row of the store alone says when it
//! began by a time that whoever writes it chooses, and its delay is there so that somebody hears of it.

use crate::beside::Note;
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::head::{HeadFile, failed};

const TITLE: &str = "portcullis-recovery/1";

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
}

impl Note for Heard {
    const SUFFIX: &'static str = ".recovery";

    fn to_text(&self) -> String {
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

impl HeadFile {
    /// What was written last of recoveries; `None`: nothing ever, as before the version of the program that began to. One that is damaged is told from one
    /// that cannot be read: a start goes on as if there were none.
    pub(crate) fn read_heard(&self) -> Result<Option<Heard>, GovernanceError> {
        let file = self.file::<Heard>();
        file.read().map_err(|unread| match unread.is_damage() {
            true => GovernanceError::HeardDamaged { path: file.path().to_owned() },
            false => failed(file.path(), std::io::Error::from(unread)),
        })
    }

    /// Takes it away: the store is another one from now on, and the delay of a recovery that has begun in it counts anew from when that is told.
    ///
    /// # Errors
    /// It is still there.
    pub fn forget_recovery(&self) -> Result<(), GovernanceError> {
        self.forget_note::<Heard>()
    }

    /// The same, and the next start tells what became of recoveries since the version `told`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell_recoveries_since(&self, told: u64) -> Result<(), GovernanceError> {
        self.write_note(&Heard { told, ..Heard::NONE })
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
