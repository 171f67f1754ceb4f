//! Elastic Common Schema, version 9. What it has no field for stands under `portcullis`, in the shape of the native event.

use super::Object;
use super::record::{Class, Record, Severity, text};
use crate::event::SCHEMA;

/// The version whose field list the tests hold this against.
const VERSION: &str = "9.3.0";

pub(super) fn append(record: &Record<'_>, out: &mut Vec<u8>) {
    Object::append(out, |root| {
        root.text("@timestamp", record.time());
        root.known("message", text(&record.message));
        root.object("ecs", |ecs| ecs.text("version", VERSION));
        root.object("event", |event| fill_event(record, event));
        root.object("log", |log| log.text("level", log_level(record)));
        root.object("observer", |observer| fill_observer(record, observer));
        root.object("rule", |rule| fill_rule(record, rule));
        root.object("http", |http| fill_http(record, http));
        root.object("url", |url| fill_url(record, url));
        root.object("user_agent", |agent| agent.known("original", text(&record.request.user_agent)));
        for side in ["source", "client"] {
            root.object(side, |side| fill_caller(record, side));
        }
        // ECS has addresses there; a hop that is none stays in `portcullis.client.forwarded`.
        root.object("network", |network| network.known("forwarded_ip", forwarded_ip(record)));
        root.object("user", |user| fill_user(record, user));
        root.object("tls", |tls| fill_tls(record, tls));
        root.object("device", |device| device.known("id", text(&record.device.id)));
        root.object("trace", |trace| trace.known("id", text(&record.request.trace_id)));
        root.object("span", |span| span.known("id", text(&record.request.span_id)));
        root.object("related", |related| fill_related(record, related));
        root.object("portcullis", |own| fill_own(record, own));
    });
}

fn fill_event(record: &Record<'_>, event: &mut Object<'_>) {
    let (categories, types) = classes(record);
    event.text("id", record.id.as_ref());
    event.text("kind", if record.class() == Class::Detection { "alert" } else { "event" });
    event.texts("category", categories);
    event.texts("type", types);
    event.text("action", record.kind.as_ref());
    event.text("outcome", outcome(record));
    event.known("reason", text(&record.reason));
    event.known("code", text(&record.reason));
    event.number("severity", severity(record.severity));
    event.text("provider", "portcullis");
    event.text("module", "portcullis");
    event.text("dataset", "portcullis.event");
    event.known_number("sequence", record.seq);
    event.known_number("risk_score", record.risk.score);
    event.known_number("duration", record.latency_us.total.map(|micros| micros.saturating_mul(1_000)));
    event.known("reference", text(&record.remedy.help));
    if record.count.is_some() {
        let (start, end) = record.span();
        event.text("start", start);
        event.text("end", end);
    }
}

