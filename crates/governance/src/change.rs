//! A change that somebody proposes, with all that an approval is bound to.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};

use crate::hash::Hash;
use crate::wire::{Malformed, Parser, Writer};

/// The longest reason, ticket or name of an author, in bytes.
pub(crate) const MAX_TEXT: usize = 1_024;
/// Names of one author.
const MAX_NAMES: usize = 32;
const DOMAIN: &str = "portcullis-change-v1";

/// What kind of version a change makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Another content.
    Change,
    /// The content of an earlier version.
    Rollback,
    /// A list of a network that keeps itself current.
    Feed,
    /// Other thresholds of the risk score.
    Calibration,
    /// Power in an emergency.
    BreakGlass,
    /// Other approvers.
    Keys,
    /// The content of the version before, by itself: a version that was rolled out and denied too much.
    Revert,
    /// What keys of approvers are to be replaced by, once a delay is over: it changes nothing yet.
    Recovery,
    /// The approvers that the version before said, now that its delay is over.
    Recovered,
    /// An approver's no to the recovery that began with the version before.
    Veto,
    /// The content that is live without what one earlier version changed in it.
    Undo,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Change,
        Self::Rollback,
        Self::Feed,
        Self::Calibration,
        Self::BreakGlass,
        Self::Keys,
        Self::Revert,
        Self::Recovery,
        Self::Recovered,
        Self::Veto,
        Self::Undo,
    ];

    /// Whether a version of it may come into force step by step.
    pub const fn can_take_steps(self) -> bool {
        match self {
            Self::Change | Self::Rollback | Self::Undo => true,
            Self::Feed
            | Self::Calibration
            | Self::BreakGlass
            | Self::Keys
            | Self::Revert
            | Self::Recovery
            | Self::Recovered
            | Self::Veto => false,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Rollback => "rollback",
            Self::Feed => "feed",
            Self::Calibration => "calibration",
            Self::BreakGlass => "breakglass",
            Self::Keys => "keys",
            Self::Revert => "revert",
            Self::Recovery => "recovery",
            Self::Recovered => "recovered",
            Self::Veto => "veto",
            Self::Undo => "undo",
        }
    }
}

/// What a change does to requests, as the engine computed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Every request is answered alike.
    Neutral,
    /// Some requests get less far, and none further.
    Tightens,
    /// Some requests get further, and none less far.
    Loosens,
    /// Both, or it is not known.
    Mixed,
}

impl Class {
    const ALL: [Self; 4] = [Self::Neutral, Self::Tightens, Self::Loosens, Self::Mixed];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Neutral => "neutral",
            Self::Tightens => "tightens",
            Self::Loosens => "loosens",
            Self::Mixed => "mixed",
        }
    }

    /// What a change back does.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::Neutral => Self::Neutral,
            Self::Tightens => Self::Loosens,
            Self::Loosens => Self::Tightens,
            Self::Mixed => Self::Mixed,
        }
    }
}

/// What a content demands of the change that comes after it: `[governance]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether only what was approved becomes live.
    pub required: bool,
    /// Persons for a change that only tightens, or changes nothing.
    pub tighten: u8,
    /// Persons for a change that loosens, or may.
    pub loosen: u8,
    /// Persons of the old and of the new approvers for a change of these, and for a change of the rules.
    pub keys: u8,
    /// How long a proposal can be approved and activated, in seconds.
    pub proposal_ttl_s: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { required: false, tighten: 1, loosen: 2, keys: 2, proposal_ttl_s: 72 * 3_600 }
    }
}

/// What a change is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub [u8; 16]);

impl ChangeId {
    /// One that nobody has.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, crate::KeyError> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_| crate::KeyError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// As people write it: the first eight digits, where that is enough.
    pub fn short(self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ChangeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChangeId({})", self.short())
    }
}

impl FromStr for ChangeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "expected the id of a change: 32 digits of hex".to_owned())
    }
}

