//! `authorize`: all facts become one question to the policy; a permit wraps the request, anything else refuses it.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::Either;
use portcullis_identity::Identity;
use portcullis_policy::{Decision, Permit, RiskLevel};
use tower_layer::Layer;
use tower_service::Service;

use crate::layers::assess::caller;
use crate::layers::establish::Refused;
use crate::permitted::Permitted;
use crate::refusal::Refusal;
use crate::transit::{Facts, Transit};
use crate::worker::Worker;

/// Makes [`Authorize`].
pub struct AuthorizeLayer {
    worker: Rc<Worker>,
}

impl AuthorizeLayer {
    /// A layer that counts and learns on this worker.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorize { worker: Rc::clone(&self.worker), inner }
    }
}

/// Asks `Policy::decide`. The inner service takes only [`Permitted`] requests.
#[derive(Clone)]
pub struct Authorize<S> {
    worker: Rc<Worker>,
    inner: S,
}

impl<S> Authorize<S> {
    /// What is usual for a principal is learnt only from what was let through without a doubt, or after a step-up.
    fn learn(&self, transit: &Transit, permit: &Permit) {
        let facts = &transit.facts;
        let policy = &facts.loaded.snapshot.policy;
        let stepped_up = || match &facts.identity {
            Some(Identity::Verified(principal)) => policy.is_mfa_fresh(principal, facts.now),
            Some(Identity::Anonymous | Identity::Rejected(_) | Identity::Unavailable(..)) | None => false,
        };
        let low = permit.risk_level() == RiskLevel::Low;
        // Who would have been asked and has answered already is not asked again from there for a while.
        let stepped_up = !low && stepped_up();
        if low || stepped_up {
            self.worker.shared.risk.learn(&caller(transit), &facts.caller_keys, stepped_up, facts.steady_now);
        }
    }
}

impl<S> Service<Box<Transit>> for Authorize<S>
where
    S: Service<Permitted<Box<Transit>>, Error = Box<Refused>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut transit: Box<Transit>) -> Self::Future {
        let refused = |refusal, transit| Either::Right(ready(Err(Box::new(Refused { refusal, transit }))));
        if transit.facts.client.is_none() || transit.facts.identity.is_none() || transit.facts.risk.is_none() {
            return refused(Refusal::Internal("authorize was reached without a fact it needs".to_owned()), transit);
        }
        let began = Instant::now();
        let Some(decision) = ask(&transit.facts) else {
            return refused(Refusal::Internal("authorize was reached without a target".to_owned()), transit);
        };
        let took = began.elapsed();
        transit.facts.decision_us = u64::try_from(took.as_micros()).ok();
        transit.facts.decided = Some(began + took);
        let counters = transit.facts.loaded.counters(transit.facts.route);
        counters.decisions.observe(took);
        match decision {
            Decision::Permit(permit) => {
                counters.permit();
                self.learn(&transit, &permit);
                if !permit.shadow().is_empty() {
                    self.worker.report_shadow(&transit.facts, &permit);
                }
                Either::Left(self.inner.call(Permitted::new(transit, permit)))
            }
            Decision::Deny(denial)
            | Decision::Challenge(denial)
            | Decision::StepUp(denial)
            | Decision::Undecided(denial) => refused(Refusal::from_denial(denial), transit),
        }
    }
}

/// What the policy says to these facts; `None` without a target.
fn ask(facts: &Facts) -> Option<Decision> {
    Some(facts.loaded.snapshot.policy.decide(&facts.access_request()?))
}

/// Asks again about a request that was permitted before. A permit leads nowhere: what is under way goes on.
///
/// # Errors
/// The refusal, if it is not permitted any more.
pub(crate) fn ask_again(facts: &Facts) -> Result<(), Refusal> {
    match ask(facts) {
        Some(Decision::Permit(_)) => Ok(()),
        Some(
            Decision::Deny(denial)
            | Decision::Challenge(denial)
            | Decision::StepUp(denial)
            | Decision::Undecided(denial),
        ) => Err(Refusal::from_denial(denial)),
        None => Err(Refusal::Internal("a stream without a target".to_owned())),
    }
}
