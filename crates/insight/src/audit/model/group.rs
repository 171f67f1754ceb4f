//! Which groups hold whom, and since when.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use portcullis_policy::PolicyDraft;

use crate::audit::history::{History, Part};

use super::Holder;

/// Which groups hold whom.
#[derive(Debug)]
pub(super) struct Groups<'d> {
    pub(super) declared: HashSet<&'d str>,
    /// By member, which may be a group: the groups that name it.
    pub(super) direct: BTreeMap<&'d str, Vec<&'d str>>,
}

impl<'d> Groups<'d> {
    pub(super) fn of(draft: &'d PolicyDraft) -> Self {
        let mut direct: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for group in &draft.groups {
            for member in &group.members {
                direct.entry(&member.value).or_default().push(&group.name.value);
            }
        }
        Self { declared: draft.groups.iter().map(|group| group.name.value.as_str()).collect(), direct }
    }

    /// All groups of somebody, those that it claims too.
    pub(super) fn of_member<'c>(&self, name: &str, claimed: impl Iterator<Item = &'c str>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let direct = self.direct.get(name).into_iter().flatten().map(|group| (*group).to_owned());
        let mut next: Vec<String> = direct.chain(claimed.map(str::to_owned)).collect();
        while let Some(group) = next.pop() {
            if found.contains(&group) {
                continue;
            }
            let parents = self.direct.get(format!("group:{group}").as_str());
            next.extend(parents.into_iter().flatten().map(|parent| (*parent).to_owned()));
            found.insert(group);
        }
        found
    }

    /// Since when somebody is in each of its groups: the latest link of the way there, and of several ways the oldest. A group that is not among
    /// them is one of which that is not known.
    pub(super) fn joined(&self, history: &History, holder: &Holder) -> HashMap<String, i64> {
        let link =
            |group: &str, member: &str| history.since(&Part::Member { group: group.into(), member: member.into() });
        let direct = self.direct.get(holder.name.as_str()).into_iter().flatten();
        let direct = direct.filter_map(|group| Some(((*group).to_owned(), link(group, &holder.name)?)));
        let mut next: Vec<(String, i64)> = direct.chain(holder.claimed.iter().cloned()).collect();
        let mut joined: HashMap<String, i64> = HashMap::new();
        while let Some((group, since)) = next.pop() {
            if joined.get(&group).is_some_and(|known| *known <= since) {
                continue;
            }
            let name = format!("group:{group}");
            for parent in self.direct.get(name.as_str()).into_iter().flatten() {
                next.extend(link(parent, &name).map(|link| ((*parent).to_owned(), link.max(since))));
            }
            joined.insert(group, since);
        }
        joined
    }

    /// The groups that everybody is in.
    pub(super) fn holding_everybody(draft: &'d PolicyDraft) -> BTreeSet<String> {
        if !draft.groups.iter().flat_map(|group| &group.members).any(|member| !member.value.contains(':')) {
            return BTreeSet::new();
        }
        let groups = Self::of(draft);
        let of = |name| groups.of_member(name, std::iter::empty());
        of("anyone").into_iter().chain(of("authenticated")).collect()
    }
}
