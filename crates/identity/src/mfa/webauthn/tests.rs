use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::json;

use super::*;

const ORIGIN: &str = "https://app.example.com";
const FLAGS: u8 = PRESENT | VERIFIED;

fn party() -> RelyingParty {
    RelyingParty { id: "example.com".into(), name: "Example".into(), origins: vec![ORIGIN.into()] }
}

/// An authenticator, made of the same primitives.
enum Device {
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Device {
    fn ec() -> Self {
        Self::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()))
    }

    fn all() -> [Self; 3] {
        [
            Self::ec(),
            Self::Ed(Ed25519KeyPair::generate().unwrap()),
            Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        ]
    }

    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".as_slice(), &point[1..33], b"\x22\x58\x20", &point[33..]]
                    .concat()
            }
            Self::Ed(pair) => {
                [b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20".as_slice(), pair.public_key().as_ref()].concat()
            }
            Self::Rsa(pair) => {
                // RSAPublicKey (RFC 8017 appendix A.1.1): a modulus of 257 bytes, the first of them 0, and an exponent of three.
                let der = pair.public_key().as_ref();
                let (n, e) = (der[9..265].to_vec(), der[267..].to_vec());
                let n = [&[0x59, 1, 0][..], &n].concat();
                let e = [&[0x40 + u8::try_from(e.len()).unwrap()][..], &e].concat();
                [b"\xa4\x01\x03\x03\x39\x01\x00\x20".as_slice(), &n, b"\x21", &e].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn client_data(kind: &str, challenge: &Challenge) -> Value {
    json!({ "type": kind, "challenge": challenge.base64url(), "origin": ORIGIN, "crossOrigin": false })
}

fn data(rp_id: &str, flags: u8, counter: u32, rest: &[u8]) -> Vec<u8> {
    [sha256(rp_id.as_bytes()).as_slice(), &[flags], &counter.to_be_bytes(), rest].concat()
}

/// The id `credential` and the key, as they stand in the data of an authenticator.
fn attested(cose: &[u8]) -> Vec<u8> {
    [[7; 16].as_slice(), &10_u16.to_be_bytes(), b"credential", cose].concat()
}

fn attestation(format: &str, auth_data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(auth_data.len()).unwrap();
    let head = if length < 256 { vec![0x58, length as u8] } else { [&[0x59][..], &length.to_be_bytes()].concat() };
    let format = [&[0x60 + u8::try_from(format.len()).unwrap()][..], format.as_bytes()].concat();
    [b"\xa3\x63fmt".as_slice(), &format, b"\x67attStmt\xa0\x68authData", &head, auth_data].concat()
}

fn register_with(
    client: &Value,
    format: &str,
    auth_data: &[u8],
    challenge: &Challenge,
) -> Result<NewPasskey, PasskeyError> {
    let (client, attestation) = (client.to_string(), attestation(format, auth_data));
    party().register(challenge, Registration { client_data: client.as_bytes(), attestation: &attestation })
}

#[test]
fn a_passkey_is_made_and_used_with_each_algorithm() {
    for device in Device::all() {
        let challenge = Challenge::random().unwrap();
        let client = client_data("webauthn.create", &challenge);
        let made = data("example.com", FLAGS | HAS_CREDENTIAL, 5, &attested(&device.cose()));
        let passkey = register_with(&client, "none", &made, &challenge).unwrap();
        assert_eq!((&*passkey.credential, passkey.counter), (b"credential".as_slice(), 5));
        assert_eq!(&*passkey.public_key, device.cose());

        let challenge = Challenge::random().unwrap();
        let check = |counter: u32, before: i64, expected: Result<u32, PasskeyError>| {
            let client = client_data("webauthn.get", &challenge).to_string();
            let data = data("example.com", FLAGS, counter, b"");
            let signature = device.sign(&[data.as_slice(), &sha256(client.as_bytes())].concat());
            let used = Assertion {
                credential: b"credential",
                client_data: client.as_bytes(),
                authenticator_data: &data,
                signature: &signature,
            };
            assert_eq!(party().verify(&challenge, used, &passkey.public_key, before), expected, "{counter} {before}");
            let mut changed = signature.clone();
            *changed.last_mut().unwrap() ^= 1;
            let forged = Assertion { signature: &changed, ..used };
            assert_eq!(
                party().verify(&challenge, forged, &passkey.public_key, before),
                Err(PasskeyError::BadSignature)
            );
            let other = Device::ec().cose();
            assert_eq!(party().verify(&challenge, used, &other, before), Err(PasskeyError::BadSignature));
        };
        check(6, 5, Ok(6));
        check(5, 5, Err(PasskeyError::Copied));
        check(0, 5, Err(PasskeyError::Copied));
        check(0, 0, Ok(0));
        check(1, 0, Ok(1));
    }
}

#[test]
fn what_a_browser_says_of_another_place_or_purpose_is_refused() {
    let (device, challenge) = (Device::ec(), Challenge::random().unwrap());
    let made = data("example.com", FLAGS | HAS_CREDENTIAL, 0, &attested(&device.cose()));
    let check = |change: fn(&mut Value), expected: PasskeyError| {
        let mut client = client_data("webauthn.create", &challenge);
        change(&mut client);
        assert_eq!(register_with(&client, "none", &made, &challenge), Err(expected), "{client}");
    };
    check(|client| client["type"] = json!("webauthn.get"), PasskeyError::OtherChallenge);
    check(|client| client["challenge"] = json!(Challenge([3; 32]).base64url()), PasskeyError::OtherChallenge);
    check(|client| client["challenge"] = json!(""), PasskeyError::OtherChallenge);
    check(|client| client["challenge"] = json!("!"), PasskeyError::Malformed);
    check(|client| client["challenge"] = json!(null), PasskeyError::Malformed);
    for origin in [
        "https://app.example.com.evil.test",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://example.com",
        "HTTPS://app.example.com",
        "",
    ] {
        let mut client = client_data("webauthn.create", &challenge);
        client["origin"] = json!(origin);
        assert_eq!(register_with(&client, "none", &made, &challenge), Err(PasskeyError::OtherOrigin), "{origin}");
    }
    check(|client| client["crossOrigin"] = json!(true), PasskeyError::OtherOrigin);
    check(|client| client["crossOrigin"] = json!("false"), PasskeyError::OtherOrigin);
    check(|client| client["topOrigin"] = json!(ORIGIN), PasskeyError::OtherOrigin);
    // Who does not say whether it is in a frame is not.
    let mut client = client_data("webauthn.create", &challenge);
    client.as_object_mut().unwrap().remove("crossOrigin");
    assert!(register_with(&client, "none", &made, &challenge).is_ok());
    let attestation = attestation("none", &made);
    for text in [
        String::new(),
        "[]".into(),
        format!("{client}{client}"),
        client.to_string().replace("{", "{\"type\":\"webauthn.create\","),
        " ".repeat(5_000),
    ] {
        let said = Registration { client_data: text.as_bytes(), attestation: &attestation };
        assert_eq!(party().register(&challenge, said), Err(PasskeyError::Malformed), "{text}");
    }
}

#[test]
fn what_an_authenticator_says_otherwise_is_refused() {
    let (device, challenge) = (Device::ec(), Challenge::random().unwrap());
    let client = client_data("webauthn.create", &challenge);
    let (cose, all) = (device.cose(), FLAGS | HAS_CREDENTIAL);
    let check = |format: &str, data: &[u8], expected: Option<PasskeyError>| {
        assert_eq!(register_with(&client, format, data, &challenge).err(), expected);
    };
    let good = attested(&cose);
    check("none", &data("example.com", all, 0, &good), None);
    check("none", &data("example.com", all | ELIGIBLE_FOR_BACKUP | BACKED_UP, 0, &good), None);
    check("none", &data("example.com", all | BACKED_UP, 0, &good), Some(PasskeyError::Malformed));
    check("packed", &data("example.com", all, 0, &good), Some(PasskeyError::NotAccepted));
    check("none", &data("example.org", all, 0, &good), Some(PasskeyError::OtherRelyingParty));
    check("none", &data("app.example.com", all, 0, &good), Some(PasskeyError::OtherRelyingParty));
    check("none", &data("example.com", all & !VERIFIED, 0, &good), Some(PasskeyError::NotVerified));
    check("none", &data("example.com", all & !PRESENT, 0, &good), Some(PasskeyError::NotVerified));
    check("none", &data("example.com", FLAGS, 0, b""), Some(PasskeyError::Malformed));
    check("none", &data("example.com", FLAGS, 0, &good), Some(PasskeyError::Malformed));
    check("none", &data("example.com", all, 0, &good[..good.len() - 1]), Some(PasskeyError::Malformed));
    check("none", &data("example.com", all, 0, &[good.as_slice(), b"\x00"].concat()), Some(PasskeyError::Malformed));
    // Extensions are read over, where they are said to be there.
    let extended = [good.as_slice(), b"\xa1\x6bcredProtect\x02"].concat();
    check("none", &data("example.com", all | HAS_EXTENSIONS, 0, &extended), None);
    check("none", &data("example.com", all, 0, &extended), Some(PasskeyError::Malformed));
    let mut nameless = good.clone();
    nameless[16..18].copy_from_slice(&[0, 0]);
    check("none", &data("example.com", all, 0, &nameless), Some(PasskeyError::Malformed));
    for (from, to) in [(4, 0x27), (6, 0x03), (2, 0x01)] {
        // Another algorithm, another curve, another type.
        let mut other = cose.clone();
        other[from] = to;
        check("none", &data("example.com", all, 0, &attested(&other)), Some(PasskeyError::NotAccepted));
    }
    for length in 0..37 {
        check("none", &data("example.com", all, 0, &good)[..length], Some(PasskeyError::Malformed));
    }
    let said = Registration { client_data: client.to_string().as_bytes(), attestation: b"\xa0" }.attestation.to_vec();
    let text = client.to_string();
    let empty = Registration { client_data: text.as_bytes(), attestation: &said };
    assert_eq!(party().register(&challenge, empty), Err(PasskeyError::Malformed));
    // A statement beside the format `none` is none.
    let mut stated = attestation("none", &data("example.com", all, 0, &good));
    let place = stated.windows(8).position(|window| window == b"attStmt\xa0").unwrap() + 7;
    stated.splice(place..=place, *b"\xa1\x61x\x01");
    let stated = Registration { client_data: text.as_bytes(), attestation: &stated };
    assert_eq!(party().register(&challenge, stated), Err(PasskeyError::NotAccepted));
}

#[test]
fn weak_and_odd_rsa_keys_are_not_accepted() {
    let rsa = |n: &[u8], e: &[u8]| {
        let length = u16::try_from(n.len()).unwrap().to_be_bytes();
        let key = [b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59".as_slice(), &length, n, b"\x21", &[0x40 + e.len() as u8], e]
            .concat();
        PublicKey::read(&Item::parse(&key).unwrap()).is_some()
    };
    let modulus = |bytes: usize| [vec![0x80], vec![1; bytes - 1]].concat();
    assert!(rsa(&modulus(256), &[1, 0, 1]) && rsa(&modulus(512), &[3]));
    assert!(!rsa(&modulus(513), &[1, 0, 1]));
    assert!(!rsa(&[vec![0], modulus(256)].concat()[..256], &[1, 0, 1]));
    assert!(!rsa(&modulus(256), &[1, 0, 0]) && !rsa(&modulus(256), &[1, 0, 0, 0, 1]));
}

#[test]
fn challenges_are_read_back_and_differ() {
    let challenge = Challenge::random().unwrap();
    assert_eq!(Challenge::parse(&challenge.base64url()), Some(challenge));
    assert_ne!(Challenge::random(), Some(challenge));
    for text in ["", "AAAA", &format!("{}=", challenge.base64url())] {
        assert_eq!(Challenge::parse(text), None, "{text}");
    }
}
