//! Everybody who may do something, as it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PolicyInForce, ShownDemands, ShownObstacle, ShownRule};

/// Everybody who may do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allowed {
    /// For people.
    pub text: String,
    /// Whether anybody may now.
    pub possible: bool,
    /// It is what `portcullis who-can` writes; null: no route leads there.
    #[schemars(with = "Option<ShownAllowed>")]
    pub report: Option<Value>,
    /// What whoever asks should know.
    pub notes: Vec<String>,
}

/// Who may, as an answer has it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownAllowed {
    /// The method.
    method: String,
    /// The path.
    path: String,
    /// The route.
    route: String,
    /// What the route demands.
    demands: ShownDemands,
    /// Whether anybody may now.
    possible: bool,
    /// Why nobody gets past the route's own demands.
    obstacle: Vec<ShownObstacle>,
    /// Who may.
    allowed: Vec<ShownSubject>,
    /// Who would, and is refused by a deny.
    denied: Vec<ShownDenied>,
    /// Denies that touch it.
    deny: Vec<ShownDeny>,
    /// Whoever holds a role directly.
    held_directly: Option<ShownDirect>,
    /// Subjects that are not shown.
    omitted: u64,
    /// The policy that was asked.
    policy: PolicyInForce,
}

/// Somebody who may.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownSubject {
    /// Who: a principal or a group.
    subject: String,
    /// They may now.
    now: bool,
    /// By which grants.
    grant: Vec<ShownGrant>,
    /// Denies that may refuse them.
    deny: Vec<ShownStandingDeny>,
    /// What their risk still asks for.
    risk: Option<ShownObstacle>,
    /// Members of a group.
    members: Option<ShownMembers>,
}

/// A grant and whether it is in force.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownGrant {
    /// The assignment.
    assignment: String,
    /// The role.
    role: String,
    /// `now`, `needs`, `not_yet_active` or `expired`.
    state: String,
    /// What it needs.
    needs: Vec<String>,
    /// Of these, what is unknown.
    unknown: Vec<String>,
    /// When it begins or ended.
    at: Option<String>,
    /// Where it stands.
    file: String,
    /// The same.
    line: u32,
}

/// A deny and whether it is in force.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownStandingDeny {
    /// Which.
    rule: ShownRule,
    /// As of a grant.
    state: String,
    /// Likewise.
    needs: Vec<String>,
    /// Likewise.
    unknown: Vec<String>,
    /// Likewise.
    at: Option<String>,
}

/// Members of a group.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownMembers {
    /// How many there are.
    total: u64,
    /// Some of them.
    shown: Vec<ShownMember>,
}

/// A member.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownMember {
    /// Who.
    subject: String,
    /// Through which groups.
    through: Vec<String>,
    /// A deny that refuses them.
    denied_by: Option<ShownRule>,
}

/// Somebody who is refused by a deny.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDenied {
    /// Who.
    subject: String,
    /// By which.
    denied_by: ShownRule,
}

/// A deny that touches it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDeny {
    /// Which.
    rule: ShownRule,
    /// Whom it names.
    principals: Vec<String>,
    /// And so many more.
    more_principals: u64,
    /// As of a grant.
    state: String,
    /// Likewise.
    needs: Vec<String>,
    /// Likewise.
    unknown: Vec<String>,
    /// Likewise.
    at: Option<String>,
    /// Nobody can say whether it is in force.
    undecided: bool,
    /// It is only reported.
    shadow: bool,
}

/// Whoever holds a role directly.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDirect {
    /// Which roles would do.
    roles: Vec<String>,
    /// They may now.
    now: bool,
    /// A deny that refuses them.
    denied_by: Option<ShownRule>,
    /// What their risk still asks for.
    risk: Option<ShownObstacle>,
}
