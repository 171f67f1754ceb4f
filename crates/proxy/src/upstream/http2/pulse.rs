//! Whether an HTTP/2 connection is still there: its endpoint is asked with a `PING` (RFC 9113 section 6.7), and has so long to
//! answer.
//!
//! It is asked when a time ran out on the connection, and, where that is configured, after a silence. Not by itself: gRPC
//! servers take frequent pings on quiet streams for an attack, and end the connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep};

use crate::settings::Http2Settings;

use super::channel::Shared;

/// The pulse of one connection.
pub(super) struct Pulse {
    pings: Option<PingPong>,
    settings: Http2Settings,
    /// A ping was sent, and nothing came back yet.
    asked: bool,
    /// Until the answer must have come, or else until the silence is too long.
    alarm: Option<Pin<Box<Sleep>>>,
    /// What had been heard when the silence began.
    heard: u64,
}

impl Pulse {
    pub(super) fn new(pings: Option<PingPong>, settings: Http2Settings) -> Self {
        Self { pings, settings, asked: false, alarm: None, heard: 0 }
    }

    /// Ready when the endpoint gave no sign of life in time.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.asked {
                if let Poll::Ready(pong) = pings.poll_pong(cx) {
                    if pong.is_err() {
                        // The connection has ended, and says so itself.
                        return Poll::Pending;
                    }
                    self.asked = false;
                    self.alarm = None;
                    shared.doubted.set(false);
                    shared.turn.notify_waiters();
                    continue;
                }
                return ring(&mut self.alarm, self.settings.ping_timeout, cx);
            }
            if !shared.doubted.get() {
                if self.settings.ping_interval == Duration::MAX || shared.active.get() == 0 {
                    self.alarm = None;
                    return Poll::Pending;
                }
                if ring(&mut self.alarm, self.settings.ping_interval, cx).is_pending() {
                    return Poll::Pending;
                }
                self.alarm = None;
                if std::mem::replace(&mut self.heard, shared.heard.get()) != shared.heard.get() {
                    continue;
                }
            }
            if pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.asked = true;
            self.alarm = None;
        }
    }
}

/// Ready when the alarm rings, which is set for after `wait` if it is not set.
fn ring(alarm: &mut Option<Pin<Box<Sleep>>>, wait: Duration, cx: &mut Context<'_>) -> Poll<()> {
    alarm.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx)
}
