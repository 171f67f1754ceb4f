//! Bounds the requests in flight, and sheds some while the worker's queue stands. Each worker has its share of the limit, and
//! its own queue, so nothing is counted across threads.

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
use crate::refusal::{Overload, Refusal};
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

/// Refuses what is more than the worker's share of `limits.max_requests`, and what `limits.shed_after` has shed. A request is in flight until its answer's body
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
        let facts = &transit.facts;
        let refused = |overload, transit| {
            let refusal = Refusal::Overloaded(overload);
            Either::Right(ready(Err(Box::new(Refused { refusal, transit }))))
        };
        if self.worker.load.sheds(facts.loaded.snapshot.settings.limits.shed_after, facts.started) {
            return refused(Overload::Queue, transit);
        }
        match self.worker.slot(&facts.loaded) {
            Some(slot) => Either::Left(Counted { inner: self.inner.call(transit), slot: Some(slot) }),
            None => refused(Overload::InFlight, transit),
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
