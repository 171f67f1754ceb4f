//! Power for a time: an eligible assignment that its holder has activated, or a role that somebody was lent. Both are facts of the request,
//! and end at a moment that stands in them; neither is in the policy.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::draft::ActivationRules;
use crate::evaluate::View;
use crate::path::CanonicalPath;
use crate::policy::{Policy, RoleId, Scope};
use crate::principal::Principal;
use crate::reason::Reason;
use crate::request::AccessRequest;
use crate::route::RouteId;

/// What a principal may do for a time, beyond what the policy gives by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// What it gives.
    pub gives: Lent,
    /// When it ends.
    pub until: Timestamp,
    /// Who gave it, why and by whose approval, in one line for the operator. Empty: that is not known.
    pub note: Box<str>,
}

/// What is given for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lent {
    /// An eligible assignment counts, by its name. It gives what it says, under its conditions and to whom it names, and nothing else.
    Assignment(Box<str>),
    /// A role is held, as if the credential carried it.
    Role {
        /// Its name.
        role: Box<str>,
        /// The routes on which, by name; empty: on every one.
        routes: Box<[Box<str>]>,
    },
}

impl Activation {
    /// An eligible assignment, activated until then.
    pub fn of(assignment: &str, until: Timestamp) -> Self {
        Self { gives: Lent::Assignment(assignment.into()), until, note: Box::default() }
    }

    /// The assignment that it activates.
    pub fn assignment(&self) -> Option<&str> {
        match &self.gives {
            Lent::Assignment(name) => Some(name),
            Lent::Role { .. } => None,
        }
    }

    /// Whether it is in force.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Lent {
    /// Reads what [`fmt::Display`] writes: an assignment's name, which has no comma; or `role:NAME,ROUTE,…`, with `*` for every route.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("role:").and_then(|rest| rest.split_once(',')) {
            Some((role, "*")) => Self::Role { role: role.into(), routes: Box::default() },
            Some((role, routes)) => {
                Self::Role { role: role.into(), routes: routes.split(',').map(Into::into).collect() }
            }
            None => Self::Assignment(text.into()),
        }
    }

    /// The role, where it is held on this route. `named`: only where the route is named.
    pub(crate) fn role_on(&self, route: &str, named: bool) -> Option<&str> {
        match self {
            Self::Role { role, routes }
                if (routes.is_empty() && !named) || routes.iter().any(|each| **each == *route) =>
            {
                Some(role)
            }
            Self::Role { .. } | Self::Assignment(_) => None,
        }
    }
}

impl fmt::Display for Lent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assignment(name) => formatter.write_str(name),
            Self::Role { role, routes } if routes.is_empty() => write!(formatter, "role:{role},*"),
            Self::Role { role, routes } => write!(formatter, "role:{role},{}", routes.join(",")),
        }
    }
}

/// An eligible assignment of a policy, for who activates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eligible {
    /// Its name.
    pub assignment: Arc<str>,
    /// The role that it grants.
    pub role: Arc<str>,
    /// Whom it names.
    pub principals: Vec<Arc<str>>,
    /// What activating it takes.
    pub rules: ActivationRules,
    /// It is only reported, and activating it changes nothing.
    pub shadow: bool,
    /// It counts only for who has authenticated with several factors of late: whoever activates it for themselves shows these first.
    pub mfa: bool,
}

impl Policy {
    /// The eligible assignment of this name.
    pub fn eligible(&self, name: &str) -> Option<Eligible> {
        // INVARIANT: assignments are sorted by name.
        let index = self.assignments.binary_search_by(|each| (*each.rule.name).cmp(name)).ok()?;
        self.as_eligible(index)
    }

    /// All eligible assignments, by name; at most `most`.
    pub fn all_eligible(&self, most: usize) -> Vec<Eligible> {
        (0..self.assignments.len()).filter_map(|index| self.as_eligible(index)).take(most).collect()
    }

    fn as_eligible(&self, index: usize) -> Option<Eligible> {
        let assignment = self.assignments.get(index)?;
        let eligible = assignment.when.activation.as_ref()?;
        let names = assignment.principals.iter().filter_map(|id| self.subjects.get(*id));
        Some(Eligible {
            assignment: Arc::clone(&assignment.rule.name),
            role: self.roles.get(assignment.role.0 as usize)?.rule.name.clone(),
            principals: names.map(|subject| Arc::clone(&subject.name)).collect(),
            rules: eligible.rules,
            shadow: assignment.shadow,
            mfa: assignment.when.assurance_mfa,
        })
    }

    /// What keeps a caller from every route that an eligible assignment covers, whatever it is granted, as [`Self::held_back`] says of each; `None`: on one of them it
    /// could use what the assignment gives. The request's own route is passed over: it is where the caller asks, and not what it asks for.
    pub fn held_back_from_all_of(&self, assignment: &str, request: &AccessRequest<'_>) -> Option<Reason> {
        let index = self.assignments.binary_search_by(|each| (*each.rule.name).cmp(assignment)).ok()?;
        let routes = match &self.assignments.get(index)?.scope {
            Scope::Routes(routes) => routes.to_vec(),
            Scope::All => (0..self.resources.len())
                .filter_map(|index| u32::try_from(index).ok().map(RouteId))
                .filter(|route| self.reserved != Some(*route))
                .collect(),
        };
        let mut first = None;
        for route in routes {
            let reason = self.held_back(&AccessRequest { route: Some(route), ..*request })?;
            first.get_or_insert(reason);
        }
        first
    }

