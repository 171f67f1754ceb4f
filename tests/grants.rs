//! Which permissions are used, and what `audit run` makes of it: on a running gateway, after it, and without any store.

use std::fs;

use portcullis_testkit::process::Finished;
use portcullis_testkit::slapd::{BASE, READER, READER_PASSWORD, Slapd};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, of_kind, portcullis};

/// Everything happens within seconds.
const QUICK: &str =
    "[store]\npath = \"state.db\"\n[audit]\nschedule = \"off\"\nunused_after = \"4s\"\nmin_observed = \"4s\"\n";

/// Alice reads and may write; the operators may do everything.
const POLICY: &str = r#"
[[role]]
name = "editor"
permissions = [{ actions = ["GET /reports/**", "PUT,DELETE /reports/**"] }]

[[role]]
name = "root"
permissions = [{ actions = ["* /**"] }]

[[assignment]]
name = "alice-edits"
role = "editor"
principals = ["user:alice"]
scope = "app"

[[assignment]]
name = "ops"
role = "root"
principals = ["service:ops"]
scope = "app"
"#;

fn site(upstream: &Upstream, more: &str) -> (Site, String) {
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(more);
    site.policy(&[POLICY, NO_BANS].concat());
    (site, key)
}

fn run(site: &Site, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

fn json(finished: &Finished) -> Value {
    let said = finished.stdout.join("\n");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said} {finished:?}"))
}

fn code(finished: &Finished) -> Option<i32> {
    finished.status.code()
}

fn of<'r>(report: &'r Value, id: &str) -> Vec<&'r Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
}

/// Alice reads again and again, until an audit finds something of this kind.
fn until_found(gateway: &Gateway, key: &str, id: &str) -> Value {
    let found = || {
        assert_eq!(gateway.get("/reports/7", &[("x-api-key", key)]).status(), 200);
        let report = json(&run(&gateway.site, &["audit", "run", "-o", "json"]));
        (!of(&report, id).is_empty()).then_some(report)
    };
    wait::until(3 * PATIENCE, found).unwrap_or_else(|| panic!("no {id}: {:?}", run(&gateway.site, &["audit", "show"])))
}

#[test]
fn what_is_not_used_is_found_and_what_is_proposed_works() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, QUICK);
    let mut gateway = site.start();
    let with_key = [("x-api-key", key.as_str())];
    let first = run(&gateway.site, &["audit", "run", "-o", "json"]);
    assert_eq!(code(&first), Some(1), "a wildcard is high: {first:?}");
    let first = json(&first);
    assert!(of(&first, "LP01").is_empty() && first["not_looked_at"]["LP01"].is_string(), "{first:#}");
    assert_eq!(of(&first, "LP05")[0]["permission"], "* /**");
    let report = until_found(&gateway, &key, "LP01");
    let unused = of(&report, "LP01");
    let mut permissions: Vec<&str> = unused.iter().map(|finding| finding["permission"].as_str().unwrap()).collect();
    permissions.sort_unstable();
    assert_eq!(permissions, ["DELETE /reports/**", "PUT /reports/**"], "{report:#}");
    for finding in &unused {
        assert_eq!((&finding["principal"], &finding["type"]), (&"user:alice".into(), &"unused_permission".into()));
        assert!(finding["evidence"]["observed_since"].is_string() && finding["evidence"]["granted_at"].is_string());
        assert_eq!(finding["recommendation"]["preview"]["newly_denied"], 0, "{finding:#}");
        assert!(
            finding["recommendation"]["preview"]["replayed"].as_u64().unwrap() > 0,
            "the sample was tried: {finding:#}"
        );
        assert!(finding["place"]["file"] == "policy.toml" && finding["place"]["line"].as_u64().unwrap() > 1);
    }
    // The service that may do everything has never come.
    assert_eq!(of(&report, "LP03")[0]["principal"], "service:ops", "{report:#}");
    // What is proposed for the one is without that one.
    let toml = unused[0]["recommendation"]["toml"].as_str().unwrap();
    let role = POLICY.split("[[role]]").nth(1).unwrap();
    let narrower = POLICY.replace(&format!("[[role]]{role}"), &format!("{toml}\n\n"));
    assert_ne!(narrower, POLICY);
    fs::write(gateway.site.path("policy.toml"), format!("version = 1\n{narrower}{NO_BANS}")).unwrap();
    gateway.reload("ok");
    assert_eq!(gateway.get("/reports/7", &with_key).status(), 200, "{narrower}");
    let method = unused[0]["permission"].as_str().unwrap().split(' ').next().unwrap();
    let request =
        format!("{method} /reports/7 HTTP/1.1\r\nhost: a.test\r\nx-api-key: {key}\r\ncontent-length: 0\r\n\r\n");
    let refused = gateway.send(request);
    assert_eq!(refused.status(), 403, "{narrower}");
    let events = gateway.stop();
    assert!(!of_kind(&events, "audit.completed").is_empty());
    let told = of_kind(&events, "audit.finding");
    let wildcard =
        told.iter().filter(|event| event["message"].as_str().unwrap().starts_with("LP05 wildcard_grant")).count();
    assert_eq!(wildcard, 1, "once, though there were several runs: {told:#?}");
    assert_eq!((&told[0]["severity"], &told[0]["decision"]), (&"high".into(), &Value::Null));
    let fields = &told.iter().find(|event| event["finding"]["id"] == "LP05").unwrap()["finding"];
    assert_eq!((&fields["type"], &fields["permission"]), (&"wildcard_grant".into(), &"* /**".into()), "{fields}");
    let by_report = of(&report, "LP05")[0];
    assert_eq!(fields["fingerprint"], by_report["fingerprint"], "{fields}");
    assert!(fields["run"].is_string() && fields["principal"] == by_report["principal"], "{fields}");
}

