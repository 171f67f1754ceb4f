//! The sentence for the operator. It names rules, values and places; it is never for the caller.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::*;
use crate::condition::{ConditionKind, Truth, span_text};
use crate::draft::ActivationRules;
use crate::principal::{CredentialProblem, CredentialProblemKind};
use crate::reason::Stage;
use crate::request::Activation;

impl Policy {
    pub(super) fn permit_message(&self, view: &View<'_>, grant: Option<AssignmentId>) -> String {
        let (method, path) = (view.request.method, view.request.path.as_str());
        let who = who(view, self.resource_of(view).map(|(_, resource)| resource));
        match grant.and_then(|id| self.assignments.get(id.0 as usize)) {
            Some(assignment) => format!(
                "{who} may {method} {path}: assignment {} grants role {} ({}){}",
                assignment.rule.name,
                self.role_name(assignment.role),
                place(&assignment.rule),
                self.activation_words(view, assignment).map(|words| format!("; {words}")).unwrap_or_default()
            ),
            None => format!("{who} may {method} {path}: {}", self.direct_words(view)),
        }
    }

    /// By which role an action is permitted that no assignment grants: one that is lent, or one that the credential carries.
    pub(super) fn direct_words(&self, view: &View<'_>) -> String {
        let caller =
            self.resource_of(view).map_or(Caller::Anonymous, |(_, resource)| view.caller(resource.authentication));
        let carries = match caller {
            Caller::Verified(principal) => principal
                .roles
                .iter()
                .filter_map(|name| self.role_by_name.get(&**name))
                .any(|role| self.role_permits(*role, view)),
            Caller::Anonymous | Caller::SomeVerified => false,
        };
        match self.lent_role(view, caller).filter(|_| !carries && view.supposed.role.is_none()) {
            Some((role, lent)) => {
                format!("the role {}, lent until {}, permits it{}", self.role_name(role), lent.until, noted(lent))
            }
            None => "a role held directly permits it".to_owned(),
        }
    }

    /// The activation of an eligible assignment that is in force, and what is known of it.
    pub(super) fn activation_words(&self, view: &View<'_>, assignment: &Assignment) -> Option<String> {
        let eligible = assignment.when.activation.as_ref()?;
        let of_it = |each: &&Activation| each.assignment() == Some(&*eligible.assignment);
        let activation = view.request.activations.iter().filter(of_it).find(|each| each.is_in_force(view.now))?;
        Some(format!("activated until {}{}", activation.until, noted(activation)))
    }

