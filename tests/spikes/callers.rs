//! What callers do: strangers who try credentials, and a release of a client that sends what it should not.

use portcullis_testkit::upstream::Upstream;

use super::{Caller, PATH, POLICY, Scene, open_to_all, run, without_bans};

/// From many networks, each with a few guesses, and with the bans that come of it in force.
#[test]
fn credential_stuffing_is_an_attack() {
    let upstream = Upstream::start();
    let scene = Scene::start(&upstream, &open_to_all());
    let strangers: Vec<Caller> = (0..20_u8)
        .map(|number| {
            let guess = ("x-api-key", format!("guess-{number}"));
            Caller { software: "python-requests/2.1", ..Caller::new(&format!("127.40.{number}.9"), guess) }
        })
        .collect();
    let told = scene.told(|| {
        for stranger in &strangers {
            let statuses = stranger.statuses(&scene.gateway, PATH, &[], 2);
            assert!(statuses.iter().all(|status| matches!(status, 401 | 403)), "{statuses:?}");
        }
        scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    });
    let cause = told.check("attack", 95, "from 20 networks");
    assert_eq!(told.kinds(), ["attack"]);
    let reason = cause["by_reason"][0]["name"].as_str().unwrap();
    assert!(matches!(reason, "authn.invalid" | "ban.active"), "{cause:#}");
    // No one network has most of it: nothing is proposed that would not help.
    assert_eq!(cause["fix"], serde_json::Value::Null, "{cause:#}");
}

#[test]
fn a_release_that_sends_a_bad_header_is_put_down_to_the_release() {
    let upstream = Upstream::start();
    // Also a software with odd bytes in its name has one name, whether its heads are let through or not.
    let scene = Scene::start_with(&upstream, &without_bans(POLICY), "r\u{e9}porter\\x/1.2");
    // The same people have another version of the same program; some who have not send what cannot be read, too.
    let released: Vec<Caller> =
        scene.people.iter().map(|person| Caller { software: "reporter/2.0", ..person.clone() }).collect();
    let told = scene.told(|| {
        for (person, before) in released.iter().zip(&scene.people) {
            let malformed = |who: &Caller, times| who.statuses(&scene.gateway, PATH, &[("x trace", "7")], times);
            assert_eq!((malformed(person, 4), malformed(before, 1)), (vec![400; 4], vec![400]));
        }
    });
    let cause = told.check("client_release", 60, "reporter/2.0 is new here (request.malformed)");
    assert!(cause["summary"].as_str().unwrap().contains("let in before"), "{cause:#}");
    assert!(cause["share_percent"].as_u64().unwrap() <= 90, "what is known is not new: {cause:#}");
    told.check_fix("hold reporter/2.0 back", &["restores these ", "nothing is to be opened"]);
    // Each refusal says it, too.
    let events = scene.gateway.events.all();
    let malformed = events.iter().find(|event| event["reason"] == "request.malformed").unwrap();
    assert_eq!(malformed["request"]["user_agent"], "reporter/2.0", "{malformed:#}");
}

/// Guesses from the office, with the software of the office, while everybody there is let in as ever.
#[test]
fn guesses_from_where_good_callers_come_are_an_attack_and_not_the_keys() {
    let upstream = Upstream::start();
    let scene = Scene::start(&upstream, &without_bans(&open_to_all()));
    let guess = Caller::new("127.0.0.9", ("x-api-key", "a-guess".to_owned()));
    let told = scene.told(|| {
        // In turn: whenever it is looked at, there were both.
        for person in &scene.people {
            person.check(&scene.gateway, 2, 200);
            guess.check(&scene.gateway, 5, 401);
        }
    });
    told.check("attack", 95, "come from where others are let in as ever");
    assert_eq!(told.kinds(), ["attack"]);
    told.check_fix(
        "no ban of 127.0.0.0/24 is proposed",
        &["opens nothing", "would turn 6 callers away who are let in"],
    );
    let banned = run(&scene.gateway, &["ban", "list"]).stdout.join("\n");
    assert!(!banned.contains("127.0.0."), "{banned}");
}
