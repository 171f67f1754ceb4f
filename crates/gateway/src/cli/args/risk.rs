//! `risk`: what is known of callers, and how well it is judged.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct RiskArgs {
    #[command(subcommand)]
    pub(crate) command: RiskCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RiskCommand {
    /// Play recorded requests to the detector that `[ban]` configures, and to a plain counter of errors, and compare whom they ban
    Evaluate(RiskEvaluateArgs),
    /// Show what is usual for a principal
    Show(RiskWhomArgs),
    /// Forget what is usual for a principal, so that nothing is new to it
    Forget(RiskWhomArgs),
    /// Learn what is usual from a history: logins as `evaluate --logins` reads them, or native events, one a line
    Warm {
        /// The file; `.gz` is unpacked
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Thresholds that were worked out from good traffic and `step_up_budget`: which there are, and which is in force
    #[command(subcommand)]
    Calibration(RiskCalibrationCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RiskCalibrationCommand {
    /// List the calibrations that are kept, and what is counted for the next
    List,
    /// Show one, or the one in force: its thresholds, and what scores mean by it
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Work one out from what is counted now; it is not in force until it is activated
    Propose,
    /// Put one in force
    Activate {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Take the one in force back: the one before it holds again, or what is built in
    Rollback,
}

#[derive(Debug, Args)]
pub(crate) struct RiskWhomArgs {
    /// `user:alice`, `alice` for short, `service:ID`, or `certificate:SAN`
    #[arg(value_name = "PRINCIPAL")]
    pub(crate) principal: String,
}

impl RiskWhomArgs {
    /// As the gateway reads it.
    pub(crate) fn on(&self) -> String {
        let named = ["user:", "service:", "certificate:"].iter().any(|kind| self.principal.starts_with(kind));
        if named { self.principal.clone() } else { format!("user:{}", self.principal) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RiskEvaluateArgs {
    /// An access log in the combined format; `.gz` is unpacked
    #[arg(long, value_name = "FILE", required_unless_present_any = ["cases", "logins", "synthetic"])]
    pub(crate) log: Option<PathBuf>,
    /// An address of the log that is an attacker's; may be repeated
    #[arg(long = "attacker", value_name = "ADDRESS", requires = "log")]
    pub(crate) attackers: Vec<std::net::IpAddr>,
    /// Labelled cases, one JSON object a line: `test`, `expected_alerts`, `sources`, `lines`
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    pub(crate) cases: Option<PathBuf>,
    /// Logins in the layout of the public RBA data set, with takeovers labelled: who would have been asked to step up; `.gz` is unpacked
    #[arg(long, value_name = "FILE", conflicts_with_all = ["log", "cases"])]
    pub(crate) logins: Option<PathBuf>,
    /// The same with users and intruders that are made up
    #[arg(long, conflicts_with_all = ["log", "cases", "logins"])]
    pub(crate) synthetic: bool,
    /// The same seed makes up the same
    #[arg(long, value_name = "N", default_value_t = 1, requires = "synthetic")]
    pub(crate) seed: u64,
    /// The share of honest logins that may be asked to step up, in percent: says which threshold keeps it
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = percent)]
    pub(crate) budget: f64,
    /// Say of each case what came of it
    #[arg(long = "each", requires = "cases")]
    pub(crate) verbose_cases: bool,
}

/// A share in percent, as a number from 0 to 1.
fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "expected a share such as 1%, from 0 to 100".to_owned())
}
