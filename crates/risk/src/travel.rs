//! Impossible travel (risk.md 1.3): the caller is farther from where the principal was last let in than anybody moves.

use crate::distance::{Position, is_within, metres};
use crate::ln::ln_ratio_mnats;

/// A principal at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight {
    /// In ticks.
    pub(crate) at: u64,
    pub(crate) position: Position,
}

/// A journey that nobody makes, as it was measured: what it comes to is worked out from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trip {
    /// Metres, less what the two places may be off by.
    pub(crate) metres: u64,
    /// How long it took, in ticks, at least a minute.
    pub(crate) ticks: u64,
    /// A database did not say how far it is off.
    pub(crate) vague: bool,
    /// What anybody travels, in kilometres an hour.
    pub(crate) fastest: u32,
    /// Why it contributes nothing nevertheless.
    pub(crate) excuse: Option<Excuse>,
}

/// Why a journey is not held against anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// The device that the credential is bound to is a usual one.
    SameDevice,
    /// One end is a network of the organisation, or one that hides where its users are.
    NotWhereItSeems,
    /// Three other principals or more use the network.
    UsedByOthers,
    /// The principal is hardly known yet.
    FewSights,
    /// The principal was there a short while ago.
    UsualPlace,
}

impl Excuse {
    /// Each with the letter that stands for it where inputs are recorded.
    pub(crate) const CODES: [(char, Self); 5] = [
        ('d', Self::SameDevice),
        ('n', Self::NotWhereItSeems),
        ('o', Self::UsedByOthers),
        ('f', Self::FewSights),
        ('p', Self::UsualPlace),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SameDevice => "the device is a usual one, and the credential is bound to it",
            Self::NotWhereItSeems => "one end is a network that says nothing about where its users are",
            Self::UsedByOthers => "other principals use this network",
            Self::FewSights => "too little is known of this principal",
            Self::UsualPlace => "the principal comes from there, too",
        }
    }
}

const TICKS_PER_MINUTE: u64 = 60 * 16;
/// Databases are off by that much often enough.
const METRES_MIN: u64 = 300_000;
const MNATS_MAX: i32 = 3_000;

/// The journey from one place to the other, where it is impossible: farther than anybody gets at `fastest` kilometres an hour. Times that run
/// backwards tell nothing.
pub(crate) fn trip(from: Sight, to: Sight, fastest: u32) -> Option<Trip> {
    let ticks = to.at.checked_sub(from.at)?.max(TICKS_PER_MINUTE);
    let radii = u64::from(from.position.radius_or_default_km()) + u64::from(to.position.radius_or_default_km());
    if is_within(from.position, to.position, radii * 1_000 + METRES_MIN) {
        return None;
    }
    let metres = metres(from.position, to.position).saturating_sub(radii * 1_000);
    let vague = from.position.radius_km.is_none() || to.position.radius_km.is_none();
    let trip = Trip { metres, ticks, vague, fastest, excuse: None };
    (metres >= METRES_MIN && trip.metres_per_hour() > u128::from(fastest) * 1_000).then_some(trip)
}

impl Trip {
    /// What it would contribute.
    pub(crate) fn mnats(&self) -> i32 {
        let faster = ln_ratio_mnats(self.metres_per_hour(), u128::from(self.fastest) * 1_000);
        let mnats = faster.saturating_add(1_000).clamp(0, MNATS_MAX);
        // A database that does not say how far it is off is believed half.
        if self.vague { mnats / 2 } else { mnats }
    }

    /// `6365 km in 60 min: 6365 km/h`
    pub(crate) fn in_words(&self) -> String {
        let (km, minutes) = (self.metres / 1_000, self.ticks / TICKS_PER_MINUTE);
        format!("{km} km in {minutes} min: {} km/h", self.metres_per_hour() / 1_000)
    }

    fn metres_per_hour(&self) -> u128 {
        u128::from(self.metres) * 3_600 * 16 / u128::from(self.ticks.max(TICKS_PER_MINUTE))
    }
}

/// Whether two places may be the same one.
pub(crate) fn is_near(one: Position, other: Position) -> bool {
    let radii = u64::from(one.radius_or_default_km()) + u64::from(other.radius_or_default_km());
    is_within(one, other, radii * 1_000 + METRES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * TICKS_PER_MINUTE;
    const BERLIN: (i16, i16) = (5_252, 1_341);
    const PARIS: (i16, i16) = (4_886, 235);
    const NEW_YORK: (i16, i16) = (4_071, -7_401);

    fn sight((latitude, longitude): (i16, i16), at: u64, radius_km: Option<u16>) -> Sight {
        Sight { at, position: Position { latitude, longitude, radius_km } }
    }

    #[test]
    fn what_nobody_travels_is_impossible() {
        let check = |what: &str, from: (i16, i16), to: (i16, i16), ticks: u64, radius: u16, expected: Option<i32>| {
            let found = trip(sight(from, HOUR, Some(radius)), sight(to, HOUR + ticks, Some(radius)), 900);
            let mnats = found.map(|trip| trip.mnats());
            let close = mnats.zip(expected).is_none_or(|(found, expected)| (found - expected).abs() <= 2);
            assert!(mnats.is_some() == expected.is_some() && close, "{what}: {found:?}");
        };
        check("the same place at once", BERLIN, BERLIN, 0, 10, None);
        check("across the ocean in a minute", BERLIN, NEW_YORK, TICKS_PER_MINUTE, 10, Some(3_000));
        // (6,385 − 20 km) in 3 h are 2,122 km/h: 1 + ln(2,122/900).
        check("in three hours", BERLIN, NEW_YORK, 3 * HOUR, 10, Some(1_857));
        check("in seven hours and ten minutes", BERLIN, NEW_YORK, 7 * HOUR + 10 * TICKS_PER_MINUTE, 10, None);
        check("by an airliner", BERLIN, PARIS, HOUR, 10, None);
        check("in half an hour", BERLIN, PARIS, HOUR / 2, 10, Some(1_645));
        check("with inaccurate places", BERLIN, PARIS, TICKS_PER_MINUTE, 300, None);
        check("no time at all counts as a minute", BERLIN, PARIS, 0, 10, Some(3_000));
    }

    #[test]
    fn a_clock_that_steps_back_tells_nothing() {
        assert_eq!(trip(sight(BERLIN, HOUR, Some(10)), sight(NEW_YORK, HOUR - 1, Some(10)), 900), None);
    }

    #[test]
    fn a_place_without_its_accuracy_counts_half() {
        let known = trip(sight(BERLIN, 0, Some(250)), sight(NEW_YORK, HOUR, Some(250)), 900).unwrap();
        let vague = trip(sight(BERLIN, 0, None), sight(NEW_YORK, HOUR, Some(250)), 900).unwrap();
        assert_eq!((known.metres, vague.mnats()), (vague.metres, known.mnats() / 2));
    }

    #[test]
    fn what_anybody_travels_is_a_setting() {
        // (6,385 − 20 km) in 3 h are 2,122 km/h.
        let in_three_hours = |fastest| {
            trip(sight(BERLIN, HOUR, Some(10)), sight(NEW_YORK, 4 * HOUR, Some(10)), fastest).map(|trip| trip.mnats())
        };
        assert_eq!(in_three_hours(2_122), None);
        assert!(in_three_hours(2_121).is_some_and(|mnats| (1_000..1_010).contains(&mnats)));
        assert!(in_three_hours(100).is_some_and(|mnats| mnats == MNATS_MAX));
    }
}
