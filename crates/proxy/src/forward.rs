//! The end of the stack: sends what was permitted to its upstream and streams both ways, or gives the answer that the route has
//! for it.
//!
//! It takes [`Permitted`] and nothing else. The headers become the gateway's here, and only here.

use std::error::Error as _;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use portcullis_events::ReasonCode;
use portcullis_identity::Identity;
use portcullis_policy::AuthenticationRule;

use crate::http2::BodyBroken;
use crate::layers::establish::Refused;
use crate::logged::Entry;
use crate::malformation::Malformation;
use crate::permitted::Permitted;
use crate::refusal::Refusal;
use crate::refusal::form::Form;
use crate::report::Wanted;
use crate::route::{Asked, Asker, Forwarded, LocationBack, PathTemplate, RouteAction, origin_of};
use crate::settings::RouteSettings;
use crate::sizes::{SentBody, bounded, is_too_large, oversized, too_large};
use crate::streams::Watch;
use crate::trace::{TraceMode, propagate};
use crate::traced::{Ended, trace};
use crate::trailers::Passing;
use crate::transit::{Remembered, Target, Transit};
use crate::upgrade::switch;
use crate::upstream::headers::{Forwarding, IdentityValues, prepare_request, prepare_response};
use crate::upstream::{FaultKind, TimeoutPhase, Upstream, UpstreamBody, UpstreamError};
use crate::watched::{Watched, head_of_answer};
use crate::wire::BodyProblem;
use crate::worker::{Loaded, Worker};

/// Does with one permitted request what its route says.
///
/// # Errors
/// The refusal, when the upstream does not answer properly, the caller's own body breaks off, or the path that the route makes
/// of the request's is not canonical.
pub(crate) async fn forward(
    worker: Rc<Worker>,
    permitted: Permitted<Box<Transit>>,
) -> Result<Response<Forwarded>, Box<Refused>> {
    let transit = permitted.into_inner();
    let mut entry = Entry::of(&worker, &transit);
    let mut response = act(&worker, transit, entry.as_deref_mut()).await?;
    Entry::attach(entry, &mut response);
    Ok(response)
}

/// Does what the route says.
async fn act(
    worker: &Rc<Worker>,
    mut transit: Box<Transit>,
    entry: Option<&mut Entry>,
) -> Result<Response<Forwarded>, Box<Refused>> {
    let loaded = Rc::clone(&transit.facts.loaded);
    let Some(route) = transit.facts.route.and_then(|route| loaded.snapshot.settings.routes.get(route.index())) else {
        return Err(unprepared(transit));
    };
    let client = transit.facts.client_address().ip();
    let policy = &loaded.snapshot.policy;
    if let Some(maintenance) = route.maintenance.as_deref().filter(|it| it.holds_for(client, policy)) {
        return Ok(own_answer(
            &transit,
            route,
            maintenance.answer(Form::wanted(&transit.head.headers), &transit.facts.shown_id_text()),
        ));
    }
    let upstream = match &route.action {
        RouteAction::Upstream(index) => *index,
        RouteAction::Split(split) => match split.choose(&transit.head.headers, asker(&transit)) {
            Some(index) => index,
            None => return Err(unprepared(transit)),
        },
        RouteAction::Redirect(redirect) => {
            return match transit.facts.target.as_ref().map(|target| redirect.answer(target)) {
                Some(Ok(answer)) => Ok(observed(worker, &transit, None, own_answer(&transit, route, answer))),
                Some(Err(problem)) => Err(refused(Refusal::Malformed(remade(problem)), transit)),
                None => Err(unprepared(transit)),
            };
        }
        RouteAction::Respond(fixed) => {
            return Ok(observed(worker, &transit, None, own_answer(&transit, route, fixed.answer())));
        }
    };
    transit.facts.upstream = Some(upstream);
    if let (Some(entry), Some(upstream)) = (entry, loaded.snapshot.settings.upstreams.get(upstream)) {
        entry.sent_to(&upstream.name);
    }
    send(worker, &loaded, route, upstream, transit).await
}

/// Who asks, for a route with several upstreams.
fn asker(transit: &Transit) -> Asker<'_> {
    let facts = &transit.facts;
    Asker { id: facts.id, principal: facts.principal(), address: facts.client_address().ip() }
}

