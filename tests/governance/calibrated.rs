//! From which score on somebody is asked, and what is usual for them, where changes need approvals: no operator changes either alone.

use portcullis_testkit::process::Signal;
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire;

use super::{GOVERNED, STORE, approve, begun, json, propose, refused, run};
use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims, of_kind};

const HOME: &str = "81.2.69.142";
const ELSEWHERE: &str = "203.0.113.7";

fn policy(calibration: &str) -> String {
    let risk = format!("[risk]\nmode = \"enforce\"\nstep_up_budget = \"2%\"\ncalibration = \"{calibration}\"\n");
    [AUTHENTICATED, NO_BANS, &risk].concat()
}

fn get(gateway: &Gateway, signer: &SigningKey, user: &str, from: &str) -> u16 {
    let authorization = bearer(signer, &claims(user));
    gateway.get("/", &[("x-forwarded-for", from), ("authorization", &authorization)]).status()
}

/// Whether somebody with a history is asked when they come from elsewhere: 1.168 nats, below what is built in.
fn is_asked(gateway: &Gateway, signer: &SigningKey, user: &str) -> bool {
    (0..6).for_each(|_| assert_eq!(get(gateway, signer, user, HOME), 200));
    get(gateway, signer, user, ELSEWHERE) == 401
}

#[test]
fn a_calibration_is_in_force_as_approved_and_not_by_one_operator() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    site.policy(&policy("by_hand"));
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    site.accept_tokens(&[&signer], "");
    site.add(STORE);
    site.add(GOVERNED);
    site.write();
    let [_, ben, cem] = begun(&site);
    let gateway = site.start();
    let mut connection = gateway.conn();
    for n in 0..1_000 {
        let authorization = bearer(&signer, &claims(&format!("u{n}")));
        let headers = [("x-forwarded-for", HOME), ("authorization", authorization.as_str())];
        connection.send(wire::request("GET", "/", &headers, b""));
        assert_eq!(connection.answer().status(), 200);
    }
    drop(connection);
    let calibration =
        |arguments: &[&str], code| run(&gateway.site, &[&["risk", "calibration"], arguments].concat(), code);
    calibration(&["propose"], 0);
    let list = json(&gateway.site, &["risk", "calibration", "list"]);
    let made = &list["calibrations"][0];
    let (id, name) = (made["id"].as_str().unwrap().to_owned(), made["name"].as_str().unwrap().to_owned());
    let remedy = format!("calibration = \"{name}\"");
    assert!(refused(&gateway.site, &["risk", "calibration", "activate", &id], 1).contains(&remedy));
    let said = refused(&gateway.site, &["risk", "calibration", "rollback"], 1);
    assert!(said.contains("changes need approvals here"), "{said}");
    // Nor does anybody say what has been usual for whom.
    let login = serde_json::json!({
        "kind": "access.allowed", "time": "2026-02-01T08:00:00Z", "identity": { "id": "bob", "type": "user" },
        "client": { "ip": ELSEWHERE }, "risk": { "level": "low" },
    });
    gateway.site.file("past.old", &format!("{login}\n"));
    let past = gateway.site.path("past.old");
    // Nor is anything forgotten, after which nothing would be new to somebody.
    let said = refused(&gateway.site, &["risk", "forget", "user:u1"], 1);
    assert!(said.contains("nothing is new to them"), "{said}");
    run(&gateway.site, &["risk", "show", "user:u1"], 0);
    let said = refused(&gateway.site, &["risk", "warm", past.to_str().unwrap()], 1);
    assert!(said.contains("changes need approvals here"), "{said}");
    assert!(!is_asked(&gateway, &signer, "bob"));
    assert_eq!(json(&gateway.site, &["risk", "calibration", "list"])["calibrations"][0]["in_force"], false);

    // The way that is left.
    gateway.site.policy(&policy(&name));
    let change = propose(&gateway.site, "ana");
    assert!(refused(&gateway.site, &["policy", "activate", &change], 1).contains("0 of 2 approvals"));
    approve(&gateway.site, &change, &ben);
    approve(&gateway.site, &change, &cem);
    run(&gateway.site, &["policy", "activate", &change], 0);
    let in_force = |gateway: &Gateway| {
        let list = json(&gateway.site, &["risk", "calibration", "list"]);
        (list["calibrations"][0]["in_force"] == true && list["named"] == *name).then_some(())
    };
    assert!(wait::until(PATIENCE, || in_force(&gateway)).is_some(), "it is in force");
    assert!(is_asked(&gateway, &signer, "carol"));
    // Whoever starts it again has the same in force.
    let Gateway { site, mut process, .. } = gateway;
    process.signal(Signal::Term);
    process.wait_exit(PATIENCE);
    let gateway = site.start();
    assert!(in_force(&gateway).is_some() && is_asked(&gateway, &signer, "dave"));
    let events = gateway.stop();
    let by_hand = of_kind(&events, "admin.risk_calibration");
    let decisions: Vec<_> = by_hand.iter().map(|event| event["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["permit", "deny", "deny"]);
    assert_eq!(of_kind(&events, "admin.risk_warm")[0]["decision"], "deny");
    let told: Vec<_> = of_kind(&events, "risk.calibrated").iter().map(|event| event["message"].to_string()).collect();
    assert!(told.iter().all(|message| message.contains(&id)) && !told.is_empty(), "{told:?}");
}
