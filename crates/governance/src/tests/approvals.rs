//! What counts as an approval, and what does not.

use super::memory::*;
use crate::*;

fn refused(result: Result<(Version, Option<GovernanceError>), GovernanceError>) -> String {
    result.map(|(version, _)| version.n).expect_err("activated").to_string()
}

#[test]
fn a_change_becomes_live_with_enough_persons_and_not_before() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    assert_eq!((change.class, change.base_n, change.impact), (Class::Loosens, 1, Hash::NONE));
    assert!(refused(governor.activate(change.id, "ana", at(11))).contains("0 of 2 approvals"));
    let one = governor.approve(change.id, &sign(&governor, &change, &people.ben, 12), at(12)).unwrap();
    assert!(one.missing.is_some());
    assert!(
        refused(governor.activate(change.id, "ana", at(13)))
            .contains("1 of 2 approvals by persons other than the author (ben)")
    );
    let two = governor.approve(change.id, &sign(&governor, &change, &people.cem, 14), at(14)).unwrap();
    assert_eq!((two.missing, two.count.old.len()), (None, 2));
    let (version, trouble) = governor.activate(change.id, "ana", at(15)).unwrap();
    assert!(trouble.is_none());
    assert_eq!((version.n, governor.n(), governor.live().unwrap()), (2, 2, content(6, REQUIRED)));
    assert!(refused(governor.activate(change.id, "ana", at(16))).contains("activated"), "once");
    // The next start believes it, by the signatures alone.
    let (again, remarks) = shared.open().unwrap();
    assert_eq!((again.n(), again.verify_all().unwrap(), remarks.len()), (2, 2, 0));
}

#[test]
fn what_only_tightens_needs_fewer_and_the_engine_says_what_does() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    assert_eq!(change.class, Class::Tightens);
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
    governor.activate(change.id, "ana", at(12)).unwrap();
    // Back again is no lesser thing: it loosens.
    let back = Wish { kind: Kind::Rollback, restores: 1, ..wish(content(5, REQUIRED), "ana") };
    let change = governor.propose(&back, at(13)).unwrap();
    assert_eq!(change.class, Class::Loosens);
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 14), at(14)).unwrap();
    assert!(refused(governor.activate(change.id, "ana", at(15))).contains("1 of 2"));
    governor.approve(change.id, &sign(&governor, &change, &people.dia, 16), at(16)).unwrap();
    let (version, _) = governor.activate(change.id, "ana", at(17)).unwrap();
    assert_eq!((version.n, version.change.restores), (3, 1), "a new version, forward");
}

#[test]
fn persons_are_counted_and_not_keys_or_signatures() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    let one = sign(&governor, &change, &people.ben, 11);
    for _ in 0..3 {
        governor.approve(change.id, &one, at(12)).unwrap();
    }
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 13), at(13)).unwrap();
    governor.approve(change.id, &sign(&governor, &change, &people.ben_too, 14), at(14)).unwrap();
    assert_eq!(shared.disk().changes[&change.id].approvals.len(), 5);
    assert!(
        refused(governor.activate(change.id, "ana", at(15)))
            .contains("1 of 2 approvals by persons other than the author (ben)")
    );
}

#[test]
fn the_author_does_not_count_under_any_name() {
    let people = people();
    for author in ["ana", "ANA", "unix:aw"] {
        let (_, mut governor) = governed(&people);
        let change = governor.propose(&wish(content(6, REQUIRED), author), at(10)).unwrap();
        let own = governor.approve(change.id, &sign(&governor, &change, &people.ana, 11), at(11));
        assert!(own.unwrap_err().to_string().contains("author"), "{author}");
        governor.approve(change.id, &sign(&governor, &change, &people.ben, 12), at(12)).unwrap();
        assert!(refused(governor.activate(change.id, "ana", at(13))).contains("1 of 2"), "{author}");
    }
    // One of several names is enough to be the author.
    let (_, mut governor) = governed(&people);
    let several = Wish { authors: vec!["root".into(), "unix:aw".into()], ..wish(content(6, REQUIRED), "x") };
    let change = governor.propose(&several, at(10)).unwrap();
    assert!(governor.approve(change.id, &sign(&governor, &change, &people.ana, 11), at(11)).is_err());
    assert!(governor.propose(&Wish { authors: Vec::new(), ..wish(content(6, REQUIRED), "x") }, at(10)).is_err());
}

