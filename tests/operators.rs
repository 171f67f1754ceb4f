//! What operators ask of a running gateway from elsewhere, with the command line: backups, recorded events, decisions of the policy in force, replays and
//! differences. And what they still see where no gateway runs.

use std::fs;

use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::{Value, json};

use crate::admin_api::Api;
use crate::harness::{Gateway, Site, of_kind, portcullis};

/// Operators may all of it, readers what is asked with `GET`; alice may go through the application, too, and whoever else is known may look at it.
const POLICY: &str = r#"
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"] }]

[[role]]
name = "reader"
permissions = [{ actions = ["GET /v1/**"] }]

[[role]]
name = "looks"
permissions = [{ actions = ["GET /**"] }]

[[assignment]]
name = "operators"
role = "everything"
principals = ["user:alice"]
scope = "admin"

[[assignment]]
name = "readers"
role = "reader"
principals = ["user:bob"]
scope = "admin"

[[assignment]]
name = "application"
role = "looks"
principals = ["user:alice", "user:bob"]
scope = "app"

[[assignment]]
name = "writers"
role = "everything"
principals = ["user:root"]
scope = "app"
activation = { max = "1h" }
"#;

/// The API, and a command line elsewhere that knows its address.
struct Elsewhere {
    api: Api,
    admin: String,
}

impl Elsewhere {
    fn start() -> Self {
        Self::start_with(POLICY)
    }

    fn start_with(policy: &str) -> Self {
        let api = Api::start_on(&[], "[store]\npath = \"state.db\"\n\n[backup]\npath = \"backups\"\n", policy);
        for (name, key) in [("alice", &api.alice), ("bob", &api.bob)] {
            api.gateway.site.file(&format!("{name}.key"), &format!("x-api-key: {key}\n"));
        }
        let admin = format!("http://{}", api.address);
        Self { api, admin }
    }

    /// There is no configuration where it is asked, and so no local file to look into.
    fn ask(&self, who: &str, arguments: &[&str]) -> Finished {
        let file = self.api.gateway.site.path(&format!("{who}.key"));
        let program = portcullis().args(["-c", "/nonexistent/portcullis.toml", "--admin", &self.admin, "--token-file"]);
        program.arg(file).args(arguments).run(PATIENCE)
    }

    #[track_caller]
    fn check(&self, who: &str, arguments: &[&str], code: i32, words: &str) -> String {
        let finished = self.ask(who, arguments);
        let said = [finished.stdout.clone(), finished.stderr].concat().join("\n");
        assert_eq!(finished.status.code(), Some(code), "{who} {arguments:?}: {said}");
        assert!(said.contains(words), "{who} {arguments:?}: {said}");
        finished.stdout.join("\n")
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        of_kind(&self.api.gateway.events.all(), kind).into_iter().cloned().collect()
    }
}

#[test]
fn a_backup_is_made_verified_and_tried_from_elsewhere_and_leads_to_no_other_file() {
    let there = Elsewhere::start();
    let made: Value =
        serde_json::from_str(&there.check("alice", &["backup", "create", "-o", "json"], 0, "asked-")).unwrap();
    assert_eq!(made["version"], 1);
    let file = made["file"].as_str().unwrap();
    let name = file.rsplit('/').next().unwrap();
    assert!(there.api.gateway.site.path("backups").join(name).is_file(), "in the folder of `[backup]`: {file}");
    there.check("bob", &["backup", "list"], 0, name);
    there.check("bob", &["backup", "verify", name], 0, "is as it was made: version 1");
    there.check("alice", &["backup", "drill", name], 0, "a drill: the backup of ");
    for verb in ["create", "drill"] {
        let arguments: Vec<&str> = ["backup", verb].into_iter().chain((verb == "drill").then_some(name)).collect();
        there.check("bob", &arguments, 5, "not permitted");
    }
    for elsewhere in ["../state.db", "state.db", "/etc/passwd"] {
        there.check("alice", &["backup", "verify", elsewhere], 1, "there is no backup");
    }
    there.check("alice", &["backup", "verify", name, "--plain"], 2, "reads its own backups with its own key");
    let [made] = &there.events("admin.backup_create")[..] else { panic!("exactly one event") };
    assert_eq!((&made["identity"]["id"], &made["decision"]), (&json!("user:alice"), &json!("permit")));
    let [tried] = &there.events("admin.backup_drill")[..] else { panic!("exactly one event") };
    assert!(tried["message"].as_str().unwrap().contains("can be restored"), "{tried}");
}

