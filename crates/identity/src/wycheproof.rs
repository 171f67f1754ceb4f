//! The Wycheproof vectors for JSON Web Signatures, where they are at hand.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::jwks::KeySet;
use crate::jws::Jws;

/// Every valid vector of an algorithm that we accept. All other valid ones are refused because their algorithm (HMAC,
/// PSS, SHA-384, SHA-512, P-521) is not accepted, by name.
const ACCEPTED: [u64; 10] = [18, 33, 259, 260, 261, 262, 263, 345, 349, 378];

fn vectors() -> Option<Value> {
    let folder = std::env::var_os("PORTCULLIS_SHARED_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = folder.join("wycheproof/json_web_signature_test.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no Wycheproof vectors at {}", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// The JWS level alone: is this token signed by a key of this set?
fn verify_jws(keys: &KeySet, token: &str) -> Result<(), String> {
    let jws = Jws::parse(token).map_err(|refusal| refusal.detail)?;
    keys.verify(&jws).map(|_| ()).map_err(|refusal| refusal.detail)
}

fn judge(group: &Value, test: &Value) -> Result<(), String> {
    let key = group.get("public").or_else(|| group.get("private")).unwrap();
    let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
    match KeySet::parse(&json!({ "keys": [key] }).to_string()) {
        Ok(keys) => verify_jws(&keys, &token),
        Err(problems) => Err(problems[0].to_string()),
    }
}

#[test]
fn every_invalid_vector_fails_and_every_valid_one_of_our_algorithms_passes() {
    let Some(vectors) = vectors() else { return };
    let mut accepted = Vec::new();
    let mut refused = 0;
    for group in vectors["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            match (judge(group, test), test["result"].as_str().unwrap()) {
                (Ok(()), "valid") => accepted.push(id),
                (Ok(()), other) => panic!("vector {id} is {other} and passes: {}", test["comment"]),
                (Err(_), "invalid") => refused += 1,
                (Err(reason), _) => {
                    let named = ["is not accepted", "public keys only", "no key for"];
                    assert!(named.iter().any(|policy| reason.contains(policy)), "vector {id}: {reason}");
                }
            }
        }
    }
    assert_eq!(accepted, ACCEPTED);
    assert!(refused > 350, "only {refused} invalid vectors were seen");
}
