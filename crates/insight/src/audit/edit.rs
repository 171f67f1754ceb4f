//! Changes of a policy that an audit proposes: as data, so that they can be tried, and as text, so that they can be written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portcullis_policy::{
    ActivationRules, AssignmentDraft, GroupDraft, Mode, PermissionDraft, Placed, PolicyDraft, RoleDraft, ScopeDraft,
    WhenDraft,
};

/// One change. Each only takes away, but for [`Edit::AddPrincipal`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Edit {
    /// A role loses one method of an action of its own, or the action.
    DropUnit { role: String, permission: usize, action: usize, method: Option<Box<str>> },
    /// `*` of an action becomes the methods that are used.
    NarrowMethods { role: String, permission: usize, action: usize, to: Vec<String> },
    /// An assignment names somebody no longer.
    DropPrincipal { assignment: String, principal: String },
    /// A group has somebody no longer.
    DropMember { group: String, member: String },
    /// An assignment goes.
    DropAssignment { assignment: String },
    /// An assignment is for these routes only.
    NarrowScope { assignment: String, routes: Vec<String> },
    /// Somebody holds these roles in place of an assignment's.
    RightSize { assignment: String, principal: String, roles: Vec<String>, new: Option<NewRole> },
    /// A group holds a narrower role in place of an assignment's (`None`: nothing), and those of its members who use the rest hold that by name.
    Split { assignment: String, group: String, shared: Option<NewRole>, rest: Vec<(NewRole, Vec<String>)> },
    /// A network loses a prefix.
    DropPrefix { network: String, prefix: String },
    /// An assignment names somebody more.
    AddPrincipal { assignment: String, principal: String },
}

/// A role that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NewRole {
    pub(crate) name: String,
    /// Actions, and what is taken out of them again.
    pub(crate) permissions: Vec<(Vec<String>, Vec<String>)>,
}

/// The policy with these changes.
pub(crate) fn apply(draft: &PolicyDraft, edits: &BTreeSet<Edit>) -> PolicyDraft {
    let mut changed = draft.clone();
    for edit in edits {
        apply_to_grants(&mut changed, edit);
    }
    narrow_roles(&mut changed, edits);
    // Nobody is left in these.
    changed.assignments.retain(|assignment| !assignment.principals.is_empty());
    changed
}

fn apply_to_grants(draft: &mut PolicyDraft, edit: &Edit) {
    match edit {
        // By their places, which must stay until all are known.
        Edit::DropUnit { .. } | Edit::NarrowMethods { .. } => {}
        Edit::DropPrincipal { assignment, principal } => drop_principal(draft, assignment, principal),
        Edit::DropMember { group, member } => {
            for found in draft.groups.iter_mut().filter(|each| each.name.value == *group) {
                found.members.retain(|each| each.value != *member);
            }
        }
        Edit::DropAssignment { assignment } => draft.assignments.retain(|each| each.name.value != *assignment),
        Edit::NarrowScope { assignment, routes } => {
            for found in draft.assignments.iter_mut().filter(|each| each.name.value == *assignment) {
                found.scope = ScopeDraft::Routes(routes.iter().map(|route| route.clone().into()).collect());
            }
        }
        Edit::RightSize { assignment, principal, roles, new } => {
            let Some(from) = draft.assignments.iter().find(|each| each.name.value == *assignment).cloned() else {
                return;
            };
            drop_principal(draft, assignment, principal);
            if let Some(new) = new.as_ref().filter(|new| draft.roles.iter().all(|role| role.name.value != new.name)) {
                draft.roles.push(new.draft());
            }
            for role in roles.iter().chain(new.as_ref().map(|new| &new.name)) {
                draft.assignments.push(AssignmentDraft {
                    name: assignment_name(assignment, principal, role).into(),
                    role: role.clone().into(),
                    principals: vec![principal.clone().into()],
                    ..from.clone()
                });
            }
        }
        Edit::Split { assignment, group, shared, rest } => {
            let Some(from) = draft.assignments.iter().find(|each| each.name.value == *assignment).cloned() else {
                return;
            };
            let principal = format!("group:{group}");
            drop_principal(draft, assignment, &principal);
            let own = [principal];
            let shared = shared.iter().map(|role| (role, &own[..]));
            for (role, principals) in shared.chain(rest.iter().map(|(role, members)| (role, members.as_slice()))) {
                if draft.roles.iter().all(|each| each.name.value != role.name) {
                    draft.roles.push(role.draft());
                }
                draft.assignments.push(AssignmentDraft {
                    name: split_name(assignment, group, principals, &role.name).into(),
                    role: role.name.clone().into(),
                    principals: principals.iter().map(|name| name.clone().into()).collect(),
                    ..from.clone()
                });
            }
        }
        Edit::DropPrefix { network, prefix } => {
            for found in draft.networks.iter_mut().filter(|each| each.name.value == *network) {
                found.prefixes.retain(|each| each.to_string() != *prefix);
            }
        }
        Edit::AddPrincipal { assignment, principal } => {
            for found in draft.assignments.iter_mut().filter(|each| each.name.value == *assignment) {
                found.principals.push(principal.clone().into());
            }
        }
    }
}

