use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use portcullis_fetch::UrlSource;
use portcullis_policy::{AuthenticationMethod, CredentialProblemKind as Kind, PrincipalKind};
use serde_json::{Value, json};

use super::{Introspection, Told, Verdict, is_token};
use crate::remote::Patience;
use crate::revocation::{Revocation, Revocations, Revoked};
use crate::secret::SecretText;
use crate::settings::{Bound, ClaimNames, ClientProof, IntrospectionProvider, Settings};
use crate::token_cache::TokenHash;
use crate::{Authentication, Authenticator, Identity, Presenting, SeenToken};

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn settings() -> IntrospectionProvider {
    IntrospectionProvider {
        name: Arc::from("opaque"),
        endpoint: UrlSource::parse("https://login.test/introspect", Vec::new()).unwrap(),
        client_id: "gateway".to_owned(),
        client: ClientProof::Basic(SecretText::new("hunter2")),
        issuer: Some("https://login.test".to_owned()),
        audiences: vec!["billing".to_owned()],
        clients: Vec::new(),
        claims: ClaimNames::default(),
        principal: PrincipalKind::User,
        prefix: "o:".to_owned(),
        trust_groups: Vec::new(),
        leeway: Duration::from_secs(30),
        require: Bound::Unbound,
        timeout: Duration::from_secs(5),
        max_cache: Duration::from_secs(60),
        negative: Duration::from_secs(10),
        entries: 16,
        connections: 2,
        max_waiting: 4,
    }
}

fn introspection(settings: &IntrospectionProvider) -> Introspection {
    Introspection::new(settings, &[String::new(), "o:".to_owned(), "o:lab:".to_owned()])
}

/// What an answer makes of a token: the principal, the refusal, or that it says nothing.
fn read(settings: &IntrospectionProvider, answer: &Value) -> Result<String, (Option<Kind>, String)> {
    match introspection(settings).reader.read(answer.to_string().as_bytes(), at(0)) {
        Ok(Verdict::Active(held)) => Ok(held.principal.reference()),
        Ok(Verdict::Inactive(refusal)) => Err((Some(refusal.kind), refusal.detail)),
        Err(problem) => Err((None, problem.to_string())),
    }
}

fn good() -> Value {
    json!({ "active": true, "sub": "alice", "aud": "billing", "iss": "https://login.test", "exp": NOW + 300, "jti": "j" })
}

fn changed(changes: Value) -> Value {
    let mut answer = good();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            answer.as_object_mut().unwrap().remove(name);
        } else {
            answer[name] = value.clone();
        }
    }
    answer
}

#[test]
fn a_good_answer_makes_a_principal() {
    for answer in [
        good(),
        changed(json!({ "exp": null })),
        changed(json!({ "iss": null })),
        changed(json!({ "aud": ["other", "billing"] })),
        changed(json!({ "exp": NOW - 29 })),
        changed(json!({ "nbf": NOW + 30, "unknown": { "member": 1 } })),
    ] {
        assert_eq!(read(&settings(), &answer), Ok("user:o:alice".to_owned()), "{answer}");
    }
    let clients = IntrospectionProvider { audiences: Vec::new(), clients: vec!["app".to_owned()], ..settings() };
    assert!(read(&clients, &changed(json!({ "client_id": "app", "aud": null }))).is_ok());
    let introspection = introspection(&settings());
    let Ok(Verdict::Active(held)) = introspection.reader.read(good().to_string().as_bytes(), at(0)) else { panic!() };
    let authentication = &held.principal.authentication;
    assert_eq!(authentication.method, AuthenticationMethod::Introspection);
    assert_eq!((authentication.expires, authentication.key_id.as_deref()), (Some(at(300)), None));
    assert_eq!(held.terms.id.as_deref(), Some("j"));
}

