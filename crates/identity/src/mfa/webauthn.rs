//! Passkeys (WebAuthn Level 3): an authenticator that knows its holder by a finger, a face or a PIN signs a challenge for this place alone.
//!
//! What is verified is what sections 7.1 and 7.2 demand of a relying party that wants no attestation: the challenge is the one that was given, the origin is
//! one of ours, the page is not in somebody else's frame, the authenticator meant this relying party, its holder was there (UP) and was recognised (UV),
//! and the signature is one of the registered key. A signature counter that does not grow is a copy of the authenticator, and is refused.
//!
//! It is a verifier of its own and no library: the one that there is brings a second stack for cryptography (and the crate `rsa`, which this workspace does not
//! have for RUSTSEC-2023-0071), for attestation formats that are not wanted here.

mod cbor;
mod cose;

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::secret::sha256;
use crate::strict_json::parse_object;
use cbor::Item;
use cose::PublicKey;

/// What an authenticator is asked for, as COSE numbers, the preferred one first.
pub const ALGORITHMS: [i64; 3] = cose::ALGORITHMS;

/// The longest piece that a browser sends, in bytes.
const MAX_CLIENT_DATA: usize = 4 * 1024;
const MAX_ATTESTATION: usize = 16 * 1024;
const MAX_SIGNATURE: usize = 1024;
/// Section 4: at most 1,023 bytes.
const MAX_CREDENTIAL: usize = 1023;

/// Flags of the authenticator's data (section 6.1).
const PRESENT: u8 = 1 << 0;
const VERIFIED: u8 = 1 << 2;
const ELIGIBLE_FOR_BACKUP: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// For whom passkeys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    /// A domain: that of the origins, or one above them. Passkeys are bound to it.
    pub id: Box<str>,
    /// What people see.
    pub name: Box<str>,
    /// `https://HOST[:PORT]` of each place where they are shown.
    pub origins: Vec<Box<str>>,
}

/// What an authenticator signs, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Challenge(pub(crate) [u8; 32]);

impl Challenge {
    /// One that nobody has seen; `None` where the system gives no random bytes.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As browsers write it.
    pub fn base64url(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// The one that a page sends back.
    pub fn parse(text: &str) -> Option<Self> {
        BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

/// A passkey that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPasskey {
    /// Its id.
    pub credential: Box<[u8]>,
    /// Its public key, in COSE.
    pub public_key: Box<[u8]>,
    /// Its signature counter.
    pub counter: u32,
}

/// What a browser says of a passkey that was made.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'r> {
    /// `response.clientDataJSON`
    pub client_data: &'r [u8],
    /// `response.attestationObject`
    pub attestation: &'r [u8],
}

/// What a browser says of a passkey that was used.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// `rawId`
    pub credential: &'a [u8],
    /// `response.clientDataJSON`
    pub client_data: &'a [u8],
    /// `response.authenticatorData`
    pub authenticator_data: &'a [u8],
    /// `response.signature`
    pub signature: &'a [u8],
}

/// What is wrong with it, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// A piece is too long or malformed.
    #[error("it is malformed")]
    Malformed,
    /// It answers another challenge, or was made for another purpose.
    #[error("it answers another challenge")]
    OtherChallenge,
    /// It was made on a page of another place, or in somebody else's frame.
    #[error("it was made on a page of another origin")]
    OtherOrigin,
    /// The authenticator meant another relying party.
    #[error("it is for another relying party")]
    OtherRelyingParty,
    /// Nobody was there, or the authenticator did not recognise its holder.
    #[error("the authenticator did not recognise its holder")]
    NotVerified,
    /// It came with an attestation, which was not asked for, or with a key of another kind.
    #[error("its key or its attestation is of a kind that is not accepted")]
    NotAccepted,
    /// The signature is not one of the key.
    #[error("the signature does not hold")]
    BadSignature,
    /// The signature counter does not grow.
    #[error("its counter did not grow: there may be a copy of the authenticator")]
    Copied,
}

