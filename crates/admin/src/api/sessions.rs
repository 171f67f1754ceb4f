//! Sessions of browsers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sessions of browsers that hold, the last used first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// At most 10,000 of them: with `limit` or `after` in the order of their ids.
    pub sessions: Vec<Session>,
    /// How many were opened since the start.
    pub opened: u64,
    /// How many were ended before their time since the start.
    pub ended: u64,
    /// There are more than these.
    #[serde(default)]
    pub more: bool,
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
#[serde(deny_unknown_fields)]
pub struct WhichSessions {
    /// That with this id, or with one that begins so: at least eight characters.
    pub id: Option<String>,
    /// All of this principal, as a policy writes it.
    pub principal: Option<String>,
}
