//! What a decision used, in a form that is cheap to count: numbers of one policy, turned into words by whoever has the time.
//!
//! A permission is the action of a role as its policy writes it, on a route: `GET /api/invoices/**` on `billing`, never the path of a
//! request. So there are as many as the policy has, and no more.

use crate::action::{ActionSet, PatternId};
use crate::decision::{Decision, RuleRef};
use crate::evaluate::{Caller, Verdict, View};
use crate::pattern::{Pattern, Segment};
use crate::policy::*;
use crate::reason::Reason;
use crate::record::Silent;
use crate::request::AccessRequest;

/// The permission that a permitted request used, or that a refused one lacked: numbers of the policy that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UsedAction {
    route: u32,
    pattern: u32,
    method: u8,
    /// The assignment that granted it; `u32::MAX`: none did.
    assignment: u32,
}

/// The same in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedWords<'p> {
    /// The route's name.
    pub route: &'p str,
    /// The action, such as `GET /api/invoices/**`. The method is `*` where it is none that RFC 9110 or RFC 5789 defines.
    pub action: String,
    /// The assignment that granted it; `None`: a directly held role did, or nothing.
    pub assignment: Option<&'p RuleRef>,
}

/// The methods that are told apart (RFC 9110 section 9.3, RFC 5789). All others are one: a caller makes up what it likes.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
/// Any other method.
const OTHER: &str = "*";
const NONE: u32 = u32::MAX;

impl Policy {
    /// The answer of [`Self::decide`], and what it used: of a permit the permission that it rests on, of a refusal for want of a grant the
    /// permission that would have been needed, where any role has one. It costs one look at the actions of one role more.
    pub fn decide_noting(&self, request: &AccessRequest<'_>) -> (Decision, Option<UsedAction>) {
        let view = View::new(self, request);
        let decision = self.decide_viewed(&view);
        let used = match &decision {
            Decision::Permit(permit) => self.used(&view, permit.grant),
            Decision::Deny(denial) if denial.reason == Reason::NoMatchingGrant => self.lacked(&view),
            Decision::Deny(_) | Decision::Challenge(_) | Decision::StepUp(_) | Decision::Undecided(_) => None,
        };
        (decision, used)
    }

    /// What a request would use of this policy, which does not decide on it; `None` where it would not permit it.
    pub fn would_use(&self, request: &AccessRequest<'_>) -> Option<UsedAction> {
        let view = View::new(self, request);
        match self.evaluate(&view, &mut Silent) {
            Verdict::Permit(grant) => self.used(&view, grant),
            Verdict::Stop(_) => None,
        }
    }

    /// What was used, in words; `None` for what another policy decided.
    pub fn used_words(&self, used: UsedAction) -> Option<UsedWords<'_>> {
        let pattern = self.actions.pattern(PatternId(used.pattern))?;
        let method = METHODS.get(usize::from(used.method)).copied().unwrap_or(OTHER);
        Some(UsedWords {
            route: self.route_names.get(used.route as usize)?,
            action: format!("{method} {pattern}"),
            assignment: self.assignments.get(used.assignment as usize).map(|assignment| &assignment.rule),
        })
    }

    fn used(&self, view: &View<'_>, grant: Option<AssignmentId>) -> Option<UsedAction> {
        let (route, resource) = self.resource_of(view)?;
        let pattern = match grant.and_then(|id| self.assignments.get(id.0 as usize)) {
            Some(assignment) => self.pattern_of(assignment.role, view),
            None => match view.caller(resource.authentication) {
                Caller::Verified(principal) => {
                    let roles = principal.roles.iter().filter_map(|name| self.role_by_name.get(&**name));
                    roles.into_iter().find_map(|role| self.pattern_of(*role, view))
                }
                Caller::Anonymous | Caller::SomeVerified => None,
            },
        }?;
        let assignment = grant.map_or(NONE, |id| id.0);
        Some(UsedAction { route: route.0, pattern: pattern.0, method: method_number(view.request.method), assignment })
    }

    /// The first pattern of the role that permits the action.
    fn pattern_of(&self, role: RoleId, view: &View<'_>) -> Option<PatternId> {
        let actions: &ActionSet = &self.roles.get(role.0 as usize)?.actions;
        let permits = |permission: u32| {
            let excluded = self.not_actions.get(permission as usize);
            excluded.is_some_and(|excluded| !excluded.contains(&view.matched, view.method))
        };
        view.matched.iter().find(|pattern| actions.tags_of(*pattern, view.method).any(permits))
    }

    /// The most specific action of any role that the request is.
    fn lacked(&self, view: &View<'_>) -> Option<UsedAction> {
        let route = view.request.route?;
        let is_granted_by_some = |pattern: &PatternId| {
            let by_method = self.roles_by_pattern.get(pattern.0 as usize);
            by_method.is_some_and(|by_method| by_method.iter().any(|(mask, _)| mask.holds(view.method)))
        };
        let rank =
            |pattern: &PatternId| self.actions.pattern(*pattern).map(|found| (found.segments.len(), !found.rest));
        let pattern = view.matched.iter().filter(is_granted_by_some).max_by_key(rank)?;
        let method = method_number(view.request.method);
        Some(UsedAction { route: route.0, pattern: pattern.0, method, assignment: NONE })
    }
}

fn method_number(method: &str) -> u8 {
    let found = METHODS.iter().position(|known| *known == method);
    found.and_then(|found| u8::try_from(found).ok()).unwrap_or(u8::MAX)
}

