//! `audit`: whether the record is whole.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_events::audit::MOST_UNSIGNED;

#[derive(Debug, Args)]
#[command(override_usage = "portcullis audit verify [OPTIONS] <FILE>...\n       portcullis audit keygen --out <FILE>")]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find what was changed, removed, added or moved in files of events: exit code 0 nothing, 1 something, or no event
    Verify(AuditVerifyArgs),
    /// Make the key that signs checkpoints of the chain, and print what verifies its signatures
    Keygen(AuditKeygenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditKeygenArgs {
    /// Where the private key goes, for the gateway alone: a file that is not there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// Files of native events, plain or compressed with gzip, in any order
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The hash of the event before the first one, where it is known
    #[arg(long, value_name = "HASH")]
    pub(crate) after: Option<String>,
    /// The hash that the last event must bear, where it is known
    #[arg(long, value_name = "HASH")]
    pub(crate) end: Option<String>,
    /// Hold checkpoints to this public key, in PEM; several where it was changed
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Vec<PathBuf>,
    /// With --public-key: how many events may follow on the last checkpoint, which no signature covers yet
    #[arg(long, value_name = "COUNT", default_value_t = MOST_UNSIGNED.events)]
    pub(crate) max_unsigned: u64,
    /// With --public-key: over what time of a running gateway these may be
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = crate::cli::span::parse)]
    pub(crate) max_unsigned_time: std::time::Duration,
}
