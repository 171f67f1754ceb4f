//! Whoever was refused asks for access, and whoever is eligible activates that, by themselves: with nothing but their own credential, and about nobody else.
//!
//! | | |
//! |---|---|
//! | `GET access-requests` | what one has asked for, and what came of it |
//! | `POST access-requests` | asks for what was refused, by the event's id |
//! | `GET activations` | what one is eligible for, and what is activated |
//! | `POST activations` | activates it |
//! | `GET` and `DELETE` of either with `/NUMBER` | one of them; takes it back, or gives it up |
//!
//! The data plane has verified who it is. A browser's page can send none of this from elsewhere: the door looks at where it comes from, and a body is JSON,
//! which no form sends. These pages are on the origin of every application behind the gateway, though, whose scripts a browser lets send what its visitor can, and wait until
//! that visitor has shown whatever is demanded. So what a browser sends by itself changes nothing here: a person does that at a host of the pages' own
//! ([`super::persons`]).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, ORIGIN};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use portcullis_events::ReasonCode;
use portcullis_policy::{AuthenticationMethod, Principal};
use portcullis_proxy::pages::{ACCESS_REQUESTS, ACTIVATIONS, PageAnswer, PageRefusal, Visit};
use serde::Deserialize;

use super::visits::OutOfTurn;
use super::{OwnPages, no_such_page, not_there_for};
use crate::lending::Lender;
use crate::lending::own::{Asker, OwnProblem, Section, Shown, Wanted};

/// How many are answered at once: each may wait for a disk.
pub(super) const AT_ONCE: usize = 8;

/// When whoever has asked as often as may be looks again, in seconds.
const OFTEN_RETRY_AFTER_S: u64 = 300;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The body of a request for access.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    /// `instance` of the refusal, or `access_request`.
    event: String,
    justification: String,
}

/// The body of an activation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Activating {
    assignment: String,
    /// In seconds; left out: for as long as the assignment allows.
    #[serde(default)]
    for_s: Option<u64>,
    #[serde(default)]
    justification: String,
    #[serde(default)]
    ticket: String,
}

impl OwnPages {
    /// One of the two pages, or something below it.
    pub(super) async fn access(
        &self,
        visit: &Visit,
        principal: &Arc<Principal>,
        page: &str,
        rest: &str,
    ) -> Result<PageAnswer, PageRefusal> {
        let section = match page {
            ACCESS_REQUESTS => Section::Requests,
            ACTIVATIONS => Section::Activations,
            _ => return Err(no_such_page()),
        };
        let asker = asker(visit, principal);
        let is_look = matches!(visit.method, Method::GET | Method::HEAD);
        if !is_look && is_sent_by_itself(visit, principal) {
            return Err(for_persons(visit, principal));
        }
        let turn = self.visits.take(principal, visit.steady_now).map_err(|full| out_of_turn(principal, full))?;
        let answered = match (&visit.method, rest) {
            (&Method::GET | &Method::HEAD, "") => {
                self.ask_lender(turn, move |lender| lender.own(&asker, section)).await?
            }
            (&Method::GET | &Method::HEAD, number) => {
                let number = numbered(number)?;
                self.ask_lender(turn, move |lender| lender.one_of_own(&asker, section, number)).await?
            }
            (&Method::POST, "") => {
                let wanted = match section {
                    Section::Requests => read::<Asking>(visit)
                        .map(|asking| Wanted::Access { event: asking.event, justification: asking.justification })?,
                    Section::Activations => read::<Activating>(visit).map(|activating| Wanted::Activation {
                        assignment: activating.assignment,
                        for_s: activating.for_s,
                        justification: activating.justification,
                        ticket: activating.ticket,
                    })?,
                };
                self.ask_lender(turn, move |lender| lender.begin_own(&wanted, &asker)).await?
            }
            (&Method::DELETE, number) if !number.is_empty() => {
                let number = numbered(number)?;
                self.ask_lender(turn, move |lender| lender.end_own(section, number, &asker)).await?
            }
            (method, rest) => {
                let allow = if rest.is_empty() { "GET, HEAD, POST" } else { "GET, HEAD, DELETE" };
                return Err(PageRefusal { allow, ..not_there_for(method) });
            }
        };
        let Shown { id, is_in_force, body } = answered.map_err(|problem| refused(principal, problem))?;
        let is_new = visit.method == Method::POST;
        let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
        if is_new {
            // Where somebody else has to say something first, it is only accepted (RFC 9110 section 15.3.3).
            *answer.status_mut() = if is_in_force { StatusCode::CREATED } else { StatusCode::ACCEPTED };
            let place = visit.snapshot.settings.pages.as_ref().map(|pages| pages.place_of(page)).unwrap_or_default();
            if let Ok(place) = HeaderValue::try_from(format!("{place}/{id}")) {
                answer.headers_mut().insert(LOCATION, place);
            }
        }
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer.into())
    }

    /// Asks on a thread that may block. What is held is let go when there is an answer: the turn that it is for.
    pub(super) async fn ask_lender<T: Send + 'static>(
        &self,
        held: impl Send + 'static,
        question: impl FnOnce(&Lender) -> Result<T, OwnProblem> + Send + 'static,
    ) -> Result<Result<T, OwnProblem>, PageRefusal> {
        let busy = || {
            let message = "more ask for access than the store can answer";
            PageRefusal::new(ReasonCode::LimitOverload, message, "Try again in a moment.")
        };
        let place = Arc::clone(&self.asking).try_acquire_owned().map_err(|_| busy())?;
        let lender = self.lender.upgrade().ok_or_else(busy)?;
        let asked = tokio::task::spawn_blocking(move || {
            let _places = (place, held);
            question(&lender)
        });
        asked.await.map_err(|error| {
            PageRefusal::new(ReasonCode::InternalError, format!("nobody answered: {error}"), super::FAILED)
        })
    }
}

