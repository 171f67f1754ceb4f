//! A refusal in the form that the caller wants: a problem for programs, a page for people, a status for gRPC. There is one event
//! whatever the form, with the status that was meant.

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wire::{Answer, request};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site};

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const GRPC: (&str, &str) = ("Content-Type", "application/grpc+proto");

fn site(upstream: &str) -> Site {
    let site = Site::new(upstream);
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    site
}

/// The event of a refused request, which its answer names only in the header.
fn event_of(gateway: &Gateway, answer: &Answer) -> Value {
    gateway.events.wait_for_request(answer.header("x-request-id").unwrap())
}

#[test]
fn a_browser_gets_a_page_that_tells_what_a_problem_tells() {
    let upstream = Upstream::start();
    let gateway = site(&upstream.url()).start();
    let answer = gateway.get("/secret", &[BROWSER]);
    assert_eq!((answer.status(), answer.header("content-type")), (401, Some("text/html; charset=utf-8")));
    assert_eq!(
        (answer.header("cache-control"), answer.header("x-content-type-options")),
        (Some("no-store"), Some("nosniff"))
    );
    assert!(answer.header("www-authenticate").is_some());
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let (page, id) = (answer.text(), answer.header("x-request-id").unwrap());
    for part in ["<html lang=\"en\">", "<main>", "<h1>", "authn.missing", id, "/denials/authn.missing\""] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let event = event_of(&gateway, &answer);
    assert_eq!((&event["reason"], &event["status"]), (&"authn.missing".into(), &401.into()));
    // A program that says nothing, or a star, gets the problem.
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.9"] {
        let refused = gateway.get("/secret", &[("Accept", accept)]);
        gateway.check_refused(accept, &refused, 401, "authn.missing");
    }
}

#[test]
fn head_has_the_fields_of_the_page_and_no_body() {
    let upstream = Upstream::start();
    let gateway = site(&upstream.url()).start();
    let mut connection = gateway.conn();
    for headers in [&[BROWSER][..], &[]] {
        connection.send(request("GET", "/x", headers, b""));
        let length = connection.answer().body.len().to_string();
        connection.send(request("HEAD", "/x", headers, b""));
        let head = connection.answer_without_body();
        assert_eq!((head.status(), head.header("content-length")), (401, Some(length.as_str())), "{headers:?}");
    }
    connection.send(request("GET", "/x", &[], b""));
    assert_eq!(connection.answer().status(), 401, "nothing followed the answer to HEAD");
}

#[test]
fn the_operators_template_is_filled_in_and_runs_no_script() {
    let upstream = Upstream::start();
    let mut site = Site::new("http://127.0.0.1:1");
    site.add("[refusal]\nhtml = \"any.html\"\nhtml_4xx = \"4xx.html\"\n");
    site.file("any.html", "<title>{{status}}</title><script>alert(1)</script>{{reason}} {{request_id}}");
    site.file("4xx.html", "<p>{{ detail }}</p><a href=\"{{help}}\">");
    let deny = "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /ok\"] }]\n\
                [[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"anyone\"]\nscope = \"*\"\n\
                [[resource]]\nroute = \"app\"\nauthentication = \"none\"\n\
                [[deny]]\nname = \"d\"\nprincipals = [\"anyone\"]\nactions = [\"GET /d\"]\nscope = \"*\"\n\
                explain = \"Ask <b>Tom</b> & \\\"Jerry\\\".\"\n";
    site.policy(&[deny, NO_BANS].concat());
    let gateway = site.start();
    let denied = gateway.get("/d", &[BROWSER]);
    assert_eq!(
        (denied.status(), denied.text()),
        (
            403,
            "<p>Ask &lt;b&gt;Tom&lt;/b&gt; &amp; &quot;Jerry&quot;.</p>\
             <a href=\"https://portcullis.example/denials/rbac.explicit_deny\">"
        )
    );
    let failed = gateway.get("/ok", &[BROWSER]);
    let id = failed.header("x-request-id").unwrap();
    let expected = format!("<title>502</title><script>alert(1)</script>upstream.unreachable {id}");
    assert_eq!((failed.status(), failed.text()), (502, expected.as_str()));
    let policy = failed.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    drop(upstream);
}

#[test]
fn a_grpc_client_gets_a_status_it_understands() {
    let upstream = Upstream::replying(Reply::raw("garbage\r\n\r\n"));
    let mut site = site(&upstream.url());
    let key = site.key("caller", "service:caller", "");
    let gateway = site.start();
    let check = |target: &str, headers: &[(&str, &str)], code: &str, status: u16, reason: &str| {
        let answer = gateway.send(request("POST", target, &[&[GRPC], headers].concat(), b"\0\0\0\0\0"));
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/grpc")), "{target}");
        assert_eq!(answer.header("grpc-status"), Some(code), "{target}");
        let (message, id) = (answer.header("grpc-message").unwrap(), answer.header("x-request-id").unwrap());
        assert!(message.starts_with(&format!("{reason}: ")) && message.contains(id), "{message}");
        assert!(answer.body.is_empty());
        let event = event_of(&gateway, &answer);
        assert_eq!((&event["status"], &event["reason"]), (&status.into(), &reason.into()), "{target}");
    };
    check("/svc/Call", &[BROWSER], "16", 401, "authn.missing");
    check("/svc/../Call", &[], "3", 400, "request.path_ambiguous");
    check("/svc/Call", &[("x-api-key", &key)], "14", 502, "upstream.protocol");
}

#[test]
fn maintenance_has_the_same_three_forms() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\nmaintenance = { retry_after = \"2m\" }\n");
    let gateway = site.start();
    let page = gateway.get("/", &[BROWSER]);
    assert_eq!((page.status(), page.header("content-type")), (503, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("under maintenance") && page.text().contains(page.header("x-request-id").unwrap()));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let grpc = gateway.send(request("POST", "/", &[GRPC], b""));
    assert_eq!((grpc.status(), grpc.header("grpc-status"), grpc.header("retry-after")), (200, Some("14"), Some("120")));
    assert_eq!(gateway.get("/", &[]).json()["status"], 503);
}
