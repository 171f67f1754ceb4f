//! `config`: the configuration and its schema.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(override_usage = "portcullis config schema [OPTIONS]")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the JSON Schema of a file, for editors
    Schema(SchemaArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of which file
    #[arg(long, value_enum, default_value_t = SchemaFile::Gateway, value_name = "FILE")]
    pub(crate) of: SchemaFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFile {
    /// `portcullis.toml`
    Gateway,
    /// `policy.toml`
    Policy,
    /// A key file
    Keys,
    /// A file of test cases
    Cases,
    /// A file of users with passwords
    Users,
}
