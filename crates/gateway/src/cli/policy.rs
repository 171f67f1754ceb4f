//! `policy`: what changes from one policy to another (`diff`), and what would change for requests that were made (`preview`); versions are
//! in `governing.rs`.

mod preview;
mod sent;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_admin::govern::Governed;
use portcullis_config::{Loaded, ProcessEnvironment, load, load_with_policy};
use portcullis_policy::{DiffBounds, Effect, Policy, PolicyDiff, compare};
use serde_json::json;

use crate::answers::difference::{for_people, to_json, to_report};
use crate::cli::args::{DiffFailOn, Format, Global, Named, PolicyArgs, PolicyCommand, PolicyDiffArgs};
use crate::cli::check::is_policy;
use crate::cli::configuration::{name, show};
use crate::cli::governing;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &PolicyArgs) -> Exit {
    let done = match &args.command {
        PolicyCommand::Diff(args) => return diff(global, args),
        PolicyCommand::Preview(args) => return preview::run(global, args),
        PolicyCommand::List(args) => governing::list(global, args.most),
        PolicyCommand::Show(args) => governing::show_version(global, args),
        PolicyCommand::Propose(args) => governing::propose(global, args),
        PolicyCommand::Request(args) => governing::request(global, &args.change, args.out.as_deref()),
        PolicyCommand::Sign(args) => governing::sign(global, args),
        PolicyCommand::Approve(args) => governing::approve(global, args),
        PolicyCommand::Reject(args) => governing::reject(global, args),
        PolicyCommand::Activate(args) => {
            let at_once = args.reason.clone().filter(|_| args.now);
            let unseen = args.reason.clone().filter(|_| args.unseen);
            governing::told(global, Governed::Activate { id: args.change.clone(), at_once, unseen })
        }
        PolicyCommand::Abort(args) => governing::told(global, Governed::Abort { reason: args.reason.clone() }),
        PolicyCommand::Status => governing::status(global),
        PolicyCommand::Rollback(args) => governing::rollback(global, args),
        PolicyCommand::Revert(args) => governing::revert(global, args),
        PolicyCommand::Verify => governing::verify(global),
    };
    done.unwrap_or_else(|exit| exit)
}

/// A version by its number, whatever files are called (`./7` is a file); or a change by its id, unless a file is called so.
fn named(file: &Path) -> Option<Named> {
    let named = Named::parse(file.to_str()?)?;
    (matches!(named, Named::Version(_)) || !file.exists()).then_some(named)
}

fn version(global: &Global, file: &Path) -> Option<Result<Loaded, Exit>> {
    named(file).map(|named| governing::loaded(global, &named))
}

pub(crate) use sent::sent;

fn diff(global: &Global, args: &PolicyDiffArgs) -> Exit {
    if global.admin.is_some() {
        return sent::diff(global, args).unwrap_or_else(|exit| exit);
    }
    let (before, after) = match (loaded(global, &args.before), loaded(global, &args.after)) {
        (Ok(before), Ok(after)) => (before.policy, after.policy),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let bounds = DiffBounds { reasons: args.reasons, ..DiffBounds::default() };
    let now = args.at.unwrap_or_else(Timestamp::now);
    let diff = compare(&before, &after, now, &bounds);
    if !global.quiet {
        print(global, args, [&before, &after], &diff, now);
    }
    let is_bad = match args.fail_on {
        DiffFailOn::Any => !diff.classes.is_empty(),
        DiffFailOn::Loosens => diff.classes.iter().any(|class| class.effect() == Effect::Loosens),
        DiffFailOn::Never => false,
    };
    // What was not compared may be anything.
    if is_bad || !diff.incomplete.is_empty() { Exit::Negative } else { Exit::Success }
}

/// A policy file with the routes of the configuration, or a whole configuration.
pub(crate) fn loaded(global: &Global, file: &Path) -> Result<Loaded, Exit> {
    if let Some(version) = version(global, file) {
        return version;
    }
    let loaded = if is_policy(file) || !file.is_file() {
        load_with_policy(&routes_of(global, file), file, &ProcessEnvironment)
    } else {
        load(file, &ProcessEnvironment)
    };
    loaded.map_err(|report| {
        show(&report, global);
        remark("note: the routes are those of the configuration: name it with -c, or keep it beside the policy");
        Exit::Configuration
    })
}

/// The configuration whose routes a policy speaks of: the one that is named, else the one beside the policy.
fn routes_of(global: &Global, policy: &Path) -> PathBuf {
    let beside = policy.parent().map(|folder| folder.join("portcullis.toml"));
    match beside {
        Some(beside) if !global.config.is_file() && beside.is_file() => beside,
        _ => global.config.clone(),
    }
}

fn print(global: &Global, args: &PolicyDiffArgs, policies: [&Policy; 2], diff: &PolicyDiff, now: Timestamp) {
    match global.output {
        Format::Human => answer(for_people([&name(&args.before), &name(&args.after)], policies, diff, now).trim_end()),
        Format::Json => {
            let whole = to_report([&name(&args.before), &name(&args.after)], policies, diff);
            answer(&format!("{whole:#}"));
        }
        Format::Jsonl => {
            diff.classes.iter().for_each(|class| answer(&to_json(policies, class).to_string()));
            let end = json!({
                "effect": diff.effect().as_str(), "classes": diff.classes.len(), "incomplete": diff.incomplete,
            });
            answer(&end.to_string());
        }
    }
}
