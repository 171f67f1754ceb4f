use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use portcullis_policy::{CredentialProblemKind as Kind, Dependency, IdentityFact, PrincipalKind};
use serde_json::{Value, json};

use super::Authenticator;
use crate::api_key::mint;
use crate::authentication::Identity;
use crate::refusal::Rejection;
use crate::settings::{ApiKeyProvider, ApiKeyRecord, Bound, ClaimNames, JwtProvider, KeySource, Settings, TokenTypes};
use crate::signer::Signer;

mod bound;
mod garbage;
mod settings;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://login.example";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn provider(name: &str, jwks: &str) -> JwtProvider {
    JwtProvider {
        name: Arc::from(name),
        issuer: ISSUER.to_owned(),
        audiences: vec!["billing".to_owned(), "payroll".to_owned()],
        keys: KeySource::Text(Arc::from(jwks)),
        claims: ClaimNames::default(),
        principal: PrincipalKind::User,
        prefix: String::new(),
        trust_groups: Vec::new(),
        leeway: Duration::from_secs(30),
        require: Bound::Unbound,
        types: TokenTypes::Access,
    }
}

fn key_provider(name: &str, header: &'static str, ids: &[&str]) -> ApiKeyProvider {
    let keys = ids.iter().map(|id| key_record(id, [7; 32])).collect();
    ApiKeyProvider { name: Arc::from(name), header: HeaderName::from_static(header), keys }
}

fn key_record(id: &str, sha256: [u8; 32]) -> ApiKeyRecord {
    ApiKeyRecord {
        id: id.to_owned(),
        sha256,
        principal: (PrincipalKind::Service, "ci".to_owned()),
        groups: Vec::new(),
        roles: Vec::new(),
        created: None,
        expires: None,
        routes: Vec::new(),
        networks: Vec::new(),
        previous: None,
        revoked: false,
    }
}

fn authenticator(jwt: Vec<JwtProvider>) -> Authenticator {
    Authenticator::new(Settings { jwt, ..Settings::default() }).unwrap()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "billing", "sub": "alice", "exp": NOW + 300})
}

/// The usual claims, some of them changed; `null` removes one.
fn changed(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    headers
}

fn present(authenticator: &Authenticator, token: &str, now: i64) -> Result<String, Rejection> {
    match authenticator.authenticate(&bearer(token), at(now)).settled() {
        Identity::Verified(principal) => Ok(principal.reference()),
        Identity::Rejected(rejection) => Err(*rejection),
        other => panic!("{other:?}"),
    }
}

fn kind(authenticator: &Authenticator, token: &str, now: i64) -> Option<Kind> {
    present(authenticator, token, now).err().map(|rejection| rejection.problem.kind)
}

#[test]
fn a_good_token_of_each_algorithm_is_verified() {
    for signer in [Signer::rsa("k"), Signer::p256("k"), Signer::ed25519("k")] {
        let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
        for claims in [
            claims(),
            changed(json!({"aud": ["other", "payroll"]})),
            changed(json!({"exp": NOW as f64 + 0.5, "nbf": NOW, "iat": NOW, "auth_time": NOW})),
        ] {
            assert_eq!(present(&authenticator, &signer.sign(&claims), NOW), Ok("user:alice".to_owned()), "{claims}");
        }
    }
}

