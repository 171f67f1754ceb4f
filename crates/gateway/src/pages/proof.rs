//! What somebody has proven a moment ago, as it stands in the address that they are led to: for one thing, in one session, for some minutes.
//!
//! It is in no cookie. So whoever has stolen the cookie of a session, however fresh that is, has none of it: they would have to log in, or to show a factor, themselves.

use jiff::{SignedDuration, Timestamp};
use portcullis_events::ReasonCode;
use portcullis_identity::oidc::Place;
use portcullis_identity::session::Session;
use portcullis_proxy::pages::{PageRefusal, Visit};

use super::step_up::asker;
use super::{FAILED, OwnPages};

/// The name of the parameter, and of the field.
pub(super) const FIELD: &str = "proof";

/// What it is good for, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct For {
    /// What it is sealed for.
    purpose: &'static str,
    lasts: SignedDuration,
}

/// An activation. It is used up by that.
pub(super) const ACTIVATION: For = For { purpose: "activation", lasts: SignedDuration::from_mins(5) };
/// A change of the factors. It is used up by that, and whoever made it is given another one that lasts no longer.
pub(super) const FACTORS: For = For { purpose: "factors", lasts: SignedDuration::from_mins(10) };

/// One that is good.
#[derive(Debug)]
pub(super) struct Proven {
    /// All that was sealed, which no other one has.
    pub(super) text: String,
    /// Until before when it is good.
    pub(super) until: Timestamp,
}

impl OwnPages {
    /// A place, with what proves that this session's principal has just done what is needed for `what`.
    ///
    /// # Errors
    /// There is nothing to seal it with.
    pub(super) fn with_proof(
        &self,
        visit: &Visit,
        session: &Session,
        to: &Place,
        (good_for, what): (For, &str),
    ) -> Result<String, PageRefusal> {
        let until = visit.now.saturating_add(good_for.lasts).unwrap_or(visit.now).as_microsecond();
        let sealed = self.sealed(visit, session, until, (good_for, what))?;
        let sign = if to.as_str().contains('?') { '&' } else { '?' };
        Ok(format!("{}{sign}{FIELD}={sealed}", to.as_str()))
    }

    /// What comes after a proof that is used up, for the same: it lasts a microsecond less, by which it is another one.
    ///
    /// # Errors
    /// There is nothing to seal it with.
    pub(super) fn next_proof(
        &self,
        visit: &Visit,
        session: &Session,
        used: &Proven,
        what: (For, &str),
    ) -> Result<String, PageRefusal> {
        self.sealed(visit, session, used.until.as_microsecond().saturating_sub(1), what)
    }

    fn sealed(
        &self,
        visit: &Visit,
        session: &Session,
        until: i64,
        (good_for, what): (For, &str),
    ) -> Result<String, PageRefusal> {
        let text = format!("{what} {} {until}", asker(session));
        self.seal(visit)?.seal(text.as_bytes(), good_for.purpose).map_err(|problem| {
            PageRefusal::new(ReasonCode::InternalError, format!("a login cannot be kept: {problem}"), FAILED)
        })
    }

    /// Whether that proves it: for just this, in this session, and now.
    ///
    /// # Errors
    /// There is nothing that opens it.
    pub(super) fn proven(
        &self,
        visit: &Visit,
        session: &Session,
        proof: Option<&str>,
        (good_for, what): (For, &str),
    ) -> Result<Option<Proven>, PageRefusal> {
        let seal = self.seal(visit)?;
        let opened = proof.and_then(|proof| seal.open(proof, good_for.purpose));
        let Some(text) = opened.and_then(|text| String::from_utf8(text).ok()) else { return Ok(None) };
        let Some((proven, until)) = text.rsplit_once(' ') else { return Ok(None) };
        let until = until.parse().ok().and_then(|until| Timestamp::from_microsecond(until).ok());
        // One that was made while the clock was ahead is good for no longer than others are.
        let is_good = |until: &Timestamp| visit.now < *until && until.duration_since(visit.now) <= good_for.lasts;
        let until = until.filter(is_good).filter(|_| proven == format!("{what} {}", asker(session)));
        Ok(until.map(|until| Proven { text, until }))
    }
}
