//! What is wrong with the form of a request: its code, its status, and a sentence for the operator. Asked live and offline.

use http::StatusCode;
use portcullis_events::ReasonCode;
use portcullis_policy::PathProblem;

use crate::wire::HeadRefusal;

/// What is wrong with the form of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformation {
    /// One of the `request.*` codes.
    pub code: ReasonCode,
    /// The status, which one code may have several of.
    pub status: StatusCode,
    /// What exactly, for the operator.
    pub detail: String,
}

impl Malformation {
    /// With the code's own status.
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        let status = code.status().and_then(|status| StatusCode::from_u16(status).ok());
        Self { code, status: status.unwrap_or(StatusCode::BAD_REQUEST), detail: detail.into() }
    }
}

impl From<PathProblem> for Malformation {
    fn from(problem: PathProblem) -> Self {
        let (code, what) = if problem.is_ambiguous() {
            (ReasonCode::RequestPathAmbiguous, "ambiguous")
        } else {
            (ReasonCode::RequestMalformed, "malformed")
        };
        Self::new(code, format!("the path is {what}: {problem}"))
    }
}

impl From<&HeadRefusal> for Malformation {
    fn from(refusal: &HeadRefusal) -> Self {
        Self {
            code: ReasonCode::parse(refusal.kind.code()).unwrap_or(ReasonCode::RequestMalformed),
            status: StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::BAD_REQUEST),
            detail: refusal.detail.clone(),
        }
    }
}
