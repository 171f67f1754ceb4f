//! What can be said on the command line. One file for each verb that has much to say.

mod access;
mod audit;
mod ban;
mod config;
mod events;
mod factor;
mod key;
mod networks;
mod policy;
mod questions;
mod revoke;
mod risk;
mod session;
mod sinks;
mod user;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use portcullis_fetch::UrlSource;

pub(crate) use access::{
    AccessActivateArgs, AccessArgs, AccessBreakGlassArgs, AccessCommand, AccessGrantArgs, AccessRequestArgs,
    AccessSealArgs, AccessSignBreakGlassArgs, AccessVerifyArgs,
};
pub(crate) use audit::{
    AuditApplyArgs, AuditArgs, AuditCommand, AuditDiffArgs, AuditKeygenArgs, AuditRunArgs, AuditShowArgs,
    AuditSuppressArgs, AuditVerifyArgs, ReportArgs, ReportFormat,
};
pub(crate) use ban::{BanAddArgs, BanArgs, BanCommand, BanImportArgs, BanWhomArgs};
pub(crate) use config::{ConfigArgs, ConfigCommand, SchemaArgs, SchemaFile};
pub(crate) use events::{
    EventExplainArgs, EventsArgs, EventsCommand, FilterArgs, SearchArgs, SpanArgs, StatsArgs, TailArgs,
};
pub(crate) use factor::{FactorArgs, FactorCommand, TotpArgs, TotpCommand, TotpEnrollArgs};
pub(crate) use key::{KeyArgs, KeyCommand, KeyCreateArgs, KeyListArgs, KeyRevokeArgs, KeyRotateArgs};
pub(crate) use networks::{FeedAcceptArgs, FeedArgs, FeedCommand, FeedRollbackArgs, FeedTestArgs, GeoArgs, GeoCommand};
pub(crate) use policy::{
    ApproverArgs, ApproverCommand, ApproverKeyArgs, AuthorArgs, BackupArgs, BackupCommand, BackupFileArgs,
    BackupFilesArgs, BackupRestoreArgs, DiffFailOn, GovernanceArgs, GovernanceCommand, Named, PolicyApproveArgs,
    PolicyArgs, PolicyCommand, PolicyDiffArgs, PolicyPreviewArgs, PolicyProposeArgs, PolicyRejectArgs,
    PolicyRevertArgs, PolicyRollbackArgs, PolicyShowArgs, PolicySignArgs, ReplayArgs,
};
pub(crate) use questions::{
    AssuranceState, DeviceState, ExplainArgs, FactArgs, ListArgs, QuestionArgs, RiskState, TestArgs, WhoCanArgs,
};
pub(crate) use revoke::{LiftArgs, RevokeArgs, RevokeCommand, RevokeTerms};
pub(crate) use risk::{RiskArgs, RiskCalibrationCommand, RiskCommand, RiskEvaluateArgs, RiskWhomArgs};
pub(crate) use session::{SessionArgs, SessionCommand, SessionRevokeArgs};
pub(crate) use sinks::{AlertArgs, AlertCommand, SinkArgs, SinkCommand, SpikeArgs, SpikeCommand};
pub(crate) use user::{UserAddArgs, UserArgs, UserCommand, UserFileArgs, UserNameArgs};

/// An access-control gateway for HTTP APIs that says exactly why it refused.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that may stand before or after the verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "PORTCULLIS_CONFIG",
        default_value = "/etc/portcullis/portcullis.toml"
    )]
    pub(crate) config: PathBuf,
    /// Which running gateway to ask, as `unix:PATH` or `https://HOST:PORT` (`[admin]`); left out, the one that runs on `--config`
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = admin_address)]
    pub(crate) admin: Option<AdminAddress>,
    /// What says who asks over the network: a file with a token, or with a header such as `x-api-key: SECRET`
    #[arg(long, global = true, value_name = "FILE", requires = "admin")]
    pub(crate) token_file: Option<PathBuf>,
    /// The authority that has signed the certificate of `--admin`, in PEM; left out, those that this system believes
    #[arg(long, global = true, value_name = "FILE", requires = "admin")]
    pub(crate) admin_ca: Option<PathBuf>,
    /// The passphrase of an approver's private key that is encrypted, or that is made: its first line; `-`: of standard input. Left out, the terminal asks
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// How answers are written
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) output: Format,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Log errors only; answer with the exit code alone where that says it all
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Where a running gateway is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    Socket(PathBuf),
    Network(UrlSource),
}