#[test]
fn runs_are_kept_compared_and_suppressed_with_and_without_a_gateway() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, QUICK);
    let mut gateway = site.start();
    until_found(&gateway, &key, "LP01");
    let listed = json(&run(&gateway.site, &["audit", "runs", "-o", "json"]));
    let runs = listed.as_array().unwrap().len();
    assert!(runs >= 2, "{listed:#}");
    let first = listed[runs - 1]["run"].as_str().unwrap();
    let compared = run(&gateway.site, &["audit", "diff", first, listed[0]["run"].as_str().unwrap()]);
    assert_eq!(code(&compared), Some(1), "something is new: {compared:?}");
    assert!(compared.stdout.iter().any(|line| line.starts_with("+ medium LP01 ")), "{compared:?}");
    let same = run(&gateway.site, &["audit", "diff", first, first]);
    assert_eq!(code(&same), Some(0), "{same:?}");

    let shown = json(&run(&gateway.site, &["audit", "show", "-o", "json"]));
    let fingerprint = of(&shown, "LP05")[0]["fingerprint"].as_str().unwrap();
    let suppress = ["audit", "suppress", fingerprint, "--owner", "ana", "--reason", "until the move"];
    let suppressed = run(&gateway.site, &suppress);
    assert_eq!(code(&suppressed), Some(0), "{suppressed:?}");
    assert_eq!(code(&run(&gateway.site, &["audit", "suppress", "nonsense", "--owner", "a", "--reason", "b"])), Some(1));
    let unknown = run(&gateway.site, &["audit", "suppress", "0123456789abcdef", "--owner", "a", "--reason", "b"]);
    assert_eq!(code(&unknown), Some(1), "no run has it: {unknown:?}");
    assert_eq!(code(&run(&gateway.site, &["audit", "suppress", fingerprint])), Some(2), "an owner and a reason");
    let only = ["audit", "run", "--only", "LP05", "-o", "json"];
    let finished = run(&gateway.site, &only);
    assert_eq!((code(&finished), &json(&finished)["findings"][0]["status"]), (Some(0), &"suppressed".into()));
    // What is open is counted for metrics and shown by status.
    let open = json(&run(&gateway.site, &["audit", "run", "-o", "json"]));
    let high = open["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["severity"] == "high" && one["status"] != "suppressed");
    assert_eq!(gateway.metric("portcullis_audit_findings{severity=\"high\"}"), Some(high.count() as f64));
    assert_eq!(gateway.metric("portcullis_audit_failing"), Some(0.0));
    let status = run(&gateway.site, &["status"]).stdout.join("\n");
    assert!(status.contains(&format!("audit    {} of ", open["run"].as_str().unwrap())), "{status}");
    let config = gateway.site.path("portcullis.toml");
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    let recorded = gateway.events.all();
    let done = of_kind(&recorded, "admin.audit_suppress");
    assert_eq!(done.len(), 3, "{done:#?}");
    let decisions: Vec<&str> = done.iter().map(|event| event["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["permit", "deny", "deny"]);
    assert!(done[0]["message"].as_str().unwrap().ends_with("until the move (ana)"), "{done:#?}");

    // Nobody runs: the files and the store are looked at, and what was counted is there.
    let offline = |arguments: &[&str]| portcullis().arg("-c").arg(&config).args(arguments).run(PATIENCE);
    let finished = offline(&["audit", "run", "-o", "json"]);
    let report = json(&finished);
    assert_eq!(of(&report, "LP05")[0]["status"], "suppressed", "{report:#}");
    let alice = of(&report, "LP03").iter().any(|finding| finding["principal"] == "user:alice");
    let unused = of(&report, "LP01").iter().any(|finding| finding["principal"] == "user:alice");
    assert!(alice || unused, "what she used was written down: {report:#}");
    assert!(report["observed_since"].is_string());
    let lifted = offline(&["audit", "suppress", fingerprint, "--lift"]);
    assert_eq!(code(&lifted), Some(0), "{lifted:?}");
    assert_eq!(code(&offline(&["audit", "run", "--only", "LP05"])), Some(1));
    // A gateway that starts tells what was done while none ran.
    let mut process = portcullis().arg("-c").arg(&config).arg("run").start();
    let told = || of_kind(&gateway.events.all(), "admin.audit_suppress").get(3).map(|event| (*event).clone());
    let told = wait::until(3 * PATIENCE, told);
    let told = told.expect("nobody tells it");
    let message = told["message"].as_str().unwrap();
    assert!(message.starts_with("in the store, at ") && message.ends_with(", without a gateway"), "{message}");
    assert!(message.contains("is not suppressed any more, by ") && message.contains("uid "), "{message}");
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
}

#[test]
fn the_policy_alone_is_looked_at_where_nothing_is_kept() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    site.write();
    let finished = run(&site, &["audit", "run"]);
    assert_eq!(code(&finished), Some(1), "{finished:?}");
    let said = finished.stdout.join("\n");
    assert!(
        said.contains("high LP05 the role `root` permits every method on every path, to 1 principal (`service:ops`)"),
        "{said}"
    );
    assert!(said.contains("LP01 was not looked for: nothing counts what is used: there is no store"), "{said}");
    assert_eq!(code(&run(&site, &["audit", "run", "--fail-on", "never"])), Some(0));
    assert_eq!(code(&run(&site, &["audit", "run", "--fail-on", "critical"])), Some(0));
    let markdown = run(&site, &["audit", "run", "--format", "markdown"]).stdout.join("\n");
    assert!(
        markdown.starts_with("# Least-privilege audit ") && markdown.contains("## LP05 wildcard_grant"),
        "{markdown}"
    );
    let log = json(&run(&site, &["audit", "run", "--format", "sarif"]));
    assert_eq!(
        (&log["version"], &log["runs"][0]["results"][0]["ruleId"]),
        (&"2.1.0".into(), &"LP04".into()),
        "{log:#}"
    );
    let lines = run(&site, &["audit", "run", "-o", "jsonl", "--only", "wildcard_grant"]).stdout;
    assert_eq!((lines.len(), serde_json::from_str::<Value>(&lines[0]).unwrap()["id"].clone()), (1, "LP05".into()));
    let kept = run(&site, &["audit", "runs"]);
    assert_eq!(code(&kept), Some(4), "{kept:?}");
    assert!(!site.path("state.db").exists(), "nothing is made by looking");
}

#[test]
fn what_is_observed_goes_on_after_a_restart_and_begins_anew_where_it_was_switched_off() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, QUICK);
    let mut gateway = site.start();
    assert_eq!(gateway.get("/reports/7", &[("x-api-key", &key)]).status(), 200);
    let since = json(&run(&gateway.site, &["audit", "run", "-o", "json"]))["observed_since"].clone();
    let config = gateway.site.path("portcullis.toml");
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    let offline = || {
        let finished =
            portcullis().arg("-c").arg(&config).args(["audit", "run", "--offline", "-o", "json"]).run(PATIENCE);
        json(&finished)["observed_since"].clone()
    };
    assert!(since.is_string() && offline() == since, "{since}");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("schedule = \"off\"", "enabled = false")).unwrap();
    let mut process = portcullis().arg("-c").arg(&config).arg("run").start();
    process
        .wait_for(" listening listener=main", PATIENCE, |line| line.contains(" listening listener=main").then_some(()));
    let refused = portcullis().arg("-c").arg(&config).args(["audit", "run"]).run(PATIENCE);
    assert_eq!(code(&refused), Some(4), "who cannot look has found nothing: {refused:?}");
    assert!(refused.stderr.join("\n").contains("usage is not counted"), "{refused:?}");
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    assert_eq!(offline(), Value::Null, "what was not counted was not observed");
}

