//! Key sets that outlive the process: what was fetched last, what it belongs to, and a sum over both.
//!
//! A gateway that starts while a provider is down goes on with them, for as long as it would have gone on without the restart. They belong to
//! an issuer and an address, and serve no other. Whoever can write where they are kept can make tokens, as whoever can write the
//! configuration can; the sum is against damage, and not against that.

use jiff::Timestamp;
use portcullis_fetch::UrlSource;

use super::keys::RemoteKeys;
use crate::jwks::{KeySet, KeySetProblem, MAX_SET_BYTES};
use crate::secret::sha256;
use crate::settings::KeyLocation;

/// A set as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedKeys {
    /// What it belongs to, as a hash: the issuer and where it was fetched from.
    pub place: [u8; 32],
    /// The provider's name when it was fetched, for people.
    pub provider: String,
    /// When it was last confirmed, in seconds since 1970.
    pub confirmed: i64,
    /// As it came.
    pub text: Vec<u8>,
    /// SHA-256 over the place, the time and the text.
    pub sum: [u8; 32],
}

/// Why a set that was kept does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SavedProblem {
    /// It is not what was written.
    #[error("they are damaged")]
    Damaged,
    /// The clock was set back, or the time is made up: nobody knows how old it is.
    #[error("they were confirmed at {0}, which is yet to come")]
    Ahead(Timestamp),
    /// This version reads it otherwise than the one that wrote it.
    #[error("{0}")]
    Unusable(KeySetProblem),
}

/// How far ahead the time may lie at which one was confirmed, in seconds: clocks are set now and then.
const AHEAD_S: i64 = 60;

impl SavedKeys {
    fn new(place: [u8; 32], provider: &str, confirmed: i64, text: &[u8]) -> Self {
        let sum = sum(&place, confirmed, text);
        Self { place, provider: provider.to_owned(), confirmed, text: text.to_vec(), sum }
    }

    fn is_whole(&self) -> bool {
        self.text.len() <= MAX_SET_BYTES && self.sum == sum(&self.place, self.confirmed, &self.text)
    }
}

fn sum(place: &[u8; 32], confirmed: i64, text: &[u8]) -> [u8; 32] {
    sha256(&[&place[..], &confirmed.to_le_bytes(), text].concat())
}

/// What keys belong to. The authorities that vouch for the server are not part of it, nor are times.
pub(super) fn place(issuer: &str, location: &KeyLocation) -> [u8; 32] {
    let (kind, address): (&str, &UrlSource) = match location {
        KeyLocation::Url(address) => ("url", address),
        KeyLocation::Discovery { document, .. } => ("discovery", document),
    };
    let (port, scheme) = (address.port.to_string(), if address.secure { "https" } else { "http" });
    let mut text = Vec::new();
    for part in [kind, issuer, scheme, &address.host, &port, &address.path] {
        // With its length, so that no two places are written alike.
        text.extend_from_slice(&(part.len() as u64).to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    sha256(&text)
}

impl RemoteKeys {
    /// What is held, where it serves.
    pub(super) fn saved(&self) -> Option<SavedKeys> {
        let (confirmed, text) = (self.confirmed()?, self.text()?);
        Some(SavedKeys::new(self.place, &self.provider, confirmed.as_second(), &text))
    }

    /// Holds what was kept, if it is not too old; how many keys that are. Nothing else is held yet.
    pub(super) fn restore(&self, saved: &SavedKeys, now: Timestamp) -> Result<Option<usize>, SavedProblem> {
        if saved.place != self.place || !saved.is_whole() {
            return Err(SavedProblem::Damaged);
        }
        let confirmed = Timestamp::from_second(saved.confirmed).map_err(|_| SavedProblem::Damaged)?;
        if saved.confirmed > now.as_second().saturating_add(AHEAD_S) {
            return Err(SavedProblem::Ahead(confirmed));
        }
        let text = std::str::from_utf8(&saved.text).map_err(|_| SavedProblem::Damaged)?;
        let (set, _) = KeySet::parse_published(text)
            .map_err(|problems| problems.into_iter().next().map_or(SavedProblem::Damaged, SavedProblem::Unusable))?;
        let count = set.len();
        self.replace(set, saved.text.as_slice().into());
        // No later than now, so that a clock which was set back makes it no fresher.
        self.confirm(confirmed.min(now));
        if self.generation(now).is_some() {
            return Ok(Some(count));
        }
        // It says how old it was, and serves nobody.
        self.forget();
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
