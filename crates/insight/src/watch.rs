//! Watching a version that comes into force step by step: every request of the sample is decided on by the policy in force and by the new one, and what the
//! new one denies to callers who were let in before counts against it.
//!
//! Nobody else's refusals count. Who attacks is often refused by exactly the change that is rolled out, and must not be able to have it taken back.

use std::collections::HashSet;
use std::sync::Arc;

use portcullis_policy::{Outcome, Policy, Principal, PrincipalKind};

use crate::again::{Again, Change, Unknown, again};
use crate::impact::{Impact, Tally};
use crate::sample::{Answered, Outlook, Seen};

/// The share of the budget is taken of so many requests at least: the first one that is denied is not yet a hundred percent.
pub const LEAST_REQUESTS: u64 = 1_000;
/// Principals of whom it is remembered that they were let in.
const FAMILIAR_MAX: usize = 100_000;
/// Requests that are answered otherwise and are kept for the words of a report.
const FLIPPED_MAX: usize = 2_000;

/// What was counted since a step began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched {
    /// Requests that were decided on by both.
    pub requests: u64,
    /// Those that the policy in force permits, and the new one denies or cannot decide on, by callers who were let in before.
    pub newly_denied: u64,
    /// The same by all others.
    pub newly_denied_others: u64,
    /// Those that the new one permits, and the one in force does not.
    pub newly_permitted: u64,
    /// Those that the new one asks a stronger authentication for.
    pub newly_step_up: u64,
}

impl Watched {
    /// Whether more is denied than may be: `budget` in millionths.
    pub fn is_over(&self, budget: u32) -> bool {
        let share = u128::from(self.newly_denied) * 1_000_000;
        share > u128::from(budget) * u128::from(self.requests.max(LEAST_REQUESTS))
    }
}

/// Watches.
#[derive(Debug)]
pub struct Watch {
    present: Arc<Policy>,
    candidate: Arc<Policy>,
    familiar: HashSet<(PrincipalKind, Box<str>)>,
    watched: Watched,
    /// Those that count against it, and all others.
    flipped: [Vec<Arc<Seen>>; 2],
}

impl Watch {
    /// Begins. Whoever was let in by what is in the sample is familiar.
    pub fn new(present: Arc<Policy>, candidate: Arc<Policy>, sample: &Outlook) -> Self {
        let mut watch = Self {
            present,
            candidate,
            familiar: HashSet::new(),
            watched: Watched::default(),
            flipped: [Vec::new(), Vec::new()],
        };
        let older = sample.older.iter().map(|sampled| &sampled.seen);
        sample.recent.iter().chain(older).for_each(|seen| watch.learn(seen));
        watch
    }

    /// The same policies with other lists of their networks, or other thresholds.
    pub fn renew(&mut self, present: &Arc<Policy>, candidate: &Arc<Policy>) {
        if !Arc::ptr_eq(&self.present, present) || !Arc::ptr_eq(&self.candidate, candidate) {
            (self.present, self.candidate) = (Arc::clone(present), Arc::clone(candidate));
        }
    }

    /// Begins to count anew, from what was counted of this step before a restart.
    pub fn begin(&mut self, watched: Watched) {
        (self.watched, self.flipped) = (watched, [Vec::new(), Vec::new()]);
    }

