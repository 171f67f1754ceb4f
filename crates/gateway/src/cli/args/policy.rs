//! `policy`: policies beside each other.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show every class of requests whose answer changes from one policy to another: exit code 0 none, 1 some, or not all
    /// could be compared
    Diff(PolicyDiffArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyDiffArgs {
    /// The policy as it is; or a whole configuration
    pub(crate) before: PathBuf,
    /// The policy as it would be; or a whole configuration
    pub(crate) after: PathBuf,
    /// Another reason for the same outcome counts as a change, too
    #[arg(long)]
    pub(crate) reasons: bool,
    /// The time from which examples are chosen, in RFC 3339; left out, now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
}
