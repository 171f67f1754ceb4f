//! How old a list is, by a clock that may be set and by what was signed when.

use super::*;

#[test]
fn what_is_too_old_is_told_once_and_stays_or_is_dropped() {
    for (on_stale, state, after) in
        [(OnStale::Keep, FeedState::Stale, (100, false)), (OnStale::Undecided, FeedState::Dropped, (1, true))]
    {
        let mut bench = Bench::new(|settings| {
            settings.on_stale = on_stale;
            settings.fixed = Arc::from(["8.8.8.8/32".parse().unwrap()]);
        });
        bench.takes(&hosts(99), now(0.0));
        assert_eq!(bench.in_force(), Some((100, false)), "the fixed one is among them");
        assert!(bench.tick(now(24.0)).is_empty());
        assert_eq!(bench.report(now(24.0)).state, FeedState::Current);
        let late = now(24.001);
        let notices = bench.tick(late);
        assert_eq!((kinds(&notices), bench.report(late).state), (vec![NoticeKind::Stale], state));
        assert!(bench.tick(now(25.0)).is_empty(), "once");
        assert_eq!(bench.in_force(), Some(after));
        let contents = bench.keeper.contents(late);
        assert_eq!((contents[0].prefixes.len(), contents[0].unknown), after);
        // And well again, although the list is the same.
        let finished = bench.not_modified(&hosts(99), now(26.0));
        assert_eq!(bench.in_force(), Some((100, false)));
        assert_eq!(finished.notices.is_empty(), on_stale == OnStale::Keep, "{finished:?}");
        assert_eq!(kinds(&bench.tick(now(51.0))), [NoticeKind::Stale]);
    }
}

#[test]
fn what_becomes_too_old_while_a_fetch_fails_is_dropped_as_well() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    let late = now(24.001);
    assert_eq!(kinds(&bench.fails(late).notices), [NoticeKind::Failed]);
    assert_eq!(kinds(&bench.tick(late)), [NoticeKind::Stale]);
    assert_eq!(bench.in_force(), Some((0, true)));
}

#[test]
fn a_list_that_was_signed_before_the_one_in_force_is_refused() {
    let mut bench = Bench::new(|_| {});
    let mut takes = |count, signed: Option<u64>, at| {
        let validators = Validators { signed, ..Validators::default() };
        bench.finish(Ok(Took::List { list: hosts(count), validators }), at).is_current
    };
    assert!(takes(100, Some(1_000), now(0.0)));
    assert!(takes(101, Some(1_001), now(1.0)));
    assert!(!takes(100, Some(1_000), now(2.0)));
    assert!(!takes(101, Some(1_000), now(3.0)));
    assert!(!takes(101, None, now(3.0)));
    assert!(takes(101, Some(1_001), now(4.0)));
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_young() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    let back = |hours: f64| Now { wall: "2001-01-01T00:00:00Z".parse().unwrap(), ..now(hours) };
    // While the process runs, the steady clock counts.
    assert_eq!(bench.report(back(1.0)).age, Some(HOUR));
    assert_eq!(bench.report(back(24.5)).state, FeedState::Dropped);
    // A process that starts with such a clock does not know how old the list is.
    bench.restart(back(0.0));
    let report = bench.report(back(0.0));
    assert_eq!((report.state, report.age), (FeedState::Dropped, None));
    assert_eq!(kinds(&bench.tick(back(0.0))), [NoticeKind::Stale]);
    assert_eq!(bench.keeper.due(back(0.0)).len(), 1, "it is fetched at once");
    assert!(bench.takes(&hosts(100), back(0.1)).is_current);
    assert_eq!(bench.report(back(0.1)).state, FeedState::Current);
    // Set forward, it is too old too soon, and fetched.
    let ahead = Now { wall: "2050-01-01T00:00:00Z".parse().unwrap(), ..now(0.2) };
    assert_eq!(bench.report(ahead).state, FeedState::Dropped);
}

#[test]
fn a_clock_that_steps_forward_and_back_drops_a_list_and_brings_it_back() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    let ahead = Now { wall: "2050-01-01T00:00:00Z".parse().unwrap(), ..now(0.1) };
    bench.tick(ahead);
    assert_eq!((bench.in_force(), bench.report(ahead).state), (Some((0, true)), FeedState::Dropped));
    bench.tick(now(0.2));
    assert_eq!((bench.in_force(), bench.report(now(0.2)).state), (Some((100, false)), FeedState::Current));
}

#[test]
fn a_list_that_could_not_be_dropped_is_dropped_at_the_next_look() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    let late = now(24.1);
    assert_eq!(kinds(&bench.keeper.tick(late, &mut |_| Err("there is no room".to_owned()))), [NoticeKind::Stale]);
    assert_eq!(bench.in_force(), Some((100, false)));
    assert!(bench.tick(now(24.2)).is_empty());
    assert_eq!(bench.in_force(), Some((0, true)));
}

#[test]
fn what_was_signed_too_long_ago_is_not_believed_however_often_it_is_given_out() {
    // The example of minisign's own documentation.
    let key = crate::PublicKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").unwrap();
    let mut bench = Bench::new(|settings| {
        let (suffix, max_age) = (".minisig".into(), Some(HOUR * 48));
        settings.signature = Some(crate::SignatureSettings { key, suffix, max_age });
        settings.on_stale = OnStale::Undecided;
    });
    let start = u64::try_from(now(0.0).wall.as_second()).unwrap();
    let mut takes = |signed: Option<u64>, at| {
        let validators = Validators { signed, ..Validators::default() };
        bench.finish(Ok(Took::List { list: hosts(100), validators }), at)
    };
    assert!(takes(Some(start), now(0.0)).is_current);
    for hours in [20.0, 40.0, 48.0] {
        assert!(takes(Some(start), now(hours)).is_current, "{hours}");
    }
    let said = takes(Some(start), now(48.1));
    assert!(said.message.contains("signature.max_age is 172800 s"), "{}", said.message);
    assert!(takes(None, now(49.0)).message.contains("its signature does not say when"));
    // It is as old as its last confirmation, and is dropped in the end.
    assert_eq!(bench.report(now(73.0)).state, FeedState::Dropped);
}
