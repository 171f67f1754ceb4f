//! What becomes of the requests of a route, and how much of it callers may use.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::introduction::Introduction;
use crate::route::{Cors, FieldRules, LocationBack, Maintenance, PathTemplate, RouteAction};

use super::UpstreamTimeouts;

/// `[[route]]`, apart from its hosts and paths, which are in the policy's route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// Its name, unique.
    pub name: Arc<str>,
    /// What becomes of a permitted request.
    pub action: RouteAction,
    /// Whether the caller's Authorization or API key is passed on. Its cookies are the application's own, and always are.
    pub forward_credentials: bool,
    /// The protocols that a connection may be switched to, in lower case, such as `websocket`. Default: none.
    pub upgrades: Vec<Arc<str>>,
    /// The caller sees role and rule names in a refusal (`disclose = "caller"`). Default: no.
    pub disclose: bool,
    /// The path that the upstream gets instead of the client's. Default: the client's.
    pub rewrite: Option<PathTemplate>,
    /// The prefix that `rewrite` takes off, for `X-Forwarded-Prefix`.
    pub stripped_prefix: Option<HeaderValue>,
    /// What undoes the route's changes in `Location` and `Content-Location`. Default: they pass as they are.
    pub location: Option<Box<LocationBack>>,
    /// How long an exchange may take with the upstream of each index, where it is not as that one says.
    pub timeouts: Vec<(usize, UpstreamTimeouts)>,
    /// Trailer fields pass both ways, as they always do for gRPC. Default: they are dropped.
    pub trailers: bool,
    /// The `Host` that the upstream gets. Default: the client's.
    pub upstream_host: Option<HeaderValue>,
    /// Rules for the fields of requests to the upstream.
    pub request_headers: Option<Box<FieldRules>>,
    /// Rules for the fields of answers, the upstream's and the route's own; not for those of refusals.
    pub response_headers: Option<Box<FieldRules>>,
    /// Whose scripts may read answers. Default: what the upstream says.
    pub cors: Option<Box<Cors>>,
    /// Permitted requests are answered with 503.
    pub maintenance: Option<Box<Maintenance>>,
    /// How much of it callers may use.
    pub limits: RouteLimits,
    /// What of permitted requests becomes an event. Default: nothing.
    pub recorded: Recorded,
    /// It leads to the operators' API, which is told who asks. Default: it does not.
    pub operators: Option<Box<Introduction>>,
}

impl RouteSettings {
    /// A route of this name and action, and every default.
    pub fn new(name: impl Into<Arc<str>>, action: RouteAction) -> Self {
        Self {
            name: name.into(),
            action,
            forward_credentials: false,
            upgrades: Vec::new(),
            disclose: false,
            rewrite: None,
            stripped_prefix: None,
            location: None,
            timeouts: Vec::new(),
            trailers: false,
            upstream_host: None,
            request_headers: None,
            response_headers: None,
            cors: None,
            maintenance: None,
            limits: RouteLimits::default(),
            recorded: Recorded::default(),
            operators: None,
        }
    }

    /// The route's own timeouts towards this upstream, where it has any.
    pub fn timeouts_to(&self, upstream: Option<usize>) -> Option<&UpstreamTimeouts> {
        self.timeouts.iter().find(|(index, _)| Some(*index) == upstream).map(|(_, timeouts)| timeouts)
    }
}

/// `[event] permits` and `upstream_refusals`, as they are for one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// How many of ten thousand permitted requests.
    pub permits: u32,
    /// Every answer 401 or 403 of the upstream's own.
    pub upstream_refusals: bool,
}

/// How much of a route callers may use. Default: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteLimits {
    /// `rate_limit`: each is asked, and the first that refuses counts.
    pub rates: Vec<RateLimit>,
    /// `max_concurrent`
    pub concurrent: Concurrency,
    /// `max_request_body`, in bytes. Default: any size.
    pub max_request_body: Option<usize>,
    /// `max_response_body`, in bytes. Default: any size.
    pub max_response_body: Option<usize>,
}

impl RouteLimits {
    /// Whether bodies are limited, either way.
    pub fn limit_bodies(&self) -> bool {
        self.max_request_body.is_some() || self.max_response_body.is_some()
    }
}

/// `{ per = …, requests = …, window = … }`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Whose requests are counted together.
    pub per: Per,
    /// How many in a window, in the long run.
    pub requests: u64,
    /// The window.
    pub window: Duration,
    /// How many at once. Default: as many as in a window.
    pub burst: u64,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// A verified principal's; a caller without one counts by its address.
    Principal,
    /// A client address's, IPv6 by /64; where the client is unknown, the peer's.
    Address,
    /// Everybody's.
    Route,
}

impl Per {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Route => "route",
        }
    }
}

/// `max_concurrent = { … }`: how many requests may be under way at once, until the last byte of their answers. Default: any
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Concurrency {
    /// For the whole route.
    pub route: Option<u64>,
    /// For one principal on the route; a caller without one counts by its address.
    pub principal: Option<u64>,
}
