//! Power that somebody asked for, and what became of it.

use jiff::Timestamp;

use crate::approver::ApproverSet;
use crate::hash::Hash;
use crate::power::book::micros;
use crate::power::entry::{Act, Asked, Entry, PowerKind};
use crate::power::persons::{Names, names_of_principal};
use crate::power::statement::Statement;
use crate::power::word::Word;

/// Persons who must look at what was done with a broken seal.
pub const REVIEWERS: usize = 2;

/// Before the number of the loan that a request led to, in its reason.
pub const GRANTED: &str = "granted as ";

/// Before what is missing, in the reason why something ended that nobody can have approved: for people, and never a mark of it.
const UNVOUCHED: &str = "it was not approved as it had to be: ";

/// Power that somebody asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// What it is called: the number of the entry that asks for it.
    pub n: u64,
    /// The hash of the entry before that one.
    pub prev: Hash,
    /// The hash of that entry: what approvers sign.
    pub hash: Hash,
    /// What is asked for.
    pub asked: Asked,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Every name of who asked.
    pub by: Vec<String>,
    /// Who has approved: all names of each.
    pub approved: Vec<Vec<String>>,
    /// What approvers have signed of that, as it stands in the log: see [`crate::power::Demands`].
    pub words: Vec<Word>,
    /// Who has looked at what was done with it: all names of each, and what they found.
    pub reviewed: Vec<(Vec<String>, String)>,
    /// What it was broken by, where it was by a key.
    pub statement: Option<Box<Statement>>,
    /// What became of it.
    pub state: PowerState,
}

/// What became of it. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerState {
    /// Somebody must approve until then.
    Waiting {
        /// When it is too late.
        until: i64,
    },
    /// It gives something.
    InForce {
        /// Since then.
        began: i64,
        /// Until then.
        until: i64,
    },
    /// It does not any more.
    Ended {
        /// Since when it did.
        began: i64,
        /// When it ended.
        ended: i64,
        /// Why.
        reason: String,
        /// Every name of who ended it; nobody: its time was over, or the gateway did.
        by: Vec<String>,
        /// The gateway ended it since nobody can have approved it as it had to be: somebody has written to the store. No reason that is given says that.
        is_unvouched: bool,
    },
    /// Somebody said no.
    Rejected {
        /// Why.
        reason: String,
        /// Every name of who did.
        by: Vec<String>,
    },
    /// Nobody approved in time.
    Lapsed,
}

impl PowerState {
    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::InForce { .. } => "in_force",
            Self::Ended { .. } => "ended",
            Self::Rejected { .. } => "rejected",
            Self::Lapsed => "lapsed",
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::InForce { .. })
    }
}

impl Power {
    /// The entry that asks for it: what approvers look at.
    pub fn entry(&self) -> Entry {
        Entry { n: self.n, prev: self.prev, at: self.at, by: self.by.clone(), act: Act::Asked(self.asked.clone()) }
    }

    /// Whether somebody still has to look at what was done with it.
    pub fn is_unreviewed(&self) -> bool {
        self.asked.kind == PowerKind::BreakGlass && self.reviewed.len() < REVIEWERS
    }

    /// Whether its principal asked for it by itself: the first name of who asked is the principal's.
    pub fn is_self_asked(&self) -> bool {
        self.by.first() == Some(&self.asked.principal)
    }

    /// Whether the log must still know of it: a statement that could be used still would be used again.
    pub(super) fn is_kept(&self, now: Timestamp) -> bool {
        let could_be_used = self.statement.as_ref().is_some_and(|used| used.until > now.as_microsecond());
        self.state.is_open() || self.is_unreviewed() || could_be_used
    }

    /// Whether it is in force at this time, by the time of day.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        matches!(self.state, PowerState::InForce { until, .. } if now.as_microsecond() < until)
    }

    /// Every name of those on whose side it is: for whom it is, and who asked for it.
    pub(super) fn interested(&self, approvers: &ApproverSet) -> [Names; 2] {
        let by = self.by.iter().map(String::as_str);
        [Names::of(names_of_principal(&self.asked.principal), approvers), Names::of(by, approvers)]
    }
}

/// What one entry makes of the power that it is about. That nobody approved in time is a matter of a clock and stands in no entry: another process, whose
/// clock was a little behind, may have written that somebody did.
pub(super) fn happened(power: &mut Power, entry: &Entry) -> Result<(), &'static str> {
    match (&entry.act, &power.state) {
        (Act::Signed { statement, .. }, PowerState::Waiting { .. }) if power.asked.kind == PowerKind::BreakGlass => {
            if power.statement.is_some() {
                return Err("it was broken by two statements");
            }
            if !statement.wants(&power.asked) {
                return Err("what was signed is something else");
            }
            power.statement = Some(statement.clone());
        }
        (Act::Approved { word, .. }, PowerState::Waiting { .. } | PowerState::Lapsed) => {
            power.approved.push(entry.by.clone());
            power.words.extend(word.clone());
        }
        (Act::Rejected { reason, .. }, PowerState::Waiting { .. } | PowerState::Lapsed) => {
            power.state = PowerState::Rejected { reason: reason.clone(), by: entry.by.clone() };
        }
        (Act::Began { until, .. }, PowerState::Waiting { .. } | PowerState::Lapsed) => {
            if power.approved.len() < usize::from(power.asked.approvals) {
                return Err("it began with too few approvals");
            }
            if until.saturating_sub(entry.at) > micros(power.asked.lasts_s) {
                return Err("it lasts longer than was asked for");
            }
            power.state = PowerState::InForce { began: entry.at, until: *until };
        }
        (Act::Reviewed { remark, .. }, PowerState::InForce { .. } | PowerState::Ended { .. }) => {
            power.reviewed.push((entry.by.clone(), remark.clone()));
        }
        (Act::Ended { reason, .. }, PowerState::InForce { began, until }) => {
            let ended = entry.at.min(*until);
            // As earlier versions of the program wrote it. A person who ends something has a name, whatever their reason says.
            let is_unvouched = entry.by.is_empty() && reason.starts_with(UNVOUCHED);
            let (began, reason, by) = (*began, reason.clone(), entry.by.clone());
            power.state = PowerState::Ended { began, ended, reason, by, is_unvouched };
        }
        (Act::Unvouched { reason, .. }, PowerState::InForce { began, until }) => {
            let ended = entry.at.min(*until);
            let (began, reason, by) = (*began, format!("{UNVOUCHED}{reason}"), entry.by.clone());
            power.state = PowerState::Ended { began, ended, reason, by, is_unvouched: true };
        }
        _ => return Err("it was not in a state in which that can happen"),
    }
    Ok(())
}

/// How it stands, behind its number.
pub(super) fn standing(state: &PowerState) -> &'static str {
    match state {
        PowerState::Waiting { .. } => "waits for an approval",
        PowerState::InForce { .. } => "is in force",
        PowerState::Ended { .. } => "has ended",
        PowerState::Rejected { reason, .. } if reason.starts_with(GRANTED) => "is granted",
        PowerState::Rejected { .. } => "is rejected",
        PowerState::Lapsed => "was not approved in time",
    }
}
