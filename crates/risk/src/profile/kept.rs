//! A profile as bytes that outlast the process. Fixed in size, and anything can be read: what is no profile is none.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{
    AGENTS_MAX, ASNS_MAX, COUNTRIES_MAX, DEVICES_MAX, FAMILIES_MAX, HISTORY_MAX, Hours, NETWORKS_MAX, Places, Profile,
    RECENT_MAX,
};
use crate::counted::CountedSet;
use crate::habit::{self, Habit};
use crate::moment::TICK_MASK;
use crate::recent::RecentSet;

/// The first byte: how the rest is written. One that is written otherwise is forgotten.
const FORM: u8 = 3;
/// The form before it, which had no word for what is done in an hour.
const FORM_WITHOUT_HABITS: u8 = 2;
const WORDS: usize = WORDS_WITHOUT_HABITS + 1;
const WORDS_WITHOUT_HABITS: usize =
    3 + NETWORKS_MAX + ASNS_MAX + COUNTRIES_MAX + DEVICES_MAX + AGENTS_MAX + FAMILIES_MAX + 4 + 2 + 12 + 2 * RECENT_MAX;
/// The bound of what is kept of a principal.
const BYTES_MAX: usize = 640;
const _: () = assert!(8 * WORDS <= BYTES_MAX);

impl Profile {
    /// The profile as it is kept over a restart: 641 bytes, opaque to everybody else.
    pub(super) fn encode(&self) -> Vec<u8> {
        // What it gets in an hour has no word of its own, but 44 bits where two others have room: its hour is that of the requests.
        let rate = self.rate.word();
        let volume = habit::in_the_hour_of(self.volume.word(), rate);
        let epoch = u64::from(self.epoch.load(Ordering::Relaxed)) & 0xffff;
        let counts = epoch | ((volume >> 32) << 16) | (u64::from(self.history.load(Ordering::Relaxed)) << 32);
        let mut hours = self.hours.words();
        if let Some(last) = hours.last_mut() {
            *last = (*last & 0xffff_ffff) | (volume << 32);
        }
        let times = [&self.last_seen, &self.last_counted].map(|time| time.load(Ordering::Relaxed));
        let words = std::iter::once(counts)
            .chain(times)
            .chain(self.networks.words())
            .chain(self.asns.words())
            .chain(self.countries.words())
            .chain(self.devices.words())
            .chain(self.agents.words())
            .chain(self.families.words())
            .chain(hours)
            .chain(self.routes.iter().map(|word| word.load(Ordering::Relaxed)))
            .chain(self.places.words())
            .chain(self.stepped_up.words())
            .chain(self.tokens.words())
            .chain([rate]);
        std::iter::once(FORM).chain(words.flat_map(u64::to_le_bytes)).collect()
    }

    /// A profile that was kept. `None` where it is written in another form. Nothing in it is later than `now`.
    pub(super) fn decode(kept: &[u8], now: u64) -> Option<Self> {
        let (form, rest) = kept.split_first()?;
        let (words, more) = rest.as_chunks::<8>();
        let has_habits = match (*form, words.len()) {
            (FORM, WORDS) => true,
            (FORM_WITHOUT_HABITS, WORDS_WITHOUT_HABITS) => false,
            _ => return None,
        };
        if !more.is_empty() {
            return None;
        }
        let rate = words.last().filter(|_| has_habits).map_or(0, |word| u64::from_le_bytes(*word));
        let mut words = Words(words);
        let [counts, last_seen, last_counted] = words.take();
        let epoch = u32::try_from(counts & 0xffff).unwrap_or(0).min(crate::decay::day(now));
        let history = u32::try_from(counts >> 32).unwrap_or(0).min(2 * HISTORY_MAX);
        let mut volume = (counts >> 16 & 0xfff) << 32;
        Some(Self {
            epoch: AtomicU32::new(epoch),
            history: AtomicU32::new(history),
            last_seen: AtomicU64::new(last_seen.min(now).min(TICK_MASK)),
            last_counted: AtomicU64::new(last_counted.min(now).min(TICK_MASK)),
            networks: CountedSet::of_words(words.take()),
            asns: CountedSet::of_words(words.take()),
            countries: CountedSet::of_words(words.take()),
            devices: CountedSet::of_words(words.take()),
            agents: RecentSet::of_words(words.take(), now),
            families: CountedSet::of_words(words.take()),
            hours: {
                let kept: [u64; 4] = words.take();
                volume |= kept.last().map_or(0, |last| last >> 32);
                Hours::of_words(kept)
            },
            rate: Habit::of_word(rate),
            // Fields are read in this order, so that the volume is whole by now.
            volume: Habit::of_word(if has_habits { habit::with_hour_of(volume, rate) } else { 0 }),
            routes: words.take().map(AtomicU64::new),
            places: Places::of_words(words.take(), now),
            stepped_up: RecentSet::of_words(words.take(), now),
            tokens: RecentSet::of_words(words.take(), now),
            doubted: RecentSet::default(),
            counted: AtomicBool::new(false),
        })
    }
}

