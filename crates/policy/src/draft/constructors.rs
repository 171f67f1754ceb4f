//! Short forms of the entries that a program writes by hand most often; everything else is a field.

use crate::draft::*;

impl RouteDraft {
    /// A route for these paths on any host.
    pub fn new<'a>(name: &str, paths: impl IntoIterator<Item = &'a str>) -> Self {
        Self { name: name.to_owned().into(), hosts: Vec::new(), paths: unplaced(paths), reserved: false }
    }
}

impl RoleDraft {
    /// A role with one permission: these actions, each `METHOD PATTERN`.
    pub fn new<'a>(name: &str, actions: impl IntoIterator<Item = &'a str>) -> Self {
        let permission = PermissionDraft { actions: unplaced(actions), not_actions: Vec::new() };
        Self { name: name.to_owned().into(), inherits: Vec::new(), permissions: vec![permission] }
    }
}

impl AssignmentDraft {
    /// An unconditional grant of a role to these principals, on every route.
    pub fn new<'a>(name: &str, role: &str, principals: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.to_owned().into(),
            role: role.to_owned().into(),
            principals: unplaced(principals),
            scope: ScopeDraft::All,
            ..Self::default()
        }
    }
}

impl DenyDraft {
    /// An unconditional no to these principals for these actions, on every route.
    pub fn new<'a>(
        name: &str,
        principals: impl IntoIterator<Item = &'a str>,
        actions: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            name: name.to_owned().into(),
            principals: unplaced(principals),
            actions: unplaced(actions),
            scope: ScopeDraft::All,
            ..Self::default()
        }
    }
}

fn unplaced<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Placed<String>> {
    texts.into_iter().map(|text| text.to_owned().into()).collect()
}
