//! A stub receiver of events over HTTP/1.1, in plain text or over TLS: it reads each request whole and answers what the test's
//! rules say. The rules are where the limits and the strictness of a real service are; this only carries them.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Issued;
use crate::wait::{self, PATIENCE};

/// One request, whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The target, with its query.
    pub target: String,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came, compressed perhaps.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of the only field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "two fields {name}");
        first
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    close: bool,
}

impl Answer {
    /// A status alone.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// With a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The connection is closed behind it, without a word in the answer.
    #[must_use]
    pub fn then_close(mut self) -> Self {
        self.close = true;
        self
    }
}

/// A running receiver. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

type Rules = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

impl Receiver {
    /// One in plain text, on a port of its own.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(rules: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(rules), None)
    }

    /// One over TLS, with this certificate.
    ///
    /// # Panics
    /// When it cannot listen, or the certificate is none.
    pub fn start_tls(issued: &Issued, rules: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("an issued certificate is PEM");
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("an issued key is PEM");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("certificate and key belong together");
        Self::serve(Arc::new(rules), Some(Arc::new(config)))
    }

    fn serve(rules: Rules, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (recorded, ended) = (Arc::clone(&requests), Arc::downgrade(&requests));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                // Only the test's end holds the other one.
                if Arc::strong_count(&recorded) == 1 || ended.upgrade().is_none() {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (rules, tls, recorded) = (Arc::clone(&rules), tls.clone(), Arc::clone(&recorded));
                thread::spawn(move || attend(stream, number, tls, &rules, &recorded));
            }
        });
        Self { address, requests }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has got so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests, once there are so many.
    ///
    /// # Panics
    /// When there are fewer for long.
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        let enough = || Some(self.requests()).filter(|requests| requests.len() >= count);
        match wait::until(PATIENCE, enough) {
            Some(requests) => requests,
            None => panic!("{} of {count} requests came", self.requests().len()),
        }
    }
}

/// The accepting thread waits for a connection: one more lets it see that nobody is left.
impl Drop for Receiver {
    fn drop(&mut self) {
        self.requests = Arc::default();
        drop(TcpStream::connect(self.address));
    }
}

fn attend(
    stream: TcpStream,
    number: usize,
    tls: Option<Arc<ServerConfig>>,
    rules: &Rules,
    recorded: &Mutex<Vec<Request>>,
) {
    // A client that is silent for long is gone; a thread must not outlive its test for it.
    if stream.set_read_timeout(Some(Duration::from_secs(60))).is_err() {
        return;
    }
    match tls {
        None => converse(stream, number, rules, recorded),
        Some(config) => {
            let Ok(session) = ServerConnection::new(config) else { return };
            converse(StreamOwned::new(session, stream), number, rules, recorded);
        }
    }
}

fn converse(stream: impl Read + Write, number: usize, rules: &Rules, recorded: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, number) {
        let answer = rules(&request);
        recorded.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let mut head = format!("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if answer.status == 204 {
            head = head.replace("Content-Length: 0\r\n", "");
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&answer.body);
        let stream = reader.get_mut();
        if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() || answer.close {
            return;
        }
    }
}

/// `None` at the end of the connection, also in the middle of a request.
fn read_request(reader: &mut impl std::io::BufRead, connection: usize) -> Option<Request> {
    let mut line = String::new();
    let mut next = |line: &mut String| {
        line.clear();
        reader.read_line(line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = next(&mut line)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let field = next(&mut line)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(Some(0), |(_, value)| value.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { connection, method, target, headers, body })
}
