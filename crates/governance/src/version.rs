//! A version: a change that became live.

use crate::approval::Approval;
use crate::change::{Change, Rules};
use crate::hash::Hash;
use crate::wire::{Malformed, Parser, Writer};

/// Approvals of one version: each key once.
pub(crate) const MAX_APPROVALS: usize = 1_024;
const DOMAIN: &str = "portcullis-version-v1";

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
    /// Who made it live.
    pub by: String,
    /// The change.
    pub change: Change,
    /// Who approved it.
    pub approvals: Vec<Approval>,
}

impl Version {
    /// Its bytes, which the store keeps as they are.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.number(self.n);
        writer.hash(self.prev);
        writer.hash(self.instance);
        writer.time(self.time);
        writer.text(&self.by);
        self.change.write(&mut writer);
        writer.list(&self.approvals, |writer, approval| approval.write(writer));
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::new(bytes, DOMAIN)?;
        let version = Self {
            n: parser.number()?,
            prev: parser.hash()?,
            instance: parser.hash()?,
            time: parser.time()?,
            by: parser.text()?,
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

    /// Whether the version before it was in its steps still: that one never decided for everybody.
    pub fn cut_short_the_one_before(&self) -> bool {
        let who = REASONS.iter().fold(&*self.by, |by, reason| by.split_once(reason).map_or(by, |(who, _)| who));
        self.n > 1 && who.ends_with(&over(self.n.saturating_sub(1)))
    }

    /// What is demanded of the version after it.
    pub fn rules(&self) -> Rules {
        // Without approvers nobody could meet them.
        if self.change.approvers.is_none() { Rules { required: false, ..self.change.rules } } else { self.change.rules }
    }
}

/// Before the reasons that stand behind who made it live.
const REASONS: [&str; 2] = [", at once: ", ", unseen: "];

fn over(n: u64) -> String {
    format!(", over version {n} in its steps")
}

/// Who makes a version live, and that the one before it has not come through its steps. What is reasons comes last.
pub(crate) fn over_steps(by: &str, n: u64) -> String {
    let place = REASONS.iter().filter_map(|reason| by.find(reason)).min().unwrap_or(by.len());
    let (who, reasons) = by.split_at_checked(place).unwrap_or((by, ""));
    format!("{who}{}{reasons}", over(n))
}
