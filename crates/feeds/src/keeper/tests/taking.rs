//! What comes: in force, kept, told, compared with what was before; and what becomes of a failure.

use super::*;

#[test]
fn the_first_list_is_put_in_force_kept_and_told() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.report(now(0.0)).state, FeedState::Never);
    assert!(bench.keeper.contents(now(0.0))[0].unknown);
    let finished = bench.takes(&hosts(100), now(0.1));
    assert!(finished.is_current && kinds(&finished.notices) == [NoticeKind::Updated], "{finished:?}");
    assert!(finished.message.contains("100 prefixes, 100 added (9.0.0.0/32, 9.0.0.2/32"), "{}", finished.message);
    assert_eq!(bench.in_force(), Some((100, false)));
    // After a start it is there before anything is fetched.
    bench.restart(now(0.2));
    let report = bench.report(now(0.2));
    assert_eq!(
        (report.state, report.entries, &report.sha256),
        (FeedState::Current, 100, &Some(hosts(100).sha256().clone()))
    );
    assert_eq!(report.age, Some(HOUR.mul_f64(0.1)));
    // And nothing is fetched before its time.
    assert!(bench.keeper.due(now(0.2)).is_empty());
    assert_eq!(bench.keeper.due(now(1.3)).len(), 1);
}

#[test]
fn the_same_list_is_young_again_and_nothing_is_told() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    for (hours, result) in [(1.0, None), (2.0, Some(hosts(100)))] {
        let finished = match &result {
            None => bench.not_modified(&hosts(100), now(hours)),
            Some(list) => bench.takes(list, now(hours)),
        };
        assert!(finished.is_current && finished.notices.is_empty(), "{finished:?}");
        assert_eq!(bench.report(now(hours)).age, Some(Duration::ZERO));
    }
    assert_eq!(bench.activated.len(), 1);
    assert_eq!(bench.report(now(2.0)).counts, Counts { updated: 1, unchanged: 2, held: 0, failed: 0 });
    bench.restart(now(3.0));
    assert_eq!(bench.report(now(3.0)).age, Some(HOUR), "that it was confirmed is on the disk");
    let mut never = Bench::new(|_| {});
    let finished = never.not_modified(&hosts(100), now(0.0));
    assert!(!finished.is_current && finished.message.contains("it was not asked that"), "{finished:?}");
    let finished = bench.finish(Ok(Took::NotModified(None)), now(3.0));
    assert!(!finished.is_current && finished.message.contains("it was not asked that"), "{finished:?}");
}

#[test]
fn a_failure_is_told_once_and_tried_again_later_and_later() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let first = bench.fails(now(1.0));
    assert_eq!(kinds(&first.notices), [NoticeKind::Failed]);
    assert!(first.message.contains("the list in force stays"), "{}", first.message);
    let mut pauses = vec![bench.report(now(1.0)).next];
    for _ in 0..8 {
        assert!(bench.fails(now(1.0)).notices.is_empty());
        pauses.push(bench.report(now(1.0)).next);
    }
    assert!(pauses[0] >= Duration::from_secs(27) && pauses[0] <= Duration::from_secs(33), "{pauses:?}");
    assert!(pauses[1] >= Duration::from_secs(54) && pauses[1] <= Duration::from_secs(66), "{pauses:?}");
    assert!(pauses[8] >= HOUR.mul_f64(0.9) && pauses[8] <= HOUR.mul_f64(1.1), "never rarer than usual: {pauses:?}");
    assert_eq!(bench.report(now(1.0)).entries, 100);
    assert!(bench.takes(&hosts(100), now(2.0)).is_current);
    assert_eq!(bench.report(now(2.0)).error, None);
    assert_eq!(kinds(&bench.fails(now(3.0)).notices), [NoticeKind::Failed], "the next streak is told again");
    let mut never = Bench::new(|_| {});
    assert!(never.fails(now(0.0)).message.contains("there is none in force"));
}

#[test]
fn what_cannot_be_put_in_force_is_a_failure_and_not_what_the_next_start_begins_with() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    bench.refuses = true;
    let finished = bench.takes(&hosts(101), now(1.0));
    assert!(!finished.is_current && finished.message.contains("there is no room"), "{finished:?}");
    assert_eq!(kinds(&finished.notices), [NoticeKind::Failed]);
    bench.restart(now(1.1));
    assert_eq!(bench.report(now(1.1)).entries, 100);
    bench.refuses = false;
    bench.takes(&hosts(40), now(2.0));
    bench.refuses = true;
    let problem = bench.accept(hosts(40).sha256(), now(2.1)).unwrap_err();
    assert_eq!(problem, AcceptError::Activation("there is no room".into()));
    assert!(bench.report(now(2.1)).held.is_some(), "it can be tried again");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_no_reason_not_to_go_on() {
    let mut bench = Bench::new(|_| {});
    std::fs::write(bench.folder.path().join("feeds"), "a file where the folder should be").unwrap();
    let finished = bench.takes(&hosts(10), now(0.0));
    assert!(finished.is_current && finished.message.contains("could not be kept on disk"), "{finished:?}");
    assert_eq!(bench.in_force(), Some((10, false)));
}

#[test]
fn a_list_that_grows_step_by_step_is_held_and_a_start_does_not_forget_what_it_was() {
    let mut bench = Bench::new(|settings| settings.max_age = HOUR * 24 * 30);
    bench.takes(&hosts(100), now(0.0));
    assert!(bench.takes(&hosts(149), now(1.0)).is_current, "49 % more");
    let held = bench.takes(&hosts(222), now(2.0));
    assert!(held.message.contains("growth: since 2026-11-29T01:00:00Z: 122 % more prefixes"), "{}", held.message);
    bench.restart(now(3.0));
    for hours in [3.0, 10.0, 24.0] {
        assert!(!bench.takes(&hosts(222), now(hours)).is_current, "{hours}");
    }
    assert_eq!(bench.in_force(), Some((149, false)));
    // A day after the last comparison began, what is in force is what counts: one such step a day.
    assert!(bench.takes(&hosts(222), now(25.0)).is_current);
    assert!(!bench.takes(&hosts(330), now(26.0)).is_current);
    // Shrinking is the same.
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    assert!(bench.takes(&hosts(81), now(1.0)).is_current, "19 % less");
    let held = bench.takes(&hosts(66), now(2.0));
    assert!(held.message.contains("shrink: since 2026-11-29T01:00:00Z: 34 % of the"), "{}", held.message);
}
