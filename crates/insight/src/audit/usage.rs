//! Who used which permission, and when: what an audit rests on.
//!
//! A row is 24 bytes and its key eight. Everything is bounded: of a principal that uses more permissions than there is room for the rest is
//! not kept and that is marked; where there is no room for more principals at all, that is marked, too. So usage may be too low and never
//! too high, and whoever says that something is unused must ask [`Usage::is_sure_of`] first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use portcullis_policy::{Principal, PrincipalKind, RuleKind};

/// Permissions of one principal.
pub const MOST_OF_A_PRINCIPAL: usize = 256;
/// Rows altogether: with their keys some 40 MB.
pub const MOST_ROWS: usize = 1_000_000;
/// Principals.
pub const MOST_PRINCIPALS: usize = 200_000;
/// Permissions of all policies that there were.
pub const MOST_ACTIONS: usize = 100_000;
/// Addresses; beyond these, networks of them.
pub const MOST_ADDRESSES: usize = 65_536;
/// Rules.
pub const MOST_RULES: usize = 200_000;
/// Groups and roles of one principal that are kept, and bytes of each.
const MOST_NAMES: usize = 256;
const HALF_LIFE_DAYS: u32 = 30;
const DAY_S: i64 = 24 * 60 * 60;

/// How one principal used one permission. Times are seconds since 1970; 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// When it was first used.
    pub first: u32,
    /// When it was last used.
    pub last: u32,
    /// How often, each use counting half after 30 days; as of `last`.
    pub uses: u32,
    /// On which days: bit 0 is the day of `last`, bit 31 the 31st before it.
    pub days: u32,
    /// How often it was refused for want of a grant, likewise; as of `last_denied`.
    pub denied: u32,
    /// When it was last refused.
    pub last_denied: u32,
}

impl Row {
    fn note(&mut self, permitted: bool, times: u32, at: u32) {
        if !permitted {
            let later = at.max(self.last_denied);
            self.denied = decayed(self.denied, self.last_denied, later).saturating_add(times);
            self.last_denied = later;
            return;
        }
        if self.first == 0 || at < self.first {
            self.first = at.max(1);
        }
        if at >= self.last {
            let passed = days_between(self.last, at);
            self.uses = decayed(self.uses, self.last, at).saturating_add(times);
            self.days = self.days.checked_shl(passed).filter(|_| passed < 32).unwrap_or(0) | 1;
            self.last = at.max(1);
        } else {
            // Workers hand over in any order, a second or two apart.
            self.uses = self.uses.saturating_add(times);
            self.days |= 1_u32.checked_shl(days_between(at, self.last)).unwrap_or(0);
        }
    }

    /// Whether it was used at that time or later.
    pub fn is_used_since(&self, time: i64) -> bool {
        self.last > 0 && i64::from(self.last) >= time
    }

    /// How often it was refused, as of now.
    pub fn denied_at(&self, now: i64) -> u32 {
        decayed(self.denied, self.last_denied, seconds(now))
    }

    /// How often it was used, as of now.
    pub fn uses_at(&self, now: i64) -> u32 {
        decayed(self.uses, self.last, seconds(now))
    }

    /// On how many of the last 32 days it was used.
    pub fn days_used(&self) -> u32 {
        self.days.count_ones()
    }
}

/// A count that halves every 30 days, in between along a straight line.
fn decayed(count: u32, since: u32, now: u32) -> u32 {
    let passed = days_between(since, now);
    let halved = count.checked_shr(passed / HALF_LIFE_DAYS).unwrap_or(0);
    let part = u64::from(passed % HALF_LIFE_DAYS);
    let less = u64::from(halved) * part / (2 * u64::from(HALF_LIFE_DAYS));
    halved.saturating_sub(u32::try_from(less).unwrap_or(u32::MAX))
}

fn days_between(earlier: u32, later: u32) -> u32 {
    let day = |time: u32| i64::from(time) / DAY_S;
    u32::try_from(day(later) - day(earlier)).unwrap_or(0)
}

pub(crate) fn seconds(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

/// Somebody who was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPrincipal {
    /// What kind; `None`: nobody in particular.
    pub kind: Option<PrincipalKind>,
    /// The id.
    pub id: Box<str>,
    /// The groups that its credential claimed last, each with whether it may join a local one.
    pub groups: Vec<(Box<str>, bool)>,
    /// The roles that its credential carried last.
    pub roles: Vec<Box<str>>,
    /// When it was first seen, in seconds since 1970.
    pub first: u32,
    /// When it was last seen.
    pub last: u32,
    /// It uses more permissions than are kept.
    pub overflowed: bool,
}

