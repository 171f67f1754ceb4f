//! Approvers who have lost their keys: what recovery keys can do, and what they cannot.

use super::approvals::mutations;
use super::memory::*;
use crate::*;

const DAY: i64 = 86_400;

/// Keys that lie in three places: Lea has two of them.
pub(super) struct Vault {
    pub(super) lea: SigningKey,
    lea_too: SigningKey,
    notary: SigningKey,
    pub(super) bank: SigningKey,
}

impl Vault {
    fn new() -> Self {
        Self { lea: key(), lea_too: key(), notary: key(), bank: key() }
    }

    fn recovery(&self) -> Recovery {
        let keys = [("lea", &self.lea), ("lea", &self.lea_too), ("notary", &self.notary), ("bank", &self.bank)];
        let enrolled = |(holder, key): (&str, &SigningKey)| RecoveryKey {
            holder: holder.to_owned(),
            public: key.public(),
            added: at(0).as_microsecond(),
        };
        Recovery::new(2, DAY as u64, keys.into_iter().map(enrolled).collect()).unwrap()
    }
}

/// Ana, Ben, Cem and Dia, and the vault.
pub(super) fn world() -> (People, Vault, Shared, Governor) {
    let (mut people, vault) = (people(), Vault::new());
    people.set.recovery = Some(vault.recovery());
    let (shared, governor) = governed(&people);
    (people, vault, shared, governor)
}

pub(super) fn wanted(governor: &Governor, keys: &[(&str, &SigningKey)]) -> Wish {
    let keys: Vec<_> = keys.iter().map(|(person, key)| ((*person).to_owned(), key.public())).collect();
    let set = governor.standing().approvers.with_keys_replaced(&keys, at(9)).unwrap();
    Wish { kind: Kind::Recovery, approvers: Some(set), ..wish(governor.live().unwrap(), "ops") }
}

pub(super) fn no(governor: &Governor, change: &Change, key: &SigningKey, second: i64) -> Approval {
    Approval::sign(governor.standing().instance, change, Decision::Reject, key, at(second))
}

/// A recovery that has begun at second 12: Ana and Ben are to sign with other keys.
pub(super) fn begun(vault: &Vault, governor: &mut Governor) -> (Change, SigningKey, SigningKey) {
    let (ana, ben) = (key(), key());
    let change = governor.propose(&wanted(governor, &[("ana", &ana), ("ben", &ben)]), at(10)).unwrap();
    for key in [&vault.lea, &vault.bank] {
        governor.approve(change.id, &sign(governor, &change, key, 11), at(11)).unwrap();
    }
    governor.activate(change.id, "ops", at(12)).unwrap();
    governor.have_told(at(12)).unwrap();
    (change, ana, ben)
}

pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, GovernanceError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn two_who_lost_their_keys_sign_with_others_after_the_delay_and_not_before() {
    let (people, vault, shared, mut governor) = world();
    let (ana, ben) = (key(), key());
    let change = governor.propose(&wanted(&governor, &[("ana", &ana), ("ben", &ben)]), at(10)).unwrap();
    assert_eq!((change.kind, change.class), (Kind::Recovery, Class::Neutral));
    // Nobody who approves can say yes to it, and one person with two keys is one person.
    assert!(
        refused(governor.approve(change.id, &sign(&governor, &change, &people.cem, 11), at(11)))
            .contains("recovery keys")
    );
    for key in [&vault.lea, &vault.lea_too] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    assert!(refused(governor.activate(change.id, "ops", at(12))).contains("1 of 2 approvals"));
    governor.approve(change.id, &sign(&governor, &change, &vault.bank, 11), at(11)).unwrap();
    governor.activate(change.id, "ops", at(12)).unwrap();
    governor.have_told(at(12)).unwrap();
    // It says what is to be, and nothing has changed.
    assert_eq!((governor.n(), &governor.standing().approvers), (2, &people.set));
    let due = at(12 + DAY).as_microsecond();
    let recovering = governor.recovering().unwrap().unwrap();
    assert_eq!((recovering.n, recovering.due, recovering.persons), (2, due, vec!["ana".to_owned(), "ben".to_owned()]));
    assert!(governor.is_recovering(change.id));
    for early in [at(11), at(12), at(11 + DAY)] {
        assert!(governor.end_recovery("ops", early).is_err(), "{early}");
        assert!(governor.activate(change.id, "ops", early).is_err(), "{early}");
    }
    // A restart knows of it.
    drop(governor);
    let (mut governor, remarks) = shared.open().unwrap();
    assert_eq!(remarks, Vec::<String>::new());
    assert!(refused(governor.end_recovery("ops", at(11 + DAY))).contains("can be ended from"));
    let (version, trouble) = governor.end_recovery("ops", at(12 + DAY)).unwrap();
    assert!(version.n == 3 && version.change.kind == Kind::Recovered && trouble.is_none());
    // Once.
    assert!(governor.end_recovery("ops", at(13 + DAY)).is_err());
    assert!(governor.recovering().unwrap().is_none());
    // The keys that were lost count for nothing, also in an older store, and the others do.
    assert_eq!(shared.disk().revoked.revived_in(&people.set).len(), 3);
    let change = governor.propose(&wish(content(6, REQUIRED), "dia"), at(20 + DAY)).unwrap();
    for lost in [&people.ana, &people.ben, &people.ben_too] {
        assert!(governor.approve(change.id, &sign(&governor, &change, lost, 21 + DAY), at(21 + DAY)).is_err());
    }
    for key in [&ana, &ben] {
        governor.approve(change.id, &sign(&governor, &change, key, 21 + DAY), at(21 + DAY)).unwrap();
    }
    governor.activate(change.id, "dia", at(22 + DAY)).unwrap();
    assert_eq!(governor.verify_all().unwrap(), 4);
    assert!((1..=4).all(|n| governor.verify_class(n).unwrap()));
    drop(governor);
    assert_eq!(shared.open().unwrap().0.n(), 4);
}

#[test]
fn a_recovery_key_approves_nothing_else_and_says_no_to_nothing() {
    let (people, vault, _, mut governor) = world();
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for approval in [sign(&governor, &change, &vault.lea, 11), no(&governor, &change, &vault.lea, 11)] {
        assert!(refused(governor.approve(change.id, &approval, at(11))).contains("approves nothing but a recovery"));
    }
    let recovery = governor.propose(&wanted(&governor, &[("ana", &key())]), at(10)).unwrap();
    let rejected = no(&governor, &recovery, &vault.lea, 11);
    assert!(refused(governor.approve(recovery.id, &rejected, at(11))).contains("says no to nothing"));
    // Also where the store says that it does: what it signed is no approval of a person.
    let of_set = |kind| {
        Count::of(
            governor.standing().instance,
            &Change { kind, ..change.clone() },
            &[sign(&governor, &Change { kind, ..change.clone() }, &vault.lea, 11)],
            [&people.set, &people.set],
            at(11),
        )
    };
    assert_eq!((of_set(Kind::Change), of_set(Kind::Keys)), (Count::default(), Count::default()));
    // Nor is a key both.
    let mut set = people.set.clone();
    assert!(set.add("eve", &[], vault.lea.public(), at(10)).unwrap_err().contains("approves nothing"));
    let mut both = vault.recovery();
    both.keys[0].public = people.ana.public();
    set.recovery = Some(both);
    assert!(ApproverSet::decode(&set.encode()).is_err());
}

