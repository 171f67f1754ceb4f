//! One connection to a server, and one operation after the other on it.
//!
//! Nothing here bounds its time: whoever asks lets go of the future, and then of the connection, for nobody knows how far it is.

use std::sync::Arc;
use std::{fmt, io};

use portcullis_fetch::tls;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ber::{self, Malformed};
use crate::filter::Filter;
use crate::message::{
    self, Body, Entry, NO_SUCH_OBJECT, Outcome, Response, SIZE_LIMIT_EXCEEDED, SUCCESS, Scope, Search,
};

/// The longest message, in bytes: an entry with some ten thousand names.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// How many entries are asked for at once.
const PAGE: u32 = 500;
/// A server that gives pages without entries is left after so many messages more than there may be entries.
const SPARE_MESSAGES: usize = 1_000;
/// How long a server may search, in seconds; whoever asks has less patience.
const SECONDS: u32 = 60;
/// The longest text of a server that is repeated, in bytes.
const MAX_TEXT: usize = 160;
/// How much is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// TLS from the first octet (`ldaps://`).
    pub secure: bool,
    /// The name or address, without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

/// Why a text is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerProblem {
    /// It does not begin so.
    #[error("it does not begin with `ldaps://` or `ldap://`")]
    Scheme,
    /// There is more than that.
    #[error("it is not `ldaps://HOST` or `ldaps://HOST:PORT`, and nothing more")]
    NotHost,
}

impl Server {
    /// `ldaps://HOST:PORT` (RFC 4516, without a distinguished name); the port is 636, or 389 for `ldap`.
    ///
    /// # Errors
    /// It is something else, or has a path.
    pub fn parse(text: &str) -> Result<Self, ServerProblem> {
        let split = text.split_once("://").ok_or(ServerProblem::Scheme)?;
        let secure = match split.0.to_ascii_lowercase().as_str() {
            "ldaps" => true,
            "ldap" => false,
            _ => return Err(ServerProblem::Scheme),
        };
        let rest = split.1.strip_suffix('/').unwrap_or(split.1);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(ServerProblem::NotHost)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| ServerProblem::NotHost)?;
                (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")))
            }
            None => {
                rest.split_once(':').map_or((rest, Some("")), |(host, port)| (host, (!port.is_empty()).then_some(port)))
            }
        };
        let is_host = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_');
        let known = host.contains(':') || !host.is_empty() && host.bytes().all(is_host);
        let port = match port.filter(|_| known) {
            None => return Err(ServerProblem::NotHost),
            Some("") => {
                if secure {
                    636
                } else {
                    389
                }
            }
            Some(port) if port.bytes().all(|octet| octet.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or(ServerProblem::NotHost)?
            }
            Some(_) => return Err(ServerProblem::NotHost),
        };
        Ok(Self { secure, host: host.to_ascii_lowercase().into(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "ldaps" } else { "ldap" };
        if self.host.contains(':') {
            write!(out, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy)]
pub struct Security<'s> {
    /// StartTLS on a plain connection, before anything else.
    pub start_tls: bool,
    /// The authorities that may have signed the server's certificate; none: those that this system believes.
    pub roots: &'s [CertificateDer<'static>],
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LdapError {
    /// No connection, or it ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else than LDAP came.
    #[error("the server sent something that is no message of LDAP")]
    Malformed,
    /// A message over 4 MiB came.
    #[error("the server sent a message of more than 4 MiB")]
    TooLarge,
    /// The server says no.
    #[error("{operation} failed with result {code}{text}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// RFC 4511 appendix A.
        code: i32,
        /// What the server says to it.
        text: String,
    },
    /// The server ended the connection (RFC 4511 section 4.4.1).
    #[error("the server ended the connection")]
    Disconnected,
    /// More entries than may be.
    #[error("more than {0} entries were found")]
    TooMany(usize),
    /// A bind with a name and no password is one that proves nothing (RFC 4513 section 5.1.2).
    #[error("a password is needed: an empty one would bind as nobody")]
    EmptyPassword,
    /// A place in the filter has nothing to be filled with.
    #[error("the filter asks for something that the caller does not have")]
    Unfilled,
}

impl From<Malformed> for LdapError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl LdapError {
    /// The connection can go on: the server answered, and that was all.
    pub fn leaves_connection(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unfilled)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection. Dropping it ends it.
pub struct Connection {
    stream: Box<dyn Stream>,
    /// What was read and is not used yet.
    held: Vec<u8>,
    last_id: u32,
    /// An answer was left in the middle.
    is_spent: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").field("last_id", &self.last_id).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, with TLS where it is wanted.
    ///
    /// # Errors
    /// No connection, or a server that cannot prove who it is.
    pub async fn open(server: &Server, security: Security<'_>) -> Result<Self, LdapError> {
        let stream = TcpStream::connect((&*server.host, server.port)).await?;
        stream.set_nodelay(true)?;
        let new = |stream| Self { stream, held: Vec::new(), last_id: 0, is_spent: false };
        if server.secure {
            let stream = tls::connect(stream, &server.host, security.roots, &[]).await?;
            return Ok(new(Box::new(stream)));
        }
        if !security.start_tls {
            return Ok(new(Box::new(stream)));
        }
        let mut stream = stream;
        ask_for_tls(&mut stream).await?;
        let stream = tls::connect(stream, &server.host, security.roots, &[]).await?;
        // INVARIANT: message 1 was StartTLS; ids are not used twice.
        Ok(Self { stream: Box::new(stream), held: Vec::new(), last_id: 1, is_spent: false })
    }

