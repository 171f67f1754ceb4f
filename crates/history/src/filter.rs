//! Which events somebody asks for.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use memchr::memmem;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::facts::Facts;

/// All that is said must hold; one that says nothing wants every event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "EventFilter")]
pub struct Filter {
    /// At or after this.
    #[serde(skip)]
    pub since: Option<Timestamp>,
    /// Before this.
    #[serde(skip)]
    pub until: Option<Timestamp>,
    /// Refusals only, whatever their status.
    pub refusals: bool,
    /// A reason code, in which `*` stands for anything: `rbac.*`.
    pub reason: Option<String>,
    /// A principal: `user:alice`, or the id alone.
    pub principal: Option<String>,
    /// The client's address, or its network.
    #[serde(serialize_with = "write_network", deserialize_with = "read_network")]
    #[schemars(with = "Option<String>")]
    pub network: Option<IpNet>,
    /// The route.
    pub route: Option<String>,
    /// The event's id.
    #[schemars(with = "Option<String>")]
    pub id: Option<Uuid>,
}

impl Filter {
    /// Whether it wants the event on this line. A line that is no event is wanted by nobody.
    pub fn wants_line(&self, line: &[u8]) -> bool {
        self.may_want(line) && Facts::of_line(line).is_some_and(|facts| self.wants(&facts))
    }

    /// Whether it wants this event.
    pub fn wants(&self, facts: &Facts) -> bool {
        self.wants_time(facts.time_us)
            && (!self.refusals || facts.is_refusal())
            && self.id.is_none_or(|id| id == facts.id)
            && fits(self.reason.as_deref(), facts.reason.as_deref(), matches)
            && fits(self.route.as_deref(), facts.route.as_deref(), |wanted, found| wanted == found)
            && fits(self.principal.as_deref(), facts.principal.as_deref(), is_principal)
            && self.network.is_none_or(|network| facts.address.is_some_and(|address| holds(network, address)))
    }

    pub(crate) fn wants_time(&self, time_us: i64) -> bool {
        self.since.is_none_or(|since| time_us >= since.as_microsecond())
            && self.until.is_none_or(|until| time_us < until.as_microsecond())
    }

    /// A quick look at a line: `false` only where the event cannot be wanted. Most lines are never parsed.
    pub(crate) fn may_want(&self, line: &[u8]) -> bool {
        let holds = |needle: &str| memmem::find(line, needle.as_bytes()).is_some();
        if let Some(id) = self.id
            && !holds(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        {
            return false;
        }
        let id_of_principal = self.principal.as_deref().map(id_of);
        // What would be escaped in JSON stands there otherwise; and who asks for `rbac.*` asks for every `rbac.`.
        let reason = self.reason.as_deref().and_then(|reason| reason.split('*').max_by_key(|part| part.len()));
        [id_of_principal, reason, self.route.as_deref()].into_iter().flatten().filter(|text| is_plain(text)).all(holds)
    }
}

/// Whether what is asked for, if anything is, is there and fits.
fn fits(wanted: Option<&str>, found: Option<&str>, fit: impl Fn(&str, &str) -> bool) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| fit(wanted, found)))
}

/// Whether a text matches a pattern in which `*` stands for any text, also none.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// `alice` is every `user:alice`, `service:alice` and so on; a whole name only itself.
fn is_principal(wanted: &str, found: &str) -> bool {
    wanted == found || found.split_once(':').is_some_and(|(_, id)| id == wanted)
}

fn id_of(principal: &str) -> &str {
    const KINDS: [&str; 4] = ["user", "service", "certificate", "operator"];
    principal.split_once(':').filter(|(kind, _)| KINDS.contains(kind)).map_or(principal, |(_, id)| id)
}

