//! Tokens that are bound to their holder, as requests present them.

use portcullis_policy::CanonicalPath;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::client_certificate::ClientCertificate;
use crate::presenting::{Presenting, ProofOffer, Proven};
use crate::proof::ProofTarget;
use crate::refusal::Challenge;
use crate::remote::Patience;
use crate::secret::sha256;
use crate::settings::{Bound, DpopSettings};

fn certificate(years: std::ops::Range<i32>) -> ClientCertificate {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(years.start, 1, 1);
    params.not_after = date_time_ymd(years.end, 1, 1);
    let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    ClientCertificate::read(signed.der())
}

fn hash_of(certificate: &ClientCertificate) -> String {
    BASE64URL_NOPAD.encode(&data_encoding::HEXLOWER.decode(certificate.sha256().as_bytes()).unwrap())
}

/// The thumbprint of an Ed25519 key (RFC 8037 appendix A.3).
fn thumbprint(signer: &Signer) -> String {
    let x = signer.jwk()["x"].as_str().unwrap().to_owned();
    BASE64URL_NOPAD.encode(&sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()))
}

fn proof(signer: &Signer, token: &str, id: &str) -> String {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let claims = json!({
        "jti": id, "htm": "GET", "htu": "https://api.test/a", "iat": NOW,
        "ath": BASE64URL_NOPAD.encode(&sha256(token.as_bytes())),
    });
    signer.sign_with(&json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk }), claims.to_string().as_bytes())
}

fn headers(scheme: &str, token: &str, proof: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::try_from(format!("{scheme} {token}")).unwrap());
    proof.map(|proof| headers.insert("dpop", HeaderValue::from_str(proof).unwrap()));
    headers
}

/// Who it is, or what is wrong.
fn told(identity: &Identity) -> String {
    match identity {
        Identity::Verified(principal) => principal.reference(),
        Identity::Rejected(rejection) => {
            let challenge = rejection.challenge.as_ref().map(|challenge| format!(" {challenge:?}"));
            format!("{:?}{}: {}", rejection.problem.kind, challenge.unwrap_or_default(), rejection.problem.detail)
        }
        other => format!("{other:?}"),
    }
}

struct World {
    authenticator: Authenticator,
    signer: Signer,
}

impl World {
    fn new(require: Bound, dpop: DpopSettings) -> Self {
        let signer = Signer::ed25519("k");
        let provider = JwtProvider { require, ..provider("corporate", &signer.jwks()) };
        let settings = Settings { jwt: vec![provider], dpop, ..Settings::default() };
        Self { authenticator: Authenticator::new(settings).unwrap(), signer }
    }

    fn ask(&self, headers: &HeaderMap, certificate: Option<&ClientCertificate>, proven: Option<&Proven>) -> String {
        let path = CanonicalPath::parse("/a").unwrap();
        let target = ProofTarget { method: "GET", scheme: "https", host: "api.test", port: None, path: &path };
        let patience = Patience::Request;
        let presenting = Presenting { certificate, target: Some(target), proven, seen: None, patience };
        told(&self.authenticator.authenticate_with(headers, at(NOW), &presenting).settled())
    }
}

#[test]
fn a_token_that_is_bound_to_a_certificate_needs_that_very_one() {
    let world = World::new(Bound::Unbound, DpopSettings::default());
    let (own, other, old) = (certificate(2020..2040), certificate(2020..2040), certificate(2020..2021));
    let token = |certificate: &ClientCertificate| {
        world.signer.sign(&changed(json!({ "cnf": { "x5t#S256": hash_of(certificate) } })))
    };
    let bound = headers("Bearer", &token(&own), None);
    // Twice: the second time from the cache.
    for _ in 0..2 {
        assert_eq!(world.ask(&bound, Some(&own), None), "user:alice");
        let found = world.ask(&bound, Some(&other), None);
        assert!(found.starts_with("Invalid: the token is bound to another client certificate"), "{found}");
        let found = world.ask(&bound, None, None);
        assert!(found.starts_with("CertificateRequired: "), "{found}");
    }
    let found = world.ask(&headers("Bearer", &token(&old), None), Some(&old), None);
    assert!(found.starts_with("Expired: "), "one that has expired since the handshake: {found}");
    let found = world.ask(&headers("Bearer", &token(&own), None), Some(&old), None);
    assert!(found.starts_with("Invalid: "), "another one that has expired, too: {found}");
    let found = world.ask(&headers("DPoP", &token(&own), Some("x")), Some(&own), None);
    assert!(found.starts_with("Invalid BadToken: the token is bound to no key"), "{found}");
}

