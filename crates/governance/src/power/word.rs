//! A person's signed word on power that somebody asks for.

use jiff::Timestamp;

use crate::approval::Decision;
use crate::hash::Hash;
use crate::key::{PublicKey, SigningKey, pem};
use crate::request::unarmored;
use crate::wire::{Malformed, Parser, Writer};

const SIGNED: &str = "portcullis-power-v1";
const DOMAIN: &str = "portcullis-power-word-v1";
const LABEL: &str = "PORTCULLIS ACCESS APPROVAL";

/// A signature under one entry of one gateway's log, which says who asks for what and why, and in what place of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What is said.
    pub decision: Decision,
    /// When it was signed, in microseconds since 1970, as the signer says.
    pub signed: i64,
    /// With which key.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
}

fn signed_bytes(instance: Hash, entry: Hash, decision: Decision, signed: i64, key: PublicKey) -> Vec<u8> {
    let mut writer = Writer::new(SIGNED);
    writer.hash(instance);
    writer.hash(entry);
    writer.text(decision.as_str());
    writer.time(signed);
    writer.fixed(&key.0);
    writer.finish()
}

impl Word {
    /// Signs. `instance` is the gateway, and `entry` the hash of what is asked there.
    pub fn sign(instance: Hash, entry: Hash, decision: Decision, key: &SigningKey, now: Timestamp) -> Self {
        let (public, signed) = (key.public(), now.as_microsecond());
        let signature = key.sign(&signed_bytes(instance, entry, decision, signed, public));
        Self { decision, signed, key: public, signature }
    }

    /// Whether the signature is one under this.
    pub fn is_valid(&self, instance: Hash, entry: Hash) -> bool {
        let bytes = signed_bytes(instance, entry, self.decision, self.signed, self.key);
        self.key.verifies(&bytes, &self.signature)
    }

    /// As a block of text, with the number of what it is about.
    pub fn armored(&self, of: u64) -> String {
        let mut writer = Writer::new(DOMAIN);
        writer.number(of);
        self.write(&mut writer);
        pem(LABEL, &writer.finish())
    }

    /// Reads that.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_armored(text: &str) -> Result<(u64, Self), Malformed> {
        let bytes = unarmored(LABEL, text)?;
        let mut parser = Parser::new(&bytes, DOMAIN)?;
        let of = parser.number()?;
        let word = Self::read(&mut parser)?;
        parser.end()?;
        Ok((of, word))
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.text(self.decision.as_str());
        writer.time(self.signed);
        writer.fixed(&self.key.0);
        writer.fixed(&self.signature);
    }

    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        let decision = Decision::read(parser)?;
        Ok(Self {
            decision,
            signed: parser.time()?,
            key: PublicKey::from_bytes(parser.array()?).map_err(|_| Malformed)?,
            signature: parser.array()?,
        })
    }
}
