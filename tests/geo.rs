//! Where a client is: conditions on countries, and what events say of it, by MaxMind's own test databases.

use std::fs;
use std::path::PathBuf;

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, repository};

/// Anonymous callers from Great Britain may read, and nobody from Sweden may do anything.
const POLICY: &str = r#"
[[resource]]
route = "app"
authentication = "none"
[[role]]
name = "reader"
permissions = [{ actions = ["GET /**"] }]
[[assignment]]
name = "the-british-read"
role = "reader"
principals = ["anyone"]
scope = "*"
when = { countries = ["GB"] }
[[deny]]
name = "not-from-sweden"
principals = ["anyone"]
actions = ["* /**"]
scope = "*"
when = { countries = ["SE"] }
"#;

fn database(name: &str) -> PathBuf {
    repository("crates/geo/tests/data").join(name)
}

/// A gateway behind a trusted proxy, so that a test says where a client is.
fn site(upstream: &Upstream, policy: &str) -> Site {
    let mut site = Site::new(&upstream.url());
    site.policy(&[policy, NO_BANS].concat());
    for (name, source) in [("city", "GeoIP2-City-Test.mmdb"), ("asn", "GeoLite2-ASN-Test.mmdb")] {
        fs::copy(database("test-data").join(source), site.path(&format!("{name}.mmdb"))).unwrap();
    }
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    site.add("[geo]\ncity = \"city.mmdb\"\nasn = \"asn.mmdb\"\nrefresh = \"1s\"\n");
    site
}

fn refused(gateway: &Gateway, from: &str, status: u16, reason: &str) -> Value {
    let answer = gateway.get("/", &[("X-Forwarded-For", from)]);
    gateway.check_refused(from, &answer, status, reason)
}

fn permitted(gateway: &Gateway, from: &str) -> bool {
    gateway.get("/", &[("X-Forwarded-For", from)]).status() == 200
}

#[test]
fn a_country_is_a_condition_and_a_private_address_has_none() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, POLICY).start();
    assert!(permitted(&gateway, "81.2.69.142"));
    let event = refused(&gateway, "89.160.20.128", 403, "rbac.explicit_deny");
    let client = &event["client"];
    assert_eq!(
        (&client["country"], &client["region"], &client["city"]),
        (&"SE".into(), &"E".into(), &"Linköping".into())
    );
    assert_eq!((&client["asn"], &client["as_org"]), (&29_518.into(), &"Bredband2 AB".into()));
    let event = refused(&gateway, "2001:218::1", 403, "rbac.condition_unmet");
    assert_eq!(event["client"]["country"], "JP");
    assert_eq!(event["nearest"][0]["needs"][0], "country:GB", "{event:#}");
    // Known to be in no country: it meets no list of countries, and no deny of one.
    for private in ["10.0.0.1", "192.168.7.7", "fd00::1"] {
        let event = refused(&gateway, private, 403, "rbac.condition_unmet");
        assert_eq!(event["client"]["country"], Value::Null, "{private}");
    }
    // Nobody knows: the deny cannot decide.
    refused(&gateway, "9.9.9.9", 503, "policy.unavailable");
}

#[test]
fn events_say_where_it_was_also_where_nobody_asks_for_it() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, "[[resource]]\nroute = \"app\"\nauthentication = \"required\"\n").start();
    let event = refused(&gateway, "1.128.0.1", 401, "authn.missing");
    assert_eq!((&event["client"]["country"], &event["client"]["asn"]), (&Value::Null, &1_221.into()));
    assert_eq!(event["client"]["as_org"], "Telstra Pty Ltd");
    assert_eq!(refused(&gateway, "81.2.69.142", 401, "authn.missing")["client"]["city"], "London");
}

#[test]
fn a_broken_database_is_refused_and_the_old_one_stays() {
    let upstream = Upstream::start();
    let mut gateway = site(&upstream, POLICY).start();
    let refused_now = |gateway: &Gateway| gateway.metric("portcullis_geoip_refused{database=\"city\"}");
    let built = "portcullis_geoip_build_timestamp_seconds{database=\"city\"}";
    let age = gateway.metric(built).unwrap();
    assert!(age > 1.5e9 && refused_now(&gateway) == Some(0.0));
    let replace = |gateway: &Gateway, with: PathBuf| {
        let beside = gateway.site.path("new");
        fs::copy(with, &beside).unwrap();
        fs::rename(beside, gateway.site.path("city.mmdb")).unwrap();
    };
    replace(&gateway, database("bad-data/maxminddb-golang/cyclic-data-structure.mmdb"));
    assert!(wait::until(PATIENCE, || (refused_now(&gateway) == Some(1.0)).then_some(())).is_some());
    assert!(permitted(&gateway, "81.2.69.142"));
    assert_eq!(gateway.metric(built), Some(age));
    let status = gateway.site.run(&["status"]).stdout.join("\n");
    assert!(status.contains("is broken") && status.contains("the one before it stays"), "{status}");
    // A reload keeps it, too.
    gateway.reload("ok");
    assert!(permitted(&gateway, "81.2.69.142"));
    replace(&gateway, database("test-data/GeoIP2-Country-Test.mmdb"));
    assert!(wait::until(PATIENCE, || (refused_now(&gateway) == Some(0.0)).then_some(())).is_some());
    assert!(permitted(&gateway, "81.2.69.142"));
    assert_eq!(refused(&gateway, "2001:218::1", 403, "rbac.condition_unmet")["client"]["country"], "JP");
}

