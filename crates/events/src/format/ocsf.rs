//! Open Cybersecurity Schema Framework: HTTP Activity (4002), Authentication (3002), API Activity (6003) and Detection Finding
//! (2004), by the class of the event. What a class has no attribute for stands under `unmapped`.

use std::net::IpAddr;

use super::Object;
use super::record::{Class, Record, Severity, text};
use crate::event::SCHEMA;

/// The version whose classes the tests hold this against.
const VERSION: &str = "1.3.0";

pub(super) fn append(record: &Record<'_>, out: &mut Vec<u8>) {
    Object::append(out, |root| {
        match record.class() {
            Class::Access => fill_http_activity(record, root),
            Class::Authentication => fill_authentication(record, root),
            Class::Administration => fill_api_activity(record, root),
            Class::Detection => fill_detection(record, root),
        }
        root.number("time", record.time_us.div_euclid(1_000));
        root.number("severity_id", severity_id(record));
        root.known("message", text(&record.message));
        root.object("metadata", |metadata| fill_metadata(record, metadata));
        if let Some(count) = record.count {
            root.number("count", count);
            root.number("start_time", record.span_us.0.div_euclid(1_000));
            root.number("end_time", record.span_us.1.div_euclid(1_000));
        }
        root.object("unmapped", |unmapped| fill_unmapped(record, unmapped));
    });
}

/// What an event is: the class, its category, and the activity with the type that follows from it.
fn classify(root: &mut Object<'_>, class: u32, activity: u32, name: &str) {
    root.number("category_uid", class / 1_000);
    root.number("class_uid", class);
    root.number("activity_id", activity);
    root.text("activity_name", name);
    root.number("type_uid", u64::from(class) * 100 + u64::from(activity));
}

fn fill_http_activity(record: &Record<'_>, root: &mut Object<'_>) {
    let method = text(&record.request.method).unwrap_or_default();
    let (activity, name) = match method {
        "" => (0, "Unknown"),
        "CONNECT" => (1, "Connect"),
        "DELETE" => (2, "Delete"),
        "GET" => (3, "Get"),
        "HEAD" => (4, "Head"),
        "OPTIONS" => (5, "Options"),
        "POST" => (6, "Post"),
        "PUT" => (7, "Put"),
        "TRACE" => (8, "Trace"),
        // PATCH has a number of its own only in later versions.
        other => (99, other),
    };
    classify(root, 4_002, activity, name);
    fill_control(record, root);
    fill_outcome(record, root);
    root.object("http_request", |request| fill_http_request(record, request));
    root.object("http_response", |response| response.known_number("code", record.status));
    root.object("src_endpoint", |endpoint| fill_source(record, endpoint));
    root.object("dst_endpoint", |endpoint| fill_destination(record, endpoint));
    root.object("actor", |actor| fill_actor(record, actor));
    root.object("device", |device| fill_node(record, device));
}

fn fill_authentication(record: &Record<'_>, root: &mut Object<'_>) {
    classify(root, 3_002, 1, "Logon");
    fill_outcome(record, root);
    root.object("user", |user| fill_user(record, user));
    root.known_flag("is_mfa", record.identity.mfa);
    root.flag("is_remote", true);
    root.object("service", |service| service.text("name", "portcullis"));
    root.object("http_request", |request| fill_http_request(record, request));
    root.object("src_endpoint", |endpoint| fill_source(record, endpoint));
    root.object("dst_endpoint", |endpoint| fill_destination(record, endpoint));
}

/// What the gateway and its operators do: the operation is the native kind.
fn fill_api_activity(record: &Record<'_>, root: &mut Object<'_>) {
    let (activity, name) = match record.action() {
        "created" | "issued" => (1, "Create"),
        "reloaded" | "changed" | "updated" | "rejected" => (3, "Update"),
        "deleted" | "removed" | "lifted" => (4, "Delete"),
        other => (99, other),
    };
    classify(root, 6_003, activity, name);
    fill_outcome(record, root);
    root.object("api", |api| {
        api.text("operation", record.kind.as_ref());
        api.object("service", |service| service.text("name", "portcullis"));
    });
    root.object("actor", |actor| {
        if record.identity.id.is_some() {
            fill_actor(record, actor);
        } else {
            actor.text("app_name", "portcullis");
        }
    });
    root.object("src_endpoint", |endpoint| {
        if address(text(&record.client.ip)).is_some() {
            fill_source(record, endpoint);
        } else {
            endpoint.text("hostname", record.node.as_ref());
            endpoint.text("svc_name", "portcullis");
        }
    });
}

