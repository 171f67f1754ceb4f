//! The chain of hashes: each line names the hash of the line before it, and its own.
//!
//! A line ends with `"integrity":{"prev":"sha256:…","hash":"sha256:…"}}`. **Its hash is the SHA-256 (FIPS 180-4) of the line's bytes
//! without `,"hash":"sha256:…"` and without the line feed**, so that anybody can check it with a text editor and `sha256sum`. The
//! first line of a chain has `"prev":null` and says in `genesis` why it has no line before it.
//!
//! The hashes have no key: who can rewrite a file can also compute them anew from the changed line to the end. What that
//! changes is the last hash, so it is found wherever that one is known from elsewhere: from a checkpoint with a signature, or
//! from a receiver that got the events meanwhile.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

use crate::line::write_text;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// What an event's line ends with before it is sealed.
const UNSEALED: &[u8] = b"\"integrity\":null}\n";
const NULL_END: &[u8] = b"null}\n";
const HASH: &[u8] = b",\"hash\":\"sha256:";
const PREV: &[u8] = b"\"integrity\":{\"prev\":";
const END: &[u8] = b"}}";
const HEX: usize = 64;
/// How far from its end a line's `integrity` is looked for: the longest reason for a genesis, escaped, and two hashes.
const MOST: usize = 4 * 1024;

/// The end of a chain, to which the next line is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Nothing is there yet, for this reason.
    Genesis(String),
    /// The hash of the last line.
    After(Hash),
}

impl Chain {
    /// A new chain, and why there is no earlier one to go on with: one sentence for the operator.
    pub(crate) fn begin(why: &str) -> Self {
        let end = why.floor_char_boundary(256);
        Self::Genesis(why.get(..end).unwrap_or_default().to_owned())
    }

    /// Joins the line that begins at `start` and ends `lines`. A line that does not end as events do is left as it is.
    pub(crate) fn seal(&mut self, lines: &mut Vec<u8>, start: usize) {
        if !lines.get(start..).is_some_and(|line| line.ends_with(UNSEALED)) {
            return;
        }
        lines.truncate(lines.len() - NULL_END.len());
        match self {
            Self::Genesis(why) => {
                lines.extend_from_slice(b"{\"prev\":null,\"genesis\":");
                write_text(lines, why);
            }
            Self::After(hash) => {
                lines.extend_from_slice(b"{\"prev\":\"sha256:");
                append_hex(lines, hash);
                lines.push(b'"');
            }
        }
        let hash = hash_of(lines.get(start..).unwrap_or_default());
        lines.extend_from_slice(HASH);
        append_hex(lines, &hash);
        lines.extend_from_slice(b"\"}}\n");
        *self = Self::After(hash);
    }
}

/// The hash of a line: of what stands before `,"hash"` and of the two brackets that end it.
fn hash_of(before: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(before);
    context.update(END);
    let mut hash = Hash::default();
    // INVARIANT: a SHA-256 is as long as `Hash`.
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn append_hex(lines: &mut Vec<u8>, hash: &Hash) {
    let mut hex = [0; HEX];
    HEXLOWER.encode_mut(hash, &mut hex);
    lines.extend_from_slice(&hex);
}

/// What a line says of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    /// The hash of the line before; `None` for the first of a chain.
    pub(crate) prev: Option<Hash>,
    /// Why it is the first, in JSON's form.
    pub(crate) genesis: Option<String>,
    /// The hash it bears.
    pub(crate) hash: Hash,
    /// Whether that is truly its hash.
    pub(crate) is_right: bool,
}

/// What a line names: its own hash and the one before, without looking whether that is its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) prev: Option<Hash>,
    pub(crate) hash: Hash,
}

/// Reads what a line names, without its line feed. `None`: it bears no seal.
pub(crate) fn links(line: &[u8]) -> Option<Links> {
    parts(line).map(|(_, Seal { prev, hash, .. })| Links { prev, hash })
}

/// Reads the seal of a line, without its line feed. `None`: it bears none.
pub(crate) fn read(line: &[u8]) -> Option<Seal> {
    let (before, seal) = parts(line)?;
    Some(Seal { is_right: hash_of(before) == seal.hash, ..seal })
}

