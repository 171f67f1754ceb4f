//! The last places that a principal was let in from, four at most: who uses a tunnel at one end of the world and the office at the
//! other has two.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use portcullis_policy::CountryCode;

use crate::distance::Position;
use crate::moment::{TICK_BITS, TICK_MASK};
use crate::travel::is_near;

pub(super) const PLACES_MAX: usize = 4;
/// A place's time is written again only when it is older than this: 16 seconds.
const REFRESH_TICKS: u64 = 16 * 16;

/// Twenty bytes each, in three rows, so that none is lost between them.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// 28 bits of the network and the time.
    heads: [AtomicU64; PLACES_MAX],
    /// Position, country and flags.
    positions: [AtomicU64; PLACES_MAX],
    /// The autonomous system, or 0.
    systems: [AtomicU32; PLACES_MAX],
}

/// One of them. The head is [`BUSY`] while the others change, and read before and after them. Only who made it so may write.
#[derive(Debug, Clone, Copy)]
struct Slot<'a> {
    head: &'a AtomicU64,
    position: &'a AtomicU64,
    system: &'a AtomicU32,
}

/// A place where a principal was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// In ticks.
    pub(crate) at: u64,
    pub(crate) position: Option<Position>,
    pub(crate) asn: Option<u32>,
    pub(crate) country: Option<CountryCode>,
    /// Its network says nothing about where its users are.
    pub(crate) hidden: bool,
}

/// The head of a slot that is being written: no place has the time 0.
const BUSY: u64 = !TICK_MASK;

const HAS_POSITION: u64 = 1;
const HAS_RADIUS: u64 = 2;
const HIDDEN: u64 = 4;
/// Where the number of the country stands, of ten bits.
const COUNTRY_SHIFT: u32 = 3;
const COUNTRY_MASK: u64 = 0x3ff;

/// What is kept of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) heads: [u64; PLACES_MAX],
    pub(super) positions: [u64; PLACES_MAX],
    pub(super) systems: [u64; PLACES_MAX],
}

impl Places {
    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        let rows = self.heads.iter().zip(&self.positions).zip(&self.systems);
        rows.map(|((head, position), system)| Slot { head, position, system })
    }

    /// What is remembered of a network.
    pub(super) fn of_network(&self, network: u64) -> Option<Place> {
        self.slots().find(|slot| slot.is_of(network)).and_then(Slot::read).map(|(_, place)| place)
    }

    /// Where the principal was last.
    pub(super) fn latest(&self) -> Option<Place> {
        self.slots().filter_map(Slot::read).map(|(_, place)| place).max_by_key(|place| place.at)
    }

    /// The latest first.
    pub(super) fn all(&self) -> Vec<Place> {
        let mut all: Vec<Place> = self.slots().filter_map(Slot::read).map(|(_, place)| place).collect();
        all.sort_by_key(|place| std::cmp::Reverse(place.at));
        all
    }

    /// Whether a position may be that of one of them.
    pub(super) fn is_near(&self, position: Position) -> bool {
        let mut positions = self.slots().filter_map(Slot::read).filter_map(|(_, place)| place.position);
        positions.any(|known| is_near(known, position))
    }

    /// Notes that the principal is in a network; where that is, if it was looked up. The answer is what is remembered of it now.
    pub(super) fn note(&self, network: u64, looked_up: Option<Place>, now: u64) -> Option<Place> {
        let found = self.slots().find(|slot| slot.is_of(network));
        match (found, looked_up) {
            (Some(slot), None) => {
                let (head, place) = slot.read()?;
                if now > place.at + REFRESH_TICKS {
                    let head_now = (head & !TICK_MASK) | (now & TICK_MASK);
                    let _ = slot.head.compare_exchange(head, head_now, Ordering::Relaxed, Ordering::Relaxed);
                }
                Some(place)
            }
            (found, Some(place)) => {
                let oldest = || self.slots().min_by_key(|slot| slot.head.load(Ordering::Relaxed) & TICK_MASK);
                found.or_else(oldest)?.write(network, place);
                Some(place)
            }
            (None, None) => None,
        }
    }

    pub(super) fn clear(&self) {
        self.heads.iter().for_each(|head| {
            let free = |head: u64| (head != BUSY).then_some(0);
            let _ = head.fetch_update(Ordering::Release, Ordering::Relaxed, free);
        });
    }

    pub(super) fn kept(&self) -> Kept {
        let load = |row: &[AtomicU64; PLACES_MAX], n: usize| row.get(n).map_or(0, |word| word.load(Ordering::Relaxed));
        let head = |n| Some(load(&self.heads, n)).filter(|head| *head != BUSY).unwrap_or(0);
        Kept {
            heads: std::array::from_fn(head),
            positions: std::array::from_fn(|n| load(&self.positions, n)),
            systems: std::array::from_fn(|n| {
                self.systems.get(n).map_or(0, |system| system.load(Ordering::Relaxed).into())
            }),
        }
    }

    /// What was kept. Any words do; nobody was anywhere later than now.
    pub(super) fn of_kept(kept: Kept, now: u64) -> Self {
        let head = |head: u64| {
            let at = (head & TICK_MASK).min(now).max(u64::from(head != 0));
            AtomicU64::new((head & !TICK_MASK) | at)
        };
        Self {
            heads: kept.heads.map(head),
            positions: kept.positions.map(AtomicU64::new),
            systems: kept.systems.map(|system| AtomicU32::new(u32::try_from(system & 0xffff_ffff).unwrap_or(0))),
        }
    }
}