#[test]
fn each_broken_rule_has_its_code() {
    let signer = Signer::ed25519("k");
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let check = |changes: Value, expected: Option<Kind>| {
        let token = signer.sign(&changed(changes.clone()));
        assert_eq!(kind(&authenticator, &token, NOW), expected, "{changes}");
    };
    // Expiry and its leeway of 30 s (RFC 7519 section 4.1.4: not on or after).
    check(json!({"exp": NOW - 29}), None);
    check(json!({"exp": NOW - 30}), Some(Kind::Expired));
    check(json!({"exp": NOW as f64 - 29.5}), None);
    check(json!({"exp": NOW as f64 - 30.5}), Some(Kind::Expired));
    check(json!({"exp": -1}), Some(Kind::Expired));
    check(json!({"exp": null}), Some(Kind::Invalid));
    check(json!({"exp": "1800000300"}), Some(Kind::Invalid));
    check(json!({"exp": true}), Some(Kind::Invalid));
    check(json!({"exp": 1e300}), Some(Kind::Invalid));
    check(json!({"exp": NOW * 1000}), Some(Kind::Invalid));
    for claim in ["nbf", "iat", "auth_time"] {
        check(json!({ claim: NOW + 30 }), None);
        check(json!({ claim: NOW + 31 }), Some(Kind::NotYetValid));
        check(json!({ claim: NOW as f64 + 30.5 }), Some(Kind::NotYetValid));
        check(json!({ claim: "now" }), Some(Kind::Invalid));
        check(json!({ claim: [NOW] }), Some(Kind::Invalid));
    }
    check(json!({"iss": "https://login.example/"}), Some(Kind::WrongIssuer));
    check(json!({"iss": "https://LOGIN.example"}), Some(Kind::WrongIssuer));
    check(json!({"iss": ""}), Some(Kind::WrongIssuer));
    check(json!({"iss": null}), Some(Kind::Invalid));
    check(json!({"iss": [ISSUER]}), Some(Kind::Invalid));
    check(json!({"aud": "Billing"}), Some(Kind::WrongAudience));
    check(json!({"aud": []}), Some(Kind::WrongAudience));
    check(json!({"aud": ["other"]}), Some(Kind::WrongAudience));
    check(json!({"aud": null}), Some(Kind::Invalid));
    check(json!({"aud": 7}), Some(Kind::Invalid));
    check(json!({"aud": ["billing", 7]}), Some(Kind::Invalid));
    check(json!({"sub": null}), Some(Kind::Invalid));
    check(json!({"sub": 7}), Some(Kind::Invalid));
    check(json!({"groups": 7}), Some(Kind::Invalid));
}

#[test]
fn a_payload_that_is_no_single_object_is_invalid() {
    let signer = Signer::ed25519("k");
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let twice = claims().to_string().replace("\"sub\":", "\"sub\":\"root\",\"sub\":");
    let nested = claims().to_string().replace("\"sub\":", "\"x\":{\"y\":1,\"y\":2},\"sub\":");
    let tail = format!("{}{{}}", claims());
    for payload in ["", "foo", "[]", "null", "\"text\"", &twice, &nested, &tail] {
        let token = signer.sign_with(&signer.header(), payload.as_bytes());
        assert_eq!(kind(&authenticator, &token, NOW), Some(Kind::Invalid), "{payload}");
    }
}

#[test]
fn the_key_decides_and_not_the_header() {
    let (signer, stranger) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let payload = claims().to_string();
    let signed = |signer: &Signer, header: Value| signer.sign_with(&header, payload.as_bytes());
    let check =
        |token: String, expected: Option<Kind>| assert_eq!(kind(&authenticator, &token, NOW), expected, "{token}");
    check(signed(&signer, json!({"alg": "EdDSA"})), None);
    check(signed(&signer, json!({"alg": "EdDSA", "kid": "old"})), Some(Kind::UnknownKey));
    check(signed(&stranger, json!({"alg": "EdDSA", "kid": "k"})), Some(Kind::Invalid));
    check(signed(&stranger, json!({"alg": "EdDSA", "kid": "k", "jwk": stranger.jwk()})), Some(Kind::Invalid));
    check(signed(&signer, json!({"alg": "EdDSA", "kid": "k", "jku": "https://keys.example"})), Some(Kind::Invalid));
    check(signed(&signer, json!({"alg": "ES256", "kid": "k"})), Some(Kind::Invalid));
    check(signed(&signer, json!({"alg": "HS256", "kid": "k"})), Some(Kind::Invalid));
    check(signed(&signer, json!({"alg": "none"})), Some(Kind::Invalid));
    check(signed(&signer, json!({"alg": "EdDSA", "kid": "k", "crit": ["b64"], "b64": false})), Some(Kind::Invalid));
    let header = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
    check(format!("{header}.{}.", BASE64URL_NOPAD.encode(payload.as_bytes())), Some(Kind::Invalid));
}

