//! `client_addr`: whose address it is and in which country, whether it is banned, and whether the route lets it come. All that before any
//! credential is verified, so that a banned or distant client cannot make the gateway work.

use std::rc::Rc;

use portcullis_policy::{CountryCode, Reason};

use crate::client_address::{derive, forwarded_scheme, is_trusted};
use crate::layers::establish::Establishes;
use crate::refusal::Refusal;
use crate::transit::{Facts, Transit};
use crate::worker::Worker;

/// Establishes the client's address and the ban on it, and asks `Policy::admit_client`.
#[derive(Clone)]
pub struct ClientAddr {
    worker: Rc<Worker>,
}

impl ClientAddr {
    /// A fact that bans on this worker's risk engine take part in.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl Establishes for ClientAddr {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        let facts = &mut transit.facts;
        let peer = facts.connection.peer.ip();
        let snapshot = &facts.loaded.snapshot;
        let settings = &snapshot.settings.client_address;
        let derived = derive(peer, &transit.head.headers, settings);
        if is_trusted(peer, &settings.trusted_proxies) {
            facts.scheme = forwarded_scheme(&transit.head.headers).unwrap_or(facts.scheme);
        }
        facts.client = Some(derived);
        admit(&self.worker, facts)
    }
}

/// Establishes the ban on the client's address, and asks `Policy::admit_client`.
///
/// # Errors
/// The refusal, for a client that may not come.
pub(crate) fn admit(worker: &Worker, facts: &mut Facts) -> Result<(), Refusal> {
    // Where the client is unknown, limits and bans go by the peer.
    let charged = facts.client_address().ip().unwrap_or(facts.connection.peer.ip());
    facts.address_ban = worker.shared.risk.ban_on_address(charged, facts.steady_now);
    facts.country = country(worker, facts);
    let Some(request) = facts.access_request() else {
        return Err(Refusal::Internal("client_addr was reached without a target".to_owned()));
    };
    match facts.loaded.snapshot.policy.admit_client(&request) {
        // The gateway's own pages need no route.
        Err(denial) if facts.is_page && denial.reason == Reason::RouteNotFound => Ok(()),
        admitted => admitted.map_err(Refusal::from_denial),
    }
}

/// The client's country, looked up only where a rule of the route asks for it.
fn country(worker: &Worker, facts: &Facts) -> Option<CountryCode> {
    let route = facts.route?;
    if !facts.loaded.snapshot.policy.asks_country(route) {
        return None;
    }
    worker.shared.geo.country(facts.client_address().ip()?)
}
