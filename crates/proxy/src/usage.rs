//! What was used: who exercised which permission, from where, and through which rule, counted by each worker for itself.
//!
//! A worker counts in a table of its own, which no other thread sees: a permitted request costs the hash of its principal and permission
//! and a look into that table, and nothing is locked, sent or waited for. Each second it hands the table over, as it does once more when it
//! ends. What there is no room for is not counted, and that is said: usage may be counted too low and never too high.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_policy::{Decision, Policy, Principal, RuleKind, UsedAction};

use crate::transit::Facts;

/// Different uses of one second and one worker.
const USES: usize = 16_384;
/// Of these, refused ones.
const REFUSED: usize = 4_096;
/// Different addresses of one second and one worker.
const ADDRESSES: usize = 16_384;
/// Different denies of one second and one worker.
const DENIES: usize = 1_024;
/// Tables that wait for whoever takes them: at one for each second, he may be away for a while.
const WAITING: usize = 16;

/// What one worker counted under one policy.
#[derive(Debug)]
pub struct Used {
    /// The policy that decided.
    pub policy: Arc<Policy>,
    /// Who used, or lacked, which permission.
    pub uses: Vec<Use>,
    /// From where requests were permitted, each with how many: an IPv6 address stands for its /64.
    pub addresses: Vec<(IpAddr, u32)>,
    /// The rules that refused, each with how often. Those that permitted are among `uses`.
    pub refusing: Vec<(RuleKind, Arc<str>, u32)>,
    /// Permitted requests that were not counted, for want of room.
    pub missed: u64,
    /// Addresses that were not counted.
    pub addresses_missed: u64,
    /// When the last of it happened, in seconds since 1970.
    pub until: i64,
}

/// One permission of one principal.
#[derive(Debug, Clone)]
pub struct Use {
    /// Who; `None`: nobody in particular.
    pub who: Option<Arc<Principal>>,
    /// What.
    pub action: UsedAction,
    /// It was permitted; else it was refused, for want of a grant.
    pub permitted: bool,
    /// How often.
    pub times: u32,
    /// When last, in seconds since 1970.
    pub last: i64,
}

/// The queues of all workers.
#[derive(Debug)]
pub struct UsageLanes {
    senders: Vec<SyncSender<Used>>,
    /// Only one thread takes from them.
    queues: Mutex<Vec<Receiver<Used>>>,
}

impl UsageLanes {
    /// A queue for each of so many workers.
    pub fn new(workers: usize) -> Self {
        let (senders, queues) = (0..workers).map(|_| sync_channel(WAITING)).unzip();
        Self { senders, queues: Mutex::new(queues) }
    }

    /// Takes what was handed over.
    pub fn take(&self, mut take: impl FnMut(Used)) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in &*queues {
            queue.try_iter().take(WAITING).for_each(&mut take);
        }
    }

    /// What the worker of this index counts with.
    pub(crate) fn counting(&self, index: usize) -> Option<Counting> {
        let out = self.senders.get(index)?.clone();
        Some(Counting { table: RefCell::default(), staged: RefCell::default(), random: RandomState::new(), out })
    }
}

/// One worker's counts. It hands them over when it ends.
#[derive(Debug)]
pub(crate) struct Counting {
    table: RefCell<Table>,
    /// By the policy that is rolled out, while one is: its rules have other numbers.
    staged: RefCell<Table>,
    random: RandomState,
    out: SyncSender<Used>,
}

#[derive(Debug, Default)]
struct Table {
    policy: Option<Arc<Policy>>,
    /// Whether it has any networks.
    asks_addresses: bool,
    /// By a hash that nobody outside can foresee.
    uses: HashMap<u64, Use, BuildHasherDefault<Ready>>,
    refused: usize,
    addresses: HashMap<IpAddr, u32>,
    refusing: HashMap<(RuleKind, Arc<str>), u32>,
    missed: u64,
    addresses_missed: u64,
    until: i64,
    /// What could not be handed over yet.
    waiting: Vec<Used>,
}

