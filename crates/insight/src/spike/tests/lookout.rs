//! When a spike is explained, with the default length of a bucket, on a clock of the test's.

use super::*;
use std::time::Duration;

/// A gateway with a few refusals in each bucket, and so many requests a second.
struct Watched {
    scene: Scene,
    lookout: Lookout,
    seconds: f64,
    counted: BucketCounts,
}

const STEP: f64 = 0.2;

impl Watched {
    fn new(settings: SpikeSettings) -> Self {
        let mut watched = Self {
            scene: Scene::new(),
            lookout: Lookout::new(settings, moment(0.0)),
            seconds: 0.0,
            counted: BucketCounts::default(),
        };
        while watched.lookout.is_learning() {
            assert!(watched.step(10, 0).is_none());
        }
        watched
    }

    /// A fifth of a second, with so many requests, and so many refusals of strangers.
    fn step(&mut self, requests: u64, refused: u64) -> Option<Found> {
        self.seconds += STEP;
        let usual = u64::from((self.seconds / STEP).round() % 25.0 == 0.0);
        self.counted.requests += requests + refused + usual;
        self.counted.refused += refused + usual;
        for number in 0..refused {
            let number = usize::try_from(self.counted.refused + number).unwrap();
            let request = stranger(number, moment(self.seconds).wall);
            self.scene.add(request, Answered::Refused(ReasonCode::AuthnInvalid));
        }
        look(&mut self.lookout, moment(self.seconds), self.counted, &self.scene.sample)
    }

    /// Seconds until something is said while each step has so many refusals.
    fn until_told(&mut self, refused: u64) -> (f64, Found) {
        let began = self.seconds;
        let found = (0..1_000).find_map(|_| self.step(10, refused)).unwrap_or_else(|| panic!("nothing is said"));
        (self.seconds - began, found)
    }
}

fn moment(seconds: f64) -> Moment {
    let steady = Duration::from_secs_f64(seconds);
    Moment { steady, wall: start().checked_add(steady).unwrap() }
}

/// With two refusals a second, for one that counts buckets of ten seconds, a spike is explained long before two minutes have passed: wherever in a
/// bucket it begins.
#[test]
fn with_the_default_bucket_a_spike_is_explained_within_half_a_minute() {
    for offset in 0..50 {
        let mut watched = Watched::new(SpikeSettings::default());
        (0..100 + offset).for_each(|_| assert!(watched.step(10, 0).is_none()));
        let (many, found) = watched.until_told(10);
        assert!((5.0..8.0).contains(&many), "{many}: {found:?}");
        assert_eq!(found.explained.causes[0].kind, CauseKind::Attack);
        let mut watched = Watched::new(SpikeSettings::default());
        (0..100 + offset).for_each(|_| assert!(watched.step(10, 0).is_none()));
        let (few, found) = watched.until_told(1);
        assert!(few < 20.0, "{few}: {found:?}");
    }
}

/// The onset is the beginning of a bucket, which is not much before the first refusal.
#[test]
fn the_onset_is_in_the_bucket_in_which_it_began() {
    let mut watched = Watched::new(SpikeSettings::default());
    (0..117).for_each(|_| assert!(watched.step(10, 0).is_none()));
    let began = moment(watched.seconds).wall;
    let (_, found) = watched.until_told(5);
    let early = began.duration_since(found.explained.onset).as_secs_f64();
    assert!((-1.0..=20.0).contains(&early), "{early}");
    assert!(found.explained.until > began);
}

