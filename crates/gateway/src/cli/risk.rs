//! `risk`: how good the detection is, measured on recorded requests and logins; and what is known of a principal.

mod calibration;
mod known;
mod logins;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::net::IpAddr;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use portcullis_config::{ProcessEnvironment, load};
use portcullis_policy::{RiskRules, RiskThresholds};
use portcullis_risk::RiskEngine;
use portcullis_risk::evaluation::{Detector, Figures, LineError, LoggedRequest, Outcomes, PlainCounter, Share, replay};
use portcullis_risk::settings::{BanMode, Settings};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, RiskArgs, RiskCommand, RiskEvaluateArgs};
use crate::cli::configuration;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// The most that is read of a file, unpacked.
const READ_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The addresses that are named for people.
const NAMED_MAX: usize = 20;

pub(crate) fn run(global: &Global, args: &RiskArgs) -> Exit {
    match &args.command {
        RiskCommand::Evaluate(args) => evaluate(global, args).unwrap_or_else(|exit| exit),
        RiskCommand::Show(whom) => known::show_profile(global, whom).unwrap_or_else(|exit| exit),
        RiskCommand::Forget(whom) => known::forget(global, whom).unwrap_or_else(|exit| exit),
        RiskCommand::Calibration(command) => calibration::run(global, command).unwrap_or_else(|exit| exit),
        RiskCommand::Warm { file } => known::warm(global, file).unwrap_or_else(|exit| exit),
    }
}

/// What one detector did.
struct Judged {
    name: &'static str,
    figures: Figures,
    outcomes: Outcomes,
}

fn evaluate(global: &Global, args: &RiskEvaluateArgs) -> Result<Exit, Exit> {
    let (mut settings, thresholds) = settings(global)?;
    if let Some(path) = &args.logins {
        return logins::of_file(global, settings, thresholds, args.budget, path);
    }
    if args.synthetic {
        return Ok(logins::made_up(global, settings, thresholds, args.budget, args.seed));
    }
    if settings.ban.mode != BanMode::Enforce {
        remark("note: bans are not enforced by this policy; they are evaluated as if they were");
        settings.ban.mode = BanMode::Enforce;
    }
    let judged = match (&args.log, &args.cases) {
        (Some(path), _) => of_log(&settings, path, &args.attackers.iter().copied().collect())?,
        (None, Some(path)) => of_cases(&settings, path, args.verbose_cases)?,
        (None, None) => {
            remark("error: give --log or --cases");
            return Err(Exit::Usage);
        }
    };
    match global.output {
        Format::Human => answer(&for_people(&judged)),
        Format::Json | Format::Jsonl => {
            answer(&json!({ "detectors": judged.iter().map(to_json).collect::<Vec<_>>() }).to_string())
        }
    }
    Ok(Exit::Success)
}

/// `[risk]` and `[ban]` of the configuration, or the defaults where there is none; and the thresholds of normal sensitivity.
fn settings(global: &Global) -> Result<(Settings, RiskThresholds), Exit> {
    if !global.config.exists() {
        remark(&format!("note: there is no {}: the defaults are evaluated", configuration::name(&global.config)));
        let [_, normal, _] = RiskRules::default().thresholds;
        return Ok((Settings::default(), normal));
    }
    let loaded = load(&global.config, &ProcessEnvironment).map(|loaded| {
        let [_, normal, _] = loaded.policy.risk_thresholds();
        (loaded.risk, normal)
    });
    loaded.map_err(|report| {
        configuration::show(&report, global);
        Exit::Configuration
    })
}

/// An access log. Every address that is not named an attacker counts as none.
fn of_log(settings: &Settings, path: &Path, attackers: &BTreeSet<IpAddr>) -> Result<Vec<Judged>, Exit> {
    let text = read(path)?;
    let mut requests = requests(text.lines(), &configuration::name(path));
    // Servers write a line when the answer is done, so a little out of order.
    requests.sort_by_key(|request| request.time);
    let engine = RiskEngine::new(settings.clone());
    let ours = replay(Detector::Engine(&engine), requests.iter().copied());
    let plain = replay(Detector::Counter(&mut PlainCounter::usual()), requests.iter().copied());
    Ok([("portcullis", ours), ("5 errors in 10 minutes", plain)]
        .into_iter()
        .map(|(name, outcomes)| Judged { name, figures: outcomes.figures(attackers), outcomes })
        .collect())
}

/// The requests of a log; what is none is left out, and said.
fn requests<'a>(lines: impl Iterator<Item = &'a str>, of: &str) -> Vec<LoggedRequest<'a>> {
    let mut requests = Vec::new();
    let mut left_out: Vec<(usize, LineError)> = Vec::new();
    for (index, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match LoggedRequest::parse(line) {
            Ok(request) => requests.push(request),
            Err(error) => left_out.push((index + 1, error)),
        }
    }
    if let Some((line, error)) = left_out.first() {
        remark(&format!("note: {} lines of {of} are left out, the first is line {line}: {error}", left_out.len()));
    }
    requests
}

/// One labelled case: lines of a log, and whether somebody should be banned for them.
#[derive(Deserialize)]
struct Case {
    test: String,
    #[serde(default)]
    expected_alerts: Option<u32>,
    #[serde(default)]
    sources: Vec<IpAddr>,
    lines: Vec<String>,
}

