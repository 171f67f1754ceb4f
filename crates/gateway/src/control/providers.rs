//! Whom credentials are checked with, as the control channel shows it.

use jiff::Timestamp;
use portcullis_admin::api::Provider;

use crate::running::Running;

/// Keys that are fetched, the provider that is asked about tokens, and directories.
pub(super) fn shown(running: &Running) -> Vec<Provider> {
    let time = |time: Option<Timestamp>| time.map(|time| format!("{time:.0}"));
    let keys = running.keys().reports().into_iter().map(|report| Provider {
        name: report.provider.to_string(),
        kind: "keys".to_owned(),
        address: Some(report.address),
        usable: !report.is_missing,
        entries: report.keys as u64,
        answered: time(report.confirmed),
        problem: report.problem,
    });
    let asked = running.introspecting().report().map(|report| Provider {
        name: report.provider.to_string(),
        kind: "introspection".to_owned(),
        address: Some(report.address),
        usable: !report.is_down,
        entries: report.entries as u64,
        answered: time(report.answered),
        problem: report.problem,
    });
    let directories = running.directories().reports().into_iter().map(|report| Provider {
        name: report.name.to_string(),
        kind: "directory".to_owned(),
        address: None,
        usable: report.problem.is_none(),
        entries: report.entries as u64,
        answered: time(report.answered),
        problem: report.problem,
    });
    keys.chain(asked).chain(directories).collect()
}
