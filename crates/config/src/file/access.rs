//! `[access]`: how much power for a time there may be, how long an approval of it is waited for, and whether principals ask for it themselves.

use std::time::Duration;

use portcullis_governance::power::Limits;

use crate::diagnostics::Span;
use crate::kinds::{Flag, Integer, Time};
use crate::section::Section;

/// What can be in force or wait at once.
pub(crate) const MOST: std::ops::RangeInclusive<u64> = 1..=10_000;

/// Reads `[access]`, and where it says that principals ask themselves.
pub(crate) fn read_access(root: &Section<'_>) -> (Limits, Option<Span>) {
    let limits = Limits::default();
    let Some(section) = root.table("access") else { return (limits, None) };
    let most = section.or("most", Integer(MOST), limits.most as u64);
    let wait = section.or("wait", Time::within("1m", "30d"), Duration::from_secs(limits.waits_s));
    let self_service = section.optional("self_service", Flag).filter(|wanted| wanted.value);
    section.finish();
    let limits = Limits { most: usize::try_from(most).unwrap_or(limits.most), waits_s: wait.as_secs(), ..limits };
    (limits, self_service.map(|wanted| wanted.span))
}