/// An action as somebody wrote it: for who looks at a [`PolicyDraft`](crate::PolicyDraft) rather than at requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenAction {
    /// Its methods by name; none: every method.
    pub methods: Vec<String>,
    pattern: Pattern,
}

impl WrittenAction {
    /// Reads `METHOD PATTERN`; `None` where that is no action.
    pub fn parse(text: &str) -> Option<Self> {
        let (methods, pattern) = text.split_once(' ')?;
        let pattern = Pattern::parse(pattern.trim_start_matches(' ')).ok()?;
        let mut methods: Vec<String> = match methods {
            OTHER => Vec::new(),
            list => list.split(',').map(str::to_owned).collect(),
        };
        methods.sort_unstable();
        methods.dedup();
        Some(Self { methods, pattern })
    }

    /// The pattern in its one form.
    pub fn pattern(&self) -> String {
        self.pattern.to_string()
    }

    /// Every method on every path.
    pub fn is_everything(&self) -> bool {
        self.methods.is_empty() && self.pattern == Pattern::everything()
    }

    /// Whether it is every path below some place, rather than single ones.
    pub fn is_open_ended(&self) -> bool {
        self.pattern.rest
    }

    /// Whether every path of the other one is one of this one.
    pub fn holds_paths_of(&self, other: &Self) -> bool {
        self.pattern.covers(&other.pattern)
    }

    /// A path that it is about, for trying: each `*` a segment, and nothing for a final `**`.
    pub fn example_path(&self) -> String {
        let segments = self.pattern.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => segment.clone(),
            Segment::One => Segment::Literal("x".into()),
        });
        let text = Pattern { segments: segments.collect(), rest: false }.to_string();
        if text.is_empty() { "/".to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{AssignmentDraft, PermissionDraft, PolicyDraft, RoleDraft, RouteDraft};
    use crate::path::CanonicalPath;
    use crate::principal::Principal;
    use crate::request::IdentityFact;

    fn policy() -> Policy {
        let narrowed = PermissionDraft {
            actions: vec!["GET /**".to_owned().into()],
            not_actions: vec!["GET /a/secret".to_owned().into()],
        };
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![
                RoleDraft { name: "all".to_owned().into(), permissions: vec![narrowed], ..RoleDraft::default() },
                RoleDraft::new("reader", ["GET /a/{id}", "PROPFIND /a/**"]),
                RoleDraft::new("writer", ["* /a/**"]),
            ],
            assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
            ..PolicyDraft::default()
        };
        Policy::compile(&draft).unwrap().0
    }

    #[test]
    fn what_was_used_or_lacked_is_told_by_pattern() {
        let policy = policy();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let check = |principal: &Principal, method: &str, path: &str, expected: Option<(&str, Option<&str>)>| {
            let path = CanonicalPath::parse(path).unwrap();
            let request = AccessRequest {
                identity: IdentityFact::Verified(principal),
                ..AccessRequest::new(method, &path, policy.find_route("x", &path), now)
            };
            let (decision, used) = policy.decide_noting(&request);
            let (outcome, _) = policy.verdict(&request);
            assert_eq!(matches!(decision, Decision::Permit(_)), outcome == crate::reason::Outcome::Permit);
            let words = used.and_then(|used| policy.used_words(used));
            let found = words.as_ref().map(|words| (&*words.action, words.assignment.map(|rule| &*rule.name)));
            assert_eq!(found, expected, "{method} {}", path.as_str());
        };
        let alice = Principal::user("alice");
        check(&alice, "GET", "/a/7", Some(("GET /a/*", Some("alice-reads"))));
        check(&alice, "PROPFIND", "/a/7", Some(("* /a/**", Some("alice-reads"))));
        // What she lacks, the most specific action that some role has for it.
        check(&alice, "GET", "/b", Some(("GET /**", None)));
        check(&alice, "PUT", "/a/7/b", Some(("PUT /a/**", None)));
        check(&alice, "PUT", "/b", None);
        let bob = Principal::user("bob").with_role("writer");
        check(&bob, "DELETE", "/a/7", Some(("DELETE /a/**", None)));
        // The exception of one permission leaves the other one.
        let eve = Principal::user("eve").with_role("all").with_role("reader");
        check(&eve, "GET", "/a/secret", Some(("GET /a/*", None)));
    }

    #[test]
    fn an_action_is_read_as_it_is_compiled() {
        let read = |text: &str| WrittenAction::parse(text).unwrap();
        assert_eq!(
            (read("PUT,GET /a/{id}").methods.join(","), read("GET /a/{id}").pattern()),
            ("GET,PUT".into(), "/a/*".into())
        );
        assert!(read("* /**").is_everything() && !read("GET /**").is_everything() && !read("* /a/**").is_everything());
        assert!(
            read("GET /a/**").holds_paths_of(&read("GET /a/*")) && !read("GET /a/*").holds_paths_of(&read("GET /a/**"))
        );
        for (text, path) in
            [("GET /a/{id}/b", "/a/x/b"), ("GET /a/**", "/a"), ("* /**", "/"), ("GET /*/**", "/x"), ("GET /", "/")]
        {
            assert_eq!(read(text).example_path(), path, "{text}");
        }
        assert!(WrittenAction::parse("GET").is_none() && WrittenAction::parse("GET a").is_none());
    }
}
