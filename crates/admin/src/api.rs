//! The shapes of the questions and answers, as JSON. Both sides use these types; keys are only ever added to.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/health` | [`Health`] |
//! | `POST /v1/reload` [`ReloadWanted`] | [`Reloaded`] |
//! | `POST /v1/drain` | [`Done`] |
//! | `GET /v1/bans?limit=&after=` | [`Bans`] |
//! | `POST /v1/bans/explain` [`Whom`] | [`BanReport`] |
//! | `POST /v1/bans/add` [`NewBan`] | [`Done`] |
//! | `POST /v1/bans/import` [`NewBans`] | [`Done`] |
//! | `POST /v1/bans/remove` [`Whom`] | [`Done`] |
//! | `POST /v1/sinks/test` [`SinkName`] | [`SinkTested`] |
//! | `GET /v1/feeds` | [`Feeds`] |
//! | `POST /v1/feeds/refresh` [`FeedName`] | [`Done`] |
//! | `POST /v1/feeds/test` [`WhereIs`] | [`Located`] |
//! | `POST /v1/feeds/accept` [`Acceptance`] | [`Done`] |
//! | `POST /v1/feeds/rollback` [`FeedName`] | [`Done`] |
//! | `POST /v1/feeds/rollback/preview` [`FeedName`] | [`FeedRollbackTried`] |
//! | `GET /v1/keys` | [`KeyUses`] |
//! | `GET /v1/revocations` | [`Revocations`] |
//! | `POST /v1/revocations/add` [`NewRevocation`] | [`Done`] |
//! | `POST /v1/revocations/remove` [`RevokedName`] | [`Done`] |
//! | `POST /v1/govern/VERB` [`Governed`](crate::govern::Governed) | [`Answer`](crate::govern::Answer) |
//! | `POST /v1/factors` [`Whom`] | [`Factors`] |
//! | `POST /v1/factors/enroll` [`NewFactor`] | [`FactorBegun`] |
//! | `POST /v1/factors/confirm` [`FactorCode`] | [`FactorConfirmed`] |
//! | `POST /v1/factors/reset` [`Whom`] | [`Done`] |
//! | `GET /v1/sessions?limit=&after=` | [`Sessions`] |
//! | `POST /v1/sessions/revoke` [`WhichSessions`] | [`Done`] |
//! | `POST /v1/policy/preview` [`PolicyText`] | [`Previewed`] |
//! | `GET /v1/spikes` | [`Spikes`] |
//! | `POST /v1/audit` [`AuditWanted`](crate::audit::AuditWanted) | [`AuditAnswer`](crate::audit::AuditAnswer) |
//! | `GET /v1/govern/list`, `show`, `verify`, `approvers` | [`Answer`](crate::govern::Answer), without files |
//! | `GET /v1/access/list`, `show`, `verify` | [`Answer`](crate::access::Answer), without what is signed |
//! | `GET /v1/audit/runs`, `show`, `suppressions`, `diff` | [`AuditAnswer`](crate::audit::AuditAnswer) |
//! | `POST /v1/backups/VERB` [`BackupWanted`](crate::backup::BackupWanted) | [`BackupAnswer`](crate::backup::BackupAnswer) |
//! | `POST /v1/policy/list` [`ListQuestion`] | [`Listed`] |
//! | `POST /v1/policy/can`, `explain`, `who_can` [`PolicyQuestion`] | [`Verdict`], [`Explained`], [`Allowed`] |
//! | `POST /v1/policy/replay` [`ReplayWanted`] | [`ReplayDone`] |
//! | `POST /v1/policy/diff` [`DiffWanted`] | [`PolicyDiffered`] |
//! | `POST /v1/events/search`, `stats` [`EventsWanted`] | [`EventsFound`], [`EventsCounted`] |
//! | `POST /v1/events/explain` [`EventId`] | [`EventExplained`] |
//! | `GET /v1/backups/list`, `verify`, `GET /v1/policy/can`, `explain`, `who_can`, `list`, `diff` | as their `POST` |
//! | `POST /v1/events/tail` [`Filter`](portcullis_history::Filter) | lines of JSON: native events as they are recorded, and [`TailNote`] |
//!
//! What cannot be done is a status of 400 and above with a [`Problem`]; what is not begun, because it is busy, 503.

mod alerts;
mod archive;
mod bans;
mod credentials;
mod events;
mod factors;
mod feeds;
mod insight;
mod native;
mod policies;
mod questions;
mod risk;
mod sessions;
mod status;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use alerts::{Alert, AlertName, AlertTested, Alerts, Contained, ContainmentId, MutedAlert, NewMute, Tried};
pub use archive::{EventCount, EventExplained, EventId, EventSeries, EventsCounted, EventsFound, EventsWanted};
pub use bans::{Ban, BanReport, Bans, NewBan, NewBans, Outlook, Sample, Whom};
pub use credentials::{KeyUse, KeyUses, NewRevocation, Revocations, RevokedName, ShownRevocation};
pub use events::{SinkName, SinkTested, TAIL_SCHEMA, TailNote};
pub use factors::{Factor, FactorBegun, FactorCode, FactorConfirmed, Factors, NewFactor};
pub use feeds::{
    Acceptance, Feed, FeedError, FeedName, FeedRollbackTried, Feeds, HeldUpdate, Located, PlaceOfAddress, WhereIs,
};
pub use insight::{PolicyText, Previewed, Spike, Spikes};
pub use native::NativeEvent;
pub use policies::{DiffWanted, PolicyDiffered, PolicySide, ReplayDone, ReplayWanted};
pub use questions::{
    Allowed, Explained, ListQuestion, Listed, PolicyInForce, PolicyQuestion, SupposedFacts, SupposedRisk, Verdict,
};
pub use risk::{Calibration, CalibrationId, Calibrations, Habit, PastLogin, PastLogins, Profile, ProfilePlace};
pub use sessions::{Session, Sessions, WhichSessions};
pub use status::{
    AuditStatus, DiskState, DiskStatus, Endpoint, FileProblem, GeoDatabase, Health, Listener, PolicyStatus, Provider,
    ReloadWanted, Reloaded, Reloads, Sink, Status, Store, Upstream,
};

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
