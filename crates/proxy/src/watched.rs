//! Waiting that is watched: for the head of an answer, and for an answer's body. While it lasts, the request is decided on
//! again when that is due. A body is also held to the sizes of its route.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, SizeHint};

use crate::redecide::{Ending, redecide};
use crate::refusal::Refusal;
use crate::settings::RouteLimits;
use crate::sizes::{SentBody, is_too_large, response_too_large, too_large};
use crate::streams::{Watch, Word};
use crate::transit::{Remembered, Transit};
use crate::upstream::{BoxError, FaultKind, UpstreamBody, UpstreamError};

/// Waits for the head of an answer.
///
/// # Errors
/// The refusal, when the request is not permitted any more. It has been sent by then, but no answer has begun.
pub(crate) async fn head_of_answer<T>(
    mut answer: Pin<&mut impl Future<Output = T>>,
    watch: &mut Watch,
    transit: &mut Transit,
    remembered: &Remembered,
) -> Result<T, Refusal> {
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            match watch.poll(cx) {
                Poll::Pending => return Poll::Pending,
                // Nothing can be said to the caller about that: the connection goes when the worker does.
                Poll::Ready(Word::Stop) => return Poll::Pending,
                Poll::Ready(Word::Recheck) => {
                    remembered.put_back(transit);
                    let worker = std::rc::Rc::clone(watch.worker());
                    if let Err(refusal) = redecide(&worker, transit, None) {
                        return Poll::Ready(Err(refusal));
                    }
                    watch.permitted();
                }
            }
        }
    })
    .await
}

/// The body of an answer, cut where it is larger than its route allows, and ended when its request is not permitted any more.
pub struct Watched {
    body: UpstreamBody<SentBody>,
    /// Bytes that may still come.
    left: u64,
    /// A piece has passed.
    begun: bool,
    subject: Option<Box<Subject>>,
}

/// What a stream is decided on by, and what the event of one that was cut tells.
struct Subject {
    watch: Watch,
    transit: Box<Transit>,
    remembered: Option<Box<Remembered>>,
    status: StatusCode,
    limits: Option<RouteLimits>,
}

impl Watched {
    /// Watches the body of an answer with this status, on a route with these limits.
    pub(crate) fn new(
        body: UpstreamBody<SentBody>,
        status: StatusCode,
        limits: &RouteLimits,
        watch: Watch,
        transit: Box<Transit>,
        remembered: Box<Remembered>,
    ) -> Self {
        let left = limits.max_response_body.map_or(u64::MAX, |most| most as u64);
        let limits = limits.limit_bodies().then(|| limits.clone());
        let subject = || Box::new(Subject { watch, transit, remembered: Some(remembered), status, limits });
        let subject = (!body.is_end_stream()).then(subject);
        Self { body, left, begun: false, subject }
    }

    /// A piece of the body came, or an error. Cuts what is too much.
    fn took(&mut self, piece: Result<Frame<Bytes>, UpstreamError>) -> Result<Frame<Bytes>, UpstreamError> {
        self.begun = true;
        match piece {
            Ok(frame) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        Ok(frame)
                    }
                    None => {
                        self.left = 0;
                        let cut = self.subject.take().and_then(|subject| subject.cut_response());
                        Err(cut.unwrap_or_else(|| {
                            UpstreamError::new(FaultKind::Protocol, "the answer's body is too large")
                        }))
                    }
                }
            }
            Err(error) => {
                if let Some(subject) = self.subject.take() {
                    subject.broke_off(&error);
                }
                Err(error)
            }
        }
    }
}

impl Subject {
    /// The answer grew over its limit.
    fn cut_response(mut self) -> Option<UpstreamError> {
        self.put_back();
        let limits = self.limits.as_ref()?;
        let refusal = Refusal::UpstreamFailed(response_too_large(limits));
        self.watch.worker().report_cut(&refusal, &self.transit, self.status);
        Some(response_too_large(limits))
    }

    /// The exchange broke off: an event, where a limit is the reason.
    fn broke_off(mut self, error: &UpstreamError) {
        self.put_back();
        if let Some(limits) = self.limits.as_ref().filter(|_| is_too_large(error)) {
            let refusal = Refusal::Malformed(too_large(limits));
            self.watch.worker().report_cut(&refusal, &self.transit, self.status);
        }
    }

    fn put_back(&mut self) {
        if let Some(remembered) = self.remembered.take() {
            remembered.put_back(&mut self.transit);
        }
    }

    /// Ready when the stream must end.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Terminated> {
        loop {
            let ending = match ready!(self.watch.poll(cx)) {
                Word::Stop => {
                    self.put_back();
                    Ending::Stopped
                }
                Word::Recheck => {
                    self.put_back();
                    match redecide(self.watch.worker(), &mut self.transit, None) {
                        Ok(()) => {
                            self.watch.permitted();
                            continue;
                        }
                        Err(refusal) => Ending::Refused(refusal),
                    }
                }
            };
            self.transit.facts.forwarded = true;
            self.watch.worker().report_ended(&self.transit, "answer", &ending);
            return Poll::Ready(Terminated);
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(subject) = &mut this.subject {
            // One that comes in one piece is over before anybody could ask.
            if (this.begun || subject.watch.is_entered())
                && let Poll::Ready(terminated) = subject.poll_ended(cx)
            {
                this.subject = None;
                return Poll::Ready(Some(Err(terminated.into())));
            }
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(piece)) => Poll::Ready(Some(this.took(piece).map_err(Into::into))),
            Poll::Ready(None) => {
                this.subject = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(subject) = this.subject.as_mut().filter(|subject| !subject.watch.is_entered()) {
                    // It takes its place; there can be no word yet.
                    let _ = subject.watch.poll(cx);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells hyper that the answer cannot be completed. The event has been recorded.
#[derive(Debug)]
pub(crate) struct Terminated;

impl fmt::Display for Terminated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream was ended, because it is no longer permitted or the gateway stops")
    }
}

impl StdError for Terminated {}