#[test]
fn a_bad_signature_is_invalid_whatever_else_is_wrong() {
    let (signer, stranger) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    for changes in
        [json!({"exp": NOW - 1000}), json!({"nbf": NOW + 1000}), json!({"aud": "other"}), json!({"sub": null})]
    {
        let token = stranger.sign(&changed(changes.clone()));
        assert_eq!(kind(&authenticator, &token, NOW), Some(Kind::Invalid), "{changes}");
    }
}

#[test]
fn a_rejection_names_the_provider_and_whom_was_tried() {
    let (signer, stranger) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let settings = JwtProvider { prefix: "corp:".to_owned(), ..provider("corporate", &signer.jwks()) };
    let authenticator = authenticator(vec![settings]);
    let check = |token: &str, provider: Option<&str>, attempted: Option<&str>| {
        let rejection = present(&authenticator, token, NOW).unwrap_err();
        assert_eq!(rejection.problem.provider.as_deref(), provider);
        assert_eq!(rejection.attempted.as_deref(), attempted);
    };
    check(&stranger.sign(&claims()), Some("corporate"), Some("corp:alice"));
    check(&signer.sign(&changed(json!({"sub": 7}))), Some("corporate"), None);
    check(&signer.sign(&changed(json!({"iss": "https://other"}))), None, Some("alice"));
    check("garbage", None, None);
    let long = present(&authenticator, &stranger.sign(&changed(json!({"sub": "é".repeat(500)}))), NOW).unwrap_err();
    assert!(long.attempted.unwrap().len() <= 128);
}

#[test]
fn a_detail_is_bounded_and_never_holds_the_credential() {
    let (signer, stranger) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let long = "\u{7}é".repeat(1000);
    for token in [
        stranger.sign(&claims()),
        signer.sign(&changed(json!({"iss": long}))),
        signer.sign_with(&json!({"alg": long}), b"{}"),
        signer.sign_with(&json!({"alg": "EdDSA", "kid": long}), claims().to_string().as_bytes()),
        format!("{}.", signer.sign(&claims())),
        "x".repeat(60_000),
    ] {
        let detail = present(&authenticator, &token, NOW).unwrap_err().problem.detail;
        assert!(detail.len() <= 256 && !detail.chars().any(char::is_control), "{detail}");
        let shown = token.split('.').filter(|part| part.len() > 20).any(|part| detail.contains(&part[..20]));
        assert!(!shown, "{detail}");
    }
}

#[test]
fn a_cached_token_is_refused_once_it_has_expired() {
    let signer = Signer::ed25519("k");
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let token = signer.sign(&changed(json!({"nbf": NOW})));
    for (now, expected) in [
        (NOW, None),
        (NOW + 1, None),
        (NOW + 329, None),
        (NOW + 330, Some(Kind::Expired)),
        (NOW + 331, Some(Kind::Expired)),
        // A clock that was set back finds the same token good, and too early.
        (NOW, None),
        (NOW - 30, None),
        (NOW - 31, Some(Kind::NotYetValid)),
    ] {
        assert_eq!(kind(&authenticator, &token, now), expected, "at {now}");
    }
}

#[test]
fn only_success_is_cached_and_it_is_shared() {
    let signer = Signer::ed25519("k");
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let early = signer.sign(&changed(json!({"nbf": NOW + 100})));
    assert_eq!(kind(&authenticator, &early, NOW), Some(Kind::NotYetValid));
    assert_eq!(kind(&authenticator, &early, NOW + 100), None);
    let headers = bearer(&early);
    let verify = || match authenticator.authenticate(&headers, at(NOW + 100)).settled() {
        Identity::Verified(principal) => principal,
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&verify(), &verify()));
}

