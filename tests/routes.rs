//! What a route does with a permitted request: another path, other header fields, an answer of its own. What is decided on is
//! always what the client asked for.

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, OPEN, Site};

/// Lets everybody read what is public on the route `app`, and nothing else.
const PUBLIC_ONLY: &str = r#"
[[resource]]
route = "app"
authentication = "none"

[[role]]
name = "reader"
permissions = [{ actions = ["* /api/public/**"] }]

[[assignment]]
name = "everybody-reads"
role = "reader"
principals = ["anyone"]
scope = "app"
"#;

/// Adds to the policy that these routes are open as `app` is.
fn open(site: &Site, routes: &[&str]) {
    let resource = |route: &&str| format!("[[resource]]\nroute = \"{route}\"\nauthentication = \"optional\"\n");
    let resources: String = routes.iter().map(resource).collect();
    site.policy(&[OPEN, &resources, NO_BANS].concat());
}

fn site(upstream: &Upstream, route: &str) -> Site {
    let mut site = Site::without_route(&upstream.url());
    site.add(&format!("[[route]]\nname = \"app\"\n{route}\n"));
    site
}

#[test]
fn the_upstream_gets_the_path_that_the_route_makes_of_the_clients() {
    let upstream = Upstream::start();
    let mut site = site(&upstream, "paths = [\"/api/**\"]\nupstream = \"app\"\nstrip_prefix = \"/api\"");
    site.add("[[route]]\nname = \"v1\"\npaths = [\"/v1/**\"]\nupstream = \"app\"\nadd_prefix = \"/old\"\n");
    site.add(
        "[[route]]\nname = \"user\"\npaths = [\"/u/{id}/**\"]\nupstream = \"app\"\nrewrite = \"/users/u-{id}/**\"\n",
    );
    open(&site, &["v1", "user"]);
    let gateway = site.start();
    let check = |target: &str, expected: &str, prefix: Option<&str>| {
        let answer = gateway.get(target, &[("X-Forwarded-Prefix", "/lie")]);
        assert_eq!(answer.status(), 200, "{target}");
        let head = upstream.requests().pop().unwrap().head;
        assert_eq!((head.target.as_str(), head.header("x-forwarded-prefix")), (expected, prefix), "{target}");
    };
    check("/api/x/y?q=%2F..", "/x/y?q=%2F..", Some("/api"));
    check("/api", "/", Some("/api"));
    check("/api/", "/", Some("/api"));
    check("/api/a%20b", "/a%20b", Some("/api"));
    check("/%61pi/%61", "/a", Some("/api"));
    check("/v1/x", "/old/v1/x", None);
    check("/u/7", "/users/u-7", None);
    check("/u/7/mail?x", "/users/u-7/mail?x", None);
    check("/u/m%C3%BC/", "/users/u-m%C3%BC/", None);
}

#[test]
fn the_policy_judges_the_path_that_the_client_asked_for() {
    let upstream = Upstream::start();
    // The upstream's own `/public` is not what the policy means, and neither is what a template makes of the path.
    let site = site(&upstream, "upstream = \"app\"\npaths = [\"/**\"]\nrewrite = \"/api/public/**\"");
    site.policy(&[PUBLIC_ONLY, NO_BANS].concat());
    let gateway = site.start();
    let denied = gateway.get("/secret", &[]);
    let event = gateway.check_refused("outside", &denied, 403, "rbac.no_matching_grant");
    assert_eq!(event["request"]["path"], "/secret");
    assert!(upstream.requests().is_empty());
    assert_eq!(gateway.get("/api/public/x", &[]).status(), 200);
    assert_eq!(upstream.only_request().head.target, "/api/public/api/public/x");
}

#[test]
fn a_path_that_is_not_canonical_once_it_is_rewritten_is_refused() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, "upstream = \"app\"\npaths = [\"/d/{a}/{b}\"]\nrewrite = \"/.{a}{b}\"").start();
    assert_eq!(gateway.get("/d/a/b", &[]).status(), 200);
    for (target, path) in [("/d/;x/b", "/d/;x/b"), ("/d/100%25/41", "/d/100%25/41")] {
        let event = gateway.check_refused(target, &gateway.get(target, &[]), 400, "request.path_ambiguous");
        assert_eq!(event["request"]["path"], path, "the event names the client's path");
        assert!(event["message"].as_str().unwrap().contains("once it is rewritten"), "{event}");
        assert_eq!((&event["upstream"]["name"], &event["upstream"]["forwarded"]), (&"app".into(), &false.into()));
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn the_upstream_gets_another_host_and_is_told_the_callers() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, "upstream = \"app\"\nupstream_host = \"inner.test:8080\"").start();
    let answer = gateway.send(b"GET / HTTP/1.1\r\nHost: outer.test\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let head = upstream.only_request().head;
    assert_eq!(head.header("host"), Some("inner.test:8080"));
    assert_eq!(head.header("x-forwarded-host"), Some("outer.test"));
    assert!(head.header("forwarded").unwrap().contains("host=outer.test"));
}