/// Also whose key is said to be lost: who has it shows that it is not.
#[test]
fn any_approver_can_say_no_until_it_is_ended() {
    let (people, vault, shared, mut governor) = world();
    let (change, ..) = begun(&vault, &mut governor);
    let waiting = shared.copy();
    for (name, key) in [("cem", &people.cem), ("ana", &people.ana), ("ben", &people.ben_too)] {
        let disk = waiting.copy();
        let (mut governor, _) = disk.open().unwrap();
        // After the delay, too, as long as nobody has ended it.
        for second in [13, 14 + DAY] {
            let yes = sign(&governor, &change, key, second);
            assert!(governor.veto(&yes, at(second)).is_err(), "{name}");
        }
        let (version, person, trouble) = governor.veto(&no(&governor, &change, key, 14 + DAY), at(14 + DAY)).unwrap();
        assert!(version.change.kind == Kind::Veto && person == name && trouble.is_none());
        assert!(governor.end_recovery("ops", at(15 + DAY)).is_err() && governor.recovering().unwrap().is_none());
        // The same signatures begin nothing again.
        assert!(governor.activate(change.id, "ops", at(15 + DAY)).is_err());
        assert_eq!(governor.standing().approvers, people.set);
        drop(governor);
        assert_eq!(disk.open().unwrap().0.verify_all().unwrap(), 3);
    }
    // A no counts of nobody else, and of no other change; and not before it was proposed.
    let other = Change { reason: "another".to_owned(), ..change.clone() };
    let nos = [
        no(&governor, &change, &key(), 13),
        no(&governor, &change, &vault.notary, 13),
        no(&governor, &other, &people.cem, 13),
        no(&governor, &change, &people.cem, -400),
    ];
    for (case, rejected) in nos.iter().enumerate() {
        assert!(governor.veto(rejected, at(13)).is_err(), "{case}");
    }
    assert!(governor.end_recovery("ops", at(12 + DAY)).is_ok());
    // Before it has begun a no ends the proposal, as of any change.
    let (mut governor, _) = world_again(&people);
    let change = governor.propose(&wanted(&governor, &[("ana", &key())]), at(10)).unwrap();
    let rejected = no(&governor, &change, &people.cem, 11);
    assert_eq!(governor.approve(change.id, &rejected, at(11)).unwrap().state, ChangeState::Rejected);
    assert!(governor.veto(&rejected, at(12)).is_err());
}

fn world_again(people: &People) -> (Governor, Shared) {
    let (shared, governor) = governed(people);
    (governor, shared)
}

#[test]
fn what_enough_approvers_sign_meanwhile_ends_it() {
    let (people, vault, _, mut governor) = world();
    begun(&vault, &mut governor);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(20)).unwrap();
    for key in [&people.cem, &people.dia] {
        governor.approve(change.id, &sign(&governor, &change, key, 21), at(21)).unwrap();
    }
    governor.activate(change.id, "ana", at(22)).unwrap();
    assert!(governor.recovering().unwrap().is_none() && governor.end_recovery("ops", at(13 + DAY)).is_err());
    assert_eq!(governor.verify_all().unwrap(), 3);
}

#[test]
fn one_that_is_late_or_of_another_base_or_by_a_clock_that_was_set_back_is_refused() {
    let (people, vault, shared, mut governor) = world();
    let change = governor.propose(&wanted(&governor, &[("ana", &key())]), at(10)).unwrap();
    let ttl = i64::try_from(change.rules.proposal_ttl_s).unwrap();
    for key in [&vault.lea, &vault.bank] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let ready = shared.copy();
    assert!(refused(governor.activate(change.id, "ops", at(10 + ttl))).contains("expired"));
    // Before the last version: its delay would be over sooner than it is.
    assert!(refused(governor.activate(change.id, "ops", at(0))).contains("clock"));
    // Another version became live.
    let (mut other, _) = ready.open().unwrap();
    let second = other.propose(&wanted(&other, &[("cem", &key())]), at(10)).unwrap();
    for key in [&vault.lea, &vault.bank] {
        other.approve(second.id, &sign(&other, &second, key, 11), at(11)).unwrap();
    }
    other.activate(second.id, "ops", at(12)).unwrap();
    other.have_told(at(12)).unwrap();
    assert!(matches!(other.activate(change.id, "ops", at(13)), Err(GovernanceError::StaleBase { .. })));
    // Nobody ended it in its time.
    assert!(refused(other.end_recovery("ops", at(12 + DAY + ttl))).contains("not ended in its time"));
    assert!(refused(other.end_recovery("ops", at(11))).contains("can be ended from"));
    // Nor is it vetoed before it began: the next start would refuse the log.
    let rejected = no(&other, &second, &people.cem, 11);
    assert!(refused(other.veto(&rejected, at(11))).contains("clock"));
}

