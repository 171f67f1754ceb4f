//! What an engine gives to a store is what the next one begins with.

use std::sync::atomic::AtomicUsize;

use portcullis_policy::{ClientAddress, Principal, PrincipalKind};

use super::*;
use crate::fixtures::{address, after, engine_of, good, start};
use crate::settings::{BanSettings, Settings};
use crate::{Caller, Observation};

fn even(now: Timestamp) -> Reading {
    Reading::beginning(now)
}

fn settings() -> Settings {
    Settings { max_profiles: 64, max_actors: 256, max_bans: 64, ..Settings::default() }
}

/// Fails until it is banned.
fn offend(engine: &RiskEngine, from: &str, now: Timestamp) -> Arc<Ban> {
    let failed = Observation { status: 401, reason: Some("authn.invalid"), upstream: false, ..good(address(from)) };
    (0..20).find_map(|_| engine.observe(&failed, now)).expect("five failures ban").ban
}

/// Everything that one engine gives away, in another that begins later.
fn restart(engine: &RiskEngine, written: Reading, begins: Timestamp) -> (RiskEngine, Restored) {
    engine.mark_all();
    let (urgent, rest) = (engine.urgent_changes(usize::MAX, written), engine.changes(usize::MAX, written));
    assert!(!urgent.more && !rest.more);
    let next = RiskEngine::with_secret(settings(), engine.secret());
    let downtime = Downtime::new(even(begins), written.wall);
    let mut restored = Restored::default();
    for ban in urgent.bans {
        match next.restore_ban(ban, &downtime) {
            Some(true) => restored.bans += 1,
            Some(false) => restored.past += 1,
            None => restored.forgotten += 1,
        }
    }
    for demand in urgent.demands {
        restored.demands += usize::from(next.restore_demand(demand, &downtime) == Some(true));
    }
    for (key, kept) in rest.profiles {
        restored.profiles += usize::from(next.restore_profile(key, &kept, written.offset(), &downtime));
    }
    for (key, seen) in rest.healthy {
        restored.healthy += usize::from(next.restore_healthy(key, seen, &downtime));
    }
    next.begin();
    (next, restored)
}

#[test]
fn a_ban_goes_on_for_what_was_left_of_it_whatever_the_clock_does_meanwhile() {
    /// A running process, whose clock is set by `set` seconds, is killed `ran` seconds after the ban began, and the next one begins `down`
    /// seconds later by a time of day that was set by `set_while_down`.
    fn check(ran: i64, set: i64, down: i64, set_while_down: i64, left: Option<i64>) {
        let engine = engine_of(settings());
        let ban = offend(&engine, "198.51.100.7", start());
        let written = Reading { steady: after(ran), wall: after(ran + set) };
        let begins = written.wall + SignedDuration::from_secs(down + set_while_down);
        let (next, restored) = restart(&engine, written, begins);
        let found = next.ban_on_address(address("198.51.100.7"), begins);
        let case = format!("{ran} {set} {down} {set_while_down}");
        assert_eq!(restored.bans, usize::from(left.is_some()), "{case}");
        let Some(left) = left else { return assert_eq!(found, None, "{case}") };
        let length = ban.until.duration_since(start());
        let expected = begins + length - SignedDuration::from_secs(ran) - SignedDuration::from_secs(left);
        assert_eq!(found.map(|found| found.until), Some(expected), "{case}: {left} s passed");
    }
    const DAY: i64 = 86_400;
    const YEAR: i64 = 365 * DAY;
    // Nothing odd: what has passed has passed.
    check(0, 0, 0, 0, Some(0));
    check(10, 0, 60, 0, Some(60));
    check(10, 0, 3_600, 0, None);
    // Set while it ran: what counts is how long nobody ran.
    check(10, DAY, 60, 0, Some(60));
    check(10, -DAY, 60, 0, Some(60));
    check(10, -YEAR, 60, 0, Some(60));
    // Set back while nobody ran: as if no time had passed, neither less nor more.
    check(10, 0, 60, -DAY, Some(0));
    check(10, 0, 60, -30 * YEAR, Some(0));
    // Set forward while nobody ran is what a long time is.
    check(10, 0, 60, DAY, None);
}

