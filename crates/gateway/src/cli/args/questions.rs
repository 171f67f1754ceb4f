//! `can`, `explain`, `list`, `who-can`, `test`: questions to a policy, and the facts that they take.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    /// The method, such as GET
    pub(crate) method: String,
    /// A URL, or a path (then `--host` chooses the host)
    pub(crate) url: String,
    /// Ask the running gateway: its policy in force with the lists of networks, bans and lent power of now; `--admin` says so, too
    #[arg(long)]
    pub(crate) live: bool,
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
    /// Ask the running gateway: its policy in force with the lists of networks, bans and lent power of now; `--admin` says so, too
    #[arg(long)]
    pub(crate) live: bool,
    #[command(flatten)]
    pub(crate) facts: FactArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Ask the running gateway: its policy in force with the lists of networks and lent power of now; `--admin` says so, too
    #[arg(long)]
    pub(crate) live: bool,
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
    /// Ask the running gateway: its policy in force with the lists of networks, bans and lent power of now; `--admin` says so, too
    #[arg(long)]
    pub(crate) live: bool,
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
    /// How long ago the caller authenticated, such as 10m; left out, nobody knows
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) authenticated: Option<Duration>,
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
            authenticated: self.authenticated,
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
    /// How long ago the caller authenticated, such as 10m; left out, nobody knows
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) authenticated: Option<Duration>,
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
