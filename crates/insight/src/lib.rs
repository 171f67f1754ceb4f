//! Explains: what a change of the policy would do to requests that were really made, what a spike of refusals is due to, and which grants are
//! unused, too wide or dangerous ([`audit`]).
//!
//! A request is a [`KeptRequest`](portcullis_policy::KeptRequest): all that its decision rested on, from the gateway's [`Sample`] or read
//! back from recorded events ([`replay`]). Deciding again is the live engine, asked once with the policy in force and once with the
//! candidate; what differs is an [`Impact`]. Where a fact was not kept that the answer depends on, the answer is [`Missing`] and is counted
//! as such: nothing is guessed. A spike of refusals is explained by the same means ([`spike`]): the very requests that were refused are decided on
//! again with each recent change undone.
//!
//! It reads no clock, no file and no configuration: times, lines and compiled policies are passed in. Everything that grows has a bound.

mod again;
pub mod audit;
mod counts;
mod impact;
mod preview;
pub mod replay;
mod sample;
pub mod spike;
#[cfg(test)]
mod tests;
mod watch;
mod words;

pub use again::{Again, Change, Missing, Unknown, again};
pub use audit::AuditSettings;
pub use counts::{Count, Counts};
pub use impact::{Flips, Impact, PolicyId, Stamped, Tally};
pub use preview::{Coverage, Preview, Unseen, preview};
pub use sample::{Answered, Outlook, Sample, SampleLimits, Sampled, Seen};
pub use spike::SpikeSettings;
pub use watch::{Budget, CALLERS_KEPT, Found, LEAST_TURNS, Watch, Watched};
