//! Which roles a role has the permissions of.

use super::*;

/// How deep roles may inherit. It keeps the sum of all closures within a small multiple of the policy.
const MAX_DEPTH: usize = 32;
/// The most inherited roles that are gathered in all. Many roles that inherit from many multiply.
const MAX_INHERITED: usize = 5_000_000;
/// At most so many circles are told: roles that all inherit from each other have one for every way around.
const MOST_CYCLES: usize = 100;

impl Compiler {
    /// For each role itself and all it inherits, directly or not. A cycle or a chain that is too deep is reported.
    pub(super) fn role_closures(&mut self, drafts: &[&RoleDraft], parents: &[Vec<RoleId>]) -> Vec<Vec<RoleId>> {
        let mut walk = Walk {
            parents,
            done: vec![None; drafts.len()],
            path: Vec::new(),
            cycles: Vec::new(),
            too_deep: BTreeSet::new(),
            inherited: 0,
        };
        for index in 0..u32::try_from(drafts.len()).unwrap_or(u32::MAX) {
            walk.closure(RoleId(index));
        }
        let Walk { done, cycles, too_deep, inherited, .. } = walk;
        if inherited > MAX_INHERITED {
            let at = drafts.first().map_or(Position::default(), |draft| draft.name.at);
            let message = format!("the roles inherit more than {MAX_INHERITED} roles altogether");
            self.error(at, ProblemKind::TooMany, message, Some("inherit from fewer roles".into()));
        }
        for cycle in cycles {
            self.role_cycle(drafts, &cycle);
        }
        for role in too_deep {
            if let Some(draft) = drafts.get(role.0 as usize) {
                let message = format!("role `{}` inherits through more than {MAX_DEPTH} others", draft.name.value);
                self.error(draft.name.at, ProblemKind::RoleDepth, message, Some("flatten the chain".into()));
            }
        }
        done.into_iter().map(|closure| closure.map(|(roles, _)| roles).unwrap_or_default()).collect()
    }

    fn role_cycle(&mut self, drafts: &[&RoleDraft], cycle: &[RoleId]) {
        let members: Vec<&RoleDraft> = cycle.iter().filter_map(|role| drafts.get(role.0 as usize).copied()).collect();
        let (Some(first), Some(last)) = (members.first(), members.last()) else { return };
        let mut names: Vec<&str> = members.iter().map(|draft| draft.name.value.as_str()).collect();
        names.push(&first.name.value);
        let closing =
            last.inherits.iter().find(|name| name.value == first.name.value).map_or(last.name.at, |name| name.at);
        self.problems.push(Problem {
            at: closing,
            severity: Severity::Error,
            kind: ProblemKind::RoleCycle,
            message: format!("roles inherit in a circle: {}", names.join(" -> ")),
            help: Some("remove one of these `inherits`".into()),
            related: members.iter().map(|draft| (draft.name.at, "takes part".into())).collect(),
        });
    }
}

struct Walk<'a> {
    parents: &'a [Vec<RoleId>],
    /// By role: its closure and its depth, once known.
    done: Vec<Option<(Vec<RoleId>, usize)>>,
    path: Vec<RoleId>,
    cycles: Vec<Vec<RoleId>>,
    too_deep: BTreeSet<RoleId>,
    /// The inherited roles gathered so far, before repetitions are taken out.
    inherited: usize,
}

impl Walk<'_> {
    /// The depth of a role. The recursion is bounded: it stops one step past `MAX_DEPTH`.
    fn closure(&mut self, role: RoleId) -> usize {
        if let Some(Some((_, depth))) = self.done.get(role.0 as usize) {
            return *depth;
        }
        if let Some(from) = self.path.iter().position(|each| *each == role) {
            if self.cycles.len() < MOST_CYCLES {
                self.cycles.push(self.path.get(from..).unwrap_or_default().to_vec());
            }
            return 0;
        }
        if self.inherited > MAX_INHERITED {
            return 0;
        }
        if self.path.len() > MAX_DEPTH {
            self.too_deep.extend(self.path.first().copied());
            return 0;
        }
        self.path.push(role);
        let parents = self.parents;
        let mut roles = vec![role];
        let mut depth = 0;
        for parent in parents.get(role.0 as usize).into_iter().flatten() {
            depth = depth.max(1 + self.closure(*parent));
            if let Some(Some((inherited, _))) = self.done.get(parent.0 as usize) {
                self.inherited += inherited.len();
                if self.inherited > MAX_INHERITED {
                    break;
                }
                roles.extend_from_slice(inherited);
            }
        }
        self.path.pop();
        roles.sort_unstable();
        roles.dedup();
        if depth > MAX_DEPTH {
            self.too_deep.insert(role);
            depth = 0;
        }
        if let Some(slot) = self.done.get_mut(role.0 as usize) {
            *slot = Some((roles, depth));
        }
        depth
    }
}
