//! Who looks for spikes, bucket by bucket, and when a spike is explained.
//!
//! A bucket that is being filled is looked at, too: where it has more refusals already than a whole one may have, nobody waits for its end. Then it
//! takes half a bucket until there is enough to look at. A spike that lasts is explained again after two, four, eight and so on buckets, and each minute at least, as
//! long as what is said of it may change: the first refusals of an incident need not be those of most. Where something is done meanwhile that may turn
//! callers away, it is looked at as if it had begun then.
//!
//! It reads no clock: times and counts are passed in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::sample::Outlook;
use crate::spike::SpikeSettings;
use crate::spike::cause::{Window, explain};
use crate::spike::changes::{ChangeLog, RecentChange};
use crate::spike::chart::{BucketCounts, Charts, Standing, Usual};
use crate::spike::remembered::Remembered;
use crate::spike::report::{CauseKind, Explained};
use crate::spike::ways::Ways;

/// Beginnings of buckets that are kept: more than the longest spike has.
const MOST_BEGINNINGS: usize = 2_048;
/// A share that differs by so much is another one, in percent.
const OTHER_SHARE: u64 = 20;
/// No longer than so many seconds, or a bucket, is it until a spike that lasts is looked at again.
const LONGEST_PACE: u64 = 60;
/// Of what was said to have turned somebody away so many are known within a spike: those that were said last. What is said after so many others is said anew.
const MOST_DUE_TO: usize = 256;
/// It is waited for half a bucket, and for no longer than this, until there is enough to look at.
const LONGEST_SETTLING: Duration = Duration::from_secs(10);

/// A moment, on a clock that never jumps and on that of requests.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since some moment before.
    pub steady: Duration,
    /// The time of day.
    pub wall: Timestamp,
}

/// What looks for spikes.
#[derive(Debug, Clone)]
pub struct Lookout {
    settings: SpikeSettings,
    charts: Charts,
    changes: ChangeLog,
    /// When the bucket began that is being filled, and what had been counted until then.
    began: Moment,
    counted: BucketCounts,
    /// When those that are over began, the oldest first.
    beginnings: VecDeque<Timestamp>,
    learning: bool,
    remembered: Arc<Remembered>,
    /// Somebody explains what was [`Due`].
    explaining: bool,
    spike: Option<Ongoing>,
    spikes: u64,
}

/// A spike that goes on.
#[derive(Debug, Clone)]
struct Ongoing {
    number: u64,
    noticed: Duration,
    /// Buckets one after another in which it was not there any more.
    quiet: u32,
    /// It is looked at again after so many buckets, and then after so many more.
    next: u32,
    pace: u32,
    /// Something was done since the last look, which may turn callers away beside what it is about.
    hurried: bool,
    /// It was due already.
    tried: bool,
    revision: u64,
    said: Option<Said>,
}

/// What was said of a spike.
#[derive(Debug, Clone, Default)]
struct Said {
    /// What is said now, and how much it is.
    shares: Vec<(CauseKind, u64)>,
    /// What was done and was said to have turned somebody away, what was said last at the end: [`MOST_DUE_TO`] at most.
    due_to: VecDeque<String>,
}

/// A spike is to be explained: on whatever thread has the time.
#[derive(Debug, Clone)]
pub struct Due {
    spike: u64,
    said: Option<Said>,
    revision: u64,
    window: Window,
    changes: Vec<RecentChange>,
    remembered: Arc<Remembered>,
    settings: SpikeSettings,
}

impl Due {
    /// Explains it by the sample of the moment at which it was due, with the ways back that there are now.
    pub fn explain(&self, sample: &Outlook, ways: &Ways) -> Explained {
        explain(&self.window, (sample, &self.remembered), (&self.changes, ways), &self.settings)
    }
}

/// A spike was explained.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which spike of this lookout. An explanation of the same spike takes the place of the one before.
    pub spike: u64,
    /// The explanation.
    pub explained: Explained,
    /// It says something else than the one before, or there is none before it.
    pub is_news: bool,
}

