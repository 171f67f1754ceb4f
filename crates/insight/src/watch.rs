//! Watching a version that comes into force step by step: every request of the sample is decided on by the policy in force and by the new one, and what the
//! new one denies to callers who were let in before counts against it.
//!
//! Nobody else's refusals count. Who attacks is often refused by exactly the change that is rolled out, and must not be able to have it taken back. For the
//! same reason a caller counts once a minute however often it comes, and several different ones have to be hurt: whoever goes through a hole that the
//! change closes is somebody who was let in before, too.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{KeptIdentity, Outcome, Policy, Principal};

use crate::again::{Again, Change, Unknown, again};
use crate::impact::{Impact, Tally};
use crate::sample::{Answered, Outlook, Seen};

mod callers;

pub use callers::CALLERS_KEPT;
use callers::{Caller, Callers};

/// The share of the budget is taken of so many turns at least: the first one that is denied is not yet a hundred percent.
pub const LEAST_TURNS: u64 = 100;
/// Principals of whom it is remembered that they were let in: those who came last, and as many at most as came before them.
const FAMILIAR_MAX: usize = 50_000;
/// Principals that are told apart within a minute, and of those who are hurt within a step.
const CALLERS_MAX: usize = 100_000;
/// Requests that are answered otherwise and are kept for the words of a report.
const FLIPPED_MAX: usize = 2_000;

/// What was counted since a step began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched {
    /// Requests that were decided on by both, and that the policy in force permits.
    pub requests: u64,
    /// Those of them that the new one denies or cannot decide on, by callers who were let in before.
    pub newly_denied: u64,
    /// The same by all others.
    pub newly_denied_others: u64,
    /// Requests that were decided on by both, and that the policy in force refuses. What is refused before a policy is asked (a ban, a bad credential, a
    /// request that is none) is not among them.
    pub refused: u64,
    /// Those of them that the new one permits.
    pub newly_permitted: u64,
    /// Those that the new one asks a stronger authentication for, of callers who can have one.
    pub newly_step_up: u64,
    /// The same requests by turns: all that a principal asks for within a minute is one. Whoever comes without a credential has none.
    pub turns: u64,
    /// Those turns in which something was newly denied to a principal who was let in before.
    pub turns_denied: u64,
    /// So many different principals had these. After a restart they are counted anew.
    pub callers_denied: u64,
    /// So many different callers asked for what one of the two permits: principals, and without a credential addresses (of IPv6 the /64). Of more than 100,000
    /// no more are told apart.
    pub callers: u64,
    /// Hashes of the first of them, so that a restart does not take one for another; 0 where there is none.
    pub callers_kept: [u64; CALLERS_KEPT],
}

/// How much may be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What share of the turns, in millionths.
    pub share_ppm: u32,
    /// It takes so many different principals, whatever the share.
    pub callers: u32,
}

impl Watched {
    /// Whether more is denied than may be.
    pub fn is_over(&self, budget: Budget) -> bool {
        let share = u128::from(self.turns_denied) * 1_000_000;
        share > u128::from(budget.share_ppm) * u128::from(self.turns.max(LEAST_TURNS))
            && self.callers_denied >= u64::from(budget.callers)
    }
}

/// Watches.
#[derive(Debug)]
pub struct Watch {
    present: Arc<Policy>,
    candidate: Arc<Policy>,
    /// Principals are told apart by hashes that nobody outside can foresee.
    random: RandomState,
    familiar: Familiar,
    watched: Watched,
    minute: Minute,
    hurt: HashSet<u64>,
    callers: Callers,
    /// Those that count against it, and all others.
    flipped: [Vec<Arc<Seen>>; 2],
}

impl Watch {
    /// Begins. Whoever was let in by what is in the sample is familiar.
    pub fn new(present: Arc<Policy>, candidate: Arc<Policy>, sample: &Outlook) -> Self {
        let mut watch = Self {
            present,
            candidate,
            random: RandomState::new(),
            familiar: Familiar::default(),
            watched: Watched::default(),
            minute: Minute::default(),
            hurt: HashSet::new(),
            callers: Callers::default(),
            flipped: [Vec::new(), Vec::new()],
        };
        let older = sample.older.iter().map(|sampled| &sampled.seen);
        older.chain(&sample.recent).for_each(|seen| watch.learn(seen));
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
        self.callers = Callers::of_earlier_runs(watched.callers, watched.callers_kept);
        self.watched = Watched { callers_denied: 0, ..watched };
        (self.minute, self.hurt, self.flipped) = (Minute::default(), HashSet::new(), [Vec::new(), Vec::new()]);
    }

