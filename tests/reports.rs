//! Filled reports, as the operators' API answers with them, held to the document that describes it: key by key, and none besides.

use std::collections::BTreeSet;

use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::{Value, json};

use crate::admin_api::Api;
use crate::harness::NO_BANS;
use crate::schemas;

/// Much is wrong with it: a wildcard, roles that are alike, somebody who is there no more, what nobody uses.
const POLICY: &str = r#"
[[role]]
name = "editor"
permissions = [{ actions = ["GET /reports/**", "PUT,DELETE /reports/**"] }]

[[role]]
name = "editor-again"
permissions = [{ actions = ["GET /reports/**", "PUT,DELETE /reports/**"] }]

[[role]]
name = "root"
permissions = [{ actions = ["* /**"] }]

[[assignment]]
name = "edits"
role = "editor"
principals = ["user:alice", "user:bob"]
scope = "app"

[[assignment]]
name = "edits-again"
role = "editor-again"
principals = ["user:bob"]
scope = "app"

[[assignment]]
name = "ops"
role = "root"
principals = ["service:ops"]
scope = "app"

[[role]]
name = "admin.operator"
permissions = [{ actions = ["* /v1/**"] }]

[[assignment]]
name = "operators"
role = "admin.operator"
principals = ["user:alice"]
scope = "admin"
"#;

const QUICK: &str =
    "[store]\npath = \"state.db\"\n[audit]\nschedule = \"off\"\nunused_after = \"4s\"\nmin_observed = \"4s\"\n";

fn start() -> Api {
    Api::start_on(&[], QUICK, &[POLICY, NO_BANS].concat())
}

fn ask(api: &Api, path: &str, body: &Value) -> Value {
    let answer = api.post(path, &api.alice, body);
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    answer.json()
}

fn read(api: &Api, key: &str, times: usize, status: u16) {
    for _ in 0..times {
        assert_eq!(api.gateway.get("/reports/7", &[("x-api-key", key)]).status(), status);
    }
}

#[test]
fn an_audit_with_findings_of_many_kinds_is_as_it_is_described() {
    let api = start();
    let audit = |verb: &str, more: Value| {
        let mut body = json!({ "verb": verb });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ask(&api, &format!("/v1/audit/{verb}"), &body);
        schemas::check("AuditAnswer", &answer);
        answer
    };
    read(&api, &api.alice, 3, 200);
    read(&api, &api.bob, 1, 200);
    let first = audit("run", json!({}));
    let has = |answer: &Value, kind: &str| {
        let findings = answer["report"]["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["id"] == kind).cloned()
    };
    let unused = || {
        // The last 52 audits are kept, and the first one is compared with.
        std::thread::sleep(std::time::Duration::from_millis(250));
        read(&api, &api.alice, 1, 200);
        let answer = audit("run", json!({}));
        let mut findings = answer["report"]["findings"].as_array().unwrap().iter();
        let dormant = findings.any(|finding| finding["evidence"]["last_used"].is_string());
        (dormant && has(&answer, "LP01").is_some()).then_some(answer)
    };
    let unused = wait::until(3 * PATIENCE, unused).expect("what is not used is found");
    let findings = unused["report"]["findings"].as_array().unwrap();
    let kinds: BTreeSet<&str> = findings.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    let least = BTreeSet::from(["LP01", "LP03", "LP05", "LP10", "LP16", "LP17"]);
    assert!(least.is_subset(&kinds), "{unused:#}");
    let wildcard = has(&unused, "LP05").expect("everything everywhere");
    let until = jiff::Timestamp::now().as_second() + 3_600;
    audit(
        "suppress",
        json!({ "fingerprint": wildcard["fingerprint"], "owner": "ops", "reason": "until the move", "until": until }),
    );
    let suppressed = audit("run", json!({}));
    assert_eq!(has(&suppressed, "LP05").unwrap()["suppression"]["owner"], "ops");
    let suppressions = audit("suppressions", json!({}));
    let runs = audit("runs", json!({}));
    let compared = audit("diff", json!({ "from": first["report"]["run"], "to": suppressed["report"]["run"] }));
    let back = audit("diff", json!({ "from": suppressed["report"]["run"], "to": first["report"]["run"] }));
    let part = api.get("/v1/audit/show?limit=1", &api.alice).json();
    schemas::check("AuditAnswer", &part);
    assert_eq!((part["report"]["findings"].as_array().unwrap().len(), &part["more"]), (1, &true.into()));
    let all = [&first, &unused, &suppressed, &suppressions, &runs, &compared, &back, &part];
    // Everything that is described was there but for this: a finding of another severity, more of a kind than are listed, who is refused what peers may,
    // a change that would have refused something that is used, one that was asked for, and a role of which nobody can tell who holds it.
    let not_here = [
        "AuditAnswer.prepared",
        "AuditDifference.changed",
        "AuditReport.left_out",
        "FindingEvidence.denials",
        "Holders.unknown",
        "Recommendation.withheld",
    ];
    let unseen = schemas::unseen("AuditAnswer", &all);
    assert!(unseen.iter().all(|key| not_here.contains(&key.as_str())), "{unseen:?}");
}

#[test]
fn a_preview_with_what_would_be_refused_is_as_it_is_described() {
    let api = start();
    read(&api, &api.alice, 3, 200);
    let narrower = POLICY.replace("\"user:alice\", \"user:bob\"", "\"user:carol\"");
    let text = format!("version = 1\n{narrower}{NO_BANS}");
    let previewed = || {
        let answer = ask(&api, "/v1/policy/preview", &json!({ "name": "policy.toml", "text": text }));
        schemas::check("Previewed", &answer);
        (answer["report"]["recent"]["newly_denied"]["requests"] == 3).then_some(answer)
    };
    let previewed = wait::until(PATIENCE, previewed).expect("three reads would be refused");
    let not_here = ["Impact.not_replayed", "ImpactCoverage.incomplete", "ImpactCoverage.older_since"];
    assert_eq!(schemas::unseen("Previewed", &[&previewed]), not_here, "{previewed:#}");
}

#[test]
fn the_problems_of_files_are_as_they_are_described_and_as_check_tells_them() {
    let api = start();
    api.gateway.site.file("policy.toml", &format!("version = 1\n{POLICY}{NO_BANS}[[roles]]\nname = \"x\"\n"));
    let answer = ask(&api, "/v1/reload", &json!({}));
    schemas::check("Reloaded", &answer);
    assert_eq!(answer["reloaded"], false, "{answer:#}");
    // What was recorded of it is what a tail is said to tell.
    let recorded = api.gateway.wait_for_events("admin.reload", 1);
    schemas::check("NativeEvent", &recorded[0]);
    let finished = api.gateway.site.run(&["check", "-o", "json"]);
    let checked: Value = serde_json::from_str(&finished.stdout.join("\n")).unwrap();
    assert_eq!((answer["problems"].as_array().unwrap().len(), &answer["problems"]), (1, &checked), "every key of it");
}