/// Nobody asks: it is made by itself, over the policy in force, is told, and is kept.
#[test]
fn an_audit_that_is_scheduled_is_made_told_and_kept() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, &QUICK.replace("\"off\"", "\"1m\""));
    let mut gateway = site.start();
    assert_eq!(gateway.get("/reports/7", &[("x-api-key", &key)]).status(), 200);
    // What is on the disk and not in force is not what is looked at.
    gateway.site.policy(&[&POLICY.replace("\"* /**\"", "\"GET /**\""), NO_BANS].concat());
    let completed = || of_kind(&gateway.events.all(), "audit.completed").first().map(|event| (*event).clone());
    let completed = wait::until(3 * PATIENCE, completed).expect("no audit is made");
    let message = completed["message"].as_str().unwrap();
    assert!(message.starts_with("audit ") && message.contains(" findings are open: "), "{completed:#}");
    let run_id = message.split([' ', ':']).nth(1).unwrap();
    let config = gateway.site.path("portcullis.toml");
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    let events = gateway.events.all();
    assert_eq!(of_kind(&events, "audit.completed").len(), 1, "the next one is due in a minute");
    let told: Vec<&str> =
        of_kind(&events, "audit.finding").iter().filter_map(|event| event["message"].as_str()).collect();
    assert!(told.iter().any(|said| said.starts_with("LP05 wildcard_grant")), "{told:?}");
    // It is in the store, once, with what was told.
    let offline = |arguments: &[&str]| portcullis().arg("-c").arg(&config).args(arguments).run(PATIENCE);
    let kept = json(&offline(&["audit", "runs", "-o", "json"]));
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["run"]), (1, &run_id.into()), "{kept:#}");
    let report = json(&offline(&["audit", "show", run_id, "-o", "json"]));
    assert_eq!(of(&report, "LP05")[0]["permission"], "* /**", "{report:#}");
    assert_eq!(report["policy_sha256"], completed["policy"]["sha256"], "{report:#}");
    // What it proposes was tried on the requests that were made, as when somebody asks.
    let tried = report["findings"].as_array().unwrap().iter().map(|finding| &finding["recommendation"]["preview"]);
    let tried: Vec<&Value> = tried.filter(|preview| preview.is_object()).collect();
    assert!(!tried.is_empty() && tried.iter().all(|preview| preview["replayed"].as_u64().unwrap() > 0), "{report:#}");
}