impl Lookout {
    /// One that knows nothing yet.
    pub fn new(settings: SpikeSettings, now: Moment) -> Self {
        Self {
            charts: Charts::new(&settings),
            settings,
            changes: ChangeLog::default(),
            began: now,
            counted: BucketCounts::default(),
            beginnings: VecDeque::new(),
            learning: true,
            remembered: Arc::default(),
            explaining: false,
            spike: None,
            spikes: 0,
        }
    }

    /// The same that goes on from what an earlier one knew. What is usual of buckets of another length is learnt anew.
    #[must_use]
    pub fn going_on_from(mut self, usual: Option<&Usual>, remembered: Remembered) -> Self {
        if let Some(usual) = usual {
            self.learning = !self.charts.go_on_from(usual, &self.settings);
        }
        self.remembered = Arc::new(remembered);
        self
    }

    /// What is usual, for one that is to go on from it; `None`: that is not known yet.
    pub fn usual(&self) -> Option<Usual> {
        self.charts.usual(&self.settings)
    }

    /// Whoever was let in before the process began.
    pub fn remembered(&self) -> &Arc<Remembered> {
        &self.remembered
    }

    /// How it looks for spikes.
    pub fn settings(&self) -> &SpikeSettings {
        &self.settings
    }

    /// What is usual is not known yet.
    pub fn is_learning(&self) -> bool {
        self.learning
    }

    /// Notes a suspect.
    pub fn note(&mut self, change: RecentChange) {
        self.changes.note(change);
        self.hurry();
    }

    /// Something was done that may turn callers away: a spike that there is already is looked at again soon.
    pub fn hurry(&mut self) {
        if let Some(spike) = &mut self.spike {
            spike.hurried = true;
        }
    }

    /// Looks at what was counted since the start. To be called several times in each bucket. What is due is to be explained, and told with
    /// [`Self::told`]; until then nothing else is due.
    pub fn look(&mut self, now: Moment, counted: BucketCounts) -> Option<Due> {
        let so_far = BucketCounts {
            requests: counted.requests.saturating_sub(self.counted.requests),
            refused: counted.refused.saturating_sub(self.counted.refused),
        };
        let ended = now.steady.saturating_sub(self.began.steady) >= self.settings.bucket;
        let standing = if ended { self.end_bucket(now, counted, so_far) } else { self.charts.would_stand(so_far) };
        let Standing::Spike { buckets, observed, expected, .. } = standing else {
            if ended {
                self.was_quiet(standing);
            }
            return None;
        };
        let (bucket, spikes) = (self.settings.bucket, &mut self.spikes);
        let spike = self.spike.get_or_insert_with(|| {
            *spikes += 1;
            let (number, noticed) = (*spikes, now.steady);
            let (quiet, next, pace, hurried) = (0, 2, 0, false);
            Ongoing { number, noticed, quiet, next, pace, hurried, tried: false, revision: 0, said: None }
        });
        spike.quiet = 0;
        // The bucket in which something was done has a part of what came of it: the next one has it whole.
        if ended && std::mem::take(&mut spike.hurried) {
            (spike.next, spike.pace) = (spike.next.min(buckets.saturating_add(1)), 1);
        }
        let settled = now.steady.saturating_sub(spike.noticed) >= (bucket / 2).min(LONGEST_SETTLING);
        let is_due = if !spike.tried { settled } else { ended && buckets >= spike.next };
        if !is_due || self.explaining {
            return None;
        }
        // It is explained again after twice as long, however long that took until now, and each minute at least: what comes beside it is not to wait.
        let pace = if spike.pace == 0 { buckets.max(1) } else { spike.pace };
        let pace = pace.min(self.settings.buckets(LONGEST_PACE).max(1));
        spike.next = buckets.saturating_add(pace);
        spike.pace = pace.saturating_mul(2);
        spike.tried = true;
        let onset = self.onset(buckets, ended);
        let window = Window { onset, until: now.wall, observed, expected: whole(expected) };
        let spike = self.spike.as_ref()?;
        self.explaining = true;
        Some(Due {
            spike: spike.number,
            said: spike.said.clone(),
            revision: spike.revision,
            window,
            changes: self.changes.all().to_vec(),
            remembered: Arc::clone(&self.remembered),
            settings: self.settings,
        })
    }

