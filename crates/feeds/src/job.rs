//! One fetch of one list: what is needed for it is taken along, so that nothing is locked meanwhile.

use std::sync::Arc;

use portcullis_fetch::FetchError;

use crate::list::List;
use crate::obtain::{self, ObtainError, Obtained, Validators};
use crate::parse::{ParseError, parse};
use crate::settings::{FeedSettings, Source};

/// One fetch to be made.
#[derive(Debug)]
pub struct Job {
    pub(crate) settings: Arc<FeedSettings>,
    pub(crate) known: Validators,
    /// The SHA-256 of the list that they are of.
    pub(crate) known_list: Option<Arc<str>>,
}

/// What came of it, to be given to [`Keeper::finish`](crate::Keeper::finish).
#[derive(Debug)]
pub struct Outcome {
    pub(crate) settings: Arc<FeedSettings>,
    pub(crate) result: Result<Took, JobError>,
}

#[derive(Debug)]
pub(crate) enum Took {
    /// That list is still the one; `None`: nobody asked about any.
    NotModified(Option<Arc<str>>),
    List {
        list: List,
        validators: Validators,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Signature(String),
    #[error("the signature: {0}")]
    NoSignature(ObtainError),
    #[error("fetching it failed: see the log")]
    Panicked,
}

/// The longest signature, in bytes.
const MAX_SIGNATURE: usize = 16 << 10;

impl Job {
    /// The name of the network.
    pub fn feed(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What is said where the fetch itself ended without an outcome.
    pub fn lost(&self) -> Lost {
        Lost(Arc::clone(&self.settings))
    }

    /// Fetches and parses. It needs a tokio runtime with IO and time, and is done within the timeout and the time that parsing takes.
    pub async fn run(self) -> Outcome {
        let result = self.take().await;
        Outcome { settings: self.settings, result }
    }

    async fn take(&self) -> Result<Took, JobError> {
        let settings = &*self.settings;
        // That nothing has changed nobody signs.
        let known = if settings.signature.is_some() { &Validators::default() } else { &self.known };
        let fetched = match &settings.source {
            Source::File(path) => obtain::read(path, known, settings.max_size, settings.timeout).await?,
            Source::Url(url) => obtain::get(url, &url.path, known, settings.max_size, settings.timeout).await?,
        };
        let Obtained::Body { bytes, mut validators } = fetched else {
            let of = self.known_list.clone().filter(|_| *known != Validators::default());
            return Ok(Took::NotModified(of));
        };
        if let Some(signature) = &settings.signature {
            let signed = self.signature(&signature.suffix).await.map_err(JobError::NoSignature)?;
            validators.signed = signature.key.verify(&bytes, &signed).map_err(JobError::Signature)?;
        }
        let list = List::new(&parse(&bytes, &settings.format)?);
        Ok(Took::List { list, validators })
    }

    async fn signature(&self, suffix: &str) -> Result<Vec<u8>, ObtainError> {
        let none = Validators::default();
        let fetched = match &self.settings.source {
            Source::File(path) => {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                obtain::read(name.as_ref(), &none, MAX_SIGNATURE, self.settings.timeout).await?
            }
            Source::Url(url) => {
                let (path, query) =
                    url.path.split_once('?').map_or((&*url.path, None), |(path, query)| (path, Some(query)));
                let path = match query {
                    None => format!("{path}{suffix}"),
                    Some(query) => format!("{path}{suffix}?{query}"),
                };
                obtain::get(url, &path, &none, MAX_SIGNATURE, self.settings.timeout).await?
            }
        };
        match fetched {
            Obtained::Body { bytes, .. } => Ok(bytes),
            Obtained::NotModified => Err(FetchError::Status(http::StatusCode::NOT_MODIFIED).into()),
        }
    }
}

impl Outcome {
    /// The name of the network.
    pub fn feed(&self) -> &Arc<str> {
        &self.settings.name
    }
}

/// A job of which nothing came back.
#[derive(Debug)]
pub struct Lost(Arc<FeedSettings>);

impl Lost {
    /// The outcome that it has.
    pub fn outcome(self) -> Outcome {
        Outcome { settings: self.0, result: Err(JobError::Panicked) }
    }
}
