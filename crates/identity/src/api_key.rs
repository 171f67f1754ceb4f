//! API keys: `pcl_<id>_<secret>_<checksum>`.
//!
//! The id finds the record, the secret (32 random bytes, base32 in lower case without padding, RFC 4648 section 6)
//! proves the caller, and the checksum (CRC-32 as in IEEE 802.3 over all that precedes its underscore, 8 hexadecimal
//! digits) lets a secret scanner tell a leaked key from noise. Of the secret only its SHA-256 is ever stored: with 256
//! random bits there is nothing to guess, so a slow password hash would only serve to exhaust the gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use portcullis_policy::{
    Authentication, AuthenticationMethod, CredentialProblemKind as Kind, CredentialScope, GroupClaim, Principal,
};
use subtle::{Choice, ConstantTimeEq};

use crate::refusal::{Refusal, Rejection, excerpt};
use crate::secret::{SecretText, sha256};
use crate::settings::{ApiKeyProvider, ApiKeyRecord, PreviousSecret};

const PREFIX: &str = "pcl_";
const MAX_ID_BYTES: usize = 64;
const SECRET_BYTES: usize = 32;
const SECRET_CHARACTERS: usize = 52;
const CHECKSUM_CHARACTERS: usize = 8;
const MAX_TEXT_BYTES: usize = PREFIX.len() + MAX_ID_BYTES + 1 + SECRET_CHARACTERS + 1 + CHECKSUM_CHARACTERS;

/// What an unknown id is compared with, so that it takes as long as a wrong secret.
const NO_SECRET: [u8; 32] = [0; 32];

/// A use is noted again only so many seconds later: it is for people who ask which keys are used at all.
const USE_S: i64 = 60;
/// What no use is.
const NEVER: i64 = i64::MIN;

/// A new key. Its text is shown once and stored nowhere.
#[derive(Debug, Clone)]
pub struct MintedKey {
    /// What the caller sends.
    pub text: SecretText<'static>,
    /// SHA-256 of the 32 secret bytes: what the key file holds.
    pub sha256: [u8; 32],
}

/// Why no key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The id is not 1 to 64 of `a-z`, `0-9` and `-`.
    #[error("a key id is 1 to 64 of a-z, 0-9 and -")]
    BadId,
    /// The operating system gave no random bytes.
    #[error("no random bytes could be read")]
    NoRandomness,
}

/// Makes a key with 256 bits from the operating system's random generator.
///
/// # Errors
/// When the id is not 1 to 64 of `a-z`, `0-9` and `-`, or no random bytes can be read.
pub fn mint(id: &str) -> Result<MintedKey, MintError> {
    if !is_key_id(id) {
        return Err(MintError::BadId);
    }
    let mut secret = [0; SECRET_BYTES];
    rand::fill(&mut secret).map_err(|_| MintError::NoRandomness)?;
    let body = format!("{PREFIX}{id}_{}", BASE32_NOPAD.encode(&secret).to_ascii_lowercase());
    let checksum = crc32fast::hash(body.as_bytes());
    Ok(MintedKey { text: SecretText::new(format!("{body}_{checksum:08x}")), sha256: sha256(&secret) })
}

/// Whether text may be a key's id: 1 to 64 of `a-z`, `0-9` and `-`.
pub fn is_key_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(allowed)
}

/// The keys of one provider.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    provider: Arc<str>,
    keys: HashMap<Box<str>, StoredKey>,
}

#[derive(Debug)]
struct StoredKey {
    sha256: [u8; 32],
    previous: Option<PreviousSecret>,
    /// When it was last accepted, in seconds since 1970.
    used: AtomicI64,
    expires: Option<Timestamp>,
    revoked: bool,
    principal: Arc<Principal>,
}

