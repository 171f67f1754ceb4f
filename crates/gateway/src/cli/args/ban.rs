//! `ban`: who is banned.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OfflineArgs;

#[derive(Debug, Args)]
pub(crate) struct BanArgs {
    #[command(subcommand)]
    pub(crate) command: BanCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BanCommand {
    /// List the bans in force, the one that ends last first; where no gateway answers, those of its store
    List(OfflineArgs),
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
