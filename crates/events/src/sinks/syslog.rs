//! Syslog (RFC 5424) over UDP, TCP and TLS.
//!
//! None of the three acknowledges anything. What was written to a connection and not yet read at the other end is lost with the
//! connection, and nobody is told. So what was last written is kept, and written again on the next connection where the last one
//! broke: the receiver may then have some events twice. What that cannot save is in `docs/events.md`.

mod connection;
mod recent;

use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use connection::Connection;
use recent::Recent;

use crate::format::syslog::Envelope;
use crate::settings::{SyslogSettings, SyslogTransport};
use crate::sinks::{BatchLimits, Delivery, Line, Remote, outcome, tls};

/// Events in one call: few enough that what is written again after a failure is little.
const EVENTS: usize = 256;
/// Bytes in one call.
const BYTES: usize = 512 * 1024;

/// A syslog receiver.
pub(crate) struct SyslogSink {
    settings: SyslogSettings,
    envelope: Envelope,
    channel: Channel,
}

enum Channel {
    Udp(Option<UdpSocket>),
    Stream { tls: Option<tls::Connector>, connection: Option<Connection>, recent: Recent },
}

impl SyslogSink {
    /// Makes the sink; it connects when there is something to send.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn open(settings: SyslogSettings) -> io::Result<Self> {
        let stream = |tls| Channel::Stream { tls, connection: None, recent: Recent::default() };
        let channel = match &settings.transport {
            SyslogTransport::Udp => Channel::Udp(None),
            SyslogTransport::Tcp => stream(None),
            SyslogTransport::Tls(tls) => stream(Some(tls::Connector::new(tls, &settings.host, &[])?)),
        };
        let envelope = envelope(&settings);
        Ok(Self { settings, envelope, channel })
    }

    /// The messages of a batch, and the places of lines that are no events.
    fn messages(&self, batch: &[Line<'_>]) -> (Vec<Vec<u8>>, Vec<usize>) {
        let Self { settings, envelope, .. } = self;
        let (mut messages, mut bad) = (Vec::with_capacity(batch.len()), Vec::new());
        for (index, line) in batch.iter().enumerate() {
            let mut message = Vec::with_capacity(line.json.len() + 512);
            let made = match settings.transport {
                SyslogTransport::Udp => {
                    envelope.append_within(line.json, settings.format, settings.max_datagram, &mut message)
                }
                SyslogTransport::Tcp | SyslogTransport::Tls(_) => {
                    envelope.append(line.json, settings.format, &mut message)
                }
            };
            match made {
                Ok(()) => messages.push(message),
                Err(_no_event) => bad.push(index),
            }
        }
        (messages, bad)
    }

    fn send(&mut self, messages: &[Vec<u8>]) -> io::Result<()> {
        let settings = &self.settings;
        match &mut self.channel {
            Channel::Udp(socket) => send_datagrams(settings, socket, messages).inspect_err(|_| *socket = None),
            Channel::Stream { tls, connection, recent } => {
                send_frames(settings, tls.as_ref(), connection, recent, messages).inspect_err(|_| *connection = None)
            }
        }
    }
}

impl Remote for SyslogSink {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        let (messages, bad) = self.messages(batch);
        if let Err(error) = self.send(&messages) {
            let SyslogSettings { host, port, .. } = &self.settings;
            return Delivery::Retry { after: None, why: format!("{host}:{port}: {error}") };
        }
        outcome::with_bad(Delivery::Accepted, bad)
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: EVENTS, bytes: BYTES }
    }
}

fn send_datagrams(settings: &SyslogSettings, socket: &mut Option<UdpSocket>, messages: &[Vec<u8>]) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => socket.insert(connection::datagrams_to(settings)?),
    };
    for message in messages {
        match socket.send(message) {
            Ok(_) => {}
            // An earlier datagram found nobody: whether this one does, it may say itself.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                socket.send(message)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send_frames(
    settings: &SyslogSettings,
    tls: Option<&tls::Connector>,
    connection: &mut Option<Connection>,
    recent: &mut Recent,
    messages: &[Vec<u8>],
) -> io::Result<()> {
    // A receiver that went away while nothing was sent is noticed here, before anything is lost to it.
    if connection.as_mut().is_some_and(Connection::is_over) {
        *connection = None;
    }
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let connection = connection.insert(Connection::open(settings, tls)?);
            recent.forget_old(Instant::now());
            connection.write(recent.frames())?;
            connection
        }
    };
    let mut frames = Vec::with_capacity(messages.iter().map(|message| message.len() + 8).sum());
    for message in messages {
        frame(&mut frames, message);
    }
    // Where this fails the same batch comes again; what was written before it is what may be lost with the connection.
    connection.write(&frames)?;
    recent.keep(frames, Instant::now());
    Ok(())
}

/// What is the same in every message.
pub(crate) fn envelope(settings: &SyslogSettings) -> Envelope {
    Envelope {
        facility: settings.facility,
        app_name: settings.app_name.clone(),
        enterprise_id: settings.enterprise_id,
        process_id: std::process::id(),
    }
}

/// `LENGTH SP MESSAGE` (RFC 6587 section 3.4.1, RFC 5425 section 4.3).
pub(crate) fn frame(frames: &mut Vec<u8>, message: &[u8]) {
    frames.extend_from_slice(itoa::Buffer::new().format(message.len()).as_bytes());
    frames.push(b' ');
    frames.extend_from_slice(message);
}

#[cfg(test)]
mod tests;
