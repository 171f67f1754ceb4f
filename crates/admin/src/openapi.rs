//! The operators' API as an OpenAPI document (OpenAPI Specification 3.1.1), made from the types that both sides use.

mod operations;
mod refused;
#[cfg(test)]
mod untyped;

use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use self::operations::{Answered, Body, OPERATIONS, Operation, Parameter, of};
use crate::api::{NativeEvent, TailNote};

/// What describes every document of this version of OpenAPI.
const PUBLISHED: &str = "https://spec.openapis.org/oas/3.1/schema/2022-10-07";
/// The document. The paths are those of [`api`](crate::api); who may ask for which is what the policy says.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let responses = refused::responses(&mut generator);
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = described(operation, &mut generator);
        if let Some(methods) = paths.entry(operation.path).or_insert_with(|| json!({})).as_object_mut() {
            methods.insert(operation.method.to_owned(), described);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Portcullis operators' API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What operators ask a running gateway and have it do. Each path is an action of the route `admin` in the policy.",
        },
        "servers": [{ "url": "/", "description": "The listener of `[admin]`, where this document comes from." }],
        // One of them: which ones there are is what `[[identity]]` says.
        "security": [{ "token": [] }, { "key": [] }, { "certificate": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of a provider of the configuration." },
                "key": { "type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key of the configuration; a provider may name another header." },
                "certificate": { "type": "mutualTLS", "description": "A client certificate, where the listener asks for one." },
            },
        },
    })
}

