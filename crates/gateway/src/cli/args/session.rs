//! `session`: who is logged in.

use clap::{Args, Subcommand};

use super::OfflineArgs;

#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    pub(crate) command: SessionCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions that hold, the last used first; where no gateway answers, those of its store
    List(OfflineArgs),
    /// End a session, or all of a principal: exit code 0 done, 1 there is none
    Revoke(SessionRevokeArgs),
}

/// Which: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SessionRevokeArgs {
    /// The session that the listing and events call so, or the first eight characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// All sessions of a principal, such as user:alice; without a kind it is a user
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) user: Option<String>,
}
