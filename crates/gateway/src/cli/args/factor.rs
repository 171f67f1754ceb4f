//! `totp` and `factor`: second factors of a running gateway.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(override_usage = "portcullis totp <COMMAND> <PRINCIPAL> [OPTIONS]")]
pub(crate) struct TotpArgs {
    #[command(subcommand)]
    pub(crate) command: TotpCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TotpCommand {
    /// Add an app with codes: show its secret, and confirm it with a code that is typed, or the next line of standard input
    Enroll(TotpEnrollArgs),
    /// Remove all second factors of a principal, recovery codes and passkeys too, and end a wait for wrong codes
    Reset(FactorWhomArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TotpEnrollArgs {
    /// Whose; `alice` is `user:alice`
    #[arg(value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// What the owner calls it
    #[arg(long, value_name = "NAME", default_value = "app")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(override_usage = "portcullis factor list <PRINCIPAL> [OPTIONS]")]
pub(crate) struct FactorArgs {
    #[command(subcommand)]
    pub(crate) command: FactorCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FactorCommand {
    /// List the second factors of a principal: exit code 0 if there are any, else 1
    List(FactorWhomArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FactorWhomArgs {
    /// Whose; `alice` is `user:alice`
    #[arg(value_name = "PRINCIPAL")]
    pub(crate) principal: String,
}
