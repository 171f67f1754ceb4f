//! A value with the comments and the line breaks inside it.

use toml_parser::parser::{Event, EventKind};

use super::width;
/// Reads events one after the other.
pub(super) struct Cursor<'t, 'e> {
    text: &'t str,
    events: std::iter::Peekable<std::slice::Iter<'e, Event>>,
    /// Whether nothing but space, and commas, stands before the next event in its line.
    at_line_start: bool,
}

impl<'t, 'e> Cursor<'t, 'e> {
    pub(super) fn new(text: &'t str, events: &'e [Event]) -> Self {
        Self { text, events: events.iter().peekable(), at_line_start: true }
    }

    /// The kind of the next event.
    pub(super) fn peek(&mut self) -> Option<EventKind> {
        self.events.peek().map(|event| event.kind())
    }

    /// The text of the next event.
    pub(super) fn next(&mut self) -> Option<&'t str> {
        let event = self.events.next()?;
        // A comma moves to the line of its element, so that what follows it begins the line.
        self.at_line_start =
            event.kind() == EventKind::Newline || (self.at_line_start && event.kind() == EventKind::ValueSep);
        self.text.get(event.span().start()..event.span().end())
    }

    /// The next event, which is a comment.
    pub(super) fn comment(&mut self) -> Option<Comment<'t>> {
        let start = self.events.peek()?.span().start();
        let own_line = self.at_line_start;
        let line = self.text.get(..start)?;
        let before = line.get(line.rfind('\n').map_or(0, |end| end + 1)..)?;
        // Only space can stand before a comment that has a line of its own; before another its column does not matter much.
        let column = width(before);
        Some(Comment { text: self.next()?.trim_end(), own_line, column })
    }

    /// The parts of a key, with dots.
    pub(super) fn key(&mut self) -> Option<String> {
        let mut key = String::new();
        while matches!(self.peek()?, EventKind::SimpleKey | EventKind::KeySep) {
            key.push_str(self.next()?);
        }
        Some(key)
    }
}

/// A comment and where it stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comment<'t> {
    /// From `#` on, without trailing space.
    pub(super) text: &'t str,
    /// Nothing else was in its line.
    pub(super) own_line: bool,
    /// Where it began, from 0.
    pub(super) column: usize,
}

/// What stands behind `=`.
#[derive(Debug)]
pub(super) enum Value<'t> {
    Scalar(&'t str),
    Container(Container<'t>),
}

/// An array or an inline table.
#[derive(Debug)]
pub(super) struct Container<'t> {
    pub(super) is_array: bool,
    pub(super) pieces: Vec<Piece<'t>>,
    /// It has a line break or a comment between its own elements, or is told apart best as if it had.
    pub(super) broken: bool,
    /// Its width on one line; `None` where it cannot stand on one.
    width: Option<usize>,
}

/// A part of a container.
#[derive(Debug)]
pub(super) enum Piece<'t> {
    /// An element, with its key in an inline table.
    Element(Option<String>, Value<'t>),
    Comment(Comment<'t>),
    Blank,
}

impl<'t> Value<'t> {
    pub(super) fn read(cursor: &mut Cursor<'t, '_>) -> Option<Self> {
        match cursor.peek()? {
            EventKind::Scalar => Some(Self::Scalar(cursor.next()?)),
            EventKind::ArrayOpen => Container::read(cursor, true).map(Self::Container),
            EventKind::InlineTableOpen => Container::read(cursor, false).map(Self::Container),
            _ => None,
        }
    }

    /// Its width on one line; `None` where it cannot stand on one.
    pub(super) fn width(&self) -> Option<usize> {
        match self {
            Self::Scalar(text) => (!text.contains('\n')).then(|| width(text)),
            Self::Container(container) => container.width,
        }
    }
}

impl<'t> Container<'t> {
    fn read(cursor: &mut Cursor<'t, '_>, is_array: bool) -> Option<Self> {
        cursor.next()?;
        let mut pieces = Vec::new();
        let (mut broken, mut newlines) = (false, 0);
        loop {
            match cursor.peek()? {
                EventKind::ArrayClose | EventKind::InlineTableClose => break,
                EventKind::ValueSep => drop(cursor.next()?),
                EventKind::Newline => {
                    cursor.next()?;
                    broken = true;
                    newlines += 1;
                    continue;
                }
                kind => {
                    if newlines > 1 && !pieces.is_empty() {
                        pieces.push(Piece::Blank);
                    }
                    broken |= kind == EventKind::Comment;
                    pieces.push(Self::piece(cursor, kind)?);
                }
            }
            newlines = 0;
        }
        cursor.next()?;
        // Line breaks around nothing are nothing.
        broken &= !pieces.is_empty();
        let width = if broken { None } else { flat_width(is_array, &pieces) };
        // Several elements, one of which has lines of its own, are told apart best when each begins a line.
        broken |= is_array && pieces.len() > 1 && width.is_none();
        Some(Self { is_array, pieces, broken, width })
    }

    fn piece(cursor: &mut Cursor<'t, '_>, kind: EventKind) -> Option<Piece<'t>> {
        match kind {
            EventKind::Comment => cursor.comment().map(Piece::Comment),
            EventKind::SimpleKey => {
                let key = cursor.key()?;
                (cursor.peek()? == EventKind::KeyValSep).then_some(())?;
                cursor.next()?;
                Some(Piece::Element(Some(key), Value::read(cursor)?))
            }
            _ => Some(Piece::Element(None, Value::read(cursor)?)),
        }
    }

    /// Whether it has one element to a line, where `before` columns stand before it and `behind` follow it.
    pub(super) fn is_broken(&self, before: usize, behind: usize) -> bool {
        let too_wide = || self.width.is_some_and(|width| before + width + behind > super::MAX_WIDTH);
        self.broken || (self.is_array && !self.pieces.is_empty() && too_wide())
    }
}

/// `[a, b]` or `{ k = a, l = b }`
fn flat_width(is_array: bool, pieces: &[Piece<'_>]) -> Option<usize> {
    let around = if is_array || pieces.is_empty() { 2 } else { 4 };
    let between = pieces.len().saturating_sub(1) * 2;
    pieces.iter().try_fold(around + between, |sum, piece| match piece {
        Piece::Element(key, value) => {
            let key = key.as_deref().map_or(0, |key| width(key) + 3);
            Some(sum + key + value.width()?)
        }
        Piece::Comment(_) | Piece::Blank => None,
    })
}
