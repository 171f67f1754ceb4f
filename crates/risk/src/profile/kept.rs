//! A record as bytes that outlast the process. Fixed in size, and anything can be read: what is no record is none.

use std::array::from_fn;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::agents::{AGENTS_MAX, Agents};
use super::hours::Hours;
use super::places::{self, PLACES_MAX, Places};
use super::record::{
    ASNS_MAX, COUNTRIES_MAX, DEVICES_MAX, FAMILIES_MAX, HISTORY_MAX, NETWORKS_MAX, RECENT_MAX, Rare, Record,
};
use super::tokens::{self, Tokens, USES_MAX};
use crate::counted::CountedSet;
use crate::habit::{self, Habit};
use crate::moment::{TICK_MASK, TICKS_PER_SECOND, seconds};
use crate::recent::RecentSet;

/// The first byte: how the rest is written. What is written otherwise is forgotten.
const FORM: u8 = 4;

// Where each part begins, in words of 64 bits.
const TIMES: usize = 1;
const NETWORKS: usize = TIMES + 1;
const ASNS: usize = NETWORKS + NETWORKS_MAX;
const DEVICES: usize = ASNS + ASNS_MAX;
const COUNTRIES: usize = DEVICES + DEVICES_MAX;
const AGENTS: usize = COUNTRIES + COUNTRIES_MAX / 2;
const FAMILIES: usize = AGENTS + AGENTS_MAX / 2;
const HOURS: usize = FAMILIES + FAMILIES_MAX / 2;
const ROUTES: usize = HOURS + 4;
const HEADS: usize = ROUTES + 2;
const POSITIONS: usize = HEADS + PLACES_MAX;
const SYSTEMS: usize = POSITIONS + PLACES_MAX;
const STEPPED_UP: usize = SYSTEMS + PLACES_MAX / 2;
const TOKENS: usize = STEPPED_UP + RECENT_MAX;
const DOUBTED: usize = TOKENS + USES_MAX;
const RATE: usize = DOUBTED + RECENT_MAX;
const VOLUME: usize = RATE + 1;
const WORDS: usize = VOLUME + 1;

/// The bound of what a principal costs, here and in memory.
const BYTES_MAX: usize = 640;
const _: () = assert!(8 * WORDS < BYTES_MAX);

