use std::collections::HashMap;
use std::sync::Mutex;

use data_encoding::{BASE32_NOPAD, BASE64};

use super::factor::{Attempts, FactorStoreError};
use super::rekeying::RESEALED_AT_ONCE;
use super::seal::{FactorKey, OpenError};
use super::totp::TotpSecret;
use super::webauthn::{Assertion, PasskeyError, Registration};
use super::*;

const NOW: i64 = 1_800_000_000;
const ALICE: &str = "user:alice";
const MALLORY: &str = "user:mallory";

/// A store in memory.
#[derive(Debug, Default)]
struct Memory(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    factors: Vec<(String, StoredFactor)>,
    attempts: HashMap<String, Attempts>,
    is_down: bool,
}

impl Memory {
    fn rows<T>(&self, act: impl FnOnce(&mut Rows) -> T) -> Result<T, FactorStoreError> {
        let mut rows = self.0.lock().unwrap();
        if rows.is_down { Err(FactorStoreError("down".to_owned())) } else { Ok(act(&mut rows)) }
    }
}

impl FactorStore for Memory {
    fn factors(&self, principal: &str) -> Result<Vec<StoredFactor>, FactorStoreError> {
        self.rows(|rows| {
            rows.factors.iter().filter(|(owner, _)| owner == principal).map(|(_, each)| each.clone()).collect()
        })
    }

    fn add(&self, principal: &str, factor: &StoredFactor, most: usize) -> Result<bool, FactorStoreError> {
        self.rows(|rows| {
            let is_taken =
                |other: &StoredFactor| !factor.credential.is_empty() && other.credential == factor.credential;
            let count = rows.factors.iter().filter(|(owner, _)| owner == principal).count();
            let added = count < most && !rows.factors.iter().any(|(_, other)| is_taken(other));
            if added {
                rows.factors.push((principal.to_owned(), factor.clone()));
            }
            added
        })
    }

    fn replace(&self, principal: &str, factor: &StoredFactor) -> Result<bool, FactorStoreError> {
        self.rows(|rows| {
            let is_it = |(owner, other): &&mut (String, StoredFactor)| {
                owner == principal && other.id == factor.id && other.version + 1 == factor.version
            };
            let found = rows.factors.iter_mut().find(is_it);
            found.map(|(_, row)| *row = factor.clone()).is_some()
        })
    }

    fn remove(&self, principal: &str, id: FactorId) -> Result<bool, FactorStoreError> {
        self.rows(|rows| {
            let before = rows.factors.len();
            rows.factors.retain(|(owner, factor)| !(owner == principal && factor.id == id));
            rows.factors.len() < before
        })
    }

    fn reset(&self, principal: &str) -> Result<usize, FactorStoreError> {
        self.rows(|rows| {
            let before = rows.factors.len();
            rows.factors.retain(|(owner, _)| owner != principal);
            rows.attempts.remove(principal);
            before - rows.factors.len()
        })
    }

    fn begin_attempt(&self, principal: &str, now: i64) -> Result<Result<Attempts, Attempts>, FactorStoreError> {
        self.rows(|rows| {
            let attempts = rows.attempts.entry(principal.to_owned()).or_default();
            if attempts.wait(now).is_some() {
                return Err(*attempts);
            }
            *attempts = attempts.failed(now);
            Ok(*attempts)
        })
    }

    fn clear_attempts(&self, principal: &str) -> Result<(), FactorStoreError> {
        self.rows(|rows| rows.attempts.remove(principal)).map(|_| ())
    }

    fn sealed_by_key(&self) -> Result<Vec<(i64, usize)>, FactorStoreError> {
        self.rows(|rows| {
            let mut counts = std::collections::BTreeMap::<i64, usize>::new();
            rows.factors.iter().for_each(|(_, each)| *counts.entry(each.sealed.key).or_default() += 1);
            counts.into_iter().collect()
        })
    }

