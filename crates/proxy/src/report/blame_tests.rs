//! Whose doing a refusal is: both sides of each excuse.

use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use portcullis_identity::Identity;
use portcullis_policy::*;
use portcullis_risk::Blame;
use tower::service_fn;
use tower_layer::Layer as _;
use tower_service::Service as _;

use crate::before::COUNTS_FOR;
use crate::layers::authorize::AuthorizeLayer;
use crate::layers::establish::Refused;
use crate::layers::tests::{assessed, now, worker};
use crate::lending::LentTo;
use crate::permitted::Permitted;
use crate::settings::Limits;
use crate::transit::Transit;
use crate::worker::Worker;

fn minutes_ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// Who may write or read, each named after its assignment.
fn policy(sha256: &str, assignments: Vec<AssignmentDraft>) -> Arc<Policy> {
    let draft = PolicyDraft {
        sha256: sha256.into(),
        routes: vec![RouteDraft::new("open", ["/open/**"])],
        roles: vec![RoleDraft::new("reader", ["GET /open/**"]), RoleDraft::new("writer", ["POST /open/**"])],
        assignments,
        ..PolicyDraft::default()
    };
    Arc::new(Policy::compile(&draft).unwrap().0)
}

fn reads(who: &str) -> AssignmentDraft {
    AssignmentDraft::new("reads", "reader", [who])
}

fn eligible(who: &str) -> AssignmentDraft {
    AssignmentDraft { activation: Some(ActivationRules::of(3_600)), ..AssignmentDraft::new("on-call", "writer", [who]) }
}

/// A worker that serves this, and nothing was in force before that permits anything.
fn serving(present: Arc<Policy>) -> Rc<Worker> {
    let (worker, _) = worker(Limits::default());
    put(&worker, policy("nothing", Vec::new()));
    worker.shared.before.sweep(Instant::now() + 2 * COUNTS_FOR);
    put(&worker, present);
    worker
}

fn put(worker: &Worker, policy: Arc<Policy>) {
    let next = worker.shared.snapshot().load().with_policy(policy).compiled_around("routes");
    worker.shared.replace(next);
}

/// Somebody had this until then.
fn ended(worker: &Worker, who: &str, gives: &str, until: Timestamp) {
    let activation = Activation { gives: Lent::parse(gives), until, note: Box::default() };
    let lent = LentTo { kind: PrincipalKind::User, id: who.into(), activation, deadline: Timestamp::MIN };
    worker.shared.lending.replace(Vec::new(), vec![lent]);
}

/// Whose doing it is that this request is refused.
#[track_caller]
fn blamed(worker: &Rc<Worker>, who: &str, method: &str) -> Blame {
    let mut transit = assessed(worker, method, "/open/a", "203.0.113.7:1");
    transit.facts.identity = Some(Identity::Verified(Arc::new(Principal::user(who))));
    let inner = service_fn(|_: Permitted<Box<Transit>>| ready(Ok::<(), Box<Refused>>(())));
    let refused = now(AuthorizeLayer::new(worker).layer(inner).call(transit)).expect_err("it is refused");
    let Refused { refusal, transit } = *refused;
    worker.blame(&transit.facts, &refusal, refusal.code())
}

#[track_caller]
fn check(worker: &Rc<Worker>, rows: &[(&str, &str, Blame)]) {
    for (who, method, expected) in rows {
        assert_eq!(blamed(worker, who, method), *expected, "{who} {method}");
    }
}

#[test]
fn an_activation_that_ended_excuses_its_holder_from_what_it_gave_and_for_a_while() {
    let worker = serving(policy("p", vec![eligible("user:alice"), reads("user:alice")]));
    check(&worker, &[("alice", "POST", Blame::Caller)]);
    ended(&worker, "alice", "on-call", minutes_ago(5));
    check(
        &worker,
        &[("alice", "POST", Blame::Gateway), ("alice", "DELETE", Blame::Caller), ("bob", "POST", Blame::Caller)],
    );
    ended(&worker, "bob", "on-call", minutes_ago(5));
    check(&worker, &[("bob", "POST", Blame::Caller), ("alice", "POST", Blame::Caller)]);
    ended(&worker, "bob", "role:writer,open", minutes_ago(5));
    check(&worker, &[("bob", "POST", Blame::Gateway)]);
    ended(&worker, "alice", "on-call", minutes_ago(16));
    check(&worker, &[("alice", "POST", Blame::Caller)]);
}

#[test]
fn an_assignment_that_expired_excuses_whom_it_named_for_a_while() {
    for (minutes, expected) in [(0, Blame::Gateway), (14, Blame::Gateway), (16, Blame::Caller)] {
        let expired = AssignmentDraft { expires: Some(minutes_ago(minutes)), ..reads("user:alice") };
        let worker = serving(policy("p", vec![expired]));
        check(&worker, &[("alice", "GET", expected), ("alice", "POST", Blame::Caller), ("bob", "GET", Blame::Caller)]);
    }
}

#[test]
fn what_was_in_force_before_excuses_whom_it_let_in_also_where_nothing_changed_since() {
    let worker = serving(policy("p", vec![reads("user:alice")]));
    put(&worker, policy("q", Vec::new()));
    for _ in 0..9 {
        put(&worker, policy("q", Vec::new()));
    }
    let rows = [("alice", "GET", Blame::Gateway), ("alice", "POST", Blame::Caller), ("bob", "GET", Blame::Caller)];
    check(&worker, &rows);
    // Of an earlier process, too.
    for (minutes, expected) in [(0, Blame::Gateway), (14, Blame::Gateway), (16, Blame::Caller)] {
        let worker = serving(policy("q", Vec::new()));
        check(&worker, &[("alice", "GET", Blame::Caller)]);
        worker.shared.was_replaced(policy("p", vec![reads("user:alice")]), None, minutes_ago(minutes));
        check(&worker, &[("alice", "GET", expected), ("bob", "GET", Blame::Caller)]);
    }
}

/// The change takes the assignment away, and so ends what was activated of it: what the policy of then gave counts as it was when it was replaced.
#[test]
fn power_that_ended_with_a_change_excuses_whoever_had_it_then() {
    for (minutes, expected) in [(5, Blame::Gateway), (10, Blame::Caller)] {
        let worker = serving(policy("q", Vec::new()));
        worker.shared.was_replaced(policy("p", vec![eligible("user:alice")]), None, minutes_ago(6));
        ended(&worker, "alice", "on-call", minutes_ago(minutes));
        check(&worker, &[("alice", "POST", expected), ("bob", "POST", Blame::Caller)]);
    }
}
