//! The operators' API and the document that describes it: every operation is asked over the network, and what is answered is what the document says.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire;
use serde_json::{Value, json};

use crate::admin_api::Api;
use crate::schemas::Schemas;

/// Operators may all of it, readers what changes nothing.
pub(crate) const POLICY: &str = r#"
[[network]]
name = "partner"
addresses = ["127.0.0.9"]
source = { file = "partner.txt", private = true }

[[role]]
name = "admin.reader"
permissions = [{ actions = ["GET /v1/**"] }]

[[role]]
name = "admin.operator"
permissions = [{ actions = ["* /**"] }]

[[assignment]]
name = "operators"
role = "admin.operator"
principals = ["user:alice"]
scope = "admin"

[[assignment]]
name = "readers"
role = "admin.reader"
principals = ["user:bob"]
scope = "admin"

[ban]
mode = "simulate"
"#;

/// One operation: what is sent, what is answered, and the kind of its event; `None`: it changes nothing.
struct Case {
    method: &'static str,
    target: &'static str,
    body: Value,
    status: u16,
    event: Option<&'static str>,
}

fn get(target: &'static str, status: u16) -> Case {
    Case { method: "get", target, body: Value::Null, status, event: None }
}

fn ask(target: &'static str, body: Value, status: u16) -> Case {
    Case { method: "post", target, body, status, event: None }
}

fn act(target: &'static str, body: Value, status: u16, event: &'static str) -> Case {
    Case { method: "post", target, body, status, event: Some(event) }
}