/// Whoever can write the store has another value stand under the signatures of the recovery keys.
#[test]
fn under_signatures_of_recovery_keys_nothing_else_begins() {
    let (_, vault, shared, mut governor) = world();
    let (ana, ben) = (key(), key());
    let change = governor.propose(&wanted(&governor, &[("ana", &ana), ("ben", &ben)]), at(10)).unwrap();
    for key in [&vault.lea, &vault.bank] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let waiting = shared.copy();
    governor.activate(change.id, "ops", at(12)).unwrap();
    let version = governor.version(2).unwrap();
    assert_eq!(Change::decode(&change.encode()).unwrap(), change);
    let mut all = mutations();
    all.push(("recovers", |change| change.recovers.0[0] ^= 1));
    for (name, mutate) in all {
        let mut other = change.clone();
        mutate(&mut other);
        assert!(!sign(&governor, &change, &vault.lea, 11).is_valid(governor.standing().instance, &other), "{name}");
        let forged = waiting.copy();
        forged.disk().changes.get_mut(&change.id).unwrap().record = other.encode();
        let (mut governor, _) = forged.open().unwrap();
        assert!(governor.activate(change.id, "ops", at(12)).is_err(), "{name}");
        assert_eq!(governor.n(), 1, "{name}");
        let forged = shared.copy();
        let version = Version { change: other, ..version.clone() };
        let hash = version.hash();
        forged.disk().versions[1] = (hash, version.encode());
        forged.disk().head = Some(Head { n: 2, hash, required: version.rules().required });
        assert!(forged.open().is_err(), "{name}");
    }
    // As it was signed it is what it was.
    assert_eq!(waiting.open().unwrap().0.activate(change.id, "ops", at(12)).unwrap().0, version);
}