/// The key is a hash already.
#[derive(Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Nothing but numbers is hashed with it; anything else would still be a hash.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl Counting {
    /// Counts a decision of the policy in force.
    pub(crate) fn note(&self, facts: &Facts, decision: &Decision, action: Option<UsedAction>) {
        self.note_in(&self.table, &facts.loaded.snapshot.policy, facts, (decision, action));
    }

    /// Counts one of the policy that is rolled out, and what the request used by the policy in force, if that permits it: should the new one be taken back,
    /// these permissions were in use all the while. Of a permission that has the same name in both it is one use.
    pub(crate) fn note_staged(&self, facts: &Facts, decision: &Decision, action: Option<UsedAction>) {
        self.note_in(&self.staged, facts.policy().0, facts, (decision, action));
        let in_force = &facts.loaded.snapshot.policy;
        if let Some(action) = facts.access_request().and_then(|request| in_force.would_use(&request)) {
            let mut table = self.table.borrow_mut();
            table.go_by(in_force);
            self.note_answer(&mut table, facts, true, Some(action), 0);
        }
    }

    fn note_in(
        &self,
        table: &RefCell<Table>,
        policy: &Arc<Policy>,
        facts: &Facts,
        (decision, action): (&Decision, Option<UsedAction>),
    ) {
        let mut table = table.borrow_mut();
        table.go_by(policy);
        let permitted = match decision {
            Decision::Permit(_) => true,
            Decision::Deny(denial) | Decision::Undecided(denial) => {
                if let Some(rule) = denial.rule.as_ref().filter(|rule| rule.kind == RuleKind::Deny) {
                    table.note_refusing(rule.kind, &rule.name);
                }
                false
            }
            Decision::Challenge(_) | Decision::StepUp(_) => false,
        };
        self.note_answer(&mut table, facts, permitted, action, 1);
    }

    fn note_answer(&self, table: &mut Table, facts: &Facts, permitted: bool, action: Option<UsedAction>, times: u32) {
        table.until = facts.now.as_second();
        if permitted && let Some(address) = facts.client_address().ip().filter(|_| table.asks_addresses) {
            table.note_address(address, times);
        }
        let Some(action) = action else { return };
        let who = facts.verified();
        let key = self.random.hash_one((who.map(|who| (who.kind, &*who.id)), action, permitted));
        table.note_use(key, who, action, permitted, times);
    }

    /// Hands over what was counted. Called each second.
    pub(crate) fn hand_over(&self) {
        self.hand_over_from(&self.table);
        self.hand_over_from(&self.staged);
    }

    fn hand_over_from(&self, table: &RefCell<Table>) {
        let mut table = table.borrow_mut();
        table.close();
        while !table.waiting.is_empty() {
            let used = table.waiting.remove(0);
            match self.out.try_send(used) {
                Ok(()) => {}
                Err(TrySendError::Full(used)) => {
                    table.waiting.insert(0, used);
                    return;
                }
                // Nobody will ever take it.
                Err(TrySendError::Disconnected(_)) => return table.waiting.clear(),
            }
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Table {
    /// From now on this policy decides.
    fn go_by(&mut self, policy: &Arc<Policy>) {
        if self.policy.as_ref().is_some_and(|present| Arc::ptr_eq(present, policy)) {
            return;
        }
        self.close();
        self.asks_addresses = policy.size().networks > 0;
        self.policy = Some(Arc::clone(policy));
    }

    fn note_use(&mut self, key: u64, who: Option<&Arc<Principal>>, action: UsedAction, permitted: bool, times: u32) {
        let last = self.until;
        if let Some(found) = self.uses.get_mut(&key) {
            let same = found.action == action && found.permitted == permitted && is_same(found.who.as_ref(), who);
            if same {
                found.times = found.times.saturating_add(times);
                found.last = last;
                return;
            }
            // Two uses with one hash: one in 2⁶⁴.
            self.missed += u64::from(permitted);
            return;
        }
        if self.uses.len() >= USES || (!permitted && self.refused >= REFUSED) {
            self.missed += u64::from(permitted);
            return;
        }
        self.refused += usize::from(!permitted);
        self.uses.insert(key, Use { who: who.cloned(), action, permitted, times, last });
    }

    fn note_address(&mut self, address: IpAddr, times: u32) {
        let address = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() >> 64 << 64)),
        };
        if let Some(count) = self.addresses.get_mut(&address) {
            *count = count.saturating_add(times);
        } else if self.addresses.len() < ADDRESSES {
            self.addresses.insert(address, times);
        } else {
            self.addresses_missed += 1;
        }
    }

    fn note_refusing(&mut self, kind: RuleKind, name: &Arc<str>) {
        if self.refusing.len() < DENIES || self.refusing.contains_key(&(kind, Arc::clone(name))) {
            let count = self.refusing.entry((kind, Arc::clone(name))).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Ends what was counted under the policy until now.
    fn close(&mut self) {
        let Some(policy) = &self.policy else { return };
        let nothing = self.uses.is_empty() && self.addresses.is_empty() && self.refusing.is_empty();
        if nothing && self.missed == 0 && self.addresses_missed == 0 {
            // Nor is a policy held that may be in force no more.
            self.policy = None;
            return;
        }
        self.refused = 0;
        let used = Used {
            policy: Arc::clone(policy),
            uses: self.uses.drain().map(|(_, each)| each).collect(),
            addresses: self.addresses.drain().collect(),
            refusing: self.refusing.drain().map(|((kind, name), times)| (kind, name, times)).collect(),
            missed: std::mem::take(&mut self.missed),
            addresses_missed: std::mem::take(&mut self.addresses_missed),
            until: self.until,
        };
        if self.waiting.len() < WAITING {
            self.waiting.push(used);
        } else {
            // Whoever takes them is gone for half a minute.
            self.missed = used.missed.saturating_add(used.uses.iter().filter(|each| each.permitted).count() as u64);
            self.addresses_missed = used.addresses_missed.saturating_add(used.addresses.len() as u64);
        }
    }
}

fn is_same(one: Option<&Arc<Principal>>, other: Option<&Arc<Principal>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.kind == other.kind && one.id == other.id,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{
        AccessRequest, AssignmentDraft, CanonicalPath, IdentityFact, PolicyDraft, RoleDraft, RouteDraft,
    };

    use super::*;

    fn policy() -> Arc<Policy> {
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![RoleDraft::new("reader", ["GET /a", "GET /b"])],
            assignments: vec![AssignmentDraft::new("all", "reader", ["authenticated"])],
            ..PolicyDraft::default()
        };
        Arc::new(Policy::compile(&draft).unwrap().0)
    }

    fn action(policy: &Policy, who: &Principal, path: &str) -> UsedAction {
        let path = CanonicalPath::parse(path).unwrap();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let route = policy.find_route("x", &path);
        let request =
            AccessRequest { identity: IdentityFact::Verified(who), ..AccessRequest::new("GET", &path, route, now) };
        policy.decide_noting(&request).1.unwrap()
    }

    fn taken(lanes: &UsageLanes) -> Vec<Used> {
        let mut all = Vec::new();
        lanes.take(|used| all.push(used));
        all
    }

    /// A key as a hash is one; no two numbers have the same.
    fn key(number: usize) -> u64 {
        (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn the_same_use_is_counted_and_others_are_told_apart() {
        let (lanes, policy) = (UsageLanes::new(1), policy());
        let counting = lanes.counting(0).unwrap();
        let alice = Arc::new(Principal::user("alice"));
        let (a, b) = (action(&policy, &alice, "/a"), action(&policy, &alice, "/b"));
        {
            let mut table = counting.table.borrow_mut();
            table.go_by(&policy);
            for (key, action) in [(1, a), (1, a), (2, b)] {
                table.note_use(key, Some(&alice), action, true, 1);
            }
            // A key that two have is no use of either.
            table.note_use(2, Some(&Arc::new(Principal::user("bob"))), b, true, 1);
        }
        counting.hand_over();
        let [used] = &taken(&lanes)[..] else { panic!("one table") };
        let mut times: Vec<u32> = used.uses.iter().map(|each| each.times).collect();
        times.sort_unstable();
        assert_eq!((times, used.missed), (vec![1, 2], 1));
        counting.hand_over();
        assert!(taken(&lanes).is_empty(), "what was handed over is not handed over again");
        assert!(lanes.counting(1).is_none());
    }

    #[test]
    fn another_policy_begins_another_table() {
        let (lanes, first, second) = (UsageLanes::new(1), policy(), policy());
        let counting = lanes.counting(0).unwrap();
        let alice = Arc::new(Principal::user("alice"));
        for policy in [&first, &second] {
            let mut table = counting.table.borrow_mut();
            table.go_by(policy);
            table.note_use(1, Some(&alice), action(policy, &alice, "/a"), true, 1);
        }
        drop(counting);
        let all = taken(&lanes);
        assert_eq!(all.len(), 2, "the end hands over what is left");
        assert!(Arc::ptr_eq(&all[0].policy, &first) && Arc::ptr_eq(&all[1].policy, &second));
    }

    #[test]
    fn what_there_is_no_room_for_is_said_and_refusals_leave_room_for_permits() {
        let (lanes, policy) = (UsageLanes::new(1), policy());
        let counting = lanes.counting(0).unwrap();
        let alice = Arc::new(Principal::user("alice"));
        let a = action(&policy, &alice, "/a");
        {
            let mut table = counting.table.borrow_mut();
            table.go_by(&policy);
            (0..USES).for_each(|number| table.note_use(key(number), None, a, false, 1));
            assert_eq!((table.uses.len(), table.missed), (REFUSED, 0));
            (0..USES).for_each(|number| table.note_use(key(USES + number), Some(&alice), a, true, 1));
            assert_eq!((table.uses.len(), table.missed), (USES, REFUSED as u64));
            for bits in 0..=ADDRESSES as u32 {
                table.note_address(std::net::Ipv4Addr::from_bits(bits).into(), 1);
            }
            assert_eq!(table.addresses_missed, 1);
        }
        for _ in 0..3 * WAITING {
            counting.table.borrow_mut().note_address("192.0.2.1".parse().unwrap(), 1);
            counting.hand_over();
        }
        let table = counting.table.borrow();
        assert!(table.waiting.len() <= WAITING && table.addresses_missed > 0, "{:?}", table.addresses_missed);
    }

    #[test]
    fn an_address_of_ipv6_is_its_64() {
        let mut table = Table::default();
        for address in ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"] {
            table.note_address(address.parse().unwrap(), 1);
        }
        assert_eq!(table.addresses.len(), 2);
    }
}
