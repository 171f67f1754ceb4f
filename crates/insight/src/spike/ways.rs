//! Which ways back there are, and which of them is one for a change: asked when a spike is explained, because all of it may change meanwhile.

use std::sync::Arc;

use portcullis_policy::Policy;

use crate::spike::changes::{ChangeKind, MORE_THAN_ONCE, RecentChange, Versions};
use crate::spike::deeds::Deed;

/// The ways back that are open at a moment.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// How an earlier policy comes back.
    pub versions: Versions,
    /// The policy names the calibration in force, so that no operator puts another one in force.
    pub is_calibration_named: bool,
    /// What is in force once the calibration that was put in force last is taken back, `Some(None)` being what is built in. `None`: none was put in
    /// force.
    pub calibration_before: Option<Option<Arc<str>>>,
    /// The networks of which a list of before can be gone back to.
    pub lists: Vec<Arc<str>>,
    /// What operators did lately beyond the policy, the oldest first: each has its way back.
    pub deeds: Vec<Deed>,
    /// The policy in force, by which it is decided again without what an operator or the clock did. `None`: neither is named as a cause.
    pub in_force: Option<Arc<Policy>>,
}

/// The way back from one calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calibrated<'c> {
    /// The one before, by its id; `None`: none was in force.
    pub(super) before: Option<&'c str>,
    /// It is in force still.
    pub(super) is_in_force: bool,
}

impl Ways {
    /// How a calibration comes back, or none does: never by a command that is refused.
    pub(super) fn undo_calibration(&self, change: Calibrated<'_>) -> String {
        let is_by_policy = self.versions == Versions::Approved || self.is_calibration_named;
        let have = match self.versions {
            Versions::Approved => "propose a policy whose",
            Versions::Kept | Versions::NotKept => "reload a policy whose",
        };
        match change.before {
            _ if !change.is_in_force => {
                "another calibration is in force by now: see `portcullis risk calibration list`".to_owned()
            }
            Some(id) if is_by_policy => {
                format!(
                    "{have} `[risk]` names the calibration {id}: `portcullis risk calibration show {id}` has its name"
                )
            }
            Some(id) => format!("portcullis risk calibration activate {id}"),
            None if !is_by_policy && self.calibration_before == Some(None) => {
                "portcullis risk calibration rollback".to_owned()
            }
            // One that merely names none has the one that was put in force last.
            None => format!(
                "{have} `[risk]` leaves `step_up_budget` out, and names no `calibration`: then the built-in thresholds hold"
            ),
        }
    }

    /// Whether `feed rollback` undoes the change of a list, and no more than that. `later`: what came after it.
    pub(super) fn undo_list(&self, change: &RecentChange, later: &[RecentChange]) -> bool {
        let name = &*change.about;
        let changes_it = |one: &RecentChange| match one.kind {
            // Of more than one list that were made one change nobody knows whose they are.
            ChangeKind::Feed => {
                let about = one.about.strip_suffix(MORE_THAN_ONCE).unwrap_or(&one.about);
                about.is_empty() || about.split(", ").any(|one| one == name)
            }
            ChangeKind::Rollout => false,
            _ => one.after.networks_other_than(&one.before).iter().any(|one| **one == *name),
        };
        self.versions != Versions::Approved
            && self.lists.iter().any(|list| **list == *name)
            && !later.iter().any(changes_it)
    }
}