impl SeenPrincipal {
    /// As a policy file writes it.
    pub fn reference(&self) -> String {
        match self.kind {
            Some(kind) => format!("{}:{}", kind.as_str(), self.id),
            None => "anyone".to_owned(),
        }
    }
}

/// When something was seen, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// First, in seconds since 1970.
    pub first: u32,
    /// Last.
    pub last: u32,
    /// How often.
    pub times: u64,
}

impl Seen {
    fn note(&mut self, times: u64, at: u32) {
        self.first = if self.first == 0 { at } else { self.first.min(at) };
        self.last = self.last.max(at);
        self.times = self.times.saturating_add(times);
    }
}

/// A permission: a route, and an action on it.
pub type ActionKey = (Box<str>, Box<str>);
type Who = (Option<PrincipalKind>, Box<str>);

/// What was used.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Since when everything is counted, in seconds since 1970.
    since: Option<i64>,
    /// Since when all addresses are.
    addresses_since: Option<i64>,
    /// There was no room for more principals or permissions.
    crowded: bool,
    principals: Vec<SeenPrincipal>,
    by_who: HashMap<Who, u32>,
    actions: Vec<ActionKey>,
    by_action: HashMap<ActionKey, u32>,
    rows: BTreeMap<(u32, u32), Row>,
    addresses: HashMap<IpNet, Seen>,
    rules: HashMap<(RuleKind, Box<str>), Seen>,
    changed: Changed,
}

/// What is to be written down.
#[derive(Debug, Clone, Default)]
struct Changed {
    principals: HashSet<u32>,
    rows: BTreeSet<(u32, u32)>,
    addresses: HashSet<IpNet>,
    rules: HashSet<(RuleKind, Box<str>)>,
    marks: bool,
}

/// A part of usage in the form in which it is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Since when everything is counted.
    pub since: Option<i64>,
    /// Since when all addresses are.
    pub addresses_since: Option<i64>,
    /// There was no room for all.
    pub crowded: bool,
    /// Who was seen.
    pub principals: Vec<SeenPrincipal>,
    /// Rows: whose, what, how. The first number is a place in `principals`.
    pub rows: Vec<(usize, ActionKey, Row)>,
    /// Addresses.
    pub addresses: Vec<(IpNet, Seen)>,
    /// Rules that decided.
    pub rules: Vec<(RuleKind, Box<str>, Seen)>,
}

impl Usage {
    /// Nothing yet, counted from now on.
    pub fn beginning(now: i64) -> Self {
        let changed = Changed { marks: true, ..Changed::default() };
        Self { since: Some(now), addresses_since: Some(now), changed, ..Self::default() }
    }

    /// From now on everything is counted.
    pub fn begin(&mut self, now: i64) {
        (self.since, self.addresses_since) = (Some(now), Some(now));
        self.changed.marks = true;
    }

    /// What was kept. What there is no room for is left out, and marked.
    pub fn restored(kept: Kept) -> Self {
        let mut usage =
            Self { since: kept.since, addresses_since: kept.addresses_since, crowded: kept.crowded, ..Self::default() };
        let ids: Vec<Option<u32>> = kept.principals.into_iter().map(|seen| usage.add_principal(seen)).collect();
        for (place, action, row) in kept.rows {
            let id = ids.get(place).copied().flatten();
            let row = id.and_then(|id| Some((id, usage.action_id(&action.0, &action.1)?, row)));
            match row {
                Some((id, action, row)) if usage.has_room(id, action) => {
                    usage.rows.insert((id, action), row);
                }
                Some(_) | None => usage.crowded = true,
            }
        }
        usage.addresses = kept.addresses.into_iter().take(2 * MOST_ADDRESSES).collect();
        usage.rules = kept.rules.into_iter().take(MOST_RULES).map(|(kind, name, seen)| ((kind, name), seen)).collect();
        usage.changed = Changed::default();
        usage
    }

