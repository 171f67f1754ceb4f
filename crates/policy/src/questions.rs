//! Questions about more than one request: all that a principal may do ([`Policy::list`]), and all who may do one thing
//! ([`Policy::who_can`]).
//!
//! The answers are built from the functions that decide, so what is said to be permitted now is permitted by
//! [`Policy::decide`]. Bans take no part: they are made and end while the gateway runs. Nothing here is on the way of a
//! request; the answers may cost as much as the policy is large, and are bounded in what they hold.

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use crate::condition::{ConditionKind, Conditions, Truth, span_text};
use crate::decision::RuleRef;
use crate::draft::{AuthenticationRule, ProofDraft};
use crate::evaluate::*;
use crate::network::NetworkId;
use crate::policy::*;
use crate::reason::{Outcome, Reason, Stage};
use crate::record::Silent;
use crate::request::{
    AccessRequest, Activation, Bans, ClientAddress, Contained, CountryCode, IdentityFact, RiskAssessment, RiskLevel,
};
use crate::route::RouteId;

mod actions;
mod list;
mod who_can;

pub use actions::ListedAction;
pub use list::{ListedDeny, ListedGrant, Listing, RouteListing};
pub use who_can::{
    ActionQuestion, AllowedSubject, DeniedSubject, DirectRoles, Member, Members, SubjectGrant, TouchingDeny, WhoCan,
};

/// The most entries (grants, denies, subjects) that one answer holds; it says how many more there are.
pub const MOST_ENTRIES: usize = 10_000;
/// The most actions that are written out for one grant or deny.
pub const MOST_ACTIONS: usize = 256;
/// The most members of one group that are named.
pub const MOST_MEMBERS: usize = 50;

/// The facts that do not depend on who asks for what. What is not known stays unknown: a grant that depends on it *needs*
/// it.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Where requests come from.
    pub client: ClientAddress,
    /// The client's country.
    pub country: Option<CountryCode>,
    /// How risky the caller looks. [`RiskAssessment::none`] is the lowest band, as in a decision.
    pub risk: &'a RiskAssessment,
    /// The eligible assignments that the principal asked about has activated. [`Policy::who_can`] asks about nobody in
    /// particular, so it counts none as activated.
    pub activations: &'a [Activation],
    /// When.
    pub now: Timestamp,
}

impl Circumstances<'static> {
    /// At a time, without any other fact.
    pub fn at(now: Timestamp) -> Self {
        Self { client: ClientAddress::Unknown, country: None, risk: RiskAssessment::none(), activations: &[], now }
    }
}

/// A condition that is not met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// In the form of [`crate::Nearest::needs`]: `network:office`, `country:DE`, `hours:SPEC`, `device:compliant`,
    /// `assurance:mfa`, `authentication:15m` (at most so long ago), `risk:medium` (at most), `activation:ASSIGNMENT`, `credential:any`, `credential:certificate`. Where any of several networks
    /// or countries would do, they are a comma list, `network:branch,office`; a name has no comma.
    pub text: String,
    /// The fact it asks for is unknown, rather than known not to meet it.
    pub unknown: bool,
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Whether a grant or a deny is in force under the given facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Now,
    /// It would be, if all of these were met.
    Needs(Vec<Need>),
    /// From this time on, whatever its conditions say.
    NotYetActive(Timestamp),
    /// It was, until this time.
    Expired(Timestamp),
}

impl Standing {
    /// `now`, `needs`, `not_yet_active` or `expired`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Needs(_) => "needs",
            Self::NotYetActive(_) => "not_yet_active",
            Self::Expired(_) => "expired",
        }
    }

    /// Whether it is in force.
    pub fn is_now(&self) -> bool {
        matches!(self, Self::Now)
    }

    /// Whether it may be in force: it is, or all that it still needs is unknown. A deny of which that is so refuses, or
    /// leaves the answer undecided.
    pub fn may_be_now(&self) -> bool {
        match self {
            Self::Now => true,
            Self::Needs(needs) => needs.iter().all(|need| need.unknown),
            Self::NotYetActive(_) | Self::Expired(_) => false,
        }
    }

    /// What it needs.
    pub fn needs(&self) -> &[Need] {
        match self {
            Self::Needs(needs) => needs,
            Self::Now | Self::NotYetActive(_) | Self::Expired(_) => &[],
        }
    }

    /// When it begins, or when it ended.
    pub fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::NotYetActive(at) | Self::Expired(at) => Some(*at),
            Self::Now | Self::Needs(_) => None,
        }
    }
}