#[test]
fn a_new_authenticator_knows_nothing_of_the_old_ones_tokens() {
    let (old, new) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let token = old.sign(&claims());
    assert_eq!(kind(&authenticator(vec![provider("corporate", &old.jwks())]), &token, NOW), None);
    assert_eq!(kind(&authenticator(vec![provider("corporate", &new.jwks())]), &token, NOW), Some(Kind::Invalid));
}

#[test]
fn providers_keep_their_principals_apart() {
    let (ours, partners) = (Signer::ed25519("k"), Signer::ed25519("k"));
    let partner = JwtProvider {
        issuer: "https://partner.example".to_owned(),
        prefix: "partner:".to_owned(),
        principal: PrincipalKind::Service,
        ..provider("partner", &partners.jwks())
    };
    let authenticator = authenticator(vec![provider("corporate", &ours.jwks()), partner]);
    let from_partner = |sub: &str| changed(json!({"iss": "https://partner.example", "sub": sub}));
    let check = |token: String, expected: Result<&str, Kind>| {
        let found = present(&authenticator, &token, NOW).map_err(|rejection| rejection.problem.kind);
        // Twice: from the keys, then from the cache.
        assert_eq!(found, expected.map(str::to_owned));
        let again = present(&authenticator, &token, NOW).map_err(|rejection| rejection.problem.kind);
        assert_eq!(again, found);
    };
    check(ours.sign(&claims()), Ok("user:alice"));
    check(partners.sign(&from_partner("alice")), Ok("service:partner:alice"));
    check(partners.sign(&claims()), Err(Kind::Invalid));
    check(ours.sign(&from_partner("alice")), Err(Kind::Invalid));
    check(ours.sign(&changed(json!({"sub": "partner:alice"}))), Err(Kind::Invalid));
}

#[test]
fn where_access_tokens_say_so_nothing_else_is_a_credential() {
    let signer = Signer::ed25519("k");
    let strict = JwtProvider { types: TokenTypes::AccessAlone, ..provider("corporate", &signer.jwks()) };
    let (strict, usual) = (authenticator(vec![strict]), authenticator(vec![provider("corporate", &signer.jwks())]));
    let check = |typ: Value, is_usual: bool, is_strict: bool| {
        let mut header = signer.header();
        header["typ"] = typ.clone();
        if typ.is_null() {
            header.as_object_mut().unwrap().remove("typ");
        }
        let token = signer.sign_with(&header, claims().to_string().as_bytes());
        for (authenticator, is_one) in [(&usual, is_usual), (&strict, is_strict)] {
            let found = present(authenticator, &token, NOW).map_err(|rejection| rejection.problem.kind);
            assert_eq!(found, if is_one { Ok("user:alice".to_owned()) } else { Err(Kind::Invalid) }, "{typ}");
        }
    };
    check(json!("at+jwt"), true, true);
    check(json!("application/at+jwt"), true, true);
    // An id token for a client that the API is an audience of.
    check(json!("JWT"), true, false);
    check(Value::Null, true, false);
    check(json!("logout+jwt"), false, false);
    check(json!("application/"), false, false);
}

#[test]
fn one_issuer_may_serve_two_providers_that_its_audiences_tell_apart() {
    let signer = Signer::ed25519("k");
    let people = provider("people", &signer.jwks());
    let programs = JwtProvider {
        audiences: vec!["jobs".to_owned()],
        principal: PrincipalKind::Service,
        prefix: "job:".to_owned(),
        ..provider("programs", &signer.jwks())
    };
    let authenticator = authenticator(vec![people, programs]);
    let check = |audiences: Value, expected: Result<&str, Kind>| {
        let found = present(&authenticator, &signer.sign(&changed(json!({"aud": audiences}))), NOW);
        assert_eq!(found.map_err(|rejection| rejection.problem.kind), expected.map(str::to_owned));
    };
    check(json!("billing"), Ok("user:alice"));
    check(json!(["x", "jobs"]), Ok("service:job:alice"));
    check(json!(["billing", "payroll"]), Ok("user:alice"));
    check(json!(["billing", "jobs"]), Err(Kind::Invalid));
    check(json!("x"), Err(Kind::WrongAudience));
}

