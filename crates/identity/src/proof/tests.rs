use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use portcullis_policy::{CanonicalPath, CredentialProblemKind as Kind};
use serde_json::{Value, json};

use super::{ProofTarget, Proofs, Unproven};
use crate::jws::ProofJws;
use crate::refusal::Challenge;
use crate::secret::sha256;
use crate::settings::{DpopSettings, ProofAlgorithm};
use crate::signer::Signer;

const NOW: i64 = 1_800_000_000;
const TOKEN: &[u8] = b"the access token";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

/// The public half as a proof has it: without a name.
fn jwk(signer: &Signer) -> Value {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

fn thumbprint(signer: &Signer) -> [u8; 32] {
    ProofJws::parse(&proof(signer, &header(signer), &claims())).unwrap().thumbprint
}

fn header(signer: &Signer) -> Value {
    json!({ "typ": "dpop+jwt", "alg": signer.header()["alg"], "jwk": jwk(signer) })
}

fn claims() -> Value {
    json!({
        "jti": "first", "htm": "GET", "htu": "https://api.test/a", "iat": NOW,
        "ath": BASE64URL_NOPAD.encode(&sha256(TOKEN)),
    })
}

/// The value, some of its members changed; `null` removes one.
fn changed(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

fn proof(signer: &Signer, header: &Value, claims: &Value) -> String {
    signer.sign_with(header, claims.to_string().as_bytes())
}

/// What a proof comes to: `None` where it is good.
fn judge(proofs: &Proofs, signer: &Signer, values: &[&str], now: i64) -> Option<(Kind, String, Option<Challenge>)> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("dpop", HeaderValue::from_str(value).unwrap());
    }
    let path = CanonicalPath::parse("/a").unwrap();
    let target = ProofTarget { method: "GET", scheme: "https", host: "api.test", port: None, path: &path };
    match proofs.check(&headers, &thumbprint(signer), &sha256(TOKEN), Some(&target), at(now)) {
        Ok(()) => None,
        Err(Unproven::Bad(refusal, challenge)) => Some((refusal.kind, refusal.detail, challenge)),
        Err(Unproven::Full) => Some((Kind::Invalid, "full".to_owned(), None)),
    }
}

fn proofs(settings: DpopSettings) -> Proofs {
    Proofs::new(&settings)
}

#[test]
fn a_good_proof_of_each_algorithm_is_good_once() {
    for signer in [Signer::p256("k"), Signer::ed25519("k"), Signer::rsa("k")] {
        let proofs = proofs(DpopSettings::default());
        let proof = proof(&signer, &header(&signer), &claims());
        assert_eq!(judge(&proofs, &signer, &[&proof], 0), None);
        let (kind, detail, challenge) = judge(&proofs, &signer, &[&proof], 1).unwrap();
        assert!(detail.contains("used before"), "{detail}");
        assert_eq!((kind, challenge), (Kind::Invalid, Some(Challenge::BadProof)));
    }
}

#[test]
fn a_proof_of_before_the_start_is_good_with_a_nonce_of_this_process_alone() {
    let signer = Signer::ed25519("k");
    let mut own = proofs(DpopSettings::default());
    own.begin_after(at(0));
    let with = |id: &str, made: i64, nonce: Option<&str>| {
        let changes = json!({ "jti": id, "iat": NOW + made, "nonce": nonce });
        proof(&signer, &header(&signer), &changed(claims(), &changes))
    };
    let (kind, _, challenge) = judge(&own, &signer, &[&with("a", 0, None)], 1).unwrap();
    let Some(Challenge::UseNonce(nonce)) = challenge else { panic!("{challenge:?}") };
    assert_eq!(kind, Kind::Expired);
    assert_eq!(judge(&own, &signer, &[&with("b", 1, None)], 1), None, "the second after it");
    // With a nonce that another process gave, it may have been used there.
    let foreign = proofs(DpopSettings { nonce: true, ..DpopSettings::default() });
    let (_, _, challenge) = judge(&foreign, &signer, &[&with("c", -5, None)], 1).unwrap();
    let Some(Challenge::UseNonce(given)) = challenge else { panic!("{challenge:?}") };
    assert_eq!(judge(&foreign, &signer, &[&with("d", -5, Some(&given))], 1), None);
    assert!(judge(&own, &signer, &[&with("d", -5, Some(&given))], 1).is_some());
    // As a client makes another one by itself.
    assert_eq!(judge(&own, &signer, &[&with("f", -5, Some(&nonce))], 1), None);
    assert!(judge(&own, &signer, &[&with("f", -5, Some(&nonce))], 1).unwrap().1.contains("used before"));
    // A reload changes nothing of it.
    let mut next = proofs(DpopSettings { max_age: Duration::from_secs(600), ..DpopSettings::default() });
    next.adopt(&own);
    own = next;
    assert!(matches!(judge(&own, &signer, &[&with("g", 0, None)], 1), Some((_, _, Some(Challenge::UseNonce(_))))));
}

