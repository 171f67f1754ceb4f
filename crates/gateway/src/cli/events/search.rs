//! `events search`: the newest events that fit.

use jiff::Timestamp;
use portcullis_history::{Cursor, Filter, Found, Part, search_part};
use serde_json::{Value, json};

use super::story::story_of_line;
use super::{archive, filter, remote, report};
use crate::cli::args::{Format, Global, SearchArgs};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &SearchArgs) -> Result<Exit, Exit> {
    if remote::is_asked(global, &args.files)? {
        return remote::search(global, args);
    }
    let after = match args.after.as_deref().map(str::parse::<Cursor>).transpose() {
        Ok(after) => after,
        Err(()) => {
            remark("error: --after: expected what an earlier search has shown");
            return Err(Exit::Usage);
        }
    };
    let archive = archive(global, &args.files)?;
    let mut wanted = filter(&args.filter, Some(&args.span), Timestamp::now());
    if let Some(id) = args.id {
        // An id is of one event, whenever it was, unless a time is asked for.
        let since = args.span.since.and(wanted.since);
        wanted = Filter { id: Some(id), since, ..wanted };
    }
    let Part { found, next } =
        search_part(&archive.files, archive.index.as_ref(), &wanted, (args.limit, usize::MAX), after);
    report(&found.trouble);
    if !global.quiet {
        show(global, &found, next);
    }
    if found.events.is_empty() {
        let when = wanted.since.map_or_else(String::new, |since| format!(" since {since:.0}"));
        remark(&format!("no such event{when}; --since asks for more"));
        return Ok(Exit::Negative);
    }
    Ok(Exit::Success)
}

fn show(global: &Global, found: &Found, next: Option<Cursor>) {
    match global.output {
        Format::Human => {
            found.events.iter().for_each(|line| answer(&story_of_line(line)));
            let shown = found.events.len();
            if let Some(next) = next {
                remark(&format!(
                    "{shown} of {} events; --limit shows more, and --after {next} older ones",
                    found.matches
                ));
            }
        }
        Format::Json => {
            let events: Vec<Value> = found.events.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let value =
                json!({ "matches": found.matches, "events": events, "next": next.map(|next| next.to_string()) });
            answer(&serde_json::to_string_pretty(&value).unwrap_or_default());
        }
        Format::Jsonl => found.events.iter().for_each(|line| answer(line)),
    }
}
