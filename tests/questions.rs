//! `list` and `who-can`: what the binary says of a whole policy, and that it is what `can` says of each request.

use std::fs;

use portcullis_testkit::wait::PATIENCE;
use serde_json::{Value, json};

use crate::harness::{Site, portcullis, repository};

const POLICY: &str = r#"
[[network]]
name = "office"
addresses = ["203.0.113.0/24"]
[[resource]]
route = "office"
networks = { allow = ["office"] }
[[role]]
name = "reader"
permissions = [{ actions = ["GET,HEAD /invoices/**"], not_actions = ["GET /invoices/*/bank-details", "HEAD /**"] }]
[[role]]
name = "admin"
permissions = [{ actions = ["* /**"] }]
[[group]]
name = "finance"
members = ["user:alice", "group:emea"]
[[group]]
name = "emea"
members = ["user:erik"]
[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance", "service:robot", "user:eve"]
scope = "app"
[[assignment]]
name = "root"
role = "admin"
principals = ["user:root"]
scope = "*"
when = { networks = ["office"], assurance = "mfa", device = "compliant" }
[[assignment]]
name = "last-year"
role = "admin"
principals = ["user:carol"]
scope = "app"
expires = 2026-01-01T00:00:00Z
[[deny]]
name = "no-eve"
principals = ["user:eve"]
actions = ["* /**"]
scope = "*"
"#;

fn asked() -> Site {
    let mut site = Site::without_route("http://127.0.0.1:1");
    site.add("[[route]]\nname = \"app\"\nhosts = [\"app.test\"]\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"office\"\nhosts = [\"office.test\"]\nupstream = \"app\"\n");
    site.policy(POLICY);
    site
}

/// What a question says on standard output, and its exit code.
fn said(site: &Site, question: &str) -> (Option<i32>, String) {
    let arguments: Vec<&str> = question.split(' ').collect();
    let finished = site.run(&arguments);
    (finished.status.code(), finished.stdout.join("\n"))
}

fn json_of(site: &Site, question: &str) -> Value {
    let (_, text) = said(site, question);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{question}: {error}: {text}"))
}

#[test]
fn list_shows_each_route_with_its_grants_and_what_they_need() {
    let site = asked();
    let check = |question: &str, code: i32, words: &[&str]| {
        let (exit, text) = said(&site, question);
        // Columns are aligned; what matters here is what stands in them.
        let squeezed: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(exit, Some(code), "{question}: {text}");
        for expected in words {
            assert!(squeezed.iter().any(|line| line.contains(expected)), "{question}: {expected}\n{text}");
        }
    };
    check(
        "list --as erik",
        0,
        &[
            "route app app.test /**",
            "now GET /invoices/** except GET /invoices/*/bank-details group:finance reader finance-reads policy.toml:",
            "no grant on office",
        ],
    );
    check(
        "list --as root",
        1,
        &[
            "user:root may do nothing now",
            "needs network:office? and device:compliant? and assurance:mfa * /** user:root admin root policy.toml:",
            "cannot be entered: deny ip.not_allowed needs network:office?",
            "? what it asks for is unknown",
        ],
    );
    check("list --as root --ip 203.0.113.7 --assurance mfa --device compliant", 0, &["now * /** user:root admin root"]);
    check(
        "list --as root --ip 198.51.100.1 --device noncompliant",
        1,
        &["needs network:office and device:compliant and"],
    );
    check("list --as carol", 1, &["expired 2026-01-01T00:00:00Z * /**"]);
    check(
        "list --as eve",
        1,
        &["now, denied by no-eve GET /invoices/** except", "denied now * /** user:eve deny no-eve policy.toml:"],
    );
    check("list --as nobody --role admin --host app.test", 0, &["now * /** user:nobody admin directly"]);
    check("list", 1, &["anyone may do nothing now", "no grant on app, office"]);
    check("list --as authenticated", 1, &["authenticated may do nothing now"]);
    check("list --as erik -q", 0, &[]);
    for nonsense in
        ["list GET", "list --as wizard:merlin", "list --host /x", "list --group finance", "list --country Germany"]
    {
        check(nonsense, 2, &[]);
    }
    assert!(said(&site, "list --as erik -q").1.is_empty());
}

#[test]
fn list_has_its_form_as_json() {
    let site = asked();
    let listed = json_of(&site, "list --as erik -o json");
    assert_eq!(
        (&listed["principal"], &listed["permits_now"], &listed["omitted"]),
        (&json!("user:erik"), &json!(true), &json!(0))
    );
    assert_eq!(listed["policy"]["version"], 1);
    let routes = listed["route"].as_array().unwrap();
    let names: Vec<&Value> = routes.iter().map(|route| &route["name"]).collect();
    assert_eq!(names, ["app", "office"], "every route, with grants or without");
    assert_eq!((&routes[0]["enter"], &routes[0]["demands"]["authentication"]), (&json!("now"), &json!("required")));
    assert_eq!(
        (&routes[1]["enter"], &routes[1]["obstacle"][0]["reason"]),
        (&json!("refused"), &json!("ip.not_allowed"))
    );
    assert_eq!(routes[1]["obstacle"][0]["unknown"], json!(["network:office"]));
    let line = 1 + POLICY.lines().position(|line| line == "name = \"finance-reads\"").unwrap() + 1;
    let grant = json!({
        "effect": "grant", "assignment": "finance-reads", "role": "reader", "through": ["group:finance"],
        "state": "now", "needs": [], "unknown": [], "at": null, "shadow": false,
        "actions": [{ "action": "GET /invoices/**", "except": ["GET /invoices/*/bank-details"], "denied_by": null }],
        "more_actions": 0, "file": "policy.toml", "line": line,
    });
    let mut found = routes[0]["grant"][0].clone();
    let file = found["file"].as_str().unwrap().to_owned();
    assert!(file.ends_with("policy.toml"), "{file}");
    found["file"] = json!("policy.toml");
    assert_eq!((found, routes[0]["grant"].as_array().unwrap().len()), (grant, 1));

    let (exit, lines) = said(&site, "-o jsonl list --as eve");
    assert_eq!(exit, Some(1));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let effects: Vec<(&Value, &Value)> = lines.iter().map(|line| (&line["route"], &line["effect"])).collect();
    let (grant, deny) = (json!("grant"), json!("deny"));
    assert_eq!(effects, [(&json!("app"), &grant), (&json!("app"), &deny), (&json!("office"), &deny)]);
    assert_eq!(lines[0]["actions"][0]["denied_by"]["name"], "no-eve");
    assert_eq!(
        (&lines[1]["deny"], &lines[1]["state"], &lines[1]["undecided"]),
        (&json!("no-eve"), &json!("now"), &json!(false))
    );
}

#[test]
fn who_can_names_whoever_can_and_whoever_is_refused() {
    let site = asked();
    let check = |question: &str, code: i32, words: &[&str]| {
        let (exit, text) = said(&site, question);
        let squeezed: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(exit, Some(code), "{question}: {text}");
        for expected in words {
            assert!(squeezed.iter().any(|line| line.starts_with(expected)), "{question}: {expected}\n{text}");
        }
    };
    check(
        "who-can GET http://app.test/invoices/7?x=y",
        0,
        &[
            "GET /invoices/7 route app",
            "user:carol expired 2026-01-01T00:00:00Z admin last-year",
            "user:root needs network:office? and device:compliant? and assurance:mfa admin root",
            "service:robot now reader finance-reads",
            "group:finance (2) now reader finance-reads",
            "user:alice through group:finance",
            "user:erik through group:finance > group:emea",
            "and whoever holds a role directly (key or token): admin, reader",
            "user:eve deny no-eve",
            "no-eve policy.toml:",
        ],
    );
    check("who-can GET /invoices/7/bank-details --host app.test", 0, &["user:root needs"]);
    check(
        "who-can DELETE /x --host office.test --ip 203.0.113.7 --assurance mfa --device compliant",
        0,
        &["user:root now"],
    );
    check(
        "who-can DELETE /x --host office.test --ip 198.51.100.1",
        0,
        &["cannot be entered: deny ip.not_allowed needs network:office ("],
    );
    check("who-can GET /x --host elsewhere.test", 1, &["deny route.not_found: nobody can GET /x"]);
    check("who-can GET /a/../b", 1, &["deny request.path_ambiguous"]);
    check("-q who-can GET /invoices/7 --host app.test", 0, &[]);
    for nonsense in [
        "who-can GET",
        "who-can GET invoices",
        "who-can GET /x",
        "who-can GET /x --as alice",
        "who-can GET /x --role admin",
    ] {
        check(nonsense, 2, &[]);
    }
    let lonely = asked();
    lonely.policy("[[role]]\nname = \"admin\"\npermissions = [{ actions = [\"* /**\"] }]\n");
    let (exit, text) = said(&lonely, "who-can GET /x --host app.test");
    assert_eq!(exit, Some(1));
    assert!(text.contains("nobody that the policy names") && text.contains("directly (key or token): admin"), "{text}");
}

#[test]
fn who_can_has_its_form_as_json() {
    let site = asked();
    let who = json_of(&site, "who-can GET /invoices/7 --host app.test -o json");
    assert_eq!(
        (&who["method"], &who["path"], &who["route"], &who["possible"]),
        (&json!("GET"), &json!("/invoices/7"), &json!("app"), &json!(true))
    );
    let allowed = who["allowed"].as_array().unwrap();
    let subjects: Vec<&Value> = allowed.iter().map(|each| &each["subject"]).collect();
    assert_eq!(subjects, ["user:carol", "user:root", "service:robot", "group:finance"]);
    assert_eq!(allowed[1]["grant"][0]["needs"], json!(["network:office", "device:compliant", "assurance:mfa"]));
    assert_eq!(allowed[1]["grant"][0]["unknown"], json!(["network:office", "device:compliant"]));
    assert_eq!(
        allowed[3]["members"],
        json!({ "total": 2, "shown": [
            { "subject": "user:alice", "through": ["group:finance"], "denied_by": null },
            { "subject": "user:erik", "through": ["group:finance", "group:emea"], "denied_by": null },
        ] })
    );
    assert_eq!(
        (&who["denied"][0]["subject"], &who["denied"][0]["denied_by"]["name"]),
        (&json!("user:eve"), &json!("no-eve"))
    );
    assert_eq!((&who["deny"][0]["principals"], &who["deny"][0]["state"]), (&json!(["user:eve"]), &json!("now")));
    assert_eq!(
        who["held_directly"],
        json!({ "roles": ["admin", "reader"], "now": true, "denied_by": null, "risk": null })
    );
    let (_, lines) = said(&site, "who-can GET /invoices/7 --host app.test -o jsonl");
    let subjects: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["subject"].clone()).collect();
    assert_eq!(subjects, ["user:carol", "user:root", "service:robot", "group:finance", "user:eve"]);
}

