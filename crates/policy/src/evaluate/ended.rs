//! What has ended a short while ago, as if it had not: whether a refusal is that end's doing, and nobody else's.
//!
//! Only grants are looked at so: the time of an assignment, its hours, and what was activated or lent. A deny, a network, a credential and the risk are what they are
//! now, so that what any of them refuses is permitted by no end that is put off; a deny counts in the hours of then as well, which only refuses more.

use super::*;

impl View<'_> {
    /// How a grant's period stands.
    pub(super) fn state_of(&self, period: &Period) -> PeriodState {
        match (period.state(self.now), period.expires) {
            (PeriodState::After, Some(expires)) if is_behind(expires, self.ended_since) => PeriodState::Within,
            (state, _) => state,
        }
    }
}

/// Whether an end came later than this; without a moment it never counts.
pub(super) fn is_behind(end: Timestamp, since: Option<Timestamp>) -> bool {
    since.is_some_and(|since| end > since)
}

impl Policy {
    /// Whether the request would be permitted if no grant had ended since then: an assignment that expired, hours that were over, and what was
    /// activated or lent, as far as it is among the request's activations. It decides nothing: it says whose doing a refusal is.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// # let draft = PolicyDraft {
    /// #     routes: vec![RouteDraft::new("app", ["/**"])],
    /// #     roles: vec![RoleDraft::new("writer", ["POST /**"])],
    /// #     assignments: vec![AssignmentDraft {
    /// #         activation: Some(ActivationRules::of(3_600)),
    /// #         ..AssignmentDraft::new("on-call", "writer", ["user:alice"])
    /// #     }],
    /// #     ..PolicyDraft::default()
    /// # };
    /// # let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// # let path = CanonicalPath::parse("/jobs").expect("a canonical path");
    /// # let route = policy.find_route("app.internal", &path);
    /// # let alice = Principal::user("alice");
    /// # let at = |text: &str| text.parse().expect("a time");
    /// let activated = [Activation::of("on-call", at("2026-11-23T10:00:00Z"))];
    /// let request = AccessRequest {
    ///     identity: IdentityFact::Verified(&alice),
    ///     activations: &activated,
    ///     ..AccessRequest::new("POST", &path, route, at("2026-11-23T10:05:00Z"))
    /// };
    /// assert_eq!(policy.verdict(&request), (Outcome::Deny, Some(Reason::ConditionUnmet)));
    /// assert!(policy.permits_but_for_what_ended(&request, at("2026-11-23T09:50:00Z")));
    /// assert!(!policy.permits_but_for_what_ended(&request, at("2026-11-23T10:00:00Z")));
    /// ```
    pub fn permits_but_for_what_ended(&self, request: &AccessRequest<'_>, since: Timestamp) -> bool {
        let view = View { ended_since: Some(since), ..View::new(self, request) };
        matches!(self.evaluate(&view, &mut Silent), Verdict::Permit(_))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-23T{time}Z").parse().unwrap()
    }

    /// Everybody reads. Who writes: alice until 10:00, bob until 18:00 by the hours, carol while it is activated, dan while a role is lent to him; eve never did.
    fn policy() -> Policy {
        let named = |name: &str, who: &str| AssignmentDraft::new(name, "writer", [who]);
        let hours = Hours::parse("Mon-Fri 08:00-18:00 UTC", |_| Some(jiff::tz::TimeZone::UTC)).unwrap();
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![RoleDraft::new("reader", ["GET /**"]), RoleDraft::new("writer", ["POST /jobs/**"])],
            assignments: vec![
                AssignmentDraft::new("all-read", "reader", ["authenticated"]),
                AssignmentDraft { expires: Some(at("10:00:00")), ..named("alice-writes", "user:alice") },
                AssignmentDraft {
                    when: WhenDraft { hours: Some(hours.into()), ..WhenDraft::default() },
                    ..named("bob-writes", "user:bob")
                },
                AssignmentDraft { activation: Some(ActivationRules::of(3_600)), ..named("carol-writes", "user:carol") },
                AssignmentDraft { starts: Some(at("23:00:00")), ..named("eve-writes", "user:eve") },
            ],
            denies: vec![DenyDraft::new("none-stops", ["authenticated"], ["POST /jobs/stop"])],
            ..PolicyDraft::default()
        };
        Policy::compile(&draft).unwrap().0
    }

    #[test]
    fn only_what_ended_since_then_counts_and_only_for_whom_it_was_and_what_it_gave() {
        let policy = policy();
        let check = |who: &str, action: &str, lent: &str, [now, since]: [&str; 2], expected: bool| {
            let (method, path) = action.split_once(' ').unwrap();
            let (path, principal) = (CanonicalPath::parse(path).unwrap(), Principal::user(who));
            let lent: Vec<Activation> = match lent.rsplit_once(" until ") {
                Some((gives, until)) => {
                    vec![Activation { gives: Lent::parse(gives), until: at(until), note: Box::default() }]
                }
                None => Vec::new(),
            };
            let request = AccessRequest {
                identity: IdentityFact::Verified(&principal),
                activations: &lent,
                ..AccessRequest::new(method, &path, policy.find_route("a", &path), at(now))
            };
            let what = format!("{who} {action} {lent:?} at {now}, since {since}");
            assert_eq!(policy.permits_but_for_what_ended(&request, at(since)), expected, "{what}");
            assert_ne!(policy.verdict(&request).0, Outcome::Permit, "{what}: it is refused all the same");
        };
        const LATELY: [&str; 2] = ["10:05:00", "09:50:00"];
        // An assignment that expired, to the second.
        check("alice", "POST /jobs/1", "", LATELY, true);
        check("alice", "POST /jobs/1", "", ["10:14:59", "09:59:59"], true);
        check("alice", "POST /jobs/1", "", ["10:15:00", "10:00:00"], false);
        check("alice", "POST /other", "", LATELY, false);
        check("alice", "POST /jobs/stop", "", LATELY, false);
        check("eve", "POST /jobs/1", "", LATELY, false);
        // Hours that are over.
        check("bob", "POST /jobs/1", "", ["18:05:00", "17:50:00"], true);
        check("bob", "POST /jobs/1", "", ["18:15:00", "18:00:00"], false);
        check("bob", "POST /jobs/1", "", ["07:59:00", "07:44:00"], false);
        // What was activated, for whom it was.
        let activated = "carol-writes until 10:00:00";
        check("carol", "POST /jobs/1", activated, LATELY, true);
        check("carol", "POST /jobs/1", activated, ["10:15:00", "10:00:00"], false);
        check("carol", "POST /jobs/stop", activated, LATELY, false);
        check("carol", "DELETE /jobs/1", activated, LATELY, false);
        check("carol", "POST /jobs/1", "", LATELY, false);
        check("eve", "POST /jobs/1", activated, LATELY, false);
        // A role that was lent.
        check("dan", "POST /jobs/1", "role:writer,* until 10:00:00", LATELY, true);
        check("dan", "POST /jobs/1", "role:writer,other until 10:00:00", LATELY, false);
        check("dan", "POST /jobs/1", "role:writer,* until 09:50:00", LATELY, false);
    }
}
