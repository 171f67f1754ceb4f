//! The objects of a native line: one type for each key that holds one.

use serde::{Deserialize, Serialize};

use super::{Maybe, Text};

/// `policy`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Policy<'l> {
    pub(crate) version: Option<u64>,
    #[serde(borrow)]
    pub(crate) sha256: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) route: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) rule: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) file: Maybe<'l>,
    pub(crate) line: Option<u32>,
    #[serde(borrow)]
    pub(crate) stage: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) mode: Maybe<'l>,
}

/// `request`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Request<'l> {
    #[serde(borrow)]
    pub(crate) id: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) trace_id: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) span_id: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) method: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) scheme: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) host: Maybe<'l>,
    pub(crate) port: Option<u16>,
    #[serde(borrow)]
    pub(crate) path: Maybe<'l>,
    pub(crate) query_redacted: bool,
    #[serde(borrow)]
    pub(crate) http_version: Maybe<'l>,
    pub(crate) bytes: Option<u64>,
    #[serde(borrow)]
    pub(crate) user_agent: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) referrer: Maybe<'l>,
}

/// `client`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Client<'l> {
    #[serde(borrow)]
    pub(crate) ip: Maybe<'l>,
    pub(crate) port: Option<u16>,
    #[serde(borrow)]
    pub(crate) peer_ip: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) forwarded: Vec<Text<'l>>,
    pub(crate) via_trusted_proxy: bool,
    #[serde(borrow)]
    pub(crate) country: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) region: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) city: Maybe<'l>,
    pub(crate) asn: Option<u32>,
    #[serde(borrow)]
    pub(crate) as_org: Maybe<'l>,
}

/// `identity`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Identity<'l> {
    #[serde(borrow)]
    pub(crate) id: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) name: Maybe<'l>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) method: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) issuer: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) session: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) groups: Vec<Text<'l>>,
    /// Lines of an earlier version do not have it.
    #[serde(borrow, default)]
    pub(crate) directory: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) roles: Vec<Text<'l>>,
    #[serde(borrow)]
    pub(crate) acr: Maybe<'l>,
    pub(crate) mfa: Option<bool>,
    pub(crate) auth_age_s: Option<u64>,
    #[serde(borrow)]
    pub(crate) api_key_id: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) cert_sha256: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) cert_subject: Maybe<'l>,
}

/// `device`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Device<'l> {
    #[serde(borrow)]
    pub(crate) id: Maybe<'l>,
    pub(crate) managed: Option<bool>,
    pub(crate) compliant: Option<bool>,
    #[serde(borrow)]
    pub(crate) fingerprint: Maybe<'l>,
}

/// `risk`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Risk<'l> {
    pub(crate) score: Option<i32>,
    #[serde(borrow)]
    pub(crate) level: Maybe<'l>,
    pub(crate) threshold: Option<i32>,
    pub(crate) mnats: Option<i32>,
    #[serde(borrow)]
    pub(crate) calibration: Maybe<'l>,
    pub(crate) display: Option<u16>,
    pub(crate) degraded: Option<bool>,
    #[serde(borrow)]
    pub(crate) inputs: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) signals: Vec<Signal<'l>>,
}

/// One of `risk.signals`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Signal<'l> {
    #[serde(borrow)]
    pub(crate) name: Text<'l>,
    #[serde(borrow)]
    pub(crate) family: Text<'l>,
    pub(crate) weight: i32,
    pub(crate) mnats: i32,
    #[serde(borrow)]
    pub(crate) value: Text<'l>,
    #[serde(borrow)]
    pub(crate) reason: Text<'l>,
}

/// `ban`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Ban<'l> {
    pub(crate) active: bool,
    #[serde(borrow)]
    pub(crate) until: Maybe<'l>,
    pub(crate) offences: Option<u32>,
}

/// One of `nearest`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Nearest<'l> {
    #[serde(borrow)]
    pub(crate) needs: Vec<Text<'l>>,
    #[serde(borrow)]
    pub(crate) grant: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) file: Maybe<'l>,
    pub(crate) line: Option<u32>,
}

/// One of `checks`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Check<'l> {
    #[serde(borrow)]
    pub(crate) name: Text<'l>,
    #[serde(borrow)]
    pub(crate) outcome: Text<'l>,
    #[serde(borrow)]
    pub(crate) value: Text<'l>,
    #[serde(borrow)]
    pub(crate) detail: Text<'l>,
}

/// One of `shadow`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Shadow<'l> {
    #[serde(borrow)]
    pub(crate) decision: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) reason: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) rule: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) file: Maybe<'l>,
    pub(crate) line: Option<u32>,
}

/// `remedy`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Remedy<'l> {
    #[serde(borrow)]
    pub(crate) required_roles: Option<Vec<Text<'l>>>,
    #[serde(borrow)]
    pub(crate) acr_values: Option<Vec<Text<'l>>>,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) retry_after_s: Option<u64>,
    #[serde(borrow)]
    pub(crate) help: Maybe<'l>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) ask: Maybe<'l>,
}

/// `upstream`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Upstream<'l> {
    #[serde(borrow)]
    pub(crate) name: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) endpoint: Maybe<'l>,
    pub(crate) forwarded: bool,
}

/// `alert`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Alert<'l> {
    #[serde(borrow)]
    pub(crate) rule: Text<'l>,
    #[serde(borrow)]
    pub(crate) state: Text<'l>,
    #[serde(borrow)]
    pub(crate) condition: Text<'l>,
    #[serde(borrow)]
    pub(crate) key: AlertKey<'l>,
    pub(crate) count: u64,
    #[serde(borrow)]
    pub(crate) since: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) evidence: Vec<Text<'l>>,
    #[serde(borrow)]
    pub(crate) actions: Vec<Text<'l>>,
    #[serde(borrow)]
    pub(crate) muted: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) runbook: Maybe<'l>,
}

/// `finding`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AuditFinding<'l> {
    #[serde(borrow)]
    pub(crate) id: Maybe<'l>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) severity: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) principal: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) permission: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) fingerprint: Text<'l>,
    #[serde(borrow)]
    pub(crate) run: Maybe<'l>,
}

/// `alert.key`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AlertKey<'l> {
    #[serde(borrow)]
    pub(crate) per: Text<'l>,
    #[serde(borrow)]
    pub(crate) value: Text<'l>,
}

/// `integrity`
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Integrity<'l> {
    /// Why a chain begins here, where one does.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) genesis: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) prev: Maybe<'l>,
    #[serde(borrow)]
    pub(crate) hash: Maybe<'l>,
}

/// `latency_us`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Latency {
    pub(crate) total: Option<u64>,
    pub(crate) decision: Option<u64>,
}
