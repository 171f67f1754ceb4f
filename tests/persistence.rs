//! What survives a restart: a gateway is killed, and the next one goes on where it was.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use portcullis_testkit::process::{Finished, Process, Signal};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, Site, bearer, claims, of_kind, tool};

const STORE: &str = "[store]\npath = \"state.db\"\n";

/// Five failures at any pace: by default those of a slow machine would have faded before the last.
const BANS: &str = "\n[ban]\ncredentials = { level = 5, half = \"1h\" }\n";

/// A site with a store, and what alice sends.
fn site(upstream: &Upstream) -> (Site, String) {
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(STORE);
    site.policy(&[AUTHENTICATED, BANS].concat());
    (site, key)
}

fn ask(gateway: &Gateway, arguments: &[&str]) -> Finished {
    gateway.site.ask(arguments)
}

#[track_caller]
fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let finished = ask(gateway, &[arguments, &["-o", "json"]].concat());
    let text = finished.stdout.join("\n");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {finished:?}"))
}

fn banned(gateway: &Gateway) -> Vec<String> {
    let bans = json(gateway, &["ban", "list"]);
    let mut on: Vec<String> =
        bans["bans"].as_array().unwrap().iter().map(|ban| ban["on"].as_str().unwrap().to_owned()).collect();
    on.sort();
    on
}

fn fail_five_times(gateway: &Gateway, source: &str) {
    for attempt in 1..=5 {
        let answer = gateway.get_from(source, "/", &[("X-Api-Key", "pcl_alice_guess")]);
        gateway.check_refused(&format!("attempt {attempt}"), &answer, 401, "authn.invalid");
    }
}

/// Waits until nothing is left to be written.
#[track_caller]
fn wait_until_written(gateway: &Gateway, rows: f64) {
    let written = || {
        let enough = gateway.metric("portcullis_store_rows_total") >= Some(rows);
        (enough && gateway.metric("portcullis_store_pending") == Some(0.0)).then_some(())
    };
    wait::until(PATIENCE, written).expect("it is not written");
}

/// Kills it, and starts another one on the same files.
fn kill_and_start(gateway: Gateway) -> Gateway {
    let Gateway { site, mut process, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    site.start()
}

#[test]
fn a_ban_outlives_the_process_that_imposed_it_and_a_lifted_one_does_not_come_back() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream);
    let gateway = site.start();
    let good = ("X-Api-Key", key.as_str());
    assert_eq!(gateway.get_from("127.0.0.12", "/", &[good]).status(), 200);
    fail_five_times(&gateway, "127.0.0.9");
    fail_five_times(&gateway, "127.0.0.12");
    for (on, to) in [("--range", "127.0.2.0/26"), ("--user", "mallory"), ("--ip", "127.0.0.77")] {
        let added = ask(&gateway, &["ban", "add", on, to, "--for", "1h", "--reason", "ticket 4711"]);
        assert_eq!(added.status.code(), Some(0), "{added:?}");
    }
    let before = banned(&gateway);
    assert_eq!(before, ["127.0.0.12", "127.0.0.77", "127.0.0.9", "127.0.2.0/26", "user:mallory"]);
    let explained = json(&gateway, &["ban", "explain", "--ip", "127.0.0.9"]);
    // Bans, the profile of alice, and where she was let in from.
    wait_until_written(&gateway, 7.0);
    let store = gateway.site.path("state.db");
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o600);

    let gateway = kill_and_start(gateway);
    assert_eq!(banned(&gateway), before);
    for source in ["127.0.0.9", "127.0.0.77", "127.0.2.63"] {
        gateway.check_refused(source, &gateway.get_from(source, "/", &[good]), 403, "ban.active");
    }
    // Who shares an address with an offender is still known to.
    gateway.check_refused("no credential", &gateway.get_from("127.0.0.12", "/", &[]), 403, "ban.active");
    assert_eq!(gateway.get_from("127.0.0.12", "/", &[good]).status(), 200);
    assert_eq!(gateway.get_from("127.0.0.10", "/", &[good]).status(), 200, "the neighbour");
    let again = json(&gateway, &["ban", "explain", "--ip", "127.0.0.9"]);
    assert_eq!(
        (&again["bans"][0]["until"], &again["evidence"]),
        (&explained["bans"][0]["until"], &explained["evidence"])
    );
    assert_eq!(again["evidence"].as_array().unwrap().len(), 5);
    assert_eq!((&again["bans"][0]["offences"], &again["bans"][0]["scope"]), (&1.into(), &"address".into()));

    for (on, to) in [("--ip", "127.0.0.9"), ("--range", "127.0.2.0/26"), ("--user", "mallory")] {
        assert_eq!(ask(&gateway, &["ban", "remove", on, to]).status.code(), Some(0), "{to}");
    }
    assert_eq!(gateway.get_from("127.0.0.9", "/", &[good]).status(), 200);
    wait_until_written(&gateway, 3.0);
    let gateway = kill_and_start(gateway);
    assert_eq!(banned(&gateway), ["127.0.0.12", "127.0.0.77"]);
    assert_eq!(gateway.get_from("127.0.0.9", "/", &[good]).status(), 200);
    // What was forgotten is forgotten: the next offence is the first.
    fail_five_times(&gateway, "127.0.0.9");
    let last = json(&gateway, &["ban", "explain", "--ip", "127.0.0.9"]);
    assert_eq!(last["bans"][0]["offences"], 1);
}

