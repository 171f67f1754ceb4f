//! What callers do: strangers who try credentials, and a release of a client that sends what it should not.

use portcullis_testkit::upstream::Upstream;

use super::{Caller, PATH, POLICY, Scene, open_to_all, without_bans};

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
    let scene = Scene::start(&upstream, &without_bans(POLICY));
    // The same people have another version of the same program.
    let released: Vec<Caller> =
        scene.people.iter().map(|person| Caller { software: "reporter/2.0", ..person.clone() }).collect();
    let told = scene.told(|| {
        for person in &released {
            let statuses = person.statuses(&scene.gateway, PATH, &[("x trace", "7")], 5);
            assert_eq!(statuses, [400; 5]);
        }
    });
    let cause = told.check("client_release", 95, "reporter/2.0 is new here (request.malformed)");
    assert!(cause["summary"].as_str().unwrap().contains("let in before"), "{cause:#}");
    // Each refusal says it, too.
    let events = scene.gateway.events.all();
    let malformed = events.iter().find(|event| event["reason"] == "request.malformed").unwrap();
    assert_eq!(malformed["request"]["user_agent"], "reporter/2.0", "{malformed:#}");
}
