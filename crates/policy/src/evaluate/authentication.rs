//! The authentication stage, and the bans that wait for it.

use super::*;
use crate::principal::CredentialProblemKind;

impl Policy {
    pub(crate) fn authentication_stage(
        &self,
        view: &View<'_>,
        resource: &Resource,
        record: &mut impl Record,
    ) -> Option<Stop> {
        let rule = view.demanded(resource.authentication);
        let verified = matches!(view.caller(rule), Caller::Verified(_) | Caller::SomeVerified);
        let bans = view.request.bans;
        // INVARIANT: whether it is anonymous is not known of who brings a credential that cannot be verified now. That is 503, not this ban.
        let unknown = matches!(view.request.identity, IdentityFact::Unavailable(_)) && rule != AuthenticationRule::None;
        let anonymous = !verified && !unknown;
        let ban = match bans.address.filter(|ban| ban.scope == BanScope::Anonymous && anonymous) {
            Some(ban) => Some(ban),
            None => bans.principal.filter(|_| verified),
        };
        if let Some(ban) = ban {
            if !ban.simulated {
                return Some(Stop { stage: Stage::Authentication, ..Stop::deny(Reason::BanActive, None) });
            }
            record.shadow(|| ShadowFinding { outcome: Outcome::Deny, reason: Some(Reason::BanActive), rule: None });
        }
        if rule == AuthenticationRule::None {
            return None;
        }
        match view.request.identity {
            IdentityFact::Verified(principal) if rule.takes(principal) => self
                .revocation(view, principal, record)
                .map(|_| Stop::challenge(Reason::Authn(CredentialProblemKind::Revoked)))
                .or_else(|| self.out_of_scope(view, principal)),
            _ if view.supposed.any_credential => None,
            IdentityFact::Rejected(problem) => Some(Stop::challenge(Reason::Authn(problem.kind))),
            IdentityFact::Unavailable(dependency) => {
                Some(Stop::undecided(dependency.into(), Stage::Authentication, None))
            }
            // A route that does not take a verified principal takes certificates alone.
            IdentityFact::Anonymous | IdentityFact::Verified(_) => match rule {
                AuthenticationRule::Required => Some(Stop::challenge(Reason::AuthnMissing)),
                AuthenticationRule::Certificate => {
                    Some(Stop::challenge(Reason::Authn(CredentialProblemKind::CertificateRequired)))
                }
                AuthenticationRule::Optional | AuthenticationRule::None => None,
            },
        }
    }
}