#[test]
fn a_row_that_claims_more_than_its_length_gets_no_more() {
    let next = engine_of(settings());
    let ban = SavedBan {
        actor: Actor::address(address("198.51.100.7")),
        scope: BanScope::Address,
        began: after(86_400),
        until: after(86_400 + 600),
        offences: 1,
        cause: "test".into(),
        simulated: false,
        past: 1.0,
        past_at: after(86_400),
        evidence: Arc::default(),
    };
    // The store was last written a day before the ban began: its rows contradict each other.
    let downtime = Downtime::new(even(start()), start());
    assert_eq!(next.restore_ban(ban.clone(), &downtime), Some(true));
    assert_eq!(next.ban_on_address(address("198.51.100.7"), start()).unwrap().until, after(600));
    let upside_down = SavedBan { until: after(0), actor: Actor::address(address("198.51.100.8")), ..ban };
    assert_eq!(next.restore_ban(upside_down, &downtime), Some(false), "it ends before it begins");
}

#[test]
fn past_offences_make_the_next_ban_longer_after_a_restart_too() {
    let engine = engine_of(settings());
    let first = offend(&engine, "198.51.100.7", start());
    let second = offend(&engine, "198.51.100.7", first.until);
    assert_eq!((first.offences, second.offences), (1, 2));
    let written = second.until + SignedDuration::from_secs(1);
    let (next, restored) = restart(&engine, even(written), written + SignedDuration::from_secs(60));
    assert_eq!((restored.bans, restored.past), (0, 1));
    let now = written + SignedDuration::from_secs(60);
    assert_eq!(next.ban_on_address(address("198.51.100.7"), now), None, "it has ended");
    assert_eq!(offend(&next, "198.51.100.7", now).offences, 3);
    let (long_after, _) = restart(&engine, even(written), written + SignedDuration::from_hours(24 * 365));
    let now = written + SignedDuration::from_hours(24 * 365);
    assert_eq!(offend(&long_after, "198.51.100.7", now).offences, 1, "they are forgotten by half every week");
}

#[test]
fn bans_of_every_kind_come_back_with_their_evidence_and_lifted_ones_do_not() {
    let engine = engine_of(settings());
    offend(&engine, "198.51.100.7", start());
    for on in ["203.0.113.7", "203.0.113.0/24", "192.0.2.64/26", "2001:db8::/64", "2001:db8::1/128", "user:alice"] {
        engine.impose(&on.parse().unwrap(), after(600), "by hand", start()).unwrap();
    }
    engine.watch(Box::new(|| {}));
    assert!(engine.lift(&"203.0.113.7".parse().unwrap()) && engine.lift(&"192.0.2.64/26".parse().unwrap()));
    let lifted: Vec<String> = engine.urgent_changes(0, even(start())).lifted.iter().map(ToString::to_string).collect();
    assert_eq!(lifted, ["203.0.113.7", "192.0.2.64/26"]);
    assert!(engine.urgent_changes(0, even(start())).lifted.is_empty(), "once");
    let (next, restored) = restart(&engine, even(after(1)), after(2));
    assert_eq!((restored.bans, restored.forgotten), (5, 0));
    let mut on: Vec<String> = next.bans(after(2)).iter().map(|entry| entry.actor.to_string()).collect();
    on.sort();
    assert_eq!(on, ["198.51.100.7", "2001:db8::/64", "2001:db8::1/128", "203.0.113.0/24", "user:alice"]);
    assert!(next.ban_on_principal(&Principal::user("alice"), after(599)).is_some());
    assert!(next.ban_on_principal(&Principal::user("alice"), after(600)).is_none());
    let report = next.report(&"198.51.100.7".parse().unwrap(), after(2));
    let [entry] = &report.bans[..] else { panic!("{report:?}") };
    assert_eq!((entry.evidence.len(), entry.began), (5, start()));
    assert_eq!(&*entry.evidence[0].reason, "authn.invalid");
}

