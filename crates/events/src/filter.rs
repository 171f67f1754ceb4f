//! Which events a sink takes: by kind, reason, route and severity. What it does not take is counted as filtered and takes no place.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::event::{Event, EventKind, Severity};
use crate::reason_code::ReasonCode;

/// What a sink takes. Everything, where nothing is said; where several things are said, an event must meet each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only these kinds; empty: every kind.
    pub kinds: Vec<EventKind>,
    /// Only events with one of these as their decisive reason; empty: whatever the reason, and without one.
    pub reasons: Vec<ReasonCode>,
    /// Only events of these routes; empty: of every route and of none.
    pub routes: Vec<Arc<str>>,
    /// Only events that deserve at least so much of a look.
    pub severity: Option<Severity>,
}

/// What is read of a line. A line of another version may have a kind or a reason that is unknown here.
#[derive(Deserialize)]
struct Facts {
    kind: Option<String>,
    #[serde(default)]
    shadow: Option<IgnoredAny>,
    severity: Option<Severity>,
    reason: Option<String>,
    policy: Option<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    route: Option<String>,
}

impl Filter {
    /// Whether it takes everything.
    pub fn is_open(&self) -> bool {
        let Self { kinds, reasons, routes, severity } = self;
        kinds.is_empty() && reasons.is_empty() && routes.is_empty() && severity.is_none()
    }

    /// Whether it asks for permits, which are recorded by chance and are no sink's without that.
    pub fn asks_for_permits(&self) -> bool {
        self.kinds.contains(&EventKind::AccessAllowed)
    }

    /// Whether it takes an event.
    pub fn takes(&self, event: &Event) -> bool {
        let Self { kinds, reasons, routes, severity } = self;
        (!event.is_sampled_permit() || self.asks_for_permits())
            && (kinds.is_empty() || kinds.contains(&event.kind))
            && (reasons.is_empty() || event.reason.is_some_and(|reason| reasons.contains(&reason)))
            && (routes.is_empty() || event.policy.route.as_ref().is_some_and(|route| routes.contains(route)))
            && severity.is_none_or(|least| event.severity >= least)
    }

    /// The same of a native line. One that cannot be read is taken: an event too many is better than one lost.
    pub(crate) fn takes_line(&self, line: &[u8]) -> bool {
        let Ok(facts) = serde_json::from_slice::<Facts>(line) else { return true };
        let Self { kinds, reasons, routes, severity } = self;
        let route = facts.policy.and_then(|policy| policy.route);
        let is = |text: Option<&str>, wanted: &str| text == Some(wanted);
        let is_sampled_permit = is(facts.kind.as_deref(), EventKind::AccessAllowed.as_str()) && facts.shadow.is_none();
        (!is_sampled_permit || self.asks_for_permits())
            && (kinds.is_empty() || kinds.iter().any(|kind| is(facts.kind.as_deref(), kind.as_str())))
            && (reasons.is_empty() || reasons.iter().any(|reason| is(facts.reason.as_deref(), reason.code())))
            && (routes.is_empty() || routes.iter().any(|wanted| is(route.as_deref(), wanted)))
            && severity.is_none_or(|least| facts.severity.is_none_or(|severity| severity >= least))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::line::append_json;

    /// Asks about an event and about its line, which must agree.
    #[track_caller]
    fn check(filter: &Filter, event: &Event, expected: bool) {
        let mut line = Vec::new();
        append_json(&mut line, event).unwrap();
        assert_eq!((filter.takes(event), filter.takes_line(&line)), (expected, expected), "{filter:?}");
    }

    #[test]
    fn an_event_must_meet_all_that_is_said() {
        let mut denied = Event::denied(Uuid::nil(), Timestamp::UNIX_EPOCH, ReasonCode::RbacNoMatchingGrant);
        denied.policy.route = Some("billing".into());
        let started = Event::new(EventKind::GatewayStarted, Uuid::nil(), Timestamp::UNIX_EPOCH);
        let open = Filter::default();
        check(&open, &denied, true);
        check(&open, &started, true);
        let kinds = Filter { kinds: vec![EventKind::AccessDenied, EventKind::BanCreated], ..Filter::default() };
        check(&kinds, &denied, true);
        check(&kinds, &started, false);
        let reasons = |code| Filter { reasons: vec![code], ..Filter::default() };
        check(&reasons(ReasonCode::RbacNoMatchingGrant), &denied, true);
        check(&reasons(ReasonCode::RbacExplicitDeny), &denied, false);
        check(&reasons(ReasonCode::RbacNoMatchingGrant), &started, false);
        let routes = |route: &str| Filter { routes: vec![route.into()], ..Filter::default() };
        check(&routes("billing"), &denied, true);
        check(&routes("bill"), &denied, false);
        check(&routes("billing"), &started, false);
        for (least, of_denied, of_started) in
            [(Severity::Low, true, true), (Severity::Medium, true, false), (Severity::High, false, false)]
        {
            let filter = Filter { severity: Some(least), ..Filter::default() };
            check(&filter, &denied, of_denied);
            check(&filter, &started, of_started);
        }
        let both = Filter { severity: Some(Severity::High), ..routes("billing") };
        check(&both, &denied, false);
    }

    #[test]
    fn permits_are_for_who_asks_for_them_and_what_a_shadow_rule_says_is_for_all() {
        let permit = Event::new(EventKind::AccessAllowed, Uuid::nil(), Timestamp::UNIX_EPOCH);
        let shadowed = Event { shadow: Some(Vec::new()), ..permit.clone() };
        let of = |kinds: &[EventKind]| Filter { kinds: kinds.to_vec(), ..Filter::default() };
        for (filter, takes_permit, takes_shadowed) in [
            (of(&[]), false, true),
            (of(&[EventKind::AccessDenied]), false, false),
            (of(&[EventKind::AccessDenied, EventKind::AccessAllowed]), true, true),
        ] {
            check(&filter, &permit, takes_permit);
            check(&filter, &shadowed, takes_shadowed);
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_taken() {
        let filter = Filter { kinds: vec![EventKind::BanCreated], ..Filter::default() };
        assert!(!filter.is_open() && Filter::default().is_open());
        assert!(filter.takes_line(b"rubbish"));
        assert!(!filter.takes_line(b"{\"kind\":\"something.new\"}"));
    }
}
