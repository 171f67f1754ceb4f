//! A version: a change that became live.

use crate::approval::Approval;
use crate::change::{Change, Rules};
use crate::hash::Hash;
use crate::wire::{Malformed, Parser, Writer};

/// Approvals of one version: each key once.
pub(crate) const MAX_APPROVALS: usize = 1_024;
/// Of a version that became live as a change does by itself: all of them, before exceptions were fields of their own.
const DOMAIN: &str = "portcullis-version-v1";
/// Of one with exceptions, which stand behind who made it live.
const DOMAIN_V2: &str = "portcullis-version-v2";

/// What was left out when a change became live, each with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// Its steps.
    pub at_once: Option<String>,
    /// That it is tried once more, where it was signed by what was foreseen and nobody could look.
    pub unseen: Option<String>,
    /// The rest of the steps of the version before: that one never decided for everybody.
    pub cut_short: bool,
}

impl Exceptions {
    /// None was made.
    pub fn is_empty(&self) -> bool {
        self.at_once.is_none() && self.unseen.is_none() && !self.cut_short
    }

    fn write(&self, writer: &mut Writer) {
        for reason in [&self.at_once, &self.unseen] {
            writer.byte(u8::from(reason.is_some()));
            if let Some(reason) = reason {
                writer.text(reason);
            }
        }
        writer.byte(u8::from(self.cut_short));
    }

    fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        let mut reason = || match parser.byte()? {
            0 => Ok(None),
            1 => parser.text().map(Some),
            _ => Err(Malformed),
        };
        let (at_once, unseen) = (reason()?, reason()?);
        let cut_short = match parser.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        let exceptions = Self { at_once, unseen, cut_short };
        // Without one it is written as it always was, so that what a version says has one form.
        if exceptions.is_empty() { Err(Malformed) } else { Ok(exceptions) }
    }
}

/// Who makes a change live, and with which exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeLive {
    /// Who.
    pub by: String,
    /// What is left out.
    pub exceptions: Exceptions,
}

impl From<&str> for MadeLive {
    fn from(by: &str) -> Self {
        Self { by: by.to_owned(), exceptions: Exceptions::default() }
    }
}

/// A link of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// 1 for the first.
    pub n: u64,
    /// The hash of the one before; none of the first.
    pub prev: Hash,
    /// Which gateway's log it is: the hash of the version that began governance; none before that and in it.
    pub instance: Hash,
    /// When it became live, in microseconds since 1970.
    pub time: i64,
    /// Who made it live. One from before exceptions were fields of their own may have them here, as words behind the name.
    pub by: String,
    /// What was left out when it became live.
    pub exceptions: Exceptions,
    /// The change.
    pub change: Change,
    /// Who approved it.
    pub approvals: Vec<Approval>,
}

impl Version {
    /// Its bytes, which the store keeps as they are.
    pub fn encode(&self) -> Vec<u8> {
        let has_exceptions = !self.exceptions.is_empty();
        let mut writer = Writer::new(if has_exceptions { DOMAIN_V2 } else { DOMAIN });
        writer.number(self.n);
        writer.hash(self.prev);
        writer.hash(self.instance);
        writer.time(self.time);
        writer.text(&self.by);
        if has_exceptions {
            self.exceptions.write(&mut writer);
        }
        self.change.write(&mut writer);
        writer.list(&self.approvals, |writer, approval| approval.write(writer));
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (domain, mut parser) = Parser::any(bytes)?;
        let has_exceptions = match &*domain {
            DOMAIN => false,
            DOMAIN_V2 => true,
            _ => return Err(Malformed),
        };
        let version = Self {
            n: parser.number()?,
            prev: parser.hash()?,
            instance: parser.hash()?,
            time: parser.time()?,
            by: parser.text()?,
            exceptions: if has_exceptions { Exceptions::read(&mut parser)? } else { Exceptions::default() },
            change: Change::read(&mut parser)?,
            approvals: parser.list(MAX_APPROVALS, Approval::read)?,
        };
        parser.end()?;
        Ok(version)
    }

    /// Its hash, which is the next one's `prev`.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.encode())
    }

    /// Whether governance began with it: the first that has approvers.
    pub fn begins_governance(&self) -> bool {
        self.instance.is_none() && !self.change.approvers.is_none()
    }

    /// Which gateway the versions after it belong to.
    pub fn instance_after(&self) -> Hash {
        if self.begins_governance() { self.hash() } else { self.instance }
    }

    /// What is demanded of the version after it.
    pub fn rules(&self) -> Rules {
        // Without approvers nobody could meet them.
        if self.change.approvers.is_none() { Rules { required: false, ..self.change.rules } } else { self.change.rules }
    }
}