/// A directory knows who is there, whose account counts, and which groups have somebody in them; one that does not answer says nothing.
#[test]
fn a_directory_is_asked_who_is_nobody() {
    let mut slapd = Slapd::start();
    for (uid, title) in [("zoe", "works"), ("leaver", "gone")] {
        slapd.add_person(uid, &format!("title: {title}\n"));
    }
    for (group, occupant) in [("billing", format!("roleOccupant: uid=zoe,ou=people,{BASE}\n")), ("idle", String::new())]
    {
        slapd
            .add(&format!("dn: cn={group},ou=groups,{BASE}\nobjectClass: organizationalRole\ncn: {group}\n{occupant}"));
    }
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let signer = SigningKey::ed25519("k");
    site.accept_tokens(&[&signer], "prefix = \"corp:\"\n");
    site.file("password", READER_PASSWORD);
    site.add(&format!(
        "[[identity.ldap]]\nname = \"people\"\nfor = \"login\"\nurl = \"{}\"\nallow_plain = true\nbase = \"{BASE}\"\n\
         user_filter = \"(uid={{id}})\"\naccount_filter = \"(!(title=gone))\"\nbind_dn = \"{READER}\"\n\
         bind_password = {{ file = \"password\" }}\ngroup_base = \"ou=groups,{BASE}\"\n\
         group_filter = \"(roleOccupant={{dn}})\"\nprefix = \"ad:\"\ntimeout = \"2s\"\n",
        slapd.plain()
    ));
    site.add(QUICK);
    let names =
        ["user:corp:zoe", "user:corp:leaver", "user:corp:never", "group:ad:billing", "group:ad:idle", "group:ad:old"];
    site.policy(&format!(
        "[[role]]\nname = \"reader\"\npermissions = [{{ actions = [\"GET /**\"] }}]\n\n\
         [[assignment]]\nname = \"staff\"\nrole = \"reader\"\nprincipals = {names:?}\nscope = \"app\"\n{NO_BANS}"
    ));
    let gateway = site.start();
    let report = || json(&run(&gateway.site, &["audit", "run", "--only", "LP04", "-o", "json"]));
    let first = report();
    let mut found: Vec<[&str; 3]> = of(&first, "LP04")
        .into_iter()
        .map(|finding| {
            [&finding["principal"], &finding["severity"], &finding["evidence"]["facts"][0]]
                .map(|value| value.as_str().unwrap())
        })
        .collect();
    found.sort_unstable();
    let expected = [
        ["group:ad:idle", "low", "the directory `people` has nobody in it"],
        ["group:ad:old", "high", "the directory `people` was asked and has no such group"],
        ["user:corp:leaver", "high", "its account in the directory `people` is disabled"],
        ["user:corp:never", "high", "the directory `people` was asked and has no such entry"],
    ];
    assert_eq!(found, expected, "{first:#}");
    assert_eq!(first["not_looked_at"]["LP04"], Value::Null, "{first:#}");
    slapd.kill();
    let without = report();
    assert!(of(&without, "LP04").is_empty(), "who cannot be asked about is not called nobody: {without:#}");
    let why = without["not_looked_at"]["LP04"].as_str().unwrap();
    assert!(why.contains("the directory `people` could not be asked: "), "{why}");
    // Without a gateway nobody asks.
    let offline = json(&run(&gateway.site, &["audit", "run", "--offline", "--only", "LP04", "-o", "json"]));
    assert!(
        offline["not_looked_at"]["LP04"].as_str().unwrap().contains("asked by a running gateway alone"),
        "{offline:#}"
    );
}

