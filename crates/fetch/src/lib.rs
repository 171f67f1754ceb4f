//! Fetches one document from an address that was configured: a GET, or a POST of a form, over HTTP/1.1 on a connection of its own,
//! bounded in time and in size.
//!
//! What it deliberately does not: keep a connection, follow a variable of the environment to a proxy, or go where an answer says.
//! A redirect leads to the same scheme, host and port or nowhere, and the server's certificate is always verified. It is for what
//! the gateway fetches beside requests (lists of networks, key sets); no request of a caller goes through it.

mod address;
mod body;
mod exchange;
mod get;
mod post;
pub mod tls;

pub use address::{UrlError, UrlSource, without_query};
pub use body::BodyError;
pub use get::{FetchError, Fetched, Known, get};
pub use post::{Form, Posted, post};
