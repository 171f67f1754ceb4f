//! Shares, and how sure they are.

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many are meant.
    pub part: u64,
    /// Of how many.
    pub whole: u64,
}

/// Bounds of a share, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower one.
    pub low: f64,
    /// The upper one.
    pub high: f64,
}

impl Share {
    /// The share, from 0 to 1; `None` of nothing.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }

    /// The 95 % score interval (Wilson 1927); all of 0 to 1 where there is nothing to go by.
    #[must_use]
    pub fn interval(self) -> Interval {
        const Z: f64 = 1.96;
        if self.whole == 0 {
            return Interval { low: 0.0, high: 1.0 };
        }
        let (n, p) = (self.whole as f64, self.part as f64 / self.whole as f64);
        let denominator = 1.0 + Z * Z / n;
        let middle = (p + Z * Z / (2.0 * n)) / denominator;
        let half = Z / denominator * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        Interval { low: (middle - half).clamp(0.0, 1.0), high: (middle + half).clamp(0.0, 1.0) }
    }
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.part += other.part;
        self.whole += other.whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of the binomial score interval that textbooks print.
    #[test]
    fn intervals_as_published() {
        let check = |part: u64, whole: u64, low: f64, high: f64| {
            let interval = Share { part, whole }.interval();
            assert!((interval.low - low).abs() < 0.0005 && (interval.high - high).abs() < 0.0005, "{interval:?}");
        };
        check(0, 10, 0.0, 0.2775);
        check(5, 10, 0.2366, 0.7634);
        check(10, 10, 0.7225, 1.0);
        check(81, 263, 0.2553, 0.3662);
        check(0, 0, 0.0, 1.0);
    }
}
