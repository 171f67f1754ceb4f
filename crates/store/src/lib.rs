//! Keeps in one SQLite file what must survive a restart: bans and past offences, profiles, what alerts demand, sessions of browsers, identity providers' keys, what is known of spikes of refusals, and the secret that the
//! keys of profiles are hashed with.
//!
//! [`Database`] is the file: it is verified when it is opened, and one that is damaged, of another program or of a newer version is
//! refused with a remedy, and never replaced. [`Keeping`] is the one thread that writes to it. Nobody waits for that thread: the state lives
//! in memory, changes are marked there, and a file that cannot be written (a full disk) costs nothing but what a restart would lose, which
//! is counted and said.
//!
//! What is written when: bans, lifted bans and demands within 100 ms, forced to the disk; the rest every two seconds where it is little, else
//! every thirty, and at an orderly end. So a process that is killed loses the last 100 ms of bans and up to thirty seconds of profiles, and a
//! machine that loses power perhaps a few more of these.
//!
//! Sessions have a connection and a thread of their own ([`KeptSessions`]): whoever ends a session can wait until that is on the disk, and need not wait
//! for profiles.
//!
//! What it deliberately does not: decide, or know what a profile means. Each part of the program that has state owns the trait by which it
//! is kept (`portcullis_risk::state::StateStore`, `portcullis_governance::Ledger`), and a file of this crate with its rows (`schema.rs` has all tables).

mod audit;
mod clock;
mod database;
mod error;
mod factors;
mod keeping;
mod listed;
mod lock;
mod looking;
mod owner;
mod packed;
mod power;
mod provider_keys;
mod reserve;
mod revocation;
mod risk;
mod schema;
mod sessions;
mod spikes;
mod stats;
#[cfg(test)]
mod tests;
mod used;
mod versions;

pub use audit::{AuditBook, CarriedRow, PrincipalRow, SuppressionRow, UsageRows, UseRow};
pub use database::{Database, Settings};
pub use error::{StoreError, Trouble};
pub use factors::KeptFactors;
pub use keeping::{Keeping, Source};
pub use listed::{kept_bans, kept_sessions};
pub use lock::{Lock, LockError};
pub use power::{Activated, BreakGlass, PowerLog, activations, break_glass, end_all_power};
pub use provider_keys::ProviderKeyBook;
pub use revocation::{RevocationBook, RevocationFollower, RevocationRow};
pub use sessions::{KeptSessions, RestoredSessions};
pub use spikes::{SpikeBook, SpikeRows, SpikesOf};
pub use stats::StoreStats;
pub use used::{Used, UsedBook};
pub use versions::{Taken, Versions};
