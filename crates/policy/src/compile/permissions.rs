//! Where each permission stands, by its index: what a report about permissions leads back to.

use super::*;

/// The most characters of a permission's actions that are kept, to name it by.
const MAX_TEXT: usize = 120;

impl Compiler {
    /// INVARIANT: in the order in which `roles` numbers them: roles by name, then as the role writes them.
    pub(super) fn permission_places(&self, draft: &PolicyDraft) -> Vec<PermissionPlace> {
        let mut places = Vec::new();
        for role in by_name(&draft.roles, |each| &each.name.value) {
            let rule = self.rule(RuleKind::Role, &role.name);
            for permission in &role.permissions {
                let at = permission.actions.first().map_or(role.name.at, |action| action.at);
                let file = self.sources.get(at.source as usize).cloned().unwrap_or_default();
                places.push(PermissionPlace {
                    rule: RuleRef { file, line: at.line, ..rule.clone() },
                    actions: listed(&permission.actions),
                });
            }
        }
        places
    }
}

fn listed(actions: &[Placed<String>]) -> Box<str> {
    let mut text = String::new();
    for action in actions {
        let between = if text.is_empty() { "" } else { ", " };
        if text.chars().count() + between.len() + action.value.chars().count() > MAX_TEXT {
            text.push_str(", …");
            break;
        }
        text.push_str(between);
        text.push_str(&action.value);
    }
    text.trim_start_matches(", ").into()
}
