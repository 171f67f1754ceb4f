//! What is usual for each principal: its networks, autonomous systems and countries, its devices and software, the hours of its week,
//! the routes it uses, and the last places it was let in from. Bounded; the principal not seen for longest of a sample makes room.
//!
//! A profile is 680 bytes of atomics, of which [`kept`] writes 640 down. Counts fade by half in 30 days ([`decay`](crate::decay)). While a
//! principal is hardly known each of its requests counts; later only one in ten minutes does, so that a busy one costs reads alone.

mod hours;
mod kept;
mod places;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use portcullis_policy::CountryCode;

use crate::colleagues::Colleagues;
use crate::commons::{Common, Commons, mix};
use crate::counted::{CountedSet, member};
use crate::decay::{Decay, HALF_DAYS, ONCE, day};
use crate::habit::{Habit, Unusual};
use crate::hierarchy::{Level, Levels};
use crate::moment::before;
use crate::peers::{Measure, Peers};
use crate::place::Location;
use crate::recent::RecentSet;
use crate::table::Table;
use crate::travel::Sight;

use hours::Hours;
pub(crate) use kept::moved;
use places::{Place, Places};

const NETWORKS_MAX: usize = 16;
const ASNS_MAX: usize = 8;
const COUNTRIES_MAX: usize = 6;
const DEVICES_MAX: usize = 8;
const AGENTS_MAX: usize = 4;
const FAMILIES_MAX: usize = 8;
const RECENT_MAX: usize = 4;
/// Below this many sights, each counts: 64, in sixteenths.
const HARDLY_KNOWN: u32 = 64 * ONCE;
/// Beyond this, history says nothing more: 4,096, in sixteenths.
const HISTORY_MAX: u32 = 4_096 * ONCE;
/// Sights of a principal that is known count again after this: 10 minutes.
const VISIT_TICKS: u64 = 10 * 60 * 16;
/// A profile's time is written again only when it is older than this: 16 seconds.
const REFRESH_TICKS: u64 = 16 * 16;
/// A token that is used from two systems within this: 5 minutes.
const TOKEN_TICKS: u64 = 5 * 60 * 16;
/// A passed step-up counts for this: 12 hours.
const STEP_UP_TICKS: u64 = 12 * 3_600 * 16;
/// Bytes are counted in these: less than half of one is nothing.
const VOLUME_UNIT: u64 = 64 * 1_024;
/// A doubt about somebody dates from its beginning for this: 7 days.
const DOUBT_TICKS: u64 = 7 * 24 * 3_600 * 16;

/// Keyed by principal.
#[derive(Debug)]
pub(crate) struct Profiles {
    table: Table<Profile>,
    pub(crate) commons: Commons,
    colleagues: Colleagues,
    peers: Peers,
}

/// One principal. Counts are kept on the scale of `epoch`, a day.
#[derive(Debug, Default)]
struct Profile {
    epoch: AtomicU32,
    /// Sights, in sixteenths.
    history: AtomicU32,
    last_seen: AtomicU64,
    last_counted: AtomicU64,
    networks: CountedSet<NETWORKS_MAX>,
    /// By number.
    asns: CountedSet<ASNS_MAX>,
    /// By their two letters.
    countries: CountedSet<COUNTRIES_MAX>,
    /// Devices that credentials were bound to.
    devices: CountedSet<DEVICES_MAX>,
    /// User agents without their digits: who is found here needs no further look.
    agents: RecentSet<AGENTS_MAX>,
    /// Families of user agents.
    families: CountedSet<FAMILIES_MAX>,
    hours: Hours,
    /// Requests in an hour.
    rate: Habit,
    /// What it gets in an hour, in units of 64 KiB.
    volume: Habit,
    /// One bit of 128 for each route that was used.
    routes: [AtomicU64; 2],
    places: Places,
    /// A device or user agent, and a system or network, from which a step-up was passed.
    stepped_up: RecentSet<RECENT_MAX>,
    /// A token, and the system it was used from.
    tokens: RecentSet<RECENT_MAX>,
    /// Like `stepped_up`, those that were asked to step up, or let in in spite of a doubt. Not kept: after a restart they are asked again.
    doubted: RecentSet<RECENT_MAX>,
    /// Since the start, what the principal has in common with its peers was counted. Not kept.
    counted: AtomicBool,
}

