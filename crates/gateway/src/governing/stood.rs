//! How a version stands, or stood: whether it was ever live for everybody is nothing that its time says.

use portcullis_governance::{Governor, Kind, Version};

/// `live`, `rolling_out`, `taken_back` or `earlier`; `next`: the version after it.
pub(super) fn state(governor: &Governor, version: &Version, next: Option<&Version>) -> &'static str {
    let rollout = governor.standing().rollout.filter(|rollout| rollout.n == version.n && !rollout.is_ending());
    // Only what comes step by step is reverted so, and what it restores is what was before.
    let is_back = |next: &Version| next.change.kind == Kind::Revert && next.change.restores < version.n;
    match next {
        _ if rollout.is_some() => "rolling_out",
        Some(next) if is_back(next) => "taken_back",
        _ if version.n == governor.serving() || version.n == governor.n() => "live",
        _ => "earlier",
    }
}
