//! What a change does to power that is had for a time, in sentences: what activating takes, and what breaking glass gives. No answer to a request shows it,
//! since that somebody has activated something is a fact there.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use portcullis_governance::power::BreakGlassRules;
use portcullis_policy::{ActivationRules, Policy};

/// Assignments that are named; of more it is said how many there are.
const NAMED: usize = 20;

/// What activating the assignments takes that were eligible before and are so still, where that changes.
pub(super) fn activations(before: &Policy, after: &Policy) -> Vec<String> {
    let changed = after.all_eligible(usize::MAX).into_iter().filter_map(|is| {
        let was = before.eligible(&is.assignment)?.rules;
        let said = activation(&was, &is.rules);
        (!said.is_empty()).then(|| format!("ACTIVATING {}: {}", is.assignment, said.join("; ")))
    });
    let mut lines: Vec<String> = changed.collect();
    if let Some(more) = lines.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.truncate(NAMED);
        lines.push(format!("and {more} more eligible assignments are activated otherwise: the lines below have them"));
    }
    lines
}

fn activation(was: &ActivationRules, is: &ActivationRules) -> Vec<String> {
    // Exhaustive on purpose: a new rule must be told here.
    let ActivationRules { max_s, justification_required, ticket_required, approvals, by_oneself } = *is;
    let mut said = Vec::new();
    if max_s != was.max_s {
        said.push(format!("for at most {} at once, before {}", time(max_s), time(was.max_s)));
    }
    if approvals != was.approvals {
        let persons = |number: u8| if number == 1 { "1 person".to_owned() } else { format!("{number} persons") };
        said.push(format!("{} must approve it, before {}", persons(approvals), persons(was.approvals)));
    }
    if justification_required != was.justification_required {
        said.push(format!(
            "its holder {} say why",
            if justification_required { "must now" } else { "no longer has to" }
        ));
    }
    if ticket_required != was.ticket_required {
        said.push(format!(
            "its holder {} name a ticket",
            if ticket_required { "must now" } else { "no longer has to" }
        ));
    }
    if by_oneself != was.by_oneself {
        said.push(
            match by_oneself {
                true => "its holder activates it alone now, with nothing but a credential",
                false => "a credential alone no longer activates it: a fresh second factor, or somebody's approval",
            }
            .to_owned(),
        );
    }
    said
}

/// What breaking glass gives, where that changes.
pub(super) fn break_glass(before: Option<&BreakGlassRules>, after: Option<&BreakGlassRules>) -> Vec<String> {
    let routes = |rules: &BreakGlassRules| match rules.routes.is_empty() {
        true => "every route".to_owned(),
        false => format!("the routes {}", rules.routes.join(", ")),
    };
    match (before, after) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec!["BREAKING GLASS: it gives nothing any more".to_owned()],
        (None, Some(is)) => {
            let signers = match is.signers.is_empty() {
                true => "by codes alone".to_owned(),
                false => format!("by codes, and for themselves by the keys of {}", is.signers.join(", ")),
            };
            let roles = is.roles.join(", ");
            vec![format!("BREAKING GLASS gives {roles} on {} for at most {}, {signers}", routes(is), time(is.max_s))]
        }
        (Some(was), Some(is)) => {
            // Exhaustive on purpose: a new rule must be told here.
            let BreakGlassRules { roles, routes: _, max_s, signers } = is;
            let mut said = Vec::new();
            said.extend(listed("it gives", "it no longer gives", &was.roles, roles));
            if routes(was) != routes(is) {
                said.push(format!("on {}, before on {}", routes(is), routes(was)));
            }
            if *max_s != was.max_s {
                said.push(format!("for at most {}, before {}", time(*max_s), time(was.max_s)));
            }
            said.extend(listed("by their own keys now", "by their own keys no longer", &was.signers, signers));
            if said.is_empty() { Vec::new() } else { vec![format!("BREAKING GLASS: {}", said.join("; "))] }
        }
    }
}

/// What came and what went of a list.
fn listed(came: &str, went: &str, was: &[String], is: &[String]) -> impl Iterator<Item = String> {
    let (was, is): (BTreeSet<&String>, BTreeSet<&String>) = (was.iter().collect(), is.iter().collect());
    let told = |words: &str, some: Vec<&&String>| {
        let names: Vec<&str> = some.iter().map(|name| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")))
    };
    [told(came, is.difference(&was).collect()), told(went, was.difference(&is).collect())].into_iter().flatten()
}

fn time(seconds: u64) -> String {
    format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_of_an_activation_that_changes_is_told() {
        let was = ActivationRules { approvals: 1, ..ActivationRules::of(3_600) };
        assert_eq!(activation(&was, &was), <[String; 0]>::default());
        for (is, said) in [
            (ActivationRules { max_s: 8 * 3_600, ..was }, "for at most 8h at once, before 1h"),
            (ActivationRules { approvals: 0, ..was }, "0 persons must approve it, before 1 person"),
            (ActivationRules { justification_required: false, ..was }, "its holder no longer has to say why"),
            (ActivationRules { ticket_required: true, ..was }, "its holder must now name a ticket"),
            (
                ActivationRules { by_oneself: true, ..was },
                "its holder activates it alone now, with nothing but a credential",
            ),
        ] {
            assert_eq!(activation(&was, &is), [said]);
            assert_eq!(activation(&is, &was).len(), 1, "and the way back");
        }
    }

    #[test]
    fn what_breaking_glass_gives_is_told() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let was =
            BreakGlassRules { roles: names(&["writer"]), routes: names(&["billing"]), max_s: 3_600, signers: vec![] };
        let check = |before: Option<&BreakGlassRules>, after: Option<&BreakGlassRules>, said: &[&str]| {
            assert_eq!(break_glass(before, after), said);
        };
        check(None, None, &[]);
        check(Some(&was), Some(&was), &[]);
        check(None, Some(&was), &["BREAKING GLASS gives writer on the routes billing for at most 1h, by codes alone"]);
        check(Some(&was), None, &["BREAKING GLASS: it gives nothing any more"]);
        let is = BreakGlassRules {
            roles: names(&["root", "writer"]),
            routes: vec![],
            max_s: 4 * 3_600,
            signers: names(&["ana"]),
        };
        check(
            Some(&was),
            Some(&is),
            &[
                "BREAKING GLASS: it gives: root; on every route, before on the routes billing; for at most 4h, before 1h; \
               by their own keys now: ana",
            ],
        );
        check(
            Some(&is),
            Some(&was),
            &[
                "BREAKING GLASS: it no longer gives: root; on the routes billing, before on every route; for at most 1h, \
               before 4h; by their own keys no longer: ana",
            ],
        );
    }
}
