//! One HTTP/2 connection: accepts its streams, sends each through the stack, and watches the clock.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Either;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tower::Service;

use super::body::{Continue, Progress};
use super::date::Dates;
use super::meter::{Meter, Unseen};
use super::tap::Tap;
use super::{StreamBody, answer, builder};
use crate::client_address::is_trusted;
use crate::layers::respond::{Answer, Withheld};
use crate::refusal::Refusal;
use crate::throttle::{Throttle, ThrottleKind};
use crate::transit::{ConnectionFacts, Facts, Transit};
use crate::upstream::headers::Scheme;
use crate::wire::alarm::Alarm;
use crate::wire::{GateHandle, HeadRefusal, HeadRefusalKind, WireLimits, parts};
use crate::worker::Worker;

/// What it takes to serve a connection.
pub(crate) struct Served<IO> {
    pub(crate) worker: Rc<Worker>,
    pub(crate) io: IO,
    /// What was read from it before, from the first byte of the preface.
    pub(crate) ahead: Bytes,
    pub(crate) handle: GateHandle,
    pub(crate) facts: ConnectionFacts,
    pub(crate) limits: Rc<WireLimits>,
}

/// How long a connection that is being closed has to take its last frames.
const LAST_FRAMES: Duration = Duration::from_secs(1);
/// How long a client that is asked whether it is still there has to say so.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// How long an idle connection has to acknowledge that the gateway goes, before it is closed all the same.
const DRAIN_IDLE: Duration = Duration::from_millis(500);
/// Streams that are accepted in a row before those that were accepted have their turn.
const ACCEPTED_IN_A_ROW: usize = 16;

