use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::PrincipalKind;

use super::{ISSUER, NOW, at, bearer, key_provider, provider};
use crate::settings::{ApiKeyProvider, ApiKeyRecord, JwtProvider, KeySource, Settings};
use crate::signer::Signer;
use crate::{Authenticator, Identity};

#[test]
fn each_problem_of_the_settings_is_told_with_its_provider() {
    let (a, b) = (Signer::ed25519("k").jwks(), Signer::ed25519("k").jwks());
    let check = |settings: Settings, expected: &[&str]| {
        let errors = Authenticator::new(settings).map(|_| ()).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), expected.len(), "{text:?}");
        for words in expected {
            assert!(text.iter().any(|line| line.contains(words)), "{words}: {text:?}");
        }
    };
    let one = |change: fn(&mut JwtProvider)| {
        let mut changed = provider("corporate", &a);
        change(&mut changed);
        Settings { jwt: vec![changed], ..Settings::default() }
    };
    check(one(|it| it.keys = KeySource::Text(Arc::from(""))), &["`corporate`: the key set is not valid JSON"]);
    check(
        one(|it| it.keys = KeySource::Text(Arc::from(r#"{"keys":[]}"#))),
        &["`corporate`: the key set has no key for"],
    );
    check(one(|it| it.issuer.clear()), &["`corporate`: the issuer is empty"]);
    check(one(|it| it.audiences.clear()), &["audiences must be named"]);
    check(one(|it| it.audiences.push(String::new())), &["audiences must be named"]);
    check(one(|it| it.leeway = Duration::from_millis(60_001)), &["longer than 60 s"]);
    check(one(|it| it.principal = PrincipalKind::Certificate), &["kind `certificate`"]);
    check(one(|it| it.prefix = "a\n".to_owned()), &["the prefix has a control"]);
    check(one(|it| it.claims.auth_time.clear()), &["claim for `auth_time` is empty"]);
    check(Settings { token_cache_entries: 0, ..one(|_| {}) }, &["at least 1 entry"]);

    let two = |change: fn(&mut JwtProvider)| {
        let mut second = JwtProvider {
            issuer: "https://partner.example".to_owned(),
            prefix: "partner:".to_owned(),
            ..provider("partner", &b)
        };
        change(&mut second);
        Settings { jwt: vec![provider("corporate", &a), second], ..Settings::default() }
    };
    check(two(|it| it.name = Arc::from("corporate")), &["`corporate`: the name is taken"]);
    check(two(|it| it.prefix.clear()), &["`partner`: the prefix `` is also that of `corporate`"]);
    let one_issuer = |it: &mut JwtProvider| {
        (it.issuer, it.audiences, it.prefix) = (ISSUER.to_owned(), vec!["jobs".to_owned()], String::new());
    };
    check(two(one_issuer), &["`partner`: the prefix `` is also that of `corporate`"]);
    check(two(|it| it.issuer = ISSUER.to_owned()), &["`partner`: the issuer and the audience `billing` are also"]);
    check(two(|it| it.keys = KeySource::Text(Arc::from("{}"))), &["`partner`: the key set has no `keys`"]);

    let keys = |api_key: Vec<ApiKeyProvider>| Settings { api_key, ..Settings::default() };
    check(keys(vec![key_provider("keys", "authorization", &[])]), &["`keys`: the header `authorization` cannot"]);
    check(keys(vec![key_provider("keys", "cookie", &[])]), &["the header `cookie` cannot"]);
    check(
        keys(vec![key_provider("one", "x-key", &["a"]), key_provider("two", "x-key", &["b"])]),
        &["`two`: the header `x-key` is also read by `one`"],
    );
    check(
        keys(vec![key_provider("one", "x-one", &["a"]), key_provider("two", "x-two", &["a"])]),
        &["`two`: the key id `a` is also used by `one`"],
    );
    check(keys(vec![key_provider("one", "x-one", &["a", "a"])]), &["the key id `a` is also used by `one`"]);
    check(keys(vec![key_provider("one", "x-one", &["A_b"])]), &["the key id `A_b` is not"]);
    let record = |change: fn(&mut ApiKeyRecord)| {
        let mut provider = key_provider("one", "x-one", &["a"]);
        change(&mut provider.keys[0]);
        keys(vec![provider])
    };
    check(record(|it| it.principal.1.clear()), &["of key `a` cannot be used: the principal's id"]);
    check(record(|it| it.principal.0 = PrincipalKind::Certificate), &["a certificate proves itself"]);
    check(record(|it| it.roles.push("a\r".to_owned())), &["a group or role"]);
}

#[test]
fn all_problems_are_told_at_once() {
    let bad = |name: &str, prefix: &str| JwtProvider {
        issuer: format!("https://{name}"),
        prefix: prefix.to_owned(),
        leeway: Duration::from_secs(61),
        ..provider(name, "garbage")
    };
    let settings = Settings {
        jwt: vec![bad("one", ""), bad("two", "t:"), bad("three", "t:")],
        api_key: vec![key_provider("two", "host", &["_"])],
        token_cache_entries: 0,
        ..Settings::default()
    };
    // A leeway and a key set each, a shared prefix, no cache, a taken name, a header, a key id.
    assert_eq!(Authenticator::new(settings).map(|_| ()).unwrap_err().len(), 3 * 2 + 5);
}

#[test]
fn what_the_settings_may_share_is_accepted() {
    let signer = Signer::ed25519("k");
    let audience = |name: &str, audience: &str| JwtProvider {
        audiences: vec![audience.to_owned()],
        prefix: "corp:".to_owned(),
        leeway: Duration::from_secs(60),
        ..provider(name, &signer.jwks())
    };
    let settings = Settings { jwt: vec![audience("a", "x"), audience("b", "y")], ..Settings::default() };
    assert!(Authenticator::new(settings).is_ok());
    let nobody = Authenticator::new(Settings::default()).unwrap();
    assert_eq!(nobody.authenticate(&bearer("x"), at(NOW)).settled(), Identity::Anonymous);
}
