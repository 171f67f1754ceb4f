//! What the configuration accepts, and accepts no more.

use super::*;

#[test]
fn a_list_that_the_configuration_accepts_is_held_by_no_guard_and_another_one_is() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(40).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    assert_eq!(kinds(&bench.takes(&hosts(30), now(1.0)).notices), [NoticeKind::Held], "another list");
    let taken = bench.takes(&hosts(40), now(2.0));
    assert!(taken.is_current && kinds(&taken.notices) == [NoticeKind::Updated], "{taken:?}");
    assert_eq!(bench.in_force(), Some((40, false)));
    assert_eq!(bench.report(now(2.0)).held, None);
    // Somebody has looked at it, so it is what updates are compared with.
    assert!(bench.takes(&hosts(35), now(3.0)).is_current);
}

#[test]
fn what_is_held_when_it_is_accepted_is_in_force_from_then_on_though_the_source_is_gone() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    let held = Arc::new(bench.settings.clone());
    bench.settings.accepted = [hosts(40).sha256().clone()].into();
    let wanted = [Arc::new(bench.settings.clone())];
    // Foreseen, before anything is changed.
    let sizes = |wanted: &[Arc<FeedSettings>]| -> Vec<usize> {
        let contents = bench.keeper.contents_of(wanted, now(1.0));
        contents.iter().map(|content| content.prefixes.len()).collect()
    };
    let (before, after) = (sizes(&[held]), sizes(&wanted));
    assert!(before[0] > after[0], "{before:?} {after:?}");
    let settings = bench.all();
    let restored = store::restore(&settings, Some(now(1.5).wall));
    bench.keeper.reconfigure(&settings, restored, now(1.5));
    assert_eq!(kinds(&bench.tick(now(1.5))), [NoticeKind::Updated]);
    assert_eq!(bench.in_force(), Some((40, false)));
    assert!(bench.tick(now(1.6)).is_empty(), "once");
    bench.restart(now(2.0));
    assert_eq!((bench.report(now(2.0)).entries, bench.report(now(2.0)).held), (40, None));
}

/// With other lists that the configuration accepts, as a reload brings them.
fn accepting(bench: &mut Bench, lists: &[&List], at: Now) -> Vec<Notice> {
    bench.settings.accepted = lists.iter().map(|list| list.sha256().clone()).collect();
    let settings = bench.all();
    let restored = store::restore(&settings, Some(at.wall));
    bench.activated.push(restored.iter().map(Restored::content).collect());
    bench.keeper.reconfigure(&settings, restored, at);
    bench.tick(at)
}

#[test]
fn what_the_configuration_accepts_no_more_goes_back_to_what_was_before() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(40).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    assert!(bench.takes(&hosts(40), now(1.0)).is_current);
    // What came by its word goes with it.
    assert!(bench.takes(&hosts(35), now(2.0)).is_current);
    let without = FeedSettings { accepted: Arc::default(), ..bench.settings.clone() };
    let foreseen = bench.keeper.contents_of(&[Arc::new(without)], now(2.5));
    assert_eq!((foreseen[0].prefixes.len(), foreseen[0].unknown), (100, false));
    let told = accepting(&mut bench, &[], now(3.0));
    assert_eq!(kinds(&told), [NoticeKind::Updated]);
    assert!(
        told[0].message.contains("is accepted no more: the one before is in force again, 100 prefixes"),
        "{told:?}"
    );
    assert_eq!((bench.in_force(), bench.report(now(3.0)).entries), (Some((100, false)), 100));
    assert_eq!(bench.keeper.due(now(3.0)).len(), 1, "what the source gives out now is judged anew");
    // And is no longer compared with the list that was accepted.
    assert!(bench.takes(&hosts(110), now(3.1)).is_current);
    assert!(!bench.takes(&hosts(40), now(3.2)).is_current);
    bench.restart(now(4.0));
    assert_eq!(bench.report(now(4.0)).entries, 110);
    assert!(bench.tick(now(4.0)).is_empty(), "once");
}