    /// Binds with a password (RFC 4513 section 5.1.3).
    ///
    /// # Errors
    /// The server refuses, the password is empty, or the connection ended.
    pub async fn bind(&mut self, dn: &str, password: &str) -> Result<(), LdapError> {
        if password.is_empty() || dn.is_empty() {
            return Err(LdapError::EmptyPassword);
        }
        let id = self.next_id();
        self.stream.write_all(&message::bind(id, dn, password)).await?;
        self.stream.flush().await?;
        match self.answer(id).await?.body {
            Body::Bind(outcome) => succeeded("the bind", outcome),
            _ => Err(LdapError::Malformed),
        }
    }

    /// Searches, page by page. An entry that is not there is none; a base to search below is there, or nobody can say what is below it: a server says the
    /// same of one that it does not let us read.
    ///
    /// # Errors
    /// The server refuses, there is no such base, more entries than `limit` are found, or the connection ended.
    pub async fn search(&mut self, search: &Search<'_>) -> Result<Vec<Entry>, LdapError> {
        let mut entries = Vec::new();
        let mut cookie = Vec::new();
        let mut messages = 0;
        loop {
            let id = self.next_id();
            // One entry needs no page, and some servers do not give pages of their root.
            let page = (search.scope == Scope::Subtree).then_some((PAGE, cookie.as_slice()));
            let request = message::search(id, search, SECONDS, page).ok_or(LdapError::Unfilled)?;
            self.stream.write_all(&request).await?;
            self.stream.flush().await?;
            let done = loop {
                messages += 1;
                if messages > search.limit.saturating_add(SPARE_MESSAGES) {
                    return Err(LdapError::Malformed);
                }
                let response = self.answer(id).await?;
                match response.body {
                    Body::Entry(_) if entries.len() >= search.limit => {
                        self.is_spent = true;
                        return Err(LdapError::TooMany(search.limit));
                    }
                    Body::Entry(entry) => entries.push(entry),
                    Body::Reference => {}
                    Body::Done(outcome) => break (outcome, response.cookie),
                    Body::Bind(_) | Body::Extended(_) | Body::Other => return Err(LdapError::Malformed),
                }
            };
            match done.0.code {
                NO_SUCH_OBJECT if search.scope == Scope::Base => return Ok(entries),
                SIZE_LIMIT_EXCEEDED => return Err(LdapError::TooMany(entries.len())),
                _ => succeeded("the search", done.0)?,
            }
            cookie = done.1;
            if cookie.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// Whether something else can be asked on it. After an error that does not [leave it](LdapError::leaves_connection) nothing can.
    pub fn is_usable(&self) -> bool {
        !self.is_spent
    }

    /// What the server says it can do that is no part of the protocol: the `supportedCapabilities` of its root (MS-ADTS 3.1.1.3.4.3).
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn capabilities(&mut self) -> Result<Vec<String>, LdapError> {
        let filter = Filter::parse("(objectClass=*)").map_err(|_| LdapError::Unfilled)?;
        let asked = Search {
            base: "",
            scope: Scope::Base,
            filter: &filter,
            id: None,
            email: None,
            names: &[],
            attributes: &["supportedCapabilities"],
            limit: 1,
        };
        let found = self.search(&asked).await?;
        let values = found.first().map_or(&[][..], |root| root.values("supportedCapabilities"));
        Ok(values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect())
    }

    /// Says that it ends.
    pub async fn close(mut self) {
        let id = self.next_id();
        // Nobody hears the answer; there is none.
        let _ = self.stream.write_all(&message::unbind(id)).await;
        let _ = self.stream.shutdown().await;
    }

    fn next_id(&mut self) -> u32 {
        // Far below `maxInt`; a connection does not live that long.
        self.last_id = self.last_id % 0x3fff_ffff + 1;
        self.last_id
    }

    /// The next message, which must answer this one.
    async fn answer(&mut self, id: u32) -> Result<Response, LdapError> {
        let response = next_message(&mut self.stream, &mut self.held).await?;
        match response.id {
            // The only unsolicited notification that there is.
            0 => Err(LdapError::Disconnected),
            found if i64::from(found) == i64::from(id) => Ok(response),
            _ => Err(LdapError::Malformed),
        }
    }
}

/// StartTLS. What came with the answer came in plain text, from anybody: then there is no TLS to be had.
async fn ask_for_tls(stream: &mut TcpStream) -> Result<(), LdapError> {
    stream.write_all(&message::start_tls(1)).await?;
    let mut held = Vec::new();
    let response = next_message(stream, &mut held).await?;
    if response.id != 1 || !held.is_empty() {
        return Err(LdapError::Malformed);
    }
    match response.body {
        Body::Extended(outcome) => succeeded("StartTLS", outcome),
        _ => Err(LdapError::Malformed),
    }
}

fn succeeded(operation: &'static str, outcome: Outcome) -> Result<(), LdapError> {
    if outcome.code == SUCCESS {
        return Ok(());
    }
    let mut text: String = outcome.text.chars().filter(|character| !character.is_control()).collect();
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    let text = if text.is_empty() { text } else { format!(": {text}") };
    Err(LdapError::Refused { operation, code: outcome.code, text })
}

async fn next_message(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    held: &mut Vec<u8>,
) -> Result<Response, LdapError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        if let Some(head) = ber::head(held)? {
            if head.tag != ber::SEQUENCE {
                return Err(LdapError::Malformed);
            }
            if head.content > MAX_MESSAGE {
                return Err(LdapError::TooLarge);
            }
            let length = head.octets + head.content;
            if let Some(octets) = held.get(..length) {
                let response = Response::read(octets)?;
                held.drain(..length);
                return Ok(response);
            }
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => held.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
