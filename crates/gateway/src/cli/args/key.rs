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
