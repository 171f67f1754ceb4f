//! The control channel: how an operator asks a running gateway, and tells it what to do.
//!
//! It is HTTP/1.1 with JSON over a unix socket (RFC 9112; [`api`] has the shapes). Who may use it is decided by the kernel's word about
//! the peer: root, the user that the gateway runs as, and the members of one configured group. The first operator gets in as the
//! socket's owner; there is no password to begin with.
//!
//! Over the network it is the same service behind a route of the data plane ([`door`]), which verifies callers and decides on each request
//! by the policy.
//!
//! The channel has a thread and a runtime to itself, so it answers while the workers are overloaded, and nothing that an
//! operator does runs on a worker. What the process can do is the trait [`Gateway`], which the program implements; the crate
//! knows neither policy nor proxy, and of insight the shapes of its reports alone. Each action is recorded exactly once, with who asked for it ([`Action`]); questions
//! (`status`, `health`, listings of bans) are no actions.
//!
//! Everything is bounded: connections, requests, their time, and what waits for somebody who follows the events.

pub mod access;
pub mod accounts;
pub mod api;
pub mod audit;
pub mod backup;
mod body;
pub mod client;
pub mod door;
mod gateway;
pub mod govern;
pub mod login;
pub mod openapi;
mod peer;
mod places;
mod reading;
mod request;
mod server;
pub mod settings;
mod socket;
pub mod tail;
mod told;

pub use client::{Client, ClientError, Place, target};
pub use door::Door;
pub use gateway::{Action, ActionKind, Gateway, Untried};
pub use peer::{Account, Operator, Peer};
pub use server::{Control, StartError};
pub use settings::Settings;
pub use socket::BindError;
pub use tail::Tail;
pub use told::Told;

/// What is asked for under a path that ends with its verb, so that a policy can tell one from the other.
pub trait Verb {
    /// What stands before the verb in the path.
    const FOLDER: &str;

    /// The last segment of its path, and `verb` of its body.
    fn verb(&self) -> &'static str;

    /// The same as a question, where it is one: the path of a `GET` with its parameters. What it answers lacks what only somebody needs who changes or signs
    /// something.
    fn question(&self) -> Option<String> {
        None
    }
}
