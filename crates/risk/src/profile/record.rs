//! One principal, in 592 bytes: 496 that every request of it looks at, and 96 that few do.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use portcullis_policy::CountryCode;

use crate::counted::{CountedSet, member, small_member};
use crate::decay::{Decay, HALF_DAYS, ONCE, day};
use crate::habit::Habit;
use crate::moment::{TICK_BITS, TICKS_PER_SECOND, before, seconds};
use crate::recent::RecentSet;
use crate::travel::Sight;

use super::agents::Agents;
use super::hours::Hours;
use super::places::{Place, Places, country_of_number, number_of_country};
use super::tokens::Tokens;
use super::traits::{Comparison, Familiarity, Traits};

pub(super) const NETWORKS_MAX: usize = 16;
pub(super) const ASNS_MAX: usize = 8;
pub(super) const COUNTRIES_MAX: usize = 6;
pub(super) const DEVICES_MAX: usize = 8;
pub(super) const FAMILIES_MAX: usize = 8;
pub(super) const RECENT_MAX: usize = 4;
/// Below this many sights, each counts: 64, in sixteenths.
const HARDLY_KNOWN: u32 = 64 * ONCE;
/// Beyond this, history says nothing more: 4,096, in sixteenths.
pub(super) const HISTORY_MAX: u32 = 4_096 * ONCE;
/// Sights of a principal that is known count again after this, in seconds: 10 minutes.
const VISIT_SECONDS: u32 = 10 * 60;
/// A profile's time is written again only when it is older than this, in seconds.
const REFRESH_SECONDS: u32 = 16;
/// A passed step-up counts for this: 12 hours.
const STEP_UP_TICKS: u64 = 12 * 3_600 * 16;

/// One principal. Counts are kept on the scale of `epoch`, a day.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) epoch: AtomicU16,
    /// Since the start, what the principal has in common with its peers was counted. Not kept.
    pub(super) counted: AtomicBool,
    /// Sights, in sixteenths.
    pub(super) history: AtomicU32,
    /// In seconds since 1970, as is the next.
    pub(super) last_seen: AtomicU32,
    pub(super) last_counted: AtomicU32,
    pub(super) networks: CountedSet<NETWORKS_MAX>,
    /// By number.
    pub(super) asns: CountedSet<ASNS_MAX>,
    /// By [number](number_of_country).
    pub(super) countries: CountedSet<COUNTRIES_MAX, AtomicU32>,
    /// Devices that credentials were bound to.
    pub(super) devices: CountedSet<DEVICES_MAX>,
    /// User agents without their digits.
    pub(super) agents: Agents,
    pub(super) hours: Hours,
    /// Requests in an hour.
    pub(super) rate: Habit,
    /// What it gets in an hour, in units of 64 KiB.
    pub(super) volume: Habit,
    /// One bit of 128 for each route that was used.
    pub(super) routes: [AtomicU64; 2],
    pub(super) places: Places,
    pub(super) tokens: Tokens,
    pub(super) rare: Box<Rare>,
}

/// What is looked at where something is new. It has an allocation of its own, since allocators round up: one of 608 bytes would cost 640.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Families of user agents.
    pub(super) families: CountedSet<FAMILIES_MAX, AtomicU32>,
    /// A device or user agent, and a system or network, from which a step-up was passed.
    pub(super) stepped_up: RecentSet<RECENT_MAX>,
    /// Like `stepped_up`, those that were asked to step up, or let in in spite of a doubt, by the time of day.
    pub(super) doubted: RecentSet<RECENT_MAX>,
}

/// What was new to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Learned {
    /// The principal comes for the first time since the start.
    pub(super) first: bool,
    /// It comes for the first time in a while.
    pub(super) visit: bool,
    pub(super) network: bool,
    pub(super) asn: Option<u64>,
    pub(super) country: Option<u64>,
    /// The bits of the routes to count.
    pub(super) routes: [u64; 2],
    /// Requests in an hour that has ended.
    pub(super) ended: Option<u32>,
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

impl Record {
    pub(super) fn is_known(&self) -> bool {
        self.last_counted.load(Ordering::Relaxed) != 0
    }

    /// In ticks, rounded down to a second.
    pub(super) fn last_seen(&self) -> u64 {
        u64::from(self.last_seen.load(Ordering::Relaxed)) * TICKS_PER_SECOND
    }

    /// Somebody who is let in at this instant may leave a trace.
    pub(super) fn clear(&self) {
        self.epoch.store(0, Ordering::Relaxed);
        [&self.history, &self.last_seen, &self.last_counted]
            .into_iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        self.routes.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.networks.clear();
        self.asns.clear();
        self.countries.clear();
        self.devices.clear();
        self.agents.clear();
        self.hours.clear();
        self.rate.clear();
        self.volume.clear();
        self.places.clear();
        self.tokens.clear();
        self.rare.families.clear();
        self.rare.stepped_up.clear();
        self.rare.doubted.clear();
    }

    fn decay(&self, now: u64) -> Decay {
        Decay::between(self.epoch.load(Ordering::Relaxed).into(), day(now))
    }

