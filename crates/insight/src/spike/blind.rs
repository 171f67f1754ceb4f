//! Changes that cannot be undone on requests that were made: what a credential said to another provider, which address another word would have given,
//! and what another version of the program did is not kept with a request.
//!
//! So they are put down to such a change only where it came a moment before, and those who came as ever all show it at once; nobody who sends refusals
//! has a say in that. Where less than that is known, it is said that the change is not ruled out, and what nothing explains stays unexplained.

use jiff::{SignedDuration, Timestamp};
use portcullis_events::ReasonCode;
use portcullis_policy::KeptRequest;

use crate::sample::Seen;
use crate::spike::bystanders::{Bystanders, Verdict, is_failed_credential, is_nobody};
use crate::spike::changes::{ChangeKind, RecentChange};
use crate::spike::familiar::Familiar;
use crate::words::number;

/// What tells what such a change did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'s> {
    pub(super) familiar: &'s Familiar,
    /// Who came since the last such change that may have brought it about.
    pub(super) since: &'s Bystanders,
    pub(super) onset: Timestamp,
    /// A change that came earlier before the onset did not bring it about: what it does, it does at once.
    pub(super) at_once: SignedDuration,
}

impl Sight<'_> {
    /// Whether a refusal is due to a change of this kind. `of_keys`: that it would be put down to keys, if nothing had changed.
    pub(super) fn is_due_to(
        &self,
        change: &RecentChange,
        request: &KeptRequest,
        code: ReasonCode,
        of_keys: impl FnOnce() -> bool,
    ) -> bool {
        if request.now < change.at || !is_at_once(change, self.onset, self.at_once) {
            return false;
        }
        match change.kind {
            // All who came as ever come from nowhere any more, and others from where nobody was known. Nobody can make others' addresses go away.
            ChangeKind::ClientAddress => !self.familiar.has_people(request.client.ip()) && self.since.are_all_gone(),
            ChangeKind::Identity if !is_nobody(request) || !self.familiar.has_people(request.client.ip()) => false,
            ChangeKind::Identity if is_failed_credential(code) => of_keys(),
            // A credential that nothing reads any more is none.
            ChangeKind::Identity => {
                code == ReasonCode::AuthnMissing && self.since.verdict(request) == Verdict::Disturbed
            }
            // Nothing that is kept tells what another version would have done. Who shows a key that was withdrawn is told apart beside good callers.
            ChangeKind::Start | ChangeKind::Keys => false,
            ChangeKind::Policy
            | ChangeKind::Routes
            | ChangeKind::Configuration
            | ChangeKind::Calibration
            | ChangeKind::Rollout
            | ChangeKind::Feed => false,
        }
    }
}

/// The last change that cannot be undone and may have brought a spike about.
pub(super) fn last<'c>(
    changes: &[&'c RecentChange],
    onset: Timestamp,
    at_once: SignedDuration,
) -> Option<&'c RecentChange> {
    let is_such = |kind: ChangeKind| matches!(kind, ChangeKind::Identity | ChangeKind::ClientAddress);
    changes.iter().rev().copied().find(|change| is_such(change.kind) && is_at_once(change, onset, at_once))
}

fn is_at_once(change: &RecentChange, onset: Timestamp, at_once: SignedDuration) -> bool {
    onset.duration_since(change.at) <= at_once
}

/// What it is, for the beginning of a sentence.
pub(super) fn in_words(change: &RecentChange) -> String {
    match change.kind {
        ChangeKind::Identity => format!("`[identity]` or a file of keys or users, read anew at {:.0}", change.at),
        ChangeKind::ClientAddress => format!("`[client_address]`, changed at {:.0}", change.at),
        ChangeKind::Keys => {
            format!("the keys of the provider {}, of which some went at {:.0}", change.about, change.at)
        }
        ChangeKind::Configuration => format!("the configuration around the policy, read anew at {:.0}", change.at),
        _ => format!("{} at {:.0}", change.about, change.at),
    }
}

/// What is to be said of such a change where it is not said to be a cause, by what nothing explains. `None`: nothing speaks for it.
pub(super) fn not_ruled_out(change: &RecentChange, left: &[&Seen], familiar: &Familiar) -> Option<String> {
    let since: Vec<&&Seen> = left.iter().filter(|seen| seen.request.now >= change.at).collect();
    // Of the configuration what the policy decides is undone, and limits, for one, are not.
    let undone = match change.kind {
        ChangeKind::Configuration => "not all that it says can be undone on them",
        _ => "none of them can be decided on again with it undone",
    };
    let known = since.iter().filter(|seen| familiar.has_caller(&seen.request)).count() as u64;
    (known > 0).then(|| {
        format!(
            "{}: of {} refusals since then that nothing explains {} are of callers who were let in before or come from where somebody was; {undone}",
            in_words(change),
            number(since.len() as u64),
            number(known)
        )
    })
}
