//! What ends since approvals are required from now on: power that was lent, and codes that were sealed, when nobody had to sign for them.

use portcullis_governance::power::{Limits, PowerBook, PowerKind, PowerState};
use portcullis_store::PowerLog;

use super::holding::Holding;
use crate::governing::Governing;

/// What of it ends, to be put behind a sentence; empty: nothing.
pub(crate) fn in_words(governing: &Governing) -> String {
    match count(governing) {
        Ok((0, 0)) => String::new(),
        Ok((lent, sealed)) => format!(
            "; {lent} that are lent or activated and {sealed} sealed codes are from before approvals were required, and end with that: lend and seal them again"
        ),
        Err(error) => format!("; what power is lent, and ends with that, cannot be told: {error}"),
    }
}

/// How much that gives something, and how many sealed codes.
fn count(governing: &Governing) -> Result<(usize, usize), String> {
    let Some(demands) = governing.demands() else { return Ok((0, 0)) };
    let log = PowerLog::read(governing.store()).map_err(|error| error.to_string())?;
    let book = PowerBook::read_rows(Box::new(log), Limits::default()).map_err(|error| error.to_string())?;
    let loaded = governing.serving()?;
    let holding = Holding { policy: &loaded.policy, demands: Some(&demands), break_glass: loaded.break_glass.as_ref() };
    let ends = book.powers().filter(|power| match power.state {
        PowerState::InForce { began, until } => holding.until(&book, power, began, until).is_err(),
        PowerState::Waiting { .. } | PowerState::Ended { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => {
            false
        }
    });
    Ok(ends.fold((0, 0), |(lent, sealed), power| match power.asked.kind {
        PowerKind::Seal => (lent, sealed + 1),
        PowerKind::Activation | PowerKind::BreakGlass | PowerKind::Request | PowerKind::Loan => (lent + 1, sealed),
    }))
}
