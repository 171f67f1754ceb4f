//! More at once than the limits allow: the excess is told so at once, and what is served is served well.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};

use crate::harness::{Site, of_kind};

#[test]
fn requests_over_the_limit_get_503_and_an_event_each() {
    let upstream = Upstream::replying(Reply::echo().when_told());
    let mut site = Site::new(&upstream.url());
    // One for each of the two workers.
    site.add("[limits]\nmax_requests = 2\n");
    let gateway = site.start();
    let mut connections: Vec<_> = (0..16).map(|_| gateway.conn()).collect();
    connections.iter_mut().for_each(|connection| connection.send(request("GET", "/", &[], b"")));
    // Nobody who is served has an answer before all that are not have theirs.
    gateway.refusals(14);
    upstream.go_on();
    let answers: Vec<_> = connections.iter_mut().map(|connection| connection.answer()).collect();
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
    assert!((1..=2).contains(&served.len()), "{} were served", served.len());
    for answer in &refused {
        let event = gateway.check_refused("over the limit", answer, 503, "limit.overload");
        assert_eq!((event["decision"].as_str(), answer.header("retry-after")), (Some("throttle"), Some("1")));
    }
    // The same connections are served once there is room.
    for connection in connections.iter_mut().take(3) {
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 200);
    }
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), refused.len());
    assert!(of_kind(&events, "ban.created").is_empty(), "the gateway's own state is nobody's offence");
}

#[test]
fn a_queue_that_stands_is_shed_while_some_are_served_and_the_ops_listener_answers() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nshed_after = \"1ms\"\n");
    let gateway = site.start();
    let batch: Vec<u8> = (0..20).flat_map(|_| request("GET", "/", &[], b"")).collect();
    let (shed, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let shed_metric =
        "portcullis_decisions_total{decision=\"throttle\",reason=\"limit.overload\",route=\"\",stage=\"limit\"}";
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut connections: Vec<_> = (0..50).map(|_| gateway.conn()).collect();
                let began = Instant::now();
                while shed.load(Ordering::Relaxed) == 0 && began.elapsed() < PATIENCE {
                    connections.iter_mut().for_each(|connection| connection.send(&batch));
                    for connection in &mut connections {
                        for _ in 0..20 {
                            let answer = connection.answer();
                            match answer.status() {
                                200 => served.fetch_add(1, Ordering::Relaxed),
                                503 => {
                                    assert_eq!(answer.json()["reason"], "limit.overload");
                                    assert_eq!(answer.header("retry-after"), Some("1"));
                                    shed.fetch_add(1, Ordering::Relaxed)
                                }
                                other => panic!("{other}: {}", answer.text()),
                            };
                        }
                    }
                }
            });
        }
        let seen = wait::until(PATIENCE, || gateway.metric(shed_metric).filter(|shed| *shed > 0.0));
        assert!(seen.is_some(), "nothing was shed");
    });
    // The queue is gone, and so, soon, is the share that is refused.
    assert!(wait::until(PATIENCE, || (gateway.get("/", &[]).status() == 200).then_some(())).is_some());
    let (shed, served) = (shed.into_inner(), served.into_inner());
    assert!(shed > 0 && served > 0, "{shed} shed, {served} served");
    assert!(gateway.metric("portcullis_worker_wait_seconds{worker=\"1\"}").is_some());
    let events = gateway.stop();
    let refusals = of_kind(&events, "access.denied");
    assert!(refusals.len() >= shed, "{} events of {shed} refusals", refusals.len());
    let message = "what is ready waits longer than `shed_after` for the worker: some requests are shed";
    assert!(refusals.iter().all(|event| event["message"] == message));
}

#[test]
fn connections_over_the_limit_wait_until_there_is_room() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nmax_connections = 4\nkeep_alive_timeout = \"200ms\"\n");
    let gateway = site.start();
    let mut connections: Vec<_> = (0..40).map(|_| gateway.conn()).collect();
    connections.iter_mut().for_each(|connection| connection.send(request("GET", "/", &[], b"")));
    for connection in &mut connections {
        assert_eq!(connection.answer().status(), 200);
    }
    assert!(gateway.metric("portcullis_connections").is_some_and(|open| open <= 4.0));
}

