//! `[event]` and `[spool]`: what every event says of its gateway, and how it is kept.

use std::time::Duration;

use portcullis_events::checkpoint::{EVENTS, EVERY};
use portcullis_events::settings::{FSYNC_INTERVAL, Fsync, Integrity, Secret, SpoolSettings, WHOLE};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::receiver::required_text;
use crate::kinds::{Choice, FilePath, Flag, Integer, Name, Percentage, Size, Time};
use crate::section::Section;

/// The words of `integrity`.
pub(crate) const INTEGRITY: &[(&str, Integrity)] = &[("chain", Integrity::Chain), ("off", Integrity::Off)];

/// The words of `fsync`.
pub(crate) const FSYNC: &[(&str, Fsync)] =
    &[("always", Fsync::Always), ("interval", Fsync::Interval), ("never", Fsync::Never)];

/// The sizes of a spool and of its files, in bytes.
pub(crate) const SPOOL_SIZES: std::ops::RangeInclusive<usize> = 16 << 20..=1 << 40;
pub(crate) const SEGMENT_SIZES: std::ops::RangeInclusive<usize> = 1 << 20..=1 << 30;

/// How many events may be between two checkpoints.
pub(crate) const CHECKPOINT_EVENTS: std::ops::RangeInclusive<u64> = 1..=1_000_000_000;

/// What is said of all events.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    pub(crate) node: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) integrity: Integrity,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) permits: Option<Permits>,
    pub(crate) upstream_refusals: bool,
    pub(crate) fsync: Option<At<Fsync>>,
    pub(crate) fsync_interval: Duration,
    pub(crate) spool: Option<SpoolSettings>,
}

/// `permits` of `[event]`, where any are recorded.
#[derive(Debug)]
pub(crate) struct Permits {
    /// Where it stands.
    pub(crate) at: Span,
    /// How many of ten thousand.
    pub(crate) sample: u32,
    /// Only of these routes; empty: of all.
    pub(crate) routes: Vec<At<String>>,
}

fn read_permits(section: &Section<'_>) -> Option<Permits> {
    let table = section.table("permits")?;
    let at = table.span();
    let share = table.optional("sample", Percentage);
    let routes = table.one_or_list("routes", Name).map(|routes| routes.value).unwrap_or_default();
    table.finish();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
    let sample = (share?.value * f64::from(WHOLE)).round() as u32;
    Some(Permits { at, sample, routes })
}

pub(crate) fn read_keeping(root: &Section<'_>) -> Keeping {
    let mut keeping = Keeping { fsync_interval: FSYNC_INTERVAL, ..Keeping::default() };
    if let Some(section) = root.table("event") {
        keeping.node = section.optional("node", Name).map(|node| node.value);
        keeping.cluster = section.optional("cluster", Name).map(|cluster| cluster.value);
        keeping.integrity = section.or("integrity", Choice(INTEGRITY), Integrity::default());
        keeping.checkpoint = section.table("checkpoint").and_then(read_checkpoint);
        keeping.permits = read_permits(&section);
        keeping.upstream_refusals = section.or("upstream_refusals", Flag, false);
        section.finish();
    }
    if let Some(section) = root.table("spool") {
        read_spool(&section, &mut keeping);
        section.finish();
    }
    keeping
}

/// `checkpoint` of `[event]`
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// Where it stands.
    pub(crate) at: Span,
    /// The private key, in PEM.
    pub(crate) key: At<Secret>,
    pub(crate) every: Duration,
    pub(crate) events: u64,
}

fn read_checkpoint(section: Section<'_>) -> Option<Checkpoint> {
    let at = section.span();
    let key = required_text(&section, "key");
    let every = section.or("every", Time::within("1s", "1d"), EVERY);
    let events = section.or("events", Integer(CHECKPOINT_EVENTS), EVENTS);
    section.finish();
    Some(Checkpoint { at, key: key?, every, events })
}

fn read_spool(section: &Section<'_>, keeping: &mut Keeping) {
    let path = section.optional("path", FilePath);
    let default = SpoolSettings::new("");
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let max_size = section.optional("max_size", Size(SPOOL_SIZES));
    let segment_size = section.optional("segment_size", Size(SEGMENT_SIZES));
    keeping.fsync = section.optional("fsync", Choice(FSYNC));
    keeping.fsync_interval = section.or("fsync_interval", Time::within("10ms", "10s"), FSYNC_INTERVAL);
    let at = max_size.as_ref().or(segment_size.as_ref()).map(|size| size.span);
    let max_size = max_size.map_or(default.max_size, |size| bytes(size.value));
    let segment_size = segment_size.map_or(default.segment_size, |size| bytes(size.value));
    if let Some(span) = at.filter(|_| segment_size.saturating_mul(4) > max_size) {
        // What is given up at the bound is a whole segment.
        let message = "`max_size` must be at least four times `segment_size`";
        let help = "choose a smaller `segment_size`";
        section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
    }
    keeping.spool = path.map(|path| SpoolSettings { path: path.value.path, max_size, segment_size });
}