/// What of a line is hashed, but for its last brackets; and its seal, which nobody has looked at yet.
fn parts(line: &[u8]) -> Option<(&[u8], Seal)> {
    let rest = line.strip_suffix(b"\"}}")?;
    let (rest, hex) = rest.split_at_checked(rest.len().checked_sub(HEX)?)?;
    let hash = from_hex(hex)?;
    let before = rest.strip_suffix(HASH)?;
    // No text can hold this: within one a quote is escaped.
    let from = before.len().saturating_sub(MOST);
    let tail = before.get(from..)?;
    let at = tail.windows(PREV.len()).rposition(|window| window == PREV)?;
    let (prev, genesis) = match tail.get(at + PREV.len()..)?.strip_prefix(b"null,\"genesis\":") {
        Some(why) => (None, Some(String::from_utf8_lossy(why).into_owned())),
        None => {
            let hex = tail.get(at + PREV.len()..)?.strip_prefix(b"\"sha256:")?.strip_suffix(b"\"")?;
            (Some(from_hex(hex)?), None)
        }
    };
    Some((before, Seal { prev, genesis, hash, is_right: false }))
}

/// A hash in the form of the lines, with or without `sha256:` before it.
pub(crate) fn parse(text: &str) -> Option<Hash> {
    from_hex(text.strip_prefix("sha256:").unwrap_or(text).as_bytes())
}

/// A hash as the lines write it.
pub(crate) fn shown(hash: &Hash) -> String {
    format!("sha256:{}", HEXLOWER.encode(hash))
}

fn from_hex(hex: &[u8]) -> Option<Hash> {
    HEXLOWER.decode(hex).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(chain: &mut Chain, text: &str) -> Vec<u8> {
        let mut lines = b"before\n".to_vec();
        let start = lines.len();
        lines.extend_from_slice(format!("{{\"message\":{text},\"integrity\":null}}\n").as_bytes());
        chain.seal(&mut lines, start);
        let line = lines.split_off(start);
        assert_eq!(lines, b"before\n");
        line.strip_suffix(b"\n").unwrap().to_vec()
    }

    #[test]
    fn a_line_is_joined_to_the_one_before_and_can_be_checked_by_hand() {
        let mut chain = Chain::begin("the \"first\"");
        let first = sealed(&mut chain, "1");
        let second = sealed(&mut chain, "2");
        let text = String::from_utf8(first.clone()).unwrap();
        let start = r#"{"message":1,"integrity":{"prev":null,"genesis":"the \"first\"","hash":"sha256:"#;
        assert!(text.starts_with(start), "{text}");
        let (seal, next) = (read(&first).unwrap(), read(&second).unwrap());
        assert_eq!((seal.prev, seal.genesis.as_deref(), seal.is_right), (None, Some("\"the \\\"first\\\"\""), true));
        assert_eq!((next.prev, next.genesis, next.is_right), (Some(seal.hash), None, true));
        assert_eq!(chain, Chain::After(next.hash));
        // As the documentation says it: the line without its hash, without the line feed.
        let by_hand = text.replace(&format!(",\"hash\":\"{}\"", shown(&seal.hash)), "");
        assert_eq!(aws_lc_rs::digest::digest(&SHA256, by_hand.as_bytes()).as_ref(), seal.hash);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["message"], 1);
    }

    #[test]
    fn no_byte_of_a_line_can_change_unnoticed() {
        let mut chain = Chain::begin("test");
        sealed(&mut chain, "0");
        let line = sealed(&mut chain, "\"a text\"");
        assert!(read(&line).unwrap().is_right);
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[at] ^= 1 << bit;
                assert!(read(&changed).is_none_or(|seal| !seal.is_right), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_no_recorder_wrote_bears_no_seal() {
        for line in ["", "}}", "{}", "{\"integrity\":null}", "{\"integrity\":{\"prev\":null,\"hash\":\"sha256:00\"}}"] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
        let mut lines = b"{\"integrity\":null,\"more\":1}\n".to_vec();
        Chain::begin("").seal(&mut lines, 0);
        assert_eq!(lines, b"{\"integrity\":null,\"more\":1}\n");
    }

    #[test]
    fn a_text_cannot_pass_for_a_seal() {
        let mut chain = Chain::begin("test");
        let evil =
            serde_json::to_string("\"integrity\":{\"prev\":null,\"genesis\":\"x\",\"hash\":\"sha256:\"}}").unwrap();
        let first = read(&sealed(&mut chain, "0")).unwrap();
        let seal = read(&sealed(&mut chain, &evil)).unwrap();
        assert_eq!((seal.prev, seal.is_right), (Some(first.hash), true));
    }

    #[test]
    fn a_hash_is_read_as_it_is_shown() {
        let hash = hash_of(b"x");
        assert_eq!(parse(&shown(&hash)), Some(hash));
        assert_eq!(parse(shown(&hash).strip_prefix("sha256:").unwrap()), Some(hash));
        for wrong in ["", "sha256:", "sha256:00", &format!("{}0", shown(&hash)), &shown(&hash).to_uppercase()] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