#[test]
fn what_is_used_while_a_version_is_rolled_out_is_used() {
    let upstream = Upstream::start();
    let steps = "[governance]\ncanary = [\"100%\"]\ncanary_step = \"1h\"\nmax_newly_denied = \"100%\"\n";
    let (site, key) = site(&upstream, &[QUICK, steps].concat());
    let gateway = site.start();
    // It takes something from the service alone.
    let narrower = POLICY.replace("* /**", "GET /**");
    gateway.site.file("candidate.toml", &format!("version = 1\n{narrower}{NO_BANS}"));
    let candidate = gateway.site.path("candidate.toml").display().to_string();
    let proposed = run(&gateway.site, &["policy", "propose", "--reason", "less", &candidate, "-o", "json"]);
    let change = json(&proposed)["changes"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(code(&run(&gateway.site, &["policy", "activate", &change])), Some(0));
    // It decides for everybody, and what alice uses of the version that serves is in use.
    let report = until_found(&gateway, &key, "LP01");
    let unused = of(&report, "LP01");
    let mut permissions: Vec<&str> = unused.iter().map(|finding| finding["permission"].as_str().unwrap()).collect();
    permissions.sort_unstable();
    assert_eq!(permissions, ["DELETE /reports/**", "PUT /reports/**"], "{report:#}");
    let status = json(&run(&gateway.site, &["policy", "status", "-o", "json"]));
    assert_eq!(status["live"]["rollout"]["n"], 2, "it was rolled out all the while: {status}");
}
