//! A provider's key set (RFC 7517 section 5): public keys, each pinned to one algorithm.
//!
//! It fetches nothing. A key that is not meant for verifying our algorithms is skipped, since a provider's set serves
//! other readers too; a key that is meant for it and is bad is an error, and so is a set in which nothing can be used.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use portcullis_policy::CredentialProblemKind;
use serde_json::Value;

use crate::jws::{Algorithm, Jws};
use crate::refusal::{Refusal, excerpt};
use crate::roca;
use crate::secret::sha256;
use crate::strict_json::{self, Object};

/// The longest key set that is read, in bytes.
pub(crate) const MAX_SET_BYTES: usize = 1024 * 1024;

/// The most keys that a set may hold.
pub(crate) const MAX_KEYS: usize = 256;

/// The most keys that one token is tried with. Each costs a signature verification, which a caller can ask for at will.
const MAX_TRIALS: usize = 8;

/// The sizes of RSA moduli that are accepted, in bits. Shorter ones are weak (RFC 7518 section 3.3), longer ones slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Members that hold private or symmetric key material (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];

/// Why a key set cannot be used. `key` names a key by its `kid`, or by its place where it has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetProblem {
    /// The text is longer than 1 MiB.
    #[error("the key set is longer than 1 MiB")]
    TooLong,
    /// It is not one JSON object without repeated names.
    #[error("the key set is {0}")]
    NotJson(String),
    /// It has no `keys` array.
    #[error("the key set has no `keys` array")]
    NoKeysMember,
    /// It has more than 256 keys.
    #[error("the key set has {0} keys, more than 256")]
    TooManyKeys(usize),
    /// A private or symmetric key. Whoever reads this file could make tokens.
    #[error("key {key} has the member `{member}`: a key set must hold public keys only")]
    PrivateKey {
        /// Which key.
        key: String,
        /// The member that must not be there.
        member: &'static str,
    },
    /// A key for one of our algorithms that is malformed or weak.
    #[error("key {key}: {problem}")]
    BadKey {
        /// Which key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two keys for the same algorithm share an id.
    #[error("two {algorithm} keys have the id {key}")]
    RepeatedKeyId {
        /// Which id.
        key: String,
        /// The algorithm of both.
        algorithm: &'static str,
    },
    /// Nothing can verify a token.
    #[error("the key set has no key for RS256, ES256 or EdDSA")]
    NoUsableKey,
}

/// The public keys that verify a provider's tokens. Never empty.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    /// The ids of those that are weak, malformed, or for something else.
    left_out: Vec<Box<str>>,
}

/// One public key and the only algorithm it may be used with.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    pub(crate) id: Option<Box<str>>,
    pub(crate) algorithm: Algorithm,
    public: ParsedPublicKey,
}

impl VerificationKey {
    /// The key that a proof brings, and the SHA-256 that names it (RFC 7638): public, and fit for one of our algorithms.
    pub(crate) fn of_proof(jwk: &Value) -> Result<(Self, [u8; 32]), String> {
        let key = match read_key(0, jwk) {
            Ok(Some(key)) => key,
            Ok(None) => return Err("it is not for RS256, ES256 or EdDSA".to_owned()),
            Err(KeySetProblem::PrivateKey { member, .. }) => {
                return Err(format!("it has the member `{member}`: a proof brings a public key"));
            }
            Err(KeySetProblem::BadKey { problem, .. }) => return Err(problem),
            Err(other) => return Err(other.to_string()),
        };
        let thumbprint = thumbprint(jwk).ok_or_else(|| "it is not a key".to_owned())?;
        Ok((key, thumbprint))
    }

