//! When an audit is made by itself: after so long, or at an hour of some days of the week by the clocks of a zone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// By how much a time may be later than now, in seconds: a clock that was set back a little.
const AHEAD_S: i64 = 5 * 60;

/// When an audit is made by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the last one that was made by itself.
    Every(Duration),
    /// At an hour of some days.
    Weekly(Weekly),
}

/// `Mon 03:00 Europe/Berlin`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weekly {
    /// As it was written.
    pub text: Arc<str>,
    /// Bit 0 is Monday, bit 6 Sunday; one at least.
    pub days: u8,
    /// The minute of the day, 0 to 1,439.
    pub minute: u16,
    /// By whose clocks.
    pub zone: TimeZone,
}

impl Schedule {
    /// Whether one is due: `last` is when one was made by itself last, in seconds since 1970, and `made` how long ago this process made one, by a clock
    /// that nobody sets. A `last` that is yet to come is of a clock that went wrong.
    pub fn is_due(&self, made: Option<Duration>, last: Option<i64>, now: i64) -> bool {
        let is_ahead = |last: i64| last > now.saturating_add(AHEAD_S);
        match self {
            Self::Every(every) => {
                if let Some(made) = made {
                    return made >= *every;
                }
                let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX);
                last.is_none_or(|last| is_ahead(last) || now.saturating_sub(last) >= every)
            }
            // Of one that was missed while no process ran, one is made.
            Self::Weekly(weekly) => match (last, weekly.last_before(now)) {
                (Some(last), Some(at)) => is_ahead(last) || last < at,
                (None, _) | (_, None) => false,
            },
        }
    }
}

impl Weekly {
    /// When it was last so late, in seconds since 1970. Where the clocks are put forward over it, it is as much later; where they are put back, it is the
    /// first of the two.
    fn last_before(&self, now: i64) -> Option<i64> {
        let local = self.zone.to_datetime(Timestamp::from_second(now).ok()?);
        let time = Time::new((self.minute / 60).try_into().ok()?, (self.minute % 60).try_into().ok()?, 0, 0).ok()?;
        let mut day = local.date();
        // Today may be too early yet: then it was a week ago.
        for _ in 0..=7 {
            let bit = u8::try_from(day.weekday().to_monday_zero_offset()).ok()?;
            let at = self.zone.to_timestamp(day.to_datetime(time)).ok()?.as_second();
            if self.days & (1 << bit) != 0 && at <= now {
                return Some(at);
            }
            day = day.yesterday().ok()?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;
    const NOW: i64 = 20_000 * DAY_S;

    #[test]
    fn after_so_long_also_across_restarts() {
        let day = Schedule::Every(Duration::from_secs(86_400));
        let check = |last: Option<i64>, due: bool| assert_eq!(day.is_due(None, last, NOW), due, "{last:?}");
        check(None, true);
        check(Some(NOW), false);
        check(Some(NOW - DAY_S + 1), false);
        check(Some(NOW - DAY_S), true);
        check(Some(NOW - 9 * DAY_S), true);
        check(Some(NOW + 1), false);
        check(Some(NOW + 3_650 * DAY_S), true);
    }

    /// Of a run under a clock that was ahead one audit comes, and not one at each look.
    #[test]
    fn a_run_of_the_future_makes_no_loop() {
        let (ahead, day) = (Some(NOW + 3_650 * DAY_S), Duration::from_secs(86_400));
        let mut made: Option<Duration> = None;
        let mut audits = 0;
        for _look in 0..3 {
            made = made.map(|made| made + Duration::from_secs(60));
            if Schedule::Every(day).is_due(made, ahead, NOW) {
                audits += 1;
                made = Some(Duration::ZERO);
            }
        }
        assert_eq!(audits, 1);
        assert!(Schedule::Every(day).is_due(Some(day), ahead, NOW));
    }

    #[test]
    fn at_an_hour_of_a_day_by_the_clocks_of_a_zone() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let weekly = |days: u8, minute: u16, zone: &str| {
            Schedule::Weekly(Weekly { text: "".into(), days, minute, zone: TimeZone::get(zone).unwrap() })
        };
        let check = |schedule: &Schedule, last: &str, now: &str, due: bool| {
            assert_eq!(schedule.is_due(None, Some(at(last)), at(now)), due, "{schedule:?} {last} {now}");
        };
        // 2026-11-23 is a Monday; in Berlin three o'clock is two in UTC then, and one in July.
        let monday = weekly(1, 180, "Europe/Berlin");
        check(&monday, "2026-11-20T12:00:00Z", "2026-11-23T01:59:59Z", false);
        check(&monday, "2026-11-20T12:00:00Z", "2026-11-23T02:00:00Z", true);
        check(&monday, "2026-11-23T02:00:00Z", "2026-11-29T23:00:00Z", false);
        check(&monday, "2026-11-23T02:00:00Z", "2026-11-30T02:00:00Z", true);
        check(&monday, "2026-07-01T00:00:00Z", "2026-07-06T01:00:00Z", true);
        check(&monday, "2026-07-01T00:00:00Z", "2026-07-06T00:59:00Z", false);
        // One that was missed is made up for, once.
        check(&monday, "2026-10-01T00:00:00Z", "2026-11-26T00:00:00Z", true);
        check(&monday, "2026-11-26T00:00:00Z", "2026-11-26T00:01:00Z", false);
        // Sunday and Wednesday.
        let twice = weekly(0b100_0100, 0, "UTC");
        check(&twice, "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", true);
        check(&twice, "2026-11-25T00:00:00Z", "2026-11-28T23:59:59Z", false);
        check(&twice, "2026-11-25T00:00:00Z", "2026-11-29T00:00:00Z", true);
        // There is no half past two on the day when clocks are put forward.
        let gap = weekly(0x7f, 150, "Europe/Berlin");
        check(&gap, "2026-03-28T12:00:00Z", "2026-03-29T00:59:59Z", false);
        check(&gap, "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z", true);
        // A clock that was ahead, and nobody who has begun yet.
        check(&monday, "2036-01-01T00:00:00Z", "2026-11-26T00:00:00Z", true);
        assert!(!monday.is_due(None, None, NOW));
    }
}