/// Whether it stands in a line as it is written here.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// An IPv4 address in its IPv6 form is that IPv4 address.
fn holds(network: IpNet, address: IpAddr) -> bool {
    network.contains(&address.to_canonical())
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn write_network<S: Serializer>(network: &Option<IpNet>, serializer: S) -> Result<S::Ok, S::Error> {
    network.map(|network| network.to_string()).serialize(serializer)
}

fn read_network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpNet>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        };
        check("rbac.*", "rbac.no_matching_grant", true);
        check("rbac.*", "rbac.", true);
        check("rbac.*", "authn.missing", false);
        check("*", "", true);
        check("*.missing", "authn.missing", true);
        check("a*b*c", "a-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("a*bb*b", "abb", false);
        check("rbac", "rbac.x", false);
        check("", "", true);
        check("", "x", false);
        check("**", "x", true);
    }

    fn facts() -> Facts {
        Facts {
            time_us: 1_000_000,
            seq: 1,
            id: Uuid::from_u128(7),
            kind: "access.denied".into(),
            reason: Some("rbac.no_matching_grant".into()),
            route: Some("billing".into()),
            principal: Some("user:alice".into()),
            address: Some("203.0.113.7".parse().unwrap()),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Filter), expected: bool) {
        let mut filter = Filter::default();
        change(&mut filter);
        assert_eq!(filter.wants(&facts()), expected, "{filter:?}");
    }

    #[test]
    fn all_that_is_said_must_hold() {
        check(|_| {}, true);
        let second = |second| Some(Timestamp::from_second(second).unwrap());
        check(|filter| filter.since = second(1), true);
        check(|filter| filter.since = second(2), false);
        check(|filter| filter.until = second(2), true);
        check(|filter| filter.until = second(1), false);
        check(|filter| filter.principal = Some("alice".into()), true);
        check(|filter| filter.principal = Some("user:alice".into()), true);
        check(|filter| filter.principal = Some("service:alice".into()), false);
        check(|filter| filter.principal = Some("lice".into()), false);
        check(|filter| filter.network = "203.0.113.0/24".parse().ok(), true);
        check(|filter| filter.network = "203.0.113.8/32".parse().ok(), false);
        check(|filter| filter.route = Some("bill".into()), false);
        check(|filter| filter.id = Some(Uuid::from_u128(7)), true);
        check(|filter| filter.id = Some(Uuid::from_u128(8)), false);
        check(|filter| filter.refusals = true, true);
        check(|filter| (filter.route, filter.reason) = (Some("billing".into()), Some("authn.*".into())), false);
    }

    #[test]
    fn what_is_not_known_is_not_what_is_asked_for() {
        let unknown = Facts { reason: None, route: None, principal: None, address: None, ..facts() };
        let check = |filter: Filter| assert!(!filter.wants(&unknown), "{filter:?}");
        check(Filter { reason: Some("*".into()), ..Filter::default() });
        check(Filter { principal: Some("alice".into()), ..Filter::default() });
        check(Filter { network: "0.0.0.0/0".parse().ok(), ..Filter::default() });
    }

    #[test]
    fn the_quick_look_never_passes_over_what_is_wanted() {
        let line = format!(
            "{{\"id\":\"{}\",\"reason\":\"rbac.no_matching_grant\",\"identity\":{{\"id\":\"alice\"}}}}",
            Uuid::from_u128(7)
        );
        let check = |filter: Filter, expected: bool| {
            assert_eq!(filter.may_want(line.as_bytes()), expected, "{filter:?}");
        };
        check(Filter::default(), true);
        check(Filter { principal: Some("user:alice".into()), ..Filter::default() }, true);
        check(Filter { principal: Some("bob".into()), ..Filter::default() }, false);
        check(Filter { principal: Some("b\"ob".into()), ..Filter::default() }, true);
        check(Filter { reason: Some("rbac.*_grant".into()), ..Filter::default() }, true);
        check(Filter { reason: Some("authn.*".into()), ..Filter::default() }, false);
        check(Filter { id: Some(Uuid::from_u128(7)), ..Filter::default() }, true);
        check(Filter { id: Some(Uuid::from_u128(8)), ..Filter::default() }, false);
    }

    #[test]
    fn it_crosses_the_control_channel_unchanged() {
        let filter = Filter {
            refusals: true,
            reason: Some("rbac.*".into()),
            network: "2001:db8::/32".parse().ok(),
            id: Some(Uuid::from_u128(7)),
            ..Filter::default()
        };
        let text = serde_json::to_string(&filter).unwrap();
        assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
        assert!(serde_json::from_str::<Filter>(r#"{"network":"x"}"#).is_err());
        assert!(serde_json::from_str::<Filter>(r#"{"reasons":"x"}"#).is_err());
    }
}
