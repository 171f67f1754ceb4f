//! Whoever is refused asks for access, and activates what they are eligible for, by themselves: over HTTP, with nothing but their own credential.

use portcullis_testkit::process::Finished;
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Answer, request};
use serde_json::{Value, json};

use crate::harness::{Gateway, NO_BANS, Site, bearer, claims, of_kind, portcullis};

const REQUESTS: &str = "/.portcullis/access-requests";
const ACTIVATIONS: &str = "/.portcullis/activations";

/// Whoever is refused on `app` may ask; alice is eligible for a few things, and nobody else.
const POLICY: &str = r#"
[[resource]]
route = "app"
requestable = true

[[resource]]
route = "open"
authentication = "none"

[[role]]
name = "admin"
permissions = [{ actions = ["* /admin/**"] }]

[[role]]
name = "operator"
permissions = [{ actions = ["GET /ops/**"] }]

[[assignment]]
name = "alice-administers"
role = "admin"
principals = ["user:alice"]
scope = "*"
activation = { max = "4h", self = true }

[[assignment]]
name = "dora-administers"
role = "admin"
principals = ["user:dora", "user:mallory"]
scope = "*"
activation = { max = "4h" }

[[deny]]
name = "mallory-is-gone"
principals = ["user:mallory"]
actions = ["* /**"]
scope = "*"

[[assignment]]
name = "on-call"
role = "operator"
principals = ["user:alice"]
scope = "*"
activation = { max = "1h", ticket = "required", approvals = 1 }

[[assignment]]
name = "finance-administers"
role = "admin"
principals = ["group:finance"]
scope = "*"
when = { assurance = "mfa" }
activation = { max = "30m" }

[step_up]
mfa = { acr = ["urn:mfa"], amr = ["otp"] }
max_age = "1h"
"#;

struct World {
    gateway: Gateway,
    upstream: Upstream,
    alice: String,
    bob: String,
    /// Whose assignment does not say that a credential is enough; and somebody who is eligible, and whom a deny names.
    dora: String,
    mallory: String,
    /// A key of alice's, too, for one route alone.
    scoped: String,
    signer: SigningKey,
}

impl World {
    fn start() -> Self {
        Self::start_with("[access]\nself_service = true\n", NO_BANS)
    }

    fn start_with(access: &str, bans: &str) -> Self {
        let upstream = Upstream::start();
        let mut site = Site::without_route(&upstream.url());
        site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\ndisclose = \"caller\"\n");
        site.add("[[route]]\nname = \"open\"\nhosts = [\"open.test\"]\nupstream = \"app\"\n");
        let [alice, bob, dora, mallory] =
            ["alice", "bob", "dora", "mallory"].map(|name| site.key(name, &format!("user:{name}"), ""));
        let scoped = site.key("scoped", "user:alice", "routes = [\"app\"]");
        let signer = SigningKey::ed25519("k");
        site.accept_tokens(&[&signer], "trust_groups = [\"finance\"]");
        site.add("[store]\npath = \"state.db\"\n");
        site.add(access);
        site.policy(&[POLICY, bans].concat());
        Self { gateway: site.start(), upstream, alice, bob, dora, mallory, scoped, signer }
    }

    fn get(&self, target: &str, key: &str) -> Answer {
        self.gateway.get(target, &[("x-api-key", key)])
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.gateway.send(request(method, target, headers, body.as_bytes()))
    }

    fn post(&self, target: &str, key: &str, body: &Value) -> Answer {
        self.send("POST", target, &[("x-api-key", key), ("content-type", "application/json")], &body.to_string())
    }

    /// The event of a refusal that alice met.
    #[track_caller]
    fn refused(&self, target: &str) -> Value {
        let answer = self.get(target, &self.alice);
        assert_eq!(answer.status(), 403, "{}", answer.text());
        answer.json()
    }

    /// Runs an operator's verb that is to be done.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let config = self.gateway.site.path("portcullis.toml");
        let finished: Finished = portcullis().arg("-c").arg(config).args(arguments).run(PATIENCE);
        assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
        finished.stdout.join("\n")
    }

    #[track_caller]
    fn event(&self, kind: &str, count: usize) -> Value {
        let found = || {
            let all = self.gateway.events.all();
            let of = of_kind(&all, kind);
            (of.len() >= count).then(|| of[count - 1].clone())
        };
        wait::until(PATIENCE, found).unwrap_or_else(|| panic!("no event {kind} number {count}"))
    }
}

