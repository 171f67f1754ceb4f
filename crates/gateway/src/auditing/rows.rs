//! Usage between the store, which knows rows, and the audit, which knows what they mean.

use portcullis_insight::audit::usage::{CarriedName, Kept, Row, Seen, SeenPrincipal};
use portcullis_insight::audit::{Severity, Suppression, Usage};
use portcullis_policy::RuleKind;
use portcullis_store::{CarriedRow, PrincipalRow, SuppressionRow, UsageRows, UseRow};

/// What the store keeps of it.
pub(crate) fn to_rows(kept: &Kept) -> UsageRows {
    UsageRows {
        since: kept.since,
        addresses_since: kept.addresses_since,
        crowded: kept.crowded,
        observed: kept.observed.clone(),
        forgotten: None,
        principals: kept.principals.iter().map(principal_row).collect(),
        uses: kept
            .rows
            .iter()
            .map(|(principal, (route, action), row)| UseRow {
                principal: *principal,
                route: route.to_string(),
                action: action.to_string(),
                numbers: [row.first, row.last, row.uses, row.days, row.denied, row.last_denied],
            })
            .collect(),
        addresses: kept.addresses.iter().map(|(network, seen)| (*network, seen.first, seen.last, seen.times)).collect(),
        rules: kept
            .rules
            .iter()
            .map(|(kind, name, seen)| (kind.as_str().to_owned(), name.to_string(), seen.first, seen.last, seen.times))
            .collect(),
    }
}

fn principal_row(seen: &SeenPrincipal) -> PrincipalRow {
    PrincipalRow {
        kind: seen.kind,
        id: seen.id.to_string(),
        groups: seen.groups.iter().map(carried_row).collect(),
        roles: seen.roles.iter().map(carried_row).collect(),
        first: seen.first,
        last: seen.last,
        overflowed: seen.overflowed,
    }
}

fn carried_row(carried: &CarriedName) -> CarriedRow {
    CarriedRow { name: carried.name.to_string(), trusted: carried.trusted, since: carried.since }
}

/// What was kept. What an earlier version did not write the time of was just now.
pub(crate) fn from_rows(rows: UsageRows, now: i64) -> Usage {
    const UNDATED: u32 = 1;
    let now_s = u32::try_from(now).unwrap_or(u32::MAX);
    let carried = |row: CarriedRow| CarriedName { name: row.name.into(), trusted: row.trusted, since: row.since };
    let principal = |row: PrincipalRow| SeenPrincipal {
        kind: row.kind,
        id: row.id.into(),
        groups: row.groups.into_iter().map(carried).collect(),
        roles: row.roles.into_iter().map(carried).collect(),
        first: row.first,
        last: row.last,
        overflowed: if row.overflowed == UNDATED { now_s } else { row.overflowed },
    };
    let use_of = |row: UseRow| {
        let [first, last, uses, days, denied, last_denied] = row.numbers;
        let counted = Row { first, last, uses, days, denied, last_denied };
        (row.principal, (row.route.into(), row.action.into()), counted)
    };
    Usage::restored(Kept {
        since: rows.since,
        addresses_since: rows.addresses_since,
        observed: rows.observed,
        forgotten: rows.forgotten,
        crowded: rows.crowded.map(|at| if at == i64::from(UNDATED) { now } else { at }),
        principals: rows.principals.into_iter().map(principal).collect(),
        rows: rows.uses.into_iter().map(use_of).collect(),
        addresses: rows
            .addresses
            .into_iter()
            .map(|(network, first, last, times)| (network, Seen { first, last, times }))
            .collect(),
        rules: rows
            .rules
            .into_iter()
            .filter_map(|(kind, name, first, last, times)| {
                Some((rule_kind(&kind)?, name.into(), Seen { first, last, times }))
            })
            .collect(),
    })
}

fn rule_kind(name: &str) -> Option<RuleKind> {
    [RuleKind::Assignment, RuleKind::Deny, RuleKind::Resource, RuleKind::Network, RuleKind::Role]
        .into_iter()
        .find(|kind| kind.as_str() == name)
}

/// A suppression that was kept.
pub(crate) fn suppression_of(row: SuppressionRow) -> Suppression {
    let SuppressionRow { fingerprint, owner, reason, made, until, made_by, severity, names, confirmed_by } = row;
    let severity = Severity::ALL.into_iter().find(|each| each.as_str() == severity);
    Suppression { fingerprint, owner, reason, made, until, made_by, severity, confirmed_by, names }
}