    /// Counts that a principal (`None`: nobody in particular) used a permission, or was refused for want of it.
    pub fn note(
        &mut self,
        who: Option<&Principal>,
        (route, action): (&str, &str),
        permitted: bool,
        times: u32,
        at: i64,
    ) {
        let at = seconds(at);
        let Some(id) = self.principal_id(who, at) else {
            self.crowded |= permitted;
            return;
        };
        let Some(action) = self.action_id(route, action) else {
            self.crowded |= permitted;
            return;
        };
        if !self.has_room(id, action) {
            if permitted && let Some(seen) = self.principals.get_mut(id as usize) {
                seen.overflowed = true;
                self.changed.principals.insert(id);
            }
            return;
        }
        self.rows.entry((id, action)).or_default().note(permitted, times, at);
        self.changed.rows.insert((id, action));
    }

    /// Counts where somebody was permitted from. Beyond the bound an address counts as its /24 or /48: then more is taken for used.
    pub fn note_address(&mut self, address: IpAddr, times: u64, at: i64) {
        let exact = match address {
            IpAddr::V4(_) => IpNet::new(address, 32),
            IpAddr::V6(_) => IpNet::new(address, 64),
        };
        let wide = match address {
            IpAddr::V4(_) => IpNet::new(address, 24),
            IpAddr::V6(_) => IpNet::new(address, 48),
        };
        let (Ok(exact), Ok(wide)) = (exact, wide) else { return };
        let (exact, wide) = (exact.trunc(), wide.trunc());
        let place = match self.addresses.contains_key(&exact) || self.addresses.len() < MOST_ADDRESSES {
            true => exact,
            false => wide,
        };
        if !self.addresses.contains_key(&place) && self.addresses.len() >= 2 * MOST_ADDRESSES {
            return self.note_missed(0, times, at);
        }
        self.addresses.entry(place).or_default().note(times, seconds(at));
        self.changed.addresses.insert(place);
    }

    /// Counts that a rule decided.
    pub fn note_rule(&mut self, kind: RuleKind, name: &str, times: u64, at: i64) {
        let key = (kind, Box::from(name));
        if self.rules.len() < MOST_RULES || self.rules.contains_key(&key) {
            self.rules.entry(key.clone()).or_default().note(times, seconds(at));
            self.changed.rules.insert(key);
        }
    }

    /// Some permitted requests, or addresses of such, were not counted: what is said of unused permissions begins anew.
    pub fn note_missed(&mut self, permits: u64, addresses: u64, at: i64) {
        if permits > 0 {
            self.since = Some(at);
        }
        if addresses > 0 {
            self.addresses_since = Some(at);
        }
        self.changed.marks |= permits > 0 || addresses > 0;
    }

    /// Since when everything is counted, in seconds since 1970; `None`: nothing is.
    pub fn since(&self) -> Option<i64> {
        self.since
    }

    /// Since when all addresses are counted.
    pub fn addresses_since(&self) -> Option<i64> {
        self.addresses_since
    }

    /// Whether what is not in it was not used. Not of somebody who uses more than is kept, and, where there was no room for more principals,
    /// not of somebody who was never seen.
    pub fn is_sure_of(&self, principal: &str) -> bool {
        match self.find(principal) {
            Some(seen) => !seen.overflowed,
            None => !self.crowded,
        }
    }

    /// Whether there was no room for some.
    pub fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Who was seen, by the name that a policy file would write.
    pub fn find(&self, principal: &str) -> Option<&SeenPrincipal> {
        self.principals.get(self.id_of(principal)? as usize)
    }

    fn id_of(&self, principal: &str) -> Option<u32> {
        let who: Who = match principal.split_once(':') {
            None if principal == "anyone" => (None, Box::default()),
            None => return None,
            Some((kind, id)) => (Some(kind_named(kind)?), id.into()),
        };
        self.by_who.get(&who).copied()
    }

    /// Everybody who was seen.
    pub fn principals(&self) -> &[SeenPrincipal] {
        &self.principals
    }

    /// What a principal did: route, action, and how.
    pub fn rows_of(&self, principal: &str) -> impl Iterator<Item = (&str, &str, &Row)> {
        let id = self.id_of(principal);
        let range = id.map(|id| self.rows.range((id, 0)..=(id, u32::MAX))).into_iter().flatten();
        range.filter_map(|((_, action), row)| {
            let (route, action) = self.actions.get(*action as usize)?;
            Some((&**route, &**action, row))
        })
    }

    /// All rows: whose, route, action, and how.
    pub fn rows(&self) -> impl Iterator<Item = (&SeenPrincipal, &str, &str, &Row)> {
        self.rows.iter().filter_map(|((id, action), row)| {
            let (route, action) = self.actions.get(*action as usize)?;
            Some((self.principals.get(*id as usize)?, &**route, &**action, row))
        })
    }

