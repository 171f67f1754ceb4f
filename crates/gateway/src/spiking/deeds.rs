//! What operators did lately that turns callers away whatever the policy says: bans by hand and revocations. Who explains a spike looks there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_identity::revocation::Revocation;
use portcullis_insight::spike::{Deed, DeedKind};
use portcullis_risk::BanEntry;

/// What the cause of a ban by hand begins with.
pub(crate) const BY_HAND: &str = "by hand: ";
/// Deeds that are kept: the last ones.
const MOST: usize = 64;

/// The last deeds, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Deeds(VecDeque<Deed>);

impl Deeds {
    /// Looks at what is in force, after somebody has done something, with what was said of it; `None`: nobody knows who did it. Says whether there
    /// is more than before. What is in force no more is over.
    pub(crate) fn renew(
        &mut self,
        (bans, revocations): (&[BanEntry], &[Arc<Revocation>]),
        by: Option<(&str, &str)>,
    ) -> bool {
        let mut in_force: Vec<Deed> = by_hand(bans).chain(revocations.iter().map(|one| revoked(one))).collect();
        in_force.sort_by_key(|deed| deed.at);
        for known in &mut self.0 {
            known.is_over = !in_force.iter().any(|deed| is_same(deed, known));
        }
        let is_known = |deed: &Deed| self.0.iter().any(|known| is_same(deed, known));
        let new: Vec<Deed> = in_force.into_iter().filter(|deed| !is_known(deed)).collect();
        let is_more = !new.is_empty();
        let surplus = new.len().saturating_sub(MOST);
        for deed in new.into_iter().skip(surplus) {
            let by = by.filter(|(_, said)| is_said_of(&deed, said)).map(|(by, _)| by.to_owned());
            self.0.push_back(Deed { by, ..deed });
        }
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
        is_more
    }

    /// As they stand at that time.
    pub(crate) fn at(&self, now: Timestamp) -> Vec<Deed> {
        let standing = |deed: &Deed| {
            let has_ended = matches!(&deed.what, DeedKind::Ban { until, .. } if *until <= now);
            Deed { is_over: deed.is_over || has_ended, ..deed.clone() }
        };
        self.0.iter().map(standing).collect()
    }
}

/// Whether they are one deed: of bans that were made at once some may be lifted by now.
fn is_same(one: &Deed, other: &Deed) -> bool {
    match (&one.what, &other.what) {
        (DeedKind::Ban { until, cause, .. }, DeedKind::Ban { until: other_until, cause: other_cause, .. }) => {
            until == other_until && cause == other_cause
        }
        (what, other_what) => one.at == other.at && what == other_what,
    }
}

/// Bans by hand: those that were made at once, for the same reason, are one deed.
fn by_hand(bans: &[BanEntry]) -> impl Iterator<Item = Deed> {
    let mut deeds: BTreeMap<(Timestamp, &str), Deed> = BTreeMap::new();
    for entry in bans.iter().filter(|entry| entry.ban.offences == 0 && !entry.ban.simulated) {
        let Some(reason) = entry.ban.cause.strip_prefix(BY_HAND) else { continue };
        let (until, cause) = (entry.ban.until, entry.ban.cause.clone());
        let deed = deeds.entry((until, reason)).or_insert_with(|| Deed {
            at: entry.began,
            what: DeedKind::Ban { on: entry.actor.to_string(), others: 0, until, cause },
            by: None,
            reason: reason.to_owned(),
            is_over: false,
        });
        if let DeedKind::Ban { on, others, .. } = &mut deed.what
            && *on != entry.actor.to_string()
        {
            *others += 1;
        }
    }
    deeds.into_values()
}

fn revoked(one: &Revocation) -> Deed {
    let (what, name) = (one.what.kind().to_owned(), one.what.name());
    let (what, reason) = (DeedKind::Revocation { what, name }, one.reason.to_string());
    Deed { at: one.made, what, by: None, reason, is_over: false }
}

/// Whether this is what somebody was told that they have done: another may have done something else at the same moment.
fn is_said_of(deed: &Deed, said: &str) -> bool {
    match &deed.what {
        DeedKind::Ban { on, others, .. } => *others > 0 || said.contains(on.as_str()),
        DeedKind::Revocation { name, .. } => said.contains(name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use portcullis_identity::revocation::Revoked;
    use portcullis_policy::{Ban, BanScope};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn ban(on: &str, began: i64, offences: u32, cause: &str) -> BanEntry {
        let until = at(began) + SignedDuration::from_secs(600);
        let ban = Ban { scope: BanScope::Address, until, offences, cause: cause.into(), simulated: false };
        BanEntry { actor: on.parse().unwrap(), ban: Arc::new(ban), began: at(began), evidence: Arc::default() }
    }

    fn key(name: &str, made: i64) -> Arc<Revocation> {
        let what = Revoked::parse("key", name).unwrap();
        let (before, made) = (at(made), at(made));
        Arc::new(Revocation { what, before, made, until: None, reason: "lost".into() })
    }

    #[test]
    fn what_was_done_is_known_with_who_did_it_until_it_is_over_and_beyond() {
        let mut deeds = Deeds::default();
        let own = ban("192.0.2.1", 1, 1, "probing: level 4.0");
        assert!(!deeds.renew((std::slice::from_ref(&own), &[]), None));
        let hand = ban("203.0.113.0/24", 2, 0, "by hand: INC-7");
        assert!(deeds.renew((&[own.clone(), hand.clone()], &[]), Some(("ana", "203.0.113.0/24 is banned until"))));
        // Somebody else was told of something else.
        assert!(deeds.renew((&[own, hand], &[key("b", 3)]), Some(("ben", "the key c is revoked"))));
        let said = |deeds: &Deeds, now: i64| -> Vec<(Option<String>, bool)> {
            deeds.at(at(now)).into_iter().map(|deed| (deed.by, deed.is_over)).collect()
        };
        let ana = Some("ana".to_owned());
        assert_eq!(said(&deeds, 4), [(ana.clone(), false), (None, false)]);
        assert_eq!(said(&deeds, 700), [(ana.clone(), true), (None, false)]);
        assert!(!deeds.renew((&[], &[key("b", 3)]), Some(("ana", "the ban on 203.0.113.0/24 is lifted"))));
        assert_eq!(said(&deeds, 4), [(ana, true), (None, false)]);
        let [ban, _] = &deeds.at(at(4))[..] else { panic!() };
        assert_eq!((ban.reason.as_str(), ban.at), ("INC-7", at(2)));
    }

    /// However many are imported, they are one deed; and the log has a bound.
    #[test]
    fn what_was_done_at_once_is_one_deed() {
        let mut deeds = Deeds::default();
        let imported: Vec<_> =
            (1..=200).map(|number| ban(&format!("192.0.2.{number}"), 1, 0, "by hand: imported from x")).collect();
        assert!(deeds.renew((&imported, &[]), Some(("ana", "200 bans are imported from x"))));
        let [deed] = &deeds.at(at(2))[..] else { panic!() };
        let DeedKind::Ban { others, .. } = &deed.what else { panic!() };
        assert_eq!((*others, deed.by.as_deref()), (199, Some("ana")));
        let keys: Vec<_> = (0..200).map(|number| key(&format!("k{number}"), number)).collect();
        assert!(deeds.renew((&imported, &keys), None));
        assert_eq!(deeds.at(at(300)).len(), MOST);
    }
}
