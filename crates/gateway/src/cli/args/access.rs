//! `access`: power for a time.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    pub(crate) command: AccessCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// List what is in force and what waits, and the assignments that can be activated
    List {
        /// What has ended or was refused, too
        #[arg(long)]
        all: bool,
    },
    /// Show one of them: for whom, why, by whose approval
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
    },
    /// Hold the log of all of it to its chain
    Verify,
    /// Activate an eligible assignment of somebody for a time: exit code 0 it is in force or waits for an approval, 1 not
    Activate(AccessActivateArgs),
    /// Approve what waits: whoever it is for, or asked for it, cannot
    Approve {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
        /// An approver's private key; where approvers are enrolled, nothing else counts
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Refuse what waits
    Reject(AccessEndArgs),
    /// End what is in force, before its time is over
    Deactivate(AccessEndArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AccessActivateArgs {
    /// The assignment's name
    #[arg(value_name = "ASSIGNMENT")]
    pub(crate) assignment: String,
    /// For whom, such as user:alice; without a kind it is a user
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// For how long; left out, for as long as the assignment allows
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Option<Duration>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Where more is said
    #[arg(long, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AccessEndArgs {
    /// Its number
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}
