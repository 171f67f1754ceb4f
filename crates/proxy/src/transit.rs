//! A request on its way through the stack, with the facts that the layers have established so far.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER, USER_AGENT};
use http::{Method, Request, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use jiff::Timestamp;
use portcullis_identity::posture::PostureWord;
use portcullis_identity::session::only_session;
use portcullis_identity::{Awaited, ClientCertificate, Identity, Proven, SeenToken};
use portcullis_policy::{
    AccessRequest, Activation, Ban, Bans, CanonicalPath, ClientAddress, CountryCode, IdentityFact, Policy, Principal,
    RiskAssessment, RouteId,
};
use portcullis_risk::posture::Posture;
use portcullis_risk::{Assessed, CallerKeys, Demanded};
use uuid::Uuid;

use crate::client_address::Derived;
use crate::http2::StreamBody;
use crate::rate::{AddressKey, Left};
use crate::request_id::{header_of, shown};
use crate::settings::{InboundSettings, RouteSettings};
use crate::tls::Tls;
use crate::trace::{TRACEPARENT, TRACESTATE, Trace};
use crate::tunnel::Tunnel;
use crate::upstream::headers::{Peer, Scheme};
use crate::wire::{GateHandle, HeadRefusal};
use crate::worker::{Loaded, Worker};

/// The body of a request: the caller's, as it comes over HTTP/1 or on a stream of HTTP/2; or one that is given whole, as tests do.
pub type RequestBody = Either<Incoming, Either<StreamBody, Full<Bytes>>>;

/// A request under way. It is boxed once, when it enters the stack, so that layers hand on a pointer.
pub struct Transit {
    /// The head. Its headers are the caller's until `forward` makes them the gateway's.
    pub head: http::request::Parts,
    /// The body, unread; `None` once it was sent on.
    pub body: Option<RequestBody>,
    /// What is known about it.
    pub facts: Facts,
}

impl Transit {
    /// What stands for a request whose head nobody has read: for an event about it.
    pub(crate) fn unread(
        worker: &Worker,
        connection: Rc<ConnectionFacts>,
        version: Version,
        refusal: HeadRefusal,
    ) -> Box<Self> {
        let (mut head, ()) = Request::new(()).into_parts();
        head.version = version;
        let facts = Facts { head_refusal: Some(refusal), ..Facts::new(worker, connection) };
        Box::new(Self { head, body: None, facts })
    }
}

/// What the layers have found out. A fact that is missing where it is needed refuses the request.
pub struct Facts {
    /// The request's id: UUID version 7. It is the event's id, too, if the request is refused.
    pub id: Uuid,
    /// The id that a trusted proxy gave it, where such a one is kept.
    pub kept_id: Option<HeaderValue>,
    /// By `respond`: the id as a header, which the caller and the upstream see.
    pub id_header: Option<HeaderValue>,
    /// When the head was complete.
    pub started: Instant,
    /// The same as a time of day.
    pub now: Timestamp,
    /// The same on the clock that bans go by, which never jumps.
    pub steady_now: Timestamp,
    /// The policy and settings that this request is served under, from its first layer to its last.
    pub loaded: Rc<Loaded>,
    /// Where it came in.
    pub connection: Rc<ConnectionFacts>,
    /// By `connection`: the head was not let through, and the request is only a stand-in for it.
    pub head_refusal: Option<HeadRefusal>,
    /// By `connection`: the client asks for these protocols. From `normalize` on: those of them that the route permits.
    pub upgrade: Option<Vec<String>>,
    /// By `normalize`.
    pub target: Option<Target>,
    /// By `normalize`: the route, or `None` where none leads there.
    pub route: Option<RouteId>,
    /// By `normalize`: it is for a page of the gateway's own, wherever the route would lead.
    pub is_page: bool,
    /// By `normalize`: that page asks who it is, so that a credential is looked at whatever the route says.
    pub asks_who: bool,
    /// By `client_addr`.
    pub client: Option<Derived>,
    /// By `client_addr`, where the policy asks for it: the client's country.
    pub country: Option<CountryCode>,
    /// By `client_addr`: the scheme that the client used, where a trusted proxy says so; else the connection's.
    pub scheme: Scheme,
    /// By `client_addr`.
    pub address_ban: Option<Arc<Ban>>,
    /// By `client_addr`: the credential is looked at in spite of a ban of the whole address. Until somebody has said what became of it: `identify`
    /// where it does not hold, else `authorize`, or who refuses.
    pub(crate) heard: Cell<bool>,
    /// By `identify`.
    pub identity: Option<Identity>,
    /// By `identify`: the token whose proof was accepted, so that it is used up.
    pub proven: Proven,
    /// A fetch of keys, or a look-up of groups, that has to end before it is known who this is, for what is under way already. Boxed: hardly anybody has one.
    pub asked_for: Option<Box<Awaited>>,
    /// By the layers of `rate`: what is left of the limits that were asked, in the order of the route's.
    pub quotas: Vec<Left>,
    /// By `assess`: what risk knows the caller by.
    pub caller_keys: CallerKeys,
    /// By `assess`.
    pub principal_ban: Option<Arc<Ban>>,
    /// By `assess`: what was said of the caller's device and can be believed. It goes on growing older.
    pub posture: Option<PostureWord>,
    /// By `assess`: what that is worth now; `None` where nothing is expected.
    pub device: Option<Posture>,
    /// By `assess`.
    pub risk: Option<Assessed>,
    /// By `assess`: what alerts demand. `None`, as a rule.
    pub demanded: Option<Box<Demanded>>,
    /// By `authorize`: the policy that comes into force step by step decided on it.
    pub by_staged: bool,
    /// By `assess`: what the principal has for a time. Behind a refusal also what of that has ended lately. Empty, as a rule.
    pub lent: Vec<Activation>,
    /// By `authorize`: how long the decision took.
    pub decision_us: Option<u64>,
    /// By `authorize`: when it was decided, which is when the upstream's part begins.
    pub decided: Option<Instant>,
    /// By `forward`: where the request is sent, an index into `Settings::upstreams`.
    pub upstream: Option<usize>,
    /// By `forward`: some of the request may have reached the upstream.
    pub forwarded: bool,
}

/// What is fixed while a connection lives.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// The socket's other end, canonical.
    pub peer: SocketAddr,
    /// What is written of the peer.
    pub(crate) written: Option<Peer>,
    /// The hosts of the operators' API, on its listener.
    pub(crate) operators: Option<Arc<[Box<str>]>>,
    /// The scheme.
    pub scheme: Scheme,
    /// What the TLS handshake established; `None` in plain text.
    pub tls: Option<Tls>,
    /// The gate in front of hyper; `None` only in tests of single layers.
    pub gate: Option<GateHandle>,
    /// What the connection becomes when it is upgraded.
    pub(crate) tunnel: RefCell<Option<Box<Tunnel>>>,
    /// The token that came last over it.
    pub(crate) seen: SeenToken,
}

