//! Microsoft Sentinel's Advanced Security Information Model: WebSession, Authentication, AuditEvent and, for what was found out
//! about a caller, AlertEvent. What a schema has no column for stands in `AdditionalFields`.
//!
//! `Type`, `TenantId` and `_ResourceId` are the workspace's own, and no column is called `id`: the event's is `EventUid`.

use super::Object;
use super::record::{Class, Record, Severity, text};
use crate::event::SCHEMA;
use crate::reason_code::ReasonCode;

pub(super) fn append(record: &Record<'_>, out: &mut Vec<u8>) {
    Object::append(out, |row| {
        fill_common(record, row);
        match record.class() {
            Class::Access => fill_web_session(record, row),
            Class::Authentication => fill_authentication(record, row),
            Class::Administration => fill_audit_event(record, row),
            Class::Detection => fill_alert_event(record, row),
        }
        row.object("AdditionalFields", |more| fill_more(record, more));
    });
}

/// The columns of every schema.
fn fill_common(record: &Record<'_>, row: &mut Object<'_>) {
    let (first, last) = record.span();
    row.text("TimeGenerated", record.time());
    row.text("EventStartTime", first);
    row.text("EventEndTime", last);
    row.number("EventCount", record.count.unwrap_or(1));
    row.text("EventUid", record.id.as_ref());
    row.text("EventOriginalUid", record.id.as_ref());
    row.text("EventOriginalType", record.kind.as_ref());
    row.known("EventMessage", text(&record.message));
    row.text("EventResult", result(record));
    row.known("EventOriginalResultDetails", text(&record.reason));
    row.text("EventSeverity", severity(record));
    row.text("EventOriginalSeverity", record.severity.as_str());
    row.text("EventVendor", "Portcullis");
    row.text("EventProduct", "Portcullis");
    row.text("EventProductVersion", record.version.as_ref());
    row.known("EventReportUrl", text(&record.remedy.help));
    row.text("Dvc", record.node.as_ref());
    row.text("DvcHostname", record.node.as_ref());
    row.text("DvcAction", if record.succeeded() == Some(true) { "Allow" } else { "Deny" });
    row.known("DvcOriginalAction", text(&record.decision));
    row.known("SrcIpAddr", text(&record.client.ip));
    row.text("IpAddr", text(&record.client.ip).unwrap_or_default());
    row.known("SrcGeoCountry", text(&record.client.country));
    row.known("SrcGeoRegion", text(&record.client.region));
    row.known("SrcGeoCity", text(&record.client.city));
    row.known("HttpUserAgent", text(&record.request.user_agent));
    row.known("RuleName", text(&record.policy.rule));
    row.known("Rule", text(&record.policy.rule));
}

fn fill_web_session(record: &Record<'_>, row: &mut Object<'_>) {
    let request = &record.request;
    let status = record.status.map_or("NA".to_owned(), |status| status.to_string());
    schema(row, "WebSession", "0.2.7", "ApiRequest");
    row.text("EventResultDetails", &status);
    row.text("HttpStatusCode", &status);
    row.known_number("SrcPortNumber", record.client.port);
    row.text("Src", text(&record.client.ip).unwrap_or_default());
    row.text("Dst", text(&request.host).unwrap_or(record.node.as_ref()));
    row.known("DstHostname", text(&request.host));
    row.known_number("DstPortNumber", request.port);
    row.known("DstAppName", text(&record.policy.route));
    row.known("Url", record.url().as_deref());
    row.known("HttpHost", text(&request.host));
    row.known("HttpVersion", text(&request.http_version));
    row.known("HttpRequestMethod", text(&request.method));
    row.known("HttpReferrer", text(&request.referrer));
    let forwarded: Vec<&str> = record.client.forwarded.iter().map(AsRef::as_ref).collect();
    row.known("HttpRequestXff", Some(forwarded.join(", ").as_str()).filter(|hops| !hops.is_empty()));
    row.known(
        "NetworkApplicationProtocol",
        text(&request.scheme).map(|scheme| if scheme == "https" { "HTTPS" } else { "HTTP" }),
    );
    row.known_number("NetworkDuration", record.latency_us.total.map(|micros| micros / 1_000));
    row.known("NetworkSessionId", text(&request.id));
    fill_user(record, row, "Src");
    fill_threat(record, row);
}

fn fill_authentication(record: &Record<'_>, row: &mut Object<'_>) {
    let elevation =
        text(&record.reason) == Some(ReasonCode::StepUpRequired.code()) || record.action().contains("step_up");
    schema(row, "Authentication", "0.1.4", if elevation { "Elevate" } else { "Logon" });
    row.text("EventResultDetails", authentication_details(record));
    row.known_number("SrcPortNumber", record.client.port);
    row.known("LogonMethod", text(&record.identity.method));
    row.known("TargetAppName", text(&record.policy.route));
    row.known("TargetUrl", record.url().as_deref());
    row.known("TargetSessionId", text(&record.identity.session));
    fill_user(record, row, "Target");
}

