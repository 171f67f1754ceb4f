//! A caller and a question.

use jiff::Timestamp;
use portcullis_policy::*;

/// The user of the action with this number.
pub(crate) fn user(index: usize) -> Principal {
    Principal::user(&format!("u{index}"))
}

/// Whether the policy permits it; and what `decide` says, `explain` must say.
pub(crate) fn permits(
    policy: &Policy,
    who: IdentityFact<'_>,
    method: &str,
    path: &CanonicalPath,
    now: Timestamp,
) -> bool {
    let request = AccessRequest {
        method,
        path,
        route: policy.find_route("host.test", path),
        client: ClientAddress::Unknown,
        country: None,
        identity: who,
        risk: &RiskAssessment::NONE,
        bans: Bans::default(),
        contained: Contained::default(),
        posture: None,
        activations: &[],
        now,
    };
    let permitted = matches!(policy.decide(&request), Decision::Permit(_));
    assert_eq!(policy.explain(&request).outcome == Outcome::Permit, permitted, "{method} {}", path.as_str());
    permitted
}
