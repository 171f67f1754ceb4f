//! `access`: power for a time.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::OfflineArgs;

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
        #[command(flatten)]
        offline: OfflineArgs,
    },
    /// Show one of them: for whom, why, by whose approval
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
        #[command(flatten)]
        offline: OfflineArgs,
    },
    /// Hold the log of all of it to its chain
    Verify(AccessVerifyArgs),
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
    /// Break glass with a sealed code, which is read from standard input, or with one's own key: a role of the policy's choice at once, and an alarm
    BreakGlass(AccessBreakGlassArgs),
    /// Sign a statement that breaks glass, on any machine: it needs no gateway, and is carried to one
    SignBreakGlass(AccessSignBreakGlassArgs),
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
pub(crate) struct AccessVerifyArgs {
    #[command(flatten)]
    pub(crate) offline: OfflineArgs,
    /// Take the log as it is where the file beside the store does not know all of it, since an earlier version of the program ran on the store: what
    /// needed signatures is held to them. While no gateway runs; the next start tells of it
    #[arg(long, requires = "reason")]
    pub(crate) take_as_it_is: bool,
    /// With --take-as-it-is: why
    #[arg(long, value_name = "TEXT", requires = "take_as_it_is")]
    pub(crate) reason: Option<String>,
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
    /// A statement that was signed before, with `sign-break-glass`; all else is in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["principal", "role", "routes", "duration", "reason", "ticket", "key"])]
    pub(crate) statement: Option<PathBuf>,
    /// One's own private key, enrolled and named by `[break_glass] signers` of the policy, in place of a code: what is signed with it is sent at once
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// For whom: the principal of the code; without a kind it is a user
    #[arg(long = "as", value_name = "PRINCIPAL", required_unless_present = "statement")]
    pub(crate) principal: Option<String>,
    /// The role, one of those that `[break_glass]` of the policy names
    #[arg(long, value_name = "ROLE", required_unless_present = "statement")]
    pub(crate) role: Option<String>,
    /// A route; may be repeated; left out, all that the policy allows, and with a key every one
    #[arg(long = "scope", value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
    /// For how long; left out, for as long as the policy allows, and with a key for an hour
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Option<Duration>,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "statement")]
    pub(crate) reason: Option<String>,
    /// Where more is said
    #[arg(long, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AccessSignBreakGlassArgs {
    /// The gateway, as `portcullis governance status` names its instance
    #[arg(long, value_name = "HASH")]
    pub(crate) instance: String,
    /// One's own private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// For whom: oneself; without a kind it is a user
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// The role, one of those that `[break_glass]` of the policy names
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: String,
    /// A route; may be repeated; left out, every one
    #[arg(long = "scope", value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
    /// For how long it gives that, once it is used
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse, default_value = "1h")]
    pub(crate) duration: Duration,
    /// How long it may be used, at most 24h
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::span::parse, default_value = "1h")]
    pub(crate) valid: Duration,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Where more is said
    #[arg(long, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
    /// Where the statement is written; left out, to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
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
