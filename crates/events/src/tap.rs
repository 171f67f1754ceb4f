//! Somebody who looks on while events are recorded. Unlike a sink it keeps nothing, is never waited for, and costs nothing while
//! it does not look.

use std::fmt;

/// Looks on at what at least one sink has room for. Its methods are called in the recorder's one thread, so they must not wait for
/// anything.
pub trait Tap: fmt::Debug + Send + Sync {
    /// Whether it looks at this moment.
    fn is_looking(&self) -> bool;

    /// One native line, without its line feed.
    fn see(&self, line: &[u8]);
}