    /// Whether it has signed this.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

/// RFC 7638 section 3: the members that make the key, in the order of their names, without white space.
fn thumbprint(jwk: &Value) -> Option<[u8; 32]> {
    let text = |member: &str| jwk.get(member).and_then(Value::as_str);
    let members: &[&str] = match text("kty")? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let members: Option<Vec<String>> =
        members.iter().map(|member| Some(format!("\"{member}\":\"{}\"", text(member)?))).collect();
    // INVARIANT: all of them are names and base64url, which JSON writes as they are: `read_key` has read them.
    Some(sha256(format!("{{{}}}", members?.join(",")).as_bytes()))
}

impl KeySet {
    /// Reads a key set; on failure names everything that is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<KeySetProblem>> {
        let entries = read_entries(text).map_err(|problem| vec![problem])?;
        let mut keys: Vec<VerificationKey> = Vec::new();
        let mut problems = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            match read_key(place, entry) {
                Ok(None) => {}
                Ok(Some(key)) => match repeated(&keys, &key) {
                    Some(problem) => problems.push(problem),
                    None => keys.push(key),
                },
                Err(problem) => problems.push(problem),
            }
        }
        if keys.is_empty() && problems.is_empty() {
            problems.push(KeySetProblem::NoUsableKey);
        }
        if problems.is_empty() { Ok(Self { keys, left_out: Vec::new() }) } else { Err(problems) }
    }

    /// Reads the set that a provider publishes: what is wrong with one key costs that key and no other, since it serves other readers
    /// too. Returns what was left out as well.
    ///
    /// # Errors
    /// A set that cannot be read, has private key material, or no key that can be used.
    pub(crate) fn parse_published(text: &str) -> Result<(Self, Vec<KeySetProblem>), Vec<KeySetProblem>> {
        let entries = read_entries(text).map_err(|problem| vec![problem])?;
        let mut keys = Vec::new();
        let (mut problems, mut left_out) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            match read_key(place, entry) {
                // Two of one id are told apart by which of them verifies.
                Ok(Some(key)) => {
                    keys.push(key);
                    continue;
                }
                Ok(None) => {}
                Err(problem @ KeySetProblem::PrivateKey { .. }) => return Err(vec![problem]),
                Err(problem) => problems.push(problem),
            }
            left_out.extend(entry.get("kid").and_then(Value::as_str).map(Box::from));
        }
        if keys.is_empty() {
            problems.push(KeySetProblem::NoUsableKey);
            return Err(problems);
        }
        Ok((Self { keys, left_out }, problems))
    }

    /// Whether a key of this id is in the set, and none that can be used.
    pub(crate) fn has_left_out(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| {
            self.left_out.iter().any(|left_out| **left_out == *id)
                && !self.keys.iter().any(|key| key.id.as_deref() == Some(id))
        })
    }

    /// How many keys can verify something.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many of its keys have an id that the other set has for none.
    pub(crate) fn without(&self, other: &Self) -> usize {
        let is_there = |id: &str| other.keys.iter().any(|key| key.id.as_deref() == Some(id));
        self.keys.iter().filter(|key| key.id.as_deref().is_some_and(|id| !is_there(id))).count()
    }

    /// Verifies a token's signature (RFC 7515 section 5.2) and returns the key that did.
    ///
    /// With a `kid` only keys of that id are tried; without, every key of the token's algorithm, at most eight.
    pub(crate) fn verify(&self, jws: &Jws<'_>) -> Result<&VerificationKey, Refusal> {
        let named = |key: &&VerificationKey| jws.key_id.is_none() || key.id == jws.key_id;
        if let Some(id) = &jws.key_id
            && !self.keys.iter().any(|key| named(&key))
        {
            let why = if self.has_left_out(Some(id)) { " that can be used" } else { "" };
            let detail = format!("the key set has no key {}{why}", excerpt(id));
            return Err(Refusal::new(CredentialProblemKind::UnknownKey, detail));
        }
        let fitting = || self.keys.iter().filter(named).filter(|key| key.algorithm == jws.algorithm);
        if fitting().next().is_none() {
            let detail = format!("the token says {}, for which the key is not meant", jws.algorithm.as_str());
            return Err(Refusal::invalid(detail));
        }
        fitting()
            .take(MAX_TRIALS)
            .find(|key| key.has_signed(jws.signing_input, &jws.signature))
            .ok_or_else(|| Refusal::invalid("the signature does not verify"))
    }
}

fn read_entries(text: &str) -> Result<Vec<Value>, KeySetProblem> {
    if text.len() > MAX_SET_BYTES {
        return Err(KeySetProblem::TooLong);
    }
    let mut set =
        strict_json::parse_object(text.as_bytes()).map_err(|problem| KeySetProblem::NotJson(problem.to_string()))?;
    match set.remove("keys") {
        Some(Value::Array(entries)) if entries.len() > MAX_KEYS => Err(KeySetProblem::TooManyKeys(entries.len())),
        Some(Value::Array(entries)) => Ok(entries),
        _ => Err(KeySetProblem::NoKeysMember),
    }
}

