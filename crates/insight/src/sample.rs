//! The sample of requests that the gateway keeps: the last ones, and beyond them the newest of each kind.
//!
//! A kind is who did what from which network with which outcome: principal, permission (or route and method where nothing was permitted),
//! address to the /24 (IPv4) or /48 (IPv6), answer. So somebody who comes once a week stays in it, however busy others are. It is kept by one
//! thread; nothing here is on a request's path.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_events::ReasonCode;
use portcullis_policy::{KeptIdentity, KeptRequest, Outcome, Policy};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleLimits {
    /// The last requests. Default 10,000.
    pub recent: usize,
    /// All of them together. Default 40,000.
    pub most: usize,
    /// The last refusals, for what explains spikes. Default 8,192.
    pub refusals: usize,
}

impl Default for SampleLimits {
    fn default() -> Self {
        Self { recent: 10_000, most: 40_000, refusals: 8_192 }
    }
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// It was permitted, and answered with this status.
    Permitted(u16),
    /// It was refused.
    Refused(ReasonCode),
}

/// One request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What its decision rested on.
    pub request: KeptRequest,
    /// How it was answered.
    pub answered: Answered,
}

impl Seen {
    /// Whether the caller was refused, by the gateway or with 401 or 403 by the upstream.
    pub fn is_refused(&self) -> bool {
        match self.answered {
            Answered::Permitted(status) => matches!(status, 401 | 403),
            Answered::Refused(_) => true,
        }
    }

    /// Whether the policy decided that it may pass; `None`: the policy was not asked, or something failed before it was.
    pub fn permitted(&self) -> Option<bool> {
        match self.answered {
            Answered::Permitted(_) => Some(true),
            Answered::Refused(code) => match code.stage() {
                // The upstream failed what had been permitted.
                "upstream" => Some(true),
                "request" | "limit" | "internal" | "session" => None,
                _ => Some(false),
            },
        }
    }
}

/// A request of the sample, and how many of its kind came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// The newest of its kind.
    pub seen: Arc<Seen>,
    /// How many of its kind came since the kind is kept.
    pub weight: u64,
    /// When the first of them was made.
    pub since: Timestamp,
    number: u64,
}

/// The sample at one moment.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// The last requests, the oldest first.
    pub recent: Vec<Arc<Seen>>,
    /// The newest of each kind that is not among them, the oldest first.
    pub older: Vec<Sampled>,
    /// Likewise of those kinds whose newest is among the last requests and is not the first. Of [`Sample::look_back`] alone.
    pub lasting: Vec<Sampled>,
    /// The last refusals, those of upstreams too, the oldest first.
    pub refusals: Vec<Arc<Seen>>,
    /// Requests that were taken into the sample so far.
    pub taken: u64,
    /// Requests that came faster than they could be taken.
    pub missed: u64,
    /// When each software came first, whatever it was answered, as far back as that is kept.
    pub software: Vec<(Arc<str>, Timestamp)>,
}

/// The sample.
#[derive(Debug, Clone)]
pub struct Sample {
    limits: SampleLimits,
    recent: VecDeque<Arc<Seen>>,
    kinds: HashMap<u64, Sampled>,
    refusals: VecDeque<Arc<Seen>>,
    software: HashMap<Arc<str>, Since>,
    taken: u64,
    missed: u64,
}

/// When something came first, and the number of the request that it came with last.
#[derive(Debug, Clone, Copy)]
struct Since {
    first: Timestamp,
    last: u64,
    welcome: Welcome,
}

/// Who was let in with a software; those of the first are forgotten first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Welcome {
    Nobody,
    /// Anybody can fetch a public page, and call what with as they like.
    Anybody,
    Verified,
}

/// Of how many softwares it is known when they came first.
const MOST_SOFTWARE: usize = 4_096;

/// The share of the kinds that is let go at once, so that looking for the oldest is rare.
const LET_GO: usize = 16;

impl Sample {
    /// An empty one.
    pub fn new(limits: SampleLimits) -> Self {
        Self {
            limits,
            recent: VecDeque::new(),
            kinds: HashMap::new(),
            refusals: VecDeque::new(),
            software: HashMap::new(),
            taken: 0,
            missed: 0,
        }
    }