    pub(super) fn denial_message(&self, view: &View<'_>, stop: Stop, nearest: &[Nearest]) -> String {
        let (method, path) = (view.request.method, view.request.path.as_str());
        let found = self.resource_of(view);
        let who = who(view, found.map(|(_, resource)| resource));
        let route = view.request.route.map_or("", |route| self.route_name(route));
        let rule = stop.rule.and_then(|rule| self.rule(rule));
        let at = |rule: Option<&RuleRef>| rule.map(|rule| format!(" ({})", place(rule))).unwrap_or_default();
        let mut text = match stop.reason {
            Reason::BanActive => self.ban_message(view),
            Reason::RouteNotFound => format!("no route leads to {path}"),
            Reason::IpNotAllowed => {
                let allowed = found.map(|(_, resource)| self.network_names(&resource.allow)).unwrap_or_default();
                format!("{} is in none of the networks that route {route} allows: {allowed}{}", client(view), at(rule))
            }
            Reason::IpDenied => {
                let network = rule.map_or("", |rule| &*rule.name);
                format!("{} is in network {network}, which route {route} denies{}", client(view), at(rule))
            }
            Reason::AuthnMissing => format!("route {route} wants a credential for {method} {path}, and there is none"),
            Reason::Authn(_) => match view.request.identity {
                IdentityFact::Rejected(CredentialProblem { detail, provider, .. }) => match provider {
                    Some(provider) => format!("the credential for {provider} is bad: {detail}"),
                    None => format!("the credential is bad: {detail}"),
                },
                IdentityFact::Verified(principal) if stop.reason == Reason::Authn(CredentialProblemKind::Revoked) => {
                    let (alert, since) = revoked_by(view);
                    format!(
                        "{} came with a credential from before {since}, which alert {alert} has revoked",
                        principal.reference()
                    )
                }
                IdentityFact::Verified(principal) => format!(
                    "route {route} wants a client certificate for {method} {path}, and {} came with another credential",
                    principal.reference()
                ),
                IdentityFact::Anonymous | IdentityFact::Unavailable(_) => {
                    format!("route {route} wants a client certificate for {method} {path}, and there is none")
                }
            },
            Reason::NoMatchingGrant => format!(
                "{who} may not {method} {path}: {}{}",
                self.no_grant_message(view, route),
                self.ended_role_words(view).unwrap_or_default()
            ),
            Reason::ExplicitDeny => {
                format!("deny {} forbids {who} to {method} {path}{}", rule.map_or("", |rule| &*rule.name), at(rule))
            }
            Reason::ConditionUnmet if stop.stage == Stage::Authentication => {
                format!("{who} may not {method} {path}: {}", self.scope_message(view).unwrap_or_default())
            }
            // Whoever had it lent asks why it is over, also where they hold something else that would do under conditions.
            Reason::AssignmentExpired | Reason::NotYetActive | Reason::ConditionUnmet => format!(
                "{who} may not {method} {path}: {}{}",
                self.held_grant_message(view, stop),
                self.ended_role_words(view).unwrap_or_default()
            ),
            Reason::RiskTooHigh => {
                format!("{who} may not {method} {path}: the risk is {} ({})", view.level.as_str(), signals(view))
            }
            Reason::StepUpRequired if stop.rule.is_none() => self.contained_message(view, &who),
            Reason::StepUpRequired => self.step_up_message(view, &who, rule),
            Reason::KeysUnavailable => "the keys that verify the credential are not available".to_owned(),
            Reason::FeedStale => {
                format!(
                    "network {} was never loaded or is stale, and it could decide{}",
                    rule.map_or("", |rule| &*rule.name),
                    at(rule)
                )
            }
            Reason::StoreUnavailable => "the store that knows the credential is not available".to_owned(),
            Reason::DirectoryUnavailable => "the directory that knows the caller's groups is not available".to_owned(),
            Reason::PolicyUnavailable => match stop.rule {
                Some(RuleId::Deny(_)) => format!(
                    "deny {} depends on a fact that is unknown{}",
                    rule.map_or("", |rule| &*rule.name),
                    at(rule)
                ),
                _ => format!("the client's address is unknown, and route {route} denies networks{}", at(rule)),
            },
        };
        if let Some(first) = nearest.first() {
            let _ = write!(text, "; {} would allow it", first.needs.join(" and "));
            if let Some(grant) = &first.at {
                let _ = write!(text, " ({})", place(grant));
            }
        }
        text
    }

    fn ban_message(&self, view: &View<'_>) -> String {
        match self.refusing_ban(view) {
            Some(ban) => {
                format!("banned until {} ({}, offence {}): {}", ban.until, ban.scope.as_str(), ban.offences, ban.cause)
            }
            None => "banned".to_owned(),
        }
    }

    fn no_grant_message(&self, view: &View<'_>, route: &str) -> String {
        let roles = self.roles_of(view);
        match roles.as_slice() {
            [] => format!("no assignment on route {route} applies to them"),
            [role] => format!("on route {route} their role {role} does not permit it"),
            roles => format!("on route {route} none of their roles permits it: {}", roles.join(", ")),
        }
    }

    fn held_grant_message(&self, view: &View<'_>, stop: Stop) -> String {
        let Some(RuleId::Assignment(id)) = stop.rule else {
            return match view.request.contained.tightened {
                Some(tightened) => {
                    format!("alert {} demands a fresh mfa here until {}", tightened.alert, tightened.until)
                }
                None => "a condition is not met".to_owned(),
            };
        };
        let Some(assignment) = self.assignments.get(id.0 as usize) else { return String::new() };
        let name = &assignment.rule.name;
        let place = place(&assignment.rule);
        match assignment.period.state(view.now) {
            PeriodState::After => {
                let until = assignment.period.expires.map(|time| time.to_string()).unwrap_or_default();
                format!("assignment {name} expired at {until} ({place})")
            }
            PeriodState::Before => {
                let from = assignment.period.starts.map(|time| time.to_string()).unwrap_or_default();
                format!("assignment {name} is not active before {from} ({place})")
            }
            PeriodState::Within => {
                let unmet = self.unmet(view, assignment).join(", ");
                let eligible = self.eligible_words(view, assignment).unwrap_or_default();
                format!("assignment {name} grants it under a condition that is not met: {unmet} ({place}){eligible}")
            }
        }
    }

    /// What the holder of an eligible assignment can do about it, and that it was activated until lately.
    fn eligible_words(&self, view: &View<'_>, assignment: &Assignment) -> Option<String> {
        let eligible = assignment.when.activation.as_ref()?;
        if self.activation_words(view, assignment).is_some() {
            return None;
        }
        let (name, role) = (&eligible.assignment, self.role_name(assignment.role));
        let ended = ended_words(view, |lent| lent.assignment() == Some(&**name)).unwrap_or_default();
        let by_oneself = match &self.activations_at {
            Some(place) => format!("`POST {place}`, or "),
            None => String::new(),
        };
        Some(format!(
            "{ended}; eligible for role {role}: activate with {by_oneself}`portcullis access activate {name}`"
        ))
    }