impl Record {
    /// The record as it is kept over a restart: 585 bytes, opaque to everybody else.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut words = [0; WORDS];
        let counts = u64::from(self.epoch.load(Ordering::Relaxed));
        let [seen, counted] = [&self.last_seen, &self.last_counted].map(|time| time.load(Ordering::Relaxed).into());
        let places = self.places.kept();
        put(&mut words, 0, [counts | (u64::from(self.history.load(Ordering::Relaxed)) << 32)]);
        put(&mut words, TIMES, [pair([seen, counted])]);
        put(&mut words, NETWORKS, self.networks.words());
        put(&mut words, ASNS, self.asns.words());
        put(&mut words, DEVICES, self.devices.words());
        put_halves(&mut words, COUNTRIES, &self.countries.words());
        put_halves(&mut words, AGENTS, &self.agents.values());
        put_halves(&mut words, FAMILIES, &self.rare.families.words());
        put(&mut words, HOURS, self.hours.words());
        put(&mut words, ROUTES, [0, 1].map(|n| self.routes.get(n).map_or(0, |word| word.load(Ordering::Relaxed))));
        put(&mut words, HEADS, places.heads);
        put(&mut words, POSITIONS, places.positions);
        put_halves(&mut words, SYSTEMS, &places.systems);
        put(&mut words, STEPPED_UP, self.rare.stepped_up.words());
        put(&mut words, TOKENS, self.tokens.words());
        put(&mut words, DOUBTED, self.rare.doubted.words());
        put(&mut words, RATE, [self.rate.word(), self.volume.word()]);
        std::iter::once(FORM).chain(words.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    /// A record that was kept. `None` where it is written in another form. Nothing in it is later than `now`, but for doubts: these go by the time of
    /// day, and one that was dated ahead, as the credential it was about, must not be answered by that.
    pub(super) fn decode(kept: &[u8], now: u64) -> Option<Self> {
        let words = words_of(kept)?;
        let [counts, times] = take(&words, 0);
        let today = crate::decay::day(now);
        let epoch = u32::try_from(counts & 0xffff).unwrap_or(0).min(today);
        let history = u32::try_from(counts >> 32).unwrap_or(0).min(2 * HISTORY_MAX);
        let [seen, counted] = halves(times).map(|time| u32::try_from(time).unwrap_or(0).min(seconds(now)));
        let [rate, volume] = take(&words, RATE).map(Habit::of_word);
        let places = places::Kept {
            heads: take(&words, HEADS),
            positions: take(&words, POSITIONS),
            systems: take_halves(&words, SYSTEMS),
        };
        Some(Self {
            epoch: AtomicU16::new(u16::try_from(epoch).unwrap_or(u16::MAX)),
            counted: AtomicBool::new(false),
            history: AtomicU32::new(history),
            last_seen: AtomicU32::new(seen),
            last_counted: AtomicU32::new(counted),
            networks: CountedSet::of_words(take(&words, NETWORKS)),
            asns: CountedSet::of_words(take(&words, ASNS)),
            countries: CountedSet::of_words(take_halves(&words, COUNTRIES)),
            devices: CountedSet::of_words(take(&words, DEVICES)),
            agents: Agents::of_values(take_halves(&words, AGENTS)),
            hours: Hours::of_words(take(&words, HOURS)),
            rate,
            volume,
            routes: take(&words, ROUTES).map(AtomicU64::new),
            places: Places::of_kept(places, now),
            tokens: Tokens::of_words(take(&words, TOKENS), now),
            rare: Box::new(Rare {
                families: CountedSet::of_words(take_halves(&words, FAMILIES)),
                stepped_up: RecentSet::of_words(take(&words, STEPPED_UP), now),
                doubted: RecentSet::of_words(take(&words, DOUBTED), TICK_MASK),
            }),
        })
    }
}

/// A kept record with all its times moved by so many ticks: the clock that it was kept by went otherwise than that of now. Doubts stay, which
/// go by the time of day. Whatever is no record stays none.
pub(crate) fn moved(kept: &[u8], by: i64) -> Vec<u8> {
    let mut kept = kept.to_vec();
    let Some((_, rest)) = kept.split_first_mut() else { return kept };
    let (words, _) = rest.as_chunks_mut::<8>();
    for (at, bytes) in words.iter_mut().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let moved = match at {
            0 => (word & !0xffff) | moved_day(word & 0xffff, by),
            TIMES => pair(halves(word).map(|seconds| moved_seconds(seconds, by))),
            HEADS..POSITIONS | STEPPED_UP..TOKENS => moved_member(word, by),
            TOKENS..DOUBTED => tokens::moved(word, by),
            RATE | VOLUME => habit::moved(word, by),
            _ => word,
        };
        *bytes = moved.to_le_bytes();
    }
    kept
}

/// The words, where they are written as this version writes them.
fn words_of(kept: &[u8]) -> Option<[u64; WORDS]> {
    let (form, rest) = kept.split_first()?;
    let (words, more) = rest.as_chunks::<8>();
    let words: &[[u8; 8]; WORDS] = words.try_into().ok()?;
    (*form == FORM && more.is_empty()).then(|| words.map(u64::from_le_bytes))
}

fn put<const N: usize>(words: &mut [u64; WORDS], at: usize, values: [u64; N]) {
    words.iter_mut().skip(at).zip(values).for_each(|(word, value)| *word = value);
}

/// Two values of 32 bits to a word.
fn put_halves(words: &mut [u64; WORDS], at: usize, values: &[u64]) {
    let (pairs, _) = values.as_chunks::<2>();
    words.iter_mut().skip(at).zip(pairs).for_each(|(word, values)| *word = pair(*values));
}

fn take<const N: usize>(words: &[u64; WORDS], at: usize) -> [u64; N] {
    from_fn(|n| words.get(at + n).copied().unwrap_or(0))
}

fn take_halves<const N: usize>(words: &[u64; WORDS], at: usize) -> [u64; N] {
    from_fn(|n| {
        let [low, high] = halves(words.get(at + n / 2).copied().unwrap_or(0));
        if n.is_multiple_of(2) { low } else { high }
    })
}

fn pair([low, high]: [u64; 2]) -> u64 {
    (low & 0xffff_ffff) | (high << 32)
}

fn halves(word: u64) -> [u64; 2] {
    [word & 0xffff_ffff, word >> 32]
}

/// A word whose lower part is a time.
fn moved_member(word: u64, by: i64) -> u64 {
    (word & !TICK_MASK) | moved_time(word & TICK_MASK, by)
}

/// 0 is never, and stays so.
fn moved_time(ticks: u64, by: i64) -> u64 {
    if ticks == 0 { 0 } else { ticks.saturating_add_signed(by).clamp(1, TICK_MASK) }
}

fn moved_seconds(seconds: u64, by: i64) -> u64 {
    let by = by.div_euclid(i64::try_from(TICKS_PER_SECOND).unwrap_or(1));
    if seconds == 0 { 0 } else { seconds.saturating_add_signed(by).clamp(1, 0xffff_ffff) }
}

