//! Whom rules can name, which groups they are in, and which rules name them.

use super::*;

/// The most memberships of all subjects together, nested ones included. Deep nests of large groups multiply.
pub(super) const MAX_NESTED: usize = 10_000_000;
/// The most steps from a member to a group that are taken to find them. Groups that contain each other have few members
/// and many ways between them.
const MAX_STEPS: usize = 10_000_000;

/// Collects subjects while rules are compiled.
pub(super) struct SubjectsBuilder {
    ids: HashMap<Box<str>, SubjectId>,
    /// By subject: its name, whether it is a declared group, and the groups it is in directly.
    entries: Vec<(Box<str>, bool, Vec<SubjectId>)>,
}

impl Default for SubjectsBuilder {
    fn default() -> Self {
        let mut builder = Self { ids: HashMap::new(), entries: Vec::new() };
        // INVARIANT: the order of `Subjects::ANYONE` and `Subjects::AUTHENTICATED`.
        builder.add("anyone");
        builder.add("authenticated");
        builder
    }
}

impl SubjectsBuilder {
    /// The subject of a principal as a policy writes it, or `None` when it is none.
    pub(super) fn intern(&mut self, text: &str) -> Option<SubjectId> {
        if let Some(id) = self.ids.get(text) {
            return Some(*id);
        }
        let (kind, id) = text.split_once(':')?;
        let known = matches!(kind, "user" | "service" | "group" | "certificate");
        let fit = !id.is_empty() && id.len() <= MAX_NAME && !id.contains(char::is_control);
        (known && fit).then(|| self.add(text))
    }

