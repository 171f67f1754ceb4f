//! Tokens that are bound to a key of their holder (RFC 7800): to its client certificate (RFC 8705), or to a key that it proves to hold
//! with each request (DPoP, RFC 9449). Whoever finds or steals such a token has nothing.
//!
//! A token says itself what it is bound to (`cnf`), so nothing has to be configured for that to count. A binding that is not understood
//! refuses the token: ignored, it would make a bearer token of it.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::settings::Bound;
use crate::strict_json::Object;

/// What a token is bound to. Where it names both, both are demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Binding {
    /// The SHA-256 of the client's certificate (`x5t#S256`, RFC 8705 section 3.1).
    pub(crate) certificate: Option<[u8; 32]>,
    /// The thumbprint of the key that signs proofs (`jkt`, RFC 9449 section 6.1).
    pub(crate) key: Option<[u8; 32]>,
}

/// What else must hold where a token is presented again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) binding: Binding,
    /// Its `jti` (RFC 7519 section 4.1.7), where it has one.
    pub(crate) id: Option<Box<str>>,
}

/// The longest `jti` that is read, in bytes.
pub(crate) const MAX_ID_BYTES: usize = 256;

impl Terms {
    /// Of verified claims.
    pub(crate) fn of(claims: &Object, demanded: Bound) -> Result<Self, Refusal> {
        let binding = Binding::of(claims)?;
        binding.meets(demanded)?;
        let id = match claims.get("jti") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_ID_BYTES => Some(Box::from(id.as_str())),
            Some(Value::String(_)) => return Err(Refusal::invalid("the claim `jti` is longer than 256 bytes")),
            Some(_) => return Err(Refusal::invalid("the claim `jti` is not a string")),
        };
        Ok(Self { binding, id })
    }
}

impl Binding {
    fn of(claims: &Object) -> Result<Self, Refusal> {
        let confirmation = match claims.get("cnf") {
            None => return Ok(Self::default()),
            Some(Value::Object(confirmation)) => confirmation,
            Some(_) => return Err(Refusal::invalid("the claim `cnf` is not an object")),
        };
        let member = |name: &str| match confirmation.get(name) {
            None => Ok(None),
            Some(value) => thumbprint(value).map(Some).ok_or_else(|| {
                Refusal::invalid(format!("`{name}` of the claim `cnf` is not a SHA-256 in unpadded base64url"))
            }),
        };
        let binding = Self { certificate: member("x5t#S256")?, key: member("jkt")? };
        if binding == Self::default() {
            return Err(Refusal::invalid("the token is bound to its holder in a way that is not understood (`cnf`)"));
        }
        Ok(binding)
    }

    /// Whether its provider's tokens may be bound like this.
    fn meets(self, demanded: Bound) -> Result<(), Refusal> {
        let (is_met, what) = match demanded {
            Bound::Unbound => return Ok(()),
            Bound::Mtls => (self.certificate.is_some(), "a client certificate (`x5t#S256`)"),
            Bound::Dpop => (self.key.is_some(), "a key (`jkt`)"),
            Bound::Either => (self != Self::default(), "a client certificate or a key"),
        };
        if is_met { Ok(()) } else { Err(Refusal::invalid(format!("the token must be bound to {what}, and is not"))) }
    }
}

fn thumbprint(value: &Value) -> Option<[u8; 32]> {
    BASE64URL_NOPAD.decode(value.as_str()?.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};

    use super::{Binding, Terms};
    use crate::settings::Bound;

    fn terms(claims: &Value, demanded: Bound) -> Result<Terms, String> {
        Terms::of(claims.as_object().unwrap(), demanded).map_err(|refusal| refusal.detail)
    }

    #[test]
    fn a_binding_is_understood_or_refuses_the_token() {
        let hash = BASE64URL_NOPAD.encode(&[7; 32]);
        let read = |cnf: Value| terms(&json!({ "cnf": cnf }), Bound::Unbound).map(|terms| terms.binding);
        let bound = |certificate: bool, key: bool| Binding {
            certificate: certificate.then_some([7; 32]),
            key: key.then_some([7; 32]),
        };
        assert_eq!(terms(&json!({}), Bound::Unbound), Ok(Terms::default()));
        assert_eq!(read(json!({ "x5t#S256": hash })), Ok(bound(true, false)));
        assert_eq!(read(json!({ "jkt": hash })), Ok(bound(false, true)));
        assert_eq!(read(json!({ "jkt": hash, "x5t#S256": hash, "kid": "k" })), Ok(bound(true, true)));
        for (cnf, expected) in [
            (json!({}), "not understood"),
            (json!({ "jwk": {} }), "not understood"),
            (json!({ "kid": "k" }), "not understood"),
            (json!({ "JKT": hash }), "not understood"),
            (json!(null), "not an object"),
            (json!([hash]), "not an object"),
            (json!(hash), "not an object"),
            (json!({ "jkt": null }), "`jkt` of the claim"),
            (json!({ "jkt": 7 }), "`jkt` of the claim"),
            (json!({ "jkt": "" }), "`jkt` of the claim"),
            (json!({ "jkt": format!("{hash}=") }), "`jkt` of the claim"),
            (json!({ "jkt": BASE64URL_NOPAD.encode(&[7; 31]) }), "`jkt` of the claim"),
            (json!({ "jkt": hash, "x5t#S256": BASE64URL_NOPAD.encode(&[7; 33]) }), "`x5t#S256` of the claim"),
        ] {
            let found = read(cnf.clone()).unwrap_err();
            assert!(found.contains(expected), "{cnf}: {found}");
        }
    }

    #[test]
    fn a_provider_may_demand_a_binding() {
        let hash = BASE64URL_NOPAD.encode(&[7; 32]);
        let (none, mtls) = (json!({}), json!({"cnf": { "x5t#S256": hash }}));
        let (dpop, both) = (json!({"cnf": { "jkt": hash }}), json!({"cnf": { "jkt": hash, "x5t#S256": hash }}));
        for (demanded, expected) in [
            (Bound::Unbound, [true, true, true, true]),
            (Bound::Mtls, [false, true, false, true]),
            (Bound::Dpop, [false, false, true, true]),
            (Bound::Either, [false, true, true, true]),
        ] {
            let found = [&none, &mtls, &dpop, &both].map(|claims| terms(claims, demanded).is_ok());
            assert_eq!(found, expected, "{demanded:?}");
        }
    }

    #[test]
    fn an_id_is_text_and_bounded() {
        let id = |jti: Value| terms(&json!({ "jti": jti }), Bound::Unbound).map(|terms| terms.id);
        assert_eq!(id(json!("a")), Ok(Some("a".into())));
        assert!(id(json!("x".repeat(256))).is_ok());
        assert!(id(json!("x".repeat(257))).unwrap_err().contains("longer"));
        assert!(id(json!(7)).unwrap_err().contains("not a string"));
    }
}
