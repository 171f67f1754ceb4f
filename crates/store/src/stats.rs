//! How the store does, for metrics and whoever asks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// How the store does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// The file.
    pub path: PathBuf,
    /// Transactions that were written.
    pub written: u64,
    /// Transactions that were not.
    pub failed: u64,
    /// Rows that were written or removed.
    pub rows: u64,
    /// Records that have changed and are not written yet.
    pub pending: usize,
    /// When something was last written, by the time of day.
    pub last_written: Option<Timestamp>,
    /// Why the last transaction was not written; `None` where it was.
    pub trouble: Option<Arc<str>>,
    /// The size on disk, what was written ahead included.
    pub bytes: u64,
}

/// What the thread counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) rows: AtomicU64,
    /// Microseconds since 1970; 0 for never.
    pub(crate) last_written: AtomicI64,
    /// 1 while changes may have been taken from the engine that are not written yet.
    pub(crate) under_way: AtomicUsize,
    trouble: Mutex<Option<Arc<str>>>,
}

impl Counts {
    pub(crate) fn stats(&self, path: &Path, pending: usize) -> StoreStats {
        let last = self.last_written.load(Ordering::Relaxed);
        StoreStats {
            path: path.to_owned(),
            written: self.written.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            pending: pending + self.under_way.load(Ordering::SeqCst),
            last_written: Some(last).filter(|last| *last != 0).and_then(|last| Timestamp::from_microsecond(last).ok()),
            trouble: self.trouble(),
            bytes: bytes(path),
        }
    }

    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the last transaction went, and returns how the one before did.
    pub(crate) fn set_trouble(&self, trouble: Option<Arc<str>>) -> Option<Arc<str>> {
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble)
    }
}

/// The sizes of the file and of the log beside it.
fn bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    size(path) + size(Path::new(&log))
}
