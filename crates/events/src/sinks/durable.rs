//! When what was written to a file is forced to the disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::beside::folder_of;
use crate::settings::Fsync;

/// What is known of one file.
#[derive(Debug, Clone)]
pub(crate) struct Durability {
    policy: Fsync,
    interval: Duration,
    /// Since when something has been written that is not on the disk yet.
    since: Option<Instant>,
    /// After a failed attempt, when the next one is made where nothing else asks for it.
    not_before: Option<Instant>,
}

/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Durability {
    /// Nothing was written yet.
    pub(crate) fn new(policy: Fsync, interval: Duration) -> Self {
        Self { policy, interval, since: None, not_before: None }
    }

    /// For what is no file on a disk.
    pub(crate) fn none() -> Self {
        Self::new(Fsync::Never, Duration::ZERO)
    }

    /// The same for another file.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(self.policy, self.interval)
    }

    /// Whether anything is ever forced to the disk.
    pub(crate) fn is_wanted(&self) -> bool {
        self.policy != Fsync::Never
    }

    /// Something was written.
    pub(crate) fn wrote(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// After each batch.
    pub(crate) fn flush(&mut self, file: &File) -> io::Result<()> {
        let now = match self.policy {
            Fsync::Always => true,
            Fsync::Interval => self.due().is_some_and(|due| due <= Instant::now()),
            Fsync::Never => false,
        };
        if now { self.sync(file) } else { Ok(()) }
    }

    /// Forces it to the disk, unless it is there or is never to be. After an error nobody knows what is there: the system tells it once,
    /// and takes what it could not write for written.
    pub(crate) fn sync(&mut self, file: &File) -> io::Result<()> {
        if self.policy == Fsync::Never || self.since.is_none() {
            return Ok(());
        }
        file.sync_data().inspect_err(|_| self.not_before = Some(Instant::now() + PAUSE))?;
        (self.since, self.not_before) = (None, None);
        Ok(())
    }

    /// When it is to be forced to the disk if nothing more is written.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.policy {
            Fsync::Always | Fsync::Never => None,
            Fsync::Interval => {
                let due = self.since.map(|since| since + self.interval);
                due.map(|due| self.not_before.map_or(due, |pause| due.max(pause)))
            }
        }
    }
}

/// Makes sure that the name of a file that was made, renamed or removed is on the disk as it is now. Where a folder may not be read, or its
/// file system forces no folder to the disk, nothing more can be done than is.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let synced = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    match synced {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput
            ) =>
        {
            tracing::debug!(path = %path.display(), %error, "a folder is not forced to the disk");
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_forces_when_it_says() {
        let file = tempfile::tempfile().unwrap();
        let day = Duration::from_secs(86_400);
        for (policy, interval, due, left) in [
            (Fsync::Always, day, false, false),
            (Fsync::Interval, day, true, true),
            (Fsync::Interval, Duration::ZERO, true, false),
            (Fsync::Never, day, false, true),
        ] {
            let mut durability = Durability::new(policy, interval);
            assert!(durability.due().is_none());
            durability.wrote();
            assert_eq!(durability.due().is_some(), due, "{policy:?}");
            durability.flush(&file).unwrap();
            assert_eq!(durability.since.is_some(), left, "{policy:?}");
        }
    }
}