#[test]
fn one_client_has_so_many_connections_and_others_are_not_touched() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nmax_connections_per_client = 3\n[client_address]\ntrusted_proxies = [\"127.0.0.8\"]\n");
    let gateway = site.start();
    let from = |source: &str| Conn::open_from(source.parse().unwrap(), gateway.address);
    let serves = |connection: &mut Conn| {
        let sent = connection.try_send(request("GET", "/", &[], b"")).is_ok();
        sent && connection.try_answer().is_ok_and(|answer| answer.status() == 200)
    };
    let check = |source: &str, served: usize| {
        let mut connections: Vec<_> = (0..12).map(|_| from(source)).collect();
        connections.retain_mut(|connection| serves(connection));
        assert_eq!(connections.len(), served, "{source}");
        connections
    };
    // Spread over both workers.
    let mut mine = check("127.0.0.1", 3);
    check("127.0.0.2", 3);
    check("127.0.0.8", 12);
    assert_eq!(gateway.metric("portcullis_connections_refused_total"), Some(18.0));
    assert!(mine.iter_mut().all(serves), "who is in stays in");
    // A place is free again when its connection is closed, in order or not.
    drop(mine.pop());
    mine.pop().unwrap().reset();
    for _ in 0..2 {
        let again = wait::until(PATIENCE, || {
            let mut connection = from("127.0.0.1");
            serves(&mut connection).then_some(connection)
        });
        mine.push(again.expect("a place became free"));
    }
    assert!(!serves(&mut from("127.0.0.1")));
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty(), "nobody asked for anything");
}

#[test]
fn over_ipv6_a_client_is_a_64() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.listen_with("proxy_protocol = true");
    site.listen_on("[::1]:0".parse().unwrap());
    // A machine has one loopback address of IPv6. Whoever else it is to be, a trusted proxy says.
    site.add("[limits]\nmax_connections_per_client = 2\n[client_address]\ntrusted_proxies = [\"::1\"]\n");
    let gateway = site.start();
    let serves = |connection: &mut Conn| {
        let sent = connection.try_send(request("GET", "/", &[], b"")).is_ok();
        sent && connection.try_answer().is_ok_and(|answer| answer.status() == 200)
    };
    let of = |client: &str| {
        let mut connection = gateway.conn();
        connection.send(format!("PROXY TCP6 {client} ::1 4711 443\r\n"));
        serves(&mut connection).then_some(connection)
    };
    let mut held: Vec<Conn> =
        ["2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"].map(|client| of(client).unwrap()).into();
    for same in ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:8000::"] {
        assert!(of(same).is_none(), "{same}");
    }
    held.push(of("2001:db8:0:2::1").expect("the next /64 is another client"));
    held.push(of("2001:db8::1").expect("and so is the one before"));
    // An IPv4 address in the form of IPv6 is that address, not one of a network that all of them share.
    for client in ["::ffff:192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"] {
        held.push(of(client).unwrap());
    }
    assert!(of("::ffff:192.0.2.1").is_none());
    drop(held.remove(0));
    let again = wait::until(PATIENCE, || of("2001:db8:0:1::3"));
    assert!(again.is_some(), "a place became free");
}

#[test]
fn over_ipv6_the_peer_itself_is_counted() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.listen_on("[::1]:0".parse().unwrap());
    site.add("[limits]\nmax_connections_per_client = 2\n");
    let gateway = site.start();
    let mut connections: Vec<Conn> = (0..6).map(|_| gateway.conn()).collect();
    connections.retain_mut(|connection| {
        let sent = connection.try_send(request("GET", "/", &[], b"")).is_ok();
        sent && connection.try_answer().is_ok_and(|answer| answer.status() == 200)
    });
    assert_eq!(connections.len(), 2);
}

#[test]
fn a_caller_that_goes_away_takes_its_request_along_and_makes_no_event() {
    let upstream = Upstream::replying(Reply::hang());
    let gateway = Site::new(&upstream.url()).start();
    let mut gone = gateway.conn();
    gone.send(request("GET", "/", &[], b""));
    upstream.wait_for_requests(1);
    gone.reset();
    upstream.wait_for_open_connections(0);
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty(), "nobody was refused");
}
