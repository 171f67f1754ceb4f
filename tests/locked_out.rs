//! Who is refused by what we changed, or by the end of what they had for a time, and goes on: they do nothing wrong and are banned for none of it. Whoever was never
//! let in is banned as ever.

use portcullis_testkit::process::Signal;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::Answer;

use crate::harness::{Gateway, Site, of_kind};

const STORE: &str = "[store]\npath = \"state.db\"\n";

/// These read all pages, and Bob, who is never changed, one of his own.
fn readers(who: &str) -> String {
    format!(
        r#"
[[role]]
name = "reader"
permissions = [{{ actions = ["GET /pages/**"] }}]

[[role]]
name = "reader-of-one"
permissions = [{{ actions = ["GET /one"] }}]

[[assignment]]
name = "readers-read"
role = "reader"
principals = [{who}]
scope = "*"

[[assignment]]
name = "bob-reads-one"
role = "reader-of-one"
principals = ["user:alice", "user:bob"]
scope = "*"
"#
    )
}

fn ask(gateway: &Gateway, method: &str, target: &str, key: &str) -> Answer {
    let mut conn = gateway.conn();
    conn.send(portcullis_testkit::wire::request(method, target, &[("x-api-key", key)], b""));
    conn.answer()
}

/// Asks for so many paths below this, as a client goes on that does not understand; the reasons why it was refused, each once.
fn goes_on(gateway: &Gateway, method: &str, below: &str, key: &str) -> Vec<String> {
    let reason = |n: u32| {
        let answer = ask(gateway, method, &format!("{below}/{n}"), key);
        answer.json()["reason"].as_str().expect("it is refused").to_owned()
    };
    let mut reasons: Vec<String> = (0..30).map(reason).collect();
    reasons.dedup();
    reasons
}

/// Ends it in this way, and starts another one on the same files with this policy.
fn restart(gateway: Gateway, kill: bool, policy: &str) -> Gateway {
    let Gateway { site, mut process, .. } = gateway;
    if kill {
        process.signal(Signal::Kill);
        process.wait_exit(PATIENCE);
    } else {
        process.stop(PATIENCE);
    }
    site.policy(policy);
    site.start()
}

#[track_caller]
fn run(gateway: &Gateway, arguments: &[&str]) -> String {
    let finished = gateway.site.ask(arguments);
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
    finished.stdout.join("\n")
}

/// Finding of 2026-11: what was in force before was known to the process alone, so that a mistake which came with a restart had its victims banned, and the rollback
/// did not let them in.
#[test]
fn a_mistake_that_comes_with_a_start_bans_nobody_whom_it_locks_out() {
    let (right, wrong) = (readers("\"user:alice\""), readers("\"user:carol\""));
    for kill in [false, true] {
        let upstream = Upstream::start();
        let mut site = Site::new(&upstream.url());
        let (alice, bob) = (site.key("alice", "user:alice", ""), site.key("bob", "user:bob", ""));
        site.add(STORE);
        site.policy(&right);
        let gateway = site.start();
        assert_eq!(ask(&gateway, "GET", "/pages/1", &alice).status(), 200);
        let gateway = restart(gateway, kill, &wrong);
        assert_eq!(goes_on(&gateway, "GET", "/pages", &alice), ["rbac.no_matching_grant"], "{kill}");
        // Not even where it ends once more before anybody sees it.
        let gateway = restart(gateway, kill, &wrong);
        assert_eq!(goes_on(&gateway, "GET", "/pages", &alice), ["rbac.no_matching_grant"], "{kill}");
        assert_eq!(ask(&gateway, "GET", "/one", &alice).status(), 200, "and she may do what else she may");
        // Who was refused before is no victim, and nor is it for what nobody ever let her do.
        assert!(goes_on(&gateway, "GET", "/pages", &bob).contains(&"ban.active".to_owned()), "{kill}");
        assert!(goes_on(&gateway, "GET", "/secrets", &alice).contains(&"ban.active".to_owned()), "{kill}");
        let said = run(&gateway, &["policy", "rollback", "1", "--reason", "they cannot read"]);
        let named = "STILL BANNED, for what it refused meanwhile: user:alice: see";
        assert!(said.contains(named) && !said.contains("user:bob"), "{said}");
        run(&gateway, &["ban", "remove", "--user", "user:alice"]);
        assert_eq!(ask(&gateway, "GET", "/pages/1", &alice).status(), 200);
    }
}

/// Alice writes while it is activated, and Dora could until a minute ago.
fn writers() -> String {
    let minute_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let more = format!(
        r#"
[[role]]
name = "writer"
permissions = [{{ actions = ["POST /jobs/**"] }}]

[[assignment]]
name = "on-call"
role = "writer"
principals = ["user:alice"]
scope = "*"
activation = {{ max = "1h" }}

[[assignment]]
name = "dora-writes"
role = "writer"
principals = ["user:dora"]
scope = "*"
expires = {minute_ago:.0}
"#
    );
    [readers("\"user:alice\", \"user:dora\""), more].concat()
}

/// Finding of 2026-11: the ordinary end of power banned whoever had it, from everything, and nothing said so to whoever gave it again.
#[test]
fn the_end_of_power_bans_nobody_who_had_it() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| site.key(name, &format!("user:{name}"), ""));
    site.add(STORE);
    site.policy(&writers());
    let gateway = site.start();
    let activate = ["access", "activate", "on-call", "--as", "alice", "--reason", "INC-1"];
    let said = run(&gateway, &[&activate[..], &["--for", "1s"]].concat());
    assert!(said.contains("is in force until") && !said.contains("BANNED"), "{said}");
    let ended = || (!of_kind(&gateway.events.all(), "grant.ended").is_empty()).then_some(());
    wait::until(PATIENCE, ended).expect("it ends");
    assert_eq!(goes_on(&gateway, "POST", "/jobs", &alice), ["rbac.condition_unmet"]);
    assert_eq!(goes_on(&gateway, "POST", "/jobs", &dora), ["rbac.assignment_expired"]);
    for key in [&alice, &dora] {
        assert_eq!(ask(&gateway, "GET", "/pages/1", key).status(), 200, "what they always may");
    }
    // Who never had it, and what it never gave.
    assert!(goes_on(&gateway, "POST", "/jobs", &bob).contains(&"ban.active".to_owned()));
    assert!(goes_on(&gateway, "POST", "/secrets", &alice).contains(&"ban.active".to_owned()));
    // Whoever gives it again is told.
    let said = run(&gateway, &activate);
    let lifts = "`portcullis ban remove --user user:alice` lifts it";
    assert!(said.contains("BUT user:alice IS BANNED until") && said.contains(lifts), "{said}");
    run(&gateway, &["ban", "remove", "--user", "user:alice"]);
    assert_eq!(ask(&gateway, "POST", "/jobs/1", &alice).status(), 200);
}