fn drop_principal(draft: &mut PolicyDraft, assignment: &str, principal: &str) {
    for found in draft.assignments.iter_mut().filter(|each| each.name.value == assignment) {
        found.principals.retain(|each| each.value != principal);
    }
}

fn assignment_name(assignment: &str, principal: &str, role: &str) -> String {
    format!("{assignment} for {principal} as {role}").replace(',', " ")
}

/// What an assignment is called that is split off: for the group itself, or for some of its members.
fn split_name(assignment: &str, group: &str, principals: &[String], role: &str) -> String {
    match principals {
        [own] if own.starts_with("group:") => assignment_name(assignment, own, role),
        _ => assignment_name(assignment, &format!("some of {group}"), role),
    }
}

impl NewRole {
    fn draft(&self) -> RoleDraft {
        let placed = |texts: &[String]| texts.iter().map(|text| Placed::from(text.clone())).collect();
        let permission = |(actions, not_actions): &(Vec<String>, Vec<String>)| PermissionDraft {
            actions: placed(actions),
            not_actions: placed(not_actions),
        };
        RoleDraft {
            name: self.name.clone().into(),
            inherits: Vec::new(),
            permissions: self.permissions.iter().map(permission).collect(),
        }
    }
}

/// What is to become of one action: methods that go, and those that alone stay.
#[derive(Default)]
struct Narrowed<'e> {
    dropped: BTreeSet<Option<&'e str>>,
    only: Option<&'e [String]>,
}

fn narrow_roles(draft: &mut PolicyDraft, edits: &BTreeSet<Edit>) {
    let mut by_action: BTreeMap<(&str, usize, usize), Narrowed<'_>> = BTreeMap::new();
    for edit in edits {
        match edit {
            Edit::DropUnit { role, permission, action, method } => {
                by_action.entry((role, *permission, *action)).or_default().dropped.insert(method.as_deref());
            }
            Edit::NarrowMethods { role, permission, action, to } => {
                by_action.entry((role, *permission, *action)).or_default().only = Some(to);
            }
            _ => {}
        }
    }
    for role in &mut draft.roles {
        let name = role.name.value.clone();
        for (permission, written) in role.permissions.iter_mut().enumerate() {
            let mut place = 0_usize;
            written.actions.retain_mut(|text| {
                let narrowed = by_action.get(&(name.as_str(), permission, place));
                place += 1;
                let Some(narrowed) = narrowed else { return true };
                let left = methods_left(&text.value, narrowed);
                if let Some(left) = &left {
                    text.value.clone_from(left);
                }
                left.is_some()
            });
        }
        role.permissions.retain(|permission| !permission.actions.is_empty());
    }
}

/// The action with the methods that stay; `None`: nothing of it does.
fn methods_left(text: &str, narrowed: &Narrowed<'_>) -> Option<String> {
    let (methods, pattern) = text.split_once(' ')?;
    let pattern = pattern.trim_start_matches(' ');
    if narrowed.dropped.contains(&None) {
        return None;
    }
    if let Some(only) = narrowed.only {
        return (!only.is_empty()).then(|| format!("{} {pattern}", only.join(",")));
    }
    let left: Vec<&str> = methods.split(',').filter(|method| !narrowed.dropped.contains(&Some(*method))).collect();
    (!left.is_empty()).then(|| format!("{} {pattern}", left.join(",")))
}

