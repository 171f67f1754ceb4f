//! Since when each grant is there, by the log of versions, and what was granted by whom and when.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_policy::{AssignmentDraft, Mode, PolicyDraft, ScopeDraft, WhenDraft, WrittenAction};

/// What a policy grants, in parts that can be compared from version to version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantSet(BTreeSet<Part>);

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// An assignment names somebody, for a role.
    Holds { assignment: Box<str>, role: Box<str>, principal: Box<str> },
    /// A group has a member.
    Member { group: Box<str>, member: Box<str> },
    /// A role has an action of its own.
    Action { role: Box<str>, action: Box<str> },
    /// A role has what another one has.
    Inherits { role: Box<str>, parent: Box<str> },
    /// An assignment is for a route (`*`: for all).
    Reaches { assignment: Box<str>, route: Box<str> },
    /// An assignment has something that bounds it: a condition, an end, that it must be activated, that it is only tried.
    Bounded { assignment: Box<str>, by: &'static str },
}

/// How a role or an assignment that was there became wider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Widened {
    /// It has this part more.
    By(Part),
    /// It has this part no longer.
    Without(Part),
}

impl GrantSet {
    /// Of a policy.
    pub fn of(draft: &PolicyDraft) -> Self {
        let mut parts = BTreeSet::new();
        for assignment in &draft.assignments {
            parts.extend(assignment.principals.iter().map(|principal| Part::Holds {
                assignment: assignment.name.value.as_str().into(),
                role: assignment.role.value.as_str().into(),
                principal: principal.value.as_str().into(),
            }));
            let name = || Box::from(assignment.name.value.as_str());
            match &assignment.scope {
                ScopeDraft::All => drop(parts.insert(Part::Reaches { assignment: name(), route: "*".into() })),
                ScopeDraft::Routes(routes) => parts.extend(
                    routes.iter().map(|route| Part::Reaches { assignment: name(), route: route.value.as_str().into() }),
                ),
            }
            parts.extend(bounds_of(assignment).map(|by| Part::Bounded { assignment: name(), by }));
        }
        for group in &draft.groups {
            parts.extend(group.members.iter().map(|member| Part::Member {
                group: group.name.value.as_str().into(),
                member: member.value.as_str().into(),
            }));
        }
        for role in &draft.roles {
            let name = || Box::from(role.name.value.as_str());
            parts.extend(
                role.inherits
                    .iter()
                    .map(|parent| Part::Inherits { role: name(), parent: parent.value.as_str().into() }),
            );
            for action in role.permissions.iter().flat_map(|permission| &permission.actions) {
                parts.extend(
                    actions_of(&action.value)
                        .into_iter()
                        .map(|action| Part::Action { role: name(), action: action.into() }),
                );
            }
        }
        Self(parts)
    }

    /// What became wider of what the set before has, too.
    fn widened_from(&self, before: &Self) -> Vec<Widened> {
        let (mut roles, mut assignments) = (BTreeSet::new(), BTreeSet::new());
        for part in &before.0 {
            match part {
                Part::Action { role, .. } | Part::Inherits { role, .. } => drop(roles.insert(role)),
                Part::Holds { assignment, .. } => drop(assignments.insert(assignment)),
                Part::Member { .. } | Part::Reaches { .. } | Part::Bounded { .. } => {}
            }
        }
        // One that is gone is not bounded any more, and gives nothing either.
        let still: BTreeSet<&Box<str>> = self
            .0
            .iter()
            .filter_map(|part| if let Part::Holds { assignment, .. } = part { Some(assignment) } else { None })
            .collect();
        let more = self.0.difference(&before.0).filter(|part| match part {
            Part::Action { role, .. } | Part::Inherits { role, .. } => roles.contains(role),
            Part::Reaches { assignment, .. } => assignments.contains(assignment),
            Part::Holds { .. } | Part::Member { .. } | Part::Bounded { .. } => false,
        });
        let less = before.0.difference(&self.0).filter(|part| match part {
            Part::Bounded { assignment, .. } => still.contains(assignment),
            Part::Action { .. }
            | Part::Inherits { .. }
            | Part::Reaches { .. }
            | Part::Holds { .. }
            | Part::Member { .. } => false,
        });
        more.cloned().map(Widened::By).chain(less.cloned().map(Widened::Without)).collect()
    }

    /// Whether a part is among them.
    pub(crate) fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// Those of the grants that somebody was given: by name, or as a member.
    fn given(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().filter(|part| matches!(part, Part::Holds { .. } | Part::Member { .. }))
    }
}

/// What bounds an assignment, by the keys of the file.
fn bounds_of(assignment: &AssignmentDraft) -> impl Iterator<Item = &'static str> {
    let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } =
        &assignment.when;
    let bounds = [
        ("when.networks", networks.is_some()),
        ("when.hours", hours.is_some()),
        ("when.countries", countries.is_some()),
        ("when.device", *compliant_device),
        ("when.assurance", *assurance_mfa),
        ("when.max_age", max_age_s.is_some()),
        ("when.max_risk", max_risk.is_some()),
        ("expires", assignment.expires.is_some()),
        ("activation", assignment.activation.is_some()),
        ("mode = \"shadow\"", assignment.mode == Mode::Shadow),
    ];
    bounds.into_iter().filter(|(_, bounded)| *bounded).map(|(by, _)| by)
}

