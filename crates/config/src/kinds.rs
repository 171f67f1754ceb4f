//! The kinds of value that a file can hold, each read strictly and with a remedy for what people usually get wrong.

mod address;
mod condition;
mod protocol;
mod quantity;
mod rule;

pub(crate) use address::{EndpointLink, Header, Place, Prefix, PrefixOrNetwork, Socket, WeightedLink, parse_prefix};
pub(crate) use condition::{Country, WeeklyHours};
pub(crate) use protocol::Protocol;
pub(crate) use quantity::{Decimal, Integer, Moment, Percentage, Size, Time};
pub(crate) use rule::{Action, PrincipalName};

use std::borrow::Cow;
use std::path::PathBuf;

use serde_json::{Value, json};
use toml::de::DeValue;

use crate::schema::{matching, one_of};
use crate::section::{Field, Kind, shown};
use crate::suggest;

/// Names are at most this many characters long.
const MAX_NAME: usize = 128;

/// Any string that is not empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text;

impl Kind for Text {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a string".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text("a string")?;
        if text.is_empty() {
            field.bad_value("must not be empty", None);
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// Any string, also an empty one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnyText;

impl Kind for AnyText {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a string".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        Some(field.text("a string")?.into_owned())
    }

    fn schema(&self) -> Value {
        json!({ "type": "string" })
    }
}

/// The name of something: it must be fit for a label, a log line and a list separated by commas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name;

impl Kind for Name {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a name such as \"billing\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        let problem = if text.is_empty() {
            "must not be empty".to_owned()
        } else if text.chars().nth(MAX_NAME).is_some() {
            format!("is longer than {MAX_NAME} characters")
        } else if text.chars().any(|character| character.is_control() || character == ',') {
            "holds a comma or a control character".to_owned()
        } else if text.trim() != text {
            "begins or ends with a space".to_owned()
        } else {
            return Some(text.into_owned());
        };
        field.bad_value(problem, None);
        None
    }

    fn schema(&self) -> Value {
        matching(&format!("^[^,]{{1,{MAX_NAME}}}$"))
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn expected(&self) -> Cow<'static, str> {
        "`true` or `false`".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<bool> {
        let DeValue::Boolean(value) = field.value else {
            let quoted = matches!(field.value, DeValue::String(_));
            field.wrong_type(&self.expected(), quoted.then(|| "write it without quotes".to_owned()));
            return None;
        };
        Some(*value)
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

/// One word out of a closed list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<V: 'static>(pub(crate) &'static [(&'static str, V)]);

impl<V: Copy> Kind for Choice<V> {
    type Value = V;

    fn expected(&self) -> Cow<'static, str> {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        match words.as_slice() {
            [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")).into(),
            _ => words.concat().into(),
        }
    }

    fn read(&self, field: &Field<'_>) -> Option<V> {
        let expected = self.expected();
        let text = field.text(&expected)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let near = suggest::nearest(&text, self.0.iter().map(|(word, _)| *word));
            let help = near.map(|word| format!("did you mean \"{word}\"?"));
            field.bad_value(format!("expected {expected}, found \"{}\"", shown(&text)), help);
        }
        found.map(|(_, value)| *value)
    }

    fn schema(&self) -> Value {
        one_of(self.0.iter().map(|(word, _)| *word))
    }
}

/// A path, relative to the file that names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilePath;

/// A path as it was written, and as it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedPath {
    pub(crate) written: String,
    pub(crate) path: PathBuf,
}

impl Kind for FilePath {
    type Value = ResolvedPath;

    fn expected(&self) -> Cow<'static, str> {
        "a path, relative to this file".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<ResolvedPath> {
        let written = field.text(&self.expected())?.into_owned();
        if written.is_empty() || written.contains('\0') {
            field.bad_value("is not a path", None);
            return None;
        }
        Some(ResolvedPath { path: field.reader.resolve(field.span.source, &written), written })
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1, "description": "A path, relative to this file." })
    }
}
