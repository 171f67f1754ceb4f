//! Key sets that a provider publishes at an address, kept current beside the requests (security.md, T3).
//!
//! [`RemoteKeys`] is what requests look at: the keys that were fetched last, while they are not too old. [`KeyKeeper`] says when
//! to fetch, [`KeyJob`] fetches, and what came of it is given back to the keeper. It runs on a thread of its own; the only thing that a
//! request may do is to ask for a fetch and to wait until it ended ([`KeysAwaited`]), once.
//!
//! - An unknown key id asks for one fetch, and for no other before `cooldown` has passed: a flood of unknown ids costs the provider one
//!   request in that time.
//! - A fetch that fails, or a set that cannot be used, leaves what was fetched last in force, up to `max_stale` after it was last
//!   confirmed. Then a token cannot be judged: that is `dependency.keys_unavailable` (503), never a 401 and never a permit.
//! - What was fetched last can be kept ([`SavedKeys`]), so that a gateway which starts while a provider is down goes on with it.
//! - A key that the provider withdrew verifies nothing from the next fetch on, remembered tokens included.

mod discovery;
mod job;
mod keeper;
mod keys;
mod saved;

pub use discovery::address as discovery_address;
pub use job::{KeyJob, KeyOutcome};
pub(crate) use keeper::restore;
pub use keeper::{KeyKeeper, KeyNotice, KeyNoticeKind, KeyReport};
pub(crate) use keys::Recourse;
pub use keys::{KeysAwaited, Patience, RemoteKeys};
pub use saved::SavedKeys;