/// Finding of 2026-11: a principal of a provider (`user:auth0|5f7c`) could not be enrolled as another name of an approver, who then could approve what they had
/// proposed under it over the API.
#[test]
fn whatever_somebody_proposes_as_can_be_enrolled_and_keeps_them_from_approving_it() {
    let mut people = people();
    let principals = ["user:auth0|5F7C", "certificate:CN=Ana Müller,O=Example", "user:ana+x@corp.example"];
    let aliases = principals.map(str::to_owned);
    people.set.add("ana", &aliases, key().public(), at(0)).unwrap();
    let bytes = people.set.encode();
    assert_eq!(ApproverSet::decode(&bytes).unwrap(), people.set);
    let by_hand = ["root", "unix:root", "uid:0", "aw", "unix:aw", "uid:1000"];
    let bars = |names: &[&str]| {
        let (_, mut governor) = governed(&people);
        let authors = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let change = governor.propose(&Wish { authors, ..wish(content(6, REQUIRED), "x") }, at(10)).unwrap();
        governor.approve(change.id, &sign(&governor, &change, &people.ana, 11), at(11)).is_err()
    };
    for principal in principals {
        let (_, bare) = principal.split_once(':').unwrap();
        assert!(bars(&[principal, bare]), "{principal}");
        assert!(bars(&["ben", principal, bare]), "{principal}");
    }
    for own in [&["user:ana", "ana"][..], &["service:ana", "ana"], &["certificate:ana", "ana"], &by_hand] {
        assert!(bars(own), "{own:?}");
    }
    // `user:aw` is not said to be who the account `aw` is: that is for whoever enrols to say.
    for other in [&["user:aw", "aw"][..], &["user:auth0|5f7d", "auth0|5f7d"], &["user:mana", "mana"]] {
        assert!(!bars(other), "{other:?}");
    }
    for bad in ["", " user:a", "user:a ", "user:\na", "user:a\u{7}", &"a".repeat(273)] {
        assert!(people.set.clone().add("ana", &[bad.to_owned()], key().public(), at(0)).is_err(), "{bad:?}");
    }
    let taken = people.set.clone().add("ben", &["user:AUTH0|5f7c".to_owned()], key().public(), at(0)).unwrap_err();
    assert!(taken.contains("one person, one vote"), "{taken}");
}

pub(super) type Mutation = (&'static str, fn(&mut Change));

/// Each value that is signed, as somebody else would have it.
pub(super) fn mutations() -> Vec<Mutation> {
    // A new value must be given its place here.
    let every = |change: Change| {
        let Change { id: _, kind: _, class: _, base_n: _, base: _, content: _, governed: _, approvers: _, .. } = change;
        // `recovers` stands in a recovery alone, and is told by `recoveries.rs`.
        let Change { impact: _, rules, restores: _, authors: _, reason: _, ticket: _, created: _, expires: _, .. } =
            change;
        let Rules { required: _, tighten: _, loosen: _, keys: _, proposal_ttl_s: _ } = rules;
    };
    let _: fn(Change) = every;
    vec![
        ("id", |change| change.id.0[15] ^= 1),
        ("kind", |change| change.kind = Kind::Rollback),
        ("class", |change| change.class = Class::Tightens),
        ("base_n", |change| change.base_n += 1),
        ("base", |change| change.base.0[31] ^= 1),
        ("content", |change| change.content.0[0] ^= 1),
        ("governed", |change| change.governed.0[0] ^= 1),
        ("approvers", |change| change.approvers.0[0] ^= 1),
        ("impact", |change| change.impact.0[0] ^= 1),
        ("required", |change| change.rules.required = false),
        ("tighten", |change| change.rules.tighten = 0),
        ("loosen", |change| change.rules.loosen = 1),
        ("keys", |change| change.rules.keys = 1),
        ("ttl", |change| change.rules.proposal_ttl_s += 1),
        ("restores", |change| change.restores = 1),
        ("authors", |change| change.authors = vec!["cem".to_owned()]),
        ("another author", |change| change.authors.push("cem".to_owned())),
        ("reason", |change| change.reason.push('!')),
        ("ticket", |change| change.ticket.push('1')),
        ("created", |change| change.created += 1),
        ("expires", |change| change.expires += 1),
    ]
}

/// Whoever can write the store has another value stand under the signatures: before it is live, and in the log.
#[test]
fn under_signatures_nothing_else_becomes_live_or_stays_so() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for key in [&people.ben, &people.dia] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let waiting = shared.copy();
    governor.activate(change.id, "ana", at(12)).unwrap();
    let version = governor.version(2).unwrap();
    for (name, mutate) in mutations() {
        let mut other = change.clone();
        mutate(&mut other);
        let forged = waiting.copy();
        forged.disk().changes.get_mut(&change.id).unwrap().record = other.encode();
        let (mut governor, _) = forged.open().unwrap();
        assert!(governor.activate(change.id, "ana", at(12)).is_err(), "{name}");
        assert!(governor.begin_rollout(change.id, "ana", at(12)).is_err(), "{name}");
        assert!(governor.activate_and_write(change.id, "ana", at(12)).is_err(), "{name}");
        assert_eq!((governor.n(), forged.disk().versions.len()), (1, 1), "{name}");
        let forged = shared.copy();
        let version = Version { change: other, ..version.clone() };
        let hash = version.hash();
        forged.disk().versions[1] = (hash, version.encode());
        forged.disk().head = Some(Head { n: 2, hash, required: version.rules().required });
        // The approvers are not even there under another hash.
        let error = forged.open().unwrap_err();
        assert!(name == "approvers" || matches!(error, GovernanceError::Broken { n: 2, .. }), "{name}: {error}");
    }
    // As it was signed it is what it was.
    let (mut governor, _) = waiting.open().unwrap();
    assert_eq!(governor.activate(change.id, "ana", at(12)).unwrap().0, version);
}