impl Slot<'_> {
    fn is_of(self, network: u64) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        head != 0 && head != BUSY && head >> TICK_BITS == network >> TICK_BITS
    }

    /// The head and the place; `None` of an empty slot, and of one that is being written.
    fn read(self) -> Option<(u64, Place)> {
        let head = self.head.load(Ordering::Acquire);
        let (position, system) = (self.position.load(Ordering::Acquire), self.system.load(Ordering::Acquire));
        if head == 0 || head == BUSY || self.head.load(Ordering::Relaxed) != head {
            return None;
        }
        let [a, b, c, d, e, f, g, h] = position.to_be_bytes();
        let flags = u64::from(u16::from_be_bytes([g, h]));
        let place = Place {
            at: head & TICK_MASK,
            position: (flags & HAS_POSITION != 0).then(|| Position {
                latitude: i16::from_be_bytes([a, b]),
                longitude: i16::from_be_bytes([c, d]),
                radius_km: (flags & HAS_RADIUS != 0).then(|| u16::from_be_bytes([e, f])),
            }),
            asn: Some(system).filter(|system| *system != 0),
            country: country_of_number((flags >> COUNTRY_SHIFT) & COUNTRY_MASK),
            hidden: flags & HIDDEN != 0,
        };
        Some((head, place))
    }

    /// Of two writers at one instant the second writes nothing: its place is noted at its next sight.
    fn write(self, network: u64, place: Place) {
        let head = self.head.load(Ordering::Relaxed);
        if head == BUSY || self.head.compare_exchange(head, BUSY, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        let position = place.position.map_or(0, |position| {
            let [a, b] = position.latitude.to_be_bytes();
            let [c, d] = position.longitude.to_be_bytes();
            let [e, f] = position.radius_km.unwrap_or(0).to_be_bytes();
            let flags = HAS_POSITION | if position.radius_km.is_some() { HAS_RADIUS } else { 0 };
            u64::from_be_bytes([a, b, c, d, e, f, 0, 0]) | flags
        });
        let country = place.country.map_or(0, number_of_country) << COUNTRY_SHIFT;
        self.position.store(position | country | if place.hidden { HIDDEN } else { 0 }, Ordering::Release);
        self.system.store(place.asn.unwrap_or(0), Ordering::Release);
        let at = (place.at & TICK_MASK).max(1);
        self.head.store((network & !TICK_MASK) | at, Ordering::Release);
    }
}

/// A country as a number from 1 to 676; two letters have no more.
pub(super) fn number_of_country(country: CountryCode) -> u64 {
    let letters = country.as_str().bytes().map(|letter| u64::from(letter.wrapping_sub(b'A') % 26));
    letters.fold(0, |number, letter| number * 26 + letter) + 1
}

/// The country of such a number; none of any other.
pub(super) fn country_of_number(number: u64) -> Option<CountryCode> {
    let number = number.checked_sub(1).filter(|number| *number < 26 * 26)?;
    let letter = |number: u64| u8::try_from(number).ok().map(|letter| letter + b'A');
    let letters = [letter(number / 26)?, letter(number % 26)?];
    CountryCode::parse(std::str::from_utf8(&letters).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64, latitude: i16) -> Place {
        let position = Some(Position { latitude, longitude: -latitude, radius_km: (latitude > 0).then_some(20) });
        Place { at, position, asn: Some(65_500), country: CountryCode::parse("DE"), hidden: latitude < 0 }
    }

    #[test]
    fn no_network_is_ever_seen_at_the_place_of_another() {
        let places = Places::default();
        let network = |n: i16| u64::try_from(n).unwrap() << TICK_BITS;
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let places = &places;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let n = 1 + thread * 4 + round % 4;
                        places.note(network(n), Some(place(1 + u64::from(round.unsigned_abs()), n)), 1);
                        if round % 100 == 0 {
                            places.clear();
                        }
                    }
                });
            }
        });
        for n in 1..=16 {
            if let Some(found) = places.of_network(network(n)) {
                assert_eq!(found, place(found.at, n));
            }
        }
        // What is kept while it is being written is nothing.
        places.heads[0].store(BUSY, Ordering::Relaxed);
        assert_eq!(places.kept().heads[0], 0);
        let first = places.slots().next().unwrap();
        assert_eq!(first.read(), None);
        first.write(network(1), place(9, 1));
        assert_eq!(first.head.load(Ordering::Relaxed), BUSY, "there is a writer already");
    }

    #[test]
    fn every_country_has_a_number_of_its_own() {
        let mut numbers = std::collections::BTreeSet::new();
        for first in 'A'..='Z' {
            for second in 'A'..='Z' {
                let country = CountryCode::parse(&format!("{first}{second}")).unwrap();
                let number = number_of_country(country);
                assert_eq!(country_of_number(number), Some(country));
                assert!(number <= COUNTRY_MASK && numbers.insert(number));
            }
        }
        assert_eq!([0, 677, u64::MAX].map(country_of_number), [None; 3]);
    }

    #[test]
    fn the_last_four_are_remembered_as_they_were() {
        let places = Places::default();
        let network = |n: u64| n << TICK_BITS;
        for (n, latitude) in [(1, 100), (2, -200), (3, 300), (4, -400), (5, 500)] {
            places.note(network(n), Some(place(n * 1_000, latitude)), n * 1_000);
        }
        assert_eq!(places.of_network(network(1)), None);
        assert_eq!(places.of_network(network(2)), Some(place(2_000, -200)));
        assert_eq!(places.latest(), Some(place(5_000, 500)));
        assert_eq!(Places::of_kept(places.kept(), 10_000).all(), places.all());
        assert_eq!(Places::of_kept(places.kept(), 2_500).latest().map(|place| place.at), Some(2_500));
        // Who comes back is remembered as there now, without a look.
        assert!(places.note(network(2), None, 9_000).is_some());
        assert_eq!(places.latest().map(|place| place.at), Some(9_000));
        assert_eq!(places.note(network(9), None, 9_000), None);
    }
}