    /// Whether some assignment takes less to be activated than in the policy before, or can be for longer. No answer to a request shows that, since that it
    /// is activated is a fact.
    pub fn activates_more_easily_than(&self, before: &Self) -> bool {
        let eligible = (0..self.assignments.len()).filter_map(|index| self.as_eligible(index));
        let mut known = eligible.filter_map(|after| Some((before.eligible(&after.assignment)?.rules, after.rules)));
        known.any(|(before, after)| {
            // Exhaustive on purpose: a new rule must be given its place here.
            let ActivationRules { max_s, justification_required, ticket_required, approvals, by_oneself } = after;
            max_s > before.max_s
                || approvals < before.approvals
                || (before.justification_required && !justification_required)
                || (before.ticket_required && !ticket_required)
                || (by_oneself && !before.by_oneself)
        })
    }

    /// The roles that permit an action, the narrowest first: whose actions include those of the fewest others, then by name. At most 32.
    pub fn roles_for(&self, method: &str, path: &CanonicalPath) -> Vec<Arc<str>> {
        let request = AccessRequest::new(method, path, None, Timestamp::UNIX_EPOCH);
        let roles = self.permitting_roles(&View::new(self, &request));
        let actions =
            |id: &RoleId| self.roles.get(id.0 as usize).map(|role| role.actions.actions().collect::<Vec<_>>());
        let found: Vec<(RoleId, Vec<_>)> = roles.iter().filter_map(|id| Some((*id, actions(id)?))).collect();
        let includes =
            |wide: &[_], narrow: &[_]| narrow.iter().all(|narrow| wide.iter().any(|wide| self.covers(*wide, *narrow)));
        let mut ranked: Vec<(usize, RoleId)> = found
            .iter()
            .map(|(id, wide)| (found.iter().filter(|(_, narrow)| includes(wide, narrow)).count(), *id))
            .collect();
        ranked.sort_unstable();
        ranked.iter().filter_map(|(_, id)| Some(self.roles.get(id.0 as usize)?.rule.name.clone())).collect()
    }

