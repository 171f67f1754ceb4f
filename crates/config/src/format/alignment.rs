//! Lines, and the columns of the comments behind them.

use crate::document::MAX_POLICY_FILE;

use super::{MAX_WIDTH, width};

/// Spaces for each level of a broken array.
pub(super) const INDENT: usize = 4;

/// Where comments behind code begin, from 0.
const COLUMN: usize = 49;

/// The least number of spaces before a comment.
const GAP: usize = 2;

/// One line.
#[derive(Debug)]
pub(super) struct Line<'t> {
    indent: usize,
    /// A key and its value, a header, or a comment with a line of its own. Without code, `comment` continues the one above.
    pub(super) code: String,
    pub(super) comment: Option<&'t str>,
}

impl<'t> Line<'t> {
    pub(super) fn new(indent: usize, code: impl Into<String>) -> Self {
        Self { indent, code: code.into(), comment: None }
    }

    /// A comment that stands below the one of the line before.
    pub(super) fn continuation(comment: &'t str) -> Self {
        Self { indent: 0, code: String::new(), comment: Some(comment) }
    }

    /// The columns up to the end of the code: of its last line, where it is a string of several.
    pub(super) fn width(&self) -> usize {
        match self.code.rsplit_once('\n') {
            Some((_, last)) => width(last),
            None => self.indent + width(&self.code),
        }
    }

    /// Whether its comment cannot begin in the usual column, and shares one with its neighbours.
    fn is_long(&self) -> bool {
        let width = self.width();
        self.comment.is_some() && !self.code.is_empty() && width + GAP > COLUMN && width + GAP <= MAX_WIDTH
    }
}

/// The text of the lines, each with its end; `None` if it is larger than any file may be.
pub(super) fn joined(lines: &[Line<'_>]) -> Option<String> {
    let mut text = String::with_capacity(lines.iter().map(|line| line.code.len() + 16).sum());
    let (mut column, mut shared_until) = (COLUMN, 0);
    for (index, line) in lines.iter().enumerate() {
        if line.is_long() && index >= shared_until {
            let run = lines.get(index..).unwrap_or_default();
            let run = run.iter().take_while(|line| line.is_long());
            let (count, widest) = run.fold((0, 0), |(count, widest), line| (count + 1, line.width().max(widest)));
            shared_until = index + count;
            column = widest + GAP;
        } else if line.comment.is_some() && !line.code.is_empty() && !line.is_long() {
            column = COLUMN.max(line.width() + GAP);
        }
        write(&mut text, line, column);
        if text.len() as u64 > MAX_POLICY_FILE {
            return None;
        }
    }
    Some(text)
}

fn write(text: &mut String, line: &Line<'_>, column: usize) {
    if !line.code.is_empty() {
        text.extend(std::iter::repeat_n(' ', line.indent));
        text.push_str(&line.code);
    }
    if let Some(comment) = line.comment {
        text.extend(std::iter::repeat_n(' ', column.saturating_sub(line.width())));
        text.push_str(comment);
    }
    text.push('\n');
}
