//! Roles: their actions interned, what they inherit, and the index from an action to the roles that have it.

use super::*;

impl Compiler {
    pub(super) fn roles(
        &mut self,
        drafts: &[&RoleDraft],
        names: &Names,
        actions: &mut ActionTable,
    ) -> (Vec<Role>, Vec<ActionSet>) {
        let mut not_actions = Vec::new();
        let mut own: Vec<Vec<(PatternId, MethodMask, u32)>> = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let mut mine = Vec::new();
            for permission in &draft.permissions {
                let tag = u32::try_from(not_actions.len()).unwrap_or(u32::MAX);
                mine.extend(
                    self.actions(&permission.actions, actions).into_iter().map(|(pattern, mask)| (pattern, mask, tag)),
                );
                let excluded = self.actions(&permission.not_actions, actions);
                not_actions
                    .push(ActionSet::new(excluded.into_iter().map(|(pattern, mask)| (pattern, mask, 0)).collect()));
                if permission.actions.is_empty() {
                    self.error(
                        draft.name.at,
                        ProblemKind::Empty,
                        format!("a permission of role `{}` has no actions", draft.name.value),
                        None,
                    );
                }
            }
            own.push(mine);
        }
        let parents: Vec<Vec<RoleId>> = drafts
            .iter()
            .map(|draft| draft.inherits.iter().filter_map(|name| self.resolve("role", name, &names.roles)).collect())
            .collect();
        let mut closures = self.role_closures(drafts, &parents);
        let size = |closure: &Vec<RoleId>| -> usize {
            closure.iter().filter_map(|role| own.get(role.0 as usize)).map(Vec::len).sum()
        };
        if closures.iter().map(size).sum::<usize>() > MAX_ROLE_ACTIONS {
            let at = drafts.first().map_or(Position::default(), |draft| draft.name.at);
            let message =
                format!("the roles have more than {MAX_ROLE_ACTIONS} actions altogether, inherited ones included");
            self.error(at, ProblemKind::TooMany, message, Some("inherit from fewer roles".into()));
            closures.iter_mut().for_each(Vec::clear);
        }
        let roles = drafts
            .iter()
            .zip(closures)
            .map(|(draft, closure)| Role {
                rule: self.rule(RuleKind::Role, &draft.name),
                actions: ActionSet::new(
                    closure.iter().filter_map(|role| own.get(role.0 as usize)).flatten().copied().collect(),
                ),
            })
            .collect();
        (roles, not_actions)
    }

    pub(super) fn actions(
        &mut self,
        texts: &[Placed<String>],
        table: &mut ActionTable,
    ) -> Vec<(PatternId, MethodMask)> {
        let mut found = Vec::with_capacity(texts.len());
        for text in texts {
            if text.value.split_once(' ').is_some_and(|(_, pattern)| Pattern::looks_mistaken(pattern)) {
                self.literal_wildcard(text);
            }
            match table.intern(&text.value) {
                Ok(action) => found.push(action),
                Err(problem) => {
                    self.error(text.at, ProblemKind::BadAction, problem.message, Some(problem.help.into()));
                }
            }
        }
        found
    }
}

pub(super) fn roles_by_pattern(roles: &[Role], patterns: usize) -> Vec<RolesByMethod> {
    let mut by_pattern: Vec<BTreeMap<MethodMask, Vec<RoleId>>> = vec![BTreeMap::new(); patterns];
    for (role, id) in roles.iter().zip(0u32..) {
        for (pattern, mask) in role.actions.actions() {
            if let Some(by_method) = by_pattern.get_mut(pattern.0 as usize) {
                let list = by_method.entry(mask).or_default();
                if list.last() != Some(&RoleId(id)) {
                    list.push(RoleId(id));
                }
            }
        }
    }
    by_pattern
        .into_iter()
        .map(|by_method| by_method.into_iter().map(|(mask, list)| (mask, list.into_boxed_slice())).collect())
        .collect()
}