    /// Takes a request, which was decided on under this policy, and returns it for who looks at it, too.
    pub fn add(&mut self, seen: Seen, policy: &Policy) -> Arc<Seen> {
        let kind = kind_of(&seen, policy);
        let seen = Arc::new(seen);
        let number = self.taken;
        self.taken = self.taken.saturating_add(1);
        self.note_software(&seen, number);
        push(&mut self.recent, &seen, self.limits.recent);
        if seen.is_refused() {
            push(&mut self.refusals, &seen, self.limits.refusals);
        }
        if let Some(sampled) = self.kinds.get_mut(&kind) {
            let weight = sampled.weight.saturating_add(1);
            *sampled = Sampled { seen: Arc::clone(&seen), weight, number, ..*sampled };
            return seen;
        }
        let room = self.limits.most.saturating_sub(self.limits.recent);
        if self.kinds.len() >= room {
            self.let_go();
        }
        if self.kinds.len() < room {
            self.kinds.insert(kind, Sampled { seen: Arc::clone(&seen), weight: 1, since: seen.request.now, number });
        }
        seen
    }

    /// So many requests came faster than they could be taken.
    pub fn note_missed(&mut self, requests: u64) {
        self.missed = self.missed.saturating_add(requests);
    }

    fn note_software(&mut self, seen: &Seen, number: u64) {
        let name = seen.request.software();
        if name.is_empty() {
            return;
        }
        let welcome = match seen.request.principal() {
            _ if seen.is_refused() => Welcome::Nobody,
            None => Welcome::Anybody,
            Some(_) => Welcome::Verified,
        };
        if let Some(since) = self.software.get_mut(name) {
            since.last = number;
            since.welcome = since.welcome.max(welcome);
            return;
        }
        if self.software.len() >= MOST_SOFTWARE {
            // Those that nobody was ever let in with, and then those that have not come for longest: whoever is refused may call it as they like, and
            // is to make nobody forget what others come with.
            let order = |since: &Since| (since.welcome, since.last);
            let mut orders: Vec<(Welcome, u64)> = self.software.values().map(order).collect();
            let (_, middle, _) = orders.select_nth_unstable(MOST_SOFTWARE / 2);
            let middle = *middle;
            self.software.retain(|_, since| order(since) > middle);
        }
        self.software.insert(Arc::from(name), Since { first: seen.request.now, last: number, welcome });
    }

    /// Lets go of the kinds that have not come for longest; where refusals are most of them, of refusals alone. So who is refused from very many
    /// networks makes nobody forget who is let in.
    fn let_go(&mut self) {
        let refused = self.kinds.values().filter(|sampled| sampled.seen.is_refused()).count();
        let refused_alone = refused * 2 > self.kinds.len();
        let may_go = |sampled: &Sampled| !refused_alone || sampled.seen.is_refused();
        let going = self.kinds.values().filter(|sampled| may_go(sampled));
        let mut numbers: Vec<u64> = going.map(|sampled| sampled.number).collect();
        let goes = (numbers.len() / LET_GO).max(1);
        if goes > numbers.len() {
            return;
        }
        let (_, last, _) = numbers.select_nth_unstable(goes - 1);
        let last = *last;
        self.kinds.retain(|_, sampled| sampled.number > last || !may_go(sampled));
    }

    /// The same as [`Self::look`], and with it since when each kind comes that still does.
    pub fn look_back(&self) -> Outlook {
        let first = self.taken.saturating_sub(self.recent.len() as u64);
        let lasting = self.kinds.values().filter(|sampled| sampled.number >= first && sampled.weight > 1);
        Outlook { lasting: lasting.cloned().collect(), ..self.look() }
    }

    /// What is in it now. It costs a count up for each request.
    pub fn look(&self) -> Outlook {
        let first = self.taken.saturating_sub(self.recent.len() as u64);
        let mut older: Vec<Sampled> = self.kinds.values().filter(|sampled| sampled.number < first).cloned().collect();
        older.sort_unstable_by_key(|sampled| sampled.number);
        Outlook {
            recent: self.recent.iter().cloned().collect(),
            older,
            lasting: Vec::new(),
            refusals: self.refusals.iter().cloned().collect(),
            taken: self.taken,
            missed: self.missed,
            software: self.software.iter().map(|(name, since)| (Arc::clone(name), since.first)).collect(),
        }
    }