    /// That a role which would permit it was lent until lately.
    fn ended_role_words(&self, view: &View<'_>) -> Option<String> {
        let route = view.request.route.map_or("", |route| self.route_name(route));
        let permits = |lent: &Activation| {
            let role = lent.gives.role_on(route, false).and_then(|role| self.role_by_name.get(role));
            role.is_some_and(|role| self.role_permits(*role, view))
        };
        ended_words(view, permits)
    }

    /// Each unmet condition with what was looked at; unknown is told from wrong.
    pub(super) fn unmet(&self, view: &View<'_>, assignment: &Assignment) -> Vec<String> {
        let caller =
            self.resource_of(view).map_or(Caller::Anonymous, |(_, resource)| view.caller(resource.authentication));
        ConditionKind::ALL
            .into_iter()
            .filter_map(|kind| match self.condition(view, &assignment.when, kind, caller) {
                Truth::Yes => None,
                Truth::No => Some(format!("{} {}", kind.as_str(), self.demanded(kind, assignment))),
                Truth::Unknown => Some(format!("{} {} (unknown)", kind.as_str(), self.demanded(kind, assignment))),
            })
            .collect()
    }

    fn demanded(&self, kind: ConditionKind, assignment: &Assignment) -> String {
        let when = &assignment.when;
        match kind {
            ConditionKind::Networks => {
                when.networks.as_deref().map(|networks| self.network_names(networks)).unwrap_or_default()
            }
            ConditionKind::Hours => when.hours.as_ref().map(|hours| hours.text.to_string()).unwrap_or_default(),
            ConditionKind::Countries => {
                let countries: Vec<&str> = when.countries.iter().flatten().map(|country| country.as_str()).collect();
                countries.join(", ")
            }
            ConditionKind::Device => "compliant".to_owned(),
            ConditionKind::Assurance => "mfa".to_owned(),
            ConditionKind::MaxAge => format!("at most {}", when.max_age_s.map_or_else(String::new, span_text)),
            ConditionKind::Activation => match &when.activation {
                Some(eligible) => activation_demands(&eligible.rules),
                None => String::new(),
            },
            ConditionKind::MaxRisk => format!("at most {}", when.max_risk.map_or("", |level| level.as_str())),
        }
    }

    /// Where the credential may be used, and this is not.
    pub(super) fn scope_message(&self, view: &View<'_>) -> Option<String> {
        let IdentityFact::Verified(principal) = view.request.identity else { return None };
        let scope = principal.scope.as_deref()?;
        let what = match &principal.authentication.key_id {
            Some(id) => format!("the key {id}"),
            None => "the credential".to_owned(),
        };
        let route = view.request.route.map_or("", |route| self.route_name(route));
        Some(if self.is_route_of(view, scope) {
            let client = client(view);
            format!(
                "{what} is only for callers from {}, and {client} is not known to be there",
                scope.networks.join(", ")
            )
        } else {
            format!("{what} is only for the routes {}, and this is {route}", scope.routes.join(", "))
        })
    }

    /// A step-up that no rule demands is one that an alert does.
    fn contained_message(&self, view: &View<'_>, who: &str) -> String {
        let (method, path) = (view.request.method, view.request.path.as_str());
        let caller =
            self.resource_of(view).map_or(Caller::Anonymous, |(_, resource)| view.caller(resource.authentication));
        let demand = self.demanded_by_alert(view, caller);
        let (alert, until) =
            demand.map(|demand| (demand.alert.to_string(), demand.until.to_string())).unwrap_or_default();
        format!("{who} must authenticate again with mfa to {method} {path}: alert {alert} demands it until {until}")
    }

    fn step_up_message(&self, view: &View<'_>, who: &str, rule: Option<&RuleRef>) -> String {
        let (method, path) = (view.request.method, view.request.path.as_str());
        let demand = self.step_up_demand(view);
        let mfa = if demand.mfa { " with mfa" } else { "" };
        let by = |kind: &str, rule: &RuleRef, max_age_s: Option<u64>| {
            let age = max_age_s.map_or_else(String::new, |age| format!(", at most {} ago", span_text(age)));
            format!(
                "{who} must authenticate again{mfa} to {method} {path}: {kind} {} demands it{age} ({})",
                rule.name,
                place(rule)
            )
        };
        match (rule, self.resource_of(view)) {
            (Some(rule), Some((route, resource)))
                if rule.kind == RuleKind::Resource && self.is_proof_wanted(view, route, resource) =>
            {
                by("resource", rule, resource.proof.max_age_s)
            }
            (Some(rule), _) if rule.kind == RuleKind::Assignment && view.level == crate::request::RiskLevel::Low => {
                let found = self.assignments.iter().find(|each| each.rule.name == rule.name);
                by("assignment", rule, found.and_then(|assignment| assignment.when.max_age_s))
            }
            _ => format!(
                "{who} must authenticate again with mfa to {method} {path}: the risk is {} ({})",
                view.level.as_str(),
                signals(view)
            ),
        }
    }

