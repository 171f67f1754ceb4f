//! Refusals: every answer that the gateway gives instead of forwarding. Only this file turns one into a response, and only
//! `respond` uses it. In which of three forms is the caller's choice: see [`form`].

mod challenge;
pub mod form;
mod grpc;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_events::{ReasonCode, help_url};
use portcullis_policy::{Denial, Outcome, Reason};
use serde::Serialize;
use uuid::Uuid;

use crate::malformation::Malformation;
use crate::page::{Page, Said};
use crate::pages::PageRefusal;
pub use crate::refusal::challenge::Challenges;
use crate::refusal::form::Form;
use crate::settings::RefusalSettings;
use crate::throttle::Throttle;
use crate::upstream::{FaultKind, UpstreamError};

/// Why a request is not forwarded, or why its upstream's answer is not passed on. Closed: matched without a wildcard.
#[derive(Debug)]
pub enum Refusal {
    /// The request has no single meaning.
    Malformed(Malformation),
    /// No route leads there.
    NotFound(Box<Denial>),
    /// The gateway has too much to do.
    Overloaded(Overload),
    /// Policy says no.
    Denied(Box<Denial>),
    /// A credential is missing, bad, or not strong enough.
    Challenged(Box<Denial>),
    /// The caller has asked too often, or for too much at once.
    Throttled(Box<Throttle>),
    /// Policy could not decide.
    Undecided(Box<Denial>),
    /// The upstream did not answer properly.
    UpstreamFailed(UpstreamError),
    /// A visit to one of the gateway's own pages that is not to be: a login that failed, a form from elsewhere.
    Page(Box<PageRefusal>),
    /// The gateway itself failed. The text is for the operator.
    Internal(String),
}

/// What the gateway has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Requests in flight (`limits.max_requests`).
    InFlight,
    /// Work that waits for the worker (`limits.shed_after`).
    Queue,
    /// Passwords that wait to be checked (`identity.password_waiting`).
    Passwords,
}

/// How long to wait before a new attempt at an overloaded gateway.
const OVERLOAD_RETRY_AFTER_S: u64 = 1;

impl Refusal {
    /// The refusal that a denial by policy is.
    pub fn from_denial(denial: Box<Denial>) -> Self {
        match denial.outcome {
            Outcome::Deny | Outcome::Permit if denial.reason == Reason::RouteNotFound => Self::NotFound(denial),
            // INVARIANT: a denial is never a permit; were it one, it would be refused.
            Outcome::Deny | Outcome::Permit => Self::Denied(denial),
            Outcome::Challenge | Outcome::StepUp => Self::Challenged(denial),
            Outcome::Undecided => Self::Undecided(denial),
        }
    }

    /// The decisive reason code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Malformed(malformation) => malformation.code,
            Self::NotFound(denial) | Self::Denied(denial) | Self::Challenged(denial) | Self::Undecided(denial) => {
                denial.reason.into()
            }
            Self::Overloaded(_) => ReasonCode::LimitOverload,
            Self::Throttled(throttle) => throttle.code(),
            Self::UpstreamFailed(error) => match error.kind {
                FaultKind::Unreachable => ReasonCode::UpstreamUnreachable,
                FaultKind::Timeout(_) => ReasonCode::UpstreamTimeout,
                FaultKind::Protocol => ReasonCode::UpstreamProtocol,
                FaultKind::Busy => ReasonCode::LimitOverload,
                FaultKind::CircuitOpen { .. } => ReasonCode::UpstreamCircuitOpen,
                FaultKind::RequestBody => ReasonCode::RequestMalformed,
            },
            Self::Page(page) => page.code,
            Self::Internal(_) => ReasonCode::InternalError,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        let by_code = |code: ReasonCode| code.status().and_then(|status| StatusCode::from_u16(status).ok());
        match self {
            Self::Malformed(malformation) => malformation.status,
            Self::NotFound(denial) | Self::Denied(denial) | Self::Challenged(denial) | Self::Undecided(denial) => {
                StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::FORBIDDEN)
            }
            Self::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Throttled(throttle) => throttle.status(),
            Self::UpstreamFailed(_) => by_code(self.code()).unwrap_or(StatusCode::BAD_GATEWAY),
            Self::Page(page) => page.status.or_else(|| by_code(page.code)).unwrap_or(StatusCode::FORBIDDEN),
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether it says nothing of who sent it: another site may have had the browser do so.
    pub fn is_innocent(&self) -> bool {
        match self {
            Self::Page(page) => page.is_innocent,
            Self::Malformed(_)
            | Self::NotFound(_)
            | Self::Denied(_)
            | Self::Challenged(_)
            | Self::Undecided(_)
            | Self::Overloaded(_)
            | Self::Throttled(_)
            | Self::UpstreamFailed(_)
            | Self::Internal(_) => false,
        }
    }