    /// How many requests it holds, at most.
    pub fn len(&self) -> usize {
        self.recent.len() + self.kinds.len()
    }

    /// Whether nothing has been taken yet.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }
}

fn push(ring: &mut VecDeque<Arc<Seen>>, seen: &Arc<Seen>, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    if most > 0 {
        ring.push_back(Arc::clone(seen));
    }
}

/// Which kind a request is of: a hash. Two kinds with the same one would be kept as one.
fn kind_of(seen: &Seen, policy: &Policy) -> u64 {
    let request = &seen.request;
    let mut hash = DefaultHasher::new();
    match &request.identity {
        KeptIdentity::Verified(principal) => (0_u8, principal.kind, &principal.id).hash(&mut hash),
        KeptIdentity::Anonymous => 1_u8.hash(&mut hash),
        KeptIdentity::NotLookedAt => 2_u8.hash(&mut hash),
        KeptIdentity::Rejected(kind) => (3_u8, kind).hash(&mut hash),
        KeptIdentity::Unavailable(dependency) => (4_u8, dependency).hash(&mut hash),
    }
    network_of(request.client.ip()).hash(&mut hash);
    match seen.answered {
        Answered::Permitted(status) => (Outcome::Permit, status / 100).hash(&mut hash),
        Answered::Refused(code) => code.code().hash(&mut hash),
    }
    let asked = request.under(policy, |asked| {
        (asked.route.map(|route| route.index()), policy.used_permission(asked).map(|used| used.index))
    });
    asked.hash(&mut hash);
    request.method().hash(&mut hash);
    hash.finish()
}

/// The network of an address: /24 of IPv4, /48 of IPv6.
pub(crate) fn network_of(address: Option<IpAddr>) -> Option<u64> {
    Some(match address? {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => (1 << 63) | u64::try_from(address.to_bits() >> 80).unwrap_or_default(),
    })
}

