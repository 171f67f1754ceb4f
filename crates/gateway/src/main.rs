//! The Portcullis gateway: reads the command line and the configuration, wires the crates together, and sees to reload and
//! shutdown. It decides nothing itself.

mod alerting;
mod cli;
mod control;
mod demo;
mod directing;
mod exit;
mod exposition;
mod feeding;
mod indexing;
mod inherited;
mod keeping;
mod keying;
mod locating;
mod notify;
mod ops;
mod reload;
mod running;
mod telemetry;

use std::process::ExitCode;

/// Chosen by measurement: docs/performance.md has the figures.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