fn moved_day(day: u64, by: i64) -> u64 {
    let half = TICKS_PER_DAY / 2;
    let days = by.saturating_add(half).div_euclid(TICKS_PER_DAY);
    if day == 0 { 0 } else { day.saturating_add_signed(days).clamp(1, 0xffff) }
}

const TICKS_PER_DAY: i64 = 16 * 86_400;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::Traits;
    use crate::table::{Table, entry_size};

    /// As docs/policy.md has it. An allocator such as mimalloc, the gateway's, rounds up to 512 and to 96 bytes, which both are already.
    #[test]
    fn a_principal_takes_no_more_than_its_bytes() {
        const RECORD: usize = size_of::<Record>();
        const RARE: usize = size_of::<Rare>();
        const ALL_IN: usize = entry_size::<Record>() + RARE;
        const { assert!(ALL_IN <= BYTES_MAX) };
        assert_eq!((RECORD, RARE, ALL_IN), (496, 96, 640));
        assert_eq!(Record::default().encode().len(), 585);
    }

    #[test]
    fn so_much_is_allocated_for_each_of_many_principals() {
        // The last one that a map of 32,768 places is enough for, the first one that it is not, and as many as there are by default.
        for many in [26_214_u64, 26_215, 100_000] {
            let mut table = None;
            let allocated = allocation_counter::measure(|| {
                let filled = Table::<Record>::kept(usize::try_from(many).unwrap());
                for n in 0..many {
                    let key = crate::commons::mix(n).max(2);
                    filled.with_or_insert(key, Record::default, |_| Some(0), |_| ());
                }
                table = Some(filled);
            });
            let each = u64::try_from(allocated.bytes_current).unwrap() / many;
            assert!((600..=640).contains(&each), "{each} bytes for each of {many}");
            assert_eq!(table.map(|table| table.len()), usize::try_from(many).ok());
        }
    }

    #[test]
    fn what_is_done_in_an_hour_is_kept() {
        const HOUR: u64 = 3_600 * 16;
        let record = Record::default();
        for n in 0..20 {
            record.rate.note(300, n * HOUR);
            record.volume.note(200, n * HOUR);
        }
        let now = 20 * HOUR;
        record.rate.note(9_000, now);
        let kept = record.encode();
        let read = Record::decode(&kept, now).unwrap();
        assert_eq!(read.rate.unusual(now), record.rate.unusual(now));
        assert!(read.rate.unusual(now).is_some() && read.volume.unusual(now).is_none());
        read.volume.note(9_000, now);
        record.volume.note(9_000, now);
        assert_eq!(read.volume.unusual(now), record.volume.unusual(now));
        assert!(read.volume.unusual(now).is_some());
        let later = Record::decode(&moved(&kept, i64::try_from(HOUR).unwrap()), now + HOUR).unwrap();
        assert_eq!(later.rate.unusual(now + HOUR), record.rate.unusual(now));
    }

    #[test]
    fn what_another_version_wrote_is_none() {
        let kept = Record::default().encode();
        assert!(Record::decode(&kept, 0).is_some());
        for form in (0..=u8::MAX).filter(|form| *form != FORM) {
            assert!(Record::decode(&[&[form], &kept[1..]].concat(), 0).is_none(), "{form}");
        }
        for other in [&kept[..kept.len() - 1], &kept[..kept.len() - 8], &[kept.clone(), vec![0; 8]].concat(), &[]] {
            assert!(Record::decode(other, 0).is_none(), "{}", other.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..700), now in 0..=TICK_MASK) {
            prop_assert!(Record::decode(&bytes, now).is_none() || bytes.len() == 1 + 8 * WORDS);
        }

        #[test]
        fn whatever_is_read_can_be_used(
            mut bytes in prop::collection::vec(any::<u8>(), 1 + 8 * WORDS), now in 0..=TICK_MASK, by in any::<i64>(),
            network in any::<u64>(), agent in any::<u64>(), route in any::<u64>(), token in any::<u32>(), asn in any::<u32>(),
        ) {
            bytes[0] = FORM;
            let record = Record::decode(&moved(&bytes, by), now).unwrap();
            let traits = Traits {
                network: Some(network), agent: Some(agent), route: Some(route), token: Some(token), asn: Some(asn),
                ..Traits::default()
            };
            record.familiarity(&traits, now);
            record.comparison(&traits, Some(agent), now);
            record.learn(&traits, || Some(agent), true, now);
            record.show(now);
            let again = Record::decode(&record.encode(), now).unwrap();
            prop_assert_eq!(again.encode(), record.encode());
        }
    }
}
