//! The policy engine: given the facts of one request, says permit or deny and exactly why.
//!
//! It deliberately does no IO, reads no clock, spawns nothing and serializes nothing. Time, addresses, identities and
//! risk are facts that are passed in ([`AccessRequest`]); the answer is a [`Decision`]. So the live gateway, the offline
//! questions and every replay are the same code.

mod action;
mod compile;
mod condition;
pub mod coverage;
pub mod decision;
pub mod draft;
mod evaluate;
mod explain;
mod nearest;
mod network;
pub mod path;
mod pattern;
pub mod policy;
pub mod principal;
pub mod reason;
mod record;
pub mod request;
pub mod route;
pub mod stated;
mod suggest;

pub use coverage::*;
pub use decision::*;
pub use draft::*;
pub use path::{CanonicalPath, PathProblem};
pub use policy::{Policy, PolicySize};
pub use principal::*;
pub use reason::*;
pub use request::*;
pub use route::{RouteId, canonical_host};
pub use stated::{StatedFacts, stated_host, stated_principal, stated_target};
