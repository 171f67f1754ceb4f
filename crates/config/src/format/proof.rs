//! The proof that a formatted text says what the original says. It trusts nothing of the formatter: it compares what a
//! parser reads from both.

use toml::de::{DeTable, DeValue};
use toml_parser::parser::{Event, EventKind};

use super::{Refusal, events, laid_out};

/// Proves that both texts hold the same values, the same keys in the same order and the same comments, and that formatting
/// the second changes nothing.
///
/// # Errors
/// What is not the same.
pub(super) fn prove(before: &str, values: &DeTable<'_>, events_before: &[Event], after: &str) -> Result<(), Refusal> {
    if !DeTable::parse(after).is_ok_and(|after| same_tables(values, after.get_ref())) {
        return Err(Refusal::Unsound("a value would change"));
    }
    let events_after = events(after)?;
    if !words(before, events_before).eq(words(after, &events_after)) {
        return Err(Refusal::Unsound("a key, a value or a comment would be lost or moved"));
    }
    if laid_out(after, &events_after).as_deref() != Ok(after) {
        return Err(Refusal::Unsound("the result would not be final"));
    }
    Ok(())
}

/// Keys, values, comments and brackets, in order.
fn words<'t>(text: &'t str, events: &[Event]) -> impl Iterator<Item = &'t str> {
    let events = events.iter().filter(|event| !matches!(event.kind(), EventKind::Newline | EventKind::ValueSep));
    events.map(move |event| {
        let word = text.get(event.span().start()..event.span().end()).unwrap_or_default();
        // Space behind a comment is nothing; in a string it is part of it.
        if event.kind() == EventKind::Comment { word.trim_end() } else { word }
    })
}

fn same_tables(before: &DeTable<'_>, after: &DeTable<'_>) -> bool {
    let same =
        |((key, value), (other_key, other)): ((&toml::Spanned<_>, &toml::Spanned<_>), (_, &toml::Spanned<_>))| {
            let other_key: &toml::Spanned<_> = other_key;
            key.get_ref() == other_key.get_ref() && same_values(value.get_ref(), other.get_ref())
        };
    before.len() == after.len() && before.iter().zip(after.iter()).all(same)
}

/// Numbers are compared as they are written, so that `nan` is itself.
fn same_values(before: &DeValue<'_>, after: &DeValue<'_>) -> bool {
    match (before, after) {
        (DeValue::String(before), DeValue::String(after)) => before == after,
        (DeValue::Integer(before), DeValue::Integer(after)) => {
            (before.as_str(), before.radix()) == (after.as_str(), after.radix())
        }
        (DeValue::Float(before), DeValue::Float(after)) => before.as_str() == after.as_str(),
        (DeValue::Boolean(before), DeValue::Boolean(after)) => before == after,
        (DeValue::Datetime(before), DeValue::Datetime(after)) => before == after,
        (DeValue::Array(before), DeValue::Array(after)) => {
            let same = |(before, after): (&toml::Spanned<_>, &toml::Spanned<_>)| {
                same_values(before.get_ref(), after.get_ref())
            };
            before.len() == after.len() && before.iter().zip(after.iter()).all(same)
        }
        (DeValue::Table(before), DeValue::Table(after)) => same_tables(before, after),
        _ => false,
    }
}
