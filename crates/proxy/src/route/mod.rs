//! What a route does with a permitted request besides sending it on as it is: another path, other header fields, or an
//! answer of the gateway's own.
//!
//! All of it is settings that `config` has checked, and functions of the route and the request. Nothing here decides: the
//! policy has judged the client's canonical path, and only what it permitted comes here.

mod answer;
mod cors;
mod fields;
mod location;
mod maintenance;
mod split;
mod template;

pub use answer::{FixedAnswer, Origin, Redirect};
pub use cors::{Cors, Origins, origin_of};
pub use fields::{FieldRules, Side};
pub use location::{Asked, LocationBack};
pub use maintenance::Maintenance;
pub use split::{Asker, Branch, Split, Sticky};
pub use template::{PathTemplate, TemplateProblem};

use bytes::Bytes;
use http_body_util::{Either, Full};

use crate::watched::Watched;

/// The body of an answer to a permitted request: the upstream's, or the route's own.
pub type Forwarded = Either<Watched, Full<Bytes>>;

/// What becomes of a permitted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// It is sent to this upstream: an index into `Settings::upstreams`.
    Upstream(usize),
    /// It is sent to one of several upstreams.
    Split(Box<Split>),
    /// It is sent elsewhere by the gateway's own answer.
    Redirect(Box<Redirect>),
    /// It has an answer that never changes.
    Respond(Box<FixedAnswer>),
}

impl RouteAction {
    /// The upstream, where there can be only one.
    pub fn upstream(&self) -> Option<usize> {
        match self {
            Self::Upstream(index) => Some(*index),
            Self::Split(_) | Self::Redirect(_) | Self::Respond(_) => None,
        }
    }
}