/// What the request asks for, read once. What is decided on is what is forwarded.
#[derive(Debug, Clone)]
pub struct Target {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: CanonicalPath,
    /// The host in the form that routes compare.
    pub host: String,
    /// The port that was asked for, where one was.
    pub port: Option<u16>,
    /// Path and query as the upstream gets them.
    pub uri: Uri,
}

impl ConnectionFacts {
    /// Of a connection from this peer.
    pub fn new(peer: SocketAddr, scheme: Scheme, gate: Option<GateHandle>) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let written = Peer::new(peer.ip());
        Self {
            peer,
            written,
            operators: None,
            scheme,
            tls: None,
            gate,
            tunnel: RefCell::default(),
            seen: SeenToken::default(),
        }
    }
}

impl ConnectionFacts {
    /// The same on a listener with these settings.
    #[must_use]
    pub fn on(self, listener: &InboundSettings) -> Self {
        Self { operators: listener.operators.clone(), ..self }
    }

    /// The same over TLS.
    #[must_use]
    pub fn over_tls(self, tls: Tls) -> Self {
        Self { scheme: Scheme::Https, tls: Some(tls), ..self }
    }
}

impl Facts {
    /// The facts of a request that has just come in.
    pub fn new(worker: &Worker, connection: Rc<ConnectionFacts>) -> Self {
        let started = Instant::now();
        let now = Timestamp::now();
        Self {
            id: worker.request_ids.next(now),
            kept_id: None,
            id_header: None,
            started,
            now,
            steady_now: worker.shared.clock.at(started),
            loaded: worker.loaded(),
            scheme: connection.scheme,
            connection,
            head_refusal: None,
            upgrade: None,
            target: None,
            route: None,
            is_page: false,
            asks_who: false,
            client: None,
            country: None,
            address_ban: None,
            heard: Cell::new(false),
            identity: None,
            proven: Proven::default(),
            asked_for: None,
            quotas: Vec::new(),
            caller_keys: CallerKeys::default(),
            principal_ban: None,
            posture: None,
            device: None,
            risk: None,
            demanded: None,
            by_staged: false,
            lent: Vec::new(),
            decision_us: None,
            decided: None,
            upstream: None,
            forwarded: false,
        }
    }

