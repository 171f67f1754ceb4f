//! `events tail`: the last events, and those that come.

use jiff::Timestamp;
use portcullis_admin::api::{TAIL_SCHEMA, TailNote};
use portcullis_history::{Filter, search};

use super::story::story;
use super::{archive, filter, report};
use crate::cli::args::{Format, Global, TailArgs};
use crate::cli::live::ask;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &TailArgs) -> Result<Exit, Exit> {
    let wanted = filter(&args.filter, None, Timestamp::now());
    if args.last > 0 {
        show_last(global, args, &wanted);
    }
    if args.no_follow {
        return Ok(Exit::Success);
    }
    ask(global, async |client| {
        let mut lines = client.lines("/v1/events/tail", &wanted).await?;
        while let Some(line) = lines.next().await {
            show(global, &String::from_utf8_lossy(&line));
        }
        Ok(())
    })?;
    remark("the gateway ended");
    Ok(Exit::Success)
}

/// Those that are in the files. Who may not read them still follows what comes.
fn show_last(global: &Global, args: &TailArgs, wanted: &Filter) {
    let Ok(archive) = archive(global, &[]) else { return };
    let found = search(&archive.files, archive.index.as_ref(), wanted, args.last);
    report(&found.trouble);
    found.events.iter().rev().for_each(|line| show(global, line));
}

fn show(global: &Global, line: &str) {
    if line.contains(TAIL_SCHEMA)
        && let Ok(note) = serde_json::from_str::<TailNote>(line)
    {
        if note.dropped > 0 {
            remark(&format!("note: {} events are missing here: they came faster than they were read", note.dropped));
        }
        return;
    }
    match global.output {
        Format::Human => {
            answer(&serde_json::from_str(line).map_or_else(|_| String::new(), |event| story(&event, false)))
        }
        Format::Json | Format::Jsonl => answer(line),
    }
}