    fn sealed_with(&self, key: i64, most: usize) -> Result<Vec<(String, StoredFactor)>, FactorStoreError> {
        self.rows(|rows| rows.factors.iter().filter(|(_, each)| each.sealed.key == key).take(most).cloned().collect())
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(byte: u8) -> FactorKey {
    FactorKey::parse(&BASE64.encode(&(0..32).map(|place| place ^ byte).collect::<Vec<u8>>())).unwrap()
}

fn settings() -> MfaSettings {
    let party =
        RelyingParty { id: "example.com".into(), name: "Example".into(), origins: vec!["https://example.com".into()] };
    MfaSettings { issuer: "Example".into(), totp: true, first_by_login: true, passkeys: Some(party) }
}

struct Site {
    store: Arc<Memory>,
    factors: SecondFactors,
}

impl Site {
    fn new() -> Self {
        let store = Arc::<Memory>::default();
        let factors =
            SecondFactors::new(Arc::clone(&store) as Arc<dyn FactorStore>, FactorKeys::new(key(1), None), settings());
        Self { store, factors }
    }

    /// Alice's app, confirmed in the step before `NOW`, and her recovery codes.
    fn enrolled(&self) -> (App, Vec<String>) {
        let begun = self.factors.begin_totp(ALICE, "phone", at(NOW - 60)).unwrap();
        let app = App(TotpSecret::from_bytes(&BASE32_NOPAD.decode(begun.secret.as_bytes()).unwrap()).unwrap());
        let added = self.factors.confirm_totp(ALICE, begun.id, &app.code(NOW - 60), at(NOW - 60)).unwrap();
        (app, added.recovery.unwrap())
    }

    fn verify(&self, code: &str, now: i64) -> Result<FactorKind, FactorRefusal> {
        self.factors.verify_code(ALICE, code, at(now)).map(|passed| passed.kind)
    }
}

/// What shows codes.
struct App(TotpSecret);

impl App {
    fn code(&self, now: i64) -> String {
        self.0.code_of(now.div_euclid(30))
    }
}

#[test]
fn codes_count_once_they_are_confirmed_and_each_once() {
    let site = Site::new();
    let begun = site.factors.begin_totp(ALICE, "phone", at(NOW)).unwrap();
    assert!(begun.uri.starts_with("otpauth://totp/Example:alice?secret="), "{}", begun.uri);
    let app = App(TotpSecret::from_bytes(&BASE32_NOPAD.decode(begun.secret.as_bytes()).unwrap()).unwrap());
    assert_eq!(site.verify(&app.code(NOW), NOW), Err(FactorRefusal::None), "it was not confirmed");
    assert!(site.factors.list(ALICE).unwrap().is_empty());
    let confirm =
        |code: &str, now: i64| site.factors.confirm_totp(ALICE, begun.id, code, at(now)).map(|added| added.kind);
    assert_eq!(confirm("000000", NOW), Err(FactorRefusal::Wrong));
    assert_eq!(confirm(&app.code(NOW), NOW), Ok(FactorKind::Totp));
    assert_eq!(confirm(&app.code(NOW), NOW), Err(FactorRefusal::TooLate), "it is confirmed already");
    assert_eq!(site.verify(&app.code(NOW), NOW), Err(FactorRefusal::Replayed), "the code that confirmed it was used");
    assert_eq!(site.verify(&app.code(NOW + 30), NOW + 30), Ok(FactorKind::Totp));
    assert_eq!(site.verify(&app.code(NOW + 30), NOW + 31), Err(FactorRefusal::Replayed));
    assert_eq!(site.verify(&app.code(NOW), NOW + 31), Err(FactorRefusal::Replayed), "an earlier step is over");
    let kinds: Vec<_> = site.factors.list(ALICE).unwrap().into_iter().map(|each| (each.kind, each.left)).collect();
    assert_eq!(kinds, [(FactorKind::Totp, None), (FactorKind::Recovery, Some(10))]);
}

#[test]
fn what_was_begun_is_confirmed_in_time_by_its_owner_or_not_at_all() {
    let site = Site::new();
    let begin = || {
        let begun = site.factors.begin_totp(ALICE, "phone", at(NOW)).unwrap();
        let secret = BASE32_NOPAD.decode(begun.secret.as_bytes()).unwrap();
        (begun.id, App(TotpSecret::from_bytes(&secret).unwrap()))
    };
    let confirm = |who: &str, id, code: &str, now| site.factors.confirm_totp(who, id, code, at(now)).map(|_| ());
    let (id, app) = begin();
    assert_eq!(confirm(MALLORY, id, &app.code(NOW), NOW), Err(FactorRefusal::TooLate));
    assert_eq!(confirm(ALICE, id, &app.code(NOW + 601), NOW + 601), Err(FactorRefusal::TooLate));
    let (first, first_app) = begin();
    let (second, second_app) = begin();
    assert_eq!(confirm(ALICE, first, &first_app.code(NOW), NOW), Err(FactorRefusal::TooLate), "another was begun");
    assert_eq!(confirm(ALICE, second, &second_app.code(NOW + 599), NOW + 599), Ok(()));
}

#[test]
fn too_many_wrong_codes_wait_and_the_wait_ends() {
    let site = Site::new();
    let (app, _) = site.enrolled();
    for _ in 0..4 {
        assert_eq!(site.verify("000000", NOW), Err(FactorRefusal::Wrong));
    }
    let locking = |seconds| Err(FactorRefusal::Locking(Box::new(FactorRefusal::Wrong), seconds));
    assert_eq!(site.verify("000000", NOW), locking(60), "the one that locks says so");
    assert_eq!(site.verify(&app.code(NOW), NOW), Err(FactorRefusal::Locked(60)), "the right one waits, too");
    assert_eq!(site.verify(&app.code(NOW + 59), NOW + 59), Err(FactorRefusal::Locked(1)));
    assert_eq!(site.verify(&app.code(NOW + 60), NOW + 60), Ok(FactorKind::Totp));
    // And it begins anew.
    for _ in 0..4 {
        assert_eq!(site.verify("000000", NOW + 90), Err(FactorRefusal::Wrong));
    }
    assert_eq!(site.verify("000000", NOW + 90), locking(60));
    assert!(matches!(site.verify("000000", NOW + 90), Err(FactorRefusal::Locked(60))));
    // After the wait there is one attempt, which locks again, for twice as long.
    assert_eq!(site.verify("000000", NOW + 150), locking(120));
    // Nobody else waits for it, and a reset ends it.
    assert_eq!(site.factors.verify_code(MALLORY, "000000", at(NOW + 90)), Err(FactorRefusal::None));
    assert_eq!(site.factors.reset(ALICE).unwrap(), 2);
    assert_eq!(site.verify("000000", NOW + 90), Err(FactorRefusal::None));
}

#[test]
fn a_recovery_code_is_good_once_and_is_counted_like_any_code() {
    let site = Site::new();
    let (_, codes) = site.enrolled();
    assert_eq!(codes.len(), 10);
    let used = site.factors.verify_code(ALICE, &codes[4].to_uppercase(), at(NOW)).unwrap();
    assert_eq!((used.kind, used.left), (FactorKind::Recovery, Some(9)));
    assert_eq!(site.verify(&codes[4], NOW), Err(FactorRefusal::Wrong));
    assert_eq!(site.verify(&codes[5], NOW), Ok(FactorKind::Recovery));
    let fresh = site.factors.renew_recovery(ALICE, at(NOW)).unwrap();
    assert_eq!(site.verify(&codes[6], NOW), Err(FactorRefusal::Wrong), "new ones take the place of old ones");
    assert_eq!(site.verify(&fresh[0], NOW), Ok(FactorKind::Recovery));
    for _ in 0..4 {
        assert_eq!(site.verify("aaaaa-aaaaa", NOW), Err(FactorRefusal::Wrong));
    }
    assert!(matches!(site.verify("aaaaa-aaaaa", NOW), Err(FactorRefusal::Locking(..))));
    assert_eq!(site.verify(&fresh[1], NOW), Err(FactorRefusal::Locked(60)));
}

#[test]
fn of_two_who_use_a_code_at_once_one_is_too_late() {
    let site = Site::new();
    let (app, codes) = site.enrolled();
    for code in [app.code(NOW), codes[0].clone()] {
        let passed: Vec<bool> = std::thread::scope(|scope| {
            let (factors, code) = (&site.factors, &code);
            let tries: Vec<_> =
                (0..4).map(|_| scope.spawn(move || factors.verify_code(ALICE, code, at(NOW)).is_ok())).collect();
            tries.into_iter().map(|each| each.join().unwrap()).collect()
        });
        assert_eq!(passed.iter().filter(|passed| **passed).count(), 1, "{passed:?}");
    }
}

#[test]
fn a_row_that_was_copied_or_changed_opens_nothing() {
    let site = Site::new();
    let (app, codes) = site.enrolled();
    // Somebody who can write to the store gives Mallory Alice's rows.
    let copies: Vec<_> = site.store.factors(ALICE).unwrap();
    site.store.rows(|rows| rows.factors.extend(copies.into_iter().map(|factor| (MALLORY.to_owned(), factor)))).unwrap();
    for code in [app.code(NOW), codes[0].clone()] {
        let refused = site.factors.verify_code(MALLORY, &code, at(NOW));
        assert_eq!(refused, Err(FactorRefusal::Unusable(OpenError::Changed)));
        assert!(refused.unwrap_err().is_outage(), "it is no wrong code");
    }
    assert_eq!(site.verify(&app.code(NOW), NOW), Ok(FactorKind::Totp), "Alice's is as it was");
}

#[test]
fn with_another_key_nothing_opens_and_keys_are_exchanged() {
    let site = Site::new();
    let (app, codes) = site.enrolled();
    let closed =
        |current, other: Option<u8>| site.factors.closed_by(&FactorKeys::new(key(current), other.map(key))).unwrap();
    assert_eq!((closed(1, None), closed(2, Some(1)), closed(2, None), closed(2, Some(3))), (0, 0, 2, 2));
    site.factors.configure(FactorKeys::new(key(2), None), settings());
    assert_eq!(closed(3, None), 0, "they do not open as it is");
    assert_eq!(site.verify(&app.code(NOW), NOW), Err(FactorRefusal::Unusable(OpenError::OtherKey)));
    assert_eq!(site.factors.list(ALICE).unwrap()[1].left, None);
    assert_eq!(site.factors.reseal(), Ok((0, 2)), "neither opens");
    site.factors.configure(FactorKeys::new(key(2), Some(key(1))), settings());
    assert_eq!(site.verify(&codes[0], NOW), Ok(FactorKind::Recovery), "what is used is sealed anew");
    assert_eq!(site.factors.reseal(), Ok((1, 0)));
    assert_eq!(site.factors.reseal(), Ok((0, 0)));
    site.factors.configure(FactorKeys::new(key(2), None), settings());
    assert_eq!(site.verify(&codes[1], NOW), Ok(FactorKind::Recovery));
    assert_eq!(site.verify(&app.code(NOW), NOW), Ok(FactorKind::Totp));
}

#[test]
fn no_number_of_factors_hides_one_that_a_change_of_keys_would_close_or_that_is_to_be_sealed_anew() {
    let site = Site::new();
    let (app, _) = site.enrolled();
    // More than are looked at at once: of a key that is lost, and before Alice's.
    let lost = FactorKeys::new(key(9), None);
    let many = (0..RESEALED_AT_ONCE as u64 + 1).map(|number| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let mut factor = site.store.factors(ALICE).unwrap()[0].clone();
        factor.id = FactorId(id);
        factor.sealed = lost.seal("user:aaron", factor.id, factor.kind, b"x").unwrap();
        ("user:aaron".to_owned(), factor)
    });
    let many: Vec<_> = many.collect();
    let lost = many.len();
    site.store.rows(|rows| rows.factors.splice(0..0, many).for_each(drop)).unwrap();
    let closed =
        |current, other: Option<u8>| site.factors.closed_by(&FactorKeys::new(key(current), other.map(key))).unwrap();
    assert_eq!((closed(2, None), closed(2, Some(3)), closed(2, Some(1)), closed(1, None)), (2, 2, 0, 0));
    site.factors.configure(FactorKeys::new(key(2), Some(key(1))), settings());
    // An exchange that is not done: what the key of before has sealed is still there.
    assert_eq!((closed(2, None), closed(3, Some(2))), (2, 2));
    assert_eq!(site.factors.reseal(), Ok((2, lost)));
    assert_eq!((closed(2, None), closed(3, Some(2)), closed(3, Some(1))), (0, 0, 2));
    site.factors.configure(FactorKeys::new(key(2), None), settings());
    assert_eq!(site.verify(&app.code(NOW), NOW), Ok(FactorKind::Totp));
}

#[test]
fn where_no_key_goes_away_nobody_has_to_ask_the_store() {
    let site = Site::new();
    site.enrolled();
    site.store.0.lock().unwrap().is_down = true;
    let closed = |current, other: Option<u8>| site.factors.closed_by(&FactorKeys::new(key(current), other.map(key)));
    assert_eq!((closed(1, None), closed(1, Some(2)), closed(2, Some(1))), (Ok(0), Ok(0), Ok(0)));
    assert!(matches!(closed(2, None), Err(FactorRefusal::Store(_))), "here it counts");
}

#[test]
fn a_store_that_does_not_answer_is_no_wrong_code() {
    let site = Site::new();
    let (app, _) = site.enrolled();
    site.store.0.lock().unwrap().is_down = true;
    let refused = site.verify(&app.code(NOW), NOW).unwrap_err();
    assert!(matches!(refused, FactorRefusal::Store(_)) && refused.is_outage());
    assert!(!FactorRefusal::Wrong.is_outage() && !FactorRefusal::Locked(1).is_outage());
}

#[test]
fn there_is_a_bound_on_factors_and_on_their_names() {
    let site = Site::new();
    for name in ["", "  ", "a\u{7}b", &"x".repeat(65)] {
        assert_eq!(site.factors.begin_totp(ALICE, name, at(NOW)).map(|_| ()), Err(FactorRefusal::BadName), "{name}");
    }
    for number in 0..3 {
        let now = NOW + 30 * number;
        let begun = site.factors.begin_totp(ALICE, &"ü".repeat(64), at(now)).unwrap();
        let app = App(TotpSecret::from_bytes(&BASE32_NOPAD.decode(begun.secret.as_bytes()).unwrap()).unwrap());
        site.factors.confirm_totp(ALICE, begun.id, &app.code(now), at(now)).unwrap();
    }
    assert_eq!(site.factors.begin_totp(ALICE, "fourth", at(NOW)).map(|_| ()), Err(FactorRefusal::TooMany));
    let id = site.factors.list(ALICE).unwrap()[0].id;
    assert_eq!(site.factors.remove(MALLORY, id), Err(FactorRefusal::None));
    assert_eq!(site.factors.remove(ALICE, id), Ok(()));
    assert!(site.factors.begin_totp(ALICE, "fourth", at(NOW)).is_ok());
}

#[test]
fn a_challenge_is_answered_once_in_time_from_where_it_was_given() {
    let site = Site::new();
    let ask = || site.factors.ask_for_new_passkey(ALICE, "session-1", at(NOW)).unwrap().challenge;
    let empty = Registration { client_data: b"", attestation: b"" };
    let answer = |challenge: &Challenge, who: (&str, &str), now: i64| {
        site.factors.add_passkey(who, challenge, empty, "key", at(now)).map(|_| ()).unwrap_err()
    };
    let malformed = FactorRefusal::Passkey(PasskeyError::Malformed);
    let challenge = ask();
    assert_eq!(answer(&challenge, (ALICE, "session-1"), NOW + 299), malformed, "it is looked at");
    assert_eq!(answer(&challenge, (ALICE, "session-1"), NOW + 299), FactorRefusal::TooLate, "once");
    assert_eq!(answer(&ask(), (ALICE, "session-2"), NOW), FactorRefusal::TooLate);
    assert_eq!(answer(&ask(), (MALLORY, "session-1"), NOW), FactorRefusal::TooLate);
    assert_eq!(answer(&ask(), (ALICE, "session-1"), NOW + 300), FactorRefusal::TooLate);
    let (first, second) = (ask(), ask());
    assert_eq!(answer(&first, (ALICE, "session-1"), NOW), FactorRefusal::TooLate, "another was given since");
    assert_eq!(answer(&second, (ALICE, "session-1"), NOW), malformed);
    // One to add is none to use.
    let used = Assertion { credential: b"", client_data: b"", authenticator_data: b"", signature: b"" };
    let refused = site.factors.verify_passkey((ALICE, "session-1"), &ask(), used, at(NOW));
    assert_eq!(refused, Err(FactorRefusal::TooLate));
    assert_eq!(site.factors.ask_for_passkey(ALICE, "session-1", at(NOW)).map(|_| ()), Err(FactorRefusal::None));
    let mut off = settings();
    off.passkeys = None;
    site.factors.configure(FactorKeys::new(key(1), None), off);
    assert_eq!(site.factors.ask_for_new_passkey(ALICE, "s", at(NOW)).map(|_| ()), Err(FactorRefusal::Off));
}

#[test]
fn nothing_that_is_printed_or_kept_is_a_secret() {
    let site = Site::new();
    let (app, codes) = site.enrolled();
    let printed = format!("{:?} {:?}", site.factors, site.store);
    let code = codes[0].replace('-', "");
    for secret in [app.0.base32().as_str(), &codes[0], &code, &format!("{:?}", app.0.as_bytes())] {
        assert!(!printed.contains(secret), "{secret}");
    }
}