/// Serves a connection until it ends.
pub(crate) async fn serve<S, IO>(served: Served<IO>, mut stack: S)
where
    S: Service<Box<Transit>, Response = Response<Answer>, Error = Withheld> + 'static,
    S::Future: 'static,
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Served { worker, io, ahead, handle, facts, limits } = served;
    let trusted = {
        let proxies = &worker.loaded().snapshot.settings.client_address.trusted_proxies;
        is_trusted(facts.peer.ip(), proxies)
    };
    let meter = Rc::new(RefCell::new(Meter::new(limits.http2.max_streams, trusted)));
    let shared = Rc::new(Shared {
        worker,
        connection: Rc::new(facts),
        meter: Rc::clone(&meter),
        limits: Rc::clone(&limits),
        dates: Dates::default(),
    });
    let handshake = builder(&limits).handshake(Tap::new(io, ahead, meter));
    let Some(h2) = shared.shake_hands(handshake, &handle).await else { return };
    let streams = FuturesUnordered::new();
    let mut serving = Serving::new(h2, &handle, &shared);
    let mut streams = pin!(streams);
    poll_fn(|cx| {
        loop {
            let mut accepted = 0;
            while accepted < ACCEPTED_IN_A_ROW {
                match serving.poll_accept(cx) {
                    Poll::Ready(Some((request, respond))) => {
                        streams.push(shared.exchange(request, respond, &mut stack));
                        accepted += 1;
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            let mut ended = false;
            while let Poll::Ready(Some(())) = streams.as_mut().poll_next(cx) {
                ended = true;
            }
            // What the streams gave h2 to send goes out at once, and what they had it read may let others begin.
            if accepted == ACCEPTED_IN_A_ROW || ended {
                continue;
            }
            match serving.poll_deadlines(cx, streams.len()) {
                Poll::Ready(Next::Close) => return Poll::Ready(()),
                Poll::Ready(Next::Again) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// What the connection and its streams share.
struct Shared {
    worker: Rc<Worker>,
    connection: Rc<ConnectionFacts>,
    meter: Rc<RefCell<Meter>>,
    limits: Rc<WireLimits>,
    dates: Dates,
}

impl Shared {
    /// Waits for the client's preface.
    async fn shake_hands<T>(
        &self,
        handshake: impl Future<Output = Result<T, h2::Error>>,
        handle: &GateHandle,
    ) -> Option<T> {
        let mut handshake = pin!(handshake);
        let mut alarm = Alarm::default();
        let began = Instant::now();
        let shaken = poll_fn(|cx| {
            if let Poll::Ready(shaken) = handshake.as_mut().poll(cx) {
                return Poll::Ready(Some(shaken));
            }
            let deadline = if self.meter.borrow().has_begun() {
                began + self.limits.first_byte_timeout.max(self.limits.header_timeout)
            } else {
                self.limits.first_byte_deadline(began, handle.poll_drain(cx.waker()))
            };
            alarm.poll_passed(cx, deadline).map(|()| None)
        })
        .await;
        match shaken {
            Some(Ok(h2)) => return Some(h2),
            Some(Err(error)) => self.failed(&error),
            None if self.meter.borrow().has_begun() => {
                self.refuse_unseen(HeadRefusalKind::Timeout, "the preface was not complete in time".to_owned());
            }
            // One that never sent a byte is no request.
            None => {}
        }
        None
    }

    /// One request, from its head to the end of its answer.
    fn exchange<S>(
        self: &Rc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        stack: &mut S,
    ) -> impl Future<Output = ()> + use<S>
    where
        S: Service<Box<Transit>, Response = Response<Answer>, Error = Withheld>,
    {
        let progress = Rc::new(Progress::default());
        let bodiless = request.method() == Method::HEAD;
        let transit = self.enter(request, &progress);
        let answer = stack.call(transit);
        let shared = Rc::clone(self);
        async move {
            let answered = {
                let mut answer = pin!(answer);
                poll_fn(|cx| {
                    if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                        return Poll::Ready(Some(answer));
                    }
                    if progress.go_on.get() == Continue::Wanted {
                        progress.go_on.set(Continue::Unasked);
                        let mut head = Response::new(());
                        *head.status_mut() = StatusCode::CONTINUE;
                        // Where it cannot be said, the stream is gone.
                        let _ = respond.send_informational(head);
                    }
                    match ready!(respond.poll_reset(cx)) {
                        // h2 found that the body breaks the protocol. Whoever reads it has not seen that yet, and will tell.
                        Ok(Reason::PROTOCOL_ERROR) if !progress.over.get() => Poll::Pending,
                        // A client that does not want the answer any more: what is under way for it ends here.
                        Ok(_) | Err(_) => Poll::Ready(None),
                    }
                })
                .await
            };
            let Some(answered) = answered else { return };
            let Ok(response) = answered else { return respond.send_reset(Reason::INTERNAL_ERROR) };
            let date = shared.dates.at(jiff::Timestamp::now());
            if answer::send(respond, response, bodiless, date, shared.limits.body_idle_timeout).await {
                shared.meter.borrow_mut().answered();
            }
        }
    }

    /// A request enters the stack.
    fn enter(&self, request: Request<RecvStream>, progress: &Rc<Progress>) -> Box<Transit> {
        let mut facts = Facts::new(&self.worker, Rc::clone(&self.connection));
        let (mut head, stream) = request.into_parts();
        let default_port = match self.connection.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        match parts::check(&mut head, &self.limits.head, default_port) {
            Ok(known) if known.expect_continue => progress.go_on.set(Continue::Expected),
            Ok(_) => {}
            Err(refusal) => facts.head_refusal = Some(*refusal),
        }
        let length = announced(&head.headers);
        let body =
            StreamBody::new(stream, length, self.limits.body_idle_timeout, Rc::clone(progress), Rc::clone(&self.meter));
        Box::new(Transit { head, body: Some(Either::Right(Either::Left(body))), facts })
    }

    /// Tells of a head that never reached the stack.
    fn refuse_unseen(&self, kind: HeadRefusalKind, detail: String) {
        let refusal = HeadRefusal { kind, detail, method: None, target: None, user_agent: None };
        let malformation = (&refusal).into();
        let mut transit = self.nobody(refusal);
        self.worker.report_unanswered(&Refusal::Malformed(malformation), &mut transit);
    }

    /// The connection made too much work for nothing.
    fn refuse_flood(&self) {
        let throttle = Throttle {
            kind: ThrottleKind::Frames,
            limit: super::meter::LIMIT.to_owned(),
            key: self.connection.peer.ip().to_string(),
            retry_after_s: 1,
        };
        let kind = HeadRefusalKind::Malformed;
        let unread = HeadRefusal { kind, detail: String::new(), method: None, target: None, user_agent: None };
        self.worker.report_unanswered(&Refusal::Throttled(Box::new(throttle)), &mut self.nobody(unread));
    }

    /// What an event of the connection itself is written about. Whose it is, is not known behind a proxy.
    fn nobody(&self, unread: HeadRefusal) -> Box<Transit> {
        Transit::unread(&self.worker, Rc::clone(&self.connection), Version::HTTP_2, unread)
    }

    /// The connection ended with an error. What h2 found wrong with the client's frames is a refusal.
    fn failed(&self, error: &h2::Error) {
        tracing::debug!(peer = %self.connection.peer, %error, "an HTTP/2 connection ended with an error");
        match error.reason().filter(|_| error.is_library()) {
            None | Some(Reason::NO_ERROR) => {}
            Some(Reason::ENHANCE_YOUR_CALM) => self.refuse_flood(),
            Some(reason) => {
                self.refuse_unseen(
                    HeadRefusalKind::Malformed,
                    format!("the HTTP/2 connection broke the protocol: {reason:?}"),
                );
            }
        }
    }

    fn tell_of(&self, unseen: Unseen) {
        const REFUSED_STREAM: u32 = 0x7;
        let stream = unseen.stream;
        match unseen.code {
            None => self.refuse_unseen(
                HeadRefusalKind::HeadTooLarge,
                format!("the head on stream {stream} is over twice the limit"),
            ),
            Some(REFUSED_STREAM) => {
                let most = self.limits.http2.max_streams;
                self.refuse_unseen(
                    HeadRefusalKind::Malformed,
                    format!("stream {stream} is over the {most} at once that `http2_max_streams` permits"),
                );
            }
            Some(code) => {
                let reason = Reason::from(code);
                self.refuse_unseen(
                    HeadRefusalKind::Malformed,
                    format!("the head on stream {stream} is malformed in HTTP/2's own terms ({reason:?})"),
                );
            }
        }
    }
}

/// The length that the head announces. h2 has seen that it is a number, and holds the body to it.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).map(HeaderValue::to_str)?.ok()?.parse().ok()
}

/// What is to be done when a deadline has passed.
enum Next {
    /// The connection has something to send, or to read.
    Again,
    /// It is over.
    Close,
}

/// The connection under way.
struct Serving<'c, IO> {
    h2: Connection<Tap<IO>, Bytes>,
    ping: Option<PingPong>,
    handle: &'c GateHandle,
    shared: &'c Shared,
    alarm: Alarm,
    /// Since when no stream has anything to do here.
    quiet_since: Option<Instant>,
    /// Since when h2 has nothing left of them, either.
    idle_since: Option<Instant>,
    /// Since when an answer to a PING is awaited.
    asked_since: Option<Instant>,
    draining: Option<Instant>,
    /// It is being closed: only its last frames are still sent.
    closing: Option<Instant>,
}

impl<'c, IO: AsyncRead + AsyncWrite + Unpin> Serving<'c, IO> {
    fn new(mut h2: Connection<Tap<IO>, Bytes>, handle: &'c GateHandle, shared: &'c Shared) -> Self {
        let ping = h2.ping_pong();
        Self {
            h2,
            ping,
            handle,
            shared,
            alarm: Alarm::default(),
            quiet_since: None,
            idle_since: None,
            asked_since: None,
            draining: None,
            closing: None,
        }
    }

    /// The next request; `None` when the connection has ended.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Request<RecvStream>, SendResponse<Bytes>)>> {
        loop {
            let polled = self.h2.poll_accept(cx);
            let mut meter = self.shared.meter.borrow_mut();
            let accepted = match polled {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    meter.accepted(respond.stream_id().as_u32());
                    Poll::Ready(Some(Ok((request, respond))))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
            // Only now is it clear which of those that were reset are not handed on.
            let nothing_more = !matches!(accepted, Poll::Ready(Some(Ok(_))));
            let unseen: Vec<Unseen> = std::iter::from_fn(|| nothing_more.then(|| meter.unseen())?).collect();
            let exhausted = meter.is_exhausted();
            drop(meter);
            unseen.into_iter().for_each(|unseen| self.shared.tell_of(unseen));
            if exhausted && self.closing.is_none() {
                self.shared.refuse_flood();
                self.close(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            return match accepted {
                Poll::Ready(Some(Ok((request, mut respond)))) => {
                    // Reset already, by what came behind its head: nothing is done for it.
                    if let Poll::Ready(reset) = respond.poll_reset(cx) {
                        if reset.is_ok_and(|reason| reason == Reason::PROTOCOL_ERROR) {
                            let stream = respond.stream_id().as_u32();
                            let detail = format!("what came behind the head on stream {stream} breaks the protocol");
                            self.shared.refuse_unseen(HeadRefusalKind::Malformed, detail);
                        }
                        continue;
                    }
                    Poll::Ready(Some((request, respond)))
                }
                Poll::Ready(Some(Err(error))) => {
                    // What it is closed for has been told.
                    if self.closing.is_none() {
                        self.shared.failed(&error);
                    }
                    Poll::Ready(None)
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn close(&mut self, reason: Reason) {
        self.closing = Some(Instant::now());
        self.h2.abrupt_shutdown(reason);
    }

    /// Looks at the clock, and sees to it that the task is woken when it is time.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>, streams: usize) -> Poll<Next> {
        let limits = &self.shared.limits;
        if self.shared.meter.borrow().parting {
            return Poll::Pending;
        }
        if self.closing.is_none() && self.draining.is_none() {
            self.draining = self.handle.poll_drain(cx.waker());
            if self.draining.is_some() {
                self.h2.graceful_shutdown();
                return Poll::Ready(Next::Again);
            }
        }
        let meter = self.shared.meter.borrow();
        let (write_wait, head, last_read, sent_data) =
            (meter.write_wait_since, meter.head_deadline(limits.header_timeout), meter.last_read(), meter.sent_data());
        drop(meter);
        let now = Instant::now();
        self.quiet_since = (streams == 0).then(|| self.quiet_since.unwrap_or(now));
        // Of an answer that was handed over h2 may still hold the end, until the client opens its window.
        let holds = streams == 0 && self.h2.has_streams();
        self.idle_since = (streams == 0 && !holds).then(|| self.idle_since.unwrap_or(now));
        let mut nearest = Nearest::default();
        if let Some(since) = self.closing {
            nearest.offer(since + LAST_FRAMES, Due::Close);
        } else {
            if let Some(quiet) = self.quiet_since.filter(|_| holds) {
                nearest.offer(sent_data.map_or(quiet, |sent| sent.max(quiet)) + limits.body_idle_timeout, Due::Close);
            }
            if let Some(since) = write_wait {
                nearest.offer(since + limits.body_idle_timeout, Due::Close);
            }
            if let Some(deadline) = head {
                nearest.offer(deadline, Due::Head);
            }
            match (self.idle_since, self.draining) {
                (Some(idle), Some(drain)) => nearest.offer(idle.max(drain) + DRAIN_IDLE, Due::Idle),
                (Some(idle), None) => nearest.offer(idle + limits.keep_alive_timeout, Due::Idle),
                // While answers are awaited nothing need come: then the client is asked whether it is still there.
                (None, _) => {
                    if self.asked_since.is_some_and(|asked| last_read > asked) {
                        self.asked_since = None;
                    }
                    match self.asked_since {
                        Some(asked) => nearest.offer(asked + PONG_WITHIN, Due::Close),
                        None => nearest.offer(last_read + limits.keep_alive_timeout, Due::Ask),
                    }
                }
            }
        }
        if self.asked_since.is_some()
            && let Some(ping) = &mut self.ping
        {
            // That a byte came is all that counts; but the pong must be taken, or no other ping can be sent.
            let _ = ping.poll_pong(cx);
        }
        let Some((deadline, due)) = nearest.0 else { return Poll::Pending };
        if self.alarm.poll_passed(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match due {
            Due::Close => Next::Close,
            Due::Head => {
                self.shared.refuse_unseen(HeadRefusalKind::Timeout, "a head was not complete in time".to_owned());
                self.close(Reason::ENHANCE_YOUR_CALM);
                Next::Again
            }
            Due::Idle => {
                self.close(Reason::NO_ERROR);
                Next::Again
            }
            Due::Ask => {
                self.asked_since = Some(Instant::now());
                if let Some(ping) = &mut self.ping {
                    // One that is under way already will do.
                    let _ = ping.send_ping(Ping::opaque());
                }
                Next::Again
            }
        })
    }
}

/// Which deadline it is.
#[derive(Debug, Clone, Copy)]
enum Due {
    Idle,
    Head,
    Ask,
    Close,
}

/// The deadline that comes first.
#[derive(Default)]
struct Nearest(Option<(Instant, Due)>);

impl Nearest {
    fn offer(&mut self, deadline: Instant, due: Due) {
        if self.0.is_none_or(|(nearest, _)| deadline < nearest) {
            self.0 = Some((deadline, due));
        }
    }
}
