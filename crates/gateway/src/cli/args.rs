//! What can be said on the command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use portcullis_events::audit::MOST_UNSIGNED;

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
    /// Which running gateway to ask, as `unix:PATH`; left out, the one that runs on `--config`
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = admin_address)]
    pub(crate) admin: Option<PathBuf>,
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

/// `unix:PATH`, the only kind of address so far.
fn admin_address(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err("expected unix:PATH, such as unix:/run/portcullis/control.sock".to_owned()),
    }
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
    /// Say how the running gateway does, and whether the files on disk are what it runs on
    Status,
    /// Have the running gateway reload its configuration: exit code 0 done, 3 the configuration is invalid and the old one stays
    Reload,
    /// Have the running gateway finish what is under way and end, as SIGTERM does
    Drain,
    /// Say whether the running gateway lives: exit code 0 yes, 1 no, 4 it cannot be reached
    Health(HealthArgs),
    /// List, make, lift and explain bans of the running gateway
    Ban(BanArgs),
    /// List, refresh, test and accept the lists of networks that keep themselves current
    Feed(FeedArgs),
    /// Say where an address is, by the databases of the configuration
    Geo(GeoArgs),
    /// Test the sinks of the running gateway
    Sink(SinkArgs),
    /// List the alerts of the running gateway, test who is told, and lift what they contain
    Alert(AlertArgs),
    /// Follow, search, count and explain what was recorded
    Events(EventsArgs),
    /// Hold recorded events to their chain
    Audit(AuditArgs),
    /// Measure how good the detection of offenders is
    Risk(RiskArgs),
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
pub(crate) struct HealthArgs {
    /// Whether it is ready to serve, too: it is not while it drains
    #[arg(long)]
    pub(crate) ready: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BanArgs {
    #[command(subcommand)]
    pub(crate) command: BanCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BanCommand {
    /// List the bans in force, the one that ends last first
    List,
    /// Ban an address, a network or a principal for a time
    Add(BanAddArgs),
    /// Ban all that a file lists: one address or network a line, CSV, or the JSON of `cscli decisions list`; all or none
    Import(BanImportArgs),
    /// Lift the ban on somebody, and forget the offences
    Remove(BanWhomArgs),
    /// Show the bans that touch somebody, and what led to them: exit code 0 if there is one, else 1
    Explain(BanWhomArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BanAddArgs {
    #[command(flatten)]
    pub(crate) whom: BanWhomArgs,
    /// For how long, such as 4h; at most 366d
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: std::time::Duration,
    /// Why: it stands in the event and in the listing
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct BanImportArgs {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// For how long, where the file does not say; at most 366d
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Option<std::time::Duration>,
    /// Why, where the file does not say
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Say what would be imported, and import nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// On whom: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct BanWhomArgs {
    /// An address; an IPv6 address stands for its /64
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<std::net::IpAddr>,
    /// A network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) range: Option<ipnet::IpNet>,
    /// A principal: `user:alice`, `alice` for short, `service:ID`, or `certificate:SAN`
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) user: Option<String>,
}

impl BanWhomArgs {
    /// As the gateway reads it.
    pub(crate) fn on(&self) -> String {
        match (self.ip, self.range, &self.user) {
            (Some(ip), _, _) => ip.to_string(),
            (_, Some(range), _) => range.to_string(),
            (_, _, Some(user)) if ["user:", "service:", "certificate:"].iter().any(|kind| user.starts_with(kind)) => {
                user.clone()
            }
            (_, _, Some(user)) => format!("user:{user}"),
            (None, None, None) => String::new(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    #[command(subcommand)]
    pub(crate) command: FeedCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Show the age, size and state of each list, what failed, and what is held back
    List,
    /// Fetch a list now: exit code 0 it is in force, 1 it failed or is held back
    Refresh {
        /// The network
        name: String,
    },
    /// Show which networks an address is in, and from where: exit code 0 if there is one, else 1
    Test(FeedTestArgs),
    /// Put an update in force that is held back
    Accept(FeedAcceptArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FeedTestArgs {
    /// The address
    pub(crate) address: std::net::IpAddr,
    /// Ask the files of `--config` and the lists that were kept, and no running gateway
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FeedAcceptArgs {
    /// The network
    pub(crate) name: String,
    /// The whole hash of the list that you have looked at, as `feed list` shows it
    #[arg(long, value_name = "HASH")]
    pub(crate) sha256: String,
}

#[derive(Debug, Args)]
pub(crate) struct GeoArgs {
    #[command(subcommand)]
    pub(crate) command: GeoCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GeoCommand {
    /// Show the country, the city and the network of an address: exit code 0 if anything is known, else 1
    Lookup {
        /// The address
        address: std::net::IpAddr,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SinkArgs {
    #[command(subcommand)]
    pub(crate) command: SinkCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SinkCommand {
    /// Record a test event, and say what a sink made of it: exit code 0 delivered, 1 not
    Test {
        /// The sink
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AlertArgs {
    #[command(subcommand)]
    pub(crate) command: AlertCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Show the alerts, for whom they fire, and what they contain
    List,
    /// Send a message marked as a test through each notifier of an alert: exit code 0 all took it, 1 not
    Test {
        /// The alert
        name: String,
    },
    /// Lift what an alert contains
    Lift {
        /// The containment's id, as `alert list` and the alert's event have it
        id: String,
    },
    /// Have an alert tell nobody and contain nothing for a while; its events are recorded all the same
    Mute {
        #[command(flatten)]
        whose: WhoseAlertArgs,
        /// For how long, such as 2h; at most 7d
        #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
        duration: std::time::Duration,
        /// Why: it stands in the events and in the listing
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End such a mute
    Unmute {
        #[command(flatten)]
        whose: WhoseAlertArgs,
    },
}

/// One alert, or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhoseAlertArgs {
    /// The alert
    pub(crate) name: Option<String>,
    /// All alerts, those that a reload brings too
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Show the last events, then those of the running gateway as they come
    Tail(TailArgs),
    /// Show the newest events that fit, from the event files: exit code 0 if there is one, else 1
    Search(SearchArgs),
    /// Count events by reason, route, principal and address, and over time
    Stats(StatsArgs),
    /// Show every check of one event, what to do next, and what else happened around it
    Explain(EventExplainArgs),
}

/// Which events; all that is said must hold.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Refusals only
    #[arg(long)]
    pub(crate) deny: bool,
    /// A reason code, in which `*` stands for anything, such as 'rbac.*'
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// A principal: `user:alice`, or `alice` for whoever has that id
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) user: Option<String>,
    /// The client's address, or its network
    #[arg(long, value_name = "ADDRESS|NETWORK", value_parser = address_or_network)]
    pub(crate) ip: Option<ipnet::IpNet>,
    /// The route
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<String>,
}

/// From when to when.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpanArgs {
    /// From when on: a time in RFC 3339, or how long ago; left out, a day ago
    #[arg(long, value_name = "TIME|DURATION", value_parser = crate::cli::events::moment)]
    pub(crate) since: Option<crate::cli::events::Moment>,
    /// Before when: a time in RFC 3339, or how long ago
    #[arg(long, value_name = "TIME|DURATION", value_parser = crate::cli::events::moment)]
    pub(crate) until: Option<crate::cli::events::Moment>,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// How many events of the files are shown first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) last: usize,
    /// Only those
    #[arg(long)]
    pub(crate) no_follow: bool,
}

/// The most events that a search shows.
const MOST_EVENTS: i64 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) span: SpanArgs,
    /// The event's id, which the caller was given
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<uuid::Uuid>,
    /// How many are shown
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = event_count)]
    pub(crate) limit: usize,
    /// Event files to look in, with those rotated beside them; left out, those of the configuration
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) span: SpanArgs,
    /// How many of each are shown
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = event_count)]
    pub(crate) top: usize,
    /// Event files to look in, with those rotated beside them; left out, those of the configuration
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EventExplainArgs {
    /// The event's id, which the caller was given
    pub(crate) id: uuid::Uuid,
    /// Event files to look in, with those rotated beside them; left out, those of the configuration
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

fn event_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=MOST_EVENTS).contains(count));
    let count = count.and_then(|count: i64| usize::try_from(count).ok());
    count.ok_or_else(|| format!("expected a number from 1 to {MOST_EVENTS}"))
}

/// An address is the network of itself; bits behind a prefix do not count.
fn address_or_network(text: &str) -> Result<ipnet::IpNet, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network = text.parse::<ipnet::IpNet>().map(|network| network.trunc());
    network.map_err(|_| "expected an address such as 203.0.113.7, or a network such as 203.0.113.0/24".to_owned())
}

#[derive(Debug, Args)]
#[command(override_usage = "portcullis audit verify [OPTIONS] <FILE>...\n       portcullis audit keygen --out <FILE>")]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
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
