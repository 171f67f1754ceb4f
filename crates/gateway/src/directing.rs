//! What has directories asked, beside the requests: on the thread that fetches keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_identity::Authenticator;
use portcullis_identity::directory::{Directory, DirectoryHost, DirectoryNotice, DirectoryNoticeKind, DirectoryReport};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::running::Running;

/// How often it is seen to that each directory is still asked.
const LOOK: Duration = Duration::from_secs(1);

/// The directories of the configuration in force. No request asks for the lock.
#[derive(Debug)]
pub(crate) struct Directories {
    wanted: Mutex<Vec<Arc<Directory>>>,
    changed: Notify,
}

impl Directories {
    /// Those of a configuration; nobody asks them yet.
    pub(crate) fn new(authenticator: &Authenticator) -> Self {
        Self { wanted: Mutex::new(authenticator.directories().to_vec()), changed: Notify::new() }
    }

    /// Has those of another configuration asked from now on.
    pub(crate) fn watch(&self, authenticator: &Authenticator) {
        *self.wanted() = authenticator.directories().to_vec();
        self.changed.notify_one();
    }

    /// How each of them is.
    pub(crate) fn reports(&self) -> Vec<DirectoryReport> {
        self.wanted().iter().map(|directory| directory.report()).collect()
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<Arc<Directory>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory that is asked. Dropping it ends that.
struct Asked {
    directory: Arc<Directory>,
    task: JoinHandle<()>,
}

impl Asked {
    fn begin(running: &Arc<Running>, directory: Arc<Directory>) -> Self {
        let (running, asked) = (Arc::clone(running), Arc::clone(&directory));
        let task = tokio::spawn(async move {
            asked.run(DirectoryHost { clock: &Timestamp::now, tell: &|notice| running.tell_of_directory(notice) }).await
        });
        Self { directory, task }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Has the directories asked that are wanted, for as long as it is polled.
pub(crate) async fn keep(running: &Arc<Running>) {
    let directories = running.directories();
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        let wanted = directories.wanted().clone();
        // One that ended did so by a panic, which was reported where it happened.
        let is_wanted = |asked: &Asked| wanted.iter().any(|directory| Arc::ptr_eq(directory, &asked.directory));
        asked.retain(|asked| is_wanted(asked) && !asked.task.is_finished());
        for directory in wanted.iter() {
            if !asked.iter().any(|asked| Arc::ptr_eq(&asked.directory, directory)) {
                asked.push(Asked::begin(running, Arc::clone(directory)));
            }
        }
        if asked.is_empty() {
            directories.changed.notified().await;
        } else {
            tokio::select! {
                () = directories.changed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

impl Running {
    /// One event, and a line in the log.
    fn tell_of_directory(&self, notice: DirectoryNotice) {
        let kind = match notice.kind {
            DirectoryNoticeKind::Failed => {
                tracing::error!(directory = %notice.directory, "{}", notice.message);
                EventKind::DirectoryFailed
            }
            DirectoryNoticeKind::Recovered => {
                tracing::info!(directory = %notice.directory, "{}", notice.message);
                EventKind::DirectoryRecovered
            }
        };
        self.record_notice(kind, &notice.directory, &notice.message);
    }
}
