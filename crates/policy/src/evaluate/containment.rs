//! What alerts demand beyond the policy: credentials that count no longer, and a fresh mfa of a principal or on a route. It only ever adds a
//! refusal.

use jiff::SignedDuration;

use super::*;
use crate::principal::CredentialProblemKind;
use crate::request::Containment;

/// How far the clock of an issuer may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);

impl Policy {
    /// A credential that was issued before an alert revoked what its holder had is refused, and so is one of which nobody knows when it was
    /// issued.
    pub(crate) fn revocation<'a>(
        &self,
        view: &View<'a>,
        principal: &Principal,
        record: &mut impl Record,
    ) -> Option<&'a Containment> {
        let revoked = view.request.contained.revoked?;
        // What says that it will be issued says nothing: the clock of an issuer is ahead by a minute at most.
        let believable = view.request.now.saturating_add(AHEAD).unwrap_or(view.request.now);
        let issued = principal.authentication.issued;
        let issued_since = issued.is_some_and(|issued| issued > revoked.since && issued <= believable);
        // Whoever is supposed to bring any credential is supposed to bring a new one.
        if issued_since || view.supposed.any_credential {
            return None;
        }
        if revoked.simulated {
            let reason = Some(Reason::Authn(CredentialProblemKind::Revoked));
            record.shadow(|| ShadowFinding { outcome: Outcome::Challenge, reason, rule: None });
            return None;
        }
        Some(revoked)
    }

    /// Demands a fresh mfa where an alert does. Who cannot answer a step-up is refused all the same: a service, the holder of a certificate, or an
    /// anonymous caller on a route that was tightened.
    pub(crate) fn containment_stage(
        &self,
        view: &View<'_>,
        resource: &Resource,
        caller: Caller<'_>,
        record: &mut impl Record,
    ) -> Option<Stop> {
        let demand = self.demanded_by_alert(view, caller)?;
        let stop = match caller {
            Caller::Anonymous if resource.authentication == AuthenticationRule::Optional => {
                Stop { stage: Stage::StepUp, ..Stop::challenge(Reason::AuthnMissing) }
            }
            Caller::Anonymous => Stop { stage: Stage::StepUp, ..Stop::deny(Reason::ConditionUnmet, None) },
            Caller::Verified(_) | Caller::SomeVerified => Stop::step_up(None),
        };
        if demand.simulated || resource.shadow {
            record.shadow(|| self.shadow_of(stop));
            return None;
        }
        Some(stop)
    }

    /// What keeps a caller from a route whatever it is granted: a ban, the network, its credential (none, one that does not hold, one that an alert has revoked, one
    /// of a kind that the route does not take, or one that is for some routes or networks alone), an explicit deny, the risk, how the route wants its callers to have
    /// authenticated, and what alerts demand. `None`: with a grant it would be permitted. For what the gateway does for a caller by itself.
    pub fn held_back(&self, request: &AccessRequest<'_>) -> Option<Reason> {
        let view = View { question: Question::WithEveryGrant, ..View::new(self, request) };
        match self.evaluate(&view, &mut Silent) {
            Verdict::Permit(_) => None,
            Verdict::Stop(stop) => Some(stop.reason),
        }
    }

    /// What demands a fresh mfa that the caller does not have: one that refuses before one that is only reported.
    pub(crate) fn demanded_by_alert<'a>(&self, view: &View<'a>, caller: Caller<'_>) -> Option<&'a Containment> {
        let contained = view.request.contained;
        let fresh = self.has_fresh_mfa(view, caller);
        // A stolen token may have been got with an mfa a moment ago: of the principal a later one is demanded. Of a route that was tightened
        // it is not, since whoever comes there is not suspected.
        let is_later = |demand: &Containment| match caller {
            Caller::Verified(principal) => view.supposed.fresh_mfa || principal.authentication.is_since(demand.since),
            Caller::SomeVerified | Caller::Anonymous => true,
        };
        let of_principal =
            contained.step_up.filter(|demand| caller != Caller::Anonymous && !(fresh && is_later(demand)));
        let of_route = contained.tightened.filter(|_| !fresh);
        let mut demands = [of_principal, of_route].into_iter().flatten();
        let first = demands.next()?;
        Some(demands.find(|demand| first.simulated && !demand.simulated).unwrap_or(first))
    }
}
