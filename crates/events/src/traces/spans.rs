//! The spans of one request as OTLP has them in JSON: the `Span` of `opentelemetry-proto` by the rules of its encoding (ids in
//! hexadecimal, 64-bit numbers as text), with the attributes of the semantic conventions for HTTP.

use std::time::Duration;

use super::{Sent, Traced};
use crate::format::Object;

/// `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`
const ERROR: u8 = 2;

/// The methods that the conventions know; another is `_OTHER`, so that nobody makes up values at will.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The value of an attribute.
enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

/// Appends the spans, with a comma between them.
pub(super) fn append(traced: &Traced, out: &mut Vec<u8>) {
    let Traced { request, upstream, .. } = traced;
    let inner = request.as_u64_pair().1;
    // What the upstream has as its parent is the span of its own part; without one there is a single span, which has that id.
    let own = if upstream.is_some() { inner ^ OUTER } else { inner };
    append_server(traced, own, out);
    if let Some(sent) = upstream {
        out.push(b',');
        append_client(traced, sent, own, inner, out);
    }
}

/// What makes the id of the outer span from that of the inner one. The highest bit of the latter is set (RFC 9562 section 4.1), and stays
/// so: no id is zero.
const OUTER: u64 = 0x5bd1_e995_9e37_79b9;

fn append_server(traced: &Traced, id: u64, out: &mut Vec<u8>) {
    let (method, original) = method(traced);
    let address = traced.client.map(|client| client.to_string());
    let mut attributes = vec![
        ("http.request.method", Value::Text(method)),
        ("url.scheme", Value::Text(traced.scheme)),
        ("http.response.status_code", Value::Number(traced.status.into())),
        ("network.protocol.version", Value::Text(traced.http_version)),
        ("portcullis.decision", Value::Text(traced.decision.as_str())),
    ];
    let texts = [
        ("http.request.method_original", original),
        ("url.path", traced.path.as_deref()),
        ("server.address", traced.host.as_deref()),
        ("client.address", address.as_deref()),
        ("user_agent.original", traced.user_agent.as_deref()),
        ("portcullis.route", traced.route.as_deref()),
        ("portcullis.reason", traced.reason.map(|reason| reason.code())),
        ("error.type", (traced.status >= 500).then(|| traced.reason.map(|reason| reason.code())).flatten()),
    ];
    attributes.extend(texts.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?)))));
    attributes.extend(traced.port.map(|port| ("server.port", Value::Number(port.into()))));
    let name = match &traced.route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    };
    let span = Span {
        id,
        parent: traced.parent.as_deref(),
        name: &name,
        kind: SERVER,
        from: Duration::ZERO,
        attributes,
        failed: traced.status >= 500,
    };
    span.append(traced, out);
}

fn append_client(traced: &Traced, sent: &Sent, parent: u64, id: u64, out: &mut Vec<u8>) {
    let (method, original) = method(traced);
    let parent = format!("{parent:016x}");
    let mut attributes =
        vec![("http.request.method", Value::Text(method)), ("portcullis.upstream", Value::Text(&sent.name))];
    attributes.extend(original.map(|original| ("http.request.method_original", Value::Text(original))));
    attributes.extend(traced.path.as_deref().map(|path| ("url.path", Value::Text(path))));
    attributes.extend(sent.status.map(|status| ("http.response.status_code", Value::Number(status.into()))));
    let status = sent.status.map(|status| status.to_string());
    // To a client every status from 400 on is an error.
    let error = match (&status, sent.status) {
        (Some(text), Some(400..)) => Some(text.as_str()),
        (_, Some(_)) => None,
        (_, None) => Some(traced.reason.map_or("_OTHER", |reason| reason.code())),
    };
    attributes.extend(error.map(|error| ("error.type", Value::Text(error))));
    let span = Span {
        id,
        parent: Some(&parent),
        name: method,
        kind: CLIENT,
        from: sent.after.min(traced.duration),
        attributes,
        failed: error.is_some(),
    };
    span.append(traced, out);
}

/// The method as the conventions have it, and as it was where that is another.
fn method(traced: &Traced) -> (&str, Option<&str>) {
    let method = traced.method.as_deref();
    match method.filter(|method| METHODS.contains(method)) {
        Some(known) => (known, None),
        None => ("_OTHER", method),
    }
}

