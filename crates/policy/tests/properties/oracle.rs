//! The meaning of a policy, written a second time, straight over the draft and without any index. It shares no code with
//! the engine: routes, patterns, networks, groups, roles and hours are each looked up in the most naive way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use portcullis_policy::*;

use crate::world::{Facts, Identity};

/// An answer of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Unknown,
}

/// The outcome, and the reason's code where it is not a permit.
pub(crate) type Verdict = (Outcome, Option<&'static str>);

const PERMIT: Verdict = (Outcome::Permit, None);

fn deny(code: &'static str) -> Verdict {
    (Outcome::Deny, Some(code))
}

fn challenge(code: &'static str) -> Verdict {
    (Outcome::Challenge, Some(code))
}

fn undecided(code: &'static str) -> Verdict {
    (Outcome::Undecided, Some(code))
}

const STEP_UP: Verdict = (Outcome::StepUp, Some("step_up.required"));

/// The stages in their order; the first that refuses decides.
pub(crate) fn decide(draft: &PolicyDraft, facts: &Facts) -> Verdict {
    if facts.address_ban.as_ref().is_some_and(|ban| ban.scope == BanScope::Address && !ban.simulated) {
        return deny("ban.active");
    }
    let Some(stages) = Stages::new(draft, facts) else { return deny("route.not_found") };
    (stages.network().or_else(|| stages.authentication()).or_else(|| stages.explicit_deny()))
        .or_else(|| stages.grants())
        .or_else(|| stages.risk())
        .or_else(|| stages.proof())
        .unwrap_or(PERMIT)
}

/// Everything that the caller of a request is in a rule's eyes; nobody where there is no route.
pub(crate) fn subjects(draft: &PolicyDraft, facts: &Facts) -> BTreeSet<String> {
    Stages::new(draft, facts).map(|stages| stages.subjects()).unwrap_or_default()
}

/// Whether a request is an action, `METHOD PATTERN`.
pub(crate) fn is_action(action: &str, facts: &Facts) -> bool {
    let (methods, pattern) = action.split_once(' ').unwrap();
    let method_fits = methods == "*" || methods.split(',').any(|method| method == facts.method);
    method_fits && specificity(pattern, &facts.path).is_some()
}

struct Stages<'a> {
    draft: &'a PolicyDraft,
    facts: &'a Facts,
    route: &'a str,
    resource: ResourceDraft,
}

impl<'a> Stages<'a> {
    fn new(draft: &'a PolicyDraft, facts: &'a Facts) -> Option<Self> {
        let route = find_route(draft, &facts.path)?;
        let resource = draft.resources.iter().find(|each| each.route.value == route).cloned().unwrap_or_default();
        Some(Self { draft, facts, route, resource })
    }

    fn network(&self) -> Option<Verdict> {
        let ResourceDraft { allow, deny: denied, mode, .. } = &self.resource;
        if *mode == Mode::Shadow {
            return None;
        }
        let in_denied = in_networks(self.draft, self.facts.client, denied);
        if in_denied == Answer::Yes {
            return Some(deny("ip.denied"));
        }
        let unknown_address = self.facts.client == ClientAddress::Unknown;
        if !allow.is_empty() {
            match in_networks(self.draft, self.facts.client, allow) {
                Answer::Yes => {}
                Answer::Unknown if !unknown_address => return Some(undecided("dependency.feed_stale")),
                Answer::No | Answer::Unknown => return Some(deny("ip.not_allowed")),
            }
        }
        (in_denied == Answer::Unknown)
            .then(|| undecided(if unknown_address { "policy.unavailable" } else { "dependency.feed_stale" }))
    }

    fn authentication(&self) -> Option<Verdict> {
        let in_force = |ban: &Option<Ban>, scope| ban.as_ref().is_some_and(|ban| ban.scope == scope && !ban.simulated);
        let banned = match self.principal() {
            Some(_) => in_force(&self.facts.principal_ban, BanScope::Principal),
            None if self.is_unknown() => false,
            None => in_force(&self.facts.address_ban, BanScope::Anonymous),
        };
        if banned {
            return Some(deny("ban.active"));
        }
        if self.resource.authentication == AuthenticationRule::None {
            return None;
        }
        match &self.facts.identity {
            Identity::Verified(_) if self.principal().is_some() => None,
            Identity::Rejected(problem) => Some(challenge(Reason::Authn(problem.kind).code())),
            Identity::Unavailable(Dependency::Keys) => Some(undecided("dependency.keys_unavailable")),
            Identity::Unavailable(Dependency::Store) => Some(undecided("dependency.store_unavailable")),
            Identity::Unavailable(Dependency::Directory) => Some(undecided("dependency.directory_unavailable")),
            Identity::Anonymous | Identity::Verified(_) => match self.resource.authentication {
                AuthenticationRule::Certificate => Some(challenge("authn.certificate_required")),
                AuthenticationRule::Required => Some(challenge("authn.missing")),
                AuthenticationRule::Optional | AuthenticationRule::None => None,
            },
        }
    }