    /// Whether an assignment names this principal: itself, everybody, or a group that the policy itself puts it into, or one of its credential.
    pub fn names(&self, assignment: &str, principal: &Principal) -> bool {
        let Ok(index) = self.assignments.binary_search_by(|each| (*each.rule.name).cmp(assignment)) else {
            return false;
        };
        let Some(assignment) = self.assignments.get(index) else { return false };
        let mut held: Vec<_> = vec![crate::policy::Subjects::ANYONE, crate::policy::Subjects::AUTHENTICATED];
        held.extend(self.subjects.of_principal(principal));
        held.extend(principal.groups.iter().filter_map(|claim| self.claimed_group(&claim.name, claim.trusted)));
        held.iter().any(|id| {
            let groups = self.subjects.get(*id).map(|subject| &*subject.groups).unwrap_or_default();
            assignment.principals.contains(id) || groups.iter().any(|group| assignment.principals.contains(group))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_read_as_it_is_written() {
        let role = |routes: &[&str]| Lent::Role {
            role: "ops: night".into(),
            routes: routes.iter().map(|route| Box::from(*route)).collect(),
        };
        for (lent, text) in [
            (Lent::Assignment("on-call".into()), "on-call"),
            (Lent::Assignment("role:x".into()), "role:x"),
            (role(&[]), "role:ops: night,*"),
            (role(&["billing", "wiki"]), "role:ops: night,billing,wiki"),
        ] {
            assert_eq!(lent.to_string(), text);
            assert_eq!(Lent::parse(text), lent, "{text}");
        }
    }

    #[test]
    fn the_narrowest_role_that_permits_comes_first() {
        use crate::draft::{PolicyDraft, RoleDraft, RouteDraft};
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![
                RoleDraft::new("a-all", ["* /**"]),
                RoleDraft::new("m-reads", ["GET /api/**"]),
                RoleDraft::new("z-one", ["GET /api/x"]),
                RoleDraft::new("b-other", ["GET /other"]),
            ],
            ..PolicyDraft::default()
        };
        let policy = Policy::compile(&draft).unwrap().0;
        let names = |method: &str, path: &str| {
            let found = policy.roles_for(method, &CanonicalPath::parse(path).unwrap());
            found.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("GET", "/api/x"), "z-one m-reads a-all");
        assert_eq!(names("GET", "/api/y"), "m-reads a-all");
        assert_eq!(names("PUT", "/api/x"), "a-all");
        assert_eq!(names("GET", "/other"), "b-other a-all");
    }

    #[test]
    fn power_is_held_back_by_the_routes_that_it_is_for() {
        use crate::draft::{
            AssignmentDraft, AuthenticationRule, NetworkDraft, PolicyDraft, ResourceDraft, RoleDraft, RouteDraft,
            ScopeDraft,
        };
        use crate::request::{ClientAddress, IdentityFact};
        let eligible = |name: &str, scope: &[&str]| AssignmentDraft {
            activation: Some(ActivationRules::of(60)),
            scope: match scope {
                [] => ScopeDraft::All,
                names => ScopeDraft::Routes(names.iter().map(|name| (*name).to_owned().into()).collect()),
            },
            ..AssignmentDraft::new(name, "reader", ["user:alice"])
        };
        let draft = PolicyDraft {
            routes: ["pages", "app", "payroll"].map(|name| RouteDraft::new(name, [&*format!("/{name}/**")])).to_vec(),
            networks: vec![NetworkDraft {
                name: "office".to_owned().into(),
                prefixes: vec!["203.0.113.0/24".parse().unwrap()],
                unknown: false,
            }],
            resources: vec![
                ResourceDraft {
                    route: "app".to_owned().into(),
                    authentication: AuthenticationRule::None,
                    ..ResourceDraft::default()
                },
                ResourceDraft {
                    route: "payroll".to_owned().into(),
                    allow: vec!["office".to_owned().into()],
                    ..ResourceDraft::default()
                },
            ],
            roles: vec![RoleDraft::new("reader", ["GET /**"])],
            assignments: vec![
                eligible("pays", &["payroll"]),
                eligible("pays-and-reads", &["app", "payroll"]),
                eligible("everything", &[]),
            ],
            ..PolicyDraft::default()
        };
        let policy = Policy::compile(&draft).unwrap().0;
        let path = CanonicalPath::parse("/pages/activations").unwrap();
        let alice = Principal::user("alice");
        let held = |assignment: &str, client: &str| {
            let request = AccessRequest {
                identity: IdentityFact::Verified(&alice),
                client: ClientAddress::known(client.parse().unwrap()),
                ..AccessRequest::new("POST", &path, policy.find_route("a", &path), Timestamp::UNIX_EPOCH)
            };
            assert_eq!(policy.held_back(&request), None, "of the route where she asks nothing keeps her");
            policy.held_back_from_all_of(assignment, &request)
        };
        let (office, elsewhere) = ("203.0.113.7", "198.51.100.7");
        assert_eq!(held("pays", office), None);
        assert_eq!(held("pays", elsewhere), Some(Reason::IpNotAllowed));
        assert_eq!(held("pays-and-reads", elsewhere), None, "on one of them she can use it");
        assert_eq!(held("everything", elsewhere), None);
    }

    #[test]
    fn an_easier_activation_is_found() {
        use crate::draft::{AssignmentDraft, PolicyDraft, RoleDraft, RouteDraft};
        let compile = |rules: Option<ActivationRules>| {
            let draft = PolicyDraft {
                routes: vec![RouteDraft::new("app", ["/**"])],
                roles: vec![RoleDraft::new("reader", ["GET /**"])],
                assignments: vec![AssignmentDraft {
                    activation: rules,
                    ..AssignmentDraft::new("on-call", "reader", ["group:ops"])
                }],
                ..PolicyDraft::default()
            };
            Policy::compile(&draft).unwrap().0
        };
        let base = ActivationRules { ticket_required: true, approvals: 1, ..ActivationRules::of(60) };
        let check = |after: ActivationRules, easier: bool| {
            let (after, before) = (compile(Some(after)), compile(Some(base)));
            assert_eq!(after.activates_more_easily_than(&before), easier);
        };
        check(base, false);
        check(ActivationRules { max_s: 61, ..base }, true);
        check(ActivationRules { max_s: 59, ..base }, false);
        check(ActivationRules { approvals: 0, ..base }, true);
        check(ActivationRules { approvals: 2, ..base }, false);
        check(ActivationRules { justification_required: false, ..base }, true);
        check(ActivationRules { ticket_required: false, ..base }, true);
        check(ActivationRules { by_oneself: true, ..base }, true);
        // What was none is found by what it permits.
        assert!(!compile(Some(base)).activates_more_easily_than(&compile(None)));
        assert!(compile(None).eligible("on-call").is_none() && compile(None).eligible("other").is_none());
        let alice = Principal::user("alice");
        let mut operator = alice.clone();
        operator.groups.push(crate::principal::GroupClaim { name: "ops".into(), trusted: false });
        let policy = compile(Some(base));
        assert_eq!((policy.names("on-call", &alice), policy.names("on-call", &operator)), (false, true));
        assert_eq!(policy.all_eligible(9).len(), 1);
    }

    #[test]
    fn a_role_is_held_on_its_routes_alone() {
        let lent = |text: &str, route: &str| Lent::parse(text).role_on(route, false).map(str::to_owned);
        assert_eq!(lent("role:r,a,b", "b").as_deref(), Some("r"));
        assert_eq!(lent("role:r,a,b", "c"), None);
        assert_eq!(lent("role:r,*", "c").as_deref(), Some("r"));
        assert_eq!(lent("assignment", "c"), None);
    }
}
