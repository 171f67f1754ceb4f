//! `events`: what was recorded.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
    /// Older ones: what an earlier search has shown, which went so far
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<String>,
    /// Event files to look in, with those rotated beside them; left out, those of the configuration, or with `--admin` the gateway's own
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
    /// Event files to look in, with those rotated beside them; left out, those of the configuration, or with `--admin` the gateway's own
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EventExplainArgs {
    /// The event's id, which the caller was given
    pub(crate) id: uuid::Uuid,
    /// Event files to look in, with those rotated beside them; left out, those of the configuration, or with `--admin` the gateway's own
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
