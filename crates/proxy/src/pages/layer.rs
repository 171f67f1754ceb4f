//! `pages`: has the gateway answer what is under the reserved prefix. Everything else goes on.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use portcullis_events::ReasonCode;
use portcullis_identity::Identity;
use portcullis_policy::{CredentialProblemKind, Principal, Reason};
use tower_layer::Layer;
use tower_service::Service;

use super::{MAX_BODY, PATIENCE, PageAnswer, PageRefusal, PagesSettings, Visit};
use crate::layers::authorize::choose;
use crate::layers::establish::Refused;
use crate::layers::share::Shared;
use crate::logged::Entry;
use crate::refusal::Refusal;
use crate::sampling::keep;
use crate::transit::{Facts, RequestBody, Transit};
use crate::upstream::headers::Scheme;
use crate::worker::Worker;

/// Makes [`OwnPages`].
pub(crate) struct PagesLayer {
    worker: Rc<Worker>,
    /// It answers those that ask who it is, and stands where that is known.
    asks_who: bool,
}

impl PagesLayer {
    /// A layer for the pages where nobody need be known, whose answers are in this worker's access log.
    pub(crate) fn of_anybody(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker), asks_who: false }
    }

    /// One for those that ask who it is.
    pub(crate) fn of_the_known(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker), asks_who: true }
    }
}

impl<S> Layer<S> for PagesLayer {
    type Service = OwnPages<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OwnPages { worker: Rc::clone(&self.worker), asks_who: self.asks_who, inner }
    }
}

/// Answers visits to the gateway's own pages.
#[derive(Clone)]
pub(crate) struct OwnPages<S> {
    worker: Rc<Worker>,
    asks_who: bool,
    inner: S,
}

impl<S> Service<Box<Transit>> for OwnPages<S>
where
    S: Service<Box<Transit>, Response = Response<Shared>, Error = Box<Refused>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<S::Response, S::Error>>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, transit: Box<Transit>) -> Self::Future {
        if transit.facts.is_page && transit.facts.asks_who == self.asks_who {
            Either::Right(Box::pin(visit(Rc::clone(&self.worker), transit)))
        } else {
            Either::Left(self.inner.call(transit))
        }
    }
}

async fn visit(worker: Rc<Worker>, mut transit: Box<Transit>) -> Result<Response<Shared>, Box<Refused>> {
    let refuse = |refusal, transit| Err(Box::new(Refused { refusal, transit }));
    let answered = match tokio::time::timeout(PATIENCE, answer(&worker, &mut transit)).await {
        Ok(answered) => answered,
        Err(_) => Err(Refusal::Internal("a page took too long".to_owned())),
    };
    let (mut response, judged) = match answered {
        Ok(PageAnswer::Answer(response)) => (response, None),
        Ok(PageAnswer::Judged(response, judged)) => (response, Some(judged)),
        Ok(PageAnswer::Refused(refusal)) => return refuse(Refusal::Page(refusal), transit),
        Err(refusal) => return refuse(refusal, transit),
    };
    protect(response.headers_mut());
    let facts = &transit.facts;
    facts.loaded.counters(facts.route).requests.observe(facts.started.elapsed());
    if let Some(judged) = judged {
        worker.observe_page(&transit, response.status(), &judged);
    }
    Entry::attach(Entry::of(&worker, &transit), &mut response);
    Ok(response.map(|body| Shared::new(http_body_util::Either::Right(body), None)))
}

async fn answer(worker: &Worker, transit: &mut Transit) -> Result<PageAnswer, Refusal> {
    let snapshot = Arc::clone(&transit.facts.loaded.snapshot);
    let (Some(settings), Some(pages)) = (&snapshot.settings.pages, worker.shared.pages.get()) else {
        return Err(Refusal::Internal("pages are configured, and nobody makes them".to_owned()));
    };
    let is_persons = transit.facts.target.as_ref().is_some_and(|target| settings.is_persons(&target.path));
    let principal = if transit.facts.asks_who {
        match known(&mut transit.facts) {
            Ok(principal) => Some(principal),
            Err(refusal) => return Ok(refusal.into()),
        }
    } else {
        None
    };
    // Where nobody logs in there is nothing to be had over TLS either.
    let is_for_programs = principal.is_some() && !is_persons;
    if !is_for_programs && settings.login && !settings.are_open(transit.facts.scheme) {
        let message = "the gateway's own pages are there over TLS alone";
        let said = "This page is there over TLS alone: use https.";
        let refusal = PageRefusal { status: Some(StatusCode::FORBIDDEN), ..malformed(message, said) };
        return Ok(refusal.into());
    }
    let standing = principal.as_ref().and_then(|_| keep(&transit.facts, None));
    let mut visit = Visit { principal, standing, ..read(transit, settings, &snapshot)? };
    if !matches!(visit.method, Method::GET | Method::HEAD) {
        let why = is_from_elsewhere(&visit.headers, &visit.origin());
        if let Some(why) = why.filter(|_| !pages.takes_forms_from_elsewhere(&visit)) {
            let said = "This form was not sent by a page of this place.";
            // The browser says that it was another site's doing.
            let refusal = PageRefusal { status: Some(StatusCode::FORBIDDEN), ..malformed(why, said) };
            return Ok(refusal.held_against_nobody().into());
        }
        visit.body = match transit.body.take().filter(|_| visit.method == Method::POST) {
            Some(body) => match whole(body).await {
                Some(body) => body,
                None => {
                    let message =
                        format!("the body of a visit to a page broke off, or is longer than {MAX_BODY} bytes");
                    return Ok(malformed(&message, "The form could not be read.").into());
                }
            },
            None => Bytes::new(),
        };
    }
    Ok(Arc::clone(pages).answer(visit).await)
}

