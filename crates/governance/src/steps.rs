//! Which version comes into force by steps, in a file of its own beside the store: a row of the store alone neither begins them nor ends them, and has nothing
//! taken back.

use crate::beside::Note;
use crate::change::ChangeId;
use crate::error::GovernanceError;
use crate::head::HeadFile;

const TITLE: &str = "portcullis-steps/1";

/// What is known of the last version that came into force by steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// The version; 0 for none.
    pub n: u64,
    /// The change that it was.
    pub change: ChangeId,
    /// The step that it is in, from 0; `None`: they are over.
    pub stage: Option<u32>,
}

impl Steps {
    /// Of a log in which nothing is rolled out.
    pub const NONE: Self = Self { n: 0, change: ChangeId([0; 16]), stage: None };

    /// Whether it is that version.
    pub fn is_of(&self, n: u64, change: ChangeId) -> bool {
        (self.n, self.change) == (n, change)
    }

    /// Whether that version is being rolled out, and so may be taken back: one that is past its last step, and is being written, may not.
    pub fn rolls_out(&self, n: u64, change: ChangeId) -> bool {
        self.is_of(n, change) && self.stage.is_some_and(crate::rollout::is_step)
    }
}

impl Note for Steps {
    const SUFFIX: &'static str = ".steps";

    fn to_text(&self) -> String {
        let stage = self.stage.map_or_else(|| "over".to_owned(), |stage| stage.to_string());
        format!("{TITLE} {} {} {stage}\n", self.n, self.change)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        if words.next() != Some(TITLE) {
            return None;
        }
        let (n, change) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let stage = match words.next()? {
            "over" => None,
            number => Some(number.parse().ok()?),
        };
        words.next().is_none().then_some(Self { n, change, stage })
    }
}

impl HeadFile {
    /// Takes it away: the store is another one from now on, by whoever may say so, and how far its last version has come is believed once.
    ///
    /// # Errors
    /// It is still there.
    pub fn forget_steps(&self) -> Result<(), GovernanceError> {
        self.forget_note::<Steps>()
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
        assert_eq!(file.steps().unwrap(), None);
        let path = folder.path().join("portcullis.db.steps");
        for steps in [
            Steps { n: 7, change: ChangeId([9; 16]), stage: Some(3) },
            Steps { n: 7, change: ChangeId([9; 16]), stage: None },
            Steps::NONE,
        ] {
            file.write_steps(steps).unwrap();
            assert_eq!(file.steps().unwrap(), Some(steps));
            assert!(file.steps_written().is_some());
            let good = std::fs::read_to_string(&path).unwrap();
            for wrong in ["", &good[..good.len() - 1], &format!("{good}\n"), &good.replace("/1", "/2")] {
                std::fs::write(&path, wrong).unwrap();
                assert!(file.steps().is_err(), "{wrong:?}");
            }
        }
        file.forget_steps().unwrap();
        assert_eq!((file.steps().unwrap(), file.steps_written()), (None, None));
    }
}