#[test]
fn whoever_is_refused_asks_is_granted_and_is_refused_again_when_it_is_over() {
    let world = World::start();
    let problem = world.refused("/ops/report");
    assert_eq!(problem["remedy"]["ask"], REQUESTS, "{problem:#}");
    let denied = world.event("access.denied", 1);
    assert_eq!(denied["remedy"]["ask"], ACTIVATIONS, "on-call would help, too, and comes first");
    assert_eq!(problem["remedy"]["assignments"], json!(["on-call"]));

    let asking = json!({ "event": problem["instance"], "justification": "the monthly report" });
    let asked = world.post(REQUESTS, &world.alice, &asking);
    assert_eq!(asked.status(), 202, "{}", asked.text());
    assert_eq!(asked.header("location"), Some("/.portcullis/access-requests/1"));
    assert_eq!(asked.header("cache-control"), Some("no-store"));
    let own = asked.json();
    assert_eq!((&own["state"], &own["about"]), (&"waiting".into(), &"GET app /ops/report".into()), "{own:#}");
    let told = world.event("grant.requested", 1);
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("user:alice was refused GET app /ops/report") && message.contains("the monthly report"));
    assert_eq!(told["client"]["ip"], "127.0.0.1");
    assert_eq!(told["request"]["id"].as_str(), asked.header("x-request-id"));
    assert_eq!(world.get("/ops/report", &world.alice).status(), 403, "to ask is to have nothing");

    // Nobody else sees it, or can ask about it; and it is asked for once.
    assert_eq!(world.get(REQUESTS, &world.alice).json()["requests"][0]["id"], 1);
    assert_eq!(world.get(REQUESTS, &world.bob).json(), json!({ "requests": [] }));
    for (answer, what) in [
        (world.get("/.portcullis/access-requests/1", &world.bob), "another's number"),
        (world.get("/.portcullis/access-requests/2", &world.bob), "no number"),
        (world.get("/.portcullis/activations/1", &world.alice), "a number of the other list"),
        (world.post(REQUESTS, &world.bob, &asking), "another's refusal"),
        (world.send("DELETE", "/.portcullis/access-requests/1", &[("x-api-key", &world.bob)], ""), "another's to end"),
    ] {
        world.gateway.check_refused(what, &answer, 404, "route.not_found");
    }
    let again = world.post(REQUESTS, &world.alice, &asking);
    world.gateway.check_refused("once more", &again, 409, "request.malformed");

    let granted = world.run(&["access", "grant", "1", "--for", "12s"]);
    assert!(granted.contains("role:operator,app of user:alice) is in force until"), "{granted}");
    assert_eq!(world.get("/ops/report", &world.alice).status(), 200);
    assert_eq!(world.get("/ops/report", &world.bob).status(), 403, "nobody else");
    let list = world.get(REQUESTS, &world.alice).json();
    assert_eq!((&list["requests"][1]["state"], &list["requests"][1]["loan"]), (&"granted".into(), &json!(3)));
    assert_eq!(list["requests"][0]["state"], "in_force", "{list:#}");
    assert!(!list.to_string().contains("root"), "who granted it is not said: {list}");

    // It ends by itself.
    world.event("grant.ended", 1);
    let problem = world.refused("/ops/report");
    assert_eq!(problem["remedy"]["ask"], REQUESTS, "and it can be asked for again");
    assert_eq!(world.get("/.portcullis/access-requests/3", &world.alice).json()["state"], "ended");
    assert_eq!(of_kind(&world.gateway.stop(), "grant.ended").len(), 1);
}