/// One entry of the set; `None` when the key is meant for something else.
fn read_key(place: usize, entry: &Value) -> Result<Option<VerificationKey>, KeySetProblem> {
    let bad = |key: String, problem: &str| KeySetProblem::BadKey { key, problem: problem.to_owned() };
    let nameless = format!("number {}", place + 1);
    let Value::Object(entry) = entry else {
        return Err(bad(nameless, "not an object"));
    };
    let id = match entry.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return Err(bad(nameless, "`kid` is not a string")),
    };
    let name = id.map_or(nameless, excerpt);
    // Before anything is skipped: a private key must not lie in this file, whatever it is meant for.
    if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|member| entry.contains_key(*member)) {
        return Err(KeySetProblem::PrivateKey { key: name, member });
    }
    let Some(algorithm) = pinned_algorithm(entry) else {
        return Ok(None);
    };
    let public = match algorithm {
        Algorithm::Rs256 => read_rsa(entry),
        Algorithm::Es256 => read_p256(entry),
        Algorithm::EdDsa => read_ed25519(entry),
    }
    .map_err(|problem| KeySetProblem::BadKey { key: name, problem })?;
    Ok(Some(VerificationKey { id: id.map(Box::from), algorithm, public }))
}

/// The one algorithm of a key, by its type and curve; `None` when `alg`, `use` or `key_ops` say it is meant for
/// something else (RFC 7517 sections 4.2 to 4.4).
fn pinned_algorithm(entry: &Object) -> Option<Algorithm> {
    let text = |member: &str| entry.get(member).and_then(Value::as_str);
    let algorithm = match (text("kty")?, text("crv")) {
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return None,
    };
    let for_algorithm = !entry.contains_key("alg") || text("alg").and_then(Algorithm::named) == Some(algorithm);
    let for_signatures = !entry.contains_key("use") || text("use") == Some("sig");
    let for_verifying = match entry.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => false,
    };
    (for_algorithm && for_signatures && for_verifying).then_some(algorithm)
}

/// RFC 7518 section 6.3.1.
fn read_rsa(entry: &Object) -> Result<ParsedPublicKey, String> {
    let modulus = decode_member(entry, "n")?;
    let exponent = decode_member(entry, "e")?;
    let (modulus, exponent) = (without_leading_zeros(&modulus), without_leading_zeros(&exponent));
    let bits = bit_length(modulus);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("the RSA modulus has {bits} bits, not 2048 to 8192"));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    // An exponent of 1 would make every message its own signature; the upper bound is the crypto library's.
    if !odd(modulus) || !odd(exponent) || exponent == [1] || bit_length(exponent) > 33 {
        return Err("the RSA modulus or exponent is not one of a valid key".to_owned());
    }
    if roca::is_predictable(modulus) {
        return Err("the RSA modulus was made by a library whose primes can be guessed (CVE-2017-15361)".to_owned());
    }
    RsaPublicKeyComponents { n: modulus, e: exponent }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| "not a valid RSA key".to_owned())
}

/// RFC 7518 section 6.2.1: both coordinates at full length. The library checks that the point lies on the curve.
fn read_p256(entry: &Object) -> Result<ParsedPublicKey, String> {
    let (x, y) = (decode_member(entry, "x")?, decode_member(entry, "y")?);
    if x.len() != 32 || y.len() != 32 {
        return Err("`x` and `y` of a P-256 key have 32 bytes each".to_owned());
    }
    // The uncompressed form of SEC 1 section 2.3.3.
    let point = [&[0x04][..], &x, &y].concat();
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| "not a point on P-256".to_owned())
}

/// RFC 8037 section 2.
fn read_ed25519(entry: &Object) -> Result<ParsedPublicKey, String> {
    let x = decode_member(entry, "x")?;
    if x.len() != 32 {
        return Err("`x` of an Ed25519 key has 32 bytes".to_owned());
    }
    ParsedPublicKey::new(&ED25519, x).map_err(|_| "not a valid Ed25519 key".to_owned())
}