/// Sends it to the upstream.
async fn send(
    worker: &Rc<Worker>,
    loaded: &Rc<Loaded>,
    route: &RouteSettings,
    upstream: usize,
    mut transit: Box<Transit>,
) -> Result<Response<Forwarded>, Box<Refused>> {
    let uri = match transit.facts.target.as_ref().map(|target| upstream_uri(route, target)) {
        Some(Ok(uri)) => uri,
        Some(Err(malformation)) => return Err(refused(Refusal::Malformed(malformation), transit)),
        None => return Err(unprepared(transit)),
    };
    let Some(body) = transit.body.take() else { return Err(unprepared(transit)) };
    let body = match bounded(body, &route.limits) {
        Ok(body) => body,
        Err(malformation) => return Err(refused(Refusal::Malformed(malformation), transit)),
    };
    let prepared = loaded
        .upstream(upstream)
        .and_then(|upstream| Some((upstream, prepare(worker, &mut transit, route, uri, body)?)));
    let Some((upstream, Prepared { request, remembered, passing })) = prepared else {
        return Err(unprepared(transit));
    };
    let mut watch = Watch::new(worker, transit.facts.started);
    if let Some(protocols) = transit.facts.upgrade.take() {
        // Rare, and large: it must not make every request's future larger.
        return Box::pin(switch(Sending { upstream, route, request, remembered, passing, watch }, transit, protocols))
            .await;
    }
    let answer = pin!(upstream.send(request, route.timeouts_to(transit.facts.upstream)));
    match head_of_answer(answer, &mut watch, &mut transit, &remembered).await {
        Ok(Ok(response)) => answered(Sent { route, remembered, passing, watch }, transit, response),
        Ok(Err(error)) => Err(failed(error, transit, &remembered)),
        Err(refusal) => {
            transit.facts.forwarded = true;
            Err(refused(refusal, transit))
        }
    }
}

/// A request that is ready to go.
pub(crate) struct Sending<'a> {
    pub(crate) upstream: &'a Rc<Upstream<SentBody>>,
    pub(crate) route: &'a RouteSettings,
    pub(crate) request: Request<SentBody>,
    pub(crate) remembered: Box<Remembered>,
    pub(crate) passing: Option<Box<Passing>>,
    pub(crate) watch: Watch,
}

/// A request that was sent.
pub(crate) struct Sent<'a> {
    pub(crate) route: &'a RouteSettings,
    pub(crate) remembered: Box<Remembered>,
    /// How trailers pass, where they do.
    pub(crate) passing: Option<Box<Passing>>,
    pub(crate) watch: Watch,
}

/// Passes on the upstream's answer.
///
/// # Errors
/// The refusal of an answer that says itself that it is too large.
pub(crate) fn answered(
    Sent { route, remembered, passing, watch }: Sent<'_>,
    mut transit: Box<Transit>,
    mut response: Response<UpstreamBody<SentBody>>,
) -> Result<Response<Forwarded>, Box<Refused>> {
    if let Some(error) = oversized(response.body(), &route.limits) {
        remembered.put_back(&mut transit);
        transit.facts.forwarded = true;
        return Err(refused(Refusal::UpstreamFailed(error), transit));
    }
    let announced = passing.and_then(|passing| passing.announced_down(response.headers()));
    prepare_response(response.headers_mut(), &transit.facts.loaded.snapshot.headers);
    if let Some(announced) = announced {
        response.headers_mut().insert(TRAILER, announced);
    }
    if let Some(back) = &route.location {
        name_as_asked(back, route, &transit, response.headers_mut());
    }
    finish_headers(route, remembered.origin.as_ref(), &mut response);
    let status = response.status();
    let response = observed(watch.worker(), &transit, Some(&remembered), response);
    record(watch.worker(), route, &mut transit, &remembered, status);
    Ok(response.map(|body| Either::Left(Watched::new(body, status, &route.limits, watch, transit, remembered))))
}

/// What the upstream says of its own place, as the caller knows it.
fn name_as_asked(back: &LocationBack, route: &RouteSettings, transit: &Transit, headers: &mut HeaderMap) {
    let facts = &transit.facts;
    let upstream = facts.upstream.and_then(|index| facts.loaded.snapshot.settings.upstreams.get(index));
    if let (Some(target), Some(upstream)) = (&facts.target, upstream) {
        let (scheme, upstream_host) = (facts.scheme, route.upstream_host.as_ref());
        back.rewrite(headers, &Asked { scheme, target, upstream_host, endpoints: &upstream.endpoints });
    }
}

/// The upstream did not answer properly.
pub(crate) fn failed(error: UpstreamError, mut transit: Box<Transit>, remembered: &Remembered) -> Box<Refused> {
    remembered.put_back(&mut transit);
    // Without a connection nothing was sent.
    transit.facts.forwarded = !matches!(
        error.kind,
        FaultKind::Unreachable
            | FaultKind::Timeout(TimeoutPhase::Connect)
            | FaultKind::Busy
            | FaultKind::CircuitOpen { .. }
    );
    let refusal = refusal_of(error, &transit);
    refused(refusal, transit)
}

/// Counts an answer, and tells risk how it went. What was sent on has its head in `remembered`.
pub(crate) fn observed<B>(
    worker: &Rc<Worker>,
    transit: &Transit,
    remembered: Option<&Remembered>,
    response: Response<B>,
) -> Response<B> {
    observe(worker, transit, remembered, response.status(), sent_length(transit, &response));
    response
}

