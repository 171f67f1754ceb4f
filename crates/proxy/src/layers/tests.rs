//! Each layer against a mock of what stands behind it.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use portcullis_events::{Capture, Recorder};
use portcullis_identity::Authenticator;
use portcullis_policy::{
    AssignmentDraft, AuthenticationRule, Decision, NetworkDraft, PermissionDraft, Placed, Policy, PolicyDraft,
    ResourceDraft, RoleDraft, RouteDraft, ScopeDraft,
};
use portcullis_risk::RiskEngine;
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

use crate::layers::assess::Assess;
use crate::layers::authorize::AuthorizeLayer;
use crate::layers::client_addr::ClientAddr;
use crate::layers::establish::{EstablishLayer, Refused};
use crate::layers::identify::IdentifyLayer;
use crate::layers::limit::LimitLayer;
use crate::layers::normalize::Normalize;
use crate::layers::respond::{RespondLayer, Withheld};
use crate::logged::Logged;
use crate::permitted::Permitted;
use crate::route::RouteAction;
use crate::settings::{
    ClientAddressSettings, Endpoint, ForwardingSettings, IdentityHeaders, Limits, RefusalSettings, RouteSettings,
    Settings, UpstreamSettings,
};
use crate::snapshot::{Shared, Snapshot};
use crate::staged::Staged;
use crate::transit::{ConnectionFacts, Facts, Transit};
use crate::upstream::headers::Scheme;
use crate::usage::UsageLanes;
use crate::worker::Worker;

/// A worker whose one route `open` asks for no credential, lets nobody from 192.0.2.0/24 come, and grants GET to anyone.
pub(crate) fn worker(limits: Limits) -> (Rc<Worker>, Capture) {
    let (recorder, capture) = Recorder::in_memory(16).unwrap();
    (worker_with(limits, recorder), capture)
}

/// A worker that records here.
pub(crate) fn worker_with(limits: Limits, recorder: Recorder) -> Rc<Worker> {
    let text = |value: &str| Placed::from(value.to_owned());
    let draft = PolicyDraft {
        routes: vec![RouteDraft { name: text("open"), paths: vec![text("/open/**")], ..RouteDraft::default() }],
        networks: vec![NetworkDraft {
            name: text("elsewhere"),
            prefixes: vec!["192.0.2.0/24".parse().unwrap()],
            unknown: false,
        }],
        resources: vec![ResourceDraft {
            route: text("open"),
            authentication: AuthenticationRule::Optional,
            deny: vec![text("elsewhere")],
            ..ResourceDraft::default()
        }],
        roles: vec![RoleDraft {
            name: text("reader"),
            permissions: vec![PermissionDraft { actions: vec![text("GET /open/**")], not_actions: Vec::new() }],
            ..RoleDraft::default()
        }],
        assignments: vec![AssignmentDraft {
            name: text("anyone-reads"),
            role: text("reader"),
            principals: vec![text("anyone")],
            scope: ScopeDraft::All,
            ..AssignmentDraft::default()
        }],
        ..PolicyDraft::default()
    };
    let (policy, _) = Policy::compile(&draft).unwrap();
    let settings = Settings {
        inbound: Vec::new(),
        upstreams: vec![UpstreamSettings::new("api", vec![Endpoint::http("127.0.0.1", 1)])],
        routes: vec![RouteSettings::new("open", RouteAction::Upstream(0))],
        client_address: ClientAddressSettings::default(),
        identity_headers: IdentityHeaders::default(),
        posture: None,
        assertions: None,
        forwarding: ForwardingSettings::default(),
        limits,
        refusal: RefusalSettings::default(),
        pages: None,
    };
    let authenticator = Authenticator::new(portcullis_identity::settings::Settings::default()).unwrap();
    let risk = RiskEngine::new(portcullis_risk::Settings::default());
    let shared = Shared::new(Snapshot::new(Arc::new(policy), settings, authenticator), risk, recorder);
    Worker::new(Arc::new(shared), 0, 1)
}

pub(crate) fn transit(worker: &Rc<Worker>, method: &str, target: &str, peer: &str) -> Box<Transit> {
    let request = Request::builder().method(method).uri(target).header("host", "api.test").body(()).unwrap();
    let (head, ()) = request.into_parts();
    let connection = ConnectionFacts::new(peer.parse().unwrap(), Scheme::Http, None);
    let facts = Facts::new(worker, Rc::new(connection));
    Box::new(Transit { head, body: Some(Either::Right(Either::Right(Full::default()))), facts })
}

