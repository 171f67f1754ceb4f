//! `replay`: decides on recorded requests again, under the policy of the configuration and under another one, and counts what differs.

use std::path::Path;

use jiff::Timestamp;
use portcullis_admin::api::{ReplayDone, ReplayWanted};
use portcullis_config::Loaded;
use portcullis_history::{for_each_line, for_each_line_of};
use portcullis_insight::Stamped;
use portcullis_insight::replay::{Replay, Replayed};

use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, ReplayArgs};
use crate::cli::configuration::loaded;
use crate::cli::events::Moment;
use crate::cli::live::ask_to_look;
use crate::cli::output::{answer, remark};
use crate::cli::policy;
use crate::exit::Exit;
use crate::governing::Governing;

/// Where nothing was looked at.
const BLIND: &str = "error: nothing could be decided on again, so that nobody knows whether something would change";

pub(crate) fn run(global: &Global, args: &ReplayArgs) -> Exit {
    if args.kept {
        return kept(global, args).unwrap_or_else(|exit| exit);
    }
    let (present, candidate) = match (loaded(global), policy::loaded(global, &args.policy)) {
        (Ok(present), Ok(candidate)) => (present, candidate.policy),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let mut replay = Replay::new(&present.policy, &candidate).with_version(version_of(global, &present));
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
        remark(BLIND);
        return Exit::Unreachable;
    }
    if replayed.report.impact.is_none() { Exit::Success } else { Exit::Negative }
}

/// Which version the files are, by what the store says; `None`: none of which it knows, or nobody can look.
fn version_of(global: &Global, loaded: &Loaded) -> Option<u64> {
    let store = loaded.store.as_ref().filter(|store| store.path.exists())?;
    Governing::look(&global.config, store).ok()?.number_of(loaded)
}

/// Has the running gateway replay what it has kept.
fn kept(global: &Global, args: &ReplayArgs) -> Result<Exit, Exit> {
    let now = Timestamp::now();
    let at = |moment: Option<Moment>| moment.map(|moment| moment.before(now).to_string());
    let wanted = ReplayWanted {
        policy: policy::sent(global, &args.policy)?,
        since: at(args.since),
        until: at(args.until),
        limit: args.limit,
    };
    let done: ReplayDone = ask_to_look(global, async |client| client.post("/v1/policy/replay", &wanted).await)?;
    done.notes.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
    if done.more {
        remark("note: there are more events in that time: --limit has more of them replayed");
    }
    match global.output {
        _ if global.quiet => {}
        Format::Human => done.text.iter().for_each(|line| answer(&safe(line))),
        Format::Json => answer(&serde_json::to_string_pretty(done.report.json()).unwrap_or_default()),
        Format::Jsonl => answer(&done.report.json().to_string()),
    }
    if done.report.json().pointer("/impact/requests").and_then(serde_json::Value::as_u64) == Some(0) {
        remark(BLIND);
        return Ok(Exit::Unreachable);
    }
    Ok(if done.unchanged { Exit::Success } else { Exit::Negative })
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
