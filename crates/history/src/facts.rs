//! What filters and counts look at in an event.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// A part of a native event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Microseconds since the epoch.
    pub time_us: i64,
    /// Its number in its process.
    pub seq: u64,
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: Box<str>,
    /// The decisive reason.
    pub reason: Option<Box<str>>,
    /// The route.
    pub route: Option<Box<str>>,
    /// The verified principal, as a policy writes it: `user:alice`.
    pub principal: Option<Box<str>>,
    /// The client's address; an IPv4 address in its IPv6 form is that IPv4 address.
    pub address: Option<IpAddr>,
}

/// What events are ordered by.
pub(crate) type Order = (i64, u64, Uuid);

/// The kind of a refusal.
pub(crate) const REFUSAL: &str = "access.denied";

impl Facts {
    /// Reads them off a native line. `None`: it is none, such as a line that was cut short.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let native: Native<'_> = serde_json::from_slice(line).ok()?;
        let time: Timestamp = native.time.parse().ok()?;
        let principal = match (&native.identity.kind, &native.identity.id) {
            (Some(kind), Some(id)) => Some(format!("{kind}:{id}").into_boxed_str()),
            (_, Some(id)) => Some(id.clone().into_boxed_str()),
            (_, None) => None,
        };
        Some(Self {
            time_us: time.as_microsecond(),
            seq: native.seq,
            id: native.id.parse().ok()?,
            kind: native.kind.into(),
            reason: native.reason.map(Into::into),
            route: native.policy.route.map(Into::into),
            principal,
            address: native.client.ip.and_then(|ip| ip.parse().ok()).map(|ip: IpAddr| ip.to_canonical()),
        })
    }

    /// Whether it is a refusal.
    pub fn is_refusal(&self) -> bool {
        &*self.kind == REFUSAL
    }

    /// What events are ordered by, the newest last: their time, their number, and for two nodes in one file their id.
    pub(crate) fn order(&self) -> Order {
        (self.time_us, self.seq, self.id)
    }
}

/// The keys of the contract that are looked at; all others are passed over.
#[derive(Deserialize)]
struct Native<'l> {
    #[serde(borrow)]
    id: Cow<'l, str>,
    #[serde(borrow)]
    time: Cow<'l, str>,
    #[serde(borrow)]
    kind: Cow<'l, str>,
    #[serde(default)]
    seq: u64,
    reason: Option<String>,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    client: Client,
    #[serde(default)]
    identity: Identity,
}

#[derive(Deserialize, Default)]
struct Policy {
    route: Option<String>,
}

#[derive(Deserialize, Default)]
struct Client {
    ip: Option<String>,
}

#[derive(Deserialize, Default)]
struct Identity {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use portcullis_events::{Event, EventKind, ReasonCode};

    use super::*;

    #[test]
    fn what_the_gateway_writes_is_read() {
        let id = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001);
        let time: Timestamp = "2026-11-22T19:04:12.697123Z".parse().unwrap();
        let mut event = Event::denied(id, time, ReasonCode::RbacNoMatchingGrant);
        event.seq = 7;
        event.policy.route = Some("billing".into());
        event.identity.id = Some("al\"ice".to_owned());
        event.identity.kind = Some("user");
        event.client.ip = Some([203, 0, 113, 7].into());
        let facts = Facts::of_line(&serde_json::to_vec(&event).unwrap()).unwrap();
        let expected = Facts {
            time_us: time.as_microsecond(),
            seq: 7,
            id,
            kind: "access.denied".into(),
            reason: Some("rbac.no_matching_grant".into()),
            route: Some("billing".into()),
            principal: Some("user:al\"ice".into()),
            address: Some([203, 0, 113, 7].into()),
        };
        assert_eq!(facts, expected);
        assert!(facts.is_refusal());
        let started = Event::new(EventKind::GatewayStarted, id, time);
        let facts = Facts::of_line(&serde_json::to_vec(&started).unwrap()).unwrap();
        assert_eq!((facts.reason, facts.route, facts.principal, facts.address), (None, None, None, None));
    }

    #[test]
    fn what_is_no_event_is_none() {
        for line in ["", "{", "null", "[]", "{}", r#"{"id":"x","time":"2026-11-22T19:04:12Z","kind":"a"}"#] {
            assert_eq!(Facts::of_line(line.as_bytes()), None, "{line}");
        }
    }
}
