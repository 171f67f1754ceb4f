//! `authorize`: all facts become one question to the policy; a permit wraps the request, anything else refuses it.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::Either;
use jiff::Timestamp;
use portcullis_policy::{Decision, Permit, PrincipalKind, RiskLevel, Sensitivity};
use portcullis_risk::Heard;
use tower_layer::Layer;
use tower_service::Service;

use crate::layers::assess::caller;
use crate::layers::establish::Refused;
use crate::layers::identify::tell_what_was_heard;
use crate::permitted::Permitted;
use crate::refusal::Refusal;
use crate::transit::{Facts, Transit};
use crate::usage::Counting;
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
    /// What is usual for a principal is learnt only from what was let through without a doubt, and from who authenticated with mfa after
    /// there was one. A fresh mfa by itself says nothing about who holds the token: it was got before anybody came with it.
    fn learn(&self, transit: &Transit, permit: &Permit) {
        let facts = &transit.facts;
        let risk = &self.worker.shared.risk;
        let learn = |stepped_up| risk.learn_with(&facts.caller_keys, || caller(transit), stepped_up, facts.steady_now);
        if permit.risk_level() == RiskLevel::Low {
            self.count(facts);
            return learn(false);
        }
        let Some(principal) = facts.principal() else { return };
        let is_fresh = facts.loaded.snapshot.policy.is_mfa_fresh(principal, facts.now);
        match authenticated(facts).filter(|_| is_fresh).and_then(|at| risk.answered(&facts.caller_keys, at)) {
            // Who was asked and has answered is not asked again from there for a while.
            Some(asked) => {
                self.count(facts);
                learn(asked);
            }
            None => {
                // Where the risk only watches, whoever would have been asked is let in: what it came to counts, too.
                if !is_fresh && !facts.loaded.snapshot.policy.enforces_risk() {
                    self.count(facts);
                }
                self.doubt(facts, false);
            }
        }
    }

    /// Counts the score of good traffic: what the engine learns from. Nobody but users can be asked to step up.
    fn count(&self, facts: &Facts) {
        let is_user = facts.principal().is_some_and(|principal| principal.kind == PrincipalKind::User);
        if let (Some(route), Some(risk)) = (facts.route, facts.risk.as_ref().filter(|_| is_user)) {
            let sensitivity = match facts.loaded.snapshot.policy.sensitivity(route) {
                Sensitivity::Low => 0,
                Sensitivity::Normal => 1,
                Sensitivity::High => 2,
            };
            self.worker.shared.risk.count_passed(
                &facts.caller_keys,
                sensitivity,
                risk.assessment.mnats,
                facts.steady_now,
            );
        }
    }

    /// Notes that there was a doubt about the caller. Its credential cannot answer it, whatever it says about when it was got.
    fn doubt(&self, facts: &Facts, asked: bool) {
        let since = authenticated(facts).map_or(facts.now, |at| at.max(facts.now));
        self.worker.shared.risk.doubt(&facts.caller_keys, asked, since);
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
        tell_of_risk(&mut transit);
        let began = Instant::now();
        choose(&mut transit.facts);
        let asked = match &self.worker.usage {
            None => ask(&transit.facts),
            Some(usage) => ask_noting(&transit.facts, usage),
        };
        let Some(mut decision) = asked else {
            return refused(Refusal::Internal("authorize was reached without a target".to_owned()), transit);
        };
        let took = began.elapsed();
        transit.facts.decision_us = u64::try_from(took.as_micros()).ok();
        transit.facts.decided = Some(began + took);
        if matches!(decision, Decision::Deny(_)) && look_for_what_ended(&self.worker, &mut transit.facts) {
            decision = ask(&transit.facts).unwrap_or(decision);
        }
        let counters = transit.facts.loaded.counters(transit.facts.route);
        counters.decisions.observe(took);
        match decision {
            Decision::Permit(permit) => {
                counters.permit();
                tell_what_was_heard(&self.worker, &transit.facts, Heard::LetIn);
                self.learn(&transit, &permit);
                if !permit.shadow().is_empty() {
                    self.worker.report_shadow(&transit, &permit);
                }
                Either::Left(self.inner.call(Permitted::new(transit, permit)))
            }
            Decision::StepUp(denial) => {
                self.doubt(&transit.facts, true);
                refused(Refusal::from_denial(denial), transit)
            }
            Decision::Deny(denial) | Decision::Challenge(denial) | Decision::Undecided(denial) => {
                refused(Refusal::from_denial(denial), transit)
            }
        }
    }
}

/// Gives the signals their words where the band is one that is asked about: a refusal says why. For all others nobody reads them.
fn tell_of_risk(transit: &mut Transit) {
    let facts = &transit.facts;
    let risk = facts.risk.as_ref().filter(|risk| !risk.assessment.signals.is_empty());
    let Some((route, risk)) = facts.route.zip(risk) else { return };
    if facts.loaded.snapshot.policy.risk_level(route, &risk.assessment).0 == RiskLevel::Low {
        return;
    }
    if let Some(mut risk) = transit.facts.risk.take() {
        risk.tell(&caller(transit));
        transit.facts.risk = Some(risk);
    }
}

/// When the caller authenticated, by the time of day: a doubt is noted by that, too, and not by the clock of bans. One worked out from
/// the other would differ a little from one request to the next, and the same credential would come before a doubt and behind it.
fn authenticated(facts: &Facts) -> Option<Timestamp> {
    facts.principal()?.authentication.auth_time
}

/// What the policy says that was chosen; `None` without a target.
fn ask(facts: &Facts) -> Option<Decision> {
    Some(facts.policy().0.decide(&facts.access_request()?))
}

/// Which policy decides, once for all that is asked of a request: the one in force, or the one that comes into force step by step.
pub(crate) fn choose(facts: &mut Facts) {
    facts.by_staged = facts.loaded.snapshot.staged.as_deref().is_some_and(|staged| staged.decides_on(facts));
}

/// Notes what the principal had until lately, where it had anything: a refusal says so.
fn look_for_what_ended(worker: &Worker, facts: &mut Facts) -> bool {
    let lending = &worker.shared.lending;
    let ended = facts.principal().map(|principal| lending.ended(principal, facts.now, facts.steady_now));
    let ended = ended.unwrap_or_default();
    let any = !ended.is_empty();
    facts.lent.extend(ended);
    any
}

/// The same, and what it used is counted.
fn ask_noting(facts: &Facts, usage: &Counting) -> Option<Decision> {
    let (decision, used) = facts.policy().0.decide_noting(&facts.access_request()?);
    match facts.by_staged {
        false => usage.note(facts, &decision, used),
        true => usage.note_staged(facts, &decision, used),
    }
    Some(decision)
}

/// Asks again about a request that was permitted before. A permit leads nowhere: what is under way goes on.
///
/// # Errors
/// The refusal, if it is not permitted any more.
pub(crate) fn ask_again(worker: &Worker, transit: &mut Transit) -> Result<(), Refusal> {
    tell_of_risk(transit);
    choose(&mut transit.facts);
    let mut decision = ask(&transit.facts);
    if matches!(decision, Some(Decision::Deny(_))) && look_for_what_ended(worker, &mut transit.facts) {
        decision = ask(&transit.facts);
    }
    match decision {
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
