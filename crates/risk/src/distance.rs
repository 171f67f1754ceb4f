//! How far two places are from each other, in integers: the haversine formula on the mean sphere, by a polynomial for the sine
//! and a search for its inverse, so that a replay gives the same metre on every machine.

/// A place on the globe as a database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Hundredths of a degree, north positive, from −9,000 to 9,000.
    pub latitude: i16,
    /// Hundredths of a degree, east positive, from −18,000 to 18,000.
    pub longitude: i16,
    /// How far off it may be, in kilometres; `None` where the database does not say.
    pub radius_km: Option<u16>,
}

impl Position {
    /// From degrees, as databases have them; `None` where they are on no globe.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most 18,000 after the check")]
    pub fn from_degrees(latitude: f64, longitude: f64, radius_km: Option<u16>) -> Option<Self> {
        let on_globe = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        let hundredths = |degrees: f64| (degrees * 100.0).round() as i16;
        on_globe.then(|| Self { latitude: hundredths(latitude), longitude: hundredths(longitude), radius_km })
    }

    /// What a database without accuracy counts as, in kilometres.
    pub const UNKNOWN_RADIUS_KM: u16 = 250;

    /// The radius, known or not.
    #[must_use]
    pub fn radius_or_default_km(self) -> u16 {
        self.radius_km.unwrap_or(Self::UNKNOWN_RADIUS_KM)
    }
}

/// A right angle in millionths of a degree, the unit of angles here.
const QUARTER: i64 = 90_000_000;
const ONE: i64 = 1 << 30;
/// A millionth of a degree in radians, Q60.
const RADIANS: i64 = 20_122_276_272;
/// Metres on the ground, in hundred-millionths, of a millionth of a degree of half the angle: 2 · 6,371.0088 km · π/180.
const METRES: u64 = 22_239_016;

/// The distance over ground in metres.
pub(crate) fn metres(from: Position, to: Position) -> u64 {
    let half = arcsine(haversine(from, to));
    u64::try_from(half).unwrap_or(0) * METRES / 100_000_000
}

/// Whether the distance is less than so many metres, for a quarter of the work.
pub(crate) fn is_within(from: Position, to: Position, metres: u64) -> bool {
    // The least half angle that comes to so many.
    let half = metres.saturating_mul(100_000_000).div_ceil(METRES);
    let half = i64::try_from(half).unwrap_or(i64::MAX);
    half > QUARTER || square(sine(half)) > haversine(from, to)
}

/// The square of the sine of half the angle between two places, Q60.
fn haversine(from: Position, to: Position) -> i128 {
    let angle = |hundredths: i16| i64::from(hundredths) * 10_000;
    let latitudes = [angle(from.latitude), angle(to.latitude)].map(|angle| angle.clamp(-QUARTER, QUARTER));
    let apart = (angle(from.longitude) - angle(to.longitude)).abs() % (4 * QUARTER);
    let apart = apart.min(4 * QUARTER - apart);
    let [first, second] = latitudes;
    let cosines = (sine(QUARTER - first.abs()) * sine(QUARTER - second.abs())) >> 30;
    let haversine = square(sine((first - second).abs() / 2)) + ((i128::from(cosines) * square(sine(apart / 2))) >> 30);
    // Of two places opposite to each other rounding may come to more than the whole.
    haversine.min(square(ONE))
}

/// The sine of an angle from 0 to 90 degrees, Q30, by its series to the 13th power: off by less than a hundred-millionth.
fn sine(angle: i64) -> i64 {
    let x = (angle.clamp(0, QUARTER) * RADIANS) >> 30;
    let square = (x * x) >> 30;
    let series = [156, 110, 72, 42, 20, 6].iter().fold(ONE, |inner, divisor| ONE - ((square * inner) >> 30) / divisor);
    ((x * series) >> 30).clamp(0, ONE)
}

/// Q30 to Q60.
fn square(sine: i64) -> i128 {
    i128::from(sine) * i128::from(sine)
}

