//! What of a restore has to be wanted, and what approved.

use jiff::Timestamp;
use portcullis_governance::{Anchor, Head, Request, Revived, RevokedKeys};

use super::dropping::would_be_dropped;
use super::judging::Cut;
use super::restoring::Restoring;
use super::returning::report;
use super::{BackingUpError, Checked, open};

/// Why a log is not known to be the newest.
pub(super) enum Lost {
    /// The log had come so far.
    Newer(Head),
    /// The log ended so, and not even what is vouched for in it is what it should be.
    NotBelieved { last: Head, required: bool, why: String },
    /// Nothing says how far it had come.
    Unknown,
    /// Nothing beside the store vouches for its end, and by itself it says nothing: why.
    Untold(String),
    /// Keys count in it that are known to be revoked.
    Revived,
}

/// What came of that.
pub(super) enum Accepted {
    /// Nothing has to be wanted.
    AsItIs,
    /// It is wanted, and approved: a sentence.
    Yes(String),
    /// First this has to be signed.
    ToSign(Box<Request>),
}

/// What is known of revoked keys of approvers, and whether there is a list of them.
pub(super) struct Known<'k> {
    pub(super) revoked: &'k RevokedKeys,
    pub(super) listed: bool,
}

/// Keys of approvers that count in the backup, and are known to be revoked.
pub(super) fn revived_in(
    restoring: &Restoring<'_>,
    checked: &Checked,
    revoked: &RevokedKeys,
) -> Result<Vec<Revived>, BackingUpError> {
    // By the log that is to be put in place: what it took from a newer one counts.
    let standing = open(restoring.config, &checked.store(), None)?.standing();
    Ok(if standing.rules.required { revoked.revived_in(&standing.approvers) } else { Vec::new() })
}

/// A log is lost, or may be, or what is not believed of it is dropped: somebody has to want that. For what is lost enough have to sign.
pub(super) fn accept(
    restoring: &Restoring<'_>,
    checked: &Checked,
    (lost, cuts): (Option<Lost>, &[Cut]),
    Known { revoked, listed }: Known<'_>,
) -> Result<Accepted, BackingUpError> {
    let n = checked.head.n;
    let dropped = || cuts.iter().map(would_be_dropped).collect::<Vec<_>>().join("; ");
    let Some(lost) = lost else {
        return match cuts.is_empty() || restoring.accept_rollback {
            true => Ok(Accepted::AsItIs),
            false => Err(BackingUpError::Refused(format!("{}: --accept-rollback says that this may be", dropped()))),
        };
    };
    let was_required = match &lost {
        Lost::Newer(head) => head.required,
        Lost::NotBelieved { required, .. } => *required,
        Lost::Unknown | Lost::Untold(_) => restoring.demanded,
        Lost::Revived => true,
    };
    if was_required && !checked.head.required {
        let message = format!(
            "the backup ends with version {n}, before approvals were required, and the store that is lost required them, or the configuration does: restore a later backup"
        );
        return Err(BackingUpError::Refused(message));
    }
    if !restoring.accept_rollback {
        let cuts = if cuts.is_empty() { String::new() } else { format!("; {}", dropped()) };
        return Err(BackingUpError::Refused(format!("{}{cuts}", lost.refused(restoring, n))));
    }
    if !was_required && !checked.head.required {
        return Ok(Accepted::Yes(format!("versions after {n} are lost")));
    }
    let mut governor = open(restoring.config, &checked.store(), Some(checked.head))?;
    let reason = format!("restore: {}, and version {n} of {} takes its place", lost.what(), lost.whose());
    let Some((request, approvals)) = &restoring.signed else {
        let revived = revoked.revived_in(&governor.standing().approvers);
        let report = report(restoring.config, &governor.live()?, &revived, listed);
        let who = restoring.who.clone();
        return Ok(Accepted::ToSign(Box::new(governor.restoration(
            who,
            reason,
            (revoked, report),
            Timestamp::now(),
        )?)));
    };
    if request.change.reason != reason || request.instance != governor.standing().instance {
        return Err(BackingUpError::Refused("what was signed is about another backup or another store".to_owned()));
    }
    let by = restoring.who.first().map_or("somebody", String::as_str);
    let version = governor.restore(request, revoked, approvals.clone(), by, Timestamp::now())?;
    Ok(Accepted::Yes(format!("versions after {n} are lost, as approved: version {} is live", version.n)))
}

impl Lost {
    /// For whoever signs.
    fn what(&self) -> String {
        match self {
            Self::Newer(head) => format!("version {} ({}) is lost", head.n, head.hash),
            Self::NotBelieved { last, .. } => {
                format!("the log up to version {} ({}) is not believed, and is lost", last.n, last.hash)
            }
            Self::Unknown | Self::Untold(_) => "how far the log had come is not known".to_owned(),
            Self::Revived => "keys were revoked since".to_owned(),
        }
    }

    fn whose(&self) -> &'static str {
        match self {
            Self::Untold(_) => "the log that is at hand",
            Self::Newer(_) | Self::NotBelieved { .. } | Self::Unknown | Self::Revived => "a backup",
        }
    }

    /// What is said where nobody wants it yet. `n`: what the log that is at hand ends with.
    fn refused(&self, restoring: &Restoring<'_>, n: u64) -> String {
        let what = match self {
            Self::Untold(why) => {
                return format!(
                    "nothing but the log itself says that it ends with version {n}, and a start would not take it ({why}): with --head and what was written down elsewhere it is known; with --accept-rollback what came after it is lost, and what was revoked in that has to be revoked again"
                );
            }
            Self::Newer(head) => format!(
                "the store was at version {}, which is neither in the backup nor in a store that can be read",
                head.n
            ),
            Self::NotBelieved { last, why, .. } => format!(
                "the log of the store that is there, which goes on to version {}, is not believed ({why})",
                last.n
            ),
            Self::Unknown => match restoring.written_down {
                None => "neither a store nor its head file is there, so that nothing says whether it is the newest: with --head and what was written down elsewhere it is known".to_owned(),
                Some(Anchor { n: early, .. }) => format!(
                    "neither a store nor its head file is there, and that it holds version {early} says nothing of its age: --head has to name the last version that there was, and not the one with which governance began"
                ),
            },
            Self::Revived => "keys of approvers count in it that were revoked since".to_owned(),
        };
        format!(
            "the backup ends with version {n}, and {what}: with --accept-rollback what came after it is lost, and what was revoked in that has to be revoked again"
        )
    }
}
