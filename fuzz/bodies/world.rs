//! The smallest policies in which a pattern or a condition can be asked about.

use portcullis_policy::*;

/// A policy with one route for everything, on which user `i` holds a role with action `i` alone, if `when` holds.
pub(crate) fn policy_of(actions: &[&str], when: &WhenDraft) -> Result<Policy, Vec<Problem>> {
    let named = |kind: &str, index: usize| Placed::from(format!("{kind}{index}"));
    let draft = PolicyDraft {
        routes: vec![RouteDraft { name: "all".to_owned().into(), ..RouteDraft::default() }],
        roles: (actions.iter().enumerate())
            .map(|(index, action)| RoleDraft {
                name: named("role", index),
                permissions: vec![PermissionDraft {
                    actions: vec![(*action).to_owned().into()],
                    not_actions: Vec::new(),
                }],
                ..RoleDraft::default()
            })
            .collect(),
        assignments: (0..actions.len())
            .map(|index| AssignmentDraft {
                name: named("assignment", index),
                role: named("role", index),
                principals: vec![named("user:u", index)],
                scope: ScopeDraft::All,
                when: when.clone(),
                ..AssignmentDraft::default()
            })
            .collect(),
        ..PolicyDraft::default()
    };
    Policy::compile(&draft).map(|(policy, _)| policy)
}
