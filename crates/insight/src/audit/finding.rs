//! What an audit finds: the shapes that are printed, kept and compared.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use portcullis_policy::PolicyDraft;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Input;
use super::edit::{Edit, apply};
use super::stake::{Holders, Stake, stake_in};
use super::suppress::Suppression;

/// The shape of a report.
pub(crate) const SCHEMA: &str = "portcullis.audit/1";

/// The kinds of finding. Ids and names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described by `meaning`, which is what people read")]
pub enum Kind {
    UnusedPermission,
    UnusedRoleBinding,
    DormantPrincipal,
    OrphanPrincipal,
    WildcardGrant,
    OverExposure,
    PeerOutlierGrant,
    AbnormalRecentGrant,
    ToxicCombination,
    SelfEscalationPath,
    ExpiredStillPresent,
    BreakGlassUnreviewed,
    PublicRoute,
    BroadCidr,
    UnusedCidr,
    DuplicateRole,
    ShadowedRule,
    UnderPrivileged,
}

impl Kind {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 18] = [
        Self::UnusedPermission,
        Self::UnusedRoleBinding,
        Self::DormantPrincipal,
        Self::OrphanPrincipal,
        Self::WildcardGrant,
        Self::OverExposure,
        Self::PeerOutlierGrant,
        Self::AbnormalRecentGrant,
        Self::ToxicCombination,
        Self::SelfEscalationPath,
        Self::ExpiredStillPresent,
        Self::BreakGlassUnreviewed,
        Self::PublicRoute,
        Self::BroadCidr,
        Self::UnusedCidr,
        Self::DuplicateRole,
        Self::ShadowedRule,
        Self::UnderPrivileged,
    ];

    /// The id, such as `LP01`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::UnusedPermission => "LP01",
            Self::UnusedRoleBinding => "LP02",
            Self::DormantPrincipal => "LP03",
            Self::OrphanPrincipal => "LP04",
            Self::WildcardGrant => "LP05",
            Self::OverExposure => "LP06",
            Self::PeerOutlierGrant => "LP07",
            Self::AbnormalRecentGrant => "LP08",
            Self::ToxicCombination => "LP09",
            Self::SelfEscalationPath => "LP10",
            Self::ExpiredStillPresent => "LP11",
            Self::BreakGlassUnreviewed => "LP12",
            Self::PublicRoute => "LP13",
            Self::BroadCidr => "LP14",
            Self::UnusedCidr => "LP15",
            Self::DuplicateRole => "LP16",
            Self::ShadowedRule => "LP17",
            Self::UnderPrivileged => "LP18",
        }
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnusedPermission => "unused_permission",
            Self::UnusedRoleBinding => "unused_role_binding",
            Self::DormantPrincipal => "dormant_principal",
            Self::OrphanPrincipal => "orphan_principal",
            Self::WildcardGrant => "wildcard_grant",
            Self::OverExposure => "over_exposure",
            Self::PeerOutlierGrant => "peer_outlier_grant",
            Self::AbnormalRecentGrant => "abnormal_recent_grant",
            Self::ToxicCombination => "toxic_combination",
            Self::SelfEscalationPath => "self_escalation_path",
            Self::ExpiredStillPresent => "expired_still_present",
            Self::BreakGlassUnreviewed => "break_glass_unreviewed",
            Self::PublicRoute => "public_route",
            Self::BroadCidr => "broad_cidr",
            Self::UnusedCidr => "unused_cidr",
            Self::DuplicateRole => "duplicate_role",
            Self::ShadowedRule => "shadowed_rule",
            Self::UnderPrivileged => "under_privileged",
        }
    }

    /// What it means, in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::UnusedPermission => "A permission that is granted is not used.",
            Self::UnusedRoleBinding => "Somebody holds a role and uses nothing of it.",
            Self::DormantPrincipal => "Somebody who holds grants makes no requests, or a key of theirs is not used.",
            Self::OrphanPrincipal => "A grant names somebody whom no source of identity knows.",
            Self::WildcardGrant => "A grant reaches much further than it is used, or everywhere.",
            Self::OverExposure => "Most of what somebody may do, by its weight, is not used.",
            Self::PeerOutlierGrant => "Somebody holds a role that hardly any peer holds.",
            Self::AbnormalRecentGrant => "A recent grant is out of the ordinary: by number, by hour or by who gave it.",
            Self::ToxicCombination => "Somebody holds roles that exclude each other.",
            Self::SelfEscalationPath => "Somebody can change what is granted to themselves.",
            Self::ExpiredStillPresent => {
                "A grant has ended and is still there, or was meant for a time and never ends."
            }
            Self::BreakGlassUnreviewed => "Power for emergencies was used, and nobody has looked at it since.",
            Self::PublicRoute => "A route can be reached without a credential, or with any.",
            Self::BroadCidr => {
                "A network that lets people in is very large, or holds addresses that nobody comes from."
            }
            Self::UnusedCidr => "Nobody comes from a prefix that is let in.",
            Self::DuplicateRole => "Two roles permit the same, or nearly.",
            Self::ShadowedRule => "A rule never decides anything, and cannot.",
            Self::UnderPrivileged => "Somebody is refused again and again what most peers may do.",
        }
    }

    /// How bad it usually is. Of [`Self::OverExposure`] and of an empty group it hangs on what is found.
    pub const fn usual(self) -> Severity {
        match self {
            Self::SelfEscalationPath => Severity::Critical,
            Self::OrphanPrincipal
            | Self::WildcardGrant
            | Self::ToxicCombination
            | Self::BreakGlassUnreviewed
            | Self::PublicRoute
            | Self::BroadCidr => Severity::High,
            Self::UnusedPermission
            | Self::UnusedRoleBinding
            | Self::DormantPrincipal
            | Self::OverExposure
            | Self::PeerOutlierGrant
            | Self::AbnormalRecentGrant
            | Self::ExpiredStillPresent => Severity::Medium,
            Self::UnusedCidr | Self::DuplicateRole | Self::ShadowedRule => Severity::Low,
            Self::UnderPrivileged => Severity::Info,
        }
    }

    /// Of an id or a name.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id().eq_ignore_ascii_case(text) || kind.name() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.id(), self.name())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Untidy.
    Low,
    /// More than is needed.
    Medium,
    /// Dangerous.
    High,
    /// Somebody can give themselves what they like.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "FindingStatus")]