/// A kept profile with all its times moved by so many ticks: the clock that it was kept by went otherwise than that of now. Whatever is no
/// profile stays none.
pub(crate) fn moved(kept: &[u8], by: i64) -> Vec<u8> {
    const AGENTS: usize = 3 + NETWORKS_MAX + ASNS_MAX + COUNTRIES_MAX + DEVICES_MAX;
    const AGENTS_END: usize = AGENTS + AGENTS_MAX;
    const PLACES: usize = AGENTS_END + FAMILIES_MAX + 4 + 2;
    const RECENT: usize = PLACES + 12;
    const HABIT: usize = WORDS_WITHOUT_HABITS;
    let mut kept = kept.to_vec();
    let Some((_, rest)) = kept.split_first_mut() else { return kept };
    let (words, _) = rest.as_chunks_mut::<8>();
    for (at, bytes) in words.iter_mut().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let moved = match at {
            0 => (word & !0xffff) | moved_day(word & 0xffff, by),
            1 | 2 => moved_time(word, by),
            AGENTS..AGENTS_END => moved_member(word, by),
            // The head of each place alone has a time.
            PLACES..RECENT if !(at - PLACES).is_multiple_of(3) => word,
            PLACES..HABIT => moved_member(word, by),
            HABIT => habit::moved(word, by),
            _ => word,
        };
        *bytes = moved.to_le_bytes();
    }
    kept
}

/// A word whose lower part is a time.
fn moved_member(word: u64, by: i64) -> u64 {
    (word & !TICK_MASK) | moved_time(word & TICK_MASK, by)
}

/// 0 is never, and stays so.
fn moved_time(ticks: u64, by: i64) -> u64 {
    if ticks == 0 { 0 } else { ticks.saturating_add_signed(by).clamp(1, TICK_MASK) }
}

fn moved_day(day: u64, by: i64) -> u64 {
    let half = TICKS_PER_DAY / 2;
    let days = by.saturating_add(half).div_euclid(TICKS_PER_DAY);
    if day == 0 { 0 } else { day.saturating_add_signed(days).clamp(1, 0xffff) }
}

const TICKS_PER_DAY: i64 = 16 * 86_400;

/// Words one after the other.
struct Words<'a>(&'a [[u8; 8]]);

impl Words<'_> {
    /// The next so many; 0 after the last.
    fn take<const N: usize>(&mut self) -> [u64; N] {
        std::array::from_fn(|_| match self.0.split_first() {
            Some((word, rest)) => {
                self.0 = rest;
                u64::from_le_bytes(*word)
            }
            None => 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::Traits;

    #[test]
    fn a_profile_takes_no_more_than_its_bytes() {
        // As docs/policy.md has it.
        assert_eq!(size_of::<Profile>(), 680);
        assert_eq!(crate::table::entry_size::<Profile>(), 728);
        assert_eq!((Profile::default().encode().len(), WORDS), (641, 80));
    }

    #[test]
    fn what_is_done_in_an_hour_is_kept_and_what_was_kept_before_that_is_read() {
        const HOUR: u64 = 3_600 * 16;
        let profile = Profile::default();
        for n in 0..20 {
            profile.rate.note(300, n * HOUR);
            profile.volume.note(200, n * HOUR);
        }
        let now = 20 * HOUR;
        profile.rate.note(9_000, now);
        let kept = profile.encode();
        let read = Profile::decode(&kept, now).unwrap();
        assert_eq!(read.rate.unusual(now), profile.rate.unusual(now));
        assert!(read.rate.unusual(now).is_some() && read.volume.unusual(now).is_none());
        read.volume.note(9_000, now);
        profile.volume.note(9_000, now);
        assert_eq!(read.volume.unusual(now), profile.volume.unusual(now));
        assert!(read.volume.unusual(now).is_some());
        let later = Profile::decode(&moved(&kept, i64::try_from(HOUR).unwrap()), now + HOUR).unwrap();
        assert_eq!(later.rate.unusual(now + HOUR), profile.rate.unusual(now));
        let mut before: Vec<u8> = kept[..kept.len() - 8].to_vec();
        before[0] = FORM_WITHOUT_HABITS;
        let read = Profile::decode(&before, now).unwrap();
        assert_eq!((read.rate.word(), read.volume.word()), (0, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..700), now in 0..=TICK_MASK) {
            prop_assert!(Profile::decode(&bytes, now).is_none() || bytes.len() > 8 * WORDS_WITHOUT_HABITS);
        }

        #[test]
        fn whatever_is_read_can_be_used(
            mut bytes in prop::collection::vec(any::<u8>(), 1 + 8 * WORDS), now in 0..=TICK_MASK,
            network in any::<u64>(), agent in any::<u64>(), route in any::<u64>(), token in any::<u16>(), asn in any::<u32>(),
        ) {
            bytes[0] = FORM;
            let profile = Profile::decode(&bytes, now).unwrap();
            let traits = Traits {
                network: Some(network), agent: Some(agent), route: Some(route), token: Some(token), asn: Some(asn),
                ..Traits::default()
            };
            profile.familiarity(&traits, now);
            profile.comparison(&traits, Some(agent), now);
            profile.learn(&traits, || Some(agent), true, now);
            profile.show(now);
            let again = Profile::decode(&profile.encode(), now).unwrap();
            prop_assert_eq!(again.encode(), profile.encode());
        }
    }
}
