//! As much of a JSON Schema validator as the schemas here use. The well-kept crates bring a licence that this project does
//! not allow (MIT-0, by way of their URI parser). A keyword that is not known is a failure, so that none goes unchecked.

use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// What is wrong with a value, each with its path. Nothing: it is valid.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(schema, value, "", &mut problems);
    problems
}

/// A document of TOML as JSON; a date-time is its text, as editors hand it to a validator.
pub(super) fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        // What is no number in JSON is none here.
        toml::Value::Float(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(moment) => json!(moment.to_string()),
        toml::Value::Array(elements) => elements.iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let schema = schema.as_object().expect("a schema is an object");
    for (keyword, operand) in schema {
        if let Some(problem) = broken(schema, keyword, operand, value) {
            problems.push(format!("{path}: {problem}"));
        }
        inside(keyword, operand, value, path, problems);
    }
}

/// What a keyword says about the value itself.
fn broken(schema: &Map<String, Value>, keyword: &str, operand: &Value, value: &Value) -> Option<String> {
    let count = |operand: &Value| usize::try_from(operand.as_u64().unwrap()).unwrap();
    let fits = match (keyword, value) {
        ("type", _) => is_of_type(operand.as_str().unwrap(), value),
        ("enum", _) => operand.as_array().unwrap().contains(value),
        ("pattern", Value::String(text)) => Regex::new(operand.as_str().unwrap()).unwrap().is_match(text),
        ("minLength", Value::String(text)) => text.chars().count() >= count(operand),
        ("minItems", Value::Array(elements)) => elements.len() >= count(operand),
        ("minimum", Value::Number(number)) => number.as_f64() >= operand.as_f64(),
        ("maximum", Value::Number(number)) => number.as_f64() <= operand.as_f64(),
        ("required", Value::Object(table)) => {
            operand.as_array().unwrap().iter().all(|key| table.contains_key(key.as_str().unwrap()))
        }
        ("additionalProperties", Value::Object(table)) if operand.is_object() => {
            table.values().all(|inner| problems(operand, inner).is_empty())
        }
        ("additionalProperties", Value::Object(table)) => {
            assert_eq!(operand, &json!(false));
            table.keys().all(|key| schema["properties"].get(key).is_some())
        }
        ("anyOf", _) => operand.as_array().unwrap().iter().any(|branch| problems(branch, value).is_empty()),
        ("not", _) => !problems(operand, value).is_empty(),
        _ => return None,
    };
    (!fits).then(|| format!("`{keyword}` {operand} does not hold for {value}"))
}

/// What a keyword says about parts of the value, or by several schemas.
fn inside(keyword: &str, operand: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    match (keyword, value) {
        ("properties", Value::Object(table)) => {
            for (key, value) in table {
                if let Some(schema) = operand.get(key) {
                    check(schema, value, &format!("{path}.{key}"), problems);
                }
            }
        }
        ("items", Value::Array(elements)) => {
            for (index, element) in elements.iter().enumerate() {
                check(operand, element, &format!("{path}[{index}]"), problems);
            }
        }
        ("allOf", _) => operand.as_array().unwrap().iter().for_each(|each| check(each, value, path, problems)),
        (
            "$schema"
            | "title"
            | "description"
            | "default"
            | "deprecated"
            | "type"
            | "enum"
            | "pattern"
            | "minLength"
            | "minItems"
            | "minimum"
            | "maximum"
            | "required"
            | "additionalProperties"
            | "anyOf"
            | "not"
            | "properties"
            | "items",
            _,
        ) => {}
        (unknown, _) => panic!("`{unknown}` is not checked"),
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type `{other}`"),
    }
}

#[test]
fn every_keyword_says_yes_and_no() {
    let yes = |schema: Value, value: Value| assert_eq!(problems(&schema, &value), Vec::<String>::new());
    let no = |schema: Value, value: Value| assert_eq!(problems(&schema, &value).len(), 1, "{schema} {value}");
    yes(json!({ "type": "integer" }), json!(1));
    no(json!({ "type": "integer" }), json!(1.5));
    no(json!({ "type": "boolean" }), json!("true"));
    yes(json!({ "enum": [1] }), json!(1));
    no(json!({ "enum": [1] }), json!(2));
    yes(json!({ "pattern": "^a" }), json!("ab"));
    no(json!({ "pattern": "^a" }), json!("ba"));
    no(json!({ "minLength": 1 }), json!(""));
    no(json!({ "minItems": 1 }), json!([]));
    yes(json!({ "minimum": 1, "maximum": 1 }), json!(1));
    no(json!({ "minimum": 1 }), json!(0));
    no(json!({ "maximum": 1 }), json!(2));
    no(json!({ "required": ["a"] }), json!({ "b": 1 }));
    let strict = json!({ "properties": { "a": { "type": "string" } }, "additionalProperties": false });
    yes(strict.clone(), json!({ "a": "x" }));
    no(strict.clone(), json!({ "a": 1 }));
    no(strict, json!({ "b": 1 }));
    no(json!({ "items": { "type": "string" } }), json!(["a", 1]));
    yes(json!({ "anyOf": [{ "type": "string" }, { "type": "array" }] }), json!([]));
    no(json!({ "anyOf": [{ "type": "string" }, { "type": "array" }] }), json!(1));
    no(json!({ "allOf": [{ "type": "string" }, { "minLength": 1 }] }), json!(""));
    yes(json!({ "not": { "type": "string" } }), json!(1));
    no(json!({ "not": { "type": "string" } }), json!("a"));
}
