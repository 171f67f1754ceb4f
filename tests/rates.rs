//! How often, and how much at once: by address before anybody is identified, by principal after it, by route for what is
//! permitted, and each exactly as it is written.

use std::time::Duration;

use portcullis_testkit::tokens::{SigningKey, with_flipped_signature};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Answer, request};
use serde_json::json;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims, of_kind};

/// A site whose one route has these limits.
fn limited(upstream: &Upstream, limits: &str) -> Site {
    let mut site = Site::without_route(&upstream.url());
    site.add(&format!("[[route]]\nname = \"app\"\nupstream = \"app\"\n{limits}\n"));
    site
}

#[track_caller]
fn check_throttled(gateway: &Gateway, what: &str, answer: &Answer, limit: &str, key: &str) -> serde_json::Value {
    let event = gateway.check_refused(what, answer, 429, "limit.rate");
    let after: u64 = answer.header("retry-after").expect("a 429 says when").parse().unwrap();
    assert!(after >= 1, "{what}");
    assert_eq!((&event["decision"], &event["remedy"]["retry_after_s"]), (&json!("throttle"), &json!(after)), "{what}");
    let check = &event["checks"][0];
    assert_eq!((&check["name"], &check["outcome"], &check["value"]), (&json!("rate"), &json!("fail"), &json!(key)));
    let expected = format!("over {limit}; free in {after} s");
    assert_eq!(check["detail"], expected, "{what}");
    event
}

#[test]
fn an_address_gets_its_burst_over_all_workers_and_no_more_and_others_are_not_touched() {
    let upstream = Upstream::start();
    let site = limited(&upstream, "rate_limit = { per = \"address\", requests = 10, window = \"1h\", burst = 6 }");
    let gateway = site.start();
    for taken in 1..=6 {
        // Each on a connection of its own, so that both workers take part.
        let answer = gateway.get("/", &[]);
        assert_eq!(answer.status(), 200, "{taken}");
        let (left, reset_s) = answer.header("ratelimit").and_then(|field| field.split_once(";t=")).unwrap();
        assert_eq!(left, format!("\"address\";r={}", 6 - taken));
        let reset_s: u64 = reset_s.parse().unwrap();
        // What is left must not look faster than 10 in an hour.
        let pace = 360 * (6 - taken);
        assert!((pace.max(360 * (taken - 1) + 1)..=pace.max(360 * taken)).contains(&reset_s), "{taken}: {reset_s}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"address\";q=10;w=3600"));
    }
    for _ in 0..5 {
        let refused = gateway.get("/", &[]);
        check_throttled(&gateway, "over", &refused, "10 requests in 1h per address (burst 6)", "127.0.0.1");
        let told = refused.header("retry-after").unwrap();
        assert_eq!(refused.header("ratelimit"), Some(&*format!("\"address\";r=0;t={told}")), "one moment, said twice");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"address\";q=10;w=3600"));
    }
    assert_eq!(gateway.get_from("127.0.0.9", "/", &[]).status(), 200);
    assert_eq!(upstream.requests().len(), 7);
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), 5, "one event for each refusal");
}

#[test]
fn behind_a_trusted_proxy_each_client_counts_and_whom_nobody_can_read_counts_as_the_proxy() {
    let upstream = Upstream::start();
    let mut site = limited(&upstream, "rate_limit = { per = \"address\", requests = 1, window = \"1h\" }");
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let gateway = site.start();
    let limit = "1 requests in 1h per address (burst 1)";
    let check = |forwarded: &str, throttled_as: Option<&str>| {
        let answer = gateway.get("/", &[("x-forwarded-for", forwarded)]);
        match throttled_as {
            None => assert_eq!(answer.status(), 200, "{forwarded}"),
            Some(key) => drop(check_throttled(&gateway, forwarded, &answer, limit, key)),
        }
    };
    check("192.0.2.1", None);
    check("192.0.2.2", None);
    check("192.0.2.1", Some("192.0.2.1"));
    check("::ffff:192.0.2.2", Some("192.0.2.2"));
    check("198.51.100.7, 192.0.2.1", Some("192.0.2.1"));
    // An IPv6 client has a whole /64 to choose addresses from.
    check("2001:db8:1:2::1", None);
    check("2001:db8:1:3::1", None);
    check("2001:db8:1:2:ffff::7", Some("2001:db8:1:2::/64"));
    // Who cannot be read is nobody new each time.
    check("garbage", None);
    check("more garbage", Some("127.0.0.1"));
    check("unknown", Some("127.0.0.1"));
}