#[test]
fn whoever_is_eligible_activates_it_gives_it_up_and_waits_where_others_must_approve() {
    let world = World::start();
    let problem = world.refused("/admin/x");
    assert_eq!(problem["remedy"]["activate"], ACTIVATIONS, "{problem:#}");
    assert_eq!(problem["remedy"]["assignments"], json!(["alice-administers"]));
    let words = "activate with `POST /.portcullis/activations`, or `portcullis access activate alice-administers`";
    assert!(problem["detail"].as_str().unwrap().contains(words), "{problem:#}");
    let eligible = world.get(ACTIVATIONS, &world.alice).json();
    let names: Vec<&Value> = eligible["eligible"].as_array().unwrap().iter().map(|each| &each["assignment"]).collect();
    assert_eq!(names, ["alice-administers", "on-call"]);
    assert_eq!(world.get(ACTIVATIONS, &world.bob).json(), json!({ "activations": [], "eligible": [] }));

    let wanted = json!({ "assignment": "alice-administers", "for_s": 600, "justification": "INC-7" });
    let begun = world.post(ACTIVATIONS, &world.alice, &wanted);
    assert_eq!(begun.status(), 201, "{}", begun.text());
    assert_eq!(begun.header("location"), Some("/.portcullis/activations/1"));
    assert_eq!(world.get("/admin/x", &world.alice).status(), 200);
    let began = world.event("grant.began", 1);
    assert!(began["message"].as_str().unwrap().contains("asked for by user:alice: INC-7"));
    let identity = &began["identity"];
    assert_eq!((&identity["id"], &identity["method"]), (&"alice".into(), &"api_key".into()), "{began:#}");
    assert!(identity["api_key_id"].is_string() && began["client"]["ip"] == "127.0.0.1", "{began:#}");
    assert_eq!(began["request"]["id"].as_str(), begun.header("x-request-id"));
    let given_up = world.send("DELETE", "/.portcullis/activations/1", &[("x-api-key", &world.alice)], "");
    assert_eq!((given_up.status(), &given_up.json()["end"]), (200, &"given up".into()), "{}", given_up.text());
    assert!(world.refused("/admin/x")["detail"].as_str().unwrap().contains("its activation ended at 20"));
    world.event("grant.ended", 1);

    let on_call = |more: &Value| {
        let mut body = json!({ "assignment": "on-call", "justification": "disk full", "ticket": "OPS-1" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post(ACTIVATIONS, &world.alice, &body)
    };
    for (more, words) in [
        (json!({ "ticket": "" }), "`ticket` is missing"),
        (json!({ "justification": " " }), "`justification` is missing"),
        (json!({ "justification": "a\u{1}b" }), "without control characters"),
        (json!({ "for_s": 3_601 }), "`for_s` is 60 to 3600"),
        (json!({ "for_s": 1 }), "`for_s` is 60 to 3600"),
        (json!({ "principal": "user:bob" }), "unknown field `principal`"),
    ] {
        let answer = on_call(&more);
        world.gateway.check_refused(words, &answer, 400, "request.malformed");
        assert!(answer.json()["detail"].as_str().unwrap().contains(words), "{}", answer.text());
    }
    let waits = on_call(&json!({}));
    assert_eq!((waits.status(), &waits.json()["state"]), (202, &"waiting".into()), "{}", waits.text());
    let told = world.event("grant.requested", 1);
    assert!(told["message"].as_str().unwrap().contains("asks to activate on-call, which 1 other persons"), "{told}");
    assert_eq!(world.get("/ops/x", &world.alice).status(), 403);
    let id = waits.json()["id"].to_string();
    let back = world.send("DELETE", &format!("{ACTIVATIONS}/{id}"), &[("x-api-key", &world.alice)], "");
    assert_eq!((back.status(), &back.json()["state"]), (200, &"rejected".into()));
    let withdrawn = world.event("grant.withdrawn", 1);
    assert_eq!(withdrawn["identity"]["id"], "alice", "whoever was told of it is told that nobody waits: {withdrawn:#}");

    // What does not exist, and what is for others, are told apart by nobody.
    let details: Vec<Value> = ["finance-administers", "nothing"]
        .iter()
        .map(|name| {
            let body = json!({ "assignment": name, "justification": "x" });
            let answer = world.post(ACTIVATIONS, &world.alice, &body);
            world.gateway.check_refused(name, &answer, 404, "route.not_found");
            answer.json()["detail"].clone()
        })
        .collect();
    assert_eq!(details[0], details[1]);

    // Twelve times in an hour, and no more.
    for count in 3..=12 {
        let begun = world.post(ACTIVATIONS, &world.alice, &wanted);
        assert_eq!(begun.status(), 201, "{count}: {}", begun.text());
        let id = begun.json()["id"].to_string();
        world.send("DELETE", &format!("{ACTIVATIONS}/{id}"), &[("x-api-key", &world.alice)], "");
    }
    let often = world.post(ACTIVATIONS, &world.alice, &wanted);
    world.gateway.check_refused("once too often", &often, 429, "limit.rate");
    let by_operator = ["access", "activate", "alice-administers", "--as", "alice", "--reason", "INC-8"];
    assert!(world.run(&by_operator).contains("is in force"), "an operator is not held to that");
}

#[test]
fn what_demands_several_factors_is_activated_by_whoever_has_just_shown_them() {
    let world = World::start();
    let carol = claims("carol").groups(&["finance"]);
    let body = json!({ "assignment": "finance-administers", "justification": "year's end" }).to_string();
    let ask = |authorization: &str| {
        let headers = [("authorization", authorization), ("content-type", "application/json")];
        world.send("POST", ACTIVATIONS, &headers, &body)
    };
    let weak = ask(&bearer(&world.signer, &carol));
    let event = world.gateway.check_refused("one factor", &weak, 401, "step_up.required");
    assert!(event["message"].as_str().unwrap().contains("user:carol asks for what demands several factors"));
    assert!(weak.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));
    let strong = bearer(&world.signer, &carol.set("amr", json!(["pwd", "otp"])).set("auth_time", now()));
    let begun = ask(&strong);
    assert_eq!(begun.status(), 201, "a group of the credential counts: {}", begun.text());
    let answer = world.send("GET", "/admin/x", &[("authorization", &strong)], "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn it_is_for_whoever_is_verified_and_no_page_of_elsewhere_can_have_it_done() {
    let world = World::start();
    let problem = world.refused("/ops/report");
    let body = json!({ "event": problem["instance"], "justification": "x" }).to_string();
    let key = ("x-api-key", world.alice.as_str());
    let json = ("content-type", "application/json");
    let check = |what: &str, method: &str, headers: &[(&str, &str)], body: &str, status: u16, reason: &str| {
        let answer = world.send(method, REQUESTS, headers, body);
        world.gateway.check_refused(what, &answer, status, reason);
    };
    check("nobody", "GET", &[], "", 401, "authn.missing");
    check("nobody", "POST", &[json], &body, 401, "authn.missing");
    check("a bad key", "POST", &[("x-api-key", "pcs_nobody"), json], &body, 401, "authn.invalid");
    // Where a route asks nobody for a credential, the page does all the same.
    check("another host", "GET", &[("host", "open.test")], "", 401, "authn.missing");
    for (name, value) in
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")]
    {
        check(value, "POST", &[key, json, (name, value)], &body, 403, "request.malformed");
        check(value, "DELETE", &[key, (name, value)], "", 403, "request.malformed");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        check(kind, "POST", &[key, ("content-type", kind)], &body, 415, "request.malformed");
    }
    check("no kind", "POST", &[key], &body, 415, "request.malformed");
    for broken in ["", "{", "[]", "{}", r#"{"event":"x","justification":"x"}"#, r#"{"event":1,"justification":"x"}"#] {
        check(broken, "POST", &[key, json], broken, 400, "request.malformed");
    }
    check("too long", "POST", &[key, json], &" ".repeat(65 << 10), 400, "request.malformed");
    check("a method", "PUT", &[key, json], &body, 405, "request.malformed");
    assert_eq!(world.send("PUT", REQUESTS, &[key], "").header("allow"), Some("GET, HEAD, POST"));
    let unknown = json!({ "event": "0190b2a0-0000-7000-8000-000000000000", "justification": "x" });
    world.gateway.check_refused("unknown", &world.post(REQUESTS, &world.alice, &unknown), 404, "route.not_found");
    for path in ["/.portcullis/login", "/.portcullis/whoami", "/.portcullis/step-up", "/.portcullis/access-requests/x"]
    {
        world.gateway.check_refused(path, &world.get(path, &world.alice), 404, "route.not_found");
    }
    assert_eq!(world.get(REQUESTS, &world.alice).json(), json!({ "requests": [] }), "nothing of it was done");
    assert!(of_kind(&world.gateway.events.all(), "grant.requested").is_empty());
    let upstream = world.upstream.requests();
    assert!(upstream.iter().all(|seen| !seen.head.target.starts_with("/.portcullis")), "it goes to no upstream");
    // A page of its own, or a program.
    let own = [key, json, ("origin", "http://api.test"), ("host", "api.test"), ("sec-fetch-site", "same-origin")];
    assert_eq!(world.send("POST", REQUESTS, &own, &body).status(), 202);
}

#[test]
fn a_key_for_one_route_gets_its_holder_no_power() {
    let world = World::start();
    let scoped = world.scoped.as_str();
    world.gateway.check_refused("elsewhere", &world.get("/ops/report", scoped), 403, "rbac.condition_unmet");
    let body = json!({ "assignment": "alice-administers", "justification": "x" });
    for answer in [world.post(ACTIVATIONS, scoped, &body), world.get(REQUESTS, scoped)] {
        world.gateway.check_refused("scoped", &answer, 403, "rbac.condition_unmet");
    }
    assert_eq!(world.get("/admin/x", &world.alice).status(), 403, "nothing was activated");
}

#[test]
fn whoever_is_banned_asks_for_nothing() {
    let world = World::start_with("[access]\nself_service = true\n", "");
    let problem = world.refused("/ops/report");
    world.run(&["ban", "add", "--user", "alice", "--for", "1h", "--reason", "case 7"]);
    let asking = json!({ "event": problem["instance"], "justification": "x" });
    let banned = world.post(REQUESTS, &world.alice, &asking);
    world.gateway.check_refused("banned", &banned, 403, "ban.active");
    assert_eq!(world.get(REQUESTS, &world.bob).status(), 200);
}

#[test]
fn whom_a_deny_names_and_whoever_comes_where_no_route_is_has_nothing_done() {
    let world = World::start();
    let wanted = json!({ "assignment": "dora-administers", "justification": "x" });
    for answer in [world.get(ACTIVATIONS, &world.mallory), world.post(ACTIVATIONS, &world.mallory, &wanted)] {
        world.gateway.check_refused("a deny", &answer, 403, "rbac.explicit_deny");
    }
    // A credential alone is enough only where the assignment says so.
    let weak = world.post(ACTIVATIONS, &world.dora, &wanted);
    world.gateway.check_refused("a key alone", &weak, 401, "step_up.required");
    assert_eq!(world.get(ACTIVATIONS, &world.dora).json()["eligible"][0]["mfa"], true);
    assert!(of_kind(&world.gateway.events.all(), "grant.began").is_empty());
}

#[test]
fn pages_that_ask_who_it_is_are_there_where_a_route_leads() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    site.add("[[route]]\nname = \"app\"\nhosts = [\"app.test\"]\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"part\"\nhosts = [\"part.test\"]\npaths = [\"/api/**\"]\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"far\"\nhosts = [\"far.test\"]\nupstream = \"app\"\n");
    let alice = site.key("alice", "user:alice", "");
    site.add("[store]\npath = \"state.db\"\n[access]\nself_service = true\n");
    let far = "[[resource]]\nroute = \"far\"\nnetworks = { allow = [\"elsewhere\"] }\n";
    let network = "[[network]]\nname = \"elsewhere\"\naddresses = [\"192.0.2.0/24\"]\n";
    site.policy(&[network, far, NO_BANS].concat());
    let gateway = site.start();
    let get = |host: &str| gateway.get(REQUESTS, &[("host", host), ("x-api-key", &alice)]);
    assert_eq!(get("app.test").status(), 200);
    for host in ["part.test", "nowhere.test"] {
        gateway.check_refused(host, &get(host), 404, "route.not_found");
    }
    gateway.check_refused("far.test", &get("far.test"), 403, "ip.not_allowed");
}

#[test]
fn power_is_held_back_by_the_routes_that_it_is_for_and_not_by_the_one_where_it_is_asked_for() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    site.add("[[route]]\nname = \"app\"\nhosts = [\"app.test\"]\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"payroll\"\nhosts = [\"payroll.test\"]\nupstream = \"app\"\n");
    let alice = site.key("alice", "user:alice", "");
    site.add("[store]\npath = \"state.db\"\n[access]\nself_service = true\n");
    let rules = r#"
[[network]]
name = "office"
addresses = ["192.0.2.0/24"]

[[resource]]
route = "payroll"
networks = { allow = ["office"] }

[[role]]
name = "pays"
permissions = [{ actions = ["* /pay/**"] }]

[[assignment]]
name = "pays"
role = "pays"
principals = ["user:alice"]
scope = "payroll"
activation = { max = "1h", self = true }

[[assignment]]
name = "pays-everywhere"
role = "pays"
principals = ["user:alice"]
scope = ["app", "payroll"]
activation = { max = "1h", self = true }
"#;
    site.policy(&[rules, NO_BANS].concat());
    let gateway = site.start();
    let activate = |assignment: &str| {
        let body = json!({ "assignment": assignment, "justification": "x" }).to_string();
        let headers = [("host", "app.test"), ("x-api-key", alice.as_str()), ("content-type", "application/json")];
        gateway.send(request("POST", ACTIVATIONS, &headers, body.as_bytes()))
    };
    // Nothing keeps her from the pages at this host, which she picked.
    let looked = gateway.get(ACTIVATIONS, &[("host", "app.test"), ("x-api-key", &alice)]);
    assert_eq!(looked.status(), 200, "{}", looked.text());
    gateway.check_refused("from elsewhere", &activate("pays"), 403, "ip.not_allowed");
    assert!(of_kind(&gateway.events.all(), "grant.began").is_empty());
    // Where one of its routes lets her come, she can use it there.
    let begun = activate("pays-everywhere");
    assert_eq!(begun.status(), 201, "{}", begun.text());
}

