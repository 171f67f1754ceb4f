//! Who may have how much waiting. What is counted is persons, as far as it is known who is who, and never what somebody says of themselves.

use super::Governor;
use crate::approver::ApproverSet;
use crate::change::{Change, Class, Kind};
use crate::error::{GovernanceError, LedgerError};
use crate::ledger::{ChangeState, MAX_OPEN, MAX_OPEN_OF_ONE, URGENT_LAST_OF_ONE, URGENT_OF_ONE, URGENT_OPEN};
use crate::power::Names;

impl Governor {
    /// Whether one more may wait. Nobody fills all places, and there are some left for what cannot wait.
    ///
    /// # Errors
    /// Whose proposals have to be rejected first.
    pub(super) fn has_room(&self, change: &Change) -> Result<(), GovernanceError> {
        let share = share(change, &self.approvers);
        let (mut all, mut theirs, mut urgent) = (0_usize, 0_usize, 0_usize);
        for (_, stored) in self.ledger.changes()?.into_iter().filter(|(_, stored)| stored.state == ChangeState::Open) {
            all += 1;
            // One that cannot be read takes a place, and is nobody's.
            let Ok(open) = Change::decode(&stored.record) else { continue };
            if share.may_be(&self::share(&open, &self.approvers)) {
                theirs += 1;
                urgent += usize::from(is_urgent(&open));
            }
        }
        let is_urgent = is_urgent(change);
        let of_one = if is_urgent { MAX_OPEN_OF_ONE + URGENT_OF_ONE } else { MAX_OPEN_OF_ONE };
        let is_last = all >= MAX_OPEN - URGENT_OPEN;
        let why = if theirs >= of_one {
            "as many proposals of one person wait as can: activate or reject some (`portcullis policy reject --all-of PERSON`)"
        } else if all >= MAX_OPEN || (is_last && !is_urgent) {
            "as many proposals wait as can: activate or reject some (`portcullis policy reject --all-of PERSON`); the last places are for what tightens, keys and ways back"
        } else if is_last && urgent >= URGENT_LAST_OF_ONE {
            "hardly any place is left, and those are for persons who have less waiting that cannot wait: activate or reject some of yours, or of whoever has filled the others (`portcullis policy reject --all-of PERSON`)"
        } else {
            return Ok(());
        };
        Err(LedgerError::Full(why).into())
    }
}

/// What does not wait for others to make room. A way back is one whatever it does: most who lost their access by mistake get it back by what loosens.
fn is_urgent(change: &Change) -> bool {
    change.class == Class::Tightens || matches!(change.kind, Kind::Keys | Kind::Recovery | Kind::Rollback | Kind::Undo)
}

/// Every name of the person whose share of the places a proposal takes: as approvers are told from authors, but for what bare names say of keys and certificates.
fn share(change: &Change, approvers: &ApproverSet) -> Names {
    Names::of(brought_by(&change.authors), approvers)
}

/// The names of whoever brought it. What an author is called first may be what they say of themselves; behind that stand, and always last, the names that are known:
///
/// - of an account `NAME`, `unix:NAME` and `uid:N`, and then those of the accounts behind it. The last of these is the person: who uses root is still who they are.
/// - of a principal `KIND:ID` and `ID`, and `KIND:ID` once more where the id reads like an account. `user:alice` is the person whose account is `alice`; the service and the certificate of that name are principals of their own, and nobody else's.
fn brought_by(authors: &[String]) -> Vec<&str> {
    let mut known = authors.iter().rev().map(String::as_str);
    let Some(last) = known.next() else { return Vec::new() };
    let before = known.next();
    if last.strip_prefix("uid:").is_some_and(|number| number.parse::<u32>().is_ok()) {
        let unix = before.and_then(|unix| Some((unix, unix.strip_prefix("unix:")?)));
        return match unix.filter(|(_, name)| known.next() == Some(*name)) {
            Some((unix, name)) => vec![last, unix, name],
            None => vec![last],
        };
    }
    let is_whole = |whole: &&str| whole.split_once(':').is_some_and(|(_, id)| id == last);
    match before.filter(is_whole) {
        Some(user) if user.starts_with("user:") => vec![user, last],
        Some(whole) => vec![whole],
        None => vec![last],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brought_it_is_known_by_whole_names_whatever_was_typed() {
        let check = |authors: &[&str], expected: &[&str]| {
            let authors: Vec<String> = authors.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(brought_by(&authors), expected, "{authors:?}");
        };
        check(&["alice", "unix:alice", "uid:1000"], &["uid:1000", "unix:alice", "alice"]);
        check(&["cem", "alice", "unix:alice", "uid:1000"], &["uid:1000", "unix:alice", "alice"]);
        check(&["uid:1000"], &["uid:1000"]);
        // Whoever became root is who they were.
        let root = ["root", "unix:root", "uid:0", "alice", "unix:alice", "uid:1000"];
        check(&root, &["uid:1000", "unix:alice", "alice"]);
        check(&["root", "unix:root", "uid:0", "uid:1000"], &["uid:1000"]);
        check(&["user:alice", "alice"], &["user:alice", "alice"]);
        check(&["cem", "user:alice", "alice"], &["user:alice", "alice"]);
        check(&["service:alice", "alice"], &["service:alice"]);
        check(&["certificate:alice", "alice"], &["certificate:alice"]);
        check(&["service:a:b", "a:b"], &["service:a:b"]);
        // An id that reads like an account: its whole name stands last.
        for whole in ["service:uid:1000", "user:uid:1000", "user:unix:alice"] {
            let bare = whole.split_once(':').unwrap().1;
            check(&[whole, bare, whole], &[whole]);
            check(&["cem", whole, bare, whole], &[whole]);
        }
        // What an account without a name types makes it nobody else.
        for typed in ["unix:cem", "user:uid:1000", "service:uid:1000", "cem"] {
            check(&[typed, "uid:1000"], &["uid:1000"]);
        }
        check(&["portcullis"], &["portcullis"]);
        check(&[], &[]);
    }
}
