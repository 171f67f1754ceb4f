//! A gateway that is killed at any moment of a rollout: either the version before or the one that is rolled out is in force afterwards, whole, and what is
//! said of it is true. Which moment that is depends on the machine; that each is one at which this holds is shown beside the code (`governing::tests::crashes`
//! of the gateway), by a program that ends itself there.

use std::time::Duration;

use portcullis_testkit::process::Signal;

use super::rollouts::mistake;
use super::*;

/// What serves, and by which version, has to be what is said. Returns the live version and the share of the rollout.
#[track_caller]
fn check_it_is_true(gateway: &Gateway, key: &str, what: &str) -> (u64, Option<u64>) {
    let shown = json(&gateway.site, &["policy", "status"]);
    let live = &shown["live"];
    let (n, rollout) = (live["n"].as_u64().unwrap(), &live["rollout"]);
    let share = rollout["share_ppm"].as_u64();
    // Version 2 locks alice out; 1 and 3, which has what 1 had, let her in.
    let (serving, expected) = match (n, share) {
        (1 | 3, None) => (n, 200),
        (2, None) => (2, 403),
        (2, Some(1_000_000)) => (1, 403),
        other => panic!("{what}: {other:?}: {shown}"),
    };
    assert_eq!(status(gateway, key), expected, "{what}: {shown}");
    assert_eq!(live["in_force"], serving, "{what}: {shown}");
    if share.is_some() {
        assert_eq!((&rollout["n"], &rollout["serving"]), (&2.into(), &1.into()), "{what}: {shown}");
    }
    let nobody = gateway.get("/", &[]);
    let version = if share.is_some() { 2 } else { serving };
    assert_eq!(gateway.check_refused(what, &nobody, 401, "authn.missing")["policy"]["version"], version, "{what}");
    assert!(run(&gateway.site, &["policy", "verify"], 0).contains(&format!("{n} versions")), "{what}");
    (n, share)
}

/// Kills the gateway while it does what a verb asks for, so long after that was asked. Says whether it had answered by then.
fn killed_during(gateway: Gateway, verb: &[&str], after: Duration) -> (Site, bool) {
    let Gateway { site, mut process, .. } = gateway;
    let config = site.path("portcullis.toml");
    let mut asking = portcullis().arg("-c").arg(config).args(verb).start();
    // Which moment that is must not be known: all of them are looked for.
    std::thread::sleep(after);
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    (site, asking.wait_exit(PATIENCE).success())
}

fn kill_at_every_step(rules: &str, required: bool) {
    let upstream = Upstream::start();
    let steps = "canary = [\"100%\"]\ncanary_step = \"1h\"\nmax_newly_denied = \"100%\"\n";
    let moments = [(None, [20, 40, 60, 90]), (Some("now"), [15, 30, 50, 80]), (Some("abort"), [15, 30, 50, 80])];
    let moments = moments.into_iter().flat_map(|(ending, after)| after.map(|millis| (ending, millis)));
    let mut unanswered = 0;
    for (ending, millis) in moments {
        let (site, key) = site(&upstream, &format!("[governance]\n{rules}{steps}"));
        site.write();
        let ben = required.then(|| begun(&site)[1].clone());
        let gateway = site.start();
        let site = &gateway.site;
        site.file("candidate.toml", &format!("version = 1\n{}", mistake()));
        let file = site.path("candidate.toml").display().to_string();
        let proposed = json(site, &["policy", "propose", "--author", "ana", "--reason", "a change", &file]);
        let change = proposed["changes"][0]["id"].as_str().unwrap().to_owned();
        if let Some(ben) = &ben {
            approve(site, &change, ben);
        }
        let what = format!("{ending:?} after {millis} ms");
        let after = Duration::from_millis(millis);
        let (site, is_answered) = match ending {
            None => killed_during(gateway, &["policy", "activate", &change], after),
            Some(ending) => {
                run(site, &["policy", "activate", &change], 0);
                assert_eq!(check_it_is_true(&gateway, &key, "before"), (2, Some(1_000_000)));
                let verb: &[&str] = match ending {
                    "now" => &["policy", "activate", &change, "--now", "--reason", "hurry"],
                    _ => &["policy", "abort", "--reason", "too much"],
                };
                killed_during(gateway, verb, after)
            }
        };
        unanswered += u8::from(!is_answered);
        // Without a gateway the store says the same.
        let offline = json(&site, &["policy", "status"])["live"]["n"].as_u64().unwrap();
        let gateway = site.start();
        let (n, share) = check_it_is_true(&gateway, &key, &what);
        assert_eq!(n, offline, "{what}");
        let is_either = match ending {
            None => matches!((n, share), (1, None) | (2, Some(_))),
            Some("now") => n == 2,
            Some(_) => matches!((n, share), (2, Some(_)) | (3, None)),
        };
        assert!(is_either, "{what}: {n} {share:?}");
        // It goes on from there.
        let site = &gateway.site;
        if share.is_some() {
            run(site, &["policy", "activate", &change, "--now", "--reason", "hurry"], 0);
            assert_eq!(check_it_is_true(&gateway, &key, &what), (2, None));
        }
    }
    assert!(unanswered > 0, "none was killed before it had answered");
}

#[test]
fn where_files_are_believed() {
    kill_at_every_step("", false);
}

#[test]
fn where_approvals_are_required() {
    kill_at_every_step("required = true\n", true);
}
