//! Obtaining a list: by a fetch, or the bytes of a file.

use std::path::Path;
use std::time::Duration;

use portcullis_fetch::{BodyError, FetchError, Fetched, Known, UrlSource};
use serde::{Deserialize, Serialize};

/// What tells whether a list is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Validators {
    /// `ETag`, or for a file its size, inode and time of change.
    pub(crate) etag: Option<String>,
    /// `Last-Modified`
    pub(crate) last_modified: Option<String>,
    /// When the list was signed, in seconds since 1970, where its signature says so.
    #[serde(default)]
    pub(crate) signed: Option<u64>,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Obtained {
    /// It is still the same.
    NotModified,
    /// The list.
    Body { bytes: Vec<u8>, validators: Validators },
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObtainError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read {path}: {why}")]
    File { path: String, why: String },
}

/// GETs a path of the source's host. `known`: what is there already.
pub(crate) async fn get(
    source: &UrlSource,
    path: &str,
    known: &Validators,
    most: usize,
    timeout: Duration,
) -> Result<Obtained, ObtainError> {
    let known = Known { etag: known.etag.as_deref(), last_modified: known.last_modified.as_deref() };
    Ok(match portcullis_fetch::get(source, path, known, most, timeout).await? {
        Fetched::NotModified => Obtained::NotModified,
        Fetched::Body { bytes, etag, last_modified } => {
            Obtained::Body { bytes, validators: Validators { etag, last_modified, signed: None } }
        }
    })
}

/// The bytes of a regular file, where it is not the one that is known. A disk that does not answer is waited for no longer than the
/// timeout, and by nobody else.
pub(crate) async fn read(
    path: &Path,
    known: &Validators,
    most: usize,
    timeout: Duration,
) -> Result<Obtained, ObtainError> {
    let (path, known) = (path.to_owned(), known.clone());
    let reading = tokio::task::spawn_blocking(move || read_now(&path, &known, most));
    match tokio::time::timeout(timeout, reading).await {
        Err(_) => Err(FetchError::Timeout(timeout).into()),
        Ok(Ok(fetched)) => fetched,
        Ok(Err(error)) => Err(ObtainError::File { path: String::new(), why: error.to_string() }),
    }
}

fn read_now(path: &Path, known: &Validators, most: usize) -> Result<Obtained, ObtainError> {
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

    let failed = |why: String| ObtainError::File { path: path.display().to_string(), why };
    // A pipe that nobody writes to would block the opening itself.
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| failed(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is not a regular file".to_owned()));
    }
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let print = format!("{}-{}-{seconds}.{nanoseconds}", metadata.len(), metadata.ino());
    if known.etag.as_ref() == Some(&print) {
        return Ok(Obtained::NotModified);
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large from one that just fits.
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > most {
        return Err(FetchError::Body(BodyError::TooLarge(most)).into());
    }
    Ok(Obtained::Body { bytes, validators: Validators { etag: Some(print), ..Validators::default() } })
}
