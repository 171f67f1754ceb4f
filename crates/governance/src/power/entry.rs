//! One line of the log.

use crate::hash::Hash;
use crate::power::statement::Statement;
use crate::power::word::Word;
use crate::wire::{Malformed, Parser, Writer};

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 512;
/// The longest name of a ticket, in bytes.
pub const MAX_TICKET: usize = 128;
/// Names of one person or account.
const MAX_NAMES: usize = 64;
const DOMAIN: &str = "portcullis-power-entry-v1";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub n: u64,
    /// The hash of the one before.
    pub prev: Hash,
    /// When, in microseconds since 1970, by the time of day.
    pub at: i64,
    /// Every name of who did it. Nobody: the gateway.
    pub by: Vec<String>,
    /// What.
    pub act: Act,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Somebody asks for power. It is called by the number of this entry.
    Asked(Asked),
    /// The person whom it is for has signed that it breaks glass.
    Signed {
        /// What.
        of: u64,
        /// What the person signed.
        statement: Box<Statement>,
    },
    /// A person approves it.
    Approved {
        /// What.
        of: u64,
        /// What the person signed; `None`: its account's word.
        word: Option<Word>,
    },
    /// It is refused.
    Rejected {
        /// What.
        of: u64,
        /// Why.
        reason: String,
    },
    /// It is in force.
    Began {
        /// What.
        of: u64,
        /// Until then, by the time of day.
        until: i64,
    },
    /// It is not in force any more.
    Ended {
        /// What.
        of: u64,
        /// Why.
        reason: String,
    },
    /// It is not in force any more, since nobody can have approved it as it had to be: no gateway wrote that it began. Nobody says so but the gateway.
    Unvouched {
        /// What.
        of: u64,
        /// What is missing.
        reason: String,
    },
    /// A person has looked at what was done with it.
    Reviewed {
        /// What.
        of: u64,
        /// What the person found; may be empty.
        remark: String,
        /// What the person signed; `None`: its account's word.
        word: Option<Word>,
    },
    /// The clock was set back by this many microseconds: what is in force ends as much earlier by it.
    SetBack {
        /// How far; more than 0.
        by: i64,
    },
    /// Old entries were let go, to make room.
    Forgot {
        /// None of them is behind this one. What is behind it is a chain without a gap.
        up_to: u64,
        /// What is left up to there: the hash of the hashes of all these entries, in order.
        left: Hash,
    },
}

impl Act {
    /// The power that it is about, in the entry of this number; `None`: about none.
    pub(super) fn of(&self, n: u64) -> Option<u64> {
        match self {
            Self::Asked(_) => Some(n),
            Self::Signed { of, .. }
            | Self::Approved { of, .. }
            | Self::Rejected { of, .. }
            | Self::Began { of, .. }
            | Self::Ended { of, .. }
            | Self::Unvouched { of, .. }
            | Self::Reviewed { of, .. } => Some(*of),
            Self::SetBack { .. } | Self::Forgot { .. } => None,
        }
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What kind of power it is.
    pub kind: PowerKind,
    /// For whom: `user:alice`.
    pub principal: String,
    /// What it gives, as the engine reads it. Of a seal: the hash of its code; of a request: what was refused.
    pub gives: String,
    /// For how long, in seconds.
    pub lasts_s: u64,
    /// Why.
    pub reason: String,
    /// Where more is said; empty: nowhere. Of a request and what it led to: the id of the refusal's event.
    pub ticket: String,
    /// How many persons must approve.
    pub approvals: u8,
    /// How long they may be waited for, in seconds.
    pub waits_s: u64,
}

/// What can be had by breaking glass: `[break_glass]` of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BreakGlassRules {
    /// The roles, by name; at least one.
    pub roles: Vec<String>,
    /// The routes, by name; empty: every one.
    pub routes: Vec<String>,
    /// For at most so many seconds.
    pub max_s: u64,
    /// The approvers, by name, who break glass by what they sign with an enrolled key: for themselves. Empty: it is broken by codes alone.
    pub signers: Vec<String>,
}

impl BreakGlassRules {
    /// Glass is broken for no longer, whatever a file says, in seconds.
    pub const LONGEST_S: u64 = 4 * 3_600;

    /// Whether all that these give the others give as well, and for as long.
    pub fn are_within(&self, others: &Self) -> bool {
        let routes = others.routes.is_empty()
            || (!self.routes.is_empty() && self.routes.iter().all(|route| others.routes.contains(route)));
        routes
            && self.roles.iter().all(|role| others.roles.contains(role))
            && self.max_s <= others.max_s
            && self.signers.iter().all(|signer| others.signers.contains(signer))
    }
}

/// The kinds of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerKind {
    /// An eligible assignment is activated.
    Activation,
    /// A code lies sealed, with which one person gets power at once. It gives nothing itself.
    Seal,
    /// Somebody has broken a seal.
    BreakGlass,
    /// Somebody who was refused asks for access. It gives nothing itself.
    Request,
    /// A role is lent, since somebody asked.
    Loan,
}

