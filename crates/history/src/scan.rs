//! Goes over files line by line.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::facts::Facts;
use crate::index::IndexError;
use crate::lines::{Line, Lines};
use crate::plan::Part;

/// What could not be read. An answer that has some of it may miss events.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Lines longer than any event.
    pub too_long: u64,
    /// Lines that are no events, such as one that a crash cut short.
    pub malformed: u64,
    /// Files that could not be read to their end.
    pub files: Vec<(PathBuf, io::Error)>,
    /// Why the index was not used: files were read as a whole then, and nothing is missed.
    pub index: Option<IndexError>,
}

impl Trouble {
    /// Whether there was none.
    pub fn is_none(&self) -> bool {
        self.too_long == 0 && self.malformed == 0 && self.files.is_empty() && self.index.is_none()
    }
}

/// Calls `take` with every event of a part of a file that is wanted.
pub(crate) fn scan(part: &Part<'_>, trouble: &mut Trouble, take: &mut dyn FnMut(Facts, &[u8])) {
    let mut take_all = |facts: Facts, line: &[u8]| {
        take(facts, line);
        ControlFlow::Continue(())
    };
    // It never has enough.
    let _ = scan_while(part, trouble, &mut take_all);
}

/// The same until `take` has had enough: then it breaks, too.
pub(crate) fn scan_while(
    part: &Part<'_>,
    trouble: &mut Trouble,
    take: &mut dyn FnMut(Facts, &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    try_scan(part, trouble, take).unwrap_or_else(|error| {
        trouble.files.push((part.file.path.clone(), error));
        ControlFlow::Continue(())
    })
}

fn try_scan(
    part: &Part<'_>,
    trouble: &mut Trouble,
    take: &mut dyn FnMut(Facts, &[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut lines = Lines::new(part.file.reader(part.from)?, part.from);
    while lines.offset() < part.to {
        match lines.next()? {
            // An empty line ends one that a crash left open.
            Line::Whole(_, []) => {}
            Line::Whole(_, line) => {
                if !part.filter.may_want(line) {
                    continue;
                }
                match Facts::of_line(line) {
                    Some(facts) if part.filter.wants(&facts) => {
                        if take(facts, line).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    Some(_) => {}
                    None => trouble.malformed += 1,
                }
            }
            Line::TooLong => trouble.too_long += 1,
            // The gateway is at it; or it was cut short, and then its whole event is nowhere.
            Line::Unfinished(_) | Line::End => break,
        }
    }
    Ok(ControlFlow::Continue(()))
}