/// What a request is compared by, and then remembered by. Hashes, as far as they are of something said or secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    pub(crate) network: Option<u64>,
    /// The device that the credential is bound to.
    pub(crate) device: Option<u64>,
    /// The user agent without its digits.
    pub(crate) agent: Option<u64>,
    /// The route.
    pub(crate) route: Option<u64>,
    /// 16 bits of what tells this token from others of the same principal.
    pub(crate) token: Option<u16>,
    /// Where it is, where that was looked up.
    pub(crate) location: Option<Location>,
    /// The network says nothing about where its users are.
    pub(crate) hidden: bool,
    /// The number of the autonomous system, also where the network is so usual that nothing was looked up.
    pub(crate) asn: Option<u32>,
}

/// How a caller compares with what is usual for its principal, at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Familiarity {
    /// How often the principal was let in, at most 4,096, faded. At 0 nothing is new.
    pub(crate) history: u32,
    /// Whether the network is usual; `None` where it is unknown.
    pub(crate) network: Option<bool>,
    /// Whether the device is usual; `None` where it is unknown, or where none was ever seen.
    pub(crate) device: Option<bool>,
    /// Whether exactly this software is usual, but for its version; `None` like `device`.
    pub(crate) agent: Option<bool>,
    /// Whether the hour of the week is usual; `None` where too few are known.
    pub(crate) hour: Option<bool>,
    /// Whether the route is.
    pub(crate) route: Option<bool>,
    /// It is remembered where this network is.
    pub(crate) placed: bool,
    /// The system of the network, where that is remembered.
    pub(crate) asn: Option<u32>,
    /// Far more requests in this hour than the principal makes, and far more bytes than it gets.
    pub(crate) rate: Option<Unusual>,
    pub(crate) volume: Option<Unusual>,
}

impl Familiarity {
    /// Whether nothing is new.
    pub(crate) fn is_usual(&self) -> bool {
        let news = [self.network, self.device, self.agent, self.hour, self.route];
        let much = self.rate.is_some() || self.volume.is_some();
        self.history == 0 || !(much || news.contains(&Some(false)))
    }
}

/// A closer comparison, for whom something is new about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Comparison {
    /// How often the principal was let in, in sixteenths.
    pub(crate) history: u32,
    /// How often from this network, system, country, and with this family of software; in sixteenths.
    pub(crate) network: u32,
    pub(crate) asn: u32,
    pub(crate) country: u32,
    pub(crate) family: u32,
    /// Sights in this hour of the week, and in all.
    pub(crate) hour: (u32, u32),
    /// Where the principal was last let in, if that is known.
    pub(crate) last: Option<Sight>,
    /// The network of then says nothing about where its users are.
    pub(crate) last_hidden: bool,
    /// The place is one of the last four.
    pub(crate) near: bool,
    /// A step-up was passed from here a while ago.
    pub(crate) stepped_up: bool,
    /// The token was used from another system a moment ago.
    pub(crate) token_elsewhere: bool,
}

