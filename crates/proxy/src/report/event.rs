//! What an event says of a request: what is known of it, of the policy and of the caller.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{HeaderName, REFERER, USER_AGENT};
use http::{HeaderValue, Version};
use jiff::Timestamp;
use portcullis_events::event::{
    Check, Client, DecidedOn, Device, Identity as EventIdentity, RequestId, Risk, claimed_name,
};
use portcullis_events::{Event, help_url};
use portcullis_identity::Identity;
use portcullis_policy::{Bans, CountryCode, RiskVerdict};
use portcullis_risk::posture::Posture;
use uuid::Uuid;

use crate::layers::assess::caller;
use crate::refusal::Refusal;
use crate::trace::{Trace, TraceMode, span};
use crate::transit::{Facts, Transit};
use crate::worker::Worker;

impl Worker {
    /// Of a refused request.
    pub(super) fn event(&self, refusal: &Refusal, transit: &Transit) -> Event {
        let facts = &transit.facts;
        let code = refusal.code();
        let now = Timestamp::now();
        let mut event = match refusal.denial() {
            Some(denial) => Event::denied_by(facts.id, now, denial),
            None => Event { message: Some(refusal.message()), ..Event::denied(facts.id, now, code) },
        };
        if let Refusal::Throttled(throttle) = refusal {
            event.checks.push(Check {
                name: throttle.check_name(),
                outcome: "fail",
                value: throttle.key.clone().into(),
                detail: throttle.check_detail().into(),
            });
        }
        // What exactly is missing is for the operator; the caller hears only that something is.
        if let Some(Identity::Unavailable(_, detail)) = &facts.identity
            && code.stage() == "dependency"
            && let Some(message) = &mut event.message
        {
            message.push_str(": ");
            message.push_str(detail);
        }
        if let Refusal::UpstreamFailed(error) = refusal {
            event.upstream.endpoint.clone_from(&error.endpoint);
        }
        event.request.id = Some(event_id(facts.kept_id.as_ref(), facts.id));
        event.status = Some(refusal.status().as_u16());
        fill_policy(&mut event, facts);
        let roles = refusal.denial().map(|denial| denial.trace.roles.as_slice()).unwrap_or_default();
        fill_facts(&mut event, facts, roles);
        self.fill_place(&mut event);
        fill_head(&mut event, transit);
        self.fill_risk(&mut event, transit, refusal.denial().map(|denial| denial.risk));
        event.remedy.help = Some(help_url(&facts.loaded.snapshot.settings.refusal.help_base, code));
        event.latency_us.total = u64::try_from(facts.started.elapsed().as_micros()).ok();
        event.latency_us.decision = facts.decision_us;
        event
    }

    /// Where the client is, as far as a database says: for who reads the event.
    pub(super) fn fill_place(&self, event: &mut Event) {
        let Some(address) = event.client.ip else { return };
        let place = self.shared.geo.place(address);
        let client = &mut event.client;
        client.country = place.country.filter(|country| *country != CountryCode::NOWHERE);
        (client.region, client.city, client.asn, client.as_org) = (place.region, place.city, place.asn, place.as_org);
    }

    /// What was thought of the caller, in words, and what it was worked out from.
    pub(super) fn fill_risk(&self, event: &mut Event, transit: &Transit, verdict: Option<RiskVerdict>) {
        let Some(risk) = &transit.facts.risk else { return };
        // Who refuses for a risk has asked for its words already.
        let told =
            if risk.is_told() { Cow::Borrowed(risk) } else { Cow::Owned(risk.clone().with_words(&caller(transit))) };
        event.risk = Risk::of(&told.assessment, verdict);
        event.risk.inputs = risk.inputs.as_ref().map(|inputs| inputs.to_string());
        if let Some(id) = transit.facts.loaded.snapshot.policy.calibration() {
            event.risk.display = self.shared.risk.display(id, risk.assessment.mnats);
            event.risk.calibration = Some(Arc::clone(id));
        }
    }
}

/// The policy that decided.
pub(super) fn fill_policy(event: &mut Event, facts: &Facts) {
    let (policy, sha256) = facts.policy();
    event.policy.version = Some(policy.version());
    event.policy.sha256 = Some(Arc::clone(sha256));
}