    /// The denial by policy, where it is one.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::NotFound(denial) | Self::Denied(denial) | Self::Challenged(denial) | Self::Undecided(denial) => {
                Some(denial)
            }
            Self::Malformed(_)
            | Self::Overloaded(_)
            | Self::Throttled(_)
            | Self::UpstreamFailed(_)
            | Self::Page(_)
            | Self::Internal(_) => None,
        }
    }

    /// The sentence for the operator.
    pub fn message(&self) -> String {
        match self {
            Self::Malformed(malformation) => malformation.detail.clone(),
            Self::NotFound(denial) | Self::Denied(denial) | Self::Challenged(denial) | Self::Undecided(denial) => {
                denial.message.clone()
            }
            Self::Overloaded(Overload::InFlight) => "as many requests are in flight as the limits allow".to_owned(),
            Self::Overloaded(Overload::Queue) => {
                "what is ready waits longer than `shed_after` for the worker: some requests are shed".to_owned()
            }
            Self::Overloaded(Overload::Passwords) => {
                "as many passwords wait to be checked as `password_waiting` allows: this one was not looked at"
                    .to_owned()
            }
            Self::Throttled(throttle) => throttle.to_string(),
            Self::UpstreamFailed(error) => error.to_string(),
            Self::Page(page) => page.message.clone(),
            Self::Internal(detail) => detail.clone(),
        }
    }

    /// After how many seconds a new attempt makes sense, where that is known. `now` is on the clock of bans.
    pub fn retry_after_s(&self, ban_until: Option<jiff::Timestamp>, now: jiff::Timestamp) -> Option<u64> {
        match self {
            Self::Overloaded(_) => Some(OVERLOAD_RETRY_AFTER_S),
            Self::Throttled(throttle) => Some(throttle.retry_after_s),
            Self::UpstreamFailed(UpstreamError { kind: FaultKind::CircuitOpen { retry_after_s }, .. }) => {
                Some(*retry_after_s)
            }
            Self::UpstreamFailed(UpstreamError { kind: FaultKind::Busy, .. }) => Some(OVERLOAD_RETRY_AFTER_S),
            Self::Denied(denial) if denial.reason == Reason::BanActive => {
                let left = ban_until?.as_second().saturating_sub(now.as_second()).max(0);
                u64::try_from(left).ok().map(|seconds| seconds + 1)
            }
            Self::Malformed(_)
            | Self::NotFound(_)
            | Self::Denied(_)
            | Self::Challenged(_)
            | Self::Undecided(_)
            | Self::UpstreamFailed(_)
            | Self::Internal(_) => None,
            Self::Page(page) => page.retry_after_s,
        }
    }
}

/// What an answer needs to know besides the refusal.
#[derive(Debug)]
pub struct Rendering<'a> {
    /// The event's id.
    pub id: Uuid,
    /// The request's id, as the caller sees it.
    pub shown_id: &'a str,
    /// `[refusal]`
    pub settings: &'a RefusalSettings,
    /// The caller sees the operator's message and the nearest grants.
    pub disclose: bool,
    /// The caller may ask for access, by the event's id.
    pub requestable: bool,
    /// What the caller can do about it by itself; `None`: nothing.
    pub remedy: Option<Remedy>,
    /// See [`Refusal::retry_after_s`].
    pub retry_after_s: Option<u64>,
    /// What would help where a credential is missing or bad.
    pub challenges: Challenges<'a>,
    /// In which form the caller wants to be told.
    pub form: Form,
}

/// What a caller who lacks a grant can do about it by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// Where it can ask for access, by the event's id.
    pub ask: Option<String>,
    /// Where it can activate what it is eligible for, and which assignments would help.
    pub activate: Option<(String, Vec<String>)>,
}

impl Remedy {
    /// Where the caller goes first.
    pub fn place(&self) -> Option<&str> {
        self.activate.as_ref().map(|(place, _)| place).or(self.ask.as_ref()).map(String::as_str)
    }
}

