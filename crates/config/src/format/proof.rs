//! The proof that a formatted text says what the original says. It trusts nothing of the formatter: it compares what a
//! parser reads from both.

use toml::de::{DeTable, DeValue};
use toml_parser::parser::EventKind;

use super::{events, laid_out};

/// Proves that both texts hold the same values, the same keys in the same order and the same comments, and that formatting
/// the second changes nothing.
///
/// # Errors
/// What is not the same.
pub(super) fn prove(before: &str, after: &str) -> Result<(), &'static str> {
    if before == after {
        return Ok(());
    }
    let parse = |text| DeTable::parse(text).map(toml::Spanned::into_inner);
    let same = match (parse(before), parse(after)) {
        (Ok(before), Ok(after)) => same_tables(&before, &after),
        _ => false,
    };
    if !same {
        return Err("a value would change");
    }
    let words = |text| words(text).map_err(|_| "it would not be TOML");
    if words(before)? != words(after)? {
        return Err("a key, a value or a comment would be lost or moved");
    }
    if laid_out(after).as_deref() != Ok(after) {
        return Err("the result would not be final");
    }
    Ok(())
}

/// Keys, values, comments and brackets, in order.
fn words(text: &str) -> Result<Vec<&str>, String> {
    let events = events(text)?;
    let events = events.iter().filter(|event| !matches!(event.kind(), EventKind::Newline | EventKind::ValueSep));
    let word = |range: toml_parser::Span| text.get(range.start()..range.end()).unwrap_or_default();
    // Behind a string a space is part of it; behind a comment it is nothing.
    let trimmed = |kind, word: &'_ str| if kind == EventKind::Comment { word.trim_end().len() } else { word.len() };
    Ok(events
        .map(|event| {
            let word = word(event.span());
            word.get(..trimmed(event.kind(), word)).unwrap_or(word)
        })
        .collect())
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