#[test]
fn what_does_not_hold_is_refused_and_what_says_nothing_is_no_answer() {
    let refused = |changes: Value, kind: Kind, expected: &str| {
        let (found, detail) = read(&settings(), &changed(changes.clone())).unwrap_err();
        assert_eq!(found, Some(kind), "{changes}: {detail}");
        assert!(detail.contains(expected), "{changes}: {detail}");
    };
    refused(json!({ "active": false }), Kind::Invalid, "not active");
    refused(json!({ "aud": null }), Kind::WrongAudience, "audiences");
    refused(json!({ "aud": "payroll" }), Kind::WrongAudience, "audiences");
    refused(json!({ "aud": 7 }), Kind::Invalid, "`aud`");
    refused(json!({ "iss": "https://evil.test" }), Kind::WrongIssuer, "https://evil.test");
    refused(json!({ "iss": 7 }), Kind::Invalid, "`iss`");
    refused(json!({ "sub": null }), Kind::Invalid, "no claim `sub`");
    refused(json!({ "sub": "lab:x" }), Kind::Invalid, "prefix");
    refused(json!({ "exp": NOW - 30 }), Kind::Expired, "expired");
    refused(json!({ "exp": "soon" }), Kind::Invalid, "not a number");
    refused(json!({ "nbf": NOW + 31 }), Kind::NotYetValid, "not valid before");
    refused(json!({ "cnf": {} }), Kind::Invalid, "not understood");
    let clients = IntrospectionProvider { clients: vec!["app".to_owned()], ..settings() };
    assert_eq!(read(&clients, &good()).unwrap_err().0, Some(Kind::WrongAudience));
    let bound = IntrospectionProvider { require: Bound::Dpop, ..settings() };
    assert!(read(&bound, &good()).unwrap_err().1.contains("must be bound"));
    for answer in [json!({}), json!([]), json!("x"), json!({ "active": "true" }), json!({ "active": 1 }), json!(null)] {
        assert_eq!(read(&settings(), &answer).unwrap_err().0, None, "{answer}");
    }
    for text in ["", "<html>", r#"{"active":true,"active":true}"#] {
        assert!(introspection(&settings()).reader.read(text.as_bytes(), at(0)).is_err(), "{text}");
    }
}

#[test]
fn nobody_is_asked_about_what_is_no_token() {
    for good in ["abc", "a.b-c_d~e+f/g==", "v2.local.AAAA"] {
        assert!(is_token(good), "{good}");
    }
    for bad in ["", "=", "a b", "a=b", "tok\u{e9}n", "a\"b", "a,b", "{}"] {
        assert!(!is_token(bad), "{bad}");
    }
    let introspection = introspection(&settings());
    let told = introspection.told("a,b", &TokenHash::of("a,b"), at(0));
    assert_eq!(word(&told), "malformed");
    assert_eq!((introspection.cache.len(), introspection.cache.waiting()), (0, 0));
}

/// Takes what is to be asked next without waiting.
fn next(introspection: &Introspection) -> Option<super::cache::Job<'_>> {
    futures_util::FutureExt::now_or_never(introspection.cache.next())
}

fn verdict(introspection: &Introspection, answer: &Value) -> Verdict {
    introspection.reader.read(answer.to_string().as_bytes(), at(0)).unwrap()
}

fn word(told: &Told) -> &'static str {
    match told {
        Told::Known(Verdict::Active(_)) => "active",
        Told::Known(Verdict::Inactive(_)) => "inactive",
        Told::Awaited(..) => "awaited",
        Told::Unavailable(_) => "unavailable",
        Told::Malformed(_) => "malformed",
    }
}

#[test]
fn a_token_is_asked_for_once_and_counts_for_its_time() {
    let introspection = introspection(&settings());
    let look = |second: i64| word(&introspection.told("t", &TokenHash::of("t"), at(second)));
    assert_eq!((look(0), look(0), look(1)), ("awaited", "awaited", "awaited"));
    assert_eq!(introspection.cache.waiting(), 1, "one question for all of them");
    let job = next(&introspection).unwrap();
    assert_eq!(job.token(), "t");
    assert_eq!(look(1), "awaited", "it is under way");
    assert!(next(&introspection).is_none());
    job.found(
        verdict(&introspection, &changed(json!({ "exp": NOW + 20 }))),
        at(1).as_millisecond(),
        Duration::from_secs(60),
    );
    assert_eq!((look(2), look(49)), ("active", "active"));
    assert_eq!(look(50), "inactive", "never longer than the token and its leeway");
    assert_eq!(look(61), "awaited", "and never longer than `max_cache`");
    next(&introspection).unwrap().found(
        verdict(&introspection, &json!({ "active": false })),
        at(61).as_millisecond(),
        Duration::from_secs(10),
    );
    assert_eq!((look(62), look(70), look(71)), ("inactive", "inactive", "awaited"));
}

