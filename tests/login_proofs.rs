//! What a login at the provider confirms is confirmed once: whatever becomes of the process that took it, and nothing where nobody can note that it was.

use std::fs;

use portcullis_testkit::wire::Answer;

use crate::harness::{NO_BANS, of_kind};
use crate::login::{Browser, ELIGIBLE, World, between, to_login, world};

const ACT: &str = "assignment=for-a-time&minutes=30&justification=INC-7&ticket=";

/// Kills it, and starts another one on the same files.
fn kill_and_start(world: World) -> World {
    World { gateway: world.gateway.kill().start(), ..world }
}

/// Goes on to the provider, and says what the form would send that activates.
fn proven(world: &World, browser: &mut Browser) -> String {
    let page = browser.go(&world.url("/.portcullis/access"));
    let page = world.answer_provider(browser, page, "strong-alice");
    let page = browser.send_form(&page, "value=\"prepare\"", ACT);
    let asked = browser.go(&to_login(&page.answer));
    let proven = world.answer_provider(browser, asked, "strong-alice");
    let hidden = |name: &str| {
        let html = proven.answer.text();
        between(html, &format!("name=\"{name}\" value=\""), "\"").unwrap_or_else(|| panic!("{name}: {html}")).to_owned()
    };
    format!("token={}&act=activate&{ACT}&proof={}", hidden("token"), hidden("proof"))
}

fn activate(world: &World, browser: &mut Browser, body: &str) -> Answer {
    browser.once("POST", &world.url("/.portcullis/access"), &[], body)
}

#[test]
fn what_a_login_has_confirmed_once_confirms_nothing_after_the_process_was_killed() {
    // With a key of the configuration what was sealed before opens in the next process, and sessions are kept.
    let login = "key = { file = \"login.key\" }";
    let world = world(login, "claims = { acr = \"level\" }", |site| {
        site.file("login.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
        site.add("[store]\npath = \"my.db\"\n[access]\nself_service = true\nhosts = [\"127.0.0.1\"]\n");
        site.policy(&[ELIGIBLE, NO_BANS].concat());
    });
    let mut browser = Browser::default();
    let (one, other) = (proven(&world, &mut browser), Browser::default());
    let begun = activate(&world, &mut browser, &one);
    assert_eq!((begun.status(), begun.header("location")), (302, Some("/.portcullis/access")), "{}", begun.text());
    // She gives it up, and whoever has seen the address of that page has it back from nobody.
    let page = browser.go(&world.url("/.portcullis/access"));
    let ended = browser.send_form(&page, "value=\"end\"", "");
    assert!(ended.answer.text().contains("for-a-time: ended until"), "{}", ended.answer.text());
    let world = kill_and_start(world);
    let again = activate(&world, &mut browser, &one);
    assert!(to_login(&again).starts_with(&world.provider.issuer()), "{}: {}", again.status(), again.text());
    assert_eq!(of_kind(&world.gateway.events.all(), "grant.began").len(), 1);

    // One that was not used is good in the next process, and where nobody can note that it is used it is not.
    let mut browser = other;
    let body = proven(&world, &mut browser);
    let world = kill_and_start(world);
    let (store, away) = (world.gateway.site.path("my.db"), world.gateway.site.path("away.db"));
    fs::rename(&store, &away).unwrap();
    let refused = activate(&world, &mut browser, &body);
    let said = (refused.status(), refused.text().contains("dependency.store_unavailable"));
    assert_eq!(said, (503, true), "it cannot be noted: {}", refused.text());
    fs::rename(&away, &store).unwrap();
    assert_eq!(of_kind(&world.gateway.events.all(), "grant.began").len(), 1);
    let begun = activate(&world, &mut browser, &body);
    assert_eq!((begun.status(), begun.header("location")), (302, Some("/.portcullis/access")), "{}", begun.text());
    assert_eq!(of_kind(&world.gateway.stop(), "grant.began").len(), 2);
}