/// Principals, members or prefixes that are written out; of a longer list only what changes is said.
const MOST_WRITTEN: usize = 25;

/// What to write, for a person. `None`: nothing but a removal, which the sentence says.
pub(crate) fn toml(draft: &PolicyDraft, edits: &[Edit]) -> Option<String> {
    let after = apply(draft, &edits.iter().cloned().collect());
    let mut text = String::new();
    let mut roles: BTreeSet<&str> = BTreeSet::new();
    let mut assignments: BTreeSet<String> = BTreeSet::new();
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    for edit in edits {
        match edit {
            Edit::DropUnit { role, .. } | Edit::NarrowMethods { role, .. } => {
                roles.insert(role);
            }
            Edit::DropPrincipal { assignment, principal } if is_long(draft, assignment) => {
                let _ =
                    writeln!(text, "# [[assignment]] {assignment}: take {} out of `principals`\n", quoted(principal));
            }
            Edit::AddPrincipal { assignment, principal } if is_long(draft, assignment) => {
                let _ = writeln!(text, "# [[assignment]] {assignment}: add {} to `principals`\n", quoted(principal));
            }
            Edit::DropMember { group, member } if has_many_members(draft, group) => {
                let _ = writeln!(text, "# [[group]] {group}: take {} out of `members`\n", quoted(member));
            }
            // Where the prefix stands, in the table or in a file that it names, is not known here: what is written in place of the table would
            // cut the network from its file.
            Edit::DropPrefix { network, prefix } => {
                let _ = writeln!(
                    text,
                    "# [[network]] {network}: take {} out of `addresses`, or out of its file\n",
                    quoted(prefix)
                );
            }
            Edit::DropPrincipal { assignment, .. }
            | Edit::NarrowScope { assignment, .. }
            | Edit::AddPrincipal { assignment, .. } => {
                assignments.insert(assignment.clone());
            }
            Edit::DropMember { group, .. } => {
                groups.insert(group);
            }
            Edit::DropAssignment { assignment } => {
                let _ = writeln!(text, "# remove [[assignment]] {assignment}");
            }
            Edit::RightSize { assignment, principal, roles: existing, new } => {
                if is_long(draft, assignment) {
                    let _ = writeln!(
                        text,
                        "# [[assignment]] {assignment}: take {} out of `principals`\n",
                        quoted(principal)
                    );
                } else {
                    assignments.insert(assignment.clone());
                }
                roles.extend(new.as_ref().map(|new| new.name.as_str()));
                let all = existing.iter().chain(new.as_ref().map(|new| &new.name));
                assignments.extend(all.map(|role| assignment_name(assignment, principal, role)));
            }
            Edit::Split { assignment, group, shared, rest } => {
                if is_long(draft, assignment) {
                    let principal = quoted(&format!("group:{group}"));
                    let _ = writeln!(text, "# [[assignment]] {assignment}: take {principal} out of `principals`\n");
                } else {
                    assignments.insert(assignment.clone());
                }
                let own = [format!("group:{group}")];
                let shared = shared.iter().map(|role| (role, &own[..]));
                for (role, principals) in shared.chain(rest.iter().map(|(role, members)| (role, members.as_slice()))) {
                    roles.insert(&role.name);
                    assignments.insert(split_name(assignment, group, principals, &role.name));
                }
            }
        }
    }
    for role in after.roles.iter().filter(|each| roles.contains(each.name.value.as_str())) {
        text.push_str(&role_text(role));
    }
    for group in after.groups.iter().filter(|each| groups.contains(each.name.value.as_str())) {
        text.push_str(&group_text(group));
    }
    for name in assignments {
        match after.assignments.iter().find(|each| each.name.value == name) {
            Some(assignment) => text.push_str(&assignment_text(assignment)),
            None => {
                let _ = writeln!(text, "# remove [[assignment]] {name}: nobody is left in it\n");
            }
        }
    }
    let text = text.trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

fn is_long(draft: &PolicyDraft, assignment: &str) -> bool {
    let mut found = draft.assignments.iter().filter(|each| each.name.value == assignment);
    found.any(|each| each.principals.len() > MOST_WRITTEN)
}

fn has_many_members(draft: &PolicyDraft, group: &str) -> bool {
    draft.groups.iter().any(|each| each.name.value == group && each.members.len() > MOST_WRITTEN)
}

// What follows names every field of what it writes: one that is added there and not written here would be lost by whoever pastes a suggestion.

fn group_text(group: &GroupDraft) -> String {
    let GroupDraft { name, members } = group;
    let members = list(members.iter().map(|member| &member.value));
    format!("[[group]]\nname = {}\nmembers = {members}\n\n", quoted(&name.value))
}

fn role_text(role: &RoleDraft) -> String {
    let RoleDraft { name, inherits, permissions } = role;
    let mut text = format!("[[role]]\nname = {}\n", quoted(&name.value));
    if !inherits.is_empty() {
        let _ = writeln!(text, "inherits = {}", list(inherits.iter().map(|parent| &parent.value)));
    }
    let permission = |PermissionDraft { actions, not_actions }: &PermissionDraft| {
        let actions = list(actions.iter().map(|text| &text.value));
        match not_actions.is_empty() {
            true => format!("  {{ actions = {actions} }},\n"),
            false => {
                let not_actions = list(not_actions.iter().map(|text| &text.value));
                format!("  {{ actions = {actions}, not_actions = {not_actions} }},\n")
            }
        }
    };
    let permissions: String = permissions.iter().map(permission).collect();
    let _ = write!(text, "permissions = [\n{permissions}]\n\n");
    text
}

fn assignment_text(assignment: &AssignmentDraft) -> String {
    let AssignmentDraft { name, role, principals, scope, starts, expires, when, activation, mode } = assignment;
    let mut text = format!("[[assignment]]\nname = {}\n", quoted(&name.value));
    let _ = writeln!(text, "role = {}", quoted(&role.value));
    let _ = writeln!(text, "principals = {}", list(principals.iter().map(|principal| &principal.value)));
    let scope = match scope {
        ScopeDraft::All => quoted("*"),
        ScopeDraft::Routes(routes) => match routes.as_slice() {
            [route] => quoted(&route.value),
            several => list(several.iter().map(|route| &route.value)),
        },
    };
    let _ = writeln!(text, "scope = {scope}");
    for (key, time) in [("starts", starts), ("expires", expires)] {
        if let Some(time) = time {
            let _ = writeln!(text, "{key} = {time}");
        }
    }
    let when = when_text(when);
    if !when.is_empty() {
        let _ = writeln!(text, "when = {{ {} }}", when.join(", "));
    }
    if let Some(activation) = activation {
        let _ = writeln!(text, "activation = {{ {} }}", activation_text(*activation));
    }
    match mode {
        Mode::Enforce => {}
        Mode::Shadow => text.push_str("mode = \"shadow\"\n"),
    }
    text.push('\n');
    text
}

fn when_text(when: &WhenDraft) -> Vec<String> {
    let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } = when;
    let mut parts = Vec::new();
    if let Some(networks) = networks {
        parts.push(format!("networks = {}", list(networks.iter().map(|name| &name.value))));
    }
    if let Some(hours) = hours {
        parts.push(format!("hours = {}", quoted(&hours.value.text)));
    }
    if let Some(countries) = countries {
        let countries: Vec<String> = countries.iter().map(|country| country.as_str().to_owned()).collect();
        parts.push(format!("countries = {}", list(countries.iter())));
    }
    if *compliant_device {
        parts.push("device = \"compliant\"".to_owned());
    }
    if *assurance_mfa {
        parts.push("assurance = \"mfa\"".to_owned());
    }
    parts.extend(max_age_s.map(|seconds| format!("max_age = \"{seconds}s\"")));
    parts.extend(max_risk.map(|level| format!("max_risk = {}", quoted(level.as_str()))));
    parts
}

