//! What can be said on the command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

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
    /// Compare policies
    Policy(PolicyArgs),
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
    /// Manage API keys
    Key(KeyArgs),
    /// Show the gateway at work with nothing else installed
    Demo(DemoArgs),
    /// Print the help of a verb, or the page of a code that a report shows, such as E0103
    Help(HelpArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {}

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

#[derive(Debug, Args)]
#[command(override_usage = "portcullis config schema [OPTIONS]")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the JSON Schema of a file, for editors
    Schema(SchemaArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of which file
    #[arg(long, value_enum, default_value_t = SchemaFile::Gateway, value_name = "FILE")]
    pub(crate) of: SchemaFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFile {
    /// `portcullis.toml`
    Gateway,
    /// `policy.toml`
    Policy,
    /// A key file
    Keys,
    /// A file of test cases
    Cases,
}

#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    /// The method, such as GET
    pub(crate) method: String,
    /// A URL, or a path (then `--host` chooses the host)
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) facts: FactArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The method, such as GET
    #[arg(required_unless_present = "event")]
    pub(crate) method: Option<String>,
    /// A URL, or a path (then `--host` chooses the host)
    #[arg(required_unless_present = "event")]
    pub(crate) url: Option<String>,
    /// Explain a refusal that happened, by the id that the caller was given
    #[arg(long, value_name = "ID", conflicts_with_all = ["method", "url"])]
    pub(crate) event: Option<uuid::Uuid>,
    #[command(flatten)]
    pub(crate) facts: FactArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) facts: FactArgs,
}

/// Who asks is the question, so these are the facts without the principal's own.
#[derive(Debug, Args)]
pub(crate) struct WhoCanArgs {
    /// The method, such as GET
    pub(crate) method: String,
    /// A URL, or a path (then `--host` chooses the host)
    pub(crate) url: String,
    /// The client's address; left out, it is unknown
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<std::net::IpAddr>,
    /// The host, where the URL is only a path
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The client's country, two letters; left out, it is unknown
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,
    /// Whether devices meet the rules; left out, it is unknown
    #[arg(long, value_enum)]
    pub(crate) device: Option<DeviceState>,
    /// How strong and fresh the authentication is
    #[arg(long, value_enum)]
    pub(crate) assurance: Option<AssuranceState>,
    /// When it happens, in RFC 3339; left out, now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// How risky the caller looks
    #[arg(long, value_enum)]
    pub(crate) risk: Option<RiskState>,
}

impl WhoCanArgs {
    /// The same facts of nobody in particular.
    pub(crate) fn facts(&self) -> FactArgs {
        FactArgs {
            principal: "anyone".to_owned(),
            groups: Vec::new(),
            roles: Vec::new(),
            activated: Vec::new(),
            ip: self.ip,
            host: self.host.clone(),
            country: self.country.clone(),
            device: self.device,
            assurance: self.assurance,
            at: self.at,
            risk: self.risk,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Case files; a folder stands for every *.toml directly in it
    #[arg(required = true, value_name = "CASES")]
    pub(crate) cases: Vec<PathBuf>,
    /// Ask only the cases that have this in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Stop at the first case that fails
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Say which rules of the policy the cases cover, and which they do not
    #[arg(long)]
    pub(crate) coverage: bool,
    /// The least share of rules that must be covered, 0 to 100; implies --coverage
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) min: Option<u8>,
    /// Also write the results to a file, as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// The facts of a request that is only supposed.
#[derive(Debug, Clone, Args)]
pub(crate) struct FactArgs {
    /// Who asks: `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`, or `anyone`
    #[arg(long = "as", value_name = "PRINCIPAL", default_value = "anyone")]
    pub(crate) principal: String,
    /// A group the principal is in; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// A role the principal holds directly; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// An eligible assignment that the principal has activated; may be repeated
    #[arg(long = "activated", value_name = "ASSIGNMENT")]
    pub(crate) activated: Vec<String>,
    /// The client's address; left out, it is unknown
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<std::net::IpAddr>,
    /// The host, where the URL is only a path, or there is none
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The client's country, two letters; left out, it is unknown
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,
    /// Whether the device meets the rules; left out, it is unknown
    #[arg(long, value_enum)]
    pub(crate) device: Option<DeviceState>,
    /// How strong and fresh the authentication is
    #[arg(long, value_enum)]
    pub(crate) assurance: Option<AssuranceState>,
    /// When it happens, in RFC 3339; left out, now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// How risky the caller looks
    #[arg(long, value_enum)]
    pub(crate) risk: Option<RiskState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceState {
    /// It is known to meet the rules
    Compliant,
    /// It is known not to
    Noncompliant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AssuranceState {
    /// Several factors, fresh
    Mfa,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RiskState {
    /// Nothing unusual
    Low,
    /// Unusual
    Medium,
    /// The highest band
    High,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key, add its hash to a key file, and print the key this once
    Create(KeyCreateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// The key's id: 1 to 64 of a-z, 0-9 and `-`
    pub(crate) id: String,
    /// The key file; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Whom the key stands for; left out, `service:ID`
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) principal: Option<String>,
    /// A group the key carries; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// A role the key carries; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// From when on it is refused, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Timestamp>,
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
