use std::path::Path;

use super::*;
use crate::feed::Counts;
use crate::guard::Hold;
use crate::job::{JobError, Outcome, Took};
use crate::list::List;
use crate::obtain::Validators;
use crate::parse::ParseError;
use crate::settings::{Format, Guards, Source};
use crate::store;
use portcullis_fetch::FetchError;

const HOUR: Duration = Duration::from_secs(3_600);

fn now(hours: f64) -> Now {
    let steady = HOUR.mul_f64(hours);
    let wall: jiff::Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
    Now { wall: wall.checked_add(jiff::SignedDuration::try_from(steady).unwrap()).unwrap(), steady }
}

struct Bench {
    folder: tempfile::TempDir,
    settings: FeedSettings,
    keeper: Keeper,
    /// What was put in force, the last at the end.
    activated: Vec<Vec<NetworkContent>>,
    refuses: bool,
}

impl Bench {
    fn new(change: impl FnOnce(&mut FeedSettings)) -> Self {
        let mut settings = FeedSettings::new("partner", Source::File("/nowhere".into()), Format::Text);
        settings.refresh = HOUR;
        settings.max_age = HOUR * 24;
        change(&mut settings);
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self { folder, settings, keeper: Keeper::default(), activated: Vec::new(), refuses: false };
        bench.restart(now(0.0));
        bench
    }

    fn all(&self) -> Settings {
        Settings {
            folder: self.folder.path().join("feeds"),
            feeds: vec![Arc::new(self.settings.clone())],
            approved: false,
        }
    }

    fn restart(&mut self, at: Now) {
        let settings = self.all();
        self.keeper = Keeper::new(&settings, store::restore(&settings, Some(at.wall)), at);
    }

    fn finish(&mut self, result: Result<Took, JobError>, at: Now) -> Finished {
        let outcome = Outcome { settings: Arc::new(self.settings.clone()), result };
        let Self { keeper, activated, refuses, .. } = self;
        keeper.finish(outcome, &[], at, &mut |contents| activate(contents, activated, *refuses))
    }

    fn takes(&mut self, list: &List, at: Now) -> Finished {
        self.finish(Ok(Took::List { list: list.clone(), validators: Validators::default() }), at)
    }

    fn not_modified(&mut self, list: &List, at: Now) -> Finished {
        self.finish(Ok(Took::NotModified(Some(Arc::clone(list.sha256())))), at)
    }

    fn fails(&mut self, at: Now) -> Finished {
        self.finish(Err(JobError::Obtain(FetchError::Timeout(HOUR).into())), at)
    }

    fn accept(&mut self, sha256: &str, at: Now) -> Result<Finished, AcceptError> {
        let Self { keeper, activated, refuses, .. } = self;
        keeper.accept("partner", sha256, at, &mut |contents| activate(contents, activated, *refuses))
    }

    fn rollback(&mut self, at: Now) -> Result<Finished, RollbackError> {
        let Self { keeper, activated, refuses, .. } = self;
        keeper.rollback("partner", at, &mut |contents| activate(contents, activated, *refuses))
    }

    fn tick(&mut self, at: Now) -> Vec<Notice> {
        let Self { keeper, activated, .. } = self;
        keeper.tick(at, &mut |contents| activate(contents, activated, false))
    }

    fn report(&self, at: Now) -> Report {
        self.keeper.reports(at).remove(0)
    }

    fn in_force(&self) -> Option<(usize, bool)> {
        let last = self.activated.last()?;
        Some((last[0].prefixes.len(), last[0].unknown))
    }
}

fn activate(contents: &[NetworkContent], into: &mut Vec<Vec<NetworkContent>>, refuses: bool) -> Result<(), String> {
    if refuses {
        return Err("there is no room".to_owned());
    }
    into.push(contents.to_vec());
    Ok(())
}

/// So many single addresses, none beside another.
fn hosts(count: u32) -> List {
    let host = |index: u32| IpNet::from(std::net::IpAddr::from((0x0900_0000 + index * 2).to_be_bytes()));
    List::new(&(0..count).map(host).collect::<Vec<_>>())
}

fn kinds(notices: &[Notice]) -> Vec<NoticeKind> {
    notices.iter().map(|notice| notice.kind).collect()
}

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

