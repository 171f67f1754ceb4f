//! The shapes of the questions and answers, as JSON. Both sides use these types; keys are only ever added to.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/health` | [`Health`] |
//! | `POST /v1/reload` | [`Reloaded`] |
//! | `POST /v1/drain` | [`Done`] |
//! | `GET /v1/bans` | [`Bans`] |
//! | `POST /v1/bans/explain` [`Whom`] | [`BanReport`] |
//! | `POST /v1/bans/add` [`NewBan`] | [`Done`] |
//! | `POST /v1/bans/import` [`NewBans`] | [`Done`] |
//! | `POST /v1/bans/remove` [`Whom`] | [`Done`] |
//! | `POST /v1/sinks/test` [`SinkName`] | [`SinkTested`] |
//! | `GET /v1/feeds` | [`Feeds`] |
//! | `POST /v1/feeds/refresh` [`FeedName`] | [`Done`] |
//! | `POST /v1/feeds/test` [`WhereIs`] | [`Located`] |
//! | `POST /v1/feeds/accept` [`Acceptance`] | [`Done`] |
//! | `GET /v1/keys` | [`KeyUses`] |
//! | `GET /v1/revocations` | [`Revocations`] |
//! | `POST /v1/revocations/add` [`NewRevocation`] | [`Done`] |
//! | `POST /v1/revocations/remove` [`RevokedName`] | [`Done`] |
//! | `POST /v1/govern/VERB` [`Governed`](crate::govern::Governed) | [`Answer`](crate::govern::Answer) |
//! | `POST /v1/factors` [`Whom`] | [`Factors`] |
//! | `POST /v1/factors/enroll` [`NewFactor`] | [`FactorBegun`] |
//! | `POST /v1/factors/confirm` [`FactorCode`] | [`FactorConfirmed`] |
//! | `POST /v1/factors/reset` [`Whom`] | [`Done`] |
//! | `GET /v1/sessions` | [`Sessions`] |
//! | `POST /v1/sessions/revoke` [`WhichSessions`] | [`Done`] |
//! | `POST /v1/policy/preview` [`PolicyText`] | [`Previewed`] |
//! | `GET /v1/spikes` | [`Spikes`] |
//! | `GET /v1/openapi.json` | all this as an OpenAPI document |
//! | `POST /v1/events/tail` [`Filter`](portcullis_history::Filter) | lines of JSON: native events as they are recorded, and [`TailNote`] |
//!
//! What cannot be done is a status of 400 and above with a [`Problem`].

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// One sentence.
    pub error: String,
}

/// Something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// What, in one sentence.
    pub message: String,
}

/// How the process does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// `node` of its events.
    pub node: String,
    /// The configuration file that it was started with.
    pub config: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// Whole seconds since then.
    pub uptime_s: u64,
    /// It has been told to stop.
    pub draining: bool,
    /// What is in force.
    pub policy: PolicyStatus,
    /// What a reload would find.
    pub disk: DiskStatus,
    /// Reloads so far.
    pub reloads: Reloads,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// How many workers there are.
    pub workers: usize,
    /// Every worker has looked after itself within the last seconds.
    pub workers_alive: bool,
    /// Open connections.
    pub connections: u64,
    /// Requests under way.
    pub requests: u64,
    /// By upstream, in the order of their names.
    pub upstreams: Vec<Upstream>,
    /// By sink, in the order of the configuration.
    pub sinks: Vec<Sink>,
    /// Events recorded so far.
    pub events: u64,
    /// Bans in force.
    pub bans: u64,
    /// Geo databases, where there are any.
    #[serde(default)]
    pub geo: Vec<GeoDatabase>,
    /// What survives a restart; null: nothing does.
    #[serde(default)]
    pub store: Option<Store>,
    /// Whom callers' credentials are checked with, where that is asked for over the network.
    #[serde(default)]
    pub providers: Vec<Provider>,
}