    /// From where somebody was permitted.
    pub fn addresses(&self) -> impl Iterator<Item = (&IpNet, &Seen)> {
        self.addresses.iter()
    }

    /// When a rule last decided.
    pub fn rule(&self, kind: RuleKind, name: &str) -> Option<&Seen> {
        self.rules.get(&(kind, Box::from(name)))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was used yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What has changed since the last time, at most so many rows of each kind.
    pub fn take_changes(&mut self, most: usize) -> Kept {
        let mut kept =
            Kept { since: self.since, addresses_since: self.addresses_since, crowded: self.crowded, ..Kept::default() };
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut rows: Vec<(u32, u32)> = Vec::new();
        while rows.len() < most
            && let Some(key) = self.changed.rows.pop_first()
        {
            rows.push(key);
        }
        let mut ids: Vec<u32> = self.changed.principals.drain().collect();
        ids.extend(rows.iter().map(|(id, _)| *id));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(seen) = self.principals.get(id as usize) {
                places.insert(id, kept.principals.len());
                kept.principals.push(seen.clone());
            }
        }
        for (id, action) in rows {
            let (Some(place), Some(key), Some(row)) =
                (places.get(&id), self.actions.get(action as usize), self.rows.get(&(id, action)))
            else {
                continue;
            };
            kept.rows.push((*place, key.clone(), *row));
        }
        let addresses: Vec<IpNet> = self.changed.addresses.iter().take(most).copied().collect();
        for address in addresses {
            self.changed.addresses.remove(&address);
            kept.addresses.extend(self.addresses.get(&address).map(|seen| (address, *seen)));
        }
        let rules: Vec<_> = self.changed.rules.iter().take(most).cloned().collect();
        for key in rules {
            self.changed.rules.remove(&key);
            if let Some(seen) = self.rules.get(&key) {
                kept.rules.push((key.0, key.1, *seen));
            }
        }
        self.changed.marks = false;
        kept
    }

    /// What was taken could not be written: it has changed still.
    pub fn give_back(&mut self, kept: &Kept) {
        let whose: Vec<Option<u32>> = kept.principals.iter().map(|seen| self.id_of(&seen.reference())).collect();
        self.changed.principals.extend(whose.iter().flatten());
        for (place, action, _) in &kept.rows {
            if let (Some(id), Some(action)) = (whose.get(*place).copied().flatten(), self.by_action.get(action)) {
                self.changed.rows.insert((id, *action));
            }
        }
        self.changed.addresses.extend(kept.addresses.iter().map(|(address, _)| *address));
        self.changed.rules.extend(kept.rules.iter().map(|(kind, name, _)| (*kind, name.clone())));
        self.changed.marks = true;
    }

    /// Whether something has changed since the last time.
    pub fn has_changes(&self) -> bool {
        let Changed { principals, rows, addresses, rules, marks } = &self.changed;
        *marks || !(principals.is_empty() && rows.is_empty() && addresses.is_empty() && rules.is_empty())
    }

    fn principal_id(&mut self, who: Option<&Principal>, at: u32) -> Option<u32> {
        let key: Who = who.map_or((None, Box::default()), |who| (Some(who.kind), who.id.clone()));
        if let Some(id) = self.by_who.get(&key).copied() {
            let seen = self.principals.get_mut(id as usize)?;
            seen.last = seen.last.max(at);
            if let Some(who) = who.filter(|who| !carries(seen, who)) {
                (seen.groups, seen.roles) = carried(who);
                self.changed.principals.insert(id);
            }
            return Some(id);
        }
        let (groups, roles) = who.map(carried).unwrap_or_default();
        let seen = SeenPrincipal { kind: key.0, id: key.1, groups, roles, first: at, last: at, overflowed: false };
        self.add_principal(seen)
    }

    fn add_principal(&mut self, seen: SeenPrincipal) -> Option<u32> {
        if self.principals.len() >= MOST_PRINCIPALS {
            return None;
        }
        let id = u32::try_from(self.principals.len()).ok()?;
        self.by_who.insert((seen.kind, seen.id.clone()), id);
        self.principals.push(seen);
        self.changed.principals.insert(id);
        Some(id)
    }

