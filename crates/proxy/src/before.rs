//! The policies that were in force a short while ago: what one of them would still have permitted is refused because of our own
//! change, and is held against nobody. A bad rollout must not ban the office that it locked out, whether it came with a reload or with a start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{AccessRequest, Policy};

use crate::leading::Led;
use crate::pages::PagesSettings;
use crate::snapshot::Snapshot;
use crate::transit::Facts;

/// How long a policy counts after it was replaced, and power after it has ended.
pub(crate) const COUNTS_FOR: Duration = Duration::from_secs(15 * 60);
/// How many of them.
const KEPT_MAX: usize = 4;

/// The policies of before. While there is none, asking costs one atomic load, and only refusals ask.
#[derive(Debug, Default)]
pub(crate) struct Before(ArcSwapOption<Vec<Past>>);

/// A policy of before.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    policy: Arc<Policy>,
    /// Where its own pages were.
    pages: Option<PagesSettings>,
    /// What it was compiled with besides its files; `None`: nobody knows.
    around: Option<Arc<str>>,
    /// When it was replaced, by the time of day. What it gave then counts, also what has ended by itself since.
    replaced: Timestamp,
    until: Instant,
}

impl Past {
    /// This was in force until now.
    pub(crate) fn of(snapshot: &Snapshot, now: (Instant, Timestamp)) -> Self {
        let (pages, around) = (snapshot.settings.pages.clone(), snapshot.around.clone());
        let policy = Arc::clone(&snapshot.policy);
        Self { policy, pages, around, replaced: now.1, until: now.0 + COUNTS_FOR }
    }

    /// This was in force until then, in an earlier process perhaps. `None`: it does not count any more, or the clock went wrong.
    pub(crate) fn replaced_at(
        policy: Arc<Policy>,
        pages: Option<PagesSettings>,
        replaced: Timestamp,
        now: (Instant, Timestamp),
    ) -> Option<Self> {
        let ago = Duration::try_from(now.1.duration_since(replaced)).ok()?;
        let left = COUNTS_FOR.checked_sub(ago).filter(|left| !left.is_zero())?;
        Some(Self { policy, pages, around: None, replaced, until: now.0 + left })
    }

    /// Whether no more than lists, or thresholds that were worked out, tell them apart.
    fn has_files_of(&self, other: &Self) -> bool {
        self.around.is_some() && self.around == other.around && self.policy.sha256() == other.policy.sha256()
    }

    /// Whether it would have permitted this request.
    fn permitted(&self, facts: &Facts, request: AccessRequest<'_>) -> bool {
        let Some(target) = &facts.target else { return false };
        let route = Led::under(&self.policy, self.pages.as_ref(), target).route;
        let request = AccessRequest { route, ..request };
        // Before credentials are looked at nobody knows who it is.
        match facts.identity {
            None => self.policy.admit_client(&request).is_ok(),
            Some(_) => self.policy.permits_but_for_what_ended(&request, self.replaced.max(lately(facts.now))),
        }
    }
}

/// What ended behind this has ended a short while ago.
pub(crate) fn lately(now: Timestamp) -> Timestamp {
    SignedDuration::try_from(COUNTS_FOR).ok().and_then(|ago| now.checked_sub(ago).ok()).unwrap_or(now)
}

impl Before {
    /// This has just been replaced, or a while ago: those that were replaced earlier come first.
    pub(crate) fn note(&self, past: &Past, now: Instant) {
        self.0.rcu(|kept| {
            let mut kept = in_time(kept.as_ref(), now);
            kept.push(past.clone());
            make_room(&mut kept);
            Some(Arc::new(kept))
        });
    }

    /// Lets go of those whose time is over. Called each second.
    pub(crate) fn sweep(&self, now: Instant) {
        let over = |kept: &Arc<Vec<Past>>| kept.iter().any(|past| past.until <= now);
        if self.0.load().as_ref().is_some_and(over) {
            // What is noted at this very moment stays.
            self.0.rcu(|kept| {
                let kept = in_time(kept.as_ref(), now);
                (!kept.is_empty()).then(|| Arc::new(kept))
            });
        }
    }