    /// Decides on a request by both. `known`: whether the gateway remembers from elsewhere that somebody was let in before.
    pub fn see(&mut self, seen: &Arc<Seen>, known: &dyn Fn(&Principal) -> bool) {
        if seen.permitted().is_none() {
            return;
        }
        let unknown = Unknown::default();
        let both = (again(&self.present, &seen.request, &unknown), again(&self.candidate, &seen.request, &unknown));
        let (Again::Ruled(before), Again::Ruled(after)) = both else { return };
        let change = Change::of(&before, &after).for_caller(&seen.request);
        let permitted = before.outcome == Outcome::Permit;
        let counts = matches!(change, Change::NewlyDenied | Change::NewlyUndecided) && self.is_familiar(seen, known);
        if permitted {
            self.note_turn(seen, counts);
        }
        // Whoever was turned away before any policy was asked would be by the new one, too, whatever it says to the request.
        let is_asked = permitted || !is_refused_before(seen);
        if permitted || (is_asked && matches!(change, Change::NewlyPermitted)) {
            self.note_caller(seen);
        }
        let watched = &mut self.watched;
        // The share is one of what is let in: whoever is refused by both cannot thin it out.
        watched.requests = watched.requests.saturating_add(u64::from(permitted));
        watched.refused = watched.refused.saturating_add(u64::from(!permitted && is_asked));
        let counter = match change {
            Change::NewlyDenied | Change::NewlyUndecided if counts => &mut watched.newly_denied,
            Change::NewlyDenied | Change::NewlyUndecided => &mut watched.newly_denied_others,
            Change::NewlyPermitted if is_asked => &mut watched.newly_permitted,
            Change::NewlyStepUp => &mut watched.newly_step_up,
            Change::NewlyPermitted | Change::OtherRefusal | Change::None => return self.learn(seen),
        };
        *counter = counter.saturating_add(1);
        let flipped = self.flipped.get_mut(usize::from(!counts));
        if let Some(flipped) = flipped.filter(|flipped| flipped.len() < FLIPPED_MAX) {
            flipped.push(Arc::clone(seen));
        }
        self.learn(seen);
    }

    /// A request that the policy in force permits. `denied`: it counts against the new one.
    fn note_turn(&mut self, seen: &Seen, denied: bool) {
        let Some(who) = seen.request.principal().map(|principal| self.place(principal)) else { return };
        let (came, hurt) = self.minute.note(who, seen.request.now, denied);
        self.watched.turns = self.watched.turns.saturating_add(u64::from(came));
        if hurt {
            self.watched.turns_denied = self.watched.turns_denied.saturating_add(1);
            if self.hurt.len() < CALLERS_MAX {
                self.hurt.insert(who);
            }
            self.watched.callers_denied = self.hurt.len() as u64;
        }
    }

    /// Somebody asks for what one of the two permits.
    fn note_caller(&mut self, seen: &Seen) {
        match (seen.request.principal(), seen.request.client.ip()) {
            (Some(principal), _) => self.callers.note(Caller::Principal(&principal.reference())),
            (None, Some(address)) => self.callers.note(Caller::Address(address)),
            // Whoever they are, it may be one of the others.
            (None, None) => return,
        }
        (self.watched.callers, self.watched.callers_kept) = (self.callers.count(), self.callers.kept());
    }

    fn place(&self, principal: &Principal) -> u64 {
        self.random.hash_one((principal.kind, &*principal.id))
    }

    fn is_familiar(&mut self, seen: &Seen, known: &dyn Fn(&Principal) -> bool) -> bool {
        let Some(principal) = seen.request.principal() else { return false };
        let who = self.place(principal);
        // Whoever is refused again and again is not forgotten meanwhile.
        let familiar = self.familiar.contains(who) || known(principal);
        if familiar {
            self.familiar.learn(who);
        }
        familiar
    }

