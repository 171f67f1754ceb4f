//! Holds what the gateway says to the document that describes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use portcullis_testkit::published::openapi_problems;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(portcullis_admin::openapi::document);

/// That a value is what the document says of this name, key by key, and has none besides.
#[track_caller]
pub(crate) fn check(name: &str, value: &Value) {
    let schemas = Schemas { document: &DOCUMENT, strictly: true };
    let wrong = schemas.problems(&json!({ "$ref": format!("#/components/schemas/{name}") }), value, name);
    assert_eq!(wrong, Vec::<String>::new(), "{value:#}");
}

/// What an answer of this status and media type is described as.
#[track_caller]
pub(crate) fn response(status: u16, kind: &str) -> &'static str {
    let content = &DOCUMENT["components"]["responses"][status.to_string()]["content"];
    let reference = content[kind]["schema"]["$ref"].as_str();
    let reference = reference.unwrap_or_else(|| panic!("{status} with {kind} is not described: {content}"));
    reference.rsplit('/').next().unwrap()
}

/// The keys that the document describes under this name, and under those that it refers to, which no value has, or all have as null or empty: whether
/// their description is true of what is answered nobody has seen.
pub(crate) fn unseen(name: &str, values: &[&Value]) -> Vec<String> {
    unseen_in(&DOCUMENT, &format!("#/components/schemas/{name}"), values)
}

fn unseen_in(document: &Value, root: &str, values: &[&Value]) -> Vec<String> {
    let mut seen = Seen { document, of: BTreeMap::new() };
    values.iter().for_each(|value| seen.note_at(root, value));
    let missing = |(reference, keys): (&String, &BTreeMap<&str, bool>)| -> Vec<String> {
        let name = reference.rsplit('/').next().unwrap().to_owned();
        keys.iter().filter(|(_, there)| !**there).map(|(key, _)| format!("{name}.{key}")).collect()
    };
    seen.of.iter().flat_map(missing).collect()
}

/// Which keys of what is described were there, by the reference that describes it.
struct Seen<'d> {
    document: &'d Value,
    of: BTreeMap<String, BTreeMap<&'d str, bool>>,
}

impl<'d> Seen<'d> {
    fn note_at(&mut self, reference: &str, value: &Value) {
        let schema = self.document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"));
        self.of.entry(reference.to_owned()).or_default();
        self.note(schema, value, reference);
    }

    fn note(&mut self, schema: &'d Value, value: &Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str()
            && is_filled(value)
        {
            self.note_at(reference, value);
        }
        for choice in ["oneOf", "anyOf"].iter().filter_map(|keyword| schema[*keyword].as_array()).flatten() {
            self.note(choice, value, at);
        }
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            let there = value.get(key).filter(|value| is_filled(value));
            *self.of.entry(at.to_owned()).or_default().entry(key).or_default() |= there.is_some();
            there.into_iter().for_each(|value| self.note(schema, value, at));
        }
        if let Some(map) = value.as_object().filter(|_| schema["additionalProperties"].is_object()) {
            map.values().for_each(|value| self.note(&schema["additionalProperties"], value, at));
        }
        let Some(items) = value.as_array() else { return };
        for (schema, item) in schema["prefixItems"].as_array().into_iter().flatten().zip(items) {
            self.note(schema, item, at);
        }
        if schema["items"].is_object() {
            items.iter().for_each(|item| self.note(&schema["items"], item, at));
        }
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Holds values to the schemas of the document.
pub(crate) struct Schemas<'d> {
    pub(crate) document: &'d Value,
    /// What is not described is wrong, too: an answer has no key that its reader cannot know of.
    pub(crate) strictly: bool,
}