    /// Decides on a request by both. `known`: whether the gateway remembers from elsewhere that somebody was let in before.
    pub fn see(&mut self, seen: &Arc<Seen>, known: &dyn Fn(&Principal) -> bool) {
        if seen.permitted().is_none() {
            return;
        }
        let unknown = Unknown::default();
        let both = (again(&self.present, &seen.request, &unknown), again(&self.candidate, &seen.request, &unknown));
        let (Again::Ruled(before), Again::Ruled(after)) = both else { return };
        let change = Change::of(&before, &after);
        let counts = matches!(change, Change::NewlyDenied | Change::NewlyUndecided) && self.is_familiar(seen, known);
        let watched = &mut self.watched;
        // The share is one of what is let in: whoever is refused by both cannot thin it out.
        watched.requests = watched.requests.saturating_add(u64::from(before.outcome == Outcome::Permit));
        let counter = match change {
            Change::NewlyDenied | Change::NewlyUndecided if counts => &mut watched.newly_denied,
            Change::NewlyDenied | Change::NewlyUndecided => &mut watched.newly_denied_others,
            Change::NewlyPermitted => &mut watched.newly_permitted,
            Change::NewlyStepUp => &mut watched.newly_step_up,
            Change::OtherRefusal | Change::None => return self.learn(seen),
        };
        *counter = counter.saturating_add(1);
        let flipped = self.flipped.get_mut(usize::from(!counts));
        if let Some(flipped) = flipped.filter(|flipped| flipped.len() < FLIPPED_MAX) {
            flipped.push(Arc::clone(seen));
        }
        self.learn(seen);
    }

    fn is_familiar(&self, seen: &Seen, known: &dyn Fn(&Principal) -> bool) -> bool {
        let principal = seen.request.principal();
        principal.is_some_and(|it| self.familiar.contains(&(it.kind, it.id.clone())) || known(it))
    }

    /// Whoever was let in, and not refused by the upstream either, is familiar from then on.
    fn learn(&mut self, seen: &Seen) {
        let let_in = matches!(seen.answered, Answered::Permitted(status) if !matches!(status, 401 | 403));
        if let Some(principal) = seen.request.principal().filter(|_| let_in && self.familiar.len() < FAMILIAR_MAX) {
            self.familiar.insert((principal.kind, principal.id.clone()));
        }
    }

    /// What was counted.
    pub fn watched(&self) -> Watched {
        self.watched
    }

    /// What changes for the requests of this step, in sentences: first for those who were let in before.
    pub fn in_words(&self) -> Vec<String> {
        let [familiar, others] = self.flipped.each_ref().map(|flipped| self.impact(flipped));
        let whole = format!("{} requests", crate::words::number(self.watched.requests));
        let mut lines =
            vec![familiar.denied_in_words(&whole, self.watched.newly_denied, "of callers who were let in before")];
        if self.watched.newly_denied_others > 0 {
            lines.push(others.denied_in_words(&whole, self.watched.newly_denied_others, "of others"));
        }
        for (flips, count, what) in [
            (&others.newly_permitted, self.watched.newly_permitted, "newly permits"),
            (&others.newly_step_up, self.watched.newly_step_up, "newly asks for a step-up"),
        ] {
            if count > 0 {
                lines.push(format!("{what} {}{}", crate::words::number(count), crate::words::details(flips)));
            }
        }
        lines
    }

