//! Values that become a part of an address.

use std::borrow::Cow;

use serde_json::{Value, json};
use toml::de::DeValue;

use crate::codes;
use crate::diagnostics::{Diagnostic, Span};
use crate::schema::matching;
use crate::section::{Field, Kind, shown};

/// A word that stands in a path: letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word(pub(crate) &'static str);

impl Kind for Word {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        self.0.into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(self.0)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > 256 || text.starts_with('.') || !text.bytes().all(plain) {
            let message = format!("expected {}, found \"{}\"", self.0, shown(&text));
            field.bad_value(message, Some("letters, digits, `-`, `_` and `.`".into()));
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        matching("^[A-Za-z0-9_-][A-Za-z0-9._-]{0,255}$")
    }
}

/// Labels of Loki's streams: `{ job = "portcullis" }`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels;

impl Kind for Labels {
    type Value = Vec<(std::sync::Arc<str>, std::sync::Arc<str>)>;

    fn expected(&self) -> Cow<'static, str> {
        "a table of labels such as `{ job = \"portcullis\" }`".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        let DeValue::Table(table) = field.value else {
            field.wrong_type(&self.expected(), None);
            return None;
        };
        let at = |range: std::ops::Range<usize>| Span { source: field.span.source, start: range.start, end: range.end };
        let mut labels = Vec::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !begins || !plain || name.starts_with("__") || matches!(name, "kind" | "severity") {
                let message = format!("`{}` is no name of a label", shown(name));
                let help = "letters, digits and `_`; `kind` and `severity` are there already";
                field.reader.report(Diagnostic::error(codes::BAD_VALUE, at(key.span()), message).with_help(help));
                continue;
            }
            let inner = Field { value: value.get_ref(), span: at(value.span()), ..*field };
            let Some(text) = inner.text("a string") else { continue };
            labels.push((name.into(), text.as_ref().into()));
        }
        Some(labels)
    }

    fn schema(&self) -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