/// A provider of keys, of what is known about tokens, or of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// `keys`, `introspection` or `directory`.
    pub kind: String,
    /// Where it is, without a query; null of a directory, which may be several servers.
    pub address: Option<String>,
    /// Credentials that need it can be checked now, as far as is known.
    pub usable: bool,
    /// How many keys, tokens or principals of it are held.
    pub entries: u64,
    /// When it last answered, RFC 3339; null for never.
    pub answered: Option<String>,
    /// Why it does not, if so.
    pub problem: Option<String>,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Store {
    /// Its file.
    pub path: String,
    /// Its size on disk in bytes.
    pub bytes: u64,
    /// Transactions that were written.
    pub written: u64,
    /// Transactions that were not.
    pub failed: u64,
    /// Records that have changed and are not written yet.
    pub pending: u64,
    /// When something was last written, RFC 3339; null for never.
    pub last_written: Option<String>,
    /// Why the last transaction was not written; null where it was.
    pub trouble: Option<String>,
}

/// One geo database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GeoDatabase {
    /// `city`, `country` or `asn`.
    pub database: String,
    /// Its file.
    pub path: String,
    /// What it calls itself; empty where there is none.
    pub kind: String,
    /// When it was made, RFC 3339; null where nobody knows.
    pub built: Option<String>,
    /// Why the file is not used.
    pub problem: Option<String>,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStatus {
    /// Its version.
    pub version: u64,
    /// The SHA-256 of its text.
    pub sha256: String,
    /// How much of it there is.
    pub routes: u64,
    /// Roles.
    pub roles: u64,
    /// Assignments.
    pub assignments: u64,
    /// Denies.
    pub denies: u64,
}

/// What the files say now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskStatus {
    /// Compared with what is in force.
    pub state: DiskState,
    /// The SHA-256 of the policy's text, where it compiles.
    pub sha256: Option<String>,
    /// What is wrong, in one line.
    pub problem: Option<String>,
    /// The tables that differ and only a restart would change.
    pub restart: Vec<String>,
}

/// The files and what is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// A reload would change nothing.
    Same,
    /// A reload would put something else in force.
    Differs,
    /// A reload would be refused.
    Invalid,
}

/// Reloads since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloads {
    /// That put something in force.
    pub ok: u64,
    /// That were refused.
    pub error: u64,
    /// When the configuration in force was loaded, RFC 3339.
    pub last_success: String,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// It is not asked at the moment.
    pub circuit_open: bool,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// As the configuration names it, where it is known, else its place.
    pub endpoint: String,
    /// `up`, `down` by its health checks, or `ejected` for its failures.
    pub state: String,
    /// Exchanges that failed.
    pub failures: u64,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// Events that wait.
    pub queue_depth: u64,
    /// Events written.
    pub exported: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events lost.
    pub dropped: u64,
    /// Why its last attempt failed; null where it did not.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// Whether it lives, and is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Every worker has looked after itself within the last seconds.
    pub live: bool,
    /// A policy is in force and it is not on its way out.
    pub ready: bool,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The files are in force.
    pub reloaded: bool,
    /// In one line.
    pub message: String,
    /// The SHA-256 of the policy that is in force now.
    pub sha256: String,
    /// Every problem for a person, warnings too.
    pub report: Option<String>,
    /// The same for a machine.
    pub problems: Value,
    /// The tables that changed and only a restart would put in force.
    pub restart: Vec<String>,
}

/// The bans in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bans {
    /// The one that ends last first.
    pub bans: Vec<Ban>,
}

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ban {
    /// On whom: an address, a network, or a principal such as `user:alice`.
    pub on: String,
    /// What it refuses: `address`, `anonymous` (of an address, what has no credential that holds) or `principal`.
    pub scope: String,
    /// When it ends, RFC 3339.
    pub until: String,
    /// In how many seconds.
    pub left_s: u64,
    /// How many offences led to it.
    pub offences: u32,
    /// Why.
    pub cause: String,
    /// It refuses nobody and is only reported.
    pub simulated: bool,
    /// When it began, RFC 3339.
    #[serde(default)]
    pub began: String,
}

/// On whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// An address, a network, or a principal such as `user:alice`.
    pub on: String,
}