#[test]
fn the_examples_of_the_standards_hold() {
    // RFC 7638 section 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
             oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5\
             hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let rsa = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let (_, named) = crate::jwks::VerificationKey::of_proof(&rsa).unwrap();
    assert_eq!(BASE64URL_NOPAD.encode(&named), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // RFC 9449 sections 6.1 and 7.1.
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQ\
                 yVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWoz\
                 Vl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2\
                 MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1p\
                 lemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let jws = ProofJws::parse(proof).unwrap();
    assert_eq!(BASE64URL_NOPAD.encode(&jws.thumbprint), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    let path = CanonicalPath::parse("/protectedresource").unwrap();
    let target = ProofTarget { method: "GET", scheme: "https", host: "resource.example.org", port: None, path: &path };
    let mut headers = HeaderMap::new();
    headers.append("dpop", HeaderValue::from_str(proof).unwrap());
    let token = sha256(b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    let now = Timestamp::from_second(1_562_262_618).unwrap();
    let proofs = proofs(DpopSettings::default());
    assert!(proofs.check(&headers, &jws.thumbprint, &token, Some(&target), now).is_ok());
}

#[test]
fn each_changed_member_of_the_header_is_refused() {
    let signer = Signer::p256("k");
    let (other, ed) = (Signer::p256("k"), Signer::ed25519("k"));
    let proofs = proofs(DpopSettings::default());
    let private = |member: &str| changed(jwk(&signer), &json!({ member: "AAAA" }));
    for (changes, expected) in [
        (json!({ "typ": null }), "`typ` is not"),
        (json!({ "typ": "JWT" }), "`typ` is not"),
        (json!({ "typ": "at+jwt" }), "`typ` is not"),
        (json!({ "typ": "DPoP+JWT" }), "`typ` is not"),
        (json!({ "typ": 7 }), "`typ` is not"),
        (json!({ "alg": null }), "no `alg`"),
        (json!({ "alg": "none" }), "`none` is not accepted"),
        (json!({ "alg": "HS256" }), "`HS256` is not accepted"),
        (json!({ "alg": "ES384" }), "`ES384` is not accepted"),
        (json!({ "alg": "EdDSA" }), "key is not meant"),
        (json!({ "alg": "RS256" }), "key is not meant"),
        (json!({ "jwk": null }), "no `jwk`"),
        (json!({ "jwk": {} }), "not for RS256"),
        (json!({ "jwk": "key" }), "`jwk`"),
        (json!({ "jwk": { "kty": "oct", "k": "AAAA" } }), "public key"),
        (json!({ "jwk": private("d") }), "public key"),
        (json!({ "jwk": private("k") }), "public key"),
        (json!({ "jwk": changed(jwk(&signer), &json!({ "x": "AAAA" })) }), "32 bytes"),
        (json!({ "jwk": changed(jwk(&signer), &json!({ "use": "enc" })) }), "not for RS256"),
        (json!({ "jwk": jwk(&other) }), "not the one that the token is bound to"),
        (json!({ "jwk": jwk(&ed) }), "key is not meant"),
        (json!({ "alg": "EdDSA", "jwk": jwk(&ed) }), "not the one that the token is bound to"),
        (json!({ "jku": "https://evil.test" }), "`jku`"),
        (json!({ "x5u": "https://evil.test" }), "`x5u`"),
        (json!({ "x5c": [] }), "`x5c`"),
        (json!({ "crit": ["exp"] }), "`crit`"),
        (json!({ "zip": "DEF" }), "`zip`"),
        (json!({ "enc": "A128GCM" }), "`enc`"),
    ] {
        let proof = proof(&signer, &changed(header(&signer), &changes), &claims());
        let (kind, detail, challenge) = judge(&proofs, &signer, &[&proof], 0).unwrap_or_else(|| panic!("{changes}"));
        assert!(detail.contains(expected), "{changes}: {detail}");
        assert_eq!((kind, challenge), (Kind::Invalid, Some(Challenge::BadProof)), "{changes}");
    }
    // The key of somebody else under the name of this one.
    let forged = other.sign_with(&header(&signer), claims().to_string().as_bytes());
    assert!(judge(&proofs, &signer, &[&forged], 0).unwrap().1.contains("signature"));
    // None of them has used up the proof.
    assert_eq!(judge(&proofs, &signer, &[&proof(&signer, &header(&signer), &claims())], 0), None);
}

#[test]
fn each_changed_claim_is_refused() {
    let signer = Signer::ed25519("k");
    let proofs = proofs(DpopSettings::default());
    let other_token = BASE64URL_NOPAD.encode(&sha256(b"another token"));
    for (changes, kind, expected) in [
        (json!({ "htm": null }), Kind::Invalid, "no `htm`"),
        (json!({ "htm": "POST" }), Kind::Invalid, "for the method `POST`"),
        (json!({ "htm": "get" }), Kind::Invalid, "for the method `get`"),
        (json!({ "htm": ["GET"] }), Kind::Invalid, "`htm` is not a string"),
        (json!({ "htu": null }), Kind::Invalid, "no `htu`"),
        (json!({ "htu": "https://api.test/b" }), Kind::Invalid, "and this is https://api.test/a"),
        (json!({ "htu": "http://api.test/a" }), Kind::Invalid, "the proof is for"),
        (json!({ "htu": "https://other.test/a" }), Kind::Invalid, "the proof is for"),
        (json!({ "htu": "/a" }), Kind::Invalid, "the proof is for"),
        (json!({ "htu": 7 }), Kind::Invalid, "`htu` is not a string"),
        (json!({ "ath": null }), Kind::Invalid, "no `ath`"),
        (json!({ "ath": "" }), Kind::Invalid, "another token"),
        (json!({ "ath": other_token }), Kind::Invalid, "another token"),
        (json!({ "ath": true }), Kind::Invalid, "`ath` is not a string"),
        (json!({ "jti": null }), Kind::Invalid, "no `jti`"),
        (json!({ "jti": "" }), Kind::Invalid, "`jti` is empty"),
        (json!({ "jti": "x".repeat(257) }), Kind::Invalid, "longer than 256"),
        (json!({ "jti": 7 }), Kind::Invalid, "`jti` is not a string"),
        (json!({ "iat": null }), Kind::Invalid, "no `iat`"),
        (json!({ "iat": "now" }), Kind::Invalid, "not a number"),
        (json!({ "iat": NOW * 1000 }), Kind::Invalid, "beyond the year"),
        (json!({ "iat": NOW - 61 }), Kind::Expired, "too long ago"),
        (json!({ "iat": NOW + 31 }), Kind::NotYetValid, "yet to come"),
    ] {
        let proof = proof(&signer, &header(&signer), &changed(claims(), &changes));
        let (found, detail, challenge) = judge(&proofs, &signer, &[&proof], 0).unwrap_or_else(|| panic!("{changes}"));
        assert!(detail.contains(expected), "{changes}: {detail}");
        assert_eq!((found, challenge), (kind, Some(Challenge::BadProof)), "{changes}");
    }
    for payload in [&b"{}"[..], b"[]", b"", br#"{"htm":"GET","htm":"GET"}"#] {
        let proof = signer.sign_with(&header(&signer), payload);
        assert!(judge(&proofs, &signer, &[&proof], 0).is_some());
    }
    // The borders, each once.
    for (number, iat) in [NOW - 60, NOW + 30, NOW].into_iter().enumerate() {
        let claims = changed(claims(), &json!({ "iat": iat, "jti": format!("border {number}") }));
        assert_eq!(judge(&proofs, &signer, &[&proof(&signer, &header(&signer), &claims)], 0), None, "{iat}");
    }
}

#[test]
fn exactly_one_proof_is_looked_at() {
    let signer = Signer::ed25519("k");
    let proofs = proofs(DpopSettings::default());
    let good = proof(&signer, &header(&signer), &claims());
    let second = proof(&signer, &header(&signer), &changed(claims(), &json!({ "jti": "second" })));
    let long = "x".repeat(8 * 1024 + 1);
    let listed = format!("{good}, {second}");
    for (values, kind, expected) in [
        (&[][..], Kind::Invalid, "no `dpop` header"),
        (&[&*good, &*second], Kind::Ambiguous, "two `dpop` headers"),
        (&[&*good, &*good], Kind::Ambiguous, "two `dpop` headers"),
        (&[""], Kind::Invalid, "three parts"),
        (&[&*listed], Kind::Invalid, "are not accepted"),
        (&[&*long], Kind::Invalid, "longer than 8192"),
    ] {
        let (found, detail, challenge) = judge(&proofs, &signer, values, 0).unwrap();
        assert!(detail.contains(expected), "{detail}");
        assert_eq!((found, challenge), (kind, Some(Challenge::BadProof)));
    }
    assert_eq!(judge(&proofs, &signer, &[&good], 0), None);
}

#[test]
fn algorithms_can_be_left_out() {
    let settings = DpopSettings { algorithms: vec![ProofAlgorithm::Es256], ..DpopSettings::default() };
    let proofs = proofs(settings);
    assert_eq!(proofs.algorithms(), "ES256");
    for (signer, expected) in [(Signer::p256("k"), true), (Signer::ed25519("k"), false)] {
        let found = judge(&proofs, &signer, &[&proof(&signer, &header(&signer), &claims())], 0);
        assert_eq!(found.is_none(), expected, "{found:?}");
    }
}

#[test]
fn a_nonce_is_demanded_given_and_accepted() {
    let signer = Signer::p256("k");
    let settings = DpopSettings { nonce: true, ..DpopSettings::default() };
    let mut proofs = proofs(settings.clone());
    let with = |nonce: Value, iat: i64| {
        let claims = changed(claims(), &json!({ "nonce": nonce, "iat": NOW + iat, "jti": format!("{nonce} {iat}") }));
        proof(&signer, &header(&signer), &claims)
    };
    let (kind, detail, challenge) = judge(&proofs, &signer, &[&with(Value::Null, 0)], 0).unwrap();
    assert!(detail.contains("no nonce yet"), "{detail}");
    let Some(Challenge::UseNonce(nonce)) = challenge else { panic!("{challenge:?}") };
    // It happens to every honest caller, so it is nothing that bans.
    assert_eq!(kind, Kind::Expired);
    let nonce = json!(&*nonce);
    assert_eq!(judge(&proofs, &signer, &[&with(nonce.clone(), 0)], 0), None);
    assert_eq!(judge(&proofs, &signer, &[&with(nonce.clone(), 300)], 300), None);
    // A reload goes on with those that were given.
    let mut reloaded = Proofs::new(&settings);
    reloaded.adopt(&proofs);
    assert!(judge(&reloaded, &signer, &[&with(nonce.clone(), 300)], 300).unwrap().1.contains("used before"));
    // Also where the clock was set back: it is known still, or as old as those that were forgotten.
    let (_, detail, _) = judge(&reloaded, &signer, &[&with(nonce.clone(), 0)], 1).unwrap();
    assert!(detail.contains("used before") || detail.contains("too long ago"), "{detail}");
    assert_eq!(judge(&reloaded, &signer, &[&with(nonce.clone(), 1)], 1), None);
    proofs = reloaded;
    let (kind, _, challenge) = judge(&proofs, &signer, &[&with(nonce, 301)], 301).unwrap();
    assert!(matches!((kind, challenge), (Kind::Expired, Some(Challenge::UseNonce(_)))));
    let (kind, _, challenge) = judge(&proofs, &signer, &[&with(json!(7), 0)], 0).unwrap();
    assert!(matches!((kind, challenge), (Kind::Invalid, Some(Challenge::UseNonce(_)))));
}

#[test]
fn where_no_proof_can_be_remembered_none_is_accepted() {
    let signer = Signer::ed25519("k");
    let settings = DpopSettings { remembered: 16, max_age: Duration::from_secs(10), ..DpopSettings::default() };
    let proofs = proofs(settings);
    let with = |id: &str, iat: i64| {
        proof(&signer, &header(&signer), &changed(claims(), &json!({ "jti": id, "iat": NOW + iat })))
    };
    assert_eq!(judge(&proofs, &signer, &[&with("a", 0)], 0), None);
    assert_eq!(judge(&proofs, &signer, &[&with("b", 0)], 0), None);
    // An eighth of them, for one holder.
    assert_eq!(judge(&proofs, &signer, &[&with("c", 0)], 0).unwrap().1, "full");
    assert!(judge(&proofs, &signer, &[&with("a", 0)], 0).unwrap().1.contains("used before"));
    // Once the first ones could not be used any more. One that finds no room makes some for the next one; one that comes to the table of
    // one of them has room at once, and the next one none.
    let later = 10 + 30 + 2;
    assert!(["d", "e"].iter().any(|id| judge(&proofs, &signer, &[&with(id, later)], later).is_none()));
}

#[test]
fn a_refusal_repeats_neither_the_proof_nor_the_key() {
    let signer = Signer::p256("k");
    let proofs = proofs(DpopSettings::default());
    let bad = proof(&signer, &header(&signer), &changed(claims(), &json!({ "ath": "x" })));
    let (_, detail, _) = judge(&proofs, &signer, &[&bad], 0).unwrap();
    let signature = bad.rsplit('.').next().unwrap().to_owned();
    assert!(!detail.contains(&signature) && !detail.contains(jwk(&signer)["x"].as_str().unwrap()), "{detail}");
}

#[test]
fn a_reload_that_lets_proofs_become_older_makes_no_used_one_good_again() {
    let signer = Signer::ed25519("k");
    let lasting = |seconds| DpopSettings { max_age: Duration::from_secs(seconds), ..DpopSettings::default() };
    let first = proofs(lasting(10));
    let with = |id: &str, iat: i64| {
        proof(&signer, &header(&signer), &changed(claims(), &json!({ "jti": id, "iat": NOW + iat })))
    };
    let used = with("a", 0);
    assert_eq!(judge(&first, &signer, &[&used], 0), None);
    let mut longer = Proofs::new(&lasting(600));
    longer.adopt(&first);
    // As many as there are places in the memory, so that the one with the used proof has forgotten it.
    for number in 0..1_000 {
        let _ = judge(&longer, &signer, &[&with(&number.to_string(), 12)], 12);
    }
    let (kind, detail, _) = judge(&longer, &signer, &[&used], 13).unwrap();
    assert!(kind == Kind::Expired && detail.contains("too long ago"), "{kind:?} {detail}");
}

#[test]
fn the_query_of_an_address_is_told_to_nobody() {
    let signer = Signer::ed25519("k");
    let proofs = proofs(DpopSettings::default());
    let address = "https://someone:canary-1@elsewhere.test/a?code=canary-2#canary-3";
    let bad = proof(&signer, &header(&signer), &changed(claims(), &json!({ "htu": address })));
    let (_, detail, _) = judge(&proofs, &signer, &[&bad], 0).unwrap();
    assert!(detail.contains("elsewhere.test/a") && !detail.contains("canary"), "{detail}");
}