    fn impact(&self, flipped: &[Arc<Seen>]) -> Impact {
        let mut tally = Tally::new(&self.present, &self.candidate);
        flipped.iter().for_each(|seen| tally.add(&seen.request, &Unknown::default(), None, 1));
        tally.finish()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{ClientAddress, KeptIdentity, KeptRequest, KeptText};

    use super::*;
    use crate::tests::draft;

    fn policies() -> (Arc<Policy>, Arc<Policy>) {
        let before = draft();
        let mut after = draft();
        // Ivan is no member any more.
        after.groups[0].members.clear();
        let compile = |draft| Arc::new(Policy::compile(draft).unwrap().0);
        (compile(&before), compile(&after))
    }

    fn seen(who: Option<&str>, answered: Answered) -> Arc<Seen> {
        let text = KeptText { method: "POST", host: "a", path: "/reports/q3", software: "" };
        let request = KeptRequest::new(text, "2026-11-23T10:00:00Z".parse().unwrap()).unwrap();
        let identity =
            who.map_or(KeptIdentity::Anonymous, |who| KeptIdentity::Verified(Arc::new(Principal::user(who))));
        let client = ClientAddress::known([203, 0, 113, 7].into());
        Arc::new(Seen { request: KeptRequest { identity, client, ..request }, answered })
    }

    const OK: Answered = Answered::Permitted(200);

    fn unknown(_: &Principal) -> bool {
        false
    }

    #[test]
    fn only_who_was_let_in_before_counts_against_it() {
        let (present, candidate) = policies();
        let mut watch = Watch::new(Arc::clone(&present), Arc::clone(&candidate), &Outlook::default());
        watch.see(&seen(Some("ivan"), OK), &unknown);
        let first = watch.watched();
        assert_eq!((first.requests, first.newly_denied, first.newly_denied_others), (1, 0, 1), "never seen before");
        watch.see(&seen(Some("ivan"), OK), &unknown);
        assert_eq!(watch.watched().newly_denied, 1);
        watch.see(&seen(None, Answered::Permitted(404)), &unknown);
        assert_eq!((watch.watched().requests, watch.watched().newly_denied), (2, 1), "nobody is refused as before");
        // By the sample, or by what else is remembered.
        let sample = Outlook { recent: vec![seen(Some("ivan"), OK)], ..Outlook::default() };
        let mut watch = Watch::new(Arc::clone(&present), Arc::clone(&candidate), &sample);
        watch.see(&seen(Some("ivan"), OK), &unknown);
        assert_eq!(watch.watched().newly_denied, 1);
        let refused = Outlook { recent: vec![seen(Some("ivan"), Answered::Permitted(403))], ..Outlook::default() };
        let mut watch = Watch::new(present, candidate, &refused);
        watch.see(&seen(Some("ivan"), OK), &|principal| &*principal.id == "ivan");
        assert_eq!(watch.watched().newly_denied, 1);
        let words = watch.in_words();
        assert!(words[0].contains("would newly deny 1 of 1 requests") && words[0].contains("ivan 1"), "{words:?}");
        watch.begin(Watched { requests: 7, ..Watched::default() });
        assert_eq!((watch.watched().requests, watch.watched().newly_denied), (7, 0));
    }

    #[test]
    fn what_was_refused_by_the_new_one_itself_is_seen_as_what_it_is() {
        let (present, candidate) = policies();
        let sample = Outlook { recent: vec![seen(Some("ivan"), OK)], ..Outlook::default() };
        let mut watch = Watch::new(present, candidate, &sample);
        let reason = portcullis_events::ReasonCode::RbacNoMatchingGrant;
        watch.see(&seen(Some("ivan"), Answered::Refused(reason)), &unknown);
        assert_eq!(watch.watched().newly_denied, 1);
        // What no policy was asked about says nothing.
        watch.see(&seen(Some("ivan"), Answered::Refused(portcullis_events::ReasonCode::InternalError)), &unknown);
        assert_eq!(watch.watched().requests, 1);
    }

    #[test]
    fn the_other_way_round_it_is_permitted() {
        let (candidate, present) = policies();
        let mut watch = Watch::new(present, candidate, &Outlook::default());
        let reason = portcullis_events::ReasonCode::RbacNoMatchingGrant;
        watch.see(&seen(Some("ivan"), Answered::Refused(reason)), &unknown);
        let watched = watch.watched();
        assert_eq!((watched.newly_permitted, watched.newly_denied, watched.is_over(0)), (1, 0, false));
        assert!(watch.in_words().iter().any(|line| line.starts_with("newly permits 1")), "{:?}", watch.in_words());
    }

    #[test]
    fn the_budget_is_a_share_of_a_thousand_requests_at_least() {
        let check = |requests, newly_denied, budget, over| {
            let watched = Watched { requests, newly_denied, ..Watched::default() };
            assert_eq!(watched.is_over(budget), over, "{newly_denied} of {requests}, {budget}");
        };
        check(1, 1, 0, true);
        check(10_000, 0, 0, false);
        check(10, 1, 1_000, false);
        check(10, 2, 1_000, true);
        check(10_000, 10, 1_000, false);
        check(10_000, 11, 1_000, true);
        check(u64::MAX, u64::MAX, 1_000_000, false);
    }
}
