//! The command line: one file for each verb.

mod access;
mod alert;
pub(crate) mod args;
mod audit;
mod backup;
mod ban;
mod can;
mod check;
mod config;
mod configuration;
mod demo;
mod events;
mod explain;
mod factor;
mod facts;
mod feed;
pub(crate) mod files;
mod fmt;
mod geo;
mod governing;
mod help;
mod in_force;
mod key;
pub(crate) mod list;
mod live;
mod output;
mod password;
mod policy;
mod replay;
mod revoke;
mod risk;
mod run;
mod session;
mod sink;
mod span;
mod spike;
mod status;
mod test;
mod user;
mod who_can;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way, too: clap knows the stream and the code of each.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Cli { global, command } = cli;
    let exit = match command {
        Command::Run(args) => run::run(&global, &args),
        Command::Check(args) => check::run(&global, &args),
        Command::Fmt(args) => fmt::run(&global, &args),
        Command::Config(args) => config::run(&global, &args),
        Command::Policy(args) => policy::run(&global, &args),
        Command::Approver(args) => governing::approver(&global, &args.command).unwrap_or_else(|exit| exit),
        Command::Governance(args) => governing::governance(&global, &args.command).unwrap_or_else(|exit| exit),
        Command::Backup(args) => backup::run(&global, &args),
        Command::Replay(args) => replay::run(&global, &args),
        Command::Can(args) => can::run(&global, &args),
        Command::Explain(args) => explain::run(&global, &args),
        Command::List(args) => list::run(&global, &args),
        Command::WhoCan(args) => who_can::run(&global, &args),
        Command::Risk(args) => risk::run(&global, &args),
        Command::Test(args) => test::run(&global, &args),
        Command::Status => status::run(&global),
        Command::Reload(args) => live::reload(&global, &args),
        Command::Drain => live::drain(&global),
        Command::Health(args) => live::health(&global, &args),
        Command::Ban(args) => ban::run(&global, &args),
        Command::Access(args) => access::run(&global, &args),
        Command::Revoke(args) => revoke::run(&global, &args),
        Command::Session(args) => session::run(&global, &args),
        Command::Geo(args) => geo::run(&global, &args),
        Command::Feed(args) => feed::run(&global, &args),
        Command::Sink(args) => sink::run(&global, &args),
        Command::Alert(args) => alert::run(&global, &args),
        Command::Spike(args) => spike::run(&global, &args),
        Command::Events(args) => events::run(&global, &args),
        Command::Audit(args) => audit::run(&global, &args),
        Command::Key(args) => key::run(&global, &args),
        Command::User(args) => user::run(&global, &args),
        Command::Totp(args) => factor::totp(&global, &args),
        Command::Factor(args) => factor::factor(&global, &args),
        Command::HashPassword => user::hash_password(&global),
        Command::Demo(args) => demo::run(&global, &args),
        Command::Help(args) => help::run(&args),
    };
    exit.into()
}