fn fill_detection(record: &Record<'_>, root: &mut Object<'_>) {
    let (activity, name, status_id, status) =
        if record.is_resolved() { (3, "Close", 4, "Resolved") } else { (1, "Create", 1, "New") };
    classify(root, 2_004, activity, name);
    fill_control(record, root);
    root.number("status_id", status_id);
    root.text("status", status);
    root.object("finding_info", |finding| {
        finding.text("uid", record.id.as_ref());
        finding.text("title", record.alert.as_ref().map_or(record.kind.as_ref(), |alert| alert.rule.as_ref()));
        finding.known("desc", text(&record.message));
        finding.number("created_time", record.time_us.div_euclid(1_000));
    });
    root.objects("evidences", &[()], |(), evidence| {
        evidence.object("src_endpoint", |endpoint| fill_source(record, endpoint));
        evidence.object("actor", |actor| fill_actor(record, actor));
        evidence.object("data", |data| data.part("ban", &record.ban));
    });
}

/// The profile `security_control`: what the gateway did about it.
fn fill_control(record: &Record<'_>, root: &mut Object<'_>) {
    let (action, disposition) = match text(&record.decision) {
        Some("permit") => (1, 1),
        Some("challenge" | "step_up") => (2, 23),
        Some("failed") => (2, 27),
        // An open stream that is cut has no status.
        Some("deny") if record.status.is_none() => (2, 6),
        Some(_) => (2, 2),
        None if record.ban.active => (2, 2),
        None => (1, 15),
    };
    root.number("action_id", action);
    root.number("disposition_id", disposition);
    root.flag("is_alert", record.severity >= Severity::High);
    root.object("policy", |policy| {
        policy.known("name", text(&record.policy.route));
        policy.known("uid", text(&record.policy.sha256));
        policy.known("version", record.policy.version.map(|version| version.to_string()).as_deref());
    });
    root.object("firewall_rule", |rule| {
        rule.known("name", text(&record.policy.rule));
        rule.known("category", text(&record.policy.stage).filter(|_| record.policy.rule.is_some()));
    });
    root.known_number("risk_score", record.risk.score);
    root.known_number("risk_level_id", text(&record.risk.level).and_then(risk_level_id));
}

fn risk_level_id(level: &str) -> Option<u8> {
    match level {
        "low" => Some(1),
        "medium" => Some(2),
        "high" => Some(3),
        _ => None,
    }
}

fn fill_outcome(record: &Record<'_>, root: &mut Object<'_>) {
    let (status_id, status) = match record.succeeded() {
        Some(true) => (1, "Success"),
        Some(false) => (2, "Failure"),
        None => (0, "Unknown"),
    };
    root.number("status_id", status_id);
    root.text("status", status);
    root.known("status_code", text(&record.reason));
    root.known("status_detail", text(&record.message));
}

