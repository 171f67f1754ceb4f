//! All that somebody may do, route by route, as it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PolicyInForce, ShownDemands, ShownObstacle, ShownRule};

/// All that somebody may do, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Who.
    pub principal: String,
    /// Whether they may do anything now, on whatever route: bans are not looked at.
    pub permits_now: bool,
    /// The routes of this part, as `portcullis list` writes them: at most 4 MiB, or one.
    #[schemars(with = "Vec<ShownRoute>")]
    pub route: Vec<Value>,
    /// Grants and denies of this part that are not shown: at most 10,000 are.
    pub omitted: u64,
    /// Other routes come after these.
    pub more: bool,
    /// This part for people.
    pub text: String,
    /// What whoever asks should know.
    pub notes: Vec<String>,
    /// The policy that was asked: the one in force.
    pub policy: PolicyInForce,
}

/// What somebody may do on a route.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownRoute {
    /// Its name.
    name: String,
    /// Its hosts; `*` is any.
    hosts: Vec<String>,
    /// Its paths.
    paths: Vec<String>,
    /// What it demands of everyone.
    demands: ShownDemands,
    /// `now`, or `refused`: by the obstacles.
    enter: String,
    /// Why it refuses whatever is held.
    obstacle: Vec<ShownObstacle>,
    /// What is granted there.
    grant: Vec<ShownHeld>,
    /// Denies that name the principal or one of its groups.
    deny: Vec<ShownHeldBack>,
}

/// A role that is held on a route.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownHeld {
    /// `grant`.
    effect: String,
    /// The assignment; null: the role is held directly, or lent.
    assignment: Option<String>,
    /// The role.
    role: String,
    /// As whom: itself, `anyone`, `authenticated`, `group:NAME`.
    through: Vec<String>,
    /// `now`, `needs`, `not_yet_active` or `expired`.
    state: String,
    /// What it needs.
    needs: Vec<String>,
    /// Of these, what is unknown.
    unknown: Vec<String>,
    /// When it begins, or has ended.
    at: Option<String>,
    /// It is only reported.
    shadow: bool,
    /// What can be done.
    actions: Vec<ShownAction>,
    /// Actions that are not shown.
    more_actions: u64,
    /// Where the rule stands.
    file: String,
    /// The same.
    line: u32,
}

/// Something that can be done.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownAction {
    /// Such as `GET /reports/**`.
    action: String,
    /// But not these.
    except: Vec<String>,
    /// The deny that refuses all of it.
    denied_by: Option<ShownRule>,
}

/// A deny on a route.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownHeldBack {
    /// `deny`.
    effect: String,
    /// The deny.
    deny: String,
    /// As whom it names the principal.
    through: Vec<String>,
    /// As of a grant.
    state: String,
    /// Likewise.
    needs: Vec<String>,
    /// Likewise.
    unknown: Vec<String>,
    /// Likewise.
    at: Option<String>,
    /// Whether it holds is unknown, which is 503.
    undecided: bool,
    /// It is only reported.
    shadow: bool,
    /// What it refuses.
    actions: Vec<String>,
    /// Actions that are not shown.
    more_actions: u64,
    /// Where the rule stands.
    file: String,
    /// The same.
    line: u32,
}
