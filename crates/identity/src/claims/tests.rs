use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_policy::{Device, PrincipalKind};
use serde_json::{Value, json};

use super::ClaimReader;
use crate::namespace::Namespace;
use crate::refusal::Refusal;
use crate::settings::{Bound, ClaimNames, JwtProvider, KeySource, TokenTypes};
use portcullis_policy::Principal;

fn read(mut claims: Value) -> Result<Principal, Refusal> {
    let settings = JwtProvider {
        name: Arc::from("corporate"),
        issuer: "https://login.example".to_owned(),
        audiences: vec!["billing".to_owned()],
        keys: KeySource::Text(Arc::from("")),
        claims: ClaimNames::default(),
        principal: PrincipalKind::User,
        prefix: "corp:".to_owned(),
        trust_groups: vec!["hr".to_owned()],
        leeway: Duration::from_secs(30),
        require: Bound::Unbound,
        types: TokenTypes::Access,
    };
    let reader = ClaimReader::new(&settings, Namespace::new("corp:", ["", "corp:", "corp:lab:"]));
    if claims.get("sub").is_none() {
        claims["sub"] = json!("alice");
    }
    if claims["sub"].is_null() {
        claims.as_object_mut().unwrap().remove("sub");
    }
    reader.principal(claims.as_object().unwrap(), Some("key-1"), Timestamp::UNIX_EPOCH)
}

#[test]
fn every_claim_finds_its_place() {
    let principal = read(json!({
        "sub": "Zoë, the first", "name": "Zoë", "email": "zoe@example.com", "groups": ["hr", "staff, all"],
        "device_id": "d-9", "device_compliant": false, "acr": "urn:pwd", "amr": ["pwd", "otp"], "auth_time": 1000.5,
    }))
    .unwrap();
    assert_eq!(principal.reference(), "user:corp:Zoë, the first");
    assert_eq!((principal.name.as_deref(), principal.email.as_deref()), (Some("Zoë"), Some("zoe@example.com")));
    let groups: Vec<_> = principal.groups.iter().map(|group| (&*group.name, group.trusted)).collect();
    assert_eq!(groups, [("hr", true), ("corp:staff, all", false)]);
    assert_eq!(principal.device, Some(Device { id: "d-9".into(), compliant: Some(false) }));
    assert!(principal.roles.is_empty());
    let authentication = principal.authentication;
    assert_eq!(&*authentication.provider, "corporate");
    assert_eq!(authentication.issuer.as_deref(), Some("https://login.example"));
    assert_eq!(authentication.key_id.as_deref(), Some("key-1"));
    assert_eq!(authentication.acr.as_deref(), Some("urn:pwd"));
    assert_eq!(authentication.amr, ["pwd".into(), "otp".into()]);
    assert_eq!(authentication.auth_time, Some("1970-01-01T00:16:40.5Z".parse().unwrap()));
    assert_eq!(authentication.expires, Some(Timestamp::UNIX_EPOCH));
    assert!(!authentication.stated_mfa);
}

#[test]
fn absent_claims_leave_nothing_behind() {
    let principal = read(json!({})).unwrap();
    assert_eq!((principal.name, principal.email, principal.device), (None, None, None));
    assert!(principal.groups.is_empty() && principal.authentication.amr.is_empty());
    assert_eq!((principal.authentication.acr, principal.authentication.auth_time), (None, None));
}

#[test]
fn what_is_within_the_bounds_is_taken() {
    for claims in [
        json!({"sub": "x".repeat(256)}),
        json!({"groups": "staff"}),
        json!({"groups": []}),
        json!({"groups": vec!["g"; 256]}),
        json!({"groups": ["x".repeat(256)]}),
        json!({"device_id": "d"}),
        json!({"amr": []}),
        json!({"name": ""}),
        json!({"auth_time": -5}),
        json!({"auth_time": 253_402_207_200_i64}),
    ] {
        assert!(read(claims.clone()).is_ok(), "{claims}");
    }
}

#[test]
fn a_claim_that_breaks_a_rule_refuses_the_token() {
    for (claims, expected) in [
        (json!({"sub": null}), "no claim `sub`"),
        (json!({"sub": ""}), "empty"),
        (json!({"sub": 17}), "`sub` is not a string"),
        (json!({"sub": ["alice"]}), "`sub` is not a string"),
        (json!({"sub": "x".repeat(257)}), "longer than 256"),
        (json!({"sub": "a\r\nx-auth-user: root"}), "control character"),
        (json!({"sub": "a\u{0}"}), "control character"),
        (json!({"sub": "a\u{85}"}), "control character"),
        (json!({"sub": "lab:bob"}), "prefix `corp:lab:` of another"),
        (json!({"groups": null}), "`groups` is not"),
        (json!({"groups": {"hr": true}}), "`groups` is not"),
        (json!({"groups": ["hr", 7]}), "`groups` is not"),
        (json!({"groups": ""}), "empty"),
        (json!({"groups": ["hr", ""]}), "empty"),
        (json!({"groups": ["a\nb"]}), "control character"),
        (json!({"groups": "x".repeat(257)}), "longer than 256"),
        (json!({"groups": vec!["g"; 257]}), "257 elements"),
        (json!({"groups": ["lab:admins"]}), "prefix `corp:lab:` of another"),
        (json!({"email": 7}), "`email` is not a string"),
        (json!({"email": null}), "`email` is not a string"),
        (json!({"email": "a@b\r\n"}), "control character"),
        (json!({"name": {}}), "`name` is not a string"),
        (json!({"device_id": true}), "`device_id` is not a string"),
        (json!({"device_id": ""}), "empty"),
        (json!({"device_id": "d", "device_compliant": "true"}), "`device_compliant` is not a boolean"),
        (json!({"device_compliant": false}), "without `device_id`"),
        (json!({"acr": 3}), "`acr` is not a string"),
        (json!({"amr": "pwd"}), "`amr` is not an array"),
        (json!({"amr": ["pwd", 1]}), "`amr` is not an array"),
        (json!({"amr": vec!["pwd"; 257]}), "257 elements"),
        (json!({"auth_time": "1000"}), "`auth_time` is not a number"),
        (json!({"auth_time": 1e300}), "beyond the year 9999"),
        (json!({"auth_time": 1_795_000_000_000_i64}), "beyond the year 9999"),
        (json!({"auth_time": u64::MAX}), "beyond the year 9999"),
    ] {
        let refusal = read(claims.clone()).map(|_| ()).unwrap_err();
        assert!(refusal.detail.contains(expected), "{claims}: {}", refusal.detail);
        assert_eq!(refusal.kind, portcullis_policy::CredentialProblemKind::Invalid);
    }
}