    /// Whether there is a credential of which nobody can say now whose it is.
    fn is_unknown(&self) -> bool {
        let looked_at = self.resource.authentication != AuthenticationRule::None;
        looked_at && matches!(self.facts.identity, Identity::Unavailable(_))
    }

    fn explicit_deny(&self) -> Option<Verdict> {
        let subjects = self.subjects();
        let answers: Vec<Answer> = (self.draft.denies.iter())
            .filter(|each| each.mode == Mode::Enforce)
            .filter(|each| self.covers(&each.scope) && names_one_of(&each.principals, &subjects))
            .filter(|each| each.actions.iter().any(|action| self.is_action(&action.value)))
            .filter(|each| each.starts.is_none_or(|starts| starts <= self.facts.now))
            .filter(|each| each.expires.is_none_or(|expires| expires > self.facts.now))
            .map(|each| {
                let answers: Vec<Answer> = self.conditions(&each.when).into_iter().map(|(_, answer)| answer).collect();
                match () {
                    () if answers.contains(&Answer::No) => Answer::No,
                    () if answers.contains(&Answer::Unknown) => Answer::Unknown,
                    () => Answer::Yes,
                }
            })
            .collect();
        if answers.contains(&Answer::Yes) {
            return Some(deny("rbac.explicit_deny"));
        }
        answers.contains(&Answer::Unknown).then(|| undecided("policy.unavailable"))
    }

    fn grants(&self) -> Option<Verdict> {
        if self.principal().is_some_and(|who| who.roles.iter().any(|role| self.role_permits(role))) {
            return None;
        }
        let subjects = self.subjects();
        let held: Vec<&AssignmentDraft> = (self.draft.assignments.iter())
            .filter(|each| each.mode == Mode::Enforce)
            .filter(|each| self.covers(&each.scope) && names_one_of(&each.principals, &subjects))
            .filter(|each| self.role_permits(&each.role.value))
            .collect();
        let (mut expired, mut early) = (false, false);
        let mut unmet: Vec<Vec<&str>> = Vec::new();
        for each in held {
            if each.expires.is_some_and(|expires| expires <= self.facts.now) {
                expired = true;
            } else if each.starts.is_some_and(|starts| starts > self.facts.now) {
                early = true;
            } else {
                let conditions = self.conditions(&each.when).into_iter();
                let mut names: Vec<&str> =
                    conditions.filter(|(_, answer)| *answer != Answer::Yes).map(|(name, _)| name).collect();
                if each.activation.is_some() && !self.is_activated(&each.name.value) {
                    names.push("activation");
                }
                unmet.push(names);
            }
        }
        if unmet.iter().any(Vec::is_empty) {
            return None;
        }
        let only = |some: &[&str]| unmet.iter().any(|names| names.iter().all(|name| some.contains(name)));
        let (assurance, max_risk) = (only(&["assurance", "max_age"]), only(&["max_risk"]));
        let evidence = self.facts.risk.has_evidence();
        if max_risk && evidence && !assurance {
            return Some(deny("risk.too_high"));
        }
        if self.principal().is_none() && self.resource.authentication == AuthenticationRule::Optional {
            return Some(challenge("authn.missing"));
        }
        if self.principal().is_some() && (assurance || max_risk) {
            return Some(STEP_UP);
        }
        Some(deny(match (unmet.is_empty(), expired, early) {
            (false, _, _) => "rbac.condition_unmet",
            (true, true, _) => "rbac.assignment_expired",
            (true, false, true) => "rbac.not_yet_active",
            (true, false, false) => "rbac.no_matching_grant",
        }))
    }

    fn is_activated(&self, name: &str) -> bool {
        self.facts.activations.iter().any(|each| each.assignment() == Some(name) && each.until > self.facts.now)
    }

