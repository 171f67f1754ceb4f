//! Gathers signals about a caller, folds them into a risk assessment, and keeps the bans.
//!
//! [`RiskEngine`] is told how every request was answered ([`RiskEngine::observe`]) and who was let in
//! ([`RiskEngine::learn`]); it answers how risky the next caller looks ([`RiskEngine::assess`]) and who is banned. It
//! decides nothing: `policy` does, from these facts.
//!
//! What it deliberately does not: read a clock, or do IO. Profiles, counters and bans live in memory. What survives a restart it
//! gives to a store and takes back from it ([`state`]); without one nobody is banned after a restart, and nothing is new to anybody.
//!
//! **Threads.** All workers share one engine. The tables are lock-free and their records are atomics: a request of a familiar
//! principal takes no lock and allocates nothing, but for once an hour, when what an hour came to is told to its peers.
//!
//! **Time** is passed in. The live gateway derives `now` from a monotonic clock anchored to the wall clock at its start, so
//! that setting the wall clock neither ends nor prolongs a ban; a replay passes the recorded time. A `now` that steps back
//! is harmless.
//!
//! **Bounds.** `max_profiles`, `max_actors` and `max_bans` size the tables when the engine is made; full tables evict, and
//! never a ban in force or an actor half-way to one.
//!
//! **Who is charged** (risk.md 1.5). A verified principal is charged for what it does, never the address it shares with
//! others. A credential that fails is charged to the address alone, since what it claims is not verified: nobody can have
//! somebody else banned.

mod abuse;
mod account;
mod actor;
mod ban;
mod bucket;
mod by_hand;
mod calibration;
mod charge;
mod climate;
mod colleagues;
mod commons;
mod contain;
mod counted;
mod decay;
mod distance;
mod engine;
pub mod evaluation;
mod evidence;
#[cfg(test)]
mod fixtures;
mod habit;
mod hearing;
mod hierarchy;
mod inputs;
mod known;
mod ln;
mod moment;
mod network_set;
mod pace;
mod passed;
mod paths;
mod peers;
mod place;
pub mod posture;
mod profile;
mod recent;
mod score;
pub mod settings;
mod signal;
mod signature;
pub mod state;
mod table;
mod travel;
mod user_agent;
mod words;

use std::net::IpAddr;

use portcullis_policy::{ClientAddress, Policy, Principal};

use crate::posture::Posture;
use crate::profile::Traits;

pub use actor::{Actor, ActorError};
pub use ban::{BanEntry, BanNotice};
pub use by_hand::{BanReport, ImposeError, Outlook};
pub use calibration::{Calibration, CalibrationError, Settled, enough};
pub use contain::{Demand, Demanded};
pub use engine::RiskEngine;
pub use evidence::BanSample;
pub use hearing::Heard;
pub use inputs::{Assessed, Inputs, InputsError, Score};
pub use known::{PlaceReport, ProfileReport};
pub use place::{Locate, Location, Position};
pub use score::total as total_mnats;
pub use settings::Settings;

/// Who asks to be let in.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Where the request comes from.
    pub address: ClientAddress,
    /// The principal, where a credential was verified.
    pub principal: Option<&'a Principal>,
    /// The user agent. Version numbers do not count, nor what follows the first 256 bytes.
    pub user_agent: Option<&'a str>,
    /// The name of the route.
    pub route: Option<&'a str>,
    /// Who knows where addresses are. It is asked only about networks that are new to the principal, or have not been seen for
    /// long.
    pub places: Option<&'a dyn Locate>,
    /// The policy, which knows what is in the networks that `[risk] reputation` names.
    pub policy: Option<&'a Policy>,
    /// What is known of its device; `None` where nothing is expected to be.
    pub posture: Option<Posture>,
}

impl<'a> Caller<'a> {
    /// A caller of whom nothing is known but its address and, perhaps, who it is. Set what is known with `..Caller::new(…)`.
    #[must_use]
    pub fn new(address: ClientAddress, principal: Option<&'a Principal>) -> Self {
        Self { address, principal, user_agent: None, route: None, places: None, policy: None, posture: None }
    }
}

/// What an engine knows a caller by: hashes under a secret of that engine, which mean nothing to another. Made by
/// [`RiskEngine::keys_of`]; those of nobody are the default. [`RiskEngine::assess`] adds where the caller is, if it had to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallerKeys {
    principal: Option<u64>,
    traits: Traits,
}

/// What a request says besides its path. None of it is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<'a> {
    /// The query without its question mark.
    pub query: Option<&'a str>,
    /// The user agent.
    pub user_agent: Option<&'a str>,
    /// Where the caller says that it comes from.
    pub referrer: Option<&'a str>,
}

/// Whose doing it is that a request was answered as it was, and so what of it may be held against its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blame {
    /// Its caller's.
    #[default]
    Caller,
    /// The gateway's own: it refused what it permitted before its policy was changed a short while ago, or a verified caller asked about
    /// what is its own. The answer charges nobody; what the request gives itself away by, and how many come, does.
    Gateway,
    /// Perhaps a stranger's: any site can have a browser send it, and nobody's credential is in it. Nothing of it charges anybody.
    Anybody,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Where the request came from. While it is unknown, `peer` is charged.
    pub address: ClientAddress,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// The principal whose credential was verified. Never a claimed one.
    pub principal: Option<&'a Principal>,
    /// The keys of that principal, where they have been worked out already; else the default.
    pub keys: CallerKeys,
    /// The id that a credential which did not hold claims. It is not verified.
    pub attempted: Option<&'a str>,
    /// The route, by its index, where one is known.
    pub route: Option<usize>,
    /// The path. A query does not count for what is probed.
    pub path: &'a str,
    /// What else an attack shows in.
    pub told: Told<'a>,
    /// The status code of the answer.
    pub status: u16,
    /// The reason code, where the gateway refused; `None` where it forwarded.
    pub reason: Option<&'a str>,
    /// Whose doing it is.
    pub blame: Blame,
    /// The status came from the upstream. A principal is let in by an answer of the upstream below 400.
    pub upstream: bool,
}