/// What is said first rests on the first refusals. What they are followed by is said as soon as it is something else, and no sooner.
#[test]
fn a_spike_that_turns_out_to_be_something_else_is_explained_again() {
    let mut watched = Watched::new(SpikeSettings::default());
    let (_, first) = watched.until_told(5);
    assert!(first.is_news && first.explained.revision == 0);
    assert_eq!(first.explained.causes[0].kind, CauseKind::Attack);
    // More of the same is no news.
    let mut again = Vec::new();
    for _ in 0..150 {
        again.extend(watched.step(10, 5));
    }
    assert!(!again.is_empty() && again.iter().all(|found| !found.is_news && found.spike == first.spike), "{again:?}");
    // Now many more who are known, by one who tries everything.
    let mut news = Vec::new();
    for step in 0..1_500 {
        for number in 0..20_usize {
            let time = moment(watched.seconds).wall;
            let path = format!("/files/{step}-{number}");
            let client = "203.0.113.11".to_owned();
            let who = Who { user: Some("person-1"), client, path: &path, software: "reporter/1.2" };
            watched.scene.add(request(&who, time), Answered::Refused(ReasonCode::RbacNoMatchingGrant));
        }
        watched.counted.refused += 20;
        watched.counted.requests += 20;
        news.extend(watched.step(10, 1).filter(|found| found.is_news));
    }
    // On the way it is some of each.
    assert!(matches!(news.len(), 1 | 2), "{news:?}");
    let found = news.last().unwrap();
    assert_eq!((found.spike, found.explained.revision), (first.spike, news.len() as u64));
    assert_eq!(found.explained.causes[0].kind, CauseKind::OnePrincipal);
}

/// The next spike is another one, and one that is over is not told of again.
#[test]
fn a_spike_that_is_over_is_over() {
    let mut watched = Watched::new(SpikeSettings::default());
    let (_, first) = watched.until_told(10);
    let quiet: Vec<Found> = (0..600).filter_map(|_| watched.step(10, 0)).filter(|found| found.is_news).collect();
    assert_eq!(quiet.len(), 0, "{quiet:?}");
    let (_, second) = watched.until_told(10);
    assert!(second.spike != first.spike && second.is_news);
}

/// A few seconds of refusals within what a bucket may have are none, and so is a rush of requests with as many refusals among them as ever.
#[test]
fn what_fills_a_bucket_early_is_no_spike() {
    let mut watched = Watched::new(SpikeSettings::default());
    for _ in 0..20 {
        let many = (0..3).filter_map(|_| watched.step(10, 5)).count();
        let none = (0..900).filter_map(|_| watched.step(10, 0)).count();
        assert_eq!((many, none), (0, 0));
    }
    let mut watched = Watched::new(SpikeSettings::default());
    // One refusal in 251 requests is usual.
    let rush = (0..500).filter_map(|_| watched.step(2_000, 8)).count();
    assert_eq!(rush, 0);
}

/// Whoever explains takes the time that it takes: meanwhile nothing else is due, and what is said then is said also of a spike that is over. What
/// came to nothing is tried again later, and not at once.
#[test]
fn what_is_due_is_explained_elsewhere() {
    let due = |watched: &mut Watched, refused: u64, steps: usize| -> Vec<Due> {
        let look = |_| {
            watched.seconds += STEP;
            watched.counted.requests += 10 + refused;
            watched.counted.refused += refused;
            watched.lookout.look(moment(watched.seconds), watched.counted)
        };
        (0..steps).filter_map(look).collect()
    };
    let mut watched = Watched::new(SpikeSettings::default());
    let mut first = due(&mut watched, 10, 500);
    assert_eq!(first.len(), 1, "one at a time");
    assert_eq!(due(&mut watched, 0, 1_000).len(), 0);
    let first = first.remove(0);
    let explained = first.explain(&watched.scene.sample.look_back(), &Ways::default());
    let found = watched.lookout.told(first, Some(explained)).unwrap();
    assert!(found.is_news && found.explained.revision == 0, "{found:?}");
    let mut second = due(&mut watched, 10, 100);
    assert_eq!(second.len(), 1);
    assert!(watched.lookout.told(second.remove(0), None).is_none());
    assert_eq!(due(&mut watched, 10, 25).len(), 0);
    let mut again = due(&mut watched, 10, 200);
    let again = again.remove(0);
    let explained = again.explain(&watched.scene.sample.look_back(), &Ways::default());
    let told = watched.lookout.told(again, Some(explained)).unwrap();
    assert!(told.is_news && told.spike != found.spike && told.explained.revision == 0, "{told:?}");
}