#[test]
fn a_token_that_is_bound_to_a_key_needs_a_proof_each_time() {
    let world = World::new(Bound::Unbound, DpopSettings::default());
    let holder = Signer::ed25519("holder");
    let token = world.signer.sign(&changed(json!({ "cnf": { "jkt": thumbprint(&holder) } })));
    let first = headers("DPoP", &token, Some(&proof(&holder, &token, "1")));
    let proven = Proven::default();
    assert_eq!(world.ask(&first, None, Some(&proven)), "user:alice");
    let found = world.ask(&first, None, None);
    assert!(found.starts_with("Invalid BadProof: the proof was used before"), "{found}");
    // What goes on is not asked for a new one; and another request is, whatever it is accepted by.
    assert_eq!(world.ask(&first, None, Some(&proven)), "user:alice");
    let other = Proven::default();
    assert_eq!(world.ask(&headers("Bearer", &world.signer.sign(&claims()), None), None, Some(&other)), "user:alice");
    assert!(world.ask(&first, None, Some(&other)).starts_with("Invalid BadProof: the proof was used before"));
    // Nor is another token of the same key proven by it.
    let second = world.signer.sign(&changed(json!({ "cnf": { "jkt": thumbprint(&holder) }, "jti": "second" })));
    let stolen = headers("DPoP", &second, None);
    assert!(world.ask(&stolen, None, Some(&proven)).starts_with("Invalid BadProof: the token is bound to a key"));
    assert_eq!(world.ask(&headers("dpop", &token, Some(&proof(&holder, &token, "2"))), None, None), "user:alice");
    for (headers, expected) in [
        (headers("Bearer", &token, None), "Invalid BadToken: the token is bound to a key, and came as a bearer"),
        (
            headers("Bearer", &token, Some(&proof(&holder, &token, "3"))),
            "Invalid BadToken: the token is bound to a key",
        ),
        (headers("DPoP", &token, None), "Invalid BadProof: the token is bound to a key, and no `dpop`"),
        (
            headers("DPoP", &token, Some(&proof(&Signer::ed25519("thief"), &token, "4"))),
            "Invalid BadProof: the proof's key is not",
        ),
    ] {
        let found = world.ask(&headers, None, None);
        assert!(found.starts_with(expected), "{found}");
        // Who has proven it once does not get through as a bearer, either.
        assert_eq!(world.ask(&headers, None, Some(&proven)).starts_with("Invalid"), expected.contains("BadToken"));
    }
    // Without a target nothing is proven.
    let third = headers("DPoP", &token, Some(&proof(&holder, &token, "5")));
    let found = told(&world.authenticator.authenticate(&third, at(NOW)).settled());
    assert!(found.starts_with("Invalid BadProof"), "{found}");
}

#[test]
fn an_unbound_token_is_no_token_for_proofs_and_an_unknown_binding_is_no_bearer() {
    let world = World::new(Bound::Unbound, DpopSettings::default());
    let holder = Signer::ed25519("holder");
    let token = world.signer.sign(&claims());
    let shown = headers("DPoP", &token, Some(&proof(&holder, &token, "1")));
    let found = world.ask(&shown, None, None);
    assert!(found.starts_with("Invalid BadToken: the token is bound to no key"), "{found}");
    // A stray proof harms no bearer token.
    assert_eq!(world.ask(&headers("Bearer", &token, Some("stray")), None, None), "user:alice");
    let token = world.signer.sign(&changed(json!({ "cnf": { "kid": "device key" } })));
    let found = world.ask(&headers("Bearer", &token, None), None, None);
    assert!(found.contains("not understood"), "{found}");
}

#[test]
fn what_is_bound_to_both_needs_both() {
    let world = World::new(Bound::Either, DpopSettings::default());
    let (own, holder) = (certificate(2020..2040), Signer::ed25519("holder"));
    let bound = json!({ "cnf": { "x5t#S256": hash_of(&own), "jkt": thumbprint(&holder) } });
    let token = world.signer.sign(&changed(bound));
    let shown = |id: &str| headers("DPoP", &token, Some(&proof(&holder, &token, id)));
    assert!(world.ask(&shown("1"), None, None).starts_with("CertificateRequired"));
    assert_eq!(world.ask(&shown("1"), Some(&own), None), "user:alice");
    assert!(world.ask(&headers("Bearer", &token, None), Some(&own), None).starts_with("Invalid BadToken"));
}

#[test]
fn a_provider_that_demands_a_binding_takes_no_bearer_token() {
    for (require, offer) in [
        (Bound::Unbound, ProofOffer::Unasked),
        (Bound::Mtls, ProofOffer::Unasked),
        (Bound::Dpop, ProofOffer::Only),
        (Bound::Either, ProofOffer::Beside),
    ] {
        let world = World::new(require, DpopSettings::default());
        let found = world.ask(&headers("Bearer", &world.signer.sign(&claims()), None), None, None);
        assert_eq!(found == "user:alice", require == Bound::Unbound, "{require:?}: {found}");
        assert!(found == "user:alice" || found.contains("must be bound to"), "{found}");
        assert_eq!(world.authenticator.proof_offer(), offer);
    }
    assert_eq!(Authenticator::new(Settings::default()).unwrap().proof_offer(), ProofOffer::Unasked);
}

#[test]
fn a_proof_that_cannot_be_remembered_is_undecided_and_never_a_refusal() {
    let world = World::new(Bound::Unbound, DpopSettings { remembered: 1, ..DpopSettings::default() });
    let holder = Signer::ed25519("holder");
    let token = world.signer.sign(&changed(json!({ "cnf": { "jkt": thumbprint(&holder) } })));
    let shown = |id: &str| headers("DPoP", &token, Some(&proof(&holder, &token, id)));
    assert_eq!(world.ask(&shown("1"), None, None), "user:alice");
    let found = world.ask(&shown("2"), None, None);
    assert!(found.starts_with("Unavailable(Store, "), "{found}");
}

#[test]
fn a_nonce_comes_with_the_challenge() {
    let world = World::new(Bound::Dpop, DpopSettings { nonce: true, ..DpopSettings::default() });
    let holder = Signer::ed25519("holder");
    let token = world.signer.sign(&changed(json!({ "cnf": { "jkt": thumbprint(&holder) } })));
    let shown = headers("DPoP", &token, Some(&proof(&holder, &token, "1")));
    let path = CanonicalPath::parse("/a").unwrap();
    let target = ProofTarget { method: "GET", scheme: "https", host: "api.test", port: None, path: &path };
    let presenting = Presenting { target: Some(target), ..Presenting::nothing(Patience::Request) };
    let identity = world.authenticator.authenticate_with(&shown, at(NOW), &presenting).settled();
    assert!(matches!(identity.challenge(), Some(Challenge::UseNonce(nonce)) if !nonce.is_empty()), "{identity:?}");
}