/// The largest angle up to 90 degrees whose sine squared is at most this (Q60): searched for about a guess that is hardly ever off by more than one.
fn arcsine(squared: i128) -> i64 {
    let fits = |angle: i64| square(sine(angle)) <= squared;
    let guess = guess(squared);
    let (mut low, mut high, mut step) = (0, QUARTER, 1);
    if fits(guess) {
        low = guess;
        while low < high {
            let next = (low + step).min(QUARTER);
            if !fits(next) {
                high = next - 1;
                break;
            }
            (low, step) = (next, step * 2);
        }
    } else {
        high = (guess - 1).max(0);
        while low < high {
            let next = (high + 1 - step).max(0);
            if fits(next) {
                low = next;
                break;
            }
            (high, step) = ((next - 1).max(0), step * 2);
        }
    }
    while low < high {
        let middle = (low + high + 1) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// About the angle whose sine squared is this (Q60): the series of the arcsine for the smaller of sine and cosine, and one step of Newton's method.
fn guess(squared: i128) -> i64 {
    let root = |squared: i128| i64::try_from(u64::try_from(squared).unwrap_or(0).isqrt()).unwrap_or(ONE);
    let (of_sine, cosine) = (root(squared), root(square(ONE) - squared));
    let (small, large) = (of_sine.min(cosine), of_sine.max(cosine).max(1));
    let of_small = (small * small) >> 30;
    let series = ARCSINE_Q30.iter().fold(0, |inner, coefficient| coefficient + ((of_small * inner) >> 30));
    let about = angle_of((small * series) >> 30);
    let angle = about + angle_of(((small - sine(about)) << 30) / large);
    if of_sine <= cosine { angle.clamp(0, QUARTER) } else { (QUARTER - angle).clamp(0, QUARTER) }
}

/// 6435/557056, 143/10240, 231/13312, 63/2816, 35/1152, 5/112, 3/40, 1/6 and 1, Q30.
const ARCSINE_Q30: [i64; 9] =
    [12_403_652, 14_994_637, 18_632_389, 24_021_923, 32_622_364, 47_934_903, 80_530_637, 178_956_971, 1_073_741_824];

/// Radians, Q30, in millionths of a degree.
fn angle_of(radians: i64) -> i64 {
    (radians << 30) / RADIANS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(latitude: f64, longitude: f64) -> Position {
        Position::from_degrees(latitude, longitude, None).unwrap()
    }

    fn reference_km(from: Position, to: Position) -> f64 {
        let radians = |hundredths: i16| (f64::from(hundredths) / 100.0).to_radians();
        let (a, b) = (radians(from.latitude), radians(to.latitude));
        let longitudes = radians(from.longitude) - radians(to.longitude);
        let h = ((a - b) / 2.0).sin().powi(2) + a.cos() * b.cos() * (longitudes / 2.0).sin().powi(2);
        2.0 * 6_371.008_8 * h.clamp(0.0, 1.0).sqrt().asin()
    }

    #[test]
    fn distances_are_those_of_the_map() {
        let check = |from: (f64, f64), to: (f64, f64), km: u64| {
            let found = metres(at(from.0, from.1), at(to.0, to.1));
            assert!(found.abs_diff(km * 1_000) <= 1_000, "{from:?} {to:?}: {found} m");
        };
        check((52.52, 13.41), (48.86, 2.35), 878);
        check((52.52, 13.41), (40.71, -74.01), 6_385);
        // The same place, the date line, both poles, places opposite to each other.
        check((52.52, 13.41), (52.52, 13.41), 0);
        check((0.0, 179.9), (0.0, -179.9), 22);
        check((0.0, 180.0), (0.0, -180.0), 0);
        check((90.0, 0.0), (90.0, 123.45), 0);
        check((90.0, 0.0), (-90.0, 77.0), 20_015);
        check((0.0, 0.0), (0.0, 180.0), 20_015);
        check((45.0, 10.0), (-45.0, -170.0), 20_015);
    }

    #[test]
    fn small_and_great_angles_have_their_arcsine() {
        let check = |angle: i64| {
            let found = arcsine(square(sine(angle)));
            assert!(sine(found) == sine(angle) && (found - angle).abs() < 3_000, "{angle}: {found}");
        };
        (0..2_000).for_each(check);
        (0..2_000).for_each(|n| check(QUARTER - n));
        (0..900).for_each(|n| check(n * 100_000 + 7));
        (-500..500).for_each(|n| check(QUARTER / 2 + n));
        assert_eq!((arcsine(0), arcsine(square(ONE))), (0, QUARTER));
    }

    #[test]
    fn what_is_on_no_globe_is_no_place() {
        for (latitude, longitude) in [(90.01, 0.0), (0.0, -180.01), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Position::from_degrees(latitude, longitude, None), None);
        }
    }

    proptest! {
        #[test]
        fn the_integers_agree_with_the_formula(
            a in -9_000..=9_000_i16, b in -18_000..=18_000_i16, c in -9_000..=9_000_i16, d in -18_000..=18_000_i16,
        ) {
            let from = Position { latitude: a, longitude: b, radius_km: None };
            let to = Position { latitude: c, longitude: d, radius_km: None };
            let found = metres(from, to);
            prop_assert_eq!(found, metres(to, from));
            // Where places are nearly opposite to each other the formula itself is flat.
            let tolerance = if reference_km(from, to) > 19_900.0 { 6.0 } else { 0.2 };
            prop_assert!((found as f64 / 1_000.0 - reference_km(from, to)).abs() < tolerance);
        }

        /// The guess only saves work: the answer is that of a search among all angles.
        #[test]
        fn the_arcsine_is_the_largest_angle_that_fits(squared in 0..=1_i64 << 60) {
            let found = arcsine(squared.into());
            prop_assert!(square(sine(found)) <= squared.into());
            prop_assert!(found == QUARTER || square(sine(found + 1)) > squared.into());
        }

        #[test]
        fn what_is_within_a_distance_is_no_farther(
            a in -9_000..=9_000_i16, b in -18_000..=18_000_i16, c in -9_000..=9_000_i16, d in -18_000..=18_000_i16,
            limit in 0..25_000_000_u64,
        ) {
            let from = Position { latitude: a, longitude: b, radius_km: None };
            let to = Position { latitude: c, longitude: d, radius_km: None };
            let found = metres(from, to);
            // Rounding may tell them apart at the border itself.
            prop_assert!(is_within(from, to, limit) == (found < limit) || found.abs_diff(limit) <= 1_500);
        }

        #[test]
        fn no_place_makes_it_fail(a in any::<i16>(), b in any::<i16>(), c in any::<i16>(), d in any::<i16>()) {
            let from = Position { latitude: a, longitude: b, radius_km: None };
            let to = Position { latitude: c, longitude: d, radius_km: None };
            prop_assert!(metres(from, to) < 20_100_000);
        }
    }
}