/// A ban to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    /// An address, a network, or a principal such as `user:alice`.
    pub on: String,
    /// For how many seconds.
    pub for_s: u64,
    /// Why, for the event and the listing; at most 256 bytes.
    pub reason: String,
}

/// Bans to make, all of them or none. At most 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBans {
    /// Where they come from, for the event; at most 256 bytes.
    pub from: String,
    /// The bans.
    pub bans: Vec<NewBan>,
}

/// What is known of somebody's bans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BanReport {
    /// Who was asked about.
    pub on: String,
    /// Those that touch it, the strongest first.
    pub bans: Vec<Ban>,
    /// It is among those that are never banned.
    pub never: bool,
    /// The last requests that were charged, newest first.
    pub evidence: Vec<Sample>,
    /// What its past offences mean; null where there are none.
    #[serde(default)]
    pub outlook: Option<Outlook>,
}

/// What somebody's past offences mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlook {
    /// How many are not forgotten.
    pub past_offences: f64,
    /// About how long the next ban would be, in seconds.
    pub next_s: u64,
    /// Half of them are forgotten in so many seconds.
    pub forget_half_s: u64,
}

/// A request that was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Its reason code, or the status that the upstream answered with.
    pub reason: String,
    /// Its path.
    pub path: String,
}

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

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkName {
    /// Its name.
    pub name: String,
}

/// What came of a test event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SinkTested {
    /// The sink has taken it.
    pub delivered: bool,
    /// What happened, in one sentence.
    pub message: String,
    /// The id of the test event.
    pub id: String,
    /// The native line of the test event, from which the sink makes what it sends.
    pub line: Option<String>,
    /// What the sink made of it, as it leaves the gateway before it is compressed and encrypted; what proves who sends it is hidden.
    #[serde(default)]
    pub wire: Option<String>,
}

/// The alerts, and what they contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alerts {
    /// In the order of the configuration.
    pub alerts: Vec<Alert>,
    /// What they contain, the last first.
    pub contained: Vec<Contained>,
    /// Events that no alert has seen, because too many came at once.
    pub missed: u64,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// What it demands, in words.
    pub condition: String,
    /// How often it has fired since it is in force.
    pub fired: u64,
    /// The keys that have fired and hold still, or cool down. At most 100.
    pub firing: Vec<String>,
    /// How many keys it keeps apart.
    pub keys: u64,
    /// How many keys were forgotten for others.
    pub evicted: u64,
    /// Events that made a key fire for which there was no room among those that fire.
    pub crowded: u64,
    /// Events with a value of which nobody knows whether it is new, because the key has had too many.
    pub overflowed: u64,
    /// Why nobody is told at this moment.
    pub muted: Option<String>,
    /// It still learns what is usual.
    pub learning: bool,
}

/// Something that an alert contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contained {
    /// Its id, by which it is lifted.
    pub id: String,
    /// The alert.
    pub alert: String,
    /// What was done: `ban`, `step_up`, `revoke`, `tighten`.
    pub measure: String,
    /// To whom, or to which route.
    pub on: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339.
    pub until: String,
    /// In how many seconds that is.
    pub left_s: u64,
    /// The id of the alert's event.
    pub event: String,
    /// It refuses nobody and is only reported.
    pub simulated: bool,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertName {
    /// Its name.
    pub name: String,
}

/// The networks that keep themselves current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feeds {
    /// In the order of the configuration.
    pub feeds: Vec<Feed>,
}

/// One network that keeps itself current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feed {
    /// The network.
    pub name: String,
    /// Where its list comes from.
    pub source: String,
    /// `current`, `stale` (too old, and in force), `dropped` (too old, and unknown) or `never_loaded` (unknown).
    pub state: String,
    /// Prefixes in force from the list.
    pub entries: u64,
    /// Prefixes that the configuration adds.
    pub fixed: u64,
    /// The SHA-256 of the list.
    pub sha256: Option<String>,
    /// How many seconds ago the list was confirmed.
    pub age_s: Option<u64>,
    /// Since when it is as it is, RFC 3339.
    pub changed: Option<String>,
    /// In how many seconds it is fetched next; 0 while it is.
    pub next_s: u64,
    /// The last fetch, where it failed.
    pub error: Option<FeedError>,
    /// The update that is held back.
    pub held: Option<HeldUpdate>,
    /// Updates that put a new list in force.
    pub updated: u64,
    /// That found the same list.
    pub unchanged: u64,
    /// That were held back.
    pub held_back: u64,
    /// That failed.
    pub failed: u64,
}