/// What was found out before it was decided: the route, the client, who it is, what it is asked with.
pub(super) fn fill_facts(event: &mut Event, facts: &Facts, roles: &[Arc<str>]) {
    let snapshot = &facts.loaded.snapshot;
    event.policy.route = facts.route_name().cloned();
    event.policy.mode = facts.route.map(|route| {
        if facts.policy().0.is_shadow(route) {
            portcullis_events::event::Mode::Shadow
        } else {
            portcullis_events::event::Mode::Enforce
        }
    });
    event.request.scheme = Some(facts.scheme.as_str());
    if let Some(target) = &facts.target {
        event.request.method = Some(target.method.as_str().to_owned());
        event.request.host = Some(target.host.clone());
        event.request.port = target.port;
        event.request.path = Some(target.path.as_str().to_owned());
        event.request.query_redacted = target.uri.query().is_some();
    }
    let peer = facts.connection.peer;
    event.client = Client { peer_ip: Some(peer.ip()), ..Client::default() };
    match &facts.client {
        Some(derived) => {
            event.client.ip = derived.client.ip();
            event.client.via_trusted_proxy = derived.via_trusted_proxy;
            event.client.forwarded.clone_from(&derived.forwarded);
            event.client.port = (derived.client.ip() == Some(peer.ip())).then_some(peer.port());
        }
        None => {
            event.client.ip = Some(peer.ip());
            event.client.port = Some(peer.port());
        }
    }
    event.claimed = facts.identity.as_ref().and_then(Identity::attempted_id).map(claimed_name);
    if let Some(principal) = facts.principal() {
        event.identity = EventIdentity::of(principal, roles, facts.now);
        event.device = principal.device.as_ref().map(Device::from).unwrap_or_default();
        // What the rule was asked with: a no of either is a no.
        let said = facts.device.and_then(Posture::compliant);
        event.device.compliant = match (event.device.compliant, said) {
            (Some(false), _) => Some(false),
            (stated, said) => said.or(stated),
        };
    }
    if let Some(certificate) = facts.shown_certificate() {
        event.identity.cert_sha256 = Some(certificate.sha256().to_owned());
        event.identity.cert_subject = certificate.subject().map(str::to_owned);
    }
    event.facts = facts.access_request().map(|request| Box::new(DecidedOn::of(&request, facts.identity.is_some())));
    event.ban = Bans { address: facts.address_ban.as_deref(), principal: facts.principal_ban.as_deref() }.into();
    let chosen = facts.upstream.or_else(|| facts.route_settings()?.action.upstream());
    let upstream = chosen.and_then(|index| snapshot.settings.upstreams.get(index));
    event.upstream.name = upstream.map(|upstream| upstream.name.clone());
    event.upstream.forwarded = facts.forwarded;
}

/// What the head says, and what of one that was refused unparsed is known.
pub(super) fn fill_head(event: &mut Event, transit: &Transit) {
    let head = &transit.head;
    event.request.http_version = Some(match head.version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    });
    if let Some(refusal) = &transit.facts.head_refusal {
        let target = refusal.target.as_deref();
        event.request.method.clone_from(&refusal.method);
        event.request.path = target.map(|target| target.split('?').next().unwrap_or(target).to_owned());
        event.request.query_redacted = target.is_some_and(|target| target.contains('?'));
        event.request.user_agent.clone_from(&refusal.user_agent);
        if head.version != Version::HTTP_2 {
            // Of an HTTP/1 head that was not let through there is only a stand-in.
            event.request.http_version = None;
        }
        return;
    }
    if transit.facts.target.is_none() {
        // Refused for its target: record what was asked for.
        event.request.method = Some(head.method.as_str().to_owned());
        event.request.path = Some(head.uri.path().to_owned());
        event.request.query_redacted = head.uri.query().is_some();
    }
    let text =
        |name: &HeaderName| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    event.request.user_agent = text(&USER_AGENT);
    event.request.referrer = text(&REFERER);
    let mode = transit.facts.loaded.snapshot.settings.forwarding.trace;
    if let Some(trace) = Trace::of_or_begun(&head.headers, mode, transit.facts.id) {
        event.request.trace_id = Some(trace.id());
        event.request.span_id = (mode != TraceMode::Off).then(|| span(transit.facts.id));
    }
}

/// What an event calls the request.
pub(crate) fn event_id(kept: Option<&HeaderValue>, own: Uuid) -> RequestId {
    match kept.and_then(|id| id.to_str().ok()) {
        Some(kept) => RequestId::Kept(kept.into()),
        None => own.into(),
    }
}
