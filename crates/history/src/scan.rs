//! Goes over files line by line.

use std::io;
use std::path::PathBuf;

use crate::facts::Facts;
use crate::files::EventFile;
use crate::filter::Filter;
use crate::lines::{Line, Lines};

/// What could not be read. An answer that has some of it may miss events.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Lines longer than any event.
    pub too_long: u64,
    /// Lines that are no events, such as one that a crash cut short.
    pub malformed: u64,
    /// Files that could not be read to their end.
    pub files: Vec<(PathBuf, io::Error)>,
}

impl Trouble {
    /// Whether there was none.
    pub fn is_none(&self) -> bool {
        self.too_long == 0 && self.malformed == 0 && self.files.is_empty()
    }
}

/// Calls `take` with every event of a file that the filter wants.
pub(crate) fn scan(file: &EventFile, filter: &Filter, trouble: &mut Trouble, take: &mut dyn FnMut(Facts, &[u8])) {
    if let Err(error) = try_scan(file, filter, trouble, take) {
        trouble.files.push((file.path.clone(), error));
    }
}

fn try_scan(
    file: &EventFile,
    filter: &Filter,
    trouble: &mut Trouble,
    take: &mut dyn FnMut(Facts, &[u8]),
) -> io::Result<()> {
    let mut lines = Lines::new(file.reader()?);
    loop {
        match lines.next()? {
            // An empty line ends one that a crash left open.
            Line::Whole([]) => {}
            Line::Whole(line) => {
                if !filter.may_want(line) {
                    continue;
                }
                match Facts::of_line(line) {
                    Some(facts) if filter.wants(&facts) => take(facts, line),
                    Some(_) => {}
                    None => trouble.malformed += 1,
                }
            }
            Line::TooLong => trouble.too_long += 1,
            // The gateway is at it; or it was cut short, and then its whole event is nowhere.
            Line::Unfinished(_) | Line::End => return Ok(()),
        }
    }
}