/// A body that says nothing: `{}`.
fn nothing() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// Of a parameter: one that may be repeated is a list (OpenAPI 3.1, style `form`, exploded, as by default).
fn schema_of(kind: &str) -> Value {
    match kind {
        "array" => json!({ "type": kind, "items": { "type": "string" } }),
        kind => json!({ "type": kind }),
    }
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let (description, content) = match &operation.answer {
        Answered::Json(schema) => ("Done, or known.", json_of(schema(generator).to_value())),
        Answered::Lines(what) => {
            let line = [of::<NativeEvent>(generator), of::<TailNote>(generator)].map(Schema::to_value);
            (*what, json!({ "application/x-ndjson": { "schema": { "description": "One line.", "anyOf": line } } }))
        }
        Answered::Document => {
            ("The document.", json_of(json!({ "type": "object", "externalDocs": { "url": PUBLISHED } })))
        }
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": description, "content": content }));
    for status in refused::statuses() {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation.path.trim_start_matches("/v1/").replace(['/', '.'], "_") + "_" + operation.method,
        "responses": responses,
    });
    let Some(fields) = described.as_object_mut() else { return described };
    if operation.method == "post" {
        let schema = match operation.body {
            Body::Nothing => nothing(),
            Body::Of(body) => body(generator).to_value(),
            Body::OfVerb(body) => body(generator, operation.path).to_value(),
        };
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": json_of(schema) }));
    }
    if !operation.query.is_empty() {
        let shown = |Parameter { name, kind, required, description }: &Parameter| json!({ "name": name, "in": "query", "required": required, "description": description, "schema": schema_of(kind) });
        let parameters: Vec<Value> = operation.query.iter().map(shown).collect();
        fields.insert("parameters".to_owned(), parameters.into());
    }
    described
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::JsonSchema;

    use super::*;
    use crate::{Verb, access, audit, backup, govern};

    #[test]
    fn each_path_that_is_served_is_described_and_none_besides() {
        let source = [include_str!("request.rs"), include_str!("request/more.rs")].concat();
        // Questions with parameters.
        let questions = [
            "bans",
            "sessions",
            "keys",
            "revocations",
            "policy/can",
            "policy/explain",
            "policy/who_can",
            "policy/list",
            "policy/diff",
        ];
        let mut served = BTreeSet::from(questions.map(|path| ("get".to_owned(), format!("/v1/{path}"))));
        for line in source.lines() {
            let Some((_, rest)) = line.split_once("(Method::") else { continue };
            let Some((method, rest)) = rest.split_once(", \"") else { continue };
            let (path, _) = rest.split_once('"').unwrap();
            served.insert((method.to_lowercase(), path.to_owned()));
        }
        assert!(served.len() > 30, "{served:?}");
        let described = OPERATIONS.iter().map(|each| (each.method.to_owned(), each.path.to_owned()));
        let folders = [
            govern::Governed::FOLDER,
            access::Access::FOLDER,
            audit::AuditWanted::FOLDER,
            backup::BackupWanted::FOLDER,
        ];
        let is_verb = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
        let described: BTreeSet<_> = described.filter(|(_, path)| !is_verb(path)).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn each_verb_has_its_path() {
        check_verbs::<govern::Governed>();
        check_verbs::<access::Access>();
        check_verbs::<audit::AuditWanted>();
        check_verbs::<backup::BackupWanted>();
    }

    #[test]
    fn a_verb_takes_what_is_its_own_and_may_leave_itself_to_the_path() {
        let document = document();
        let folders = [
            govern::Governed::FOLDER,
            access::Access::FOLDER,
            audit::AuditWanted::FOLDER,
            backup::BackupWanted::FOLDER,
        ];
        let mut seen = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            let Some(verb) = folders.iter().find_map(|folder| path.strip_prefix(folder)) else { continue };
            let body = &methods["post"]["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(body["properties"]["verb"]["const"], verb, "{path}");
            assert_eq!(body["additionalProperties"], false, "{path}");
            assert!(!body["required"].as_array().unwrap().contains(&json!("verb")), "{path}");
            assert!(body.get("oneOf").is_none(), "{path}");
            seen += 1;
        }
        assert_eq!(seen, OPERATIONS.iter().filter(|each| matches!(each.body, Body::OfVerb(_))).count());
        let propose = &document["paths"]["/v1/govern/propose"]["post"]["requestBody"]["content"]["application/json"];
        assert_eq!(propose["schema"]["required"], json!(["by"]));
        assert_eq!(propose["schema"]["properties"]["by"]["$ref"], "#/components/schemas/Author");
    }

    fn check_verbs<T: JsonSchema + Verb>() {
        let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap();
        let verbs = schema["oneOf"].as_array().unwrap().iter();
        let verbs: BTreeSet<String> = verbs
            .map(|each| format!("{}{}", T::FOLDER, each["properties"]["verb"]["const"].as_str().unwrap()))
            .collect();
        let paths = OPERATIONS.iter().map(|each| each.path.to_owned()).filter(|path| path.starts_with(T::FOLDER));
        assert_eq!(paths.collect::<BTreeSet<_>>(), verbs);
    }

    #[test]
    fn each_reference_of_the_document_leads_somewhere() {
        let document = document();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50, "{}", references.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        assert_eq!(
            document["paths"]["/v1/bans/add"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/NewBan"
        );
        assert_eq!(document["components"]["schemas"]["NewBan"]["required"], json!(["on", "for_s", "reason"]));
    }

    #[test]
    fn the_parameters_that_are_described_are_those_that_are_read() {
        for operation in OPERATIONS.iter().filter(|operation| operation.method == "get") {
            let value = |parameter: &Parameter| match parameter.kind {
                _ if parameter.name == "ip" => "ip=192.0.2.7".to_owned(),
                _ if parameter.name == "risk" => "risk=high".to_owned(),
                _ if parameter.name == "before" || operation.path == "/v1/policy/diff" && parameter.name == "after" => {
                    format!("{}=1", parameter.name)
                }
                "integer" => format!("{}=1", parameter.name),
                "boolean" => format!("{}=true", parameter.name),
                _ => format!("{}=x", parameter.name),
            };
            let query: Vec<String> = operation.query.iter().map(value).collect();
            let asked = crate::reading::question(operation.path, Some(&query.join("&")));
            assert!(asked.as_ref().is_none_or(Result::is_ok), "{}: {asked:?}", operation.path);
            assert!(operation.query.is_empty() || asked.is_some(), "{} takes no parameters", operation.path);
            for parameter in operation.query.iter().filter(|parameter| parameter.required) {
                let without: Vec<String> =
                    operation.query.iter().filter(|other| other.name != parameter.name).map(value).collect();
                let asked = crate::reading::question(operation.path, Some(&without.join("&")));
                assert!(asked.is_some_and(|asked| asked.is_err()), "{} needs {}", operation.path, parameter.name);
            }
        }
    }

    #[test]
    fn nothing_is_described_as_anything_at_all() {
        let document = document();
        let untyped = untyped::of(&document);
        assert_eq!(untyped, Vec::<String>::new());
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(text) if key == "$ref" => references.push(text.clone()),
                        other => collect(other, references),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
