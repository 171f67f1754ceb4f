//! Why a gateway does not start, or what was read is not put in force.

use portcullis_governance::power::PowerError;
use portcullis_identity::IdentityError;
use portcullis_store::StoreError;
use thiserror::Error;

use crate::governing::Overtaken;

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// An identity provider cannot be used.
    #[error("identity: {}", list(.0))]
    Identity(Vec<IdentityError>),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The log of temporary power cannot be used.
    #[error("{0}")]
    Power(#[from] PowerError),
    /// There is no thread that writes to the store.
    #[error("the store: no thread: {0}")]
    Keeping(std::io::Error),
    /// There is no thread that checks passwords.
    #[error("passwords: no thread: {0}")]
    Checking(std::io::Error),
    /// A sink cannot be opened.
    #[error("{error}{cause}", cause = cause(error))]
    Events {
        /// What failed.
        #[from]
        error: portcullis_events::StartError,
    },
    /// There is no thread that takes the requests that are kept.
    #[error("the sample of requests: no thread: {0}")]
    Insight(std::io::Error),
    /// There is no thread that takes what is counted of permissions.
    #[error("usage: no thread: {0}")]
    Usage(std::io::Error),
    /// Second factors that are kept would not open any more.
    #[error("{0}")]
    Factors(String),
    /// The alerts cannot be watched for.
    #[error("alerts: {0}")]
    Alerts(std::io::Error),
    /// The files that were read are those of before another version became live.
    #[error("{0}")]
    Overtaken(#[from] Overtaken),
    /// A listener cannot be bound.
    #[error("{error}{cause}", cause = cause(error))]
    DataPlane {
        /// What failed.
        error: portcullis_proxy::StartError,
    },
}

fn list(errors: &[IdentityError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}
