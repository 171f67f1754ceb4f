//! What Portcullis's tests share: peers that can be told to misbehave, a client that sees every byte, tokens good and bad,
//! a guard around real processes, and a reader of event files.
//!
//! | module | gives a test |
//! |---|---|
//! | [`ports`] | a TCP port that nothing else will take while the test runs |
//! | [`process`] | a real program: started, its output captured, signalled, stopped and waited for |
//! | [`nginx`] | a real nginx as upstream |
//! | [`etcd`] | a real etcd as upstream: gRPC |
//! | [`receiver`] | a stub receiver of events over HTTP, with the rules of the test's choice |
//! | [`mail`] | a real mail server: in plain text, with STARTTLS, and over TLS |
//! | [`published`] | documents held to the schemas that others published for them |
//! | [`rsyslog`] | a real rsyslogd: UDP, TCP and TLS |
//! | [`upstream`] | a stub upstream that records each request byte by byte and answers as told, well or badly |
//! | [`wire`] | a raw HTTP/1.1 client: what is sent is exactly what the test wrote |
//! | [`http2`] | the same for HTTP/2: frames as the test writes them |
//! | [`tokens`] | freshly generated keys, their key set, and signed tokens, good and bad |
//! | [`events`] | the events in a JSON-lines file, and the wait for one |
//! | [`wait`] | the bounded wait that all of these use |
//!
//! It is a dev-dependency only and knows nothing of the gateway's own types: tests speak to the gateway as its users do.
//! It uses threads and blocking sockets, on loopback only, because a test is easier to follow without a runtime.
//! It fails a test by panicking with what it saw, and prints only then.

#![expect(clippy::panic, clippy::expect_used, reason = "a panic is how a test kit fails a test")]

pub mod active_directory;
pub mod browser;
pub mod certificates;
pub mod etcd;
pub mod events;
pub mod http2;
pub mod interpreter;
pub mod login_provider;
pub mod mail;
mod message;
pub mod nginx;
pub mod oidc_provider;
pub mod ports;
pub mod process;
pub mod published;
pub mod receiver;
pub mod rsyslog;
pub mod slapd;
pub mod tokens;
pub mod upstream;
pub mod wait;
pub mod wire;
