//! Rate limits by address, before anybody is identified, and by principal, after it. Those by route are in
//! [`share`](super::share), behind the decision.

use std::rc::Rc;

use crate::layers::establish::Establishes;
use crate::rate::{Left, Limit, Verdict};
use crate::refusal::Refusal;
use crate::throttle::{Throttle, ThrottleKind, in_words};
use crate::transit::{Facts, Transit};
use crate::worker::Worker;

/// Refuses what an address asks for too often.
#[derive(Clone)]
pub struct RateByAddress {
    worker: Rc<Worker>,
}

impl RateByAddress {
    /// A rule that counts in this worker's process.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl Establishes for RateByAddress {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        let facts = &mut transit.facts;
        let loaded = Rc::clone(&facts.loaded);
        let Some(rates) = loaded.rates(facts.route) else { return Ok(()) };
        let (shared, key, now_ns) = (&self.worker.shared, facts.address_key(), self.worker.now_ns(facts));
        for limit in &rates.by_address {
            let verdict = shared.rates.take_for_address(limit, key, now_ns);
            note(&mut facts.quotas, limit, verdict, || key.to_string())?;
        }
        Ok(())
    }
}

/// Refuses what a principal asks for too often. A caller without a verified principal counts by its address, also one whose
/// credential was bad.
#[derive(Clone)]
pub struct RateByPrincipal {
    worker: Rc<Worker>,
}

impl RateByPrincipal {
    /// A rule that counts in this worker's process.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl Establishes for RateByPrincipal {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        let facts = &mut transit.facts;
        let loaded = Rc::clone(&facts.loaded);
        let Some(rates) = loaded.rates(facts.route) else { return Ok(()) };
        let (rates_of_process, now_ns) = (&self.worker.shared.rates, self.worker.now_ns(facts));
        for limit in &rates.by_principal {
            let verdict = match facts.principal() {
                Some(principal) => rates_of_process.take_for_principal(limit, principal, now_ns),
                None => rates_of_process.take_for_address(limit, facts.address_key(), now_ns),
            };
            let key = match &verdict {
                Verdict::Within(_) => String::new(),
                Verdict::Over { .. } => caller(facts),
            };
            note(&mut facts.quotas, limit, verdict, || key)?;
        }
        Ok(())
    }
}

/// Who the caller is to a limit by principal.
pub(super) fn caller(facts: &Facts) -> String {
    match facts.principal() {
        Some(principal) => format!("{}:{}", principal.kind.as_str(), principal.id),
        None => facts.address_key().to_string(),
    }
}

/// Notes what is left for the caller to see, and refuses where nothing was.
pub(super) fn note(
    quotas: &mut Vec<Left>,
    limit: &Limit,
    verdict: Verdict,
    key: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    let retry_after_s = match verdict {
        Verdict::Within(left) => {
            quotas.push(left);
            return Ok(());
        }
        Verdict::Over { retry_after_s } => retry_after_s,
    };
    // `t` is about the same moment as `Retry-After`, as the draft has it.
    quotas.push(Left { remaining: 0, reset_s: retry_after_s });
    let settings = &limit.settings;
    let window = in_words(settings.window);
    let limit =
        format!("{} requests in {window} per {} (burst {})", settings.requests, settings.per.as_str(), settings.burst);
    Err(Refusal::Throttled(Box::new(Throttle { kind: ThrottleKind::Rate, limit, key: key(), retry_after_s })))
}
