//! The word of an agent: a JWT that is verified once. What was verified is remembered by the SHA-256 of its text, so that a device that says the same with
//! each of its requests costs a hash and not a signature, some 50 microseconds.
//!
//! Only what a key of the set has signed is remembered, for whoever it is about; whether that is this principal, and whether it still counts, is asked
//! each time. Bounded: [`REMEMBERED`] words of at most 4 KiB, each in the one place that its hash gives it, where the next one replaces it. A lookup
//! takes no lock. A reload, which may bring other keys, begins with nothing.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use portcullis_policy::Principal;
use serde_json::Value;

use super::{LEEWAY, PostureWord};
use crate::claims::numeric_date;
use crate::jwks::KeySet;
use crate::jws::Jws;
use crate::strict_json::{self, Object};
use crate::token_cache::TokenHash;

pub(super) const TYPE: &str = "posture+jwt";
/// 32 KiB, and the words.
const REMEMBERED: usize = 4_096;

/// By whose keys words count, and those that were verified.
#[derive(Debug)]
pub(super) struct Agents {
    keys: KeySet,
    verified: Box<[ArcSwapOption<Verified>]>,
}

#[derive(Debug)]
struct Verified {
    hash: TokenHash,
    said: Said,
}

/// What a word says, whoever shows it.
#[derive(Debug, Clone)]
struct Said {
    of: Box<str>,
    device: Option<Box<str>>,
    compliant: bool,
    at: Timestamp,
    /// RFC 7519 sections 4.1.4 and 4.1.5, where the agent says for how long it speaks.
    begins: Option<Timestamp>,
    ends: Option<Timestamp>,
}

impl Agents {
    pub(super) fn new(keys: KeySet) -> Self {
        Self { keys, verified: (0..REMEMBERED).map(|_| ArcSwapOption::empty()).collect() }
    }

    /// What it says of this principal's device now.
    pub(super) fn word(&self, text: &str, principal: &Principal, now: Timestamp) -> Option<PostureWord> {
        let hash = TokenHash::of(text);
        let place = self.place(&hash)?;
        if let Some(known) = place.load().as_ref().filter(|known| known.hash == hash) {
            return known.said.of(principal, now);
        }
        let said = said(text, &self.keys)?;
        let word = said.of(principal, now);
        place.store(Some(Arc::new(Verified { hash, said })));
        word
    }

    fn place(&self, hash: &TokenHash) -> Option<&ArcSwapOption<Verified>> {
        let [first, second, ..] = hash.0;
        self.verified.get(usize::from(u16::from_le_bytes([first, second])) % REMEMBERED)
    }

    /// The same, remembering what it does, with other keys.
    #[cfg(test)]
    pub(super) fn with_keys(self, keys: KeySet) -> Self {
        Self { keys, ..self }
    }
}

impl Said {
    fn of(&self, principal: &Principal, now: Timestamp) -> Option<PostureWord> {
        let bound = principal.device.as_ref().is_none_or(|device| self.device.as_deref() == Some(&*device.id));
        let is_over = self.ends.is_some_and(|ends| now >= ends);
        let is_early = self.begins.is_some_and(|begins| begins.duration_since(now) > LEEWAY);
        let counts = *self.of == *principal.id && bound && !is_over && !is_early;
        counts.then_some(PostureWord { compliant: self.compliant, at: self.at })
    }
}

/// What a signed word says.
fn said(text: &str, keys: &KeySet) -> Option<Said> {
    let jws = Jws::parse(text).ok()?;
    if !is_posture(text) || keys.verify(&jws).is_err() {
        return None;
    }
    let claims = strict_json::parse_object(&jws.payload).ok()?;
    let text_of = |claim: &str| claims.get(claim).and_then(Value::as_str).map(Box::from);
    let looked_at = claims.values().all(|claim| claim.as_bool() != Some(false));
    Some(Said {
        of: text_of("sub")?,
        device: text_of("device"),
        compliant: claims.get("compliant")?.as_bool()? && looked_at,
        at: numeric_date(&claims, "iat").ok()??,
        begins: numeric_date(&claims, "nbf").ok()?,
        ends: numeric_date(&claims, "exp").ok()?,
    })
}

/// Whether the header of a token says that it is one.
fn is_posture(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = data_encoding::BASE64URL_NOPAD.decode(header.as_bytes()).unwrap_or_default();
    let header: Object = strict_json::parse_object(&header).unwrap_or_default();
    header.get("typ").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case(TYPE))
}