    /// In monitor mode risk decides nothing. A resource in shadow mode demands no step-up.
    fn risk(&self) -> Option<Verdict> {
        if !self.draft.risk.enforce || self.level() == RiskLevel::Low {
            return None;
        }
        let proven = self.facts.risk.has_evidence() || self.facts.risk.stated == Some(RiskLevel::High);
        if self.level() == RiskLevel::High && proven {
            return Some(deny("risk.too_high"));
        }
        let cannot_answer = match self.principal() {
            Some(who) => who.kind != PrincipalKind::User,
            None => self.resource.authentication == AuthenticationRule::None,
        };
        (self.resource.mode == Mode::Enforce && !cannot_answer && !self.mfa_is_fresh()).then_some(STEP_UP)
    }

    /// Nor does one in shadow mode demand how somebody authenticated.
    fn proof(&self) -> Option<Verdict> {
        let ProofDraft { mfa, max_age_s } = self.resource.proof;
        let proven = (!mfa || self.mfa_is_fresh()) && max_age_s.is_none_or(|most| self.has_authenticated(most));
        if self.resource.mode == Mode::Shadow || proven {
            return None;
        }
        Some(if self.principal().is_some() { STEP_UP } else { challenge("authn.missing") })
    }

    /// A resource in shadow mode has no say in the thresholds.
    fn level(&self) -> RiskLevel {
        let index = match (self.resource.mode, self.resource.sensitivity) {
            (Mode::Shadow, _) | (Mode::Enforce, Sensitivity::Normal) => 1,
            (Mode::Enforce, Sensitivity::Low) => 0,
            (Mode::Enforce, Sensitivity::High) => 2,
        };
        let thresholds = self.draft.risk.thresholds[index];
        match (self.facts.risk.stated, self.facts.risk.mnats) {
            (Some(level), _) => level,
            (None, mnats) if mnats >= thresholds.deny_mnats => RiskLevel::High,
            (None, mnats) if mnats >= thresholds.step_up_mnats => RiskLevel::Medium,
            (None, _) => RiskLevel::Low,
        }
    }

    /// The verified principal, unless the route ignores credentials.
    fn principal(&self) -> Option<&Principal> {
        match (&self.facts.identity, self.resource.authentication) {
            (Identity::Verified(who), AuthenticationRule::Required | AuthenticationRule::Optional) => Some(who),
            (Identity::Verified(who), AuthenticationRule::Certificate) => {
                (who.kind == PrincipalKind::Certificate).then_some(who)
            }
            _ => None,
        }
    }

    /// Everything that the caller is in a rule's eyes, by adding groups until nothing is added.
    fn subjects(&self) -> BTreeSet<String> {
        let declared = |name: &str| self.draft.groups.iter().any(|group| group.name.value == name);
        let mut subjects = BTreeSet::from(["anyone".to_owned()]);
        if let Some(who) = self.principal() {
            subjects.insert("authenticated".into());
            subjects.insert(who.reference());
            let joined = who.groups.iter().filter(|claim| claim.trusted || !declared(&claim.name));
            subjects.extend(joined.map(|claim| format!("group:{}", claim.name)));
        }
        loop {
            let before = subjects.len();
            for group in &self.draft.groups {
                if names_one_of(&group.members, &subjects) {
                    subjects.insert(format!("group:{}", group.name.value));
                }
            }
            if subjects.len() == before {
                return subjects;
            }
        }
    }

    fn covers(&self, scope: &ScopeDraft) -> bool {
        match scope {
            ScopeDraft::All => true,
            ScopeDraft::Routes(routes) => routes.iter().any(|route| route.value == self.route),
        }
    }

    fn role_permits(&self, name: &str) -> bool {
        self.draft.roles.iter().filter(|role| role.name.value == name).any(|role| {
            let is_one = |actions: &[Placed<String>]| actions.iter().any(|action| self.is_action(&action.value));
            role.permissions.iter().any(|each| is_one(&each.actions) && !is_one(&each.not_actions))
                || role.inherits.iter().any(|parent| self.role_permits(&parent.value))
        })
    }

    fn is_action(&self, action: &str) -> bool {
        is_action(action, self.facts)
    }