#[test]
fn a_signature_is_bound_to_every_value() {
    let people = people();
    let (_, governor) = governed(&people);
    let instance = governor.standing().instance;
    let mut governor = governor;
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    let approval = sign(&governor, &change, &people.ben, 11);
    assert!(approval.is_valid(instance, &change));
    for (name, mutate) in mutations() {
        let mut other = change.clone();
        mutate(&mut other);
        assert_ne!(other, change, "{name}");
        assert!(!approval.is_valid(instance, &other), "{name}");
        assert_eq!(Change::decode(&other.encode()).unwrap(), other, "{name}");
    }
    // A text cannot move into the one beside it.
    let (mut left, mut right) = (change.clone(), change.clone());
    (left.reason, left.ticket) = ("ab".to_owned(), "c".to_owned());
    (right.reason, right.ticket) = ("a".to_owned(), "bc".to_owned());
    assert_ne!(left.encode(), right.encode());
    assert!(!approval.is_valid(Hash([7; 32]), &change), "the instance");
    let rejected = Approval { decision: Decision::Reject, ..approval.clone() };
    assert!(!rejected.is_valid(instance, &change), "the decision");
    assert!(!Approval { signed: approval.signed + 1, ..approval.clone() }.is_valid(instance, &change), "the time");
    assert!(!Approval { key: people.cem.public(), ..approval.clone() }.is_valid(instance, &change), "the key");
    let mut signature = approval.signature;
    signature[5] ^= 1;
    assert!(!Approval { signature, ..approval.clone() }.is_valid(instance, &change), "the signature");
    assert_eq!(Approval::decode(&approval.encode()).unwrap(), approval);
}

#[test]
fn an_approval_is_of_one_change_and_one_gateway() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let first = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    let second = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    let approval = sign(&governor, &first, &people.ben, 11);
    let error = governor.approve(second.id, &approval, at(12)).unwrap_err();
    assert!(error.to_string().contains("not signed under this change"), "{error}");
    let (_, other) = governed(&people);
    assert_ne!(other.standing().instance, governor.standing().instance);
    let foreign = sign(&other, &first, &people.ben, 11);
    assert!(governor.approve(first.id, &foreign, at(12)).is_err());
}

