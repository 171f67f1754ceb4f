//! Somebody who looks on while events are recorded. Unlike a sink it keeps nothing, is never waited for, and costs nothing while
//! it does not look.

use std::fmt;

use crate::event::Event;

/// Looks on at what at least one sink has room for. Its methods are called in the recorder's one thread, so they must not wait for
/// anything.
pub trait Tap: fmt::Debug + Send + Sync {
    /// Whether it looks at this moment.
    fn is_looking(&self) -> bool;

    /// One native line, without its line feed.
    fn see(&self, line: &[u8]);
}

/// Watches what is recorded, event by event, whether or not a sink takes it. Its methods are called where the event is numbered, in the
/// recorder's one thread, also of an event that no sink takes; where many of those wait already, by whoever records it. They must not wait for anything.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Whether it looks at this moment.
    fn is_looking(&self) -> bool;

    /// One event.
    fn see(&self, event: &Event);
}