/// The answer: it tells the caller the code, the id and where to read more, and nothing about rules or roles unless the route
/// discloses them.
pub fn render(refusal: &Refusal, rendering: &Rendering<'_>) -> Response<Full<Bytes>> {
    let code = refusal.code();
    let mut response = match rendering.form {
        Form::Problem => as_problem(refusal, rendering),
        Form::Html => as_page(refusal, rendering),
        Form::Grpc(content_type) => as_grpc(refusal, rendering, content_type),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = rendering.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.status() == StatusCode::UNAUTHORIZED {
        rendering.challenges.write(refusal, &rendering.settings.realm, headers);
    }
    if let Refusal::Page(page) = refusal {
        for cookie in &page.cookies {
            headers.append(SET_COOKIE, cookie.clone());
        }
        if !page.allow.is_empty() {
            headers.insert(ALLOW, HeaderValue::from_static(page.allow));
        }
    }
    // Where the form of a request was in doubt, what follows it on the connection is, too.
    if matches!(refusal, Refusal::Malformed(_)) && code != ReasonCode::RequestUpgradeNotAllowed {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// `application/problem+json` (RFC 9457).
fn as_problem(refusal: &Refusal, rendering: &Rendering<'_>) -> Response<Full<Bytes>> {
    answer(refusal.status(), "application/problem+json", problem(refusal, rendering))
}

/// A page for a person.
fn as_page(refusal: &Refusal, rendering: &Rendering<'_>) -> Response<Full<Bytes>> {
    let code = refusal.code();
    page(
        rendering.settings.pages.of(refusal.status()),
        &Said {
            title: code.title(),
            detail: &detail(refusal, rendering),
            status: refusal.status().as_u16(),
            reason: code.code(),
            request_id: rendering.shown_id,
            help: &help_url(&rendering.settings.help_base, code),
        },
    )
}

/// A page with the fields that keep it from being anything but a page.
pub(crate) fn page(page: &Page, said: &Said<'_>) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(status, "text/html; charset=utf-8", page.filled(said).into_bytes());
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page.policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A status of gRPC: the HTTP status is 200, as its libraries demand; the event has the other.
fn as_grpc(refusal: &Refusal, rendering: &Rendering<'_>, content_type: &'static str) -> Response<Full<Bytes>> {
    let text = format!("{}: {} (request {})", refusal.code().code(), detail(refusal, rendering), rendering.shown_id);
    grpc_status(refusal.status(), &text, content_type)
}

/// The answer to a gRPC request in place of one of this HTTP status.
pub(crate) fn grpc_status(status: StatusCode, text: &str, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = answer(StatusCode::OK, content_type, Vec::new());
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc::code(status)));
    if let Ok(message) = HeaderValue::try_from(grpc::message(text)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The members of a problem (RFC 9457 section 3), and those that only this gateway has.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    reason: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Vec<Needed<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_request: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<Steps<'a>>,
}

/// One of `nearest`.
#[derive(Serialize)]
struct Needed<'a> {
    needs: &'a [String],
}

/// `remedy`
#[derive(Serialize)]
struct Steps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignments: Option<&'a [String]>,
}

impl<'a> From<&'a Remedy> for Steps<'a> {
    fn from(remedy: &'a Remedy) -> Self {
        let (activate, assignments) = remedy.activate.as_ref().map(|(place, names)| (&**place, &**names)).unzip();
        Self { ask: remedy.ask.as_deref(), activate, assignments }
    }
}

/// As many bytes as most problems have.
const PROBLEM_BYTES: usize = 512;

fn problem(refusal: &Refusal, rendering: &Rendering<'_>) -> Vec<u8> {
    let code = refusal.code();
    let disclosed = refusal.denial().filter(|_| rendering.disclose);
    let mut instance = Uuid::encode_buffer();
    let problem = Problem {
        r#type: &help_url(&rendering.settings.help_base, code),
        title: code.title(),
        status: refusal.status().as_u16(),
        detail: &detail(refusal, rendering),
        instance: rendering.id.urn().encode_lower(&mut instance),
        reason: code.code(),
        request_id: rendering.shown_id,
        nearest: disclosed
            .map(|denial| denial.nearest.iter().map(|nearest| Needed { needs: &nearest.needs }).collect()),
        access_request: rendering.requestable.then_some(rendering.id),
        remedy: rendering.remedy.as_ref().map(Steps::from),
    };
    let mut body = Vec::with_capacity(PROBLEM_BYTES);
    // What is made of texts and numbers always has a JSON form; were it to have none, the status and headers tell enough.
    if serde_json::to_writer(&mut body, &problem).is_err() {
        body.clear();
    }
    body
}

/// What the caller is told: what the rule's author wrote for it, the operator's message where the route discloses it,
/// else a sentence that depends on the code alone.
fn detail<'a>(refusal: &'a Refusal, rendering: &Rendering<'_>) -> Cow<'a, str> {
    if let Some(text) = refusal.denial().and_then(|denial| denial.caller_message.as_deref()) {
        return text.into();
    }
    if rendering.disclose && refusal.denial().is_some() {
        return refusal.message().into();
    }
    let text: &str = match refusal {
        Refusal::Malformed(malformation) => match malformation.status {
            StatusCode::FORBIDDEN => "The connection cannot be upgraded here.",
            StatusCode::REQUEST_TIMEOUT => "The request did not arrive in time.",
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                "The request is larger than the gateway accepts."
            }
            StatusCode::EXPECTATION_FAILED => "The expectation cannot be met.",
            _ => "The request could not be understood in one way only, so it was not passed on.",
        },
        Refusal::NotFound(_) => "There is nothing at this address.",
        Refusal::Overloaded(_) => "The gateway has too much to do. Try again in a moment.",
        Refusal::Denied(_) => {
            "You may not do this. Give the request id to whoever runs this service if you think you should."
        }
        Refusal::Challenged(denial) if denial.reason == Reason::AuthnMissing => "A credential is needed.",
        Refusal::Challenged(denial) if denial.reason == Reason::StepUpRequired => {
            "A stronger or more recent authentication is needed."
        }
        Refusal::Challenged(_) => "The credential was not accepted.",
        Refusal::Throttled(_) => "Too many requests. Try again later.",
        Refusal::Undecided(_) => "Whether this is permitted could not be decided now. Try again later.",
        Refusal::UpstreamFailed(_) => "The service behind the gateway did not answer properly.",
        Refusal::Page(page) => &page.said,
        Refusal::Internal(_) => "The gateway failed to handle this request.",
    };
    text.into()
}