#[test]
fn a_stranger_a_revoked_key_and_a_key_of_later_count_for_nothing() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(400)).unwrap();
    let stranger = governor.approve(change.id, &sign(&governor, &change, &key(), 401), at(401));
    assert!(stranger.unwrap_err().to_string().contains("not enrolled"));
    // Dia is revoked: by Ben and Cem, and Ana and Ben after it.
    let mut set = people.set.clone();
    set.revoke("dia", None, at(402)).unwrap();
    let revoke = Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(5, REQUIRED), "ana") };
    let keys = governor.propose(&revoke, at(402)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(keys.id, &sign(&governor, &keys, key, 403), at(403)).unwrap();
    }
    governor.activate(keys.id, "ana", at(404)).unwrap();
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(405)).unwrap();
    let late = governor.approve(change.id, &sign(&governor, &change, &people.dia, 406), at(406));
    assert!(late.unwrap_err().to_string().contains("revoked"));
    let mut back = governor.standing().approvers;
    assert!(back.add("dia", &[], people.dia.public(), at(407)).unwrap_err().contains("stays so"));
}

#[test]
fn what_was_signed_counts_until_the_key_is_revoked() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let mut set = people.set.clone();
    set.revoke("ben", None, at(20)).unwrap();
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let instance = governor.standing().instance;
    let approvals = governor.proposal(change.id, at(12)).unwrap().approvals;
    let count = |set: &ApproverSet| Count::of(instance, &change, &approvals, [set, set], at(12)).old.len();
    assert_eq!((count(&people.set), count(&set)), (2, 1));
}

#[test]
fn time_binds_a_change_and_its_approvals() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let ttl = 72 * 3_600;
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(1_000)).unwrap();
    let mut try_at = |signed: i64, now: i64| {
        governor.approve(change.id, &sign(&governor, &change, &people.ben, signed), at(now)).is_ok()
    };
    assert!(!try_at(600, 1_001), "before it was proposed");
    assert!(!try_at(1_400, 1_001), "in the future");
    assert!(try_at(1_002, 1_002));
    for key in [&people.cem, &people.dia] {
        governor.approve(change.id, &sign(&governor, &change, key, 1_003), at(1_003)).unwrap();
    }
    let late = refused(governor.activate(change.id, "ana", at(1_000 + ttl)));
    assert!(late.contains("expired"), "{late}");
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(1_000)).unwrap();
    for key in [&people.cem, &people.dia] {
        governor.approve(change.id, &sign(&governor, &change, key, 1_003), at(1_003)).unwrap();
    }
    governor.activate(change.id, "ana", at(999 + ttl)).unwrap();
}

#[test]
fn another_base_makes_approvals_worthless() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let first = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    let second = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    for change in [&first, &second] {
        for key in [&people.ben, &people.cem] {
            governor.approve(change.id, &sign(&governor, change, key, 11), at(11)).unwrap();
        }
    }
    governor.activate(second.id, "ana", at(12)).unwrap();
    let stale = refused(governor.activate(first.id, "ana", at(13)));
    assert!(stale.contains("version 1 was live, and 2 is now"), "{stale}");
}

#[test]
fn one_no_is_enough() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let instance = governor.standing().instance;
    let no = Approval::sign(instance, &change, Decision::Reject, &people.dia, at(12));
    assert_eq!(governor.approve(change.id, &no, at(12)).unwrap().state, ChangeState::Rejected);
    assert!(refused(governor.activate(change.id, "ana", at(13))).contains("rejected"));
    // Nor is it forgotten where the state was lost: the signature blocks.
    let count = Count::of(instance, &change, &[no], [&people.set, &people.set], at(13));
    assert_eq!(count.meets(Need { old: 1, new: 0 }), Err(Shortfall::Rejected("dia".to_owned())));
}

#[test]
fn approvers_are_changed_by_the_old_and_the_new_ones() {
    let people = people();
    let (_, mut governor) = governed(&people);
    // Ben, Cem and Dia are to go, and Eli and Fay to come.
    let (eli, fay) = (key(), key());
    let mut set = people.set.clone();
    for name in ["ben", "cem", "dia"] {
        set.revoke(name, None, at(10)).unwrap();
    }
    set.add("eli", &[], eli.public(), at(10)).unwrap();
    set.add("fay", &[], fay.public(), at(10)).unwrap();
    let wished = Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(5, REQUIRED), "ana") };
    let change = governor.propose(&wished, at(10)).unwrap();
    assert_eq!(governor.proposal(change.id, at(10)).unwrap().need, Need { old: 2, new: 2 });
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    assert!(refused(governor.activate(change.id, "ana", at(12))).contains("approvers afterwards"));
    for key in [&eli, &fay] {
        governor.approve(change.id, &sign(&governor, &change, key, 13), at(13)).unwrap();
    }
    governor.activate(change.id, "ana", at(14)).unwrap();
    // New ones alone cannot let themselves in.
    let gus = key();
    let mut set = governor.standing().approvers;
    set.add("gus", &[], gus.public(), at(20)).unwrap();
    let wished = Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(5, REQUIRED), "ana") };
    let change = governor.propose(&wished, at(20)).unwrap();
    for key in [&gus, &eli] {
        governor.approve(change.id, &sign(&governor, &change, key, 21), at(21)).unwrap();
    }
    let error = refused(governor.activate(change.id, "ana", at(22)));
    assert!(error.contains("1 of 2 approvals by persons other than the author (eli)"), "{error}");
}

