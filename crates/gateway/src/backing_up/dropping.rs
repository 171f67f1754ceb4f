//! What is said of versions that are not believed: which they are, and how each is proposed again.

use jiff::Timestamp;
use portcullis_governance::{Anchor, ChangeState, Governor, Version};

use super::judging::Cut;
use super::restoring::Restoring;
use super::{BackingUpError, Checked, open};
use crate::governing::again_by;

/// So many are named one by one.
const NAMED: usize = 16;

/// What would be dropped, and why, for whoever has to want it.
pub(super) fn would_be_dropped(cut: &Cut) -> String {
    let vouched = match cut.vouched {
        Some(n) if n == cut.kept => format!("after version {n}, the last for which anything else vouches,"),
        Some(_) | None => format!("after version {}", cut.kept),
    };
    format!(
        "the log goes on to version {}, and what stands in it {vouched} is not believed ({}): it goes on with version {}, and dropped is {}",
        cut.last.n,
        cut.why,
        cut.kept,
        named(cut, |_| String::new())
    )
}

/// What was dropped, and how it is proposed again.
///
/// # Errors
/// The restored store cannot be read.
pub(super) fn dropped(restoring: &Restoring<'_>, checked: &Checked, cuts: &[Cut]) -> Result<String, BackingUpError> {
    if cuts.is_empty() {
        return Ok(String::new());
    }
    let (governor, now) = (open(restoring.config, &checked.store(), None)?, Timestamp::now());
    // Where approvals are required, whoever has an account of many has to say who they are.
    let author = match checked.head.required || restoring.demanded {
        true => " --author \"${SUDO_USER:-$(id -un)}\"",
        false => "",
    };
    let each = cuts.iter().map(|cut| {
        let named = named(cut, |version| again(&governor, version, (author, now)));
        format!("; not believed ({}), and dropped, is {named}", cut.why)
    });
    Ok(each.collect())
}

fn named(cut: &Cut, more: impl Fn(&Version) -> String) -> String {
    let one = |(n, version): &(u64, Option<Version>)| match version {
        Some(version) => format!("version {n} (change {}){}", version.change.id.short(), more(version)),
        None => format!("version {n}, which cannot be read"),
    };
    let mut words: Vec<String> = cut.dropped.iter().take(NAMED).map(one).collect();
    if let Some(left) = cut.dropped.len().checked_sub(NAMED).filter(|left| *left > 0) {
        words.push(format!("and {left} more"));
    }
    words.join(", ")
}

/// How a change that became live with a version that is dropped becomes so once more: nothing of it is believed, and it is held to all that a change is.
fn again(governor: &Governor, version: &Version, (author, now): (&str, Timestamp)) -> String {
    let id = version.change.id;
    let short = id.short();
    let Ok(proposal) = governor.proposal(id, now) else { return ", which nobody proposed".to_owned() };
    let change = &proposal.change;
    let is_held = || governor.holds(Anchor { n: change.base_n, hash: change.base }).unwrap_or(false);
    match (proposal.state, again_by(change.kind)) {
        (ChangeState::Open, _) => {
            format!(", which waits again: `portcullis policy show {short}`, `portcullis policy activate {short}`")
        }
        (_, Some(verb)) => format!(", which {verb} proposes again"),
        (ChangeState::Overtaken, None) if is_held() => {
            format!(", which `portcullis policy propose --again {short}{author} --reason TEXT` proposes again")
        }
        (ChangeState::Overtaken | ChangeState::Expired, None) => format!(
            ", whose files `portcullis policy show {short} --file NAME` writes, for `portcullis policy propose FILE{author} --reason TEXT`"
        ),
        (ChangeState::Activated | ChangeState::Rejected, None) => ", which has ended".to_owned(),
    }
}