#[test]
fn who_is_banned_anew_after_the_end_by_hand_is_written_after_it() {
    let engine = engine_of(settings());
    engine.watch(Box::new(|| {}));
    for on in ["198.51.100.7", "192.0.2.64/26"] {
        let actor = on.parse().unwrap();
        engine.impose(&actor, after(600), "first", start()).unwrap();
        engine.urgent_changes(10, even(start()));
        assert!(engine.lift(&actor));
        engine.impose(&actor, after(900), "second", start()).unwrap();
        // The new one is taken by a writer that does not see yet that the old one was lifted.
        engine.ban_tables().iter().for_each(|table| table.take_marks());
        engine.journal.networks.store(false, Ordering::Release);
        let changes = engine.urgent_changes(10, even(start()));
        assert_eq!(changes.lifted, [actor], "{on}");
        let until: Vec<Timestamp> = changes.bans.iter().map(|ban| ban.until).collect();
        assert_eq!(until, [after(900)], "{on}");
    }
}

#[test]
fn demands_are_handed_out_one_by_one() {
    let engine = engine_of(settings());
    engine.watch(Box::new(|| {}));
    let demand = |id: &str| Demand::Revoke(PrincipalKind::User, id.into());
    let make = |id: &str, until| engine.demand(&demand(id), "alert", start(), after(until), start()).unwrap();
    let take = || {
        let changes = engine.urgent_changes(10, even(start()));
        let made: Vec<(Demand, Timestamp)> =
            changes.demands.into_iter().map(|saved| (saved.demand, saved.until)).collect();
        (made, changes.released.into_iter().map(|(demand, _)| demand).collect::<Vec<_>>())
    };
    make("alice", 600);
    make("bob", 600);
    assert_eq!(take(), (vec![(demand("alice"), after(600)), (demand("bob"), after(600))], vec![]));
    make("alice", 900);
    assert!(engine.release(&demand("bob"), "alert"));
    assert_eq!(take(), (vec![(demand("alice"), after(900))], vec![demand("bob")]));
    assert_eq!(take(), (vec![], vec![]));
    engine.mark_all();
    make("carol", 600);
    assert!(engine.release(&demand("alice"), "alert"));
    assert_eq!(take(), (vec![(demand("carol"), after(600))], vec![demand("alice")]), "each once");
}

#[test]
fn where_there_is_no_room_for_all_the_offences_of_late_are_remembered() {
    let small = engine_of(Settings { max_bans: 16, ..settings() });
    let downtime = Downtime::new(even(after(100_000)), after(100_000));
    let room = (0..40_i64).filter(|n| {
        let ban = SavedBan {
            actor: Actor::address([198, 51, 100, u8::try_from(*n).unwrap()].into()),
            scope: BanScope::Address,
            began: after(0),
            until: after(4_000 - n * 100),
            offences: 1,
            cause: "test".into(),
            simulated: false,
            past: 1.0,
            past_at: after(0),
            evidence: Arc::default(),
        };
        small.restore_ban(ban, &downtime).is_some()
    });
    assert_eq!(room.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "those that end last come first");
    let known = |n: u8| small.report(&Actor::address([198, 51, 100, n].into()), after(100_000)).outlook.is_some();
    assert!((0..10).all(known) && !(10..40).any(known));
}

#[test]
fn only_what_changed_is_handed_out_and_a_ban_wakes_who_watches() {
    let engine = engine_of(settings());
    let woken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&woken);
    engine.watch(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    assert!(engine.urgent_changes(10, even(start())).is_empty() && engine.changes(10, even(start())).is_empty());
    offend(&engine, "198.51.100.7", start());
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(engine.urgent_changes(10, even(start())).bans.len(), 1);
    assert!(engine.urgent_changes(10, even(start())).is_empty());
    // In portions: no offender is left out.
    for n in 0..39 {
        offend(&engine, &format!("198.51.101.{n}"), start());
    }
    let mut bans = 0;
    loop {
        let changes = engine.urgent_changes(7, even(start()));
        bans += changes.bans.len();
        if !changes.more {
            break;
        }
    }
    assert_eq!((bans, engine.marked()), (39, 0));
    engine.mark_all();
    assert_eq!(engine.urgent_changes(1_000, even(start())).bans.len(), 40);
}

