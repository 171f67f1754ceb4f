//! The compact form of a signed token (RFC 7515 section 7.1) and the rules for its header.
//!
//! It only reads: which key may verify a token is the [key set](crate::jwks)'s affair. A header never brings its own
//! key, and an algorithm outside the closed set below does not exist.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::jwks::VerificationKey;
use crate::refusal::{Refusal, excerpt};
use crate::strict_json::{self, Object};

/// The longest token that is looked at, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Header members that are refused. The first four bring or point to a key of the sender's choice (RFC 8725 section
/// 3.10); `crit` names extensions, of which we understand none (RFC 7515 section 4.1.11); the last two belong to
/// encrypted tokens (RFC 7516 section 4.1), and inflating them is a known way to exhaust memory.
const REFUSED_HEADER_MEMBERS: [&str; 7] = ["jwk", "jku", "x5u", "x5c", "crit", "zip", "enc"];

/// The same of a proof, which has to bring its key: whose it is says the token (RFC 9449 section 4.2).
const REFUSED_OF_PROOFS: [&str; 6] = ["jku", "x5u", "x5c", "crit", "zip", "enc"];

/// The `typ` of a proof.
const PROOF_TYPE: &str = "dpop+jwt";

/// The signature algorithms we accept. Each key has exactly one (RFC 8725 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).
    Rs256,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    Es256,
    /// EdDSA on Ed25519 (RFC 8037 section 3.1), also named `Ed25519` (RFC 9864 section 2.2).
    EdDsa,
}

impl Algorithm {
    /// The algorithm of that name. Names are case-sensitive.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A token taken apart. Nothing in it is verified.
pub(crate) struct Jws<'t> {
    /// The bytes that are signed: the first two parts with their dot.
    pub(crate) signing_input: &'t [u8],
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<Box<str>>,
    /// What it says that it is (`typ`): in lower case, and without `application/`, which may be left out (RFC 7515 section 4.1.9).
    pub(crate) typ: Option<Box<str>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Whether it has the form of a signed token, however good: a header that names an algorithm, and two more parts.
    pub(crate) fn is_signed(token: &str) -> bool {
        let Ok(parts) = Parts::split(token, "token") else { return false };
        parts.header().is_ok_and(|header| header.contains_key("alg"))
    }

    /// Takes a token apart and holds its header to the rules.
    pub(crate) fn parse(token: &'t str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::invalid(format!("the token is longer than {MAX_TOKEN_BYTES} bytes")));
        }
        let parts = Parts::split(token, "token")?;
        let header = parts.header()?;
        let (algorithm, key_id, typ) = read_header(&header)?;
        Ok(Self {
            signing_input: parts.signing_input,
            algorithm,
            key_id,
            typ,
            payload: parts.decode(parts.payload, "payload")?,
            signature: parts.decode(parts.signature, "signature")?,
        })
    }
}

/// A proof taken apart: a token that brings the key which it is signed with. Not verified.
pub(crate) struct ProofJws<'t> {
    signing_input: &'t [u8],
    pub(crate) algorithm: Algorithm,
    key: VerificationKey,
    /// The SHA-256 that names the key (RFC 7638).
    pub(crate) thumbprint: [u8; 32],
    pub(crate) payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> ProofJws<'t> {
    /// Takes a proof apart and holds its header to the rules of RFC 9449 section 4.2: `typ`, an algorithm for its key, and a public key.
    pub(crate) fn parse(proof: &'t str) -> Result<Self, Refusal> {
        let parts = Parts::split(proof, "proof")?;
        let header = parts.header()?;
        if let Some(member) = REFUSED_OF_PROOFS.into_iter().find(|member| header.contains_key(*member)) {
            return Err(Refusal::invalid(format!("the proof's header has `{member}`, which is not accepted")));
        }
        if header.get("typ").and_then(Value::as_str) != Some(PROOF_TYPE) {
            return Err(Refusal::invalid(format!("the proof's `typ` is not `{PROOF_TYPE}`")));
        }
        let algorithm = read_algorithm(&header, "proof")?;
        let Some(jwk) = header.get("jwk") else { return Err(Refusal::invalid("the proof's header has no `jwk`")) };
        let (key, thumbprint) =
            VerificationKey::of_proof(jwk).map_err(|why| Refusal::invalid(format!("the proof's `jwk`: {why}")))?;
        if key.algorithm != algorithm {
            let detail = format!("the proof says {}, for which its key is not meant", algorithm.as_str());
            return Err(Refusal::invalid(detail));
        }
        Ok(Self {
            signing_input: parts.signing_input,
            algorithm,
            key,
            thumbprint,
            payload: parts.decode(parts.payload, "payload")?,
            signature: parts.decode(parts.signature, "signature")?,
        })
    }

    /// That its own key has signed it.
    pub(crate) fn verify(&self) -> Result<(), Refusal> {
        if self.key.has_signed(self.signing_input, &self.signature) {
            return Ok(());
        }
        Err(Refusal::invalid("the proof's signature does not verify"))
    }
}

