//! Power for a time, read from the store where no gateway runs: after a crash somebody must see what is in force. Nothing is judged by the time, and
//! nothing written.

use jiff::Timestamp;
use portcullis_admin::access::{Access, Answer};
use portcullis_governance::power::{Limits, Power, PowerBook, PowerState};
use portcullis_store::{PowerLog, Settings};

use super::shown;

/// Whether this can be read without a gateway.
pub(crate) fn is_a_look(wanted: &Access) -> bool {
    matches!(wanted, Access::List { .. } | Access::Show { .. } | Access::Verify)
}

/// Answers from the log in a store.
///
/// # Errors
/// A sentence: it cannot be read, is not what it was, or this is no look.
pub(crate) fn look(store: &Settings, wanted: &Access, now: Timestamp) -> Result<Answer, String> {
    let log = PowerLog::look(store).map_err(|error| error.to_string())?;
    let book = PowerBook::read(Box::new(log), Limits::default()).map_err(|error| error.to_string())?;
    match wanted {
        Access::List { all } => {
            let is_open = |power: &&Power| {
                power.is_unreviewed() || matches!(power.state, PowerState::Waiting { .. } | PowerState::InForce { .. })
            };
            let in_force =
                book.powers().filter(|power| power.is_in_force(now) && power.asked.kind.gives_access()).count();
            Ok(shown::answer(format!("{in_force} in force"), book.powers().filter(|power| *all || is_open(power))))
        }
        Access::Show { id } => {
            let power = book.power(*id).map_err(|error| error.to_string())?;
            Ok(shown::answer(format!("{id} of {}", power.asked.principal), [power]))
        }
        Access::Verify => {
            let (entries, head) = book.head();
            let message = format!("{entries} entries follow one on the other, up to {head}");
            Ok(Answer { message, ..Answer::default() })
        }
        Access::Activate(_)
        | Access::Approve { .. }
        | Access::Reject { .. }
        | Access::End { .. }
        | Access::Seal(_)
        | Access::BreakGlass(_)
        | Access::BreakGlassSigned { .. }
        | Access::Review { .. }
        | Access::Request(_)
        | Access::Grant(_) => Err("this is for a running gateway".to_owned()),
    }
}
