//! `session`: the sessions of browsers at a running gateway.

use jiff::Timestamp;
use portcullis_admin::api::{Done, Session, Sessions, WhichSessions};
use portcullis_identity::session::Sessions as Table;
use portcullis_store::kept_sessions;

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Global, OfflineArgs, SessionArgs, SessionCommand, SessionRevokeArgs};
use crate::cli::live::{ask, ask_or_look_unless, show};
use crate::cli::output::remark;
use crate::control::session::shown_session;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &SessionArgs) -> Exit {
    let done = match &args.command {
        SessionCommand::List(offline) => list(global, *offline),
        SessionCommand::Revoke(args) => revoke(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(global: &Global, OfflineArgs { offline }: OfflineArgs) -> Result<Exit, Exit> {
    let sessions: Sessions =
        ask_or_look_unless(global, offline, async |client| client.get("/v1/sessions").await, kept)?;
    if sessions.more {
        remark("note: there are more than these");
    }
    show(global, &sessions, || {
        if sessions.sessions.is_empty() { "nobody is logged in".to_owned() } else { rows(&sessions.sessions) }
    });
    Ok(Exit::Success)
}

/// Those that a store holds: a gateway that starts on it opens them, but for those whose provider is asked anew at a start.
fn kept(store: &portcullis_store::Settings) -> Result<Sessions, String> {
    let now = Timestamp::now();
    let saved = kept_sessions(store, now).map_err(|error| error.to_string())?;
    let table = Table::default();
    table.restore(saved, now);
    let sessions = table.entries(now, usize::MAX).iter().map(shown_session).collect();
    Ok(Sessions { sessions, opened: 0, ended: 0, more: false })
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