#[test]
fn a_flood_of_bad_tokens_is_stopped_before_they_are_looked_at() {
    let upstream = Upstream::start();
    let key = SigningKey::es256("k");
    let mut site = limited(&upstream, "rate_limit = { per = \"address\", requests = 3, window = \"1h\" }");
    site.accept_tokens(&[&key], "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let bad = format!("Bearer {}", with_flipped_signature(&key.token(&claims("u"))));
    let good = bearer(&key, &claims("u"));
    for _ in 0..3 {
        let answer = gateway.get("/", &[("Authorization", &bad)]);
        gateway.check_refused("a bad token", &answer, 401, "authn.invalid");
        assert!(
            answer.header("ratelimit").is_some(),
            "refused for another reason, it is told what is left all the same"
        );
    }
    for credential in [&bad, &good] {
        let refused = gateway.get("/", &[("Authorization", credential)]);
        let limit = "3 requests in 1h per address (burst 3)";
        let event = check_throttled(&gateway, credential, &refused, limit, "127.0.0.1");
        assert_eq!(event["identity"]["id"], json!(null), "nobody looked at it");
    }
    assert_eq!(gateway.get_from("127.0.0.9", "/", &[("Authorization", &good)]).status(), 200);
}

#[test]
fn a_principal_has_one_quota_wherever_it_comes_from_and_the_nameless_count_by_address() {
    let upstream = Upstream::start();
    let mut site = limited(&upstream, "rate_limit = { per = \"principal\", requests = 2, window = \"1h\" }");
    let alice = site.key("alice", "user:alice", "");
    let bob = site.key("bob", "user:bob", "");
    let gateway = site.start();
    let from = |source: &str, key: Option<&str>| {
        let headers: Vec<_> = key.map(|key| ("x-api-key", key)).into_iter().collect();
        gateway.get_from(source, "/", &headers)
    };
    let limit = "2 requests in 1h per principal (burst 2)";
    let check = |source: &str, key: Option<&str>, who: &str| {
        for used in 0..2 {
            assert_eq!(from(source, key).status(), 200, "{who} {used}");
        }
        check_throttled(&gateway, who, &from(source, key), limit, who);
    };
    check("127.0.0.1", Some(&alice), "user:alice");
    check_throttled(&gateway, "elsewhere", &from("127.0.0.2", Some(&alice)), limit, "user:alice");
    check("127.0.0.1", Some(&bob), "user:bob");
    check("127.0.0.1", None, "127.0.0.1");
    check("127.0.0.2", None, "127.0.0.2");
    // Whoever makes up a credential is nobody: it counts by address, too.
    check_throttled(&gateway, "made up", &from("127.0.0.2", Some("pcl_x_y_z")), limit, "127.0.0.2");
}

#[test]
fn only_what_is_permitted_uses_up_a_route() {
    let upstream = Upstream::start();
    let mut site = limited(&upstream, "rate_limit = { per = \"route\", requests = 2, window = \"1h\" }");
    let key = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    for _ in 0..10 {
        gateway.check_refused("nobody", &gateway.get("/", &[]), 401, "authn.missing");
    }
    for source in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(gateway.get_from(source, "/", &[("x-api-key", &key)]).status(), 200);
    }
    let limit = "2 requests in 1h per route (burst 2)";
    let event = check_throttled(&gateway, "over", &gateway.get("/", &[("x-api-key", &key)]), limit, "the route app");
    assert_eq!(event["identity"]["id"], "alice");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn several_limits_hold_together_and_who_waits_is_let_in() {
    let upstream = Upstream::start();
    let site = limited(
        &upstream,
        "rate_limit = [{ per = \"route\", requests = 100, window = \"1h\" }, \
         { per = \"address\", requests = 100, window = \"10s\", burst = 1 }, \
         { per = \"address\", requests = 1000, window = \"1h\" }]",
    );
    let gateway = site.start();
    let answer = gateway.get("/", &[]);
    let policy = "\"address\";q=100;w=10, \"address-2\";q=1000;w=3600, \"route\";q=100;w=3600";
    assert_eq!(answer.header("ratelimit-policy"), Some(policy));
    assert_eq!(
        answer.header("ratelimit"),
        Some("\"address\";r=0;t=1, \"address-2\";r=999;t=3597, \"route\";r=99;t=3564"),
        "rounded up"
    );
    // One comes back every 100 ms.
    let again = wait::until(PATIENCE, || (gateway.get("/", &[]).status() == 200).then_some(()));
    assert!(again.is_some(), "nobody waits for ever");
}

#[test]
fn what_was_used_stays_used_over_a_reload_unless_the_limit_changed() {
    let upstream = Upstream::start();
    let limit = |requests| format!("rate_limit = {{ per = \"address\", requests = {requests}, window = \"1h\" }}");
    let mut gateway = limited(&upstream, &limit(1)).start();
    let status = |gateway: &Gateway| gateway.get("/", &[]).status();
    assert_eq!([status(&gateway), status(&gateway)], [200, 429]);
    gateway.reload("ok");
    assert_eq!(status(&gateway), 429);
    let config = std::fs::read_to_string(gateway.site.path("portcullis.toml")).unwrap();
    gateway.site.file("portcullis.toml", &config.replace(&limit(1), &limit(2)));
    gateway.reload("ok");
    assert_eq!([status(&gateway), status(&gateway), status(&gateway)], [200, 200, 429]);
    gateway.site.file("portcullis.toml", &config.replace(&limit(1), ""));
    gateway.reload("ok");
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status(), answer.header("ratelimit"), answer.header("ratelimit-policy")), (200, None, None));
}

