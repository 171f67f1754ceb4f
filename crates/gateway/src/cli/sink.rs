//! `sink test`: has a sink of the running gateway deliver something.

use portcullis_admin::api::{SinkName, SinkTested};

use crate::answers::terminal::safe;
use crate::cli::args::{Global, SinkArgs, SinkCommand};
use crate::cli::live::{ask, show};
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
        let told = format!("{}: {}\nevent {}", safe(name), safe(&tested.message), safe(&tested.id));
        // A gateway of an older version says only what the native line is.
        let sent = tested.wire.as_deref().or(tested.line.as_deref());
        sent.into_iter().flat_map(str::lines).fold(told, |told, line| told + "\n  " + &safe(line))
    });
    Ok(if tested.delivered { Exit::Success } else { Exit::Negative })
}