impl Profiles {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            table: Table::kept(bound),
            commons: Commons::new(bound),
            colleagues: Colleagues::new(bound.saturating_mul(2)),
            peers: Peers::new(),
        }
    }

    /// The first look: for nearly every request there is no other.
    pub(crate) fn compare(&self, principal: u64, traits: &Traits, now: u64) -> Familiarity {
        self.table.with(principal, |profile| profile.familiarity(traits, now)).unwrap_or_default()
    }

    /// The second look.
    pub(crate) fn compare_closely(&self, principal: u64, traits: &Traits, family: Option<u64>, now: u64) -> Comparison {
        self.table.with(principal, |profile| profile.comparison(traits, family, now)).unwrap_or_default()
    }

    /// Where the network of these traits stands among all that is known; only where a database knows something of it.
    pub(crate) fn levels(&self, compared: &Comparison, traits: &Traits) -> Option<Levels> {
        let location = traits.location?;
        let commons = &self.commons;
        let level = |own, kind, what| Level { own, principals: commons.count(kind, what) };
        let country = location.country.filter(|country| *country != CountryCode::NOWHERE);
        let asn = location.asn;
        if country.is_none() && asn.is_none() {
            return None;
        }
        Some(Levels {
            history: compared.history,
            principals: u32::try_from(self.table.len()).unwrap_or(u32::MAX),
            country: country.map(|code| level(compared.country, Common::Country, country_member(code))),
            asn: asn.map(|number| level(compared.asn, Common::Asn, asn_member(number))),
            network: level(compared.network, Common::Network, member(traits.network?)),
        })
    }

    /// How many other principals use this network, up to three or four.
    pub(crate) fn colleagues(&self, network: u64, principal: u64, now: u64) -> u32 {
        self.colleagues.others(member(network), principal, now)
    }

    /// Notes that there was a doubt about who comes as this principal: it was asked to step up, or (`asked` is false) let in as it was.
    pub(crate) fn doubt(&self, principal: u64, traits: &Traits, asked: bool, now: u64) {
        let Some(session) = traits.doubted(asked) else { return };
        let note = |profile: &Profile| profile.doubted.note_first(session, before(now, DOUBT_TICKS), now);
        if self.table.with(principal, note).is_none() {
            // Nobody is known by this name yet. Whoever is seen again is worth more.
            self.table.with_or_insert(principal, Profile::default, last_seen, note);
        }
    }

    /// Whether the principal authenticated after there was a doubt about who comes with these traits, and whether it was asked to.
    pub(crate) fn answered(&self, principal: u64, traits: &Traits, authenticated: u64) -> Option<bool> {
        let sessions = [true, false].map(|asked| traits.doubted(asked));
        let seen = |profile: &Profile| sessions.map(|session| profile.doubted.seen(session?));
        let [asked, let_in] = self.table.with(principal, seen)?;
        // Whoever was let in in spite of a doubt had that credential before it was asked.
        (authenticated > asked.max(let_in)?).then_some(asked.is_some())
    }

    /// Remembers these traits. `roles` are the hashes of what the principal has in common with its peers.
    pub(crate) fn learn(
        &self,
        principal: u64,
        traits: &Traits,
        family: impl Fn() -> Option<u64>,
        roles: impl Fn() -> Vec<u64>,
        stepped_up: bool,
        now: u64,
    ) {
        let learned = self.table.with_or_insert(principal, Profile::default, last_seen, |profile| {
            profile.learn(traits, family, stepped_up, now)
        });
        if let Some(learned) = learned.filter(|learned| *learned != Learned::default()) {
            self.tell_commons(principal, &learned, traits, roles, now);
        }
    }

    fn tell_commons(&self, principal: u64, learned: &Learned, traits: &Traits, roles: impl Fn() -> Vec<u64>, now: u64) {
        if let Some(network) = traits.network.map(member).filter(|_| learned.network || learned.visit) {
            self.colleagues.note(network, principal, now);
            if learned.network {
                self.commons.add(Common::Network, network, principal);
            }
        }
        if let Some(asn) = learned.asn {
            self.commons.add(Common::Asn, asn, principal);
        }
        if let Some(country) = learned.country {
            self.commons.add(Common::Country, country, principal);
        }
        if !learned.first && learned.routes == [0; 2] && learned.ended.is_none() {
            return;
        }
        let roles = roles();
        if let Some(requests) = learned.ended {
            self.peers.learn(Measure::Requests, &roles, requests);
        }
        for role in roles {
            if learned.first {
                self.commons.add(Common::Role, role, principal);
            }
            for place in places_of(learned.routes) {
                self.commons.add(Common::RoleRoute, role_route(role, place), principal);
            }
        }
    }

    /// A principal got so many bytes. Of one that is not known nothing is remembered.
    pub(crate) fn exported(&self, principal: u64, bytes: u64, roles: impl Fn() -> Vec<u64>, now: u64) {
        let units = u32::try_from(bytes.saturating_add(VOLUME_UNIT / 2) / VOLUME_UNIT).unwrap_or(u32::MAX);
        if units == 0 {
            return;
        }
        let ended = self.table.with(principal, |profile| profile.volume.note(units, now)).flatten();
        if let Some(units) = ended {
            self.peers.learn(Measure::Exported, &roles(), units);
        }
    }

    /// Whether those who hold these roles do so much in an hour.
    pub(crate) fn peers_are_used_to(&self, measure: Measure, roles: &[u64], count: u32) -> bool {
        self.peers.are_used_to(measure, roles, count)
    }

    /// Whether hardly any of the peers use a route: less than one in twenty of those with each role, of whom there are ten or more.
    /// Where no role has so many, nothing can be said.
    pub(crate) fn is_route_unusual(&self, route: u64, roles: &[u64]) -> bool {
        const PEERS_MIN: u32 = 10;
        let peers = roles.iter().map(|role| (role, self.commons.count(Common::Role, *role)));
        let mut many = peers.filter(|(_, peers)| *peers >= PEERS_MIN).peekable();
        let unusual = |(role, peers): (&u64, u32)| {
            self.commons.count(Common::RoleRoute, role_route(*role, route_place(route))).saturating_mul(20) < peers
        };
        many.peek().is_some() && many.all(unusual)
    }

    /// Forgets what is usual for a principal, and says whether there was anything to forget. An empty profile takes its place, so that
    /// a store forgets it, too. What it shares with others stays counted.
    pub(crate) fn forget(&self, principal: u64) -> bool {
        let forgotten = self.table.with(principal, |profile| {
            let known = profile.is_known();
            profile.clear();
            known
        });
        self.table.mark(principal);
        forgotten.unwrap_or(false)
    }

    /// Puts back a profile that was kept, and counts where its principal comes from; which roles it has is seen when it comes. Says whether it could be read and
    /// there was room.
    pub(crate) fn restore(&self, principal: u64, kept: &[u8], now: u64) -> bool {
        let Some(profile) = Profile::decode(kept, now) else { return false };
        let networks: Vec<u64> = profile.networks.members().map(|(member, _)| member).collect();
        let asns: Vec<u64> = profile.asns.members().map(|(member, _)| member).collect();
        let countries: Vec<u64> = profile.countries.members().map(|(member, _)| member).collect();
        let seen = profile.last_seen.load(Ordering::Relaxed);
        if self.table.with_or_insert(principal, || profile, last_seen, |_| ()).is_none() {
            return false;
        }
        networks.iter().for_each(|network| self.colleagues.note(*network, principal, seen));
        let all = [(Common::Network, networks), (Common::Asn, asns), (Common::Country, countries)];
        for (kind, members) in all {
            members.into_iter().for_each(|member| self.commons.add(kind, member, principal));
        }
        true
    }

    /// For a person to look at.
    pub(crate) fn show(&self, principal: u64, now: u64) -> Option<Shown> {
        self.table.with(principal, |profile| profile.is_known().then(|| profile.show(now))).flatten()
    }

    /// Shows the profiles that have changed, about `most` of them, as they are kept; says whether there are more.
    pub(crate) fn take_changed(&self, most: usize, mut show: impl FnMut(u64, Vec<u8>)) -> bool {
        self.table.take_marked(most, |principal, profile| show(principal, profile.encode()))
    }

    pub(crate) fn mark_all(&self) {
        self.table.mark_all();
    }

    pub(crate) fn marked(&self) -> usize {
        self.table.marked()
    }

    pub(crate) fn bound(&self) -> usize {
        self.table.bound()
    }

    pub(crate) fn take_marks(&self) {
        self.table.take_marks();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// What was new to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Learned {
    /// The principal comes for the first time since the start.
    first: bool,
    /// It comes for the first time in a while.
    visit: bool,
    network: bool,
    asn: Option<u64>,
    country: Option<u64>,
    /// The bits of the routes to count.
    routes: [u64; 2],
    /// Requests in an hour that has ended.
    ended: Option<u32>,
}