#[test]
fn a_start_without_a_database_is_no_start_with_everybody_let_in() {
    let upstream = Upstream::start();
    let site = site(&upstream, POLICY);
    fs::remove_file(site.path("city.mmdb")).unwrap();
    let checked = site.run(&["check"]);
    assert!(checked.stderr.join("\n").contains("W0205"), "{checked:?}");
    let gateway = site.start();
    refused(&gateway, "81.2.69.142", 503, "policy.unavailable");
    refused(&gateway, "10.0.0.1", 503, "policy.unavailable");
    fs::copy(database("test-data/GeoIP2-City-Test.mmdb"), gateway.site.path("city.mmdb")).unwrap();
    assert!(wait::until(PATIENCE, || permitted(&gateway, "81.2.69.142").then_some(())).is_some());
}

#[test]
fn a_question_about_an_address_is_answered_by_where_it_is() {
    let upstream = Upstream::start();
    let site = site(&upstream, POLICY);
    let ask = |verb: &str, more: &[&str], expected: i32| {
        let finished = site.run(&[&[verb, "GET", "http://a/x"], more].concat());
        assert_eq!(finished.status.code(), Some(expected), "{finished:?}");
        (finished.stdout.join("\n"), finished.stderr.join("\n"))
    };
    for verb in ["can", "explain"] {
        let (said, note) = ask(verb, &["--ip", "81.2.69.142"], 0);
        assert!(said.starts_with("permit"), "{said}");
        assert_eq!(note, "note: by the geo database 81.2.69.142 is in GB; --country states another");
        let (said, note) = ask(verb, &["--ip", "89.160.20.128"], 1);
        assert!(said.starts_with("deny rbac.explicit_deny"), "{said}");
        assert!(note.contains("89.160.20.128 is in SE, and its network is AS29518 Bredband2 AB; "), "{note}");
        // What is stated is believed, and nothing is looked up.
        let (said, note) = ask(verb, &["--ip", "89.160.20.128", "--country", "GB"], 0);
        assert!(said.starts_with("permit") && note.is_empty(), "{said} {note}");
        let (_, note) = ask(verb, &["--ip", "192.168.0.1"], 1);
        assert_eq!(note, "note: 192.168.0.1 is private or reserved: it is in no country");
        let (said, note) = ask(verb, &["--ip", "9.9.9.9"], 1);
        assert!(said.starts_with("undecided policy.unavailable"), "{said}");
        assert!(note.contains("no geo database knows the country of 9.9.9.9"), "{note}");
    }
    fs::write(site.path("city.mmdb"), "no database").unwrap();
    let finished = site.run(&["can", "GET", "http://a/x", "--ip", "81.2.69.142"]);
    assert!(finished.stderr.join("\n").contains("city"), "{finished:?}");
    assert_ne!(finished.status.code(), Some(0));
}

#[test]
fn somebody_can_ask_where_an_address_is() {
    let upstream = Upstream::start();
    let site = site(&upstream, POLICY);
    let ask = |arguments: &[&str], expected: i32| {
        let finished = site.run(&[&["geo", "lookup"], arguments].concat());
        assert_eq!(finished.status.code(), Some(expected), "{finished:?}");
        finished.stdout.join("\n")
    };
    let london = ask(&["81.2.69.142"], 0);
    assert_eq!(london, "81.2.69.142\n  country  GB\n  region   ENG\n  city     London\n  network  unknown");
    let sweden: Value = serde_json::from_str(&ask(&["89.160.20.128", "-o", "json"], 0)).unwrap();
    assert_eq!((&sweden["country"], &sweden["asn"]), (&"SE".into(), &29_518.into()));
    assert!(ask(&["192.168.0.1"], 0).contains("ZZ (none: the address is private or reserved)"));
    assert!(ask(&["9.9.9.9"], 1).contains("country  unknown"));
}
