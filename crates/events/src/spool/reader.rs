//! Reads the spool for one sink, from its cursor on.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::segment::{self, Records};
use super::{Segment, Spool};

/// A place in the spool, and what was found on the way there.
#[derive(Debug)]
pub(crate) struct Reader {
    spool: Arc<Spool>,
    /// The number of the next event to be read.
    next: u64,
    /// The segment that is open.
    open: Option<Open>,
    gaps: Gaps,
    /// Attempts to read that failed, one after another.
    failures: u32,
}

/// After so many attempts what cannot be read is taken to be lost.
const ATTEMPTS: u32 = 3;

#[derive(Debug)]
struct Open {
    first: u64,
    file: File,
    records: Records,
}

/// Events that the sink will never see.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// Their segment was deleted at the bound, before they were read.
    pub(crate) given_up: u64,
    /// Their records are damaged.
    pub(crate) damaged: u64,
}

impl Reader {
    /// Begins where the sink in this place of the spool is.
    pub(crate) fn new(spool: Arc<Spool>, sink: usize) -> Self {
        let state = spool.state();
        let next = state.sinks.get(sink).map_or(state.next, |progress| progress.next);
        drop(state);
        Self { spool, next, open: None, gaps: Gaps::default(), failures: 0 }
    }

    /// The number of the next event: everything before it was read, or is missing.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// What was missed since this was last asked.
    pub(crate) fn take_gaps(&mut self) -> Gaps {
        std::mem::take(&mut self.gaps)
    }

    /// Appends the next line, without a line feed; says its number, or `None` where everything was read.
    pub(crate) fn read(&mut self, lines: &mut Vec<u8>) -> io::Result<Option<u64>> {
        loop {
            let Some((segment, end)) = self.locate() else { return Ok(None) };
            if self.open.as_ref().is_none_or(|open| open.first != segment.first) {
                self.open = match self.open_segment(segment) {
                    Ok(open) => Some(open),
                    // It was deleted at the bound in this very moment, or it is no segment: its events are missing.
                    Err(error) if is_lost(&error) => {
                        self.skip_lost(segment, end, error.kind() == io::ErrorKind::NotFound);
                        continue;
                    }
                    // Not even its name leads anywhere any more.
                    Err(error) if segment::is_unreadable(&error) && self.failures >= ATTEMPTS => {
                        self.failures = 0;
                        self.skip_lost(segment, end, false);
                        continue;
                    }
                    Err(error) => {
                        self.failures += u32::from(segment::is_unreadable(&error));
                        return Err(error);
                    }
                };
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            if self.failures >= ATTEMPTS {
                open.records.pass_over_unreadable();
            }
            let found = open.records.next(&open.file, segment.length).inspect_err(|_| self.failures += 1)?;
            self.failures = 0;
            match found {
                // Of what comes before the cursor only the place matters.
                Some((index, _)) if index < self.next => {}
                Some((index, line)) => {
                    self.gaps.damaged += index - self.next;
                    self.next = index + 1;
                    lines.extend_from_slice(line);
                    return Ok(Some(index));
                }
                // The end of a segment that is written no more: what it should have held as well is damaged.
                None => self.skip_to(end, |gaps, missing| gaps.damaged += missing),
            }
        }
    }

    /// The segment that holds the next event, and the number after its last one; `None` where everything was read.
    fn locate(&mut self) -> Option<(Segment, u64)> {
        let state = self.spool.state();
        if self.next >= state.next {
            return None;
        }
        let oldest = state.oldest();
        if self.next < oldest {
            self.gaps.given_up += oldest - self.next;
            self.next = oldest;
        }
        let at = state.segments.partition_point(|segment| segment.first <= self.next).checked_sub(1)?;
        let segment = state.segments.get(at).copied()?;
        let end = state.segments.get(at + 1).map_or(state.next, |following| following.first);
        Some((segment, end))
    }

    fn open_segment(&self, segment: Segment) -> io::Result<Open> {
        let file = if self.failures >= ATTEMPTS {
            segment::open_scratched(&self.spool.folder, segment.first)?
        } else {
            segment::open_to_read(&self.spool.folder, segment.first)?
        };
        Ok(Open { first: segment.first, file, records: Records::new(segment::HEADER) })
    }

    fn skip_lost(&mut self, segment: Segment, end: u64, deleted: bool) {
        if !deleted {
            tracing::error!(first = segment.first, "a segment of the spool cannot be read");
        }
        self.skip_to(end, |gaps, missing| if deleted { gaps.given_up += missing } else { gaps.damaged += missing });
    }

    fn skip_to(&mut self, end: u64, count: impl FnOnce(&mut Gaps, u64)) {
        count(&mut self.gaps, end.saturating_sub(self.next));
        self.next = self.next.max(end);
    }
}

fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}
