//! The pages of the reason codes (`docs/denials`), for who explains a refusal.

/// Each code and its page.
const PAGES: &[(&str, &str)] = &[
    ("authn.ambiguous", include_str!("../../../../docs/denials/authn.ambiguous.md")),
    ("authn.certificate_invalid", include_str!("../../../../docs/denials/authn.certificate_invalid.md")),
    ("authn.certificate_required", include_str!("../../../../docs/denials/authn.certificate_required.md")),
    ("authn.expired", include_str!("../../../../docs/denials/authn.expired.md")),
    ("authn.invalid", include_str!("../../../../docs/denials/authn.invalid.md")),
    ("authn.missing", include_str!("../../../../docs/denials/authn.missing.md")),
    ("authn.not_yet_valid", include_str!("../../../../docs/denials/authn.not_yet_valid.md")),
    ("authn.revoked", include_str!("../../../../docs/denials/authn.revoked.md")),
    ("authn.unknown_key", include_str!("../../../../docs/denials/authn.unknown_key.md")),
    ("authn.wrong_audience", include_str!("../../../../docs/denials/authn.wrong_audience.md")),
    ("authn.wrong_issuer", include_str!("../../../../docs/denials/authn.wrong_issuer.md")),
    ("ban.active", include_str!("../../../../docs/denials/ban.active.md")),
    ("dependency.directory_unavailable", include_str!("../../../../docs/denials/dependency.directory_unavailable.md")),
    ("dependency.feed_stale", include_str!("../../../../docs/denials/dependency.feed_stale.md")),
    ("dependency.keys_unavailable", include_str!("../../../../docs/denials/dependency.keys_unavailable.md")),
    ("dependency.store_unavailable", include_str!("../../../../docs/denials/dependency.store_unavailable.md")),
    ("internal.error", include_str!("../../../../docs/denials/internal.error.md")),
    ("ip.denied", include_str!("../../../../docs/denials/ip.denied.md")),
    ("ip.not_allowed", include_str!("../../../../docs/denials/ip.not_allowed.md")),
    ("limit.concurrency", include_str!("../../../../docs/denials/limit.concurrency.md")),
    ("limit.overload", include_str!("../../../../docs/denials/limit.overload.md")),
    ("limit.rate", include_str!("../../../../docs/denials/limit.rate.md")),
    ("policy.unavailable", include_str!("../../../../docs/denials/policy.unavailable.md")),
    ("rbac.assignment_expired", include_str!("../../../../docs/denials/rbac.assignment_expired.md")),
    ("rbac.condition_unmet", include_str!("../../../../docs/denials/rbac.condition_unmet.md")),
    ("rbac.explicit_deny", include_str!("../../../../docs/denials/rbac.explicit_deny.md")),
    ("rbac.no_matching_grant", include_str!("../../../../docs/denials/rbac.no_matching_grant.md")),
    ("rbac.not_yet_active", include_str!("../../../../docs/denials/rbac.not_yet_active.md")),
    ("request.host_invalid", include_str!("../../../../docs/denials/request.host_invalid.md")),
    ("request.malformed", include_str!("../../../../docs/denials/request.malformed.md")),
    ("request.path_ambiguous", include_str!("../../../../docs/denials/request.path_ambiguous.md")),
    ("request.timeout", include_str!("../../../../docs/denials/request.timeout.md")),
    ("request.too_large", include_str!("../../../../docs/denials/request.too_large.md")),
    ("request.upgrade_not_allowed", include_str!("../../../../docs/denials/request.upgrade_not_allowed.md")),
    ("risk.too_high", include_str!("../../../../docs/denials/risk.too_high.md")),
    ("route.not_found", include_str!("../../../../docs/denials/route.not_found.md")),
    ("session.terminated", include_str!("../../../../docs/denials/session.terminated.md")),
    ("step_up.required", include_str!("../../../../docs/denials/step_up.required.md")),
    ("upstream.circuit_open", include_str!("../../../../docs/denials/upstream.circuit_open.md")),
    ("upstream.protocol", include_str!("../../../../docs/denials/upstream.protocol.md")),
    ("upstream.timeout", include_str!("../../../../docs/denials/upstream.timeout.md")),
    ("upstream.unreachable", include_str!("../../../../docs/denials/upstream.unreachable.md")),
];

/// What the page of a code says under a heading, such as `What it means`.
pub(crate) fn part(code: &str, heading: &str) -> Option<&'static str> {
    let (_, page) = PAGES.iter().find(|(known, _)| *known == code)?;
    let (_, rest) = page.split_once(&format!("\n## {heading}\n"))?;
    Some(rest.split("\n## ").next().unwrap_or(rest).trim())
}

#[cfg(test)]
mod tests {
    use portcullis_events::ReasonCode;

    use super::*;

    #[test]
    fn every_code_says_what_it_means_and_what_to_check() {
        for code in ReasonCode::ALL {
            for heading in ["What it means", "What the caller does", "What the operator checks"] {
                let text = part(code.code(), heading);
                assert!(text.is_some_and(|text| !text.is_empty()), "{}: {heading}", code.code());
            }
        }
        assert_eq!(part("no.such_code", "What it means"), None);
    }
}
