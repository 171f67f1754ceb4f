//! The tower stack, outermost layer first. This is the page to read first.
//!
//! Each layer establishes one fact or enforces one rule; only `policy::decide`, asked by `authorize`, says permit or deny.
//! A layer that refuses returns a [`Refusal`](crate::refusal::Refusal) to the outside, where `respond` alone turns it into
//! an answer and an event.

use std::rc::Rc;

use http::Response;
use tower::{Service, ServiceBuilder, service_fn};

use crate::forward::forward;
use crate::layers::assess::Assess;
use crate::layers::authorize::AuthorizeLayer;
use crate::layers::client_addr::ClientAddr;
use crate::layers::establish::EstablishLayer;
use crate::layers::identify::IdentifyLayer;
use crate::layers::limit::LimitLayer;
use crate::layers::normalize::Normalize;
use crate::layers::preflight::PreflightLayer;
use crate::layers::rate::{RateByAddress, RateByPrincipal};
use crate::layers::respond::{Answer, RespondLayer, Withheld};
use crate::layers::share::ShareLayer;
use crate::pages::PagesLayer;
use crate::transit::Transit;
use crate::worker::Worker;

/// The stack of one worker. Cloning it is cheap: the layers are stateless but for the worker they share.
pub(crate) fn stack(
    worker: &Rc<Worker>,
) -> impl Service<Box<Transit>, Response = Response<Answer>, Error = Withheld, Future: 'static> + Clone + use<> {
    let upstream = Rc::clone(worker);
    ServiceBuilder::new()
        // Sees every outcome, also a panic, so it stands outside of all that can refuse or fail.
        .layer(RespondLayer::new(worker))
        // Before any work is done: what is too much is refused while that is still cheap.
        .layer(LimitLayer::new(worker))
        // One meaning: everything further in sees the canonical target and route only.
        .layer(EstablishLayer::new(Normalize))
        // Whose address it is, and whether it may come at all: no token is verified for a banned address.
        .layer(EstablishLayer::new(ClientAddr::new(worker)))
        // How often that address may come: a flood of bad tokens ends here, before a signature is verified.
        .layer(EstablishLayer::new(RateByAddress::new(worker)))
        // The gateway's own pages, where somebody can log in: they go to no upstream, and nobody need be known yet.
        .layer(PagesLayer::of_anybody(worker))
        // What a browser asks without credentials, before it sends any. Nobody need be known for the answer.
        .layer(PreflightLayer::new(worker))
        // Who it is. The only layer out here that may wait for something: a provider's new keys.
        .layer(IdentifyLayer::new(worker))
        // How often that caller may come. Where it is refused, nothing more is looked up for it.
        .layer(EstablishLayer::new(RateByPrincipal::new(worker)))
        // How risky it looks, now that address and principal are known.
        .layer(EstablishLayer::new(Assess::new(worker)))
        // Its own pages that ask who it is: whoever is refused everywhere may still ask for access there, so that no grant is needed.
        .layer(PagesLayer::of_the_known(worker))
        // All facts are there: decide. Only a permit goes further.
        .layer(AuthorizeLayer::new(worker))
        // How much of the route it may take. Behind the decision, so that refused requests use up nobody's share.
        .layer(ShareLayer::new(worker))
        // Takes `Permitted` and nothing else. Boxed, for it is some kilobytes large, and each layer further out would move it:
        // measured, that was a twentieth of a request's instructions.
        .service(service_fn(move |permitted| Box::pin(forward(Rc::clone(&upstream), permitted))))
}
