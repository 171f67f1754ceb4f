//! Who used which permission, and when: what an audit rests on.
//!
//! A row is 24 bytes and its key eight. Everything is bounded: of a principal that uses more permissions than there is room for the rest is
//! not kept, and when that was is marked; where there is no room for more principals at all, that is marked, too. So usage may be too low and never
//! too high, and whoever says that something is unused must ask [`Usage::is_sure_of`] first. A mark counts no longer once it is older than
//! what is asked about.

mod kept;
mod observed;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use portcullis_policy::{Principal, PrincipalKind, RuleKind};

use kept::Changed;

pub use kept::Kept;
pub use observed::Observed;
pub(crate) use row::seconds;
pub use row::{CarriedName, Row, Seen, SeenPrincipal};

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
/// After so long without any request, in seconds, nobody can tell a gateway that nobody needs from one that nobody asks, such as a standby: a long
/// weekend. What follows counts as observed once somebody comes.
const IDLE_S: i64 = 4 * 24 * 60 * 60;
/// By how much a time may be later than now.
pub(crate) const AHEAD_S: i64 = 5 * 60;
/// How long the end of what is observed stays in memory alone, in seconds.
const BEATS_S: i64 = 60;

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
    /// When there was last no room for a use, because there were too many principals or permissions.
    crowded: Option<i64>,
    /// When somebody counted.
    observed: Observed,
    /// When something was counted last.
    noted: i64,
    /// Before when what was not used is forgotten.
    forgotten: Option<i64>,
    principals: Vec<SeenPrincipal>,
    by_who: HashMap<Who, u32>,
    actions: Vec<ActionKey>,
    by_action: HashMap<ActionKey, u32>,
    rows: BTreeMap<(u32, u32), Row>,
    addresses: HashMap<IpNet, Seen>,
    rules: HashMap<(RuleKind, Box<str>), Seen>,
    changed: Changed,
}

impl Usage {
    /// Nothing yet, counted from now on.
    pub fn beginning(now: i64) -> Self {
        let mut usage = Self::default();
        usage.begin(now);
        usage
    }

    /// From now on everything is counted.
    pub fn begin(&mut self, now: i64) {
        (self.since, self.addresses_since) = (Some(now), Some(now));
        self.observed = Observed::default();
        self.noted = now;
        self.changed.marks = true;
        self.beat(now);
    }

    /// Whatever is used now is counted: it is called every second or so while that is true. Time in which nobody calls it was not observed.
    pub fn beat(&mut self, now: i64) {
        if now.saturating_sub(self.noted) > IDLE_S {
            return;
        }
        let began = self.observed.beat(now);
        self.changed.observed.insert(began);
        let written = self.changed.written;
        // Backwards too: a clock was set.
        self.changed.marks |= now.saturating_sub(written).unsigned_abs() >= BEATS_S.unsigned_abs();
    }

    /// What was observed must be written down, be it ever so little: nobody counts any more.
    pub fn end_beats(&mut self) {
        self.changed.marks |= !self.changed.observed.is_empty();
    }

    /// Takes it that all of this time was observed.
    #[cfg(test)]
    pub(crate) fn observe(&mut self, from: i64, until: i64) {
        self.observed = Observed::of(self.observed.spans().chain([(from, until)]));
    }

    /// When somebody counted.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Before when what was not used is forgotten: of earlier times nothing can be said.
    pub fn forgotten(&self) -> Option<i64> {
        self.forgotten
    }

