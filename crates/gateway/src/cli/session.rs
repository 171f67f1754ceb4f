//! `session`: the sessions of browsers at a running gateway.

use portcullis_admin::api::{Done, Session, Sessions, WhichSessions};

use crate::cli::args::{Global, SessionArgs, SessionCommand, SessionRevokeArgs};
use crate::cli::live::{ask, safe, show};
use crate::cli::table::table;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &SessionArgs) -> Exit {
    let done = match &args.command {
        SessionCommand::List => list(global),
        SessionCommand::Revoke(args) => revoke(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(global: &Global) -> Result<Exit, Exit> {
    let sessions: Sessions = ask(global, async |client| client.get("/v1/sessions").await)?;
    show(global, &sessions, || {
        if sessions.sessions.is_empty() { "nobody is logged in".to_owned() } else { rows(&sessions.sessions) }
    });
    Ok(Exit::Success)
}

fn rows(sessions: &[Session]) -> String {
    let row = |session: &Session| {
        [
            safe(&session.id),
            safe(&session.principal),
            safe(&session.provider),
            safe(&session.created),
            safe(&session.last_seen),
            safe(&session.until),
            session.raised.as_deref().map_or_else(|| "-".to_owned(), safe),
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    table(["ID", "PRINCIPAL", "LOGIN", "OPENED", "LAST USED", "UNTIL", "FACTOR"], &rows)
}

fn revoke(global: &Global, args: &SessionRevokeArgs) -> Result<Exit, Exit> {
    let principal =
        args.user.as_ref().map(|user| if user.contains(':') { user.clone() } else { format!("user:{user}") });
    let which = WhichSessions { id: args.id.clone(), principal };
    let done: Done = ask(global, async |client| client.post("/v1/sessions/revoke", &which).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}
