//! What `decide` answers: a permit that nobody else can make, or a denial that carries its proof.

use std::borrow::Cow;
use std::sync::Arc;

use crate::policy::AssignmentId;
use crate::reason::{Outcome, Reason, Stage};
use crate::request::RiskLevel;

/// The answer to one request. Matched without a wildcard everywhere.
#[derive(Debug)]
pub enum Decision {
    /// Forward it.
    Permit(Permit),
    /// 403, or 404 where no route was found.
    Deny(Box<Denial>),
    /// 401: a credential is missing or bad.
    Challenge(Box<Denial>),
    /// 401: a stronger or fresher authentication is needed (RFC 9470).
    StepUp(Box<Denial>),
    /// 503: could not decide.
    Undecided(Box<Denial>),
}

/// Proof that `Policy::decide` permitted a request. It has no public constructor, so nothing else can permit.
#[derive(Debug)]
pub struct Permit {
    /// `None`: a directly held role granted it.
    pub(crate) grant: Option<AssignmentId>,
    pub(crate) shadow: Vec<ShadowFinding>,
    pub(crate) level: RiskLevel,
}

impl Permit {
    /// What rules in shadow mode would have done instead.
    pub fn shadow(&self) -> &[ShadowFinding] {
        &self.shadow
    }

    /// The risk band it was permitted in.
    pub fn risk_level(&self) -> RiskLevel {
        self.level
    }
}

/// A refusal by policy, with everything that explains it.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Deny, challenge, step-up or undecided; never permit.
    pub outcome: Outcome,
    /// The decisive reason.
    pub reason: Reason,
    /// The stage that refused.
    pub stage: Stage,
    /// Every reason that would have refused, the decisive one first.
    pub reasons: Vec<Reason>,
    /// One sentence for the operator. It names rules and values and is not for the caller.
    pub message: String,
    /// What the rule's author tells the caller (`explain` on a deny), where there is such a text.
    pub caller_message: Option<Arc<str>>,
    /// The rule that decided, where one rule did.
    pub rule: Option<RuleRef>,
    /// Every check with its outcome and the value it looked at.
    pub trace: Trace,
    /// The smallest changes that would let this request pass, fewest first. At most five; each was decided again.
    pub nearest: Vec<Nearest>,
    /// What a step-up must bring.
    pub step_up: Option<StepUpDemand>,
    /// The risk band and the threshold that was crossed, where risk took part.
    pub risk: RiskVerdict,
}

impl Denial {
    /// The status code that answers it. The outcome decides before the reason does: on a route with optional authentication
    /// a missing grant is a challenge.
    pub fn status(&self) -> u16 {
        match self.outcome {
            Outcome::Challenge | Outcome::StepUp => 401,
            Outcome::Undecided => 503,
            // A denial is never a permit; were it one, its reason's status refuses.
            Outcome::Deny | Outcome::Permit => self.reason.status(),
        }
    }
}

/// The risk part of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiskVerdict {
    /// The band.
    pub level: RiskLevel,
    /// The lowest milli-nats of the next band up that was crossed, or that would be crossed next.
    pub threshold_mnats: i32,
}

/// A rule and where it stands, so that a log line leads to the line to edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRef {
    /// What kind of rule.
    pub kind: RuleKind,
    /// Its name.
    pub name: Arc<str>,
    /// The file, as the configuration names it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

/// The kinds of rule that can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// `[[assignment]]`
    Assignment,
    /// `[[deny]]`
    Deny,
    /// `[[resource]]`
    Resource,
    /// `[[network]]`
    Network,
    /// `[[role]]`
    Role,
}

impl RuleKind {
    /// The table's name in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Deny => "deny",
            Self::Resource => "resource",
            Self::Network => "network",
            Self::Role => "role",
        }
    }
}

/// What authentication a step-up must bring (RFC 9470 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUpDemand {
    /// It must be an `mfa`; else any authentication that is recent enough will do.
    pub mfa: bool,
    /// Acceptable `acr` values, in order of preference. Empty where none is demanded, or an `mfa` shows in `amr` alone.
    pub acr_values: Vec<Arc<str>>,
    /// The oldest acceptable authentication, in seconds.
    pub max_age_s: Option<u64>,
}

/// Every check of a decision, in the order of the stages.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The checks.
    pub checks: Vec<Check>,
    /// What rules in shadow mode would have done.
    pub shadow: Vec<ShadowFinding>,
    /// The roles that the principal effectively holds on the route, by name. At most 64.
    pub roles: Vec<Arc<str>>,
}

/// Words of a trace. Most are the same in every refusal, and cost nothing then.
pub type Words = Cow<'static, str>;

/// One check of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The stage it belongs to.
    pub stage: Stage,
    /// How it went.
    pub outcome: CheckOutcome,
    /// The value it looked at, such as the client's address.
    pub value: Words,
    /// What about it, such as `in office`.
    pub detail: Words,
    /// The rule it speaks of, where it is one rule.
    pub rule: Option<RuleRef>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckOutcome {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// The fact it needs is unknown.
    Unknown,
    /// It does not apply here.
    Skipped,
}

impl CheckOutcome {
    /// The word that traces use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// What a rule in shadow mode would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowFinding {
    /// The outcome it would have given.
    pub outcome: Outcome,
    /// The reason it would have given; `None` for a grant that would have permitted.
    pub reason: Option<Reason>,
    /// The rule.
    pub rule: Option<RuleRef>,
}

/// A smallest set of changes that would let the request pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// The changes, each in the form of the contract: `role:NAME`, `group:NAME`, `network:NAME`, `country:CC`, `hours:SPEC`,
    /// `device:compliant`, `assurance:mfa`, `risk:LEVEL`, `credential:any`, `credential:certificate`, `activation:ASSIGNMENT`.
    pub needs: Vec<String>,
    /// The assignment that would then grant it, or, where a role is needed, one on this route that gives it and that the
    /// principal does not hold already.
    pub grant: Option<RuleRef>,
    /// Where to look: the grant, else the role that is needed.
    pub at: Option<RuleRef>,
}

/// The full answer to a question asked offline, permit or not.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The answer.
    pub outcome: Outcome,
    /// One sentence for the operator.
    pub message: String,
    /// The assignment that permits, or the rule that refuses, where one does.
    pub rule: Option<RuleRef>,
    /// Every check.
    pub trace: Trace,
    /// The denial, where it is one.
    pub denial: Option<Box<Denial>>,
}
