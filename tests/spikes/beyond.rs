//! What an operator did beyond the policy, and what somebody changes while there is a spike already.

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};

use super::{Caller, POLICY, Scene, bucket, json, open_to_all, run, without_bans};
use crate::harness::of_kind;

/// The office is banned by mistake, and a key is revoked that is in use: each is named, with who did it and why, and the command takes it back.
#[test]
fn what_an_operator_did_is_named_with_the_command_that_takes_it_back() {
    let upstream = Upstream::start();
    let deeds: [(&[&str], &str, u16, &str); 2] = [
        (
            &["ban", "add", "--range", "127.0.0.8/29", "--for", "1h", "--reason", "INC-7"],
            "ban",
            403,
            "127.0.0.8/29 was banned by ",
        ),
        (&["revoke", "key", "person-9", "--reason", "INC-8"], "revocation", 401, "the key person-9 was revoked by "),
    ];
    for (arguments, kind, status, words) in deeds {
        // Where nobody is banned of itself a credential that was revoked is told from a ban.
        let policy = if kind == "ban" { POLICY.to_owned() } else { without_bans(POLICY) };
        let scene = Scene::start_with_more(&upstream, &policy, "[store]\npath = \"state.db\"\n");
        let done = run(&scene.gateway, arguments);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let turned_away = match kind {
            "ban" => &scene.people[..],
            _ => &scene.people[..1],
        };
        let told = scene.told(|| {
            turned_away.iter().for_each(|person| person.check(&scene.gateway, 5, status));
            scene.people[turned_away.len()..].iter().for_each(|person| person.check(&scene.gateway, 1, 200));
        });
        let cause = told.check(kind, 90, words);
        assert!(cause["summary"].as_str().unwrap().contains("(INC-"), "{cause:#}");
        let command = cause["fix"]["command"].as_str().unwrap();
        let command: Vec<&str> = command.strip_prefix("portcullis ").unwrap().split_whitespace().collect();
        let back = run(&scene.gateway, &command);
        assert_eq!(back.status.code(), Some(0), "{command:?}: {back:?}");
        scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    }
}

/// Somebody is locked out by a reload beside an attack that is fifty times as large: it is told of, in an event of its own.
#[test]
fn a_change_within_a_spike_is_told_of_whatever_its_share() {
    let upstream = Upstream::start();
    let scene = Scene::start(&upstream, &without_bans(&open_to_all()));
    let stranger = Caller::new("127.9.9.9", ("x-api-key", "not-a-key".to_owned()));
    let (first, others) = scene.people.split_first().unwrap();
    let told = scene.told(|| stranger.check(&scene.gateway, 30, 401));
    told.check("attack", 95, "nobody there was let in before");
    let names: Vec<String> = (10..15).map(|host| format!("\"user:person-{host}\"")).collect();
    let narrower = open_to_all().replace("\"authenticated\"]", &format!("{}, \"user:lost\"]", names.join(", ")));
    scene.reload(&without_bans(&narrower));
    let second = || {
        stranger.check(&scene.gateway, 50, 401);
        first.check(&scene.gateway, 1, 403);
        others.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
        // They are many, and are not all to be read each time: whoever is refused keeps the pace of the usual.
        let text = std::fs::read_to_string(scene.gateway.events.path()).unwrap();
        let is_said = |line: &str| line.contains("spike.explained") && line.contains("config_change");
        text.lines().any(is_said).then_some(())?;
        let events = scene.gateway.events.all();
        let told = of_kind(&events, "spike.explained");
        told.iter().find(|event| event["message"].as_str().unwrap().contains("config_change")).map(|it| (*it).clone())
    };
    let event =
        wait::until(3 * PATIENCE + 12 * bucket(), second).unwrap_or_else(|| panic!("nothing is said of the change"));
    let message = event["message"].as_str().unwrap();
    assert!(message.contains(" looked at again: ") && message.contains("1. attack "), "{event:#}");
    let report = json(&scene.gateway, &["spike", "explain", "-o", "json"]);
    let causes = report["causes"].as_array().unwrap();
    let change = causes.iter().find(|cause| cause["kind"] == "config_change").unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(change["by_user"][0]["name"], "user:person-9", "{change:#}");
    assert!(change["due_to"].as_str().unwrap().starts_with("policy "), "{change:#}");
}