/// Who it is, as on a route that demands a credential; and whether anything keeps them from the route that leads to the page, whatever they are granted.
/// By the policy that decides for this caller.
pub(super) fn known(facts: &mut Facts) -> Result<Arc<Principal>, PageRefusal> {
    choose(facts);
    let refused = |code, message: &str, said: &'static str| Err(PageRefusal::new(code, message, said));
    match &facts.identity {
        Some(Identity::Verified(principal)) => {
            match facts.access_request().and_then(|request| facts.policy().0.held_back(&request)) {
                None => Ok(Arc::clone(principal)),
                Some(reason) => {
                    let (why, said) = match reason {
                        Reason::BanActive => ("banned is", "You cannot ask for anything here for now."),
                        Reason::StepUpRequired => (
                            "an alert, the route or the risk demands a fresh mfa of",
                            "A stronger or more recent authentication is needed.",
                        ),
                        Reason::ConditionUnmet => (
                            "its own pages are not for a credential with a scope, which came from",
                            "This credential is for some routes or networks alone, and not for this.",
                        ),
                        Reason::ExplicitDeny => ("a deny of the route holds back", "You cannot ask for anything here."),
                        Reason::RiskTooHigh => {
                            ("the risk is too high that it is not", "You cannot ask for anything here for now.")
                        }
                        Reason::Authn(CredentialProblemKind::Revoked) => {
                            ("an alert has revoked the credential of", "The credential was not accepted.")
                        }
                        _ => (
                            "the route does not let come, whatever it is granted,",
                            "You cannot ask for anything here.",
                        ),
                    };
                    refused(reason.into(), &format!("{why} {}", principal.reference()), said)
                }
            }
        }
        Some(Identity::Rejected(rejection)) => {
            let code = Reason::Authn(rejection.problem.kind).into();
            refused(code, &rejection.problem.detail, "The credential was not accepted.")
        }
        Some(Identity::Unavailable(dependency, detail)) => refused(
            Reason::from(*dependency).into(),
            detail,
            "Who you are could not be found out now. Try again later.",
        ),
        Some(Identity::Unchecked(_)) => {
            refused(ReasonCode::LimitOverload, "a password was not looked at", "Try again in a moment.")
        }
        Some(Identity::Anonymous) | None => {
            let message = "a page that asks who it is was visited without a credential";
            refused(ReasonCode::AuthnMissing, message, "A credential is needed.")
        }
    }
}

fn malformed(message: &str, said: &'static str) -> PageRefusal {
    PageRefusal::new(ReasonCode::RequestMalformed, message, said)
}

fn read(
    transit: &Transit,
    settings: &PagesSettings,
    snapshot: &Arc<crate::snapshot::Snapshot>,
) -> Result<Visit, Refusal> {
    let facts = &transit.facts;
    let missing = || Refusal::Internal("a page was visited without a target".to_owned());
    let target = facts.target.as_ref().ok_or_else(missing)?;
    let page = settings.behind(target.path.as_str()).ok_or_else(missing)?;
    // `normalize` has seen that there is one, and that it is a host.
    let authority = transit.head.headers.get(HOST).and_then(|host| host.to_str().ok()).ok_or_else(missing)?;
    Ok(Visit {
        method: target.method.clone(),
        page: page.to_owned(),
        query: target.uri.query().map(str::to_owned),
        headers: transit.head.headers.clone(),
        body: Bytes::new(),
        is_secure: facts.scheme == Scheme::Https,
        authority: authority.to_ascii_lowercase(),
        client: facts.client_address(),
        principal: None,
        standing: None,
        policy: Arc::clone(facts.policy().0),
        request_id: facts.shown_id_text(),
        now: facts.now,
        steady_now: facts.steady_now,
        snapshot: Arc::clone(snapshot),
    })
}

/// Why a form may not have been sent by a page of this origin: a browser that says where it comes from says another place. One that says nothing
/// of it is decided on by the token that the form carries.
pub(super) fn is_from_elsewhere(headers: &HeaderMap, origin: &str) -> Option<&'static str> {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if sites.any(|site| site.as_bytes() != b"same-origin") {
        return Some("the form was sent by another site (Sec-Fetch-Site)");
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    if origins.any(|found| !found.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
        return Some("the form was sent by a page of another origin (Origin)");
    }
    None
}

/// The body, unless it is too long or breaks off.
async fn whole(body: RequestBody) -> Option<Bytes> {
    Limited::new(body, MAX_BODY).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

/// What keeps an answer from being framed, guessed at, kept, or told to others. A page that says so itself is left as it is.
fn protect(headers: &mut HeaderMap) {
    // A page that says who may frame it: older browsers know of nobody in particular, and would let nobody.
    let frames = headers.get(CONTENT_SECURITY_POLICY).map(|policy| !is_in(policy, b"frame-ancestors 'none'"));
    if !frames.unwrap_or(false) {
        headers.entry(X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
    }
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Proofs stand in addresses, on the hosts of applications, too: no application is told of them. With `no-referrer` browsers would send forms with the origin `null`.
        (REFERRER_POLICY, "strict-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn is_in(value: &HeaderValue, words: &[u8]) -> bool {
    value.as_bytes().windows(words.len()).any(|found| found == words)
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
