//! A set of patterns and a path, one each line, the path last: the tree finds exactly the patterns that a comparison
//! segment by segment finds.

use jiff::Timestamp;
use portcullis_policy::{CanonicalPath, IdentityFact, WhenDraft};

use super::asking::{permits, user};
use super::world::policy_of;

const MOST_PATTERNS: usize = 24;

pub(crate) fn body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines: Vec<&str> = text.lines().take(MOST_PATTERNS + 1).collect();
    let Some(Ok(path)) = lines.pop().map(CanonicalPath::parse) else { return };
    let actions: Vec<String> = lines.iter().map(|pattern| format!("GET {pattern}")).collect();
    // A pattern that is none is the business of another target; here the others are to be tried all the same.
    let sound: Vec<&str> = (actions.iter().map(String::as_str))
        .filter(|action| policy_of(&[action], &WhenDraft::default()).is_ok())
        .collect();
    let Ok(policy) = policy_of(&sound, &WhenDraft::default()) else { return };
    for (index, action) in sound.iter().enumerate() {
        let expected = matches(action.split_once(' ').unwrap().1.trim_start_matches(' '), &path);
        let who = user(index);
        let permitted = permits(&policy, IdentityFact::Verified(&who), "GET", &path, Timestamp::UNIX_EPOCH);
        assert_eq!(permitted, expected, "{action} on {} among {sound:?}", path.as_str());
    }
}

/// The meaning of a pattern, read naively: `*` or `{name}` is one segment, a final `**` any number, the rest literal.
fn matches(pattern: &str, path: &CanonicalPath) -> bool {
    let mut wanted: Vec<&str> = pattern[1..].split('/').collect();
    let segments: Vec<&str> = path.decoded()[1..].split('/').collect();
    let open = wanted.last() == Some(&"**");
    if open {
        wanted.pop();
    }
    let long_enough = if open { segments.len() >= wanted.len() } else { segments.len() == wanted.len() };
    long_enough && wanted.iter().zip(&segments).all(|(wanted, segment)| is_one(wanted, segment))
}

fn is_one(wanted: &str, segment: &str) -> bool {
    let name = wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let named = name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|each| each.is_ascii_alphanumeric() || "_-".contains(each))
    });
    if wanted == "*" || named { !segment.is_empty() } else { decoded(wanted) == segment.as_bytes() }
}

/// A literal of a pattern is written plainly or with escapes.
fn decoded(literal: &str) -> Vec<u8> {
    let bytes = literal.as_bytes();
    let mut plain = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()) {
            Some(value) => (plain.push(value), at += 3).0,
            None => (plain.push(bytes[at]), at += 1).0,
        }
    }
    plain
}
