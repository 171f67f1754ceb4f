//! `${NAME}` in string values, expanded after the file was parsed, so that a variable can never inject structure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

/// A value may not grow beyond this many bytes by expansion.
const MAX_EXPANDED: usize = 64 * 1024;

/// What the configuration depends on besides its files.
pub trait Environment {
    /// The variable's value, or `None` when it is not set (or is not UTF-8).
    fn variable(&self, name: &str) -> Option<String>;

    /// What time it is, for warnings about what has expired. By default it is not known, and there are none.
    fn now(&self) -> Option<Timestamp> {
        None
    }

    /// What a file holds, in place of what is on the disk. `None`: the disk is asked.
    fn file(&self, _path: &Path) -> Option<Arc<[u8]>> {
        None
    }

    /// The files that can be included from a folder, by their paths from there. `None`: those that are on the disk. Otherwise these alone, so that nothing is
    /// added to a configuration by laying a file beside it.
    fn includable(&self, _folder: &Path) -> Option<Vec<PathBuf>> {
        None
    }

    /// Why the main file of a configuration is not to be read, where it is known before: in a sentence.
    fn no_configuration(&self, _main: &Path) -> Option<String> {
        None
    }

    /// The name under which a file is kept, where it is another one than that of today: one that an earlier version of the program gave it.
    fn kept_as(&self, _path: &Path) -> Option<String> {
        None
    }
}

/// The variables of this process, and the system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn now(&self) -> Option<Timestamp> {
        Some(Timestamp::now())
    }
}

impl Environment for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Why a value cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpansionProblem {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
    /// The text at fault, as it is written in the value.
    pub(crate) at: String,
}

/// Expands `${NAME}` and `${NAME:-default}`; `$${` is a literal `${`. As in a shell, `:-` also replaces an empty value.
pub(crate) fn expand<'t>(text: &'t str, environment: &dyn Environment) -> Result<Cow<'t, str>, ExpansionProblem> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let (reference, following) = after.split_once('}').ok_or_else(|| unclosed(after))?;
        expanded.push_str(&resolve(reference, environment)?);
        if expanded.len() > MAX_EXPANDED {
            return Err(too_long(reference));
        }
        rest = following;
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

fn resolve(reference: &str, environment: &dyn Environment) -> Result<String, ExpansionProblem> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(ExpansionProblem {
            message: format!("`${{{}}}` names no environment variable", shown(reference)),
            help: "a name is letters, digits and `_`; write `$${` for a literal `${`".into(),
            at: format!("${{{reference}}}"),
        });
    }
    match (environment.variable(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpansionProblem {
            message: format!("the environment variable `{}` is not set", shown(name)),
            help: format!("set it, or give a default: `${{{}:-default}}`", shown(name)),
            at: format!("${{{reference}}}"),
        }),
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn unclosed(after: &str) -> ExpansionProblem {
    ExpansionProblem {
        message: "`${` without a closing `}`".into(),
        help: "close it, or write `$${` for a literal `${`".into(),
        at: format!("${{{after}"),
    }
}

fn too_long(reference: &str) -> ExpansionProblem {
    ExpansionProblem {
        message: format!("the value grows beyond {MAX_EXPANDED} bytes by expansion"),
        help: "put the text into the file itself".into(),
        at: format!("${{{reference}}}"),
    }
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_inside_values() {
        let environment = BTreeMap::from([
            ("HOST".to_owned(), "billing".to_owned()),
            ("EMPTY".to_owned(), String::new()),
            ("NESTED".to_owned(), "${HOST}".to_owned()),
            ("LONG".to_owned(), "x".repeat(MAX_EXPANDED + 1)),
        ]);
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = expand(text, &environment);
            match expected {
                Ok(value) => assert_eq!(found.as_deref(), Ok(value), "{text}"),
                Err(fragment) => {
                    let problem = found.expect_err(text);
                    assert!(problem.message.contains(fragment), "{text}: {}", problem.message);
                }
            }
        };
        check("plain $5", Ok("plain $5"));
        check("http://${HOST}:80/", Ok("http://billing:80/"));
        check("${HOST}${HOST}", Ok("billingbilling"));
        check("${EMPTY}", Ok(""));
        check("${EMPTY:-x}", Ok("x"));
        check("${MISSING:-}", Ok(""));
        check("${MISSING:-a:-b}", Ok("a:-b"));
        check("${HOST:-x}", Ok("billing"));
        check("$${HOST}", Ok("${HOST}"));
        check("$$${HOST}", Ok("$${HOST}"));
        // A value is not expanded again: it is data.
        check("${NESTED}", Ok("${HOST}"));
        check("${MISSING}", Err("`MISSING` is not set"));
        check("${MISSING", Err("without a closing"));
        check("${}", Err("names no environment variable"));
        check("${1A}", Err("names no environment variable"));
        check("${A B}", Err("names no environment variable"));
        check("${LONG}", Err("grows beyond"));
    }
}