impl PowerKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Activation, Self::Seal, Self::BreakGlass, Self::Request, Self::Loan];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Seal => "seal",
            Self::BreakGlass => "break_glass",
            Self::Request => "request",
            Self::Loan => "loan",
        }
    }

    /// Whether it gives its principal anything while it is in force.
    pub const fn gives_access(self) -> bool {
        match self {
            Self::Activation | Self::BreakGlass | Self::Loan => true,
            Self::Seal | Self::Request => false,
        }
    }
}

/// What is wrong with a text that people wrote; `None`: nothing.
pub fn text_problem(text: &str, most: usize) -> Option<String> {
    let bad = text.len() > most || text.chars().any(char::is_control);
    bad.then(|| format!("at most {most} bytes without control characters"))
}

fn write_word(writer: &mut Writer, word: Option<&Word>) {
    writer.byte(u8::from(word.is_some()));
    if let Some(word) = word {
        word.write(writer);
    }
}

fn read_word(parser: &mut Parser<'_>) -> Result<Option<Word>, Malformed> {
    match parser.byte()? {
        0 => Ok(None),
        1 => Word::read(parser).map(Some),
        _ => Err(Malformed),
    }
}

impl Entry {
    /// The hash of [`Self::encode`].
    pub fn hash(&self) -> Hash {
        Hash::of(&self.encode())
    }

    /// Its bytes, the same for the same entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.number(self.n);
        writer.hash(self.prev);
        writer.time(self.at);
        writer.list(&self.by, |writer, name| writer.text(name));
        match &self.act {
            Act::Asked(asked) => {
                writer.text("asked");
                writer.text(asked.kind.as_str());
                writer.text(&asked.principal);
                writer.text(&asked.gives);
                writer.number(asked.lasts_s);
                writer.text(&asked.reason);
                writer.text(&asked.ticket);
                writer.byte(asked.approvals);
                writer.number(asked.waits_s);
            }
            Act::Signed { of, statement } => {
                writer.text("signed");
                writer.number(*of);
                statement.write(&mut writer);
            }
            Act::Approved { of, word } => {
                writer.text("approved");
                writer.number(*of);
                write_word(&mut writer, word.as_ref());
            }
            Act::Reviewed { of, remark, word } => {
                writer.text("reviewed");
                writer.number(*of);
                writer.text(remark);
                write_word(&mut writer, word.as_ref());
            }
            Act::Rejected { of, reason } => {
                writer.text("rejected");
                writer.number(*of);
                writer.text(reason);
            }
            Act::Began { of, until } => {
                writer.text("began");
                writer.number(*of);
                writer.time(*until);
            }
            Act::Ended { of, reason } => {
                writer.text("ended");
                writer.number(*of);
                writer.text(reason);
            }
            Act::Unvouched { of, reason } => {
                writer.text("unvouched");
                writer.number(*of);
                writer.text(reason);
            }
            Act::SetBack { by } => {
                writer.text("set-back");
                writer.time(*by);
            }
            Act::Forgot { up_to, left } => {
                writer.text("forgot");
                writer.number(*up_to);
                writer.hash(*left);
            }
        }
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::new(bytes, DOMAIN)?;
        let (n, prev, at) = (parser.number()?, parser.hash()?, parser.time()?);
        let by = parser.list(MAX_NAMES, Parser::text)?;
        let act = match parser.text()?.as_str() {
            "asked" => Act::Asked(Asked {
                kind: {
                    let word = parser.text()?;
                    *PowerKind::ALL.iter().find(|kind| kind.as_str() == word).ok_or(Malformed)?
                },
                principal: parser.text()?,
                gives: parser.text()?,
                lasts_s: parser.number()?,
                reason: parser.text()?,
                ticket: parser.text()?,
                approvals: parser.byte()?,
                waits_s: parser.number()?,
            }),
            "signed" => Act::Signed { of: parser.number()?, statement: Box::new(Statement::read(&mut parser)?) },
            "approved" => Act::Approved { of: parser.number()?, word: read_word(&mut parser)? },
            "reviewed" => Act::Reviewed { of: parser.number()?, remark: parser.text()?, word: read_word(&mut parser)? },
            "rejected" => Act::Rejected { of: parser.number()?, reason: parser.text()? },
            "began" => Act::Began { of: parser.number()?, until: parser.time()? },
            "ended" => Act::Ended { of: parser.number()?, reason: parser.text()? },
            "unvouched" => Act::Unvouched { of: parser.number()?, reason: parser.text()? },
            "set-back" => Act::SetBack { by: parser.time()? },
            "forgot" => Act::Forgot { up_to: parser.number()?, left: parser.hash()? },
            _ => return Err(Malformed),
        };
        parser.end()?;
        Ok(Self { n, prev, at, by, act })
    }
}
