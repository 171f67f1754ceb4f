//! One fetch of one key set.

use std::sync::Arc;
use std::time::Duration;

use portcullis_fetch::{FetchError, Fetched, Known, UrlError, UrlSource, get};

use super::discovery::{self, DiscoveryProblem};
use super::keys::RemoteKeys;
use crate::jwks::MAX_SET_BYTES;
use crate::settings::KeyLocation;

/// One fetch to be made, with what it needs.
#[derive(Debug)]
pub struct KeyJob {
    pub(super) keys: Arc<RemoteKeys>,
    /// The `ETag` of the set that is held, and the address that it came from.
    pub(super) known: Option<Tag>,
}

/// What came of it, for [`KeyKeeper::finish`](super::KeyKeeper::finish).
#[derive(Debug)]
pub struct KeyOutcome {
    pub(super) keys: Arc<RemoteKeys>,
    pub(super) result: Result<Brought, KeyFetchError>,
}

/// Which version of what a set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    address: UrlSource,
    etag: String,
}

#[derive(Debug)]
pub(super) enum Brought {
    /// The set that is held is still the one.
    Same,
    Set {
        text: Vec<u8>,
        tag: Option<Tag>,
    },
}

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFetchError {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("the discovery document: {0}")]
    Document(FetchError),
    #[error("{0}")]
    Discovery(#[from] DiscoveryProblem),
    #[error("the `jwks_uri` of the discovery document: {0}")]
    Address(#[from] UrlError),
    #[error("the `jwks_uri` of the discovery document is not over TLS")]
    Plain,
    #[error("fetching it failed: see the log")]
    Panicked,
}

impl KeyFetchError {
    /// Which kind of cause it is, without what the other side said.
    pub(super) fn kind(&self) -> &'static str {
        let of_fetch = |error: &FetchError| match error {
            FetchError::Timeout(_) => "timeout",
            FetchError::Connect { .. } => "connect",
            FetchError::Exchange(_) => "exchange",
            FetchError::Status(_) => "status",
            FetchError::Redirect(_) | FetchError::Elsewhere(_) | FetchError::TooManyRedirects => "redirect",
            FetchError::Body(_) => "body",
            FetchError::Request(_) => "request",
        };
        match self {
            Self::Fetch(error) | Self::Document(error) => of_fetch(error),
            Self::Discovery(_) => "discovery",
            Self::Address(_) => "address",
            Self::Plain => "plain",
            Self::Panicked => "panicked",
        }
    }
}

impl KeyJob {
    /// The provider's name.
    pub fn provider(&self) -> &Arc<str> {
        &self.keys.provider
    }

    /// What is said where the fetch itself ended without an outcome.
    pub fn lost(&self) -> KeyOutcome {
        KeyOutcome { keys: Arc::clone(&self.keys), result: Err(KeyFetchError::Panicked) }
    }

    /// Fetches. It needs a tokio runtime with IO and time, and is done within the timeout for each of at most two documents.
    pub async fn run(self) -> KeyOutcome {
        let result = self.bring().await;
        KeyOutcome { keys: self.keys, result }
    }

    async fn bring(&self) -> Result<Brought, KeyFetchError> {
        let timeout = self.keys.patience();
        match &self.keys.source.location {
            KeyLocation::Url(address) => self.set(address, timeout).await,
            KeyLocation::Discovery { document, issuer, allow_http } => {
                let fetched = get(document, &document.path, Known::default(), discovery::MAX_BYTES, timeout).await;
                let Fetched::Body { bytes, .. } = fetched.map_err(KeyFetchError::Document)? else {
                    // Nothing was said to be known.
                    return Err(KeyFetchError::Document(FetchError::Status(http::StatusCode::NOT_MODIFIED)));
                };
                let address = discovery::keys_address(&bytes, issuer)?;
                let address = UrlSource::parse(&address, document.roots.clone())?;
                if !address.secure && !allow_http {
                    return Err(KeyFetchError::Plain);
                }
                self.set(&address, timeout).await
            }
        }
    }

    async fn set(&self, address: &UrlSource, timeout: Duration) -> Result<Brought, KeyFetchError> {
        let etag = self.known.as_ref().filter(|tag| tag.address == *address).map(|tag| tag.etag.as_str());
        let known = Known { etag, last_modified: None };
        Ok(match get(address, &address.path, known, MAX_SET_BYTES, timeout).await? {
            // Who says that of a version that nobody named says nothing.
            Fetched::NotModified if etag.is_none() => {
                return Err(FetchError::Status(http::StatusCode::NOT_MODIFIED).into());
            }
            Fetched::NotModified => Brought::Same,
            Fetched::Body { bytes, etag, .. } => {
                Brought::Set { text: bytes, tag: etag.map(|etag| Tag { address: address.clone(), etag }) }
            }
        })
    }
}