/// What somebody proposes. All of it is signed by who approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is called.
    pub id: ChangeId,
    /// What kind of version it makes.
    pub kind: Kind,
    /// What it does to requests.
    pub class: Class,
    /// The number of the version that it changes; 0 where there is none.
    pub base_n: u64,
    /// The hash of that version.
    pub base: Hash,
    /// The hash of the files.
    pub content: Hash,
    /// The digest of what of the files is governed.
    pub governed: Hash,
    /// The hash of the approvers that are from then on.
    pub approvers: Hash,
    /// The hash of the report on what was foreseen of its impact, or on why nothing was; none where nobody looked.
    pub impact: Hash,
    /// What the new content demands of the change after it.
    pub rules: Rules,
    /// Of a rollback: the version whose content it is. Of an undoing: the version whose change is taken out of what is live.
    pub restores: u64,
    /// Who wants it: every name that is known of the author, at least one.
    pub authors: Vec<String>,
    /// Why.
    pub reason: String,
    /// Where more is said of it; may be empty.
    pub ticket: String,
    /// When it was proposed, in microseconds since 1970.
    pub created: i64,
    /// Until when it can be approved and activated, in microseconds since 1970.
    pub expires: i64,
    /// Of a recovery: the hash of the approvers that there are once its delay is over, while `approvers` are those of now. None of everything else.
    pub recovers: Hash,
}

impl Change {
    /// Whether its time is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now.as_microsecond() >= self.expires
    }

    /// When the time of a change that begins now is over.
    pub(crate) fn end(rules: &Rules, now: Timestamp) -> Timestamp {
        let ttl = SignedDuration::from_secs(i64::try_from(rules.proposal_ttl_s).unwrap_or(i64::MAX));
        now.checked_add(ttl).unwrap_or(Timestamp::MAX)
    }

    /// What is wrong with its texts; `None`: nothing.
    pub(crate) fn text_problem(&self) -> Option<String> {
        let bad = |text: &String| text.len() > MAX_TEXT || text.chars().any(char::is_control);
        if self.authors.is_empty() || self.authors.len() > MAX_NAMES || self.authors.iter().any(String::is_empty) {
            return Some("the author must be named".to_owned());
        }
        if self.reason.trim().is_empty() {
            return Some("the reason must be there".to_owned());
        }
        if [&self.reason, &self.ticket].into_iter().chain(&self.authors).any(bad) {
            return Some(format!(
                "the reason, the ticket and the author are one line each, of at most {MAX_TEXT} bytes"
            ));
        }
        None
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.fixed(&self.id.0);
        writer.text(self.kind.as_str());
        writer.text(self.class.as_str());
        writer.number(self.base_n);
        for hash in [self.base, self.content, self.governed, self.approvers, self.impact] {
            writer.hash(hash);
        }
        let Rules { required, tighten, loosen, keys, proposal_ttl_s } = self.rules;
        [u8::from(required), tighten, loosen, keys].into_iter().for_each(|byte| writer.byte(byte));
        writer.number(proposal_ttl_s);
        writer.number(self.restores);
        writer.list(&self.authors, |writer, author| writer.text(author));
        writer.text(&self.reason);
        writer.text(&self.ticket);
        writer.time(self.created);
        writer.time(self.expires);
        // What stands there is told by the kind, so that the bytes of all other changes are what they were.
        if self.kind == Kind::Recovery {
            writer.hash(self.recovers);
        }
    }

    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, Malformed> {
        let id = ChangeId(parser.array()?);
        let kind = parser.text()?;
        let kind = Kind::ALL.into_iter().find(|each| each.as_str() == kind).ok_or(Malformed)?;
        let class = parser.text()?;
        let class = Class::ALL.into_iter().find(|each| each.as_str() == class).ok_or(Malformed)?;
        let base_n = parser.number()?;
        let (base, content, governed) = (parser.hash()?, parser.hash()?, parser.hash()?);
        let (approvers, impact) = (parser.hash()?, parser.hash()?);
        let required = match parser.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        let (tighten, loosen, keys) = (parser.byte()?, parser.byte()?, parser.byte()?);
        let rules = Rules { required, tighten, loosen, keys, proposal_ttl_s: parser.number()? };
        Ok(Self {
            id,
            kind,
            class,
            base_n,
            base,
            content,
            governed,
            approvers,
            impact,
            rules,
            restores: parser.number()?,
            authors: parser.list(MAX_NAMES, Parser::text)?,
            reason: parser.text()?,
            ticket: parser.text()?,
            created: parser.time()?,
            expires: parser.time()?,
            recovers: if kind == Kind::Recovery { parser.hash()? } else { Hash::NONE },
        })
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
        let change = Self::read(&mut parser)?;
        parser.end()?;
        Ok(change)
    }
}
