//! `share`: how much of a route a permitted request may take: the route's rate, and how many may be under way at once for the
//! route and for the caller. On the way back it tells the caller what is left of its quotas.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::Response;
use pin_project_lite::pin_project;
use portcullis_policy::RouteId;
use tower_layer::Layer;
use tower_service::Service;

use crate::held::Held;
use crate::layers::establish::Refused;
use crate::layers::rate::{caller, note};
use crate::permitted::Permitted;
use crate::rate::{Left, write_fields};
use crate::refusal::Refusal;
use crate::route::Forwarded;
use crate::seats::{Seat, Seats};
use crate::settings::Concurrency;
use crate::throttle::{Throttle, ThrottleKind};
use crate::transit::{Facts, Transit};
use crate::worker::{Loaded, Worker};

/// How long to wait before a new attempt where requests are under way whose end nobody knows.
const CONCURRENCY_RETRY_AFTER_S: u64 = 1;

/// Makes [`Share`].
pub struct ShareLayer {
    worker: Rc<Worker>,
}

impl ShareLayer {
    /// A layer that counts in this worker's process.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl<S> Layer<S> for ShareLayer {
    type Service = Share<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Share { worker: Rc::clone(&self.worker), inner }
    }
}

/// Holds permitted requests to their route's limits. A request is under way until its answer's body has ended.
#[derive(Clone)]
pub struct Share<S> {
    worker: Rc<Worker>,
    inner: S,
}

/// The places that a request holds among those under way.
#[derive(Debug, Default)]
pub struct Places {
    _caller: Option<Seat>,
    _route: Option<Seat>,
}

/// The body of an answer, with the places that its request holds.
pub type Shared = Held<Forwarded, Places>;

/// What is told of a permitted request's quotas.
struct Told {
    loaded: Rc<Loaded>,
    route: Option<RouteId>,
    quotas: Vec<Left>,
}

impl<S> Share<S> {
    fn admit(&self, facts: &mut Facts) -> Result<(Option<Places>, Option<Told>), Refusal> {
        let loaded = Rc::clone(&facts.loaded);
        // Seats first: who finds none has used up nothing of the route's rate.
        let places = match facts.route_settings().map(|route| &route.limits.concurrent) {
            Some(concurrent) if *concurrent != Concurrency::default() => Some(self.seat(facts, concurrent)?),
            Some(_) | None => None,
        };
        let Some(rates) = loaded.rates(facts.route) else { return Ok((places, None)) };
        let now_ns = self.worker.now_ns(facts);
        for limit in &rates.by_route {
            let name = || facts.route_name().map_or_else(String::new, |name| format!("the route {name}"));
            let key = name();
            note(&mut facts.quotas, limit, limit.take_for_route(now_ns), || key)?;
        }
        let told = Told { quotas: std::mem::take(&mut facts.quotas), route: facts.route, loaded };
        Ok((places, Some(told)))
    }

    fn seat(&self, facts: &Facts, concurrent: &Concurrency) -> Result<Places, Refusal> {
        let max_requests = facts.loaded.snapshot.settings.limits.max_requests;
        let seats = self.worker.shared.under_way.get_or_make(max_requests);
        let route = facts.route_name();
        let throttled = |kind, limit, key| {
            Refusal::Throttled(Box::new(Throttle { kind, limit, key, retry_after_s: CONCURRENCY_RETRY_AFTER_S }))
        };
        let by_caller = match concurrent.principal {
            Some(most) => Some(take_for_caller(seats, facts, most).ok_or_else(|| {
                let limit = format!("{most} requests at once per principal");
                throttled(ThrottleKind::CallerConcurrency, limit, caller(facts))
            })?),
            None => None,
        };
        let by_route = match concurrent.route {
            Some(most) => Some(seats.take(("route", route), most).ok_or_else(|| {
                let key = format!("the route {}", route.map_or("", |name| name));
                throttled(ThrottleKind::RouteConcurrency, format!("{most} requests at once per route"), key)
            })?),
            None => None,
        };
        Ok(Places { _caller: by_caller, _route: by_route })
    }
}

fn take_for_caller(seats: &Arc<Seats>, facts: &Facts, most: u64) -> Option<Seat> {
    let route = facts.route_name();
    match facts.principal() {
        Some(principal) => seats.take(("principal", route, principal.kind.as_str(), &*principal.id), most),
        None => seats.take(("address", route, facts.address_key()), most),
    }
}

impl<S, T> Service<Permitted<Box<Transit>>> for Share<S>
where
    S: Service<Permitted<Box<Transit>>, Response = Response<T>, Error = Box<Refused>>,
{
    type Response = Response<Held<T, Places>>;
    type Error = S::Error;
    type Future = Either<Sharing<S::Future>, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut permitted: Permitted<Box<Transit>>) -> Self::Future {
        match self.admit(permitted.facts_mut()) {
            Ok((places, told)) => Either::Left(Sharing { inner: self.inner.call(permitted), places, told }),
            Err(refusal) => {
                let transit = permitted.into_inner();
                Either::Right(ready(Err(Box::new(Refused { refusal, transit }))))
            }
        }
    }
}

pin_project! {
    /// A request that holds its places.
    pub struct Sharing<F> {
        #[pin]
        inner: F,
        places: Option<Places>,
        told: Option<Told>,
    }
}

impl<F, T> Future for Sharing<F>
where
    F: Future<Output = Result<Response<T>, Box<Refused>>>,
{
    type Output = Result<Response<Held<T, Places>>, Box<Refused>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = match this.inner.poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        if let Some(told) = this.told.take() {
            match &mut outcome {
                Ok(response) => {
                    if let Some(rates) = told.loaded.rates(told.route) {
                        write_fields(response.headers_mut(), rates, &told.quotas);
                    }
                }
                Err(refused) => refused.transit.facts.quotas = told.quotas,
            }
        }
        let places = this.places.take();
        Poll::Ready(outcome.map(|response| response.map(|body| Held::new(body, places))))
    }
}
