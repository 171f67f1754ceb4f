//! A person's word on a change: a signature under all of it.

use jiff::Timestamp;

use crate::change::Change;
use crate::hash::Hash;
use crate::key::{PublicKey, SigningKey};
use crate::wire::{Malformed, Parser, Writer};

const SIGNED: &str = "portcullis-approve-v1";
const DOMAIN: &str = "portcullis-approval-v1";

/// What somebody says of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may become live.
    Approve,
    /// It must not, whoever else approves.
    Reject,
}

impl Decision {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        let word = parser.text()?;
        [Self::Approve, Self::Reject].into_iter().find(|each| each.as_str() == word).ok_or(Malformed)
    }
}

/// A signature under a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What is said.
    pub decision: Decision,
    /// When it was signed, in microseconds since 1970, as the signer says.
    pub signed: i64,
    /// With which key.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
}

impl Approval {
    /// Signs. `instance` is the gateway whose change it is.
    pub fn sign(instance: Hash, change: &Change, decision: Decision, key: &SigningKey, now: Timestamp) -> Self {
        let (public, signed) = (key.public(), now.as_microsecond());
        let signature = key.sign(&signed_bytes(instance, change, decision, signed, public));
        Self { decision, signed, key: public, signature }
    }

    /// Whether the signature is one under this change of this gateway.
    pub fn is_valid(&self, instance: Hash, change: &Change) -> bool {
        let bytes = signed_bytes(instance, change, self.decision, self.signed, self.key);
        self.key.verifies(&bytes, &self.signature)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.text(self.decision.as_str());
        writer.time(self.signed);
        writer.fixed(&self.key.0);
        writer.fixed(&self.signature);
    }

    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        let decision = Decision::read(parser)?;
        let signed = parser.time()?;
        let key = PublicKey::from_bytes(parser.array()?).map_err(|_| Malformed)?;
        Ok(Self { decision, signed, key, signature: parser.array()? })
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::new(bytes, DOMAIN)?;
        let approval = Self::read(&mut parser)?;
        parser.end()?;
        Ok(approval)
    }
}

/// What is signed: for this purpose alone (the domain), for this gateway alone (the instance), and every value of the change.
fn signed_bytes(instance: Hash, change: &Change, decision: Decision, signed: i64, key: PublicKey) -> Vec<u8> {
    let mut writer = Writer::new(SIGNED);
    writer.hash(instance);
    change.write(&mut writer);
    writer.text(decision.as_str());
    writer.time(signed);
    writer.fixed(&key.0);
    writer.finish()
}
