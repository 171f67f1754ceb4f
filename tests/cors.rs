//! Cross-origin requests: preflights are answered before anybody is asked who they are, and every answer of the route, refusals
//! too, says whose scripts may read it.

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wire::{Answer, request};

use crate::harness::{AUTHENTICATED, NO_BANS, Site};

const CORS: &str = "cors = { origins = [\"https://app.test\"], methods = [\"GET\", \"PUT\"], headers = [\"x-api-key\"], \
                    expose = [\"etag\"], credentials = true, max_age = \"1h\" }";

const APP: (&str, &str) = ("Origin", "https://app.test");
const EVIL: (&str, &str) = ("Origin", "https://evil.test");
const ASKS: (&str, &str) = ("Access-Control-Request-Method", "PUT");

/// A route that demands a credential, and the credential.
fn site(upstream: &Upstream) -> (Site, String) {
    let mut site = Site::without_route(&upstream.url());
    site.add(&format!("[[route]]\nname = \"app\"\nupstream = \"app\"\n{CORS}\n"));
    let key = site.key("caller", "service:caller", "");
    let networks = "[[network]]\nname = \"elsewhere\"\naddresses = [\"127.0.0.9\"]\n\
                    [[resource]]\nroute = \"app\"\nnetworks = { deny = [\"elsewhere\"] }\n";
    site.policy(&[AUTHENTICATED, networks, NO_BANS].concat());
    (site, key)
}

fn preflight(headers: &[(&str, &str)]) -> Vec<u8> {
    request("OPTIONS", "/x", headers, b"")
}

/// The origin that may read an answer, and whether with credentials.
fn readable(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials"))
}

const BY_APP: (Option<&str>, Option<&str>) = (Some("https://app.test"), Some("true"));

#[test]
fn a_preflight_is_answered_without_a_credential_and_without_an_event() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream);
    let gateway = site.start();
    let answer = gateway.send(preflight(&[APP, ASKS, ("Access-Control-Request-Headers", "x-api-key")]));
    assert_eq!((answer.status(), readable(&answer)), (204, BY_APP));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-api-key"));
    assert_eq!(answer.header("access-control-max-age"), Some("3600"));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert!(answer.header("x-request-id").is_some() && answer.body.is_empty());
    // What is no preflight of an origin that may ask is an OPTIONS like any other.
    for headers in [&[EVIL, ASKS][..], &[APP], &[ASKS], &[("Origin", "null"), ASKS], &[APP, APP, ASKS]] {
        let answer = gateway.send(preflight(headers));
        gateway.check_refused(&format!("{headers:?}"), &answer, 401, "authn.missing");
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(gateway.stop().iter().filter(|event| event["kind"] == "access.denied").count(), 5);
}

#[test]
fn a_preflight_from_where_nobody_may_come_is_refused() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream);
    let gateway = site.start();
    let mut connection = portcullis_testkit::wire::Conn::open_from("127.0.0.9".parse().unwrap(), gateway.address);
    connection.send(preflight(&[APP, ASKS]));
    gateway.check_refused("a denied network", &connection.answer(), 403, "ip.denied");
}

#[test]
fn an_answer_can_be_read_by_the_listed_origin_alone() {
    let upstream = Upstream::replying(
        Reply::bytes("ok").header("Access-Control-Allow-Origin", "*").header("Vary", "Accept").header("ETag", "\"1\""),
    );
    let (site, key) = site(&upstream);
    let gateway = site.start();
    let get = |origin: &[(&str, &str)]| gateway.get("/x", &[&[("x-api-key", key.as_str())], origin].concat());
    let answer = get(&[APP]);
    assert_eq!((answer.status(), readable(&answer)), (200, BY_APP));
    assert_eq!(answer.header("access-control-expose-headers"), Some("etag"));
    assert_eq!(answer.head.header_values("vary"), ["Accept", "origin"]);
    for origin in [&[EVIL][..], &[]] {
        let answer = get(origin);
        assert_eq!((answer.status(), readable(&answer)), (200, (None, None)), "{origin:?}");
        assert_eq!(answer.head.header_values("vary"), ["Accept", "origin"], "{origin:?}");
    }
}

#[test]
fn a_script_that_may_read_answers_may_read_refusals() {
    let upstream = Upstream::replying(Reply::hang().then_reset());
    let (site, key) = site(&upstream);
    let gateway = site.start();
    let refused = gateway.get("/x", &[APP]);
    gateway.check_refused("no credential", &refused, 401, "authn.missing");
    assert_eq!((readable(&refused), refused.header("vary")), (BY_APP, Some("origin")));
    let refused = gateway.get("/x", &[EVIL]);
    assert_eq!((refused.status(), readable(&refused), refused.header("vary")), (401, (None, None), Some("origin")));
    drop(upstream);
    let failed = gateway.get("/x", &[APP, ("x-api-key", &key)]);
    gateway.check_refused("no upstream", &failed, 502, "upstream.unreachable");
    assert_eq!(readable(&failed), BY_APP);
}
