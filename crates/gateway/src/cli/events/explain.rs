//! `events explain`: one event, every check of it, what to do next, and what else happened around it.

use jiff::{SignedDuration, Timestamp};
use portcullis_history::{Facts, Filter, search};
use serde_json::{Value, json};

use super::pages::part;
use super::story::story;
use super::{Archive, archive, report};
use crate::cli::args::{EventExplainArgs, Format, Global};
use crate::cli::explain::{for_people, from_native};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// How long before and after an event others are related to it.
const AROUND: SignedDuration = SignedDuration::from_mins(15);
/// How many of them are shown.
const RELATED: usize = 5;

pub(crate) fn run(global: &Global, args: &EventExplainArgs) -> Result<Exit, Exit> {
    let archive = archive(global, &args.files)?;
    let found = search(&archive.files, archive.index.as_ref(), &Filter { id: Some(args.id), ..Filter::default() }, 1);
    report(&found.trouble);
    let Some(line) = found.events.first() else {
        let paths: Vec<String> = archive.files.iter().map(|file| file.path.display().to_string()).collect();
        remark(&format!("error: event {} is not in {}", args.id, paths.join(", ")));
        return Ok(Exit::Negative);
    };
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let related = Facts::of_line(line.as_bytes()).map(|facts| related(&archive, &facts)).unwrap_or_default();
    let code = event.get("reason").and_then(Value::as_str).unwrap_or_default();
    let next = part(code, "What the operator checks");
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&told(&event, code, next, &related)),
        Format::Json | Format::Jsonl => {
            let mut explained = from_native(&event);
            if let Some(explained) = explained.as_object_mut() {
                explained.insert("meaning".into(), json!(part(code, "What it means")));
                explained.insert("next".into(), json!(next));
                explained.insert("related".into(), json!(related));
            }
            let pretty = global.output == Format::Json;
            answer(&if pretty { format!("{explained:#}") } else { explained.to_string() });
        }
    }
    Ok(Exit::Success)
}

fn told(event: &Value, code: &str, next: Option<&str>, related: &[Value]) -> String {
    let mut lines = vec![for_people(&from_native(event))];
    if let Some(meaning) = part(code, "What it means") {
        lines.push(format!("\nwhat it means\n{}", indented(meaning)));
    }
    if let Some(next) = next {
        lines.push(format!("\nwhat to check\n{}", indented(next)));
    }
    if !related.is_empty() {
        lines.push("\naround that time, by the same principal or address, the newest first".to_owned());
        lines.extend(related.iter().map(|event| story(event, true)));
    }
    lines.join("\n")
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { String::new() } else { format!("  {line}") })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The newest events around this one that are about the same principal, or, where it has none, the same address.
fn related(archive: &Archive, facts: &Facts) -> Vec<Value> {
    let at = Timestamp::from_microsecond(facts.time_us).unwrap_or_default();
    let mut filter = Filter {
        since: at.checked_sub(AROUND).ok(),
        until: at.checked_add(AROUND).ok(),
        principal: facts.principal.as_deref().map(str::to_owned),
        ..Filter::default()
    };
    if filter.principal.is_none() {
        let Some(address) = facts.address else { return Vec::new() };
        filter.network = Some(address.into());
    }
    let found = search(&archive.files, archive.index.as_ref(), &filter, RELATED + 1);
    let id = facts.id.to_string();
    let events = found.events.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event.get("id").and_then(Value::as_str) != Some(id.as_str())).take(RELATED).collect()
}
