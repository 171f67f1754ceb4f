//! The Portcullis gateway: reads the command line and the configuration, wires the crates together, and sees to reload and
//! shutdown. It decides nothing itself.

mod cli;
mod demo;
mod exit;
mod exposition;
mod ops;
mod reload;
mod running;
mod telemetry;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
