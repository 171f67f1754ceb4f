//! The shape of a layer that establishes a fact: it looks at the request, notes what it found, and passes it on; or it
//! refuses.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use tower_layer::Layer;
use tower_service::Service;

use crate::refusal::Refusal;
use crate::transit::Transit;

/// A fact that can be established without waiting for anything.
pub trait Establishes: Clone {
    /// Notes the fact in the request.
    ///
    /// # Errors
    /// The refusal, when the fact alone is enough to refuse.
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal>;
}

/// A request that was refused, and where. What `respond` receives.
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The request, with the facts that were established until then.
    pub transit: Box<Transit>,
}

/// Makes [`Establish`].
#[derive(Debug, Clone)]
pub struct EstablishLayer<F> {
    fact: F,
}

impl<F> EstablishLayer<F> {
    /// A layer for this fact.
    pub fn new(fact: F) -> Self {
        Self { fact }
    }
}

impl<F: Clone, S> Layer<S> for EstablishLayer<F> {
    type Service = Establish<F, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Establish { fact: self.fact.clone(), inner }
    }
}

/// Establishes a fact before the inner service is called.
#[derive(Debug, Clone)]
pub struct Establish<F, S> {
    fact: F,
    inner: S,
}

impl<F, S> Service<Box<Transit>> for Establish<F, S>
where
    F: Establishes,
    S: Service<Box<Transit>, Error = Box<Refused>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut transit: Box<Transit>) -> Self::Future {
        match self.fact.establish(&mut transit) {
            Ok(()) => Either::Left(self.inner.call(transit)),
            Err(refusal) => Either::Right(ready(Err(Box::new(Refused { refusal, transit })))),
        }
    }
}
