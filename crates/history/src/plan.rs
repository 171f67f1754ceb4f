//! How the events of some files are found: out of the index as far as it goes, and by reading for the rest. Either way the answer is the
//! same.

use jiff::Timestamp;

use crate::files::EventFile;
use crate::filter::Filter;
use crate::index::{Index, IndexError};

/// A part of a file that is read.
#[derive(Debug)]
pub(crate) struct Part<'f> {
    pub(crate) file: &'f EventFile,
    /// From this offset of its content,
    pub(crate) from: u64,
    /// up to this one.
    pub(crate) to: u64,
    /// What is wanted of it.
    pub(crate) filter: Filter,
}

/// What is read, and what is asked of the index.
#[derive(Debug, Default)]
pub(crate) struct Plan<'f> {
    pub(crate) parts: Vec<Part<'f>>,
    /// The files that the index is asked about, by their numbers in it.
    pub(crate) indexed: Vec<(i64, &'f EventFile)>,
    /// Lines of these that could not be read when they were indexed: too long ones, and others.
    pub(crate) unreadable: (u64, u64),
}

impl<'f> Plan<'f> {
    /// Everything is read.
    pub(crate) fn reading(files: &'f [EventFile], filter: &Filter) -> Self {
        let whole = |file| Part { file, from: 0, to: u64::MAX, filter: filter.clone() };
        Self { parts: candidates(files, filter).map(whole).collect(), ..Self::default() }
    }

    /// Only what is not in the index is read.
    ///
    /// # Errors
    /// An index that cannot be used.
    pub(crate) fn with(index: &Index, files: &'f [EventFile], filter: &Filter) -> Result<Self, IndexError> {
        let mut plan = Self::default();
        let pruned = index.pruned_before;
        for file in candidates(files, filter) {
            let Some(known) = index.known(file)? else {
                plan.parts.push(Part { file, from: 0, to: u64::MAX, filter: filter.clone() });
                continue;
            };
            plan.indexed.push((known.id, file));
            plan.unreadable.0 += known.too_long;
            plan.unreadable.1 += known.malformed;
            if !known.is_all_of(file) {
                plan.parts.push(Part { file, from: known.indexed, to: u64::MAX, filter: filter.clone() });
            }
            // What the index has given up is still in the file.
            let wants_older = filter.since.is_none_or(|since| since.as_microsecond() < pruned);
            if wants_older && file.may_hold(None, Some(pruned)) {
                let pruned = Timestamp::from_microsecond(pruned).unwrap_or(Timestamp::MIN);
                let until = Some(filter.until.map_or(pruned, |until| until.min(pruned)));
                plan.parts.push(Part { file, from: 0, to: known.indexed, filter: Filter { until, ..filter.clone() } });
            }
        }
        Ok(plan)
    }

    /// The plan with the index where it can be used; and why it cannot.
    pub(crate) fn best(
        index: Option<&Index>,
        files: &'f [EventFile],
        filter: &Filter,
    ) -> (Self, Result<(), IndexError>) {
        match index.map(|index| Self::with(index, files, filter)) {
            None => (Self::reading(files, filter), Ok(())),
            Some(Ok(plan)) => (plan, Ok(())),
            Some(Err(error)) => (Self::reading(files, filter), Err(error)),
        }
    }

    pub(crate) fn numbers(&self) -> Vec<i64> {
        self.indexed.iter().map(|(number, _)| *number).collect()
    }

    pub(crate) fn file(&self, number: i64) -> Option<&'f EventFile> {
        self.indexed.iter().find(|(known, _)| *known == number).map(|(_, file)| *file)
    }
}

fn candidates<'f>(files: &'f [EventFile], filter: &Filter) -> impl Iterator<Item = &'f EventFile> {
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    let (since, until) = (micros(filter.since), micros(filter.until));
    files.iter().filter(move |file| file.may_hold(since, until))
}
