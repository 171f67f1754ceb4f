//! A person's signed word that breaks glass: signed on any machine, whether the gateway can be reached from there or not, and carried to it.
//!
//! All that it gives is in what is signed: at which gateway, to whom, what, for how long, why, and until when it may be used. It is good once: the log keeps it for
//! at least as long as it could be used.

use std::fmt;

use aws_lc_rs::rand;
use jiff::{SignedDuration, Timestamp};

use crate::approver::Approver;
use crate::hash::Hash;
use crate::key::{KeyError, PublicKey, SigningKey, pem};
use crate::power::entry::{Asked, PowerKind};
use crate::request::unarmored;
use crate::wire::{Malformed, Parser, Writer};

const SIGNED: &str = "portcullis-break-glass-v1";
const DOMAIN: &str = "portcullis-break-glass-signed-v1";
const LABEL: &str = "PORTCULLIS BREAK-GLASS STATEMENT";

/// What somebody wants who breaks glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaking {
    /// At which gateway: the instance of its governance.
    pub instance: Hash,
    /// For whom: `user:alice`.
    pub principal: String,
    /// What it gives, as the engine reads it.
    pub gives: String,
    /// For how long, in seconds.
    pub lasts_s: u64,
    /// Why.
    pub reason: String,
    /// Where more is said; empty: nowhere.
    pub ticket: String,
}

/// The same with a person's signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    /// What is wanted.
    pub breaking: Breaking,
    /// When it was signed, in microseconds since 1970, as the signer says.
    pub signed: i64,
    /// It may be used until then, in microseconds since 1970.
    pub until: i64,
    /// What makes it another one than any of the same words.
    pub nonce: [u8; 16],
    /// With which key.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
}

impl Statement {
    /// It may be used for so long after it was signed, at most.
    pub const LONGEST: SignedDuration = SignedDuration::from_hours(24);

    /// Signs it: it may be used for so long from now.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn sign(breaking: Breaking, valid: SignedDuration, key: &SigningKey, now: Timestamp) -> Result<Self, KeyError> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| KeyError::NoRandomness)?;
        let until = now.saturating_add(valid.min(Self::LONGEST)).unwrap_or(now).as_microsecond();
        let mut statement =
            Self { breaking, signed: now.as_microsecond(), until, nonce, key: key.public(), signature: [0; 64] };
        statement.signature = key.sign(&statement.signed_bytes());
        Ok(statement)
    }

    /// What is signed: for this purpose alone (the domain), and every value.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(SIGNED);
        self.write_values(&mut writer);
        writer.finish()
    }

    fn write_values(&self, writer: &mut Writer) {
        // Exhaustive on purpose: a value that is not here is not signed.
        let Self { breaking, signed, until, nonce, key, signature: _ } = self;
        let Breaking { instance, principal, gives, lasts_s, reason, ticket } = breaking;
        writer.hash(*instance);
        writer.text(principal);
        writer.text(gives);
        writer.number(*lasts_s);
        writer.text(reason);
        writer.text(ticket);
        writer.time(*signed);
        writer.time(*until);
        writer.fixed(nonce);
        writer.fixed(&key.0);
    }

    /// Whether the key has signed it.
    pub fn is_valid(&self) -> bool {
        self.key.verifies(&self.signed_bytes(), &self.signature)
    }

    /// Whether it is this that was asked for by it.
    pub(super) fn wants(&self, asked: &Asked) -> bool {
        // Exhaustive on purpose: a value that is not here would be nobody's word.
        let Asked { kind, principal, gives, lasts_s, reason, ticket, approvals, waits_s: _ } = asked;
        let Breaking { instance: _, principal: own, gives: given, lasts_s: lasts, reason: why, ticket: where_more } =
            &self.breaking;
        *kind == PowerKind::BreakGlass
            && *approvals == 0
            && (principal, gives, lasts_s, reason, ticket) == (own, given, lasts, why, where_more)
    }

    /// Whether its principal is this person, by the very name: who only may be the same person gets nothing.
    pub(super) fn is_of(&self, approver: &Approver) -> bool {
        let principal = &self.breaking.principal;
        principal.strip_prefix("user:").is_some_and(|id| {
            let mut names = std::iter::once(&approver.person).chain(&approver.aliases);
            names.any(|name| name == principal || name == id)
        })
    }

    /// Whether it can be used for no longer than a statement may be.
    pub(super) fn is_short(&self) -> bool {
        let longest = i64::try_from(Self::LONGEST.as_micros()).unwrap_or(i64::MAX);
        self.until.saturating_sub(self.signed) <= longest
    }

    /// What the log knows it by: the hash of what is signed. A signature has one form, but whoever has the key could make several under one statement.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.signed_bytes())
    }

    /// As a block of text.
    pub fn armored(&self) -> String {
        let mut writer = Writer::new(DOMAIN);
        self.write(&mut writer);
        pem(LABEL, &writer.finish())
    }

    /// Reads that.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_armored(text: &str) -> Result<Self, Malformed> {
        let bytes = unarmored(LABEL, text)?;
        let mut parser = Parser::new(&bytes, DOMAIN)?;
        let statement = Self::read(&mut parser)?;
        parser.end()?;
        Ok(statement)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.write_values(writer);
        writer.fixed(&self.signature);
    }

    pub(super) fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            breaking: Breaking {
                instance: parser.hash()?,
                principal: parser.text()?,
                gives: parser.text()?,
                lasts_s: parser.number()?,
                reason: parser.text()?,
                ticket: parser.text()?,
            },
            signed: parser.time()?,
            until: parser.time()?,
            nonce: parser.array()?,
            key: PublicKey::from_bytes(parser.array()?).map_err(|_| Malformed)?,
            signature: parser.array()?,
        })
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the signature: whoever has all of it can use it.
        formatter
            .debug_struct("Statement")
            .field("breaking", &self.breaking)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
