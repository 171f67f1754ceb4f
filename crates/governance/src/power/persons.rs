//! Who is who: a principal, an account of the system and an approver may be one person under several names, and one person is one voice.

use std::collections::BTreeSet;

use crate::approver::ApproverSet;

/// All names that one person is known by. Lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// These names, and those of every approver who is called by one of them.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>, approvers: &ApproverSet) -> Self {
        let mut found: BTreeSet<String> = names.into_iter().map(str::to_ascii_lowercase).collect();
        for approver in &approvers.approvers {
            if found.iter().any(|name| approver.is_called(name)) {
                found.insert(approver.person.clone());
                found.extend(approver.aliases.iter().cloned());
            }
        }
        Self(found)
    }

    /// Whether the two may be one person.
    pub fn may_be(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }
}

/// The names of a principal: `user:alice` is also `alice`.
pub fn names_of_principal(principal: &str) -> Vec<&str> {
    let bare = principal.split_once(':').map(|(_, id)| id);
    std::iter::once(principal).chain(bare).collect()
}