/// The store alone, with or without its head file, ends nothing, begins nothing, and says no to nothing.
#[test]
fn a_log_in_which_a_recovery_was_forged_is_refused() {
    let (people, vault, shared, mut governor) = world();
    let (change, ana, _) = begun(&vault, &mut governor);
    let open = shared.copy();
    governor.end_recovery("ops", at(12 + DAY)).unwrap();
    let (second, third) = (governor.version(2).unwrap(), governor.version(3).unwrap());
    let eve = key();
    let mut with_eve = people.set.clone();
    with_eve.add("eve", &[], eve.public(), at(12)).unwrap();
    let mut no_delay = governor.standing().approvers;
    no_delay.recovery.as_mut().unwrap().delay_s = 3_600;
    let mut only_cem = people.set.with_keys_replaced(&[("cem".to_owned(), eve.public())], at(12)).unwrap();
    let last = |time: i64, change: Change| Version { time: at(time).as_microsecond(), change, ..third.clone() };
    let of = |set: &ApproverSet| Change { approvers: set.hash(), ..third.change.clone() };
    let forgeries = [
        ("too early", last(11 + DAY, third.change.clone())),
        ("too late", last(12 + DAY + 3 * DAY, third.change.clone())),
        ("before it began", last(11, third.change.clone())),
        ("one more person", last(12 + DAY, of(&with_eve))),
        ("another delay", last(12 + DAY, of(&no_delay))),
        ("another person's key", last(12 + DAY, of(&only_cem))),
        ("another policy", last(12 + DAY, Change { content: content(9, REQUIRED).hash(), ..third.change.clone() })),
        ("by keys alone", last(12 + DAY, Change { kind: Kind::Keys, ..third.change.clone() })),
        ("a no of nobody", last(13, Change { kind: Kind::Veto, ..of(&people.set) })),
        ("a no that ends it", last(13, Change { kind: Kind::Veto, ..third.change.clone() })),
        ("begun twice", last(13, Change { base: second.hash(), base_n: 2, ..second.change.clone() })),
    ];
    for (name, version) in forgeries {
        for vouched in [false, true] {
            let forged = open.copy();
            {
                let mut disk = forged.disk();
                for set in [&with_eve, &no_delay, &only_cem] {
                    disk.blobs.insert(set.hash(), set.encode());
                }
                disk.versions.push((version.hash(), version.encode()));
                if vouched {
                    disk.head = Some(Head { n: 3, hash: version.hash(), required: true });
                }
            }
            assert!(
                matches!(forged.open(), Err(GovernanceError::Broken { n: 3, .. })),
                "{name} {vouched}: {:?}",
                forged.open()
            );
        }
    }
    // What was ended comes once, and on its beginning.
    let replayed = shared.copy();
    let again = Version { n: 4, prev: third.hash(), ..third.clone() };
    replayed.disk().versions.push((again.hash(), again.encode()));
    assert!(matches!(replayed.open(), Err(GovernanceError::Broken { n: 4, .. })));
    // Signatures of too few, one twice, one person's two, the author's, a stranger's, and one too late.
    let ttl = i64::try_from(change.rules.proposal_ttl_s).unwrap();
    let signed = |key: &SigningKey, second: i64| sign(&governor, &change, key, second);
    let cases = [
        ("one", vec![signed(&vault.lea, 11)], 12),
        ("one twice", vec![signed(&vault.lea, 11), signed(&vault.lea, 11)], 12),
        ("one person with two keys", vec![signed(&vault.lea, 11), signed(&vault.lea_too, 11)], 12),
        ("an approver", vec![signed(&vault.lea, 11), signed(&people.cem, 11)], 12),
        ("whoever is to be one", vec![signed(&vault.lea, 11), signed(&ana, 11)], 12),
        ("a stranger", vec![signed(&vault.lea, 11), signed(&key(), 11)], 12),
        ("begun when its time was over", vec![signed(&vault.lea, 11), signed(&vault.bank, 11)], 10 + ttl),
        ("signed before it was proposed", vec![signed(&vault.lea, 11), signed(&vault.bank, -400)], 12),
        ("before the version before", vec![signed(&vault.lea, -100), signed(&vault.bank, -100)], 0),
    ];
    for (name, approvals, time) in cases {
        let forged = open.copy();
        let version = Version { approvals, time: at(time).as_microsecond(), ..second.clone() };
        let hash = version.hash();
        forged.disk().versions[1] = (hash, version.encode());
        forged.disk().head = Some(Head { n: 2, hash, required: true });
        assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 2, .. })), "{name}: {:?}", forged.open());
    }
    only_cem.recovery = None;
    assert_eq!(only_cem.replaced_since(&people.set), None);
    // A store from before it began, under the head file of now.
    let older = world_again(&people).1;
    older.disk().head = shared.disk().head;
    assert!(matches!(older.open(), Err(GovernanceError::Downgraded { .. })));
}

#[test]
fn an_author_does_not_count_under_any_name() {
    let (people, mut vault) = (people(), Vault::new());
    let mut set = people.set.clone();
    let mut recovery = vault.recovery();
    // Ana holds one, too.
    let lea = std::mem::replace(&mut vault.lea, key());
    recovery.keys.iter_mut().filter(|key| key.public == lea.public()).for_each(|key| key.holder = "ana".to_owned());
    set.recovery = Some(Recovery::new(2, DAY as u64, recovery.keys).unwrap());
    for (author, counts) in [("ana", false), ("ANA", false), ("unix:aw", false), ("bank", true), ("ops", true)] {
        let people = People { set: set.clone(), ..super::memory::people() };
        let (mut governor, _) = world_again(&people);
        let wanted = Wish { authors: vec![author.to_owned()], ..wanted(&governor, &[("ben", &key())]) };
        let change = governor.propose(&wanted, at(10)).unwrap();
        let approved = governor.approve(change.id, &sign(&governor, &change, &lea, 11), at(11));
        assert_eq!(approved.is_ok(), counts, "{author}");
        let bank = governor.approve(change.id, &sign(&governor, &change, &vault.bank, 11), at(11));
        assert_eq!(bank.is_ok(), author != "bank", "{author}");
    }
}