#[test]
fn a_provider_that_does_not_answer_is_undecided_and_asked_again_after_a_pause() {
    let introspection = introspection(&settings());
    let look = |milli: i64| {
        let now = Timestamp::from_millisecond(at(0).as_millisecond() + milli).unwrap();
        word(&introspection.told("t", &TokenHash::of("t"), now))
    };
    assert_eq!(look(0), "awaited");
    next(&introspection).unwrap().failed(at(0).as_millisecond());
    assert_eq!((look(1), look(999), look(1_001)), ("unavailable", "unavailable", "awaited"));
    // One that is dropped without a word has ended, too.
    drop(next(&introspection).unwrap());
    assert_eq!(look(5_000), "awaited");
    introspection.cache.abandon();
    assert_eq!(introspection.cache.waiting(), 0);
}

#[test]
fn what_waits_and_what_is_remembered_is_bounded() {
    let introspection = introspection(&settings());
    let look = |token: &str, second: i64| word(&introspection.told(token, &TokenHash::of(token), at(second)));
    for number in 0..4 {
        assert_eq!(look(&format!("w{number}"), 0), "awaited");
    }
    assert_eq!(look("w4", 0), "unavailable");
    assert_eq!(look("w0", 0), "awaited", "who waits already waits on");
    for number in 0..200 {
        let _ = look(&format!("t{number}"), 0);
        while let Some(job) = next(&introspection) {
            job.found(verdict(&introspection, &good()), at(0).as_millisecond(), Duration::from_secs(60));
        }
        assert!(introspection.cache.len() <= 16 + 1 + 1 + 1, "{}", introspection.cache.len());
    }
    introspection.cache.evict(at(120).as_millisecond());
    assert_eq!(introspection.cache.len(), 0, "what says nothing any more is forgotten");
}

#[test]
fn the_secret_is_never_shown() {
    assert!(!format!("{:?}", introspection(&settings())).contains("hunter2"));
    let other = IntrospectionProvider { client: ClientProof::Basic(SecretText::new("other")), ..settings() };
    assert_ne!(settings(), other);
}

/// A connection knows the token that came over it last by its bytes, so that it is not hashed again. It spares nothing else.
#[tokio::test]
async fn a_token_that_came_before_over_the_connection_is_judged_anew_each_time() {
    let settings = Settings { introspection: Some(settings()), ..Settings::default() };
    let revocations = Arc::<Revocations>::default();
    let authenticator = Authenticator::new(settings).unwrap().with_revocations(Arc::clone(&revocations));
    let introspection = Arc::clone(authenticator.introspection().unwrap());
    for (token, subject) in [("token-a", "alice"), ("token-b", "bob")] {
        let answer = changed(json!({ "sub": subject, "jti": token }));
        introspection.cache.ask(&TokenHash::of(token), token, at(0).as_millisecond());
        let verdict = introspection.reader.read(answer.to_string().as_bytes(), at(0)).unwrap();
        introspection.cache.next().await.found(verdict, at(0).as_millisecond(), Duration::from_secs(400));
    }
    let seen = SeenToken::default();
    let show = |token: &str, second: i64| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let presenting = Presenting { seen: Some(&seen), ..Presenting::nothing(Patience::Request) };
        match authenticator.authenticate_with(&headers, at(second), &presenting) {
            Authentication::Known(Identity::Verified(principal)) => principal.id.to_string(),
            Authentication::Known(Identity::Rejected(rejection)) => format!("{:?}", rejection.problem.kind),
            Authentication::Awaited { .. } => "asked about".to_owned(),
            other => format!("{other:?}"),
        }
    };
    for (token, expected) in
        [("token-a", "o:alice"), ("token-a", "o:alice"), ("token-b", "o:bob"), ("token-a", "o:alice")]
    {
        assert_eq!(show(token, 1), expected);
        assert_eq!(seen.hash(token), Some(TokenHash::of(token)), "{token} is known again");
    }
    // One that is not known takes nobody's place, and is nobody.
    assert_eq!((show("token-c", 1), seen.hash("token-a").is_some()), ("asked about".to_owned(), true));
    // What was noted says nothing of whether it holds: not once it has expired, nor once its provider has to be asked again, nor once it is revoked.
    assert_eq!((show("token-a", 329), show("token-a", 330)), ("o:alice".to_owned(), "Expired".to_owned()));
    assert_eq!((show("token-a", 400), seen.hash("token-a").is_some()), ("asked about".to_owned(), true));
    let what = Revoked::parse("token", "token-a").unwrap();
    let revoked = Revocation { what, before: at(0), made: at(0), until: None, reason: "stolen".into() };
    revocations.add(revoked, at(1)).unwrap();
    assert_eq!((show("token-a", 2), show("token-b", 2)), ("Revoked".to_owned(), "o:bob".to_owned()));
}
