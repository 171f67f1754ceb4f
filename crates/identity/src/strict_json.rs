//! JSON in which a member name appears once.
//!
//! RFC 7519 section 4 and RFC 7515 section 4 let a reader either refuse repeated names or keep the last. Two readers
//! that choose differently see two tokens in one, so we refuse, at every depth. Depth is bounded by `serde_json` (128)
//! and size by whoever passes the bytes in.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The members of a JSON object.
pub(crate) type Object = Map<String, Value>;

/// Why text is not one strict JSON object. The words never repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("not valid JSON")]
    Malformed,
    #[error("JSON that names a member twice")]
    RepeatedName,
    #[error("JSON but not an object")]
    NotAnObject,
}

/// Reads one JSON object and nothing after it.
pub(crate) fn parse_object(text: &[u8]) -> Result<Object, JsonError> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(Strict(_)) => Err(JsonError::NotAnObject),
        // INVARIANT: the visitor raises an error of its own only for a repeated name.
        Err(error) if error.is_data() => Err(JsonError::RepeatedName),
        Err(_) => Err(JsonError::Malformed),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without repeated member names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has no infinity; should one ever come, `null` is refused wherever a number is wanted.
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("repeated member name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{JsonError, parse_object};

    #[test]
    fn only_one_object_without_repeated_names_is_read() {
        let check = |text: &str, expected: Result<serde_json::Value, JsonError>| {
            assert_eq!(parse_object(text.as_bytes()).map(serde_json::Value::Object), expected, "{text}");
        };
        check("{}", Ok(json!({})));
        check(r#" {"a":[1,-2,0.5,"x",true,null,{"b":{}}]} "#, Ok(json!({"a":[1,-2,0.5,"x",true,null,{"b":{}}]})));
        check(r#"{"a":1,"A":2}"#, Ok(json!({"a":1,"A":2})));
        check(r#"{"a":1,"a":1}"#, Err(JsonError::RepeatedName));
        check(r#"{"a":1,"\u0061":2}"#, Err(JsonError::RepeatedName));
        check(r#"{"a":[{"b":{"c":1,"c":2}}]}"#, Err(JsonError::RepeatedName));
        check("[]", Err(JsonError::NotAnObject));
        check("null", Err(JsonError::NotAnObject));
        for malformed in
            ["", "{", "{}{}", "{} x", "{a:1}", "{\"a\":1,}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "\u{feff}{}"]
        {
            check(malformed, Err(JsonError::Malformed));
        }
    }

    #[test]
    fn deep_nesting_and_bytes_that_are_not_utf8_are_malformed() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(parse_object(deep.as_bytes()), Err(JsonError::Malformed));
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(JsonError::Malformed));
    }
}