/// A fetch that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedError {
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub why: String,
}

/// An update that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldUpdate {
    /// The SHA-256 of its list; null where it is none.
    pub sha256: Option<String>,
    /// How many prefixes it has.
    pub entries: u64,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why, each `guard: numbers`.
    pub reasons: Vec<String>,
    /// How many of its prefixes are not in force.
    pub added: u64,
    /// A few of them.
    pub added_sample: Vec<String>,
    /// How many prefixes in force it does not have.
    pub removed: u64,
    /// A few of them.
    pub removed_sample: Vec<String>,
}

/// A network that keeps itself current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedName {
    /// Its name.
    pub name: String,
}

/// A containment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainmentId {
    /// Its id.
    pub id: String,
}

/// Alerts that are to tell nobody for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMute {
    /// The alert; `null`: all of them.
    pub alert: Option<String>,
    /// For how many seconds; at most 7 days.
    pub for_s: u64,
    /// Why, for the events; at most 256 bytes.
    pub reason: String,
}

/// Alerts that were muted by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MutedAlert {
    /// The alert; `null`: the mute of all of them.
    pub alert: Option<String>,
}

/// What came of a test of an alert's notifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTested {
    /// The alert.
    pub name: String,
    /// Each notifier, and how it went.
    pub tried: Vec<Tried>,
}

/// One notifier that was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The notifier.
    pub notifier: String,
    /// `webhook` and so on.
    pub kind: String,
    /// It took the message.
    pub delivered: bool,
    /// What happened, in one sentence.
    pub message: String,
}

/// An update to be put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The network.
    pub name: String,
    /// The SHA-256 of the list that was looked at.
    pub sha256: String,
}

/// Which networks an address is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhereIs {
    /// The address.
    pub address: IpAddr,
}

/// The networks of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Located {
    /// The address, in canonical form.
    pub address: IpAddr,
    /// Those that hold it.
    pub networks: Vec<PlaceOfAddress>,
    /// Those of which nobody knows.
    pub unknown: Vec<PlaceOfAddress>,
}

/// One network of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceOfAddress {
    /// The network.
    pub network: String,
    /// `configuration`, or `feed`: the list that was fetched.
    pub from: String,
    /// Where the network stands.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// When API keys were last used: those that were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyUses {
    /// Each, by its id.
    pub keys: Vec<KeyUse>,
}

/// The last use of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyUse {
    /// The key's id.
    pub id: String,
    /// When it was last accepted, RFC 3339, give or take a minute.
    pub last_used: String,
}

/// Something that is to count no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRevocation {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// A token's `jti`, a key's id, or a principal as the policy writes it.
    pub name: String,
    /// Of a principal: what was issued later counts, RFC 3339; null: now.
    #[serde(default)]
    pub before: Option<String>,
    /// For how many seconds; null: a token or a principal for 90 days, a key until it is lifted.
    #[serde(default)]
    pub for_s: Option<u64>,
    /// Why, 1 to 128 bytes.
    pub reason: String,
}

/// Something that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokedName {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// Its name.
    pub name: String,
}

/// All that is revoked, the last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocations {
    /// Each.
    pub revocations: Vec<ShownRevocation>,
    /// They survive a restart.
    pub kept: bool,
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownRevocation {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// Of a principal: what was issued until then counts no longer, RFC 3339.
    pub before: Option<String>,
    /// When it was made, RFC 3339.
    pub made: String,
    /// When it ends, RFC 3339; null: when it is lifted.
    pub until: Option<String>,
    /// Why.
    pub reason: String,
}

