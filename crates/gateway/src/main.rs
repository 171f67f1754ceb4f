//! The Portcullis gateway: reads the command line and the configuration, wires the crates together, and sees to reload and
//! shutdown. It decides nothing itself.

mod alerting;
mod answers;
mod auditing;
mod backing_up;
mod beside;
mod bounded;
mod calibrating;
mod checking;
mod cli;
mod control;
mod demo;
mod directing;
mod exit;
mod exposition;
mod factoring;
mod feeding;
mod governing;
mod indexing;
mod inherited;
mod insight;
mod introspecting;
mod keeping;
mod keying;
mod lending;
mod locating;
mod logins;
#[cfg(feature = "mimalloc")]
mod memory;
mod notify;
mod noting;
mod ops;
mod pages;
mod reload;
mod revoking;
mod rolling;
mod running;
mod spiking;
mod tampering;
mod telemetry;
mod turns;
mod yielding;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