/// Labelled cases, one JSON object a line. Each has detectors of its own.
fn of_cases(settings: &Settings, path: &Path, each: bool) -> Result<Vec<Judged>, Exit> {
    let text = read(path)?;
    let mut judged: Vec<Judged> = ["portcullis", "5 errors in 10 minutes"]
        .map(|name| Judged { name, figures: Figures::default(), outcomes: Outcomes::default() })
        .into();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case: Case = serde_json::from_str(line).map_err(|error| {
            remark(&format!("error: {}:{}:{}: {error}", configuration::name(path), index + 1, error.column()));
            Exit::Configuration
        })?;
        let requests = requests(case.lines.iter().map(String::as_str), &safe(&case.test));
        let attackers: BTreeSet<IpAddr> = if case.expected_alerts.is_some_and(|alerts| alerts > 0) {
            case.sources.iter().map(IpAddr::to_canonical).collect()
        } else {
            BTreeSet::new()
        };
        let engine = RiskEngine::new(settings.clone());
        let mut counter = PlainCounter::usual();
        let detectors = [Detector::Engine(&engine), Detector::Counter(&mut counter)];
        for (judged, detector) in judged.iter_mut().zip(detectors) {
            let outcomes = replay(detector, requests.iter().copied());
            let figures = outcomes.figures(&attackers);
            if each {
                let (name, test) = (judged.name, safe(&case.test));
                let banned = outcomes.0.values().filter(|outcome| outcome.banned_at.is_some()).count();
                remark(&format!(
                    "{name}: {test}: {banned} banned, {} attackers, {} requests",
                    attackers.len(),
                    requests.len()
                ));
            }
            judged.figures.add(figures);
        }
    }
    Ok(judged)
}

/// A file to read line by line, unpacked where that is needed.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path)?);
    Ok(if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

fn read(path: &Path) -> Result<String, Exit> {
    let open = || -> io::Result<String> {
        let mut bytes = Vec::new();
        let mut file = BufReader::new(File::open(path)?);
        if path.extension().is_some_and(|extension| extension == "gz") {
            MultiGzDecoder::new(file).take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        } else {
            file.by_ref().take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    open().map_err(|error| {
        remark(&format!("error: {}: {error}", configuration::name(path)));
        Exit::Configuration
    })
}

fn for_people(judged: &[Judged]) -> String {
    let rows: Vec<_> = judged
        .iter()
        .map(|Judged { name, figures, .. }| {
            [
                (*name).to_owned(),
                words(figures.detected),
                figures.requests_until_ban().map_or_else(|| "-".to_owned(), |count| count.to_string()),
                words(figures.wrong_bans),
                words(figures.false_refusals),
                words(figures.attack_refused),
            ]
        })
        .collect();
    let heading = [
        "DETECTOR",
        "ATTACKERS BANNED",
        "REQUESTS UNTIL",
        "OTHERS BANNED",
        "GOOD REQUESTS REFUSED",
        "OF THE ATTACK REFUSED",
    ];
    let mut lines = vec![table(heading, &rows)];
    for Judged { name, outcomes, .. } in judged {
        let mut banned: Vec<_> = outcomes.0.iter().filter(|(_, outcome)| outcome.banned_at.is_some()).collect();
        if banned.is_empty() {
            continue;
        }
        banned.sort_by_key(|(_, outcome)| std::cmp::Reverse(outcome.refused));
        let rows: Vec<_> = banned
            .iter()
            .take(NAMED_MAX)
            .map(|(address, outcome)| {
                [
                    address.to_string(),
                    outcome.requests.to_string(),
                    outcome.good.to_string(),
                    outcome.errors.to_string(),
                    outcome.banned_at.unwrap_or_default().to_string(),
                    outcome.refused.to_string(),
                    outcome.good_refused.to_string(),
                ]
            })
            .collect();
        let heading = ["BANNED", "REQUESTS", "GOOD", "ERRORS", "AT REQUEST", "REFUSED", "OF THEM GOOD"];
        lines.push(format!("\n{name} would have banned {}:\n{}", banned.len(), table(heading, &rows)));
    }
    lines.join("\n")
}

/// `12 of 13 = 92.31 % (66.69 to 98.63)`: the share and its 95 % interval.
fn words(share: Share) -> String {
    let Some(value) = share.value() else { return "-".to_owned() };
    let interval = share.interval();
    format!(
        "{} of {} = {:.2} % ({:.2} to {:.2})",
        share.part,
        share.whole,
        value * 100.0,
        interval.low * 100.0,
        interval.high * 100.0
    )
}

fn share_to_json(share: Share) -> Value {
    let interval = share.interval();
    json!({ "part": share.part, "whole": share.whole, "share": share.value(), "interval_95": [interval.low, interval.high] })
}

fn to_json(judged: &Judged) -> Value {
    let share = share_to_json;
    let figures = &judged.figures;
    json!({
        "name": judged.name,
        "attackers_banned": share(figures.detected),
        "requests_until_ban": figures.requests_until_ban(),
        "others_banned": share(figures.wrong_bans),
        "good_refused": share(figures.false_refusals),
        "attack_refused": share(figures.attack_refused),
    })
}
