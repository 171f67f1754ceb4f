use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{NOW, at, authenticator, claims, key_provider, key_record, present, provider};
use crate::api_key::mint;
use crate::settings::{ApiKeyProvider, Settings};
use crate::signer::Signer;
use crate::{Authenticator, Identity};

fn never_verifies(header: &'static str, value: &[u8]) {
    let signer = Signer::ed25519("k");
    let settings = Settings {
        jwt: vec![provider("corporate", &signer.jwks())],
        api_key: vec![key_provider("keys", "x-api-key", &["ci"])],
        ..Settings::default()
    };
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header, value);
    let identity = Authenticator::new(settings).unwrap().authenticate(&headers, at(NOW)).settled();
    let Identity::Rejected(rejection) = identity else { panic!("{identity:?}") };
    assert!(rejection.problem.detail.len() <= 256);
}

fn part(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

proptest! {
    #[test]
    fn garbage_never_verifies(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        never_verifies("authorization", &bytes);
        never_verifies("authorization", &[b"Bearer ".as_slice(), &bytes].concat());
        never_verifies("x-api-key", &bytes);
    }

    #[test]
    fn shaped_garbage_never_verifies(header in ".{0,60}", payload in ".{0,60}", signature in ".{0,60}") {
        let algorithm = part(r#"{"alg":"EdDSA"}"#);
        let claims = part(&claims().to_string());
        let (header, payload, signature) = (part(&header), part(&payload), part(&signature));
        never_verifies("authorization", format!("Bearer {header}.{payload}.{signature}").as_bytes());
        never_verifies("authorization", format!("Bearer {algorithm}.{payload}.{signature}").as_bytes());
        never_verifies("authorization", format!("Bearer {algorithm}.{claims}.{signature}").as_bytes());
    }

    #[test]
    fn a_token_with_one_byte_changed_never_verifies(place in 0_usize..1000, byte in 0x21_u8..0x7f) {
        let signer = Signer::ed25519("k");
        let authenticator = authenticator(vec![provider("corporate", &signer.jwks())]);
        let mut token = signer.sign(&claims()).into_bytes();
        let place = place % token.len();
        prop_assume!(token[place] != byte);
        token[place] = byte;
        let token = String::from_utf8(token).unwrap();
        prop_assert!(present(&authenticator, &token, NOW).is_err());
    }

    #[test]
    fn a_key_with_one_byte_changed_never_verifies(place in 0_usize..1000, byte in 0x21_u8..0x7f) {
        let minted = mint("ci").unwrap();
        let keys = vec![key_record("ci", minted.sha256)];
        let keys = ApiKeyProvider { keys, ..key_provider("keys", "x-api-key", &[]) };
        let authenticator = Authenticator::new(Settings { api_key: vec![keys], ..Settings::default() }).unwrap();
        let mut text = minted.text.expose().as_bytes().to_vec();
        let place = place % text.len();
        prop_assume!(text[place] != byte);
        text[place] = byte;
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_bytes(&text).unwrap());
        prop_assert!(matches!(authenticator.authenticate(&headers, at(NOW)).settled(), Identity::Rejected(_)));
    }
}