    /// Whoever was let in, and not refused by the upstream either, is familiar from then on.
    fn learn(&mut self, seen: &Seen) {
        let let_in = matches!(seen.answered, Answered::Permitted(status) if !matches!(status, 401 | 403));
        if let Some(principal) = seen.request.principal().filter(|_| let_in) {
            self.familiar.learn(self.place(principal));
        }
    }

    /// What was counted.
    pub fn watched(&self) -> Watched {
        self.watched
    }

    /// What was found so far, to be put in words without the watch.
    pub fn found(&self) -> Found {
        Found {
            present: Arc::clone(&self.present),
            candidate: Arc::clone(&self.candidate),
            watched: self.watched,
            flipped: self.flipped.clone(),
        }
    }
}

/// What was found at one moment of a step. Putting it in words decides on some thousand requests again, for which nobody who watches waits.
#[derive(Debug)]
pub struct Found {
    present: Arc<Policy>,
    candidate: Arc<Policy>,
    watched: Watched,
    flipped: [Vec<Arc<Seen>>; 2],
}

impl Found {
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

/// Whether a caller was refused before any policy was asked: by a ban, or for a credential that is bad or could not be checked.
fn is_refused_before(seen: &Seen) -> bool {
    let is_banned = matches!(seen.answered, Answered::Refused(code) if code.stage() == "ban");
    is_banned || matches!(seen.request.identity, KeptIdentity::Rejected(_) | KeptIdentity::Unavailable(_))
}

/// Who was let in. Of more than there is room for those are forgotten who did not come for longest.
#[derive(Debug, Default)]
struct Familiar {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Familiar {
    fn contains(&self, who: u64) -> bool {
        self.young.contains(&who) || self.old.contains(&who)
    }

    fn learn(&mut self, who: u64) {
        if self.young.len() >= FAMILIAR_MAX && !self.young.contains(&who) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(who);
    }
}

/// Who came within this minute.
#[derive(Debug, Default)]
struct Minute {
    /// Which, since 1970.
    number: i64,
    came: HashSet<u64>,
    hurt: HashSet<u64>,
}

impl Minute {
    /// Whether somebody comes, and whether they are hurt, for the first time in this minute. Whoever there is no room for is counted in neither.
    fn note(&mut self, who: u64, now: Timestamp, denied: bool) -> (bool, bool) {
        let number = now.as_second().div_euclid(60);
        // Workers hand over in any order, a second or two apart; a clock that was put back is another minute.
        if number > self.number || number < self.number.saturating_sub(1) {
            (self.number, self.came, self.hurt) = (number, HashSet::new(), HashSet::new());
        }
        if self.came.len() >= CALLERS_MAX && !self.came.contains(&who) {
            return (false, false);
        }
        (self.came.insert(who), denied && self.hurt.insert(who))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{ClientAddress, CredentialProblemKind, KeptRequest, KeptText, PrincipalKind, WhenDraft};

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

    /// Judy and Kim were members, too.
    fn closing() -> (Arc<Policy>, Arc<Policy>) {
        let (mut before, mut after) = (draft(), draft());
        before.groups[0].members.extend(["judy", "kim"].map(|who| format!("user:{who}").into()));
        after.groups[0].members.clear();
        let compile = |draft| Arc::new(Policy::compile(draft).unwrap().0);
        (compile(&before), compile(&after))
    }

    fn at(seen: Arc<Seen>, second: i64) -> Arc<Seen> {
        let Seen { request, answered } = Seen::clone(&seen);
        let now = request.now + jiff::SignedDuration::from_secs(second);
        Arc::new(Seen { request: KeptRequest { now, ..request }, answered })
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
        let words = watch.found().in_words();
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
        assert_eq!((watched.newly_permitted, watched.newly_denied, watched.turns), (1, 0, 0));
        assert_eq!((watched.requests, watched.refused), (0, 1), "the share is one of what is let in");
        let words = watch.found().in_words();
        assert!(words.iter().any(|line| line.starts_with("newly permits 1, by 1 user (ivan 1)")), "{words:?}");
        // Whom both refuse is counted, too, and nobody is told about.
        watch.see(&seen(Some("mallory"), Answered::Refused(reason)), &unknown);
        assert_eq!((watch.watched().newly_permitted, watch.watched().refused), (1, 2));
    }

    /// One who looks every few seconds whether something is there tries nothing of it, however often they come.
    #[test]
    fn callers_are_told_apart_and_whoever_is_refused_by_both_is_none() {
        let (present, candidate) = closing();
        let mut watch = Watch::new(Arc::clone(&present), Arc::clone(&candidate), &Outlook::default());
        let callers = |watch: &Watch| watch.watched().callers;
        for _ in 0..50 {
            watch.see(&seen(Some("ivan"), OK), &unknown);
        }
        assert_eq!((watch.watched().requests, callers(&watch)), (50, 1));
        let refused = Answered::Refused(portcullis_events::ReasonCode::RbacNoMatchingGrant);
        watch.see(&seen(Some("mallory"), refused), &unknown);
        assert_eq!(callers(&watch), 1, "by both");
        watch.see(&seen(Some("judy"), OK), &unknown);
        assert_eq!(callers(&watch), 2);
        // A restart between two who come on different days.
        let kept = watch.watched();
        let mut again = Watch::new(present, candidate, &Outlook::default());
        again.begin(kept);
        again.see(&seen(Some("judy"), OK), &unknown);
        assert_eq!((again.watched().requests, callers(&again)), (52, 2));
        again.see(&seen(Some("kim"), OK), &unknown);
        assert_eq!(callers(&again), 3);
        again.begin(Watched::default());
        assert_eq!(callers(&again), 0, "another step");
        // Whom only the new one lets in is somebody.
        let (candidate, present) = policies();
        let mut watch = Watch::new(present, candidate, &Outlook::default());
        watch.see(&seen(Some("ivan"), refused), &unknown);
        assert_eq!((watch.watched().requests, callers(&watch)), (0, 1));
    }

    /// Without a credential it is the address, of IPv6 the network.
    #[test]
    fn whoever_has_no_credential_is_told_apart_by_their_address() {
        let policy = Arc::new(Policy::compile(&draft()).unwrap().0);
        let mut watch = Watch::new(Arc::clone(&policy), policy, &Outlook::default());
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
            let text = KeptText { method: "GET", host: "a", path: "/public/x", software: "" };
            let request = KeptRequest::new(text, "2026-11-23T10:00:00Z".parse().unwrap()).unwrap();
            let client = ClientAddress::known(address.parse().unwrap());
            watch.see(&Arc::new(Seen { request: KeptRequest { client, ..request }, answered: OK }), &unknown);
        }
        assert_eq!((watch.watched().requests, watch.watched().callers), (6, 4));
    }

