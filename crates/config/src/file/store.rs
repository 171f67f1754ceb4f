//! `[store]`: what survives a restart.

use crate::kinds::{FilePath, Flag, ResolvedPath};
use crate::section::Section;

/// `[store]`, where it is on.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None`: where it is by default.
    pub(crate) path: Option<ResolvedPath>,
}

/// `None`: everything is kept in memory.
pub(crate) fn read_store(root: &Section<'_>) -> Option<Store> {
    let section = root.table("store")?;
    let enabled = section.or("enabled", Flag, true);
    let path = section.optional("path", FilePath);
    section.finish();
    enabled.then_some(Store { path: path.map(|path| path.value) })
}