struct Span<'a> {
    id: u64,
    parent: Option<&'a str>,
    name: &'a str,
    kind: u8,
    /// How long after the request's start it begins; all end with the head of the answer.
    from: Duration,
    attributes: Vec<(&'a str, Value<'a>)>,
    failed: bool,
}

impl Span<'_> {
    fn append(&self, traced: &Traced, out: &mut Vec<u8>) {
        let started = u128::try_from(traced.started.as_nanosecond()).unwrap_or_default();
        let moment = |after: Duration| (started + after.as_nanos()).to_string();
        Object::append(out, |span| {
            span.text("traceId", &traced.trace_id);
            span.text("spanId", &format!("{:016x}", self.id));
            span.known("parentSpanId", self.parent);
            span.text("name", self.name);
            span.number("kind", self.kind);
            span.text("startTimeUnixNano", &moment(self.from));
            span.text("endTimeUnixNano", &moment(traced.duration));
            span.objects("attributes", &self.attributes, |(key, value), pair| fill(pair, key, value));
            if self.failed {
                span.object("status", |status| status.number("code", ERROR));
            }
        });
    }
}

/// Fills a `KeyValue`.
fn fill(pair: &mut Object<'_>, key: &str, value: &Value<'_>) {
    pair.text("key", key);
    pair.object("value", |any| match value {
        Value::Text(text) => any.text("stringValue", text),
        Value::Number(number) => any.text("intValue", itoa::Buffer::new().format(*number)),
    });
}

/// Appends the beginning of a request's body, up to its spans: whose they are.
pub(super) fn begin(node: &str, cluster: Option<&str>) -> Vec<u8> {
    let mut resource = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    let attributes = [
        ("service.name", Some("portcullis")),
        ("service.version", Some(version)),
        ("service.instance.id", Some(node)),
        ("service.namespace", cluster),
    ];
    let known: Vec<(&str, Value<'_>)> =
        attributes.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?)))).collect();
    Object::append(&mut resource, |resource| {
        resource.objects("attributes", &known, |(key, value), pair| fill(pair, key, value));
    });
    let mut body = b"{\"resourceSpans\":[{\"resource\":".to_vec();
    body.extend_from_slice(&resource);
    body.extend_from_slice(b",\"scopeSpans\":[{\"scope\":{\"name\":\"portcullis.proxy\"},\"spans\":[");
    body
}