/// A transit that has passed everything up to `authorize`.
pub(crate) fn assessed(worker: &Rc<Worker>, method: &str, target: &str, peer: &str) -> Box<Transit> {
    let mut inner = EstablishLayer::new(Normalize).layer(EstablishLayer::new(ClientAddr::new(worker)).layer(
        IdentifyLayer::new(worker).layer(EstablishLayer::new(Assess::new(worker)).layer(service_fn(give_back))),
    ));
    now(inner.call(transit(worker, method, target, peer))).map_err(|refused| refused.refusal).unwrap()
}

fn give_back(transit: Box<Transit>) -> Ready<Result<Box<Transit>, Box<Refused>>> {
    ready(Ok(transit))
}

pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn normalize_establishes_target_and_route_or_refuses() {
    let (worker, _) = worker(Limits::default());
    let mut layer = EstablishLayer::new(Normalize).layer(service_fn(give_back));
    let mut check = |target: &str, expected: Result<(&str, bool), &str>| {
        let seen = now(layer.call(transit(&worker, "GET", target, "203.0.113.7:1")));
        let seen = seen
            .map(|transit| (transit.facts.target.unwrap().uri.to_string(), transit.facts.route.is_some()))
            .map_err(|refused| refused.refusal.code().code());
        assert_eq!(seen, expected.map(|(uri, route)| (uri.to_owned(), route)), "{target}");
    };
    check("/open/a?x=1", Ok(("/open/a?x=1", true)));
    check("/%6Fpen/a", Ok(("/open/a", true)));
    check("http://api.test/open/a?x", Ok(("/open/a?x", true)));
    check("/other", Ok(("/other", false)));
    check("/open//a", Err("request.path_ambiguous"));
    check("/open/%2e%2e/a", Err("request.path_ambiguous"));
    check("*", Err("request.malformed"));
}

#[test]
fn client_addr_refuses_before_anybody_is_identified() {
    let (worker, _) = worker(Limits::default());
    let reached = Rc::new(Cell::new(0));
    let counting = Rc::clone(&reached);
    let inner = service_fn(move |transit| {
        counting.set(counting.get() + 1);
        give_back(transit)
    });
    let mut stack = EstablishLayer::new(Normalize).layer(EstablishLayer::new(ClientAddr::new(&worker)).layer(inner));
    let mut check = |target: &str, peer: &str, expected: Result<(), &str>| {
        let seen = now(stack.call(transit(&worker, "GET", target, peer)));
        assert_eq!(seen.map(|_| ()).map_err(|refused| refused.refusal.code().code()), expected, "{target} {peer}");
    };
    check("/open/a", "203.0.113.7:1", Ok(()));
    check("/open/a", "192.0.2.1:1", Err("ip.denied"));
    check("/nowhere", "203.0.113.7:1", Err("route.not_found"));
    assert_eq!(reached.get(), 1);
}

#[test]
fn authorize_wraps_what_it_permits_and_refuses_the_rest() {
    let (worker, _) = worker(Limits::default());
    let inner =
        service_fn(|permitted: Permitted<Box<Transit>>| ready(Ok::<_, Box<Refused>>(permitted.into_inner().facts.id)));
    let mut layer = AuthorizeLayer::new(&worker).layer(inner);
    let permitted = assessed(&worker, "GET", "/open/a", "203.0.113.7:1");
    let id = permitted.facts.id;
    assert_eq!(now(layer.call(permitted)).map_err(|refused| refused.refusal.code()), Ok(id));
    let mut refused = |transit| now(layer.call(transit)).map_err(|refused| refused.refusal.code().code()).unwrap_err();
    assert_eq!(refused(assessed(&worker, "POST", "/open/a", "203.0.113.7:1")), "authn.missing");
    let mut without_a_fact = assessed(&worker, "GET", "/open/a", "203.0.113.7:1");
    without_a_fact.facts.risk = None;
    assert_eq!(refused(without_a_fact), "internal.error");
    assert_eq!(refused(transit(&worker, "GET", "/open/a", "203.0.113.7:1")), "internal.error");
}

#[test]
fn limit_refuses_what_is_too_much_until_an_answer_has_ended() {
    let (worker, _) = worker(Limits { max_requests: 1, ..Limits::default() });
    let inner = service_fn(|_| ready(Ok::<_, Box<Refused>>(Response::new(Full::new(Bytes::from_static(b"x"))))));
    let mut layer = LimitLayer::new(&worker).layer(inner);
    let mut call = || now(layer.call(transit(&worker, "GET", "/open/a", "203.0.113.7:1")));
    let first = call().map_err(|refused| refused.refusal.code()).unwrap();
    assert_eq!(call().map(|_| ()).map_err(|refused| refused.refusal.code().code()), Err("limit.overload"));
    drop(now(first.into_body().collect()).unwrap());
    assert!(call().is_ok());
}

