//! Questions to the policy in force, and what policies do to requests that were made.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What somebody might do, and what is supposed of them: the facts of `portcullis can`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyQuestion {
    /// The method, such as GET.
    pub method: String,
    /// A URL, or a path: then `host` chooses the host.
    pub url: String,
    /// Who asks: `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`; null: anyone. Of who may, it is left out.
    #[serde(default, rename = "as")]
    pub principal: Option<String>,
    /// Groups that the principal is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Roles that the principal holds directly.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What is supposed to be activated, besides what the gateway has lent.
    #[serde(default)]
    pub activated: Vec<String>,
    /// The client's address; null: unknown.
    #[serde(default)]
    pub ip: Option<IpAddr>,
    /// The host, where the URL is a path alone.
    #[serde(default)]
    pub host: Option<String>,
    /// The client's country, two letters; null: what the gateway's databases say of the address.
    #[serde(default)]
    pub country: Option<String>,
    /// Whether the device meets the rules; null: unknown.
    #[serde(default)]
    pub compliant_device: Option<bool>,
    /// Several factors, fresh.
    #[serde(default)]
    pub fresh_mfa: bool,
    /// How many seconds ago the caller authenticated; null: nobody knows.
    #[serde(default)]
    pub authenticated_s: Option<u64>,
    /// When it happens, RFC 3339; null: now. At another time than now neither bans nor lent power of now count.
    #[serde(default)]
    pub at: Option<String>,
    /// How risky the caller looks; null: not at all.
    #[serde(default)]
    pub risk: Option<SupposedRisk>,
}

/// Of whom all is told that they may do, and what is supposed of them: the facts of `portcullis list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuestion {
    /// Who: `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`; null: anyone.
    #[serde(default, rename = "as")]
    pub principal: Option<String>,
    /// Groups that the principal is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Roles that the principal holds directly.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What is supposed to be activated, besides what the gateway has lent.
    #[serde(default)]
    pub activated: Vec<String>,
    /// The client's address; null: unknown.
    #[serde(default)]
    pub ip: Option<IpAddr>,
    /// Only the routes that may answer for this host; null: all.
    #[serde(default)]
    pub host: Option<String>,
    /// The client's country, two letters; null: what the gateway's databases say of the address.
    #[serde(default)]
    pub country: Option<String>,
    /// Whether the device meets the rules; null: unknown.
    #[serde(default)]
    pub compliant_device: Option<bool>,
    /// Several factors, fresh.
    #[serde(default)]
    pub fresh_mfa: bool,
    /// How many seconds ago the caller authenticated; null: nobody knows.
    #[serde(default)]
    pub authenticated_s: Option<u64>,
    /// When it happens, RFC 3339; null: now. At another time than now lent power of now does not count.
    #[serde(default)]
    pub at: Option<String>,
    /// How risky the caller looks; null: not at all.
    #[serde(default)]
    pub risk: Option<SupposedRisk>,
    /// At most so many routes, from 1 to 10,000; null: 10,000.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u32>,
    /// Those that come after this one, in the order of the configuration: the last one of the part before.
    #[serde(default)]
    pub after: Option<String>,
}

impl From<ListQuestion> for PolicyQuestion {
    /// The same facts, of a request that is still to be named.
    fn from(question: ListQuestion) -> Self {
        let ListQuestion {
            principal,
            groups,
            roles,
            activated,
            ip,
            host,
            country,
            compliant_device,
            fresh_mfa,
            authenticated_s,
            at,
            risk,
            limit: _,
            after: _,
        } = question;
        Self {
            method: String::new(),
            url: String::new(),
            principal,
            groups,
            roles,
            activated,
            ip,
            host,
            country,
            compliant_device,
            fresh_mfa,
            authenticated_s,
            at,
            risk,
        }
    }
}

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

/// How risky a caller looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SupposedRisk {
    /// Nothing unusual.
    Low,
    /// Unusual.
    Medium,
    /// The highest band.
    High,
}

