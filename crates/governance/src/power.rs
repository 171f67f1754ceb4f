//! Power for a time: who has what until when, why, and by whose word.
//!
//! It is a log that only grows, each [`Entry`] bound to the one before it by its hash, and what is in force is what the log comes to
//! ([`PowerBook`]). Somebody asks; where the policy wants that, other persons approve; then it begins, and it ends at its deadline, or earlier
//! by hand. The book judges by the time of day alone, and a clock that was set back shortens what is in force by as much, so that setting the
//! clock never lengthens anything. The process that runs holds each to a clock that is never set as well, and what ends first counts.
//!
//! What it deliberately does not: know a policy. What is given is a text that the engine reads; whether somebody may have it, and what that
//! takes, is passed in.

mod anchor;
mod asking;
mod book;
mod breaking;
mod entry;
mod extending;
mod persons;
mod room;
mod state;
mod statement;
mod taken;
mod taking;
mod unheard;
mod voices;
mod vouched;
mod word;

#[cfg(test)]
mod tests;

pub use anchor::{Place, PowerAnchor, PowerAnchorFile};
pub use book::{Limits, PowerBook, PowerError, PowerLedger};
pub use breaking::{KeyTerms, UNREVIEWED};
pub use entry::{Act, Asked, BreakGlassRules, Entry, MAX_REASON, MAX_TICKET, PowerKind, text_problem};
pub use extending::{EXTENDED, EXTENDS_BY_S};
pub use persons::{Names, names_of_principal};
pub use state::{GRANTED, Power, PowerState, REVIEWERS};
pub use statement::{Breaking, Statement};
pub use taken::{Taken, TakenFile};
pub use taking::Untakeable;
pub use voices::Reviewer;
pub use vouched::{Demands, Unvouched};
pub use word::Word;