/// The list before is in force again, also after a start, and whatever the source gives out waits for somebody.
#[test]
fn somebody_goes_back_to_the_list_before_and_all_that_follows_is_held() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.rollback(now(0.0)), Err(RollbackError::NothingBefore));
    bench.takes(&hosts(100), now(0.0));
    assert_eq!(bench.rollback(now(0.1)), Err(RollbackError::NothingBefore));
    assert!(bench.keeper.can_go_back(now(0.1)).is_empty());
    bench.takes(&hosts(101), now(1.0));
    bench.restart(now(1.5));
    assert_eq!(bench.keeper.can_go_back(now(1.5)), ["partner".into()]);
    assert!(bench.keeper.can_go_back(now(24.5)).is_empty(), "it is too old then");
    let finished = bench.rollback(now(2.0)).unwrap();
    assert_eq!((kinds(&finished.notices), bench.in_force()), (vec![NoticeKind::Updated], Some((100, false))));
    assert!(finished.message.contains(&**hosts(101).sha256()), "{finished:?}");
    assert_eq!(
        bench.rollback(now(2.1)),
        Err(RollbackError::NothingBefore),
        "the one that is held is none to go back to"
    );
    assert!(bench.keeper.can_go_back(now(2.1)).is_empty());
    let held = |bench: &Bench, at: Now| {
        bench.report(at).held.map(|held| (u32::try_from(held.entries).unwrap(), held.findings.last().unwrap().hold))
    };
    assert_eq!(held(&bench, now(2.1)), Some((101, Hold::RolledBack)));
    // The same one, and others that no guard would hold back.
    for (count, hours) in [(101, 3.0), (102, 4.0), (99, 5.0)] {
        let finished = bench.takes(&hosts(count), now(hours));
        assert!(!finished.is_current, "{finished:?}");
        assert_eq!((bench.in_force(), held(&bench, now(hours))), (Some((100, false)), Some((count, Hold::RolledBack))));
        bench.restart(now(hours));
        assert_eq!(held(&bench, now(hours)), Some((count, Hold::RolledBack)));
    }
    // Somebody has looked at it.
    bench.accept(hosts(99).sha256(), now(6.0)).unwrap();
    assert_eq!((bench.in_force(), bench.report(now(6.0)).held), (Some((99, false)), None));
    assert!(bench.takes(&hosts(98), now(7.0)).is_current, "and from then on it follows the source again");
}

/// Whoever has got hold of the source lifts nothing by what it gives out in between, be that a page or once the good list.
#[test]
fn nothing_that_the_source_gives_out_lifts_it() {
    let page: fn(&mut Bench, Now) = |bench, at| drop(bench.finish(Err(JobError::Parse(ParseError::Page)), at));
    let good: fn(&mut Bench, Now) = |bench, at| drop(bench.takes(&hosts(100), at));
    let same: fn(&mut Bench, Now) = |bench, at| drop(bench.not_modified(&hosts(100), at));
    let failing: fn(&mut Bench, Now) = |bench, at| drop(bench.fails(at));
    for between in [page, good, same, failing] {
        for restarts in [false, true] {
            let mut bench = Bench::new(|_| {});
            bench.takes(&hosts(100), now(0.0));
            bench.takes(&hosts(101), now(1.0));
            bench.rollback(now(2.0)).unwrap();
            between(&mut bench, now(3.0));
            if restarts {
                bench.restart(now(3.1));
            }
            assert!(bench.report(now(3.1)).rolled_back);
            assert!(!bench.takes(&hosts(101), now(4.0)).is_current, "the bad list came back by itself");
            let report = bench.report(now(4.0));
            let held = report.held.unwrap();
            let holds: Vec<Hold> = held.findings.iter().map(|finding| finding.hold).collect();
            assert_eq!((report.entries, held.entries, holds), (100, 101, vec![Hold::RolledBack]));
        }
    }
}

/// Where the source gives out what is in force, nothing is held that could be accepted: the list in force is.
#[test]
fn a_source_is_followed_again_once_somebody_has_accepted_what_is_in_force() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let good = hosts(100).sha256().clone();
    assert_eq!(bench.accept(&good, now(0.5)), Err(AcceptError::NothingHeld));
    bench.takes(&hosts(101), now(1.0));
    bench.rollback(now(2.0)).unwrap();
    assert_eq!(bench.accept(&good, now(2.5)), Err(AcceptError::Another(hosts(101).sha256().clone())));
    let finished = bench.takes(&hosts(100), now(3.0));
    assert!(finished.message.contains(&format!("feed accept partner --sha256 {good}")), "{finished:?}");
    bench.accept(&good, now(3.5)).unwrap();
    bench.restart(now(3.6));
    assert!(!bench.report(now(3.6)).rolled_back);
    assert!(bench.takes(&hosts(102), now(4.0)).is_current);
}

/// An entry that was never needed, because the guards let its list through, does not put it in force again at once.
#[test]
fn a_list_that_was_gone_back_from_is_not_put_back_by_an_entry_of_before() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(101).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(101), now(1.0));
    bench.rollback(now(2.0)).unwrap();
    bench.tick(now(2.1));
    bench.restart(now(2.2));
    bench.tick(now(2.3));
    assert!(!bench.takes(&hosts(101), now(3.0)).is_current);
    assert_eq!(bench.report(now(3.0)).entries, 100);
    // Another one that is written since counts.
    bench.settings.accepted = [hosts(102).sha256().clone()].into();
    bench.restart(now(3.5));
    assert!(bench.takes(&hosts(102), now(4.0)).is_current);
    assert!(bench.takes(&hosts(103), now(5.0)).is_current, "that lifts it");
}

#[test]
fn what_cannot_be_gone_back_to_stays_as_it_is() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(101), now(1.0));
    bench.refuses = true;
    assert_eq!(bench.rollback(now(2.0)), Err(RollbackError::Activation("there is no room".into())));
    assert_eq!((bench.report(now(2.0)).entries, bench.report(now(2.0)).held), (101, None));
    bench.refuses = false;
    bench.restart(now(2.0));
    assert!(!bench.report(now(2.0)).rolled_back);
    assert!(matches!(bench.rollback(now(24.5)), Err(RollbackError::TooOld(_))));
    assert_eq!(bench.keeper.rollback("nobody", now(2.0), &mut |_| Ok(())), Err(RollbackError::Unknown));
    bench.rollback(now(2.5)).unwrap();
    // It is as old as it is, and no younger for that.
    assert_eq!(bench.report(now(2.5)).age, Some(HOUR.mul_f64(2.5)));
}