/// In this order: some need what others made. `$change`, `$run`, `$finding` and `$own` are what was last answered.
fn cases() -> Vec<Case> {
    let by = || json!({ "name": null, "reason": "case 4711", "ticket": null });
    let whom = || json!({ "on": "192.0.2.7" });
    let alice = || json!({ "on": "user:alice" });
    let ban = || json!({ "on": "192.0.2.7", "for_s": 600, "reason": "case 4711" });
    let power = |verb: &str| json!({ "verb": verb, "id": 7, "reason": "case 4711" });
    vec![
        get("/v1/status", 200),
        get("/v1/health", 200),
        get("/v1/openapi.json", 200),
        act("/v1/reload", json!({}), 200, "admin.reload"),
        act("/v1/reload", json!({ "reason": "case 4711", "ticket": "OPS-1" }), 200, "admin.reload"),
        act("/v1/bans/add", ban(), 200, "admin.ban_add"),
        act("/v1/bans/import", json!({ "from": "a list", "bans": [ban()] }), 200, "admin.ban_add"),
        get("/v1/bans?limit=1", 200),
        ask("/v1/bans/explain", whom(), 200),
        act("/v1/bans/remove", whom(), 200, "admin.ban_remove"),
        ask("/v1/risk/show", alice(), 200),
        act("/v1/risk/forget", alice(), 200, "admin.risk_forget"),
        act("/v1/risk/warm", json!({ "logins": [] }), 200, "admin.risk_warm"),
        get("/v1/risk/calibrations", 200),
        act("/v1/risk/calibrations/propose", json!({}), 409, "admin.risk_calibration"),
        act("/v1/risk/calibrations/activate", json!({ "id": "c1-00000000" }), 409, "admin.risk_calibration"),
        act("/v1/risk/calibrations/rollback", json!({}), 409, "admin.risk_calibration"),
        act("/v1/sinks/test", json!({ "name": "events" }), 200, "admin.sink_test"),
        get("/v1/alerts", 200),
        act("/v1/alerts/test", json!({ "name": "nothing" }), 409, "admin.alert_test"),
        act("/v1/alerts/lift", json!({ "id": "nothing" }), 409, "admin.alert_lift"),
        act("/v1/alerts/mute", json!({ "alert": "nothing", "for_s": 60, "reason": "x" }), 409, "admin.alert_mute"),
        act("/v1/alerts/unmute", json!({ "alert": "nothing" }), 409, "admin.alert_mute"),
        get("/v1/feeds", 200),
        act("/v1/feeds/refresh", json!({ "name": "partner" }), 200, "admin.feed_refresh"),
        ask("/v1/feeds/test", json!({ "address": "127.0.0.9" }), 200),
        act("/v1/feeds/rollback", json!({ "name": "partner" }), 409, "admin.feed_rollback"),
        ask("/v1/feeds/rollback/preview", json!({ "name": "partner" }), 409),
        act("/v1/feeds/accept", json!({ "name": "partner", "sha256": "0".repeat(64) }), 409, "admin.feed_accept"),
        get("/v1/keys", 200),
        get("/v1/keys?limit=1&after=a", 200),
        act(
            "/v1/revocations/add",
            json!({ "what": "token", "name": "jti-1", "before": null, "for_s": 3_600, "reason": "lost" }),
            200,
            "admin.revoke",
        ),
        get("/v1/revocations", 200),
        get("/v1/revocations?limit=1&after=key%3Aa", 200),
        act("/v1/revocations/remove", json!({ "what": "token", "name": "jti-1" }), 200, "admin.revoke_lift"),
        act(
            "/v1/govern/propose",
            json!({ "verb": "propose", "policy": format!("version = 1\n{POLICY}# another\n"), "files": null, "by": by() }),
            200,
            "admin.policy_propose",
        ),
        ask("/v1/govern/request", json!({ "verb": "request", "id": "$change" }), 200),
        get("/v1/govern/show?change=$change", 200),
        act("/v1/govern/approve", json!({ "verb": "approve", "approval": "none" }), 409, "admin.policy_approve"),
        act("/v1/govern/activate", json!({ "verb": "activate", "id": "$change" }), 200, "admin.policy_activate"),
        act(
            "/v1/govern/reject",
            json!({ "verb": "reject", "id": "$change", "reason": "x" }),
            409,
            "admin.policy_reject",
        ),
        ask("/v1/govern/list", json!({ "verb": "list", "most": 5 }), 200),
        ask("/v1/govern/show", json!({ "verb": "show", "n": 1 }), 200),
        ask("/v1/govern/verify", json!({ "verb": "verify" }), 200),
        ask("/v1/govern/approvers", json!({ "verb": "approvers" }), 200),
        get("/v1/govern/list?limit=1", 200),
        get("/v1/govern/show?n=1", 200),
        get("/v1/govern/verify", 200),
        get("/v1/govern/approvers", 200),
        act("/v1/govern/rollback", json!({ "verb": "rollback", "n": 1, "by": by() }), 200, "admin.policy_rollback"),
        // Nothing is before the first one.
        act("/v1/govern/revert", json!({ "verb": "revert", "n": 1, "by": by() }), 409, "admin.policy_rollback"),
        act("/v1/govern/abort", json!({ "verb": "abort", "reason": "x" }), 409, "admin.policy_rollback"),
        act(
            "/v1/govern/approver_add",
            json!({ "verb": "approver_add", "approver": { "person": "ben", "aliases": [], "key": "none" }, "by": by() }),
            409,
            "admin.approvers",
        ),
        act(
            "/v1/govern/approver_revoke",
            json!({ "verb": "approver_revoke", "person": "ben", "key": null, "by": by() }),
            409,
            "admin.approvers",
        ),
        act(
            "/v1/govern/approver_recovery",
            json!({ "verb": "approver_recovery", "quorum": 2, "delay_s": 86_400, "keys": [], "by": by() }),
            409,
            "admin.approvers",
        ),
        act(
            "/v1/govern/approver_recover",
            json!({ "verb": "approver_recover", "keys": [], "by": by() }),
            409,
            "admin.approvers",
        ),
        act("/v1/govern/init", json!({ "verb": "init", "approvers": [], "by": by() }), 409, "admin.approvers"),
        ask("/v1/access/list", json!({ "verb": "list", "all": true }), 200),
        ask("/v1/access/show", json!({ "verb": "show", "id": 7 }), 409),
        ask("/v1/access/verify", json!({ "verb": "verify" }), 200),
        get("/v1/access/list?all=true&limit=1&after=7", 200),
        get("/v1/access/list?after=x", 400),
        get("/v1/access/show?id=7", 409),
        get("/v1/access/verify", 200),
        act(
            "/v1/access/activate",
            json!({ "verb": "activate", "assignment": "none", "principal": "user:bob", "for_s": 60, "reason": "x", "ticket": null }),
            409,
            "admin.access_activate",
        ),
        act("/v1/access/approve", json!({ "verb": "approve", "id": 7, "approval": null }), 409, "admin.access_approve"),
        act("/v1/access/reject", power("reject"), 409, "admin.access_reject"),
        act("/v1/access/end", power("end"), 409, "admin.access_end"),
        act(
            "/v1/access/seal",
            json!({ "verb": "seal", "principal": "user:bob", "for_s": 3_600, "reason": "in the safe" }),
            409,
            "admin.access_seal",
        ),
        act(
            "/v1/access/break_glass",
            json!({ "verb": "break_glass", "principal": "user:bob", "role": "admin.reader", "routes": [], "for_s": null, "code": "none", "reason": "x", "ticket": null }),
            409,
            "admin.access_break_glass",
        ),
        act(
            "/v1/access/break_glass_signed",
            json!({ "verb": "break_glass_signed", "statement": "none" }),
            409,
            "admin.access_break_glass",
        ),
        act("/v1/access/review", json!({ "verb": "review", "id": 7 }), 409, "admin.access_review"),
        act(
            "/v1/access/request",
            json!({ "verb": "request", "event": "019ad000-0000-7000-8000-000000000000", "reason": "x" }),
            409,
            "admin.access_request",
        ),
        act("/v1/access/grant", json!({ "verb": "grant", "id": 7, "for_s": 60 }), 409, "admin.access_grant"),
        ask("/v1/audit/run", json!({ "verb": "run" }), 200),
        ask("/v1/audit/run", json!({ "verb": "run" }), 200),
        ask("/v1/audit/runs", json!({ "verb": "runs" }), 200),
        ask("/v1/audit/show", json!({ "verb": "show", "run": null }), 200),
        ask("/v1/audit/diff", json!({ "verb": "diff", "from": "$run", "to": "$run" }), 200),
        get("/v1/audit/runs", 200),
        get("/v1/audit/show?run=$run&limit=1", 200),
        get("/v1/audit/diff?from=$run&to=$run", 200),
        act(
            "/v1/audit/suppress",
            json!({ "verb": "suppress", "fingerprint": "$finding", "owner": "ops", "reason": "known", "until": tomorrow() }),
            200,
            "admin.audit_suppress",
        ),
        act(
            "/v1/audit/suppress",
            json!({ "verb": "suppress", "fingerprint": "$own", "owner": "ops", "reason": "known", "until": tomorrow() }),
            409,
            "admin.audit_suppress",
        ),
        act(
            "/v1/audit/unsuppress",
            json!({ "verb": "unsuppress", "fingerprint": "$finding" }),
            200,
            "admin.audit_suppress",
        ),
        ask("/v1/audit/suppressions", json!({ "verb": "suppressions" }), 200),
        get("/v1/audit/suppressions", 200),
        ask("/v1/factors", alice(), 400),
        ask("/v1/factors/enroll", json!({ "on": "user:alice", "name": "phone" }), 400),
        act(
            "/v1/factors/confirm",
            json!({ "on": "user:alice", "id": "nothing", "code": "000000" }),
            409,
            "admin.factor_enroll",
        ),
        act("/v1/factors/reset", alice(), 409, "admin.factor_reset"),
        get("/v1/sessions?limit=1", 200),
        act("/v1/sessions/revoke", json!({ "id": null, "principal": "user:bob" }), 409, "admin.session_revoke"),
        ask("/v1/policy/preview", json!({ "name": "policy.toml", "text": format!("version = 1\n{POLICY}") }), 200),
        ask("/v1/policy/preview", json!({ "name": "policy.toml", "text": "version = 1\n[[rule]]\n" }), 422),
        get("/v1/spikes", 200),
        act("/v1/backups/create", json!({ "verb": "create" }), 200, "admin.backup_create"),
        ask("/v1/backups/list", json!({ "verb": "list" }), 200),
        get("/v1/backups/list?limit=1", 200),
        ask("/v1/backups/verify", json!({ "verb": "verify", "name": "$backup" }), 200),
        get("/v1/backups/verify?name=$backup", 200),
        get("/v1/backups/verify?name=..%2Fstate.db", 409),
        act("/v1/backups/drill", json!({ "verb": "drill", "name": "$backup" }), 200, "admin.backup_drill"),
        ask("/v1/policy/can", question(), 200),
        ask("/v1/policy/explain", question(), 200),
        ask("/v1/policy/who_can", json!({ "method": "GET", "url": "http://gateway.invalid/x" }), 200),
        get("/v1/policy/can?method=GET&url=http%3A%2F%2Fgateway.invalid%2Fx&as=bob&group=a&group=b", 200),
        get("/v1/policy/explain?method=GET&url=http%3A%2F%2Foperators.portcullis.invalid%2Fv1%2Fbans&as=bob", 200),
        get("/v1/policy/who_can?method=GET&url=http%3A%2F%2Foperators.portcullis.invalid%2Fv1%2Fbans", 200),
        ask("/v1/policy/list", json!({ "as": "user:bob", "groups": ["a"], "limit": 1, "after": null }), 200),
        get("/v1/policy/list", 200),
        get("/v1/policy/list?as=bob&group=a&limit=1", 200),
        get("/v1/policy/list?as=bob&after=nowhere", 409),
        get("/v1/policy/list?as=bob&limit=0", 400),
        ask(
            "/v1/policy/diff",
            json!({ "before": { "version": 1 }, "after": { "policy": narrower() }, "reasons": true, "at": null }),
            200,
        ),
        ask("/v1/policy/diff", json!({ "before": "in_force", "after": { "version": 1 } }), 200),
        ask("/v1/policy/diff", json!({ "before": { "change": "00000000" }, "after": { "version": 1 } }), 409),
        get("/v1/policy/diff?before=1&after=in_force", 200),
        act(
            "/v1/policy/replay",
            json!({ "policy": narrower(), "since": null, "until": null, "limit": 1_000 }),
            200,
            "admin.events_search",
        ),
        act("/v1/events/search", json!({ "refusals": true, "limit": 1 }), 200, "admin.events_search"),
        act("/v1/events/stats", json!({}), 200, "admin.events_search"),
        act("/v1/events/explain", json!({ "id": "$event" }), 200, "admin.events_search"),
        act("/v1/events/tail", json!({}), 200, "admin.events_tail"),
        act("/v1/drain", json!({}), 200, "admin.drain"),
    ]
}

