//! Second factors, as the control channel shows and changes them.

use jiff::Timestamp;
use portcullis_admin::api::{Done, Factor, FactorBegun, FactorCode, FactorConfirmed, Factors, NewFactor, Problem};
use portcullis_identity::mfa::factor::FactorId;
use portcullis_identity::mfa::{FactorRefusal, SecondFactors};

use crate::factoring::{self, Unasked};

/// What there is of a principal.
pub(super) fn list(factors: &factoring::Factors, on: &str) -> Result<Factors, Problem> {
    let found = ask(factors, on, |service| service.list(on))?;
    let factors = found.into_iter().map(|factor| Factor {
        id: factor.id.to_string(),
        kind: factor.kind.as_str().to_owned(),
        name: factor.name,
        created: format!("{:.0}", factor.created),
        used: factor.used.map(|used| format!("{used:.0}")),
        left: factor.left.map(|left| left as u64),
    });
    Ok(Factors { on: on.to_owned(), factors: factors.collect() })
}

/// Begins an app with codes.
pub(super) fn enroll(factors: &factoring::Factors, new: &NewFactor) -> Result<FactorBegun, Problem> {
    let begun = ask(factors, &new.on, |service| service.begin_totp(&new.on, &new.name, Timestamp::now()))?;
    Ok(FactorBegun { id: begun.id.to_string(), secret: begun.secret, uri: begun.uri })
}

/// Confirms it.
pub(super) fn confirm(factors: &factoring::Factors, code: &FactorCode) -> Result<FactorConfirmed, Problem> {
    let id = FactorId::parse(&code.id).ok_or_else(|| problem("that is no id of a factor"))?;
    let added = ask(factors, &code.on, |service| service.confirm_totp(&code.on, id, &code.code, Timestamp::now()))?;
    let message = format!("{} has an app with codes", code.on);
    Ok(FactorConfirmed { message, recovery: added.recovery })
}

/// Takes all away, also what was written down under the name that was typed while ids were compared otherwise.
pub(super) fn reset(factors: &factoring::Factors, on: &str, as_compared: &str) -> Result<Done, Problem> {
    let mut count = ask(factors, on, |service| service.reset(as_compared))?;
    if on != as_compared {
        count += ask(factors, on, |service| service.reset(on))?;
    }
    Ok(Done { message: format!("{on} has no second factor any more; {count} were removed") })
}

fn ask<T>(
    factors: &factoring::Factors,
    on: &str,
    question: impl FnOnce(&SecondFactors) -> Result<T, FactorRefusal>,
) -> Result<T, Problem> {
    let is_user = on
        .strip_prefix("user:")
        .is_some_and(|id| !id.is_empty() && id.len() <= 256 && !id.chars().any(char::is_control));
    if !is_user {
        return Err(problem("only users have second factors: name one, such as `user:alice`"));
    }
    match factors.ask_now(question) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(problem(&refusal.to_string())),
        Err(Unasked::Off | Unasked::Busy) => Err(problem("the gateway keeps no second factors: there is no [mfa]")),
    }
}

fn problem(text: &str) -> Problem {
    Problem { error: text.to_owned() }
}