/// What is to be known of the change of a calibration. `later`: what came after it.
pub(super) fn calibrated<'c>(change: &'c RecentChange, later: &[RecentChange]) -> Calibrated<'c> {
    let last = later.iter().rev().find(|one| one.kind != ChangeKind::Rollout);
    let is_in_force = last.is_none_or(|last| last.after.calibration() == change.after.calibration());
    Calibrated { before: change.before.calibration().map(|id| &**id), is_in_force }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use portcullis_policy::{NetworkContent, Policy, PolicyDraft};

    use super::*;

    /// What is proposed is what is not refused, and does what it says.
    #[test]
    fn a_calibration_comes_back_by_what_is_not_refused() {
        let check = |before, ways: &Ways, expected: &str| {
            let command = ways.undo_calibration(Calibrated { before, is_in_force: true });
            assert!(command.starts_with(expected), "{command}");
            let gone = ways.undo_calibration(Calibrated { before, is_in_force: false });
            assert!(gone.starts_with("another calibration is in force by now"), "{gone}");
        };
        let put = Ways { calibration_before: Some(None), ..Ways::default() };
        check(None, &put, "portcullis risk calibration rollback");
        check(Some("c-1"), &put, "portcullis risk calibration activate c-1");
        // A rollback would put another one in force than none, or nothing was put in force that could be taken back.
        let other = Ways { calibration_before: Some(Some("c-0".into())), ..Ways::default() };
        let no_budget = "reload a policy whose `[risk]` leaves `step_up_budget` out";
        check(None, &other, no_budget);
        check(None, &Ways::default(), no_budget);
        let named = Ways { is_calibration_named: true, versions: Versions::Kept, ..put.clone() };
        check(None, &named, no_budget);
        check(Some("c-1"), &named, "reload a policy whose `[risk]` names the calibration c-1");
        let approved = Ways { versions: Versions::Approved, ..put };
        check(None, &approved, "propose a policy whose `[risk]` leaves `step_up_budget` out");
        check(Some("c-1"), &approved, "propose a policy whose `[risk]` names the calibration c-1");
    }

    /// The last change of the list, and nothing that was made of several.
    #[test]
    fn a_list_is_gone_back_from_where_that_undoes_the_change() {
        let network = |name: &str| portcullis_policy::NetworkDraft {
            name: name.to_owned().into(),
            ..portcullis_policy::NetworkDraft::default()
        };
        let draft = PolicyDraft {
            networks: vec![network("partner"), network("other")],
            keep_prefixes: true,
            ..PolicyDraft::default()
        };
        let policy = Policy::compile(&draft).unwrap().0;
        let with = |name: &str, prefix: &str| {
            let content = NetworkContent {
                name: name.into(),
                prefixes: [prefix.parse().unwrap()].into(),
                unknown: false,
                list: None,
            };
            Arc::new(policy.with_networks(&[content]).unwrap())
        };
        let change = |kind, about: &str, after: &Arc<Policy>| RecentChange {
            at: Timestamp::UNIX_EPOCH,
            kind,
            before: Arc::new(policy.clone()),
            together: None,
            after: Arc::clone(after),
            about: about.to_owned(),
        };
        let (partner, other) = (with("partner", "10.0.0.0/8"), with("other", "10.0.0.0/8"));
        let first = change(ChangeKind::Feed, "partner", &partner);
        let ways = Ways { lists: vec!["partner".into()], ..Ways::default() };
        let check = |ways: &Ways, later: &[RecentChange], expected: bool| {
            assert_eq!(ways.undo_list(&first, later), expected, "{later:?}");
        };
        check(&ways, &[], true);
        check(&ways, &[change(ChangeKind::Feed, "other", &other), change(ChangeKind::Policy, "", &other)], true);
        check(&ways, &[change(ChangeKind::Rollout, "", &partner)], true);
        check(&ways, std::slice::from_ref(&first), false);
        check(&ways, &[change(ChangeKind::Feed, "other, partner", &partner)], false);
        check(&ways, &[change(ChangeKind::Feed, "partner (more than once)", &partner)], false);
        check(&ways, &[change(ChangeKind::Feed, "", &partner)], false);
        check(&ways, &[change(ChangeKind::Policy, "", &partner)], false);
        // None is kept, or nobody goes back to it alone.
        check(&Ways::default(), &[], false);
        check(&Ways { versions: Versions::Approved, ..ways.clone() }, &[], false);
        let merged = change(ChangeKind::Feed, "partner (more than once)", &partner);
        assert!(!ways.undo_list(&merged, &[]));
    }
}
