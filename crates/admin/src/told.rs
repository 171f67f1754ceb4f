//! Reports that are passed on as they were made.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A `T` as JSON. It is described as what it was made from. Whoever reads it passes on what a gateway of another version says, keys that are not known
/// here included.
pub struct Told<T>(Value, PhantomData<fn() -> T>);

impl<T: Serialize> Told<T> {
    /// Of a report.
    ///
    /// # Errors
    /// It cannot be written as JSON: a map whose keys are no text.
    pub fn of(report: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_value(report)?, PhantomData))
    }
}

impl<T> Told<T> {
    /// As JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }
}

impl<T> Clone for Told<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<T> PartialEq for Told<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Told<T> {}

impl<T> fmt::Debug for Told<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<T> Serialize for Told<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Told<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(value, PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Told<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, JsonSchema)]
    struct Known {
        /// How many.
        count: u64,
    }

    #[test]
    fn it_is_described_as_what_it_was_made_from() {
        let described = |schema: Schema| serde_json::to_value(schema).unwrap();
        assert_eq!(described(schemars::schema_for!(Told<Known>)), described(schemars::schema_for!(Known)));
        assert_eq!(Told::of(&Known { count: 7 }).unwrap().json(), &serde_json::json!({ "count": 7 }));
    }

    #[test]
    fn what_another_version_says_besides_is_passed_on() {
        let text = r#"{"another":[1],"count":7}"#;
        let told: Told<Known> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&told).unwrap(), text);
    }
}