/// An action method by method, as usage counts it.
pub(crate) fn actions_of(text: &str) -> Vec<String> {
    let Some(action) = WrittenAction::parse(text) else { return Vec::new() };
    let pattern = action.pattern();
    match action.methods.as_slice() {
        [] => vec![format!("* {pattern}")],
        methods => methods.iter().map(|method| format!("{method} {pattern}")).collect(),
    }
}

/// A version of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastVersion {
    /// Its number.
    pub n: u64,
    /// When it became live, in seconds since 1970.
    pub at: i64,
    /// Who made it.
    pub by: Vec<String>,
    /// What it grants.
    pub grants: Arc<GrantSet>,
}

/// A version after the oldest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) n: u64,
    pub(crate) at: i64,
    pub(crate) by: Vec<String>,
    /// What it gave to somebody: by name, or as a member.
    given: Vec<Part>,
    /// What it made wider that was there before, and so gave to all who hold it.
    pub(crate) widened: Vec<Widened>,
}

/// The log of versions, as far as it was read. Of each version it keeps what it gave, and of the last one what it grants.
#[derive(Debug, Clone, Default)]
pub struct History {
    oldest: Option<i64>,
    changes: Vec<Change>,
    last: Arc<GrantSet>,
    since: HashMap<Part, i64>,
    /// Why more is not known, a sentence each.
    gaps: Vec<String>,
}

/// Something that was granted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'h> {
    pub(crate) version: &'h Change,
    pub(crate) part: &'h Part,
}

impl History {
    /// Of versions, the oldest first. What the oldest one has may be older than it.
    pub fn new(versions: Vec<PastVersion>) -> Self {
        let mut history = Self::default();
        versions.into_iter().for_each(|version| history.push(version));
        history
    }

    /// Adds a version that is later than all that are there.
    pub fn push(&mut self, version: PastVersion) {
        let PastVersion { n, at, by, grants } = version;
        if self.oldest.is_none() {
            self.oldest = Some(at);
        } else {
            let given = grants.given().filter(|part| !self.last.0.contains(*part)).cloned().collect();
            let widened = if Arc::ptr_eq(&self.last, &grants) { Vec::new() } else { grants.widened_from(&self.last) };
            self.changes.push(Change { n, at, by, given, widened });
        }
        // What was taken away and came back is as old as its return.
        if !Arc::ptr_eq(&self.last, &grants) {
            self.since.retain(|part, _| grants.0.contains(part));
            for part in grants.0.iter().filter(|part| !self.last.0.contains(*part)) {
                self.since.entry(part.clone()).or_insert(at);
            }
            self.last = grants;
        }
    }

    /// Says why something of it is not known.
    pub fn note_gap(&mut self, why: String) {
        self.gaps.push(why);
    }

    /// When its oldest version became live, in seconds since 1970; `None`: nothing is known.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.oldest
    }

    /// Why something of it is not known.
    pub(crate) fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// One version that everything is as old as.
    pub fn of_one(draft: &PolicyDraft, at: i64) -> Self {
        let grants = Arc::new(GrantSet::of(draft));
        Self::new(vec![PastVersion { n: 1, at, by: Vec::new(), grants }])
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// Since when a part has been there without a break.
    pub(crate) fn since(&self, part: &Part) -> Option<i64> {
        self.since.get(part).copied()
    }

    /// The versions after the oldest one, each with what it gave to somebody.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&Change, Vec<Given<'_>>)> {
        self.changes.iter().map(|version| (version, version.given.iter().map(|part| Given { version, part }).collect()))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{AssignmentDraft, RoleDraft};

    use super::*;

    fn version(at: i64, principals: &[&str], actions: &[&str]) -> PastVersion {
        let draft = PolicyDraft {
            roles: vec![RoleDraft::new("r", actions.iter().copied())],
            assignments: vec![AssignmentDraft::new("a", "r", principals.iter().copied())],
            ..PolicyDraft::default()
        };
        PastVersion { n: 1, at, by: Vec::new(), grants: Arc::new(GrantSet::of(&draft)) }
    }

    fn holds(principal: &str) -> Part {
        Part::Holds { assignment: "a".into(), role: "r".into(), principal: principal.into() }
    }

    #[test]
    fn a_grant_is_as_old_as_its_last_coming() {
        let history = History::new(vec![
            version(10, &["user:a", "user:b"], &["GET /x"]),
            version(20, &["user:a"], &["GET /x"]),
            version(30, &["user:a", "user:b"], &["GET,PUT /x"]),
        ]);
        let action = |action: &str| history.since(&Part::Action { role: "r".into(), action: action.into() });
        assert_eq!(
            [holds("user:a"), holds("user:b"), holds("user:c")].map(|part| history.since(&part)),
            [Some(10), Some(30), None]
        );
        assert_eq!((action("GET /x"), action("PUT /x")), (Some(10), Some(30)));
        let given: Vec<(i64, usize)> = history.given().map(|(version, given)| (version.at, given.len())).collect();
        assert_eq!(given, [(20, 0), (30, 1)]);
    }
}
