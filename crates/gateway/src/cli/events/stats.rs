//! `events stats`: what came most, and how much over time.

use jiff::Timestamp;
use portcullis_history::{Count, Stats, stats};
use serde_json::{Value, json};

use super::{archive, filter, report};
use crate::cli::args::{Format, Global, StatsArgs};
use crate::cli::live::safe;
use crate::cli::output::answer;
use crate::cli::span;
use crate::cli::table::table;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &StatsArgs) -> Result<Exit, Exit> {
    let archive = archive(global, &args.files)?;
    let wanted = filter(&args.filter, Some(&args.span), Timestamp::now());
    let counted = stats(&archive.files, archive.index.as_ref(), &wanted, args.top);
    report(&counted.trouble);
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&for_people(&counted)),
        Format::Json => answer(&serde_json::to_string_pretty(&to_json(&counted)).unwrap_or_default()),
        Format::Jsonl => answer(&to_json(&counted).to_string()),
    }
    Ok(if counted.events > 0 { Exit::Success } else { Exit::Negative })
}

fn for_people(stats: &Stats) -> String {
    let mut lines = vec![format!("{} events, {} of them refusals", stats.events, stats.refusals)];
    if let Some((begin, seconds)) = stats.pieces {
        let most = stats.series.iter().max().copied().unwrap_or_default();
        lines.push(format!(
            "{}  each {}, at most {most}, from {begin:.0}",
            spark(&stats.series),
            span::shown(seconds.unsigned_abs())
        ));
    }
    let lists = [
        ("REASON", &stats.reasons),
        ("ROUTE", &stats.routes),
        ("PRINCIPAL", &stats.principals),
        ("ADDRESS", &stats.addresses),
    ];
    for (heading, counts) in lists.into_iter().filter(|(_, counts)| !counts.is_empty()) {
        lines.push(String::new());
        let row = |count: &Count| [count.events.to_string(), share(count.events, stats.events), safe(&count.value)];
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

fn to_json(stats: &Stats) -> Value {
    let list = |counts: &[Count]| -> Vec<Value> {
        counts.iter().map(|count| json!({ "value": count.value, "events": count.events })).collect()
    };
    json!({
        "events": stats.events, "refusals": stats.refusals,
        "reasons": list(&stats.reasons), "routes": list(&stats.routes),
        "principals": list(&stats.principals), "addresses": list(&stats.addresses),
        "series": {
            "begin": stats.pieces.map(|(begin, _)| begin.to_string()), "seconds": stats.pieces.map(|(_, seconds)| seconds),
            "events": stats.series,
        },
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
