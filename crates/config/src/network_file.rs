//! The file of a network: one address or prefix per line, `#` begins a comment. Feeds of a million lines are usual.

use std::path::Path;

use ipnet::IpNet;

use crate::codes;
use crate::diagnostics::{Diagnostic, SourceId, Span};
use crate::document::{FileToRead, MAX_POLICY_FILE, read_text};
use crate::kinds::parse_prefix;
use crate::section::Reader;

/// After so many wrong lines the rest is not read: the file is not what it should be.
const MAX_WRONG_LINES: usize = 1_000;

/// Appends the file's prefixes; wrong lines are reported with their place. Returns the file, which is part of the
/// policy's hash.
pub(crate) fn read_network_file(
    reader: &Reader<'_>,
    path: &Path,
    written: &str,
    named_at: Span,
    prefixes: &mut Vec<IpNet>,
) -> Option<SourceId> {
    let file = FileToRead {
        path,
        short_name: written,
        named_at: Some(named_at),
        limit: MAX_POLICY_FILE,
        defines_names: false,
    };
    let (source, text) = read_text(reader, file)?;
    let (mut offset, mut wrong) = (0, 0);
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or("").trim();
        if !entry.is_empty() {
            match parse_prefix(entry) {
                Ok(prefix) => prefixes.push(prefix),
                Err(problem) => {
                    let start = offset + (line.len() - line.trim_start().len());
                    let span = Span { source, start, end: start + entry.len() };
                    let mut diagnostic = Diagnostic::error(codes::NETWORK_FILE, span, problem.message);
                    diagnostic.help = problem.help;
                    reader.report(diagnostic);
                    wrong += 1;
                    if wrong >= MAX_WRONG_LINES {
                        break;
                    }
                }
            }
        }
        offset += line.len();
    }
    Some(source)
}
