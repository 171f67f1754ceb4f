//! What a change of the policy would do to requests that were made: `replay` of recorded ones, and `policy preview` of those that the running
//! gateway has kept.

use std::fs;

use portcullis_testkit::process::{Finished, Program};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, portcullis};

/// Reports are for staff, from the office (127.0.0.8/29) or from home (127.0.0.16/28).
const POLICY: &str = r#"
[[network]]
name = "office-berlin"
addresses = ["127.0.0.8/29"]

[[network]]
name = "home"
addresses = ["127.0.0.16/28"]

[[resource]]
route = "app"
networks = { allow = ["office-berlin", "home"] }

[[role]]
name = "reporter"
permissions = [{ actions = ["POST /reports", "GET /reports/**"] }]

[[assignment]]
name = "staff-reports"
role = "reporter"
principals = ["user:dave", "user:carol"]
scope = "app"
"#;

/// Their keys: of dave, of carol, and of mallory, who may do nothing.
struct Keys {
    dave: String,
    carol: String,
    mallory: String,
}

fn site(upstream: &Upstream, more: &str) -> (Site, Keys) {
    let mut site = Site::new(&upstream.url());
    site.add(more);
    let mut key = |user: &str| site.key(user, &format!("user:{user}"), "");
    let keys = Keys { dave: key("dave"), carol: key("carol"), mallory: key("mallory") };
    site.policy(&[POLICY, NO_BANS].concat());
    (site, keys)
}

fn ask(gateway: &Gateway, method: &str, source: &str, target: &str, key: &str) -> u16 {
    let mut connection = Conn::open_from(source.parse().unwrap(), gateway.address);
    connection.send(request(method, target, &[("x-api-key", key), ("user-agent", "reporter/1.2 x")], b""));
    connection.answer().status()
}

