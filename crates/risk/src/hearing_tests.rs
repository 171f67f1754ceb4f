//! A shared address that nobody was let in from yet.

use jiff::SignedDuration;

use super::*;
use crate::actor::Actor;
use crate::fixtures::{address, engine_of, failed, good, refused, scan, start, user};
use crate::settings::{BanMode, BanSettings, Settings};
use crate::state::Reading;
use crate::{BanNotice, Observation};

fn after_ms(milliseconds: i64) -> Timestamp {
    start() + SignedDuration::from_millis(milliseconds)
}

fn engine() -> RiskEngine {
    engine_of(Settings::default())
}

/// Banned as a whole: nobody was ever let in from there.
fn banned(engine: &RiskEngine, from: IpAddr) -> BanNotice {
    let notice = scan(engine, &refused(from, "/"), 4, start()).unwrap();
    assert_eq!(notice.ban.scope, BanScope::Address);
    notice
}

fn ban_now(engine: &RiskEngine, from: IpAddr) -> Arc<Ban> {
    engine.ban_on_address(from, start()).unwrap()
}

#[test]
fn the_first_credential_that_holds_makes_it_a_ban_of_the_rest() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    let ban = banned(&engine, from).ban;
    let heard = engine.hear(from, &ban, start()).unwrap();
    assert_eq!(*heard, Ban { scope: BanScope::Anonymous, ..Ban::clone(&ban) });
    assert!(!engine.heard(from, Heard::Undecided, start()));
    assert_eq!(ban_now(&engine, from).scope, BanScope::Address, "it is not known who that was");
    assert!(!engine.heard(from, Heard::Excused, start()));
    assert_eq!(ban_now(&engine, from).scope, BanScope::Address, "who was verified and refused shows nothing");
    assert!(engine.heard(from, Heard::LetIn, start()));
    assert_eq!(*ban_now(&engine, from), *heard, "as long, and for the same");
    assert!(!engine.heard(from, Heard::LetIn, start()), "it is narrowed once");
    assert_eq!(engine.hear(from, &ban_now(&engine, from), start()), None, "who has one is let in anyway");
    assert_eq!(engine.bans(start()).len(), 1);
}

#[test]
fn a_narrowed_ban_is_written_and_comes_back_as_one() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    banned(&engine, from);
    let now = Reading::beginning(start());
    assert_eq!(engine.urgent_changes(100, now).bans.len(), 1);
    engine.heard(from, Heard::LetIn, start());
    let changes = engine.urgent_changes(100, now);
    let [saved] = &changes.bans[..] else { panic!("{changes:?}") };
    assert_eq!((saved.scope, saved.offences), (BanScope::Anonymous, 1));
}

#[test]
fn only_so_many_credentials_that_fail_are_looked_at() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    let ban = banned(&engine, from).ban;
    let looked_at = |engine: &RiskEngine, now: Timestamp| {
        let mut count = 0;
        while engine.hear(from, &ban, now).is_some() {
            engine.heard(from, Heard::Failed, now);
            count += 1;
            assert!(count < 10_000, "without a bound");
        }
        count
    };
    assert_eq!(looked_at(&engine, start()), 10);
    assert_eq!(engine.hear(from, &ban, start()), None);
    assert_eq!(looked_at(&engine, after_ms(59_999)), 0);
    assert_eq!(looked_at(&engine, after_ms(60_000)), 1);
    assert_eq!(looked_at(&engine, after_ms(240_000)), 3);
}

/// How many of these are looked at at once.
fn excused_at(engine: &RiskEngine, from: IpAddr, ban: &Ban, reason: &str, now: Timestamp) -> usize {
    let mut looked_at = 0;
    while engine.hear(from, ban, now).is_some() {
        engine.heard(from, Heard::refused(reason), now);
        looked_at += 1;
        assert!(looked_at < 10_000, "without a bound");
    }
    looked_at
}

#[test]
fn what_happens_to_honest_callers_takes_none_of_the_ten_and_has_a_bound_of_its_own() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    let ban = banned(&engine, from).ban;
    for n in 0..400 {
        let now = after_ms(n * 1_000);
        assert!(engine.hear(from, &ban, now).is_some(), "{n}");
        engine.heard(from, if n % 2 == 0 { Heard::Undecided } else { Heard::refused("authn.expired") }, now);
    }
    // Verifying costs what it costs: too many at once are refused unseen.
    let later = |ms: i64| after_ms(500_000 + ms);
    assert_eq!(excused_at(&engine, from, &ban, "authn.unknown_key", later(0)), 60);
    assert_eq!(excused_at(&engine, from, &ban, "authn.unknown_key", later(999)), 0);
    assert_eq!(excused_at(&engine, from, &ban, "authn.unknown_key", later(1_000)), 1);
}

