//! What the policy says, said by the live gateway. Every class of decision is in `decisions`; here is what only a live
//! request can show: who is told what, and what reaches the upstream.

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wire::request;
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, Gateway, NO_BANS, Site, bearer, claims};

const POLICY: &str = r#"
[[network]]
name = "office"
addresses = ["127.0.0.0/29"]
[[network]]
name = "tor"
addresses = ["127.0.0.66"]

[[resource]]
route = "inside"
networks = { allow = ["office"], deny = ["tor"] }
[[resource]]
route = "shadowed"
networks = { allow = ["tor"] }
mode = "shadow"

[[role]]
name = "reader"
permissions = [{ actions = ["GET /invoices/**"], not_actions = ["GET /invoices/*/bank-details"] }]
[[role]]
name = "admin"
inherits = ["reader"]
permissions = [{ actions = ["* /**"] }]

[[group]]
name = "finance"
members = ["user:alice", "group:auditors"]

[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance"]
scope = "*"
[[assignment]]
name = "root-with-mfa"
role = "admin"
principals = ["user:root"]
scope = "*"
when = { assurance = "mfa" }
[[assignment]]
name = "last-year"
role = "admin"
principals = ["user:former"]
scope = "*"
expires = 2020-01-01T00:00:00Z

[[deny]]
name = "no-exports"
principals = ["group:contractors"]
actions = ["GET /invoices/export"]
scope = "*"
explain = "Exports need an employee. Ask the data desk."

[step_up]
mfa = { acr = ["urn:mfa"], amr = ["otp"] }
max_age = "1h"
"#;

struct World {
    gateway: Gateway,
    upstream: Upstream,
    signer: SigningKey,
}

fn world() -> World {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::without_route(&upstream.url());
    for (name, more) in [("app", ""), ("inside", ""), ("shadowed", ""), ("open-hearted", "disclose = \"caller\"")] {
        site.add(&format!("[[route]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nupstream = \"app\"\n{more}\n"));
    }
    site.accept_tokens(&[&signer], "trust_groups = [\"finance\"]");
    site.policy(&[POLICY, NO_BANS].concat());
    World { gateway: site.start(), upstream, signer }
}

impl World {
    fn ask(
        &self,
        route: &str,
        method: &str,
        target: &str,
        user: &str,
        groups: &[&str],
    ) -> portcullis_testkit::wire::Answer {
        let authorization = bearer(&self.signer, &claims(user).groups(groups));
        let host = format!("{route}.test");
        self.gateway.send(request(method, target, &[("host", &host), ("authorization", &authorization)], b""))
    }
}

#[test]
fn roles_groups_and_denies_decide() {
    let world = world();
    let check = |method: &str, target: &str, user: &str, groups: &[&str], expected: Result<(), &str>| {
        let answer = world.ask("app", method, target, user, groups);
        let what = format!("{method} {target} as {user} in {groups:?}");
        match expected {
            Ok(()) => assert_eq!(answer.status(), 200, "{what}"),
            Err(reason) => {
                let event = world.gateway.check_refused(&what, &answer, 403, reason);
                assert_eq!(
                    (&event["identity"]["id"], &event["identity"]["method"]),
                    (&json!(user), &json!("jwt")),
                    "{what}"
                );
                assert_eq!(event["decision"], "deny", "{what}");
            }
        }
    };
    const NO_GRANT: Result<(), &str> = Err("rbac.no_matching_grant");
    check("GET", "/invoices/7", "alice", &[], Ok(()));
    check("GET", "/invoices", "alice", &[], Ok(()));
    check("GET", "/invoices/7?export=1", "alice", &[], Ok(()));
    check("GET", "/invoices/7/bank-details", "alice", &[], NO_GRANT);
    check("POST", "/invoices/7", "alice", &[], NO_GRANT);
    check("GET", "/Invoices/7", "alice", &[], NO_GRANT);
    check("GET", "/invoices/7", "Alice", &[], NO_GRANT);
    check("GET", "/invoices/7", "bob", &[], NO_GRANT);
    // The provider may put callers into `finance`, and into no other local group; `auditors` is nobody's local group.
    check("GET", "/invoices/7", "bob", &["finance"], Ok(()));
    check("GET", "/invoices/7", "bob", &["Finance"], NO_GRANT);
    check("GET", "/invoices/7", "bob", &["auditors"], Ok(()));
    check("GET", "/invoices/export", "alice", &[], Ok(()));
    check("GET", "/invoices/export", "alice", &["contractors"], Err("rbac.explicit_deny"));
    check("GET", "/invoices/%65xport", "alice", &["contractors"], Err("rbac.explicit_deny"));
    check("GET", "/invoices/7", "alice", &["contractors"], Ok(()));
    check("GET", "/invoices/7", "former", &[], Err("rbac.assignment_expired"));
}

#[test]
fn networks_are_judged_before_credentials() {
    let world = world();
    let check = |source: &str, credential: Option<&str>, status: u16, reason: &str| {
        let mut headers = vec![("host", "inside.test")];
        headers.extend(credential.map(|value| ("authorization", value)));
        let answer = world.gateway.get_from(source, "/invoices/7", &headers);
        if status == 200 {
            assert_eq!(answer.status(), 200, "{source}");
        } else {
            let event = world.gateway.check_refused(source, &answer, status, reason);
            assert_eq!(event["client"]["ip"], source);
        }
    };
    let alice = bearer(&world.signer, &claims("alice"));
    check("127.0.0.1", Some(&alice), 200, "");
    check("127.0.0.7", Some(&alice), 200, "");
    check("127.0.0.7", None, 401, "authn.missing");
    check("127.0.0.8", Some(&alice), 403, "ip.not_allowed");
    check("127.0.0.8", Some("Bearer rubbish"), 403, "ip.not_allowed");
    check("127.0.0.66", Some(&alice), 403, "ip.denied");
    assert_eq!(world.upstream.requests().len(), 2);
}

#[test]
fn what_is_in_shadow_mode_is_reported_and_changes_nothing() {
    let world = world();
    assert_eq!(world.ask("shadowed", "GET", "/invoices/7", "alice", &[]).status(), 200);
    assert_eq!(world.ask("shadowed", "GET", "/other", "alice", &[]).status(), 403, "grants stay enforced");
    let events = world.gateway.stop();
    let allowed: Vec<&Value> = events.iter().filter(|event| event["kind"] == "access.allowed").collect();
    assert_eq!(allowed.len(), 1, "{events:#?}");
    assert_eq!(allowed[0]["shadow"][0]["reason"], "ip.not_allowed");
    assert_eq!(allowed[0]["decision"], "permit");
}

#[test]
fn a_step_up_says_what_is_missing_as_rfc_9470_does() {
    let world = world();
    let ask = |more: &[(&str, Value)]| {
        let claims = more.iter().fold(claims("root"), |claims, (name, value)| claims.set(name, value.clone()));
        let authorization = bearer(&world.signer, &claims);
        world.gateway.send(request(
            "DELETE",
            "/invoices/7",
            &[("host", "app.test"), ("authorization", &authorization)],
            b"",
        ))
    };
    let now = claims("root").get("iat").unwrap().as_i64().unwrap();
    for (what, more) in [
        ("nothing is said", vec![]),
        ("strong but nobody knows when", vec![("acr", json!("urn:mfa"))]),
        ("strong but long ago", vec![("acr", json!("urn:mfa")), ("auth_time", json!(now - 3_700))]),
        ("fresh but weak", vec![("acr", json!("urn:pwd")), ("amr", json!(["pwd"])), ("auth_time", json!(now))]),
    ] {
        let answer = ask(&more);
        let event = world.gateway.check_refused(what, &answer, 401, "step_up.required");
        assert_eq!(event["decision"], "step_up", "{what}");
        let challenge = answer.header("www-authenticate").unwrap();
        for part in [
            "Bearer realm=\"portcullis\"",
            "error=\"insufficient_user_authentication\"",
            "acr_values=\"urn:mfa\"",
            "max_age=\"3600\"",
        ] {
            assert!(challenge.contains(part), "{what}: {challenge}");
        }
        assert_eq!(event["remedy"]["acr_values"], json!(["urn:mfa"]), "{what}");
        assert_eq!(event["remedy"]["max_age_s"], 3_600, "{what}");
    }
    assert!(world.upstream.requests().is_empty());
    assert_eq!(ask(&[("acr", json!("urn:mfa")), ("auth_time", json!(now))]).status(), 200);
    assert_eq!(ask(&[("amr", json!(["pwd", "otp"])), ("auth_time", json!(now - 3_000))]).status(), 200);
}

#[test]
fn an_api_client_whose_authentication_is_too_old_for_a_grant_or_a_route_is_told_how_old_it_may_be() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::without_route(&upstream.url());
    for name in ["app", "vault"] {
        site.add(&format!("[[route]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nupstream = \"app\"\n"));
    }
    site.accept_tokens(&[&signer], "");
    site.policy(
        "[[resource]]\nroute = \"vault\"\nassurance = \"mfa\"\nmax_age = \"5m\"\n\
         [[role]]\nname = \"all\"\npermissions = [{ actions = [\"* /**\"] }]\n\
         [[assignment]]\nname = \"who-has-just-logged-in\"\nrole = \"all\"\nprincipals = [\"authenticated\"]\n\
         scope = \"*\"\nwhen = { max_age = \"1h\" }\n[ban]\nmode = \"off\"\n",
    );
    let gateway = site.start();
    let now = claims("u").get("iat").unwrap().as_i64().unwrap();
    let ask = |host: &str, age: Option<i64>, amr: &str| {
        let claims = claims("u").set("amr", json!([amr]));
        let claims = age.map_or_else(|| claims.clone(), |age| claims.clone().set("auth_time", json!(now - age)));
        let authorization = bearer(&signer, &claims);
        gateway.send(request("GET", "/x", &[("host", host), ("authorization", &authorization)], b""))
    };
    assert_eq!(ask("app.test", Some(3_000), "pwd").status(), 200);
    for (host, age, amr, max_age, acr, words) in [
        ("app.test", Some(3_700), "pwd", 3_600, false, "assignment who-has-just-logged-in demands it, at most 1h ago"),
        ("app.test", None, "otp", 3_600, false, "assignment who-has-just-logged-in demands it, at most 1h ago"),
        ("vault.test", Some(10), "pwd", 300, true, "resource vault demands it, at most 5m ago"),
        ("vault.test", Some(400), "otp", 300, true, "resource vault demands it, at most 5m ago"),
    ] {
        let answer = ask(host, age, amr);
        let event = gateway.check_refused(host, &answer, 401, "step_up.required");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
        assert!(challenge.ends_with(&format!("max_age=\"{max_age}\"")), "{challenge}");
        assert_eq!(challenge.contains("acr_values=\"urn:mfa\""), acr, "{challenge}");
        assert!(event["message"].as_str().unwrap().contains(words), "{event:#}");
        assert_eq!(event["remedy"]["acr_values"], if acr { json!(["urn:mfa"]) } else { json!(null) });
        assert_eq!(event["remedy"]["max_age_s"], max_age);
        let checks = event["checks"].to_string();
        assert!(
            checks.contains("is demanded") || checks.contains("the route demands a fresh mfa of at most 5m ago"),
            "{event:#}"
        );
    }
    assert_eq!(ask("vault.test", Some(200), "otp").status(), 200, "with what was asked for it is let in");
    let explained = gateway.site.run(&[
        "explain",
        "GET",
        "http://vault.test/x",
        "--as",
        "u",
        "--authenticated",
        "10m",
        "--assurance",
        "mfa",
    ]);
    let text = explained.stdout.join("\n");
    assert!(text.contains("step_up.required") && text.contains("authentication:5m"), "{text}");
    let can = ["can", "GET", "http://vault.test/x", "--as", "u", "--authenticated", "5m", "--assurance", "mfa"];
    assert_eq!(gateway.site.run(&can).status.code(), Some(0));
}

