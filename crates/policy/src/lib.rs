#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! [`PolicyDraft`] is what a policy is made of, [`Policy::compile`] makes one of it, [`AccessRequest`] holds the facts of a
//! request, and [`Policy::decide`] answers with a [`Decision`]. All that can be asked is the same code: the live gateway, the
//! offline questions and every replay.

#![forbid(unsafe_code)]

mod action;
mod compile;
mod condition;
pub mod coverage;
pub mod decision;
pub mod diff;
pub mod draft;
mod evaluate;
mod explain;
pub mod kept;
mod lent;
pub mod lint;
pub mod live;
mod nearest;
mod network;
pub mod path;
mod pattern;
pub mod policy;
pub mod prefix;
pub mod principal;
pub mod questions;
pub mod reason;
mod record;
pub mod request;
pub mod route;
pub mod ruling;
pub mod spelling;
pub mod stated;
mod suggest;
pub mod usage;

pub use coverage::*;
pub use decision::*;
pub use diff::{
    ChangedClass, ChangedPlace, Circumstance, DiffBounds, Effect, ExampleAnswer, ExampleIdentity, ExampleRequest,
    PolicyDiff, compare,
};
pub use draft::*;
pub use kept::{KeptIdentity, KeptRare, KeptRequest, KeptRisk, KeptTarget, KeptText};
pub use lent::Eligible;
pub use lint::{CredentialFacts, LintFacts, lint};
pub use live::{Calibrated, ContentError, Listed, NetworkContent, Whereabouts};
pub use path::{CanonicalPath, PathProblem};
pub use policy::{Policy, PolicySize};
pub use principal::*;
pub use questions::*;
pub use reason::*;
pub use request::*;
pub use route::{RouteId, canonical_host};
pub use ruling::{Ruling, UsedPermission};
pub use spelling::Spelling;
pub use stated::{StatedFacts, stated_host, stated_principal, stated_target};
pub use usage::{UsedAction, UsedWords, WrittenAction};
