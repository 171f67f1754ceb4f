//! Trailer fields (RFC 9110 section 6.5): which of them cross, and which messages have them pass at all.
//!
//! Where nothing is said they are dropped: whoever decided on the head of a message has not seen them. They pass for gRPC, which tells
//! its status in them, and on routes with `trailers = true`. They stay trailers: none becomes a header field. What a message means,
//! where it goes, how it is framed and who it is from was decided with its head, so a field that could say so otherwise is dropped, in
//! every spelling.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER};

use crate::route::FieldRules;
use crate::settings::RouteSettings;
use crate::upstream::headers::{HeaderPlan, ends_here};

/// The trailer fields of one message: how many may be.
const FIELDS_MAX: usize = 64;
/// And how large all of them may be, names and values.
const BYTES_MAX: usize = 16 * 1024;

/// Which trailer fields cross on one route. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trailers(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    plan: HeaderPlan,
    request: Option<Box<FieldRules>>,
    response: Option<Box<FieldRules>>,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the upstream.
    Up,
    /// To the caller.
    Down,
}

/// A message has more trailer fields than may be, or larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {FIELDS_MAX} trailer fields, or more than {BYTES_MAX} bytes of them")]
pub struct TooManyTrailers;

impl Trailers {
    /// Those of a route.
    pub fn new(plan: &HeaderPlan, route: &RouteSettings) -> Self {
        Self(Arc::new(Rules {
            plan: plan.clone(),
            request: route.request_headers.clone(),
            response: route.response_headers.clone(),
        }))
    }

    /// The fields that cross.
    ///
    /// # Errors
    /// There are too many: what is left of a message whose end cannot be told must not look whole.
    pub fn filter(&self, way: Way, mut fields: HeaderMap) -> Result<HeaderMap, TooManyTrailers> {
        let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if fields.len() > FIELDS_MAX || bytes > BYTES_MAX {
            return Err(TooManyTrailers);
        }
        let dropped: Vec<HeaderName> = fields.keys().filter(|name| !self.crosses(way, name)).cloned().collect();
        for name in dropped {
            fields.remove(name);
        }
        Ok(fields)
    }

    /// Whether a field of this name may be a trailer. What a route says about a name it says about the head; a trailer of that name would
    /// be a way around it.
    fn crosses(&self, way: Way, name: &HeaderName) -> bool {
        let Rules { plan, request, response } = &*self.0;
        let rules = match way {
            Way::Up => request,
            Way::Down => response,
        };
        let ruled = rules.as_ref().is_some_and(|rules| rules.names().any(|ruled| ruled == name));
        !ruled && !ends_here(name) && !is_for_heads(name) && !plan.is_reserved(name) && !plan.is_credential(name)
    }

    /// What `Trailer` announces, as far as it crosses: HTTP/1.1 carries no other trailers.
    fn announced(&self, way: Way, headers: &HeaderMap) -> Option<HeaderValue> {
        let listed = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let names = listed.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
        let crossing: Vec<HeaderName> = names.filter(|name| self.crosses(way, name)).take(FIELDS_MAX).collect();
        if crossing.is_empty() {
            return None;
        }
        HeaderValue::try_from(crossing.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ")).ok()
    }
}

/// One exchange whose trailers pass.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) trailers: Trailers,
    /// What the request's head says of its trailers.
    announced: Option<HeaderValue>,
    /// The caller takes trailers.
    wanted: bool,
    grpc: bool,
}

impl Passing {
    /// Of a request with these headers, as the caller sent them; `None` where trailers are dropped.
    pub(crate) fn of(
        route: &RouteSettings,
        trailers: Option<&Trailers>,
        content_type: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) -> Option<Box<Self>> {
        let grpc = content_type.is_some_and(|content_type| is_grpc(content_type.as_bytes()));
        if !grpc && !route.trailers {
            return None;
        }
        let trailers = trailers?.clone();
        let announced = trailers.announced(Way::Up, headers);
        Some(Box::new(Self { announced, wanted: grpc || takes_trailers(headers), trailers, grpc }))
    }

    /// Says in a request's head, once it is the gateway's, what it says of trailers.
    pub(crate) fn announce_up(&self, headers: &mut HeaderMap) {
        if self.wanted {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if let Some(announced) = &self.announced {
            headers.insert(TRAILER, announced.clone());
        }
    }

    /// What the head of an answer will say of trailers; the answer's own headers are the upstream's still.
    pub(crate) fn announced_down(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let own = self.trailers.announced(Way::Down, headers);
        own.or_else(|| self.grpc.then(|| HeaderValue::from_static(GRPC_TRAILERS)))
    }
}

/// What gRPC's answers end with, for callers who hear of no trailer that was not announced (HTTP/1.1).
const GRPC_TRAILERS: &str = "grpc-status, grpc-message, grpc-status-details-bin";

/// Whether the caller said `TE: trailers` (RFC 9110 section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    listed.into_iter().any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Whether a request is one of gRPC: `application/grpc`, with or without the form of its messages.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    match essence.split_at_checked(GRPC.len()) {
        Some((name, rest)) => name.eq_ignore_ascii_case(GRPC) && (rest.is_empty() || rest.starts_with(b"+")),
        None => false,
    }
}