#[test]
fn header_rules_hold_on_the_way_there_and_back_and_not_for_refusals() {
    let upstream = Upstream::replying(Reply::bytes("ok").header("Server", "old/1.0").header("X-Powered-By", "x"));
    let mut site = site(
        &upstream,
        "paths = [\"/a/**\"]\nupstream = \"app\"\n\
         request_headers = { remove = [\"X-Gone\"], set = { x-set = \"${UNSET:-s}\", authorization = \"Basic eDp5\" }, add = { x-add = \"2\" } }\n\
         response_headers = { remove = [\"server\", \"x-powered-by\"], set = { strict-transport-security = \"max-age=1\" } }",
    );
    site.add("[[route]]\nname = \"own\"\npaths = [\"/own\"]\nrespond = { status = 200, body = \"x\" }\nresponse_headers = { add = { x-own = \"1\" } }\n");
    open(&site, &["own"]);
    let gateway = site.start();
    let sent = [("X-Gone", "1"), ("x-gone", "2"), ("X-Set", "client"), ("X-Add", "1"), ("Authorization", "Bearer x")];
    let answer = gateway.get("/a", &sent);
    let head = upstream.only_request().head;
    assert!(head.header_values("x-gone").is_empty());
    assert_eq!((head.header("x-set"), head.header("authorization")), (Some("s"), Some("Basic eDp5")));
    assert_eq!(head.header_values("x-add"), ["1", "2"]);
    assert_eq!((answer.header("server"), answer.header("x-powered-by")), (None, None));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=1"));
    assert_eq!(gateway.get("/own", &[]).header("x-own"), Some("1"));
    let refused = gateway.send(request("PATCHY", "/a", &[], b""));
    gateway.check_refused("a method that nobody may use", &refused, 401, "authn.missing");
    assert_eq!(refused.header("strict-transport-security"), None);
}

#[test]
fn a_redirect_is_for_who_may_go_there_and_needs_no_upstream() {
    let upstream = Upstream::start();
    let mut site = site(&upstream, "paths = [\"/api/{area}/**\"]\nredirect = { to = \"/new/{area}/**\" }");
    site.add("[[route]]\nname = \"away\"\npaths = [\"/away\"]\nredirect = { to = \"https://other.test/x?a=b\", status = 302 }\n");
    site.add("[[route]]\nname = \"tls\"\nhosts = [\"*.a.test\"]\nredirect = { to = \"https://{host}/**\" }\n");
    let open = "[[resource]]\nroute = \"away\"\nauthentication = \"none\"\n[[resource]]\nroute = \"tls\"\nauthentication = \"none\"\n\
                [[role]]\nname = \"all\"\npermissions = [{ actions = [\"* /**\"] }]\n\
                [[assignment]]\nname = \"all\"\nrole = \"all\"\nprincipals = [\"anyone\"]\nscope = [\"away\", \"tls\"]\n";
    site.policy(&[PUBLIC_ONLY, open, NO_BANS].concat());
    let gateway = site.start();
    let check = |target: &str, host: &str, status: u16, location: &str| {
        let answer = gateway.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!((answer.status(), answer.header("location")), (status, Some(location)), "{target}");
        assert!(answer.header("x-request-id").is_some());
        assert!(answer.body.is_empty());
    };
    check("/api/public/x?q=1", "h", 308, "/new/public/x?q=1");
    check("/away?c=d", "h", 302, "https://other.test/x?a=b&c=d");
    check("/p?q", "X.A.test:8080", 308, "https://x.a.test/p?q");
    let event = gateway.check_refused("redirect", &gateway.get("/api/secret", &[]), 403, "rbac.no_matching_grant");
    assert_eq!(event["policy"]["route"], "app");
    assert_eq!(event["upstream"]["name"], Value::Null);
    assert!(upstream.requests().is_empty());
    assert_eq!(
        gateway.stop().iter().filter(|event| event["kind"] == "access.denied").count(),
        1,
        "a redirect is no refusal"
    );
}

