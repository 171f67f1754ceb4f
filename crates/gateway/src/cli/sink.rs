//! `sink test`: has a sink of the running gateway deliver something.

use portcullis_admin::api::{SinkName, SinkTested};

use crate::cli::args::{Global, SinkArgs, SinkCommand};
use crate::cli::live::{ask, safe, show};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &SinkArgs) -> Exit {
    match &args.command {
        SinkCommand::Test { name } => test(global, name).unwrap_or_else(|exit| exit),
    }
}

fn test(global: &Global, name: &str) -> Result<Exit, Exit> {
    let sink = SinkName { name: name.to_owned() };
    let tested: SinkTested = ask(global, async |client| client.post("/v1/sinks/test", &sink).await)?;
    show(global, &tested, || {
        let line = tested.line.as_deref().map(|line| format!("\n{}", safe(line))).unwrap_or_default();
        format!("{}: {}\nevent {}{line}", safe(name), safe(&tested.message), safe(&tested.id))
    });
    Ok(if tested.delivered { Exit::Success } else { Exit::Negative })
}