    /// Takes times that are later than this, in seconds since 1970, to be of it: the clock was wrong when they were noted.
    pub fn clamp(&mut self, latest: i64) {
        let clamp = |time: &mut Option<i64>| *time = time.map(|time| time.min(latest));
        clamp(&mut self.since);
        clamp(&mut self.addresses_since);
        clamp(&mut self.crowded);
        self.noted = self.noted.min(latest);
        self.observed.prune(i64::MIN, latest);
        let latest = seconds(latest);
        for seen in &mut self.principals {
            (seen.last, seen.overflowed) = (seen.last.min(latest), seen.overflowed.min(latest));
            seen.groups.iter_mut().chain(&mut seen.roles).for_each(|name| name.since = name.since.min(latest));
        }
        for row in self.rows.values_mut() {
            row.last = row.last.min(latest);
            row.last_denied = row.last_denied.min(latest);
        }
        self.addresses.values_mut().for_each(|seen| seen.last = seen.last.min(latest));
        self.rules.values_mut().for_each(|seen| seen.last = seen.last.min(latest));
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
        self.noted = self.noted.max(at);
        // Refusals say less, and whoever is only refused must not fill what uses need.
        let [most_principals, most_rows] =
            [MOST_PRINCIPALS, MOST_ROWS].map(|most| if permitted { most } else { most / 4 * 3 });
        let id = self.principal_id(who, seconds(at), most_principals);
        let key = id.and_then(|id| Some((id, self.action_id(route, action)?)));
        let room = key.map_or(Room::Nowhere, |key| self.room_for(key, most_rows));
        match (key, room) {
            (Some(key), Room::Free) => {
                self.rows.entry(key).or_default().note(permitted, times, seconds(at));
                self.changed.rows.insert(key);
            }
            (Some((id, _)), Room::Overflowed) if permitted => {
                if let Some(seen) = self.principals.get_mut(id as usize) {
                    seen.overflowed = seen.overflowed.max(seconds(at));
                    self.changed.principals.insert(id);
                }
            }
            (_, Room::Nowhere) | (None, _) if permitted => self.note_crowded(at),
            (_, Room::Nowhere | Room::Overflowed) | (None, Room::Free) => {}
        }
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

    /// Whether what is not in it was not used from that time on. Not of somebody of whose uses some were not kept since, and, where there was
    /// no room for more principals since, not of somebody who was never seen.
    pub fn is_sure_of(&self, principal: &str, from: i64) -> bool {
        match self.find(principal) {
            Some(seen) => seen.overflowed == 0 || i64::from(seen.overflowed) < from,
            None => !self.is_crowded_since(from),
        }
    }

    /// Whether there was no room for some use at that time or later.
    pub fn is_crowded_since(&self, from: i64) -> bool {
        self.crowded.is_some_and(|crowded| crowded >= from)
    }

    /// Whether there will soon be no room: then less should be remembered.
    pub fn is_nearly_full(&self) -> bool {
        let nearly = |most: usize| most / 8 * 7;
        // Refusals alone come to three quarters.
        self.principals.len() >= nearly(MOST_PRINCIPALS * 3 / 4) || self.rows.len() >= nearly(MOST_ROWS * 3 / 4)
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

    fn principal_id(&mut self, who: Option<&Principal>, at: u32, most: usize) -> Option<u32> {
        let key: Who = who.map_or((None, Box::default()), |who| (Some(who.kind), who.id.clone()));
        if let Some(id) = self.by_who.get(&key).copied() {
            let seen = self.principals.get_mut(id as usize)?;
            seen.last = seen.last.max(at);
            if let Some(who) = who.filter(|who| !carries(seen, who)) {
                (seen.groups, seen.roles) = carried(who, at, (&seen.groups, &seen.roles));
                self.changed.principals.insert(id);
            }
            return Some(id);
        }
        let (groups, roles) = who.map(|who| carried(who, at, (&[], &[]))).unwrap_or_default();
        let seen = SeenPrincipal { kind: key.0, id: key.1, groups, roles, first: at, last: at, overflowed: 0 };
        self.add_principal(seen, most)
    }

    fn add_principal(&mut self, seen: SeenPrincipal, most: usize) -> Option<u32> {
        if self.principals.len() >= most {
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

    fn room_for(&self, (id, action): (u32, u32), most: usize) -> Room {
        if self.rows.contains_key(&(id, action)) {
            return Room::Free;
        }
        if self.rows.len() >= most {
            return Room::Nowhere;
        }
        let own = self.rows.range((id, 0)..=(id, u32::MAX)).count();
        if own < MOST_OF_A_PRINCIPAL { Room::Free } else { Room::Overflowed }
    }

    fn note_crowded(&mut self, at: i64) {
        self.crowded = self.crowded.max(Some(at));
        self.changed.marks = true;
    }
}

/// Whether there is room for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// There is, or it is there already.
    Free,
    /// Its principal has too many.
    Overflowed,
    /// There are too many altogether.
    Nowhere,
}

/// Groups and roles.
type Carried = (Vec<CarriedName>, Vec<CarriedName>);

/// What a credential carries. What the one before carried, too, is as old as it was.
fn carried(who: &Principal, at: u32, (groups, roles): (&[CarriedName], &[CarriedName])) -> Carried {
    let since = |before: &[CarriedName], name: &str, trusted: bool| {
        before.iter().find(|each| &*each.name == name && each.trusted == trusted).map_or(at, |each| each.since)
    };
    let group = |claim: &portcullis_policy::GroupClaim| CarriedName {
        since: since(groups, &claim.name, claim.trusted),
        name: claim.name.clone(),
        trusted: claim.trusted,
    };
    let role = |name: &str| CarriedName { since: since(roles, name, true), name: name.into(), trusted: true };
    (
        who.groups.iter().take(MOST_NAMES).map(group).collect(),
        who.roles.iter().take(MOST_NAMES).map(|name| role(name)).collect(),
    )
}

fn carries(seen: &SeenPrincipal, who: &Principal) -> bool {
    let groups = who.groups.iter().take(MOST_NAMES).map(|claim| (&claim.name, claim.trusted));
    groups.eq(seen.groups.iter().map(|group| (&group.name, group.trusted)))
        && who.roles.iter().take(MOST_NAMES).eq(seen.roles.iter().map(|role| &role.name))
}

/// The kind of principal that a policy file writes like this.
pub fn kind_named(name: &str) -> Option<PrincipalKind> {
    [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate]
        .into_iter()
        .find(|kind| kind.as_str() == name)
}
