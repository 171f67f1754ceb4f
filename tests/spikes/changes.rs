//! What somebody changed: the policy, or a list that it follows.

use std::sync::{Arc, Mutex};

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::upstream::Upstream;

use super::{Caller, POLICY, Scene, json, open_to_all, run, without_bans};
use crate::harness::of_kind;
use crate::schemas;

#[test]
fn a_network_that_was_removed_is_put_down_to_the_policy() {
    let upstream = Upstream::start();
    let scene = Scene::start(&upstream, &without_bans(POLICY));
    scene.reload(&without_bans(&POLICY.replace("127.0.0.8/29", "127.0.0.200/32")));
    let told = scene.told(|| scene.locked_out(403));
    let cause = told.check("config_change", 95, "by network/office-berlin");
    let fix = told.check_fix(
        "`portcullis reload`",
        &["restores at most ", "of 6 callers, 6 let in before; ", "would permit", "for everybody it opens "],
    );
    // What it opens is for everybody with a credential there, and not for these callers alone.
    assert!(fix["opens"][0].as_str().unwrap().contains("GET /reports/** by "), "{cause:#}");
    assert_eq!(fix["restores"], cause["by_network"][0]["requests"], "{cause:#}");
    let said = run(&scene.gateway, &["spike", "explain"]).stdout.join("\n");
    assert!(said.starts_with("spike of refusals ") && said.contains("\nunexplained "), "{said}");
    let listed = run(&scene.gateway, &["spike", "list"]).stdout.join("\n");
    assert!(listed.contains("config_change "), "{listed}");
    // Everything that is described was there, but for changes that came in time and are no cause.
    let listed = json(&scene.gateway, &["spike", "list", "-o", "json"]);
    assert_eq!(
        schemas::unseen("Spikes", &[&listed]),
        ["SpikeExplained.not_ruled_out", "SpikeExplained.ruled_out"],
        "{listed:#}"
    );
}

/// Where versions are kept the way back is a command, and it does what it says.
#[test]
fn the_command_that_is_proposed_lets_people_in_again() {
    let upstream = Upstream::start();
    let scene = Scene::start_with_more(&upstream, &without_bans(POLICY), "[store]\npath = \"state.db\"\n");
    scene.reload(&without_bans(&POLICY.replace("127.0.0.8/29", "127.0.0.200/32")));
    let told = scene.told(|| scene.locked_out(403));
    told.check("config_change", 95, "policy ");
    told.check_fix("portcullis policy rollback 1 --reason ", &["of 6 callers, 6 let in before; "]);
    // As somebody copies it from the event.
    let message = told.event["message"].as_str().unwrap();
    let (_, command) = message.split_once("portcullis policy ").unwrap();
    let (command, _) = command.split_once(" (").unwrap();
    let words: Vec<&str> = command.split('"').collect();
    let [before, reason, after] = words[..] else { panic!("{command}") };
    let arguments: Vec<&str> = ["policy"].into_iter().chain(before.split_whitespace()).chain([reason]).collect();
    assert_eq!(after, "", "{command}");
    let finished = run(&scene.gateway, &arguments);
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 4, 200));
}

#[test]
fn a_role_that_was_revoked_is_put_down_to_the_policy() {
    let upstream = Upstream::start();
    let scene = Scene::start(&upstream, &without_bans(POLICY));
    let revoked = POLICY.replace("\"authenticated\"", "\"user:somebody-else\"");
    scene.reload(&without_bans(&revoked));
    let told = scene.told(|| scene.locked_out(403));
    let cause = told.check("config_change", 95, "by assignment/staff-reads");
    assert!(cause["by_reason"][0]["name"].as_str().unwrap().starts_with("rbac."), "{cause:#}");
    assert_eq!(cause["by_user"].as_array().unwrap().len(), 5, "{cause:#}");
    told.check_fix(
        "`portcullis reload`",
        &["restores ", "of 6 callers, 6 let in before; ", "for everybody it opens GET /reports/** by "],
    );
    // It does what it says: the way back lets them in again.
    scene.reload(&without_bans(POLICY));
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
}

