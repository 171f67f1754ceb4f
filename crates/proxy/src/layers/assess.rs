//! `assess`: how risky the caller looks, whether the principal is banned, and what alerts demand.

use std::rc::Rc;

use http::header::USER_AGENT;
use portcullis_risk::Caller;

use crate::layers::establish::Establishes;
use crate::refusal::Refusal;
use crate::transit::Transit;
use crate::worker::Worker;

/// Establishes the risk assessment, the ban on the principal, and what alerts demand of it or on the route.
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
        let risk = &self.worker.shared.risk;
        let (keys, assessment, ban) = {
            let caller = caller(transit);
            let keys = risk.keys_of(&caller);
            let ban = caller.principal.and_then(|principal| risk.ban_on_principal(principal, transit.facts.steady_now));
            (keys, risk.assess(&caller, keys, transit.facts.steady_now), ban)
        };
        let route = transit.facts.route_name().map(|name| &**name);
        let (who, address) = (transit.facts.principal(), transit.facts.client_address().ip());
        transit.facts.demanded = risk.demanded(who, route, address, transit.facts.steady_now);
        transit.facts.caller_keys = keys;
        transit.facts.risk = Some(assessment);
        transit.facts.principal_ban = ban;
        Ok(())
    }
}

/// The caller as risk sees it.
fn caller(transit: &Transit) -> Caller<'_> {
    Caller {
        address: transit.facts.client_address(),
        principal: transit.facts.principal(),
        user_agent: transit.head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()),
    }
}
