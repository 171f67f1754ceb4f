//! Finds recorded events again: searches and counts what the event files hold.
//!
//! It reads the native lines that the file sinks wrote, in the files as they are, rotated and compressed ones included, in bounded
//! memory and without a running gateway. What is asked for is a [`Filter`]; of each line only the [`Facts`] that filters and counts
//! need are read, and a line that cannot be read is counted, never passed over in silence.
//!
//! An [`Index`] of the files, which the gateway keeps where it is configured, makes the same answers quick.
//!
//! It deliberately judges nothing, and writes nothing but that index.

mod facts;
mod files;
mod filter;
mod index;
mod lines;
mod parts;
mod plan;
mod scan;
mod search;
mod stats;

pub use facts::Facts;
pub use files::{EventFile, files_of, for_each_line, for_each_line_of};
pub use filter::Filter;
pub use index::{Index, IndexError, IndexSettings, Indexer};
pub use parts::{Cursor, Part, for_each_event, search_part};
pub use scan::Trouble;
pub use search::{Found, search};
pub use stats::{Count, Stats, Tally, stats};