fn question() -> Value {
    json!({ "method": "GET", "url": "http://operators.portcullis.invalid/v1/bans", "as": "user:bob", "ip": "127.0.0.9" })
}

/// Without the grant of the readers.
fn narrower() -> Value {
    let (first, last) = POLICY.split_once("[[assignment]]\nname = \"readers\"").unwrap();
    let (_, rest) = last.split_once("[ban]").unwrap();
    json!({ "name": "policy.toml", "text": format!("version = 1\n{first}[ban]{rest}") })
}

/// The same with a key that nothing knows, in each of its objects.
fn misspelt(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("fro".to_owned(), json!(60));
            let within = fields.iter().flat_map(|(name, field)| {
                misspelt(field).into_iter().map(|field| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), field);
                    Value::Object(fields)
                })
            });
            std::iter::once(Value::Object(more)).chain(within).collect()
        }
        Value::Array(items) => items.iter().flat_map(misspelt).map(|item| json!([item])).collect(),
        _ => Vec::new(),
    }
}

/// In seconds since 1970.
fn tomorrow() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 86_400
}

/// What was answered, for those that come later.
#[derive(Default)]
struct Made(BTreeMap<&'static str, String>);

impl Made {
    fn note(&mut self, target: &str, answer: &Value) {
        let places = [
            ("/v1/govern/propose", "$change", "/changes/0/id"),
            ("/v1/audit/runs", "$run", "/runs/0/run"),
            ("/v1/backups/create", "$backup", "/backups/0/name"),
            ("/v1/events/search", "$event", "/events/0/id"),
        ];
        // One about somebody else, and one about whoever asks.
        for finding in answer.pointer("/report/findings").and_then(Value::as_array).into_iter().flatten() {
            let name = if finding["principal"] == "user:alice" { "$own" } else { "$finding" };
            self.0.insert(name, finding["fingerprint"].as_str().unwrap().to_owned());
        }
        for (_, name, place) in places.iter().filter(|(at, ..)| *at == target) {
            let found = answer.pointer(place).and_then(Value::as_str);
            self.0.insert(name, found.unwrap_or_else(|| panic!("{target}: {answer:#}")).to_owned());
        }
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// What came.
struct Said {
    status: u16,
    kind: String,
    /// Empty where lines come, which have no end.
    text: String,
}

fn send(api: &Api, case: &Case, target: &str, key: &str, body: &str) -> Said {
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    let kind = |head: &wire::Head| head.header("content-type").unwrap_or_default().to_owned();
    if target == "/v1/events/tail" {
        let all = [&[("host", "localhost")], &headers[..]].concat();
        let mut connection = wire::Conn::open(api.address);
        connection.send(wire::request("POST", target, &all, body.as_bytes()));
        let head = connection.try_head().unwrap();
        return Said { status: head.status, kind: kind(&head), text: String::new() };
    }
    let method = case.method.to_uppercase();
    let answer = api.send(&method, target, &headers, if method == "GET" { b"" } else { body.as_bytes() });
    Said { status: answer.status(), kind: kind(&answer.head), text: answer.text().to_owned() }
}

#[test]
fn each_operation_of_the_document_answers_as_it_says_and_is_one_event_where_it_changes_something() {
    let files = [("partner.txt", "127.0.0.10\n")];
    let mut api = Api::start_on(&files, "[store]\npath = \"state.db\"\n", POLICY);
    let document = api.get("/v1/openapi.json", &api.bob).json();
    let cases = cases();
    let asked: BTreeSet<(&str, &str)> =
        cases.iter().map(|case| (case.target.split('?').next().unwrap(), case.method)).collect();
    let paths = document["paths"].as_object().unwrap().iter();
    let described: BTreeSet<(&str, &str)> = paths
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|method| (path.as_str(), method.as_str())))
        .collect();
    assert_eq!(asked, described, "every operation is asked, and none that is not described");

    let (mut made, mut wrong, mut expected) = (Made::default(), Vec::new(), Vec::<&str>::new());
    for case in &cases {
        let (target, mut body) = (made.fill(case.target), made.fill(&case.body.to_string()));
        let path = target.split('?').next().unwrap().to_owned();
        let operation = &document["paths"][&path][case.method];
        if case.method == "post" {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let schemas = Schemas { document: &document, strictly: false };
            wrong.extend(schemas.problems(
                schema,
                &serde_json::from_str(&body).unwrap(),
                &format!("the body of {path}"),
            ));
            let refused = send(&api, case, &target, &api.bob, &body);
            if refused.status != 403 {
                wrong.push(format!("{path}: whoever only reads gets {}", refused.status));
            }
            // What is misspelt is refused before anything is done; that nothing was, the events say below. The document says so, too.
            for misspelt in misspelt(&serde_json::from_str(&body).unwrap()) {
                let Said { status, text, .. } = send(&api, case, &target, &api.alice, &misspelt.to_string());
                // Of what follows events no text is read; and one key of a policy that is named says how, so that two are no name.
                let is_said = match path.as_str() {
                    "/v1/events/tail" => true,
                    "/v1/policy/diff" => text.contains("the body: "),
                    _ => text.contains("unknown field `fro`"),
                };
                if status != 400 || !is_said {
                    wrong.push(format!("{path} with {misspelt}: {status} {text}"));
                }
                if schemas.problems(schema, &misspelt, &path).is_empty() {
                    wrong.push(format!("{path}: the document describes {misspelt}"));
                }
            }
            // The path says the verb: what is sent says the same, or nothing.
            let mut without: Value = serde_json::from_str(&body).unwrap();
            if let Some(verb) = without.as_object_mut().unwrap().remove("verb") {
                wrong.extend(schemas.problems(schema, &without, &format!("the body of {path} without its verb")));
                let mut another = without.clone();
                for other in [json!(format!("{}_", verb.as_str().unwrap())), json!(null), json!(["x"])] {
                    another["verb"] = other;
                    let Said { status, text, .. } = send(&api, case, &target, &api.alice, &another.to_string());
                    if status != 400 || schemas.problems(schema, &another, &path).is_empty() {
                        wrong.push(format!("{path} with {another}: {status} {text}"));
                    }
                }
                let twice = format!("{{\"verb\":{verb},\"verb\":{verb}}}");
                let Said { status, text, .. } = send(&api, case, &target, &api.alice, &twice);
                if status != 400 {
                    wrong.push(format!("{path} with {twice}: {status} {text}"));
                }
                body = without.to_string();
            }
        }
        let key = if case.method == "get" { &api.bob } else { &api.alice };
        let Said { status, kind, text } = send(&api, case, &target, key, &body);
        if status != case.status {
            wrong.push(format!("{} {target}: {status} {text}", case.method));
        }
        let mut response = &operation["responses"][status.to_string()];
        if let Some(reference) = response.get("$ref").and_then(Value::as_str) {
            response = document.pointer(reference.trim_start_matches('#')).unwrap();
        }
        match response["content"].get(&kind) {
            None => wrong.push(format!("{target}: {status} with {kind} is not described")),
            Some(_) if kind == "application/x-ndjson" => {}
            Some(content) => {
                let schemas = Schemas { document: &document, strictly: true };
                let value = serde_json::from_str(&text).unwrap();
                wrong.extend(schemas.problems(&content["schema"], &value, &target));
                if case.method == "post" && status == 200 {
                    made.note(&path, &value);
                }
            }
        }
        expected.extend(case.event);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The last one was to drain.
    let status = api.gateway.process.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "the gateway ended with {status}");
    let events = api.gateway.events.all();
    let of_the_api = |event: &&Value| event["identity"]["method"] == "admin_api";
    let found: Vec<&str> = events.iter().filter(of_the_api).map(|event| event["kind"].as_str().unwrap()).collect();
    let count = |kinds: &[&str]| {
        kinds.iter().fold(BTreeMap::<String, usize>::new(), |mut counts, kind| {
            *counts.entry((*kind).to_owned()).or_default() += 1;
            counts
        })
    };
    assert_eq!(count(&found), count(&expected), "one event for each that changes something, none for a question");
    assert!(events.iter().filter(of_the_api).all(|event| event["identity"]["id"] == "user:alice"));
}