#[test]
fn a_file_that_is_named_is_copied_here_and_one_that_is_not_by_the_gateway() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[store]\npath = \"state.db\"\n");
    let gateway = site.start();
    let out = gateway.site.path("mine.backup").display().to_string();
    success(&gateway.site, &["backup", "create", "--out", &out]);
    success(&gateway.site, &["backup", "drill", &out]);
    let made = success(&gateway.site, &["backup", "create"]);
    assert!(made.contains("/backups/asked-"), "beside the store, as nothing is said of backups: {made}");
    let kinds = ["admin.backup_create", "admin.backup_drill"];
    let count = || kinds.map(|kind| of_kind(&gateway.events.all(), kind).len());
    wait::until(PATIENCE, || (count() == [1, 0]).then_some(())).expect("one event, of what the gateway has made");
    // Where none answers, the store is copied by the command line.
    let site = stopped(gateway);
    let here = site.ask(&["backup", "create"]);
    assert_eq!(here.status.code(), Some(0), "{here:?}");
    assert!(here.stdout.concat().contains("/backups/portcullis-"), "{here:?}");
    assert!(here.stderr.concat().contains("no gateway answers"), "{here:?}");
    let listed: Value = serde_json::from_str(&success(&site, &["backup", "list", "-o", "json"])).unwrap();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "{listed:#}");
}

