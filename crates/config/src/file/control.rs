//! `[control]`: the socket over which operators ask a running gateway.

use crate::diagnostics::At;
use crate::kinds::{FilePath, Flag, Name, ResolvedPath};
use crate::section::Section;

/// `[control]`, where it is on.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// `None`: the place by default.
    pub(crate) socket: Option<At<ResolvedPath>>,
    /// A name or a number.
    pub(crate) group: Option<String>,
}

/// `None`: switched off.
pub(crate) fn read_control(root: &Section<'_>) -> Option<Control> {
    let Some(section) = root.table("control") else { return Some(Control::default()) };
    let enabled = section.or("enabled", Flag, true);
    let socket = section.optional("socket", FilePath);
    let group = section.optional("group", Name).map(|group| group.value);
    section.finish();
    enabled.then_some(Control { socket, group })
}
