//! A JSON document, of which the strings at some pointers are read.

use serde_json::Value;

use crate::parse::{Entries, ParseError};
use crate::settings::{Pointer, Step};

/// Reads the strings at all pointers. Where a pointer leads to nothing, the document is not what it was.
pub(crate) fn parse_json(text: &str, pointers: &[Pointer], entries: &mut Entries) -> Result<(), ParseError> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| ParseError::Form(format!("it is no JSON: {error}")))?;
    for pointer in pointers {
        let mut walk = Walk { entries, arrived: false, way: Vec::new() };
        walk.go(&document, &pointer.steps);
        if !walk.arrived {
            return Err(ParseError::Form(format!("nothing is at `{}`", pointer.text)));
        }
    }
    Ok(())
}

struct Walk<'e> {
    entries: &'e mut Entries,
    /// The pointer led to something, were it an empty list behind its last `*`.
    arrived: bool,
    way: Vec<String>,
}

impl Walk<'_> {
    fn go(&mut self, value: &Value, steps: &[Step]) {
        if self.entries.is_full() {
            self.arrived = true;
            return;
        }
        let Some((step, rest)) = steps.split_first() else {
            self.arrived = true;
            let place = || format!("/{}", self.way.join("/"));
            match value {
                Value::String(text) => self.entries.add(text, place),
                other => self.entries.wrong(place, || format!("{} stands where a string should", kind(other))),
            }
            return;
        };
        match (step, value) {
            (Step::Every, Value::Array(list)) => {
                self.arrived |= rest.is_empty() && list.is_empty();
                for (index, each) in list.iter().enumerate() {
                    self.step(index.to_string(), each, rest);
                }
            }
            (Step::Every, Value::Object(members)) => {
                self.arrived |= rest.is_empty() && members.is_empty();
                for (key, each) in members {
                    self.step(key.clone(), each, rest);
                }
            }
            (Step::Key(key), Value::Object(members)) => {
                if let Some(each) = members.get(&**key) {
                    self.step(key.to_string(), each, rest);
                }
            }
            (Step::Key(key), Value::Array(list)) => {
                if let Some(each) = key.parse::<usize>().ok().and_then(|index| list.get(index)) {
                    self.step(key.to_string(), each, rest);
                }
            }
            (Step::Every | Step::Key(_), Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {}
        }
    }

    fn step(&mut self, name: String, value: &Value, rest: &[Step]) {
        self.way.push(name);
        self.go(value, rest);
        self.way.pop();
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