    /// What was due is explained, also where the spike is over by now. `None`: that came to nothing, and is due again as if it had been.
    pub fn told(&mut self, due: Due, explained: Option<Explained>) -> Option<Found> {
        self.explaining = false;
        let explained = explained?;
        let shares: Vec<(CauseKind, u64)> =
            explained.causes.iter().map(|cause| (cause.kind, cause.share_percent)).collect();
        let mut due_to = due.said.as_ref().map(|said| said.due_to.clone()).unwrap_or_default();
        let is_new = explained.causes.iter().filter_map(|cause| cause.due_to.clone()).fold(false, |new, one| {
            let known = due_to.iter().position(|known| *known == one);
            known.map(|place| due_to.remove(place));
            due_to.push_back(one);
            new || known.is_none()
        });
        due_to.drain(..due_to.len().saturating_sub(MOST_DUE_TO));
        let is_news = due.said.as_ref().is_none_or(|said| is_new || differs(&said.shares, &shares));
        let revision = due.revision.saturating_add(u64::from(is_news));
        if let Some(spike) = self.spike.as_mut().filter(|spike| is_news && spike.number == due.spike) {
            spike.said = Some(Said { shares, due_to });
            spike.revision = revision;
        }
        let explained = Explained { revision: revision.saturating_sub(1), ..explained };
        Some(Found { spike: due.spike, explained, is_news })
    }

    fn end_bucket(&mut self, now: Moment, counted: BucketCounts, counts: BucketCounts) -> Standing {
        if self.beginnings.len() >= MOST_BEGINNINGS {
            self.beginnings.pop_front();
        }
        self.beginnings.push_back(std::mem::replace(&mut self.began, now).wall);
        self.counted = counted;
        let standing = self.charts.add(counts);
        self.learning = standing == Standing::Learning;
        standing
    }

    /// A bucket has ended, and there is no spike after it.
    fn was_quiet(&mut self, standing: Standing) {
        let Some(spike) = &mut self.spike else { return };
        spike.quiet += 1;
        // What was noticed in a part of a bucket may be none when it ends; what was said of it is not said again at once.
        if standing == Standing::Over || spike.quiet >= self.charts.quiet() {
            self.spike = None;
        }
    }

    /// When it began: with the first of so many buckets. Buckets are as long as they are: a busy machine may take longer to come by.
    fn onset(&self, buckets: u32, ended: bool) -> Timestamp {
        let buckets = usize::try_from(buckets).unwrap_or(usize::MAX).max(1);
        let over = if ended { buckets } else { buckets - 1 };
        if over == 0 {
            return self.began.wall;
        }
        let first = self.beginnings.len().saturating_sub(over);
        self.beginnings.get(first).copied().unwrap_or(self.began.wall)
    }
}

/// Whether causes came or went, or the share of one is another one.
fn differs(before: &[(CauseKind, u64)], after: &[(CauseKind, u64)]) -> bool {
    let share = |said: &[(CauseKind, u64)], kind: CauseKind| {
        said.iter().filter(|(known, _)| *known == kind).map(|(_, share)| *share).sum::<u64>()
    };
    let first = |said: &[(CauseKind, u64)]| said.first().map(|(kind, _)| *kind);
    let kinds = before.iter().chain(after).map(|(kind, _)| *kind);
    first(before) != first(after)
        || kinds.into_iter().any(|kind| share(before, kind).abs_diff(share(after, kind)) >= OTHER_SHARE)
}

/// A count that is not whole, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of refusals, never negative")]
fn whole(count: f64) -> u64 {
    count.round() as u64
}