#[test]
fn recorded_events_are_searched_counted_and_explained_from_elsewhere() {
    let there = Elsewhere::start();
    let gateway = &there.api.gateway;
    for number in 0..5 {
        let denied = gateway.get(&format!("/no/{number}"), &[]);
        gateway.check_refused("anonymous", &denied, 401, "authn.missing");
    }
    let refusals = ["events", "search", "--reason", "authn.*", "-o", "json"];
    let (mut seen, mut after) = (Vec::new(), Vec::new());
    loop {
        let arguments =
            [&refusals[..], &["--limit", "2"], &after.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
        let part: Value = serde_json::from_str(&there.check("alice", &arguments, 0, "")).unwrap();
        assert_eq!(part["matches"], 5 - seen.len());
        seen.extend(part["events"].as_array().unwrap().iter().map(|event| event["id"].clone()));
        let Some(next) = part["next"].as_str() else { break };
        assert_eq!(part["more"], true);
        after = vec!["--after".to_owned(), next.to_owned()];
    }
    let here: Value = serde_json::from_str(&success(&gateway.site, &refusals)).unwrap();
    let local: Vec<Value> = here["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(seen, local, "what the file holds, each once");
    assert_eq!(seen.len(), 5);

    let id = seen[0].as_str().unwrap();
    there.check("alice", &["events", "explain", id], 0, "what to check");
    there.check("alice", &["explain", "--event", id], 0, "GET ");
    there.check("alice", &["events", "stats", "--reason", "authn.*"], 0, "5 events, 5 of them refusals");
    let nobody = "00000000-0000-7000-8000-000000000000";
    there.check("alice", &["events", "explain", nobody], 1, "there is no event");
    there.check("alice", &["events", "search", "--after", "x"], 4, "`after` is no `next`");
    there.check("alice", &["events", "search", "--file", "events.jsonl"], 2, "name one of both");
    // They name people, as a tail does: a role that only reads does not see them, and who looked is recorded.
    there.check("bob", &["events", "search"], 5, "not permitted");
    let looked = there.events("admin.events_search");
    assert_eq!(looked.len(), 8, "{looked:#?}");
    assert!(looked.iter().all(|event| event["identity"]["id"] == "user:alice"));
    assert!(looked[0]["message"].as_str().unwrap().contains("\"reason\":\"authn.*\""), "{}", looked[0]);
}

#[test]
fn the_running_gateway_is_asked_and_not_the_file() {
    let there = Elsewhere::start();
    let site = &there.api.gateway.site;
    let look = ["can", "GET", "http://any.test/x", "--as", "alice"];
    let alice = |arguments: &[&str], code: i32, words: &str| there.check("alice", arguments, code, words);
    alice(&look, 0, "permit");
    // The file is another one meanwhile, and nobody has reloaded it.
    site.policy("");
    assert_eq!(site.ask(&look).status.code(), Some(1), "the file");
    let live = [&look[..], &["--live"]].concat();
    assert_eq!(site.ask(&live).status.code(), Some(0), "the socket of the running one");
    there.check("bob", &look, 0, "permit");
    let explained: Value =
        serde_json::from_str(&alice(&["explain", "GET", "http://any.test/x", "--as", "alice", "-o", "json"], 0, ""))
            .unwrap();
    assert_eq!((&explained["decision"], &explained["rule"]["name"]), (&json!("permit"), &json!("application")));
    assert!(explained["checks"].as_array().unwrap().len() > 3, "{explained:#}");
    alice(&["who-can", "GET", "http://any.test/x"], 0, "user:bob");
    alice(&["can", "GET", "http://any.test/%zz", "--as", "alice"], 1, "request.malformed");
    alice(&["can", "GET", "http://any.test/x", "--as", "nobody:x"], 4, "is not a kind of principal");

    // A ban of now refuses now, and at no other time.
    alice(&["ban", "add", "--user", "alice", "--for", "1h", "--reason", "case 4711"], 0, "");
    // She is refused herself from here on, so that somebody at the machine asks.
    let at_the_machine = |arguments: &[&str]| site.ask(&[arguments, &["--live"]].concat());
    let banned = at_the_machine(&look);
    assert_eq!(banned.status.code(), Some(1), "{banned:?}");
    assert!(banned.stdout.concat().contains("ban.active"), "{banned:?}");
    let tomorrow = at_the_machine(&[&look[..], &["--at", "2030-01-01T00:00:00Z"]].concat());
    assert_eq!(tomorrow.status.code(), Some(0), "{tomorrow:?}");

    // What is lent permits as long as it is.
    let write = ["can", "POST", "http://any.test/x", "--as", "root"];
    assert_eq!(at_the_machine(&write).status.code(), Some(1));
    success(site, &["access", "activate", "writers", "--as", "root", "--reason", "INC-7"]);
    let lent = at_the_machine(&write);
    assert_eq!(lent.status.code(), Some(0), "{lent:?}");
    assert!(lent.stderr.concat().contains("lent until"), "{lent:?}");
}

#[test]
fn policies_are_compared_and_replayed_by_the_gateway() {
    let there = Elsewhere::start();
    let site = &there.api.gateway.site;
    for _ in 0..3 {
        assert_eq!(there.api.gateway.get("/x", &[("x-api-key", &there.api.bob)]).status(), 200);
    }
    site.file("same.toml", &format!("version = 1\n{POLICY}"));
    let narrower = POLICY.replace("principals = [\"user:alice\", \"user:bob\"]", "principals = [\"user:alice\"]");
    site.file("narrower.toml", &format!("version = 1\n{narrower}"));
    let [same, narrower] = ["same.toml", "narrower.toml"].map(|name| site.path(name).display().to_string());

    there.check(
        "bob",
        &["policy", "diff", "1", "in_force"],
        0,
        "version 1 to in force: every request is answered alike",
    );
    there.check("alice", &["policy", "diff", "in_force", &same], 0, "answered alike");
    let differs = there.check("alice", &["policy", "diff", "1", &narrower], 1, "tightens: permit becomes deny");
    assert!(differs.contains("user:bob"), "{differs}");
    there.check("alice", &["policy", "diff", "1", "7"], 4, "7");
    there.check("bob", &["policy", "diff", "1", &narrower], 5, "not permitted");

    // They are permitted, and so they are no events: what was refused can be replayed.
    let replay = |policy: &str, more: &[&str]| {
        [&["replay", "--kept", "--policy", policy][..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let check = |who: &str, arguments: Vec<String>, code: i32, words: &str| {
        there.check(who, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), code, words)
    };
    for number in 0..3 {
        let denied = there.api.gateway.send(portcullis_testkit::wire::request(
            "POST",
            &format!("/x/{number}"),
            &[("host", "any.test"), ("x-api-key", &there.api.bob)],
            b"",
        ));
        there.api.gateway.check_refused("only looks", &denied, 403, "rbac.no_matching_grant");
    }
    // And the question of above that was refused.
    check("alice", replay(&same, &[]), 0, "would newly deny 0 of 4 recorded requests");
    let wider = POLICY.replace("role = \"looks\"", "role = \"everything\"");
    site.file("wider.toml", &format!("version = 1\n{wider}"));
    let wider = site.path("wider.toml").display().to_string();
    let report = check("alice", replay(&wider, &["-o", "json"]), 1, "");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["impact"]["newly_permitted"]["requests"], &report["lines"].is_u64()),
        (&json!(3), &true),
        "{report:#}"
    );
    assert_eq!((&report["present"]["version"], &report["candidate"]["version"]), (&json!(1), &Value::Null));
    // Nothing was looked at: that is no answer.
    check("alice", replay(&wider, &["--limit", "1"]), 4, "there are more events in that time");
    check("alice", replay(&wider, &["--until", "2020-01-01T00:00:00Z"]), 4, "nothing could be decided on again");
    site.file("broken.toml", "version = 1\n[[role]]\nname = 7\n");
    let broken = site.path("broken.toml").display().to_string();
    // 1 would say that somebody is answered otherwise, and 4 that the gateway cannot look.
    check("alice", replay(&broken, &[]), 3, "broken.toml:");
    there.check("alice", &["policy", "diff", "in_force", &broken], 3, "broken.toml:");
    there.check("alice", &["policy", "diff", &broken, "1"], 3, "broken.toml:");
    there.check("alice", &["policy", "preview", &broken], 3, "broken.toml:");
    check("bob", replay(&same, &[]), 5, "not permitted");
}

#[test]
fn where_no_gateway_runs_the_store_says_what_there_is_and_nothing_is_written() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[admin]\naddress = \"127.0.0.1:0\"\n\n[store]\npath = \"state.db\"\n");
    site.policy(&format!(
        "{POLICY}\n[[network]]\nname = \"partner\"\naddresses = [\"127.0.0.9\"]\nsource = {{ file = \"partner.txt\", private = true }}\n"
    ));
    site.file("partner.txt", "127.0.0.10\n127.0.0.11\n");
    site.key("alice", "user:alice", "");
    let gateway = site.start();
    let run = |arguments: &[&str]| success(&gateway.site, arguments);
    run(&["ban", "add", "--ip", "192.0.2.7", "--for", "1h", "--reason", "case 4711"]);
    run(&["revoke", "token", "jti-1", "--reason", "lost"]);
    run(&["access", "activate", "writers", "--as", "root", "--reason", "INC-7"]);
    run(&["audit", "run", "--fail-on", "never"]);
    run(&["feed", "refresh", "partner"]);
    let asked = gateway.site.ask(&["ban", "list", "--offline"]);
    assert!(asked.status.code() == Some(0), "{asked:?}");
    assert!(asked.stderr.is_empty(), "as it was asked: {asked:?}");
    let site = stopped(gateway);

    let before = fs::read(site.path("state.db")).unwrap();
    let looks: [(&[&str], &str); 8] = [
        (&["ban", "list"], "by hand: case 4711"),
        (&["session", "list"], "nobody is logged in"),
        (&["feed", "list"], "partner"),
        (&["access", "list"], "writers"),
        (&["access", "show", "1"], "INC-7"),
        (&["access", "verify"], "follow one on the other"),
        (&["revoke", "list"], "jti-1"),
        (&["audit", "runs"], "RUN"),
    ];
    for (arguments, words) in looks {
        for (more, is_told) in [(&[][..], true), (&["--offline"], false)] {
            let finished = site.ask(&[arguments, more].concat());
            assert_eq!(finished.status.code(), Some(0), "{arguments:?} {more:?}: {finished:?}");
            assert!(finished.stdout.join("\n").contains(words), "{arguments:?}: {finished:?}");
            let said = finished.stderr.concat();
            assert_eq!(
                said.contains("note: no gateway answers: this is what "),
                is_told,
                "{arguments:?} {more:?}: {said}"
            );
            assert!(is_told || said.is_empty(), "as it was asked: {said}");
        }
    }
    let shown = site.ask(&["audit", "show", "--offline", "--fail-on", "never"]);
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert_eq!(fs::read(site.path("state.db")).unwrap(), before, "the store is as it was");

    // What changes something needs a gateway, and says so.
    for arguments in [
        &["ban", "add", "--ip", "192.0.2.8", "--for", "1h", "--reason", "x"][..],
        &["session", "revoke", "--user", "alice"],
        &["feed", "refresh", "partner"],
        &["access", "deactivate", "1", "--reason", "x"],
        &["revoke", "key", "alice", "--reason", "x"],
    ] {
        let finished = site.ask(arguments);
        assert_eq!(finished.status.code(), Some(4), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.concat().contains("start it, or name another one with --admin"), "{finished:?}");
        let offline = site.ask(&[arguments, &["--offline"]].concat());
        assert_eq!(offline.status.code(), Some(2), "{arguments:?}: {offline:?}");
    }
    let both = site.ask(&["ban", "list", "--offline", "--admin", "unix:/nonexistent"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[track_caller]
fn success(site: &Site, arguments: &[&str]) -> String {
    let finished = site.ask(arguments);
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
    finished.stdout.join("\n")
}

/// Stops it in order.
fn stopped(gateway: Gateway) -> Site {
    let (site, mut process) = (gateway.site, gateway.process);
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    site
}

/// Review of 2026-11: whoever may compare policies sent one that names variables, and read the environment of the process in the answer.
#[test]
fn what_is_sent_tells_no_variable_of_the_process_that_the_files_do_not_tell() {
    const KNOWN: &str = "user:${PORTCULLIS_TEST_ONCALL:-oncall}";
    let there =
        Elsewhere::start_with(&POLICY.replace("\"user:alice\", \"user:bob\"", &format!("\"user:alice\", \"{KNOWN}\"")));
    let secret = std::env::var("PATH").unwrap();
    let post = |target: &str, body: &Value| there.api.post(target, &there.api.alice, body);
    let text = |principal: &str| format!("version = 1\n{}", POLICY.replace("user:root", principal));
    let sent = |principal: &str| json!({ "name": "policy.toml", "text": text(principal) });
    let by = json!({ "name": null, "reason": "case 4711", "ticket": null });
    let here = "user:${PATH}";
    for (target, body) in [
        ("/v1/policy/diff", json!({ "before": "in_force", "after": { "policy": sent(here) } })),
        // As it is written in TOML, too.
        ("/v1/policy/diff", json!({ "before": { "policy": sent("user:\\u0024{PATH}") }, "after": "in_force" })),
        (
            "/v1/policy/diff",
            json!({ "before": "in_force", "after": { "policy": sent("user:${PORTCULLIS_TEST_ONCALL:-oncall}${PATH}") } }),
        ),
        ("/v1/policy/replay", json!({ "policy": sent(here), "since": null, "until": null, "limit": 10 })),
        ("/v1/policy/preview", sent(here)),
    ] {
        let answer = post(target, &body);
        assert_eq!(answer.status(), 422, "{target}: {}", answer.text());
        assert!(
            answer.text().contains("is not expanded: what is sent may refer to variables only where"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(&secret), "{target}: {}", answer.text());
    }
    // A problem that names the value: no such role.
    let wrong = format!("version = 1\n{}", POLICY.replace("role = \"looks\"", "role = \"${PATH}\""));
    let answer = post("/v1/govern/propose", &json!({ "verb": "propose", "policy": wrong, "files": null, "by": by }));
    assert_eq!(answer.status(), 409, "{}", answer.text());
    assert!(!answer.text().contains(&secret), "{}", answer.text());
    // It may be proposed, and whoever looks at the change is told nothing.
    let answer =
        post("/v1/govern/propose", &json!({ "verb": "propose", "policy": text(here), "files": null, "by": by }));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(answer.text().contains("not foreseen: ") && !answer.text().contains(&secret), "{}", answer.text());
    let id = answer.json()["changes"][0]["id"].clone();
    let answer = post("/v1/policy/diff", &json!({ "before": "in_force", "after": { "change": id } }));
    assert_eq!(answer.status(), 409, "{}", answer.text());
    assert!(answer.text().contains("is not expanded") && !answer.text().contains(&secret), "{}", answer.text());
    // What the files say at the same place is what it is.
    let answer = post("/v1/policy/diff", &json!({ "before": "in_force", "after": { "policy": sent(KNOWN) } }));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(answer.text().contains("user:oncall"), "{}", answer.text());
}

/// The role that permits everything is alice's by name and the account's that runs this by being eligible; bob has nothing of it, and may suppress.
#[test]
fn what_is_found_about_a_role_is_suppressed_by_nobody_alone_who_holds_it() {
    use std::os::unix::fs::MetadataExt as _;
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let auditor = "[[role]]\nname = \"auditor\"\npermissions = [{ actions = [\"POST /v1/audit/*\"] }]\n\n[[assignment]]\n\
                   name = \"auditors\"\nrole = \"auditor\"\nprincipals = [\"user:bob\"]\nscope = \"admin\"\n";
    let there = Elsewhere::start_with(&[&POLICY.replace("user:root", &format!("user:uid:{uid}")), auditor].concat());
    let site = &there.api.gateway.site;
    let found = || {
        let ran = site.ask(&["audit", "run", "--only", "LP05", "-o", "json", "--fail-on", "never"]);
        let report: Value =
            serde_json::from_str(&ran.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let about = |one: &&Value| one["held"] == json!(["role everything"]);
        report["findings"].as_array().unwrap().iter().find(about).unwrap_or_else(|| panic!("{report:#}")).clone()
    };
    let finding = found();
    assert_eq!((&finding["principal"], &finding["status"]), (&Value::Null, &json!("new")));
    let fingerprint = finding["fingerprint"].as_str().unwrap();
    let suppress = ["audit", "suppress", fingerprint, "--owner", "ops", "--reason", "until the move"];
    let waits = "is about the role `everything`, which you hold";
    // Twice the same person is one.
    for _ in 0..2 {
        there.check("alice", &suppress, 0, waits);
        assert_eq!(found()["status"], "open");
    }
    let lift = ["audit", "suppress", fingerprint, "--lift"];
    there.check("alice", &lift, 0, "not suppressed any more");
    let said = site.ask(&suppress);
    assert!(said.stdout.concat().contains(waits), "who could activate it holds it: {said:?}");
    assert_eq!(found()["status"], "open");
    // Somebody else, who holds it too, confirms it.
    there.check("alice", &suppress, 0, "confirmed: until the move (ops)");
    let suppressed = found();
    assert_eq!(suppressed["status"], "suppressed", "{suppressed:#}");
    assert!(suppressed["suppression"]["confirmed_by"].as_str().unwrap().contains("user:alice"), "{suppressed:#}");
    // Who has nothing of it says it alone.
    there.check("bob", &lift, 0, "not suppressed any more");
    assert_eq!(found()["status"], "open");
    there.check("bob", &suppress, 0, "is suppressed until ");
    assert_eq!(found()["status"], "suppressed");
}
