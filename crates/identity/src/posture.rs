//! What is said of the device of a caller: read from a header that a trusted proxy sets, or that an agent on the device signs.
//!
//! It is no credential: whatever it says, it lets nobody in. A word that cannot be believed is as good as none, and never refuses by itself.
//!
//! - **A proxy's word** is a dictionary (RFC 9651 section 3.2) such as `compliant, at=1764400000`: whether the device meets the rules, and when that was
//!   found, in seconds since 1970. Each further member with a boolean is something that was looked at (`disk=?1, edr=?0`): one that is false makes the
//!   device one that does not. Whether the peer is a proxy that may say so is the caller's affair.
//! - **An agent's word** is a JWT (RFC 7519) with the header `"typ": "posture+jwt"`, so that no token made for something else passes for one (RFC 8725 section
//!   3.11), signed by a key of the configured set. Its `sub` is the id of the principal, and its `device`, where the credential is bound to a device,
//!   that device's id: the word of one device says nothing of another. `iat` is when it was found, `compliant` whether it meets the rules,
//!   and each further boolean claim like a member above. Its signature is verified once, and what it says is remembered.

mod agent;

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::Principal;

use crate::jwks::{KeySet, KeySetProblem};

use agent::Agents;

/// Whose word counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostureSource {
    /// That of a trusted proxy, as it is.
    Proxy,
    /// That of an agent, by these public keys (a JWK set).
    Agent {
        /// The text of the set.
        keys: String,
    },
}

/// Reads the header.
#[derive(Debug)]
pub struct PostureReader {
    header: HeaderName,
    /// So old a word may be.
    max_age: Duration,
    /// `None`: a proxy's word.
    agents: Option<Agents>,
}

/// What was said of a device, and can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostureWord {
    /// It meets the rules.
    pub compliant: bool,
    /// When that was found.
    pub at: Timestamp,
}

/// A word that was found after now by more than this was made up, or by a clock that is of no use.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// Longer headers are not looked at, in bytes.
const MAX_BYTES: usize = 4_096;

impl PostureReader {
    /// With the keys of agents, where their word counts.
    ///
    /// # Errors
    /// What is wrong with the keys.
    pub fn new(header: HeaderName, max_age: Duration, source: &PostureSource) -> Result<Self, Vec<KeySetProblem>> {
        let agents = match source {
            PostureSource::Proxy => None,
            PostureSource::Agent { keys } => Some(Agents::new(KeySet::parse(keys)?)),
        };
        Ok(Self { header, max_age, agents })
    }

    /// The header. Nobody else may say it to an upstream.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Whether only a trusted proxy may say it.
    pub fn is_a_proxys(&self) -> bool {
        self.agents.is_none()
    }

    /// So old a word may be.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// What the headers say of the principal's device; `None`: nothing that can be believed. More than one such header says nothing.
    pub fn read(&self, headers: &HeaderMap, principal: &Principal, now: Timestamp) -> Option<PostureWord> {
        let mut values = headers.get_all(&self.header).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_BYTES)?;
        let word = match &self.agents {
            None => of_proxy(text),
            Some(agents) => agents.word(text, principal, now),
        };
        word.filter(|word| word.at.duration_since(now) <= LEEWAY)
    }
}

