//! `events stats`: what came most, and how much over time.

use jiff::Timestamp;
use portcullis_history::{Count, Stats, stats};
use serde_json::{Value, json};

use super::{archive, filter, remote, report};
use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, StatsArgs};
use crate::cli::output::answer;
use crate::cli::span;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &StatsArgs) -> Result<Exit, Exit> {
    if remote::is_asked(global, &args.files)? {
        return remote::stats(global, args);
    }
    let archive = archive(global, &args.files)?;
    let wanted = filter(&args.filter, Some(&args.span), Timestamp::now());
    let counted = stats(&archive.files, archive.index.as_ref(), &wanted, args.top);
    report(&counted.trouble);
    Ok(told(global, &Shown::of(counted)))
}

/// What was counted, here or by a gateway.
pub(super) struct Shown {
    pub(super) events: u64,
    pub(super) refusals: u64,
    /// By reason, route, principal and address.
    pub(super) lists: [Vec<(String, u64)>; 4],
    /// When the first piece begins, and how long each is, in seconds.
    pub(super) begin: Option<String>,
    pub(super) seconds: Option<i64>,
    pub(super) series: Vec<u64>,
}

impl Shown {
    fn of(stats: Stats) -> Self {
        let list = |counts: Vec<Count>| counts.into_iter().map(|count| (count.value, count.events)).collect();
        Self {
            events: stats.events,
            refusals: stats.refusals,
            lists: [list(stats.reasons), list(stats.routes), list(stats.principals), list(stats.addresses)],
            begin: stats.pieces.map(|(begin, _)| begin.to_string()),
            seconds: stats.pieces.map(|(_, seconds)| seconds),
            series: stats.series,
        }
    }
}

pub(super) fn told(global: &Global, counted: &Shown) -> Exit {
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&for_people(counted)),
        Format::Json => answer(&serde_json::to_string_pretty(&to_json(counted)).unwrap_or_default()),
        Format::Jsonl => answer(&to_json(counted).to_string()),
    }
    if counted.events > 0 { Exit::Success } else { Exit::Negative }
}

fn for_people(stats: &Shown) -> String {
    let mut lines = vec![format!("{} events, {} of them refusals", stats.events, stats.refusals)];
    if let (Some(begin), Some(seconds)) = (&stats.begin, stats.seconds) {
        let most = stats.series.iter().max().copied().unwrap_or_default();
        lines.push(format!(
            "{}  each {}, at most {most}, from {}",
            spark(&stats.series),
            span::shown(seconds.unsigned_abs()),
            safe(begin)
        ));
    }
    let headings = ["REASON", "ROUTE", "PRINCIPAL", "ADDRESS"];
    for (heading, counts) in headings.into_iter().zip(&stats.lists).filter(|(_, counts)| !counts.is_empty()) {
        lines.push(String::new());
        let row = |(value, events): &(String, u64)| [events.to_string(), share(*events, stats.events), safe(value)];
        lines.push(table(["EVENTS", "SHARE", heading], &counts.iter().map(row).collect::<Vec<_>>()));
    }
    lines.join("\n")
}

fn share(part: u64, whole: u64) -> String {
    let percent = part.saturating_mul(100).checked_div(whole).unwrap_or_default();
    if percent == 0 && part > 0 { "<1 %".to_owned() } else { format!("{percent} %") }
}

/// One sign for each piece of time. Where something was, something shows.
fn spark(series: &[u64]) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = series.iter().max().copied().unwrap_or_default();
    let sign = |events: &u64| match (*events, most) {
        (0, _) | (_, 0) => ' ',
        (events, most) => {
            let level = (u128::from(events) * SIGNS.len() as u128).div_ceil(u128::from(most)).saturating_sub(1);
            usize::try_from(level).ok().and_then(|level| SIGNS.get(level)).copied().unwrap_or('█')
        }
    };
    series.iter().map(sign).collect()
}

fn to_json(stats: &Shown) -> Value {
    let list = |counts: &[(String, u64)]| -> Vec<Value> {
        counts.iter().map(|(value, events)| json!({ "value": value, "events": events })).collect()
    };
    let [reasons, routes, principals, addresses] = &stats.lists;
    json!({
        "events": stats.events, "refusals": stats.refusals,
        "reasons": list(reasons), "routes": list(routes),
        "principals": list(principals), "addresses": list(addresses),
        "series": { "begin": stats.begin, "seconds": stats.seconds, "events": stats.series },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_for_each_piece() {
        assert_eq!(spark(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(spark(&[1, 1_000]), "▁█");
        assert_eq!(spark(&[0]), " ");
        assert_eq!(spark(&[u64::MAX, 1]), "█▁");
        assert_eq!((share(1, 3).as_str(), share(1, 1_000).as_str(), share(0, 0).as_str()), ("33 %", "<1 %", "0 %"));
    }
}
