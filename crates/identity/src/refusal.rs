//! A credential that is not accepted: what is wrong with it, in bounded words, and who it claimed to be.

use portcullis_policy::{CredentialProblem, CredentialProblemKind};

/// The longest `detail`, in bytes.
const MAX_DETAIL_BYTES: usize = 256;

/// The longest piece of a caller's text that a detail repeats, in bytes, after escaping.
const MAX_EXCERPT_BYTES: usize = 64;

/// The longest `attempted`, in bytes.
const MAX_ATTEMPTED_BYTES: usize = 128;

/// A credential that was presented and not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong with it.
    pub problem: CredentialProblem,
    /// Whom the credential claims to be, **unverified**: anyone can write any name here. It serves only to count how
    /// many different names an address tries. At most 128 bytes; `None` where no name could be read.
    pub attempted: Option<Box<str>>,
    /// What is said to a caller whose token is bound to a key; `None`: the usual challenge.
    pub challenge: Option<Challenge>,
}

/// What a caller whose token is bound to a key is told (RFC 9449 sections 7.1 and 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// `invalid_token`: the token cannot be used in this way.
    BadToken,
    /// `invalid_dpop_proof`
    BadProof,
    /// `use_dpop_nonce`: another proof with this nonce would be accepted.
    UseNonce(Box<str>),
}

impl Rejection {
    /// `attempted` is cut to its bound.
    pub(crate) fn new(problem: CredentialProblem, attempted: Option<&str>) -> Self {
        let attempted = attempted.map(|name| {
            let (shown, _) = name.split_at(name.floor_char_boundary(MAX_ATTEMPTED_BYTES));
            Box::from(shown)
        });
        Self { problem, attempted, challenge: None }
    }
}

/// What is wrong with a credential, before it is known which provider looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: CredentialProblemKind,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn new(kind: CredentialProblemKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
        Self { kind, detail }
    }

    /// Bad form, algorithm, signature or type: the most common refusal.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(CredentialProblemKind::Invalid, detail)
    }

    pub(crate) fn by(self, provider: Option<&str>) -> CredentialProblem {
        CredentialProblem { kind: self.kind, detail: self.detail, provider: provider.map(Box::from) }
    }
}

/// A short, escaped piece of something that a caller or a file said: an issuer, a key id. Never of a credential.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown = String::from("`");
    for character in text.chars() {
        let escaped = character.escape_debug();
        if shown.len() + escaped.len() > MAX_EXCERPT_BYTES {
            shown.push('…');
            break;
        }
        shown.extend(escaped);
    }
    shown.push('`');
    shown
}

#[cfg(test)]
mod tests {
    use super::{MAX_DETAIL_BYTES, Refusal, Rejection, excerpt};

    #[test]
    fn an_attempted_name_is_cut_at_128_bytes_on_a_character() {
        let attempted = |name: &str| Rejection::new(Refusal::invalid("x").by(None), Some(name)).attempted.unwrap();
        assert_eq!(&*attempted("alice"), "alice");
        assert_eq!(attempted(&"a".repeat(128)).len(), 128);
        assert_eq!(attempted(&"a".repeat(129)).len(), 128);
        assert_eq!(attempted(&"€".repeat(60)).len(), 126);
    }

    #[test]
    fn a_detail_is_cut_at_256_bytes_on_a_character() {
        for (text, expected) in [("a".repeat(256), 256), ("a".repeat(257), 256), ("ä".repeat(200), 256)] {
            assert_eq!(Refusal::invalid(text).detail.len(), expected);
        }
        assert!(Refusal::invalid("€".repeat(200)).detail.len() <= MAX_DETAIL_BYTES);
    }

    #[test]
    fn an_excerpt_is_short_and_escaped() {
        assert_eq!(excerpt("kid-1"), "`kid-1`");
        assert_eq!(excerpt("a\r\nb\u{0}"), "`a\\r\\nb\\0`");
        assert!(excerpt(&"\u{202e}".repeat(10_000)).len() < 80);
    }
}
