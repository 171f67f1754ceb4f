//! Blank lines between items.

use super::alignment::Line;
use super::document::{Item, ItemKind, Items};

/// The lines of a document, with the blank lines between them.
pub(super) fn spaced(items: Items<'_>) -> Vec<Line<'_>> {
    let blanks = blanks(&items.0);
    let mut lines = Vec::with_capacity(items.0.len() * 2);
    for (item, blank) in items.0.into_iter().zip(blanks) {
        if blank {
            lines.push(Line::new(0, ""));
        }
        lines.extend(item.lines);
    }
    lines
}

/// Where an item is in relation to a header and the comments that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Elsewhere,
    /// It is the first of them.
    Begins,
    /// It follows the first.
    Continues,
}

/// Whether a blank line stands before each item.
fn blanks(items: &[Item<'_>]) -> Vec<bool> {
    let mut blanks = Vec::with_capacity(items.len());
    let places = places(items);
    let empty = empty_tables(items);
    for (index, (item, place)) in items.iter().zip(places).enumerate() {
        let below_header = index.checked_sub(1).and_then(|before| empty.get(before).copied().flatten());
        blanks.push(match (place, below_header) {
            _ if index == 0 => false,
            (Place::Begins, _) => true,
            (Place::Continues, _) => false,
            // Comments that follow the header of an empty table at a distance are about something else.
            (Place::Elsewhere, Some(empty)) => item.blank_before && empty,
            (Place::Elsewhere, None) => item.blank_before,
        });
    }
    blanks
}

fn places(items: &[Item<'_>]) -> Vec<Place> {
    let mut places = vec![Place::Elsewhere; items.len()];
    let headers = items.iter().enumerate().filter(|(_, item)| item.kind == ItemKind::Header);
    for (header, _) in headers {
        let begin = begin_of_comments(items, header);
        for (index, place) in places.iter_mut().enumerate().take(header + 1).skip(begin) {
            *place = if index == begin { Place::Begins } else { Place::Continues };
        }
    }
    places
}

/// The first of the comments directly above a header, or the header itself. Directly below another header they are all
/// that its table holds, such as a key that is commented out.
fn begin_of_comments(items: &[Item<'_>], header: usize) -> usize {
    let mut begin = header;
    while let Some(above) = begin.checked_sub(1)
        && let (Some(item), Some(above_item)) = (items.get(begin), items.get(above))
        && !item.blank_before
    {
        match above_item.kind {
            ItemKind::Comment => begin = above,
            ItemKind::Header => return header,
            ItemKind::KeyValue => break,
        }
    }
    begin
}

/// For each header whether its table has no key.
fn empty_tables(items: &[Item<'_>]) -> Vec<Option<bool>> {
    let mut empty = true;
    let mut tables: Vec<Option<bool>> = items
        .iter()
        .rev()
        .map(|item| match item.kind {
            ItemKind::Header => Some(std::mem::replace(&mut empty, true)),
            ItemKind::KeyValue => {
                empty = false;
                None
            }
            ItemKind::Comment => None,
        })
        .collect();
    tables.reverse();
    tables
}