    fn action_id(&mut self, route: &str, action: &str) -> Option<u32> {
        let key: ActionKey = (route.into(), action.into());
        if let Some(id) = self.by_action.get(&key) {
            return Some(*id);
        }
        if self.actions.len() >= MOST_ACTIONS {
            return None;
        }
        let id = u32::try_from(self.actions.len()).ok()?;
        self.actions.push(key.clone());
        self.by_action.insert(key, id);
        Some(id)
    }

    fn has_room(&mut self, id: u32, action: u32) -> bool {
        if self.rows.contains_key(&(id, action)) {
            return true;
        }
        let own = self.rows.range((id, 0)..=(id, u32::MAX)).count();
        if self.rows.len() >= MOST_ROWS {
            self.crowded = true;
            return false;
        }
        own < MOST_OF_A_PRINCIPAL
    }
}

/// Groups, each with whether it may join a local one, and roles.
type Carried = (Vec<(Box<str>, bool)>, Vec<Box<str>>);

fn carried(who: &Principal) -> Carried {
    let groups = who.groups.iter().take(MOST_NAMES).map(|claim| (claim.name.clone(), claim.trusted)).collect();
    (groups, who.roles.iter().take(MOST_NAMES).cloned().collect())
}

fn carries(seen: &SeenPrincipal, who: &Principal) -> bool {
    let groups = who.groups.iter().take(MOST_NAMES).map(|claim| (&claim.name, claim.trusted));
    groups.eq(seen.groups.iter().map(|(name, trusted)| (name, *trusted)))
        && who.roles.iter().take(MOST_NAMES).eq(seen.roles.iter())
}

