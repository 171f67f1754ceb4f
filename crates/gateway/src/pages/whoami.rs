//! What is known of the caller, for whoever looks for the reason of an answer. It is off by default: it tells an attacker with somebody's cookie what that is good for.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use portcullis_identity::remote::Patience;
use portcullis_identity::{Identity, Presenting};
use portcullis_policy::{AccessRequest, CanonicalPath, IdentityFact, Principal, canonical_host};
use portcullis_proxy::pages::{PageAnswer, Visit};
use serde_json::{Value, json};

/// As JSON. `for=PATH`: with the roles that the caller holds on the route which leads there.
pub(super) fn whoami(visit: &Visit) -> PageAnswer {
    let identity = visit
        .snapshot
        .authenticator
        .authenticate_with(&visit.headers, visit.now, &Presenting::nothing(Patience::Stream))
        .settled();
    let mut body = match &identity {
        Identity::Anonymous => json!({ "known": false, "why": "no credential was given" }),
        Identity::Verified(principal) => known(visit, principal),
        Identity::Rejected(rejection) => json!({ "known": false, "why": rejection.problem.detail }),
        Identity::Unavailable(_, detail) => json!({ "known": null, "why": detail }),
        Identity::Unchecked(_) => json!({ "known": null, "why": "passwords are not looked at here" }),
    };
    if let Value::Object(members) = &mut body {
        members.insert("request_id".to_owned(), json!(visit.request_id));
        members.insert("address".to_owned(), json!(visit.client.ip()));
    }
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.into()
}

fn known(visit: &Visit, principal: &Arc<Principal>) -> Value {
    let policy = &visit.snapshot.policy;
    let authentication = &principal.authentication;
    json!({
        "known": true,
        "principal": principal.reference(),
        "name": principal.name,
        "groups": principal.groups.iter().map(|group| &*group.name).collect::<Vec<_>>(),
        "roles": roles(visit, principal),
        "assurance": if policy.is_mfa_fresh(principal, visit.now) { "mfa" } else { "single" },
        "acr": authentication.acr,
        "amr": authentication.amr,
        "authenticated": authentication.auth_time.map(|at| at.to_string()),
        "expires": authentication.expires.map(|at| at.to_string()),
        "how": authentication.method.as_str(),
        "provider": authentication.provider,
    })
}

/// Those held on the route that `for` leads to; null where it leads nowhere, or is not asked for.
fn roles(visit: &Visit, principal: &Principal) -> Option<Vec<Arc<str>>> {
    let policy = &visit.snapshot.policy;
    let parameters = visit.parameters();
    let path = CanonicalPath::parse(parameters.get("for")?).ok()?;
    let host = canonical_host(&visit.authority)?;
    let route = policy.find_route(&host, &path);
    route?;
    let request = AccessRequest {
        client: visit.client,
        identity: IdentityFact::Verified(principal),
        ..AccessRequest::new("GET", &path, route, visit.now)
    };
    Some(policy.effective_roles(&request))
}
