//! `events explain`: one event, every check of it, what to do next, and what else happened around it.

use portcullis_admin::api::EventExplained;
use portcullis_history::{Facts, Filter, search};
use serde_json::{Value, json};

use super::story::story;
use super::{archive, remote, report};
use crate::answers::reason_pages::part;
use crate::answers::related::related;
use crate::answers::terminal::safe;
use crate::cli::args::{EventExplainArgs, Format, Global};
use crate::cli::explain::{for_people, from_native};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &EventExplainArgs) -> Result<Exit, Exit> {
    if remote::is_asked(global, &args.files)? {
        return remote::explain(global, args);
    }
    let archive = archive(global, &args.files)?;
    let found = search(&archive.files, archive.index.as_ref(), &Filter { id: Some(args.id), ..Filter::default() }, 1);
    report(&found.trouble);
    let Some(line) = found.events.first() else {
        let paths: Vec<String> = archive.files.iter().map(|file| file.path.display().to_string()).collect();
        remark(&format!("error: event {} is not in {}", args.id, paths.join(", ")));
        return Ok(Exit::Negative);
    };
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let related = Facts::of_line(line.as_bytes())
        .map(|facts| related(&archive.files, archive.index.as_ref(), &facts))
        .unwrap_or_default();
    let code = event.get("reason").and_then(Value::as_str).unwrap_or_default();
    let (meaning, next) = (part(code, "What it means"), part(code, "What the operator checks"));
    show(global, &event, (meaning, next), &related);
    Ok(Exit::Success)
}

/// What a gateway has said of one of its own.
pub(crate) fn of_the_gateway(global: &Global, explained: &EventExplained) {
    let said = (explained.meaning.as_deref(), explained.next.as_deref());
    show(global, &explained.event, said, &explained.related);
}

fn show(global: &Global, event: &Value, (meaning, next): (Option<&str>, Option<&str>), related: &[Value]) {
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&told(event, (meaning, next), related)),
        Format::Json | Format::Jsonl => {
            let mut explained = from_native(event);
            if let Some(explained) = explained.as_object_mut() {
                explained.insert("meaning".into(), json!(meaning));
                explained.insert("next".into(), json!(next));
                explained.insert("related".into(), json!(related));
            }
            let pretty = global.output == Format::Json;
            answer(&if pretty { format!("{explained:#}") } else { explained.to_string() });
        }
    }
}

fn told(event: &Value, (meaning, next): (Option<&str>, Option<&str>), related: &[Value]) -> String {
    let mut lines = vec![for_people(&from_native(event))];
    if let Some(meaning) = meaning {
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
        .map(|line| if line.is_empty() { String::new() } else { format!("  {}", safe(line)) })
        .collect::<Vec<_>>()
        .join("\n")
}
