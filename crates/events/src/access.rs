//! The access log: one line for each request, permitted ones too, beside the events.
//!
//! It is for seeing traffic, not for proof: an event says why, and is never sampled. Like an event a line is handed to a
//! writer thread through a bounded queue, so that a slow disk holds up no request; what does not fit is dropped and counted.
//! There is no field for a credential, a cookie or a body, and the query is written only where the operator wants it.

mod combined;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::bounds::{PATH_BYTES, REFERRER_BYTES, TEXT_BYTES, USER_AGENT_BYTES, cut, remove_user_information};
use crate::event::{RequestId, rfc3339_micros};
use crate::lane::{Feed, Lane, SinkStats};
use crate::line::{LineError, Record, append_json};
use crate::reason_code::ReasonCode;
use crate::recorder::{StartError, deadline, end, open, start_writer};
use crate::settings::{AccessFormat, AccessLogSettings, OnFull, SinkSettings, WHOLE};
use crate::sinks::durable::Durability;
use crate::writer::Writer;

/// The value of `schema` in the JSON form. Its number changes only if a key changes its meaning or goes away.
pub const ACCESS_SCHEMA: &str = "portcullis.access/1";

/// One request and its answer. The keys are in the order in which they are written.
#[derive(Debug, Clone, Serialize)]
pub struct AccessEntry {
    /// [`ACCESS_SCHEMA`].
    pub schema: &'static str,
    /// When the head was complete.
    #[serde(serialize_with = "rfc3339_micros")]
    pub time: Timestamp,
    /// The request's id, as the caller sees it.
    pub request_id: RequestId,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// The client's address, after the trusted proxies.
    pub client_ip: Option<IpAddr>,
    /// The socket's peer.
    pub peer_ip: IpAddr,
    /// The verified principal, such as `user:alice`.
    pub user: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host, without a port.
    pub host: Option<String>,
    /// The client's path, without its query. At most 2,048 bytes.
    pub path: Option<String>,
    /// The query, where the log has it. At most 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// `1.0`, `1.1` or `2`.
    pub http_version: &'static str,
    /// The route, where one was found.
    pub route: Option<Arc<str>>,
    /// The upstream that it was sent to.
    pub upstream: Option<Arc<str>>,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused, where it was.
    pub reason: Option<ReasonCode>,
    /// Bytes of the answer's body that were handed to the connection.
    pub bytes_sent: u64,
    /// Whether the answer was sent to its end.
    pub complete: bool,
    /// From the request's head to the end of the answer.
    pub duration_us: u64,
    /// `User-Agent`. At most 1,024 bytes.
    pub user_agent: Option<String>,
    /// `Referer` without user information, query and fragment. At most 1,024 bytes.
    pub referrer: Option<String>,
}

/// Whether a request of this id is among so many of ten thousand: always the same for the same id, so that whatever is sampled has the
/// same requests.
pub fn is_sampled(id: Uuid, of_ten_thousand: u32) -> bool {
    // The lower half of an id is chance (RFC 9562 section 5.7).
    id.as_u64_pair().1 % u64::from(WHOLE) < u64::from(of_ten_thousand)
}

impl AccessEntry {
    /// A request of which nothing more is known yet.
    pub fn new(time: Timestamp, request_id: RequestId, peer_ip: IpAddr, scheme: &'static str) -> Self {
        Self {
            schema: ACCESS_SCHEMA,
            time,
            request_id,
            trace_id: None,
            client_ip: None,
            peer_ip,
            user: None,
            method: None,
            scheme,
            host: None,
            path: None,
            query: None,
            http_version: "1.1",
            route: None,
            upstream: None,
            status: 0,
            reason: None,
            bytes_sent: 0,
            complete: false,
            duration_us: 0,
            user_agent: None,
            referrer: None,
        }
    }