/// Higher is worth more, so the one not seen for longest goes first. None is ever pinned.
#[expect(clippy::unnecessary_wraps, reason = "a table asks whether an entry may go at all")]
fn last_seen(profile: &Profile) -> Option<u64> {
    Some(profile.last_seen.load(Ordering::Relaxed))
}

/// What a profile holds, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) history: u32,
    pub(crate) last_seen: u64,
    pub(crate) networks: usize,
    /// With their shares of the sights that name one, in thousandths, the largest first.
    pub(crate) asns: Vec<(u32, u32)>,
    pub(crate) countries: Vec<(CountryCode, u32)>,
    pub(crate) devices: usize,
    pub(crate) user_agents: usize,
    /// Visits by hour of the week: Monday 00:00 to 06:00 UTC first.
    pub(crate) hours: [u8; 28],
    pub(crate) routes: u32,
    /// The latest first.
    pub(crate) places: Vec<Place>,
}

impl Profile {
    fn is_known(&self) -> bool {
        self.last_counted.load(Ordering::Relaxed) != 0
    }

    /// Somebody who is let in at this instant may leave a trace.
    fn clear(&self) {
        [&self.epoch, &self.history].into_iter().for_each(|word| word.store(0, Ordering::Relaxed));
        let words = [&self.last_seen, &self.last_counted].into_iter().chain(&self.routes);
        words.for_each(|word| word.store(0, Ordering::Relaxed));
        self.networks.clear();
        self.asns.clear();
        self.countries.clear();
        self.devices.clear();
        self.agents.clear();
        self.families.clear();
        self.hours.clear();
        self.rate.clear();
        self.volume.clear();
        self.places.clear();
        self.stepped_up.clear();
        self.tokens.clear();
        self.doubted.clear();
    }