/// Records that it was answered, where the configuration wants that.
pub(crate) fn record(
    worker: &Rc<Worker>,
    route: &RouteSettings,
    transit: &mut Transit,
    remembered: &Remembered,
    status: StatusCode,
) {
    if let Some(wanted) = Wanted::of(route.recorded, transit.facts.id, status) {
        remembered.put_back(transit);
        worker.report_answered(wanted, transit, status);
    }
}

/// What the caller is sent, as far as its length is known beforehand (RFC 9110 section 8.6). Answers to HEAD have a length and no content.
fn sent_length<B>(transit: &Transit, response: &Response<B>) -> Option<u64> {
    let is_sent = response.status().is_success() && transit.facts.principal().is_some();
    let target = transit.facts.target.as_ref().filter(|target| is_sent && target.method != Method::HEAD);
    target.and_then(|_| response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok())
}

fn observe(
    worker: &Rc<Worker>,
    transit: &Transit,
    remembered: Option<&Remembered>,
    status: StatusCode,
    length: Option<u64>,
) {
    let (facts, now) = (&transit.facts, Instant::now());
    facts.loaded.counters(facts.route).requests.observe(now.saturating_duration_since(facts.started));
    if let (Some(upstream), Some(decided)) = (facts.upstream, facts.decided)
        && let Some(durations) = facts.loaded.durations(upstream)
    {
        durations.observe(now.saturating_duration_since(decided));
    }
    if let Some(tracer) = &worker.shared.tracer {
        trace(tracer, transit, remembered, Ended::Answered(status), now);
    }
    worker.observe_answer(transit, remembered, status, length);
}

/// An answer that the route itself has for a permitted request.
fn own_answer(transit: &Transit, route: &RouteSettings, mut answer: Response<Full<Bytes>>) -> Response<Forwarded> {
    finish_headers(route, origin_of(&transit.head.headers), &mut answer);
    answer.map(Either::Right)
}

/// What the route says about the fields of an answer to a request of this origin.
pub(crate) fn finish_headers<B>(route: &RouteSettings, origin: Option<&HeaderValue>, response: &mut Response<B>) {
    if let Some(rules) = &route.response_headers {
        rules.apply(response.headers_mut());
    }
    if let Some(cors) = &route.cors {
        cors.decorate(origin, response.headers_mut());
    }
}

pub(crate) fn refused(refusal: Refusal, transit: Box<Transit>) -> Box<Refused> {
    Box::new(Refused { refusal, transit })
}

fn unprepared(transit: Box<Transit>) -> Box<Refused> {
    refused(Refusal::Internal("forward was reached without a route, a target or a body".to_owned()), transit)
}

/// The target that the upstream gets: the one that was decided on, or what the route makes of it.
fn upstream_uri(route: &RouteSettings, target: &Target) -> Result<Uri, Malformation> {
    match &route.rewrite {
        None => Ok(target.uri.clone()),
        Some(template) => rewritten(template, target),
    }
}

fn rewritten(template: &PathTemplate, target: &Target) -> Result<Uri, Malformation> {
    let path = template.apply(&target.path).map_err(remade)?;
    let text = match target.uri.query() {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    };
    let too_long = |_| Malformation::new(ReasonCode::RequestTooLarge, "the target is too long once it is rewritten");
    PathAndQuery::from_maybe_shared(Bytes::from(text)).map(Uri::from).map_err(too_long)
}

/// What the route makes of the path has no single meaning.
fn remade(problem: portcullis_policy::PathProblem) -> Malformation {
    let malformation = Malformation::from(problem);
    Malformation { detail: format!("once it is rewritten, {}", malformation.detail), ..malformation }
}

/// A request as the upstream gets it.
struct Prepared {
    request: Request<SentBody>,
    remembered: Box<Remembered>,
    passing: Option<Box<Passing>>,
}

