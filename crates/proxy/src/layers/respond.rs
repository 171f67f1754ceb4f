//! `respond`: the outermost layer. Inward it passes on; outward it alone turns a refusal, or a panic, into an answer and
//! its one event.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::{Either, Full};
use hyper::body::Body;
use pin_project_lite::pin_project;
use portcullis_events::{Receipt, Settled};
use portcullis_policy::ClientAddress;
use tower_layer::Layer;
use tower_service::Service;
use uuid::Uuid;

use crate::client_address::{derive, is_trusted};
use crate::held::Held;
use crate::layers::establish::Refused;
use crate::layers::share::Shared;
use crate::logged::{Entry, Logged};
use crate::request_id::given;
use crate::transit::{ConnectionFacts, Transit};
use crate::upstream::BoxError;
use crate::upstream::headers::X_REQUEST_ID;
use crate::worker::{Loaded, Slot, Worker};

/// The body of an answer: what `forward` gives, or a refusal's; and the line of the access log that waits for its end.
pub type Answer = Logged<Either<Held<Shared, Slot>, Full<Bytes>>>;

/// A refusal whose event is lost although the configuration wants it kept (`fsync = "always"`, `on_full = "block"`): nothing is
/// answered, and the connection, or its stream, is closed. The caller was refused, so nothing went further in; and no answer is sent
/// of which there is no event.
#[derive(Debug, thiserror::Error)]
#[error("the event of a refusal is lost, so it is not answered")]
pub struct Withheld;

/// Makes [`Respond`].
pub struct RespondLayer {
    worker: Rc<Worker>,
}

impl RespondLayer {
    /// A layer that records on this worker.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Respond { worker: Rc::clone(&self.worker), inner }
    }
}

/// Answers every request, whatever happens further in.
#[derive(Clone)]
pub struct Respond<S> {
    worker: Rc<Worker>,
    inner: S,
}

/// What is kept of a request so that even a panic further in can be answered and recorded.
pub struct Sketch {
    pub(crate) id: Uuid,
    pub(crate) kept_id: Option<HeaderValue>,
    pub(crate) id_header: Option<HeaderValue>,
    pub(crate) started: Instant,
    pub(crate) loaded: Rc<Loaded>,
    pub(crate) connection: Rc<ConnectionFacts>,
}

impl<S, T> Service<Box<Transit>> for Respond<S>
where
    S: Service<Box<Transit>, Response = Response<T>, Error = Box<Refused>>,
    T: Body<Data = Bytes>,
    T::Error: Into<BoxError>,
{
    type Response = Response<Logged<Either<T, Full<Bytes>>>>;
    type Error = Withheld;
    type Future = Responding<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Withheld>> {
        // The layers further in are always ready: what is too much is refused, not kept waiting.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut transit: Box<Transit>) -> Self::Future {
        keep_id(&mut transit);
        transit.facts.id_header = transit.facts.shown_id();
        let facts = &transit.facts;
        let sketch = Sketch {
            id: facts.id,
            kept_id: facts.kept_id.clone(),
            id_header: facts.id_header.clone(),
            started: facts.started,
            loaded: Rc::clone(&facts.loaded),
            connection: Rc::clone(&facts.connection),
        };
        // Most layers work when they are called, so a panic may come already here. The stack has no state that it
        // could leave half changed.
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(transit))).ok();
        Responding { inner, worker: Rc::clone(&self.worker), sketch, held: None }
    }
}

pin_project! {
    #[project = RespondingProjection]
    /// An answer on its way.
    pub struct Responding<F> {
        // `None`: the call panicked.
        #[pin]
        inner: Option<F>,
        worker: Rc<Worker>,
        sketch: Sketch,
        // A refusal that waits for its event. `None` for nearly every request.
        held: Option<Box<HeldRefusal>>,
    }
}

type Answered<T> = Response<Logged<Either<T, Full<Bytes>>>>;

/// A refusal that is not to be sent before its event is where it must be.
struct HeldRefusal {
    response: Response<Full<Bytes>>,
    receipt: Receipt,
    entry: Option<Box<Entry>>,
}

