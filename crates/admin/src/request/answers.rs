//! What is answered.

use http::header::{self, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::api::Problem;
use crate::body::Answer;
use crate::gateway::Untried;

/// After how many seconds somebody asks again who was told that it is busy.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An answer that is not the one that was wished for.
pub(super) struct Failure(pub(super) StatusCode, pub(super) Problem);

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self(status, Problem { error: error.into() })
    }

    /// Nothing was begun.
    pub(super) fn busy(error: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// It panicked, which was reported where it happened.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "that failed: see the log")
    }
}

/// It cannot be done.
pub(super) fn conflict(problem: Problem) -> Failure {
    Failure(StatusCode::CONFLICT, problem)
}

/// Why a policy that was sent along was not tried.
pub(super) fn untried(why: Untried) -> Failure {
    match why {
        Untried::Invalid(problem) => Failure(StatusCode::UNPROCESSABLE_ENTITY, problem),
        Untried::Refused(problem) => conflict(problem),
    }
}

pub(super) fn found<T: Serialize>(outcome: Result<T, Problem>) -> Result<Response<Answer>, Failure> {
    outcome.map(|value| json(&value)).map_err(|problem| Failure(StatusCode::BAD_REQUEST, problem))
}

pub(super) fn json(value: &impl Serialize) -> Response<Answer> {
    whole(StatusCode::OK, value)
}

pub(super) fn refuse(Failure(status, problem): &Failure) -> Response<Answer> {
    let mut refusal = whole(*status, problem);
    if *status == StatusCode::SERVICE_UNAVAILABLE {
        refusal.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    refusal
}

fn whole(status: StatusCode, value: &impl Serialize) -> Response<Answer> {
    // The types of `api` have string keys and no maps: they can always be written.
    let body = serde_json::to_vec(value).unwrap_or_default();
    respond(status, "application/json", Answer::Whole(Some(body.into())))
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