/// `event.category` and `event.type`: of each category at least one type that ECS expects in it.
fn classes(record: &Record<'_>) -> (&'static [&'static str], &'static [&'static str]) {
    let of_rights = text(&record.policy.stage) == Some("rbac");
    let permitted = record.succeeded() == Some(true);
    match record.class() {
        Class::Access if permitted => (&["web", "network"], &["access", "allowed"]),
        Class::Access if of_rights => (&["web", "network", "iam"], &["access", "denied", "info"]),
        Class::Access => (&["web", "network"], &["access", "denied"]),
        Class::Authentication => (&["authentication"], &["start"]),
        Class::Detection if record.ban.active => (&["intrusion_detection"], &["denied"]),
        Class::Detection => (&["intrusion_detection"], &["info"]),
        Class::Administration => match record.kind.as_ref() {
            "gateway.started" => (&["process"], &["start"]),
            "gateway.stopped" => (&["process"], &["end"]),
            kind if kind.starts_with("policy.") || kind.starts_with("admin.") => (&["configuration"], &["change"]),
            _ => (&["process"], &["info"]),
        },
    }
}

fn outcome(record: &Record<'_>) -> &'static str {
    match record.succeeded() {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    }
}

/// A number that sorts as the severities do; 21, 47, 73 and 99 are those of Elastic's own detections.
fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn log_level(record: &Record<'_>) -> &'static str {
    match record.severity {
        Severity::Low => "info",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}

fn fill_observer(record: &Record<'_>, observer: &mut Object<'_>) {
    observer.text("name", record.node.as_ref());
    observer.text("type", "proxy");
    observer.text("vendor", "Portcullis");
    observer.text("product", "Portcullis");
    observer.text("version", record.version.as_ref());
}

fn fill_rule(record: &Record<'_>, rule: &mut Object<'_>) {
    let policy = &record.policy;
    rule.known("name", record.rule());
    rule.known("category", text(&policy.stage));
    rule.known("ruleset", text(&policy.route));
    rule.known("version", policy.version.map(|version| version.to_string()).as_deref());
    rule.known("reference", text(&record.remedy.help));
}

fn fill_http(record: &Record<'_>, http: &mut Object<'_>) {
    let request = &record.request;
    http.known("version", text(&request.http_version));
    http.object("request", |object| {
        object.known("id", text(&request.id));
        object.known("method", text(&request.method));
        object.known("referrer", text(&request.referrer));
        object.object("body", |body| body.known_number("bytes", request.bytes));
    });
    http.object("response", |response| response.known_number("status_code", record.status));
}

fn fill_url(record: &Record<'_>, url: &mut Object<'_>) {
    let request = &record.request;
    url.known("scheme", text(&request.scheme));
    url.known("domain", text(&request.host));
    url.known_number("port", request.port);
    url.known("path", text(&request.path));
    url.known("full", record.url().as_deref());
}

fn fill_caller(record: &Record<'_>, caller: &mut Object<'_>) {
    let client = &record.client;
    caller.known("ip", text(&client.ip));
    caller.known("address", text(&client.ip));
    caller.known_number("port", client.port);
    caller.object("geo", |geo| {
        geo.known("country_iso_code", text(&client.country));
        geo.known("region_name", text(&client.region));
        geo.known("city_name", text(&client.city));
    });
    caller.object("as", |system| {
        system.known_number("number", client.asn);
        system.object("organization", |organization| organization.known("name", text(&client.as_org)));
    });
}

fn forwarded_ip<'r>(record: &'r Record<'_>) -> Option<&'r str> {
    record.client.forwarded.first().map(AsRef::as_ref).filter(|hop| hop.parse::<std::net::IpAddr>().is_ok())
}

fn fill_user(record: &Record<'_>, user: &mut Object<'_>) {
    let identity = &record.identity;
    user.known("id", text(&identity.id));
    user.known("name", text(&identity.id));
    user.known("full_name", text(&identity.name));
    user.known("domain", text(&identity.issuer));
    user.texts("roles", &identity.roles);
}

fn fill_tls(record: &Record<'_>, tls: &mut Object<'_>) {
    tls.object("client", |client| {
        client.known("subject", text(&record.identity.cert_subject));
        // ECS wants hashes of certificates in upper case.
        let hash = text(&record.identity.cert_sha256).map(str::to_uppercase);
        client.object("hash", |object| object.known("sha256", hash.as_deref()));
    });
}

fn fill_related(record: &Record<'_>, related: &mut Object<'_>) {
    let (ip, peer) = (text(&record.client.ip), text(&record.client.peer_ip));
    related.texts("ip", ip.into_iter().chain(peer.filter(|peer| Some(*peer) != ip)));
    let (id, name) = (text(&record.identity.id), text(&record.identity.name));
    related.texts("user", id.into_iter().chain(name.filter(|name| Some(*name) != id)));
    related.texts("hosts", text(&record.request.host));
}

/// The native parts that ECS has no field, or too poor a field, for.
fn fill_own(record: &Record<'_>, own: &mut Object<'_>) {
    own.text("schema", SCHEMA);
    own.known("cluster", text(&record.cluster));
    own.known("decision", text(&record.decision));
    own.known("origin", text(&record.origin));
    own.texts("reasons", &record.reasons);
    own.parts(record);
    own.flag("query_redacted", record.request.query_redacted);
    own.known_number("count", record.count);
    own.texts("ids", &record.ids);
    own.texts("truncated", &record.truncated);
}
