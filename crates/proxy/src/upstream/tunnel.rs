//! A request that asks the upstream to switch protocols (RFC 9110 section 7.8), over a connection of its own.
//!
//! What comes of it is either the switched connection itself, or an ordinary answer. It judges only that the answer is an
//! answer: whether the protocol is one that was asked for is for `upgrade` to see.

use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::time::Instant;

use super::error::{BoxError, UpstreamError};
use super::state::Admitted;
use super::stream::Stream;
use super::{Allowed, Upstream, UpstreamBody};
use crate::settings::UpstreamTimeouts;

/// How an upstream answered a request for another protocol.
pub enum Switch<B> {
    /// With 101: its head, and the connection, which speaks another protocol now.
    Switched(http::response::Parts, Switched),
    /// With an ordinary answer.
    Answered(Response<UpstreamBody<B>>),
}

/// A connection to an upstream that speaks HTTP no longer.
#[derive(Debug)]
pub struct Switched {
    /// The connection.
    pub stream: Stream,
    /// What came behind the head of the answer.
    pub early: Bytes,
    /// Its place among the requests to the upstream, where their number is limited.
    pub(super) admitted: Option<Admitted>,
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends a request without a body that says `Upgrade`, and waits for the head of the answer. The connection never was
    /// in the pool and never goes there. It is sent once: nobody knows what a switch does twice.
    ///
    /// # Errors
    /// Those of [`Upstream::send`].
    pub async fn switch(
        self: &Rc<Self>,
        request: Request<B>,
        timeouts: Option<&UpstreamTimeouts>,
    ) -> Result<Switch<B>, UpstreamError> {
        let started = Instant::now();
        let admitted = self.state.enter()?;
        let passage = self.state.admit(started)?;
        let allowed = Allowed { started, timeouts: timeouts.unwrap_or(&self.timeouts) };
        let mut switched = self.switch_now(allowed, request).await;
        match &mut switched {
            Ok(Switch::Answered(response)) => response.body_mut().admitted = admitted,
            Ok(Switch::Switched(_, switched)) => switched.admitted = admitted,
            Err(error) => self.state.failed(error, passage),
        }
        switched
    }
}
