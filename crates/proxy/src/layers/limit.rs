//! Bounds the requests in flight. Each worker has its share of the limit, so nothing is counted across threads.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::Response;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::held::Held;
use crate::layers::establish::Refused;
use crate::refusal::Refusal;
use crate::transit::Transit;
use crate::worker::{Slot, Worker};

/// Makes [`Limit`].
pub struct LimitLayer {
    worker: Rc<Worker>,
}

impl LimitLayer {
    /// A layer that counts on this worker.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limit { worker: Rc::clone(&self.worker), inner }
    }
}

/// Refuses what is more than the worker's share of `limits.max_requests`. A request is in flight until its answer's body
/// has ended.
#[derive(Clone)]
pub struct Limit<S> {
    worker: Rc<Worker>,
    inner: S,
}

impl<S, T> Service<Box<Transit>> for Limit<S>
where
    S: Service<Box<Transit>, Response = Response<T>, Error = Box<Refused>>,
{
    type Response = Response<Held<T, Slot>>;
    type Error = S::Error;
    type Future = Either<Counted<S::Future>, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, transit: Box<Transit>) -> Self::Future {
        match self.worker.slot(&transit.facts.loaded) {
            Some(slot) => Either::Left(Counted { inner: self.inner.call(transit), slot: Some(slot) }),
            None => Either::Right(ready(Err(Box::new(Refused { refusal: Refusal::Overloaded, transit })))),
        }
    }
}

pin_project! {
    /// A counted request.
    pub struct Counted<F> {
        #[pin]
        inner: F,
        slot: Option<Slot>,
    }
}

impl<F, T, E> Future for Counted<F>
where
    F: Future<Output = Result<Response<T>, E>>,
{
    type Output = Result<Response<Held<T, Slot>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(refused)) => Poll::Ready(Err(refused)),
            Poll::Ready(Ok(response)) => {
                let slot = this.slot.take();
                Poll::Ready(Ok(response.map(|body| Held::new(body, slot))))
            }
        }
    }
}