#[test]
fn no_cors_of_a_route_lets_another_origin_read_what_its_visitor_is_told_here() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    let cors = "cors = { origins = [\"https://other.test\"], credentials = true }\n";
    site.add(&format!("[[route]]\nname = \"app\"\nupstream = \"app\"\n{cors}"));
    site.add("[store]\npath = \"state.db\"\n[access]\nself_service = true\n");
    let alice = site.key("alice", "user:alice", "");
    site.policy(NO_BANS);
    let gateway = site.start();
    let origin = ("origin", "https://other.test");
    let of_route = gateway.get("/x", &[origin]);
    assert!(of_route.header("access-control-allow-origin").is_some(), "{}", of_route.text());
    for (what, answer, status) in [
        ("a stranger", gateway.get(REQUESTS, &[origin]), 401),
        ("alice", gateway.get(REQUESTS, &[origin, ("x-api-key", &alice)]), 200),
    ] {
        assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (status, None), "{what}");
    }
}

#[test]
fn where_it_is_not_configured_the_path_is_one_like_any_other() {
    let world = World::start_with("", NO_BANS);
    let problem = world.refused("/ops/report");
    assert_eq!(problem.get("remedy"), None, "{problem:#}");
    assert!(problem["access_request"].is_string(), "an operator can ask for them, as ever");
    let asking = json!({ "event": problem["instance"], "justification": "x" });
    for answer in [world.post(REQUESTS, &world.alice, &asking), world.get(ACTIVATIONS, &world.alice)] {
        world.gateway.check_refused("a path", &answer, 403, "rbac.no_matching_grant");
    }
    let denied = world.event("access.denied", 1);
    assert_eq!(denied["remedy"].get("ask"), None, "{denied:#}");
}
