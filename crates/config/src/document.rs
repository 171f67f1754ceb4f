//! From a file to a table: reads with a bound, refuses what is no text, and reports every syntax error.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, Error};
use toml_parser::lexer::TokenKind;

use crate::codes;
use crate::diagnostics::{Diagnostic, SourceId, Span};
use crate::section::{Reader, Section, shown};

/// `portcullis.toml`, what it includes, and key files.
pub(crate) const MAX_GATEWAY_FILE: u64 = 4 << 20;
/// `policy.toml`, what it includes, and the files of networks.
pub(crate) const MAX_POLICY_FILE: u64 = 64 << 20;
/// A key set (security.md R4).
pub(crate) const MAX_KEY_SET: u64 = 1 << 20;

/// A file whose text becomes the body of an answer.
pub(crate) const MAX_PAGE: u64 = 1 << 20;

/// A template for refusals: it is copied for each.
pub(crate) const MAX_TEMPLATE: u64 = 256 << 10;

/// All files of one configuration together.
pub(crate) const MAX_CONFIGURATION: u64 = 128 << 20;

/// Up to this size all syntax errors are reported, beyond it the first: each error costs memory.
const MAX_RECOVERED: usize = 1 << 20;
/// Words, values and punctuation of one file. Parsed, each takes up to eighty bytes, however short it is: a file of the
/// greatest size that is nothing but brackets would take gigabytes.
const MAX_PARTS: usize = 10_000_000;
/// Brackets that are open at one place. The parser stops at eighty; this is seen before anything is parsed.
const MAX_BRACKETS: usize = 1_000;
/// At most this many syntax errors of one file are reported.
const MAX_SYNTAX_ERRORS: usize = 100;
/// Dots in one key. Tables are dropped recursively, and `a.a.a.…` would otherwise make them as deep as the file is long.
const MAX_DOTS: usize = 7;

/// A file to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileToRead<'f> {
    pub(crate) path: &'f Path,
    /// The name that the configuration uses for it.
    pub(crate) short_name: &'f str,
    /// The value that names it; `None` for the file that the operator named.
    pub(crate) named_at: Option<Span>,
    /// In bytes.
    pub(crate) limit: u64,
    /// It defines what other files refer to by name.
    pub(crate) defines_names: bool,
}

/// Reads a file and hands its top level to `read`. `None` when there is nothing to read. What is wrong was reported.
pub(crate) fn read_document<T>(
    reader: &Reader<'_>,
    file: FileToRead<'_>,
    read: impl for<'d> FnOnce(Section<'d>) -> T,
) -> Option<T> {
    let parsed = read_text(reader, file).map(|(source, text)| parse_document(reader, source, &text, read));
    let parsed = parsed.unwrap_or(Parsed { value: None, whole: false });
    if file.defines_names && !parsed.whole {
        reader.mark_incomplete();
    }
    parsed.value
}

/// What came out of a text.
pub(crate) struct Parsed<T> {
    /// `None` when it is nested too deep to be parsed.
    pub(crate) value: Option<T>,
    /// There was no syntax error.
    pub(crate) whole: bool,
}

/// Parses a text and hands its top level to `read`.
pub(crate) fn parse_document<T>(
    reader: &Reader<'_>,
    source: SourceId,
    text: &str,
    read: impl for<'d> FnOnce(Section<'d>) -> T,
) -> Parsed<T> {
    if let Some(excess) = first_excess(text, MAX_PARTS) {
        reader.report(excess.diagnostic(source));
        return Parsed { value: None, whole: false };
    }
    let (table, errors) = parse(text);
    let mark = reader.diagnostics.borrow().mark();
    let start = Span { source, start: 0, end: 0 };
    let title = reader.sources.borrow().short_name(source).to_string();
    let value = Some(read(Section::new(reader, table.get_ref(), start, title)));
    if let Some(first_error) = errors.iter().map(|error| error.span().unwrap_or_default().start).min() {
        // What the parser recovered from the first error on may be in the wrong place, and what is missing may be lost.
        let before = text.get(..text.floor_char_boundary(first_error)).unwrap_or("");
        let sound = before.rfind('\n').map_or(0, |end_of_line| end_of_line + 1);
        reader.diagnostics.borrow_mut().retain_since(mark, |diagnostic| {
            diagnostic.primary.source != source
                || (diagnostic.primary.start < sound && diagnostic.code != codes::MISSING)
        });
        errors.iter().take(MAX_SYNTAX_ERRORS).for_each(|error| reader.report(syntax_error(source, text, error)));
    }
    Parsed { value, whole: errors.is_empty() }
}