    fn decay(&self, now: u64) -> Decay {
        Decay::between(self.epoch.load(Ordering::Relaxed), day(now))
    }

    fn familiarity(&self, traits: &Traits, now: u64) -> Familiarity {
        let history = self.decay(now).read(self.history.load(Ordering::Relaxed)).min(HISTORY_MAX);
        let place = traits.network.and_then(|network| self.places.of_network(network));
        Familiarity {
            history: history.div_ceil(ONCE),
            network: traits.network.map(|key| self.networks.count(member(key)) > 0),
            // A principal that never showed a device before shows nothing new with its first.
            device: traits.device.filter(|_| !self.devices.is_empty()).map(|key| self.devices.count(member(key)) > 0),
            agent: traits.agent.filter(|_| !self.agents.is_empty()).map(|key| self.agents.contains(key)),
            hour: self.hours.is_usual(now),
            route: traits.route.filter(|_| history >= HARDLY_KNOWN / 2).map(|route| self.uses_route(route)),
            placed: place.is_some(),
            asn: place.and_then(|place| place.asn),
            rate: self.rate.unusual(now),
            volume: self.volume.unusual(now),
        }
    }

    fn comparison(&self, traits: &Traits, family: Option<u64>, now: u64) -> Comparison {
        let decay = self.decay(now);
        let location = traits.location.unwrap_or_default();
        let count = |count: u32| if count == 0 { 0 } else { decay.read(count).max(1) };
        let last = self.places.latest();
        let position = location.position;
        Comparison {
            history: decay.read(self.history.load(Ordering::Relaxed)),
            network: traits.network.map_or(0, |key| count(self.networks.count(member(key)))),
            asn: traits.asn.map_or(0, |asn| count(self.asns.count(asn_member(asn)))),
            country: location.country.map_or(0, |code| count(self.countries.count(country_member(code)))),
            family: family.map_or(0, |key| count(self.families.count(member(key)))),
            hour: self.hours.count(now),
            last: last.and_then(|place| Some(Sight { at: place.at, position: place.position? })),
            last_hidden: last.is_some_and(|place| place.hidden),
            near: position.is_some_and(|position| self.places.is_near(position)),
            stepped_up: traits.session().is_some_and(|session| {
                let since = before(now, STEP_UP_TICKS);
                self.stepped_up.any_seen_after(since, |tag| tag == session >> crate::moment::TICK_BITS)
            }),
            token_elsewhere: traits.token_use().is_some_and(|(token, asn)| {
                self.tokens.any_seen_after(before(now, TOKEN_TICKS), |tag| tag >> 12 == token && tag & 0xfff != asn)
            }),
        }
    }