    /// Whether it is the `[[resource]]` that demands a step-up, and not the risk.
    fn is_proof_wanted(&self, view: &View<'_>, route: RouteId, resource: &Resource) -> bool {
        let caller = view.caller(resource.authentication);
        let granted = self.grants_stage(view, route, caller, &mut Silent);
        self.risk_stage(view, route, resource, caller, granted, &mut Silent).is_none()
            && self.proof_stage(view, route, resource, caller, &mut Silent).is_some()
    }

    /// At most eight names.
    pub(super) fn network_names(&self, networks: &[crate::network::NetworkId]) -> String {
        let names: Vec<&str> = networks
            .iter()
            .take(8)
            .filter_map(|network| self.network_facts.get(network.0 as usize))
            .map(|facts| &*facts.rule.name)
            .collect();
        let more = if networks.len() > 8 { ", …" } else { "" };
        format!("{}{more}", names.join(", "))
    }

    pub(super) fn role_name(&self, role: RoleId) -> &str {
        self.roles.get(role.0 as usize).map_or("", |role| &*role.rule.name)
    }
}

pub(super) fn client(view: &View<'_>) -> Words {
    view.request.client.ip().map_or("the unknown client address".into(), |address| in_words(address).into())
}

/// As `Display` writes it. An IPv4 address is in nearly every event, and the formatter takes ten times as long as this.
fn in_words(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        for (unit, above) in [(100, 99), (10, 9), (1, 0)] {
            if octet > above || unit == 1 {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

pub(super) fn signals(view: &View<'_>) -> String {
    if view.request.risk.stated.is_some() {
        return "as stated".to_owned();
    }
    let reasons: Vec<&str> = view.request.risk.signals.iter().take(3).map(|signal| signal.reason.as_str()).collect();
    reasons.join("; ")
}

/// What activating takes: `for at most 4h, with a justification, by approval of 1 other person`.
fn activation_demands(rules: &ActivationRules) -> String {
    let most = jiff::SignedDuration::from_secs(i64::try_from(rules.max_s).unwrap_or(i64::MAX));
    let mut text = format!("for at most {most:#}");
    for (is_demanded, words) in
        [(rules.justification_required, ", with a justification"), (rules.ticket_required, ", with a ticket")]
    {
        text.push_str(if is_demanded { words } else { "" });
    }
    match rules.approvals {
        0 => {}
        1 => text.push_str(", by approval of 1 other person"),
        more => {
            let _ = write!(text, ", by approval of {more} other persons");
        }
    }
    text
}

/// The latest of what has ended and is meant.
fn ended_words(view: &View<'_>, is_meant: impl Fn(&Activation) -> bool) -> Option<String> {
    let ended = view.request.activations.iter().filter(|each| !each.is_in_force(view.now) && is_meant(each));
    let last = ended.max_by_key(|each| each.until)?;
    let what = if last.assignment().is_some() { "its activation" } else { "a role that was lent" };
    Some(format!("; {what} ended at {:.0}", last.until))
}

/// What is known of it, behind a colon.
fn noted(lent: &Activation) -> String {
    if lent.note.is_empty() { String::new() } else { format!(" ({})", lent.note) }
}

pub(super) fn place(rule: &RuleRef) -> String {
    format!("{}:{}", rule.file, rule.line)
}

/// The alert that has revoked the caller's credential, and since when.
pub(super) fn revoked_by(view: &View<'_>) -> (String, String) {
    let revoked = view.request.contained.revoked;
    revoked.map(|revoked| (revoked.alert.to_string(), revoked.since.to_string())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_the_standard_library_does(address in any::<IpAddr>()) {
            prop_assert_eq!(in_words(address), address.to_string());
        }
    }

    #[test]
    fn every_octet_is_written_as_the_standard_library_does() {
        for octet in 0..=u8::MAX {
            let address = IpAddr::from([octet, 0, 255 - octet, octet]);
            assert_eq!(in_words(address), address.to_string());
        }
    }
}
