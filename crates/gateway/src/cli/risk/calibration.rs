//! `risk calibration`: the thresholds that a running gateway has worked out from its good traffic.

use portcullis_admin::api::{Calibration, CalibrationId, Calibrations, Done};

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Global, RiskCalibrationCommand};
use crate::cli::live::{ask, show};
use crate::cli::output::remark;
use crate::exit::Exit;

const SENSITIVITIES: [&str; 3] = ["low", "normal", "high"];

pub(super) fn run(global: &Global, command: &RiskCalibrationCommand) -> Result<Exit, Exit> {
    match command {
        RiskCalibrationCommand::List => {
            let all = all(global)?;
            show(global, &all, || listed(&all));
            Ok(Exit::Success)
        }
        RiskCalibrationCommand::Show { id } => {
            let all = all(global)?;
            let wanted = |one: &&Calibration| id.as_ref().map_or(one.in_force, |id| one.id == *id);
            let Some(one) = all.calibrations.iter().find(wanted) else {
                remark(match id {
                    Some(_) => "error: there is no calibration of that id",
                    None => "error: no calibration is in force: name one",
                });
                return Ok(Exit::Negative);
            };
            show(global, one, || shown(one));
            Ok(Exit::Success)
        }
        RiskCalibrationCommand::Propose => {
            done(global, ask(global, async |client| client.post("/v1/risk/calibrations/propose", &()).await)?)
        }
        RiskCalibrationCommand::Activate { id } => {
            let wanted = CalibrationId { id: id.clone() };
            done(global, ask(global, async |client| client.post("/v1/risk/calibrations/activate", &wanted).await)?)
        }
        RiskCalibrationCommand::Rollback => {
            done(global, ask(global, async |client| client.post("/v1/risk/calibrations/rollback", &()).await)?)
        }
    }
}

fn all(global: &Global) -> Result<Calibrations, Exit> {
    ask(global, async |client| client.get("/v1/risk/calibrations").await)
}

fn done(global: &Global, done: Done) -> Result<Exit, Exit> {
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn listed(all: &Calibrations) -> String {
    let [low, normal, high] = all.counted;
    let counted = match (all.budget, all.enough) {
        (Some(budget), Some(enough)) => format!(
            "budget {}: {low} visits of users counted to resources of low, {normal} of normal, {high} of high sensitivity; {enough} of one are enough",
            percent(budget)
        ),
        _ => "there is no budget, so nothing is counted: set `step_up_budget` in [risk] of the policy".to_owned(),
    };
    let counted = match &all.named {
        Some(named) if all.calibrations.iter().any(|one| one.name == *named) => {
            format!("{counted}\nthe policy names the one that is in force: {}", safe(named))
        }
        Some(named) => format!(
            "{counted}\nthe policy names one that is not kept here, {}: the thresholds that are built in hold",
            safe(named)
        ),
        None => counted,
    };
    if all.calibrations.is_empty() {
        return format!(
            "{counted}\nno calibration was made yet: the thresholds of the policy hold, or those that are built in"
        );
    }
    let row = |one: &Calibration| {
        let [low, normal, high] = one.thresholds.map(step_up);
        let state = if one.in_force { "in force" } else { "" };
        [safe(&one.id), safe(&one.made_at), percent(one.budget), low, normal, high, state.to_owned()]
    };
    let rows: Vec<_> = all.calibrations.iter().map(row).collect();
    let heading = ["ID", "MADE AT", "BUDGET", "LOW", "NORMAL", "HIGH", ""];
    format!("{counted}\n{}", table(heading, &rows))
}

fn shown(one: &Calibration) -> String {
    let state = if one.in_force { "in force" } else { "not in force" };
    let mut lines = vec![
        format!("{}: made {}, {state}, budget {}", safe(&one.id), safe(&one.made_at), percent(one.budget)),
        format!("  counts       digest {}", safe(&one.digest)),
        format!("  in a policy  calibration = \"{}\"", safe(&one.name)),
    ];
    for ((sensitivity, thresholds), counted) in SENSITIVITIES.iter().zip(one.thresholds).zip(one.counted) {
        let what = match thresholds {
            Some([step_up, deny]) => {
                format!("step-up from {}, with evidence denied from {}", nats(step_up), nats(deny))
            }
            None => "too little was counted: what is built in holds".to_owned(),
        };
        lines.push(format!("  {sensitivity:<12} {what} (from {counted} visits)"));
    }
    let scale: Vec<String> = one.scale.iter().map(|(mnats, shown)| format!("{}={shown}", nats(*mnats))).collect();
    lines.push(format!("  a score in nats and what it means, from 0 to 1000: {}", scale.join(" ")));
    lines.join("\n")
}

fn step_up(thresholds: Option<[i32; 2]>) -> String {
    thresholds.map_or_else(|| "built in".to_owned(), |[step_up, _]| nats(step_up))
}

/// Milli-nats, none of which is below 0.
fn nats(mnats: i32) -> String {
    format!("{}.{:02}", mnats / 1_000, mnats.rem_euclid(1_000) / 10)
}

/// Millionths as `1%` or `0.05%`.
fn percent(millionths: u32) -> String {
    let (whole, rest) = (millionths / 10_000, millionths % 10_000);
    if rest == 0 { format!("{whole}%") } else { format!("{whole}.{}%", format!("{rest:04}").trim_end_matches('0')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_says_what_is_enough_and_what_is_in_force() {
        let one = Calibration {
            id: "c2-4f0c93ab".to_owned(),
            made_at: "2026-11-29T06:00:00Z".to_owned(),
            in_force: true,
            budget: 10_000,
            counted: [0, 12_345, 3_000],
            digest: "00".repeat(16),
            name: "sha256:11".to_owned(),
            thresholds: [None, Some([1_550, 3_550]), Some([1_000, 3_000])],
            scale: vec![(0, 0), (500, 410)],
        };
        let all = Calibrations {
            budget: Some(500),
            counted: [1, 2, 3],
            enough: Some(40_000),
            named: Some("sha256:22".to_owned()),
            calibrations: vec![one],
        };
        let text = listed(&all);
        for part in [
            "budget 0.05%: 1 visits",
            "names one that is not kept here, sha256:22",
            "40000 of one are enough",
            "c2-4f0c93ab",
            "built in",
            "1.55",
            "1.00",
            "in force",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = shown(&all.calibrations[0]);
        assert!(
            text.contains("normal       step-up from 1.55, with evidence denied from 3.55 (from 12345 visits)"),
            "{text}"
        );
        assert!(text.contains("0.00=0 0.50=410") && text.contains("calibration = \"sha256:11\""), "{text}");
        let none = listed(&Calibrations {
            budget: None,
            counted: [0; 3],
            enough: None,
            named: None,
            calibrations: Vec::new(),
        });
        assert!(none.contains("set `step_up_budget`") && none.contains("no calibration was made yet"), "{none}");
        assert_eq!([10_000, 500, 15_000, 500_000].map(percent), ["1%", "0.05%", "1.5%", "50%"]);
    }
}
