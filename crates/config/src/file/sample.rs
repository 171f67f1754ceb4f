//! `[sample]` and `[spike]`: the requests that are kept for a while, so that a change of the policy can be tried on them, and a spike of refusals
//! be explained.

use portcullis_insight::{SampleLimits, SpikeSettings};

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::kinds::{Flag, Integer, Time};
use crate::section::Section;

/// How many of the last requests may be kept.
pub(crate) const RECENT: std::ops::RangeInclusive<u64> = 100..=1_000_000;
/// How many altogether.
pub(crate) const MOST: std::ops::RangeInclusive<u64> = 200..=4_000_000;

/// How many refusals beyond the usual a spike has at least.
pub(crate) const EXCESS: std::ops::RangeInclusive<u64> = 1..=1_000_000;

/// `None`: none are kept.
pub(crate) fn read_sample(root: &Section<'_>) -> Option<SampleLimits> {
    let default = SampleLimits::default();
    let Some(section) = root.table("sample") else { return Some(default) };
    let enabled = section.or("enabled", Flag, true);
    let count = |key, range, or: usize| usize::try_from(section.or(key, Integer(range), or as u64)).unwrap_or(or);
    let recent = count("recent", RECENT, default.recent);
    let most = count("most", MOST, default.most.max(recent));
    if most < recent {
        let message = "`most`: must not be less than `recent`, which is a part of it";
        let help = format!("write at least `most = {recent}`");
        section.reader().report(Diagnostic::error(codes::CONFLICT, section.span(), message).with_help(help));
    }
    section.finish();
    enabled.then_some(SampleLimits { recent, most, ..default })
}

/// `None`: nobody looks for them.
pub(crate) fn read_spike(root: &Section<'_>) -> Option<SpikeSettings> {
    let default = SpikeSettings::default();
    let Some(section) = root.table("spike") else { return Some(default) };
    let enabled = section.or("enabled", Flag, true);
    let bucket = section.or("bucket", Time::within("1s", "5m"), default.bucket);
    let min_excess = section.or("min_excess", Integer(EXCESS), default.min_excess);
    let lookback = section.or("lookback", Time::within("1m", "1d"), default.lookback);
    section.finish();
    enabled.then_some(SpikeSettings { bucket, min_excess, lookback })
}