#[test]
fn an_answer_of_the_routes_own_keeps_the_connection_whatever_the_request_carried() {
    let upstream = Upstream::start();
    let site = site(
        &upstream,
        "paths = [\"/r\"]\nrespond = { status = 418, file = \"page.html\", content_type = \"text/html\", headers = { x-a = \"1\" } }",
    );
    site.file("page.html", "<h1>teapot</h1>");
    let gateway = site.start();
    let mut connection = gateway.conn();
    for (method, body) in
        [("GET", &b""[..]), ("POST", b"hello"), ("PUT", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), ("GET", b"")]
    {
        connection.send(request(method, "/r", &[], body));
        let answer = connection.answer();
        assert_eq!((answer.status(), answer.text()), (418, "<h1>teapot</h1>"), "{method}");
        assert_eq!((answer.header("content-type"), answer.header("x-a")), (Some("text/html"), Some("1")));
    }
    connection.send(request("HEAD", "/r", &[], b""));
    let head = connection.answer_without_body();
    assert_eq!((head.status(), head.header("content-length"), head.body.len()), (418, Some("15"), 0));
    connection.send(request("GET", "/r", &[], b""));
    assert_eq!(connection.answer().status(), 418, "nothing of a body followed the answer to HEAD");
    assert!(
        gateway.metric("portcullis_decisions_total{decision=\"permit\",reason=\"\",route=\"app\",stage=\"\"}")
            >= Some(6.0)
    );
}

#[test]
fn an_upstream_that_names_itself_is_named_as_the_caller_knows_it() {
    let upstream = Upstream::choosing(|head| {
        let own = head.header("host").unwrap_or_default().to_owned();
        let to = |location: &str| Reply::status(302).header("location", location).header("content-location", location);
        match head.target.as_str() {
            "/v1/self" => to(&format!("http://{own}/v1/next?a=b#c")),
            "/v1/path" => to("/v1/next"),
            "/v1/elsewhere" => to("/other"),
            _ => to("https://other.example/v1/next"),
        }
    });
    let site = site(
        &upstream,
        &format!(
            "paths = [\"/api/**\"]\nupstream = \"app\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/v1\"\nrewrite_location = true\n\
             upstream_host = \"{}\"",
            upstream.address()
        ),
    );
    site.policy(&[OPEN, NO_BANS].concat());
    let gateway = site.start();
    for (target, expected) in [
        ("/api/self", "http://public.example:8080/api/next?a=b#c"),
        ("/api/path", "/api/next"),
        ("/api/elsewhere", "/other"),
        ("/api/foreign", "https://other.example/v1/next"),
    ] {
        let answer = gateway.get(target, &[("Host", "public.example:8080")]);
        assert_eq!(answer.status(), 302, "{target}");
        assert_eq!(answer.header("location"), Some(expected), "{target}");
        assert_eq!(answer.header("content-location"), Some(expected), "{target}");
    }
}

#[test]
fn a_route_may_wait_longer_than_its_upstream_says_or_less() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/report" => Reply::bytes("late").after(std::time::Duration::from_millis(1_500)),
        _ => Reply::hang(),
    });
    let mut site = Site::without_route(&upstream.url());
    site.add(&format!(
        "[[upstream]]\nname = \"quick\"\nendpoints = [\"{}\"]\ntimeouts = {{ first_byte = \"300ms\" }}\n",
        upstream.url()
    ));
    site.add("[[route]]\nname = \"usual\"\npaths = [\"/usual\"]\nupstream = \"quick\"\n");
    site.add("[[route]]\nname = \"report\"\npaths = [\"/report\"]\nupstream = \"quick\"\ntimeouts = { first_byte = \"20s\" }\n");
    site.add("[[route]]\nname = \"short\"\npaths = [\"/short\"]\nsplit = [{ upstream = \"app\" }]\ntimeouts = { total = \"300ms\" }\n");
    site.policy(&[&OPEN.replace("route = \"app\"", "route = \"usual\""), "[[resource]]\nroute = \"report\"\nauthentication = \"optional\"\n[[resource]]\nroute = \"short\"\nauthentication = \"optional\"\n", NO_BANS].concat());
    let gateway = site.start();
    gateway.check_refused("usual", &gateway.get("/usual", &[]), 504, "upstream.timeout");
    assert_eq!(gateway.get("/report", &[]).text(), "late");
    gateway.check_refused("short", &gateway.get("/short", &[]), 504, "upstream.timeout");
}

