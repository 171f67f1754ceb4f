//! What a worker writes down about a request: its one event, the counters, and what risk has to know.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{HeaderName, LOCATION, REFERER, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body_util::Full;
use jiff::Timestamp;
use portcullis_events::event::RequestId;
use portcullis_events::event::claimed_name;
use portcullis_events::event::{Check, Client, DecidedOn, Device, Identity as EventIdentity, Origin, Risk};
use portcullis_events::{Answer, Event, EventKind, ReasonCode, Receipt, help_url, is_sampled};
use portcullis_identity::Identity;
use portcullis_policy::{
    AuthenticationMethod, Bans, CanonicalPath, CountryCode, Outcome, Permit, Reason, RiskVerdict, RouteId,
};
use portcullis_risk::posture::Posture;
use portcullis_risk::{Actor, BanNotice, Blame, CallerKeys, Heard, Observation, Told};
use uuid::Uuid;

use crate::layers::assess::caller;
use crate::layers::identify::tell_what_was_heard;
use crate::layers::respond::{Sketch, locate};
use crate::pages::invite::invitation;
use crate::pages::{ACCESS_REQUESTS, ACTIVATIONS, Judged};
use crate::rate::write_fields;
use crate::redecide::Ending;
use crate::refusal::form::Form;
use crate::refusal::{Challenges, Refusal, Remedy, Rendering, render};
use crate::request_id::shown;
use crate::route::origin_of;
use crate::sampling::keep;
use crate::settings::Recorded;
use crate::trace::{Trace, TraceMode, span};
use crate::traced::{Ended, trace};
use crate::transit::{Facts, Remembered, Said, Transit};
use crate::worker::Worker;

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

    /// Keeps a refusal that its caller may ask about: one for the want of a grant, where the policy says so. Says whether it did.
    fn note_requestable(&self, refusal: &Refusal, transit: &Transit) -> bool {
        let facts = &transit.facts;
        let policy = &facts.loaded.snapshot.policy;
        let Some((route, denial)) = facts.route.filter(|route| policy.is_requestable(*route)).zip(refusal.denial())
        else {
            return false;
        };
        let wants_a_grant = matches!(
            denial.reason,
            Reason::NoMatchingGrant | Reason::AssignmentExpired | Reason::NotYetActive | Reason::ConditionUnmet
        );
        let kept = facts.principal().filter(|_| wants_a_grant).zip(keep(facts, None));
        let Some((principal, request)) = kept else { return false };
        let words = [policy.route_name(route), &*denial.message];
        self.shared.requestable.note(facts.id, principal, request, words, facts.steady_now)
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
    fn observe_refused(&self, transit: &Transit, refusal: &Refusal, code: ReasonCode) {
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
    fn blame(&self, facts: &Facts, refusal: &Refusal, code: ReasonCode) -> Blame {
        if refusal.is_innocent() {
            return Blame::Anybody;
        }
        // What a verified caller does wrong on a page of its own is about nothing but its own.
        let is_on_its_own_page = || facts.asks_who && facts.principal().is_some();
        let is_of_a_change = || {
            is_the_policys(code)
                && self.shared.risk.charges()
                && (self.shared.before.permitted(facts) || permitted_without_staged(facts))
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

    fn event(&self, refusal: &Refusal, transit: &Transit) -> Event {
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
}

/// Whether it was refused by a policy that is being tried on some callers, and the one in force would have permitted it.
fn permitted_without_staged(facts: &Facts) -> bool {
    let permits = |request| facts.loaded.snapshot.policy.verdict(&request).0 == Outcome::Permit;
    facts.by_staged && facts.access_request().is_some_and(permits)
}

/// Whether a change of the policy can bring this refusal about.
fn is_the_policys(code: ReasonCode) -> bool {
    matches!(code.stage(), "route" | "ip" | "rbac" | "risk")
}

impl Worker {
    /// Where the client is, as far as a database says: for who reads the event.
    fn fill_place(&self, event: &mut Event) {
        let Some(address) = event.client.ip else { return };
        let place = self.shared.geo.place(address);
        let client = &mut event.client;
        client.country = place.country.filter(|country| *country != CountryCode::NOWHERE);
        (client.region, client.city, client.asn, client.as_org) = (place.region, place.city, place.asn, place.as_org);
    }
}

impl Worker {
    /// What was thought of the caller, in words, and what it was worked out from.
    fn fill_risk(&self, event: &mut Event, transit: &Transit, verdict: Option<RiskVerdict>) {
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

/// What a verified caller can do by itself about a refusal for the want of a grant, where it may.
fn remedy(refusal: &Refusal, transit: &Transit, requestable: bool) -> Option<Remedy> {
    let facts = &transit.facts;
    let pages = facts.loaded.snapshot.settings.pages.as_ref().filter(|pages| pages.self_service)?;
    let (denial, _) = refusal.denial().zip(facts.principal())?;
    let needs = denial.nearest.iter().filter_map(|each| match &*each.needs {
        // One that needs something else besides would not help by itself.
        [only] => only.strip_prefix("activation:"),
        _ => None,
    });
    let assignments: Vec<String> = needs.map(str::to_owned).collect();
    if assignments.is_empty() && !requestable {
        return None;
    }
    let target = facts.target.as_ref()?;
    // What a browser sends by itself changes something at the pages' own hosts alone.
    let is_browsers =
        matches!(facts.principal()?.authentication.method, AuthenticationMethod::Oidc | AuthenticationMethod::Password);
    let (host, place_to_ask, place_to_activate) = if is_browsers {
        let host: &str = pages.hosts.first()?;
        let place = pages.persons_url(facts.scheme, target.port)?;
        (host, place.clone(), place)
    } else {
        (&*target.host, pages.place_of(ACCESS_REQUESTS), pages.place_of(ACTIVATIONS))
    };
    // The pages are there where a route leads.
    let place = CanonicalPath::parse(&pages.place_of(ACTIVATIONS)).ok()?;
    facts.loaded.snapshot.policy.find_route(host, &place)?;
    Some(Remedy {
        ask: requestable.then_some(place_to_ask),
        activate: (!assignments.is_empty()).then_some((place_to_activate, assignments)),
    })
}

fn fill_policy(event: &mut Event, facts: &Facts) {
    let (policy, sha256) = facts.policy();
    event.policy.version = Some(policy.version());
    event.policy.sha256 = Some(Arc::clone(sha256));
}

fn fill_facts(event: &mut Event, facts: &Facts, roles: &[Arc<str>]) {
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

fn fill_head(event: &mut Event, transit: &Transit) {
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

/// What an event calls the request.
pub(crate) fn event_id(kept: Option<&HeaderValue>, own: Uuid) -> RequestId {
    match kept.and_then(|id| id.to_str().ok()) {
        Some(kept) => RequestId::Kept(kept.into()),
        None => own.into(),
    }
}
