//! Whose address counts. Behind a trusted proxy it is the one that the proxy names, walked from the right; from anybody
//! else it is the socket's.

use portcullis_testkit::upstream::Upstream;
use serde_json::json;

use crate::harness::{Gateway, NO_BANS, Site};

const POLICY: &str = r#"
[[network]]
name = "office"
addresses = ["203.0.113.0/24", "2001:db8:1::/48"]
[[network]]
name = "bad"
addresses = ["203.0.113.66"]
[[resource]]
route = "app"
authentication = "none"
networks = { allow = ["office"] }
[[resource]]
route = "guarded"
authentication = "none"
networks = { deny = ["bad"] }
[[role]]
name = "all"
permissions = [{ actions = ["GET /**"] }]
[[assignment]]
name = "all"
role = "all"
principals = ["anyone"]
scope = "*"
"#;

fn gateway(upstream: &Upstream, header: &str) -> Gateway {
    let mut site = Site::new(&upstream.url());
    site.add("[[route]]\nname = \"guarded\"\npaths = [\"/guarded/**\"]\nupstream = \"app\"\n");
    site.add(&format!("[client_address]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\nheader = \"{header}\"\n"));
    site.policy(&[POLICY, NO_BANS].concat());
    site.start()
}

#[test]
fn the_nearest_untrusted_hop_is_the_client() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "x-forwarded-for");
    let check = |lines: &[&str], expected: Result<&str, Option<&str>>| {
        let headers: Vec<(&str, &str)> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
        let answer = gateway.get("/", &headers);
        match expected {
            Ok(chain) => {
                assert_eq!(answer.status(), 200, "{lines:?}");
                assert_eq!(upstream.requests().pop().unwrap().header("x-forwarded-for"), Some(chain), "{lines:?}");
            }
            Err(client) => {
                let event = gateway.check_refused(&format!("{lines:?}"), &answer, 403, "ip.not_allowed");
                assert_eq!(event["client"]["ip"], json!(client), "{lines:?}");
                assert_eq!(event["client"]["peer_ip"], "127.0.0.1");
            }
        }
    };
    check(&["203.0.113.7"], Ok("203.0.113.7, 127.0.0.1"));
    check(&["203.0.113.7, 10.1.1.1"], Ok("203.0.113.7, 10.1.1.1, 127.0.0.1"));
    check(&["203.0.113.7", "10.1.1.1"], Ok("203.0.113.7, 10.1.1.1, 127.0.0.1"));
    check(&["198.51.100.1, 203.0.113.7"], Ok("203.0.113.7, 127.0.0.1"));
    check(&["rubbish, 203.0.113.7 , , 10.1.1.1"], Ok("203.0.113.7, 10.1.1.1, 127.0.0.1"));
    check(&["2001:db8:1::7"], Ok("2001:db8:1::7, 127.0.0.1"));
    check(&["::ffff:203.0.113.7"], Ok("203.0.113.7, 127.0.0.1"));
    // What a client puts left of its own address is not looked at.
    check(&["203.0.113.7, 198.51.100.1"], Err(Some("198.51.100.1")));
    check(&["203.0.113.7", "198.51.100.1"], Err(Some("198.51.100.1")));
    check(&["203.0.113.7", "198.51.100.1, 10.1.1.1"], Err(Some("198.51.100.1")));
    // Nobody is named: the proxy speaks for itself. All are proxies: the leftmost one.
    check(&[], Err(Some("127.0.0.1")));
    check(&["10.1.1.1, 10.2.2.2"], Err(Some("10.1.1.1")));
    // A hop that is no address makes it unknown, which no allowlist is met by.
    for hop in [
        "",
        "unknown",
        "203.0.113",
        "0313.0.113.7",
        "203.0.113.7, _hidden",
        "0xcb.0.113.7",
        "3405803783",
        "203.0.113.256",
        "fe80::1%eth0",
    ] {
        check(&[hop], Err(None));
    }
    assert!(gateway.get("/", &[("Forwarded", "for=203.0.113.7")]).status() == 403, "only the configured header counts");
}

#[test]
fn an_unknown_address_that_a_deny_list_could_hold_is_undecided() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "x-forwarded-for");
    let ask = |hop: &str| gateway.get("/guarded/x", &[("X-Forwarded-For", hop)]);
    assert_eq!(ask("198.51.100.1").status(), 200);
    gateway.check_refused("denied", &ask("203.0.113.66"), 403, "ip.denied");
    gateway.check_refused("denied, mapped", &ask("::ffff:203.0.113.66"), 403, "ip.denied");
    let event = gateway.check_refused("unknown", &ask("nonsense"), 503, "policy.unavailable");
    assert_eq!(event["decision"], "undecided");
}

#[test]
fn nobody_else_can_name_the_client() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "x-forwarded-for");
    for name in ["X-Forwarded-For", "x_forwarded_for", "Forwarded", "X-Real-IP", "True-Client-IP", "X-Client-IP"] {
        let answer = gateway.get_from("127.0.0.2", "/", &[(name, "203.0.113.7")]);
        let event = gateway.check_refused(name, &answer, 403, "ip.not_allowed");
        assert_eq!(event["client"]["ip"], "127.0.0.2", "{name}");
        assert_eq!(event["client"]["via_trusted_proxy"], false, "{name}");
        assert_eq!(event["client"]["forwarded"], json!([]), "{name}: what nobody trusts is not recorded as a hop");
        // Nor through the trusted proxy, in a spelling that only some upstreams fold.
        if name != "X-Forwarded-For" {
            let answer = gateway.get("/", &[(name, "203.0.113.7"), ("X-Forwarded-For", "198.51.100.1")]);
            gateway.check_refused(name, &answer, 403, "ip.not_allowed");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn forwarded_is_read_where_it_is_configured() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "forwarded");
    let status = |lines: &[&str]| {
        let headers: Vec<(&str, &str)> = lines.iter().map(|line| ("Forwarded", *line)).collect();
        gateway.get("/", &headers).status()
    };
    for good in [
        &["for=203.0.113.7"][..],
        &["For=\"203.0.113.7:4711\";proto=https;by=10.0.0.1"],
        &["for=\"[2001:db8:1::7]:4711\""],
        &["for=198.51.100.1, for=203.0.113.7, for=10.0.0.1"],
        &["for=198.51.100.1", "for=203.0.113.7"],
    ] {
        assert_eq!(status(good), 200, "{good:?}");
    }
    for bad in [
        &["for=198.51.100.1"][..],
        &["for=203.0.113.7, for=198.51.100.1"],
        &["for=unknown"],
        &["for=_hidden"],
        &["203.0.113.7"],
        &["for=\"203.0.113.7"],
        &["for=2001:db8:1::7"],
        &["for=203.0.113.7;for=203.0.113.8"],
    ] {
        assert_eq!(status(bad), 403, "{bad:?}");
    }
    assert_eq!(gateway.get("/", &[("X-Forwarded-For", "203.0.113.7")]).status(), 403);
}
