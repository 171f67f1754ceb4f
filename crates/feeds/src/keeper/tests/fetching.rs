//! When a feed is fetched, and what the source is told of the list that is known.

use super::*;

#[test]
fn after_a_start_a_list_is_asked_for_whole_before_a_source_may_say_that_it_is_unchanged() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let due = |bench: &mut Bench, at: Now| bench.keeper.due(at).remove(0).known_list;
    assert_eq!(due(&mut bench, now(1.25)).as_ref(), Some(hosts(100).sha256()));
    bench.not_modified(&hosts(100), now(1.25));
    bench.restart(now(2.5));
    assert_eq!(due(&mut bench, now(3.75)), None, "whoever wrote the file could have written what the source is told");
    bench.takes(&hosts(100), now(3.75));
    assert_eq!(due(&mut bench, now(5.0)).as_ref(), Some(hosts(100).sha256()));
}

#[test]
fn one_fetch_at_a_time_and_not_all_at_once() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.keeper.due(now(0.0)).len(), 1);
    assert!(bench.keeper.due(now(9.0)).is_empty(), "it is under way");
    assert!(bench.keeper.ask("partner", now(9.0)) && !bench.keeper.ask("nobody", now(9.0)));
    assert!(bench.keeper.due(now(9.0)).is_empty(), "still");
    bench.takes(&hosts(1), now(9.0));
    assert!(bench.keeper.ask("partner", now(9.0)));
    assert_eq!(bench.keeper.sleep(now(9.0)), Duration::ZERO);
    assert_eq!(bench.keeper.due(now(9.0)).len(), 1);
    let many = |name: usize| Arc::new(FeedSettings::new(&name.to_string(), Source::File("/x".into()), Format::Text));
    let settings =
        Settings { folder: bench.folder.path().to_owned(), feeds: (0..10).map(many).collect(), approved: false };
    let mut keeper = Keeper::new(&settings, store::restore(&settings, None), now(0.0));
    assert_eq!(keeper.due(now(0.0)).len(), 4);
    assert!(keeper.due(now(0.0)).is_empty());
    assert!(keeper.sleep(now(0.0)) >= Duration::from_secs(1), "it does not spin while it waits");
}

#[test]
fn a_feed_whose_source_stays_goes_on_and_another_begins_anew() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let reload = |bench: &mut Bench, at: Now| {
        let settings = bench.all();
        let restored = store::restore(&settings, Some(at.wall));
        bench.keeper.reconfigure(&settings, restored, at);
    };
    bench.settings.guards = Guards { max_shrink: 10_000, ..Guards::default() };
    reload(&mut bench, now(1.0));
    let report = bench.report(now(1.0));
    assert_eq!((report.counts.updated, report.entries), (1, 100));
    assert!(bench.takes(&hosts(1), now(2.0)).is_current, "by the new guards");
    let old = bench.settings.clone();
    bench.settings.source = Source::File("/elsewhere".into());
    reload(&mut bench, now(3.0));
    assert_eq!(bench.report(now(3.0)).state, FeedState::Never, "the list of another source says nothing");
    let outcome = Outcome { settings: Arc::new(old), result: Err(JobError::Panicked) };
    let finished = bench.keeper.finish(outcome, &[], now(3.0), &mut |_| Ok(()));
    assert!(finished.message.contains("another source"), "{finished:?}");
    assert_eq!(bench.report(now(3.0)).counts.failed, 0);
}

#[test]
fn an_empty_keeper_sleeps() {
    let settings = Settings { folder: Path::new("/nowhere").to_owned(), feeds: Vec::new(), approved: false };
    let mut keeper = Keeper::new(&settings, Vec::new(), now(0.0));
    assert!(keeper.is_empty() && keeper.due(now(0.0)).is_empty() && keeper.contents(now(0.0)).is_empty());
    assert_eq!(keeper.sleep(now(0.0)), LONGEST_SLEEP);
}

#[test]
fn an_answer_that_nothing_has_changed_confirms_the_list_that_was_asked_about() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let job = bench.keeper.due(now(1.25)).remove(0);
    assert_eq!(job.known_list.as_ref(), Some(hosts(100).sha256()));
    // While it is asked, somebody accepts another one.
    bench.takes(&hosts(40), now(1.25));
    bench.accept(hosts(40).sha256(), now(1.5)).unwrap();
    let finished = bench.not_modified(&hosts(100), now(1.75));
    assert!(!finished.is_current && finished.message.contains("fetched again"), "{finished:?}");
    assert_eq!(bench.report(now(2.0)).age, Some(HOUR.mul_f64(0.75)), "nothing is confirmed by that");
    assert_eq!(bench.keeper.due(now(2.0)).len(), 1, "at once");
    assert!(bench.not_modified(&hosts(40), now(2.25)).is_current);
}

#[test]
fn what_is_only_ever_confirmed_is_fetched_whole_once_a_day() {
    let mut bench = Bench::new(|settings| settings.max_age = HOUR * 24 * 30);
    let validators = Validators { etag: Some("\"1\"".to_owned()), ..Validators::default() };
    bench.finish(Ok(Took::List { list: hosts(100), validators: validators.clone() }), now(0.0));
    for hours in [2.0, 12.0, 23.0] {
        let job = bench.keeper.due(now(hours)).remove(0);
        assert_eq!(job.known, validators, "{hours}");
        bench.not_modified(&hosts(100), now(hours));
    }
    let job = bench.keeper.due(now(25.0)).remove(0);
    assert_eq!((job.known, job.known_list), (Validators::default(), None));
}
