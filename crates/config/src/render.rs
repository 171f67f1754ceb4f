//! How a report looks: for people in the form of rustc, for programs as JSON.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::diagnostics::{Diagnostic, Report, Severity, Sources, Span};

/// This many diagnostics are shown; the rest is counted in the last line.
const MAX_SHOWN: usize = 100;

/// A source line longer than this many characters is cut around the place that matters.
const MAX_LINE: usize = 160;

/// How much of a cut line stands before the place.
const BEFORE: usize = 60;

/// A message, label or help longer than this many characters is cut.
const MAX_TEXT: usize = 600;

/// A remedy of at most this many characters stands beside the caret, as rustc does it.
const INLINE_HELP: usize = 80;

impl Report {
    /// The report for a person: each problem with its line and a caret, then a line that counts them.
    pub fn render_human(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(MAX_LINE + 40);
        let mut text = String::new();
        for diagnostic in self.diagnostics().take(MAX_SHOWN) {
            text.push_str(&render_one(&renderer, &self.sources, diagnostic));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary_line());
        // The page of the first error, or of the first warning where there is none.
        let first = self.diagnostics().find(|each| each.severity == Severity::Error).or(self.diagnostics().next());
        if let Some(first) = first {
            text.push_str(&format!("; see `portcullis help {}`", first.code));
        }
        text.push('\n');
        text
    }

    /// The report for a program: a JSON array of `{severity, code, message, file, line, column, help}`, at most 100.
    pub fn render_json(&self) -> String {
        Value::Array(self.diagnostics().take(MAX_SHOWN).map(|diagnostic| self.json(diagnostic)).collect()).to_string()
    }

    /// `2 errors, 1 warning`
    pub fn summary_line(&self) -> String {
        let mut line = format!("{}, {}", count(self.errors(), "error"), count(self.warnings(), "warning"));
        let hidden = (self.errors() + self.warnings()).saturating_sub(MAX_SHOWN);
        if hidden > 0 {
            line.push_str(&format!(" ({hidden} not shown)"));
        }
        line
    }

    fn json(&self, diagnostic: &Diagnostic) -> Value {
        let position = self.position(diagnostic.primary);
        json!({
            "severity": diagnostic.severity.as_str(),
            "code": diagnostic.code,
            "message": shorten(&diagnostic.message),
            "file": &*self.file(diagnostic.primary),
            "line": position.line,
            "column": position.column,
            "help": diagnostic.help.as_deref().map(shorten),
        })
    }
}

fn render_one(renderer: &Renderer, sources: &Sources, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let (label, footer) = label_and_footer(diagnostic);
    let title = level.primary_title(shorten(&diagnostic.message)).id(diagnostic.code);
    let mut group = place(Group::with_title(title), sources, diagnostic.primary, label, AnnotationKind::Primary);
    for (span, what) in &diagnostic.related {
        group = place(group, sources, *span, Some(shorten(what)), AnnotationKind::Context);
    }
    if let Some(help) = footer {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

/// A short remedy stands at the caret, unless something else does.
fn label_and_footer(diagnostic: &Diagnostic) -> (Option<String>, Option<String>) {
    match (&diagnostic.label, &diagnostic.help) {
        (None, Some(help)) if help.chars().count() <= INLINE_HELP => (Some(format!("help: {help}")), None),
        (label, help) => (label.as_deref().map(shorten), help.as_deref().map(shorten)),
    }
}

/// Adds the place of a span: where it is, and its line.
fn place<'a>(
    group: Group<'a>,
    sources: &Sources,
    span: Span,
    label: Option<String>,
    kind: AnnotationKind,
) -> Group<'a> {
    let name = sources.name(span.source).to_string();
    let (line_start, line) = sources.line_at(span);
    if sources.text(span.source).is_empty() {
        let group = group.element(Origin::path(name));
        return match label {
            Some(label) => group.element(Level::NOTE.no_name().message(label)),
            None => group,
        };
    }
    let position = sources.position(span);
    let line = sources.without_hidden(span.source, line_start, line);
    let cut = CutLine::new(&line, span.start.saturating_sub(line_start), span.end.saturating_sub(line_start));
    let annotation = kind.span(cut.start..cut.end).label(label);
    let snippet = Snippet::source(cut.text).line_start(position.line).annotation(annotation);
    if cut.whole {
        return group.element(snippet.path(name));
    }
    // The renderer would count the column in what is left of the line.
    group.element(Origin::path(name).line(position.line).char_column(position.column)).element(snippet)
}

