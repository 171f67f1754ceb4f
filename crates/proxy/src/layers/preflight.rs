//! `preflight`: answers the question that a browser asks before a cross-origin request, on routes that have `cors`; and gives the public
//! keys of the gateway's assertions to whoever asks, where there are any.
//!
//! Browsers send the first without credentials, and upstreams have none for the second, so both are answered before anybody is
//! identified; they are configured answers that tell what the configuration says and nothing else. Who is banned, or may not come from
//! where it is, was refused before.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};
use http_body_util::Full;
use portcullis_identity::assertion::WELL_KNOWN;
use tower_layer::Layer;
use tower_service::Service;

use crate::layers::establish::Refused;
use crate::layers::share::Shared;
use crate::logged::Entry;
use crate::transit::Transit;
use crate::worker::Worker;

/// Makes [`Preflight`].
pub struct PreflightLayer {
    worker: Rc<Worker>,
}

impl PreflightLayer {
    /// A layer whose answers are in this worker's access log.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl<S> Layer<S> for PreflightLayer {
    type Service = Preflight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Preflight { worker: Rc::clone(&self.worker), inner }
    }
}

/// Answers preflights. Everything else goes on.
#[derive(Clone)]
pub struct Preflight<S> {
    worker: Rc<Worker>,
    inner: S,
}

impl<S> Service<Box<Transit>> for Preflight<S>
where
    S: Service<Box<Transit>, Response = Response<Shared>, Error = Box<Refused>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, transit: Box<Transit>) -> Self::Future {
        match answer(&self.worker, &transit) {
            Some(answer) => Either::Right(ready(Ok(answer))),
            None => Either::Left(self.inner.call(transit)),
        }
    }
}

fn answer(worker: &Worker, transit: &Transit) -> Option<Response<Shared>> {
    let facts = &transit.facts;
    // What a route permits other origins is nothing for the gateway's own pages.
    if facts.is_page {
        return None;
    }
    let mut answer = match transit.head.method {
        Method::OPTIONS => {
            let cors = facts.route_settings()?.cors.as_deref()?;
            cors.preflight(&transit.head.method, &transit.head.headers)?
        }
        Method::GET | Method::HEAD => public_keys(transit)?,
        _ => return None,
    };
    facts.loaded.counters(facts.route).requests.observe(facts.started.elapsed());
    Entry::attach(Entry::of(worker, transit), &mut answer);
    Some(answer.map(|body| Shared::new(http_body_util::Either::Right(body), None)))
}

/// The public keys of assertions (RFC 7517 section 8.5.2), where they are asked for. No route has that path then.
fn public_keys(transit: &Transit) -> Option<Response<Full<Bytes>>> {
    let facts = &transit.facts;
    let assertions = facts.loaded.snapshot.settings.assertions.as_deref()?;
    facts.target.as_ref().filter(|target| target.path.as_str() == WELL_KNOWN)?;
    let body = assertions.published().to_owned();
    // The server leaves the body out for HEAD.
    let mut answer = Response::new(Full::from(Bytes::from(body)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Some(answer)
}
