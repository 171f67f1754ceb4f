//! From the files' shape to each crate's settings, one module for each crate, with every check that spans entries.

pub(crate) mod access;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod control;
mod cors;
pub(crate) mod events;
pub(crate) mod feeds;
pub(crate) mod governance;
pub(crate) mod identity;
pub(crate) mod index;
pub(crate) mod listener;
pub(crate) mod mfa;
pub(crate) mod policy;
mod products;
pub(crate) mod proxy;
pub(crate) mod risk;
pub(crate) mod route;
pub(crate) mod store;
mod upstream;

pub(crate) use upstream::parse_host;

use std::collections::HashMap;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::section::Reader;

/// Reports every name that is there twice, with both places.
fn report_duplicates<'n>(reader: &Reader<'_>, what: &str, names: impl Iterator<Item = &'n At<String>>) {
    let mut seen = HashMap::new();
    for name in names {
        if let Some(first) = seen.insert(name.value.as_str(), name.span) {
            let message = format!("two {what}s are named `{}`", name.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, name.span, message)
                .with_related(first, "the first one is here")
                .with_help("rename one of them");
            reader.report(diagnostic);
        }
    }
}
