//! Who changes factors: whoever has just proven that they may, and nobody who has no more than the cookie of their session.

use portcullis_testkit::upstream::Upstream;
use serde_json::json;

use crate::harness::of_kind;
use crate::second_factors::{Browser, begin_first, between, code, enrol, plain, start};

const FACTORS: &str = "/.portcullis/factors";

/// A form of the page of factors, with the token that is good for this cookie and this proof.
fn body(page: &str, act: &str, proof: &str) -> String {
    let token = between(page, "name=\"token\" value=\"", "\"").unwrap();
    format!("token={token}&act={act}&name=mine&proof={proof}")
}

#[test]
fn whoever_has_stolen_the_cookie_of_a_session_changes_no_factors_however_fresh_it_is() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "localhost");
    let mut alice = Browser::new(&gateway);
    let page = alice.go("/secret/plans");
    alice.log_in(&page);
    // She logs in to add one, and somebody has the cookie of that the moment after.
    let page = begin_first(&mut alice);
    let mut other = Browser::new(&gateway);
    let theirs = other.go("/secret/plans");
    other.log_in(&theirs);
    let theirs = begin_first(&mut other);
    let proof_of = |page: &str| between(page, "name=\"proof\" value=\"", "\"").unwrap().to_owned();
    let swapped = |proof: &str| format!("{}{}", if proof.starts_with('A') { "B" } else { "A" }, &proof[1..]);
    let proof = proof_of(page.html());
    let mut stolen = alice.stolen();
    let shown = stolen.go(FACTORS);
    assert!(shown.html().contains("You have none yet") && !shown.html().contains("<form"), "{}", shown.html());
    for wrong in ["", &swapped(&proof), &proof_of(theirs.html())] {
        for act in ["begin-totp", "add-passkey", "renew-recovery"] {
            let sent = stolen.once("POST", FACTORS, &body(page.html(), act, wrong));
            let led = (sent.status(), sent.header("location").unwrap_or_default());
            assert_eq!(led, (302, "/.portcullis/login?prove=anew&to=%2F.portcullis%2Ffactors"), "{act} {wrong}");
        }
    }
    // What she has proven is good for her.
    let begun = alice.submit(&page, "begin-totp", &[("name", "phone")]);
    let secret = between(begun.html(), "<code id=\"secret\">", "</code>").unwrap().to_owned();
    let added = alice.submit(&begun, "confirm-totp", &[("code", &code(&secret, -1))]);
    assert!(added.html().contains("Recovery codes"), "{}", added.html());
    // A login is not enough any more, for nobody knows whose it was.
    let again = alice.once("POST", FACTORS, &body(page.html(), "begin-totp", &proof));
    assert_eq!(again.header("location"), Some("/.portcullis/step-up?return=%2F.portcullis%2Ffactors"));

    // She shows it, and whoever has the cookie of that session changes as little.
    let page = alice.go(&plain(again.header("location").unwrap()));
    let page = alice.submit(&page, "name=\"code\"", &[("code", &code(&secret, 0))]);
    assert!(page.place.starts_with(&format!("{FACTORS}?proof=")), "{}", page.place);
    let mut stolen = alice.stolen();
    assert_eq!(stolen.go("/secret/plans").answer.status(), 200, "it is raised");
    let shown = stolen.go(FACTORS);
    assert!(shown.html().contains("Show a factor to change them"), "{}", shown.html());
    assert!(!shown.html().contains("<form"), "{}", shown.html());
    for wrong in ["", &proof] {
        let sent = stolen.once("POST", FACTORS, &body(page.html(), "renew-recovery", wrong));
        assert_eq!(sent.header("location"), Some("/.portcullis/step-up?return=%2F.portcullis%2Ffactors"), "{wrong}");
    }
    // She adds another one, and what she has shown stays good for what she does next.
    let begun = alice.submit(&page, "begin-totp", &[("name", "tablet")]);
    let secret = between(begun.html(), "<code id=\"secret\">", "</code>").unwrap().to_owned();
    let added = alice.submit(&begun, "confirm-totp", &[("code", &code(&secret, -1))]);
    assert!(added.html().contains("tablet") && added.html().contains("begin-totp"), "{}", added.html());
    // Finding of 2026-11: what stood in the address was good for every change within ten minutes, and told to the application as the referrer.
    assert_eq!(added.answer.header("referrer-policy"), Some("strict-origin"));
    let used = alice.once("POST", FACTORS, &body(page.html(), "renew-recovery", &proof_of(page.html())));
    assert_eq!(
        used.header("location"),
        Some("/.portcullis/step-up?return=%2F.portcullis%2Ffactors"),
        "{}",
        used.text()
    );
    let renewed = alice.submit(&added, "renew-recovery", &[]);
    assert!(renewed.html().contains("Each of these is good once"), "{}", renewed.html());
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "auth.factor_added").len(), 3, "two apps, and new codes");
}

#[test]
fn where_operators_give_the_first_factor_nobody_adds_it_by_themselves() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream, "localhost");
    let text = std::fs::read_to_string(gateway.site.path("portcullis.toml")).unwrap();
    gateway.site.file("portcullis.toml", &text.replace("[mfa]\n", "[mfa]\nfirst_factor = \"operator\"\n"));
    gateway.reload("ok");
    let mut alice = Browser::new(&gateway);
    let page = alice.go("/.portcullis/login?prove=anew&to=/.portcullis/factors");
    let page = alice.log_in(&page);
    assert!(page.html().contains("An operator gives you the first one"), "{}", page.html());
    assert!(!page.html().contains("<form"), "{}", page.html());
    // Without it she is who she was; a reload that lets her has her add it.
    gateway.site.file("portcullis.toml", &text);
    gateway.reload("ok");
    enrol(&mut alice);
    let listed = gateway.site.run(&["factor", "list", "alice", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout.join("\n")).unwrap();
    assert_eq!(listed["factors"][0]["kind"], json!("totp"), "{listed:#}");
}
