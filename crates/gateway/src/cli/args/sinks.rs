//! `sink`, `alert` and `spike`: where events go, who is told, and what they come to.

use clap::{Args, Subcommand};

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
pub(crate) struct SpikeArgs {
    /// Look into the store, and ask no running gateway
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    #[command(subcommand)]
    pub(crate) command: SpikeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpikeCommand {
    /// Show the spikes of refusals that were noticed, the last one first: by the running gateway, or where none answers by its store
    List,
    /// Say what one is due to, and what would help: exit code 1 if there is none
    Explain {
        /// Its id or a part of it, as `spike list` and its event have it; left out, the last one
        id: Option<String>,
    },
}
