//! Events that a running gateway has kept, asked of it: `--admin` says which one.

use jiff::Timestamp;
use portcullis_admin::api::{EventCount, EventExplained, EventId, EventsCounted, EventsFound, EventsWanted};
use serde_json::json;

use super::explain::of_the_gateway;
use super::stats::{Shown, told};
use super::story::story;
use super::{Moment, filter};
use crate::answers::terminal::safe;
use crate::cli::args::{EventExplainArgs, FilterArgs, Format, Global, SearchArgs, SpanArgs, StatsArgs};
use crate::cli::live::{ask, ask_to_look};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

fn wanted(args: &FilterArgs, span: &SpanArgs, limit: usize) -> EventsWanted {
    let now = Timestamp::now();
    let filter = filter(args, Some(span), now);
    let at = |moment: Option<Moment>| moment.map(|moment| moment.before(now).to_string());
    EventsWanted {
        refusals: filter.refusals,
        reason: filter.reason,
        principal: filter.principal,
        network: filter.network.map(|network| network.to_string()),
        route: filter.route,
        id: None,
        // Left out, the gateway takes the last day, by its own clock.
        since: at(span.since),
        until: at(span.until),
        limit: u32::try_from(limit).ok(),
        after: None,
    }
}

fn note(notes: &[String]) {
    notes.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
}

pub(super) fn search(global: &Global, args: &SearchArgs) -> Result<Exit, Exit> {
    let wanted = EventsWanted {
        id: args.id.map(|id| id.to_string()),
        after: args.after.clone(),
        ..wanted(&args.filter, &args.span, args.limit)
    };
    let found: EventsFound = ask_to_look(global, async |client| client.post("/v1/events/search", &wanted).await)?;
    note(&found.notes);
    match global.output {
        _ if global.quiet => {}
        Format::Human => found.events.iter().for_each(|event| answer(&story(event, true))),
        Format::Json => answer(&serde_json::to_string_pretty(&found).unwrap_or_default()),
        Format::Jsonl => found.events.iter().for_each(|event| answer(&event.to_string())),
    }
    if let Some(next) = &found.next {
        remark(&format!("{} of {} events; --after {} shows older ones", found.events.len(), found.matches, safe(next)));
    }
    if found.events.is_empty() {
        remark("no such event; --since asks for more");
        return Ok(Exit::Negative);
    }
    Ok(Exit::Success)
}

pub(super) fn stats(global: &Global, args: &StatsArgs) -> Result<Exit, Exit> {
    let wanted = wanted(&args.filter, &args.span, args.top);
    let counted: EventsCounted = ask_to_look(global, async |client| client.post("/v1/events/stats", &wanted).await)?;
    note(&counted.notes);
    let counts = |counts: &[EventCount]| {
        counts.iter().map(|EventCount { value, events }| (value.clone(), *events)).collect::<Vec<_>>()
    };
    let shown = Shown {
        events: counted.events,
        refusals: counted.refusals,
        lists: [
            counts(&counted.reasons),
            counts(&counted.routes),
            counts(&counted.principals),
            counts(&counted.addresses),
        ],
        begin: counted.series.begin.clone(),
        seconds: counted.series.seconds,
        series: counted.series.events.clone(),
    };
    Ok(told(global, &shown))
}

pub(super) fn explain(global: &Global, args: &EventExplainArgs) -> Result<Exit, Exit> {
    let id = EventId { id: args.id.to_string() };
    let explained: EventExplained = ask(global, async |client| client.post("/v1/events/explain", &id).await)?;
    note(&explained.notes);
    of_the_gateway(global, &explained);
    Ok(Exit::Success)
}

/// Where a gateway is named, it is asked; with files named as well, nobody knows which of both is meant.
pub(super) fn is_asked(global: &Global, files: &[std::path::PathBuf]) -> Result<bool, Exit> {
    match (&global.admin, files) {
        (None, _) => Ok(false),
        (Some(_), []) => Ok(true),
        (Some(_), [_, ..]) => {
            let message = "--file is of this machine, and --admin asks a gateway for its own: name one of both";
            match global.output {
                Format::Human => remark(&format!("error: {message}")),
                Format::Json | Format::Jsonl => remark(&json!({ "error": message }).to_string()),
            }
            Err(Exit::Usage)
        }
    }
}