/// Reads a file as UTF-8. What is wrong with it is reported where it was named.
pub(crate) fn read_text(reader: &Reader<'_>, file: FileToRead<'_>) -> Option<(SourceId, Arc<str>)> {
    let bytes = match read_within(reader, file) {
        Ok(bytes) => bytes,
        Err(message) => {
            report_unreadable(reader, file, message);
            return None;
        }
    };
    add_text(reader, file.path, file.short_name, &bytes)
}

/// Reads a file that may hold secrets: its bytes become no source, from which a report could quote.
pub(crate) fn read_material(reader: &Reader<'_>, file: FileToRead<'_>) -> Option<Vec<u8>> {
    read_within(reader, file).map_err(|message| report_unreadable(reader, file, message)).ok()
}

/// Adds what was read from a file as a source. What is no text is reported.
pub(crate) fn add_text(
    reader: &Reader<'_>,
    path: &Path,
    short_name: &str,
    bytes: &[u8],
) -> Option<(SourceId, Arc<str>)> {
    let problem = match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with('\u{feff}') => (0, "the file begins with a byte order mark"),
        Ok(text) => {
            let text: Arc<str> = text.into();
            return Some((reader.add_source(path, short_name, text.clone()), text));
        }
        Err(error) => (error.valid_up_to(), "the file is not UTF-8 from here on"),
    };
    let (offset, message) = problem;
    let lossy = String::from_utf8_lossy(bytes);
    let source = reader.add_source(path, short_name, lossy.as_ref().into());
    let span = Span { source, start: offset, end: lossy.ceil_char_boundary(offset + 1) };
    let help = "save it as UTF-8 without a byte order mark";
    reader.report(Diagnostic::error(codes::UNREADABLE, span, message).with_help(help));
    None
}

/// The file's bytes, if all files of the configuration together are not too much.
fn read_within(reader: &Reader<'_>, file: FileToRead<'_>) -> Result<Vec<u8>, String> {
    if let Some(why) = reader.environment().no_configuration(file.path) {
        return Err(why);
    }
    if let Some(bytes) = reader.environment().file(file.path) {
        reader.count_bytes(bytes.len() as u64);
        return Ok(bytes.to_vec());
    }
    if let Some(bytes) = reader.read_before(file.path) {
        return Ok(bytes.to_vec());
    }
    let left = MAX_CONFIGURATION.saturating_sub(reader.bytes_read());
    if std::fs::metadata(file.path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > left.min(file.limit))
        && left < file.limit
    {
        let (name, most) = (shown_path(file.path), MAX_CONFIGURATION >> 20);
        return Err(format!("cannot read `{name}`: with it all files together are larger than {most} MiB"));
    }
    let bytes = read_bytes(file.path, file.limit)?;
    reader.count_bytes(bytes.len() as u64);
    // Larger ones are policies, which are read once: two copies of them would be a waste.
    if bytes.len() as u64 <= MAX_GATEWAY_FILE {
        reader.remember(file.path, &bytes);
    }
    Ok(bytes)
}

/// The bytes of a regular file of at most `limit` bytes; the error is a sentence for the operator.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let name = shown_path(path);
    let failed = |error: std::io::Error| format!("cannot read `{name}`: {error}");
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(format!("cannot read `{name}`: it is a folder"));
    }
    if !metadata.is_file() {
        return Err(format!("cannot read `{name}`: it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or(0));
    // One byte more than allowed tells a file that grew meanwhile from one that just fits.
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("cannot read `{name}`: it is larger than {} MiB", limit >> 20));
    }
    Ok(bytes)
}

