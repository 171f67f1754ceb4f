//! What a draft says, without where it stands: two files that mean the same have the same entries.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::{
    AssignmentDraft, DenyDraft, ExclusiveDraft, GroupDraft, NetworkDraft, PermissionDraft, Placed, PolicyDraft,
    Position, ResourceDraft, RoleDraft, RouteDraft, ScopeDraft, WhenDraft,
};

impl PolicyDraft {
    /// Every entry in words for programmers, with all that it says and without its place. The order of entries says nothing, so it is lost; the number
    /// and the hash of the policy are none of them.
    pub fn entries(&self) -> BTreeSet<String> {
        // A field that is added must show here: one that is not compared would be lost unnoticed by whoever compares.
        let PolicyDraft {
            sources: _,
            version: _,
            sha256: _,
            routes,
            networks,
            keep_prefixes: _,
            activations_at: _,
            resources,
            roles,
            groups,
            assignments,
            denies,
            exclusives,
            risk,
            step_up,
            spelling: _,
        } = self;
        let mut entries = BTreeSet::from([format!("{risk:?}"), format!("{step_up:?}")]);
        entries.extend(routes.iter().map(|each| unplaced(each, RouteDraft::forget)));
        entries.extend(networks.iter().map(|each| unplaced(each, NetworkDraft::forget)));
        entries.extend(resources.iter().map(|each| unplaced(each, ResourceDraft::forget)));
        entries.extend(roles.iter().map(|each| unplaced(each, RoleDraft::forget)));
        entries.extend(groups.iter().map(|each| unplaced(each, GroupDraft::forget)));
        entries.extend(assignments.iter().map(|each| unplaced(each, AssignmentDraft::forget)));
        entries.extend(denies.iter().map(|each| unplaced(each, DenyDraft::forget)));
        entries.extend(exclusives.iter().map(|each| unplaced(each, ExclusiveDraft::forget)));
        entries
    }
}

fn unplaced<T: Clone + Debug>(entry: &T, forget: fn(&mut T)) -> String {
    let mut entry = entry.clone();
    forget(&mut entry);
    format!("{entry:?}")
}

fn forget_one<T>(placed: &mut Placed<T>) {
    placed.at = Position::default();
}

fn forget_all<T>(placed: &mut [Placed<T>]) {
    placed.iter_mut().for_each(forget_one);
}

impl RouteDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        forget_all(&mut self.hosts);
        forget_all(&mut self.paths);
    }
}

impl NetworkDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        self.prefixes.sort_unstable();
    }
}

impl ResourceDraft {
    fn forget(&mut self) {
        forget_one(&mut self.route);
        forget_all(&mut self.allow);
        forget_all(&mut self.deny);
        forget_one(&mut self.public);
        self.at = Position::default();
    }
}

impl RoleDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        forget_all(&mut self.inherits);
        for PermissionDraft { actions, not_actions } in &mut self.permissions {
            forget_all(actions);
            forget_all(not_actions);
        }
    }
}

impl GroupDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        forget_all(&mut self.members);
    }
}

impl AssignmentDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        forget_one(&mut self.role);
        forget_all(&mut self.principals);
        self.scope.forget();
        self.when.forget();
    }
}

impl DenyDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        forget_all(&mut self.principals);
        forget_all(&mut self.actions);
        self.scope.forget();
        self.when.forget();
    }
}

impl ExclusiveDraft {
    fn forget(&mut self) {
        forget_one(&mut self.name);
        forget_all(&mut self.roles);
        self.max.iter_mut().for_each(forget_one);
    }
}

impl ScopeDraft {
    fn forget(&mut self) {
        match self {
            Self::All => {}
            Self::Routes(routes) => forget_all(routes),
        }
    }
}

impl WhenDraft {
    fn forget(&mut self) {
        self.networks.iter_mut().for_each(|networks| forget_all(networks));
        self.hours.iter_mut().for_each(forget_one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_and_where_it_stands_does_not() {
        let draft = |line: u32, member: &str| PolicyDraft {
            groups: vec![GroupDraft {
                name: Placed::new("g".to_owned(), Position { line, ..Position::default() }),
                members: vec![Placed::new(member.to_owned(), Position { start: line, ..Position::default() })],
            }],
            ..PolicyDraft::default()
        };
        assert_eq!(draft(1, "user:a").entries(), draft(2, "user:a").entries());
        assert_ne!(draft(1, "user:a").entries(), draft(1, "user:b").entries());
    }
}
