//! The end of the stack: sends what was permitted to its upstream, and streams both ways.
//!
//! It takes [`Permitted`] and nothing else. The headers become the gateway's here, and only here.

use std::rc::Rc;

use http::header::{REFERER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use portcullis_events::ReasonCode;
use portcullis_identity::Identity;
use portcullis_policy::{AuthenticationRule, RouteId};

use crate::layers::establish::Refused;
use crate::layers::respond::request_id;
use crate::malformation::Malformation;
use crate::permitted::Permitted;
use crate::refusal::Refusal;
use crate::report::TRACEPARENT;
use crate::transit::{RequestBody, Transit};
use crate::upstream::headers::{Forwarding, IdentityValues, prepare_request, prepare_response};
use crate::upstream::{FaultKind, TimeoutPhase, UpstreamBody, UpstreamError};
use crate::wire::BodyProblem;
use crate::worker::Worker;

/// Forwards one permitted request.
///
/// # Errors
/// The refusal, when the upstream does not answer properly, or the caller's own body breaks off.
pub(crate) async fn forward(
    worker: Rc<Worker>,
    permitted: Permitted<Box<Transit>>,
) -> Result<Response<UpstreamBody<RequestBody>>, Box<Refused>> {
    let mut transit = permitted.into_inner();
    let loaded = Rc::clone(&transit.facts.loaded);
    let prepared = transit.facts.route.and_then(|route| {
        let upstream = loaded.upstream(route)?;
        Some((upstream, prepare(&mut transit, route)?))
    });
    let Some((upstream, (request, remembered))) = prepared else {
        let refusal = Refusal::Internal("forward was reached without a route, a target or a body".to_owned());
        return Err(Box::new(Refused { refusal, transit }));
    };
    match upstream.send(request).await {
        Ok(mut response) => {
            prepare_response(response.headers_mut());
            transit.facts.loaded.counters(transit.facts.route).requests.observe(transit.facts.started.elapsed());
            worker.observe_answer(&transit, response.status());
            Ok(response)
        }
        Err(error) => {
            remembered.put_back(&mut transit);
            // Without a connection nothing was sent.
            transit.facts.forwarded =
                !matches!(error.kind, FaultKind::Unreachable | FaultKind::Timeout(TimeoutPhase::Connect));
            let refusal = refusal_of(error, &transit);
            Err(Box::new(Refused { refusal, transit }))
        }
    }
}

/// What the event of a failed exchange says about a head that has been sent on.
struct Remembered {
    user_agent: Option<HeaderValue>,
    referrer: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
}

impl Remembered {
    fn put_back(self, transit: &mut Transit) {
        let headers = &mut transit.head.headers;
        self.user_agent.map(|value| headers.insert(USER_AGENT, value));
        self.referrer.map(|value| headers.insert(REFERER, value));
        self.traceparent.map(|value| headers.insert(TRACEPARENT, value));
    }
}

/// The request as the upstream gets it.
fn prepare(transit: &mut Transit, route: RouteId) -> Option<(Request<RequestBody>, Remembered)> {
    let body = transit.body.take()?;
    let mut headers = std::mem::take(&mut transit.head.headers);
    let remembered = Remembered {
        user_agent: headers.get(USER_AGENT).cloned(),
        referrer: headers.get(REFERER).cloned(),
        traceparent: headers.get(TRACEPARENT).cloned(),
    };
    let facts = &transit.facts;
    let target = facts.target.as_ref()?;
    let snapshot = &facts.loaded.snapshot;
    let identity = identity_values(transit);
    let forward_credentials = snapshot.settings.routes.get(route.index())?.forward_credentials
        || snapshot.policy.authentication(route) == AuthenticationRule::None;
    let forwarding = Forwarding {
        client: facts.client_address(),
        client_text: facts
            .connection
            .peer_text
            .as_ref()
            .filter(|_| facts.client_address().ip() == Some(facts.connection.peer.ip())),
        proxies: facts.client.as_ref().map(|derived| derived.proxies.as_slice()).unwrap_or_default(),
        scheme: facts.scheme,
        request_id: request_id(facts.id)?,
        identity: identity.as_ref(),
        forward_credentials,
    };
    prepare_request(&mut headers, &snapshot.headers, &forwarding);
    let mut request = Request::new(body);
    *request.method_mut() = target.method.clone();
    *request.uri_mut() = target.uri.clone();
    *request.headers_mut() = headers;
    Some((request, remembered))
}

/// What the upstream is told about the principal, as far as the configuration asks for it.
fn identity_values(transit: &Transit) -> Option<IdentityValues> {
    let snapshot = &transit.facts.loaded.snapshot;
    let names = &snapshot.settings.identity_headers;
    let wanted = names.user.is_some() || names.groups.is_some() || names.roles.is_some() || names.email.is_some();
    let Some(Identity::Verified(principal)) = transit.facts.identity.as_ref().filter(|_| wanted) else { return None };
    let roles = match transit.facts.access_request().filter(|_| names.roles.is_some()) {
        Some(request) => snapshot.policy.effective_roles(&request),
        None => Vec::new(),
    };
    Some(IdentityValues::new(
        &principal.id,
        principal.groups.iter().map(|group| &*group.name),
        roles.iter().map(|role| &**role),
        principal.email.as_deref(),
    ))
}

fn refusal_of(error: UpstreamError, transit: &Transit) -> Refusal {
    if error.kind != FaultKind::RequestBody {
        return Refusal::UpstreamFailed(error);
    }
    let problem = transit.facts.connection.gate.as_ref().and_then(|gate| gate.body_problem());
    Refusal::Malformed(match problem {
        Some(BodyProblem::TimedOut) => Malformation {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Malformation::new(ReasonCode::RequestTimeout, "the request's body stalled")
        },
        Some(BodyProblem::Malformed(detail)) => Malformation::new(ReasonCode::RequestMalformed, detail),
        Some(BodyProblem::Truncated) | None => Malformation::new(ReasonCode::RequestMalformed, error.detail),
    })
}
