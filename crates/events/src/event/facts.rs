//! `facts`: what a decision rested on that no other key says, so that it can be decided on again under another policy.

use jiff::Timestamp;
use portcullis_policy::{AccessRequest, CountryCode, IdentityFact, Principal};
use serde::Serialize;

use super::parts::{country, optional_time};
use crate::event::rfc3339_micros;

/// `facts`. Present only where a policy was asked. Native lines alone have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecidedOn {
    /// The time that the decision goes by.
    #[serde(serialize_with = "rfc3339_micros")]
    pub time: Timestamp,
    /// `not_looked_at`, `anonymous`, `verified`, `rejected` or `unavailable`.
    pub identity: &'static str,
    /// The country, where a rule asked for it: `ZZ` is an address of no country.
    #[serde(serialize_with = "country")]
    pub country: Option<CountryCode>,
    /// Those of `identity.groups` that the provider may put callers into. At most 64.
    pub local_groups: Vec<String>,
    /// The roles that the credential itself carries. At most 64.
    pub direct_roles: Vec<String>,
    /// Authentication methods references (RFC 8176). At most 64.
    pub amr: Vec<String>,
    /// When the caller last authenticated.
    #[serde(serialize_with = "optional_time")]
    pub auth_time: Option<Timestamp>,
    /// Where its credential may be used at all; `None`: everywhere.
    pub scope: Option<ScopedTo>,
    /// The scopes of the bans in force that touched it.
    pub bans: Vec<&'static str>,
    /// What alerts demanded: `step_up`, `revoked`, `tightened`.
    pub demanded: Vec<&'static str>,
    /// What was given for a time: eligible assignments that were activated, and roles that were lent (`role:NAME,ROUTE`). At most 64.
    pub activated: Vec<String>,
}

/// `facts.scope`: what a credential, such as an API key, was bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopedTo {
    /// The names of routes; none: all of them. At most 64.
    pub routes: Vec<String>,
    /// The names of networks; none: from anywhere. At most 64.
    pub networks: Vec<String>,
}

impl DecidedOn {
    /// What a question to the policy rests on. `looked_at`: somebody has looked at who it is.
    pub fn of(request: &AccessRequest<'_>, looked_at: bool) -> Self {
        let principal = match request.identity {
            IdentityFact::Verified(principal) => Some(principal),
            IdentityFact::Anonymous | IdentityFact::Rejected(_) | IdentityFact::Unavailable(_) => None,
        };
        let owned = |texts: &[Box<str>]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let bans = [request.bans.address, request.bans.principal].into_iter().flatten();
        let contained = &request.contained;
        let demanded =
            [("step_up", contained.step_up), ("revoked", contained.revoked), ("tightened", contained.tightened)];
        Self {
            time: request.now,
            identity: match request.identity {
                _ if !looked_at => "not_looked_at",
                IdentityFact::Anonymous => "anonymous",
                IdentityFact::Verified(_) => "verified",
                IdentityFact::Rejected(_) => "rejected",
                IdentityFact::Unavailable(_) => "unavailable",
            },
            country: request.country,
            local_groups: principal.map(local_groups).unwrap_or_default(),
            direct_roles: principal.map(|principal| owned(&principal.roles)).unwrap_or_default(),
            amr: principal.map(|principal| owned(&principal.authentication.amr)).unwrap_or_default(),
            auth_time: principal.and_then(|principal| principal.authentication.auth_time),
            scope: principal
                .and_then(|principal| principal.scope.as_deref())
                .map(|scope| ScopedTo { routes: owned(&scope.routes), networks: owned(&scope.networks) }),
            bans: bans.filter(|ban| !ban.simulated).map(|ban| ban.scope.as_str()).collect(),
            demanded: demanded
                .into_iter()
                .filter(|(_, demand)| demand.is_some_and(|demand| !demand.simulated))
                .map(|(name, _)| name)
                .collect(),
            // What has ended decides nothing.
            activated: request
                .activations
                .iter()
                .filter(|activation| activation.is_in_force(request.now))
                .map(|activation| activation.gives.to_string())
                .collect(),
        }
    }
}

fn local_groups(principal: &Principal) -> Vec<String> {
    principal.groups.iter().filter(|claim| claim.trusted).map(|claim| claim.name.to_string()).collect()
}