/// What would be decided, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// `permit`, `deny`, `challenge`, `step_up` or `undecided`.
    pub decision: String,
    /// The status of the answer; 200: it is let through.
    pub status: u16,
    /// The reason code of a refusal.
    pub reason: Option<String>,
    /// In a sentence.
    pub message: String,
    /// What whoever asks should know, such as a role that does not exist, or what is lent.
    pub notes: Vec<String>,
    /// The policy that was asked: the one in force.
    pub policy: PolicyInForce,
}

/// Which policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyInForce {
    /// Its version.
    pub version: u64,
    /// The SHA-256 of its text.
    pub sha256: String,
}

/// What would be decided, with every check of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// It is what `portcullis explain` writes.
    #[schemars(with = "ShownExplanation")]
    pub explanation: Value,
    /// What whoever asks should know.
    pub notes: Vec<String>,
}

/// An explanation, as an answer has it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownExplanation {
    /// `permit`, `deny`, `challenge`, `step_up` or `undecided`.
    decision: String,
    /// The status of the answer.
    status: u16,
    /// The decisive reason code.
    reason: Option<String>,
    /// All of them.
    #[schemars(default)]
    reasons: Vec<String>,
    /// In a sentence.
    message: String,
    /// Every check, in their order.
    checks: Vec<ShownCheck>,
    /// The rule that decided.
    rule: Option<ShownRule>,
    /// The nearest changes that would permit it.
    nearest: Vec<ShownNearest>,
    /// What the route limits besides.
    #[schemars(default)]
    limits: Vec<ShownLimit>,
    /// What rules that only report would have said.
    #[schemars(default)]
    shadow: Vec<ShownShadow>,
    /// The roles that the caller holds.
    #[schemars(default)]
    roles: Vec<String>,
    /// The policy that was asked.
    policy: PolicyInForce,
}

/// A check.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownCheck {
    /// What is checked.
    name: String,
    /// `pass`, `fail`, `skip` or `unknown`.
    outcome: String,
    /// Of what.
    value: Option<String>,
    /// More of it.
    detail: Option<String>,
}

/// A rule and where it stands.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownRule {
    /// What it is, such as `assignment`.
    #[schemars(default)]
    kind: Option<String>,
    /// Its name.
    name: String,
    /// The file.
    file: String,
    /// The line.
    line: u32,
}

/// A change that would permit it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownNearest {
    /// What is needed.
    needs: Vec<String>,
    /// The assignment that would grant it.
    grant: Option<String>,
    /// Where that stands.
    file: Option<String>,
    /// The same.
    line: Option<u32>,
}

/// A limit of a route: of the numbers those that belong to it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownLimit {
    /// `rate_limit`, `max_concurrent`, `max_request_body` or `max_response_body`.
    name: String,
    /// For whom it is counted.
    #[schemars(default)]
    per: Option<String>,
    /// Requests.
    #[schemars(default)]
    requests: Option<u64>,
    /// In so many milliseconds.
    #[schemars(default)]
    window_ms: Option<u64>,
    /// At once.
    #[schemars(default)]
    burst: Option<u64>,
    /// Bytes.
    #[schemars(default)]
    bytes: Option<u64>,
}

/// What a rule that only reports would have said.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownShadow {
    /// As of the whole.
    decision: String,
    /// Likewise.
    reason: Option<String>,
    /// Which rule.
    rule: Option<ShownRule>,
}

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

/// What a route demands.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDemands {
    /// `required`, `optional`, `none` or `certificate`.
    authentication: String,
    /// From where.
    networks: ShownNetworks,
    /// Which rule says so.
    rule: Option<ShownRule>,
}

/// From which networks.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownNetworks {
    /// From these.
    allow: Vec<String>,
    /// Not from these.
    deny: Vec<String>,
    /// It is only reported.
    shadow: bool,
}

/// What stands in the way.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownObstacle {
    /// The check.
    stage: String,
    /// What it says.
    decision: String,
    /// Its reason code.
    reason: String,
    /// What would help.
    needs: Vec<String>,
    /// Of these, what is unknown.
    unknown: Vec<String>,
    /// Which rule.
    rule: Option<ShownRule>,
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
