//! Finds what a document describes as anything at all.

use serde_json::{Map, Value, json};

/// Where a schema of the document says nothing of what it takes: neither a type nor a choice, an object whose keys or an array whose items are not told.
pub(super) fn of(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(document, "", &mut found);
    found
}

/// Schemas stand where OpenAPI has them: under `schema`, and in `components.schemas`.
fn look(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let at = format!("{at}/{key}");
                match value {
                    schema if key == "schema" => judge(schema, &at, found),
                    Value::Object(schemas) if key == "schemas" => judge_all(schemas, &at, found),
                    other => look(other, &at, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| look(item, at, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn judge_all(schemas: &Map<String, Value>, at: &str, found: &mut Vec<String>) {
    schemas.iter().for_each(|(name, schema)| judge(schema, &format!("{at}/{name}"), found));
}

fn judge(schema: &Value, at: &str, found: &mut Vec<String>) {
    let Some(fields) = schema.as_object() else { return found.push(format!("{at}: {schema}")) };
    let says = |key: &str| fields.contains_key(key);
    let choice = ["$ref", "const", "enum"].into_iter().any(says);
    for keyword in ["oneOf", "anyOf", "allOf"] {
        let all = fields.get(keyword).and_then(Value::as_array).into_iter().flatten();
        all.enumerate().for_each(|(index, each)| judge(each, &format!("{at}/{keyword}/{index}"), found));
    }
    let chooses = choice || ["oneOf", "anyOf", "allOf"].into_iter().any(says);
    let is = |kind: &str| match fields.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|each| each == kind),
        Some(one) => one == kind,
        None => false,
    };
    if !says("type") && !chooses {
        found.push(format!("{at}: {schema}"));
    }
    if let Some(Value::Object(known)) = fields.get("properties") {
        judge_all(known, at, found);
    }
    match fields.get("additionalProperties") {
        Some(Value::Bool(false)) => {}
        // What others have published describes it.
        None if says("externalDocs") => {}
        Some(others) => judge(others, &format!("{at}/*"), found),
        None if is("object") && !says("properties") && !chooses => found.push(format!("{at}: an object of what?")),
        None => {}
    }
    for (index, item) in fields.get("prefixItems").and_then(Value::as_array).into_iter().flatten().enumerate() {
        judge(item, &format!("{at}/{index}"), found);
    }
    match fields.get("items") {
        Some(items) => judge(items, &format!("{at}/items"), found),
        None if is("array") && !says("prefixItems") => found.push(format!("{at}: an array of what?")),
        None => {}
    }
}

#[test]
fn what_says_nothing_is_found_and_what_says_something_is_not() {
    let check = |schema: Value, expected: usize| {
        let document = json!({ "paths": { "/x": { "get": { "content": [{ "schema": schema }] } } } });
        assert_eq!(of(&document).len(), expected, "{document}");
        assert_eq!(of(&json!({ "components": { "schemas": { "X": schema } } })).len(), expected, "{schema}");
    };
    check(json!(true), 1);
    check(json!({}), 1);
    check(json!({ "description": "x" }), 1);
    check(json!({ "type": "object" }), 1);
    check(json!({ "type": "array" }), 1);
    check(json!({ "type": ["array", "null"] }), 1);
    check(json!({ "type": "array", "items": true }), 1);
    check(json!({ "type": "array", "prefixItems": [true, { "type": "string" }] }), 1);
    check(json!({ "type": "object", "additionalProperties": true }), 1);
    check(json!({ "type": "object", "properties": { "report": true, "text": { "description": "x" } } }), 2);
    check(json!({ "anyOf": [{ "type": "null" }, {}] }), 1);
    check(json!({ "type": "string" }), 0);
    check(json!({ "$ref": "#/x" }), 0);
    check(json!({ "type": "object", "externalDocs": { "url": "https://example.com/schema" } }), 0);
    check(json!({ "type": "object", "additionalProperties": { "type": "string" } }), 0);
    check(json!({ "type": "object", "properties": {}, "additionalProperties": false }), 0);
    check(json!({ "type": "array", "items": { "enum": ["a"] } }), 0);
}
