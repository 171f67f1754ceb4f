//! How far the last version of a restored log has come: by the store that it comes from, as far as what was beside the one that is replaced does not know better.
//! That is forgotten with it, so that the next start goes by the store alone.

use super::rolling::kept_of;
use crate::rollout::{Rollout, is_step};
use crate::steps::Steps;
use crate::version::Version;

/// Where the log goes on, by what was beside the store that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    /// With the version that was the last one: what began nobody is in no step.
    There,
    /// Before what was the last one.
    Before {
        /// What followed says that it took this version back.
        taken_back: bool,
    },
    /// Nobody knows.
    Unknown,
}

impl Rollout {
    /// What is to be kept of the last version of a log that is restored, in the place of `record`: no version comes into force further with that than it was.
    /// `steps`: what was beside the store that is replaced, where it can be read.
    pub fn resumed(record: Option<&[u8]>, last: &Version, steps: Option<Steps>, goes_on: GoesOn) -> Option<Vec<u8>> {
        let row = record.and_then(|record| kept_of(record, last));
        let (n, change) = (last.n, last.change.id);
        let as_it_is = || record.map(<[u8]>::to_vec);
        let held = || {
            let can_be_staged = n > 1 && last.change.kind.can_take_steps();
            can_be_staged.then(|| Self::held(n, change).encode())
        };
        match (row, steps) {
            (row, Some(steps)) if steps.is_of(n, change) => match (row, steps.stage) {
                (_, None) => None,
                (Some(row), Some(stage)) if row.stage == stage => as_it_is(),
                // Of another version of the program.
                (Some(row), Some(_)) if row.is_held() && record.is_some_and(|record| Self::whose(record).is_some()) => {
                    as_it_is()
                }
                // The log went on while it was in a step: it was taken back.
                (row, Some(stage)) if matches!(goes_on, GoesOn::Before { .. }) => match row {
                    Some(row) if is_step(row.stage) && row.stage < stage => as_it_is(),
                    Some(_) | None => held(),
                },
                (_, Some(stage)) => Some(Self { stage, ..Self::new(n, change) }.encode()),
            },
            (Some(row), Some(_)) if goes_on == GoesOn::There && !row.is_at_once() => None,
            (Some(_), _) => as_it_is(),
            (None, _) if goes_on == (GoesOn::Before { taken_back: true }) => held(),
            (None, _) => None,
        }
    }
}
