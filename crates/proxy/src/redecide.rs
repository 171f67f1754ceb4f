//! Deciding again on what is under way: by the configuration that is in force now, with the credential that the caller
//! sent, at this time.
//!
//! The request is the same, so its target and the client's address are. Everything else is asked anew, in the order of the
//! stack: bans, networks, the credential, risk, the policy.

use std::rc::Rc;

use portcullis_events::ReasonCode;
use portcullis_risk::Heard;

use crate::layers::assess::Assess;
use crate::layers::authorize::ask_again;
use crate::layers::establish::Establishes as _;
use crate::layers::identify::{begin_anew, identify_again, tell_what_was_heard};
use crate::malformation::Malformation;
use crate::refusal::Refusal;
use crate::transit::Transit;
use crate::worker::Worker;

/// Why a stream was ended.
pub(crate) enum Ending {
    /// It is no longer permitted.
    Refused(Refusal),
    /// The gateway stops, and the grace is over.
    Stopped,
}

/// Decides again. `transit` has the caller's credentials in its head; its facts become those of now. `protocol` is what the
/// connection was switched to, if it was.
///
/// # Errors
/// The refusal, if a request like this would be refused now.
pub(crate) fn redecide(worker: &Rc<Worker>, transit: &mut Transit, protocol: Option<&str>) -> Result<(), Refusal> {
    begin_anew(worker, transit)?;
    if !identify_again(worker, transit) {
        // The provider's keys are just being fetched: it is looked at again when they are there, or known not to come.
        return Ok(());
    }
    Assess::new(worker).establish(transit)?;
    let again = ask_again(worker, transit);
    let heard = if again.is_ok() { Heard::LetIn } else { Heard::Excused };
    tell_what_was_heard(worker, &transit.facts, heard);
    again?;
    let facts = &transit.facts;
    let upgrades = facts.route_settings().map(|route| route.upgrades.as_slice()).unwrap_or_default();
    match protocol.filter(|protocol| !upgrades.iter().any(|each| **each == **protocol)) {
        Some(protocol) => {
            let detail = format!("the route does not permit {protocol} any more");
            Err(Refusal::Malformed(Malformation::new(ReasonCode::RequestUpgradeNotAllowed, detail)))
        }
        None => Ok(()),
    }
}
