use std::path::Path;

use data_encoding::BASE64;
use portcullis_identity::mfa::seal::{FactorKey, FactorKeys};
use portcullis_identity::mfa::{FactorRefusal, MfaSettings, SecondFactors};

use super::*;
use crate::database::Settings;

const ALICE: &str = "user:alice";
const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn open(folder: &Path) -> KeptFactors {
    let database = Database::open(&Settings { path: folder.join("portcullis.db") }).unwrap();
    KeptFactors::open(&database).unwrap()
}

fn factor(id: u8, credential: &[u8]) -> StoredFactor {
    StoredFactor {
        id: FactorId([id; 16]),
        kind: FactorKind::Passkey,
        name: "key".to_owned(),
        created: at(NOW + i64::from(id)),
        used: None,
        confirmed: true,
        counter: i64::from(u32::MAX),
        credential: credential.into(),
        sealed: Sealed { key: -7, bytes: Box::from([1, 2, 3]) },
        version: 0,
    }
}

#[test]
fn what_is_added_is_there_and_changes_only_from_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let first = factor(1, b"one");
    assert!(store.add(ALICE, &first, 3).unwrap());
    assert!(!store.add("user:bob", &factor(9, b"one"), 3).unwrap(), "a credential is of one factor");
    assert!(store.add(ALICE, &factor(2, b""), 3).unwrap() && store.add(ALICE, &factor(3, b""), 3).unwrap());
    assert!(!store.add(ALICE, &factor(4, b""), 3).unwrap(), "there are three");
    let changed = StoredFactor { used: Some(at(NOW)), counter: 5, version: 1, ..first.clone() };
    assert!(!store.replace("user:bob", &changed).unwrap(), "it is not Bob's");
    assert!(store.replace(ALICE, &changed).unwrap());
    assert!(!store.replace(ALICE, &changed).unwrap(), "it was changed meanwhile");
    // As another process finds it.
    let again = open(folder.path());
    assert_eq!(again.factors(ALICE).unwrap()[0], changed);
    assert_eq!(again.sealed_by_key().unwrap(), [(-7, 3)]);
    assert_eq!(again.sealed_with(-7, 2).unwrap().len(), 2);
    assert_eq!(again.sealed_with(8, 10).unwrap().len(), 0);
    assert!(again.remove(ALICE, first.id).unwrap() && !again.remove(ALICE, first.id).unwrap());
    assert_eq!(store.reset(ALICE).unwrap(), 2);
    assert!(store.factors(ALICE).unwrap().is_empty());
}

#[test]
fn attempts_are_counted_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    for attempt in 1..=5 {
        let begun = open(folder.path()).begin_attempt(ALICE, NOW).unwrap();
        assert_eq!(begun.unwrap().failures, attempt);
    }
    let store = open(folder.path());
    assert_eq!(store.begin_attempt(ALICE, NOW).unwrap().unwrap_err().wait(NOW), Some(60));
    assert!(store.begin_attempt("user:bob", NOW).unwrap().is_ok());
    store.clear_attempts(ALICE).unwrap();
    assert_eq!(store.begin_attempt(ALICE, NOW).unwrap().unwrap().failures, 1);
}

#[test]
fn of_two_processes_one_uses_a_recovery_code() {
    let folder = tempfile::tempdir().unwrap();
    let factors = || {
        let key = FactorKey::parse(&BASE64.encode(&(0..32).collect::<Vec<u8>>())).unwrap();
        let settings = MfaSettings { issuer: "x".into(), totp: true, first_by_login: true, passkeys: None };
        SecondFactors::new(std::sync::Arc::new(open(folder.path())), FactorKeys::new(key, None), settings)
    };
    let (one, other) = (factors(), factors());
    let codes = one.renew_recovery(ALICE, at(NOW)).unwrap();
    for code in &codes[..3] {
        let tries: Vec<_> = std::thread::scope(|scope| {
            let tries = [&one, &other].map(|factors| scope.spawn(move || factors.verify_code(ALICE, code, at(NOW))));
            tries.map(|each| each.join().unwrap()).into_iter().collect()
        });
        assert_eq!(tries.iter().filter(|each| each.is_ok()).count(), 1, "{tries:?}");
        let refused = tries.into_iter().find_map(Result::err).unwrap();
        assert!(matches!(refused, FactorRefusal::Wrong | FactorRefusal::Replayed), "{refused}");
    }
    let bytes = std::fs::read(folder.path().join("portcullis.db")).unwrap();
    let wal = std::fs::read(folder.path().join("portcullis.db-wal")).unwrap_or_default();
    let plain = codes[5].replace('-', "");
    for file in [bytes, wal] {
        assert!(!file.windows(plain.len()).any(|window| window == plain.as_bytes()), "no code is on the disk");
    }
}