#[test]
fn respond_answers_a_refusal_with_a_problem_and_exactly_one_event() {
    let (worker, capture) = worker(Limits::default());
    let inner = EstablishLayer::new(Normalize)
        .layer(service_fn(|_| ready(Ok::<Response<Full<Bytes>>, Box<Refused>>(Response::default()))));
    let mut layer = RespondLayer::new(&worker).layer(inner);
    let request = transit(&worker, "GET", "/open//a?secret=1", "203.0.113.7:1");
    let id = request.facts.id.to_string();
    let response = answer(now(layer.call(request)));
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers().get("x-request-id"), HeaderValue::from_str(&id).ok().as_ref());
    assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
    let body = now(response.into_body().collect()).unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["reason"], "request.path_ambiguous");
    assert_eq!(problem["instance"], format!("urn:uuid:{id}"));
    let events = capture.wait_for(1, std::time::Duration::from_secs(5));
    let event: serde_json::Value = serde_json::from_str(&capture.lines()[0]).unwrap();
    assert_eq!(
        (capture.lines().len(), event["id"].as_str(), event["status"].as_u64()),
        (1, Some(id.as_str()), Some(400)),
        "{events:?}"
    );
    assert!(!capture.lines()[0].contains("secret"));
}

#[test]
fn respond_turns_a_panic_into_500_and_an_event_and_goes_on() {
    let (worker, capture) = worker(Limits::default());
    for when in ["in the call", "while waiting"] {
        let inner = service_fn(move |_| {
            assert!(when != "in the call", "on purpose");
            async { panic!("on purpose") }
        });
        let mut layer = RespondLayer::new(&worker).layer(inner);
        let response: Response<Logged<Either<Full<Bytes>, Full<Bytes>>>> =
            answer(now(layer.call(transit(&worker, "GET", "/open/a", "203.0.113.7:1"))));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{when}");
    }
    capture.wait_for(2, std::time::Duration::from_secs(5));
    assert_eq!(capture.lines().iter().filter(|line| line.contains("internal.error")).count(), 2);
    assert_eq!(worker.shared.metrics.panics.load(std::sync::atomic::Ordering::Relaxed), 2);
}

fn answer<T>(result: Result<T, Withheld>) -> T {
    result.unwrap()
}

#[test]
fn what_is_used_under_a_version_that_is_rolled_out_counts_for_both() {
    let (worker, _) = worker(Limits::default());
    let lanes = UsageLanes::new(1);
    let counting = lanes.counting(0).unwrap();
    let text = |value: &str| Placed::from(value.to_owned());
    // What all might read is now this alone.
    let narrower = PolicyDraft {
        routes: vec![RouteDraft { name: text("open"), paths: vec![text("/open/**")], ..RouteDraft::default() }],
        resources: vec![ResourceDraft {
            route: text("open"),
            authentication: AuthenticationRule::Optional,
            ..ResourceDraft::default()
        }],
        roles: vec![RoleDraft {
            name: text("reader"),
            permissions: vec![PermissionDraft { actions: vec![text("GET /open/a")], not_actions: Vec::new() }],
            ..RoleDraft::default()
        }],
        assignments: vec![AssignmentDraft {
            name: text("anyone-reads"),
            role: text("reader"),
            principals: vec![text("anyone")],
            scope: ScopeDraft::All,
            ..AssignmentDraft::default()
        }],
        ..PolicyDraft::default()
    };
    let policy = Arc::new(Policy::compile(&narrower).unwrap().0);
    worker.shared.stage(Some(Arc::new(Staged::new(policy, [7; 16], 1_000_000))));
    for target in ["/open/a", "/open/a", "/open/b"] {
        let mut transit = assessed(&worker, "GET", target, "198.51.100.7:1");
        transit.facts.by_staged = true;
        let facts = &transit.facts;
        let (decision, used) = facts.policy().0.decide_noting(&facts.access_request().unwrap());
        assert_eq!(matches!(decision, Decision::Permit(_)), target == "/open/a");
        counting.note_staged(facts, &decision, used);
    }
    counting.hand_over();
    let mut permitted = Vec::new();
    lanes.take(|used| {
        for each in used.uses.iter().filter(|each| each.permitted) {
            let words = used.policy.used_words(each.action).unwrap();
            permitted.push((words.action.to_string(), each.times));
        }
        assert_eq!((used.missed, used.addresses.iter().all(|(_, times)| *times == 0)), (0, true));
    });
    // Of the one in force it was in use, and not twice as often.
    permitted.sort_unstable();
    assert_eq!(permitted, [("GET /open/**".to_owned(), 0), ("GET /open/a".to_owned(), 2)]);
}
