//! `assess`: how risky the caller looks, whether the principal is banned, what alerts demand, and what the principal has for a time.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::USER_AGENT;
use portcullis_geo::{Geo, Spot};
use portcullis_risk::posture::{Posture, is_expected_of};
use portcullis_risk::{Caller, Locate, Location, Position};

use crate::client_address::is_trusted;
use crate::layers::establish::Establishes;
use crate::refusal::Refusal;
use crate::transit::Transit;
use crate::worker::Worker;

/// Establishes the risk assessment, the ban on the principal, what alerts demand of it or on the route, and what it has for a time.
#[derive(Clone)]
pub struct Assess {
    worker: Rc<Worker>,
}

impl Assess {
    /// A fact by this worker's risk engine.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl Establishes for Assess {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        look_at_the_device(transit);
        let risk = &self.worker.shared.risk;
        let (keys, assessment, ban) = {
            let atlas = Atlas(&self.worker.shared.geo);
            let caller = Caller { places: Some(&atlas), ..caller(transit) };
            let mut keys = risk.keys_of(&caller);
            let ban = caller.principal.and_then(|principal| risk.ban_on_principal(principal, transit.facts.steady_now));
            let assessment = risk.assess(&caller, &mut keys, transit.facts.steady_now);
            (keys, assessment, ban)
        };
        let route = transit.facts.route_name().map(|name| &**name);
        let (who, address) = (transit.facts.principal(), transit.facts.client_address().ip());
        transit.facts.demanded = risk.demanded(who, route, address, transit.facts.steady_now);
        let shared = &self.worker.shared;
        transit.facts.lent = match transit.facts.principal() {
            Some(principal) => shared.lending.of(principal, transit.facts.steady_now),
            None => Vec::new(),
        };
        transit.facts.caller_keys = keys;
        transit.facts.risk = Some(assessment);
        transit.facts.principal_ban = ban;
        Ok(())
    }
}

/// What is said of the device of a user, where something is expected. A proxy's word counts only from a peer that is one; whoever else sets the header
/// has said nothing, and no upstream ever sees it.
fn look_at_the_device(transit: &mut Transit) {
    let facts = &transit.facts;
    let settings = &facts.loaded.snapshot.settings;
    let Some(reader) = &settings.posture else {
        transit.facts.device = None;
        return;
    };
    let Some(principal) = facts.principal().filter(|principal| is_expected_of(principal)) else { return };
    let may_say =
        || !reader.is_a_proxys() || is_trusted(facts.connection.peer.ip(), &settings.client_address.trusted_proxies);
    // What is under way already is looked at again without its head: what was said at its beginning is older now.
    let said = facts.posture;
    let word = said.or_else(|| may_say().then(|| reader.read(&transit.head.headers, principal, facts.now)).flatten());
    let device = word.map_or(Posture::Missing, |word| {
        let age = Duration::try_from(facts.now.duration_since(word.at)).unwrap_or_default();
        if age > reader.max_age() { Posture::Stale { age } } else { Posture::Known { compliant: word.compliant } }
    });
    (transit.facts.posture, transit.facts.device) = (word, Some(device));
}

/// The caller as risk sees it.
pub(crate) fn caller(transit: &Transit) -> Caller<'_> {
    let facts = &transit.facts;
    Caller {
        user_agent: transit.head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()),
        route: facts.route_name().map(|name| &**name),
        policy: Some(&facts.loaded.snapshot.policy),
        posture: facts.device,
        ..Caller::new(facts.client_address(), facts.principal())
    }
}

/// Where addresses are, by the geo databases.
#[derive(Debug, Clone, Copy)]
pub struct Atlas<'a>(pub &'a Geo);

impl Locate for Atlas<'_> {
    fn locate(&self, address: IpAddr) -> Option<Location> {
        let Spot { country, asn, position, radius_km, missing } = self.0.spot(address)?;
        let position =
            position.and_then(|(latitude, longitude)| Position::from_degrees(latitude, longitude, radius_km));
        Some(Location { country, asn, position, missing })
    }
}
