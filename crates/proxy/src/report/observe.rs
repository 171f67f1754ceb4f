//! What risk is told of a request, and what of a refusal is held against its caller.

use http::StatusCode;
use portcullis_events::{Event, ReasonCode};
use portcullis_identity::Identity;
use portcullis_policy::{Outcome, RouteId};
use portcullis_risk::{Actor, BanNotice, Blame, CallerKeys, Observation, Told};
use uuid::Uuid;

use super::event::fill_policy;
use crate::before::lately;
use crate::pages::Judged;
use crate::refusal::Refusal;
use crate::transit::{Facts, Remembered, Said, Transit};
use crate::worker::Worker;

impl Worker {
    /// Tells risk how the upstream answered a permitted request.
    pub(crate) fn observe_answer(
        &self,
        transit: &Transit,
        remembered: Option<&Remembered>,
        status: StatusCode,
        length: Option<u64>,
    ) {
        if let Some(bytes) = length {
            let facts = &transit.facts;
            self.shared.risk.exported(&facts.caller_keys, facts.principal(), bytes, facts.steady_now);
        }
        let said = remembered.map_or_else(|| Said::of(&transit.head.headers), Remembered::said);
        self.observe_said(transit, &said, status, None);
    }

    /// Tells risk of a refusal.
    pub(super) fn observe_refused(&self, transit: &Transit, refusal: &Refusal, code: ReasonCode) {
        self.observe_said(transit, &Said::of(&transit.head.headers), refusal.status(), Some((refusal, code)));
    }

    fn observe_said(
        &self,
        transit: &Transit,
        said: &Said<'_>,
        status: StatusCode,
        refused: Option<(&Refusal, ReasonCode)>,
    ) {
        let facts = &transit.facts;
        let code = refused.map(|(_, code)| code);
        if let Some(lane) = &self.lane {
            lane.note(facts, said.user_agent, code, status.as_u16());
        }
        let observation = Observation {
            principal: facts.principal(),
            keys: facts.caller_keys,
            attempted: facts.identity.as_ref().and_then(Identity::attempted_id),
            route: facts.route.map(RouteId::index),
            blame: refused.map_or(Blame::Caller, |(refusal, code)| self.blame(facts, refusal, code)),
            ..seen(facts, said, status, code)
        };
        self.tell_risk(&observation, facts);
    }

    /// Whose doing it is that a request was refused: the one place that says what of it is held against its caller.
    pub(super) fn blame(&self, facts: &Facts, refusal: &Refusal, code: ReasonCode) -> Blame {
        if refusal.is_innocent() {
            return Blame::Anybody;
        }
        // What a verified caller does wrong on a page of its own is about nothing but its own.
        let is_on_its_own_page = || facts.asks_who && facts.principal().is_some();
        let is_of_a_change = || {
            code.is_the_policys()
                && self.shared.risk.charges()
                && (self.shared.before.permitted(facts)
                    || permitted_without_staged(facts)
                    || permitted_until_lately(facts, code))
        };
        if is_on_its_own_page() || is_of_a_change() { Blame::Gateway } else { Blame::Caller }
    }

    /// Tells risk what came of a credential that was given on a page of the gateway's own. It is no request to a route.
    pub(crate) fn observe_page(&self, transit: &Transit, status: StatusCode, judged: &Judged) {
        let facts = &transit.facts;
        let said = Said::of(&transit.head.headers);
        let observation = match judged {
            Judged::Failed { code, attempted } => {
                Observation { attempted: attempted.as_deref(), ..seen(facts, &said, status, Some(*code)) }
            }
            Judged::Verified(principal) => {
                Observation { principal: Some(principal), ..seen(facts, &said, status, None) }
            }
        };
        self.tell_risk(&observation, facts);
    }

    fn tell_risk(&self, observation: &Observation<'_>, facts: &Facts) {
        if let Some(notice) = self.shared.risk.observe(observation, facts.steady_now) {
            self.report_ban(&notice, facts);
        }
    }

    fn report_ban(&self, notice: &BanNotice, facts: &Facts) {
        let (actor, until, cause) = (&notice.actor, notice.ban.until, &notice.ban.cause);
        if notice.ban.simulated {
            tracing::warn!(%actor, %until, %cause, "a ban is only reported");
        } else {
            tracing::warn!(%actor, %until, %cause, "banned");
        }
        let mut event = Event::ban_created(Uuid::now_v7(), facts.now, &notice.ban);
        match &notice.actor {
            Actor::Network(network) => event.client.ip = Some(network.addr()),
            Actor::Principal { kind, id } => {
                event.identity.id = Some(id.to_string());
                event.identity.kind = Some(kind.as_str());
            }
        }
        let samples: Vec<String> =
            notice.evidence.iter().map(|sample| format!("{} {}", sample.reason, sample.path)).collect();
        let is = if notice.ban.simulated { "would be" } else { "is" };
        event.message = Some(format!("{actor} {is} banned until {until}: {cause}; last: {}", samples.join(", ")));
        fill_policy(&mut event, facts);
        self.fill_place(&mut event);
        self.shared.recorder.record(event);
    }
}

/// Whether it was refused by a policy that is being tried on some callers, and the one in force would have permitted it.
fn permitted_without_staged(facts: &Facts) -> bool {
    let permits = |request| facts.loaded.snapshot.policy.verdict(&request).0 == Outcome::Permit;
    facts.by_staged && facts.access_request().is_some_and(permits)
}

/// Whether it is refused because power has ended a short while ago: an assignment that expired, its hours, or what was activated or lent, also where somebody
/// ended that. Whoever had it may not have heard. What was never given is nobody's excuse, nor what ended longer ago.
fn permitted_until_lately(facts: &Facts, code: ReasonCode) -> bool {
    let policy = facts.policy().0;
    let permitted = |request| policy.permits_but_for_what_ended(&request, lately(facts.now));
    code.stage() == "rbac"
        && facts.identity.is_some()
        && (!facts.lent.is_empty() || policy.has_grants_that_end())
        && facts.access_request().is_some_and(permitted)
}

/// What risk has to know of any answer: where it went, and what it said.
fn seen<'a>(facts: &'a Facts, said: &Said<'a>, status: StatusCode, code: Option<ReasonCode>) -> Observation<'a> {
    Observation {
        address: facts.client_address(),
        peer: facts.connection.peer.ip(),
        principal: None,
        keys: CallerKeys::default(),
        attempted: None,
        route: None,
        path: facts.target.as_ref().map_or("", |target| target.path.as_str()),
        told: Told {
            query: facts.target.as_ref().and_then(|target| target.uri.query()),
            user_agent: said.user_agent.and_then(|value| value.to_str().ok()),
            referrer: said.referrer.and_then(|value| value.to_str().ok()),
        },
        status: status.as_u16(),
        reason: code.map(ReasonCode::code),
        blame: Blame::Caller,
        upstream: code.is_none(),
    }
}