#[test]
fn what_an_alert_contains_is_contained_still_and_can_be_lifted() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&key], "");
    site.add(STORE);
    site.add(
        "[[alert]]\nname = \"denied\"\nwhen = { reasons = \"rbac.explicit_deny\" }\ncount = 2\nper = \"principal\"\n\
         max_contained = 1\ncontain = [{ step_up = \"principal\", for = \"1h\" }]\n",
    );
    site.policy(
        &[
            AUTHENTICATED,
            "[[deny]]\nname = \"no\"\nprincipals = [\"user:alice\", \"user:bob\"]\nactions = [\"GET /no\"]\nscope = \"*\"\n",
        ]
        .concat(),
    );
    let gateway = site.start();
    let alice = bearer(&key, &claims("alice").seconds_from_now("iat", -60));
    let go = |gateway: &Gateway, target: &str| gateway.get(target, &[("Authorization", &alice)]);
    for _ in 0..2 {
        gateway.check_refused("denied", &go(&gateway, "/no"), 403, "rbac.explicit_deny");
    }
    let contained = || (go(&gateway, "/ok").status() == 401).then_some(());
    wait::until(PATIENCE, contained).expect("the alert does not contain");
    wait_until_written(&gateway, 1.0);
    let gateway = kill_and_start(gateway);
    gateway.check_refused("contained", &go(&gateway, "/ok"), 401, "step_up.required");
    let listed = json(&gateway, &["alert", "list"])["contained"].clone();
    assert_eq!((&listed[0]["alert"], &listed[0]["on"]), (&"denied".into(), &"user:alice".into()), "{listed:#}");
    // The rule may contain one at a time, and goes on doing so: a restart gives it no second one.
    let bob = bearer(&key, &claims("bob").seconds_from_now("iat", -60));
    let of_bob = |target: &str| gateway.get(target, &[("Authorization", &bob)]);
    for _ in 0..2 {
        gateway.check_refused("denied, too", &of_bob("/no"), 403, "rbac.explicit_deny");
    }
    let fired = || {
        let events = gateway.events.all();
        let of_bob = |event: &&Value| event["alert"]["key"]["value"] == "user:bob";
        of_kind(&events, "alert.fired").into_iter().find(of_bob).cloned()
    };
    let fired = wait::until(PATIENCE, fired).expect("the alert does not fire");
    assert!(fired["alert"]["actions"].to_string().contains("max_contained"), "{fired:#}");
    assert_eq!(of_bob("/ok").status(), 200);
    let lifted = ask(&gateway, &["alert", "lift", listed[0]["id"].as_str().unwrap()]);
    assert_eq!(lifted.status.code(), Some(0), "{lifted:?}");
    assert_eq!(go(&gateway, "/ok").status(), 200);
    wait_until_written(&gateway, 0.0);
    let gateway = kill_and_start(gateway);
    assert_eq!(go(&gateway, "/ok").status(), 200, "what was lifted is lifted");
}

#[test]
fn an_orderly_end_writes_what_the_last_seconds_changed() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream);
    let gateway = site.start();
    assert_eq!(gateway.get_from("127.0.0.12", "/", &[("X-Api-Key", &key)]).status(), 200);
    let Gateway { site, mut process, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    assert!(!site.path("state.db-wal").exists(), "the file stands alone");
    let mut gateway = site.start();
    let line = gateway.process.wait_for_line("the state of before is in force");
    assert!(line.contains("bans=0") && line.contains("profiles=1") && line.contains("forgotten=0"), "{line}");
    // And the one after that, too.
    fail_five_times(&gateway, "127.0.0.12");
    let explained = json(&gateway, &["ban", "explain", "--ip", "127.0.0.12"]);
    assert_eq!(explained["bans"][0]["scope"], "anonymous", "it is known that alice came from there: {explained:#}");
}

#[test]
fn without_a_store_a_restart_forgets_and_that_is_said() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, BANS].concat());
    let check = site.run(&["check"]);
    assert!(check.stdout.join("\n").contains("; state: in memory, and no version is kept: "), "{check:?}");
    let gateway = site.start();
    fail_five_times(&gateway, "127.0.0.9");
    assert_eq!(banned(&gateway), ["127.0.0.9"]);
    assert!(ask(&gateway, &["status"]).stdout.join("\n").contains("in memory: a restart forgets"));
    assert_eq!(gateway.metric("portcullis_store_failing"), None);
    let gateway = kill_and_start(gateway);
    assert_eq!(banned(&gateway), [""; 0]);
    // It is fixed while it runs.
    let path = gateway.site.path("portcullis.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n{STORE}")).unwrap();
    assert_eq!(json(&gateway, &["status"])["disk"]["restart"], serde_json::json!(["[store]", "[audit] enabled"]));
}