/// One that is banned cannot take the hearing from who is behind another banned address, however much it sends.
#[test]
fn no_address_uses_up_what_there_is_for_all() {
    let (engine, loud, quiet) = (engine(), address("203.0.113.50"), address("198.51.100.50"));
    let (of_loud, of_quiet) = (banned(&engine, loud).ban, banned(&engine, quiet).ban);
    for second in 0..60 {
        let now = after_ms(second * 1_000);
        excused_at(&engine, loud, &of_loud, "authn.expired", now);
        assert_eq!(engine.hear(loud, &of_loud, now), None, "{second}");
        assert!(engine.hear(quiet, &of_quiet, now).is_some(), "{second}");
    }
    assert!(engine.heard(quiet, Heard::LetIn, after_ms(60_000)));
}

#[test]
fn what_does_not_hold_is_told_apart_as_it_is_where_it_is_charged() {
    for reason in ["authn.invalid", "authn.wrong_issuer", "authn.wrong_audience", "authn.revoked", "authn.ambiguous"] {
        assert_eq!(Heard::refused(reason), Heard::Failed, "{reason}");
    }
    for reason in ["authn.expired", "authn.not_yet_valid", "authn.unknown_key", "authn.certificate_required"] {
        assert_eq!(Heard::refused(reason), Heard::Excused, "{reason}");
    }
}

#[test]
fn a_ban_for_credentials_that_failed_hears_nobody() {
    let engine = engine();
    let (guesses, sprays) = (address("198.51.100.1"), address("198.51.100.2"));
    for n in 0..5 {
        engine.observe(&failed(guesses, Some("alice")), start());
        engine.observe(&failed(sprays, Some(&format!("user-{n}"))), start());
    }
    for from in [guesses, sprays] {
        let ban = ban_now(&engine, from);
        assert_eq!((ban.scope, engine.hear(from, &ban, start())), (BanScope::Address, None), "{}", ban.cause);
        assert!(!engine.heard(from, Heard::LetIn, start()));
        assert_eq!(ban_now(&engine, from), ban);
    }
}

#[test]
fn however_many_addresses_are_banned_the_process_looks_at_so_many() {
    let engine = engine();
    let mut looked_at = 0;
    for n in 0..100_u8 {
        let from = IpAddr::from([198, 51, 100, n]);
        let ban = banned(&engine, from).ban;
        while engine.hear(from, &ban, start()).is_some() {
            engine.heard(from, Heard::Failed, start());
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 250, "of the 1,000 that a hundred addresses could have");
    // An address of which principals are known is not concerned.
    let (office, alice) = (address("203.0.113.50"), user("alice"));
    engine.observe(&Observation { principal: Some(&alice), ..good(office) }, start());
    let notice = scan(&engine, &refused(office, "/"), 4, start()).unwrap();
    assert_eq!(notice.ban.scope, BanScope::Anonymous);
}

#[test]
fn a_ban_that_somebody_made_hears_nobody() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    let until = after_ms(60_000);
    let by_hand = engine.impose(&Actor::address(from), until, "by hand", start()).unwrap();
    assert_eq!(engine.hear(from, &by_hand, start()), None);
    assert!(!engine.heard(from, Heard::LetIn, start()));
    assert_eq!(ban_now(&engine, from), by_hand);
    // One that replaces a ban of the gateway's own is not narrowed by who was being looked at.
    let own = banned(&engine, address("203.0.113.51")).ban;
    assert!(engine.hear(address("203.0.113.51"), &own, start()).is_some());
    engine.impose(&Actor::address(address("203.0.113.51")), until, "by hand", start()).unwrap();
    assert!(!engine.heard(address("203.0.113.51"), Heard::LetIn, start()));
    assert_eq!(ban_now(&engine, address("203.0.113.51")).scope, BanScope::Address);
}

#[test]
fn a_ban_that_is_over_or_simulated_hears_nobody() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    let ban = banned(&engine, from).ban;
    assert_eq!(engine.hear(from, &ban, ban.until), None);
    assert!(!engine.heard(from, Heard::LetIn, ban.until));
    let settings = BanSettings { mode: BanMode::Simulate, ..BanSettings::default() };
    let engine = engine_of(Settings { ban: settings, ..Settings::default() });
    let ban = scan(&engine, &refused(from, "/"), 4, start()).unwrap().ban;
    assert_eq!(engine.hear(from, &ban, start()), None);
}

/// What is refused for the ban counts towards nothing, also where a credential was looked at: the ban cannot prolong itself.
#[test]
fn guesses_that_are_heard_neither_prolong_the_ban_nor_begin_the_next_one() {
    let (engine, from) = (engine(), address("203.0.113.50"));
    let ban = banned(&engine, from).ban;
    for n in 0..200 {
        let now = after_ms(n * 100);
        if engine.hear(from, &ban, now).is_some() {
            engine.heard(from, Heard::Failed, now);
        }
        let seen = Observation { reason: Some("ban.active"), status: 403, ..failed(from, Some("alice")) };
        assert_eq!(engine.observe(&seen, now), None);
    }
    assert_eq!(ban_now(&engine, from), ban);
    assert_eq!(engine.ban_on_address(from, ban.until), None);
    assert_eq!(scan(&engine, &refused(from, "/"), 3, ban.until), None, "the next one takes the full level");
}
