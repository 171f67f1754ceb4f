//! Since when each grant is there, by the log of versions, and what was granted by whom and when.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_policy::{PolicyDraft, WrittenAction};

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

    /// Those of the grants that somebody was given: by name, or as a member.
    fn given(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().filter(|part| matches!(part, Part::Holds { .. } | Part::Member { .. }))
    }
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
            self.changes.push(Change { n, at, by, given });
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
