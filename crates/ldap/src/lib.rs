//! A client of LDAP (RFC 4511): a simple bind, StartTLS, and searches in pages (RFC 2696). Nothing that changes a directory.
//!
//! What a server sends is bounded and read without recursion: a message has a length that is looked at before it is read, elements
//! are walked at the depth where they are expected, and anything else ends the connection. A general library decodes a whole tree
//! first, as deep as the peer likes, so that whoever is on the way could end the process.
//!
//! A filter ([`Filter`]) is parsed once, when the configuration is read. What a request brings is put into the parsed filter as
//! octets and never becomes text of a filter, so that no value can change what is asked (RFC 4515 section 3 has no part in it).

mod ber;
mod connection;
mod filter;
mod message;

pub use connection::{Connection, LdapError, Security, Server, ServerProblem};
pub use filter::{Filter, FilterProblem, MATCHING_RULE_IN_CHAIN, Variable};
pub use message::{Attribute, Entry, Scope, Search};