#[test]
fn maintenance_answers_who_is_permitted_and_excepts_who_is_listed() {
    let upstream = Upstream::start();
    let site = site(
        &upstream,
        "paths = [\"/api/**\"]\nupstream = \"app\"\nmaintenance = { retry_after = \"10m\", except = [\"127.0.0.2\", \"testers\"] }",
    );
    let testers = |addresses: &str| format!("\n[[network]]\nname = \"testers\"\naddresses = [\"{addresses}\"]\n");
    site.policy(&[PUBLIC_ONLY, NO_BANS, &testers("127.0.0.4/30")].concat());
    let mut gateway = site.start();
    let answer = gateway.get("/api/public/x", &[]);
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("600")));
    assert_eq!(answer.json()["title"], "Service Unavailable");
    assert_eq!(gateway.get_from("127.0.0.2", "/api/public/x", &[]).status(), 200);
    let from = |gateway: &Gateway, source: &str| gateway.get_from(source, "/api/public/x", &[]).status();
    for (source, status) in [("127.0.0.3", 503), ("127.0.0.4", 200), ("127.0.0.7", 200), ("127.0.0.8", 503)] {
        assert_eq!(from(&gateway, source), status, "{source}");
    }
    // A network is what the policy of now says it is.
    gateway.site.policy(&[PUBLIC_ONLY, NO_BANS, &testers("127.0.0.8")].concat());
    gateway.reload("ok");
    assert_eq!((from(&gateway, "127.0.0.4"), from(&gateway, "127.0.0.8")), (503, 200));
    gateway.check_refused("denied", &gateway.get("/api/secret", &[]), 403, "rbac.no_matching_grant");
    assert_eq!(upstream.requests().len(), 4);
    assert_eq!(gateway.stop().iter().filter(|event| event["kind"] == "access.denied").count(), 1, "no event for a 503");
}

#[test]
fn a_canary_gets_its_share_of_what_is_permitted_and_who_asks_for_it_gets_it() {
    let (old, new) = (Upstream::replying(Reply::bytes("old")), Upstream::replying(Reply::bytes("new")));
    let mut site = Site::without_route(&old.url());
    site.add(&format!("[[upstream]]\nname = \"new\"\nendpoints = [\"{}\"]\n", new.url()));
    site.add("[[upstream]]\nname = \"down\"\nendpoints = [\"http://127.0.0.1:1\"]\n");
    site.add(
        "[[route]]\nname = \"app\"\npaths = [\"/api/**\"]\nsticky = \"address\"\nsplit = [{ upstream = \"app\" }, { upstream = \"new\" },\n\
         { upstream = \"new\", when = { headers = { x-canary = \"1\" } } }, { upstream = \"down\", when = { headers = { x-canary = \"2\" } } }]\n",
    );
    site.policy(&[PUBLIC_ONLY, NO_BANS].concat());
    let gateway = site.start();
    let get = |from: &str, headers: &[(&str, &str)]| gateway.get_from(from, "/api/public/x", headers).text().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for last in 2..40 {
        let from = format!("127.0.0.{last}");
        let first = get(&from, &[]);
        assert_eq!(get(&from, &[]), first, "{from} keeps its upstream");
        assert_eq!(get(&from, &[("X-Canary", "1")]), "new");
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both upstreams take part");
    // The choice changes nothing about who may come, and the event names what was chosen, if it came to that.
    let denied = gateway.get("/api/secret", &[("X-Canary", "1")]);
    let event = gateway.check_refused("denied", &denied, 403, "rbac.no_matching_grant");
    assert_eq!(event["upstream"]["name"], Value::Null);
    let failed = gateway.get("/api/public/x", &[("X-Canary", "2")]);
    let event = gateway.check_refused("down", &failed, 502, "upstream.unreachable");
    assert_eq!(event["upstream"]["name"], "down");
}

#[test]
fn routes_without_an_upstream_are_asked_about_like_any_other() {
    let upstream = Upstream::start();
    let site = site(&upstream, "paths = [\"/old/**\"]\nredirect = { to = \"/new/**\" }");
    site.policy(&[OPEN, NO_BANS].concat());
    let ask = |arguments: &[&str], code: i32, says: &str| {
        let finished = site.run(arguments);
        assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
        assert!(finished.stdout.join("\n").contains(says), "{arguments:?}: {finished:?}");
    };
    ask(&["check"], 0, "1 route");
    ask(&["can", "GET", "/old/x", "--as", "alice"], 0, "permit");
    ask(&["explain", "PATCHY", "/old/x", "--as", "alice"], 1, "rbac.no_matching_grant");
    ask(&["list", "--as", "alice"], 0, "app");
}
