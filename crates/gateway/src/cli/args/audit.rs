//! `audit`: whether the record is whole, and which grants are unused, too wide or dangerous.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_events::audit::MOST_UNSIGNED;

#[derive(Debug, Args)]
#[command(
    override_usage = "portcullis audit run [OPTIONS]\n       portcullis audit runs\n       portcullis audit show [OPTIONS] [RUN]\n       portcullis audit diff [OPTIONS] [FROM] [TO]\n       portcullis audit apply [OPTIONS] [FINDING]...\n       portcullis audit suppress [OPTIONS] [FINGERPRINT]\n       portcullis audit verify [OPTIONS] <FILE>...\n       portcullis audit keygen --out <FILE>"
)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Look for grants that are unused, too wide or dangerous: exit code 0 none that is bad enough, 1 some
    Run(AuditRunArgs),
    /// List the runs that are kept
    Runs(AuditRunsArgs),
    /// Show a run again
    Show(AuditShowArgs),
    /// What one run found and another did not: exit code 0 nothing new, 1 something
    Diff(AuditDiffArgs),
    /// Make one change of what findings propose, once it was tried: a proposal where changes need approvals, else the policy's files are written
    Apply(AuditApplyArgs),
    /// Say why a finding may stay for a while, or list what is suppressed
    Suppress(AuditSuppressArgs),
    /// Find what was changed, removed, added or moved in files of events: exit code 0 nothing, 1 something, or no event
    Verify(AuditVerifyArgs),
    /// Make the key that signs checkpoints of the chain, and print what verifies its signatures
    Keygen(AuditKeygenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditKeygenArgs {
    /// Where the private key goes, for the gateway alone: a file that is not there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// Files of native events, plain or compressed with gzip, in any order
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The hash of the event before the first one, where it is known
    #[arg(long, value_name = "HASH")]
    pub(crate) after: Option<String>,
    /// The hash that the last event must bear, where it is known
    #[arg(long, value_name = "HASH")]
    pub(crate) end: Option<String>,
    /// Hold checkpoints to this public key, in PEM; several where it was changed
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Vec<PathBuf>,
    /// With --public-key: how many events may follow on the last checkpoint, which no signature covers yet
    #[arg(long, value_name = "COUNT", default_value_t = MOST_UNSIGNED.events)]
    pub(crate) max_unsigned: u64,
    /// With --public-key: over what time of a running gateway these may be
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = crate::cli::span::parse)]
    pub(crate) max_unsigned_time: std::time::Duration,
}

/// How a report is written, beside what `--output` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// Markdown, for a review
    Markdown,
    /// SARIF 2.1.0, for what shows findings beside the lines that they are about
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct AuditRunArgs {
    /// Look at the files and the store, and ask no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) shown: ReportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditRunsArgs {
    /// Look into the store, and ask no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditShowArgs {
    /// A run, or the beginning of its name; left out: the last one
    pub(crate) run: Option<String>,
    /// Look into the store, and ask no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) shown: ReportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Markdown or SARIF in place of what --output says
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ReportFormat>,
    /// Only these kinds of finding, such as LP01 or unused_permission; several separated by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    pub(crate) only: Vec<portcullis_insight::audit::Kind>,
    /// Only findings about this principal, such as user:alice
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<String>,
    /// Exit code 1 where an open finding is at least as bad as this; `never`: 0 whatever was found
    #[arg(long, value_name = "SEVERITY", default_value = "high", value_parser = least)]
    pub(crate) fail_on: Least,
}

/// From which severity on a finding makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Least(pub(crate) Option<portcullis_insight::audit::Severity>);

fn least(text: &str) -> Result<Least, String> {
    use portcullis_insight::audit::Severity;
    if text == "never" {
        return Ok(Least(None));
    }
    let found = Severity::ALL.into_iter().find(|severity| severity.as_str() == text);
    found
        .map(|severity| Least(Some(severity)))
        .ok_or_else(|| "expected info, low, medium, high, critical or never".to_owned())
}

fn kind(text: &str) -> Result<portcullis_insight::audit::Kind, String> {
    portcullis_insight::audit::Kind::named(text)
        .ok_or_else(|| "expected LP01 to LP18, or a name such as unused_permission".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct AuditDiffArgs {
    /// The earlier run; left out: the last but one
    pub(crate) from: Option<String>,
    /// The later run; left out: the last one
    pub(crate) to: Option<String>,
    /// Exit code 1 where an open finding is new, or has become worse, and is at least as bad as this; `never`: 0 whatever is
    #[arg(long, value_name = "SEVERITY", default_value = "info", value_parser = least)]
    pub(crate) fail_on: Least,
    /// Look into the store, and ask no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditApplyArgs {
    /// Fingerprints of findings, or their beginnings
    #[arg(value_name = "FINDING", required_unless_present = "all_safe")]
    pub(crate) findings: Vec<String>,
    /// All open findings whose proposal was tried and only takes away
    #[arg(long, conflicts_with = "findings")]
    pub(crate) all_safe: bool,
    /// Of this run, or the beginning of its name; left out: the last one
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Try it and show what it comes to, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why, before what names the findings
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Where more is said
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
    /// As who; the account is added to it
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Option<String>,
    /// Look at the files and the store, and ask no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditSuppressArgs {
    /// The fingerprint of a finding
    pub(crate) fingerprint: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME", required_unless_present_any = ["lift", "list"])]
    pub(crate) owner: Option<String>,
    /// Why it may stay
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["lift", "list"])]
    pub(crate) reason: Option<String>,
    /// For how long, such as 30d; at most 366d
    #[arg(long = "for", value_name = "DURATION", default_value = "90d", value_parser = crate::cli::span::parse)]
    pub(crate) lasts: std::time::Duration,
    /// It is not suppressed any more
    #[arg(long, requires = "fingerprint", conflicts_with_all = ["owner", "reason"])]
    pub(crate) lift: bool,
    /// List what is suppressed
    #[arg(long, conflicts_with_all = ["fingerprint", "owner", "reason", "lift"])]
    pub(crate) list: bool,
    /// Write into the store, and ask no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
}
