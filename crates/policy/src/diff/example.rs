//! One request of a class, whole, so that both policies can be asked about it again.

use super::*;

/// A whole request, owned.
#[derive(Debug, Clone)]
pub struct ExampleRequest {
    /// The method.
    pub method: String,
    /// The host, in the form of [`crate::canonical_host`].
    pub host: String,
    /// The path.
    pub path: CanonicalPath,
    /// Who.
    pub identity: ExampleIdentity,
    /// From where.
    pub client: ClientAddress,
    /// From which country.
    pub country: Option<CountryCode>,
    /// How risky.
    pub risk: RiskAssessment,
    /// What was activated.
    pub activations: Vec<Activation>,
    /// When.
    pub now: Timestamp,
}

/// Who sends an example.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each class, and most are the large one")]
pub enum ExampleIdentity {
    /// Nobody.
    Anonymous,
    /// A verified principal.
    Verified(Principal),
    /// Somebody with a bad credential.
    Rejected(CredentialProblem),
    /// Somebody whose credential cannot be checked.
    Unavailable(Dependency),
}

impl ExampleRequest {
    /// The question to a policy: on the route that host and path lead to there.
    pub fn ask<'a>(&'a self, policy: &Policy) -> AccessRequest<'a> {
        AccessRequest {
            method: &self.method,
            path: &self.path,
            route: policy.find_route(&self.host, &self.path),
            client: self.client,
            country: self.country,
            identity: match &self.identity {
                ExampleIdentity::Anonymous => IdentityFact::Anonymous,
                ExampleIdentity::Verified(principal) => IdentityFact::Verified(principal),
                ExampleIdentity::Rejected(problem) => IdentityFact::Rejected(problem),
                ExampleIdentity::Unavailable(dependency) => IdentityFact::Unavailable(*dependency),
            },
            risk: &self.risk,
            bans: Bans::default(),
            contained: Contained::default(),
            posture: None,
            activations: &self.activations,
            now: self.now,
        }
    }
}
