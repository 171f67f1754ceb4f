//! The policy engine: given the facts of one request, says permit or deny and exactly why.
//!
//! It deliberately does no IO, reads no clock, spawns nothing and serializes nothing. Time, addresses, identities and
//! risk are facts that are passed in ([`AccessRequest`]); the answer is a [`Decision`]. So the live gateway, the offline
//! questions and every replay are the same code.

pub mod decision;
pub mod path;
pub mod principal;
pub mod reason;
pub mod request;
pub mod route;

pub use decision::*;
pub use path::{CanonicalPath, PathProblem};
pub use principal::*;
pub use reason::*;
pub use request::*;
pub use route::RouteId;
