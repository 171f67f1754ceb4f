//! What is sent along: read up to a bound, and nothing in it that nobody reads.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::Verb;

/// The longest body of a request.
pub(super) const MAX_BODY: usize = 64 << 10;
/// The same of a list of bans: 10,000 of them with long reasons.
pub(super) const MAX_IMPORT: usize = 8 << 20;
/// The same of files that are proposed, in Base64.
pub(super) const MAX_GOVERNED: usize = 48 << 20;
/// The same of a policy, whose text may be escaped.
pub(super) const MAX_POLICY: usize = 64 << 20;

pub(super) async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    read_up_to(request, MAX_BODY).await
}

/// The same where nothing may be said at all.
pub(super) async fn read_if_any<T: DeserializeOwned + Default>(request: Request<Incoming>) -> Result<T, Failure> {
    if request.body().is_end_stream() { Ok(T::default()) } else { read(request).await }
}

/// What is asked for under its own path: what the policy was asked about is what is done. The body may leave the verb to the path, and names no other.
pub(super) async fn read_verb<T: DeserializeOwned + Serialize + Verb>(
    request: Request<Incoming>,
    most: usize,
) -> Result<T, Failure> {
    let path = request.uri().path().to_owned();
    let verb = path.strip_prefix(T::FOLDER).unwrap_or_default();
    let body = body_up_to(request, most).await?;
    // A verb that has no fields takes any (serde's `deny_unknown_fields` says nothing of those).
    let given: BTreeMap<String, IgnoredAny> = parse(&body)?;
    let wanted: T = if given.contains_key("verb") { parse(&body) } else { parse(&with_verb(&body, verb, &given)) }?;
    let known = serde_json::to_value(&wanted).unwrap_or_default();
    if let Some(unknown) = given.keys().find(|key| known.get(key.as_str()).is_none()) {
        let error = format!("the body: unknown field `{}`", unknown.escape_debug());
        return Err(Failure::new(StatusCode::BAD_REQUEST, error));
    }
    if verb == wanted.verb() {
        return Ok(wanted);
    }
    let error = format!("the verb `{}` has the path {}{0}", wanted.verb(), T::FOLDER);
    Err(Failure::new(StatusCode::BAD_REQUEST, error))
}

/// An object with the verb of its path before all that is `given` in it, as it stands: what is there twice is still found.
fn with_verb(object: &[u8], verb: &str, given: &BTreeMap<String, IgnoredAny>) -> Vec<u8> {
    let begin = object.iter().position(|byte| *byte == b'{').map_or(0, |place| place + 1);
    let comma: &[u8] = if given.is_empty() { b"" } else { b"," };
    let verb = serde_json::Value::from(verb).to_string();
    [b"{\"verb\":", verb.as_bytes(), comma, object.get(begin..).unwrap_or_default()].concat()
}

pub(super) async fn read_up_to<T: DeserializeOwned>(request: Request<Incoming>, most: usize) -> Result<T, Failure> {
    parse(&body_up_to(request, most).await?)
}

/// Where there is nothing to say: an empty body, `{}` or `null`.
pub(super) async fn nothing(request: Request<Incoming>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    match body_up_to(request, MAX_BODY).await? {
        body if body.trim_ascii().is_empty() => Ok(()),
        body => parse::<Option<Nothing>>(&body).map(drop),
    }
}

async fn body_up_to(request: Request<Incoming>, most: usize) -> Result<Bytes, Failure> {
    let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: more than {most} bytes"));
    // What announces too much is not waited for.
    if request.body().size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), most).collect().await;
    let body = body.map_err(|error| {
        let is_too_large = error.is::<LengthLimitError>();
        if is_too_large { too_large() } else { Failure::new(StatusCode::BAD_REQUEST, format!("the body: {error}")) }
    })?;
    Ok(body.to_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}