/// `unix:PATH`, `https://HOST:PORT`, or `http://` on loopback: what a credential is sent to must not be read on the way.
fn admin_address(text: &str) -> Result<AdminAddress, String> {
    let expected = "expected unix:PATH or https://HOST:PORT, such as unix:/run/portcullis/control.sock";
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() { Err(expected.to_owned()) } else { Ok(AdminAddress::Socket(path.into())) };
    }
    let source = UrlSource::parse(text, Vec::new()).map_err(|_| expected.to_owned())?;
    if &*source.path != "/" {
        return Err("the address ends with the port: the API's paths are known".to_owned());
    }
    let is_local = &*source.host == "localhost" || source.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if !source.secure && !is_local {
        return Err("http:// is for loopback alone: a credential would cross the network in plain text".to_owned());
    }
    Ok(AdminAddress::Network(source))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Human,
    /// One JSON value
    Json,
    /// One JSON value a line
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM; SIGHUP reloads
    Run(RunArgs),
    /// Report every problem of a configuration, with file, line, column and remedy
    Check(CheckArgs),
    /// Lay the configuration files out in their one canonical form; comments, order and values stay
    Fmt(FmtArgs),
    /// Say what can be written in the configuration files
    Config(ConfigArgs),
    /// Compare policies, and try one on requests that were made; list, propose, approve and activate versions, and roll back to one
    Policy(PolicyArgs),
    /// Say who may approve a change of what is live
    Approver(ApproverArgs),
    /// Begin to require approvals, and say whether they are
    Governance(GovernanceArgs),
    /// Copy the store, verify a copy, and put one in its place
    Backup(BackupArgs),
    /// Decide on recorded requests again under another policy: exit code 0 if nobody is answered otherwise, else 1
    Replay(ReplayArgs),
    /// Say whether a principal may do something: exit code 0 yes, 1 no
    Can(QuestionArgs),
    /// Show every check of a decision, the rule that decided, and the nearest changes that would permit it
    Explain(ExplainArgs),
    /// Show all that a principal may do, route by route: exit code 0 if anything may be done now, else 1
    List(ListArgs),
    /// Show everybody who may do something, and under which conditions: exit code 0 if somebody can, else 1
    WhoCan(WhoCanArgs),
    /// Hold the policy to test cases, and say which rules no case covers: exit code 0 all passed, 1 not
    Test(TestArgs),
    /// Say how the running gateway does, and whether the files on disk are what it runs on
    Status,
    /// Have the running gateway reload its configuration: exit code 0 done, 3 the configuration is invalid and the old one stays
    Reload(ReloadArgs),
    /// Have the running gateway finish what is under way and end, as SIGTERM does
    Drain,
    /// Say whether the running gateway lives: exit code 0 yes, 1 no, 4 it cannot be reached
    Health(HealthArgs),
    /// List, make, lift and explain bans of the running gateway
    Ban(BanArgs),
    /// Give power for a time on the running gateway: activate eligible assignments, approve, end, list
    Access(AccessArgs),
    /// Revoke tokens, API keys and what principals were issued, on the running gateway
    Revoke(RevokeArgs),
    /// List, refresh, test and accept the lists of networks that keep themselves current
    Feed(FeedArgs),
    /// Say where an address is, by the databases of the configuration
    Geo(GeoArgs),
    /// List and end the sessions of browsers at the running gateway
    Session(SessionArgs),
    /// Test the sinks of the running gateway
    Sink(SinkArgs),
    /// List the alerts of the running gateway, test who is told, and lift what they contain
    Alert(AlertArgs),
    /// Say why there were more refusals than usual
    Spike(SpikeArgs),
    /// Follow, search, count and explain what was recorded
    Events(EventsArgs),
    /// Look for grants that are unused, too wide or dangerous, and hold recorded events to their chain
    Audit(AuditArgs),
    /// Measure how good the detection of offenders is
    Risk(RiskArgs),
    /// Manage API keys
    Key(KeyArgs),
    /// Add, list, disable and remove users with passwords
    User(UserArgs),
    /// Add an app with codes for a principal of the running gateway, or take all second factors away
    Totp(TotpArgs),
    /// List the second factors of a principal
    Factor(FactorArgs),
    /// Print the Argon2id hash of a password, which is asked for or read from standard input
    HashPassword,
    /// Show the gateway at work with nothing else installed
    Demo(DemoArgs),
    /// Print the help of a verb, or the page of a code that a report shows, such as E0103
    Help(HelpArgs),
}

/// Where no gateway is to be asked.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct OfflineArgs {
    /// Look into the store of this machine, and ask no gateway. Nothing is written
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Why: it stands in the log, where the files become a version
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Where more is said of it
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Start only if this store is governed, whatever the files say: what was approved last is in force
    #[arg(long, value_name = "STORE", env = "PORTCULLIS_GOVERNED")]
    pub(crate) governed: Option<PathBuf>,
    /// With --governed: and only as this instance, which `governance init` has shown
    #[arg(long, value_name = "HASH", requires = "governed", env = "PORTCULLIS_INSTANCE")]
    pub(crate) instance: Option<portcullis_governance::Hash>,
    /// With --governed: and only if its log holds this version, as `governance status` has shown it
    #[arg(long, value_name = "N:HASH", requires = "governed", env = "PORTCULLIS_AT_LEAST")]
    pub(crate) at_least: Option<portcullis_governance::Anchor>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Configuration files to check instead of `--config`; a policy file is checked against `--config`
    pub(crate) files: Vec<PathBuf>,
    /// Warnings are errors
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// Files to format instead of all that `--config` leads to; `-` formats standard input to standard output
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Change nothing: name the files that are not formatted, with -v how they differ; exit code 1 if there are any
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Whether it is ready to serve, too: it is not while it drains
    #[arg(long)]
    pub(crate) ready: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End by itself; exit 0 only if every answer was as expected
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A verb, or a code such as E0103; left out, the whole program
    #[arg(value_name = "VERB|CODE")]
    pub(crate) topic: Vec<String>,
}