/// The same as text; empty where the address is unknown.
pub(crate) fn network_text(address: Option<IpAddr>) -> String {
    match address {
        None => String::new(),
        Some(IpAddr::V4(address)) => format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        Some(IpAddr::V6(address)) => format!("{}/48", Ipv6Addr::from_bits(address.to_bits() >> 80 << 80)),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{ClientAddress, KeptText, PolicyDraft, Principal};

    use super::*;

    fn policy() -> Policy {
        Policy::compile(&PolicyDraft::default()).unwrap().0
    }

    fn seen(user: &str, address: [u8; 4], answered: Answered) -> Seen {
        let text = KeptText { method: "GET", host: "a", path: "/x", software: "" };
        let request = KeptRequest::new(text, "2026-11-23T10:00:00Z".parse().unwrap()).unwrap();
        let identity = KeptIdentity::Verified(Arc::new(Principal::user(user)));
        let client = ClientAddress::known(address.into());
        Seen { request: KeptRequest { identity, client, ..request }, answered }
    }

    const OK: Answered = Answered::Permitted(200);
    const LIMITS: SampleLimits = SampleLimits { recent: 10, most: 26, refusals: 3 };

    #[test]
    fn whoever_comes_seldom_stays_in_it() {
        let (policy, mut sample) = (policy(), Sample::new(LIMITS));
        sample.add(seen("seldom", [203, 0, 113, 7], OK), &policy);
        for _ in 0..1_000 {
            sample.add(seen("busy", [203, 0, 113, 8], OK), &policy);
        }
        let outlook = sample.look();
        assert_eq!((outlook.recent.len(), outlook.older.len(), outlook.taken), (10, 1, 1_001));
        assert_eq!(&*outlook.older[0].seen.request.principal().unwrap().id, "seldom");
    }

    #[test]
    fn a_kind_is_who_did_what_from_where_with_which_outcome() {
        let policy = policy();
        let kinds = |seens: &[Seen]| {
            let mut kinds: Vec<u64> = seens.iter().map(|seen| kind_of(seen, &policy)).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.len()
        };
        let refused = Answered::Refused(ReasonCode::RbacNoMatchingGrant);
        assert_eq!(kinds(&[seen("a", [203, 0, 113, 7], OK), seen("a", [203, 0, 113, 8], OK)]), 1);
        assert_eq!(kinds(&[seen("a", [203, 0, 113, 7], OK), seen("a", [203, 0, 114, 7], OK)]), 2);
        assert_eq!(kinds(&[seen("a", [203, 0, 113, 7], OK), seen("b", [203, 0, 113, 7], OK)]), 2);
        assert_eq!(kinds(&[seen("a", [203, 0, 113, 7], OK), seen("a", [203, 0, 113, 7], refused)]), 2);
    }

    /// Whoever is refused can come from as many networks, and with as many names, as they like.
    #[test]
    fn refusals_make_nobody_forget_who_was_let_in() {
        let (policy, mut sample) = (policy(), Sample::new(LIMITS));
        let named = |seen: Seen, software: &str| {
            let text = KeptText { method: "GET", host: "a", path: "/x", software };
            let Seen { request, answered } = seen;
            let KeptRequest { identity, client, .. } = request;
            Seen { request: KeptRequest { identity, client, ..KeptRequest::new(text, request.now).unwrap() }, answered }
        };
        for person in 0..5 {
            sample
                .add(named(seen(&format!("p{person}"), [203, 0, 113, 7], OK), &format!("reporter/{person}")), &policy);
        }
        let refused = Answered::Refused(ReasonCode::AuthnInvalid);
        for number in 0..20_000_u32 {
            let [_, _, b, c] = number.to_be_bytes();
            sample.add(named(seen("x", [10, b, c, 1], refused), &format!("guess/{number}")), &policy);
        }
        // Nor do those who are let in to a public page, where anybody is.
        for number in 0..5_000_u32 {
            let Seen { request, answered } = named(seen("x", [10, 1, 1, 1], OK), &format!("page/{number}"));
            sample
                .add(Seen { request: KeptRequest { identity: KeptIdentity::Anonymous, ..request }, answered }, &policy);
        }
        let outlook = sample.look();
        let let_in = outlook.older.iter().filter(|one| one.seen.request.principal().is_some());
        let let_in = let_in.filter(|one| one.seen.answered == OK).count();
        assert_eq!(let_in, 5, "{:?}", outlook.older);
        for person in 0..5 {
            let name = format!("reporter/{person}");
            assert!(outlook.software.iter().any(|(known, _)| **known == *name), "{name}");
        }
        assert!(sample.len() <= LIMITS.most && sample.software.len() <= MOST_SOFTWARE);
    }

    /// Who comes all the time was there before, though the newest of their requests is a moment ago.
    #[test]
    fn since_when_a_kind_comes_is_known() {
        let (policy, mut sample) = (policy(), Sample::new(LIMITS));
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let one = |second: i64| {
            let Seen { request, answered } = seen("busy", [203, 0, 113, 7], OK);
            Seen { request: KeptRequest { now: at(second), ..request }, answered }
        };
        (0..100).for_each(|second| drop(sample.add(one(second), &policy)));
        assert_eq!(sample.look().lasting, []);
        let outlook = sample.look_back();
        let [lasting] = &outlook.lasting[..] else { panic!("{:?}", outlook.lasting) };
        assert_eq!((lasting.since, lasting.weight, lasting.seen.request.now), (at(0), 100, at(99)));
        assert_eq!(outlook.older, []);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let (policy, mut sample) = (policy(), Sample::new(LIMITS));
        for number in 0..500_u32 {
            let code = if number % 2 == 0 { OK } else { Answered::Refused(ReasonCode::RbacNoMatchingGrant) };
            sample.add(seen(&number.to_string(), [203, 0, 113, 7], code), &policy);
            assert!(sample.len() <= LIMITS.most, "{number}");
        }
        let outlook = sample.look();
        assert_eq!((outlook.recent.len(), outlook.refusals.len()), (10, 3));
        // The newest kinds are those that are left.
        assert!(outlook.older.iter().all(|sampled| sampled.number >= 470), "{:?}", outlook.older);
    }
}