#[test]
fn callers_are_told_no_more_than_the_route_discloses() {
    let world = world();
    let secretive = world.ask("app", "GET", "/invoices/7", "bob", &[]);
    let open = world.ask("open-hearted", "GET", "/invoices/7", "bob", &[]);
    for answer in [&secretive, &open] {
        let event = world.gateway.check_refused("bob", answer, 403, "rbac.no_matching_grant");
        // The operator is told everything in either case.
        assert!(event["nearest"].to_string().contains("role:reader"), "{event:#}");
        assert_eq!(event["remedy"]["help"], "https://portcullis.example/denials/rbac.no_matching_grant");
        assert_eq!(answer.json()["type"], event["remedy"]["help"]);
        assert_eq!(event["policy"]["version"], 1);
        assert_eq!(event["policy"]["sha256"].as_str().unwrap().len(), 64);
        assert!(event["checks"].as_array().is_some_and(|checks| checks.len() >= 3), "{event:#}");
    }
    for word in ["reader", "finance", "policy.toml", "nearest"] {
        assert!(!secretive.text().contains(word), "{}", secretive.text());
    }
    let nearest = open.json()["nearest"].to_string();
    assert!(nearest.contains("role:reader") && nearest.contains("group:finance"), "{nearest}");
    // What a rule's author wrote for the caller is told on every route, with the rule's place told to the operator alone.
    let denied = world.ask("app", "GET", "/invoices/export", "alice", &["contractors"]);
    let event = world.gateway.check_refused("contractor", &denied, 403, "rbac.explicit_deny");
    assert_eq!(denied.json()["detail"], "Exports need an employee. Ask the data desk.");
    assert_eq!(event["policy"]["rule"], "no-exports");
    let text = std::fs::read_to_string(world.gateway.site.path("policy.toml")).unwrap();
    let line = text.lines().position(|line| line == "[[deny]]").unwrap() + 1;
    let found = event["policy"]["line"].as_u64().unwrap() as usize;
    assert!((line..line + 2).contains(&found), "the deny is in line {line}, the event says {found}");
    assert_eq!(AUDIENCE, "app");
}
