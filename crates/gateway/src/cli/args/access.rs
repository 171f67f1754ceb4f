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
    /// Seal a code with which a principal can break glass; it is shown this once, and good once
    Seal(AccessSealArgs),
    /// Break glass with a sealed code, which is read from standard input: a role of the policy's choice at once, and an alarm
    BreakGlass(AccessBreakGlassArgs),
    /// Say that what was done with a broken seal was looked at: two other persons have to
    Review {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
        /// What was found
        #[arg(long, value_name = "TEXT", default_value = "")]
        remark: String,
        /// An approver's private key; where approvers are enrolled, nothing else counts
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Ask for access for whoever was refused, by the refusal's event
    Request(AccessRequestArgs),
    /// Grant a request for a time: a role on the route where it was refused
    Grant(AccessGrantArgs),
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
pub(crate) struct AccessSealArgs {
    /// For whom, such as user:alice; without a kind it is a user
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// How long the code is good; left out, a year
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Option<Duration>,
    /// Why, or where it lies
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct AccessBreakGlassArgs {
    /// For whom: the principal of the code; without a kind it is a user
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// The role, one of those that `[break_glass]` of the policy names
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: String,
    /// A route; may be repeated; left out, all that the policy allows
    #[arg(long = "scope", value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
    /// For how long; left out, for as long as the policy allows
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Option<Duration>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Where more is said
    #[arg(long, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AccessRequestArgs {
    /// The id of the refusal's event: `instance` or `access_request` of what the caller was told
    #[arg(value_name = "EVENT")]
    pub(crate) event: String,
    /// Why access is needed
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct AccessGrantArgs {
    /// The request's number
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// For how long, at most a week
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Duration,
    /// The role; left out, the narrowest that permits what was refused
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// A route; may be repeated; left out, the one where it was refused
    #[arg(long = "scope", value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
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
