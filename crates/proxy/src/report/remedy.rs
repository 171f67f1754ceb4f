//! What a caller can do by itself about a refusal.

use portcullis_policy::{AuthenticationMethod, CanonicalPath, Reason};

use crate::pages::{ACCESS_REQUESTS, ACTIVATIONS};
use crate::refusal::{Refusal, Remedy};
use crate::sampling::keep;
use crate::transit::Transit;
use crate::worker::Worker;

impl Worker {
    /// Keeps a refusal that its caller may ask about: one for the want of a grant, where the policy says so. Says whether it did.
    pub(super) fn note_requestable(&self, refusal: &Refusal, transit: &Transit) -> bool {
        let facts = &transit.facts;
        let policy = &facts.loaded.snapshot.policy;
        let Some((route, denial)) = facts.route.filter(|route| policy.is_requestable(*route)).zip(refusal.denial())
        else {
            return false;
        };
        let wants_a_grant = matches!(
            denial.reason,
            Reason::NoMatchingGrant | Reason::AssignmentExpired | Reason::NotYetActive | Reason::ConditionUnmet
        );
        let kept = facts.principal().filter(|_| wants_a_grant).zip(keep(facts, None));
        let Some((principal, request)) = kept else { return false };
        let words = [policy.route_name(route), &*denial.message];
        self.shared.requestable.note(facts.id, principal, request, words, facts.steady_now)
    }
}

/// What a verified caller can do by itself about a refusal for the want of a grant, where it may.
pub(super) fn remedy(refusal: &Refusal, transit: &Transit, requestable: bool) -> Option<Remedy> {
    let facts = &transit.facts;
    let pages = facts.loaded.snapshot.settings.pages.as_ref().filter(|pages| pages.self_service)?;
    let (denial, _) = refusal.denial().zip(facts.principal())?;
    let needs = denial.nearest.iter().filter_map(|each| match &*each.needs {
        // One that needs something else besides would not help by itself.
        [only] => only.strip_prefix("activation:"),
        _ => None,
    });
    let assignments: Vec<String> = needs.map(str::to_owned).collect();
    if assignments.is_empty() && !requestable {
        return None;
    }
    let target = facts.target.as_ref()?;
    // What a browser sends by itself changes something at the pages' own hosts alone.
    let is_browsers =
        matches!(facts.principal()?.authentication.method, AuthenticationMethod::Oidc | AuthenticationMethod::Password);
    let (host, place_to_ask, place_to_activate) = if is_browsers {
        let host: &str = pages.hosts.first()?;
        let place = pages.persons_url(facts.scheme, target.port)?;
        (host, place.clone(), place)
    } else {
        (&*target.host, pages.place_of(ACCESS_REQUESTS), pages.place_of(ACTIVATIONS))
    };
    // The pages are there where a route leads.
    let place = CanonicalPath::parse(&pages.place_of(ACTIVATIONS)).ok()?;
    facts.loaded.snapshot.policy.find_route(host, &place)?;
    Some(Remedy {
        ask: requestable.then_some(place_to_ask),
        activate: (!assignments.is_empty()).then_some((place_to_activate, assignments)),
    })
}
