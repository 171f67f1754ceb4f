//! Nonces that the gateway gives, so that a proof cannot have been made long before (RFC 9449 section 9).
//!
//! None is kept: a nonce is the time when it was given, with a code that only this process can make. So all workers know all of them, and
//! one of another process is none, which a caller hears and mends by itself.

use aws_lc_rs::{hmac, rand};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;

/// Gives nonces, and knows its own.
#[derive(Debug, Clone)]
pub(crate) struct Nonces {
    key: hmac::Key,
    lifetime: SignedDuration,
}

const TIME_BYTES: usize = 8;
const CODE_BYTES: usize = 16;

impl Nonces {
    /// With a key that nobody else has. Without random bytes there is none, and no nonce is good.
    pub(crate) fn random(lifetime: SignedDuration) -> Self {
        let mut secret = [0; 32];
        let lifetime = rand::fill(&mut secret).map_or(SignedDuration::MIN, |()| lifetime);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), lifetime }
    }

    pub(crate) fn lifetime(&self) -> SignedDuration {
        self.lifetime
    }

    /// The same that live for another time.
    pub(crate) fn with_lifetime(&self, lifetime: SignedDuration) -> Self {
        Self { key: self.key.clone(), lifetime }
    }

    /// One that is good from now on.
    pub(crate) fn give(&self, now: Timestamp) -> Box<str> {
        BASE64URL_NOPAD.encode(&self.written(now.as_second().to_be_bytes())).into()
    }

    /// Whether it was given here, no longer ago than they live.
    pub(crate) fn is_good(&self, nonce: &str, now: Timestamp) -> bool {
        let read = || {
            let bytes = BASE64URL_NOPAD.decode(nonce.as_bytes()).ok()?;
            let time = *bytes.first_chunk::<TIME_BYTES>()?;
            let own: bool = self.written(time).ct_eq(&bytes).into();
            own.then(|| Timestamp::from_second(i64::from_be_bytes(time)).ok()).flatten()
        };
        let Some(given) = read() else { return false };
        let age = now.duration_since(given);
        // Requests that came a moment earlier may be a second behind.
        age <= self.lifetime && age >= SignedDuration::from_secs(-2)
    }

    fn written(&self, time: [u8; TIME_BYTES]) -> Vec<u8> {
        let code = hmac::sign(&self.key, &time);
        time.iter().chain(code.as_ref().iter().take(CODE_BYTES)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_nonce_is_good_here_for_its_time_and_as_it_was_given() {
        let nonces = Nonces::random(SignedDuration::from_secs(300));
        let nonce = nonces.give(at(0));
        for (second, expected) in [(-3, false), (-2, true), (0, true), (300, true), (301, false)] {
            assert_eq!(nonces.is_good(&nonce, at(second)), expected, "{second}");
        }
        assert!(nonces.with_lifetime(SignedDuration::from_secs(400)).is_good(&nonce, at(301)));
        assert!(!Nonces::random(SignedDuration::from_secs(300)).is_good(&nonce, at(0)), "another process's");
        for place in 0..nonce.len() {
            let mut changed = nonce.to_string();
            let other = if changed[place..].starts_with('A') { "B" } else { "A" };
            changed.replace_range(place..=place, other);
            assert!(!nonces.is_good(&changed, at(0)), "{changed}");
        }
        for bad in ["", "AAAA", &nonce[..nonce.len() - 1], &format!("{nonce}="), &format!("{nonce}AAAA")] {
            assert!(!nonces.is_good(bad, at(0)), "{bad}");
        }
    }
}