    /// The id that the caller and the upstream see.
    pub fn shown_id(&self) -> Option<HeaderValue> {
        self.id_header.clone().or_else(|| self.kept_id.clone()).or_else(|| header_of(self.id))
    }

    /// The same as text.
    pub fn shown_id_text(&self) -> String {
        shown(self.kept_id.as_ref(), self.id)
    }

    /// The client's address; unknown as long as nobody established it.
    pub fn client_address(&self) -> ClientAddress {
        self.client.as_ref().map_or(ClientAddress::Unknown, |derived| derived.client)
    }

    /// The network that limits count this request for: the client's, or the peer's where the client is unknown.
    pub fn address_key(&self) -> AddressKey {
        AddressKey::of(self.client_address().ip().unwrap_or(self.connection.peer.ip()))
    }

    /// The policy that decided on it, and its SHA-256: the one in force, unless another one is staged and decides for this caller.
    pub fn policy(&self) -> (&Arc<Policy>, &Arc<str>) {
        let snapshot = &self.loaded.snapshot;
        match snapshot.staged.as_deref().filter(|_| self.by_staged) {
            Some(staged) => (&staged.policy, &staged.sha256),
            None => (&snapshot.policy, &snapshot.policy_sha256),
        }
    }

    /// Who it is, if that was verified.
    pub fn principal(&self) -> Option<&Principal> {
        self.verified().map(Arc::as_ref)
    }

    /// The same, for who keeps it.
    pub fn verified(&self) -> Option<&Arc<Principal>> {
        match &self.identity {
            Some(Identity::Verified(principal)) => Some(principal),
            Some(Identity::Anonymous | Identity::Rejected(_) | Identity::Unavailable(..) | Identity::Unchecked(_))
            | None => None,
        }
    }

    /// The client certificate that was looked at as a credential. The handshake has verified it, also where it is refused.
    pub fn shown_certificate(&self) -> Option<&ClientCertificate> {
        let certificate = self.connection.tls.as_ref()?.certificate.as_ref()?;
        let looked_at = match &self.identity {
            Some(
                Identity::Verified(_) | Identity::Rejected(_) | Identity::Unavailable(..) | Identity::Unchecked(_),
            ) => true,
            Some(Identity::Anonymous) | None => false,
        };
        (looked_at && certificate.identity(&self.loaded.snapshot).is_some()).then(|| certificate.read())
    }

    /// What the policy is asked, as far as it is known. Without a target there is nothing to ask.
    pub fn access_request(&self) -> Option<AccessRequest<'_>> {
        let target = self.target.as_ref()?;
        Some(AccessRequest {
            method: target.method.as_str(),
            path: &target.path,
            route: self.route,
            client: self.client_address(),
            country: self.country,
            identity: self.identity.as_ref().map_or(IdentityFact::Anonymous, Identity::fact),
            posture: self.device.and_then(Posture::compliant),
            risk: self.risk.as_ref().map_or(RiskAssessment::none(), |risk| &risk.assessment),
            bans: Bans { address: self.address_ban.as_deref(), principal: self.principal_ban.as_deref() },
            contained: self.demanded.as_deref().map(Demanded::facts).unwrap_or_default(),
            activations: &self.lent,
            now: self.now,
        })
    }

    /// The settings of the route, once there is one.
    pub fn route_settings(&self) -> Option<&RouteSettings> {
        self.loaded.snapshot.settings.routes.get(self.route?.index())
    }

    /// The name of the route, once there is one.
    pub fn route_name(&self) -> Option<&Arc<str>> {
        self.route_settings().map(|route| &route.name)
    }
}