    /// Whether one of them would have permitted this request, which is refused now.
    pub(crate) fn permitted(&self, facts: &Facts) -> bool {
        let kept = self.0.load();
        let Some((kept, request)) = kept.as_ref().zip(facts.access_request()) else { return false };
        kept.iter().any(|past| past.permitted(facts, request))
    }
}

fn in_time(kept: Option<&Arc<Vec<Past>>>, now: Instant) -> Vec<Past> {
    kept.into_iter().flat_map(|kept| kept.iter()).filter(|past| past.until > now).cloned().collect()
}

/// Lists change by themselves, and make nobody forget what somebody changed: of two of which nothing else differs the older one goes. Else the second one does: the
/// oldest is from before all that was changed lately, and the last ones are the likeliest to have been right.
fn make_room(kept: &mut Vec<Past>) {
    while kept.len() > KEPT_MAX {
        let of_lists = kept.windows(2).position(|pair| matches!(pair, [first, next] if first.has_files_of(next)));
        kept.remove(of_lists.unwrap_or(1));
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::PolicyDraft;

    use super::*;

    fn past(sha256: &str, around: Option<&str>, now: Instant) -> Past {
        let draft = PolicyDraft { sha256: sha256.into(), ..PolicyDraft::default() };
        let policy = Arc::new(Policy::compile(&draft).unwrap().0);
        let (replaced, until) = (Timestamp::UNIX_EPOCH, now + COUNTS_FOR);
        Past { policy, pages: None, around: around.map(Into::into), replaced, until }
    }

    fn kept(before: &Before) -> Vec<String> {
        before.0.load().iter().flat_map(|kept| kept.iter()).map(|past| past.policy.sha256().to_owned()).collect()
    }

    #[test]
    fn a_few_are_kept_for_a_while() {
        let (before, start) = (Before::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        assert_eq!(kept(&before), [""; 0]);
        for second in 1..=10 {
            before.note(&past(&second.to_string(), None, at(second)), at(second));
        }
        assert_eq!(kept(&before), ["1", "8", "9", "10"], "what was in force before all of it, and the last ones");
        before.sweep(at(9) + COUNTS_FOR);
        assert_eq!(kept(&before), ["10"]);
        before.sweep(at(10) + COUNTS_FOR);
        assert!(before.0.load().is_none(), "nothing is held when nothing counts");
    }

    #[test]
    fn lists_that_change_all_the_time_make_nobody_forget_what_else_changed() {
        let check = |around: Option<&str>, expected: [&str; 4]| {
            let (before, start) = (Before::default(), Instant::now());
            for sha256 in ["a", "b", "c", "d", "d", "d", "d", "d"] {
                before.note(&past(sha256, around, start), start);
            }
            assert_eq!(kept(&before), expected);
        };
        check(Some("same"), ["a", "b", "c", "d"]);
        check(None, ["a", "d", "d", "d"]);
    }

    #[test]
    fn what_was_replaced_in_an_earlier_process_counts_for_what_is_left_of_its_time() {
        let now = (Instant::now(), Timestamp::from_second(1_800_000_000).unwrap());
        let check = |seconds_ago: i64, left: Option<u64>| {
            let replaced = now.1 - SignedDuration::from_secs(seconds_ago);
            let policy = past("a", None, now.0).policy;
            let past = Past::replaced_at(policy, None, replaced, now);
            let found = past.map(|past| past.until.duration_since(now.0).as_secs());
            assert_eq!(found, left, "{seconds_ago} seconds ago");
        };
        check(0, Some(900));
        check(300, Some(600));
        check(899, Some(1));
        check(900, None);
        check(90_000, None);
        // Of a clock that went wrong.
        check(-1, None);
    }
}