/// What is listed as permitted now, and as refused by no deny, is what `can` permits: the property of the engine, once through
/// the real program.
#[test]
fn what_is_listed_is_what_can_permits() {
    let site = asked();
    let mut permitted = 0;
    for who in ["erik", "root", "carol", "eve", "service:robot"] {
        for facts in ["", " --ip 203.0.113.7 --assurance mfa --device compliant"] {
            for host in ["app.test", "office.test"] {
                let listed = json_of(&site, &format!("list --as {who} --host {host} -o json{facts}"));
                for (request, action) in [("GET /invoices/7", "GET /invoices/**"), ("DELETE /x", "* /**")] {
                    let (exit, _) = said(&site, &format!("can {request} --as {who} --host {host}{facts}"));
                    let route = &listed["route"][0];
                    let grants = route["grant"].as_array().unwrap().iter().filter(|grant| grant["state"] == "now");
                    let named = |each: &&Value| each["action"] == action || each["action"] == "* /**";
                    let says = route["enter"] == "now"
                        && grants
                            .flat_map(|grant| grant["actions"].as_array().unwrap())
                            .filter(named)
                            .any(|each| each["denied_by"].is_null());
                    assert_eq!(says, exit == Some(0), "{who} {request} {host}{facts}: {listed:#}");
                    permitted += usize::from(says);
                }
            }
        }
    }
    assert_eq!(permitted, 8, "the cases are not all of one kind");
}