#[test]
fn what_is_accepted_no_more_is_taken_back_by_a_start_and_for_whoever_reads_the_disk() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(40).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    bench.restart(now(1.5));
    assert_eq!(bench.report(now(1.5)).entries, 40);
    bench.settings.accepted = Arc::default();
    let restored = store::restore(&bench.all(), None).remove(0);
    assert_eq!((restored.content().prefixes.len(), restored.list().unwrap().0.len()), (100, 100));
    bench.restart(now(2.0));
    assert_eq!(bench.report(now(2.0)).entries, 100);
    assert_eq!(kinds(&bench.tick(now(2.0))), [NoticeKind::Updated]);
    bench.settings.accepted = [hosts(40).sha256().clone()].into();
    bench.restart(now(3.0));
    assert_eq!(bench.report(now(3.0)).entries, 100, "it is kept");
    // Of a first list that no guard let through nothing is left.
    let mut bench = Bench::new(|settings| {
        settings.guards.min_entries = 50;
        settings.accepted = [hosts(40).sha256().clone()].into();
    });
    bench.takes(&hosts(40), now(0.0));
    assert_eq!(bench.in_force(), Some((40, false)));
    accepting(&mut bench, &[], now(1.0));
    assert_eq!((bench.in_force(), bench.report(now(1.0)).state), (Some((0, true)), FeedState::Never));
    bench.restart(now(2.0));
    assert_eq!(bench.report(now(2.0)).state, FeedState::Never);
}

#[test]
fn an_entry_counts_once_and_anew_when_it_is_written_anew() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(40).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    bench.accept(hosts(100).sha256(), now(2.0)).unwrap_err();
    bench.takes(&hosts(100), now(2.0));
    bench.accept(hosts(100).sha256(), now(2.5)).unwrap();
    // A source that gives an old one out again has no acceptance for it, after a start neither.
    let again = bench.takes(&hosts(40), now(3.0));
    assert!(!again.is_current && again.message.contains("an entry counts once"), "{again:?}");
    assert!(bench.tick(now(3.0)).is_empty());
    bench.restart(now(4.0));
    assert!(!bench.takes(&hosts(40), now(4.0)).is_current);
    // What somebody has accepted by hand since is not taken back.
    accepting(&mut bench, &[], now(5.0));
    assert_eq!(bench.report(now(5.0)).entries, 100);
    bench.restart(now(5.5));
    let told = accepting(&mut bench, &[&hosts(40)], now(6.0));
    assert_eq!((kinds(&told), bench.in_force()), (vec![NoticeKind::Updated], Some((40, false))));
}

#[test]
fn what_has_long_been_replaced_is_not_taken_back() {
    let mut bench = Bench::new(|settings| {
        settings.max_age = HOUR * 24 * 30;
        settings.accepted = [hosts(40).sha256().clone()].into();
    });
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    bench.takes(&hosts(45), now(2.0));
    // Compared with the accepted one for a day, and from then on with what came after it.
    bench.takes(&hosts(46), now(26.0));
    accepting(&mut bench, &[], now(27.0));
    assert_eq!(bench.report(now(27.0)).entries, 46);
    // Of two that are accepted one after the other, what was before both is what was before.
    let mut bench = Bench::new(|settings| {
        settings.accepted = [hosts(40), hosts(10)].map(|list| list.sha256().clone()).into();
    });
    for (hour, count) in [100, 40, 10].into_iter().enumerate() {
        assert!(bench.takes(&hosts(count), now(hour as f64)).is_current, "{count}");
    }
    accepting(&mut bench, &[&hosts(10)], now(4.0));
    assert_eq!(bench.report(now(4.0)).entries, 10);
    accepting(&mut bench, &[&hosts(40)], now(5.0));
    assert_eq!(bench.report(now(5.0)).entries, 100);
}

#[test]
fn what_is_accepted_and_cannot_be_put_in_force_is_told_once() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    bench.settings.accepted = [hosts(40).sha256().clone()].into();
    bench.restart(now(2.0));
    let refused = |bench: &mut Bench| bench.keeper.tick(now(2.0), &mut |_| Err("there is no room".to_owned()));
    let told = refused(&mut bench);
    assert_eq!(kinds(&told), [NoticeKind::Failed]);
    assert!(told[0].message.contains("is accepted and could not be put in force: there is no room"), "{told:?}");
    assert!(refused(&mut bench).is_empty());
    assert_eq!(kinds(&bench.tick(now(2.0))), [NoticeKind::Updated]);
}

#[test]
fn where_it_is_not_known_what_entries_did_none_counts() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(40).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(40), now(1.0));
    let files = std::fs::read_dir(bench.all().folder).unwrap().map(|file| file.unwrap().path());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "accepted")).unwrap();
    std::fs::write(&file, "cut").unwrap();
    assert!(store::restore(&bench.all(), None)[0].problem().unwrap().contains("is broken"));
    bench.restart(now(2.0));
    assert_eq!(bench.report(now(2.0)).entries, 40);
    bench.takes(&hosts(100), now(3.0));
    bench.accept(hosts(100).sha256(), now(3.0)).unwrap();
    assert!(!bench.takes(&hosts(40), now(4.0)).is_current);
}