fn shown_path(path: &Path) -> String {
    path.display().to_string().chars().take(512).collect()
}

fn report_unreadable(reader: &Reader<'_>, file: FileToRead<'_>, message: String) {
    let span = file.named_at.unwrap_or_else(|| {
        let source = reader.add_source(file.path, file.short_name, "".into());
        Span { source, start: 0, end: 0 }
    });
    let missing = matches!(std::fs::metadata(file.path), Err(error) if error.kind() == ErrorKind::NotFound);
    let mut diagnostic = Diagnostic::error(codes::UNREADABLE, span, message);
    if missing && file.named_at.is_some() {
        diagnostic.help = Some("a path is relative to the file that names it".into());
    }
    reader.report(diagnostic);
}

fn parse(text: &str) -> (toml::Spanned<DeTable<'_>>, Vec<Error>) {
    if text.len() <= MAX_RECOVERED {
        return DeTable::parse_recoverable(text);
    }
    match DeTable::parse(text) {
        Ok(table) => (table, Vec::new()),
        Err(error) => (toml::Spanned::new(0..0, DeTable::new()), vec![error]),
    }
}

fn syntax_error(source: SourceId, text: &str, error: &Error) -> Diagnostic {
    let range = error.span().unwrap_or_default();
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let span = Span { source, start, end };
    let message = error.message();
    if message.contains("recurs") {
        return Diagnostic::error(codes::NESTING, span, "nested too deep").with_help("at most 80 levels are read");
    }
    let mut diagnostic = Diagnostic::error(codes::SYNTAX, span, message);
    if message.starts_with("duplicate key") {
        let key = shown(text.get(start..end).unwrap_or(""));
        diagnostic.message = format!("`{key}` is written twice");
        diagnostic.help = Some("keep one of the two; a list of tables is written with two brackets".into());
    }
    diagnostic
}

/// What makes a text too costly to be parsed, and where.
#[derive(Debug, PartialEq, Eq)]
enum Excess {
    DottedKey(Range<usize>),
    Brackets(Range<usize>),
    Parts(Range<usize>),
}

impl Excess {
    fn diagnostic(self, source: SourceId) -> Diagnostic {
        let span = |range: Range<usize>| Span { source, start: range.start, end: range.end };
        match self {
            Self::DottedKey(range) => Diagnostic::error(codes::NESTING, span(range), "this key has too many parts")
                .with_help(format!("a key has at most {} parts", MAX_DOTS + 1)),
            Self::Brackets(range) => Diagnostic::error(codes::NESTING, span(range), "nested too deep")
                .with_help("at most 80 levels are read"),
            Self::Parts(range) => {
                let message = format!("the file has more than {MAX_PARTS} words, values and signs");
                Diagnostic::error(codes::UNREADABLE, span(range), message)
                    .with_help("split it into included files; long lists of addresses stand in files of their own (`file` of a [[network]])")
            }
        }
    }
}