#[test]
fn a_shared_address_is_still_known_as_one() {
    let scan = |engine: &RiskEngine, now: Timestamp| {
        let refused = |path| Observation {
            path,
            status: 403,
            reason: Some("rbac.no_matching_grant"),
            upstream: false,
            ..good(address("203.0.113.50"))
        };
        let paths = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"];
        paths.iter().find_map(|path| engine.observe(&refused(path), now)).unwrap().ban.scope
    };
    let check = |down_s: i64, expected: BanScope| {
        let engine = engine_of(settings());
        let alice = Principal::user("alice");
        engine.observe(&Observation { principal: Some(&alice), ..good(address("203.0.113.50")) }, start());
        let (next, restored) = restart(&engine, even(after(10)), after(10 + down_s));
        assert_eq!(restored.healthy, 1);
        assert_eq!(scan(&next, after(10 + down_s)), expected, "{down_s}");
    };
    check(60, BanScope::Anonymous);
    check(86_400, BanScope::Address);
}

#[test]
fn what_is_usual_stays_usual_under_the_same_secret_alone() {
    let engine = engine_of(settings());
    let alice = Principal::user("alice");
    let caller = |from: &str| Caller {
        user_agent: Some("Mozilla/5.0 Firefox/120"),
        ..Caller::new(ClientAddress::known(address(from)), Some(&alice))
    };
    for _ in 0..20 {
        let home = caller("203.0.113.7");
        engine.learn(&home, &engine.keys_of(&home), false, start());
    }
    let names = |engine: &RiskEngine, from: &str| -> Vec<&'static str> {
        let who = caller(from);
        engine
            .assess(&who, &mut engine.keys_of(&who), after(60))
            .assessment
            .signals
            .iter()
            .map(|signal| signal.name)
            .collect()
    };
    let before = [names(&engine, "203.0.113.9"), names(&engine, "198.51.100.1")];
    assert!(before[0].is_empty() && !before[1].is_empty(), "{before:?}");
    let (next, restored) = restart(&engine, even(start()), after(60));
    assert_eq!(restored.profiles, 1);
    assert_eq!([names(&next, "203.0.113.9"), names(&next, "198.51.100.1")], before);
    assert_ne!(next.fingerprint(), RiskEngine::new(settings()).fingerprint());
}

#[test]
fn what_alerts_demand_is_demanded_still() {
    let engine = engine_of(settings());
    let demands = [
        Demand::StepUp(PrincipalKind::User, "alice".into()),
        Demand::Revoke(PrincipalKind::Service, "billing".into()),
        Demand::Tighten("app".into()),
    ];
    for (demand, until) in demands.iter().zip([600, 60, 600]) {
        engine.demand(demand, "alert", start(), after(until), start()).unwrap();
    }
    assert!(engine.release(&demands[2], "alert"));
    let (next, restored) = restart(&engine, even(after(1)), after(60));
    assert_eq!(restored.demands, 1, "one was released, one is over");
    let demanded = next.demanded(Some(&Principal::user("alice")), Some("app"), None, after(60)).unwrap();
    let facts = demanded.facts();
    assert_eq!((facts.step_up.unwrap().until, facts.tightened), (after(600), None));
}

#[test]
fn a_smaller_engine_takes_what_it_has_room_for() {
    let engine = engine_of(settings());
    for n in 0..40 {
        offend(&engine, &format!("198.51.101.{n}"), start());
    }
    engine.mark_all();
    let bans = engine.urgent_changes(usize::MAX, even(start())).bans;
    let small = engine_of(Settings { max_bans: 16, ..settings() });
    let downtime = Downtime::new(even(after(1)), start());
    let room = bans.into_iter().filter_map(|ban| small.restore_ban(ban, &downtime)).count();
    assert_eq!((room, small.bans_active(after(1))), (10, 10));
    let quiet = BanSettings { forget_half: std::time::Duration::from_secs(60), ..BanSettings::default() };
    let bounds = engine_of(Settings { ban: quiet, ..settings() }).bounds();
    assert_eq!(bounds.forgets_after, SignedDuration::from_secs(480));
    assert_eq!((bounds.profiles, bounds.addresses), (64, 192));
}
