//! What operators did lately beyond the policy: bans by hand and revocations, each with who did it, why, and what takes it back.

use jiff::Timestamp;
use portcullis_policy::{Ban, KeptRequest};

use crate::spike::fix::word;
use crate::words::{counted, number};

/// Something that an operator did, and that turns callers away whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: DeedKind,
    /// Who, in a few words; `None`: that is not known any more.
    pub by: Option<String>,
    /// Why.
    pub reason: String,
    /// It was taken back, or has ended.
    pub is_over: bool,
}

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeedKind {
    /// A ban by hand.
    Ban {
        /// On whom, as `ban list` has it.
        on: String,
        /// So many others were banned with it.
        others: u64,
        /// When it ends.
        until: Timestamp,
        /// Its cause, as each refusal has it.
        cause: Box<str>,
    },
    /// What counts no longer.
    Revocation {
        /// `token`, `key` or `principal`.
        what: String,
        /// Its name, as `revoke list` has it.
        name: String,
    },
}

impl Deed {
    /// Whether it is what stands in the way of a request, by what the request says of that.
    pub(super) fn stands_before(&self, request: &KeptRequest) -> bool {
        let Some(rare) = request.rare.as_deref() else { return false };
        match &self.what {
            DeedKind::Ban { until, cause, .. } => {
                let is_it = |ban: &Ban| is_by_hand(ban) && ban.until == *until && ban.cause == *cause;
                rare.address_ban.iter().chain(&rare.principal_ban).any(is_it)
            }
            DeedKind::Revocation { what, name } => rare.revoked_by.as_deref().is_some_and(|said| {
                let is_named = what == "token" || said.contains(name.as_str());
                is_named && said.contains(&format!("was revoked at {:.0}", self.at))
            }),
        }
    }

    /// What it is, the same for as long as it is told of.
    pub(super) fn name(&self) -> String {
        match &self.what {
            DeedKind::Ban { on, others: 0, .. } => format!("ban of {on} at {:.0}", self.at),
            DeedKind::Ban { on, others, .. } => format!("ban of {on} and {} others at {:.0}", number(*others), self.at),
            DeedKind::Revocation { what, name } => format!("revocation of {what} {name} at {:.0}", self.at),
        }
    }

    /// For the beginning of a sentence.
    pub(super) fn in_words(&self) -> String {
        let by = self.by.as_deref().unwrap_or("an operator");
        let (at, reason) = (self.at, &self.reason);
        match &self.what {
            DeedKind::Ban { on, others, until, .. } => {
                let others = match others {
                    0 => String::new(),
                    others => format!(" and {}", counted(*others, "other", "others")),
                };
                format!("{on}{others} was banned by {by} at {at:.0}, until {until:.0} ({reason})")
            }
            DeedKind::Revocation { what, name } => {
                format!("the {what} {name} was revoked by {by} at {at:.0} ({reason})")
            }
        }
    }

    /// The command that takes it back.
    pub(super) fn command(&self) -> String {
        match &self.what {
            _ if self.is_over => "it is over by now: nothing is to be taken back".to_owned(),
            DeedKind::Ban { on, others: 0, .. } => format!("portcullis ban remove {}", on_whom(on)),
            DeedKind::Ban { .. } => {
                "portcullis ban list (each of these is lifted with `portcullis ban remove`)".to_owned()
            }
            DeedKind::Revocation { what, name } => format!("portcullis revoke lift {what} {}", word(name)),
        }
    }
}

/// Whether somebody made a ban; else it is of its offences.
pub(super) fn is_by_hand(ban: &Ban) -> bool {
    ban.offences == 0 && !ban.simulated
}

/// Whom a ban is on, as the commands take it.
pub(super) fn on_whom(on: &str) -> String {
    let is_principal = ["user:", "service:", "certificate:"].iter().any(|kind| on.starts_with(kind));
    match (is_principal, on.contains('/')) {
        (true, _) => format!("--user {}", word(on)),
        (false, true) => format!("--range {on}"),
        (false, false) => format!("--ip {on}"),
    }
}