#[test]
fn a_set_that_loses_somebody_or_is_too_small_is_refused() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let with = |set: ApproverSet| Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(5, REQUIRED), "ana") };
    let mut gone = people.set.clone();
    gone.approvers.pop();
    assert!(governor.propose(&with(gone), at(10)).unwrap_err().to_string().contains("revoked, not removed"));
    let mut few = people.set.clone();
    for name in ["ben", "cem", "dia"] {
        few.revoke(name, None, at(10)).unwrap();
    }
    assert!(matches!(governor.propose(&with(few), at(10)), Err(GovernanceError::TooFewApprovers { have: 1, need: 2 })));
    let both = Wish { approvers: Some(people.set.clone()), ..wish(content(6, REQUIRED), "ana") };
    assert!(governor.propose(&both, at(10)).is_ok(), "the same approvers are no change of them");
}

#[test]
fn lower_rules_need_what_the_rules_demand() {
    let people = people();
    let (_, mut governor) = governed(&people);
    for rules in ["0 1 2 2", "1 1 1 2", "1 1 2 1", "1 1 2 3"] {
        // The class alone would be tightening, which one person approves.
        let change = governor.propose(&wish(content(4, rules), "ana"), at(10)).unwrap();
        assert_eq!(
            (change.class, governor.proposal(change.id, at(10)).unwrap().need.old),
            (Class::Tightens, 2),
            "{rules}"
        );
    }
    let change = governor.propose(&wish(content(5, "0 1 2 2"), "ana"), at(10)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    governor.activate(change.id, "ana", at(12)).unwrap();
    assert!(!governor.is_required());
    assert_eq!(
        note(&mut governor, &wish(content(9, "0 1 2 2"), "file"), at(13)).unwrap().0,
        3,
        "from here on files are believed"
    );
}

#[test]
fn where_nothing_is_required_what_becomes_live_is_noted_once() {
    let shared = Shared::default();
    let (mut governor, _) = shared.open().unwrap();
    let open = |level| wish(content(level, "0 1 2 2"), "file");
    assert!(matches!(note(&mut governor, &open(1), at(1)), Ok((1, true, None))));
    assert!(matches!(note(&mut governor, &open(1), at(2)), Ok((1, false, None))), "the same again is no version");
    let mut other_ops = open(1);
    other_ops.content.files.insert("ops".to_owned(), b"x".to_vec());
    assert!(matches!(note(&mut governor, &other_ops, at(2)), Ok((1, false, None))), "nothing governed changed");
    assert!(matches!(note(&mut governor, &open(2), at(3)), Ok((2, true, None))));
    assert_eq!(governor.version(2).unwrap().change.class, Class::Loosens);
    assert_eq!(governor.content_of(&governor.version(1).unwrap()).unwrap(), content(1, "0 1 2 2"), "nothing is lost");
    let change = governor.propose(&open(3), at(4)).unwrap();
    governor.activate(change.id, "ops", at(5)).unwrap();
    assert_eq!(governor.n(), 3);
    assert!(matches!(governor.propose(&open(3), at(6)), Err(GovernanceError::NothingChanges)));
    let demanding = governor.propose(&wish(content(3, REQUIRED), "ops"), at(7));
    assert!(demanding.unwrap_err().to_string().contains("governance init"));
}

#[test]
fn governance_begins_once_and_with_enough_people() {
    let people = people();
    let shared = Shared::default();
    let (mut governor, _) = shared.open().unwrap();
    note(&mut governor, &wish(content(1, "0 1 2 2"), "file"), at(1)).unwrap();
    let with = |set: ApproverSet| Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(1, REQUIRED), "root") };
    let mut one = ApproverSet::default();
    one.add("ana", &[], people.ana.public(), at(1)).unwrap();
    assert!(matches!(governor.begin(&with(one), at(2)), Err(GovernanceError::TooFewApprovers { have: 1, need: 2 })));
    assert!(governor.begin(&with(ApproverSet::default()), at(2)).is_err());
    let (version, _) = governor.begin(&with(people.set.clone()), at(3)).unwrap();
    assert_eq!((version.n, governor.standing().instance), (2, version.hash()));
    assert!(matches!(governor.begin(&with(people.set.clone()), at(4)), Err(GovernanceError::Begun(2))));
    assert!(matches!(
        note(&mut governor, &wish(content(9, REQUIRED), "file"), at(5)),
        Err(GovernanceError::Required(_))
    ));
}

