//! `identify`: who it is. A bad credential does not refuse here; it is a fact like any other, and `decide` says what
//! follows from it.

use portcullis_identity::Identity;
use portcullis_policy::AuthenticationRule;

use crate::layers::establish::Establishes;
use crate::refusal::Refusal;
use crate::transit::Transit;

/// Establishes the identity.
#[derive(Debug, Clone, Copy)]
pub struct Identify;

impl Establishes for Identify {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        let facts = &mut transit.facts;
        let snapshot = &facts.loaded.snapshot;
        let rule = facts.route.map_or(AuthenticationRule::Required, |route| snapshot.policy.authentication(route));
        facts.identity = Some(match rule {
            AuthenticationRule::None => Identity::Anonymous,
            AuthenticationRule::Required | AuthenticationRule::Optional => {
                snapshot.authenticator.authenticate(&transit.head.headers, facts.now)
            }
        });
        Ok(())
    }
}
