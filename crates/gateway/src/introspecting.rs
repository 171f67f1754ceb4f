//! What has providers asked about opaque tokens, beside the requests: on the thread that fetches keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_identity::Authenticator;
use portcullis_identity::introspection::{Introspection, IntrospectionNotice, IntrospectionReport};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::running::Running;

/// How often it is seen to that the provider is still asked.
const LOOK: Duration = Duration::from_secs(1);

/// The provider of the configuration in force that is asked, if there is one. No request asks for the lock.
#[derive(Debug)]
pub(crate) struct Introspecting {
    wanted: Mutex<Option<Arc<Introspection>>>,
    changed: Notify,
}

impl Introspecting {
    /// That of a configuration; nobody asks it yet.
    pub(crate) fn new(authenticator: &Authenticator) -> Self {
        Self { wanted: Mutex::new(authenticator.introspection().cloned()), changed: Notify::new() }
    }

    /// Has that of another configuration asked from now on.
    pub(crate) fn watch(&self, authenticator: &Authenticator) {
        *self.wanted() = authenticator.introspection().cloned();
        self.changed.notify_one();
    }

    /// How it is.
    pub(crate) fn report(&self) -> Option<IntrospectionReport> {
        self.wanted().as_ref().map(|introspection| introspection.report())
    }

    fn wanted(&self) -> MutexGuard<'_, Option<Arc<Introspection>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A provider that is asked. Dropping it ends that.
struct Asked {
    introspection: Arc<Introspection>,
    task: JoinHandle<()>,
}

impl Asked {
    fn begin(running: &Arc<Running>, introspection: Arc<Introspection>) -> Self {
        let (running, asked) = (Arc::clone(running), Arc::clone(&introspection));
        let task = tokio::spawn(async move {
            asked.run(&Timestamp::now, &|notice| running.tell_of_introspection(notice)).await;
        });
        Self { introspection, task }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Has the provider asked that is wanted, for as long as it is polled.
pub(crate) async fn keep(running: &Arc<Running>) {
    let introspecting = running.introspecting();
    let mut asked: Option<Asked> = None;
    loop {
        let wanted = introspecting.wanted().clone();
        // One that ended did so by a panic, which was reported where it happened.
        let is_wanted = |asked: &Asked| {
            wanted.as_ref().is_some_and(|wanted| Arc::ptr_eq(wanted, &asked.introspection)) && !asked.task.is_finished()
        };
        asked = asked.filter(is_wanted);
        if asked.is_none() {
            asked = wanted.map(|wanted| Asked::begin(running, wanted));
        }
        if asked.is_none() {
            introspecting.changed.notified().await;
        } else {
            tokio::select! {
                () = introspecting.changed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

impl Running {
    /// One event, and a line in the log.
    fn tell_of_introspection(&self, notice: IntrospectionNotice) {
        let kind = if notice.recovered {
            tracing::info!(provider = %notice.provider, "{}", notice.message);
            EventKind::IntrospectionRecovered
        } else {
            tracing::error!(provider = %notice.provider, "{}", notice.message);
            EventKind::IntrospectionFailed
        };
        let mut event = self.event(kind, notice.message);
        event.policy.rule = Some(notice.provider);
        self.shared().recorder.record(event);
    }
}
