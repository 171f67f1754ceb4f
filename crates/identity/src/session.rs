//! Sessions: a browser proves once who it is, and shows a cookie from then on.
//!
//! [`Sessions`] is the table that all workers look into, without a lock. A session is known by a [`SessionId`] of 256 random bits which is in
//! the cookie and nowhere else: the table, the store and events have its SHA-256 alone, so that whoever reads them can open nothing.
//! What a session is good for is decided anew for each request: that it was not ended or revoked, neither of its two expiries has come, and the
//! login that opened it still stands in the configuration as it did.
//!
//! It reads no clock and no file. What is to survive a restart goes to a [`SessionStore`], which another crate implements; whoever ends
//! a session can wait until that is on the disk ([`Written`]).

mod cookie;
mod csrf;
mod id;
mod index;
mod record;
mod saved;
mod seal;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use cookie::values;
pub use cookie::{
    COOKIES, CookieKind, clear_cookie, cookie_name, cookie_value, is_own_cookie, only_session, set_cookie,
    set_cookie_for_forms_from_elsewhere, without_own,
};
pub use csrf::{FormToken, fits};
pub use id::{SessionId, SessionKey};
pub use record::{EndCause, Opening, Raised, Session};
pub use saved::{SavedSession, SavedSessionError, SessionChange, SessionStore, Writing, Written};
pub use seal::{SealKey, SealProblem};
pub use table::{Found, NoSession, SessionBounds, SessionEntry, Sessions};
