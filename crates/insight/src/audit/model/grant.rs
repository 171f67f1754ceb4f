//! Grants: assignments, and roles that credentials carry.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use portcullis_policy::{AssignmentDraft, Mode, PolicyDraft, ScopeDraft, Sensitivity, WhenDraft};

/// An assignment, or a role that credentials carry.
#[derive(Debug)]
pub(crate) struct Grant<'d> {
    /// `None`: a credential carries the role.
    pub(crate) assignment: Option<&'d AssignmentDraft>,
    pub(crate) role: &'d str,
    /// `None`: every route.
    pub(super) scope: Option<HashSet<&'d str>>,
    /// The route that a grant on every route does not cover, as it decides: the gateway's own.
    pub(super) reserved: Option<&'d str>,
    /// To everybody, or to everybody with a credential.
    pub(crate) collective: bool,
    /// 1, 2 or 4 by the sensitivity of its routes.
    pub(crate) weight: u32,
}

impl Grant<'_> {
    pub(crate) fn covers(&self, route: &str) -> bool {
        match &self.scope {
            Some(scope) => scope.contains(route),
            None => self.reserved != Some(route),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.assignment.map_or(self.role, |assignment| &assignment.name.value)
    }
}

pub(super) fn grant_of<'d>(
    draft: &'d PolicyDraft,
    assignment: &'d AssignmentDraft,
    everybody: &BTreeSet<String>,
) -> Grant<'d> {
    let scope: Option<HashSet<&str>> = match &assignment.scope {
        ScopeDraft::All => None,
        ScopeDraft::Routes(routes) => Some(routes.iter().map(|route| route.value.as_str()).collect()),
    };
    let collective = assignment.principals.iter().any(|principal| {
        let name = principal.value.as_str();
        matches!(name, "anyone" | "authenticated")
            || name.strip_prefix("group:").is_some_and(|group| everybody.contains(group))
    });
    let of_scope = |route: &str| scope.as_ref().is_none_or(|scope| scope.contains(route));
    let most =
        draft.resources.iter().filter(|resource| of_scope(&resource.route.value)).map(|resource| resource.sensitivity);
    let least_known = draft.resources.iter().filter(|resource| of_scope(&resource.route.value)).count();
    let routes = scope.as_ref().map_or(draft.routes.len(), HashSet::len);
    let weight = |sensitivity: Sensitivity| match sensitivity {
        Sensitivity::Low => 1,
        Sensitivity::Normal => 2,
        Sensitivity::High => 4,
    };
    // A route without a resource has the usual sensitivity.
    let others = if least_known < routes || routes == 0 { 2 } else { 1 };
    let weight = most.map(weight).max().unwrap_or(2).max(others);
    Grant {
        assignment: Some(assignment),
        role: &assignment.role.value,
        scope,
        reserved: reserved_in(draft),
        collective,
        weight,
    }
}

/// The gateway's own route, where it has one.
pub(crate) fn reserved_in(draft: &PolicyDraft) -> Option<&str> {
    draft.routes.iter().find(|route| route.reserved).map(|route| route.name.value.as_str())
}

/// Whether an assignment grants by itself, now.
pub(super) fn in_force(assignment: &AssignmentDraft, now: Timestamp) -> bool {
    let within =
        assignment.starts.is_none_or(|starts| starts <= now) && assignment.expires.is_none_or(|ends| now < ends);
    within && assignment.mode == Mode::Enforce && assignment.activation.is_none()
}

/// What else an assignment asks for, as one text: two with the same one grant alike.
pub(super) fn conditions(assignment: Option<&AssignmentDraft>) -> String {
    assignment.map_or_else(String::new, |assignment| {
        // Each of them by name: one that is added and forgotten here would make unlike grants alike.
        let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } =
            &assignment.when;
        let networks =
            networks.as_ref().map(|networks| networks.iter().map(|name| name.value.as_str()).collect::<Vec<_>>());
        let hours = hours.as_ref().map(|hours| hours.value.text.clone());
        format!(
            "{:?} {:?} {networks:?} {hours:?} {countries:?} {compliant_device} {assurance_mfa} {max_age_s:?} {max_risk:?}",
            assignment.starts, assignment.expires
        )
    })
}

/// Whether an assignment asks for nothing but its principal.
pub(crate) fn is_unconditional(assignment: &AssignmentDraft) -> bool {
    let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } =
        &assignment.when;
    networks.is_none()
        && hours.is_none()
        && countries.is_none()
        && !compliant_device
        && !assurance_mfa
        && max_age_s.is_none()
        && max_risk.is_none()
}