struct Parts<'t> {
    /// What it is: a token or a proof.
    noun: &'static str,
    signing_input: &'t [u8],
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn split(text: &'t str, noun: &'static str) -> Result<Self, Refusal> {
        let dots = text.bytes().filter(|byte| *byte == b'.').count();
        let not_three = || Refusal::invalid(format!("the {noun} does not have three parts"));
        match (dots, text.rsplit_once('.')) {
            (2, Some((signed, signature))) => match signed.split_once('.') {
                Some((header, payload)) => {
                    Ok(Self { noun, signing_input: signed.as_bytes(), header, payload, signature })
                }
                None => Err(not_three()),
            },
            (4, _) => Err(Refusal::invalid("encrypted tokens (JWE) are not accepted")),
            _ => Err(not_three()),
        }
    }

    fn header(&self) -> Result<Object, Refusal> {
        strict_json::parse_object(&self.decode(self.header, "header")?)
            .map_err(|problem| Refusal::invalid(format!("the {}'s header is {problem}", self.noun)))
    }

    /// Unpadded base64url in its one canonical spelling (RFC 7515 section 2): no padding, no white space, no stray bits.
    fn decode(&self, part: &str, name: &str) -> Result<Vec<u8>, Refusal> {
        let noun = self.noun;
        BASE64URL_NOPAD
            .decode(part.as_bytes())
            .map_err(|_| Refusal::invalid(format!("the {noun}'s {name} is not canonical unpadded base64url")))
    }
}

/// By which algorithm a token is signed, the id of the key, and its type.
type Read = (Algorithm, Option<Box<str>>, Option<Box<str>>);

fn read_header(header: &Object) -> Result<Read, Refusal> {
    if let Some(member) = REFUSED_HEADER_MEMBERS.into_iter().find(|member| header.contains_key(*member)) {
        return Err(Refusal::invalid(format!("the token's header has `{member}`, which is not accepted")));
    }
    let algorithm = read_algorithm(header, "token")?;
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(Box::from(id.as_str())),
        Some(_) => return Err(Refusal::invalid("the token's `kid` is not a string")),
    };
    match header.get("typ") {
        None => Ok((algorithm, key_id, None)),
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            Ok((algorithm, key_id, Some(typ.strip_prefix("application/").unwrap_or(&typ).into())))
        }
        Some(_) => Err(Refusal::invalid("the token's `typ` is not a string")),
    }
}