impl ApiKeys {
    pub(crate) fn new(settings: &ApiKeyProvider) -> Self {
        let store = |record: &ApiKeyRecord| {
            let key = StoredKey {
                sha256: record.sha256,
                previous: record.previous,
                used: AtomicI64::new(NEVER),
                expires: record.expires,
                revoked: record.revoked,
                principal: Arc::new(principal(&settings.name, record)),
            };
            (Box::from(record.id.as_str()), key)
        };
        Self { provider: Arc::clone(&settings.name), keys: settings.keys.iter().map(store).collect() }
    }

    /// The principal of a key's text at a point in time.
    pub(crate) fn verify(&self, text: &str, now: Timestamp) -> Result<Arc<Principal>, Rejection> {
        let reject = |refusal: Refusal, id| Rejection::new(refusal.by(Some(&self.provider)), id);
        let key = KeyText::parse(text).map_err(|refusal| reject(refusal, None))?;
        self.check(&key, now).map_err(|refusal| reject(refusal, Some(key.id)))
    }

    /// That a key was revoked or has expired is told only to who knows its secret.
    fn check(&self, key: &KeyText<'_>, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
        let stored = self.keys.get(key.id);
        let expected = stored.map_or(&NO_SECRET, |stored| &stored.sha256);
        let previous = stored.and_then(|stored| stored.previous);
        // Both are compared in any case, so that the time says nothing of which it was.
        let hash = sha256(&key.secret);
        let known = Choice::from(u8::from(stored.is_some()));
        let proven = hash.ct_eq(expected) & known;
        let replaced = hash.ct_eq(previous.as_ref().map_or(&NO_SECRET, |previous| &previous.sha256))
            & Choice::from(u8::from(previous.is_some()));
        let Some(stored) = stored.filter(|_| (proven | replaced).into()) else {
            return Err(Refusal::invalid(format!("unknown API key or wrong secret for {}", excerpt(key.id))));
        };
        if stored.revoked {
            return Err(Refusal::new(Kind::Revoked, format!("the API key {} was revoked", excerpt(key.id))));
        }
        if let Some(previous) = previous.filter(|previous| !bool::from(proven) && now >= previous.until) {
            let detail = format!(
                "the API key {} was rotated, and its old secret was good until {}",
                excerpt(key.id),
                previous.until
            );
            return Err(Refusal::new(Kind::Expired, detail));
        }
        match stored.expires {
            Some(expires) if now >= expires => {
                Err(Refusal::new(Kind::Expired, format!("the API key {} expired at {expires}", excerpt(key.id))))
            }
            _ => {
                stored.note_use(now);
                Ok(Arc::clone(&stored.principal))
            }
        }
    }

    /// When keys were last accepted, in seconds since 1970, by their ids.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (&str, i64)> {
        let used = |key: &StoredKey| Some(key.used.load(Ordering::Relaxed)).filter(|used| *used != NEVER);
        self.keys.iter().filter_map(move |(id, key)| Some((&**id, used(key)?)))
    }

    /// That a key was accepted then, as somebody else knows.
    pub(crate) fn remember_use(&self, id: &str, used: i64) {
        if let Some(key) = self.keys.get(id) {
            key.used.fetch_max(used, Ordering::Relaxed);
        }
    }
}

impl StoredKey {
    /// Reading first keeps the cache line shared among the workers: it is written once a minute.
    fn note_use(&self, now: Timestamp) {
        let now = now.as_second();
        if now.saturating_sub(self.used.load(Ordering::Relaxed)) >= USE_S {
            self.used.store(now, Ordering::Relaxed);
        }
    }
}

/// Groups are the operator's own here, so they are trusted.
fn principal(provider: &str, record: &ApiKeyRecord) -> Principal {
    let (kind, id) = &record.principal;
    Principal {
        kind: *kind,
        id: Box::from(id.as_str()),
        name: None,
        email: None,
        groups: record.groups.iter().map(|name| GroupClaim { name: Box::from(name.as_str()), trusted: true }).collect(),
        directory: None,
        roles: record.roles.iter().map(|role| Box::from(role.as_str())).collect(),
        device: None,
        scope: scope(record),
        authentication: Authentication {
            method: AuthenticationMethod::ApiKey,
            provider: Box::from(provider),
            issuer: None,
            key_id: Some(Box::from(record.id.as_str())),
            acr: None,
            amr: Vec::new(),
            auth_time: None,
            issued: record.created,
            expires: record.expires,
            stated_mfa: false,
        },
    }
}

