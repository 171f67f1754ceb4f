//! Reads the configuration: TOML parsed strictly, compiled to each crate's typed settings and to one policy.
//!
//! All problems of all files are found in one run, each with its file, line, column and remedy ([`Report`]), and nothing
//! is handed out while there is an error. It deliberately starts nothing, listens nowhere and prints nothing. The shape
//! of TOML lives here alone: other crates see plain values.

mod cases;
pub mod codes;
mod compile;
mod diagnostics;
mod document;
mod draft;
mod edit_key;
mod environment;
mod file;
mod format;
mod governed;
mod include;
mod kinds;
mod load;
mod membership;
mod naming;
mod network_file;
mod new_key;
pub mod pages;
mod pem;
mod render;
mod schema;
mod section;
mod suggest;
mod suggestion;
mod user_edit;

#[cfg(test)]
mod tests;

pub use cases::{Case, CaseFile, Expected, load_cases};
pub use compile::mfa::MfaLoaded;
pub use diagnostics::{Diagnostic, Diagnostics, Position, Report, Severity, SourceId, Sources, Span};
pub use draft::{DraftError, Replacement, replace_file};
pub use edit_key::{EditKeyError, KeyEdit, KeyEntry, edit_key, list_keys};
pub use environment::{Environment, ProcessEnvironment};
pub use format::{FileToFormat, FormatError, files_to_format, format_bytes};
pub use governed::{Governed, GovernedFile, GovernedKind, Referring};
pub use load::{
    Loaded, OpsSettings, Summary, backup_place, control_channel, load, load_with_policy, load_with_policy_text,
    store_place,
};
pub use membership::{Membership, membership_of};
pub use naming::Names;
pub use new_key::{AppendKeyError, NewKey, append_key};
pub use schema::{SchemaOf, schema};
pub use suggestion::PolicyFiles;
pub use user_edit::{NewUser, ShownUser, UserChange, UserFileError, change_users, list_users};