/// The words that the schema has for why.
fn authentication_details(record: &Record<'_>) -> &'static str {
    match text(&record.reason) {
        None => "Other",
        Some("authn.missing" | "authn.certificate_required" | "step_up.required") => "Logon violates policy",
        Some("authn.expired") => "Session expired",
        Some("authn.revoked") => "User disabled",
        Some(reason) if reason.starts_with("authn.") => "No such user or password",
        Some(_) => "Other",
    }
}

fn fill_audit_event(record: &Record<'_>, row: &mut Object<'_>) {
    let kind = record.kind.as_ref();
    let event_type = match record.action() {
        "started" => "Start",
        "stopped" => "Stop",
        "created" | "issued" => "Create",
        "deleted" | "removed" | "lifted" => "Delete",
        "reloaded" | "rejected" | "changed" | "updated" => "Set",
        _ => "Other",
    };
    schema(row, "AuditEvent", "0.1.2", event_type);
    row.text("Operation", kind);
    let (object, object_type) =
        if kind.starts_with("policy.") { ("policy", "Policy Rule") } else { ("gateway", "Service") };
    row.text("Object", object);
    row.text("ObjectType", object_type);
    row.known("ObjectId", text(&record.policy.sha256));
    row.known("NewValue", text(&record.policy.sha256).filter(|_| event_type == "Set"));
    row.text("ActorUsername", text(&record.identity.id).unwrap_or("portcullis"));
    row.text("ActorUsernameType", "Simple");
}

/// The schema of alerts is in preview; of its columns only those are used that every version has.
fn fill_alert_event(record: &Record<'_>, row: &mut Object<'_>) {
    schema(row, "AlertEvent", "0.1", "Alert");
    row.text("EventSubType", "Threat");
    row.text("AlertId", record.id.as_ref());
    row.text("AlertName", record.alert.as_ref().map_or(record.kind.as_ref(), |alert| alert.rule.as_ref()));
    row.known("AlertDescription", text(&record.message));
    row.known("Username", text(&record.identity.id));
    fill_threat(record, row);
}

fn schema(row: &mut Object<'_>, name: &str, version: &str, event_type: &str) {
    row.text("EventSchema", name);
    row.text("EventSchemaVersion", version);
    row.text("EventType", event_type);
}

/// Who it was. The type of an id would have to be one of a closed list of directories, which ours is none of: the id is the
/// name.
fn fill_user(record: &Record<'_>, row: &mut Object<'_>, side: &str) {
    let identity = &record.identity;
    let Some(id) = text(&identity.id) else { return };
    row.text(&format!("{side}Username"), id);
    row.text(&format!("{side}UsernameType"), if id.contains('@') { "UPN" } else { "Simple" });
    row.text("User", id);
    let kind = match text(&identity.kind) {
        Some("user") => "Regular",
        Some("service") => "Application",
        Some("certificate") => "Machine",
        _ => "Other",
    };
    row.text(&format!("{side}UserType"), kind);
}

/// A level from 0 to 100, as the schema has it. The score itself is a likelihood without an upper end, and stands in
/// `AdditionalFields`.
fn fill_threat(record: &Record<'_>, row: &mut Object<'_>) {
    let level = match text(&record.risk.level) {
        Some("low") => 20,
        Some("medium") => 50,
        Some("high") => 90,
        _ if record.ban.active => 90,
        _ => return,
    };
    row.number("ThreatRiskLevel", level);
    row.known("ThreatOriginalRiskLevel", text(&record.risk.level));
    row.known("ThreatCategory", record.risk.signals.first().map(|signal| signal.name.as_ref()));
    if let Some(ip) = text(&record.client.ip) {
        row.text("ThreatField", "SrcIpAddr");
        row.text("ThreatIpAddr", ip);
    }
}

fn result(record: &Record<'_>) -> &'static str {
    match record.succeeded() {
        Some(true) => "Success",
        Some(false) => "Failure",
        None => "NA",
    }
}

fn severity(record: &Record<'_>) -> &'static str {
    match record.severity {
        Severity::Low if record.is_informational() => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High | Severity::Critical => "High",
    }
}

fn fill_more(record: &Record<'_>, more: &mut Object<'_>) {
    more.text("schema", SCHEMA);
    more.known_number("seq", record.seq);
    more.known("cluster", text(&record.cluster));
    more.known("origin", text(&record.origin));
    more.texts("reasons", &record.reasons);
    more.flag("query_redacted", record.request.query_redacted);
    more.known("trace_id", text(&record.request.trace_id));
    more.known("span_id", text(&record.request.span_id));
    more.known("peer_ip", text(&record.client.peer_ip));
    more.known_number("asn", record.client.asn);
    more.known("as_org", text(&record.client.as_org));
    more.part("policy", &record.policy);
    more.part("identity", &record.identity);
    more.part("device", &record.device);
    more.part("risk", &record.risk);
    more.part("ban", &record.ban);
    more.part("nearest", &record.nearest);
    more.part("checks", &record.checks);
    more.part("shadow", &record.shadow);
    more.part("remedy", &record.remedy);
    more.part("upstream", &record.upstream);
    more.part("latency_us", &record.latency_us);
    more.part("integrity", &record.integrity);
    more.texts("ids", &record.ids);
    more.texts("truncated", &record.truncated);
}