/// The first place that goes beyond a bound. It costs one pass over the text and no memory.
fn first_excess(text: &str, max_parts: usize) -> Option<Excess> {
    let (mut dots, mut start) = (0, None);
    let (mut parts, mut brackets) = (0usize, 0usize);
    for token in toml_parser::Source::new(text).lex() {
        let range = || token.span().start()..token.span().end();
        parts += usize::from(token.kind() != TokenKind::Eof);
        if parts > max_parts {
            return Some(Excess::Parts(range()));
        }
        // Only keys and numbers have dots outside strings, and a number has one.
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Atom | TokenKind::BasicString | TokenKind::LiteralString => {
                start = start.filter(|_| dots > 0).or(Some(token.span().start()));
            }
            TokenKind::Whitespace => {}
            _ => (dots, start) = (0, None),
        }
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => brackets += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        if brackets > MAX_BRACKETS {
            return Some(Excess::Brackets(range()));
        }
        if dots > MAX_DOTS {
            return Some(Excess::DottedKey(start.unwrap_or(0)..token.span().end()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_a_file_again_sees_what_was_read_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "one").unwrap();
        let environment = std::collections::BTreeMap::<String, String>::new();
        let file =
            FileToRead { path: &path, short_name: "ca.pem", named_at: None, limit: MAX_KEY_SET, defines_names: false };
        let reader = Reader::new(&environment);
        assert_eq!(read_material(&reader, file).unwrap(), b"one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(read_material(&reader, file).unwrap(), b"one", "what is hashed is what is used");
        assert_eq!(read_material(&Reader::new(&environment), file).unwrap(), b"two", "the next run reads it anew");
    }

    #[test]
    fn a_key_has_a_bounded_number_of_parts() {
        let check = |text: &str, deep: bool| {
            assert_eq!(matches!(first_excess(text, MAX_PARTS), Some(Excess::DottedKey(_))), deep, "{text}")
        };
        check("a.b.c.d.e.f.g.h = 1", false);
        check("a.b.c.d.e.f.g.h.i = 1", true);
        check("[a . b . c . d . e . f . g . h . i]", true);
        check("a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0]", false);
        check("a = \"a.b.c.d.e.f.g.h.i.j.k\" # a.b.c.d.e.f.g.h.i.j", false);
        check("a = { b.c.d.e.f.g.h.i.j = 1 }", true);
        check("a.b = 1\na.c = 1\na.d = 1\na.e = 1\na.f = 1\na.g = 1\na.h = 1\na.i = 1\na.j = 1", false);
    }

    #[test]
    fn a_key_with_too_many_parts_is_told_where_it_begins() {
        let check = |text: &str, begins: usize| match first_excess(text, MAX_PARTS) {
            Some(Excess::DottedKey(range)) => assert_eq!(range.start, begins, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        check("a.b.c.d.e.f.g.h.i = 1", 0);
        check("x = 1\na.b.c.d.e.f.g.h.i = 1", 6);
        check("[ a.b.c.d.e.f.g.h.i]", 2);
        check("x = 1.5\n\"a\" . b.c.d.e.f.g.h.i = 1", 8);
    }

    #[test]
    fn open_brackets_are_counted_and_closed_ones_are_not() {
        let check = |text: String, expected: Option<Excess>| assert_eq!(first_excess(&text, MAX_PARTS), expected);
        check(format!("a = {}", "[".repeat(MAX_BRACKETS)), None);
        let place = 4 + MAX_BRACKETS;
        check(format!("a = {}", "[".repeat(MAX_BRACKETS + 1)), Some(Excess::Brackets(place..place + 1)));
        check(format!("a = {}1", "{a=".repeat(MAX_BRACKETS + 1)), Some(Excess::Brackets(3_004..3_005)));
        check("[[role]]\n".repeat(MAX_BRACKETS), None);
        check(format!("a = [{}]", "[],".repeat(MAX_BRACKETS)), None);
    }

    #[test]
    fn the_parts_of_a_file_are_counted_before_it_is_parsed() {
        assert_eq!(first_excess("a = [1, 2]\n", 11), None);
        assert_eq!(first_excess("a = [1, 2]\n", 10), Some(Excess::Parts(10..11)));
        assert_eq!(first_excess("# a, b, c", 1), None);
    }

    #[test]
    fn all_files_together_are_counted_before_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "a = 1\n").unwrap();
        let check = |before: u64, expected: bool| {
            let nothing: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
            let reader = Reader::new(&nothing);
            reader.count_bytes(before);
            let file = FileToRead {
                path: &path,
                short_name: "a",
                named_at: None,
                limit: MAX_POLICY_FILE,
                defines_names: true,
            };
            assert_eq!(read_text(&reader, file).is_some(), expected, "{before}");
        };
        check(MAX_CONFIGURATION - 6, true);
        check(MAX_CONFIGURATION - 5, false);
        check(MAX_CONFIGURATION, false);
    }
}