fn scope(record: &ApiKeyRecord) -> Option<Arc<CredentialScope>> {
    let names = |names: &[String]| names.iter().map(|name| Box::from(name.as_str())).collect();
    let scope = CredentialScope { routes: names(&record.routes), networks: names(&record.networks) };
    (scope != CredentialScope::default()).then(|| Arc::new(scope))
}

/// A key's text taken apart. Its form and checksum are right; its secret may be wrong.
struct KeyText<'k> {
    id: &'k str,
    secret: [u8; SECRET_BYTES],
}

impl<'k> KeyText<'k> {
    fn parse(text: &'k str) -> Result<Self, Refusal> {
        let malformed = || Refusal::invalid("the API key is not of the form pcl_<id>_<secret>_<checksum>");
        if text.len() > MAX_TEXT_BYTES {
            return Err(malformed());
        }
        let (body, checksum) = text.rsplit_once('_').ok_or_else(malformed)?;
        let (id, secret) = body.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or_else(malformed)?;
        if !is_key_id(id) {
            return Err(malformed());
        }
        let secret = decode_secret(secret).ok_or_else(malformed)?;
        if decode_checksum(checksum).ok_or_else(malformed)? != crc32fast::hash(body.as_bytes()) {
            return Err(Refusal::invalid("the checksum of the API key is wrong: it was mistyped or cut"));
        }
        Ok(Self { id, secret })
    }
}

/// One spelling alone: lower case, no padding, no stray bits.
fn decode_secret(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let canonical = text.len() == SECRET_CHARACTERS && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let upper = canonical.then(|| text.to_ascii_uppercase())?;
    BASE32_NOPAD.decode(upper.as_bytes()).ok()?.try_into().ok()
}