/// A policy that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// What its file is called, without a folder: it is read as if it stood where the policy's file does.
    pub name: String,
    /// The text. At most 32 MiB.
    pub text: String,
}

/// What a policy would have done to the requests of the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Previewed {
    /// In sentences.
    pub text: Vec<String>,
    /// Whether nobody is answered otherwise, as far as the sample tells.
    pub unchanged: bool,
    /// The report, `portcullis.impact/1`, with the hash that an approval binds.
    pub report: Value,
}

/// Spikes of refusals that were explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spikes {
    /// The last one first. At most 64.
    pub spikes: Vec<Spike>,
    /// What is usual is not known yet: the gateway has not run for long enough.
    pub learning: bool,
}

/// One spike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spike {
    /// The id of its event.
    pub id: String,
    /// When it began, RFC 3339.
    pub onset: String,
    /// Refusals beyond the usual.
    pub excess: u64,
    /// The causes in a few words, such as `config_change 96 %, attack 3 %`.
    pub causes: String,
    /// What it says, in sentences.
    pub text: Vec<String>,
    /// The same for a machine.
    pub report: Value,
}

/// A line between the events of a tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TailNote {
    /// [`TAIL_SCHEMA`].
    pub schema: String,
    /// Events that were not passed on, because whoever follows was too slow for them.
    pub dropped: u64,
}

/// What tells a [`TailNote`] from an event. The first one comes at once: from then on nothing is missed.
pub const TAIL_SCHEMA: &str = "portcullis.tail/1";

/// The second factors of a principal. None of their secrets is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Factors {
    /// Whose, as a policy writes it.
    pub on: String,
    /// The oldest first.
    pub factors: Vec<Factor>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// What it is known by.
    pub id: String,
    /// `totp`, `recovery` or `passkey`.
    pub kind: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was added, RFC 3339.
    pub created: String,
    /// When it was last used, RFC 3339; null for never.
    pub used: Option<String>,
    /// Recovery codes that are left; null for other kinds.
    pub left: Option<u64>,
}

/// An app with codes to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFactor {
    /// Whose, as a policy writes it.
    pub on: String,
    /// What its owner calls it.
    pub name: String,
}

/// One that was begun: it counts once it is confirmed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactorBegun {
    /// What is to be confirmed.
    pub id: String,
    /// The secret in base32.
    pub secret: String,
    /// The address that an app reads.
    pub uri: String,
}

impl std::fmt::Debug for FactorBegun {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FactorBegun").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A code that confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FactorCode {
    /// Whose.
    pub on: String,
    /// What is to be confirmed.
    pub id: String,
    /// The code.
    pub code: String,
}

/// It was confirmed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactorConfirmed {
    /// What was done, in one sentence.
    pub message: String,
    /// Recovery codes, where there were none: shown this once.
    pub recovery: Option<Vec<String>>,
}

impl std::fmt::Debug for FactorConfirmed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FactorConfirmed").field("message", &self.message).finish_non_exhaustive()
    }
}

/// The sessions of browsers that hold, the last used first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// At most 10,000 of them.
    pub sessions: Vec<Session>,
    /// How many were opened since the start.
    pub opened: u64,
    /// How many were ended before their time since the start.
    pub ended: u64,
}

/// A session. Nothing in it opens one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// What it is called here and in events.
    pub id: String,
    /// Whose it is, as a policy writes it.
    pub principal: String,
    /// The login that opened it.
    pub provider: String,
    /// When it was opened, RFC 3339.
    pub created: String,
    /// When it was last used, RFC 3339.
    pub last_seen: String,
    /// Until when it holds if no request comes, RFC 3339.
    pub idle_until: String,
    /// Until when it holds at all, RFC 3339.
    pub until: String,
    /// The second factor that was shown in it; null where none was.
    pub raised: Option<String>,
}

/// Which sessions are meant: one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhichSessions {
    /// That with this id, or with one that begins so: at least eight characters.
    pub id: Option<String>,
    /// All of this principal, as a policy writes it.
    pub principal: Option<String>,
}