#[test]
fn a_fact_that_was_left_out_does_not_make_a_question_hopeless() {
    let site = asked();
    site.policy(&POLICY.replace("networks = { allow =", "networks = { deny ="));
    let check = |address: &str, code: i32, words: &str| {
        let (exit, text) = said(&site, &format!("who-can DELETE /x --host office.test{address}"));
        assert_eq!(exit, Some(code), "{address}: {text}");
        assert!(text.contains(words), "{address}: {text}");
    };
    check("", 0, "cannot be entered: undecided policy.unavailable: whether the client is in these networks is unknown");
    check(" --ip 203.0.113.7", 1, "cannot be entered: deny ip.denied");
    check(" --ip 198.51.100.1", 0, "user:root  needs");
}

#[test]
fn an_invalid_configuration_answers_nothing() {
    let folder = repository("config");
    let text = fs::read_to_string(folder.join("portcullis.toml")).unwrap();
    let site = asked();
    site.file("portcullis.toml", &text.replace("[[listener]]", "[[listner]]"));
    let config = site.path("portcullis.toml");
    for verb in [&["list", "--as", "alice"][..], &["who-can", "GET", "/"]] {
        let finished = portcullis().arg("-c").arg(&config).args(verb).run(PATIENCE);
        assert_eq!((finished.status.code(), finished.stdout.len()), (Some(3), 0), "{verb:?}: {finished:?}");
    }
}

/// A question may be made of what somebody else wrote, such as a line of a log.
#[test]
fn no_word_of_a_question_speaks_to_the_terminal() {
    let site = asked();
    let odd = "odd\u{1b}[2J\u{202e}name";
    let (place, elsewhere) = ("http://app.test/a", format!("http://app.test/{odd}"));
    for question in [
        &["can", "GET", place, "--as", "user:alice", "--role", odd][..],
        &["explain", "GET", place, "--as", "user:alice", "--role", odd],
        &["list", "--as", "user:alice", "--role", odd],
        &["list", "--host", odd],
        &["can", "GET", &elsewhere],
        &["explain", "GET", &elsewhere],
        &["who-can", "GET", &elsewhere],
    ] {
        let finished = site.run(question);
        let said = [finished.stdout.join("\n"), finished.stderr.join("\n")].concat();
        assert!(!said.is_empty() && !said.contains(['\u{1b}', '\u{202e}']), "{question:?}: {said:?}");
    }
}