#[test]
fn a_throttled_requests_body_is_never_taken_for_a_request() {
    let upstream = Upstream::start();
    let gateway = limited(&upstream, "rate_limit = { per = \"address\", requests = 1, window = \"1h\" }").start();
    assert_eq!(gateway.get("/", &[]).status(), 200);
    let smuggled = request("GET", "/smuggled", &[], b"");
    for size in [smuggled.len(), 3 * 1024 * 1024] {
        let body: Vec<u8> = smuggled.iter().copied().cycle().take(size).collect();
        let mut connection = gateway.conn();
        // The gateway may close before all of it is written.
        let _ = connection.try_send(request("POST", "/body", &[], &body));
        let answer = connection.answer();
        gateway.check_refused("with a body", &answer, 429, "limit.rate");
        let _ = connection.try_send(request("GET", "/next", &[], b""));
        match connection.try_answer() {
            Ok(answer) => {
                let event = gateway.check_refused("the next one", &answer, 429, "limit.rate");
                assert_eq!(event["request"]["path"], "/next");
            }
            Err(_closed) => {}
        }
    }
    let events = gateway.stop();
    assert!(events.iter().all(|event| event["request"]["path"] != "/smuggled"));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn requests_at_once_are_bounded_by_route_and_by_principal_until_their_answers_end() {
    let upstream = Upstream::replying(Reply::hang());
    let mut site = limited(&upstream, "max_concurrent = { route = 3, principal = 2 }");
    let alice = site.key("alice", "user:alice", "");
    let gateway = site.start();
    let open = |source: &str, headers: &[(&str, &str)], reaches: usize| {
        let mut connection = portcullis_testkit::wire::Conn::open_from(source.parse().unwrap(), gateway.address);
        connection.send(request("GET", "/", headers, b""));
        upstream.wait_for_requests(reaches);
        connection
    };
    let check = |what: &str, answer: &Answer, status: u16, key: &str, limit: &str| {
        let event = gateway.check_refused(what, answer, status, "limit.concurrency");
        assert_eq!((event["decision"].as_str(), answer.header("retry-after")), (Some("throttle"), Some("1")), "{what}");
        let check = &event["checks"][0];
        assert_eq!((&check["name"], &check["value"]), (&json!("concurrency"), &json!(key)), "{what}");
        assert_eq!(check["detail"], format!("over {limit}; free when one ends"), "{what}");
    };
    let mine = [("x-api-key", alice.as_str())];
    let first = open("127.0.0.1", &mine, 1);
    let _second = open("127.0.0.2", &mine, 2);
    let by_principal = "2 requests at once per principal";
    check("a third of alice", &gateway.get("/", &mine), 429, "user:alice", by_principal);
    let _third = open("127.0.0.3", &[], 3);
    let by_route = "3 requests at once per route";
    check("a fourth of all", &gateway.get_from("127.0.0.4", "/", &[]), 503, "the route app", by_route);
    // However a request ends, its place is free again.
    first.reset();
    upstream.wait_for_open_connections(2);
    // The upstream hears of it a moment before the place is free.
    let again = || {
        let connection = portcullis_testkit::wire::Conn::open_from("127.0.0.4".parse().unwrap(), gateway.address);
        let mut connection = connection.with_patience(Duration::from_millis(20));
        connection.send(request("GET", "/", &[], b""));
        // It reaches the upstream, or is answered.
        let reached = || (upstream.requests().len() >= 4).then_some(true);
        let is_let_in =
            wait::until(PATIENCE, || reached().or_else(|| connection.next_bytes().is_ok().then_some(false)));
        is_let_in.expect("a request that comes to something").then_some(connection)
    };
    let _fourth = wait::until(PATIENCE, again).expect("the place of the one that ended");
    check("a fourth of all", &gateway.get_from("127.0.0.5", "/", &[]), 503, "the route app", by_route);
}