    /// A policy that permits the request says nothing of somebody who was turned away before one was asked.
    #[test]
    fn what_is_refused_before_the_policy_is_newly_permitted_by_none() {
        let (candidate, present) = policies();
        let mut watch = Watch::new(present, candidate, &Outlook::default());
        let banned = seen(Some("ivan"), Answered::Refused(portcullis_events::ReasonCode::BanActive));
        watch.see(&banned, &unknown);
        let Seen { request, .. } = Seen::clone(&banned);
        let identity = KeptIdentity::Rejected(CredentialProblemKind::Invalid);
        let invalid = Answered::Refused(portcullis_events::ReasonCode::AuthnInvalid);
        watch.see(&Arc::new(Seen { request: KeptRequest { identity, ..request }, answered: invalid }), &unknown);
        let malformed = Answered::Refused(portcullis_events::ReasonCode::RequestMalformed);
        watch.see(&seen(Some("ivan"), malformed), &unknown);
        assert_eq!((watch.watched().newly_permitted, watch.watched().refused), (0, 0));
    }

    #[test]
    fn the_budget_is_a_share_of_turns_and_takes_several_callers() {
        let check = |turns, turns_denied, callers_denied, share_ppm, over| {
            let watched = Watched { turns, turns_denied, callers_denied, ..Watched::default() };
            let budget = Budget { share_ppm, callers: 3 };
            assert_eq!(watched.is_over(budget), over, "{turns_denied} of {turns} by {callers_denied}, {share_ppm}");
        };
        check(3, 3, 3, 0, true);
        check(2, 2, 2, 0, false);
        check(10_000, 0, 0, 0, false);
        check(10, 5, 5, 50_000, false);
        check(10, 6, 6, 50_000, true);
        check(10_000, 10, 10, 1_000, false);
        check(10_000, 11, 10, 1_000, true);
        check(10_000, 5_000, 2, 1_000, false);
        check(u64::MAX, u64::MAX, u64::MAX, 1_000_000, false);
    }

