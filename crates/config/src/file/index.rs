//! `[index]`: the index of recorded events.

use std::time::Duration;

use crate::diagnostics::{At, Span};
use crate::kinds::{FilePath, Flag, ResolvedPath, Size, Time};
use crate::section::Section;

/// How large the index may be.
pub(crate) const SIZES: std::ops::RangeInclusive<usize> = 16 << 20..=1 << 40;
const MAX_AGE: Duration = Duration::from_secs(31 * 24 * 60 * 60);
const MAX_SIZE: usize = 2 << 30;

/// `[index]`, where it is on.
#[derive(Debug)]
pub(crate) struct Index {
    /// Where it says so.
    pub(crate) at: Span,
    /// `None`: beside the event file.
    pub(crate) path: Option<At<ResolvedPath>>,
    pub(crate) max_age: Duration,
    pub(crate) max_size: usize,
}

/// `None`: there is none.
pub(crate) fn read_index(root: &Section<'_>) -> Option<Index> {
    let section = root.table("index")?;
    let enabled = section.or("enabled", Flag, false);
    let path = section.optional("path", FilePath);
    let max_age = section.or("max_age", Time::within("1h", "3660d"), MAX_AGE);
    let max_size = section.or("max_size", Size(SIZES), MAX_SIZE);
    let at = section.span();
    section.finish();
    enabled.then_some(Index { at, path, max_age, max_size })
}
