//! A key and its value as lines.

use super::alignment::{INDENT, Line};
use super::tree::{Comment, Container, Piece, Value};

/// Writes one key and its value.
pub(super) struct Writer<'t> {
    lines: Vec<Line<'t>>,
    /// How many broken containers are open.
    depth: usize,
    /// Where a comment was that the next line may continue.
    comment_at: Option<usize>,
}

impl<'t> Writer<'t> {
    pub(super) fn write(key: &str, value: &Value<'t>) -> Vec<Line<'t>> {
        let mut writer = Self { lines: vec![Line::new(0, format!("{key} = "))], depth: 0, comment_at: None };
        writer.value(value, 0);
        writer.lines
    }

    /// `behind` is the width of what follows in the same line.
    fn value(&mut self, value: &Value<'t>, behind: usize) {
        match value {
            Value::Scalar(text) => self.push(text),
            Value::Container(container) if container.pieces.is_empty() => {
                self.push(if container.is_array { "[]" } else { "{}" });
            }
            Value::Container(container) if container.is_broken(self.width(), behind) => self.broken(container),
            Value::Container(container) => self.flat(container),
        }
    }

    fn flat(&mut self, container: &Container<'t>) {
        self.push(if container.is_array { "[" } else { "{ " });
        for (index, piece) in container.pieces.iter().enumerate() {
            // What is not broken holds elements alone.
            let Piece::Element(key, value) = piece else { continue };
            if index > 0 {
                self.push(", ");
            }
            self.key(key.as_deref());
            self.nested(value);
        }
        self.push(if container.is_array { "]" } else { " }" });
    }

    /// A value in the middle of a line is broken only where its author broke it.
    fn nested(&mut self, value: &Value<'t>) {
        match value {
            Value::Container(container) if container.broken => self.broken(container),
            Value::Container(container) if !container.pieces.is_empty() => self.flat(container),
            Value::Container(_) | Value::Scalar(_) => self.value(value, 0),
        }
    }

    fn broken(&mut self, container: &Container<'t>) {
        self.push(if container.is_array { "[" } else { "{" });
        self.depth += 1;
        let mut blank = false;
        for piece in &container.pieces {
            match piece {
                Piece::Blank => blank = true,
                Piece::Comment(comment) => self.comment(*comment, std::mem::take(&mut blank)),
                Piece::Element(key, value) => {
                    self.begin_line(std::mem::take(&mut blank));
                    self.key(key.as_deref());
                    self.value(value, 1);
                    self.push(",");
                }
            }
        }
        self.depth -= 1;
        self.begin_line(false);
        self.push(if container.is_array { "]" } else { "}" });
    }

    fn comment(&mut self, comment: Comment<'t>, blank: bool) {
        let below = self.comment_at.filter(|_| !blank);
        if !comment.own_line {
            if let Some(line) = self.lines.last_mut() {
                line.comment = Some(comment.text);
            }
            self.comment_at = Some(comment.column);
        } else if below == Some(comment.column) {
            self.lines.push(Line::continuation(comment.text));
        } else {
            self.begin_line(blank);
            self.push(comment.text);
        }
    }

    fn key(&mut self, key: Option<&str>) {
        if let Some(key) = key {
            self.push(key);
            self.push(" = ");
        }
    }

    fn begin_line(&mut self, blank: bool) {
        if blank {
            self.lines.push(Line::new(0, ""));
        }
        self.lines.push(Line::new(self.depth * INDENT, ""));
        self.comment_at = None;
    }

    fn push(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.code.push_str(text);
        }
    }

    fn width(&self) -> usize {
        self.lines.last().map_or(0, Line::width)
    }
}
