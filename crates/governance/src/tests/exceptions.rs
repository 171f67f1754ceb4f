//! What was left out when a change became live: fields of their own, in a form of a version beside the one that has none.

use proptest::prelude::*;

use super::memory::*;
use crate::wire::Writer;
use crate::*;

fn version(by: &str, exceptions: Exceptions) -> Version {
    let (_, governor) = governed(&people());
    Version { by: by.to_owned(), exceptions, ..governor.version(1).unwrap() }
}

/// As it was written before exceptions were fields of their own.
fn as_before(version: &Version) -> Vec<u8> {
    let mut writer = Writer::new("portcullis-version-v1");
    writer.number(version.n);
    writer.hash(version.prev);
    writer.hash(version.instance);
    writer.time(version.time);
    writer.text(&version.by);
    version.change.write(&mut writer);
    writer.list(&version.approvals, |writer, approval| approval.write(writer));
    writer.finish()
}

#[test]
fn a_store_from_before_is_read_and_its_chain_holds() {
    for by in ["ana", "ana, at once: hurry", "ana, at once: hurry, unseen: no gateway runs"] {
        let written = version(by, Exceptions::default());
        let bytes = as_before(&written);
        let read = Version::decode(&bytes).unwrap();
        assert_eq!((&read, read.hash()), (&written, Hash::of(&bytes)), "{by}");
    }
}

#[test]
fn exceptions_are_in_the_chain_and_outlast_a_restart() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let exceptions =
        Exceptions { at_once: Some("hurry, unseen: x".to_owned()), unseen: Some("night".to_owned()), cut_short: false };
    let made = MadeLive { by: "ana".to_owned(), exceptions: exceptions.clone() };
    let (version, trouble) = governor.activate_and_write(change.id, made, at(12)).unwrap();
    assert!(trouble.is_none());
    governor.finish_rollout(2).unwrap();
    let (again, _) = shared.open().unwrap();
    assert_eq!(again.version(2).unwrap(), version);
    assert_eq!((version.by.as_str(), &version.exceptions), ("ana", &exceptions));
    // Whoever takes one away has changed the version.
    let other = Version { exceptions: Exceptions { unseen: None, ..exceptions }, ..version };
    shared.disk().versions[1].1 = other.encode();
    assert!(shared.open().is_err());
}

#[test]
fn what_a_version_says_has_one_form() {
    let one = version("ana", Exceptions::default());
    let before = as_before(&one);
    let title = |title: &str| Writer::new(title).finish();
    let rest = &before[title("portcullis-version-v1").len()..];
    // Its number, two hashes, the time, and who.
    let (head, tail) = rest.split_at(8 + 32 + 32 + 8 + 8 + 3);
    for (flags, is_one) in [
        (&[0, 0, 0][..], false),
        (&[2, 0, 0], false),
        (&[0, 0, 2], false),
        (&[0, 0, 1], true),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], true),
    ] {
        let bytes = [&title("portcullis-version-v2"), head, flags, tail].concat();
        assert_eq!(Version::decode(&bytes).is_ok(), is_one, "{flags:?}");
    }
    assert!(Version::decode(&[&title("portcullis-version-v3"), rest].concat()).is_err());
}

proptest! {
    #[test]
    fn no_name_and_no_reason_makes_it_another_version(
        by in "(, at once: |, unseen: |[a-z\u{0}é:, ]){0,6}",
        at_once in proptest::option::of("(, at once: |, unseen: |[a-z ]){0,4}"),
        unseen in proptest::option::of("(, at once: |, unseen: |[a-z ]){0,4}"),
        cut_short: bool,
    ) {
        let written = version(&by, Exceptions { at_once, unseen, cut_short });
        let bytes = written.encode();
        prop_assert_eq!(Version::decode(&bytes).unwrap(), written.clone());
        prop_assert_eq!(bytes == as_before(&written), written.exceptions.is_empty());
    }
}
