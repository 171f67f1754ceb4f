//! Variables of the environment that stand in what is governed. Their values decide who gets in as much as the text around them does, so they are part of what is
//! approved: by their hash, since a request to sign goes to others.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use toml::de::{DeTable, DeValue};

use super::{GovernedFile, GovernedKind, OPERATED, bytes, part};
use crate::environment::{Environment, is_name};

const DOMAIN: &[u8] = b"portcullis-variables-v1";

/// The names of all that a governed value refers to.
pub(super) fn named(files: &[GovernedFile]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
        // What is no TOML has no values in which anything stands for something else.
        let Ok(table) = DeTable::parse(text) else { continue };
        for (key, value) in table.get_ref().iter() {
            if file.kind != GovernedKind::Gateway || !OPERATED.contains(&&**key.get_ref()) {
                of_value(value.get_ref(), &mut names);
            }
        }
    }
    names
}

fn of_value(value: &DeValue<'_>, names: &mut BTreeSet<String>) {
    match value {
        DeValue::String(text) => of_text(text, names),
        DeValue::Array(values) => values.iter().for_each(|value| of_value(value.get_ref(), names)),
        DeValue::Table(table) => table.iter().for_each(|(_, value)| of_value(value.get_ref(), names)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// As a value is expanded.
fn of_text(text: &str, names: &mut BTreeSet<String>) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        rest = after;
        if before.ends_with('$') {
            continue;
        }
        let Some((reference, following)) = after.split_once('}') else { return };
        let name = reference.split_once(":-").map_or(reference, |(name, _)| name);
        if is_name(name) {
            names.insert(name.to_owned());
        }
        rest = following;
    }
}

/// The digest of what is written together with the values of now. Where nothing refers to any it is that of what is written.
pub(super) fn with(written: [u8; 32], names: &BTreeSet<String>, environment: &dyn Environment) -> [u8; 32] {
    if names.is_empty() {
        return written;
    }
    let mut context = Context::new(&SHA256);
    part(&mut context, DOMAIN);
    context.update(&written);
    for name in names {
        let value = environment.variable(name);
        part(&mut context, name.as_bytes());
        context.update(&[u8::from(value.is_some())]);
        part(&mut context, value.unwrap_or_default().as_bytes());
    }
    bytes(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_as_they_are_expanded() {
        let check = |text: &str, expected: &[&str]| {
            let mut names = BTreeSet::new();
            of_text(text, &mut names);
            assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
        };
        check("plain $5", &[]);
        check("user:${A}", &["A"]);
        check("${B:-x}${A:-a:-b}", &["A", "B"]);
        check("$${LITERAL} ${A}", &["A"]);
        check("${1A} ${} ${A B} ${C", &[]);
    }
}