    fn uses_route(&self, route: u64) -> bool {
        let (word, bit) = route_bit(route);
        self.routes.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn learn(&self, traits: &Traits, family: impl Fn() -> Option<u64>, stepped_up: bool, now: u64) -> Learned {
        let decay = self.age(now);
        let kept = self.history.load(Ordering::Relaxed);
        let visit = self.begins_visit(now);
        let more = if visit || decay.read(kept) < HARDLY_KNOWN { decay.once() } else { 0 };
        if more > 0 && decay.read(kept) < HISTORY_MAX {
            // Several threads may step over the bound by one each, which changes nothing.
            self.history.fetch_add(more, Ordering::Relaxed);
        }
        let mut learned = Learned { visit, ended: self.rate.note(1, now), ..Learned::default() };
        if let Some(key) = traits.network {
            learned.network = self.networks.note(member(key), more, decay.once());
            self.learn_place(key, traits, more, decay.once(), &mut learned, now);
        }
        if let Some(key) = traits.device {
            self.devices.note(member(key), more, decay.once());
        }
        if let Some(key) = traits.agent {
            let is_new = self.agents.note(key, now);
            if (is_new || more > 0)
                && let Some(family) = family()
            {
                self.families.note(member(family), more, decay.once());
            }
        }
        if visit {
            self.hours.note(now);
        }
        if let Some(route) = traits.route.filter(|route| !self.uses_route(*route)) {
            let (word, bit) = route_bit(route);
            if let (Some(used), Some(learned)) = (self.routes.get(word), learned.routes.get_mut(word)) {
                *learned = bit & !used.fetch_or(bit, Ordering::Relaxed);
            }
        }
        if !self.counted.load(Ordering::Relaxed) && !self.counted.swap(true, Ordering::Relaxed) {
            learned.first = true;
            learned.routes = [0, 1].map(|n| self.routes.get(n).map_or(0, |word| word.load(Ordering::Relaxed)));
        }
        if let Some(session) = traits.session().filter(|_| stepped_up) {
            self.stepped_up.note(session, now);
        }
        if let Some((token, asn)) = traits.token_use() {
            self.tokens.note(((token << 12) | asn) << crate::moment::TICK_BITS, now);
        }
        if now > self.last_seen.load(Ordering::Relaxed) + REFRESH_TICKS {
            self.last_seen.store(now, Ordering::Relaxed);
        }
        learned
    }

    /// Remembers where the network is, and what is above it. Of a network that is remembered already nothing need be looked up.
    fn learn_place(&self, network: u64, traits: &Traits, more: u32, once: u32, learned: &mut Learned, now: u64) {
        let looked_up = traits.location.map(|location| Place {
            at: now,
            position: location.position,
            asn: location.asn,
            country: location.country.filter(|country| *country != CountryCode::NOWHERE),
            hidden: traits.hidden,
        });
        let Some(place) = self.places.note(network, looked_up, now) else { return };
        if more == 0 && looked_up.is_none() {
            return;
        }
        if let Some(asn) = place.asn.map(asn_member) {
            learned.asn = self.asns.note(asn, more, once).then_some(asn);
        }
        if let Some(country) = place.country.map(country_member) {
            learned.country = self.countries.note(country, more, once).then_some(country);
        }
    }

    /// Whether this sight is the first for a while. Of several threads, for one.
    fn begins_visit(&self, now: u64) -> bool {
        let last = self.last_counted.load(Ordering::Relaxed);
        (last == 0 || last.abs_diff(now) >= VISIT_TICKS)
            && self.last_counted.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Moves the epoch where it is 30 days ago, and halves what is counted since.
    fn age(&self, now: u64) -> Decay {
        let (epoch, today) = (self.epoch.load(Ordering::Relaxed), day(now));
        if epoch == 0 {
            self.epoch.store(today, Ordering::Relaxed);
            return Decay::between(today, today);
        }
        let halvings = Decay::between(epoch, today).halvings;
        let moved = epoch.saturating_add(halvings.saturating_mul(HALF_DAYS));
        if halvings > 0 && self.epoch.compare_exchange(epoch, moved, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let halved = |count: u32| Some(count.checked_shr(halvings).unwrap_or(0));
            let _ = self.history.fetch_update(Ordering::Relaxed, Ordering::Relaxed, halved);
            self.networks.halve(halvings);
            self.asns.halve(halvings);
            self.countries.halve(halvings);
            self.devices.halve(halvings);
            self.families.halve(halvings);
            self.hours.halve(halvings);
        }
        Decay::between(moved, today)
    }

    fn show(&self, now: u64) -> Shown {
        let share = |count: u32, of: u32| u32::try_from(u64::from(count) * 1_000 / u64::from(of.max(1))).unwrap_or(0);
        let total =
            |counts: &mut dyn Iterator<Item = (u64, u32)>| counts.fold(0, |sum: u32, (_, n)| sum.saturating_add(n));
        let (asns, countries) = (total(&mut self.asns.members()), total(&mut self.countries.members()));
        let mut shown = Shown {
            history: self.familiarity(&Traits::default(), now).history,
            last_seen: self.last_seen.load(Ordering::Relaxed),
            networks: self.networks.members().count(),
            asns: self.asns.members().map(|(asn, n)| (asn_of(asn), share(n, asns))).collect(),
            countries: self
                .countries
                .members()
                .filter_map(|(code, n)| Some((country_of(code)?, share(n, countries))))
                .collect(),
            devices: self.devices.members().count(),
            user_agents: self.families.members().count(),
            hours: self.hours.all(),
            routes: self.routes.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum(),
            places: self.places.all(),
        };
        shown.asns.sort_by_key(|(asn, share)| (std::cmp::Reverse(*share), *asn));
        shown.countries.sort_by_key(|(code, share)| (std::cmp::Reverse(*share), code.as_str().to_owned()));
        shown
    }
}

impl Traits {
    /// What a passed step-up holds for: the device, or the software where no device is known, and the system or the network.
    fn session(&self) -> Option<u64> {
        let from = self.asn.map(asn_member).or(self.network)?;
        Some(mix(self.device.or(self.agent)? ^ from.rotate_left(17)))
    }

    /// What a doubt is about: the same, and also somebody who does not say by what software it comes.
    fn doubted(&self, asked: bool) -> Option<u64> {
        let from = self.asn.map(asn_member).or(self.network)?;
        Some(mix(mix(self.device.or(self.agent).unwrap_or(0) ^ from.rotate_left(17)) ^ u64::from(asked)))
    }

    /// 16 bits of the token, 12 of the system.
    fn token_use(&self) -> Option<(u64, u64)> {
        Some((u64::from(self.token?), mix(u64::from(self.asn?)) & 0xfff))
    }
}

/// The route's place among 128 bits.
fn route_place(route: u64) -> u64 {
    route & 127
}

/// The word and the bit of that place.
fn route_bit(route: u64) -> (usize, u64) {
    (usize::from(route_place(route) >= 64), 1 << (route & 63))
}

/// The places of the routes whose bits are set.
fn places_of(routes: [u64; 2]) -> impl Iterator<Item = u64> {
    let [low, high] = routes;
    (0..128).filter(move |place| (if *place < 64 { low } else { high }) >> (place & 63) & 1 == 1)
}

fn role_route(role: u64, place: u64) -> u64 {
    mix(role ^ mix(place + 1))
}

/// No member is 0, and there is no system of that number.
const NUMBERED: u64 = 1 << 32;

fn asn_member(asn: u32) -> u64 {
    NUMBERED | u64::from(asn)
}

fn asn_of(member: u64) -> u32 {
    u32::try_from(member & 0xffff_ffff).unwrap_or(0)
}

fn country_member(country: CountryCode) -> u64 {
    country.as_str().bytes().fold(NUMBERED >> 16, |code, byte| (code << 8) | u64::from(byte))
}

fn country_of(member: u64) -> Option<CountryCode> {
    let [.., first, second] = member.to_be_bytes();
    CountryCode::parse(std::str::from_utf8(&[first, second]).ok()?)
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