/// One line, short enough to show, with the range to underline.
struct CutLine {
    text: String,
    start: usize,
    end: usize,
    whole: bool,
}

impl CutLine {
    /// Cuts a line around the bytes `start..end` of it.
    fn new(line: &str, start: usize, end: usize) -> Self {
        let start = line.floor_char_boundary(start.min(line.len()));
        let end = line.ceil_char_boundary(end.clamp(start, line.len()));
        if line.chars().nth(MAX_LINE).is_none() {
            return Self { text: line.to_owned(), start, end, whole: true };
        }
        let (before, from_here) = line.split_at(start);
        let first = before.char_indices().rev().take(BEFORE).last().map_or(start, |(at, _)| at);
        let kept_after = MAX_LINE - BEFORE;
        let after_end = from_here.char_indices().nth(kept_after).map_or(line.len(), |(at, _)| start + at);
        let prefix = if first > 0 { "…" } else { "" };
        let suffix = if after_end < line.len() { "…" } else { "" };
        let shown = line.get(first..after_end).unwrap_or("");
        let shift = |at: usize| at.min(after_end) - first + prefix.len();
        Self { start: shift(start), end: shift(end), text: format!("{prefix}{shown}{suffix}"), whole: false }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Diagnostics;

    fn report(text: &str, build: impl FnOnce(crate::SourceId, &mut Diagnostics)) -> Report {
        let mut sources = Sources::default();
        let id = sources.add("/etc/portcullis/routes/payroll.toml", "routes/payroll.toml", text.into());
        let mut diagnostics = Diagnostics::default();
        build(id, &mut diagnostics);
        Report::new(sources, diagnostics)
    }

    #[test]
    fn a_problem_looks_like_one_of_rustc() {
        let text = "[[route]]\nname = \"payroll\"\n\nallow_ip = [\"10.0.0.0/8\"]\n";
        let shown = report(text, |source, diagnostics| {
            let span = Span { source, start: 28, end: 36 };
            diagnostics.push(
                Diagnostic::error("E0103", span, "unknown key `allow_ip` in [[route]]")
                    .with_help("did you mean `allow_ips`?"),
            );
            diagnostics.push(
                Diagnostic::warning("W0301", Span { source, start: 10, end: 14 }, "two places")
                    .with_related(span, "the other one")
                    .with_help("a"),
            );
        });
        insta::assert_snapshot!(shown.render_human(false));
        assert!(shown.render_human(true).contains("\u{1b}["));
        assert_eq!(
            serde_json::from_str::<Value>(&shown.render_json()).unwrap()[1],
            json!({
                "severity": "error", "code": "E0103", "message": "unknown key `allow_ip` in [[route]]",
                "file": "/etc/portcullis/routes/payroll.toml", "line": 4, "column": 1,
                "help": "did you mean `allow_ips`?",
            })
        );
    }

    #[test]
    fn a_line_of_a_megabyte_is_not_printed() {
        let text = format!("{} = \"{}\"", "k".repeat(500_000), "ä".repeat(500_000));
        for (start, end) in [(0, 500_000), (500_003, 1_500_005), (499_990, 500_004), (1_500_004, 1_500_005)] {
            let shown = report(&text, |source, diagnostics| {
                diagnostics.push(Diagnostic::error("E0103", Span { source, start, end }, "x".repeat(100_000)));
            });
            let human = shown.render_human(false);
            assert!(human.len() < 4_000, "{} bytes for {start}..{end}", human.len());
            assert!(human.contains(":1:"), "{human}");
            assert!(shown.render_json().len() < 2_000);
        }
    }

    #[test]
    fn a_hundred_are_shown_and_the_rest_is_counted() {
        let shown = report("abc", |source, diagnostics| {
            for _ in 0..103 {
                diagnostics.push(Diagnostic::error("E0103", Span { source, start: 0, end: 1 }, "x"));
            }
            diagnostics.push(Diagnostic::warning("W0101", Span { source, start: 0, end: 1 }, "x"));
        });
        let human = shown.render_human(false);
        assert_eq!(human.matches("error[").count(), 100);
        assert!(human.ends_with("103 errors, 1 warning (4 not shown); see `portcullis help E0103`\n"), "{human}");
    }

    #[test]
    fn a_file_without_text_is_named_without_a_line() {
        let shown = report("", |source, diagnostics| {
            let span = Span { source, start: 0, end: 0 };
            diagnostics.push(Diagnostic::error("E0100", span, "cannot read the file").with_help("create it"));
        });
        insta::assert_snapshot!(shown.render_human(false));
    }
}
