use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, Principal};

use super::{MOST, Revocation, Revocations, RevokeError, Revoked};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn of(what: &str, name: &str, before: i64, until: Option<i64>) -> Revocation {
    let what = Revoked::parse(what, name).unwrap();
    Revocation { what, before: at(before), made: at(0), until: until.map(at), reason: "lost".into() }
}

fn user(issued: Option<i64>) -> Principal {
    let mut principal = Principal::user("alice");
    principal.authentication.issued = issued.map(at);
    principal
}

#[test]
fn what_an_operator_writes_is_read_or_not() {
    for (what, name) in [
        ("token", "a-jti"),
        ("key", "ci-1"),
        ("principal", "user:alice"),
        ("principal", "service:a:b"),
        ("principal", "certificate:spiffe://td/x"),
    ] {
        let read = Revoked::parse(what, name).unwrap();
        assert_eq!((read.kind(), read.name().as_str()), (what, name));
    }
    for (what, name) in [
        ("token", ""),
        ("token", &*"x".repeat(257)),
        ("key", "CI"),
        ("key", ""),
        ("principal", "alice"),
        ("principal", "group:finance"),
        ("principal", "user:"),
        ("principal", "user:a\nb"),
        ("session", "x"),
    ] {
        assert_eq!(Revoked::parse(what, name), None, "{what} {name}");
    }
}

#[test]
fn a_token_is_known_by_its_id_until_the_end() {
    let all = Revocations::default();
    assert!(all.is_empty() && all.of_token(Some("a"), at(0)).is_ok());
    all.add(of("token", "a", 0, Some(60)), at(0)).unwrap();
    let told = all.of_token(Some("a"), at(59)).unwrap_err();
    assert!(told.detail.contains("revoked at") && told.detail.contains("lost"), "{}", told.detail);
    for (id, now, expected) in [(Some("a"), 60, true), (Some("b"), 0, true), (Some("A"), 0, true), (None, 0, true)] {
        assert_eq!(all.of_token(id, at(now)).is_ok(), expected, "{id:?} {now}");
    }
    assert!(all.lift(&Revoked::Token("a".into())) && !all.lift(&Revoked::Token("a".into())));
    assert!(all.is_empty() && all.of_token(Some("a"), at(0)).is_ok());
}

#[test]
fn a_principal_is_held_to_when_it_was_issued_what_it_shows() {
    let all = Revocations::default();
    all.add(of("principal", "user:alice", 100, None), at(100)).unwrap();
    let issued = [(99, false), (100, false), (101, true), (260, true), (261, false)];
    for (issued, expected) in issued.map(|(at, counts)| (Some(at), counts)).into_iter().chain([(None, false)]) {
        assert_eq!(all.of_principal(&user(issued), at(200)).is_ok(), expected, "{issued:?}");
    }
    assert!(all.of_principal(&Principal::service("alice"), at(200)).is_ok(), "another kind is another principal");
    // A second one never makes it milder.
    all.add(of("principal", "user:alice", 50, Some(300)), at(150)).unwrap();
    assert!(all.of_principal(&user(Some(100)), at(1_000)).is_err());
    all.add(of("principal", "user:alice", 150, None), at(150)).unwrap();
    assert!(all.of_principal(&user(Some(120)), at(200)).is_err());
}

#[test]
fn a_key_is_known_by_its_id_and_no_token_is_taken_for_one() {
    let all = Revocations::default();
    all.add(of("key", "ci", 0, None), at(0)).unwrap();
    let mut principal = Principal::service("ci");
    principal.authentication.key_id = Some("ci".into());
    for (method, expected) in [(AuthenticationMethod::ApiKey, false), (AuthenticationMethod::Jwt, true)] {
        principal.authentication.method = method;
        assert_eq!(all.of_principal(&principal, at(9)).is_ok(), expected);
    }
}

#[test]
fn a_clock_that_jumps_ahead_and_back_brings_nobody_back() {
    const DAY: i64 = 86_400;
    let (all, restored) = (Revocations::default(), Revocations::default());
    all.add(of("token", "a", 0, Some(60)), at(0)).unwrap();
    restored.restore([of("token", "a", 0, Some(60))], at(DAY));
    // Somebody revokes another one while the clock is ahead.
    all.add(of("token", "b", 0, None), at(DAY)).unwrap();
    for revocations in [&all, &restored] {
        assert!(revocations.of_token(Some("a"), at(DAY)).is_ok());
        assert!(revocations.of_token(Some("a"), at(1)).is_err());
    }
    // What has ended says nothing to a new one of the same.
    let again = all.add(of("token", "a", DAY, Some(2 * DAY)), at(DAY)).unwrap();
    assert_eq!(again.until, Some(at(2 * DAY)));
    all.add(of("token", "c", 0, None), at(3 * DAY + 1)).unwrap();
    assert!(all.of_token(Some("a"), at(1)).is_ok(), "a day later it is forgotten");
}

