//! Which keys of approvers were ever revoked, in a file beside the store and in every backup: a list that only grows. An older store, or an older
//! backup, says of such a key that it counts; by this list it does not.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use crate::approver::{ApproverSet, EnrolledKey};
use crate::beside::Note;
use crate::key::PublicKey;

/// Keys that can be in it: many times what one set of approvers can hold.
const MOST: usize = 65_536;
const TITLE: &str = "portcullis-revoked/1";
/// No list is longer, in bytes: two words of at most 64 and 20 characters for each key.
const MOST_BYTES: u64 = 88 * MOST as u64;

/// Keys, and since when each counts no more, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevokedKeys(BTreeMap<PublicKey, i64>);

/// A key that a set of approvers counts, and that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revived {
    /// Whose it is.
    pub person: String,
    /// Its id.
    pub key: String,
}

impl RevokedKeys {
    /// Those of a set of approvers.
    pub fn of(set: &ApproverSet) -> Self {
        let keys = set.approvers.iter().flat_map(|approver| &approver.keys);
        Self(keys.filter_map(|key| Some((key.public, key.revoked?))).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes those of another list, too: of both times the earlier one. Says whether anything is new.
    pub fn take(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (key, revoked) in &other.0 {
            if self.0.len() < MOST || self.0.contains_key(key) {
                self.0.entry(*key).and_modify(|known| *known = (*known).min(*revoked)).or_insert(*revoked);
            }
        }
        *self != before
    }

    /// Since when a key counts no more.
    pub(crate) fn since(&self, key: &EnrolledKey) -> Option<i64> {
        self.0.get(&key.public).copied()
    }

    /// The keys that a set counts all the same.
    pub fn revived_in(&self, set: &ApproverSet) -> Vec<Revived> {
        let mut revived = Vec::new();
        for approver in &set.approvers {
            let keys = approver.keys.iter().filter(|key| key.revoked.is_none() && self.since(key).is_some());
            revived.extend(keys.map(|key| Revived { person: approver.person.clone(), key: key.public.id() }));
        }
        revived
    }

    /// As the file has it.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for (key, revoked) in &self.0 {
            text.push_str(&format!("{} {revoked}\n", HEXLOWER.encode(&key.0)));
        }
        text
    }

    /// Reads that; `None`: it is something else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut keys = BTreeMap::new();
        for line in lines {
            let (key, revoked) = line.split_once(' ')?;
            let bytes = HEXLOWER.decode(key.as_bytes()).ok()?.try_into().ok()?;
            let known = keys.insert(PublicKey::from_bytes(bytes).ok()?, revoked.parse().ok()?);
            if known.is_some() || keys.len() > MOST {
                return None;
            }
        }
        Some(Self(keys))
    }
}

impl Note for RevokedKeys {
    const SUFFIX: &'static str = ".revoked";
    const MOST: u64 = MOST_BYTES;

    fn to_text(&self) -> String {
        RevokedKeys::to_text(self)
    }

    fn from_text(text: &str) -> Option<Self> {
        RevokedKeys::from_text(text)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::key::SigningKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn set(persons: &[(&str, PublicKey)]) -> ApproverSet {
        let mut set = ApproverSet::default();
        for (person, key) in persons {
            set.add(person, &[], *key, at(0)).unwrap();
        }
        set
    }

    #[test]
    fn it_only_grows_and_what_is_in_it_counts_in_no_set() {
        let [ana, ben, cem] = [(); 3].map(|()| SigningKey::generate().unwrap().0.public());
        let before = set(&[("ana", ana), ("ben", ben)]);
        let mut later = before.clone();
        later.revoke("ben", None, at(7)).unwrap();
        let mut list = RevokedKeys::of(&before);
        assert!(list.is_empty() && list.revived_in(&later).is_empty());
        assert!(list.take(&RevokedKeys::of(&later)) && !list.take(&RevokedKeys::of(&later)));
        // The older set takes nothing back, and another one cannot enrol the key again.
        assert!(!list.take(&RevokedKeys::of(&before)));
        let revived = |set: &ApproverSet| list.revived_in(set).into_iter().map(|each| each.person).collect::<Vec<_>>();
        assert_eq!((revived(&before), revived(&later)), (vec!["ben".to_owned()], vec![]));
        assert_eq!(revived(&set(&[("cem", cem), ("dan", ben)])), ["dan"]);
        let mut merged = before.clone();
        merged.take_revocations(&list);
        assert_eq!((merged.active(), &merged, revived(&merged)), (1, &later, vec![]));
        assert!(merged.keeps(&before), "it comes lawfully from the one before");
        // Of two times the earlier one.
        let mut earlier = before.clone();
        earlier.revoke("ben", None, at(3)).unwrap();
        assert!(list.take(&RevokedKeys::of(&earlier)));
        merged.take_revocations(&list);
        assert_eq!(merged, earlier);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_read() {
        let keys = [(); 3].map(|()| SigningKey::generate().unwrap().0.public());
        let list = RevokedKeys(keys.into_iter().zip([5, -1, i64::MAX]).collect());
        let good = list.to_text();
        assert_eq!(RevokedKeys::from_text(&good), Some(list));
        assert_eq!(RevokedKeys::from_text(&RevokedKeys::default().to_text()), Some(RevokedKeys::default()));
        let line = good.lines().nth(1).unwrap();
        for wrong in [
            String::new(),
            good.replace("/1", "/2"),
            good[..good.len() - 1].to_owned(),
            format!("{good}\n"),
            format!("{good}{line}\n"),
            good.replacen(' ', "  ", 1),
            format!("{TITLE}\n{} 5\n", "00".repeat(32)),
        ] {
            assert_eq!(RevokedKeys::from_text(&wrong), None, "{wrong:?}");
        }
    }
}
