//! `[access]`: how much power for a time there may be, and how long an approval of it is waited for.

use std::time::Duration;

use portcullis_governance::power::Limits;

use crate::kinds::{Integer, Time};
use crate::section::Section;

/// What can be in force or wait at once.
pub(crate) const MOST: std::ops::RangeInclusive<u64> = 1..=10_000;

pub(crate) fn read_access(root: &Section<'_>) -> Limits {
    let limits = Limits::default();
    let Some(section) = root.table("access") else { return limits };
    let most = section.or("most", Integer(MOST), limits.most as u64);
    let wait = section.or("wait", Time::within("1m", "30d"), Duration::from_secs(limits.waits_s));
    section.finish();
    Limits { most: usize::try_from(most).unwrap_or(limits.most), waits_s: wait.as_secs(), ..limits }
}