    /// Each condition that is demanded, with its answer.
    fn conditions(&self, when: &WhenDraft) -> Vec<(&'static str, Answer)> {
        let mut answers = Vec::new();
        if let Some(networks) = &when.networks {
            answers.push(("networks", in_networks(self.draft, self.facts.client, networks)));
        }
        if let Some(hours) = &when.hours {
            answers.push(("hours", yes_if(is_within(&hours.value, self.facts.now))));
        }
        if let Some(countries) = &when.countries {
            let answer = self.facts.country.map_or(Answer::Unknown, |country| yes_if(countries.contains(&country)));
            answers.push(("countries", answer));
        }
        if when.compliant_device {
            let compliant = self.principal().and_then(|who| who.device.as_ref()).and_then(|device| device.compliant);
            answers.push(("device", compliant.map_or(Answer::Unknown, yes_if)));
        }
        if when.assurance_mfa {
            answers.push(("assurance", yes_if(self.mfa_is_fresh())));
        }
        if let Some(most) = when.max_age_s {
            answers.push(("max_age", yes_if(self.has_authenticated(most))));
        }
        if let Some(most) = when.max_risk {
            answers.push(("max_risk", yes_if(self.level() <= most)));
        }
        answers
    }

    fn mfa_is_fresh(&self) -> bool {
        let Some(who) = self.principal() else { return false };
        let strong = who.authentication.acr.as_deref() == Some("urn:mfa");
        who.authentication.stated_mfa || strong && self.has_authenticated(12 * 60 * 60)
    }

    fn has_authenticated(&self, max_age_s: u64) -> bool {
        let at = self.principal().and_then(|who| who.authentication.auth_time);
        at.is_some_and(|at| {
            let age = self.facts.now.as_second() - at.as_second();
            (-60..=i64::try_from(max_age_s).unwrap()).contains(&age)
        })
    }
}

fn yes_if(holds: bool) -> Answer {
    if holds { Answer::Yes } else { Answer::No }
}

fn names_one_of(names: &[Placed<String>], subjects: &BTreeSet<String>) -> bool {
    names.iter().any(|name| subjects.contains(&name.value))
}

fn in_networks(draft: &PolicyDraft, client: ClientAddress, names: &[Placed<String>]) -> Answer {
    let networks: Vec<&NetworkDraft> =
        draft.networks.iter().filter(|network| names.iter().any(|name| name.value == network.name.value)).collect();
    let Some(address) = client.ip() else {
        return if networks.is_empty() { Answer::No } else { Answer::Unknown };
    };
    if networks.iter().any(|network| network_has(network, address)) {
        Answer::Yes
    } else if networks.iter().any(|network| network.unknown) {
        Answer::Unknown
    } else {
        Answer::No
    }
}

/// Of a network that is unknown the prefixes are what is certain.
pub(crate) fn network_has(network: &NetworkDraft, address: IpAddr) -> bool {
    network.prefixes.iter().any(|prefix| prefix.contains(&address))
}

/// Whether the zone's clock shows a time within the hours.
pub(crate) fn is_within(hours: &Hours, at: Timestamp) -> bool {
    let local = hours.zone.to_datetime(at);
    let today = local.weekday().to_monday_zero_offset();
    let yesterday = local.weekday().previous().to_monday_zero_offset();
    let named = |day: i8| hours.days >> day & 1 == 1;
    let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
    let (from, to) = (i32::from(hours.from_minute), i32::from(hours.to_minute));
    if from < to {
        named(today) && (from..to).contains(&minute)
    } else {
        named(today) && minute >= from || named(yesterday) && minute < to
    }
}

/// The route whose pattern is the most specific one that matches.
fn find_route<'a>(draft: &'a PolicyDraft, path: &CanonicalPath) -> Option<&'a str> {
    let everything = [Placed::from("/**".to_owned())];
    (draft.routes.iter())
        .filter_map(|route| {
            let paths = if route.paths.is_empty() { &everything[..] } else { &route.paths[..] };
            let best = paths.iter().filter_map(|pattern| specificity(&pattern.value, path)).max()?;
            Some((best, route.name.value.as_str()))
        })
        .max()
        .map(|(_, name)| name)
}

/// For a pattern that matches, how specific it is: segment by segment 2 for a literal, 1 for a wildcard, 0 for the rest.
pub(crate) fn specificity(pattern: &str, path: &CanonicalPath) -> Option<Vec<u8>> {
    let path: Vec<&str> = path.as_str().split('/').skip(1).collect();
    let mut found = Vec::new();
    for (index, part) in pattern.split('/').skip(1).enumerate() {
        if part == "**" {
            found.push(0);
            return Some(found);
        }
        let segment = *path.get(index)?;
        let wild = part == "*" || part.starts_with('{');
        if wild && segment.is_empty() || !wild && part != segment {
            return None;
        }
        found.push(if wild { 1 } else { 2 });
    }
    (found.len() == path.len()).then_some(found)
}