#[test]
fn a_store_that_cannot_be_used_refuses_the_start_with_its_remedy_and_stays_as_it_is() {
    let check = |what: &str, spoil: &dyn Fn(&Path), code: i32, expected: &str| {
        let upstream = Upstream::start();
        let (site, _) = site(&upstream);
        let store = site.path("state.db");
        spoil(&store);
        let before = fs::read(&store).ok();
        let refused = site.run(&["run"]);
        let said = refused.stderr.join("\n");
        assert_eq!(refused.status.code(), Some(code), "{what}: {said}");
        assert!(said.contains("state.db") && said.contains(expected), "{what}: {said}");
        assert_eq!(fs::read(&store).ok(), before, "{what}");
        assert!(!site.path("events.jsonl").exists(), "{what}: nothing else was begun");
    };
    let noise = |path: &Path| fs::write(path, "noise ".repeat(2_000)).unwrap();
    check("noise", &noise, 3, "put a copy of it back, or move it away");
    let folder = |path: &Path| fs::create_dir(path).unwrap();
    check("a folder", &folder, 3, "no regular file");
    let nowhere = |path: &Path| std::os::unix::fs::symlink("/nonexistent/portcullis/state.db", path).unwrap();
    check("nowhere", &nowhere, 4, "its folder must be there");
}

/// Sets how large a file the process may write from now on, in bytes: like a disk that is full.
fn bound_files(process: &Process, bytes: &str) {
    let pid = process.pid().to_string();
    let done = tool("PORTCULLIS_PRLIMIT", "prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
        .run(PATIENCE);
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_full_disk_costs_no_request_and_is_said() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream);
    // By itself a process that writes too large a file is ended by a signal; this one fails to write, as on a full disk.
    let gateway = site.start();
    let good = ("X-Api-Key", key.as_str());
    fail_five_times(&gateway, "127.0.0.9");
    wait_until_written(&gateway, 1.0);
    assert_eq!(gateway.metric("portcullis_store_failing"), Some(0.0));
    let log = gateway.site.path("state.db-wal");
    let room = fs::metadata(&log).unwrap().len() + 1_000;
    bound_files(&gateway.process, &room.to_string());
    fail_five_times(&gateway, "127.0.0.10");
    let failing = || (gateway.metric("portcullis_store_failing") == Some(1.0)).then_some(());
    wait::until(PATIENCE, failing).expect("the store does not fail");
    // It serves, bans, and says what is wrong.
    assert_eq!(gateway.get_from("127.0.0.11", "/", &[good]).status(), 200);
    gateway.check_refused("banned", &gateway.get_from("127.0.0.10", "/", &[good]), 403, "ban.active");
    assert!(gateway.metric("portcullis_store_writes_total{result=\"error\"}") >= Some(1.0));
    assert!(gateway.metric("portcullis_store_pending") >= Some(1.0));
    let status = json(&gateway, &["status"]);
    assert!(status["store"]["trouble"].is_string(), "{status:#}");
    assert!(ask(&gateway, &["status"]).stdout.join("\n").contains("CANNOT BE WRITTEN"));
    let ready = portcullis_testkit::wire::get(gateway.ops, "/readyz?verbose", &[]);
    assert_eq!(ready.status(), 200, "it is degraded, and ready");
    assert!(ready.text().contains("[!]store degraded"), "{}", ready.text());
    // Nor does a reload call a version what could not be written.
    let policy = fs::read_to_string(gateway.site.path("policy.toml")).unwrap();
    gateway.site.file("policy.toml", &format!("{policy}\n# {}\n", "another ".repeat(4_000)));
    let reloaded = ask(&gateway, &["reload"]);
    let said = |finished: &Finished, words: &str| finished.stdout.iter().any(|line| line.contains(words));
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
    assert!(said(&reloaded, "THIS IS NO VERSION"), "{reloaded:?}");
    let listed = ask(&gateway, &["policy", "list"]);
    assert!(said(&listed, "version 1 is live") && said(&listed, "WHICH IS NO VERSION"), "{listed:?}");

    bound_files(&gateway.process, "unlimited");
    let mended = || (gateway.metric("portcullis_store_failing") == Some(0.0)).then_some(());
    wait::until(PATIENCE, mended).expect("the store is not written to again");
    let reloaded = ask(&gateway, &["reload"]);
    assert!(!said(&reloaded, "NO VERSION"), "{reloaded:?}");
    let listed = ask(&gateway, &["policy", "list"]);
    assert!(said(&listed, "version 2 is live") && !said(&listed, "NO VERSION"), "{listed:?}");
    wait_until_written(&gateway, 2.0);
    let gateway = kill_and_start(gateway);
    assert_eq!(banned(&gateway), ["127.0.0.10", "127.0.0.9"], "nothing was lost but the time");
}
