//! The policies that were in force a short while ago: what one of them would still have permitted is refused because of our own
//! change, and is held against nobody. A bad rollout must not ban the office that it locked out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use portcullis_policy::{AccessRequest, Outcome, Policy};

use crate::leading::Led;
use crate::pages::PagesSettings;
use crate::transit::Facts;

/// How long a policy counts after it was replaced.
pub(crate) const COUNTS_FOR: Duration = Duration::from_secs(15 * 60);
/// How many of them.
const KEPT_MAX: usize = 4;

/// The policies of before. While there is none, asking costs one atomic load, and only refusals ask.
#[derive(Debug, Default)]
pub(crate) struct Before(ArcSwapOption<Vec<Past>>);

#[derive(Debug, Clone)]
struct Past {
    policy: Arc<Policy>,
    /// Where its own pages were.
    pages: Option<PagesSettings>,
    until: Instant,
}

impl Before {
    /// This policy has just been replaced, and these pages.
    pub(crate) fn note(&self, policy: &Arc<Policy>, pages: Option<&PagesSettings>, now: Instant) {
        let mut kept = self.in_time(now);
        kept.push(Past { policy: Arc::clone(policy), pages: pages.cloned(), until: now + COUNTS_FOR });
        let surplus = kept.len().saturating_sub(KEPT_MAX);
        kept.drain(..surplus);
        self.0.store(Some(Arc::new(kept)));
    }

    /// Lets go of those whose time is over. Called each second.
    pub(crate) fn sweep(&self, now: Instant) {
        let over = |kept: &Arc<Vec<Past>>| kept.iter().any(|past| past.until <= now);
        if self.0.load().as_ref().is_some_and(over) {
            let kept = self.in_time(now);
            self.0.store((!kept.is_empty()).then(|| Arc::new(kept)));
        }
    }

    /// Whether one of them would have permitted this request, which is refused now.
    pub(crate) fn permitted(&self, facts: &Facts) -> bool {
        let kept = self.0.load();
        let (Some(kept), Some(target), Some(request)) = (kept.as_ref(), &facts.target, facts.access_request()) else {
            return false;
        };
        kept.iter().any(|Past { policy, pages, .. }| {
            let route = Led::under(policy, pages.as_ref(), target).route;
            let request = AccessRequest { route, ..request };
            // Before credentials are looked at nobody knows who it is.
            match facts.identity {
                None => policy.admit_client(&request).is_ok(),
                Some(_) => policy.verdict(&request).0 == Outcome::Permit,
            }
        })
    }

    fn in_time(&self, now: Instant) -> Vec<Past> {
        let kept = self.0.load();
        kept.iter().flat_map(|kept| kept.iter()).filter(|past| past.until > now).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::PolicyDraft;

    use super::*;

    fn policy() -> Arc<Policy> {
        Arc::new(Policy::compile(&PolicyDraft::default()).unwrap().0)
    }

    #[test]
    fn a_few_are_kept_for_a_while() {
        let (before, start) = (Before::default(), Instant::now());
        let kept = |now| before.in_time(now).len();
        assert_eq!(kept(start), 0);
        for count in 1..=10_u32 {
            before.note(&policy(), None, start + Duration::from_secs(u64::from(count)));
        }
        assert_eq!(kept(start + Duration::from_secs(10)), KEPT_MAX);
        let ninth_ends = start + Duration::from_secs(9) + COUNTS_FOR;
        assert_eq!(kept(ninth_ends), 1);
        before.sweep(ninth_ends);
        assert_eq!(before.0.load().as_ref().map(|kept| kept.len()), Some(1));
        before.sweep(ninth_ends + Duration::from_secs(1));
        assert!(before.0.load().is_none(), "nothing is held when nothing counts");
    }
}