fn severity_id(record: &Record<'_>) -> u8 {
    match record.severity {
        Severity::Low if record.is_informational() => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

fn fill_metadata(record: &Record<'_>, metadata: &mut Object<'_>) {
    metadata.text("version", VERSION);
    metadata.object("product", |product| {
        product.text("name", "Portcullis");
        product.text("vendor_name", "Portcullis");
        product.text("version", record.version.as_ref());
    });
    metadata.text("uid", record.id.as_ref());
    metadata.text("event_code", text(&record.reason).unwrap_or(record.kind.as_ref()));
    metadata.text("log_name", SCHEMA);
    metadata.text("original_time", record.time());
    metadata.known("correlation_uid", text(&record.request.trace_id));
    metadata.known_number("sequence", record.seq);
    let profiles: &[&str] = match record.class() {
        Class::Access => &["security_control", "host"],
        Class::Detection => &["security_control"],
        Class::Authentication | Class::Administration => &[],
    };
    metadata.texts("profiles", profiles);
}

fn fill_http_request(record: &Record<'_>, object: &mut Object<'_>) {
    let request = &record.request;
    // A head that was never read has no id of a request; the event's is the one that the caller was told.
    object.text("uid", text(&request.id).unwrap_or(record.id.as_ref()));
    object.known("http_method", text(&request.method));
    object.known("version", text(&request.http_version));
    object.known("user_agent", text(&request.user_agent));
    object.known("referrer", text(&request.referrer));
    object.known_number("length", request.bytes);
    // The schema has addresses there; hops that are none stay in `unmapped`.
    let hops = record.client.forwarded.iter().filter_map(|hop| address(Some(hop.as_ref())));
    object.texts("x_forwarded_for", hops.map(|hop| hop.to_string()));
    object.object("url", |url| {
        if request.path.is_some() {
            url.known("hostname", text(&request.host));
            url.known_number("port", request.port);
            url.known("path", text(&request.path));
            url.known("scheme", text(&request.scheme));
            url.known("url_string", record.url().as_deref());
        }
    });
}

/// Nothing where the client's address could not be established.
fn fill_source(record: &Record<'_>, endpoint: &mut Object<'_>) {
    let client = &record.client;
    let Some(ip) = address(text(&client.ip)) else { return };
    endpoint.text("ip", &ip.to_string());
    endpoint.known_number("port", client.port);
    let via = address(text(&client.peer_ip)).filter(|peer| *peer != ip);
    endpoint.texts("intermediate_ips", via.map(|peer| peer.to_string()));
    endpoint.object("location", |location| {
        location.known("country", text(&client.country));
        location.known("region", text(&client.region));
        location.known("city", text(&client.city));
    });
    endpoint.object("autonomous_system", |system| {
        system.known_number("number", client.asn);
        system.known("name", text(&client.as_org));
    });
}

fn fill_destination(record: &Record<'_>, endpoint: &mut Object<'_>) {
    endpoint.text("hostname", text(&record.request.host).unwrap_or(record.node.as_ref()));
    endpoint.known_number("port", record.request.port);
    endpoint.known("svc_name", text(&record.upstream.name));
}

fn fill_actor(record: &Record<'_>, actor: &mut Object<'_>) {
    let identity = &record.identity;
    if identity.id.is_none() {
        return;
    }
    actor.object("user", |user| fill_user(record, user));
    actor.object("session", |session| {
        session.known("uid", text(&identity.session));
        session.known("issuer", text(&identity.issuer));
        session.known("credential_uid", text(&identity.api_key_id));
        session.known_flag("is_mfa", identity.mfa);
    });
    actor.object("idp", |idp| idp.known("name", text(&identity.issuer)));
}

/// An attempt without a verified principal is one of an unknown user: what it claims to be is recorded nowhere.
fn fill_user(record: &Record<'_>, user: &mut Object<'_>) {
    let identity = &record.identity;
    let Some(id) = text(&identity.id) else {
        user.text("name", "unknown");
        return;
    };
    user.text("uid", id);
    user.text("name", id);
    user.known("full_name", text(&identity.name));
    user.objects("groups", &identity.groups, |group, object| object.text("name", group.as_ref()));
}

/// The profile `host`: the node, which is a server.
fn fill_node(record: &Record<'_>, device: &mut Object<'_>) {
    device.number("type_id", 1);
    device.text("type", "Server");
    device.text("hostname", record.node.as_ref());
}

fn address(text: Option<&str>) -> Option<IpAddr> {
    text?.parse().ok()
}

/// The native parts that the classes have no attribute for.
fn fill_unmapped(record: &Record<'_>, own: &mut Object<'_>) {
    own.text("kind", record.kind.as_ref());
    own.text("node", record.node.as_ref());
    own.known("cluster", text(&record.cluster));
    own.known("decision", text(&record.decision));
    own.known("origin", text(&record.origin));
    own.known("span_id", text(&record.request.span_id));
    own.flag("query_redacted", record.request.query_redacted);
    own.texts("reasons", &record.reasons);
    own.parts(record);
    own.texts("ids", &record.ids);
    own.texts("truncated", &record.truncated);
}