/// Whether a browser may have sent the credential without being told to: the cookie of a session, a password that it keeps, or, where a browser says that it is one,
/// a client certificate. Every application behind the gateway has this page on its own origin, so that its scripts could send this for whoever looks at it.
fn is_sent_by_itself(visit: &Visit, principal: &Principal) -> bool {
    match principal.authentication.method {
        AuthenticationMethod::Oidc | AuthenticationMethod::Password => true,
        AuthenticationMethod::ClientCertificate => {
            visit.headers.contains_key(ORIGIN) || visit.headers.contains_key(SEC_FETCH_SITE)
        }
        AuthenticationMethod::Jwt
        | AuthenticationMethod::Introspection
        | AuthenticationMethod::ApiKey
        | AuthenticationMethod::Stated => false,
    }
}

/// Who asks, and what is known of them.
pub(super) fn asker(visit: &Visit, principal: &Arc<Principal>) -> Asker {
    Asker {
        principal: Arc::clone(principal),
        client: visit.client.ip(),
        request: visit.request_id.clone(),
        standing: visit.standing.clone(),
        policy: Arc::clone(&visit.policy),
    }
}

/// A browser's session, or what it sends by itself, changes nothing where applications are. It is told where it does.
fn for_persons(visit: &Visit, principal: &Principal) -> PageRefusal {
    let said = match visit.persons_url() {
        Some(address) => format!("A person does this at {address}, with a second factor for just that."),
        None => "A browser cannot do this here: use a credential that a program sends.".to_owned(),
    };
    let message = format!("{} wants it changed with what a browser sends by itself", principal.reference());
    PageRefusal::new(ReasonCode::StepUpRequired, message, said)
}

pub(super) fn out_of_turn(principal: &Principal, why: OutOfTurn) -> PageRefusal {
    let who = principal.reference();
    match why {
        OutOfTurn::TooOften { retry_after_s } => PageRefusal {
            retry_after_s: Some(retry_after_s),
            ..PageRefusal::new(
                ReasonCode::LimitRate,
                format!("{who} comes to the pages of its own too often, or several times at once"),
                "Too many requests: come one after the other, and less often.",
            )
        },
        OutOfTurn::TooMany => PageRefusal::new(
            ReasonCode::LimitOverload,
            "more principals come to pages of their own than are counted",
            "Try again in a moment.",
        ),
    }
}

/// The body, as JSON and nothing else.
fn read<'v, T: Deserialize<'v>>(visit: &'v Visit) -> Result<T, PageRefusal> {
    let mut kinds = visit.headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (kinds.next(), kinds.next()) {
        (Some(kind), None) => {
            let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
        }
        _ => false,
    };
    if !is_json {
        let message = "a request for access that is no `application/json`";
        let refusal = malformed(message, "The body must be JSON, with `content-type: application/json`.");
        return Err(PageRefusal { status: Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), ..refusal });
    }
    serde_json::from_slice(&visit.body).map_err(|error| {
        // What is wrong is about the caller's own words.
        malformed(format!("a request for access that cannot be read: {error}"), format!("The body is wrong: {error}."))
    })
}

fn numbered(text: &str) -> Result<u64, PageRefusal> {
    text.parse().map_err(|_| no_such_page())
}

fn malformed(message: impl Into<String>, said: impl Into<std::borrow::Cow<'static, str>>) -> PageRefusal {
    PageRefusal::new(ReasonCode::RequestMalformed, message, said)
}

/// A refusal: the caller reads why, which is about nothing but its own.
pub(super) fn refused(principal: &Principal, problem: OwnProblem) -> PageRefusal {
    let who = principal.reference();
    let with = |status, refusal| PageRefusal { status: Some(status), ..refusal };
    match problem {
        OwnProblem::Busy(why) => PageRefusal::new(
            ReasonCode::LimitOverload,
            format!("{who} asks for access: {why}"),
            "Nothing more can be asked for now. Try again later.",
        ),
        OwnProblem::NotFound(what) => {
            PageRefusal::new(ReasonCode::RouteNotFound, format!("{who} asks for what it does not have: {what}"), what)
        }
        OwnProblem::Unfit(why) => malformed(format!("{who} asks for access: {why}"), why),
        OwnProblem::Exists(why) => with(StatusCode::CONFLICT, malformed(format!("{who} asks for access: {why}"), why)),
        OwnProblem::TooMany(why) => PageRefusal {
            retry_after_s: Some(OFTEN_RETRY_AFTER_S),
            ..PageRefusal::new(ReasonCode::LimitRate, format!("{who} asks for access too often: {why}"), why)
        },
        OwnProblem::Conflict => PageRefusal::new(
            ReasonCode::LimitOverload,
            format!("{who} asks for access, and another process writes whenever this one does"),
            "Nothing more can be asked for now. Try again later.",
        ),
        OwnProblem::StepUp => PageRefusal::new(
            ReasonCode::StepUpRequired,
            format!("{who} asks for what demands several factors, and has shown none of late"),
            "A stronger or more recent authentication is needed.",
        ),
        OwnProblem::HeldBack(reason) => PageRefusal::new(
            reason.into(),
            format!("{who} asks for what it could use nowhere from where it is: {}", reason.code()),
            "What that gives could be used nowhere from where you are, and as you are.",
        ),
        OwnProblem::Failed(why) => PageRefusal::new(
            ReasonCode::DependencyStoreUnavailable,
            format!("{who} asks for access, which cannot be written down: {why}"),
            "It cannot be written down now. Try again later.",
        ),
    }
}
