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

/// The values in some files that refer to variables: each as it is written, with the keys that lead to it.
///
/// Who sends a file chooses what stands in it, and gets an answer that shows names. So what is sent may refer to a variable only as the files of the gateway
/// themselves do: the same text at the same place shows what they show, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referring(BTreeSet<(String, String)>);

impl Referring {
    /// Of these files. What is no TOML has no values.
    pub fn of<'f>(files: impl IntoIterator<Item = &'f [u8]>) -> Self {
        let mut found = Self::default();
        files.into_iter().for_each(|bytes| found.add(bytes));
        found
    }

    /// Those of another file, too.
    pub fn add(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if let Ok(table) = DeTable::parse(text) {
            self.add_table(table.get_ref(), "");
        }
    }

    fn add_table(&mut self, table: &DeTable<'_>, at: &str) {
        for (key, value) in table.iter() {
            self.add_value(value.get_ref(), &format!("{at}{}", key.get_ref()));
        }
    }

    fn add_value(&mut self, value: &DeValue<'_>, at: &str) {
        match value {
            DeValue::String(text) => {
                let mut names = BTreeSet::new();
                of_text(text, &mut names);
                if !names.is_empty() {
                    self.0.insert((at.to_owned(), text.to_string()));
                }
            }
            DeValue::Array(values) => values.iter().for_each(|value| self.add_value(value.get_ref(), at)),
            DeValue::Table(table) => self.add_table(table, &format!("{at}.")),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    /// A sentence on the first value that is not among those of others; `None`: all are.
    pub fn beyond(&self, known: &Self) -> Option<String> {
        let (at, text) = self.0.difference(&known.0).next()?;
        let short = |text: &str| text.chars().take(100).collect::<String>();
        Some(format!(
            "`{}` at `{}` is not expanded: what is sent may refer to variables only where the files of the gateway say the same at the same key",
            short(text).escape_debug(),
            short(at).escape_debug()
        ))
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

    #[test]
    fn what_refers_to_a_variable_is_known_by_its_text_and_its_place() {
        let of = |text: &str| Referring::of([text.as_bytes()]);
        let known = of("name = \"${A}\"\n[[role]]\nnames = [\"x${B}\", { inner = \"${C:-c}\" }]\n");
        for within in
            ["name = \"${A}\"", "[[role]]\nnames = [{ inner = \"\\u0024{C:-c}\" }]", "x = \"$${A}\"", "x = ", ""]
        {
            assert_eq!(of(within).beyond(&known), None, "{within}");
        }
        for beyond in [
            "name = \"${B}\"",
            "name = \"a${A}\"",
            "other = \"${A}\"",
            "role = \"x${B}\"",
            "[[role]]\nnames = [\"${C:-c}\"]",
            "[[role]]\nnames = [{ inner = \"$\\u007bD}\" }]",
        ] {
            let told = of(beyond).beyond(&known);
            assert!(told.is_some_and(|told| told.contains("is not expanded")), "{beyond}");
        }
    }
}
