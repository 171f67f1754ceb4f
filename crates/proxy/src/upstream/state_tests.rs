//! What all workers know of an upstream, as cases.

use super::*;
use crate::settings::Endpoint;

fn state(endpoints: u16) -> UpstreamState {
    let endpoints = (1..=endpoints).map(|port| Endpoint::http("127.0.0.1", port)).collect();
    UpstreamState::new(&UpstreamSettings {
        ejection: Some(EjectionSettings {
            failures: 2,
            first: Duration::from_secs(10),
            longest: Duration::from_secs(30),
            max_share_percent: 50,
        }),
        ..UpstreamSettings::new("test", endpoints)
    })
}

fn ejected(state: &UpstreamState) -> Vec<usize> {
    (0..state.endpoints.len()).filter(|place| !state.is_available(*place, Instant::now())).collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_in_a_row_is_ejected_for_longer_each_time() {
    let state = state(2);
    let fail = |times| (0..times).for_each(|_| state.exchange_failed(0, FaultKind::Protocol));
    fail(1);
    state.answered(0, StatusCode::NOT_FOUND);
    fail(1);
    assert_eq!(ejected(&state), [0; 0]);
    fail(1);
    assert_eq!(ejected(&state), [0]);
    for wait in [10, 20, 30, 30] {
        tokio::time::advance(Duration::from_millis(wait * 1_000 - 2)).await;
        assert_eq!(ejected(&state), [0], "{wait}");
        tokio::time::advance(Duration::from_millis(4)).await;
        assert_eq!(ejected(&state), [0; 0], "{wait}");
        fail(1);
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    state.answered(0, StatusCode::OK);
    fail(2);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(ejected(&state), [0; 0], "after it had worked it begins with the first wait");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_checks_fail_is_out_until_they_succeed() {
    let state = state(2);
    state.went_down(1, &"refused");
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    assert_eq!(ejected(&state), [1]);
    let report = |state: &UpstreamState| state.endpoints().map(|it| (it.ejected, it.down)).collect::<Vec<_>>();
    assert_eq!(report(&state), [(false, false), (false, true)]);
    // It may get requests nevertheless, where no other is better: they neither eject it nor let it in.
    (0..10).for_each(|_| state.exchange_failed(1, FaultKind::Protocol));
    state.answered(1, StatusCode::OK);
    assert_eq!(ejected(&state), [1]);
    state.came_up(1);
    assert_eq!(ejected(&state), [0; 0]);
    state.came_up(1);
    (0..2).for_each(|_| state.exchange_failed(1, FaultKind::Protocol));
    assert_eq!(ejected(&state), [1]);
    state.came_up(1);
    assert_eq!(ejected(&state), [1], "good checks do not end what requests have brought about");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_a_tenth_first_and_more_with_the_time() {
    let endpoints = vec![Endpoint::http("127.0.0.1", 1), Endpoint::http("127.0.0.1", 2)];
    let settings = UpstreamSettings { slow_start: Duration::from_secs(10), ..UpstreamSettings::new("test", endpoints) };
    let state = UpstreamState::new(&settings);
    let warmth = || (state.warmth(0, Instant::now()), state.warmth(1, Instant::now()));
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(warmth(), (1_000, 1_000));
    state.went_down(0, &"refused");
    state.came_up(0);
    for expected in [100, 200, 400, 600, 800, 1_000, 1_000] {
        assert_eq!(warmth(), (expected, 1_000));
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    // After an ejection its end counts.
    (0..5).for_each(|_| state.exchange_failed(1, FaultKind::Protocol));
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(warmth(), (1_000, 500));
    let never = UpstreamState::new(&UpstreamSettings { slow_start: Duration::ZERO, ..settings });
    never.went_down(0, &"refused");
    never.came_up(0);
    assert_eq!(never.warmth(0, Instant::now()), 1_000);
}

#[test]
fn no_more_requests_are_under_way_than_may() {
    let endpoints = vec![Endpoint::http("127.0.0.1", 1)];
    let settings = UpstreamSettings { max_requests: Some(2), ..UpstreamSettings::new("test", endpoints) };
    let state = Arc::new(UpstreamState::new(&settings));
    let (first, _second) = (state.enter().unwrap(), state.enter().unwrap());
    for _ in 0..3 {
        assert_eq!(state.enter().unwrap_err().kind, FaultKind::Busy);
    }
    assert_eq!(state.under_way(), Some(2));
    drop(first);
    assert!(state.enter().is_ok());
    assert_eq!(state.under_way(), Some(1));
    let any = Arc::new(UpstreamState::new(&UpstreamSettings { max_requests: None, ..settings }));
    assert_eq!(any.under_way(), None);
    assert!((0..1_000).all(|_| any.enter().is_ok_and(|admitted| admitted.is_none())));
}

#[tokio::test]
async fn what_ejects_is_the_upstreams_fault_and_never_all_of_its_endpoints() {
    let check = |endpoints: u16, fault: &dyn Fn(&UpstreamState, usize), expected: &[usize]| {
        let state = state(endpoints);
        (0..usize::from(endpoints)).for_each(|place| (0..3).for_each(|_| fault(&state, place)));
        assert_eq!(ejected(&state), expected, "{endpoints}");
    };
    let answer = |status| move |state: &UpstreamState, place| state.answered(place, status);
    check(1, &answer(StatusCode::BAD_GATEWAY), &[]);
    check(2, &answer(StatusCode::SERVICE_UNAVAILABLE), &[0]);
    check(3, &answer(StatusCode::GATEWAY_TIMEOUT), &[0]);
    check(4, &answer(StatusCode::BAD_GATEWAY), &[0, 1]);
    check(4, &answer(StatusCode::INTERNAL_SERVER_ERROR), &[]);
    check(4, &|state, place| state.exchange_failed(place, FaultKind::Unreachable), &[0, 1]);
    check(4, &|state, place| state.exchange_failed(place, FaultKind::RequestBody), &[]);
}

#[test]
fn retries_are_a_share_of_the_requests() {
    let check = |percent, requests, expected| {
        let budget = RetryBudget::new(percent);
        let retried = (0..requests).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retried.count(), expected, "{percent} % of {requests}");
    };
    check(20, 1, 1);
    check(20, 100, 21);
    check(0, 100, 0);
    check(100, 100, 100);
    let budget = RetryBudget::new(20);
    (0..10_000).for_each(|_| budget.earn());
    assert_eq!((0..100).filter(|_| budget.spend()).count(), 20, "what is saved is bounded");
}

#[test]
fn a_keep_alive_timeout_is_read() {
    let check = |value: &str, expected: Option<u64>| {
        assert_eq!(keep_alive_timeout(value.as_bytes()), expected.map(Duration::from_millis), "{value}");
    };
    check("timeout=5", Some(4_000));
    check("max=100, Timeout=10", Some(8_000));
    check("timeout=0", Some(0));
    check("timeout=", None);
    check("timeout=-1", None);
    check("max=5", None);
    check("", None);
}

#[test]
fn a_reload_keeps_the_state_of_what_did_not_change() {
    let states = UpstreamStates::default();
    let settings = UpstreamSettings::new("a", vec![Endpoint::http("127.0.0.1", 1)]);
    let first = states.of(&settings);
    assert!(Arc::ptr_eq(&first, &states.of(&settings)));
    let changed = UpstreamSettings { max_idle: 1, ..settings };
    assert!(!Arc::ptr_eq(&first, &states.of(&changed)));
    states.of(&UpstreamSettings::new("b", Vec::new()));
    states.retain(&[changed]);
    assert_eq!(states.all().iter().map(|state| state.name().to_string()).collect::<Vec<_>>(), ["a"]);
}