pub enum Status {
    /// The run before did not have it.
    New,
    /// It was there before.
    Open,
    /// Somebody has said why it may stay, for a while.
    Suppressed,
}

/// A rule and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RulePlace")]
pub struct Place {
    /// The table.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// What a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FindingEvidence")]
pub struct Evidence {
    /// Since when it is granted, RFC 3339; null: not known, or not of a grant.
    pub granted_at: Option<String>,
    /// When it was last used; null: never, as far as anybody counted.
    pub last_used: Option<String>,
    /// Since when usage is counted; null: it does not rest on usage.
    pub observed_since: Option<String>,
    /// Peers it was compared with, in words.
    pub peers: Option<String>,
    /// Refusals that were counted.
    pub denials: Option<u64>,
    /// Whatever else there is to say.
    #[serde(default)]
    pub facts: Vec<String>,
}

/// What came of trying a change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrialResult {
    /// Requests of the sample that were decided on again.
    pub replayed: u64,
    /// Uses that were counted, and looked for again.
    pub uses: u64,
    /// Uses that could not be asked about as they were, as of one that takes an address: whether their grants are still there was compared alone.
    #[serde(default)]
    pub not_asked: u64,
    /// Of both, those that would not be permitted any more.
    pub newly_denied: u64,
    /// Those that would be permitted and are not.
    pub newly_permitted: u64,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    /// In a sentence.
    pub change: String,
    /// What to write, where that can be said.
    pub toml: Option<String>,
    /// What came of trying it; null: it was not to be tried.
    pub preview: Option<TrialResult>,
    /// Why nothing is proposed, though something was thought of.
    pub withheld: Option<String>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// `LP01` to `LP18`
    pub id: String,
    /// The name of the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whom it is about, as a policy file writes it.
    pub principal: Option<String>,
    /// What it is about: an action, a role, a route, a prefix, a key.
    pub permission: Option<String>,
    /// In a sentence.
    pub message: String,
    /// Where it stands.
    pub place: Option<Place>,
    /// What it rests on.
    pub evidence: Evidence,
    /// What to do.
    pub recommendation: Recommendation,
    /// When a run first had it.
    pub first_seen: String,
    /// How it stands.
    pub status: Status,
    /// The same for the same matter, from run to run.
    pub fingerprint: String,
    /// Who said why it may stay, where it is suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression: Option<Suppression>,
    /// What it is about that somebody holds, where it names nobody: `role editor`, `assignment x`, `group y`. Who holds it is in the report's `holders`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
    /// The change that is proposed.
    #[serde(skip)]
    pub(crate) edits: Vec<Edit>,
}

