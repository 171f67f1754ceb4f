//! What a worker writes down about a request: its one event, the counters, and what risk has to know.

mod event;
mod observe;
mod remedy;

use std::time::Instant;

use bytes::Bytes;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use portcullis_events::event::Origin;
use portcullis_events::{Answer, Event, EventKind, ReasonCode, Receipt, help_url, is_sampled};
use portcullis_policy::{Permit, Reason};
use portcullis_risk::Heard;
use uuid::Uuid;

use crate::layers::identify::tell_what_was_heard;
use crate::layers::respond::{Sketch, locate};
use crate::pages::invite::invitation;
use crate::rate::write_fields;
use crate::redecide::Ending;
use crate::refusal::form::Form;
use crate::refusal::{Challenges, Refusal, Remedy, Rendering, render};
use crate::request_id::shown;
use crate::route::origin_of;
use crate::settings::Recorded;
use crate::traced::{Ended, trace};
use crate::transit::Transit;
use crate::worker::Worker;

use event::{fill_facts, fill_head, fill_policy};
use remedy::remedy;

pub(crate) use event::event_id;

impl Worker {
    /// Answers a refused request: exactly one event, one count, one observation. The answer may be sent once the receipt is settled.
    pub(crate) fn refuse(&self, refusal: &Refusal, transit: &Transit) -> (Response<Full<Bytes>>, Receipt) {
        let facts = &transit.facts;
        let snapshot = &facts.loaded.snapshot;
        let code = refusal.code();
        let counters = facts.loaded.counters(facts.route);
        counters.refuse(code);
        if facts.principal().is_some() {
            // Who is verified and refused shows nothing of who else comes from a banned address.
            tell_what_was_heard(self, facts, Heard::Excused);
        }
        let now = Instant::now();
        counters.requests.observe(now.saturating_duration_since(facts.started));
        if let Some(tracer) = &self.shared.tracer {
            trace(tracer, transit, None, Ended::Refused(refusal.status(), code, code.answer()), now);
        }
        let bans = [&facts.address_ban, &facts.principal_ban];
        let ban_until = bans.into_iter().flatten().filter(|ban| !ban.simulated).map(|ban| ban.until).max();
        let retry_after_s = refusal.retry_after_s(ban_until, facts.steady_now);
        let mut event = self.event(refusal, transit);
        event.remedy.retry_after_s = retry_after_s;
        let requestable = self.note_requestable(refusal, transit);
        let remedy = remedy(refusal, transit, requestable);
        event.remedy.ask = remedy.as_ref().and_then(Remedy::place).map(str::to_owned);
        let invitation = invitation(refusal, transit);
        if invitation.is_some() {
            event.status = Some(StatusCode::FOUND.as_u16());
        }
        let receipt = self.shared.recorder.record_answered(event);
        self.observe_refused(transit, refusal, code);
        let disclose = facts.route_settings().is_some_and(|route| route.disclose);
        let mut response = render(
            refusal,
            &Rendering {
                id: facts.id,
                shown_id: &facts.shown_id_text(),
                settings: &snapshot.settings.refusal,
                disclose,
                requestable: requestable && disclose,
                remedy: remedy.filter(|_| disclose),
                retry_after_s,
                challenges: Challenges::of(facts, &transit.head.headers),
                form: Form::wanted(&transit.head.headers),
            },
        );
        if let Some(place) = invitation {
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().remove(WWW_AUTHENTICATE);
            response.headers_mut().insert(LOCATION, place);
        }
        if let Some(rates) = facts.loaded.rates(facts.route) {
            write_fields(response.headers_mut(), rates, &facts.quotas);
        }
        // A script may read why it was refused, where it may read answers at all.
        // What the gateway's own pages say is for no other origin.
        if let Some(cors) = facts.route_settings().and_then(|route| route.cors.as_deref()).filter(|_| !facts.is_page) {
            cors.decorate(origin_of(&transit.head.headers), response.headers_mut());
        }
        (response, receipt)
    }