#[test]
fn it_replaces_keys_of_who_is_enrolled_and_nothing_else() {
    let (people, vault, _, mut governor) = world();
    let before = &people.set;
    let replaced = |persons: &[(&str, PublicKey)]| {
        let persons: Vec<_> = persons.iter().map(|(person, key)| ((*person).to_owned(), *key)).collect();
        before.with_keys_replaced(&persons, at(9))
    };
    let one = replaced(&[("Ana", key().public())]).unwrap();
    assert_eq!(one.replaced_since(before), Some(vec!["ana".to_owned()]));
    assert_eq!(before.replaced_since(before), None);
    let errors = [
        replaced(&[]),
        replaced(&[("eve", key().public())]),
        replaced(&[("ana", people.cem.public())]),
        replaced(&[("ana", people.ana.public())]),
        replaced(&[("ana", vault.lea.public())]),
    ];
    assert!(errors.iter().all(Result::is_err), "{errors:?}");
    // Whoever was dismissed stays so.
    let mut dismissed = before.clone();
    dismissed.revoke("ana", None, at(5)).unwrap();
    let back = [("ana".to_owned(), key().public())];
    assert!(dismissed.with_keys_replaced(&back, at(9)).unwrap_err().contains("does not come back by a recovery"));
    let mut forged = dismissed.clone();
    forged.add("ana", &[], back[0].1, at(9)).unwrap();
    assert_eq!(forged.replaced_since(&dismissed), None);
    type Forged = (&'static str, fn(&mut ApproverSet));
    let forgeries: [Forged; 7] = [
        ("one more person", |set| set.add("eve", &[], key().public(), at(9)).unwrap()),
        ("one less", |set| drop(set.approvers.pop())),
        ("another name", |set| set.approvers[1].aliases.push("unix:eve".to_owned())),
        ("a key beside the old one", |set| set.add("cem", &[], key().public(), at(9)).unwrap()),
        ("revoked alone", |set| set.revoke("cem", None, at(9)).unwrap()),
        ("other recovery keys", |set| set.recovery.as_mut().unwrap().quorum = 3),
        ("no recovery keys", |set| set.recovery = None),
    ];
    for (name, forge) in forgeries {
        let mut set = one.clone();
        forge(&mut set);
        assert_eq!(set.replaced_since(before), None, "{name}");
        let wanted = Wish { kind: Kind::Recovery, approvers: Some(set), ..wish(governor.live().unwrap(), "ops") };
        assert!(governor.propose(&wanted, at(10)).is_err(), "{name}");
    }
    // Another policy along with it, and where nobody enrolled any.
    let other = Wish { content: content(9, REQUIRED), ..wanted(&governor, &[("ana", &key())]) };
    assert!(refused(governor.propose(&other, at(10))).contains("changes nothing else"));
    let (mut plain, _) = world_again(&super::memory::people());
    let wanted = wanted(&plain, &[("ana", &key())]);
    assert!(refused(plain.propose(&wanted, at(10))).contains("no recovery keys are enrolled"));
}

#[test]
fn recovery_keys_are_enrolled_by_the_old_and_the_new_approvers() {
    let people = people();
    let (mut governor, _) = world_again(&people);
    let vault = Vault::new();
    let set = ApproverSet { recovery: Some(vault.recovery()), ..people.set.clone() };
    assert_eq!(ApproverSet::decode(&set.encode()).unwrap(), set);
    assert_ne!(set.hash(), people.set.hash());
    let wanted = Wish { kind: Kind::Keys, approvers: Some(set.clone()), ..wish(content(5, REQUIRED), "ana") };
    let change = governor.propose(&wanted, at(10)).unwrap();
    for key in [&vault.lea, &vault.bank] {
        assert!(governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).is_err());
    }
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
    assert!(refused(governor.activate(change.id, "ana", at(12))).contains("1 of 2"));
    governor.approve(change.id, &sign(&governor, &change, &people.cem, 11), at(11)).unwrap();
    governor.activate(change.id, "ana", at(12)).unwrap();
    assert_eq!(governor.standing().approvers.recovery, Some(vault.recovery()));
    // What cannot be.
    let with = |quorum, delay_s, keys: Vec<RecoveryKey>| Recovery::new(quorum, delay_s, keys);
    let keys = vault.recovery().keys;
    let named = |holder: &str| RecoveryKey { holder: holder.to_owned(), ..keys[0].clone() };
    let many = (0..=MAX_RECOVERY_KEYS).map(|n| RecoveryKey { holder: format!("h{n}"), ..keys[0].clone() }).collect();
    let delay = DAY as u64;
    let errors = [
        with(1, delay, keys.clone()),
        with(4, delay, keys.clone()),
        with(2, 3_599, keys.clone()),
        with(2, 30 * delay + 1, keys.clone()),
        with(2, u64::MAX, keys.clone()),
        with(2, delay, vec![named("Lea"), named("bank")]),
        with(2, delay, many),
    ];
    assert!(errors.iter().all(Result::is_err), "{errors:?}");
    // Who mistook one file for another is told which.
    let same = with(2, delay, vec![named("notary"), named("bank")]).unwrap_err();
    assert!(same.contains(&keys[0].public.id()) && same.contains("of bank and of notary"), "{same}");
    assert!(with(3, 3_600, keys.clone()).is_ok() && with(2, 30 * delay, keys.clone()).is_ok());
    // The same key twice is no set.
    let twice = Recovery { quorum: 2, delay_s: delay, keys: vec![named("bank"), named("lea")] };
    assert!(ApproverSet::decode(&ApproverSet { recovery: Some(twice), ..people.set.clone() }.encode()).is_err());
}