fn read_algorithm(header: &Object, noun: &str) -> Result<Algorithm, Refusal> {
    match header.get("alg") {
        Some(Value::String(name)) => Algorithm::named(name)
            .ok_or_else(|| Refusal::invalid(format!("the algorithm {} is not accepted", excerpt(name)))),
        _ => Err(Refusal::invalid(format!("the {noun}'s header has no `alg` string"))),
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::{Algorithm, Jws, MAX_TOKEN_BYTES};

    fn token(header: &str) -> String {
        format!("{}.e30.AAAA", BASE64URL_NOPAD.encode(header.as_bytes()))
    }

    fn refusal(token: &str) -> String {
        Jws::parse(token).map(|_| ()).unwrap_err().detail
    }

    #[test]
    fn a_header_is_read_and_nothing_else_is_believed() {
        for (header, algorithm, key_id) in [
            (r#"{"alg":"RS256","kid":"a"}"#, Algorithm::Rs256, Some("a")),
            (r#"{"typ":"JWT","alg":"ES256"}"#, Algorithm::Es256, None),
            (r#"{ "alg" : "EdDSA", "x5t": "ignored", "cty": 5 }"#, Algorithm::EdDsa, None),
            (r#"{"alg":"Ed25519"}"#, Algorithm::EdDsa, None),
        ] {
            let text = token(header);
            let jws = Jws::parse(&text).unwrap();
            assert_eq!((jws.algorithm, jws.key_id.as_deref()), (algorithm, key_id), "{header}");
            assert_eq!(jws.payload, b"{}");
            assert!(text.as_bytes().starts_with(jws.signing_input));
        }
    }

    #[test]
    fn a_header_that_breaks_a_rule_is_refused() {
        for (header, expected) in [
            ("", "not valid JSON"),
            ("[]", "not an object"),
            ("{}", "no `alg`"),
            (r#"{"alg":256}"#, "no `alg`"),
            (r#"{"alg":["RS256"]}"#, "no `alg`"),
            (r#"{"alg":"none"}"#, "`none` is not accepted"),
            (r#"{"alg":"None"}"#, "not accepted"),
            (r#"{"alg":""}"#, "not accepted"),
            (r#"{"alg":"HS256"}"#, "`HS256` is not accepted"),
            (r#"{"alg":"rs256"}"#, "not accepted"),
            (r#"{"alg":"PS256"}"#, "not accepted"),
            (r#"{"alg":"RS512"}"#, "not accepted"),
            (r#"{"alg":"RS256","alg":"RS256"}"#, "twice"),
            (r#"{"alg":"RS256","x":{"y":1,"y":1}}"#, "twice"),
            (r#"{"alg":"RS256","kid":7}"#, "`kid` is not a string"),
            (r#"{"alg":"RS256","kid":null}"#, "`kid` is not a string"),
            (r#"{"alg":"RS256","typ":7}"#, "`typ` is not a string"),
            (r#"{"alg":"RS256","jwk":{}}"#, "`jwk`"),
            (r#"{"alg":"RS256","jku":"https://keys.example"}"#, "`jku`"),
            (r#"{"alg":"RS256","x5u":"https://keys.example"}"#, "`x5u`"),
            (r#"{"alg":"RS256","x5c":[]}"#, "`x5c`"),
            (r#"{"alg":"RS256","crit":["exp"]}"#, "`crit`"),
            (r#"{"alg":"RS256","crit":[]}"#, "`crit`"),
            (r#"{"alg":"RS256","crit":null}"#, "`crit`"),
            (r#"{"alg":"RS256","zip":"DEF"}"#, "`zip`"),
            (r#"{"alg":"RS256","enc":"A128GCM"}"#, "`enc`"),
        ] {
            let detail = refusal(&token(header));
            assert!(detail.contains(expected), "{header}: {detail}");
        }
    }

    #[test]
    fn only_three_parts_of_canonical_base64url_are_a_token() {
        let header = BASE64URL_NOPAD.encode(br#"{"alg":"RS256"}"#);
        assert!(Jws::parse(&format!("{header}.YQ.YQ")).is_ok());
        for (text, expected) in [
            (String::new(), "three parts"),
            (header.clone(), "three parts"),
            (format!("{header}.YQ"), "three parts"),
            (format!("{header}.YQ.YQ.YQ"), "three parts"),
            (format!("{header}.YQ.YQ.YQ.YQ"), "JWE"),
            (format!("{header}=.YQ.YQ"), "header"),
            (format!("{header} .YQ.YQ"), "header"),
            (format!("{header}.YR.YQ"), "payload"),
            (format!("{header}.YQ==.YQ"), "payload"),
            (format!("{header}.Y.YQ"), "payload"),
            (format!("{header}.Y+.YQ"), "payload"),
            (format!("{header}.Y\nQ.YQ"), "payload"),
            (format!("{header}.YQ.YR"), "signature"),
            (format!("{header}.YQ.YQ="), "signature"),
            (format!("{header}.YQ. YQ"), "signature"),
        ] {
            let detail = refusal(&text);
            assert!(detail.contains(expected), "{text}: {detail}");
        }
    }

    #[test]
    fn the_size_is_checked_before_anything_else() {
        // The border: the longest token gets as far as its parts, one byte more does not.
        assert!(refusal(&"x".repeat(MAX_TOKEN_BYTES)).contains("three parts"));
        assert!(refusal(&"x".repeat(MAX_TOKEN_BYTES + 1)).contains("longer than 16384 bytes"));
    }
}
