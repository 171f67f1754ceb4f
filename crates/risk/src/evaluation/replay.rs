//! Plays recorded requests to a detector, in their order.

use std::net::IpAddr;

use portcullis_policy::{BanScope, ClientAddress, Principal};

use super::counter::PlainCounter;
use super::line::LoggedRequest;
use super::outcome::Outcomes;
use crate::{Blame, CallerKeys, Heard, Observation, RiskEngine, Told};

/// What bans.
#[derive(Debug)]
pub enum Detector<'a> {
    /// The engine of the gateway.
    Engine(&'a RiskEngine),
    /// The plain counter.
    Counter(&'a mut PlainCounter),
}

impl Detector<'_> {
    fn refuses(&self, request: &LoggedRequest<'_>, principal: Option<&Principal>) -> bool {
        let (address, now) = (request.address, request.time);
        match self {
            Self::Counter(counter) => counter.is_banned(address, now),
            Self::Engine(engine) => {
                let on_principal = principal.and_then(|principal| engine.ban_on_principal(principal, now)).is_some();
                let on_address = engine.ban_on_address(address, now).is_some_and(|ban| match ban.scope {
                    BanScope::Address if principal.is_some() && engine.hear(address, &ban, now).is_some() => {
                        let let_in = request.status < 400;
                        engine.heard(address, if let_in { Heard::LetIn } else { Heard::Excused }, now);
                        false
                    }
                    BanScope::Address => true,
                    BanScope::Anonymous => principal.is_none(),
                    BanScope::Principal => false,
                });
                on_principal || on_address
            }
        }
    }

    fn observe(&mut self, request: &LoggedRequest<'_>, principal: Option<&Principal>) -> bool {
        match self {
            Self::Counter(counter) => {
                counter.count(request.address, request.status, request.time);
                counter.is_banned(request.address, request.time)
            }
            Self::Engine(engine) => engine.observe(&observation(request, principal), request.time).is_some(),
        }
    }
}

/// Plays these requests and counts what would have come of each. A request that a ban refuses is not observed, as in the gateway.
pub fn replay<'a>(mut detector: Detector<'_>, requests: impl Iterator<Item = LoggedRequest<'a>>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for request in requests {
        // Who was asked to authenticate was not verified, whatever name the line has.
        let principal = request.user.filter(|_| request.status != 401).map(Principal::user);
        let outcome = outcomes.0.entry(request.address.to_canonical()).or_default();
        outcome.requests += 1;
        let good = request.status < 400;
        outcome.good += u64::from(good);
        outcome.errors += u64::from((400..500).contains(&request.status));
        if detector.refuses(&request, principal.as_ref()) {
            outcome.refused += 1;
            outcome.good_refused += u64::from(good);
        } else if detector.observe(&request, principal.as_ref()) && outcome.banned_at.is_none() {
            outcome.banned_at = Some(outcome.requests);
        }
    }
    outcomes
}

fn observation<'a>(request: &LoggedRequest<'a>, principal: Option<&'a Principal>) -> Observation<'a> {
    let peer: IpAddr = request.address;
    Observation {
        address: ClientAddress::known(peer),
        peer,
        principal,
        keys: CallerKeys::default(),
        attempted: None,
        path: request.path,
        told: Told { query: request.query, user_agent: request.user_agent, referrer: request.referrer },
        status: request.status,
        reason: None,
        upstream: true,
        blame: Blame::Caller,
        route: None,
    }
}
