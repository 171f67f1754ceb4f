//! Sessions of browsers.

use jiff::Timestamp;
use portcullis_admin::api::{Done, Problem, Session, Sessions, WhichSessions};
use portcullis_identity::session::SessionEntry;

use super::{Operated, problem, shown};

/// Those that hold.
pub(super) fn list(operated: &Operated) -> Sessions {
    let sessions = operated.running.sessions();
    let (opened, ended) = sessions.counts();
    let entries = sessions.entries(Timestamp::now(), usize::MAX);
    Sessions { sessions: entries.iter().map(shown_session).collect(), opened, ended, more: false }
}

/// Ends some.
pub(super) fn revoke(operated: &Operated, which: &WhichSessions) -> Result<Done, Problem> {
    let sessions = operated.running.sessions();
    let (ended, written) = match (which.id.as_deref(), which.principal.as_deref()) {
        (Some(id), None) if id.len() < 8 => {
            return Err(problem("name at least eight characters of the session's id"));
        }
        (Some(id), None) => sessions.revoke(id),
        (None, Some(principal)) => sessions.revoke_principal(principal),
        (Some(_), Some(_)) | (None, None) => return Err(problem("name a session or a principal")),
    };
    // It opens nothing from now on, whatever the store says.
    let kept = written.wait();
    let Some(first) = ended.first() else { return Err(problem("there is no such session")) };
    tracing::warn!(principal = %first, sessions = ended.len(), "sessions were ended by hand");
    let count = ended.len();
    let what = format!("{count} session{} of {}", if count == 1 { "" } else { "s" }, shown(first));
    match kept {
        Ok(()) => Ok(Done { message: format!("{what} ended") }),
        Err(why) => Err(problem(format!(
            "{what} ended, but the store could not be written, and a restart now would bring it back: {why}"
        ))),
    }
}

/// As the channel shows it.
pub(crate) fn shown_session(entry: &SessionEntry) -> Session {
    Session {
        id: entry.reference.clone(),
        principal: entry.principal.clone(),
        provider: entry.provider.to_string(),
        created: format!("{:.0}", entry.created),
        last_seen: format!("{:.0}", entry.last_seen),
        idle_until: format!("{:.0}", entry.idle_until),
        until: format!("{:.0}", entry.until),
        raised: entry.raised.as_ref().map(|(method, at)| format!("{method} at {at:.0}")),
    }
}
