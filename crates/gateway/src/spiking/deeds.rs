//! What operators did lately that turns callers away whatever the policy says: bans by hand and revocations. Who explains a spike looks there.

use std::collections::BTreeMap;
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
pub(crate) struct Deeds {
    last: Vec<Deed>,
    /// When the youngest ban and the youngest revocation were made of those that were in force when it was looked: each by a clock of its own.
    youngest: [Option<Timestamp>; 2],
}

impl Deeds {
    /// Looks at what is in force, after somebody has done something, with what was said of it; `None`: nobody knows who did it. Says whether there
    /// is more than before among the last ones. What is in force no more is over.
    pub(crate) fn renew(
        &mut self,
        (bans, revocations): (&[BanEntry], &[Arc<Revocation>]),
        by: Option<(&str, &str)>,
    ) -> bool {
        let mut revocations: Vec<&Revocation> = revocations.iter().map(|one| &**one).collect();
        keep_last(&mut revocations, |one| one.made);
        let mut in_force: Vec<Deed> = by_hand(bans).chain(revocations.into_iter().map(revoked)).collect();
        keep_last(&mut in_force, |deed| deed.at);
        // Of what is older than these it is not known whether it is in force, and it makes room for them.
        let known_from = in_force.first().filter(|_| in_force.len() >= MOST).map(|deed| deed.at);
        for known in &mut self.last {
            let is_there = in_force.iter().any(|deed| is_same(deed, known));
            if is_there || known_from.is_none_or(|from| known.at > from) {
                known.is_over = !is_there;
            }
        }
        let youngest = self.youngest;
        for deed in &in_force {
            let [ban, revocation] = &mut self.youngest;
            let youngest = if is_ban(deed) { ban } else { revocation };
            *youngest = (*youngest).max(Some(deed.at));
        }
        let known = std::mem::take(&mut self.last);
        let is_new = |deed: &Deed| !known.iter().any(|known| is_same(deed, known));
        let new = in_force.into_iter().filter(is_new).map(|deed| {
            let [ban, revocation] = youngest;
            // What is older than that was done before, and comes to be known by something else: a restore, or another process.
            let is_young = Some(deed.at) >= if is_ban(&deed) { ban } else { revocation };
            let by = by.filter(|(_, said)| is_young && is_said_of(&deed, said)).map(|(by, _)| by.to_owned());
            (true, Deed { by, ..deed })
        });
        // Of equals those that are known stay.
        let mut all: Vec<(bool, Deed)> = new.collect();
        all.extend(known.into_iter().map(|deed| (false, deed)));
        keep_last(&mut all, |(_, deed)| deed.at);
        let is_more = all.iter().any(|(is_new, _)| *is_new);
        self.last = all.into_iter().map(|(_, deed)| deed).collect();
        is_more
    }

    /// As they stand at that time.
    pub(crate) fn at(&self, now: Timestamp) -> Vec<Deed> {
        let standing = |deed: &Deed| {
            let has_ended = matches!(&deed.what, DeedKind::Ban { until, .. } if *until <= now);
            Deed { is_over: deed.is_over || has_ended, ..deed.clone() }
        };
        self.last.iter().map(standing).collect()
    }
}

/// The last ones of these, the oldest first.
fn keep_last<T>(all: &mut Vec<T>, at: impl Fn(&T) -> Timestamp) {
    all.sort_by_key(at);
    let surplus = all.len().saturating_sub(MOST);
    all.drain(..surplus);
}

fn is_ban(deed: &Deed) -> bool {
    matches!(deed.what, DeedKind::Ban { .. })
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

    /// Finding of 2026-11: beyond the bound those that are older were taken for new ones each time, and the last one was forgotten for them.
    #[test]
    fn of_more_than_are_kept_the_last_ones_are_and_nothing_is_new_twice() {
        let mut keys: Vec<_> = (0..200).rev().map(|number| key(&format!("k{number}"), number)).collect();
        let mut deeds = Deeds::default();
        assert!(deeds.renew((&[], &keys), None));
        let names = |deeds: &Deeds| -> Vec<String> {
            let name = |deed: Deed| match deed.what {
                DeedKind::Revocation { name, .. } => name,
                DeedKind::Ban { on, .. } => on,
            };
            deeds.at(at(300)).into_iter().map(name).collect()
        };
        let last: Vec<String> = (136..200).map(|number| format!("k{number}")).collect();
        assert_eq!(names(&deeds), last);
        assert!(!deeds.renew((&[], &keys), Some(("ana", "the key k9 is lifted"))));
        assert_eq!(names(&deeds), last);
        // One that is revoked then is there, at the end, and stays.
        keys.insert(0, key("late", 200));
        assert!(deeds.renew((&[], &keys), Some(("ana", "the key late is revoked"))));
        let kept = [&last[1..], &["late".to_owned()]].concat();
        assert_eq!(names(&deeds), kept);
        // An old one is lifted, and one of the last: that is over, and nothing of before comes back for it.
        keys.retain(|key| !matches!(key.what.name().as_str(), "k3" | "k190"));
        assert!(!deeds.renew((&[], &keys), Some(("ben", "the key k190 is lifted"))));
        assert_eq!(names(&deeds), kept);
        let over: Vec<_> = deeds.at(at(300)).into_iter().filter(|deed| deed.is_over).collect();
        let [over] = &over[..] else { panic!("{over:?}") };
        assert_eq!((&over.what, &over.by), (&revoked(&key("k190", 190)).what, &None));
        assert_eq!(deeds.at(at(300)).last().unwrap().by.as_deref(), Some("ana"));
    }

    /// Of more than one at the same moment as well.
    #[test]
    fn of_more_than_are_kept_that_were_made_at_once_nothing_is_new_twice() {
        let mut keys: Vec<_> = (0..200).map(|number| key(&format!("k{number}"), 1)).collect();
        let mut deeds = Deeds::default();
        assert!(deeds.renew((&[], &keys), None));
        for _ in 0..3 {
            keys.pop();
            assert!(!deeds.renew((&[], &keys), None));
        }
        assert!(deeds.renew((&[], &[key("late", 2)]), None));
    }

    /// Finding of 2026-11: bans that came to be known by another's deed had that one's author.
    #[test]
    fn what_was_done_before_is_nobodys_of_now() {
        let mut deeds = Deeds::default();
        let later = ban("203.0.113.1", 9, 0, "by hand: INC-9");
        assert!(deeds.renew((std::slice::from_ref(&later), &[]), Some(("ana", "203.0.113.1 is banned"))));
        let old = ["192.0.2.1", "192.0.2.2"].map(|on| ban(on, 1, 0, "by hand: imported from x"));
        let new = ["198.51.100.1", "198.51.100.2"].map(|on| ban(on, 10, 0, "by hand: imported from y"));
        let all = [&[later][..], &old, &new].concat();
        assert!(deeds.renew((&all, &[]), Some(("ben", "2 bans are imported from y"))));
        let by: Vec<_> = deeds.at(at(11)).into_iter().map(|deed| (deed.at, deed.by)).collect();
        let by_whom = |second: i64, by: Option<&str>| (at(second), by.map(str::to_owned));
        assert_eq!(by, [by_whom(1, None), by_whom(9, Some("ana")), by_whom(10, Some("ben"))]);
    }
}
