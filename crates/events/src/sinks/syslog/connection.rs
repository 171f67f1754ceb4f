//! One connection to a syslog receiver, in plain text or over TLS. Every wait has a deadline but the look-up of a name, which has
//! the resolver's own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};

use rustls::{ClientConnection, StreamOwned};
use socket2::SockRef;

use crate::settings::SyslogSettings;
use crate::sinks::tls;

/// Bytes that the kernel may hold that were not yet sent: what is there when a connection breaks is lost with it.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection that is open, as far as is known.
pub(super) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects to the first address of the receiver that answers.
    pub(super) fn open(settings: &SyslogSettings, tls: Option<&tls::Connector>) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses(settings)? {
            match TcpStream::connect_timeout(&address, settings.timeout) {
                Ok(stream) => return Self::over(stream, settings, tls),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn over(stream: TcpStream, settings: &SyslogSettings, tls: Option<&tls::Connector>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(settings.timeout))?;
        stream.set_read_timeout(Some(settings.timeout))?;
        let socket = SockRef::from(&stream);
        socket.set_send_buffer_size(SEND_BUFFER)?;
        // A receiver that vanished without a word is noticed although nothing is acknowledged above TCP.
        socket.set_tcp_user_timeout(Some(settings.timeout))?;
        socket.set_keepalive(true)?;
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let mut session = StreamOwned::new(tls.session()?, stream);
        while session.conn.is_handshaking() {
            session.conn.complete_io(&mut session.sock)?;
        }
        Ok(Self::Tls(Box::new(session)))
    }

    pub(super) fn write(&mut self, frames: impl AsRef<[u8]>) -> io::Result<()> {
        let frames = frames.as_ref();
        match self {
            Self::Plain(stream) => stream.write_all(frames),
            Self::Tls(session) => {
                session.write_all(frames)?;
                session.flush()
            }
        }
    }

    /// Whether the receiver has closed it, or it broke. A receiver has nothing to say: whatever else comes is read and dropped.
    pub(super) fn is_over(&mut self) -> bool {
        if self.stream().set_nonblocking(true).is_err() {
            return true;
        }
        let over = match self {
            Self::Plain(stream) => drain(stream),
            Self::Tls(session) => drain_tls(session),
        };
        over || self.stream().set_nonblocking(false).is_err()
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(session) => &session.sock,
        }
    }
}

/// At most so many reads: a receiver that talks without end must not hold up events.
const READS: usize = 16;

fn drain(stream: &mut TcpStream) -> bool {
    let mut dropped = [0; 1_024];
    for _ in 0..READS {
        match stream.read(&mut dropped) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    false
}

/// Session tickets of TLS 1.3 come this way, too.
fn drain_tls(session: &mut StreamOwned<ClientConnection, TcpStream>) -> bool {
    for _ in 0..READS {
        match session.conn.read_tls(&mut session.sock) {
            Ok(0) => return true,
            Ok(_) => match session.conn.process_new_packets() {
                Ok(state) if state.peer_has_closed() => return true,
                Ok(state) => {
                    let mut dropped = vec![0; state.plaintext_bytes_to_read().min(64 * 1024)];
                    if session.conn.reader().read_exact(&mut dropped).is_err() {
                        return true;
                    }
                }
                Err(_broken) => return true,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    false
}

/// A socket whose datagrams go to the receiver.
pub(super) fn datagrams_to(settings: &SyslogSettings) -> io::Result<UdpSocket> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses(settings)? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let connected = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(address)?;
            socket.set_write_timeout(Some(settings.timeout))?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn addresses(settings: &SyslogSettings) -> io::Result<impl Iterator<Item = SocketAddr>> {
    (&*settings.host, settings.port).to_socket_addrs()
}
