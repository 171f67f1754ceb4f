//! The one way in which values become bytes that are hashed and signed. It is unambiguous: each value has a fixed length, or its length stands
//! before it; so two different values never have the same bytes, whatever is in their texts.

use crate::hash::Hash;

/// Writes values.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// `domain` says what the bytes are, so that a signature under one kind of thing is none under another.
    pub(crate) fn new(domain: &str) -> Self {
        let mut writer = Self(Vec::new());
        writer.text(domain);
        writer
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn time(&mut self, micros: i64) {
        self.0.extend_from_slice(&micros.to_be_bytes());
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn hash(&mut self, hash: Hash) {
        self.fixed(&hash.0);
    }

    pub(crate) fn list<T>(&mut self, values: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            each(self, value);
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not what this program writes")]
pub struct Malformed;

/// Reads what [`Writer`] wrote, and nothing else.
pub(crate) struct Parser<'b>(&'b [u8]);

impl<'b> Parser<'b> {
    pub(crate) fn new(bytes: &'b [u8], domain: &str) -> Result<Self, Malformed> {
        let mut parser = Self(bytes);
        if parser.text()? == domain { Ok(parser) } else { Err(Malformed) }
    }

    /// Reads also what it is of.
    pub(crate) fn any(bytes: &'b [u8]) -> Result<(String, Self), Malformed> {
        let mut parser = Self(bytes);
        Ok((parser.text()?, parser))
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn time(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)?;
        Ok(text.to_owned())
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, Malformed> {
        Ok(Hash(self.array()?))
    }

    /// A list of at most `most` values.
    pub(crate) fn list<T>(
        &mut self,
        most: usize,
        mut each: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= most).ok_or(Malformed)?;
        (0..count).map(|_| each(self)).collect()
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