/// What is kept of a head that has been sent on: for the answer and the event of what goes wrong, and for deciding on it again.
#[derive(Default)]
pub struct Remembered {
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    referrer: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    /// Only on a route with `cors`.
    pub(crate) origin: Option<HeaderValue>,
    /// The caller's credential. There is hardly ever more than one, and so hardly ever a list.
    credential: Option<(HeaderName, HeaderValue)>,
    more_credentials: Vec<(HeaderName, HeaderValue)>,
    has_trace: bool,
}

/// What a head says of the caller besides its target.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) user_agent: Option<&'a HeaderValue>,
    pub(crate) referrer: Option<&'a HeaderValue>,
}

impl<'a> Said<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        Self { user_agent: headers.get(USER_AGENT), referrer: headers.get(REFERER) }
    }
}

impl Remembered {
    pub(crate) fn said(&self) -> Said<'_> {
        Said { user_agent: self.user_agent.as_ref(), referrer: self.referrer.as_ref() }
    }

    /// Of a request's headers, before they become the gateway's. Each header is looked at once: most requests have few, and
    /// hardly any of these.
    pub(crate) fn of(headers: &HeaderMap, origin: Option<HeaderValue>, facts: &Facts) -> Box<Self> {
        let credentials = match facts.identity {
            Some(Identity::Anonymous) | None => &[],
            Some(
                Identity::Verified(_) | Identity::Rejected(_) | Identity::Unavailable(..) | Identity::Unchecked(_),
            ) => facts.loaded.snapshot.authenticator.credential_headers(),
        };
        // Boxed: it goes through several hands, each of which would move it.
        let mut kept = Box::new(Self { origin, ..Self::default() });
        let reads_sessions = facts.loaded.snapshot.authenticator.reads_sessions();
        for (name, value) in headers {
            if credentials.contains(name) {
                kept.keep_credential(name, value);
            } else if reads_sessions && *name == COOKIE && !credentials.is_empty() {
                // Of all cookies that of the session alone.
                if let Some(own) = only_session(value) {
                    kept.keep_credential(name, &own);
                }
            }
            if let Some(place) = kept.place_of(name)
                && place.is_none()
            {
                *place = Some(value.clone());
            }
            kept.has_trace |= *name == TRACEPARENT || *name == TRACESTATE;
        }
        kept
    }

    /// Where the first value of a header is kept that is kept for every request.
    fn place_of(&mut self, name: &HeaderName) -> Option<&mut Option<HeaderValue>> {
        match name {
            name if *name == ACCEPT => Some(&mut self.accept),
            name if *name == USER_AGENT => Some(&mut self.user_agent),
            name if *name == CONTENT_TYPE => Some(&mut self.content_type),
            name if *name == REFERER => Some(&mut self.referrer),
            name if *name == TRACEPARENT => Some(&mut self.traceparent),
            _ => None,
        }
    }

    fn keep_credential(&mut self, name: &HeaderName, value: &HeaderValue) {
        let credential = (name.clone(), value.clone());
        match self.credential {
            None => self.credential = Some(credential),
            Some(_) => self.more_credentials.push(credential),
        }
    }

    /// The trace that the caller named.
    pub(crate) fn trace(&self) -> Option<Trace> {
        self.traceparent.as_ref().and_then(Trace::of_value)
    }

    /// Whether the caller named a trace, or the state of one.
    pub(crate) fn has_trace(&self) -> bool {
        self.has_trace
    }

    /// What the body was said to be.
    pub(crate) fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    /// Gives it back to the head.
    pub(crate) fn put_back(&self, transit: &mut Transit) {
        let headers = &mut transit.head.headers;
        headers.clear();
        let known = [
            (ACCEPT, &self.accept),
            (CONTENT_TYPE, &self.content_type),
            (USER_AGENT, &self.user_agent),
            (REFERER, &self.referrer),
            (TRACEPARENT, &self.traceparent),
            (ORIGIN, &self.origin),
        ];
        for (name, value) in known {
            value.clone().map(|value| headers.insert(name, value));
        }
        for (name, value) in self.credential.iter().chain(&self.more_credentials) {
            headers.append(name.clone(), value.clone());
        }
    }
}
