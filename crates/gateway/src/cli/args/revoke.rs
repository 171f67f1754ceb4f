//! `revoke`: credentials that count no longer.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::OfflineArgs;

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(subcommand)]
    pub(crate) command: RevokeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RevokeCommand {
    /// Revoke a token, by its `jti`
    Token {
        /// The token's `jti`
        #[arg(value_name = "JTI")]
        id: String,
        #[command(flatten)]
        terms: RevokeTerms,
    },
    /// Revoke an API key at once; write `revoked = true` into its file, too
    Key {
        /// The key's id
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        terms: RevokeTerms,
    },
    /// Revoke all that a principal was issued until a moment, and what does not say when it was issued
    Principal(RevokePrincipalArgs),
    /// List what is revoked
    List(OfflineArgs),
    /// Lift a revocation
    Lift(LiftArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RevokePrincipalArgs {
    /// The principal, as the policy writes it: `user:alice`
    #[arg(value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// What was issued later counts, in RFC 3339; left out, now
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) terms: RevokeTerms,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeTerms {
    /// Why, for the events
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// For how long; left out, a token or principal for 90 days, a key until that is lifted
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::cli::span::parse)]
    pub(crate) duration: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct LiftArgs {
    /// What was revoked
    #[arg(value_enum)]
    pub(crate) what: RevokedKind,
    /// Its name, as `revoke list` has it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// The kind of what was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RevokedKind {
    /// A token
    Token,
    /// An API key
    Key,
    /// A principal
    Principal,
}

impl RevokedKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Key => "key",
            Self::Principal => "principal",
        }
    }
}