fn decode_checksum(text: &str) -> Option<u32> {
    let canonical =
        text.len() == CHECKSUM_CHARACTERS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderName;
    use jiff::Timestamp;
    use portcullis_policy::{AuthenticationMethod, CredentialProblemKind as Kind, PrincipalKind};

    use super::{ApiKeys, KeyText, MintError, MintedKey, mint, sha256};
    use crate::settings::{ApiKeyProvider, ApiKeyRecord, PreviousSecret};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(id: &str, minted: &MintedKey) -> ApiKeyRecord {
        ApiKeyRecord {
            id: id.to_owned(),
            sha256: minted.sha256,
            principal: (PrincipalKind::Service, "ci".to_owned()),
            groups: vec!["builders".to_owned()],
            roles: vec!["deployer".to_owned()],
            created: None,
            expires: None,
            routes: Vec::new(),
            networks: Vec::new(),
            previous: None,
            revoked: false,
        }
    }

    fn keys(records: Vec<ApiKeyRecord>) -> ApiKeys {
        ApiKeys::new(&ApiKeyProvider {
            name: Arc::from("services"),
            header: HeaderName::from_static("x-api-key"),
            keys: records,
        })
    }

    fn with_checksum(body: &str) -> String {
        format!("{body}_{:08x}", crc32fast::hash(body.as_bytes()))
    }

    #[test]
    fn a_minted_key_proves_its_record() {
        let minted = mint("ci-1").unwrap();
        let principal = keys(vec![record("ci-1", &minted)]).verify(minted.text.expose(), at(0)).unwrap();
        assert_eq!(principal.reference(), "service:ci");
        assert_eq!((&*principal.groups[0].name, principal.groups[0].trusted), ("builders", true));
        assert_eq!(principal.roles, ["deployer".into()]);
        assert_eq!(principal.authentication.method, AuthenticationMethod::ApiKey);
        assert_eq!(&*principal.authentication.provider, "services");
        assert_eq!(principal.authentication.key_id.as_deref(), Some("ci-1"));
    }

    #[test]
    fn a_minted_key_has_the_documented_form() {
        let minted = mint("ci-1").unwrap();
        let text = minted.text.expose();
        let parts: Vec<&str> = text.split('_').collect();
        assert_eq!((parts[0], parts[1], parts[2].len(), parts[3].len()), ("pcl", "ci-1", 52, 8));
        assert_eq!(sha256(&KeyText::parse(text).unwrap().secret), minted.sha256);
        assert_ne!(text, mint("ci-1").unwrap().text.expose());
        assert!(!format!("{minted:?}").contains(parts[2]));
        // CRC-32/ISO-HDLC, its published check value.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_id_is_1_to_64_of_its_alphabet() {
        for good in ["a", "0", "-", "ci-prod-1", &"x".repeat(64)] {
            assert!(KeyText::parse(mint(good).unwrap().text.expose()).is_ok(), "{good}");
        }
        for bad in ["", "A", "a_b", "a b", "ä", "a.b", &"x".repeat(65)] {
            assert_eq!(mint(bad).map(|_| ()).unwrap_err(), MintError::BadId, "{bad}");
        }
    }

    #[test]
    fn a_key_out_of_form_is_invalid() {
        let minted = mint("ci").unwrap();
        let text = minted.text.expose();
        let secret = text.split('_').nth(2).unwrap();
        let stray = format!("{}b", "a".repeat(51));
        for bad in [
            String::new(),
            "pcl".to_owned(),
            "____".to_owned(),
            format!("{text} "),
            format!("{text}0"),
            text.to_ascii_uppercase(),
            text.replace("pcl_", "pck_"),
            with_checksum(&format!("pcl_ci_{}", secret.to_ascii_uppercase())),
            with_checksum(&format!("pcl_ci_{}", &secret[1..])),
            with_checksum(&format!("pcl_ci_{secret}a")),
            with_checksum(&format!("pcl_ci_x_{secret}")),
            with_checksum(&format!("pcl__{secret}")),
            with_checksum(&format!("pcl_C_{secret}")),
            with_checksum(&format!("pcl_ci_{}", "0".repeat(52))),
            with_checksum(&format!("pcl_ci_{stray}")),
            with_checksum(&format!("pcl_{}_{secret}", "x".repeat(65))),
            format!("pcl_ci_{secret}_+{:07x}", 0),
            format!("pcl_ci_{secret}_"),
            "x".repeat(100_000),
        ] {
            let rejection = keys(vec![record("ci", &minted)]).verify(&bad, at(0)).unwrap_err();
            assert_eq!((rejection.problem.kind, rejection.attempted), (Kind::Invalid, None), "{bad}");
            assert!(rejection.problem.detail.contains("form"), "{bad}: {}", rejection.problem.detail);
        }
    }

    #[test]
    fn a_wrong_checksum_is_told_before_any_lookup() {
        let minted = mint("ci").unwrap();
        let (body, checksum) = minted.text.expose().rsplit_once('_').unwrap();
        let other = if checksum == "00000000" { "00000001" } else { "00000000" };
        let rejection = keys(vec![record("ci", &minted)]).verify(&format!("{body}_{other}"), at(0)).unwrap_err();
        assert!(rejection.problem.detail.contains("checksum"));
        assert_eq!(rejection.problem.kind, Kind::Invalid);
    }

    #[test]
    fn an_unknown_id_and_a_wrong_secret_are_told_alike() {
        let (minted, other) = (mint("ci").unwrap(), mint("ci").unwrap());
        let known = keys(vec![record("ci", &minted)]).verify(other.text.expose(), at(0)).unwrap_err();
        let unknown = keys(Vec::new()).verify(other.text.expose(), at(0)).unwrap_err();
        assert_eq!(known, unknown);
        assert_eq!((known.problem.kind, known.attempted.as_deref()), (Kind::Invalid, Some("ci")));
        assert_eq!(known.problem.provider.as_deref(), Some("services"));
    }

    #[test]
    fn revoked_and_expired_are_told_only_to_who_knows_the_secret() {
        let (minted, guessed) = (mint("ci").unwrap(), mint("ci").unwrap());
        let check = |revoked: bool, expires: Option<i64>, now: i64, expected: Option<Kind>| {
            let keys = keys(vec![ApiKeyRecord { revoked, expires: expires.map(at), ..record("ci", &minted) }]);
            let kind = |text: &str| keys.verify(text, at(now)).err().map(|rejection| rejection.problem.kind);
            assert_eq!(kind(minted.text.expose()), expected, "{revoked} {expires:?} {now}");
            assert_eq!(kind(guessed.text.expose()), Some(Kind::Invalid));
        };
        check(false, None, 100, None);
        check(false, Some(100), 99, None);
        check(false, Some(100), 100, Some(Kind::Expired));
        check(true, None, 99, Some(Kind::Revoked));
        check(true, Some(100), 100, Some(Kind::Revoked));
    }

    #[test]
    fn a_rotated_key_counts_with_both_secrets_as_long_as_they_overlap() {
        let (old, new, guessed) = (mint("ci").unwrap(), mint("ci").unwrap(), mint("ci").unwrap());
        let previous = Some(PreviousSecret { sha256: old.sha256, until: at(100) });
        let keys = keys(vec![ApiKeyRecord { previous, ..record("ci", &new) }]);
        let kind = |minted: &MintedKey, now: i64| {
            keys.verify(minted.text.expose(), at(now)).err().map(|rejection| rejection.problem.kind)
        };
        assert_eq!((kind(&new, 99), kind(&old, 99), kind(&guessed, 99)), (None, None, Some(Kind::Invalid)));
        assert_eq!((kind(&new, 100), kind(&old, 100)), (None, Some(Kind::Expired)));
        assert_eq!(kind(&guessed, 100), Some(Kind::Invalid));
    }

    #[test]
    fn the_last_use_is_noted_once_a_minute() {
        let minted = mint("ci").unwrap();
        let keys = keys(vec![record("ci", &minted), record("other", &mint("other").unwrap())]);
        let uses = || keys.uses().map(|(id, used)| (id.to_owned(), used)).collect::<Vec<_>>();
        assert!(uses().is_empty());
        assert!(keys.verify(mint("ci").unwrap().text.expose(), at(500)).is_err());
        assert!(uses().is_empty(), "a guess is no use");
        for (now, expected) in [(1_000, 1_000), (1_059, 1_000), (1_060, 1_060), (1_061, 1_060)] {
            assert!(keys.verify(minted.text.expose(), at(now)).is_ok());
            assert_eq!(uses(), [("ci".to_owned(), expected)]);
        }
        keys.remember_use("ci", 900);
        keys.remember_use("other", 800);
        keys.remember_use("gone", 800);
        assert_eq!(uses().len(), 2);
        assert!(uses().contains(&("ci".to_owned(), 1_060)));
    }

    #[test]
    fn where_a_key_counts_goes_with_its_principal() {
        let minted = mint("ci").unwrap();
        let narrow = ApiKeyRecord { routes: vec!["billing".to_owned()], ..record("ci", &minted) };
        let principal = keys(vec![narrow]).verify(minted.text.expose(), at(0)).unwrap();
        let scope = principal.scope.as_ref().unwrap();
        assert_eq!((&*scope.routes[0], scope.networks.len()), ("billing", 0));
        assert!(keys(vec![record("ci", &minted)]).verify(minted.text.expose(), at(0)).unwrap().scope.is_none());
    }

    #[test]
    fn a_refusal_never_repeats_the_secret() {
        let minted = mint("ci").unwrap();
        let secret = minted.text.expose().split('_').nth(2).unwrap().to_owned();
        for text in
            [minted.text.expose().to_owned(), secret.clone(), format!("{secret}_x"), format!("pcl_{secret}_a_b")]
        {
            let rejection = keys(Vec::new()).verify(&text, at(0)).unwrap_err();
            assert!(!format!("{rejection:?}").contains(&secret), "{rejection:?}");
        }
    }
}
