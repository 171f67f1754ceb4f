//! The conditions of a rule against the facts of a request.

use super::*;

impl Policy {
    pub(super) fn conditions_hold(&self, view: &View<'_>, when: &Conditions, caller: Caller<'_>) -> Truth {
        let mut truth = Truth::Yes;
        for kind in ConditionKind::ALL {
            match self.condition(view, when, kind, caller) {
                Truth::Yes => {}
                Truth::No => return Truth::No,
                Truth::Unknown => truth = Truth::Unknown,
            }
        }
        truth
    }

    /// One condition; one that is not demanded holds.
    pub(crate) fn condition(
        &self,
        view: &View<'_>,
        when: &Conditions,
        kind: ConditionKind,
        caller: Caller<'_>,
    ) -> Truth {
        match kind {
            ConditionKind::Networks => {
                when.networks.as_ref().map_or(Truth::Yes, |networks| match self.membership(view.networks, networks) {
                    Membership::In(_) => Truth::Yes,
                    Membership::Out => Truth::No,
                    Membership::NetworkUnknown(_) | Membership::AddressUnknown => Truth::Unknown,
                })
            }
            ConditionKind::Hours => {
                let held = |hours: &Hours| view.ended_since.is_some_and(|since| hours.hold(since));
                when.hours.as_ref().map_or(Truth::Yes, |hours| Truth::from_bool(hours.hold(view.now) || held(hours)))
            }
            ConditionKind::Countries => match (&when.countries, view.country) {
                (None, _) => Truth::Yes,
                (Some(_), None) => Truth::Unknown,
                (Some(countries), Some(country)) => Truth::from_bool(countries.binary_search(&country).is_ok()),
            },
            ConditionKind::Device if !when.compliant_device => Truth::Yes,
            ConditionKind::Device => match caller {
                Caller::Anonymous => Truth::Unknown,
                Caller::SomeVerified | Caller::Verified(_) if view.supposed.compliant_device => Truth::Yes,
                Caller::SomeVerified => Truth::Unknown,
                Caller::Verified(principal) => {
                    let stated = principal.device.as_ref().and_then(|device| device.compliant);
                    // A no of either is a no.
                    match [view.request.posture, stated] {
                        [None, None] => Truth::Unknown,
                        both => Truth::from_bool(!both.contains(&Some(false))),
                    }
                }
            },
            ConditionKind::Assurance => Truth::from_bool(!when.assurance_mfa || self.has_fresh_mfa(view, caller)),
            ConditionKind::MaxAge => {
                when.max_age_s.map_or(Truth::Yes, |most| Truth::from_bool(self.has_authenticated(view, caller, most)))
            }
            ConditionKind::Activation => when.activation.as_ref().map_or(Truth::Yes, |eligible| {
                let supposed = view.supposed.activated.as_ref().is_some_and(|name| *name == eligible.assignment);
                Truth::from_bool(supposed || is_activated(view, &eligible.assignment))
            }),
            ConditionKind::MaxRisk => when.max_risk.map_or(Truth::Yes, |most| Truth::from_bool(view.level <= most)),
        }
    }

    pub(crate) fn has_fresh_mfa(&self, view: &View<'_>, caller: Caller<'_>) -> bool {
        match caller {
            // Whom nobody knows has authenticated by no means, whatever is supposed.
            Caller::Anonymous => false,
            Caller::SomeVerified => view.supposed.fresh_mfa,
            Caller::Verified(principal) => {
                // Who authenticates anew does so by the same means.
                let is_supposed = || view.supposed.authenticated_s.is_some_and(|age| age <= self.step_up.max_age_s);
                view.supposed.fresh_mfa
                    || mfa_is_fresh(principal, &self.step_up, view.now)
                    || is_supposed() && is_strong(principal, &self.step_up)
            }
        }
    }

    /// Whether the caller authenticated at most so many seconds ago.
    pub(crate) fn has_authenticated(&self, view: &View<'_>, caller: Caller<'_>, max_age_s: u64) -> bool {
        let supposed = || view.supposed.fresh_mfa || view.supposed.authenticated_s.is_some_and(|age| age <= max_age_s);
        match caller {
            Caller::Anonymous => false,
            Caller::SomeVerified => supposed(),
            Caller::Verified(principal) => supposed() || is_recent(principal, max_age_s, view.now),
        }
    }
}

fn is_activated(view: &View<'_>, assignment: &str) -> bool {
    let of_it = |each: &&Activation| each.assignment() == Some(assignment);
    let counts = |each: &Activation| each.is_in_force(view.now) || is_behind(each.until, view.ended_since);
    view.request.activations.iter().filter(of_it).any(counts)
}
