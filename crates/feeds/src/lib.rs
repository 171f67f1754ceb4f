//! Keeps named networks current from files and URLs, and holds back updates that look wrong.
//!
//! A [`Keeper`] has one feed for each network with a source. It says which are [due](Keeper::due), each [`Job`] fetches and parses
//! one list, and what came of it is given back: [`Keeper::finish`] holds the list to its guards, keeps it on disk, and says in a
//! [`Notice`] what happened. A list that a guard holds back changes nothing until somebody accepts that very list.
//!
//! It deliberately decides nothing about requests: a feed gives the content of a network, and what the network is for is the
//! policy's. It reads no clock: each moment is passed in as [`Now`]. It logs nothing and records nothing.

mod acceptance;
mod csv;
mod feed;
mod guard;
mod job;
mod json;
mod keeper;
mod list;
mod obtain;
mod parse;
mod prefix;
pub mod presets;
mod ranges;
pub mod settings;
mod signature;
mod store;

pub use feed::{Counts, FeedState, HeldReport, Now, Report};
pub use guard::{Finding, Hold};
pub use job::{Job, Lost, Outcome};
pub use keeper::{AcceptError, Activate, Denied, Finished, Keeper, Notice, NoticeKind, RollbackError, RollbackTried};
pub use list::List;
pub use parse::{LineProblem, ParseError};
pub use prefix::parse_prefix;
pub use settings::{Column, FeedSettings, Format, Guards, OnStale, Pointer, Settings, SignatureSettings, Source};
pub use signature::PublicKey;
pub use store::{Restored, restore};
