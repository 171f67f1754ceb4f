use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use portcullis_policy::PrincipalKind;

use super::*;
use crate::jwks::KeySet;
use crate::jws::Jws;

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn pem(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn ed25519() -> AssertionKey {
    let pair = Ed25519KeyPair::generate().unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    AssertionKey::from_pem(pem(der.as_ref()).as_bytes()).unwrap()
}

fn p256() -> AssertionKey {
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    AssertionKey::from_pem(pem(der.as_ref()).as_bytes()).unwrap()
}

/// What a token says to whoever has the published keys.
fn verified(assertions: &Assertions, token: &str) -> Value {
    let keys = KeySet::parse(assertions.published()).unwrap();
    let jws = Jws::parse(token).unwrap();
    keys.verify(&jws).unwrap();
    serde_json::from_slice(&jws.payload).unwrap()
}

#[test]
fn whoever_has_the_published_keys_reads_who_calls() {
    for key in [ed25519(), p256()] {
        let assertions = Assertions::new("https://gw.example", LIFETIME, key, None);
        let mut alice = Principal::user("alice").in_group("finance");
        alice.email = Some("alice@example.com".into());
        alice.authentication.amr = vec!["pwd".into(), "otp".into()];
        let assertion = assertions.sign(Some(&alice), "billing", now()).unwrap();
        assert_eq!(
            verified(&assertions, &assertion.token),
            json!({
                "iss": "https://gw.example", "aud": "billing", "sub": "user:alice", "groups": ["finance"],
                "email": "alice@example.com", "amr": ["pwd", "otp"], "provider": "",
                "iat": NOW, "nbf": NOW - 5, "exp": NOW + 60,
            })
        );
        assert_eq!(assertion.renew.as_second(), NOW + 30);
    }
}

#[test]
fn what_would_be_too_long_is_left_out_as_a_whole_and_counted() {
    let in_groups = |count: usize| {
        (0..count).fold(Principal::user("alice"), |alice, number| alice.in_group(&format!("department-{number:05}")))
    };
    for key in [ed25519(), p256()] {
        let assertions = Assertions::new("https://gw.example", LIFETIME, key.clone(), None);
        for (count, left_out) in [(0, 0), (1, 0), (100, 0), (5_000, 5_000)] {
            let signed = assertions.sign(Some(&in_groups(count)), "billing", now()).unwrap();
            assert!(signed.token.len() <= MAX_SIZE, "{count}: {}", signed.token.len());
            assert_eq!(signed.groups_left_out, left_out, "{count}");
            let claims = verified(&assertions, &signed.token);
            let named = claims.get("groups").map(|groups| groups.as_array().unwrap().len());
            assert_eq!(named, (left_out == 0).then_some(count), "{count}");
            let overage = (left_out > 0).then(|| json!(left_out));
            assert_eq!(claims.get("groups_overage"), overage.as_ref(), "{count}");
        }
        // The border: exactly as long as may be, and one byte less.
        let whole = assertions.sign(Some(&in_groups(50)), "billing", now()).unwrap();
        for (max_size, left_out) in [(whole.token.len(), 0), (whole.token.len() - 1, 50)] {
            let bounded = Assertions::new("https://gw.example", LIFETIME, key.clone(), None).with_max_size(max_size);
            let signed = bounded.sign(Some(&in_groups(50)), "billing", now()).unwrap();
            assert_eq!(signed.groups_left_out, left_out, "{max_size}");
        }
    }
    // A credential with a long list of means: the groups go first.
    let assertions = Assertions::new("https://gw.example", LIFETIME, ed25519(), None);
    let mut alice = in_groups(1);
    alice.authentication.amr = (0..256).map(|number| format!("means-of-proof-{number:03}").into()).collect();
    let signed = assertions.sign(Some(&alice), "billing", now()).unwrap();
    let claims = verified(&assertions, &signed.token);
    assert_eq!((&claims["groups_overage"], &claims["amr_overage"]), (&json!(1), &json!(256)));
    assert!(signed.token.len() < 1_024 && claims.get("amr").is_none());
}

#[test]
fn a_caller_without_a_credential_is_nobody_and_came_through_the_gateway() {
    let assertions = Assertions::new("https://gw.example", LIFETIME, ed25519(), None);
    let claims = verified(&assertions, &assertions.sign(None, "billing", now()).unwrap().token);
    assert_eq!(claims.get("sub"), None);
    assert_eq!(claims["aud"], "billing");
}

#[test]
fn an_assertion_holds_no_longer_than_the_credential() {
    let assertions = Assertions::new("https://gw.example", LIFETIME, ed25519(), None);
    for (left, expected) in [(3_600, 60), (10, 10), (0, 1), (-20, 1)] {
        let mut robot = Principal::stated(PrincipalKind::Service, "robot");
        robot.authentication.expires = Some(Timestamp::from_second(NOW + left).unwrap());
        let assertion = assertions.sign(Some(&robot), "billing", now()).unwrap();
        assert_eq!(verified(&assertions, &assertion.token)["exp"], NOW + expected, "{left} s left");
        assert!(assertion.renew.as_second() <= NOW + left.clamp(0, 60) / 2, "{left} s left");
    }
}

#[test]
fn both_keys_are_published_and_the_first_signs() {
    let (key, other) = (p256(), ed25519());
    let ids = [key.id().to_owned(), other.id().to_owned()];
    let assertions = Assertions::new("https://gw.example", LIFETIME, key, Some(&other));
    let set: Value = serde_json::from_str(assertions.published()).unwrap();
    let published: Vec<&str> = set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(published, ids);
    // Nothing of a private key.
    assert!(set["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));
    let token = assertions.sign(None, "billing", now()).unwrap().token;
    assert_eq!(Jws::parse(&token).unwrap().key_id.as_deref(), Some(&*ids[0]));
    verified(&assertions, &token);
}

#[test]
fn a_thumbprint_is_that_of_the_rfc() {
    // RFC 8037 appendix A.1 and A.3.
    let private = BASE64URL_NOPAD.decode(b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    // The private key of RFC 8410 section 7, in its frame.
    let der =
        [&[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20], &*private]
            .concat();
    let key = AssertionKey::from_pem(pem(&der).as_bytes()).unwrap();
    assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let rsa = "-----BEGIN PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----\n";
    for text in ["", "secret", rsa, "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"] {
        let error = AssertionKey::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("PKCS #8") && !error.contains("MAMCAQA"), "{error}");
    }
}