impl Schemas<'_> {
    /// What is wrong with a value. A keyword that is not known here fails the test: nothing is passed over.
    pub(crate) fn problems(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema that takes anything: {schema}"));
        let mut wrong = Vec::new();
        for (keyword, rule) in schema {
            let fits = match (keyword.as_str(), value) {
                // For a reader: a format is no demand (JSON Schema 2020-12, Validation, section 7.2.1).
                ("description" | "title" | "default" | "format", _) => true,
                ("externalDocs", _) => match rule["url"].as_str().unwrap() {
                    // Of the document itself: the validator that others wrote knows it.
                    "https://spec.openapis.org/oas/3.1/schema/2022-10-07" => {
                        wrong.extend(openapi_problems(&value.to_string()));
                        true
                    }
                    "https://portcullis.example/events" => value["schema"] == "portcullis.event/1",
                    other => panic!("{at}: nobody holds anything to {other} here"),
                },
                ("$ref", _) => {
                    let target = self.document.pointer(rule.as_str().unwrap().trim_start_matches('#'));
                    wrong.extend(self.problems(target.unwrap_or_else(|| panic!("{at}: {rule}")), value, at));
                    true
                }
                ("type", _) => match rule {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_a(kind, value)),
                    kind => is_a(kind, value),
                },
                ("const", _) => rule == value,
                ("enum", _) => rule.as_array().unwrap().contains(value),
                ("oneOf" | "anyOf", _) => {
                    let fitting = |each: &&Value| self.problems(each, value, at).is_empty();
                    let count = rule.as_array().unwrap().iter().filter(fitting).count();
                    count == 1 || (count > 1 && keyword == "anyOf")
                }
                ("minimum", Value::Number(number)) => number.as_f64() >= rule.as_f64(),
                ("maximum", Value::Number(number)) => number.as_f64() <= rule.as_f64(),
                ("minItems", Value::Array(items)) => items.len() as u64 >= rule.as_u64().unwrap(),
                ("maxItems", Value::Array(items)) => items.len() as u64 <= rule.as_u64().unwrap(),
                ("items", Value::Array(items)) => {
                    let begin = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                    items.iter().skip(begin).for_each(|item| wrong.extend(self.problems(rule, item, at)));
                    true
                }
                ("prefixItems", Value::Array(items)) => {
                    let pairs = rule.as_array().unwrap().iter().zip(items);
                    pairs.for_each(|(rule, item)| wrong.extend(self.problems(rule, item, at)));
                    true
                }
                ("required", Value::Object(fields)) => {
                    rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
                }
                ("properties", Value::Object(fields)) => {
                    let known = rule.as_object().unwrap();
                    for (name, rule) in known.iter().filter(|(name, _)| fields.contains_key(*name)) {
                        wrong.extend(self.problems(rule, &fields[name], &format!("{at} {name}")));
                    }
                    let others = schema.contains_key("additionalProperties");
                    !self.strictly || others || fields.keys().all(|name| known.contains_key(name))
                }
                // With a reference beside it, what that describes is known, too.
                ("additionalProperties", Value::Object(_)) if rule == false && schema.contains_key("$ref") => true,
                ("additionalProperties", Value::Object(fields)) => {
                    let known = schema.get("properties").and_then(Value::as_object);
                    let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
                    let mut others = fields.iter().filter(|(name, _)| !is_known(name));
                    if rule == false {
                        others.next().is_none()
                    } else {
                        others.for_each(|(name, value)| {
                            wrong.extend(self.problems(rule, value, &format!("{at} {name}")));
                        });
                        true
                    }
                }
                // Of another type than these speak of.
                (
                    "minimum"
                    | "maximum"
                    | "examples"
                    | "minItems"
                    | "maxItems"
                    | "items"
                    | "prefixItems"
                    | "required"
                    | "properties"
                    | "additionalProperties",
                    _,
                ) => true,
                (keyword, _) => panic!("{at}: the keyword `{keyword}` is not known here"),
            };
            if !fits {
                wrong.push(format!("{at}: not as `{keyword}` says ({rule}): {value}"));
            }
        }
        wrong
    }
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type `{other}`"),
    }
}

#[test]
fn values_are_held_to_a_schema() {
    let document = json!({ "a": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer", "minimum": 1 } } } });
    let check = |schema: Value, value: Value, fits: bool| {
        let schemas = Schemas { document: &document, strictly: true };
        assert_eq!(schemas.problems(&schema, &value, "").is_empty(), fits, "{schema} {value}");
    };
    let reference = || json!({ "$ref": "#/a" });
    check(reference(), json!({ "n": 1 }), true);
    check(reference(), json!({ "n": 0 }), false);
    check(reference(), json!({ "n": "1" }), false);
    check(reference(), json!({}), false);
    check(reference(), json!({ "n": 1, "more": true }), false);
    check(json!({ "type": "array", "items": reference() }), json!([{ "n": 1 }, {}]), false);
    check(json!({ "anyOf": [reference(), { "type": "null" }] }), json!(null), true);
    check(json!({ "anyOf": [reference(), { "type": "null" }] }), json!(1), false);
    check(json!({ "oneOf": [{ "const": "a" }, { "enum": ["a", "b"] }] }), json!("a"), false);
    let map = || json!({ "type": "object", "additionalProperties": reference() });
    check(map(), json!({ "x": { "n": 1 } }), true);
    check(map(), json!({ "x": { "n": 0 } }), false);
    check(json!({ "type": "object", "properties": {}, "additionalProperties": false }), json!({ "x": 1 }), false);
}

#[test]
fn what_no_value_has_is_told() {
    let document = json!({
        "inner": { "type": "object", "properties": { "n": { "type": "integer" }, "m": { "type": "integer" } } },
        "outer": { "type": "object", "properties": {
            "list": { "type": "array", "items": { "$ref": "#/inner" } },
            "map": { "type": "object", "additionalProperties": { "$ref": "#/inner" } },
            "pairs": { "type": "array", "items": { "type": "array", "prefixItems": [{ "$ref": "#/inner" }] } },
            "maybe": { "anyOf": [{ "$ref": "#/inner" }, { "type": "null" }] },
        } },
    });
    let check = |value: Value, expected: &[&str]| {
        assert_eq!(unseen_in(&document, "#/outer", &[&value]), expected, "{value}");
    };
    let filled = |inner: Value| json!({ "list": [inner], "map": { "x": inner }, "pairs": [[inner]], "maybe": inner });
    check(filled(json!({ "n": 1, "m": 2 })), &[]);
    check(filled(json!({ "n": 1 })), &["inner.m"]);
    check(filled(json!({ "n": 1, "m": null })), &["inner.m"]);
    check(json!({ "list": [{ "n": 1 }], "map": { "x": { "m": 1 } } }), &["outer.maybe", "outer.pairs"]);
    check(json!({ "pairs": [[{ "n": 1 }]], "maybe": { "m": 1 } }), &["outer.list", "outer.map"]);
    check(
        json!({ "list": [], "map": {}, "pairs": [], "maybe": null }),
        &["outer.list", "outer.map", "outer.maybe", "outer.pairs"],
    );
}
