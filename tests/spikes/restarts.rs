//! What a restart brings: another policy, other routes, another version of the program; and what of spikes outlasts one.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use portcullis_testkit::ports::free_port;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::{Caller, POLICY, Scene, json, open_to_all, run, without_bans};
use crate::harness::{Site, portcullis};

const STORE: &str = "[store]\npath = \"state.db\"\n";

fn is_learning(scene: &Scene) -> bool {
    json(&scene.gateway, &["spike", "list", "-o", "json"])["learning"] == true
}

/// What the store has under a name.
fn row(site: &Site, name: &str) -> Option<String> {
    let db = Connection::open(site.path("state.db")).unwrap();
    let look = "SELECT value FROM spike_known WHERE name = ?1";
    let packed: Vec<u8> = db.query_row(look, [name], |row| row.get(0)).optional().unwrap()?;
    let mut text = String::new();
    DeflateDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    Some(text)
}

/// Edits what the store has under a name.
fn edit_row(site: &Site, name: &str, edit: impl FnOnce(String) -> String) {
    let text = row(site, name).unwrap();
    let db = Connection::open(site.path("state.db")).unwrap();
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(edit(text).as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    db.execute("UPDATE spike_known SET value = ?2 WHERE name = ?1", rusqlite::params![name, packed]).unwrap();
}

/// Somebody stops it, takes a role away, and starts it: the incident is none of what is usual, those who are locked out are no strangers, and the way
/// back is a command. What was said outlasts the next restart, and can be read while none runs.
#[test]
fn a_policy_that_came_with_a_start_is_blamed_and_what_was_said_is_kept() {
    let upstream = Upstream::start();
    let scene = Scene::start_with_more(&upstream, &without_bans(POLICY), STORE);
    let revoked = without_bans(&POLICY.replace("\"authenticated\"", "\"user:somebody-else\""));
    let scene = scene.restart(|site| site.policy(&revoked));
    assert!(!is_learning(&scene), "what is usual is known");
    let told = scene.told(|| scene.locked_out(403));
    told.check("config_change", 95, "by assignment/staff-reads");
    told.check_fix("portcullis policy rollback 1 --reason ", &["of 6 callers, 6 let in before; "]);
    let back = run(&scene.gateway, &["policy", "rollback", "1", "--reason", "spike of refusals"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    let said = run(&scene.gateway, &["spike", "explain"]).stdout;
    let id = told.id.as_str();
    let mut scene = scene.restart(|_| {});
    let kept = json(&scene.gateway, &["spike", "list", "-o", "json"]);
    assert_eq!(kept["spikes"][0]["id"], id, "{kept:#}");
    assert_eq!(run(&scene.gateway, &["spike", "explain", id]).stdout, said);
    scene.gateway.process.stop(PATIENCE);
    for arguments in
        [&["spike", "explain", id, "--offline"][..], &["spike", "--offline", "explain"], &["spike", "explain"]]
    {
        assert_eq!(run(&scene.gateway, arguments).stdout, said, "{arguments:?}");
    }
    let listed = run(&scene.gateway, &["spike", "list", "--offline"]).stdout.join("\n");
    assert!(listed.contains(id) && listed.contains("config_change "), "{listed}");
}

#[test]
fn a_route_that_was_narrowed_before_a_start_is_blamed() {
    let upstream = Upstream::start();
    let scene = Scene::start_with_more(&upstream, &without_bans(POLICY), STORE);
    let route = "[[route]]\nname = \"app\"\nupstream = \"app\"\n";
    let narrowed = format!("{route}paths = [\"/reports/0\", \"/files/**\"]\n");
    let scene = scene.restart(|site| site.change(route, &narrowed));
    let told = scene.told(|| scene.locked_out(404));
    told.check("config_change", 95, "the routes (`[[route]]`) around the policy ");
    told.check_fix("portcullis policy rollback 1 --reason ", &["of 6 callers, 6 let in before; "]);
}

/// Nothing that is kept tells what another version would have done: it is no cause, and not ruled out either.
#[test]
fn another_version_of_the_program_is_not_blamed_and_not_ruled_out() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let upstream = Upstream::choosing_on(address, |_: &_| Reply::status(200));
    let scene = Scene::start_with_more(&upstream, &without_bans(POLICY), STORE);
    drop(upstream);
    let _upstream = Upstream::choosing_on(address, |_: &_| Reply::status(403));
    let version = env!("CARGO_PKG_VERSION");
    let scene = scene.restart(|site| {
        edit_row(site, "states", |text| {
            let earlier = text.replace(&format!("\"program\":\"{version}\""), "\"program\":\"0.0.1\"");
            assert_ne!(earlier, text);
            earlier
        });
    });
    let told = scene.told(|| scene.locked_out(403));
    assert_eq!(told.kinds(), Vec::<&str>::new(), "{:#}", told.report);
    let said = told.report["not_ruled_out"][0].as_str().unwrap();
    let words = format!("the gateway started with version {version} of the program in place of 0.0.1 at ");
    assert!(said.starts_with(&words) && said.contains("who were let in before"), "{said}");
    let message = told.event["message"].as_str().unwrap();
    assert!(message.contains("unexplained 100 %") && message.contains(&format!("not ruled out: {words}")), "{message}");
}

/// Strangers try keys just after the start with another version: it has nothing to do with that.
#[test]
fn an_attack_after_a_start_is_an_attack() {
    let upstream = Upstream::start();
    let scene = Scene::start_with_more(&upstream, &without_bans(&open_to_all()), STORE);
    let scene =
        scene.restart(|site| edit_row(site, "states", |text| text.replace("\"program\":\"", "\"program\":\"9.")));
    let told = scene.told(|| {
        Caller::new("127.9.9.9", ("x-api-key", "not-a-key".to_owned())).check(&scene.gateway, 30, 401);
        scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    });
    told.check("attack", 95, "nobody there was let in before");
    assert_eq!(told.report["not_ruled_out"], Value::Array(Vec::new()), "{:#}", told.report);
}

/// Rows that somebody has damaged are dropped, and said: it starts, and learns anew.
#[test]
fn damaged_rows_are_dropped_and_stop_no_start() {
    let upstream = Upstream::start();
    let scene = Scene::start_with_more(&upstream, &without_bans(POLICY), STORE);
    let mut scene = scene.restart(|site| {
        edit_row(site, "usual", |_| "{\"at\":1,\"usual\":{\"mean\":\"many\"}}".to_owned());
        let db = Connection::open(site.path("state.db")).unwrap();
        db.execute("UPDATE spike_known SET value = x'ffff' WHERE name = 'remembered'", []).unwrap();
        db.execute("INSERT INTO spike_found (id, report) VALUES ('nothing', x'00')", []).unwrap();
    });
    let said = |line: &str| line.contains("cannot be read").then_some(());
    for _ in 0..3 {
        scene.gateway.process.wait_for("spike", PATIENCE, said);
    }
    assert!(is_learning(&scene));
    let listed = json(&scene.gateway, &["spike", "list", "-o", "json"]);
    assert_eq!(listed["spikes"], Value::Array(Vec::new()), "{listed:#}");
    let gone = || {
        let db = Connection::open(scene.gateway.site.path("state.db")).unwrap();
        let left: i64 = db.query_row("SELECT count(*) FROM spike_found", [], |row| row.get(0)).unwrap();
        (left == 0).then_some(())
    };
    assert!(wait::until(PATIENCE, gone).is_some());
}

/// A list of networks that are denied, in a file; and who is let in unless they are in one of them.
fn with_a_list(upstream: &Upstream) -> (Scene, Vec<String>) {
    let honest: Vec<String> = (0..10).map(|number| format!("127.0.0.{}", 100 + 2 * number)).collect();
    let source = "[[network]]\nname = \"bad-networks\"\naddresses = [\"127.0.0.66\"]\n\
                  source = { file = \"list.txt\", private = true, refresh = \"1h\" }\n";
    let denies = POLICY.replace("allow = [\"office-berlin\", \"home\"]", "deny = [\"bad-networks\"]");
    let mut site = Site::new(&upstream.url());
    site.add(STORE);
    site.file("list.txt", &honest.join("\n"));
    let people = (9..15).map(|host| {
        let name = format!("person-{host}");
        Caller::new(&format!("127.0.0.{host}"), ("x-api-key", site.key(&name, &format!("user:{name}"), "")))
    });
    let people = people.collect();
    (Scene::of(site, people, &without_bans(&[&denies, source].concat())), honest)
}

/// The office is in the list from now on.
fn poison(scene: &Scene, honest: &[String]) {
    let poisoned = [&honest[1..], &["127.0.0.8/29".to_owned()]].concat();
    scene.gateway.site.file("list.txt", &poisoned.join("\n"));
    let refreshed = run(&scene.gateway, &["feed", "refresh", "bad-networks"]);
    assert_eq!(refreshed.status.code(), Some(0), "{refreshed:?}");
}

/// A list changes, and the gateway is started again before anybody is refused by it: it is a suspect all the same.
#[test]
fn a_list_that_changed_before_a_start_is_blamed_and_its_way_back_is_a_command() {
    let upstream = Upstream::start();
    let (scene, honest) = with_a_list(&upstream);
    poison(&scene, &honest);
    let scene = scene.restart(|_| {});
    let told = scene.told(|| scene.locked_out(403));
    let cause = told.check("feed_change", 95, "by network/bad-networks");
    let words = "another list of the network bad-networks at ";
    assert!(cause["summary"].as_str().unwrap().starts_with(words), "{cause:#}");
    told.check_fix("portcullis feed rollback bad-networks", &["of 6 callers, 6 let in before; "]);
    let back = run(&scene.gateway, &["feed", "rollback", "bad-networks"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 4, 200));
}

/// Where the list of before is gone nobody knows what it would have said: it is no cause, and not ruled out either.
#[test]
fn a_list_that_changed_before_a_start_and_is_not_kept_is_not_ruled_out() {
    let upstream = Upstream::start();
    let (scene, honest) = with_a_list(&upstream);
    poison(&scene, &honest);
    let scene = scene.restart(|site| {
        for entry in std::fs::read_dir(site.path("feeds")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind != "good") {
                std::fs::remove_file(path).unwrap();
            }
        }
    });
    let told = scene.told(|| scene.locked_out(403));
    assert_eq!(told.kinds(), Vec::<&str>::new(), "{:#}", told.report);
    let said = told.report["not_ruled_out"].as_array().unwrap();
    let words = "another list of the network bad-networks, of which the one before is not kept, at ";
    let is_said = said.iter().any(|said| said.as_str().unwrap().starts_with(words));
    assert!(is_said, "{:#}", told.report);
}

/// One takes over from another: what the older one has learnt since, and writes down at its end at the latest, does not come in the place of what is in
/// force by now.
#[test]
fn the_process_that_was_taken_over_from_writes_nothing_over_the_newer_one() {
    let upstream = Upstream::start();
    let mut scene = Scene::start_with_more(&upstream, &without_bans(POLICY), STORE);
    let site = &scene.gateway.site;
    let text = std::fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let text = text.replace("events.jsonl", "events-of-the-second.jsonl").replace("policy.toml", "second-policy.toml");
    let narrower = without_bans(&POLICY.replace("127.0.0.16/28", "127.0.0.16/29"));
    site.file("second-policy.toml", &format!("version = 1\n{narrower}"));
    site.file("second.toml", &text);
    let of_the_second = |site: &Site| {
        let states: Value = serde_json::from_str(&row(site, "states")?).unwrap();
        let is_there = states.as_array().unwrap().iter().filter(|state| state["is_start"] == true).count() == 2;
        is_there.then_some(states)
    };
    let _second = portcullis().arg("-c").arg(site.path("second.toml")).arg("run").start();
    let states = wait::until(3 * PATIENCE, || of_the_second(site)).expect("the second one serves");
    // The first one has something to write, and ends.
    scene.gateway.site.policy(&without_bans(&open_to_all()));
    scene.gateway.reload("ok");
    scene.gateway.process.stop(PATIENCE);
    assert_eq!(of_the_second(&scene.gateway.site), Some(states));
}
