//! `identify`: who it is. A bad credential does not refuse here; it is a fact like any other, and `decide` says what
//! follows from it.

use std::rc::Rc;

use portcullis_identity::{CertificateIdentity, Identity};
use portcullis_policy::AuthenticationRule;

use crate::layers::establish::Establishes;
use crate::refusal::Refusal;
use crate::transit::{Facts, Transit};

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
            AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::Certificate => {
                let headers = &transit.head.headers;
                let only = rule == AuthenticationRule::Certificate;
                match certificate_identity(facts) {
                    Some(certificate) => {
                        snapshot.authenticator.authenticate_connection(headers, &certificate, only, facts.now)
                    }
                    None => snapshot.authenticator.authenticate(headers, facts.now),
                }
            }
        });
        Ok(())
    }
}

/// What the connection's client certificate says, where it has one that counts.
fn certificate_identity(facts: &Facts) -> Option<Rc<CertificateIdentity>> {
    facts.connection.tls.as_ref()?.certificate.as_ref()?.identity(&facts.loaded.snapshot)
}
