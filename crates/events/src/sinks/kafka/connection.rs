//! One connection to a broker, in plain text or over TLS: a request, its answer, and then the next. Every wait has a deadline but the look-up
//! of a name, which has the resolver's own.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use rustls::{ClientConnection, StreamOwned};

use super::message::{
    API_VERSIONS, Api, Fault, In, METADATA, Out, PRODUCE, SASL_AUTHENTICATE, SASL_HANDSHAKE, Topic, judge, produced,
    request,
};
use super::scram::{Hash, Scram, is_proof};
use crate::settings::{SaslMechanism, SaslSettings};
use crate::sinks::tls;

/// No answer is longer: one describes a topic, or a batch that was taken.
const MOST: usize = 4 * 1024 * 1024;
/// So much is written at once, before the clock is looked at again.
const PIECE: usize = 64 * 1024;

/// A connection that is open, as far as is known.
pub(super) struct Connection {
    stream: Stream,
    timeout: Duration,
    /// Until when what is going on may take.
    deadline: Instant,
    /// The number of the last request.
    number: i32,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects to the first of the host's addresses that answers.
    pub(super) fn open(host: &str, port: u16, timeout: Duration, tls: Option<&tls::Connector>) -> io::Result<Self> {
        let deadline = Instant::now() + timeout;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(stream) => return Self::over(stream, timeout, deadline, tls),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn over(stream: TcpStream, timeout: Duration, deadline: Instant, tls: Option<&tls::Connector>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let mut session = StreamOwned::new(tls.session()?, stream);
                while session.conn.is_handshaking() {
                    wait_for(&session.sock, deadline)?;
                    session.conn.complete_io(&mut session.sock)?;
                }
                Stream::Tls(Box::new(session))
            }
        };
        Ok(Self { stream, timeout, deadline, number: 0 })
    }

    /// Asks what the broker understands.
    pub(super) fn greet(&mut self) -> Result<(), Fault> {
        let answer = self.ask(API_VERSIONS, &[])?;
        let mut answer = In(&answer);
        match answer.i16()? {
            0 => {}
            code => return Err(judge(code)),
        }
        let known = answer.each(|api| Ok((api.i16()?, api.i16()?, api.i16()?)))?;
        let speaks = |api: Api| {
            known.iter().any(|(key, least, most)| *key == api.key && (*least..=*most).contains(&api.version))
        };
        if speaks(PRODUCE) && speaks(METADATA) {
            return Ok(());
        }
        Err(Fault::Barred("the broker does not speak the protocol of Kafka 0.11 to 4".to_owned()))
    }

    /// Proves who the gateway is.
    pub(super) fn authenticate(&mut self, sasl: &SaslSettings) -> Result<(), Fault> {
        let mut body = Out::default();
        body.text(sasl.mechanism.name());
        let answer = self.ask(SASL_HANDSHAKE, &body.0)?;
        match In(&answer).i16()? {
            0 => {}
            code => return Err(judge(code)),
        }
        let (user, password) = (&*sasl.user, sasl.password.reveal());
        let hash = match sasl.mechanism {
            SaslMechanism::Plain => {
                return self.token(format!("\0{user}\0{password}").as_bytes()).map(drop);
            }
            SaslMechanism::ScramSha256 => Hash::Sha256,
            SaslMechanism::ScramSha512 => Hash::Sha512,
        };
        let mut nonce = [0; 24];
        rand::fill(&mut nonce).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let scram = Scram::new(hash, user, &BASE64URL_NOPAD.encode(&nonce));
        let first = self.token(scram.first().as_bytes())?;
        let first = String::from_utf8_lossy(&first);
        let (answer, expected) = scram.answer(&first, password)?;
        let last = self.token(answer.as_bytes())?;
        if is_proof(&last, &expected) {
            return Ok(());
        }
        Err(Fault::Barred("the broker does not know the password that it is to verify".to_owned()))
    }

    /// One step of an authentication.
    fn token(&mut self, token: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut body = Out::default();
        body.bytes(token);
        let answer = self.ask(SASL_AUTHENTICATE, &body.0)?;
        let mut answer = In(&answer);
        let (code, _why) = (answer.i16()?, answer.text()?);
        if code != 0 {
            return Err(judge(code));
        }
        Ok(answer.bytes()?.to_vec())
    }

    /// What there is to know of a topic. One that is not there is not made.
    pub(super) fn metadata(&mut self, topic: &str) -> Result<Topic, Fault> {
        let mut body = Out::default();
        body.i32(1).text(topic).0.push(0);
        let answer = self.ask(METADATA, &body.0)?;
        Topic::read(&answer, topic)
    }

    /// Hands over a batch, which all replicas in sync are to have. Says the code of its error, if it has one.
    pub(super) fn produce(&mut self, topic: &str, partition: i32, records: &[u8]) -> io::Result<Option<i16>> {
        let timeout = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        let mut body = Out::default();
        // No transaction.
        body.i16(-1).i16(-1).i32(timeout).i32(1).text(topic).i32(1).i32(partition).bytes(records);
        let answer = self.ask(PRODUCE, &body.0)?;
        produced(&answer, topic, partition)
    }

    /// Sends a request, and returns the body of its answer.
    fn ask(&mut self, api: Api, body: &[u8]) -> io::Result<Vec<u8>> {
        self.deadline = Instant::now() + self.timeout;
        self.number = self.number.wrapping_add(1);
        self.write(&request(api, self.number, body))?;
        let mut head = [0; 4];
        self.read(&mut head)?;
        let length = usize::try_from(i32::from_be_bytes(head)).ok().filter(|length| (4..=MOST).contains(length));
        let length =
            length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the broker speaks another protocol"))?;
        let mut answer = vec![0; length];
        self.read(&mut answer)?;
        let body = answer.split_off(4);
        if answer != self.number.to_be_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the broker answers another request"));
        }
        Ok(body)
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(session) => &session.sock,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            wait_for(self.socket(), self.deadline)?;
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(piece)?,
                Stream::Tls(session) => session.write_all(piece).and_then(|()| session.flush())?,
            }
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // A broker that sends a byte now and then does not win time by that.
            wait_for(self.socket(), self.deadline)?;
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(rest),
                Stream::Tls(session) => session.read(rest),
            };
            match read {
                Ok(0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker has closed the connection"));
                }
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the broker did not answer in time")
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(late()) } else { Ok(left) }
}

/// The next read and the next write have until then.
fn wait_for(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    let left = left(deadline)?;
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))
}