fn activation_text(rules: ActivationRules) -> String {
    let ActivationRules { max_s, justification_required, ticket_required, approvals, by_oneself } = rules;
    let mut parts = vec![format!("max = \"{max_s}s\"")];
    let mut part = |written: bool, text: String| parts.extend(written.then_some(text));
    part(!justification_required, "justification = \"optional\"".to_owned());
    part(ticket_required, "ticket = \"required\"".to_owned());
    part(approvals > 0, format!("approvals = {approvals}"));
    part(by_oneself, "self = true".to_owned());
    parts.join(", ")
}

fn list<'t>(texts: impl Iterator<Item = &'t String>) -> String {
    format!("[{}]", texts.map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// A basic string of TOML, which is read as it is: `${` would be a variable.
fn quoted(text: &str) -> String {
    let text = text.replace("${", "$${");
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> PolicyDraft {
        let mut role = RoleDraft::new("r", ["GET,PUT /a", "* /b/**"]);
        role.permissions.push(PermissionDraft {
            actions: vec!["DELETE /a".to_owned().into()],
            not_actions: vec!["DELETE /a/x".to_owned().into()],
        });
        PolicyDraft {
            roles: vec![role],
            assignments: vec![AssignmentDraft {
                when: WhenDraft { assurance_mfa: true, ..WhenDraft::default() },
                ..AssignmentDraft::new("a", "r", ["user:x", "user:y"])
            }],
            ..PolicyDraft::default()
        }
    }

    fn drop_unit(permission: usize, action: usize, method: Option<&str>) -> Edit {
        Edit::DropUnit { role: "r".to_owned(), permission, action, method: method.map(Into::into) }
    }

    fn actions(draft: &PolicyDraft) -> Vec<&str> {
        let permissions = draft.roles[0].permissions.iter();
        permissions.flat_map(|permission| &permission.actions).map(|action| action.value.as_str()).collect()
    }

    #[test]
    fn units_go_by_their_places_whatever_goes_beside_them() {
        let check = |edits: &[Edit], expected: &[&str]| {
            let after = apply(&draft(), &edits.iter().cloned().collect());
            assert_eq!(actions(&after), expected, "{edits:?}");
        };
        check(&[], &["GET,PUT /a", "* /b/**", "DELETE /a"]);
        check(&[drop_unit(0, 0, Some("PUT"))], &["GET /a", "* /b/**", "DELETE /a"]);
        check(&[drop_unit(0, 0, Some("PUT")), drop_unit(0, 0, Some("GET"))], &["* /b/**", "DELETE /a"]);
        check(&[drop_unit(0, 1, None), drop_unit(1, 0, Some("DELETE"))], &["GET,PUT /a"]);
        let narrowed =
            Edit::NarrowMethods { role: "r".to_owned(), permission: 0, action: 1, to: vec!["GET".to_owned()] };
        check(&[narrowed, drop_unit(0, 0, Some("GET"))], &["PUT /a", "GET /b/**", "DELETE /a"]);
    }

    #[test]
    fn who_is_right_sized_keeps_the_conditions() {
        let new = NewRole { name: "r narrowed".to_owned(), permissions: vec![(vec!["GET /a".to_owned()], Vec::new())] };
        let edit = Edit::RightSize {
            assignment: "a".to_owned(),
            principal: "user:x".to_owned(),
            roles: Vec::new(),
            new: Some(new),
        };
        let after = apply(&draft(), &BTreeSet::from([edit.clone()]));
        let [old, new] = &after.assignments[..] else { panic!("two") };
        assert_eq!(old.principals.iter().map(|each| each.value.as_str()).collect::<Vec<_>>(), ["user:y"]);
        assert!(new.when.assurance_mfa && new.principals[0].value == "user:x");
        assert_eq!(
            toml(&draft(), &[edit]).unwrap(),
            "[[role]]\nname = \"r narrowed\"\npermissions = [\n  { actions = [\"GET /a\"] },\n]\n\n\
             [[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:y\"]\nscope = \"*\"\nwhen = { assurance = \"mfa\" }\n\n\
             [[assignment]]\nname = \"a for user:x as r narrowed\"\nrole = \"r narrowed\"\nprincipals = [\"user:x\"]\nscope = \"*\"\n\
             when = { assurance = \"mfa\" }"
        );
    }

    #[test]
    fn an_assignment_without_principals_goes() {
        let of = |principal: &str| Edit::DropPrincipal { assignment: "a".to_owned(), principal: principal.to_owned() };
        let edits = [of("user:x"), of("user:y")];
        assert!(apply(&draft(), &edits.iter().cloned().collect()).assignments.is_empty());
        assert_eq!(toml(&draft(), &edits).unwrap(), "# remove [[assignment]] a: nobody is left in it");
    }
}
