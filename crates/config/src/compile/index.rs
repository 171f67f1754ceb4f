//! Which file the index is of, and where it is.

use std::path::{Path, PathBuf};

use portcullis_events::settings::Settings;
use portcullis_history::IndexSettings;

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::file::Index;
use crate::section::Reader;

pub(crate) fn compile(reader: &Reader<'_>, index: Option<Index>, events: &Settings) -> Option<IndexSettings> {
    let index = index?;
    let Some(file) = events.event_file() else {
        let message = "`[index]` is of a file of native events, and there is no sink of kind \"file\"";
        let help = "add one, or write `enabled = false`";
        reader.report(Diagnostic::error(codes::CONFLICT, index.at, message).with_help(help));
        return None;
    };
    let events = file.path.to_owned();
    let path = index.path.map_or_else(|| beside(&events), |path| path.value.path);
    let max_bytes = u64::try_from(index.max_size).unwrap_or(u64::MAX);
    Some(IndexSettings { path, events, max_age: index.max_age, max_bytes })
}

fn beside(events: &Path) -> PathBuf {
    let mut name = events.as_os_str().to_owned();
    name.push(".index");
    name.into()
}