#[test]
fn it_is_bounded_and_what_is_over_makes_room() {
    let all = Revocations::default();
    let many = (0..MOST + 7).map(|number| of("token", &number.to_string(), 0, Some(60)));
    assert_eq!(all.restore(many, at(0)), MOST);
    let more = of("token", "more", 0, None);
    let told = all.has_room(&more.what, at(0)).unwrap_err().to_string();
    assert!(told.contains("50000 tokens are revoked") && told.contains("revoke the principal"), "{told}");
    assert!(all.has_room(&Revoked::Token("7".into()), at(0)).is_ok());
    assert!(matches!(all.add(more.clone(), at(0)), Err(RevokeError::Full("tokens", _))));
    assert!(all.add(of("token", "7", 0, None), at(0)).is_ok(), "it takes no further place");
    assert!(all.has_room(&more.what, at(60)).is_ok());
    assert!(all.add(more, at(60)).is_ok());
    assert_eq!(all.len(), 2);
    assert_eq!(all.list(at(60)).len(), 2);
    // What is over is not put in force again.
    assert_eq!(Revocations::default().restore([of("token", "a", 0, Some(5))], at(5)), 0);
}

/// By these words `insight` knows which revocation a refusal is due to: see its `spike::deeds`.
#[test]
fn a_refusal_says_of_what_by_which_revocation_it_is() {
    let all = Revocations::default();
    for (what, name) in [("token", "a"), ("key", "ci"), ("principal", "user:alice")] {
        all.add(of(what, name, 100, None), at(0)).unwrap();
    }
    let by_key = |id: &str| {
        let mut principal = Principal::user("ben");
        principal.authentication.method = AuthenticationMethod::ApiKey;
        principal.authentication.key_id = Some(id.into());
        all.of_principal(&principal, at(200)).unwrap_err().detail
    };
    let by_name = |issued| all.of_principal(&user(issued), at(200)).unwrap_err().detail;
    let (made, before) = ("was revoked at 2027-01-15T08:00:00Z: lost", "2027-01-15T08:01:40Z");
    assert_eq!(all.of_token(Some("a"), at(0)).unwrap_err().detail, format!("the token {made}"));
    assert_eq!(by_key("ci"), format!("the API key `ci` {made}"));
    let nobody = "nobody knows when the credential was issued; what";
    assert_eq!(by_name(None), format!("{nobody} `user:alice` has until {before} {made}"));
    let issued = "the credential was issued at 2027-01-15T08:00:50Z; what";
    assert_eq!(by_name(Some(50)), format!("{issued} `user:alice` has until {before} {made}"));
}

#[test]
fn however_many_tokens_are_revoked_a_principal_and_a_key_find_room() {
    let all = Revocations::default();
    let tokens = (0..MOST).map(|number| of("token", &number.to_string(), 0, None));
    assert_eq!(all.restore(tokens, at(0)), MOST);
    assert!(all.add(of("token", "more", 0, None), at(0)).is_err());
    for (what, name) in [("principal", "user:alice"), ("key", "ci")] {
        assert!(all.has_room(&Revoked::parse(what, name).unwrap(), at(0)).is_ok());
        assert!(all.add(of(what, name, 100, None), at(0)).is_ok(), "{what}");
    }
    assert!(all.of_principal(&user(Some(50)), at(200)).is_err());
    assert!(all.of_token(Some("0"), at(0)).is_err() && all.len() == MOST + 2, "and none gave way");
}

#[test]
fn of_two_of_the_same_that_are_read_the_stricter_is_in_force() {
    let all = Revocations::default();
    let both = [of("principal", "user:alice", 50, None), of("principal", "user:alice", 90, Some(300))];
    assert_eq!(all.restore(both, at(0)), 1);
    let found = all.list(at(0)).pop().unwrap();
    assert_eq!((found.before, found.until), (at(90), None));
}

#[test]
fn whoever_is_revoked_stays_so_under_any_spelling_of_an_id_that_ignores_case() {
    use portcullis_policy::{PrincipalKind, Spelling};
    let all = Revocations::default();
    let is_good = |id: &str| {
        let mut principal = Principal::user(id);
        principal.authentication.issued = Some(at(5));
        all.of_principal(&principal, at(20)).is_ok()
    };
    for (name, before) in [("user:ALICE", 3), ("user:alice", 10), ("user:Alice", 7)] {
        all.add(of("principal", name, before, None), at(11)).unwrap();
    }
    assert_eq!((is_good("ALICE"), is_good("alice"), is_good("aLICE"), is_good("bob")), (true, false, true, true));
    // What was written down before the directory was there counts, and of several the strictest.
    all.respell(&Spelling::new([(PrincipalKind::User, "", true)]));
    for id in ["ALICE", "alice", "aLICE"] {
        assert!(!is_good(id), "{id}");
    }
    assert!(is_good("bob"));
    assert_eq!(all.len(), 1);
    all.add(of("principal", "user:BOB", 10, None), at(11)).unwrap();
    assert!(!is_good("bob"));
    let bob = Revoked::parse("principal", "user:Bob").unwrap();
    assert_eq!(all.find(&bob, at(12)).unwrap().what.name(), "user:bob");
    assert!(all.lift(&bob) && is_good("BOB"));
    all.restore([of("principal", "user:Bob", 10, None)], at(11));
    assert!(!is_good("bOB") && is_good("alice"));
    assert_eq!(all.len(), 1);
}
