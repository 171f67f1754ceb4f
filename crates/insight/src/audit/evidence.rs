//! What an audit is told besides the policy and its use.

use std::collections::BTreeSet;

use portcullis_policy::PrincipalKind;

/// Whom the sources of identity know. A principal can be called an orphan only where every source that could bring it lists whom it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownPrincipals {
    /// Those who are listed: users with passwords, whom API keys stand for. As a policy file writes them.
    pub listed: BTreeSet<String>,
    /// Those who cannot come any more, each with why: disabled users, whose every key is revoked or expired, whom the directory that was asked does
    /// not have; groups that it does not have, too.
    pub gone: Vec<(String, String)>,
    /// Sources that may bring anyone: of what kind, and with which beginning of the id.
    pub open: Vec<(PrincipalKind, String)>,
    /// Groups in which nobody is, each with who says so.
    pub empty: Vec<(String, String)>,
    /// Directories that could not be asked, a sentence each.
    pub unasked: Vec<String>,
    /// API keys that are good, or were until lately.
    pub keys: Vec<KnownKey>,
    /// Why nobody knows when they were last used; `None`: that is known.
    pub keys_unread: Option<String>,
}

/// An API key. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Its id.
    pub id: String,
    /// Whom it stands for, as a policy file writes them.
    pub principal: String,
    /// When it was made; `None`: its file does not say so.
    pub created: Option<i64>,
    /// When it ends; `None`: never.
    pub expires: Option<i64>,
    /// When it was last accepted; `None`: never, as far as anybody counted.
    pub last_used: Option<i64>,
}

impl KnownPrincipals {
    /// Why nobody can be this principal; `None`: somebody may.
    pub(crate) fn why_orphan(&self, principal: &str) -> Option<String> {
        if let Some((_, why)) = self.gone.iter().find(|(gone, _)| gone == principal) {
            return Some(why.clone());
        }
        let (kind, id) = principal.split_once(':')?;
        if kind == "group" {
            return None;
        }
        let may_come = self.listed.contains(principal)
            || self.open.iter().any(|(open, prefix)| open.as_str() == kind && id.starts_with(prefix.as_str()));
        (!may_come).then(|| "no user file and no key file names it, and no other source of identity could".to_owned())
    }
}

/// One use of power for emergencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlassUse {
    /// Who used it.
    pub principal: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// For what.
    pub what: String,
    /// Whether somebody else has looked at it since.
    pub reviewed: bool,
}

/// One activation of an eligible assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// Who activated it.
    pub principal: String,
    /// The name of the assignment.
    pub assignment: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// Who can change the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyWriters {
    /// Whether a change needs approvals.
    pub required: bool,
    /// How many persons besides the author must approve a change that loosens.
    pub loosen: u8,
    /// The persons who can approve, each with all its names.
    pub approvers: Vec<(String, Vec<String>)>,
}
