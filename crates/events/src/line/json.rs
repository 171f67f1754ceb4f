//! Compact JSON of what events are made of: objects with fixed keys, lists, texts, whole numbers, truth values and nothing.
//!
//! Maps, tuples, floating-point numbers and variants with content are in no event; they are an error here, so that a new field
//! of such a type fails its first test.

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeSeq, SerializeStruct};
use thiserror::Error;

use super::text::write_text;

/// An event holds what a line cannot.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct LineError(String);

impl ser::Error for LineError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Appends one value.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    fn number(self, number: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

fn unsupported<T>(what: &str) -> Result<T, LineError> {
    Err(LineError(format!("an event holds no {what}")))
}

/// A list or an object whose first entry may still be to come.
pub(crate) struct Entries<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Entries<'a> {
    fn open(out: &'a mut Vec<u8>, bracket: u8) -> Self {
        out.push(bracket);
        Self { out, first: true }
    }

    fn next(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }
}

impl SerializeSeq for Entries<'_> {
    type Ok = ();
    type Error = LineError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), LineError> {
        self.next();
        value.serialize(Writer::new(self.out))
    }

    fn end(self) -> Result<(), LineError> {
        self.out.push(b']');
        Ok(())
    }
}

impl SerializeStruct for Entries<'_> {
    type Ok = ();
    type Error = LineError;

    /// The key is an identifier of ours, which needs no escape.
    #[expect(clippy::inline_always, reason = "in place its key is a constant: a few stores, and no call to copy it")]
    #[inline(always)]
    fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), LineError> {
        self.out.extend_from_slice(if std::mem::take(&mut self.first) { b"\"" } else { b",\"" });
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        value.serialize(Writer::new(self.out))
    }

    fn end(self) -> Result<(), LineError> {
        self.out.push(b'}');
        Ok(())
    }
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = LineError;
    type SerializeSeq = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeTuple = Impossible<(), LineError>;
    type SerializeTupleStruct = Impossible<(), LineError>;
    type SerializeTupleVariant = Impossible<(), LineError>;
    type SerializeMap = Impossible<(), LineError>;
    type SerializeStructVariant = Impossible<(), LineError>;

    fn serialize_bool(self, value: bool) -> Result<(), LineError> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), LineError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), LineError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), LineError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), LineError> {
        self.number(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), LineError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), LineError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), LineError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), LineError> {
        self.number(value);
        Ok(())
    }

    fn serialize_f32(self, _value: f32) -> Result<(), LineError> {
        unsupported("floating-point number")
    }

    fn serialize_f64(self, _value: f64) -> Result<(), LineError> {
        unsupported("floating-point number")
    }

    fn serialize_char(self, value: char) -> Result<(), LineError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), LineError> {
        write_text(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), LineError> {
        unsupported("raw bytes")
    }

    fn serialize_none(self) -> Result<(), LineError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), LineError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), LineError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), LineError> {
        self.serialize_none()
    }

    /// The name of a variant is an identifier of ours.
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), LineError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _name: &'static str, value: &T) -> Result<(), LineError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), LineError> {
        unsupported("variant with content")
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Entries<'a>, LineError> {
        Ok(Entries::open(self.out, b'['))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, LineError> {
        unsupported("tuple")
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleStruct, LineError> {
        unsupported("tuple")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, LineError> {
        unsupported("variant with content")
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, LineError> {
        unsupported("map")
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Entries<'a>, LineError> {
        Ok(Entries::open(self.out, b'{'))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, LineError> {
        unsupported("variant with content")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Everything {
        truth: bool,
        small: i8,
        large: u64,
        nothing: Option<u8>,
        something: Option<&'static str>,
        unit: (),
        letter: char,
        list: Vec<Part>,
        empty: Vec<Part>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<u8>,
        #[serde(rename = "type")]
        kind: Kind,
    }

    #[derive(Serialize)]
    struct Part {
        name: Wrapped,
    }

    #[derive(Serialize)]
    struct Wrapped(&'static str);

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        AsItIs,
        With { content: u8 },
    }

    fn everything() -> Everything {
        Everything {
            truth: true,
            small: -7,
            large: u64::MAX,
            nothing: None,
            something: Some("a \"b\""),
            unit: (),
            letter: '\n',
            list: vec![Part { name: Wrapped("x") }, Part { name: Wrapped("") }],
            empty: Vec::new(),
            skipped: Vec::new(),
            kind: Kind::AsItIs,
        }
    }

    fn written(value: &impl Serialize) -> Result<String, LineError> {
        let mut out = Vec::new();
        value.serialize(Writer::new(&mut out))?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn it_is_what_serde_json_writes() {
        assert_eq!(written(&everything()).unwrap(), serde_json::to_string(&everything()).unwrap());
    }

    #[test]
    fn what_no_event_holds_is_an_error_and_not_a_wrong_line() {
        #[track_caller]
        fn check(value: &impl Serialize, expected: &str) {
            assert_eq!(written(value).unwrap_err().to_string(), format!("an event holds no {expected}"));
        }
        check(&1.5_f64, "floating-point number");
        check(&BTreeMap::from([("a", 1)]), "map");
        check(&(1, 2), "tuple");
        check(&Kind::With { content: 1 }, "variant with content");
    }
}