    /// Cuts each text to its bound, and removes what is never written. Says about how many bytes of memory it holds.
    fn bound(&mut self) -> usize {
        if let Some(path) = &mut self.path {
            let end = path.find(['?', '#']).unwrap_or(path.len());
            path.truncate(end);
            // The target of a head that was refused unparsed may be in absolute form.
            if !path.starts_with('/') {
                remove_user_information(path);
            }
        }
        if let Some(referrer) = &mut self.referrer {
            let end = referrer.find(['?', '#']).unwrap_or(referrer.len());
            referrer.truncate(end);
            remove_user_information(referrer);
        }
        let texts = [
            (&mut self.trace_id, TEXT_BYTES),
            (&mut self.user, TEXT_BYTES),
            (&mut self.method, TEXT_BYTES),
            (&mut self.host, TEXT_BYTES),
            (&mut self.path, PATH_BYTES),
            (&mut self.query, PATH_BYTES),
            (&mut self.user_agent, USER_AGENT_BYTES),
            (&mut self.referrer, REFERRER_BYTES),
        ];
        let mut bytes = size_of::<Self>();
        for (text, most) in texts {
            if let Some(text) = text {
                cut(text, most);
                bytes += text.capacity();
            }
        }
        bytes
    }
}

/// An entry in the form in which it is written.
#[derive(Debug)]
pub(crate) struct AccessLine {
    entry: AccessEntry,
    format: AccessFormat,
}

impl Record for AccessLine {
    fn append(&self, lines: &mut Vec<u8>) -> Result<(), LineError> {
        match self.format {
            AccessFormat::Json => append_json(lines, &self.entry),
            AccessFormat::Combined => {
                combined::append(lines, &self.entry);
                Ok(())
            }
        }
    }

    fn name(&self) -> String {
        "an access log's line".to_owned()
    }
}

/// Takes entries. Clones share the queue and the counters.
#[derive(Debug, Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    feed: Feed<Box<AccessLine>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    format: AccessFormat,
    sample: u32,
    query: bool,
}

impl AccessLog {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    /// When its file cannot be opened or the thread cannot be started.
    pub fn start(settings: &AccessLogSettings) -> Result<Self, StartError> {
        let name: Arc<str> = "access_log".into();
        let output = SinkSettings::new(Arc::clone(&name), settings.output.clone());
        // It is for seeing traffic, not for proof.
        let sink = open(&output, Durability::none())?;
        let lane = Lane::new(name, settings.queue, OnFull::Drop);
        let (feed, thread) = start_writer(lane, |lane, receiver| Writer::new(lane, receiver, sink))?;
        Ok(Self {
            shared: Arc::new(Shared {
                feed,
                thread: Mutex::new(Some(thread)),
                format: settings.format,
                sample: settings.sample,
                query: settings.query,
            }),
        })
    }

    /// Whether this request's line is written: always the same answer for one id.
    pub fn samples(&self, id: Uuid) -> bool {
        is_sampled(id, self.shared.sample)
    }

    /// Whether queries are written.
    pub fn has_queries(&self) -> bool {
        self.shared.query
    }

    /// Hands over an entry. Never blocks: one that does not fit is dropped and counted.
    pub fn record(&self, mut entry: AccessEntry) {
        let bytes = entry.bound();
        let line = AccessLine { entry, format: self.shared.format };
        self.shared.feed.offer(Box::new(line), bytes);
    }

    /// What became of the lines.
    pub fn stats(&self) -> SinkStats {
        self.shared.feed.lane.stats()
    }

    /// Has the file opened anew at its path, as [`Recorder::reopen`](crate::Recorder::reopen) does.
    pub fn reopen(&self) {
        self.shared.feed.ask_reopen();
    }

    /// Waits until all that was recorded before this call is written or dropped, for at most `timeout`. Says whether it came to
    /// that.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.feed.lane.wait_resolved(deadline(timeout))
    }

    /// Takes no more lines, writes what waits and ends the thread, in at most about `timeout`. Returns how many lines were left
    /// unwritten.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        end(std::slice::from_ref(&self.shared.feed), thread.into_iter(), timeout)
    }
}

#[cfg(test)]
mod tests;