/// Finding of 2026-11: a reload that locked some out beside a long attack was told of after minutes or never, since it was a small share of it; and a second one
/// was taken for the first.
#[test]
fn what_is_done_within_a_spike_is_told_of_soon_whatever_its_share() {
    let mut watched = Watched::new(SpikeSettings::default());
    let (_, attack) = watched.until_told(16);
    let news = (0..3_000).filter_map(|_| watched.step(10, 16)).filter(|found| found.is_news).count();
    assert_eq!(news, 0);
    let mut told = Vec::new();
    for locked_out in [1, 2] {
        // Another policy, which locks this person out and nobody else.
        let name: Arc<str> = format!("user:person-{locked_out}").into();
        watched.scene.change(ChangeKind::Policy, |draft| {
            draft.sha256 = format!("{locked_out}").repeat(64).into();
            draft.denies.push(portcullis_policy::DenyDraft::new("left", [&*name], ["* /**"]));
        });
        let change = watched.scene.changes.last_mut().unwrap();
        change.at = moment(watched.seconds).wall;
        watched.lookout.note(change.clone());
        let began = watched.seconds;
        let found = (0..1_000).find_map(|step| {
            if step % 5 == 0 {
                watched.scene.add(
                    known(locked_out, moment(watched.seconds).wall),
                    Answered::Refused(ReasonCode::RbacExplicitDeny),
                );
                (watched.counted.refused, watched.counted.requests) =
                    (watched.counted.refused + 1, watched.counted.requests + 1);
            }
            watched.step(10, 16).filter(|found| found.is_news)
        });
        let found = found.unwrap_or_else(|| panic!("nothing is said of {locked_out}"));
        let took = watched.seconds - began;
        assert!(took <= 30.0, "{took}: {found:?}");
        assert_eq!(found.spike, attack.spike);
        let causes = &found.explained.causes;
        assert_eq!(causes[0].kind, CauseKind::Attack, "{found:?}");
        let of_it = causes.iter().find(|cause| cause.summary.contains(&name[5..]) || cause.by_user[0].name == *name);
        let of_it = of_it.unwrap_or_else(|| panic!("{found:#?}"));
        assert_eq!((of_it.kind, of_it.share_percent < 10), (CauseKind::ConfigChange, true), "{of_it:?}");
        told.push(of_it.due_to.clone().unwrap());
    }
    assert_ne!(told[0], told[1]);
    // What goes on is no news, and it is looked at again each minute at least.
    let again: Vec<Found> = (0..1_500).filter_map(|_| watched.step(10, 16)).collect();
    assert!(again.len() >= 4 && again.iter().all(|found| !found.is_news), "{again:#?}");
}

/// Finding of 2026-11: of a spike that never ended all was kept that was ever said to have turned somebody away.
#[test]
fn of_what_was_said_within_a_spike_the_last_is_known() {
    let mut watched = Watched::new(SpikeSettings::default());
    let (_, attack) = watched.until_told(10);
    // What is due at the end of the next bucket is put down to these changes, too, and whether that is news.
    let mut is_news = |changes: &[usize]| {
        watched.lookout.hurry();
        let due = (0..1_000).find_map(|_| {
            watched.seconds += STEP;
            watched.counted.requests += 20;
            watched.counted.refused += 10;
            watched.lookout.look(moment(watched.seconds), watched.counted)
        });
        let mut explained = attack.explained.clone();
        let cause = Cause { share_percent: 0, ..explained.causes[0].clone() };
        let due_to = changes.iter().map(|number| Some(format!("change {number}")));
        explained.causes.extend(due_to.map(|due_to| Cause { due_to, ..cause.clone() }));
        watched.lookout.told(due.unwrap(), Some(explained)).unwrap().is_news
    };
    for first in (0..256).step_by(64) {
        assert!(is_news(&(first..first + 64).collect::<Vec<_>>()));
    }
    assert!(!is_news(&[0]) && !is_news(&[255, 1]));
    // What is said again with something else is the last.
    assert!(is_news(&[0, 256, 257]));
    assert!(!is_news(&[0]) && !is_news(&[257, 4]));
    assert!(is_news(&[1]) && is_news(&[2]));
}