/// What a route demands of everyone, before and besides grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demands {
    /// Whether credentials are looked at, and demanded.
    pub authentication: AuthenticationRule,
    /// The networks it is open to; empty: every address.
    pub allow: Vec<Arc<str>>,
    /// The networks it is closed to.
    pub deny: Vec<Arc<str>>,
    /// How whoever comes there must have authenticated.
    pub proof: ProofDraft,
    /// What it says of networks and of how somebody authenticated is only reported.
    pub shadow: bool,
    /// The `[[resource]]`, where there is one.
    pub rule: Option<RuleRef>,
}

/// Why a route refuses whatever is asked of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The stage that refuses: network, authentication, risk or step-up.
    pub stage: Stage,
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// What would lift it; empty where nothing that the contract has a word for would.
    pub needs: Vec<Need>,
    /// The rule that refuses.
    pub rule: Option<RuleRef>,
}

impl Obstacle {
    /// Whether other facts about the caller could lift it: what it needs, or, where it is undecided, the fact that is
    /// unknown. An address that is in a network that is denied, or a risk that nothing lowers, stays.
    pub fn may_be_lifted(&self) -> bool {
        !self.needs.is_empty() || self.outcome == Outcome::Undecided
    }
}

impl<'a> Circumstances<'a> {
    fn request(
        &self,
        method: &'a str,
        path: &'a crate::path::CanonicalPath,
        route: RouteId,
        identity: IdentityFact<'a>,
    ) -> AccessRequest<'a> {
        AccessRequest {
            method,
            path,
            route: Some(route),
            client: self.client,
            country: self.country,
            identity,
            risk: self.risk,
            bans: Bans::default(),
            contained: Contained::default(),
            posture: None,
            activations: self.activations,
            now: self.now,
        }
    }
}

impl Policy {
    fn demands(&self, resource: &Resource) -> Demands {
        Demands {
            authentication: resource.authentication,
            allow: self.names_of_networks(&resource.allow),
            deny: self.names_of_networks(&resource.deny),
            proof: resource.proof,
            shadow: resource.shadow,
            rule: resource.rule.clone(),
        }
    }