impl RelyingParty {
    /// Verifies a passkey that was just made for this challenge.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn register(&self, challenge: &Challenge, made: Registration<'_>) -> Result<NewPasskey, PasskeyError> {
        self.check_client_data(made.client_data, "webauthn.create", challenge)?;
        if made.attestation.len() > MAX_ATTESTATION {
            return Err(PasskeyError::Malformed);
        }
        let object = Item::parse(made.attestation).map_err(|_| PasskeyError::Malformed)?;
        let field = |name: &'static str| object.get(&Item::Text(name)).ok_or(PasskeyError::Malformed);
        // Section 8.7: none was asked for, so that nothing is told of the authenticator.
        if *field("fmt")? != Item::Text("none") || *field("attStmt")? != Item::Map(Vec::new()) {
            return Err(PasskeyError::NotAccepted);
        }
        let bytes = field("authData")?.as_bytes().ok_or(PasskeyError::Malformed)?;
        let data = AuthenticatorData::read(bytes)?;
        self.check(&data)?;
        let (credential, public_key) = data.credential.ok_or(PasskeyError::Malformed)?;
        let key = Item::parse(public_key).map_err(|_| PasskeyError::Malformed)?;
        PublicKey::read(&key).ok_or(PasskeyError::NotAccepted)?;
        Ok(NewPasskey { credential: credential.into(), public_key: public_key.into(), counter: data.counter })
    }

    /// Verifies that the passkey with this public key answers the challenge. `counter`: the last one that was seen. Returns the one of now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        &self,
        challenge: &Challenge,
        used: Assertion<'_>,
        public_key: &[u8],
        counter: i64,
    ) -> Result<u32, PasskeyError> {
        self.check_client_data(used.client_data, "webauthn.get", challenge)?;
        if used.authenticator_data.len() > MAX_ATTESTATION || used.signature.len() > MAX_SIGNATURE {
            return Err(PasskeyError::Malformed);
        }
        let data = AuthenticatorData::read(used.authenticator_data)?;
        self.check(&data)?;
        let key = Item::parse(public_key).ok();
        let key = key.as_ref().and_then(PublicKey::read).ok_or(PasskeyError::NotAccepted)?;
        let signed = [used.authenticator_data, &sha256(used.client_data)].concat();
        if !key.verifies(&signed, used.signature) {
            return Err(PasskeyError::BadSignature);
        }
        // Section 6.1.1: those that do not count say 0, always.
        if (data.counter != 0 || counter != 0) && i64::from(data.counter) <= counter {
            return Err(PasskeyError::Copied);
        }
        Ok(data.counter)
    }

    /// Section 5.8.1.
    fn check_client_data(&self, json: &[u8], purpose: &str, challenge: &Challenge) -> Result<(), PasskeyError> {
        if json.len() > MAX_CLIENT_DATA {
            return Err(PasskeyError::Malformed);
        }
        let data = parse_object(json).map_err(|_| PasskeyError::Malformed)?;
        let text = |name: &str| data.get(name).and_then(Value::as_str).ok_or(PasskeyError::Malformed);
        let answered = BASE64URL_NOPAD.decode(text("challenge")?.as_bytes()).map_err(|_| PasskeyError::Malformed)?;
        let is_ours: bool = answered.ct_eq(&challenge.0).into();
        if text("type")? != purpose || !is_ours {
            return Err(PasskeyError::OtherChallenge);
        }
        let origin = text("origin")?;
        let in_frame = match data.get("crossOrigin") {
            None | Some(Value::Bool(false)) => data.get("topOrigin").is_some(),
            Some(_) => true,
        };
        if in_frame || !self.origins.iter().any(|own| **own == *origin) {
            return Err(PasskeyError::OtherOrigin);
        }
        Ok(())
    }

    fn check(&self, data: &AuthenticatorData<'_>) -> Result<(), PasskeyError> {
        if data.relying_party != sha256(self.id.as_bytes()) {
            return Err(PasskeyError::OtherRelyingParty);
        }
        let has = |flag: u8| data.flags & flag != 0;
        if !has(PRESENT) || !has(VERIFIED) {
            return Err(PasskeyError::NotVerified);
        }
        // What cannot be backed up is not.
        if has(BACKED_UP) && !has(ELIGIBLE_FOR_BACKUP) {
            return Err(PasskeyError::Malformed);
        }
        Ok(())
    }
}

/// Section 6.1.
#[derive(Debug)]
struct AuthenticatorData<'d> {
    relying_party: [u8; 32],
    flags: u8,
    counter: u32,
    /// The id and the public key of a passkey that was made.
    credential: Option<(&'d [u8], &'d [u8])>,
}

impl<'d> AuthenticatorData<'d> {
    fn read(bytes: &'d [u8]) -> Result<Self, PasskeyError> {
        const MALFORMED: PasskeyError = PasskeyError::Malformed;
        let (relying_party, rest) = bytes.split_first_chunk::<32>().ok_or(MALFORMED)?;
        let ([flags, counter @ ..], mut rest) = rest.split_first_chunk::<5>().ok_or(MALFORMED)?;
        let mut credential = None;
        if flags & HAS_CREDENTIAL != 0 {
            // The model of the authenticator says nothing that is asked here.
            let (_, after) = rest.split_first_chunk::<16>().ok_or(MALFORMED)?;
            let (length, after) = after.split_first_chunk::<2>().ok_or(MALFORMED)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (id, after) = after.split_at_checked(length).ok_or(MALFORMED)?;
            if id.is_empty() || length > MAX_CREDENTIAL {
                return Err(MALFORMED);
            }
            let (_, behind) = Item::parse_first(after).map_err(|_| MALFORMED)?;
            let (key, _) = after.split_at_checked(after.len().saturating_sub(behind.len())).ok_or(MALFORMED)?;
            credential = Some((id, key));
            rest = behind;
        }
        if flags & HAS_EXTENSIONS != 0 {
            let (extensions, behind) = Item::parse_first(rest).map_err(|_| MALFORMED)?;
            if !matches!(extensions, Item::Map(_)) {
                return Err(MALFORMED);
            }
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        let counter = u32::from_be_bytes(*counter);
        Ok(Self { relying_party: *relying_party, flags: *flags, counter, credential })
    }
}

#[cfg(test)]
mod tests;
