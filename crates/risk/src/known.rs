//! What is known of one principal: to look at, and to forget.

use jiff::Timestamp;
use portcullis_policy::CountryCode;

use crate::actor::Actor;
use crate::distance::Position;
use crate::engine::RiskEngine;
use crate::moment::Moment;
use crate::profile::Shown;
use crate::settings::RiskMode;

/// What is usual for a principal. Networks, devices and software are kept as hashes and can only be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileReport {
    /// How often it was let in, at most 4,096. Counts here fade by half in 30 days.
    pub history: u32,
    /// When it was last let in, give or take 16 seconds.
    pub last_seen: Timestamp,
    /// How many networks are remembered, at most 16.
    pub networks: usize,
    /// Autonomous systems with their share in thousandths, the largest first. At most 8.
    pub asns: Vec<(u32, u32)>,
    /// Countries, likewise. At most 6.
    pub countries: Vec<(CountryCode, u32)>,
    /// How many devices that credentials were bound to, at most 8.
    pub devices: usize,
    /// How many families of user agents, at most 8.
    pub user_agents: usize,
    /// How many routes, at most 128.
    pub routes: u32,
    /// Visits in each six hours of the week; Monday 00:00 to 06:00 UTC first.
    pub hours: [u8; 28],
    /// The last places it was let in from, the latest first. At most 4.
    pub places: Vec<PlaceReport>,
}

/// A place that a principal was let in from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceReport {
    /// When that was the last time, give or take 16 seconds.
    pub at: Timestamp,
    /// The country.
    pub country: Option<CountryCode>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// The place on the globe.
    pub position: Option<Position>,
}

impl RiskEngine {
    /// What is known of a principal; `None` of one that is not remembered, and of a network.
    pub fn profile_of(&self, actor: &Actor, now: Timestamp) -> Option<ProfileReport> {
        let shown = self.profiles.show(self.principal_key(actor)?, Moment::from(now).ticks)?;
        Some(shown.into())
    }

    /// Forgets what is usual for a principal, so that nothing is new to it. Says whether there was anything to forget. Bans stay.
    pub fn forget_profile(&self, actor: &Actor) -> bool {
        self.principal_key(actor).is_some_and(|key| self.profiles.forget(key))
    }

    /// Whether callers are scored, and so learnt from.
    pub fn scores(&self) -> bool {
        self.risk_mode() != RiskMode::Off
    }

    fn principal_key(&self, actor: &Actor) -> Option<u64> {
        match actor {
            Actor::Network(_) => None,
            Actor::Principal { kind, id } => Some(self.keys.principal(*kind, id)),
        }
    }
}

impl From<Shown> for ProfileReport {
    fn from(shown: Shown) -> Self {
        let Shown { history, last_seen, networks, asns, countries, devices, user_agents, hours, routes, places } =
            shown;
        let places = places
            .into_iter()
            .map(|place| PlaceReport {
                at: time(place.at),
                country: place.country,
                asn: place.asn,
                position: place.position,
            })
            .collect();
        let last_seen = time(last_seen);
        Self { history, last_seen, networks, asns, countries, devices, user_agents, routes, hours, places }
    }
}

fn time(ticks: u64) -> Timestamp {
    i64::try_from(ticks / 16).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX)
}