    /// Everyone a caller is, for the rules, each once.
    fn subjects_of(&self, view: &View<'_>, caller: Caller<'_>) -> Vec<SubjectId> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            found.extend(self.subjects.named(&subject.name).filter(|id| seen.insert(*id)));
            ControlFlow::<()>::Continue(())
        });
        found
    }

    fn names_of_networks(&self, networks: &[NetworkId]) -> Vec<Arc<str>> {
        let facts = networks.iter().filter_map(|network| self.network_facts.get(network.0 as usize));
        facts.map(|facts| facts.rule.name.clone()).collect()
    }

    fn standing(&self, view: &View<'_>, period: Period, when: &Conditions, caller: Caller<'_>) -> Standing {
        match (period.state(view.now), period) {
            (PeriodState::Before, Period { starts: Some(starts), .. }) => return Standing::NotYetActive(starts),
            (PeriodState::After, Period { expires: Some(expires), .. }) => return Standing::Expired(expires),
            (PeriodState::Before | PeriodState::Within | PeriodState::After, _) => {}
        }
        let needs: Vec<Need> = ConditionKind::ALL
            .into_iter()
            .filter_map(|kind| match self.condition(view, when, kind, caller) {
                Truth::Yes => None,
                truth => Some(Need { text: self.need(when, kind), unknown: truth == Truth::Unknown }),
            })
            .collect();
        if needs.is_empty() { Standing::Now } else { Standing::Needs(needs) }
    }

    /// One condition in the form of the contract.
    fn need(&self, when: &Conditions, kind: ConditionKind) -> String {
        match kind {
            ConditionKind::Networks => self.network_need(when.networks.as_deref().unwrap_or_default()),
            ConditionKind::Hours => format!("hours:{}", when.hours.as_ref().map_or("", |hours| &hours.text)),
            ConditionKind::Countries => {
                let countries = when.countries.as_deref().unwrap_or_default();
                format!("country:{}", countries.iter().map(CountryCode::as_str).collect::<Vec<_>>().join(","))
            }
            ConditionKind::Device => "device:compliant".to_owned(),
            ConditionKind::Assurance => "assurance:mfa".to_owned(),
            ConditionKind::MaxAge => format!("authentication:{}", when.max_age_s.map_or_else(String::new, span_text)),
            ConditionKind::Activation => {
                format!("activation:{}", when.activation.as_ref().map_or("", |eligible| &eligible.assignment))
            }
            ConditionKind::MaxRisk => format!("risk:{}", when.max_risk.map_or("low", RiskLevel::as_str)),
        }
    }

    fn network_need(&self, networks: &[NetworkId]) -> String {
        format!("network:{}", self.names_of_networks(networks).join(","))
    }

    /// What the route refuses of this client, whoever it is.
    fn network_obstacle(&self, view: &View<'_>, route: RouteId, resource: &Resource) -> Option<Obstacle> {
        let stop = self.network_stage(view, route, resource, &mut Silent)?;
        let needs = if stop.reason == Reason::IpNotAllowed {
            vec![Need { text: self.network_need(&resource.allow), unknown: view.networks.is_none() }]
        } else {
            Vec::new()
        };
        Some(self.obstacle(stop, needs))
    }

    fn authentication_obstacle(&self, view: &View<'_>, resource: &Resource) -> Option<Obstacle> {
        let stop = self.authentication_stage(view, resource, &mut Silent)?;
        let text = match resource.authentication {
            AuthenticationRule::Certificate => "credential:certificate",
            AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::None => "credential:any",
        };
        Some(self.obstacle(stop, vec![Need { text: text.to_owned(), unknown: false }]))
    }

    /// What the risk, and the route itself, ask of whoever has a grant.
    fn risk_obstacle(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
    ) -> Option<Obstacle> {
        let granted = GrantOutcome::Granted(None);
        let Some(stop) = self.risk_stage(view, route, resource, caller, granted, &mut Silent) else {
            let stop = self.proof_stage(view, route, resource, caller, &mut Silent)?;
            let texts = self.proof_needs(view, resource, caller);
            return Some(self.obstacle(stop, texts.map(|text| Need { text, unknown: false }).collect()));
        };
        let is_known = caller != Caller::Anonymous;
        let needs = if stop.stage == Stage::StepUp && is_known {
            vec!["assurance:mfa".to_owned()]
        } else {
            let enough = [RiskLevel::Medium, RiskLevel::Low].into_iter().find(|level| {
                let lower = View { level: *level, evidence: false, ..view.clone() };
                *level < view.level && self.risk_stage(&lower, route, resource, caller, granted, &mut Silent).is_none()
            });
            enough.into_iter().map(|level| format!("risk:{}", level.as_str())).collect()
        };
        Some(self.obstacle(stop, needs.into_iter().map(|text| Need { text, unknown: false }).collect()))
    }

    /// What is missing of what the route demands.
    fn proof_needs(
        &self,
        view: &View<'_>,
        resource: &Resource,
        caller: Caller<'_>,
    ) -> impl Iterator<Item = String> + use<> {
        let ProofDraft { mfa, max_age_s } = resource.proof;
        let is_nobody = caller == Caller::Anonymous;
        let credential = is_nobody.then(|| "credential:any".to_owned());
        let mfa = (!is_nobody && mfa && !self.has_fresh_mfa(view, caller)).then(|| "assurance:mfa".to_owned());
        let age = max_age_s.filter(|most| !is_nobody && !self.has_authenticated(view, caller, *most));
        let age = age.map(|most| format!("authentication:{}", span_text(most)));
        credential.into_iter().chain(mfa).chain(age)
    }

    fn obstacle(&self, stop: Stop, needs: Vec<Need>) -> Obstacle {
        Obstacle {
            stage: stop.stage,
            outcome: stop.outcome,
            reason: stop.reason,
            needs,
            rule: stop.rule.and_then(|rule| self.rule(rule)).cloned(),
        }
    }
}