#[test]
fn wherever_the_process_ends_a_recovery_has_begun_or_not_and_is_over_or_not() {
    type Step = (&'static str, fn(&mut Governor, &Change, &People) -> bool);
    let steps: [Step; 3] = [
        ("begin", |governor, change, _| governor.activate(change.id, "ops", at(12)).is_ok()),
        ("end", |governor, _, _| governor.end_recovery("ops", at(12 + DAY)).is_ok()),
        ("veto", |governor, change, people| governor.veto(&no(governor, change, &people.cem, 13), at(13)).is_ok()),
    ];
    for (name, step) in steps {
        for unheard in [false, true] {
            for working in 0..=3 {
                let (people, vault, shared, mut governor) = world();
                let change = governor.propose(&wanted(&governor, &[("ana", &key())]), at(10)).unwrap();
                for key in [&vault.lea, &vault.bank] {
                    governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
                }
                if name != "begin" {
                    governor.activate(change.id, "ops", at(12)).unwrap();
                    governor.have_told(at(12)).unwrap();
                }
                let (n, before) = (governor.n(), shared.disk().writes);
                shared.disk().working = Some(before + working);
                shared.disk().done_unheard = unheard;
                let heard = step(&mut governor, &change, &people);
                assert_eq!(heard, working > 0, "{name} {unheard} {working}");
                drop(governor);
                shared.disk().working = None;
                let (mut governor, _) = shared.open().unwrap();
                let done = heard || unheard;
                assert_eq!(governor.n(), n + u64::from(done), "{name} {unheard} {working}");
                assert_eq!(shared.disk().head.unwrap().n, governor.n());
                let kept = governor.standing().approvers == people.set;
                assert_eq!(kept, !(done && name == "end"), "{name} {unheard} {working}");
                // Where the process ended before the list of revoked keys was written, the next start writes it.
                assert_eq!(
                    shared.disk().revoked.revived_in(&people.set).is_empty(),
                    kept,
                    "{name} {unheard} {working}"
                );
                if !done {
                    assert!(step(&mut governor, &change, &people), "{name} {unheard} {working}");
                }
                assert_eq!(governor.verify_all().unwrap(), n + 1);
            }
        }
    }
}
