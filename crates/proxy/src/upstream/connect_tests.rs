//! Turns, weights, and connections that are not to be had.

use super::*;
use crate::upstream::tests::closed_port;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

async fn connect(endpoints: &[(&str, u16)]) -> (Endpoints, Result<Stream, UpstreamError>) {
    let list = endpoints.iter().map(|(host, port)| Endpoint::http(*host, *port)).collect();
    let endpoints = endpoints_of(list);
    let end = after(Instant::now(), Duration::from_secs(5));
    let stream = endpoints.connect(endpoints.choose(Instant::now()), Duration::from_secs(5), end).await;
    (endpoints, stream.map(|(stream, _)| stream))
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn endpoints_of(list: Vec<Endpoint>) -> Endpoints {
    let settings = UpstreamSettings::new("test", list);
    Endpoints::new(&settings, Arc::new(UpstreamState::new(&settings)))
}

fn port_of(stream: &Stream) -> u16 {
    let Stream::Tcp(stream) = stream else { panic!("{stream:?}") };
    stream.peer_addr().unwrap().port()
}

#[tokio::test]
async fn a_refusing_endpoint_is_passed_over() {
    let (_open, port) = listener().await;
    let (_held, closed) = closed_port();
    let (_, stream) = connect(&[("127.0.0.1", closed), ("127.0.0.1", port)]).await;
    assert_eq!(port_of(&stream.unwrap()), port);
}

#[tokio::test]
async fn endpoints_take_turns() {
    let ((_a, port_a), (_b, port_b)) = (listener().await, listener().await);
    let (endpoints, first) = connect(&[("127.0.0.1", port_a), ("127.0.0.1", port_b)]).await;
    let end = after(Instant::now(), Duration::from_secs(5));
    let second = endpoints.connect(endpoints.choose(Instant::now()), Duration::from_secs(5), end).await;
    assert_eq!(port_of(&first.unwrap()), port_a);
    assert_eq!(port_of(&second.unwrap().0), port_b);
}

#[tokio::test]
async fn no_endpoint_that_listens_is_unreachable() {
    let ((_held, closed), (_held_too, another)) = (closed_port(), closed_port());
    let (_, stream) = connect(&[("127.0.0.1", closed), ("127.0.0.1", another)]).await;
    assert_eq!(stream.unwrap_err().kind, FaultKind::Unreachable);
}

#[tokio::test]
async fn a_name_is_resolved() {
    let (_open, port) = listener().await;
    let (_, stream) = connect(&[("localhost", port)]).await;
    assert!(stream.is_ok());
}

#[tokio::test]
async fn who_has_less_to_do_is_chosen() {
    let now = Instant::now();
    let endpoints = endpoints_of((1..=2).map(|port| Endpoint::http("127.0.0.1", port)).collect());
    let choices = |count| (0..count).map(|_| endpoints.choose(now)).collect::<Vec<_>>();
    assert_eq!(choices(4), [0, 1, 0, 1], "in turn while they have the same to do");
    let busy = endpoints.visit(0);
    assert_eq!(choices(4), [1; 4]);
    let busier = [endpoints.visit(1), endpoints.visit(1)];
    assert_eq!(choices(4), [0; 4]);
    drop((busy, busier));
    assert_eq!(choices(4), [0, 1, 0, 1]);
    let many = endpoints_of((1..=10).map(|port| Endpoint::http("127.0.0.1", port)).collect());
    let mut visits = Vec::new();
    for _ in 0..1_000 {
        let place = many.choose(now);
        visits.extend(many.visit(place).map(|visit| (place, visit)));
    }
    for place in 0..10 {
        let count = visits.iter().filter(|(chosen, _)| *chosen == place).count();
        assert!((95..=105).contains(&count), "{count} of 1000 at one of ten");
    }
}

fn weighted(weights: &[u32]) -> Endpoints {
    let each = |(port, weight): (u16, &u32)| Endpoint { weight: *weight, ..Endpoint::http("127.0.0.1", port) };
    endpoints_of((1..).zip(weights).map(each).collect())
}

#[tokio::test]
async fn turns_go_by_weight_as_evenly_as_can_be() {
    let check = |weights: &[u32], expected: &[usize]| assert_eq!(round(weights), expected, "{weights:?}");
    check(&[1, 1, 1], &[0, 1, 2]);
    check(&[7, 7], &[0, 1]);
    check(&[3, 1], &[0, 0, 1, 0]);
    check(&[2, 4, 2], &[1, 0, 2, 1]);
    check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
    check(&[100], &[0]);
    let now = Instant::now();
    for weights in [&[1, 3][..], &[2, 3, 5], &[1, 1, 10]] {
        let endpoints = weighted(weights);
        let all: u32 = weights.iter().sum();
        let mut visits = Vec::new();
        for _ in 0..all * 100 {
            let place = endpoints.choose(now);
            visits.extend(endpoints.visit(place).map(|visit| (place, visit)));
        }
        for (place, weight) in weights.iter().enumerate() {
            let count = visits.iter().filter(|(chosen, _)| *chosen == place).count() as f64;
            let share = count / f64::from(*weight);
            assert!((90.0..=110.0).contains(&share), "{count} at {place} of {weights:?}");
        }
    }
}

#[tokio::test]
async fn the_last_answer_of_the_resolver_stays_in_use_while_it_has_none() {
    let target = Target::new(&Endpoint::http("db.invalid", 1), &UpstreamSettings::new("test", Vec::new()));
    let now = Instant::now();
    let none = || io::Error::new(io::ErrorKind::NotFound, "no answer");
    assert!(target.settle(now, Err(none())).is_err());
    let first: Rc<[SocketAddr]> = vec!["10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap()].into();
    assert_eq!(target.settle(now, Ok(Rc::clone(&first))).unwrap(), first);
    assert_eq!(target.settle(now, Err(none())).unwrap(), first);
    assert_eq!(target.resolve(&"db.invalid".into(), 1).await.unwrap(), first, "used without asking again");
    let second: Rc<[SocketAddr]> = vec!["10.0.0.3:1".parse().unwrap()].into();
    assert_eq!(target.settle(now, Ok(Rc::clone(&second))).unwrap(), second);
    let starts: Vec<_> = (0..4).map(|_| target.in_turn(&first)[0].to_string()).collect();
    assert_eq!(starts, ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1"]);
    assert_eq!(target.in_turn(&first).len(), 2, "and the others stay behind it");
}

#[tokio::test]
async fn an_endpoint_that_came_back_is_chosen_less_often_at_first() {
    let list = (1..=2).map(|port| Endpoint::http("127.0.0.1", port)).collect();
    let settings = UpstreamSettings { slow_start: Duration::from_secs(60), ..UpstreamSettings::new("test", list) };
    let endpoints = Endpoints::new(&settings, Arc::new(UpstreamState::new(&settings)));
    endpoints.state.went_down(0, &"refused");
    endpoints.state.came_up(0);
    let now = Instant::now();
    let count = (0..1_000).filter(|_| endpoints.choose(now) == 0).count();
    assert!((20..=100).contains(&count), "{count} of 1000");
}

#[tokio::test]
async fn an_ejected_endpoint_is_passed_over_unless_nobody_else_is_there() {
    let endpoints = endpoints_of((1..=3).map(|port| Endpoint::http("127.0.0.1", port)).collect());
    (0..5).for_each(|_| endpoints.state.exchange_failed(1, FaultKind::Protocol));
    let now = Instant::now();
    for _ in 0..30 {
        assert_ne!(endpoints.choose(now), 1);
    }
    assert_eq!(endpoints.other(0, now), 2);
    let alone = endpoints_of(vec![Endpoint::http("127.0.0.1", 1)]);
    (0..50).for_each(|_| alone.state.exchange_failed(0, FaultKind::Protocol));
    assert_eq!(alone.choose(now), 0);
}

#[tokio::test]
async fn no_time_left_is_a_timeout() {
    let (_open, port) = listener().await;
    let endpoints = endpoints_of(vec![Endpoint::http("127.0.0.1", port)]);
    let error = endpoints.connect(0, Duration::from_secs(5), Instant::now()).await.unwrap_err();
    assert_eq!(error.kind, FaultKind::Timeout(TimeoutPhase::Connect));
}
