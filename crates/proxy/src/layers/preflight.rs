//! `preflight`: answers the question that a browser asks before a cross-origin request, on routes that have `cors`.
//!
//! Browsers send it without credentials, so it is answered before anybody is identified; it is a configured answer that tells
//! what the configuration says and nothing else. Who is banned, or may not come from where it is, was refused before.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::Method;
use http::Response;
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
    if transit.head.method != Method::OPTIONS {
        return None;
    }
    let facts = &transit.facts;
    let cors = facts.route_settings()?.cors.as_deref()?;
    let mut answer = cors.preflight(&transit.head.method, &transit.head.headers)?;
    facts.loaded.counters(facts.route).requests.observe(facts.started.elapsed());
    Entry::attach(Entry::of(worker, transit), &mut answer);
    Some(answer.map(|body| Shared::new(http_body_util::Either::Right(body), None)))
}
