//! Whether sets of roles that exclude each other make sense. They decide nothing: who breaks them, the lint says.

use super::*;

impl Compiler {
    /// Reports sets that are too small, name what is not there, or that a role of theirs breaks by itself.
    pub(super) fn exclusives(&mut self, draft: &PolicyDraft, names: &Names) {
        let entries: Vec<&ExclusiveDraft> = draft.exclusives.iter().collect();
        if entries.is_empty() {
            return;
        }
        self.index("exclusive", &entries, |each| &each.name, |index| index);
        let parents: HashMap<&str, &[Placed<String>]> =
            draft.roles.iter().map(|role| (role.name.value.as_str(), role.inherits.as_slice())).collect();
        for entry in entries {
            let roles: BTreeSet<&str> = entry
                .roles
                .iter()
                .filter(|role| self.resolve("role", role, &names.roles).is_some())
                .map(|role| role.value.as_str())
                .collect();
            let known = roles.len() == entry.roles.len();
            if let Some((at, message, help)) = misfit(entry, roles.len(), known) {
                self.error(at, ProblemKind::BadExclusive, message, Some(help));
                continue;
            }
            let max = entry.max.as_ref().map_or(1, |max| max.value);
            for role in entry.roles.iter().filter(|_| known) {
                self.inherited_exclusives(entry, role, &roles, max, &parents);
            }
        }
    }

    /// A role that inherits others of the set: whoever holds it breaks the set.
    fn inherited_exclusives(
        &mut self,
        entry: &ExclusiveDraft,
        role: &Placed<String>,
        set: &BTreeSet<&str>,
        max: usize,
        parents: &HashMap<&str, &[Placed<String>]>,
    ) {
        let mut seen: BTreeSet<&str> = BTreeSet::from([role.value.as_str()]);
        let mut next = vec![role.value.as_str()];
        while let Some(each) = next.pop() {
            let inherited = parents.get(each).copied().unwrap_or_default();
            next.extend(inherited.iter().map(|name| name.value.as_str()).filter(|name| seen.insert(name)));
        }
        let held: Vec<&str> = set.iter().copied().filter(|name| seen.contains(name)).collect();
        if held.len() > max {
            let message = format!(
                "whoever holds `{}` holds {} of [[exclusive]] `{}`, since it inherits them",
                role.value,
                held.join(", "),
                entry.name.value
            );
            let help = "roles that exclude each other cannot inherit from each other";
            self.error(role.at, ProblemKind::BadExclusive, message, Some(help.into()));
        }
    }
}

/// What is wrong with the size of a set, which has this many different roles that are there.
fn misfit(entry: &ExclusiveDraft, different: usize, known: bool) -> Option<(Position, String, String)> {
    let name = &entry.name;
    if entry.roles.len() < 2 {
        let message = format!("[[exclusive]] `{}` names fewer than two roles, so it excludes nothing", name.value);
        return Some((name.at, message, "name at least two roles".into()));
    }
    if entry.roles.len() > ExclusiveDraft::MOST_ROLES {
        let message = format!("[[exclusive]] `{}` names {} roles", name.value, entry.roles.len());
        return Some((name.at, message, format!("name at most {}", ExclusiveDraft::MOST_ROLES)));
    }
    let names: BTreeSet<&str> = entry.roles.iter().map(|role| role.value.as_str()).collect();
    if names.len() < entry.roles.len() {
        let message = format!("[[exclusive]] `{}` names a role twice", name.value);
        return Some((name.at, message, "name each role once".into()));
    }
    let max = entry.max.as_ref()?;
    (known && (max.value == 0 || max.value >= different)).then(|| {
        let message = format!("`max = {}` of {different} roles", max.value);
        (max.at, message, format!("write a number from 1 to {}", different.saturating_sub(1)))
    })
}