    /// Records an answer that was cut because of a limit after its head was passed on: one count and one event, with the
    /// status that the caller got.
    pub(crate) fn report_cut(&self, refusal: &Refusal, transit: &Transit, sent: StatusCode) {
        let facts = &transit.facts;
        facts.loaded.counters(facts.route).refuse(refusal.code());
        let mut event = self.event(refusal, transit);
        event.status = Some(sent.as_u16());
        event.upstream.forwarded = true;
        self.shared.recorder.record(event);
    }

    /// Answers a request that panicked somewhere, of which only the sketch is left.
    pub(crate) fn refuse_after_panic(&self, sketch: &Sketch) -> (Response<Full<Bytes>>, Receipt) {
        self.shared.metrics.panics.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        sketch.loaded.counters(None).refuse(ReasonCode::InternalError);
        let refusal = Refusal::Internal("the request's handler panicked; the process goes on".to_owned());
        let settings = &sketch.loaded.snapshot.settings.refusal;
        let mut event = Event::denied(sketch.id, Timestamp::now(), ReasonCode::InternalError);
        event.message = Some(refusal.message());
        event.request.id = Some(event_id(sketch.kept_id.as_ref(), sketch.id));
        event.client.peer_ip = Some(sketch.connection.peer.ip());
        event.latency_us.total = u64::try_from(sketch.started.elapsed().as_micros()).ok();
        event.remedy.help = Some(help_url(&settings.help_base, ReasonCode::InternalError));
        event.policy.version = Some(sketch.loaded.snapshot.policy.version());
        event.policy.sha256 = Some(sketch.loaded.snapshot.policy_sha256.clone());
        let receipt = self.shared.recorder.record_answered(event);
        let shown_id = shown(sketch.kept_id.as_ref(), sketch.id);
        let rendering = Rendering {
            id: sketch.id,
            shown_id: &shown_id,
            settings,
            disclose: false,
            requestable: false,
            remedy: None,
            retry_after_s: None,
            challenges: Challenges::default(),
            form: Form::Problem,
        };
        (render(&refusal, &rendering), receipt)
    }

    /// Records that something under way was ended: an answer that streams, or a tunnel, as `what` says.
    pub(crate) fn report_ended(&self, transit: &Transit, what: &str, ending: &Ending) {
        let facts = &transit.facts;
        facts.loaded.counters(facts.route).refuse(ReasonCode::SessionTerminated);
        let (mut event, cause) = match ending {
            Ending::Refused(refusal) => (self.event(refusal, transit), refusal.message()),
            Ending::Stopped => {
                let mut event = Event::denied(facts.id, Timestamp::now(), ReasonCode::SessionTerminated);
                fill_policy(&mut event, facts);
                fill_facts(&mut event, facts, &[]);
                self.fill_place(&mut event);
                fill_head(&mut event, transit);
                event.latency_us.total = u64::try_from(facts.started.elapsed().as_micros()).ok();
                (event, "the gateway stops, and the grace is over".to_owned())
            }
        };
        let causes = std::mem::take(&mut event.reasons);
        event.set_reason(ReasonCode::SessionTerminated);
        event.reasons.extend(causes.into_iter().filter(|code| *code != ReasonCode::SessionTerminated));
        event.message = Some(format!("an open {what} was ended: {cause}"));
        event.upstream.forwarded = true;
        let help_base = &facts.loaded.snapshot.settings.refusal.help_base;
        event.remedy.help = Some(help_url(help_base, ReasonCode::SessionTerminated));
        self.shared.recorder.record(event);
    }