fn decode_member(entry: &Object, member: &str) -> Result<Vec<u8>, String> {
    let text = entry.get(member).and_then(Value::as_str).ok_or_else(|| format!("no `{member}` string"))?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| format!("`{member}` is not unpadded base64url"))
}

/// RFC 7518 section 6.3.1.1 warns that some writers put a zero in front of the modulus; it changes nothing.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bit_length(number: &[u8]) -> usize {
    let first = number.first().copied().unwrap_or_default();
    (number.len() * 8).saturating_sub(first.leading_zeros() as usize)
}

fn repeated(keys: &[VerificationKey], new: &VerificationKey) -> Option<KeySetProblem> {
    let id = new.id.as_deref()?;
    keys.iter()
        .any(|key| key.id == new.id && key.algorithm == new.algorithm)
        .then(|| KeySetProblem::RepeatedKeyId { key: excerpt(id), algorithm: new.algorithm.as_str() })
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use portcullis_policy::CredentialProblemKind as Kind;
    use serde_json::{Value, json};

    use super::{KeySet, MAX_KEYS, MAX_SET_BYTES};
    use crate::jws::{Algorithm, Jws};
    use crate::signer::Signer;

    fn set(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn problems(text: &str) -> String {
        let problems = KeySet::parse(text).map(|_| ()).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    fn ids(keys: &[Value]) -> Vec<Option<String>> {
        let set = KeySet::parse(&set(keys)).unwrap();
        set.keys.iter().map(|key| key.id.as_deref().map(str::to_owned)).collect()
    }

    #[test]
    fn a_set_that_can_verify_nothing_is_an_error() {
        for (text, expected) in [
            (String::new(), "not valid JSON"),
            ("garbage".to_owned(), "not valid JSON"),
            ("[]".to_owned(), "not an object"),
            ("{}".to_owned(), "no `keys` array"),
            (r#"{"keys":{}}"#.to_owned(), "no `keys` array"),
            (r#"{"keys":[]}"#.to_owned(), "no key for"),
            (r#"{"keys":[],"keys":[]}"#.to_owned(), "twice"),
            (r#"{"keys":[7]}"#.to_owned(), "key number 1: not an object"),
            (set(&[json!({"kty":"EC","crv":"P-521"})]), "no key for"),
            (" ".repeat(MAX_SET_BYTES + 1), "longer than 1 MiB"),
            (set(&vec![json!({}); MAX_KEYS + 1]), "257 keys"),
            (set(&vec![json!({}); MAX_KEYS]), "no key for"),
        ] {
            let found = problems(&text);
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn keys_meant_for_something_else_are_skipped() {
        let good = Signer::ed25519("good").jwk();
        let other = Signer::ed25519("other").jwk();
        for skipped in [
            with(other.clone(), "use", json!("enc")),
            with(other.clone(), "use", json!(7)),
            with(other.clone(), "alg", json!("ES256")),
            with(other.clone(), "alg", json!("HS256")),
            with(other.clone(), "alg", json!(null)),
            with(other.clone(), "key_ops", json!(["sign"])),
            with(other.clone(), "key_ops", json!("verify")),
            with(other.clone(), "crv", json!("Ed448")),
            with(other.clone(), "kty", json!("AKP")),
            with(Signer::rsa("other").jwk(), "alg", json!("PS256")),
        ] {
            assert_eq!(ids(&[skipped.clone(), good.clone()]), [Some("good".to_owned())], "{skipped}");
        }
    }

    #[test]
    fn keys_meant_for_us_are_taken() {
        let key = Signer::ed25519("a").jwk();
        for taken in [
            with(key.clone(), "use", json!("sig")),
            with(key.clone(), "alg", json!("EdDSA")),
            with(key.clone(), "alg", json!("Ed25519")),
            with(key.clone(), "key_ops", json!(["verify"])),
            with(key.clone(), "unknown", json!({"member": 1})),
            with(Signer::rsa("a").jwk(), "alg", json!("RS256")),
            with(Signer::p256("a").jwk(), "alg", json!("ES256")),
        ] {
            assert_eq!(ids(std::slice::from_ref(&taken)), [Some("a".to_owned())], "{taken}");
        }
    }

    #[test]
    fn a_private_member_is_an_error_that_names_the_key() {
        for member in ["d", "k", "p", "oth"] {
            let key = with(with(Signer::ed25519("leaked").jwk(), member, json!("AAAA")), "use", json!("enc"));
            let found = problems(&set(&[Signer::ed25519("good").jwk(), key]));
            assert!(found.contains("`leaked`") && found.contains("public keys only"), "{found}");
            assert!(!found.contains("AAAA"));
        }
        assert!(problems(&set(&[json!({"kty":"oct","k":"c2VjcmV0"})])).contains("key number 1"));
    }

    #[test]
    fn a_weak_or_malformed_key_is_an_error() {
        let rsa = |bytes: usize, first: u8| {
            let mut modulus = vec![0xA5; bytes];
            modulus[0] = first;
            json!({"kty":"RSA","kid":"k","e":"AQAB","n": BASE64URL_NOPAD.encode(&modulus)})
        };
        let ed = Signer::ed25519("k").jwk();
        let ec = Signer::p256("k").jwk();
        for (key, expected) in [
            (rsa(128, 0x80), "1024 bits"),
            (rsa(256, 0x7f), "2047 bits"),
            (rsa(1025, 0x01), "8193 bits"),
            (with(rsa(256, 0x80), "e", json!("AQ")), "not one of a valid key"),
            (with(rsa(256, 0x80), "e", json!("AQAC")), "not one of a valid key"),
            (with(rsa(256, 0x80), "e", json!("")), "not one of a valid key"),
            (with(rsa(256, 0x80), "e", json!("A________")), "`e` is not"),
            (with(rsa(256, 0x80), "e", json!("A_______")), "not one of a valid key"),
            (with(rsa(256, 0x80), "n", json!(7)), "no `n` string"),
            (with(ed.clone(), "x", json!("AAAA")), "32 bytes"),
            (with(ed.clone(), "x", json!("AA==")), "`x` is not unpadded"),
            (with(ed, "kid", json!(7)), "`kid` is not a string"),
            (with(ec.clone(), "y", json!("AAAA")), "32 bytes each"),
            (with(ec.clone(), "y", ec["x"].clone()), "not a point"),
            (with(ec, "x", json!(null)), "no `x` string"),
        ] {
            let found = problems(&set(&[key]));
            assert!(found.contains(expected), "{found}");
        }
        // The border.
        assert!(KeySet::parse(&set(&[rsa(256, 0x80)])).is_ok());
        assert!(KeySet::parse(&set(&[rsa(1024, 0x80)])).is_ok());
    }

    #[test]
    fn all_problems_of_a_set_are_told_at_once() {
        let weak = json!({"kty":"RSA","kid":"weak","e":"AQAB","n":"AQAB"});
        let found = problems(&set(&[weak, json!(null), json!({"kid":"private","d":"x"})]));
        for expected in ["`weak`", "number 2", "`private`"] {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_published_set_loses_its_bad_keys_and_no_others() {
        let good = Signer::ed25519("good");
        let weak = json!({"kty":"RSA","kid":"weak","e":"AQAB","n":"AQAB"});
        let twins = [Signer::ed25519("twin"), Signer::ed25519("twin")];
        let all = [weak.clone(), json!(7), good.jwk(), twins[0].jwk(), twins[1].jwk()];
        let (keys, left_out) = KeySet::parse_published(&set(&all)).unwrap();
        assert_eq!((keys.len(), left_out.len()), (3, 2));
        for signer in [&good, &twins[0], &twins[1]] {
            assert!(keys.verify(&Jws::parse(&signer.sign(&json!({}))).unwrap()).is_ok());
        }
        let unusable = |keys: &[Value]| {
            let problems = KeySet::parse_published(&set(keys)).map(|_| ()).unwrap_err();
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert!(unusable(&[]).contains("no key for"));
        assert!(unusable(&[weak]).contains("`weak`"));
        let private = with(Signer::ed25519("leaked").jwk(), "d", json!("AAAA"));
        assert!(unusable(&[good.jwk(), private]).contains("public keys only"));
        assert!(KeySet::parse_published("<html>").is_err());
    }

    #[test]
    fn an_id_is_unique_for_each_algorithm() {
        let same = [Signer::ed25519("k").jwk(), Signer::ed25519("k").jwk()];
        assert!(problems(&set(&same)).contains("two EdDSA keys have the id `k`"));
        // RFC 7517 section 4.5: equal ids are in order when the key types differ.
        assert_eq!(ids(&[Signer::ed25519("k").jwk(), Signer::p256("k").jwk()]).len(), 2);
    }

    #[test]
    fn the_key_is_chosen_by_id_and_pinned_algorithm() {
        let (ed, ec) = (Signer::ed25519("ed"), Signer::p256("ec"));
        let keys = KeySet::parse(&set(&[ed.jwk(), ec.jwk()])).unwrap();
        let verify = |token: &str| {
            keys.verify(&Jws::parse(token).unwrap())
                .map(|key| key.id.as_deref().unwrap().to_owned())
                .map_err(|refusal| refusal.kind)
        };
        assert_eq!(verify(&ed.sign(&json!({}))), Ok("ed".to_owned()));
        assert_eq!(verify(&ec.sign(&json!({}))), Ok("ec".to_owned()));
        assert_eq!(verify(&ec.sign_with(&json!({"alg":"ES256"}), b"{}")), Ok("ec".to_owned()));
        assert_eq!(verify(&ed.sign_with(&json!({"alg":"EdDSA","kid":"gone"}), b"{}")), Err(Kind::UnknownKey));
        assert_eq!(verify(&ed.sign_with(&json!({"alg":"EdDSA","kid":""}), b"{}")), Err(Kind::UnknownKey));
        assert_eq!(verify(&ed.sign_with(&json!({"alg":"ES256","kid":"ed"}), b"{}")), Err(Kind::Invalid));
        assert_eq!(verify(&ed.sign_with(&json!({"alg":"EdDSA","kid":"ec"}), b"{}")), Err(Kind::Invalid));
        assert_eq!(verify(&ed.sign_with(&json!({"alg":"RS256"}), b"{}")), Err(Kind::Invalid));
    }

    #[test]
    fn without_an_id_at_most_eight_keys_are_tried() {
        let signers: Vec<Signer> = (0..9).map(|number| Signer::ed25519(&format!("k{number}"))).collect();
        let keys = KeySet::parse(&set(&signers.iter().map(Signer::jwk).collect::<Vec<_>>())).unwrap();
        let verifies = |signer: &Signer| {
            let token = signer.sign_with(&json!({"alg":"EdDSA"}), b"{}");
            keys.verify(&Jws::parse(&token).unwrap()).is_ok()
        };
        assert!(verifies(&signers[7]));
        assert!(!verifies(&signers[8]));
        assert!(keys.verify(&Jws::parse(&signers[8].sign(&json!({}))).unwrap()).is_ok());
    }

    #[test]
    fn a_key_without_an_id_serves_only_tokens_without_one() {
        let signer = Signer::ed25519("k");
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        let keys = KeySet::parse(&set(&[jwk])).unwrap();
        let verify = |token: &str| keys.verify(&Jws::parse(token).unwrap()).map(|_| ()).map_err(|refusal| refusal.kind);
        assert_eq!(verify(&signer.sign_with(&json!({"alg":"EdDSA"}), b"{}")), Ok(()));
        assert_eq!(verify(&signer.sign(&json!({}))), Err(Kind::UnknownKey));
    }

    #[test]
    fn each_algorithm_verifies_its_own_and_refuses_a_changed_token() {
        for (signer, algorithm) in [
            (Signer::rsa("k"), Algorithm::Rs256),
            (Signer::p256("k"), Algorithm::Es256),
            (Signer::ed25519("k"), Algorithm::EdDsa),
        ] {
            let keys = KeySet::parse(&set(&[signer.jwk()])).unwrap();
            let token = signer.sign(&json!({"sub":"alice"}));
            let jws = Jws::parse(&token).unwrap();
            assert_eq!(keys.verify(&jws).unwrap().algorithm, algorithm);
            let forged = Jws { signing_input: b"changed", ..jws };
            assert_eq!(keys.verify(&forged).map(|_| ()).unwrap_err().kind, Kind::Invalid);
        }
    }
}