fn of_proxy(text: &str) -> Option<PostureWord> {
    let (mut compliant, mut found) = (None, None);
    let mut looked_at = true;
    for member in text.split(',').map(str::trim) {
        let (name, value) = member.split_once('=').unwrap_or((member, "?1"));
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        match (name, value) {
            _ if !is_name => return None,
            ("at", seconds) if found.is_none() => {
                let seconds = seconds.strip_prefix('@').unwrap_or(seconds);
                found = Some(Timestamp::from_second(seconds.parse().ok()?).ok()?);
            }
            ("compliant", "?1") if compliant.is_none() => compliant = Some(true),
            ("compliant", "?0") if compliant.is_none() => compliant = Some(false),
            ("at" | "compliant", _) => return None,
            (_, "?1") => {}
            (_, "?0") => looked_at = false,
            // What is no boolean says nothing here.
            _ => {}
        }
    }
    Some(PostureWord { compliant: compliant? && looked_at, at: found? })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use portcullis_policy::Device;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::agent::TYPE;
    use super::*;
    use crate::signer::Signer;

    const NOW: i64 = 1_764_400_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn header() -> HeaderName {
        HeaderName::from_static("x-device-posture")
    }

    fn read(reader: &PostureReader, text: &str, principal: &Principal) -> Option<(bool, i64)> {
        let mut headers = HeaderMap::new();
        headers.insert(header(), HeaderValue::from_str(text).unwrap());
        let word = reader.read(&headers, principal, now())?;
        Some((word.compliant, word.at.as_second() - NOW))
    }

    #[test]
    fn the_word_of_a_proxy_is_a_dictionary() {
        let reader = PostureReader::new(header(), Duration::from_secs(600), &PostureSource::Proxy).unwrap();
        let check = |text: &str, expected: Option<(bool, i64)>| {
            assert_eq!(read(&reader, text, &Principal::user("alice")), expected, "{text}");
        };
        check("compliant, at=1764400000", Some((true, 0)));
        check("compliant=?1, at=1764399000", Some((true, -1_000)));
        check("compliant=?0,at=@1764400000", Some((false, 0)));
        check("compliant, at=1764400000, disk=?1, edr=?0", Some((false, 0)));
        check("compliant, at=1764400000, os=\"13.2\"", Some((true, 0)));
        check("at=1764400060, compliant", Some((true, 60)));
        check("at=1764400061, compliant", None);
        check("compliant", None);
        check("at=1764400000", None);
        check("compliant=yes, at=1764400000", None);
        check("compliant, compliant=?0, at=1764400000", None);
        check("compliant, at=1, at=1764400000", None);
        check("compliant, at=soon", None);
        check("Compliant, at=1764400000", None);
        check("", None);
        check(&format!("compliant, at=1764400000, {}", "a".repeat(MAX_BYTES)), None);
        let mut twice = HeaderMap::new();
        twice.append(header(), HeaderValue::from_static("compliant, at=1764400000"));
        twice.append(header(), HeaderValue::from_static("compliant, at=1764400000"));
        assert_eq!(reader.read(&twice, &Principal::user("alice"), now()), None);
        assert_eq!(reader.read(&HeaderMap::new(), &Principal::user("alice"), now()), None);
    }

    #[test]
    fn the_word_of_an_agent_is_signed_and_of_this_principal_and_device() {
        let (signer, other) = (Signer::ed25519("agents"), Signer::ed25519("agents"));
        let source = PostureSource::Agent { keys: signer.jwks() };
        let reader = PostureReader::new(header(), Duration::from_secs(600), &source).unwrap();
        let alice = Principal::user("alice");
        let bound =
            Principal { device: Some(Device { id: "laptop".into(), compliant: None }), ..Principal::user("alice") };
        let typed = |signer: &Signer, kind: &str, claims: &Value| {
            let mut header = signer.header();
            header["typ"] = kind.into();
            signer.sign_with(&header, claims.to_string().as_bytes())
        };
        let good = json!({ "sub": "alice", "iat": NOW - 5, "compliant": true, "device": "laptop" });
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let check = |what: &str, token: &str, principal: &Principal, expected: Option<(bool, i64)>| {
            assert_eq!(read(&reader, token, principal), expected, "{what}");
            assert_eq!(read(&reader, token, principal), expected, "{what}, once more");
        };
        check("a good one", &typed(&signer, TYPE, &good), &alice, Some((true, -5)));
        check("of the device that the credential is bound to", &typed(&signer, TYPE, &good), &bound, Some((true, -5)));
        check("of another device", &typed(&signer, TYPE, &with("device", json!("phone"))), &bound, None);
        check("of no device", &typed(&signer, TYPE, &with("device", Value::Null)), &bound, None);
        check("of somebody else", &typed(&signer, TYPE, &with("sub", json!("mallory"))), &alice, None);
        check("by another key", &typed(&other, TYPE, &good), &alice, None);
        check("a token for something else", &typed(&signer, "JWT", &good), &alice, None);
        check("not compliant", &typed(&signer, TYPE, &with("compliant", json!(false))), &alice, Some((false, -5)));
        check(
            "without a disk that is encrypted",
            &typed(&signer, TYPE, &with("disk", json!(false))),
            &alice,
            Some((false, -5)),
        );
        check("compliant by a word", &typed(&signer, TYPE, &with("compliant", json!("yes"))), &alice, None);
        check("without a time", &typed(&signer, TYPE, &with("iat", Value::Null)), &alice, None);
        check("of the future", &typed(&signer, TYPE, &with("iat", json!(NOW + 3_600))), &alice, None);
        check("that ends now", &typed(&signer, TYPE, &with("exp", json!(NOW))), &alice, None);
        check("that ends in a second", &typed(&signer, TYPE, &with("exp", json!(NOW + 1))), &alice, Some((true, -5)));
        check("that begins later", &typed(&signer, TYPE, &with("nbf", json!(NOW + 3_600))), &alice, None);
        check("a proxy's word", "compliant, at=1764400000", &alice, None);
    }

    /// Remembered is what was verified, and to whom and when it says something is asked each time.
    #[test]
    fn a_word_is_verified_once_and_held_to_the_principal_and_the_time_each_time() {
        let (signer, other) = (Signer::ed25519("agents"), Signer::ed25519("agents"));
        let source = |signer: &Signer| PostureSource::Agent { keys: signer.jwks() };
        let reader = |signer| PostureReader::new(header(), Duration::from_secs(600), &source(signer)).unwrap();
        let ours = reader(&signer);
        let word = |claims: Value| {
            let mut header = signer.header();
            header["typ"] = TYPE.into();
            signer.sign_with(&header, claims.to_string().as_bytes())
        };
        let first = word(json!({ "sub": "alice", "iat": NOW - 5, "exp": NOW + 10, "compliant": true }));
        let second = word(json!({ "sub": "alice", "iat": NOW - 5, "compliant": false }));
        let alice = Principal::user("alice");
        assert_eq!(read(&ours, &first, &alice), Some((true, -5)));
        // From now on nothing that is not remembered verifies.
        let keys = KeySet::parse(&other.jwks()).unwrap();
        let ours = PostureReader { agents: ours.agents.map(|agents| agents.with_keys(keys)), ..ours };
        assert_eq!(read(&ours, &first, &alice), Some((true, -5)));
        assert_eq!(read(&ours, &second, &alice), None);
        assert_eq!(read(&ours, &first, &Principal::user("mallory")), None);
        let mut headers = HeaderMap::new();
        headers.insert(header(), HeaderValue::from_str(&first).unwrap());
        let at = |seconds: i64| ours.read(&headers, &alice, Timestamp::from_second(NOW + seconds).unwrap());
        assert!(at(9).is_some() && at(10).is_none(), "it ends when it says");
        let mut changed = first.clone().into_bytes();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(read(&ours, &String::from_utf8(changed).unwrap(), &alice), None, "another one by one bit");
        assert_eq!(read(&reader(&other), &first, &alice), None, "a reload with other keys remembers nothing");
    }

    #[test]
    fn keys_that_verify_nothing_are_refused() {
        let source = PostureSource::Agent { keys: "{\"keys\":[]}".to_owned() };
        assert!(PostureReader::new(header(), Duration::from_secs(600), &source).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_says_nothing(text in "[ -~]{0,200}") {
            let reader = PostureReader::new(header(), Duration::from_secs(600), &PostureSource::Proxy).unwrap();
            let _ = read(&reader, &text, &Principal::user("alice"));
        }
    }
}
