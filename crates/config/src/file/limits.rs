//! What callers may use of a route: `rate_limit` and `max_concurrent`, of a `[[route]]` or, as the default of routes, of
//! `[limits]`.

use std::time::Duration;

use portcullis_proxy::settings::{Concurrency, Per, RateLimit};

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::kinds::{Choice, Integer, Size, Time};
use crate::section::Section;

/// The bounds of a count.
pub(crate) const MAX_COUNT: u64 = 1_000_000_000;
/// What can be written as `per`.
pub(crate) const PER: &[(&str, Per)] =
    &[("principal", Per::Principal), ("address", Per::Address), ("route", Per::Route)];
/// The bounds of `max_concurrent`: what the counters hold.
pub(crate) const MAX_CONCURRENT: u64 = 1_000_000;

/// What a limit on bodies can be.
pub(crate) const BODY_SIZES: std::ops::RangeInclusive<usize> = 1..=1 << 50;
/// Requests at once on an HTTP/2 connection.
pub(crate) const MAX_STREAMS: u64 = 65_536;
/// Windows of HTTP/2: not below what the protocol begins with, and no more than one client should fill.
pub(crate) const WINDOWS: std::ops::RangeInclusive<usize> = 64 << 10..=64 << 20;

/// More limits on one route than anybody can reason about.
const MAX_LIMITS: usize = 8;
/// The longest that a used-up burst may take to come back.
const MAX_RECOVERY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `rate_limit`: one table or a list of them; `None` where nothing is written.
pub(crate) fn read_rates(section: &Section<'_>) -> Option<Vec<RateLimit>> {
    let tables = section.table_or_tables("rate_limit")?;
    if let Some(surplus) = tables.get(MAX_LIMITS) {
        let message = format!("`rate_limit`: more than {MAX_LIMITS} limits on one route");
        let diagnostic = Diagnostic::error(codes::BAD_VALUE, surplus.span(), message);
        section.reader().report(diagnostic.with_help("leave out those that another one makes superfluous"));
    }
    Some(tables.into_iter().filter_map(read_rate).collect())
}

fn read_rate(section: Section<'_>) -> Option<RateLimit> {
    let per = section.required("per", Choice(PER));
    let requests = section.required("requests", Integer(1..=MAX_COUNT));
    let window = section.required("window", Time::within("1s", "1d"));
    let burst = section.optional("burst", Integer(1..=MAX_COUNT));
    let (reader, span) = (section.reader(), section.span());
    section.finish();
    let (per, requests, window) = (per?.value, requests?.value, window?.value);
    let burst_at = burst.as_ref().map_or(span, |burst| burst.span);
    let burst = burst.map_or(requests, |burst| burst.value);
    let recovery = window.as_secs_f64() * burst as f64 / requests as f64;
    if recovery > MAX_RECOVERY.as_secs_f64() {
        let message = "`burst`: once used up it would take more than 30 days to come back";
        let help = format!("at most {}", MAX_RECOVERY.as_secs() * requests / window.as_secs().max(1));
        reader.report(Diagnostic::error(codes::BAD_VALUE, burst_at, message).with_help(help));
    }
    Some(RateLimit { per, requests, window, burst })
}

/// `max_request_body` or `max_response_body`; `None` where nothing is written.
pub(crate) fn read_body_size(section: &Section<'_>, key: &'static str) -> Option<usize> {
    section.optional(key, Size(BODY_SIZES)).map(|found| found.value)
}

/// `max_concurrent`; `None` where nothing is written.
pub(crate) fn read_concurrent(section: &Section<'_>) -> Option<Concurrency> {
    let section = section.table("max_concurrent")?;
    let count = |key| section.optional(key, Integer(1..=MAX_CONCURRENT)).map(|found| found.value);
    let concurrent = Concurrency { route: count("route"), principal: count("principal") };
    section.finish();
    Some(concurrent)
}
