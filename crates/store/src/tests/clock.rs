//! Clocks that are set while a gateway runs and while none does.

use std::sync::Mutex;

use super::*;

#[test]
fn a_clock_that_was_set_back_is_told_by_the_last_writing() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    offend(&engine, "198.51.100.1", start());
    save_all(&mut database, &engine, start());
    database.save(&Changes::default(), even(after(60))).unwrap();
    let long_ago = after(-30 * 365 * 86_400);
    let (next, restored) = begin(&mut database, long_ago);
    assert_eq!(restored.bans, 1);
    let until = next.bans(long_ago)[0].ban.until;
    let length = until.duration_since(long_ago).as_secs() + 60;
    assert!((540..=660).contains(&length), "{length}");
}

#[test]
fn after_a_clock_was_set_back_the_second_restart_is_like_the_first() {
    const YEAR: i64 = 365 * 86_400;
    let check = |ran: i64, in_force: bool| {
        let place = Place::new();
        let mut database = place.open();
        // The clock is a year ahead.
        let ahead = after(YEAR);
        let (engine, _) = begin(&mut database, ahead);
        engine.impose(&"198.51.100.1".parse().unwrap(), after(YEAR + 3_600), "by hand", ahead).unwrap();
        let demand = Demand::StepUp(PrincipalKind::User, "mallory".into());
        engine.demand(&demand, "alert", ahead, after(YEAR + 3_600), ahead).unwrap();
        let_in(&engine, "203.0.113.7", ahead);
        save_all(&mut database, &engine, ahead);
        drop(database);
        // It is right again.
        let mut database = place.open();
        let (next, restored) = begin(&mut database, start());
        assert_eq!((restored.bans, restored.demands, restored.healthy), (1, 1, 1));
        assert_eq!((next.bans(start())[0].ban.until, next.demands(start())[0].until), (after(3_600), after(3_600)));
        save_all(&mut database, &next, after(ran));
        drop(database);
        // And another time, and one more.
        for restart in 1..=2 {
            let mut database = place.open();
            let (next, restored) = begin(&mut database, after(ran + restart));
            let found = (restored.bans, restored.demands, restored.past, restored.healthy);
            let expected = if in_force { (1, 1, 0, 1) } else { (0, 0, 1, 1) };
            assert_eq!(found, expected, "{ran}, {restart}");
            if in_force {
                assert_eq!(next.bans(after(ran + 1))[0].ban.until, after(3_600), "{ran}, {restart}");
                assert_eq!(next.demands(after(ran + 1))[0].until, after(3_600), "{ran}, {restart}");
            }
            save_all(&mut database, &next, after(ran + restart));
        }
        assert_eq!(times(&place, "seen", "healthy"), [start().as_microsecond()]);
    };
    check(60, true);
    check(7_200, false);
}

/// One whose clock is the test's to set.
struct Clocked {
    risk: RiskEngine,
    now: Mutex<Reading>,
}

impl Source for Clocked {
    fn risk(&self) -> &RiskEngine {
        &self.risk
    }

    fn now(&self) -> Reading {
        *self.now.lock().unwrap()
    }
}

/// How often alice was let in, as far as it is remembered, and when she was last seen.
fn remembered(engine: &RiskEngine, now: Timestamp) -> String {
    format!("{:?}", engine.profile_of(&"user:alice".parse().unwrap(), now).unwrap())
}

#[test]
fn what_is_usual_does_not_fade_because_a_clock_was_wrong_at_the_start() {
    const YEARS: i64 = 26 * 365 * 86_400;
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    for n in 0..50 {
        learn(&engine, "alice", after(n * 1_000));
    }
    save_all(&mut database, &engine, after(50_000));
    drop(database);
    let before = remembered(&engine, after(50_000));
    // A start without a clock: it is the year 2000 until somebody says otherwise.
    let mut database = place.open();
    let (next, restored) = begin(&mut database, after(-YEARS));
    assert_eq!(restored.profiles, 1);
    database.save(&Changes::default(), even(after(-YEARS))).unwrap();
    let right = Reading { steady: after(10 - YEARS), wall: after(50_010) };
    database.follow_the_clock(right.offset(), right).unwrap();
    next.mark_all();
    database.save(&next.changes(usize::MAX, right), right).unwrap();
    drop(database);
    let mut database = place.open();
    let (last, restored) = begin(&mut database, after(50_020));
    assert_eq!((restored.profiles, restored.forgotten), (1, 0));
    assert_eq!(remembered(&last, after(50_020)), before);
}

#[test]
fn a_clock_that_is_set_moves_what_is_kept_also_at_the_end() {
    let check = |set: i64| {
        let place = Place::new();
        let mut database = place.open();
        let (engine, _) = begin(&mut database, start());
        let source = Arc::new(Clocked { risk: engine, now: Mutex::new(even(start())) });
        let keeping = Keeping::start(database, Arc::clone(&source) as Arc<dyn Source>).unwrap();
        let_in(&source.risk, "203.0.113.7", start());
        let on = "198.51.100.1".parse().unwrap();
        source.risk.impose(&on, after(600), "by hand", start()).unwrap();
        wait("all of it", || (place.count("ban"), place.count("healthy")) == (1, 1));
        *source.now.lock().unwrap() = Reading { steady: after(1), wall: after(1 + set) };
        assert!(keeping.shutdown(Duration::from_secs(60)));
        assert_eq!(times(&place, "until", "ban"), [after(600 + set).as_microsecond()], "{set}");
        assert_eq!(times(&place, "seen", "healthy"), [after(set).as_microsecond()], "{set}");
        let mut database = place.open();
        let (next, restored) = begin(&mut database, after(2 + set));
        assert_eq!((restored.bans, restored.healthy), (1, 1), "{set}");
        assert_eq!(next.bans(after(2 + set))[0].ban.until, after(600 + set), "{set}");
    };
    check(0);
    check(3 * 86_400);
    check(-3 * 86_400);
}