impl Finding {
    /// One of a kind. `about` tells it from others of the same kind, principal and permission.
    pub(crate) fn new(
        kind: Kind,
        severity: Severity,
        principal: Option<&str>,
        permission: Option<&str>,
        about: &str,
    ) -> Self {
        let parts = [kind.id(), principal.unwrap_or_default(), permission.unwrap_or_default(), about];
        let mut text = Vec::new();
        for part in parts {
            // Its length before it, so that nothing moves from one part into the next.
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let hash = HEXLOWER.encode(digest(&SHA256, &text).as_ref());
        Self {
            id: kind.id().to_owned(),
            kind: kind.name().to_owned(),
            severity,
            principal: principal.map(str::to_owned),
            permission: permission.map(str::to_owned),
            message: String::new(),
            place: None,
            evidence: Evidence::default(),
            recommendation: Recommendation::default(),
            first_seen: String::new(),
            status: Status::New,
            fingerprint: hash.get(..16).unwrap_or_default().to_owned(),
            suppression: None,
            held: Vec::new(),
            edits: Vec::new(),
        }
    }

    /// The policy with what is proposed, as it was tried: what [`Recommendation::toml`] comes to. `None`: nothing is proposed.
    pub fn tried(&self, draft: &PolicyDraft) -> Option<PolicyDraft> {
        (!self.edits.is_empty()).then(|| apply(draft, &self.edits.iter().cloned().collect()))
    }

    /// Whether somebody should do something about it.
    pub fn is_open(&self) -> bool {
        match self.status {
            Status::New | Status::Open => true,
            Status::Suppressed => false,
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditReport")]
pub struct Report {
    /// The shape of this.
    pub schema: String,
    /// What the run is called.
    pub run: String,
    /// When it was made, RFC 3339.
    pub at: String,
    /// The policy: its version.
    pub policy_version: u64,
    /// The policy: its hash.
    pub policy_sha256: String,
    /// Since when usage is counted; null: it is not.
    pub observed_since: Option<String>,
    /// For how many days of that it was observed; null: usage is not counted.
    #[serde(default)]
    pub observed_days: Option<u64>,
    /// The window in which something must have been used, in days.
    pub window_days: u64,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// Kinds of finding that were not looked for, each with why.
    pub not_looked_at: BTreeMap<String, String>,
    /// Findings that are not listed, by kind.
    pub left_out: BTreeMap<String, u64>,
    /// Who holds what findings are about that name nobody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<String, Holders>,
    /// How many proposals were not tried, for want of time or because there were too many. None of them is made.
    #[serde(default)]
    pub untried: u64,
}

/// What a report says besides its findings.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) not_looked_at: BTreeMap<String, String>,
    pub(crate) left_out: BTreeMap<String, u64>,
    pub(crate) holders: BTreeMap<String, Holders>,
    pub(crate) untried: u64,
}

impl Report {
    pub(crate) fn new(input: &Input<'_>, mut findings: Vec<Finding>, around: Around) -> Self {
        let Around { not_looked_at, left_out, holders, untried } = around;
        let at = shown(input.now.as_second());
        for finding in &mut findings {
            let before = input.before.and_then(|before| before.find(&finding.fingerprint));
            // A run before that says it was later was made under a clock that went wrong.
            let seen = before.map(|before| &before.first_seen).filter(|seen| !is_later(seen, input.now));
            finding.first_seen = seen.cloned().unwrap_or_else(|| at.clone());
            let holds = |one: &&Suppression| {
                one.fingerprint == finding.fingerprint && {
                    let may_be = |principal: &str| input.persons.may_be(&one.names, principal);
                    let known: Option<&dyn Fn(&str) -> bool> = if one.names.is_empty() { None } else { Some(&may_be) };
                    let stake = stake_in(&holders, finding, known);
                    one.holds(&finding.fingerprint, finding.severity, (input.writers.required, &stake), input.now)
                }
            };
            finding.suppression = input.suppressions.iter().find(holds).cloned();
            finding.status = match (finding.suppression.is_some(), before) {
                (true, _) => Status::Suppressed,
                (false, Some(_)) => Status::Open,
                (false, None) => Status::New,
            };
        }
        findings.sort_by(|one, other| {
            let key = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.id.clone());
            let about = |finding: &Finding| {
                (finding.principal.clone(), finding.permission.clone(), finding.fingerprint.clone())
            };
            key(one).cmp(&key(other)).then_with(|| about(one).cmp(&about(other)))
        });
        let seed: String = findings.iter().map(|finding| finding.fingerprint.as_str()).collect();
        let tag = HEXLOWER.encode(digest(&SHA256, format!("{}{seed}", input.now.as_nanosecond()).as_bytes()).as_ref());
        Self {
            schema: SCHEMA.to_owned(),
            run: format!("{}-{}", input.now.strftime("%Y%m%dT%H%M%SZ"), tag.get(..4).unwrap_or_default()),
            at,
            policy_version: input.policy.version(),
            policy_sha256: input.policy.sha256().to_owned(),
            observed_since: input.usage.since().map(shown),
            observed_days: input.usage.since().map(|since| {
                u64::try_from(input.usage.observed().seconds(since, input.now.as_second()) / 86_400).unwrap_or_default()
            }),
            window_days: input.settings.unused_after.as_secs() / 86_400,
            findings,
            not_looked_at,
            left_out,
            holders,
            untried,
        }
    }

    /// What somebody has to do with a finding of this report. `may_be`: whether they may be this principal.
    pub fn stake(&self, finding: &Finding, may_be: &dyn Fn(&str) -> bool) -> Stake {
        stake_in(&self.holders, finding, Some(may_be))
    }

    /// The finding of this fingerprint.
    pub fn find(&self, fingerprint: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.fingerprint == fingerprint)
    }

    /// How many open findings there are of each severity, the worst first.
    pub fn counts(&self) -> Vec<(Severity, usize)> {
        let of =
            |severity: Severity| self.findings.iter().filter(|one| one.is_open() && one.severity == severity).count();
        Severity::ALL.into_iter().rev().map(|severity| (severity, of(severity))).collect()
    }

    /// Whether there is an open finding that is at least as bad as this.
    pub fn has_open(&self, least: Severity) -> bool {
        self.findings.iter().any(|finding| finding.is_open() && finding.severity >= least)
    }
}

fn is_later(time: &str, now: Timestamp) -> bool {
    time.parse::<Timestamp>().is_ok_and(|time| time > now)
}

/// A time in seconds since 1970, as people read it.
pub(crate) fn shown(second: i64) -> String {
    Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default()
}
