//! `replay`: decides on recorded requests again, under the policy of the configuration and under another one, and counts what differs.

use std::path::Path;

use portcullis_history::{for_each_line, for_each_line_of};
use portcullis_insight::Stamped;
use portcullis_insight::replay::{Replay, Replayed};

use crate::cli::args::{Format, Global, ReplayArgs};
use crate::cli::configuration::loaded;
use crate::cli::live::safe;
use crate::cli::output::{answer, remark};
use crate::cli::policy;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &ReplayArgs) -> Exit {
    let (present, candidate) = match (loaded(global), policy::loaded(global, &args.policy)) {
        (Ok(present), Ok(candidate)) => (present.policy, candidate.policy),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let mut replay = Replay::new(&present, &candidate);
    for file in &args.files {
        match read(file, &mut replay) {
            Ok(0) => {}
            Ok(too_long) => replay.note_unreadable(too_long),
            Err(error) => {
                remark(&format!("error: {}: {error}", file.display()));
                return Exit::Unreachable;
            }
        }
    }
    let replayed = replay.finish();
    show(global, &replayed);
    if replayed.report.is_blind() {
        remark("error: nothing could be decided on again, so that nobody knows whether something would change");
        return Exit::Unreachable;
    }
    if replayed.report.impact.is_none() { Exit::Success } else { Exit::Negative }
}

/// Replays one file. Says how many of its lines are longer than any event.
fn read(file: &Path, replay: &mut Replay<'_>) -> std::io::Result<u64> {
    let mut take = |line: &[u8]| replay.add(line);
    if file.as_os_str() == "-" {
        return for_each_line_of(std::io::stdin().lock(), &mut take);
    }
    for_each_line(file, &mut take)
}

fn show(global: &Global, replayed: &Stamped<Replayed>) {
    match global.output {
        _ if global.quiet => {}
        Format::Human => replayed.report.in_words().iter().for_each(|line| answer(&safe(line))),
        Format::Json => answer(&serde_json::to_string_pretty(replayed).unwrap_or_default()),
        Format::Jsonl => answer(&serde_json::to_string(replayed).unwrap_or_default()),
    }
}