#[test]
fn a_request_goes_to_another_machine_and_an_approval_comes_back() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    let request = governor.request(change.clone()).unwrap();
    assert_eq!((&request.content, request.rules()), (&content(4, REQUIRED), governor.standing().rules));
    let text = request.armored();
    let read = Request::from_armored(&format!("From: somebody\n\n{text}-- \n")).unwrap();
    assert_eq!(read, request);
    let approval = Approval::sign(read.instance, &read.change, Decision::Approve, &people.ben, at(11));
    let (id, back) = parse_approval(&armored_approval(read.change.id, &approval)).unwrap();
    governor.approve(id, &back, at(12)).unwrap();
    governor.activate(id, "ana", at(13)).unwrap();
    assert!(parse_approval(&text).is_err());
}

#[test]
fn whoever_carries_a_request_cannot_show_other_things_than_those_that_are_signed() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let foreseen = br#"{"schema":"portcullis.impact/1","foreseen":false,"why":"no gateway runs"}"#.to_vec();
    let wanted = Wish { impact: foreseen.clone(), ..wish(content(4, REQUIRED), "ana") };
    let change = governor.propose(&wanted, at(10)).unwrap();
    assert_eq!((change.impact, governor.impact_of(&change).unwrap()), (Hash::of(&foreseen), foreseen));
    let request = governor.request(change).unwrap();
    assert_eq!(Request::from_armored(&request.armored()).unwrap(), request);
    let base = request.base.clone().unwrap();
    let with_base = |change: fn(&mut Base)| {
        let mut base = base.clone();
        change(&mut base);
        Request { base: Some(base), ..request.clone() }
    };
    let lies = [
        ("other files", Request { content: content(9, REQUIRED), ..request.clone() }),
        ("other approvers", Request { approvers: ApproverSet::default(), ..request.clone() }),
        ("another impact", Request { impact: b"{}".to_vec(), ..request.clone() }),
        ("no impact", Request { impact: Vec::new(), ..request.clone() }),
        ("another gateway", Request { instance: Hash([9; 32]), ..request.clone() }),
        ("nothing is live", Request { base: None, ..request.clone() }),
        // So that no line would be shown as changed.
        ("the proposed files as those of now", with_base(|base| base.content = content(4, REQUIRED))),
        ("other approvers of now", with_base(|base| base.approvers = ApproverSet::default())),
        ("a version with other rules", with_base(|base| base.version.change.rules.loosen = 9)),
        ("a version with other files", with_base(|base| base.version.change.content = content(4, REQUIRED).hash())),
    ];
    for (name, lie) in lies {
        assert!(Request::from_armored(&lie.armored()).is_err(), "{name}");
    }
}