/// Seven posts of dave and two of carol from the office, one of carol from home, one of mallory from the office, and one from elsewhere.
fn traffic(gateway: &Gateway, keys: &Keys) {
    for _ in 0..7 {
        assert_eq!(ask(gateway, "POST", "127.0.0.9", "/reports?token=s3cret", &keys.dave), 200);
    }
    for source in ["127.0.0.9", "127.0.0.10", "127.0.0.17"] {
        assert_eq!(ask(gateway, "POST", source, "/reports", &keys.carol), 200);
    }
    assert_eq!(ask(gateway, "GET", "127.0.0.9", "/reports/7", &keys.mallory), 403);
    assert_eq!(ask(gateway, "GET", "127.0.0.99", "/reports/7", &keys.dave), 403);
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(gateway.site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

#[track_caller]
fn check(gateway: &Gateway, arguments: &[&str], code: i32) -> String {
    let finished = run(gateway, arguments);
    let said = finished.stdout.join("\n");
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}\n{}", finished.stderr.join("\n"));
    said
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn candidate(gateway: &Gateway, policy: &str) -> String {
    gateway.site.file("candidate.toml", &["version = 1\n", policy, NO_BANS].concat());
    gateway.site.path("candidate.toml").to_str().unwrap().to_owned()
}

/// `[["user:dave", 7], …]`
fn counts(value: &Value) -> Vec<(String, u64)> {
    let count = |count: &Value| (count["name"].as_str().unwrap().to_owned(), count["requests"].as_u64().unwrap());
    value.as_array().unwrap().iter().map(count).collect()
}

fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

const RECORDED: &str = "[event]\npermits = { sample = \"100%\" }\n\n[access_log]\nkind = \"file\"\npath = \"access.jsonl\"\nformat = \"json\"\n\n\
    [[sink]]\nname = \"traffic\"\nkind = \"file\"\npath = \"traffic.jsonl\"\nkinds = [\"access.*\"]\n";

/// What nobody looked at is not unchanged, and without permits nobody sees who would be denied.
#[test]
fn a_replay_of_nothing_is_no_yes() {
    let upstream = Upstream::start();
    let (site, keys) = site(
        &upstream,
        "[[sink]]\nname = \"traffic\"\nkind = \"file\"\npath = \"traffic.jsonl\"\nkinds = [\"access.*\"]\n",
    );
    let gateway = site.start();
    let elsewhere = candidate(&gateway, &POLICY.replace("127.0.0.8/29", "127.0.0.200/32"));
    gateway.site.file("garbage.jsonl", "garbage\n{}\n");
    let garbage = gateway.site.path("garbage.jsonl").to_str().unwrap().to_owned();
    for file in ["/dev/null", &garbage] {
        let replayed = run(&gateway, &["replay", file, "--policy", &elsewhere]);
        assert_eq!(replayed.status.code(), Some(4), "{file}: {replayed:?}");
        assert!(replayed.stderr.join("\n").contains("nothing could be decided on again"), "{replayed:?}");
    }
    traffic(&gateway, &keys);
    let events = gateway.site.path("traffic.jsonl");
    let lines = || fs::read_to_string(&events).unwrap_or_default().lines().count();
    assert!(wait::until(PATIENCE, || (lines() >= 2).then_some(())).is_some());
    let said = check(&gateway, &["replay", events.to_str().unwrap(), "--policy", &elsewhere], 1);
    assert!(said.contains("no permitted request was among them"), "{said}");
}

/// A group loses a member who could also activate something: what is due to the grant is not due to that.
#[test]
fn a_member_who_is_lost_is_due_to_the_grant_and_not_to_what_could_be_activated() {
    let upstream = Upstream::start();
    let (site, keys) = site(&upstream, "[store]\npath = \"state.db\"\n");
    let eligible = "\n[[role]]\nname = \"admin\"\npermissions = [{ actions = [\"* /**\"] }]\n\n[[assignment]]\nname = \"aa-dave-administers\"\nrole = \"admin\"\nprincipals = [\"user:dave\"]\nscope = \"*\"\nactivation = { max = \"1h\" }\n";
    site.policy(&[POLICY, eligible, NO_BANS].concat());
    let gateway = site.start();
    traffic(&gateway, &keys);
    let without = candidate(&gateway, &[&POLICY.replace("\"user:dave\", ", ""), eligible].concat());
    let report = json(&check(&gateway, &["policy", "preview", &without, "-o", "json"], 1));
    let denied = &report["recent"]["newly_denied"];
    assert_eq!(counts(&denied["by_rule"]), pairs(&[("assignment/staff-reports", 7)]), "{report:#}");
}

#[test]
fn recorded_requests_are_decided_on_again_under_another_policy() {
    let upstream = Upstream::start();
    let (site, keys) = site(&upstream, RECORDED);
    let gateway = site.start();
    traffic(&gateway, &keys);
    let lines = |name: &str| fs::read_to_string(gateway.site.path(name)).unwrap_or_default().lines().count();
    assert!(
        wait::until(PATIENCE, || (lines("traffic.jsonl") >= 12 && lines("access.jsonl") >= 12).then_some(())).is_some()
    );
    let events = gateway.site.path("traffic.jsonl").to_str().unwrap().to_owned();
    let without_office = candidate(&gateway, &POLICY.replace("127.0.0.8/29", "127.0.0.200/32"));

    let said = check(&gateway, &["replay", &events, "--policy", &without_office], 1);
    assert!(
        said.starts_with("would newly deny 9 of 12 recorded requests (75.00 %), by 2 users (dave 7, carol 2), all on POST /reports, by network/office-berlin\nnewly permits 0"),
        "{said}"
    );
    let report = json(&check(&gateway, &["replay", &events, "--policy", &without_office, "-o", "json"], 1));
    assert_eq!(report["present"]["version"], Value::Null, "no store says which it is");
    let denied = &report["impact"]["newly_denied"];
    assert_eq!(counts(&denied["by_user"]), pairs(&[("user:dave", 7), ("user:carol", 2)]));
    assert_eq!(counts(&denied["by_reason"]), pairs(&[("ip.not_allowed", 9)]));
    // Mallory is refused either way, for another reason.
    assert_eq!(report["impact"]["other_refusal"]["requests"], 1, "{report:#}");
    assert_eq!(report["impact"]["unchanged"], 2);
    assert_eq!(report["impact_sha256"].as_str().unwrap().len(), 64);

    // A grant to mallory lets in what was refused for want of one; from elsewhere nobody was looked at.
    let wider = POLICY.replace("\"user:carol\"]", "\"user:carol\", \"user:mallory\"]");
    let wider = candidate(&gateway, &wider.replace("\"127.0.0.16/28\"", "\"127.0.0.16/28\", \"127.0.0.99/32\""));
    let report = json(&check(&gateway, &["replay", &events, "--policy", &wider, "-o", "json"], 1));
    assert_eq!(counts(&report["impact"]["newly_permitted"]["by_user"]), pairs(&[("user:mallory", 1)]));
    assert_eq!(counts(&report["impact"]["newly_permitted"]["by_rule"]), pairs(&[("assignment/staff-reports", 1)]));
    assert_eq!(counts(&report["impact"]["not_replayed"]), pairs(&[("identity", 1)]));

    // The same policy changes nothing; the access log does not say what a credential says, and nothing is guessed.
    let same = candidate(&gateway, POLICY);
    assert!(check(&gateway, &["replay", &events, "--policy", &same], 0).contains("would newly deny 0 of 12"));
    let log = gateway.site.path("access.jsonl").to_str().unwrap().to_owned();
    let report = json(&check(&gateway, &["replay", &log, "--policy", &without_office, "-o", "json"], 0));
    assert_eq!(counts(&report["impact"]["not_replayed"]), pairs(&[("claims", 11)]));
    assert_eq!(report["impact"]["requests"], 1);
}

#[test]
fn a_file_that_is_not_there_and_a_policy_with_errors_are_no_replay() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    let config = site.write();
    let program = || -> Program { portcullis().arg("-c").arg(&config) };
    let policy = site.path("policy.toml");
    let missing = program().args(["replay", "/nowhere/events.jsonl", "--policy"]).arg(&policy).run(PATIENCE);
    assert_eq!(missing.status.code(), Some(4), "{missing:?}");
    site.file("bad.toml", "version = 1\n[[rule]]\n");
    let bad = program().args(["replay", "/dev/null", "--policy"]).arg(site.path("bad.toml")).run(PATIENCE);
    assert_eq!(bad.status.code(), Some(3), "{bad:?}");
    let nothing = program().args(["replay", "/dev/null", "--policy"]).arg(&policy).run(PATIENCE);
    assert_eq!(nothing.status.code(), Some(4), "{nothing:?}");
}

#[test]
fn a_candidate_is_tried_on_the_requests_that_the_gateway_has_kept() {
    let upstream = Upstream::start();
    let (site, keys) = site(&upstream, "");
    let gateway = site.start();
    traffic(&gateway, &keys);
    let without_office = candidate(&gateway, &POLICY.replace("127.0.0.8/29", "127.0.0.200/32"));
    let said = check(&gateway, &["policy", "preview", &without_office], 1);
    assert!(
        said.starts_with("would newly deny 9 of the last 12 requests (75.00 %), by 2 users (dave 7, carol 2), all on POST /reports, by network/office-berlin\nnewly permits 0\n"),
        "{said}"
    );
    // Nobody has read a report from the office, which would be refused, too.
    assert!(said.contains("never seen in the sample: here the preview is blind"), "{said}");
    let preview = |file: &str, code: i32| json(&check(&gateway, &["policy", "preview", file, "-o", "json"], code));
    let report = preview(&without_office, 1);
    assert_eq!(counts(&report["recent"]["newly_denied"]["by_user"]), pairs(&[("user:dave", 7), ("user:carol", 2)]));
    assert_eq!(report["coverage"]["taken"], 12);
    assert_eq!(report["coverage"]["missed"], 0);
    // The same question about the same requests is answered with the same hash: an approval can bind it.
    assert_eq!(report["impact_sha256"], preview(&without_office, 1)["impact_sha256"]);
    let text = report.to_string();
    for secret in ["s3cret", &keys.dave, "token="] {
        assert!(!text.contains(secret), "{text}");
    }
    let granted = candidate(&gateway, &POLICY.replace("\"user:carol\"]", "\"user:carol\", \"user:mallory\"]"));
    let report = preview(&granted, 1);
    assert_eq!(counts(&report["recent"]["newly_permitted"]["by_user"]), pairs(&[("user:mallory", 1)]));
    assert_ne!(report["impact_sha256"], text);
    let same = candidate(&gateway, POLICY);
    let said = check(&gateway, &["policy", "preview", &same], 0);
    assert!(said.contains("would newly deny 0 of the last 12") && said.contains("answered alike"), "{said}");
    // It was tried, and not put in force.
    assert_eq!(ask(&gateway, "POST", "127.0.0.9", "/reports", &keys.dave), 200);
}

/// Reading and compiling a policy is as much work as trying it: nobody has several of them done at once.
#[test]
fn one_candidate_is_read_and_tried_at_a_time() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    let gateway = site.start();
    let role = |number: usize| {
        let actions: Vec<String> = (0..20).map(|part| format!("\"GET /a{number}/b{part}/{{id}}/**\"")).collect();
        format!("\n[[role]]\nname = \"r{number}\"\npermissions = [{{ actions = [{}] }}]\n", actions.join(", "))
    };
    let large: String = (0..400).map(role).collect();
    let large = candidate(&gateway, &large);
    gateway.site.file("bad.toml", "version = 1\n[[rule]]\n");
    let bad = gateway.site.path("bad.toml").to_str().unwrap().to_owned();
    let is_refused = |finished: &Finished| finished.stderr.join("\n").contains("another policy is being tried");
    std::thread::scope(|scope| {
        // It may come just when the other one is being read.
        let tried = scope.spawn(|| {
            wait::until(3 * PATIENCE, || {
                Some(run(&gateway, &["policy", "preview", &large])).filter(|it| !is_refused(it))
            })
        });
        let mut refused = false;
        while !tried.is_finished() {
            let finished = run(&gateway, &["policy", "preview", &bad]);
            // Whoever cannot look has found nothing, and what does not compile is no policy: neither is a 1.
            let expected = if is_refused(&finished) { 4 } else { 3 };
            assert_eq!(finished.status.code(), Some(expected), "{finished:?}");
            refused |= is_refused(&finished);
        }
        assert!(refused, "both were read at once");
        assert!(tried.join().unwrap().is_some_and(|it| it.status.code() != Some(4)));
    });
    // The turn is given back.
    let finished = run(&gateway, &["policy", "preview", &bad]);
    assert!(finished.stderr.join("\n").contains("unknown key `rule`"), "{finished:?}");
}

#[test]
fn a_candidate_with_errors_is_told_where_and_nothing_of_other_files() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    site.file("secrets.txt", "hunter2 is no prefix\n");
    let gateway = site.start();
    let bad = candidate(&gateway, "[[network]]\nname = \"a\"\nfile = \"secrets.txt\"\n\n[[rule]]\nname = \"x\"\n");
    let refused = run(&gateway, &["policy", "preview", &bad]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = refused.stderr.join("\n");
    assert!(said.contains("candidate.toml:") && said.contains("unknown key `rule`"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_gateway_that_keeps_no_requests_says_so() {
    let upstream = Upstream::start();
    let (site, keys) = site(&upstream, "[sample]\nenabled = false\n");
    let gateway = site.start();
    traffic(&gateway, &keys);
    let same = candidate(&gateway, POLICY);
    let refused = run(&gateway, &["policy", "preview", &same]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(refused.stderr.join("\n").contains("`[sample] enabled = false`"), "{refused:?}");
}
