//! One snapshot of all that a request is decided by, out of what was read.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use portcullis_config::Loaded;
use portcullis_identity::Authenticator;
use portcullis_identity::session::Sessions;
use portcullis_proxy::Snapshot;
use portcullis_proxy::settings::ShutdownSettings;
use portcullis_store::{Database, KeptSessions, RestoredSessions};

use super::StartError;
use crate::governing::{Asked, Governing, Number, Overtaken};
use crate::revoking::Revoking;
use crate::spiking::parts_of;

/// The names and the content of all files that a configuration was made of. A file that changed since it was read, or that cannot be
/// read now, gives another one: then the answer is that something differs.
pub(super) fn digest(loaded: &Loaded) -> String {
    let mut digest = Context::new(&SHA256);
    for file in &loaded.files {
        let content = std::fs::read(file).unwrap_or_default();
        let name = file.as_os_str().as_encoded_bytes();
        for part in [name, &content] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    data_encoding::HEXLOWER.encode(digest.finish().as_ref())
}

/// As whose what a start finds is noted.
pub(super) const STARTED: &str = "files";

/// Which version a configuration is, and who wanted it where it is a new one.
pub(super) struct Noted<'n> {
    pub(super) governing: Option<&'n Governing>,
    pub(super) number: Number,
    pub(super) asked: &'n Asked,
}

impl Noted<'_> {
    fn number(&self, loaded: &Loaded) -> Result<Option<u64>, Overtaken> {
        match (self.governing, &self.number) {
            (_, Number::None) | (None, Number::Noted(..)) => Ok(None),
            (governing, Number::Known(n)) => {
                governing.inspect(|governing| governing.is_kept());
                Ok(Some(*n))
            }
            (Some(governing), Number::Noted(class, as_of)) => governing.note(loaded, (*class, *as_of), self.asked),
        }
    }
}

/// From when on no other process accepts what this one does. One before that has not ended may drain as long as this one may.
pub(super) fn alone_from(is_beside: bool, shutdown: &ShutdownSettings) -> Timestamp {
    let now = Timestamp::now();
    let draining = if is_beside { shutdown.delay.saturating_add(shutdown.grace) } else { Duration::ZERO };
    now.checked_add(draining).unwrap_or(Timestamp::MAX)
}

/// `before`: what was in force until now, whose keys go on. `sessions`: those of the process.
pub(super) fn snapshot(
    mut loaded: Loaded,
    before: Option<&Authenticator>,
    revoking: &Revoking,
    sessions: &Arc<Sessions>,
    noted: Noted<'_>,
) -> Result<Snapshot, StartError> {
    let parts = parts_of(&loaded);
    let authenticator = Authenticator::new(std::mem::take(&mut loaded.identity)).map_err(StartError::Identity)?;
    let mut authenticator = authenticator.with_revocations(Arc::clone(revoking.all()));
    if let Some(before) = before {
        authenticator.adopt(before);
    }
    // Only now: what cannot be used was never live.
    let number = noted.number(&loaded)?;
    if let Some(n) = number {
        loaded.policy = loaded.policy.numbered(n);
    }
    authenticator.use_sessions(sessions);
    let snapshot = Snapshot::new(Arc::new(loaded.policy), loaded.proxy, authenticator);
    Ok(snapshot.compiled_around(&[parts.routes, parts.others].concat()))
}

/// Takes up the sessions that the store has, and keeps them there from now on. Those of a provider that is asked again now and then are not
/// taken up: what to ask with was in memory alone.
pub(super) fn keep_sessions(
    database: &Database,
    snapshot: &Snapshot,
    sessions: &Arc<Sessions>,
) -> Result<Arc<KeptSessions>, StartError> {
    let now = Timestamp::now();
    let mut restored = RestoredSessions::open(database, now)?;
    let relying = snapshot.authenticator.relying();
    let is_asked = |provider: &str| relying.named(provider).is_some_and(|party| party.settings().refresh.is_some());
    let saved = std::mem::take(&mut restored.sessions).into_iter().filter(|saved| !is_asked(&saved.provider));
    let count = sessions.restore(saved, now);
    if count > 0 {
        tracing::info!(sessions = count, "the sessions of before are open");
    }
    KeptSessions::start(restored, sessions).map_err(StartError::Keeping)
}
