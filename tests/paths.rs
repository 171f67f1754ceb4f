//! One canonical path: what is forwarded is what was matched.

use portcullis_testkit::upstream::Upstream;

use crate::harness::Site;

#[test]
fn a_canonical_target_is_forwarded_byte_for_byte() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    for target in [
        "/",
        "/api/invoices/7",
        "/api/",
        "/a/b.c/~d/e-f_g/(x)!$&'*+,;=:@",
        "/a;v=1/b;w",
        "/..a/b../...",
        "/a%20b",
        "/m%C3%BCnchen",
        "/%E2%82%AC",
        "/100%25",
        "/q?",
        "/q?a=b&c=%2F%2e%00&d=//..//",
        "/q?a=%zz&b=[]{}|^`",
        "/q?next=http://x/../y?z",
        "/q?/../?",
    ] {
        assert_eq!(gateway.get(target, &[]).json()["target"], target);
    }
    assert!(upstream.malformed().is_empty(), "{:?}", upstream.malformed());
}

#[test]
fn another_spelling_is_forwarded_in_its_canonical_form() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let check = |sent: &str, forwarded: &str| assert_eq!(gateway.get(sent, &[]).json()["target"], forwarded, "{sent}");
    check("/%61dmin", "/admin");
    check("/%61dmin?%61=%61", "/admin?%61=%61");
    check("/m%c3%bcnchen", "/m%C3%BCnchen");
    check("/a%3bb", "/a%3Bb");
    check("/%7Euser/%2d%5F%2E%2ex", "/~user/-_..x");
    check("http://gateway.test/absolute?q=1", "/absolute?q=1");
    check("HTTP://Gateway.TEST:80/absolute", "/absolute");
    check("http://gateway.test", "/");
    check("http://gateway.test?q", "/?q");
}

#[test]
fn a_rule_meets_every_spelling_of_its_path() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.policy(
        r#"
[[resource]]
route = "app"
authentication = "none"
[[role]]
name = "public"
permissions = [{ actions = ["GET /**"], not_actions = ["GET /admin/**", "GET /m\u00fcnchen"] }]
[[assignment]]
name = "public"
role = "public"
principals = ["anyone"]
scope = "*"
[ban]
mode = "off"
"#,
    );
    let gateway = site.start();
    for target in
        ["/admin", "/admin/", "/%61dmin/x", "/a%64min?public", "/admin;v=1/../x", "/m%c3%bcnchen", "/m%C3%BCnchen"]
    {
        let answer = gateway.get(target, &[]);
        assert!(matches!(answer.status(), 400 | 403), "{target} was answered {}", answer.status());
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
    for target in ["/Admin", "/adminx", "/x/admin", "/munchen"] {
        assert_eq!(gateway.get(target, &[]).status(), 200, "{target}");
    }
}

#[test]
fn a_route_is_chosen_by_host_then_by_path_and_a_missing_one_is_404() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    for (name, hosts, paths) in [
        ("app", "[\"app.test\"]", "[\"/**\"]"),
        ("app-admin", "[\"app.test\"]", "[\"/admin/**\"]"),
        ("wild", "[\"*.wild.test\"]", "[\"/one/*\"]"),
    ] {
        site.add(&format!("[[route]]\nname = \"{name}\"\nhosts = {hosts}\npaths = {paths}\nupstream = \"app\"\n"));
    }
    site.policy(
        r#"
[[role]]
name = "all"
permissions = [{ actions = ["GET /**"] }]
[[assignment]]
name = "all"
role = "all"
principals = ["anyone"]
scope = ["app", "wild"]
[[resource]]
route = "app"
authentication = "none"
[[resource]]
route = "app-admin"
authentication = "none"
[[resource]]
route = "wild"
authentication = "none"
[ban]
mode = "off"
"#,
    );
    let gateway = site.start();
    let check = |host: &str, target: &str, status: u16, reason: &str, route: Option<&str>| {
        let answer = gateway.get(target, &[("host", host)]);
        if status == 200 {
            assert_eq!(answer.status(), 200, "{host}{target}");
            assert_eq!(
                upstream.requests().last().unwrap().header("host"),
                Some(host),
                "the client's Host is passed on"
            );
        } else {
            let event = gateway.check_refused(&format!("{host}{target}"), &answer, status, reason);
            assert_eq!(event["policy"]["route"].as_str(), route, "{host}{target}");
        }
    };
    check("app.test", "/", 200, "", None);
    check("APP.Test", "/", 200, "", None);
    check("app.test.", "/", 200, "", None);
    check("app.test:8080", "/", 200, "", None);
    check("app.test", "/admin", 403, "rbac.no_matching_grant", Some("app-admin"));
    check("app.test", "/admin/x", 403, "rbac.no_matching_grant", Some("app-admin"));
    check("app.test", "/administration", 200, "", None);
    check("a.wild.test", "/one/x", 200, "", None);
    check("a.wild.test", "/one/", 404, "route.not_found", None);
    check("a.wild.test", "/one/x/y", 404, "route.not_found", None);
    check("wild.test", "/one/x", 404, "route.not_found", None);
    check("other.test", "/", 404, "route.not_found", None);
    check("127.0.0.1", "/", 404, "route.not_found", None);
}