#[test]
fn an_api_key_and_a_token_each_work_alone_and_never_together() {
    let signer = Signer::ed25519("k");
    let minted = mint("ci").unwrap();
    let keys = ApiKeyProvider { keys: vec![key_record("ci", minted.sha256)], ..key_provider("keys", "x-api-key", &[]) };
    let other = key_provider("other", "x-other-key", &["other"]);
    let jwt = vec![provider("corporate", &signer.jwks())];
    let authenticator =
        Authenticator::new(Settings { jwt, api_key: vec![keys, other], ..Settings::default() }).unwrap();
    let names: Vec<&str> = authenticator.credential_headers().iter().map(HeaderName::as_str).collect();
    assert_eq!(names, ["authorization", "dpop", "x-api-key", "x-other-key"]);

    let with = |headers: HeaderMap, name: &'static str| {
        let mut headers = headers;
        headers.append(name, HeaderValue::try_from(minted.text.expose()).unwrap());
        headers
    };
    let check = |headers: HeaderMap, expected: Result<&str, Kind>| {
        let found = match authenticator.authenticate(&headers, at(NOW)).settled() {
            Identity::Verified(principal) => Ok(principal.reference()),
            Identity::Rejected(rejection) => Err(rejection.problem.kind),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected.map(str::to_owned));
    };
    let token = bearer(&signer.sign(&claims()));
    check(token.clone(), Ok("user:alice"));
    check(with(HeaderMap::new(), "x-api-key"), Ok("service:ci"));
    check(with(HeaderMap::new(), "x-other-key"), Err(Kind::Invalid));
    check(with(token.clone(), "x-api-key"), Err(Kind::Ambiguous));
    check(with(token, "authorization"), Err(Kind::Ambiguous));
    check(with(with(HeaderMap::new(), "x-api-key"), "x-api-key"), Err(Kind::Ambiguous));
    check(with(HeaderMap::new(), "authorization"), Err(Kind::Invalid));
    assert_eq!(authenticator.authenticate(&HeaderMap::new(), at(NOW)).settled(), Identity::Anonymous);
}

#[test]
fn an_identity_is_a_fact_for_the_policy() {
    let unavailable = Identity::Unavailable(Dependency::Keys, "the key set is too old".to_owned());
    assert!(matches!(unavailable.fact(), IdentityFact::Unavailable(Dependency::Keys)));
    assert!(matches!(Identity::Anonymous.fact(), IdentityFact::Anonymous));
    assert_eq!(unavailable.attempted_id(), None);
    let signer = Signer::ed25519("k");
    let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
    let good = authenticator.authenticate(&bearer(&signer.sign(&claims())), at(NOW)).settled();
    assert!(matches!(good.fact(), IdentityFact::Verified(principal) if &*principal.id == "alice"));
    let bad = authenticator.authenticate(&bearer(&Signer::ed25519("k").sign(&claims())), at(NOW)).settled();
    assert!(matches!(bad.fact(), IdentityFact::Rejected(problem) if problem.kind == Kind::Invalid));
    assert_eq!(bad.attempted_id(), Some("alice"));
}

#[test]
fn workers_share_one_authenticator() {
    let signer = Signer::p256("k");
    let settings =
        Settings { jwt: vec![provider("corporate", &signer.jwks())], token_cache_entries: 2, ..Settings::default() };
    let authenticator = Authenticator::new(settings).unwrap();
    let tokens: Vec<String> = (0..8).map(|id| signer.sign(&changed(json!({"sub": format!("u{id}")})))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (id, token) in tokens.iter().enumerate().cycle().take(100) {
                    assert_eq!(present(&authenticator, token, NOW), Ok(format!("user:u{id}")));
                }
            });
        }
    });
}
