//! Node and Python as upstreams: each answers what its own URL parsing makes of the target it received.
//!
//! The answer is 200 with one line: the bytes of the path that the server acts on, percent-decoded, in hex; or a text that begins
//! with `error`. A missing program fails the test; `cargo xtask test` installs it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::ports::free_port;
use crate::process::{Process, Program};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpreter {
    /// Node's `http` server and its WHATWG `URL`, decoded once. `PORTCULLIS_NODE` says where it is.
    Node,
    /// Node's `http2` server, by prior knowledge. It answers with what it was sent, as JSON: the length of the body and the trailers;
    /// and with trailers of its own, `x-answered` and some that nobody may send.
    NodeHttp2,
    /// Python's `http.server`, which unquotes and then normalises, as its file handler does. `PORTCULLIS_PYTHON` says where it is.
    Python,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct InterpretedUpstream {
    _process: Process,
    address: SocketAddr,
}

const NODE: &str = r#"
const decode = (text) => {
  const bytes = [];
  for (let at = 0; at < text.length; at++) {
    const code = /^%[0-9A-Fa-f]{2}/.test(text.slice(at)) ? parseInt(text.slice(at + 1, (at += 2) + 1), 16) : null;
    bytes.push(...(code === null ? Buffer.from(text[at], 'utf8') : [code]));
  }
  return Buffer.from(bytes).toString('hex');
};
require('http').createServer((request, response) => {
  let acted;
  try { acted = decode(new URL(request.url, 'http://app.test').pathname); } catch (error) { acted = 'error ' + error.message; }
  response.end(acted);
}).listen(Number(process.argv[1]), '127.0.0.1');
"#;

const NODE_HTTP2: &str = r#"
require('http2').createServer().on('stream', (stream) => {
  let length = 0, trailers = {};
  stream.on('data', (data) => { length += data.length; });
  stream.on('trailers', (fields) => { trailers = { ...fields }; });
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'application/json' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-answered': 'yes', 'set-cookie': 'a=b', 'x-forwarded-for': '10.0.0.1' }));
    stream.end(JSON.stringify({ length, trailers }));
  });
}).listen(Number(process.argv[1]), '127.0.0.1');
"#;

const PYTHON: &str = r#"
import posixpath, sys, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        path = urllib.parse.unquote_to_bytes(urllib.parse.urlsplit(self.path).path)
        normal = posixpath.normpath(path)
        if path.endswith(b"/") and not normal.endswith(b"/"):
            normal += b"/"
        body = normal.hex().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

impl InterpretedUpstream {
    /// Starts it on a loopback port of its own.
    ///
    /// # Panics
    /// When the program is missing or does not start.
    pub fn start(interpreter: Interpreter) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (variable, usual, flag, script) = match interpreter {
            Interpreter::Node => ("PORTCULLIS_NODE", "node", "-e", NODE),
            Interpreter::NodeHttp2 => ("PORTCULLIS_NODE", "node", "-e", NODE_HTTP2),
            Interpreter::Python => ("PORTCULLIS_PYTHON", "python3", "-c", PYTHON),
        };
        let program = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
        let mut process = Program::new(program).arg(flag).arg(script).arg(address.port().to_string()).start();
        process.wait_for_port(address);
        Self { _process: process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
