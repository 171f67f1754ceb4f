//! The Wycheproof vectors for JSON Web Signatures, keys and encryption (`wycheproof/SOURCE.md`): whatever is invalid is refused, and whatever is valid
//! and signed with an algorithm of ours is accepted. What is left are algorithms that are not ours, each by its name.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::jwks::KeySet;
use crate::jws::Jws;

const SIGNATURES: &str = include_str!("wycheproof/json_web_signature_test.json");
const KEYS: &str = include_str!("wycheproof/json_web_key_test.json");
const CRYPTO: &str = include_str!("wycheproof/json_web_crypto_test.json");

/// What tokens may be signed with.
const OURS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// Valid vectors that are refused, by their algorithm: why, and how many of each there are.
const NOT_OURS: [(&str, &str); 10] = [
    ("HS256", "a symmetric key: whoever verifies could make tokens"),
    ("HS384", "a symmetric key: whoever verifies could make tokens"),
    ("HS512", "a symmetric key: whoever verifies could make tokens"),
    ("RS384", "one algorithm for each type of key: RS256"),
    ("RS512", "one algorithm for each type of key: RS256"),
    ("PS256", "one algorithm for each type of key: RS256"),
    ("PS384", "one algorithm for each type of key: RS256"),
    ("PS512", "one algorithm for each type of key: RS256"),
    ("ES512", "one algorithm for each type of key: ES256"),
    ("encryption", "an encrypted token (JWE): none is accepted"),
];

/// The JWS level alone: is this token signed by a key of this set?
fn verify_jws(keys: &KeySet, token: &str) -> Result<(), String> {
    let jws = Jws::parse(token).map_err(|refusal| refusal.detail)?;
    keys.verify(&jws).map(|_| ()).map_err(|refusal| refusal.detail)
}

fn token_of(test: &Value) -> String {
    let token = test.get("jws").or_else(|| test.get("jwe")).unwrap();
    token.as_str().map_or_else(|| token.to_string(), str::to_owned)
}

/// By a key set of a file, and by one that a provider publishes, which say the same of each single key.
fn judge(group: &Value, test: &Value) -> Result<(), String> {
    let key = group.get("public").or_else(|| group.get("private")).unwrap();
    let set = if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) };
    let (text, token) = (set.to_string(), token_of(test));
    let fixed = match KeySet::parse(&text) {
        Ok(keys) => verify_jws(&keys, &token),
        Err(problems) => Err(problems[0].to_string()),
    };
    let published = match KeySet::parse_published(&text) {
        Ok((keys, _)) => verify_jws(&keys, &token),
        Err(problems) => Err(problems[0].to_string()),
    };
    assert_eq!(fixed.is_ok(), published.is_ok(), "vector {}: {fixed:?}, {published:?}", test["tcId"]);
    fixed
}

/// What a valid vector is signed or encrypted with, as it says, or as its key does where its header is not what may be sent.
fn algorithm(group: &Value, test: &Value) -> String {
    if test.get("jwe").is_some() {
        return "encryption".to_owned();
    }
    let token = token_of(test);
    let header = BASE64URL_NOPAD.decode(token.split('.').next().unwrap().as_bytes()).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    let key = group.get("public").or_else(|| group.get("private")).unwrap();
    header.get("alg").or_else(|| key.get("alg")).and_then(Value::as_str).unwrap().to_owned()
}

/// How many of one file were accepted, refused as invalid, and left out for their algorithm.
fn check(name: &str, vectors: &str, accepted: usize, refused: usize, left_out: usize) {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let mut found = (0, 0, BTreeMap::<String, usize>::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            let about = format!("{name}: vector {} ({})", test["tcId"], test["comment"]);
            match (judge(group, test), test["result"].as_str().unwrap()) {
                (Ok(()), "valid") => found.0 += 1,
                (Ok(()), other) => panic!("{about} is {other} and passes"),
                (Err(_), "invalid") => found.1 += 1,
                (Err(reason), "valid") => {
                    let algorithm = algorithm(group, test);
                    assert!(!OURS.contains(&&*algorithm), "{about} is valid, and refused: {reason}");
                    *found.2.entry(algorithm).or_default() += 1;
                }
                (Err(_), other) => panic!("{about} is {other}, which is neither valid nor invalid"),
            }
        }
    }
    for (algorithm, count) in &found.2 {
        let why = NOT_OURS.iter().find(|(known, _)| known == algorithm).map(|(_, why)| why);
        let why = why.unwrap_or_else(|| panic!("{name}: {algorithm} is left out for no reason"));
        eprintln!("{name}: {count} valid vectors of {algorithm} are refused: {why}");
    }
    let counted = (found.0, found.1, found.2.values().sum::<usize>());
    assert_eq!(counted, (accepted, refused, left_out), "{name}");
    assert_eq!(vectors["numberOfTests"], accepted + refused + left_out, "{name}");
}

#[test]
fn every_invalid_signature_is_refused_and_every_valid_one_of_our_algorithms_accepted() {
    check("signatures", SIGNATURES, 10, 355, 36);
}

#[test]
fn no_key_that_is_weak_or_for_something_else_verifies() {
    check("keys", KEYS, 1, 21, 4);
}

#[test]
fn signatures_that_are_encryption_or_of_mixed_sets_are_refused() {
    check("crypto", CRYPTO, 2, 77, 4);
}