/// Whether a field says something that must be known before the body: how the message is framed or coded, where it goes, under which
/// conditions, who sends it, or how long its answer holds (RFC 9110 section 6.5.1). Sorted.
fn is_for_heads(name: &HeaderName) -> bool {
    FOR_HEADS.binary_search(&name.as_str()).is_ok()
}

const FOR_HEADS: &[&str] = &[
    "accept-encoding",
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "traceparent",
    "tracestate",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];

/// For HTTP/1.1, where `TE` concerns the connection (RFC 9110 section 10.1.4).
pub(crate) fn ends_with_the_connection(headers: &mut HeaderMap) {
    if headers.contains_key(TE) {
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RouteAction;
    use crate::settings::IdentityHeaders;

    fn trailers() -> Trailers {
        let identity = IdentityHeaders { user: Some(HeaderName::from_static("x-who")), ..IdentityHeaders::default() };
        let plan = HeaderPlan::new(&identity, &[HeaderName::from_static("x-api-key")]);
        let mut route = RouteSettings::new("r", RouteAction::Upstream(0));
        let remove =
            |name| Some(Box::new(FieldRules { remove: vec![HeaderName::from_static(name)], ..FieldRules::default() }));
        route.request_headers = remove("x-secret");
        route.response_headers = remove("server");
        Trailers::new(&plan, &route)
    }

    #[test]
    fn no_trailer_says_what_was_decided_with_the_head() {
        let check = |way: Way, name: &str, crosses: bool| {
            let fields = HeaderMap::from_iter([(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("x"),
            )]);
            let left = trailers().filter(way, fields).unwrap();
            assert_eq!(!left.is_empty(), crosses, "{way:?} {name}");
        };
        for name in FOR_HEADS {
            check(Way::Up, name, false);
            check(Way::Down, name, false);
        }
        for name in [
            "transfer-encoding",
            "connection",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy",
            "proxy-authenticate",
            "x-who",
            "X_Who",
            "x.who",
            "x-auth-user",
            "x_auth_roles",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_host",
            "x-real-ip",
            "x-request-id",
            "x-original-url",
            "x-http-method-override",
            "x-api-key",
            "X_Api_Key",
        ] {
            check(Way::Up, name, false);
            check(Way::Down, name, false);
        }
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "digest", "server-timing", "x-checksum"]
        {
            check(Way::Up, name, true);
            check(Way::Down, name, true);
        }
        check(Way::Up, "x-secret", false);
        check(Way::Down, "x-secret", true);
        check(Way::Up, "server", true);
        check(Way::Down, "server", false);
        assert!(FOR_HEADS.is_sorted());
    }

    #[test]
    fn trailers_have_a_bound() {
        let check = |count: usize, length: usize, expected: bool| {
            let mut fields = HeaderMap::new();
            for _ in 0..count {
                fields.append("x-t", HeaderValue::try_from("x".repeat(length)).unwrap());
            }
            assert_eq!(trailers().filter(Way::Down, fields).is_ok(), expected, "{count} of {length}");
        };
        check(64, 1, true);
        check(65, 1, false);
        check(1, 16 * 1024 - 3, true);
        check(1, 16 * 1024 - 2, false);
    }

    #[test]
    fn trailers_pass_for_grpc_and_where_a_route_says_so() {
        let mut route = RouteSettings::new("r", RouteAction::Upstream(0));
        let mut check = |on: bool, content_type: Option<&'static str>, te: &'static str, expected: Option<&str>| {
            route.trailers = on;
            let headers = HeaderMap::from_iter([(TE, HeaderValue::from_static(te))]);
            let content_type = content_type.map(HeaderValue::from_static);
            let passing = Passing::of(&route, Some(&trailers()), content_type.as_ref(), &headers);
            let said = passing.map(|passing| {
                let mut headers = HeaderMap::new();
                passing.announce_up(&mut headers);
                headers.get(TE).map_or("", |te| te.to_str().unwrap()).to_owned()
            });
            assert_eq!(said.as_deref(), expected, "{on} {content_type:?} {te}");
        };
        check(false, None, "trailers", None);
        check(false, Some("application/json"), "trailers", None);
        check(false, Some("application/grpc-web"), "trailers", None);
        check(false, Some("application/grpcx"), "trailers", None);
        check(false, Some("application/grpc"), "", Some("trailers"));
        check(false, Some("Application/gRPC+proto; x=y"), "", Some("trailers"));
        check(true, None, "", Some(""));
        check(true, None, "gzip, Trailers", Some("trailers"));
        check(true, Some("text/plain"), "trailersx", Some(""));
    }

    #[test]
    fn what_is_announced_is_what_crosses() {
        let check = |written: &[&'static str], expected: Option<&str>| {
            let headers: HeaderMap = written.iter().map(|value| (TRAILER, HeaderValue::from_static(value))).collect();
            let announced = trailers().announced(Way::Up, &headers);
            assert_eq!(announced.as_ref().map(|value| value.to_str().unwrap()), expected, "{written:?}");
        };
        check(&[], None);
        check(&["X-Sum, Content-Length,x-who"], Some("x-sum"));
        check(&["a", "b , c"], Some("a, b, c"));
        check(&["authorization", ", ,"], None);
    }
}
