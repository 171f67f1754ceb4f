//! Which texts are keys, and that what they sign holds.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use data_encoding::BASE64;

use super::*;

const NOW: i64 = 1_800_000_000;

/// RFC 7517 appendix A.2, its second key.
const RSA_JWK: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","d":"X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q","p":"83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs","q":"3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk","dp":"G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGyBJ4c8tQ2VF402XRugKDTP8akYhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EUms6rY3Ob8YeiKkTiBj0","dq":"s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SSQF7pMdC_agI3nG8Ibp1BUb0JUiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jvWrX-L18txXw494Q_cgk","qi":"GyM_p6JrXySiz1toFgKbWV-JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-Bk0KWNGDjJHZDdDmFhW3AN7lI-puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU","alg":"RS256","kid":"2011-04-29"}"#;

fn pem(der: &[u8], kind: &str) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64.encode(der))
}

fn p256() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

/// The members of a part of an assertion.
fn part(assertion: &str, place: usize) -> Value {
    let part = assertion.split('.').nth(place).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

fn assertion(key: &ClientKey) -> String {
    key.assertion("portcullis", "https://op.example", Timestamp::from_second(NOW).unwrap()).unwrap()
}

fn holds(assertion: &str, algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) -> bool {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    UnparsedPublicKey::new(algorithm, public).verify(signed.as_bytes(), &signature).is_ok()
}

#[test]
fn an_assertion_says_who_it_is_to_whom_for_a_minute_and_once() {
    let key = ClientKey::read(&pem(p256().to_pkcs8v1().unwrap().as_ref(), "PRIVATE KEY"), None, Some("k")).unwrap();
    let (first, second) = (assertion(&key), assertion(&key));
    assert_eq!(part(&first, 0), json!({ "alg": "ES256", "kid": "k", "typ": "JWT" }));
    let mut claims = part(&first, 1);
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": "portcullis", "sub": "portcullis", "aud": "https://op.example", "iat": NOW, "exp": NOW + 60
        })
    );
    assert!(id.as_str().unwrap().len() == 22 && part(&second, 1)["jti"] != id);
    let shown = format!("{key:?}");
    assert!(shown.contains("Es256") && !shown.contains("pair"), "{shown}");
}

#[test]
fn every_form_of_a_key_signs_what_its_public_half_verifies() {
    let pair = p256();
    let (der, public) = (pair.to_pkcs8v1().unwrap(), pair.public_key().as_ref());
    let read = |text: &str, algorithm| ClientKey::read(text, algorithm, None).unwrap();
    let key = read(&pem(der.as_ref(), "PRIVATE KEY"), None);
    assert!(holds(&assertion(&key), &ECDSA_P256_SHA256_FIXED, public));
    assert_eq!(part(&assertion(&key), 0).get("kid"), None, "what nobody has named has no name");
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "x": encode(&public[1..33]), "y": encode(&public[33..]), "d": encode(d.as_ref()),
        "kid": "2026", "use": "sig",
    });
    let key = read(&jwk.to_string(), None);
    assert!(holds(&assertion(&key), &ECDSA_P256_SHA256_FIXED, public));
    assert_eq!(part(&assertion(&key), 0)["kid"], "2026");
    assert_eq!(part(&assertion(&ClientKey::read(&jwk.to_string(), None, Some("own")).unwrap()), 0)["kid"], "own");

    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref();
    let key = read(&pem(pair.to_pkcs8v1().unwrap().as_ref(), "PRIVATE KEY"), None);
    assert_eq!(key.algorithm(), ClientAlgorithm::EdDsa);
    assert!(holds(&assertion(&key), &ED25519, public));
    let seed: Curve25519SeedBin<'_> = pair.seed().unwrap().as_be_bytes().unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(public), "d": encode(seed.as_ref()) });
    assert!(holds(&assertion(&read(&jwk.to_string(), None)), &ED25519, public));

    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let text = pem(der.as_ref(), "PRIVATE KEY");
    let public = pair.public_key().as_ref();
    assert!(holds(&assertion(&read(&text, None)), &RSA_PKCS1_2048_8192_SHA256, public));
    let key = read(&text, Some(ClientAlgorithm::Ps256));
    assert!(holds(&assertion(&key), &RSA_PSS_2048_8192_SHA256, public));
    assert!(!holds(&assertion(&key), &RSA_PKCS1_2048_8192_SHA256, public));
}

#[test]
fn an_rsa_key_as_a_jwk_is_that_of_the_rfc() {
    let key = ClientKey::read(RSA_JWK, None, None).unwrap();
    let numbers: Value = serde_json::from_str(RSA_JWK).unwrap();
    let number = |name: &str| BASE64URL_NOPAD.decode(numbers[name].as_str().unwrap().as_bytes()).unwrap();
    // RSAPublicKey (RFC 8017 appendix A.1.1): the modulus begins with a one.
    let public = [der(0x02, &[&[0_u8][..], &number("n")].concat()).unwrap(), der(0x02, &number("e")).unwrap()];
    let public = der(0x30, &public.concat()).unwrap();
    let assertion = assertion(&key);
    assert!(holds(&assertion, &RSA_PKCS1_2048_8192_SHA256, &public));
    assert_eq!(part(&assertion, 0), json!({ "alg": "RS256", "kid": "2011-04-29", "typ": "JWT" }));
}

#[test]
fn what_is_no_key_or_for_something_else_is_refused_without_showing_it() {
    let check = |text: &str, algorithm, expected: ClientKeyError| {
        let error = ClientKey::read(text, algorithm, None).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(!error.to_string().contains("AQAB"), "{error}");
    };
    let pkcs8 = p256().to_pkcs8v1().unwrap();
    let good = pem(pkcs8.as_ref(), "PRIVATE KEY");
    for text in ["", "x", "{}", "{\"kty\":\"EC\"}", "{\"kty\":\"oct\",\"k\":\"AQAB\"}"] {
        check(text, None, ClientKeyError::NotAKey);
    }
    check(&good.replace("PRIVATE KEY", "CERTIFICATE"), None, ClientKeyError::NotAKey);
    check(&RSA_JWK.replace("\"d\":", "\"private\":"), None, ClientKeyError::NotAKey);
    check(&RSA_JWK.replace("\"p\":\"8", "\"p\":\"9"), None, ClientKeyError::NotAKey);
    check(&good, Some(ClientAlgorithm::Rs256), ClientKeyError::OtherKind(ClientAlgorithm::Rs256));
    check(RSA_JWK, Some(ClientAlgorithm::Es256), ClientKeyError::OtherKind(ClientAlgorithm::Es256));
    check(RSA_JWK, Some(ClientAlgorithm::Ps256), ClientKeyError::OtherUse);
    check(&RSA_JWK.replace("RS256", "RS384"), None, ClientKeyError::OtherUse);
    check(&RSA_JWK.replace("\"kty\"", "\"use\":\"enc\",\"kty\""), None, ClientKeyError::OtherUse);
}
