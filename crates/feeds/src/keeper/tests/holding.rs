//! What a guard holds back waits for somebody, and is taken by its very hash.

use super::*;

/// Finding of 2026-11: where changes need approvals, what was held named a verb that is refused there.
#[test]
fn what_is_held_names_the_way_that_is_open() {
    for (approved, names) in
        [(false, "`portcullis feed accept partner --sha256 SHA256`"), (true, "`accepted = [\"SHA256\"]`")]
    {
        let mut bench = Bench::new(|_| {});
        bench.takes(&hosts(100), now(0.0));
        let settings = Settings { approved, ..bench.all() };
        bench.keeper.reconfigure(&settings, store::restore(&settings, Some(now(0.0).wall)), now(0.0));
        let held = bench.takes(&hosts(40), now(1.0));
        let report = bench.report(now(1.0)).held.unwrap();
        let way = names.replace("SHA256", &report.sha256.unwrap());
        let remedy = report.remedy.unwrap();
        assert!(held.message.contains(&way) && remedy.contains(&way), "{held:?} {remedy}");
        assert_eq!(held.message.contains("feed accept"), !approved, "{held:?}");
    }
}

#[test]
fn what_is_held_changes_nothing_until_that_very_list_is_accepted() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let held = bench.takes(&hosts(40), now(1.0));
    assert!(!held.is_current && kinds(&held.notices) == [NoticeKind::Held], "{held:?}");
    assert!(held.message.contains("shrink: 60 % of the"), "{}", held.message);
    assert!(held.message.contains("`portcullis feed accept partner --sha256 "), "{}", held.message);
    // The same one again is counted and not told.
    assert!(bench.takes(&hosts(40), now(2.0)).notices.is_empty());
    let report = bench.report(now(2.0));
    let seen = report.held.unwrap();
    assert_eq!((report.entries, report.counts.held, seen.entries, seen.removed.0, seen.added.0), (100, 2, 40, 60, 0));
    assert_eq!(report.age, Some(HOUR * 2), "what is in force was not confirmed by that");
    assert_eq!(bench.activated.len(), 1);
    // It is still there after a start.
    bench.restart(now(2.5));
    let sha256 = bench.report(now(2.5)).held.unwrap().sha256.unwrap();
    assert_eq!(&sha256, hosts(40).sha256());
    // Another one has come meanwhile.
    assert_eq!(kinds(&bench.takes(&hosts(30), now(3.0)).notices), [NoticeKind::Held]);
    let another = bench.accept(&sha256, now(3.1)).unwrap_err();
    assert_eq!(another, AcceptError::Another(hosts(30).sha256().clone()));
    assert_eq!(bench.accept("", now(3.1)).unwrap_err(), AcceptError::Another(hosts(30).sha256().clone()));
    let beginning = hosts(30).sha256()[..63].to_owned();
    assert_eq!(bench.accept(&beginning, now(3.1)).unwrap_err(), AcceptError::Another(hosts(30).sha256().clone()));
    let accepted = bench.accept(hosts(30).sha256(), now(3.1)).unwrap();
    assert_eq!(kinds(&accepted.notices), [NoticeKind::Updated]);
    assert_eq!(bench.in_force(), Some((30, false)));
    assert_eq!(bench.accept(&sha256, now(3.2)).unwrap_err(), AcceptError::NothingHeld);
    bench.restart(now(4.0));
    let report = bench.report(now(4.0));
    assert_eq!((report.entries, report.held), (30, None));
}

#[test]
fn what_is_well_again_needs_nobody() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    assert!(bench.takes(&hosts(100), now(2.0)).is_current);
    assert_eq!(bench.report(now(2.0)).held, None);
    bench.restart(now(2.1));
    assert_eq!(bench.report(now(2.1)).held, None);
    // A page holds as long as it is shown, and cannot be accepted.
    let page = bench.finish(Err(JobError::Parse(ParseError::Page)), now(3.0));
    assert_eq!(kinds(&page.notices), [NoticeKind::Held]);
    assert!(bench.finish(Err(JobError::Parse(ParseError::Page)), now(4.0)).notices.is_empty());
    assert_eq!(bench.accept("00000000", now(4.0)).unwrap_err(), AcceptError::NoList);
    assert!(bench.takes(&hosts(101), now(5.0)).is_current);
}

#[test]
fn what_was_held_for_long_is_as_old_as_it_was_last_given_out() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    for hours in [10.0, 20.0, 30.0, 40.0] {
        bench.takes(&hosts(40), now(hours));
    }
    bench.accept(hosts(40).sha256(), now(40.5)).unwrap();
    let report = bench.report(now(40.5));
    assert_eq!((report.state, report.age), (FeedState::Current, Some(HOUR.mul_f64(0.5))));
}

#[test]
fn what_somebody_has_accepted_is_what_updates_are_compared_with() {
    let mut bench = Bench::new(|settings| settings.max_age = HOUR * 24 * 30);
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(149), now(1.0));
    bench.takes(&hosts(222), now(2.0));
    bench.accept(hosts(222).sha256(), now(3.0)).unwrap();
    assert!(bench.takes(&hosts(300), now(4.0)).is_current);
    assert!(!bench.takes(&hosts(340), now(5.0)).is_current);
    bench.restart(now(6.0));
    assert!(!bench.takes(&hosts(340), now(7.0)).is_current);
    assert!(bench.takes(&hosts(330), now(8.0)).is_current);
}
