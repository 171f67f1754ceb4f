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
            DeedKind::Revocation { what, name } => {
                let is_it = |said: &str| is_refused_by(said, (what, name), (self.at, &self.reason));
                rare.revoked_by.as_deref().is_some_and(is_it)
            }
        }
    }

    /// Whether another one is of something else: what is revoked once more is the same.
    pub(super) fn is_of_another(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (DeedKind::Revocation { what, name }, DeedKind::Revocation { what: other_what, name: other_name }) => {
                (what, name) != (other_what, other_name)
            }
            (DeedKind::Ban { .. }, _) | (_, DeedKind::Ban { .. }) => self.what != other.what,
        }
    }

    /// The same where nobody can tell which of several it is: then none is named.
    pub(super) fn unnamed(&self) -> Self {
        let what = match &self.what {
            DeedKind::Revocation { what, .. } => DeedKind::Revocation { what: what.clone(), name: String::new() },
            ban @ DeedKind::Ban { .. } => ban.clone(),
        };
        Self { what, by: None, is_over: false, ..self.clone() }
    }

    /// What it is, the same for as long as it is told of.
    pub(super) fn name(&self) -> String {
        match &self.what {
            DeedKind::Ban { on, others: 0, .. } => format!("ban of {on} at {:.0}", self.at),
            DeedKind::Ban { on, others, .. } => format!("ban of {on} and {} others at {:.0}", number(*others), self.at),
            DeedKind::Revocation { what, name } if name.is_empty() => {
                format!("revocation of one of several {what}s at {:.0}", self.at)
            }
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
            DeedKind::Revocation { what, name } if name.is_empty() => {
                format!("one of several {what}s was revoked at {at:.0} ({reason}), which refusals do not tell apart")
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
            DeedKind::Revocation { name, .. } if name.is_empty() => {
                "portcullis revoke list (the one that it is is lifted with `portcullis revoke lift`)".to_owned()
            }
            DeedKind::Revocation { what, name } => format!("portcullis revoke lift {what} {}", word(name)),
        }
    }
}

/// Whether this is what a refusal says of a revocation: of what it is, when it was made and why. Of a token it does not say which; of others it says the
/// name in quotes, escaped, and cut where that is long.
fn is_refused_by(said: &str, (what, name): (&str, &str), (at, reason): (Timestamp, &str)) -> bool {
    let Some((of, when)) = said.split_once(" was revoked at ") else { return false };
    let shown = match what {
        "token" => None,
        "key" => of.strip_prefix("the API key "),
        _ => of.rsplit_once(" has until ").and_then(|(of, _)| of.split_once("; what ")).map(|(_, shown)| shown),
    };
    let is_of = match shown {
        None => what == "token" && of == "the token",
        Some(shown) => is_shown(shown, name),
    };
    // What is said is cut behind all of this.
    let why = when.strip_prefix(&format!("{at:.0}: "));
    is_of && why.is_some_and(|why| reason.escape_debug().to_string().starts_with(why))
}

/// Whether a quoted piece of text is of this name. A principal's may be compared whatever its case, and is not written as it is compared.
fn is_shown(quoted: &str, name: &str) -> bool {
    let Some(shown) = quoted.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else { return false };
    let name: String = name.chars().flat_map(char::escape_debug).collect();
    let (shown, name) = (shown.to_lowercase(), name.to_lowercase());
    shown == name || shown.strip_suffix('…').is_some_and(|cut| name.starts_with(cut))
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
