//! `key`: keys of callers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key, add its hash to a key file, and print the key this once
    Create(KeyCreateArgs),
    /// List the keys of a file, and when the running gateway last saw them
    List(KeyListArgs),
    /// Give a key another secret, and print it this once
    Rotate(KeyRotateArgs),
    /// Withdraw a key in its file
    Revoke(KeyRevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyListArgs {
    /// The key file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRotateArgs {
    /// The key's id
    pub(crate) id: String,
    /// The key file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How long the old secret is good beside the new one
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = crate::cli::span::parse)]
    pub(crate) overlap: std::time::Duration,
    /// From when on the key is refused, in RFC 3339; left out, as before
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRevokeArgs {
    /// The key's id
    pub(crate) id: String,
    /// The key file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
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
    /// A route that the key is for; may be repeated; left out, all
    #[arg(long = "route", value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
    /// A network of the policy that the key may come from; may be repeated; left out, any
    #[arg(long = "network", value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
    /// From when on it is refused, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Timestamp>,
}
