//! `feed` and `geo`: where addresses belong.

use clap::{Args, Subcommand};

use super::OfflineArgs;

#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    #[command(subcommand)]
    pub(crate) command: FeedCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Show the age, size and state of each list, what failed, and what is held back; where no gateway answers, what was kept
    List(OfflineArgs),
    /// Fetch a list now: exit code 0 it is in force, 1 it failed or is held back
    Refresh {
        /// The network
        name: String,
    },
    /// Show which networks an address is in, and from where: exit code 0 if there is one, else 1
    Test(FeedTestArgs),
    /// Put an update in force that is held back
    Accept(FeedAcceptArgs),
    /// Put the list back that was in force before, and hold back the one that is, and all that follow until one is accepted
    Rollback(FeedRollbackArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FeedRollbackArgs {
    /// The network
    pub(crate) name: String,
    /// Say what the network would hold, and what that would do to the requests that are kept, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
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