    /// Records a refusal that no answer of the gateway's goes with, because the protocol's own implementation gave one or there is
    /// nobody to answer to: exactly one event, one count, one observation. The event has no status.
    ///
    /// In HTTP/1 the gate lets no head pass that hyper would refuse by itself, so there it is a net under a net. In HTTP/2 the
    /// heads that are malformed in the version's own terms end here, and so do connections that were closed for a flood.
    pub(crate) fn report_unanswered(&self, refusal: &Refusal, transit: &mut Transit) {
        locate(transit);
        let code = refusal.code();
        transit.facts.loaded.counters(transit.facts.route).refuse(code);
        let mut event = self.event(refusal, transit);
        event.status = None;
        self.shared.recorder.record(event);
        self.observe_refused(transit, refusal, code);
    }

    /// A permitted request that a rule in shadow mode would have treated otherwise. Monitored risk is only counted, since
    /// it says something about most new callers; what an alert would demand is of few, and is recorded.
    pub(crate) fn report_shadow(&self, transit: &Transit, permit: &Permit) {
        let facts = &transit.facts;
        facts.loaded.counters(facts.route).shadow();
        let monitored = |reason: Option<Reason>| matches!(reason, Some(Reason::RiskTooHigh | Reason::StepUpRequired));
        if facts.demanded.is_none() && permit.shadow().iter().all(|finding| monitored(finding.reason)) {
            return;
        }
        let mut event = Event::new(EventKind::AccessAllowed, Uuid::now_v7(), facts.now);
        event.decision = Some(Answer::Permit);
        event.request.id = Some(event_id(facts.kept_id.as_ref(), facts.id));
        event.message = Some("permitted; rules in shadow mode would have decided otherwise".to_owned());
        event.set_shadow(permit.shadow());
        fill_policy(&mut event, facts);
        fill_facts(&mut event, facts, &[]);
        self.fill_place(&mut event);
        self.fill_risk(&mut event, transit, None);
        self.shared.recorder.record(event);
    }

    /// A permitted request that its upstream answered, where the configuration wants such an event. Its id is the request's.
    pub(crate) fn report_answered(&self, wanted: Wanted, transit: &Transit, status: StatusCode) {
        let facts = &transit.facts;
        let mut event = match wanted {
            Wanted::Permit => {
                let mut event = Event::new(EventKind::AccessAllowed, facts.id, Timestamp::now());
                event.decision = Some(Answer::Permit);
                event.message = Some("permitted; recorded by chance".to_owned());
                event
            }
            Wanted::UpstreamRefusal => {
                let mut event = Event::new(EventKind::AccessDenied, facts.id, Timestamp::now());
                let challenges = status == StatusCode::UNAUTHORIZED;
                event.decision = Some(if challenges { Answer::Challenge } else { Answer::Deny });
                event.origin = Origin::Upstream;
                event.message = Some(format!("permitted, and refused by the upstream itself: {}", status.as_u16()));
                event
            }
        };
        event.status = Some(status.as_u16());
        event.request.id = Some(event_id(facts.kept_id.as_ref(), facts.id));
        fill_policy(&mut event, facts);
        fill_facts(&mut event, facts, &[]);
        fill_head(&mut event, transit);
        self.fill_risk(&mut event, transit, None);
        event.upstream.forwarded = true;
        event.latency_us.total = u64::try_from(facts.started.elapsed().as_micros()).ok();
        event.latency_us.decision = facts.decision_us;
        self.shared.recorder.record(event);
    }
}

/// Why there is an event of a permitted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is among those that are recorded by chance.
    Permit,
    /// The upstream refused it.
    UpstreamRefusal,
}

impl Wanted {
    /// Whether there is to be one, of a request that was answered with this status.
    pub(crate) fn of(recorded: Recorded, id: Uuid, status: StatusCode) -> Option<Self> {
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if recorded.upstream_refusals && refused {
            return Some(Self::UpstreamRefusal);
        }
        (recorded.permits > 0 && is_sampled(id, recorded.permits)).then_some(Self::Permit)
    }
}

#[cfg(test)]
mod blame_tests;
