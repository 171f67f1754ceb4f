//! A time and any text as hours: refused with a sentence, or they hold exactly in the minutes of the week that their
//! days and their span mark.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_policy::{CanonicalPath, Hours, IdentityFact, WhenDraft};

use super::asking::{permits, user};
use super::world::policy_of;

const MINUTES_OF_A_DAY: usize = 24 * 60;
const MINUTES_OF_A_WEEK: usize = 7 * MINUTES_OF_A_DAY;

/// The first four bytes are the time, in minutes since 1970; the rest is the text.
pub(crate) fn body(bytes: &[u8]) {
    let Some((minutes, text)) = bytes.split_at_checked(4) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(hours) = Hours::parse(text, |name| TimeZone::get(name).ok()) else { return };
    let minutes = i64::from(u32::from_le_bytes(minutes.try_into().unwrap()) % (100 * 366 * 24 * 60));
    let now = Timestamp::from_second(minutes * 60).unwrap();
    let local = hours.zone.to_datetime(now);
    let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap();
    let minute = usize::try_from(local.hour()).unwrap() * 60 + usize::try_from(local.minute()).unwrap();
    let expected = open_minutes(&hours)[day * MINUTES_OF_A_DAY + minute];

    let when = WhenDraft { hours: Some(hours.into()), ..WhenDraft::default() };
    let policy = policy_of(&["GET /a"], &when).unwrap();
    let path = CanonicalPath::parse("/a").unwrap();
    assert_eq!(permits(&policy, IdentityFact::Verified(&user(0)), "GET", &path, now), expected, "{text:?} at {now}");
}

/// Every minute of the week, marked span by span from the day on which it begins.
fn open_minutes(hours: &Hours) -> Vec<bool> {
    let mut open = vec![false; MINUTES_OF_A_WEEK];
    let (from, to) = (usize::from(hours.from_minute), usize::from(hours.to_minute));
    let length = if from < to { to - from } else { to + MINUTES_OF_A_DAY - from };
    for day in (0..7).filter(|day| hours.days >> day & 1 == 1) {
        for minute in 0..length {
            open[(day * MINUTES_OF_A_DAY + from + minute) % MINUTES_OF_A_WEEK] = true;
        }
    }
    open
}