#[test]
fn another_impact_is_another_change_to_approve() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let report = |denied: u32| format!(r#"{{"newly_denied":{denied}}}"#).into_bytes();
    let wanted = Wish { impact: report(0), ..wish(content(4, REQUIRED), "ana") };
    let change = governor.propose(&wanted, at(10)).unwrap();
    let approval = sign(&governor, &change, &people.ben, 11);
    governor.approve(change.id, &approval, at(11)).unwrap();
    // Somebody who can write the store has another report shown, and counted, under the same id.
    let other = Change { impact: Hash::of(&report(37)), ..change.clone() };
    shared.disk().blobs.insert(other.impact, report(37));
    shared.disk().changes.get_mut(&change.id).unwrap().record = other.encode();
    assert!(refused(governor.activate(change.id, "ana", at(12))).contains("0 of 1 approvals"));
    assert!(governor.approve(change.id, &approval, at(12)).is_err());
    // Or puts it under the hash that was signed.
    shared.disk().changes.get_mut(&change.id).unwrap().record = change.encode();
    shared.disk().blobs.insert(change.impact, report(37));
    assert!(governor.request(change).is_err());
    let long = Wish { impact: vec![b' '; MAX_IMPACT + 1], ..wish(content(3, REQUIRED), "ana") };
    assert!(governor.propose(&long, at(13)).unwrap_err().to_string().contains("larger than 1 MiB"));
}

#[test]
fn what_the_engine_says_otherwise_by_then_is_not_activated() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let mut change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    // Somebody who can write the store says that it only tightens, and one person signs that.
    change.class = Class::Tightens;
    shared.disk().changes.get_mut(&change.id).unwrap().record = change.encode();
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
    assert!(matches!(governor.activate(change.id, "ana", at(12)), Err(GovernanceError::ClassChanged { .. })));
    // And other bytes under the hash that was signed.
    let change = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
    shared.disk().blobs.insert(change.content, content(9, REQUIRED).encode());
    assert!(refused(governor.activate(change.id, "ana", at(12))).contains("not what it was"));
}

#[test]
fn a_log_that_is_lost_is_replaced_by_an_older_one_only_with_approvals() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let backup = shared.copy();
    let change = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
    governor.activate(change.id, "ana", at(12)).unwrap();
    let (mut restored, _) = backup.open().unwrap();
    let with = (&RevokedKeys::default(), Vec::new());
    let request = restored.restoration(vec!["ana".to_owned()], "version 2 is lost".to_owned(), with, at(20)).unwrap();
    let change = &request.change;
    let one = sign(&restored, change, &people.ben, 21);
    let two = sign(&restored, change, &people.cem, 21);
    let own = sign(&restored, change, &people.ana, 21);
    let mut restore = |change: &Change, approvals: &[&Approval], second| {
        let request = Request { change: change.clone(), ..request.clone() };
        let approvals = approvals.iter().map(|approval| (*approval).clone()).collect();
        restored.restore(&request, &RevokedKeys::default(), approvals, "ana", at(second))
    };
    assert!(restore(change, &[], 22).is_err());
    assert!(restore(change, &[&one, &one, &own], 22).is_err());
    let other = Change { rules: Rules { required: false, ..change.rules }, ..change.clone() };
    assert!(restore(&other, &[&one, &two], 22).is_err());
    assert!(restore(change, &[&one, &two], 20 + 72 * 3_600).is_err());
    let version = restore(change, &[&one, &two], 22).unwrap();
    assert_eq!((version.n, version.change.restores, restored.verify_all().unwrap()), (2, 1, 2));
}

/// Finding of 2026-11: whoever had stolen a key rejected the change that revoked it, and could never be kept from that.
#[test]
fn a_stolen_key_does_not_keep_itself() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let mut set = people.set.clone();
    set.revoke("ben", Some(&people.ben.public().id()), at(10)).unwrap();
    let wanted = Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(5, REQUIRED), "ana") };
    let change = governor.propose(&wanted, at(10)).unwrap();
    let no = |governor: &Governor, change: &Change, key: &SigningKey| {
        Approval::sign(governor.standing().instance, change, Decision::Reject, key, at(11))
    };
    let refused = governor.approve(change.id, &no(&governor, &change, &people.ben), at(11)).unwrap_err().to_string();
    assert!(refused.contains("the very key that the change revokes"), "{refused}");
    assert_eq!(governor.proposal(change.id, at(11)).unwrap().state, ChangeState::Open);
    // One that lies in the store already counts no more.
    for key in [&people.cem, &people.dia] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    governor.activate(change.id, "ana", at(12)).unwrap();
    assert_eq!(governor.n(), 2);
    // The same person's other key says no as ever, and that ends the change.
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wanted, at(10)).unwrap();
    governor.approve(change.id, &no(&governor, &change, &people.ben_too), at(11)).unwrap();
    assert_eq!(governor.proposal(change.id, at(11)).unwrap().state, ChangeState::Rejected);
}
