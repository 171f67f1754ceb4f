//! A document as a list of items, each with the lines that it will have.

use toml_parser::parser::{Event, EventKind};

use super::alignment::Line;
use super::tree::{Comment, Cursor, Value};
use super::value::Writer;

/// The items of a document, in order.
#[derive(Debug, Default)]
pub(super) struct Items<'t>(pub(super) Vec<Item<'t>>);

/// A header, a key with its value, or a comment with a line of its own.
#[derive(Debug)]
pub(super) struct Item<'t> {
    pub(super) kind: ItemKind,
    /// A blank line stood before it.
    pub(super) blank_before: bool,
    pub(super) lines: Vec<Line<'t>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Header,
    KeyValue,
    Comment,
}

impl<'t> Items<'t> {
    /// `None` where the events are not those of a document without errors.
    pub(super) fn read(text: &'t str, events: &[Event]) -> Option<Self> {
        let mut cursor = Cursor::new(text, events);
        let mut items = Self::default();
        let mut newlines = 0;
        // Where a comment is that the next line may continue.
        let mut comment_at: Option<usize> = None;
        while let Some(kind) = cursor.peek() {
            if kind == EventKind::Newline {
                cursor.next()?;
                newlines += 1;
                continue;
            }
            let blank_before = newlines > 1 && !items.0.is_empty();
            let below = comment_at.filter(|_| newlines == 1);
            newlines = 0;
            if kind == EventKind::Comment {
                let comment = cursor.comment()?;
                comment_at = items.add_comment(comment, below, blank_before)?;
            } else {
                items.0.push(Item::read(&mut cursor, kind, blank_before)?);
                comment_at = None;
            }
        }
        Some(items)
    }

    /// Returns its column if the next line may continue it.
    fn add_comment(&mut self, comment: Comment<'t>, below: Option<usize>, blank_before: bool) -> Option<Option<usize>> {
        if !comment.own_line {
            self.0.last_mut()?.lines.last_mut()?.comment = Some(comment.text);
            return Some(Some(comment.column));
        }
        if below == Some(comment.column) {
            self.0.last_mut()?.lines.push(Line::continuation(comment.text));
            return Some(below);
        }
        let lines = vec![Line::new(0, comment.text)];
        self.0.push(Item { kind: ItemKind::Comment, blank_before, lines });
        Some(None)
    }
}

impl<'t> Item<'t> {
    fn read(cursor: &mut Cursor<'t, '_>, kind: EventKind, blank_before: bool) -> Option<Self> {
        match kind {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                let header = format!("{}{}{}", cursor.next()?, cursor.key()?, cursor.next()?);
                Some(Self { kind: ItemKind::Header, blank_before, lines: vec![Line::new(0, header)] })
            }
            EventKind::SimpleKey => {
                let key = cursor.key()?;
                (cursor.peek()? == EventKind::KeyValSep).then_some(())?;
                cursor.next()?;
                let lines = Writer::write(&key, &Value::read(cursor)?);
                Some(Self { kind: ItemKind::KeyValue, blank_before, lines })
            }
            _ => None,
        }
    }
}
