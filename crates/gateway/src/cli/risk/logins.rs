//! `risk evaluate --logins` and `--synthetic`: what the score would have asked of whom.

use std::io::{self, BufRead as _};
use std::path::Path;

use portcullis_policy::RiskThresholds;
use portcullis_risk::RiskEngine;
use portcullis_risk::evaluation::{Columns, LoginFigures, LoginReplay, Population, make_up};
use portcullis_risk::settings::{RiskMode, Settings};
use portcullis_risk::state::Secret;
use serde_json::{Value, json};

use crate::answers::table::table;
use crate::cli::args::{Format, Global};
use crate::cli::configuration;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

use super::{share_to_json, words};

/// Thresholds that are compared.
const COMPARED_MNATS: [i32; 6] = [1_000, 1_500, 2_000, 2_500, 3_000, 4_000];
/// A calibrated threshold stays within these (risk.md 1.2).
const BOUNDS_MNATS: (i32, i32) = (1_000, 4_000);
/// Accounts with fewer logins are left out where accounts are counted.
const LOGINS_MIN: u32 = 12;

/// What logins are played with: the same logins come to the same figures.
fn replayed() -> Secret {
    Secret::from_bytes([0; 16])
}

/// One population, or one file.
struct Judged {
    name: String,
    figures: LoginFigures,
}

pub(super) fn of_file(
    global: &Global,
    mut settings: Settings,
    thresholds: RiskThresholds,
    budget: f64,
    path: &Path,
) -> Result<Exit, Exit> {
    settings.risk_mode = RiskMode::Enforce;
    let failed = |error: io::Error| {
        remark(&format!("error: {}: {error}", configuration::name(path)));
        Exit::Configuration
    };
    let mut lines = super::open(path).map_err(failed)?.lines();
    let first = lines.next().transpose().map_err(failed)?.unwrap_or_default();
    let columns = Columns::of(&first).map_err(|error| {
        remark(&format!("error: {}:1: {error}", configuration::name(path)));
        Exit::Configuration
    })?;
    let engine = RiskEngine::with_secret(settings, replayed());
    let mut replay = LoginReplay::new(&engine, thresholds);
    let mut left_out: (u64, Option<String>) = (0, None);
    for (number, line) in lines.enumerate() {
        let line = line.map_err(failed)?;
        match columns.login(&line) {
            Ok(login) => replay.play(&login),
            Err(_) if line.trim().is_empty() => {}
            Err(error) => {
                left_out.0 += 1;
                left_out.1.get_or_insert_with(|| format!("line {}: {error}", number + 2));
            }
        }
    }
    if let (count, Some(first)) = left_out {
        remark(&format!("note: {count} rows of {} are left out, the first is {first}", configuration::name(path)));
    }
    let judged = [Judged { name: configuration::name(path), figures: replay.figures() }];
    tell(global, thresholds, budget, &judged);
    Ok(Exit::Success)
}

pub(super) fn made_up(
    global: &Global,
    mut settings: Settings,
    thresholds: RiskThresholds,
    budget: f64,
    seed: u64,
) -> Exit {
    settings.risk_mode = RiskMode::Enforce;
    let judged = [("credentials that no device is bound to", false), ("credentials bound to devices", true)].map(
        |(name, bound)| {
            let engine = RiskEngine::with_secret(settings.clone(), replayed());
            let mut replay = LoginReplay::new(&engine, thresholds);
            make_up(&Population { seed, bound, ..Population::default() })
                .iter()
                .for_each(|made| replay.play(&made.login()));
            Judged { name: format!("made up with seed {seed}, {name}"), figures: replay.figures() }
        },
    );
    tell(global, thresholds, budget, &judged);
    Exit::Success
}

fn tell(global: &Global, thresholds: RiskThresholds, budget: f64, judged: &[Judged]) {
    match global.output {
        Format::Human => {
            let parts: Vec<String> = judged.iter().map(|judged| for_people(judged, thresholds, budget)).collect();
            answer(&parts.join("\n\n"));
        }
        Format::Json | Format::Jsonl => {
            let all: Vec<Value> = judged.iter().map(|judged| to_json(judged, thresholds, budget)).collect();
            answer(&json!({ "logins": all }).to_string());
        }
    }
}

fn nats(mnats: i32) -> String {
    format!("{:.2}", f64::from(mnats) / 1_000.0)
}

fn for_people(Judged { name, figures }: &Judged, thresholds: RiskThresholds, budget: f64) -> String {
    let mut rows = vec![
        ["honest logins asked to step up".to_owned(), words(figures.challenged)],
        ["honest logins denied".to_owned(), words(figures.denied)],
        [format!("accounts with {LOGINS_MIN} logins or more never asked"), words(figures.never_asked(LOGINS_MIN))],
    ];
    rows.extend(
        figures.intruders.iter().map(|(kind, share)| [format!("intruders asked or denied: {kind}"), words(*share)]),
    );
    let compared: Vec<[String; 3]> = COMPARED_MNATS
        .iter()
        .map(|mnats| {
            let [honest, intruders] =
                [&figures.honest_scores, &figures.intruder_scores].map(|scores| words(scores.share_from(*mnats)));
            [nats(*mnats), honest, intruders]
        })
        .collect();
    let calibrated = figures.honest_scores.threshold(budget, BOUNDS_MNATS);
    [
        format!(
            "{name}: {} accounts, {} honest logins, {} wrong passwords; step-up from {}, denial from {} with evidence",
            figures.accounts(),
            figures.challenged.whole,
            figures.failed,
            nats(thresholds.step_up_mnats),
            nats(thresholds.deny_mnats)
        ),
        table(["WHAT", "HOW MANY (95 % INTERVAL)"], &rows),
        String::new(),
        table(["FROM", "HONEST LOGINS", "INTRUDERS"], &compared),
        format!("no more than {:.2} % of honest logins are asked with step_up = {}", budget * 100.0, nats(calibrated)),
    ]
    .join("\n")
}

fn to_json(Judged { name, figures }: &Judged, thresholds: RiskThresholds, budget: f64) -> Value {
    let intruders: Vec<Value> = figures
        .intruders
        .iter()
        .map(|(kind, share)| json!({ "kind": kind, "asked_or_denied": share_to_json(*share) }))
        .collect();
    let compared: Vec<Value> = COMPARED_MNATS
        .iter()
        .map(|mnats| {
            let [honest, intruders] = [&figures.honest_scores, &figures.intruder_scores]
                .map(|scores| share_to_json(scores.share_from(*mnats)));
            json!({ "mnats": mnats, "honest": honest, "intruders": intruders })
        })
        .collect();
    json!({
        "name": name,
        "accounts": figures.accounts(),
        "wrong_passwords": figures.failed,
        "step_up_mnats": thresholds.step_up_mnats,
        "deny_mnats": thresholds.deny_mnats,
        "challenged": share_to_json(figures.challenged),
        "denied": share_to_json(figures.denied),
        "accounts_never_asked": share_to_json(figures.never_asked(LOGINS_MIN)),
        "intruders": intruders,
        "thresholds": compared,
        "budget": budget,
        "calibrated_step_up_mnats": figures.honest_scores.threshold(budget, BOUNDS_MNATS),
    })
}
