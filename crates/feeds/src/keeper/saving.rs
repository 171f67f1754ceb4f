//! What is kept of a feed on disk.

use std::io;
use std::path::Path;

use crate::feed::{Feed, Now};
use crate::store::{self, Kind};

/// Writes the list in force.
pub(super) fn save(folder: &Path, feed: &mut Feed, now: Now) -> io::Result<()> {
    let Some(saved) = feed.saved() else { return Ok(()) };
    store::save(folder, &feed.settings, Kind::Good, &saved)?;
    if let Some(current) = feed.current.as_mut() {
        current.saved = now.steady;
    }
    Ok(())
}

/// Writes the list before the one in force, where there is one.
pub(super) fn save_before(folder: &Path, feed: &Feed) -> io::Result<()> {
    match &feed.before {
        Some(before) => store::save(folder, &feed.settings, Kind::Before, before),
        None => store::remove(folder, &feed.settings.name, Kind::Before),
    }
}

/// Writes the list that updates are compared with; says what is wrong with that, for a message.
pub(super) fn save_base(folder: &Path, feed: &Feed) -> String {
    let saved = feed.saved_base().map(|saved| store::save(folder, &feed.settings, Kind::Base, &saved));
    match saved {
        Some(Err(error)) => format!("; what it is compared with could not be kept on disk: {error}"),
        Some(Ok(())) | None => String::new(),
    }
}

/// Writes what came of the lists that the configuration accepts; says what is wrong with that, for a message.
pub(super) fn save_acceptance(folder: &Path, feed: &Feed) -> String {
    let saved = feed.acceptance.save(folder, &feed.settings);
    saved
        .err()
        .map_or_else(String::new, |error| format!("; what it takes the place of could not be kept on disk: {error}"))
}
