//! `user` and `hash-password`: users with passwords.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

#[derive(Debug, Args)]
#[command(override_usage = "portcullis user <COMMAND> --file <FILE> [OPTIONS]")]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input
    Add(UserAddArgs),
    /// List the users
    List(UserFileArgs),
    /// Refuse a user from the next reload on, and keep the entry
    Disable(UserNameArgs),
    /// Let a disabled user in again
    Enable(UserNameArgs),
    /// Remove a user
    Remove(UserNameArgs),
    /// Change a user's password; it is asked for, or read from standard input
    Passwd(UserNameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct UserAddArgs {
    #[command(flatten)]
    pub(crate) user: UserNameArgs,
    /// A group of the policy that the user is in; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    pub(crate) groups: Vec<String>,
    /// From when on the user is refused, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct UserNameArgs {
    /// What the user types as name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) file: UserFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UserFileArgs {
    /// The file of users, as `file` of [[identity.password]] names it; `add` makes it if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}