/// What follows behind the spans.
pub(super) const END: &[u8] = b"]}]}]}";

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value as Json, json};
    use uuid::Uuid;

    use super::*;
    use crate::event::Answer;
    use crate::reason_code::ReasonCode;

    const REQUEST: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8123_4567_89ab_cdef);

    fn traced() -> Traced {
        Traced {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            parent: Some("00f067aa0ba902b7".into()),
            request: REQUEST,
            started: Timestamp::from_second(1_800_000_000).unwrap(),
            duration: Duration::from_micros(1_500),
            method: Some("GET".into()),
            scheme: "https",
            host: Some("billing.test".into()),
            port: Some(443),
            path: Some("/a\"b".into()),
            http_version: "2",
            client: "192.0.2.1".parse().ok(),
            user_agent: Some("x\n".into()),
            route: Some("billing".into()),
            decision: Answer::Permit,
            reason: None,
            status: 200,
            upstream: Some(Sent { name: "app".into(), after: Duration::from_micros(500), status: Some(200) }),
        }
    }

    fn spans(traced: &Traced) -> Vec<Json> {
        let mut out = b"[".to_vec();
        append(traced, &mut out);
        out.push(b']');
        assert!(!out.contains(&b'\n'), "it is one line");
        serde_json::from_slice(&out).unwrap()
    }

    fn attribute<'j>(span: &'j Json, key: &str) -> Option<&'j Json> {
        let found = span["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == key)?;
        found["value"].as_object().unwrap().values().next()
    }

    #[test]
    fn a_permitted_request_has_a_span_of_its_own_and_one_of_the_upstreams_in_it() {
        let spans = spans(&traced());
        let [server, client] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((&server["traceId"], &client["traceId"]), (&server["traceId"], &server["traceId"]));
        assert_eq!((&server["kind"], &client["kind"]), (&json!(2), &json!(3)));
        assert_eq!((&server["parentSpanId"], &client["parentSpanId"]), (&json!("00f067aa0ba902b7"), &server["spanId"]));
        assert_eq!(client["spanId"], "8123456789abcdef", "what the upstream has as its parent");
        assert_eq!((&server["name"], &client["name"]), (&json!("GET billing"), &json!("GET")));
        assert_eq!(server["startTimeUnixNano"], "1800000000000000000");
        assert_eq!(client["startTimeUnixNano"], "1800000000000500000");
        for span in [server, client] {
            assert_eq!(span["endTimeUnixNano"], "1800000000001500000");
            assert_eq!(attribute(span, "http.response.status_code"), Some(&json!("200")), "64 bits are text");
            assert_eq!((attribute(span, "url.path"), &span["status"]), (Some(&json!("/a\"b")), &Json::Null));
        }
        for (key, expected) in [
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("server.address", "billing.test"),
            ("server.port", "443"),
            ("client.address", "192.0.2.1"),
            ("user_agent.original", "x\n"),
            ("network.protocol.version", "2"),
            ("portcullis.route", "billing"),
            ("portcullis.decision", "permit"),
        ] {
            assert_eq!(attribute(server, key), Some(&json!(expected)), "{key}");
        }
        assert_eq!(attribute(client, "portcullis.upstream"), Some(&json!("app")));
    }

    #[test]
    fn a_refusal_is_one_span_with_its_reason_and_an_error_only_where_the_gateway_failed() {
        let refused = |status: u16, reason| {
            let refused = Traced {
                status,
                reason: Some(reason),
                decision: Answer::Deny,
                upstream: None,
                parent: None,
                ..traced()
            };
            spans(&refused).remove(0)
        };
        let denied = refused(403, ReasonCode::RbacNoMatchingGrant);
        assert_eq!((&denied["spanId"], &denied["parentSpanId"]), (&json!("8123456789abcdef"), &Json::Null));
        assert_eq!(attribute(&denied, "portcullis.reason"), Some(&json!("rbac.no_matching_grant")));
        assert_eq!((attribute(&denied, "error.type"), &denied["status"]), (None, &Json::Null));
        let failed = refused(503, ReasonCode::PolicyUnavailable);
        assert_eq!(attribute(&failed, "error.type"), Some(&json!("policy.unavailable")));
        assert_eq!(failed["status"]["code"], 2);
    }

    #[test]
    fn what_an_upstream_did_not_answer_well_is_an_error_of_its_span() {
        let of = |status: Option<u16>, reason| {
            let sent = Sent { status, ..traced().upstream.unwrap() };
            spans(&Traced { upstream: Some(sent), reason, ..traced() }).remove(1)
        };
        for (status, reason, error) in [
            (Some(399), None, None),
            (Some(404), None, Some("404")),
            (Some(500), None, Some("500")),
            (None, Some(ReasonCode::UpstreamTimeout), Some("upstream.timeout")),
        ] {
            let span = of(status, reason);
            assert_eq!(attribute(&span, "error.type").and_then(Json::as_str), error, "{status:?}");
            assert_eq!(span["status"]["code"] == 2, error.is_some(), "{status:?}");
        }
    }

    #[test]
    fn a_method_that_nobody_knows_makes_no_new_value() {
        let spans = spans(&Traced { method: Some("GRAB".into()), ..traced() });
        assert_eq!(spans[0]["name"], "_OTHER billing");
        assert_eq!(attribute(&spans[1], "http.request.method"), Some(&json!("_OTHER")));
        assert_eq!(attribute(&spans[1], "http.request.method_original"), Some(&json!("GRAB")));
    }

    #[test]
    fn a_body_names_the_gateway() {
        let body = [begin("gw-1", Some("eu")), END.to_vec()].concat();
        let body: Json = serde_json::from_slice(&body).unwrap();
        let resource = &body["resourceSpans"][0]["resource"];
        assert_eq!(attribute(resource, "service.name"), Some(&json!("portcullis")));
        assert_eq!(attribute(resource, "service.instance.id"), Some(&json!("gw-1")));
        assert_eq!(attribute(resource, "service.namespace"), Some(&json!("eu")));
        assert_eq!(body["resourceSpans"][0]["scopeSpans"][0]["spans"], json!([]));
    }
}