/// The request as the upstream gets it.
fn prepare(
    worker: &Worker,
    transit: &mut Transit,
    route: &RouteSettings,
    uri: Uri,
    body: SentBody,
) -> Option<Prepared> {
    let mut headers = std::mem::take(&mut transit.head.headers);
    let origin = route.cors.as_ref().and_then(|_| origin_of(&headers)).cloned();
    let remembered = Remembered::of(&headers, origin, &transit.facts);
    let facts = &transit.facts;
    let target = facts.target.as_ref()?;
    let snapshot = &facts.loaded.snapshot;
    let passing = facts
        .route
        .and_then(|id| Passing::of(route, snapshot.trailers.get(id.index()), remembered.content_type(), &headers));
    let identity = identity_values(worker, transit);
    let identity = match asserted(worker, transit)? {
        Some(assertion) => Some(identity.unwrap_or_default().asserted(Some(assertion))),
        None => identity,
    };
    let forward_credentials =
        route.forward_credentials || snapshot.policy.authentication(facts.route?) == AuthenticationRule::None;
    let forwarding = Forwarding {
        client: facts.client_address(),
        peer: facts
            .connection
            .written
            .as_ref()
            .filter(|_| facts.client_address().ip() == Some(facts.connection.peer.ip())),
        proxies: facts.client.as_ref().map(|derived| derived.proxies.as_slice()).unwrap_or_default(),
        scheme: facts.scheme,
        request_id: facts.shown_id()?,
        identity: identity.as_ref(),
        forward_credentials,
        rules: route.request_headers.as_deref(),
        host: route.upstream_host.as_ref(),
        stripped_prefix: route.stripped_prefix.as_ref(),
        via: snapshot.settings.forwarding.via.as_ref().map(|via| via.of(transit.head.version)),
    };
    let trace = snapshot.settings.forwarding.trace;
    if remembered.has_trace() || trace == TraceMode::Begin {
        propagate(&mut headers, trace, facts.id);
    }
    prepare_request(&mut headers, &snapshot.headers, &forwarding);
    if let Some(introduction) = &route.operators {
        introduction.write(&mut headers, facts.verified()?, facts.client_address().ip())?;
    }
    let mut request = Request::new(body);
    *request.method_mut() = target.method.clone();
    *request.uri_mut() = uri;
    if let Some(passing) = &passing {
        passing.announce_up(&mut headers);
        request.extensions_mut().insert(passing.trailers.clone());
    }
    *request.headers_mut() = headers;
    Some(Prepared { request, remembered, passing })
}

/// What the upstream is told about the principal, as far as the configuration asks for it.
fn identity_values(worker: &Worker, transit: &Transit) -> Option<IdentityValues> {
    let snapshot = &transit.facts.loaded.snapshot;
    let names = &snapshot.settings.identity_headers;
    let wanted = names.user.is_some() || names.groups.is_some() || names.roles.is_some() || names.email.is_some();
    let Some(Identity::Verified(principal)) = transit.facts.identity.as_ref().filter(|_| wanted) else { return None };
    let roles = match transit.facts.access_request().filter(|_| names.roles.is_some()) {
        Some(request) => transit.facts.policy().0.effective_roles(&request),
        None => Vec::new(),
    };
    // What has no header is not looked at.
    let groups = if names.groups.is_some() { &*principal.groups } else { &[] };
    let values = IdentityValues::new(
        &principal.id,
        groups.iter().map(|group| &*group.name),
        roles.iter().map(|role| &**role),
        principal.email.as_deref(),
        names.max_size,
    );
    if values.is_cut() {
        worker.shared.metrics.headers_cut.fetch_add(1, Ordering::Relaxed);
    }
    Some(values)
}

/// The gateway's signed word of who calls, where that is configured; outside `None` where it cannot be given: then the request is not
/// forwarded without it.
#[expect(clippy::option_option, reason = "not wanted and not to be had are two things")]
fn asserted(worker: &Worker, transit: &Transit) -> Option<Option<HeaderValue>> {
    let facts = &transit.facts;
    let settings = &facts.loaded.snapshot.settings;
    let Some(assertions) = settings.assertions.as_deref().filter(|_| settings.identity_headers.assertion.is_some())
    else {
        return Some(None);
    };
    let upstream = facts.upstream?;
    let name = &settings.upstreams.get(upstream)?.name;
    let without_groups = &worker.shared.metrics.assertions_without_groups;
    facts.loaded.asserted.get(assertions, facts.verified(), (upstream, name), facts.now, without_groups).map(Some)
}

fn refusal_of(error: UpstreamError, transit: &Transit) -> Refusal {
    if error.kind != FaultKind::RequestBody {
        return Refusal::UpstreamFailed(error);
    }
    if let Some(route) = transit.facts.route_settings().filter(|_| is_too_large(&error)) {
        return Refusal::Malformed(too_large(&route.limits));
    }
    let of_stream = error.source().and_then(|source| source.downcast_ref()).map(|BodyBroken(problem)| *problem);
    let of_gate = || transit.facts.connection.gate.as_ref().and_then(|gate| gate.body_problem());
    let problem = of_stream.or_else(of_gate);
    Refusal::Malformed(match problem {
        Some(BodyProblem::TimedOut) => Malformation {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Malformation::new(ReasonCode::RequestTimeout, "the request's body stalled")
        },
        Some(BodyProblem::Malformed(detail)) => Malformation::new(ReasonCode::RequestMalformed, detail),
        Some(BodyProblem::Truncated) | None => Malformation::new(ReasonCode::RequestMalformed, error.detail),
    })
}