    pub(super) fn declare_group(&mut self, name: &str) -> SubjectId {
        let text = format!("group:{name}");
        let id = match self.ids.get(text.as_str()) {
            Some(id) => *id,
            None => self.add(&text),
        };
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            entry.1 = true;
        }
        id
    }

    pub(super) fn join(&mut self, member: SubjectId, group: SubjectId) {
        if let Some((_, _, groups)) = self.entries.get_mut(member.0 as usize) {
            groups.push(group);
        }
    }

    fn add(&mut self, text: &str) -> SubjectId {
        let id = SubjectId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.ids.insert(text.into(), id);
        self.entries.push((text.into(), false, Vec::new()));
        id
    }

    /// The groups that contain each other, one list of names for each circle.
    pub(super) fn group_cycles(&self, closures: &[Box<[SubjectId]>]) -> Vec<Vec<String>> {
        let ranks = self.ranks();
        let rank = |id: &SubjectId| ranks.get(id.0 as usize).copied();
        let within = |id: SubjectId| closures.get(id.0 as usize).map_or(&[][..], |groups| groups);
        let is_within = |id: SubjectId, of: SubjectId| within(of).binary_search_by_key(&rank(&id), rank).is_ok();
        let mut seen = HashSet::new();
        let mut cycles = Vec::new();
        for index in 0..closures.len() {
            let id = SubjectId(u32::try_from(index).unwrap_or(u32::MAX));
            if seen.contains(&id) || !is_within(id, id) {
                continue;
            }
            // By name, as closures are.
            let members: Vec<SubjectId> = within(id).iter().copied().filter(|other| is_within(id, *other)).collect();
            cycles.push(
                members.iter().map(|member| self.name(*member).trim_start_matches("group:").to_owned()).collect(),
            );
            seen.extend(members);
        }
        cycles
    }

    /// By subject: its place among all in the order of names.
    fn ranks(&self) -> Vec<u32> {
        let mut by_name: Vec<usize> = (0..self.entries.len()).collect();
        by_name.sort_unstable_by_key(|index| self.entries.get(*index).map(|(name, _, _)| name));
        let mut ranks = vec![0; by_name.len()];
        for (index, rank) in by_name.into_iter().zip(0u32..) {
            if let Some(slot) = ranks.get_mut(index) {
                *slot = rank;
            }
        }
        ranks
    }

    pub(super) fn name(&self, id: SubjectId) -> &str {
        self.entries.get(id.0 as usize).map_or("", |(name, _, _)| name)
    }

    /// By subject: all groups that it is in, directly or not, by name. `None` when they are more than [`MAX_NESTED`], or
    /// take more than [`MAX_STEPS`] to find.
    pub(super) fn closures(&self) -> Option<Vec<Box<[SubjectId]>>> {
        let mut walk = GroupWalk { entries: &self.entries, reached_from: vec![None; self.entries.len()], steps: 0 };
        let mut total = 0;
        let mut closures = Vec::with_capacity(self.entries.len());
        for id in (0u32..).take(self.entries.len()) {
            let groups = walk.closure(SubjectId(id))?;
            total += groups.len();
            if total > MAX_NESTED {
                return None;
            }
            closures.push(groups.into_boxed_slice());
        }
        let ranks = self.ranks();
        for groups in &mut closures {
            groups.sort_unstable_by_key(|group| ranks.get(group.0 as usize));
        }
        Some(closures)
    }

    /// By group: who is in it directly, by name.
    fn members(&self) -> HashMap<SubjectId, Box<[SubjectId]>> {
        let mut members: HashMap<SubjectId, Vec<SubjectId>> = HashMap::new();
        for ((_, _, groups), member) in self.entries.iter().zip(0u32..) {
            for group in groups {
                members.entry(*group).or_default().push(SubjectId(member));
            }
        }
        let by_name = |mut list: Vec<SubjectId>| {
            list.sort_unstable_by_key(|member| self.name(*member));
            list.dedup();
            list.into_boxed_slice()
        };
        members.into_iter().map(|(group, list)| (group, by_name(list))).collect()
    }

    /// `closures` is what [`Self::closures`] said once all groups had their members; who was named since is in none.
    pub(super) fn finish(
        self,
        closures: Vec<Box<[SubjectId]>>,
        assignments: &[Assignment],
        denies: &[(Deny, Box<[SubjectId]>, Scope)],
        reserved: Option<RouteId>,
        spelling: Spelling,
    ) -> Subjects {
        let mut held: BTreeMap<SubjectId, Vec<(Option<RouteId>, AssignmentId)>> = BTreeMap::new();
        for (assignment, id) in assignments.iter().zip(0u32..) {
            for subject in &assignment.principals {
                held.entry(*subject)
                    .or_default()
                    .extend(routes_of(&assignment.scope).map(|route| (route, AssignmentId(id))));
            }
        }
        let mut forbidden: BTreeMap<SubjectId, Vec<(Option<RouteId>, DenyId)>> = BTreeMap::new();
        for ((_, principals, scope), id) in denies.iter().zip(0u32..) {
            for subject in principals {
                forbidden.entry(*subject).or_default().extend(routes_of(scope).map(|route| (route, DenyId(id))));
            }
        }
        let denied = denies.iter().map(|(_, principals, _)| principals.clone()).collect();
        let mut subjects = Subjects { denied, spelling, ..Subjects::default() };
        let mut members = self.members();
        let closures = closures.into_iter().chain(std::iter::repeat_with(Box::default));
        for ((index, (name, declared, _)), groups) in self.entries.iter().enumerate().zip(closures) {
            let id = SubjectId(u32::try_from(index).unwrap_or(u32::MAX));
            subjects.list.push(Subject {
                name: (&**name).into(),
                declared: *declared,
                groups,
                members: members.remove(&id).unwrap_or_default(),
                assignments: RulesByRoute::new(held.remove(&id).unwrap_or_default()).but_named(reserved),
                denies: RulesByRoute::new(forbidden.remove(&id).unwrap_or_default()),
            });
            if let Some((kind, rest)) = name.split_once(':') {
                let map = match kind {
                    "user" => &mut subjects.users,
                    "service" => &mut subjects.services,
                    "certificate" => &mut subjects.certificates,
                    _ => &mut subjects.groups,
                };
                map.insert(rest.into(), id);
            }
        }
        subjects
    }
}

/// Finds the groups of one subject after the other.
struct GroupWalk<'a> {
    entries: &'a [(Box<str>, bool, Vec<SubjectId>)],
    /// By group: the subject from which it was reached last.
    reached_from: Vec<Option<SubjectId>>,
    steps: usize,
}

impl GroupWalk<'_> {
    /// All groups that a subject is in, directly or not. A circle ends where it is closed. `None` after too many steps.
    fn closure(&mut self, subject: SubjectId) -> Option<Vec<SubjectId>> {
        let mut reached = Vec::new();
        let mut next = vec![subject];
        while let Some(each) = next.pop() {
            let groups = self.entries.get(each.0 as usize).map_or(&[][..], |(_, _, groups)| groups);
            self.steps += groups.len();
            if self.steps > MAX_STEPS {
                return None;
            }
            for group in groups {
                if let Some(from) = self.reached_from.get_mut(group.0 as usize)
                    && from.replace(subject) != Some(subject)
                {
                    reached.push(*group);
                    next.push(*group);
                }
            }
        }
        Some(reached)
    }
}

pub(super) fn routes_of(scope: &Scope) -> Box<dyn Iterator<Item = Option<RouteId>> + '_> {
    match scope {
        Scope::All => Box::new(std::iter::once(None)),
        Scope::Routes(routes) => Box::new(routes.iter().map(|route| Some(*route))),
    }
}
