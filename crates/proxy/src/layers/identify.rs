//! `identify`: who it is. A bad credential does not refuse here; it is a fact like any other, and `decide` says what
//! follows from it.
//!
//! Nearly always that is known at once. Where a provider's keys are just being fetched, and may be what is needed, the request
//! waits for that, once.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use jiff::Timestamp;
use portcullis_identity::remote::KeysAwaited;
use portcullis_identity::{Authentication, CertificateIdentity, Identity};
use portcullis_policy::AuthenticationRule;
use tower_layer::Layer;
use tower_service::Service;

use crate::layers::establish::Refused;
use crate::transit::{Facts, Transit};

/// Makes [`Identify`].
#[derive(Debug, Clone, Copy)]
pub struct IdentifyLayer;

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Identify { inner }
    }
}

/// Establishes the identity.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    inner: S,
}

impl<S> Service<Box<Transit>> for Identify<S>
where
    S: Service<Box<Transit>, Error = Box<Refused>, Future: 'static> + Clone + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<S::Response, S::Error>>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut transit: Box<Transit>) -> Self::Future {
        let keys = match authenticate(&transit) {
            Authentication::Known(identity) => {
                transit.facts.identity = Some(identity);
                return Either::Left(self.inner.call(transit));
            }
            Authentication::Awaited { keys, .. } => keys,
        };
        // The one that is ready is taken, and a clone of it stays.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Either::Right(Box::pin(async move {
            wait(keys).await;
            // Time has passed, and what holds is decided for now.
            transit.facts.now = Timestamp::now();
            transit.facts.identity = Some(authenticate(&transit).settled());
            inner.call(transit).await
        }))
    }
}

/// Establishes the identity of what is under way already, which waits for nothing.
pub(crate) fn identify_again(transit: &mut Transit) {
    transit.facts.identity = Some(authenticate(transit).settled());
}

async fn wait(keys: KeysAwaited) {
    // Whether it ended or took too long: what is there then counts.
    let _ = tokio::time::timeout(keys.patience(), keys.ended()).await;
}

fn authenticate(transit: &Transit) -> Authentication {
    let facts = &transit.facts;
    let snapshot = &facts.loaded.snapshot;
    let rule = facts.route.map_or(AuthenticationRule::Required, |route| snapshot.policy.authentication(route));
    match rule {
        AuthenticationRule::None => Identity::Anonymous.into(),
        AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::Certificate => {
            let headers = &transit.head.headers;
            let only = rule == AuthenticationRule::Certificate;
            match certificate_identity(facts) {
                Some(certificate) => {
                    snapshot.authenticator.authenticate_connection(headers, &certificate, only, facts.now)
                }
                None => snapshot.authenticator.authenticate(headers, facts.now),
            }
        }
    }
}

/// What the connection's client certificate says, where it has one that counts.
fn certificate_identity(facts: &Facts) -> Option<Rc<CertificateIdentity>> {
    facts.connection.tls.as_ref()?.certificate.as_ref()?.identity(&facts.loaded.snapshot)
}
