//! Any text as a pattern: it is refused with a sentence, or it permits a path that is made from it.

use jiff::Timestamp;
use portcullis_policy::{CanonicalPath, IdentityFact, WhenDraft};

use super::asking::{permits, user};
use super::world::policy_of;

pub(crate) fn body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match policy_of(&[text], &WhenDraft::default()) {
        Err(problems) => assert!(problems.iter().any(|problem| !problem.message.is_empty()), "{text:?}"),
        Ok(policy) => {
            let (methods, pattern) = text.split_once(' ').unwrap();
            let method = if methods == "*" { "ANY" } else { methods.split(',').next().unwrap() };
            let who = user(0);
            for rest in ["", "x", "x/y"] {
                let raw = an_example(pattern.trim_start_matches(' '), rest);
                let path = CanonicalPath::parse(&raw).unwrap_or_else(|problem| panic!("{text:?}, {raw:?}: {problem}"));
                let by = IdentityFact::Verified(&who);
                assert!(permits(&policy, by, method, &path, Timestamp::UNIX_EPOCH), "{text:?} {raw:?}");
            }
        }
    }
}

/// A path that the pattern is meant to match, with everything escaped that a path cannot hold.
fn an_example(pattern: &str, rest: &str) -> String {
    let mut path = String::new();
    for part in pattern[1..].split('/') {
        path.push('/');
        let placeholder = part.strip_prefix('{').and_then(|name| name.strip_suffix('}')).is_some_and(|name| {
            !name.is_empty() && name.chars().all(|each| each.is_ascii_alphanumeric() || "_-".contains(each))
        });
        match part {
            "*" => path.push('1'),
            "**" => path.push_str(rest),
            _ if placeholder => path.push_str("a.b"),
            literal => {
                for byte in literal.bytes() {
                    if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte) {
                        path.push(char::from(byte));
                    } else {
                        path.push_str(&format!("%{byte:02x}"));
                    }
                }
            }
        }
    }
    path
}