impl<F, T> Future for Responding<F>
where
    F: Future<Output = Result<Response<T>, Box<Refused>>>,
    T: Body<Data = Bytes>,
    T::Error: Into<BoxError>,
{
    type Output = Result<Response<Logged<Either<T, Full<Bytes>>>>, Withheld>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(held) = this.held.take() {
            return poll_held(held, &mut this, cx);
        }
        let polled = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).ok(),
            None => None,
        };
        let (response, receipt, entry) = match polled {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(Ok(mut response))) => {
                let entry = Entry::detach(this.worker, &mut response);
                return Poll::Ready(Ok(finish(&mut this, response.map(Either::Left), entry)));
            }
            Some(Poll::Ready(Err(mut refused))) => {
                locate(&mut refused.transit);
                let Refused { refusal, transit } = &*refused;
                let entry = Entry::of(this.worker, transit).map(|entry| entry.refused(refusal.code()));
                let (response, receipt) = this.worker.refuse(refusal, transit);
                (response, receipt, entry)
            }
            None => {
                let entry = Entry::of_sketch(this.worker, this.sketch);
                let (response, receipt) = this.worker.refuse_after_panic(this.sketch);
                (response, receipt, entry)
            }
        };
        if receipt.is_settled() {
            return Poll::Ready(Ok(finish(&mut this, response.map(Either::Right), entry)));
        }
        poll_held(Box::new(HeldRefusal { response, receipt, entry }), &mut this, cx)
    }
}

/// Sends a refusal that was held back, once it may be.
fn poll_held<F, T: Body<Data = Bytes>>(
    held: Box<HeldRefusal>,
    this: &mut RespondingProjection<'_, F>,
    cx: &mut Context<'_>,
) -> Poll<Result<Answered<T>, Withheld>>
where
    T::Error: Into<BoxError>,
{
    let Poll::Ready(settled) = held.receipt.poll_settled(cx) else {
        *this.held = Some(held);
        return Poll::Pending;
    };
    let HeldRefusal { response, entry, .. } = *held;
    let answer = finish(this, response.map(Either::Right), entry);
    Poll::Ready(match settled {
        Settled::Kept => Ok(answer),
        Settled::Lost => {
            this.worker.shared.metrics.withheld.fetch_add(1, Ordering::Relaxed);
            Err(Withheld)
        }
    })
}

/// Gives the answer its id and its line of the access log.
fn finish<F, T: Body<Data = Bytes>>(
    this: &mut RespondingProjection<'_, F>,
    mut response: Response<Either<T, Full<Bytes>>>,
    entry: Option<Box<Entry>>,
) -> Answered<T>
where
    T::Error: Into<BoxError>,
{
    if let Some(id) = this.sketch.id_header.take() {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    Logged::new(this.worker, response, entry, this.sketch.started)
}

/// Keeps the id that a trusted proxy gave the request, where the configuration asks for that.
fn keep_id(transit: &mut Transit) {
    let facts = &transit.facts;
    let settings = &facts.loaded.snapshot.settings;
    if !settings.forwarding.keep_request_id {
        return;
    }
    if is_trusted(facts.connection.peer.ip(), &settings.client_address.trusted_proxies) {
        transit.facts.kept_id = given(&transit.head.headers).cloned();
    }
}

/// Establishes the client's address of a request that was refused before `client_addr` did: its event must not name the
/// proxy in front instead of the client. A head that was not let through has no headers to look at.
pub(crate) fn locate(transit: &mut Transit) {
    let facts = &mut transit.facts;
    if facts.client.is_some() {
        return;
    }
    let settings = &facts.loaded.snapshot.settings.client_address;
    let peer = facts.connection.peer.ip();
    let mut derived = derive(peer, &transit.head.headers, settings);
    if facts.head_refusal.is_some() && is_trusted(peer, &settings.trusted_proxies) {
        derived.client = ClientAddress::Unknown;
        derived.problem = Some("the head could not be read, and the peer speaks for others".to_owned());
    }
    facts.client = Some(derived);
}