    #[test]
    fn whoever_goes_through_a_hole_again_and_again_is_one_and_counts_once_a_minute() {
        let (present, candidate) = closing();
        let people = ["ivan", "judy", "kim"];
        let sample = Outlook { recent: people.map(|who| seen(Some(who), OK)).to_vec(), ..Outlook::default() };
        let mut watch = Watch::new(present, candidate, &sample);
        watch.begin(Watched::default());
        let over = |watch: &Watch| watch.watched().is_over(Budget { share_ppm: 1_000, callers: 3 });
        // One of them for an hour, ten times a minute.
        for second in (0..3_600).step_by(6) {
            watch.see(&at(seen(Some("ivan"), OK), second), &unknown);
        }
        let watched = watch.watched();
        assert_eq!(
            (watched.newly_denied, watched.turns, watched.turns_denied, watched.callers_denied),
            (600, 60, 60, 1)
        );
        assert!(!over(&watch), "an insider would have the change taken back that keeps them out");
        watch.see(&at(seen(Some("judy"), OK), 3_600), &unknown);
        assert!(!over(&watch));
        watch.see(&at(seen(Some("kim"), OK), 3_600), &unknown);
        assert!(over(&watch), "a mistake hurts several");
        // A worker that hands over late is of the minute that is counted.
        watch.see(&at(seen(Some("kim"), OK), 3_599), &unknown);
        assert_eq!((watch.watched().turns, watch.watched().turns_denied), (62, 62));
        // Nobody comes in a turn without a name, and after a restart callers are told apart anew.
        watch.see(&seen(None, OK), &unknown);
        assert_eq!(watch.watched().turns, 62);
        let before = watch.watched();
        watch.begin(before);
        assert_eq!((watch.watched().turns_denied, watch.watched().callers_denied), (62, 0));
    }

    #[test]
    fn who_cannot_step_up_is_denied() {
        let before = draft();
        let mut after = draft();
        after.assignments[0].when = WhenDraft { assurance_mfa: true, ..WhenDraft::default() };
        let compile = |draft| Arc::new(Policy::compile(draft).unwrap().0);
        let mut watch = Watch::new(compile(&before), compile(&after), &Outlook::default());
        let by = |principal: Principal| {
            let Seen { request, answered } = Seen::clone(&seen(Some("ivan"), OK));
            let identity = KeptIdentity::Verified(Arc::new(principal.in_group("staff")));
            Arc::new(Seen { request: KeptRequest { identity, ..request }, answered })
        };
        let user = Principal::user("ivan");
        let of_kind = |kind| Principal { kind, ..Principal::user("ci") };
        let known = |_: &Principal| true;
        for (principal, expected) in
            [(user, (0, 1)), (of_kind(PrincipalKind::Service), (1, 1)), (of_kind(PrincipalKind::Certificate), (2, 1))]
        {
            watch.see(&by(principal), &known);
            let watched = watch.watched();
            assert_eq!((watched.newly_denied, watched.newly_step_up), expected);
        }
        let words = watch.found().in_words();
        assert!(words[0].contains("would newly deny 2 of 3 requests"), "{words:?}");
        assert!(words.iter().any(|line| line.starts_with("newly asks for a step-up 1")), "{words:?}");
    }

    #[test]
    fn of_more_than_there_is_room_for_those_are_forgotten_who_did_not_come_for_longest() {
        let mut familiar = Familiar::default();
        let most = FAMILIAR_MAX as u64;
        (0..2 * most).for_each(|who| familiar.learn(who));
        assert!(familiar.contains(0) && familiar.contains(2 * most - 1));
        familiar.learn(0);
        familiar.learn(2 * most);
        (2 * most..3 * most).for_each(|who| familiar.learn(who));
        assert!(familiar.contains(0) && !familiar.contains(1) && familiar.contains(3 * most - 1));
        assert!(familiar.young.len() + familiar.old.len() <= 2 * FAMILIAR_MAX);
        let mut minute = Minute::default();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let counted = (0..CALLERS_MAX as u64 + 5).filter(|who| minute.note(*who, now, true) == (true, true)).count();
        assert_eq!(counted, CALLERS_MAX);
    }
}