#[test]
fn a_list_that_was_poisoned_is_put_down_to_the_list() {
    let authority = Authority::new("lists");
    let issued = authority.issue(&[San::Host("127.0.0.1")]);
    let honest: Vec<String> = (0..10).map(|number| format!("127.0.0.{}", 100 + 2 * number)).collect();
    let list = Arc::new(Mutex::new(honest.join("\n")));
    let given = Arc::clone(&list);
    let server = Receiver::start_tls(&issued, move |_| Answer::status(200).body(given.lock().unwrap().clone()));
    let upstream = Upstream::start();
    let mut site = crate::harness::Site::new(&upstream.url());
    site.file("lists.pem", &authority.certificate());
    let people = (9..15).map(|host| {
        let name = format!("person-{host}");
        Caller::new(&format!("127.0.0.{host}"), ("x-api-key", site.key(&name, &format!("user:{name}"), "")))
    });
    let people = people.collect();
    let source = format!(
        "[[network]]\nname = \"bad-networks\"\naddresses = [\"127.0.0.66\"]\n\
         source = {{ url = \"https://{}/list\", ca = \"lists.pem\", private = true, refresh = \"1h\" }}\n",
        server.address()
    );
    let denies = POLICY.replace("allow = [\"office-berlin\", \"home\"]", "deny = [\"bad-networks\"]");
    let scene = Scene::of(site, people, &without_bans(&[&denies, &*source].concat()));
    // One entry of ten has become another one: no guard holds that back.
    let poisoned = [&honest[1..], &["127.0.0.8/29".to_owned()]].concat();
    *list.lock().unwrap() = poisoned.join("\n");
    let refreshed = run(&scene.gateway, &["feed", "refresh", "bad-networks"]);
    assert_eq!(refreshed.status.code(), Some(0), "{refreshed:?}");
    let told = scene.told(|| scene.locked_out(403));
    let cause = told.check("feed_change", 95, "by network/bad-networks");
    assert_eq!(cause["by_reason"][0]["name"], "ip.denied", "{cause:#}");
    told.check_fix(
        "portcullis feed rollback bad-networks",
        &["restores at most ", "of 6 callers, 6 let in before; ", "for everybody it opens "],
    );
    assert!(
        cause["summary"].as_str().unwrap().starts_with("another list of the network bad-networks at "),
        "{cause:#}"
    );
    // As somebody copies it from the event; and the source, which gives the same out again, does not undo it.
    let message = told.event["message"].as_str().unwrap();
    let (_, command) = message.split_once("-> portcullis ").unwrap();
    let (command, _) = command.split_once(" (").unwrap();
    let command: Vec<&str> = command.split_whitespace().collect();
    // First what it would do, which changes nothing.
    let tried = run(&scene.gateway, &[&command[..], &["--dry-run"]].concat());
    assert_eq!(tried.status.code(), Some(0), "{tried:?}");
    let said = tried.stdout.join("\n");
    let words = "the network bad-networks would have the list before again, confirmed ";
    assert!(said.starts_with(words) && said.ends_with("\nnothing was changed"), "{said}");
    assert!(said.contains(": 10 prefixes, 1 added (127.0.0.100/32), 1 removed (127.0.0.8/29); sha256 "), "{said}");
    assert!(said.contains("\nnewly permits ") || said.contains("\nwould newly permit "), "{said}");
    let tried = json(&scene.gateway, &[&command[..], &["--dry-run", "-o", "json"]].concat());
    schemas::check("FeedRollbackTried", &tried);
    assert_eq!((&tried["entries"], &tried["removed_sample"][0]), (&10.into(), &"127.0.0.8/29".into()), "{tried:#}");
    assert!(tried["report"].is_object() && tried["unchanged"].is_boolean(), "{tried:#}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 403));
    let back = run(&scene.gateway, &command);
    assert_eq!(back.status.code(), Some(0), "{command:?}: {back:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 4, 200));
    let refreshed = run(&scene.gateway, &["feed", "refresh", "bad-networks"]);
    assert_eq!(refreshed.status.code(), Some(1), "{refreshed:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    let again = run(&scene.gateway, &["feed", "rollback", "bad-networks"]);
    assert_eq!(again.status.code(), Some(1), "there is none before that: {again:?}");
    let events = scene.gateway.events.all();
    let decisions: Vec<_> = of_kind(&events, "admin.feed_rollback").iter().map(|event| &event["decision"]).collect();
    assert_eq!(decisions, ["permit", "deny"]);
}

/// Strangers try keys at the very moment at which somebody changes the policy, on the route that it changes.
#[test]
fn a_change_that_came_with_an_attack_and_did_nothing_to_it_is_not_blamed() {
    let upstream = Upstream::start();
    let scene = Scene::start(&upstream, &without_bans(&open_to_all()));
    let narrower = open_to_all()
        .replace("127.0.0.16/28", "127.0.0.16/29")
        .replace("\"GET /reports/**\"", "\"GET /reports/{id}\", \"GET /elsewhere\"");
    scene.reload(&without_bans(&narrower));
    let told = scene.told(|| {
        Caller::new("127.9.9.9", ("x-api-key", "not-a-key".to_owned())).check(&scene.gateway, 30, 401);
        // Nobody else is touched.
        scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    });
    let cause = told.check("attack", 95, "nobody there was let in before");
    assert_eq!(told.kinds(), ["attack"]);
    let ruled_out = told.report["ruled_out"].as_array().unwrap();
    assert!(ruled_out.len() == 1 && ruled_out[0].as_str().unwrap().starts_with("the policy of "), "{ruled_out:?}");
    let command = cause["fix"]["command"].as_str().unwrap();
    assert!(command.starts_with("portcullis ban add --range 127.9.9.0/24 "), "{command}");
    told.check_fix(
        "portcullis ban add",
        &["restores nobody and opens nothing; ", "turns nobody away who was let in before"],
    );
}
