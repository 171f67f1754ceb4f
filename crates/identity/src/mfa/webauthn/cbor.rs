//! As much CBOR (RFC 8949) as WebAuthn speaks, read strictly: definite lengths, shortest numbers, no tag, no float, no key twice, and bounds on depth and size.
//! Authenticators must write it so (CTAP 2.1 section 8); what they do not write is not read.

/// One item. Texts and byte strings are those of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item<'i> {
    Integer(i64),
    Bytes(&'i [u8]),
    Text(&'i str),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Bool(bool),
}

/// It is not CBOR that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CborError;

/// How deep items may be in items, and how many one may have.
const MAX_DEPTH: usize = 4;
const MAX_ITEMS: u64 = 64;

impl<'i> Item<'i> {
    /// An item that is the whole input.
    pub(super) fn parse(input: &'i [u8]) -> Result<Self, CborError> {
        match Self::parse_first(input)? {
            (item, []) => Ok(item),
            (_, _) => Err(CborError),
        }
    }

    /// The first item, and what follows it.
    pub(super) fn parse_first(input: &'i [u8]) -> Result<(Self, &'i [u8]), CborError> {
        let mut rest = input;
        let item = item(&mut rest, MAX_DEPTH)?;
        Ok((item, rest))
    }

    /// What a map has under a key.
    pub(super) fn get(&self, key: &Item<'_>) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(found, _)| found == key).map(|(_, value)| value)
    }

    pub(super) fn as_bytes(&self) -> Option<&'i [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }
}

fn item<'i>(rest: &mut &'i [u8], depth: usize) -> Result<Item<'i>, CborError> {
    let depth = depth.checked_sub(1).ok_or(CborError)?;
    let first = *take(rest, 1)?.first().ok_or(CborError)?;
    let (major, short) = (first >> 5, first & 0x1f);
    if major == 7 {
        return match short {
            20 => Ok(Item::Bool(false)),
            21 => Ok(Item::Bool(true)),
            _ => Err(CborError),
        };
    }
    let argument = argument(rest, short)?;
    match major {
        0 => i64::try_from(argument).map(Item::Integer).map_err(|_| CborError),
        1 => i64::try_from(argument).map(|number| Item::Integer(-1 - number)).map_err(|_| CborError),
        2 => Ok(Item::Bytes(take(rest, argument)?)),
        3 => std::str::from_utf8(take(rest, argument)?).map(Item::Text).map_err(|_| CborError),
        4 if argument <= MAX_ITEMS => {
            (0..argument).map(|_| item(rest, depth)).collect::<Result<_, _>>().map(Item::Array)
        }
        5 if argument <= MAX_ITEMS => {
            let mut entries: Vec<(Item<'i>, Item<'i>)> = Vec::new();
            for _ in 0..argument {
                let (key, value) = (item(rest, depth)?, item(rest, depth)?);
                if !matches!(key, Item::Integer(_) | Item::Text(_)) || entries.iter().any(|(known, _)| *known == key) {
                    return Err(CborError);
                }
                entries.push((key, value));
            }
            Ok(Item::Map(entries))
        }
        _ => Err(CborError),
    }
}

/// RFC 8949 section 3; one that a shorter form could have said is refused (section 4.2.1).
fn argument(rest: &mut &[u8], short: u8) -> Result<u64, CborError> {
    let (bytes, least) = match short {
        0..=23 => return Ok(u64::from(short)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return Err(CborError),
    };
    let argument = take(rest, bytes)?.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    if argument < least { Err(CborError) } else { Ok(argument) }
}

fn take<'i>(rest: &mut &'i [u8], count: u64) -> Result<&'i [u8], CborError> {
    let count = usize::try_from(count).map_err(|_| CborError)?;
    let (taken, left) = rest.split_at_checked(count).ok_or(CborError)?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn check(hex: &str, expected: &str) {
        let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
        let found = Item::parse(&bytes).map_or_else(|CborError| "error".to_owned(), |item| format!("{item:?}"));
        assert_eq!(found, expected, "{hex}");
    }

    #[test]
    fn what_rfc_8949_shows_is_read() {
        // Appendix A, as far as it is read here.
        check("00", "Integer(0)");
        check("17", "Integer(23)");
        check("1818", "Integer(24)");
        check("1903e8", "Integer(1000)");
        check("1a000f4240", "Integer(1000000)");
        check("1b000000e8d4a51000", "Integer(1000000000000)");
        check("20", "Integer(-1)");
        check("3903e7", "Integer(-1000)");
        check("4401020304", "Bytes([1, 2, 3, 4])");
        check("6449455446", "Text(\"IETF\")");
        check("83010203", "Array([Integer(1), Integer(2), Integer(3)])");
        check("a201020304", "Map([(Integer(1), Integer(2)), (Integer(3), Integer(4))])");
        check("f5", "Bool(true)");
    }

    #[test]
    fn what_authenticators_do_not_write_is_refused() {
        for hex in [
            "",
            "1800",
            "1817",
            "1900ff",
            "1a0000ffff",
            "1b00000000ffffffff",
            "1bffffffffffffffff",
            "3bffffffffffffffff",
            "1c",
            "5f42010243030405ff",
            "9fff",
            "bfff",
            "c074323031332d30332d32315432303a30343a30305a",
            "f6",
            "f7",
            "f90000",
            "fb3ff199999999999a",
            "ff",
            "62c328",
            "44010203",
            "8301",
            "a101",
            "a201020103",
            "a1410102",
            "8181818101",
            "0000",
            "9b0000000100000000",
            "5bffffffffffffffff",
        ] {
            check(hex, "error");
        }
        check("81818101", "Array([Array([Array([Integer(1)])])])");
        // 64 entries, and one more.
        let array = |count: u8| HEXLOWER.encode(&[vec![0x98, count], vec![0; count.into()]].concat());
        assert_ne!(array(64), "");
        check(&array(65), "error");
        assert!(Item::parse(&HEXLOWER.decode(array(64).as_bytes()).unwrap()).is_ok());
    }

    #[test]
    fn what_follows_is_left() {
        assert_eq!(Item::parse_first(&[0x01, 0x02]), Ok((Item::Integer(1), [0x02].as_slice())));
    }
}
