//! Thresholds of the risk that were worked out: who asks for more than they have shown is told by them.

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wire;

use super::{Caller, Scene, run};
use crate::governance::{GOVERNED, approve, begun, propose};
use crate::harness::{AUTHENTICATED, NO_BANS, Site, bearer, claims};

const BUDGET: &str = "[risk]\nmode = \"enforce\"\nstep_up_budget = \"2%\"\ncalibration = \"by_hand\"\n";

/// People come from another network than ever, which the calibration does not let pass any more. Its way back is a command, and does what it says.
#[test]
fn a_calibration_that_asks_for_too_much_is_the_cause() {
    let upstream = Upstream::start();
    let (scene, id, at_home) = asked_for_too_much(&upstream);
    let told = scene.told(|| scene.locked_out(401));
    let words = format!("calibration {id} of the risk in place of none at ");
    let cause = told.check("calibration_change", 95, &words);
    assert_eq!(cause["by_reason"][0]["name"], "step_up.required", "{cause:#}");
    told.check_fix("portcullis risk calibration rollback", &["of 6 callers, 6 let in before; "]);
    at_home.iter().for_each(|person| person.check(&scene.gateway, 1, 200));
    // As somebody copies it from the event.
    let message = told.event["message"].as_str().unwrap();
    let (_, command) = message.split_once("-> portcullis ").unwrap();
    let (command, _) = command.split_once(" (").unwrap();
    let finished = run(&scene.gateway, &command.split_whitespace().collect::<Vec<_>>());
    assert_eq!(finished.status.code(), Some(0), "{command}: {finished:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 4, 200));
}

/// Governance begins while the gateway runs. No command is proposed that would be refused, and what is proposed lets people in again.
#[test]
fn where_changes_need_approvals_the_way_back_is_a_policy_and_does_what_it_says() {
    let upstream = Upstream::start();
    let (mut scene, id, _) = asked_for_too_much(&upstream);
    scene.gateway.site.add(GOVERNED);
    scene.gateway.site.write();
    let [_, ben, cem] = begun(&scene.gateway.site);
    let told = scene.told(|| scene.locked_out(401));
    told.check("calibration_change", 95, &format!("calibration {id} of the risk in place of none at "));
    let way = "propose a policy whose `[risk]` leaves `step_up_budget` out, and names no `calibration`";
    told.check_fix(way, &["of 6 callers, 6 let in before; "]);
    let refused = run(&scene.gateway, &["risk", "calibration", "rollback"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.join("\n").contains("leaves `step_up_budget` out"), "{refused:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 1, 401));
    // One that merely names none would change nothing.
    let site = &scene.gateway.site;
    site.policy(&policy("[risk]\nmode = \"enforce\"\n"));
    let change = propose(site, "ana");
    approve(site, &change, &ben);
    approve(site, &change, &cem);
    let activated = run(&scene.gateway, &["policy", "activate", &change]);
    assert_eq!(activated.status.code(), Some(0), "{activated:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 4, 200));
}

fn policy(risk: &str) -> String {
    let denied = "[[deny]]\nname = \"nobody-reads-files\"\nprincipals = [\"anyone\"]\nactions = [\"* /files/**\"]\nscope = \"*\"\n";
    [AUTHENTICATED, denied, NO_BANS, risk].concat()
}

/// A calibration is in force that does not let people pass from where they come now. Its id, and the same people where they came from before.
fn asked_for_too_much(upstream: &Upstream) -> (Scene, String, Vec<Caller>) {
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    site.add("[store]\npath = \"state.db\"\n");
    site.accept_tokens(&[&signer], "");
    let token = |user: &str| ("authorization", bearer(&signer, &claims(user)));
    let people = (9..15).map(|host| Caller::new(&format!("127.0.0.{host}"), token(&format!("person-{host}"))));
    let people: Vec<Caller> = people.collect();
    let mut scene = Scene::of(site, people, &policy(BUDGET));
    // However often they came meanwhile: known well enough that another network is a surprise.
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 200, 200));
    let mut connection = scene.gateway.conn();
    for number in 0..1_000 {
        let (name, value) = token(&format!("u{number}"));
        connection.send(wire::request("GET", "/reports/0", &[(name, &value)], b""));
        assert_eq!(connection.answer().status(), 200);
    }
    let made = run(&scene.gateway, &["risk", "calibration", "propose"]).stdout.join("\n");
    let id = made.split_whitespace().nth(1).unwrap().to_owned();
    let activated = run(&scene.gateway, &["risk", "calibration", "activate", &id]);
    assert_eq!(activated.status.code(), Some(0), "{activated:?}");
    let at_home = scene.people.clone();
    for (person, host) in scene.people.iter_mut().zip(9..) {
        person.source = format!("127.77.0.{host}").parse().unwrap();
    }
    (scene, id, at_home)
}
