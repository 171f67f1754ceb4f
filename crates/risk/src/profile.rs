//! What is usual for each principal: its networks, autonomous systems and countries, its devices and software, the hours of its week,
//! the routes it uses, and the last places it was let in from. Bounded; the principal not seen for longest of a sample makes room.
//!
//! A [record](record) is 592 bytes of atomics, and costs no more than 640 with its key, its place in the table and what an allocator makes of it.
//! Counts fade by half in 30 days ([`decay`](crate::decay)). While a principal is hardly known each of its requests counts; later only one in ten
//! minutes does, so that a busy one costs reads alone.

mod agents;
mod hours;
mod kept;
mod places;
mod record;
mod tokens;
mod traits;

use portcullis_policy::CountryCode;

use crate::colleagues::Colleagues;
use crate::commons::{Common, Commons, mix};
use crate::counted::member;
use crate::distance::Position;
use crate::hierarchy::{Level, Levels};
use crate::moment::before;
use crate::peers::{Measure, Peers};
use crate::table::Table;

pub(crate) use kept::moved;
use places::number_of_country;
pub(crate) use record::Shown;
use record::{Learned, Record, asn_member, places_of, route_place};
pub(crate) use tokens::TOKEN_MASK;
pub(crate) use traits::{Comparison, Familiarity, Traits};

/// Bytes are counted in these: less than half of one is nothing.
const VOLUME_UNIT: u64 = 64 * 1_024;
/// A doubt about somebody dates from its beginning for this: 7 days.
const DOUBT_TICKS: u64 = 7 * 24 * 3_600 * 16;

/// Keyed by principal.
#[derive(Debug)]
pub(crate) struct Profiles {
    table: Table<Record>,
    pub(crate) commons: Commons,
    colleagues: Colleagues,
    pub(crate) peers: Peers,
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
        self.table.with(principal, |record| record.familiarity(traits, now)).unwrap_or_default()
    }

    /// The second look.
    pub(crate) fn compare_closely(&self, principal: u64, traits: &Traits, family: Option<u64>, now: u64) -> Comparison {
        self.table.with(principal, |record| record.comparison(traits, family, now)).unwrap_or_default()
    }

    /// Whether the principal was near this position when it was last let in, there or in one of the three places before.
    pub(crate) fn was_near(&self, principal: u64, position: Position) -> bool {
        self.table.with(principal, |record| record.places.is_near(position)) == Some(true)
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
            country: country.map(|code| level(compared.country, Common::Country, number_of_country(code))),
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
        // Where nobody is known by this name yet, whoever is seen again is worth more.
        self.table.with_or_insert(principal, Record::default, last_seen, |record| {
            record.rare.doubted.note_first(session, before(now, DOUBT_TICKS), now);
        });
    }

    /// Whether the principal authenticated after there was a doubt about who comes with these traits, and whether it was asked to.
    pub(crate) fn answered(&self, principal: u64, traits: &Traits, authenticated: u64) -> Option<bool> {
        let sessions = [true, false].map(|asked| traits.doubted(asked));
        let seen = |record: &Record| sessions.map(|session| record.rare.doubted.seen(session?));
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
        let learned = self.table.with_or_insert(principal, Record::default, last_seen, |record| {
            record.learn(traits, family, stepped_up, now)
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
        let ended = self.table.with(principal, |record| record.volume.note(units, now)).flatten();
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
        let forgotten = self.table.with(principal, |record| {
            let known = record.is_known();
            record.clear();
            known
        });
        self.table.mark(principal);
        forgotten.unwrap_or(false)
    }

    /// Puts back a profile that was kept, and counts where its principal comes from; which roles it has is seen when it comes. Says whether it could be read and
    /// there was room.
    pub(crate) fn restore(&self, principal: u64, kept: &[u8], now: u64) -> bool {
        let Some(record) = Record::decode(kept, now) else { return false };
        let networks: Vec<u64> = record.networks.members().map(|(member, _)| member).collect();
        let asns: Vec<u64> = record.asns.members().map(|(member, _)| member).collect();
        let countries: Vec<u64> = record.countries.members().map(|(member, _)| member).collect();
        let seen = record.last_seen();
        if self.table.with_or_insert(principal, || record, last_seen, |_| ()).is_none() {
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
        self.table.with(principal, |record| record.is_known().then(|| record.show(now))).flatten()
    }

    /// Shows the profiles that have changed, about `most` of them, as they are kept; says whether there are more.
    pub(crate) fn take_changed(&self, most: usize, mut show: impl FnMut(u64, Vec<u8>)) -> bool {
        self.table.take_marked(most, |principal, record| show(principal, record.encode()))
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

/// Higher is worth more, so the one not seen for longest goes first. None is ever pinned.
#[expect(clippy::unnecessary_wraps, reason = "a table asks whether an entry may go at all")]
fn last_seen(record: &Record) -> Option<u64> {
    Some(record.last_seen())
}

fn role_route(role: u64, place: u64) -> u64 {
    mix(role ^ mix(place + 1))
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
