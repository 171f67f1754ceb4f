//! The last places that a principal was let in from, four at most: who uses a tunnel at one end of the world and the office at the
//! other has two.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_policy::CountryCode;

use crate::distance::Position;
use crate::moment::{TICK_BITS, TICK_MASK};
use crate::travel::is_near;

const PLACES_MAX: usize = 4;
/// A place's time is written again only when it is older than this: 16 seconds.
const REFRESH_TICKS: u64 = 16 * 16;

#[derive(Debug, Default)]
pub(super) struct Places([Slot; PLACES_MAX]);

/// Three words. The head, 28 bits of the network and the time, is [`BUSY`] while the others change, and read before and after them. Only who made it
/// so may write.
#[derive(Debug, Default)]
struct Slot {
    head: AtomicU64,
    position: AtomicU64,
    origin: AtomicU64,
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

impl Places {
    /// What is remembered of a network.
    pub(super) fn of_network(&self, network: u64) -> Option<Place> {
        self.0.iter().find(|slot| slot.is_of(network)).and_then(Slot::read).map(|(_, place)| place)
    }

    /// Where the principal was last.
    pub(super) fn latest(&self) -> Option<Place> {
        self.0.iter().filter_map(Slot::read).map(|(_, place)| place).max_by_key(|place| place.at)
    }

    /// The latest first.
    pub(super) fn all(&self) -> Vec<Place> {
        let mut all: Vec<Place> = self.0.iter().filter_map(Slot::read).map(|(_, place)| place).collect();
        all.sort_by_key(|place| std::cmp::Reverse(place.at));
        all
    }

    /// Whether a position may be that of one of them.
    pub(super) fn is_near(&self, position: Position) -> bool {
        let positions = self.0.iter().filter_map(Slot::read).filter_map(|(_, place)| place.position);
        positions.into_iter().any(|known| is_near(known, position))
    }

    /// Notes that the principal is in a network; where that is, if it was looked up. The answer is what is remembered of it now.
    pub(super) fn note(&self, network: u64, looked_up: Option<Place>, now: u64) -> Option<Place> {
        let found = self.0.iter().find(|slot| slot.is_of(network));
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
                let oldest = || self.0.iter().min_by_key(|slot| slot.head.load(Ordering::Relaxed) & TICK_MASK);
                found.or_else(oldest)?.write(network, place);
                Some(place)
            }
            (None, None) => None,
        }
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|slot| {
            let free = |head: u64| (head != BUSY).then_some(0);
            let _ = slot.head.fetch_update(Ordering::Release, Ordering::Relaxed, free);
        });
    }

    pub(super) fn words(&self) -> [u64; 3 * PLACES_MAX] {
        let mut words = [0; 3 * PLACES_MAX];
        for (slot, words) in self.0.iter().zip(words.chunks_mut(3)) {
            let all = [&slot.head, &slot.position, &slot.origin];
            for (word, from) in words.iter_mut().zip(all) {
                *word = from.load(Ordering::Relaxed);
            }
            if let [head, ..] = words
                && *head == BUSY
            {
                *head = 0;
            }
        }
        words
    }

    /// What was kept. Any words do; nobody was anywhere later than now.
    pub(super) fn of_words(words: [u64; 3 * PLACES_MAX], now: u64) -> Self {
        let (places, _) = words.as_chunks::<3>();
        let mut all = Self::default();
        for (slot, [head, position, origin]) in all.0.iter_mut().zip(places) {
            let at = (head & TICK_MASK).min(now).max(u64::from(*head != 0));
            slot.head = AtomicU64::new((head & !TICK_MASK) | at);
            slot.position = AtomicU64::new(*position);
            slot.origin = AtomicU64::new(*origin);
        }
        all
    }
}

impl Slot {
    fn is_of(&self, network: u64) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        head != 0 && head != BUSY && head >> TICK_BITS == network >> TICK_BITS
    }

    /// The head and the place; `None` of an empty slot, and of one that is being written.
    fn read(&self) -> Option<(u64, Place)> {
        let head = self.head.load(Ordering::Acquire);
        let (position, origin) = (self.position.load(Ordering::Acquire), self.origin.load(Ordering::Acquire));
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
            asn: u32::try_from(origin >> 32).ok().filter(|asn| *asn != 0),
            country: {
                let [.., first, second] = origin.to_be_bytes();
                std::str::from_utf8(&[first, second]).ok().and_then(CountryCode::parse)
            },
            hidden: flags & HIDDEN != 0,
        };
        Some((head, place))
    }

    /// Of two writers at one instant the second writes nothing: its place is noted at its next sight.
    fn write(&self, network: u64, place: Place) {
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
        let country = place
            .country
            .map_or(0, |country| country.as_str().bytes().fold(0, |code: u64, byte| (code << 8) | u64::from(byte)));
        self.position.store(position | if place.hidden { HIDDEN } else { 0 }, Ordering::Release);
        self.origin.store((u64::from(place.asn.unwrap_or(0)) << 32) | country, Ordering::Release);
        let at = (place.at & TICK_MASK).max(1);
        self.head.store((network & !TICK_MASK) | at, Ordering::Release);
    }
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
        places.0[0].head.store(BUSY, Ordering::Relaxed);
        assert_eq!(Places::of_words(places.words(), 10).0[0].head.load(Ordering::Relaxed), 0);
        assert_eq!(places.0[0].read(), None);
        places.0[0].write(network(1), place(9, 1));
        assert_eq!(places.0[0].head.load(Ordering::Relaxed), BUSY, "there is a writer already");
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
        assert_eq!(Places::of_words(places.words(), 10_000).all(), places.all());
        assert_eq!(Places::of_words(places.words(), 2_500).latest().map(|place| place.at), Some(2_500));
        // Who comes back is remembered as there now, without a look.
        assert!(places.note(network(2), None, 9_000).is_some());
        assert_eq!(places.latest().map(|place| place.at), Some(9_000));
        assert_eq!(places.note(network(9), None, 9_000), None);
    }
}
