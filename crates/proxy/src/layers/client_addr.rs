//! `client_addr`: whose address it is and in which country, whether it is banned, and whether the route lets it come. All that before any
//! credential is verified, so that a banned or distant client cannot make the gateway work. Whether a banned address is one that verified
//! principals share may not be known yet: then [so many](portcullis_risk::RiskEngine::hear) credentials from there are verified even so.

use std::net::IpAddr;
use std::rc::Rc;

use http::{HeaderMap, Method};
use portcullis_policy::{AuthenticationRule, Ban, CountryCode, Reason};

use crate::client_address::{derive, forwarded_scheme, is_trusted};
use crate::layers::establish::Establishes;
use crate::layers::identify::certificate_identity;
use crate::refusal::Refusal;
use crate::settings::RouteSettings;
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
        admit(&self.worker, facts, &transit.head.headers)
    }
}

/// Establishes the ban on the client's address, and asks `Policy::admit_client`.
///
/// # Errors
/// The refusal, for a client that may not come.
pub(crate) fn admit(worker: &Worker, facts: &mut Facts, headers: &HeaderMap) -> Result<(), Refusal> {
    let charged = charged_address(facts);
    let risk = &worker.shared.risk;
    facts.address_ban = risk.ban_on_address(charged, facts.steady_now);
    facts.heard.set(false);
    if let Some(ban) = &facts.address_ban
        && asks_to_be_heard(facts, headers, ban)
        && let Some(ban) = risk.hear(charged, ban, facts.steady_now)
    {
        facts.address_ban = Some(ban);
        facts.heard.set(true);
    }
    facts.country = country(worker, facts);
    let Some(request) = facts.access_request() else {
        return Err(Refusal::Internal("client_addr was reached without a target".to_owned()));
    };
    match facts.loaded.snapshot.policy.admit_client(&request) {
        // The gateway's own pages need no route; but those that ask who it is do: its rules say who may come.
        Err(denial) if facts.is_page && !facts.asks_who && denial.reason == Reason::RouteNotFound => Ok(()),
        admitted => admitted.map_err(Refusal::from_denial),
    }
}

/// Whom limits and bans go by: where the client is unknown, the peer.
pub(crate) fn charged_address(facts: &Facts) -> IpAddr {
    facts.client_address().ip().unwrap_or(facts.connection.peer.ip())
}

/// Whether it brings a credential to a route that looks at one, or asks what a browser asks before it does. What leads nowhere is refused for
/// the ban.
fn asks_to_be_heard(facts: &Facts, headers: &HeaderMap, ban: &Ban) -> bool {
    let snapshot = &facts.loaded.snapshot;
    let looks = |route| snapshot.policy.authentication(route) != AuthenticationRule::None;
    // Pages of the gateway's own are answered before anybody looks at a credential: nothing there would narrow the ban.
    if ban.simulated || facts.is_page || !facts.route.is_some_and(looks) {
        return false;
    }
    // A password can be guessed, and would be looked at beside a certificate, too.
    if snapshot.authenticator.is_password_brought(headers) {
        return false;
    }
    let brought = snapshot.authenticator.is_credential_brought(headers) || certificate_identity(facts).is_some();
    brought || facts.route_settings().is_some_and(|route| is_preflight(facts, headers, route))
}

/// Whether it is a browser's question that the route answers by its configuration, without any work.
fn is_preflight(facts: &Facts, headers: &HeaderMap, route: &RouteSettings) -> bool {
    let is_options = facts.target.as_ref().is_some_and(|target| target.method == Method::OPTIONS);
    is_options && route.cors.as_deref().is_some_and(|cors| cors.preflight(&Method::OPTIONS, headers).is_some())
}

/// The client's country, looked up only where a rule of the route may ask for it.
fn country(worker: &Worker, facts: &Facts) -> Option<CountryCode> {
    let route = facts.route?;
    let snapshot = &facts.loaded.snapshot;
    let staged = || snapshot.staged.as_deref().is_some_and(|staged| staged.policy.asks_country(route));
    // A page that asks who it is goes by the rules of other routes, too.
    if !facts.asks_who && !snapshot.policy.asks_country(route) && !staged() {
        return None;
    }
    worker.shared.geo.country(facts.client_address().ip()?)
}
