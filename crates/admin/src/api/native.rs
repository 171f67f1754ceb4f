//! Events as they are recorded, in the description of the API.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// An event as it is recorded, `portcullis.event/1`: each of its keys is described where events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeEvent;

/// Where.
const DESCRIBED: &str = "https://portcullis.example/events";

impl JsonSchema for NativeEvent {
    fn schema_name() -> Cow<'static, str> {
        "NativeEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "An event as it is recorded, `portcullis.event/1`: docs/events.md describes its keys, which are only ever added to.",
            "required": ["schema", "id", "time", "kind", "severity", "seq", "message"],
            "externalDocs": { "url": DESCRIBED },
        })
    }
}
