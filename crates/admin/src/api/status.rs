//! How the process does, and what came of a reload.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The audits of grants; null: usage is not counted.
    #[serde(default)]
    pub audit: Option<AuditStatus>,
}

/// How the audits of grants do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditStatus {
    /// The last run that is kept; null: none was made yet.
    pub run: Option<String>,
    /// When it was made, RFC 3339.
    pub at: Option<String>,
    /// How many of its findings are open.
    pub open: u64,
    /// Why those that are scheduled are not made; null: they are.
    pub problem: Option<String>,
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
    /// Revocations in it that cannot be read, or not whole.
    #[serde(default)]
    pub damaged_revocations: u64,
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
    /// Only what was approved becomes live: a reload does not put the files in force.
    #[serde(default)]
    pub governed: bool,
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

/// Why the files are to be put in force: it stands in the log, where they become a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = ReloadWanted { reason: Some("case 4711".to_owned()), ticket: Some("OPS-1".to_owned()) })]
pub struct ReloadWanted {
    /// Why; null: nobody says. Of it the first 128 characters are kept.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where more is said. Of it the first 128 characters are kept.
    #[serde(default)]
    pub ticket: Option<String>,
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
    pub problems: Vec<FileProblem>,
    /// The tables that changed and only a restart would put in force.
    pub restart: Vec<String>,
}

/// A problem of a file, as `check` tells it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileProblem {
    /// `error` or `warning`.
    pub severity: String,
    /// Its code.
    pub code: String,
    /// In a sentence.
    pub message: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What would mend it.
    pub help: Option<String>,
}