/// The kind of principal that a policy file writes like this.
pub fn kind_named(name: &str) -> Option<PrincipalKind> {
    [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate]
        .into_iter()
        .find(|kind| kind.as_str() == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 20_000 * DAY;

    fn alice() -> Principal {
        Principal::user("alice").in_group("staff")
    }

    #[test]
    fn a_row_knows_when_and_on_which_days() {
        let mut usage = Usage::beginning(NOW);
        for (day, times) in [(0, 3), (1, 1), (4, 1)] {
            usage.note(Some(&alice()), ("app", "GET /a"), true, times, NOW + day * DAY);
        }
        // What comes late counts for its own day.
        usage.note(Some(&alice()), ("app", "GET /a"), true, 1, NOW + 3 * DAY);
        let (route, action, row) = usage.rows_of("user:alice").next().unwrap();
        assert_eq!((route, action), ("app", "GET /a"));
        assert_eq!((i64::from(row.first), i64::from(row.last), row.days), (NOW, NOW + 4 * DAY, 0b11011));
        assert_eq!((row.uses, row.days_used()), (6, 4));
        assert!(row.is_used_since(NOW + 4 * DAY) && !row.is_used_since(NOW + 5 * DAY));
        let late = NOW + 40 * DAY;
        usage.note(Some(&alice()), ("app", "GET /a"), true, 1, late);
        assert_eq!(usage.rows_of("user:alice").next().unwrap().2.days, 1, "days of long ago are forgotten");
    }

    #[test]
    fn a_count_halves_in_thirty_days() {
        let check = |count, days: i64, expected| {
            assert_eq!(decayed(count, seconds(NOW), seconds(NOW + days * DAY)), expected, "{count} {days}");
        };
        check(100, 0, 100);
        check(100, 15, 75);
        check(100, 30, 50);
        check(100, 60, 25);
        check(1, 29, 1);
        check(1, 30, 0);
        check(u32::MAX, 30 * 40, 0);
    }

    #[test]
    fn a_refusal_is_no_use() {
        let mut usage = Usage::beginning(NOW);
        usage.note(Some(&alice()), ("app", "GET /a"), false, 7, NOW);
        let row = *usage.rows_of("user:alice").next().unwrap().2;
        assert_eq!((row.first, row.last, row.uses, row.days, row.denied_at(NOW)), (0, 0, 0, 0, 7));
        assert!(!row.is_used_since(0));
        assert_eq!(row.denied_at(NOW + 30 * DAY), 3);
    }

    #[test]
    fn what_there_is_no_room_for_is_marked() {
        let mut usage = Usage::beginning(NOW);
        for number in 0..=MOST_OF_A_PRINCIPAL {
            assert!(usage.is_sure_of("user:alice"), "{number}");
            usage.note(Some(&alice()), ("app", &format!("GET /{number}")), true, 1, NOW);
        }
        assert_eq!(usage.len(), MOST_OF_A_PRINCIPAL);
        assert!(!usage.is_sure_of("user:alice") && usage.is_sure_of("user:bob") && usage.is_sure_of("anyone"));
        // Refusals alone mark nobody.
        let bob = Principal::user("bob");
        for number in 0..=MOST_OF_A_PRINCIPAL {
            usage.note(Some(&bob), ("app", &format!("GET /{number}")), false, 1, NOW);
        }
        assert!(usage.is_sure_of("user:bob"));
    }

    #[test]
    fn what_was_missed_begins_the_observation_anew() {
        let mut usage = Usage::beginning(NOW);
        usage.note_missed(0, 0, NOW + 5);
        assert_eq!((usage.since(), usage.addresses_since()), (Some(NOW), Some(NOW)));
        usage.note_missed(0, 1, NOW + 6);
        usage.note_missed(2, 0, NOW + 7);
        assert_eq!((usage.since(), usage.addresses_since()), (Some(NOW + 7), Some(NOW + 6)));
    }

    #[test]
    fn addresses_are_exact_and_beyond_the_bound_wide() {
        let mut usage = Usage::beginning(NOW);
        let of = |bits: u32| IpAddr::V4(bits.into());
        for bits in 0..=u32::try_from(MOST_ADDRESSES).unwrap() {
            usage.note_address(of(bits), 1, NOW);
        }
        let last = u32::try_from(MOST_ADDRESSES).unwrap();
        let has = |net: &str| usage.addresses().any(|(each, _)| each.to_string() == net);
        assert!(has("0.0.0.7/32") && has(&format!("{}/24", of(last))));
        let mut usage = Usage::beginning(NOW);
        usage.note_address("2001:db8::1".parse().unwrap(), 1, NOW);
        assert_eq!(usage.addresses().next().unwrap().0.to_string(), "2001:db8::/64");
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(
            uses in prop::collection::vec((0..4_u8, 0..5_u8, any::<bool>(), 0..100_i64), 0..60),
            most in 1..8_usize,
        ) {
            let mut usage = Usage::beginning(NOW);
            let who = |number: u8| match number {
                0 => None,
                number => Some(Principal::user(&format!("u{number}")).in_group(&format!("g{number}")).with_role("r")),
            };
            for (number, action, permitted, day) in uses {
                usage.note(who(number).as_ref(), ("app", &format!("GET /{action}")), permitted, 1, NOW + day * DAY);
                usage.note_rule(RuleKind::Assignment, &format!("a{action}"), 1, NOW + day * DAY);
                usage.note_address(IpAddr::from([192, 0, 2, number]), 1, NOW);
            }
            let mut kept = Kept::default();
            while usage.has_changes() {
                let part = usage.take_changes(most);
                // A write that fails is tried again, and nothing is lost by it.
                usage.give_back(&part);
                let part = usage.take_changes(most);
                let before = kept.principals.len();
                (kept.since, kept.addresses_since) = (part.since, part.addresses_since);
                kept.principals.extend(part.principals);
                kept.rows.extend(part.rows.into_iter().map(|(place, action, row)| (place + before, action, row)));
                kept.addresses.extend(part.addresses);
                kept.rules.extend(part.rules);
            }
            // Of one that was written twice the last counts, as in a table.
            let mut principals: Vec<SeenPrincipal> = Vec::new();
            let mut places = Vec::new();
            for seen in kept.principals {
                let found = principals.iter().position(|each| each.reference() == seen.reference());
                places.push(found.unwrap_or(principals.len()));
                match found.and_then(|found| principals.get_mut(found)) {
                    Some(each) => *each = seen,
                    None => principals.push(seen),
                }
            }
            let rows = kept.rows.into_iter().map(|(place, action, row)| (places[place], action, row)).collect();
            let restored = Usage::restored(Kept { principals, rows, ..kept });
            let all = |usage: &Usage| {
                let mut rows: Vec<String> = usage.rows().map(|row| format!("{row:?}")).collect();
                rows.sort();
                let mut addresses: Vec<String> = usage.addresses().map(|each| format!("{each:?}")).collect();
                addresses.sort();
                (rows, addresses, usage.since(), usage.rules.len())
            };
            prop_assert_eq!(all(&restored), all(&usage));
            prop_assert!(!restored.has_changes());
        }
    }
}
