//! The encoding of messages: BER as RFC 4511 section 5.1 restricts it.
//!
//! Lengths are definite, and tags have one octet: LDAP has no others. An element is a slice of the message, so nothing is copied and
//! nothing nests by itself.

/// It is not what LDAP sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent something that is no message of LDAP")]
pub(crate) struct Malformed;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'m>(&'m [u8]);

/// The head of an element that may not be whole yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tag: u8,
    /// The octets of tag and length.
    pub(crate) octets: usize,
    /// The octets that follow.
    pub(crate) content: usize,
}

/// The head of the element that begins here; `None` if more octets are needed to tell.
pub(crate) fn head(octets: &[u8]) -> Result<Option<Head>, Malformed> {
    let [tag, first, rest @ ..] = octets else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    if *first < 0x80 {
        return Ok(Some(Head { tag: *tag, octets: 2, content: usize::from(*first) }));
    }
    // At most four octets: more than a message may have anyhow. None is the indefinite form.
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(Malformed);
    }
    let Some(length) = rest.get(..count) else { return Ok(None) };
    let content = length.iter().fold(0, |length: usize, octet| length << 8 | usize::from(*octet));
    Ok(Some(Head { tag: *tag, octets: 2 + count, content }))
}

impl<'m> Reader<'m> {
    pub(crate) fn new(octets: &'m [u8]) -> Self {
        Self(octets)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and its content.
    pub(crate) fn element(&mut self) -> Result<(u8, &'m [u8]), Malformed> {
        let head = head(self.0)?.ok_or(Malformed)?;
        let end = head.octets.checked_add(head.content).ok_or(Malformed)?;
        let content = self.0.get(head.octets..end).ok_or(Malformed)?;
        self.0 = self.0.get(end..).ok_or(Malformed)?;
        Ok((head.tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'m [u8], Malformed> {
        match self.element()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }

    /// The elements of the next one, which must have this tag.
    pub(crate) fn within(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.expect(tag).map(Self)
    }

    /// A number of at most 32 bits (RFC 4511 section 4.1.1: `maxInt`).
    pub(crate) fn number(&mut self, tag: u8) -> Result<i32, Malformed> {
        let content = self.expect(tag)?;
        let [first, ..] = content else { return Err(Malformed) };
        if content.len() > 4 {
            return Err(Malformed);
        }
        let sign = if first & 0x80 == 0 { 0 } else { -1 };
        Ok(content.iter().fold(sign, |number: i32, octet| number << 8 | i32::from(*octet)))
    }

    /// Text; what is not UTF-8 in it becomes a replacement character.
    pub(crate) fn text(&mut self, tag: u8) -> Result<String, Malformed> {
        self.expect(tag).map(|content| String::from_utf8_lossy(content).into_owned())
    }
}

/// Appends an element.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let leading = octets.iter().take_while(|octet| **octet == 0).count();
            let used = octets.get(leading..).unwrap_or_default();
            // INVARIANT: a length has at most 8 octets.
            out.push(0x80 | u8::try_from(used.len()).unwrap_or(8));
            out.extend_from_slice(used);
        }
    }
    out.extend_from_slice(content);
}

/// Appends an element whose content `write` makes.
pub(crate) fn put_with(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    write(&mut content);
    put(out, tag, &content);
}

/// Appends a number of at least 0.
pub(crate) fn put_number(out: &mut Vec<u8>, tag: u8, number: u32) {
    let octets = u64::from(number).to_be_bytes();
    // The first octet of a positive number has no sign bit.
    let leading = octets.windows(2).take_while(|pair| matches!(pair, [0, next] if next & 0x80 == 0)).count();
    put(out, tag, octets.get(leading..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_is_whole_or_waits_or_is_none() {
        for (octets, expected) in [
            (&[][..], Ok(None)),
            (&[0x30], Ok(None)),
            (&[0x30, 5], Ok(Some((2, 5)))),
            (&[0x30, 0x7f], Ok(Some((2, 127)))),
            (&[0x30, 0x81], Ok(None)),
            (&[0x30, 0x81, 200], Ok(Some((3, 200)))),
            (&[0x30, 0x82, 1, 0], Ok(Some((4, 256)))),
            (&[0x30, 0x84, 0, 0, 0, 5], Ok(Some((6, 5)))),
            (&[0x30, 0x84, 255, 255, 255, 255], Ok(Some((6, 0xffff_ffff)))),
            (&[0x30, 0x85, 0, 0, 0, 0, 5], Err(Malformed)),
            (&[0x30, 0x80], Err(Malformed)),
            (&[0x1f, 5], Err(Malformed)),
            (&[0x3f, 0x81, 5], Err(Malformed)),
        ] {
            let found = head(octets).map(|head| head.map(|head| (head.octets, head.content)));
            assert_eq!(found, expected, "{octets:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_encoding() {
        for (number, octets) in [
            (0_u32, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (500, &[2, 2, 1, 244]),
            (0x7fff_ffff, &[2, 4, 127, 255, 255, 255]),
        ] {
            let mut out = Vec::new();
            put_number(&mut out, INTEGER, number);
            assert_eq!(out, octets);
            assert_eq!(Reader::new(&out).number(INTEGER), Ok(i32::try_from(number).unwrap()));
        }
        assert_eq!(Reader::new(&[2, 1, 0xff]).number(INTEGER), Ok(-1));
        for bad in [&[2, 0][..], &[2, 5, 0, 0, 0, 0, 1], &[4, 1, 0], &[2, 2, 1]] {
            assert_eq!(Reader::new(bad).number(INTEGER), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn long_content_has_a_long_length() {
        for length in [127, 128, 255, 256, 65_535, 65_536] {
            let mut out = Vec::new();
            put(&mut out, OCTETS, &vec![7; length]);
            assert_eq!(Reader::new(&out).expect(OCTETS).map(<[u8]>::len), Ok(length));
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(content in proptest::collection::vec(any::<u8>(), 0..600), tail in any::<[u8; 3]>()) {
            let mut out = Vec::new();
            put(&mut out, OCTETS, &content);
            out.extend_from_slice(&tail);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.expect(OCTETS), Ok(&content[..]));
            prop_assert_eq!(reader.0, &tail[..]);
        }

        #[test]
        fn anything_is_read_or_malformed(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&octets);
            while !reader.is_empty() && reader.element().is_ok() {}
        }
    }
}
