//! What `[governance]` and `[backup]` need: a store.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use portcullis_governance::Rules;
use portcullis_governance::backup::{BackupKey, Settings};

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::file::{Backup, Governance};
use crate::governed::Governed;
use crate::section::Reader;

/// Of the file of a key no more is read, in bytes.
const MAX_KEY: u64 = 4 << 10;

pub(crate) fn compile(
    reader: &Reader<'_>,
    governance: &Governance,
    store: Option<&portcullis_store::Settings>,
    keeps_requests: bool,
) -> Rules {
    if let (Some(at), None) = (governance.required_at, store) {
        let message = "approvals are kept in the store, and there is none";
        let help = "add `[store]`, so that versions and approvals survive a restart";
        reader.report(Diagnostic::error(codes::CONFLICT, at, message).with_help(help));
    }
    if let Some(at) = governance.stages_at {
        let conflict = |message: &str, help: &str| {
            reader.report(Diagnostic::error(codes::CONFLICT, at, message).with_help(help.to_owned()));
        };
        if store.is_none() {
            let help = "add `[store]`, so that a version goes on from there after a restart";
            conflict("how far a version has come is kept in the store, and there is none", help);
        }
        if !keeps_requests {
            let help = "remove `enabled = false` from `[sample]`";
            conflict("a version is tried on the requests that are kept, and none are", help);
        }
    }
    governance.rules
}

/// Names at most that many of what it is about.
const MOST_NAMED: usize = 10;

/// Says that values of the environment are approved as much as the files are: whoever starts the gateway with another one has it not start.
pub(crate) fn report_variables(reader: &Reader<'_>, governance: &Governance, governed: &Governed) {
    let Some(at) = governance.required_at.filter(|_| !governed.variables.is_empty()) else { return };
    let mut names: Vec<String> =
        governed.variables.iter().take(MOST_NAMED).map(|name| format!("`${{{name}}}`")).collect();
    if let Some(more) = governed.variables.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    let message = format!(
        "approvals are required, and in what needs them stand variables of the environment: {}; their values are approved, too",
        names.join(", ")
    );
    let help = "write the values into the files; or give the same ones at every start, and to whoever proposes: with others the gateway does not start";
    reader.report(Diagnostic::warning(codes::GOVERNED_VARIABLES, at, message).with_help(help));
}

pub(crate) fn compile_backup(
    reader: &Reader<'_>,
    backup: Option<Backup>,
    store: Option<&portcullis_store::Settings>,
) -> Option<Settings> {
    let backup = backup?;
    let Some(store) = store else {
        let message = "there is no store to make backups of";
        reader.report(
            Diagnostic::error(codes::CONFLICT, backup.at, message).with_help("add `[store]`, or remove `[backup]`"),
        );
        return None;
    };
    let path = backup.path.map_or_else(|| store.path.with_file_name("backups"), |path| path.path);
    let key =
        backup.key.map(|(at, key)| {
            if let Err(why) = backup_key(&key) {
                let message = format!("no backup can be made with this key: {why}");
                // A gateway that serves without backups serves: each that is due fails, and says so.
                reader.report(Diagnostic::warning(codes::BACKUP_KEY, at, message).with_help(
                    "make one with `portcullis backup keygen --out FILE`, or put the one that there was back",
                ));
            }
            key
        });
    Some(Settings { path, every: backup.every, keep: backup.keep, key })
}

/// Whether a file holds a key of backups.
fn backup_key(file: &Path) -> Result<(), String> {
    let mut text = String::new();
    let is_file = fs::metadata(file).map_err(|error| error.to_string())?.is_file();
    if !is_file {
        return Err("it is no file".to_owned());
    }
    let read = fs::File::open(file).and_then(|file| file.take(MAX_KEY).read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    BackupKey::from_text(&text).map(drop).ok_or_else(|| "it is no key of `portcullis backup keygen`".to_owned())
}