    pub(super) fn familiarity(&self, traits: &Traits, now: u64) -> Familiarity {
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

    pub(super) fn comparison(&self, traits: &Traits, family: Option<u64>, now: u64) -> Comparison {
        let decay = self.decay(now);
        let location = traits.location.unwrap_or_default();
        let count = |count: u32| if count == 0 { 0 } else { decay.read(count).max(1) };
        let last = self.places.latest();
        Comparison {
            history: decay.read(self.history.load(Ordering::Relaxed)),
            network: traits.network.map_or(0, |key| count(self.networks.count(member(key)))),
            asn: traits.asn.map_or(0, |asn| count(self.asns.count(asn_member(asn)))),
            country: location.country.map_or(0, |code| count(self.countries.count(number_of_country(code)))),
            family: family.map_or(0, |key| count(self.rare.families.count(small_member(key)))),
            hour: self.hours.count(now),
            last: last.and_then(|place| Some(Sight { at: place.at, position: place.position? })),
            last_hidden: last.is_some_and(|place| place.hidden),
            stepped_up: traits.session().is_some_and(|session| {
                let since = before(now, STEP_UP_TICKS);
                self.rare.stepped_up.any_seen_after(since, |tag| tag == session >> TICK_BITS)
            }),
            token_elsewhere: traits.token_use().is_some_and(|(token, asn)| self.tokens.used_elsewhere(token, asn, now)),
        }
    }

    fn uses_route(&self, route: u64) -> bool {
        let (word, bit) = route_bit(route);
        self.routes.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    pub(super) fn learn(
        &self,
        traits: &Traits,
        family: impl Fn() -> Option<u64>,
        stepped_up: bool,
        now: u64,
    ) -> Learned {
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
            let is_new = self.agents.note(key);
            if (is_new || more > 0)
                && let Some(family) = family()
            {
                self.rare.families.note(small_member(family), more, decay.once());
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
            self.rare.stepped_up.note(session, now);
        }
        if let Some((token, asn)) = traits.token_use() {
            self.tokens.note(token, asn, now);
        }
        if seconds(now) > self.last_seen.load(Ordering::Relaxed).saturating_add(REFRESH_SECONDS) {
            self.last_seen.store(seconds(now), Ordering::Relaxed);
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
        if let Some(country) = place.country.map(number_of_country) {
            learned.country = self.countries.note(country, more, once).then_some(country);
        }
    }

    /// Whether this sight is the first for a while. Of several threads, for one.
    fn begins_visit(&self, now: u64) -> bool {
        let (last, now) = (self.last_counted.load(Ordering::Relaxed), seconds(now).max(1));
        (last == 0 || last.abs_diff(now) >= VISIT_SECONDS)
            && self.last_counted.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Moves the epoch where it is 30 days ago, and halves what is counted since.
    fn age(&self, now: u64) -> Decay {
        let (epoch, today) = (self.epoch.load(Ordering::Relaxed), day(now));
        let as_epoch = |day: u32| u16::try_from(day).unwrap_or(u16::MAX);
        if epoch == 0 {
            self.epoch.store(as_epoch(today), Ordering::Relaxed);
            return Decay::between(today, today);
        }
        let halvings = Decay::between(epoch.into(), today).halvings;
        let moved = u32::from(epoch).saturating_add(halvings.saturating_mul(HALF_DAYS));
        let exchange = || self.epoch.compare_exchange(epoch, as_epoch(moved), Ordering::Relaxed, Ordering::Relaxed);
        if halvings > 0 && exchange().is_ok() {
            let halved = |count: u32| Some(count.checked_shr(halvings).unwrap_or(0));
            let _ = self.history.fetch_update(Ordering::Relaxed, Ordering::Relaxed, halved);
            self.networks.halve(halvings);
            self.asns.halve(halvings);
            self.countries.halve(halvings);
            self.devices.halve(halvings);
            self.rare.families.halve(halvings);
            self.hours.halve(halvings);
        }
        Decay::between(moved, today)
    }

    pub(super) fn show(&self, now: u64) -> Shown {
        let share = |count: u32, of: u32| u32::try_from(u64::from(count) * 1_000 / u64::from(of.max(1))).unwrap_or(0);
        let total =
            |counts: &mut dyn Iterator<Item = (u64, u32)>| counts.fold(0, |sum: u32, (_, n)| sum.saturating_add(n));
        let (asns, countries) = (total(&mut self.asns.members()), total(&mut self.countries.members()));
        let mut shown = Shown {
            history: self.familiarity(&Traits::default(), now).history,
            last_seen: self.last_seen(),
            networks: self.networks.members().count(),
            asns: self.asns.members().map(|(asn, n)| (asn_of(asn), share(n, asns))).collect(),
            countries: self
                .countries
                .members()
                .filter_map(|(code, n)| Some((country_of_number(code)?, share(n, countries))))
                .collect(),
            devices: self.devices.members().count(),
            user_agents: self.rare.families.members().count(),
            hours: self.hours.all(),
            routes: self.routes.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum(),
            places: self.places.all(),
        };
        shown.asns.sort_by_key(|(asn, share)| (std::cmp::Reverse(*share), *asn));
        shown.countries.sort_by_key(|(code, share)| (std::cmp::Reverse(*share), code.as_str().to_owned()));
        shown
    }
}

/// The route's place among 128 bits.
pub(super) fn route_place(route: u64) -> u64 {
    route & 127
}

/// The word and the bit of that place.
fn route_bit(route: u64) -> (usize, u64) {
    (usize::from(route_place(route) >= 64), 1 << (route & 63))
}

/// The places of the routes whose bits are set.
pub(super) fn places_of(routes: [u64; 2]) -> impl Iterator<Item = u64> {
    let [low, high] = routes;
    (0..128).filter(move |place| (if *place < 64 { low } else { high }) >> (place & 63) & 1 == 1)
}

/// No member is 0, and there is no system of that number.
const NUMBERED: u64 = 1 << 32;

pub(super) fn asn_member(asn: u32) -> u64 {
    NUMBERED | u64::from(asn)
}

fn asn_of(member: u64) -> u32 {
    u32::try_from(member & 0xffff_ffff).unwrap_or(0)
}
