//! What is usual for whom, what is learnt from the past, and calibrations.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is usual for a principal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Whose it is, such as `user:alice`.
    pub on: String,
    /// How often it was let in, at most 4,096; fading by half in 30 days.
    pub history: u32,
    /// When it was last let in, RFC 3339.
    pub last_seen: String,
    /// How many networks are remembered.
    pub networks: u64,
    /// Countries, the most usual first.
    pub countries: Vec<Habit>,
    /// Autonomous systems, likewise.
    pub systems: Vec<Habit>,
    /// How many devices that credentials were bound to.
    pub devices: u64,
    /// How many families of user agents.
    pub user_agents: u64,
    /// How many routes.
    pub routes: u32,
    /// Visits in each six hours of the week; Monday 00:00 to 06:00 UTC first.
    pub hours: Vec<u32>,
    /// The last places it was let in from, the latest first.
    pub places: Vec<ProfilePlace>,
}

/// A country or an autonomous system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Habit {
    /// `DE`, `AS3320`.
    pub name: String,
    /// Its share in thousandths.
    pub permille: u32,
}

/// A place that a principal was let in from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfilePlace {
    /// When that was the last time, RFC 3339.
    pub at: String,
    /// The country.
    pub country: Option<String>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// Degrees, north positive.
    pub latitude: Option<f64>,
    /// Degrees, east positive.
    pub longitude: Option<f64>,
    /// How far off that may be, in kilometres.
    pub radius_km: Option<u16>,
}

/// Logins to learn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastLogins {
    /// In their order.
    pub logins: Vec<PastLogin>,
}

/// One login of the past that was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastLogin {
    /// When, RFC 3339.
    pub time: String,
    /// Who, such as `user:alice`.
    pub principal: String,
    /// From where.
    pub address: IpAddr,
    /// The country, where no database of the gateway knows one.
    pub country: Option<String>,
    /// The number of the autonomous system, likewise.
    pub asn: Option<u32>,
    /// The software.
    pub user_agent: Option<String>,
}

/// The calibrations of risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Calibrations {
    /// `[risk] step_up_budget` in millionths; `None`: nothing is counted.
    pub budget: Option<u32>,
    /// How many visits of users were counted so far, to resources of low, normal and high sensitivity.
    pub counted: [u64; 3],
    /// How many of one sensitivity are enough.
    pub enough: Option<u64>,
    /// The one that the policy names, `sha256:…`, where it names one: that one is in force and no other, and none where it is not among these.
    #[serde(default)]
    pub named: Option<String>,
    /// The latest first. At most 32.
    pub calibrations: Vec<Calibration>,
}

/// Thresholds that were worked out from good traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Its id, such as `c12-4f0c93ab`.
    pub id: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Its thresholds hold, where the policy does not say its own.
    pub in_force: bool,
    /// The budget, in millionths.
    pub budget: u32,
    /// From how many visits, for each sensitivity.
    pub counted: [u64; 3],
    /// The digest of the counts.
    pub digest: String,
    /// As `calibration` in `[risk]` of a policy names it: `sha256:…`, over all that it is.
    #[serde(default)]
    pub name: String,
    /// Where a step-up and where a denial begins, in milli-nats, for each sensitivity; `None`: too little was counted.
    pub thresholds: [Option<[i32; 2]>; 3],
    /// What scores mean: milli-nats, and from 0 to 1,000 how rare it is.
    pub scale: Vec<(i32, u16)>,
}

/// A calibration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibrationId {
    /// Its id.
    pub id: String,
}
