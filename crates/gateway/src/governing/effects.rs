//! Who gets further, and who less far: what an approver decides on, in sentences. It is the comparison by which a change is classed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portcullis_config::Loaded;
use portcullis_policy::{ChangedClass, ChangedPlace, DiffBounds, Effect, Policy, compare};

use super::power_told;

/// Kinds of requests that are named; of more it is said how many there are.
const NAMED: usize = 20;
/// Callers and places that are named of one kind.
const EACH: usize = 8;

/// What a change does: to the answers to all requests, those that let somebody in first, before all who could do nothing before; and to power that is had
/// for a time.
pub(crate) fn in_words(before: &Loaded, after: &Loaded, now: Timestamp) -> Vec<String> {
    let mut lines = answers(&before.policy, &after.policy, now);
    lines.extend(power_told::activations(&before.policy, &after.policy));
    lines.extend(power_told::break_glass(before.break_glass.as_ref(), after.break_glass.as_ref()));
    if lines.is_empty() {
        lines.push("every request is answered alike by the policy".to_owned());
    }
    lines
}

fn answers(before: &Policy, after: &Policy, now: Timestamp) -> Vec<String> {
    let diff = compare(before, after, now, &DiffBounds::default());
    let rank = |class: &&ChangedClass| match class.effect() {
        Effect::Loosens => 0,
        Effect::Mixed => 1,
        Effect::Tightens => 2,
        Effect::None => 3,
    };
    let mut classes: Vec<&ChangedClass> = diff.classes.iter().filter(|class| class.effect() != Effect::None).collect();
    let gains = Gains::of(&classes, before);
    classes.sort_by_key(|class| (rank(class), !gains.lets_newcomers_in(class)));
    let mut lines: Vec<String> = classes.iter().take(NAMED).map(|class| sentence(class, &gains)).collect();
    if classes.iter().any(|class| class.callers.len() + class.more_callers > EACH) {
        lines.push("all who are meant: `portcullis policy diff BEFORE AFTER`, each the number of a version or the id of a change".to_owned());
    }
    if let Some(more) = classes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let loosen = classes.iter().skip(NAMED).filter(|class| class.effect() != Effect::Tightens).count();
        lines.push(format!(
            "and {more} more kinds of request, of which {loosen} get further: `portcullis policy diff` shows all"
        ));
    }
    lines.extend(diff.incomplete.iter().map(|why| format!("not all of it was compared: {why}")));
    lines
}

/// Who gets how much by a change.
struct Gains<'d> {
    /// By principal: at how many places it gets further.
    places: BTreeMap<&'d str, usize>,
    /// Those among them to whom nothing was assigned before.
    newcomers: BTreeSet<&'d str>,
}

impl<'d> Gains<'d> {
    fn of(classes: &[&'d ChangedClass], before: &Policy) -> Self {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for class in classes.iter().filter(|class| class.effect() == Effect::Loosens) {
            for caller in &class.callers {
                *places.entry(caller).or_default() += class.places.len() + class.more_places;
            }
        }
        let is_new = |name: &&&str| name.contains(':') && !name.ends_with(":*") && !before.is_assigned_something(name);
        let newcomers = places.keys().filter(is_new).copied().collect();
        Self { places, newcomers }
    }

    fn lets_newcomers_in(&self, class: &ChangedClass) -> bool {
        class.effect() == Effect::Loosens && class.callers.iter().any(|name| self.newcomers.contains(name.as_str()))
    }

    /// The callers of a class: those who could do nothing before, then those who get the most.
    fn in_order(&self, class: &ChangedClass) -> Vec<String> {
        let mut callers = class.callers.clone();
        if class.effect() == Effect::Loosens {
            let gained = |name: &str| self.places.get(name).copied().unwrap_or_default();
            callers.sort_by_cached_key(|name| {
                (!self.newcomers.contains(name.as_str()), Reverse(gained(name)), name.clone())
            });
        }
        callers
    }
}

fn sentence(class: &ChangedClass, gains: &Gains<'_>) -> String {
    let how = match class.effect() {
        Effect::Loosens => "GETS FURTHER",
        Effect::Tightens => "less far",
        Effect::Mixed | Effect::None => "otherwise",
    };
    let some = |all: Vec<String>, more: usize| {
        let hidden = all.len().saturating_sub(EACH).saturating_add(more);
        let mut shown: Vec<String> = all.into_iter().take(EACH).collect();
        if hidden > 0 {
            shown.push(format!("and {hidden} more"));
        }
        shown.join(", ")
    };
    let place = |place: &ChangedPlace| {
        format!("{} {}{}", place.methods.join(","), place.host.as_deref().unwrap_or_default(), place.path)
    };
    let places = some(class.places.iter().map(place).collect(), class.more_places);
    let mut callers = some(gains.in_order(class), class.more_callers);
    for claims in &class.claims {
        callers.push_str(&format!(", with {}", claims.join(" or ")));
    }
    for circumstance in &class.when {
        callers.push_str(&format!(", {}: {}", circumstance.fact, circumstance.values.join(" or ")));
    }
    let rule = class.after.rule.as_ref().or(class.before.rule.as_ref());
    let rule = rule.map(|rule| format!(", by {} {} ({}:{})", rule.kind.as_str(), rule.name, rule.file, rule.line));
    format!(
        "{how}: {callers}; on {places}: {} becomes {}{}",
        class.before.outcome.as_str(),
        class.after.outcome.as_str(),
        rule.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{AssignmentDraft, PermissionDraft, PolicyDraft, RoleDraft, RouteDraft, ScopeDraft};

    use super::*;

    /// The first list may read, the second one also what is secret.
    fn policy(readers: &[String], admins: &[String]) -> Policy {
        let role = |name: &str, action: &str| RoleDraft {
            name: name.to_owned().into(),
            permissions: vec![PermissionDraft { actions: vec![action.to_owned().into()], not_actions: vec![] }],
            ..RoleDraft::default()
        };
        let assignment = |role: &str, names: &[String]| AssignmentDraft {
            name: format!("{role}s").into(),
            role: role.to_owned().into(),
            principals: names.iter().map(|name| name.clone().into()).collect(),
            scope: ScopeDraft::All,
            ..AssignmentDraft::default()
        };
        let draft = PolicyDraft {
            routes: vec![RouteDraft { name: "site".to_owned().into(), ..RouteDraft::default() }],
            roles: vec![role("reader", "GET /docs/**"), role("admin", "* /secret/**")],
            assignments: vec![assignment("reader", readers), assignment("admin", admins)],
            ..PolicyDraft::default()
        };
        Policy::compile(&draft).unwrap().0
    }

    /// Finding of 2026-11: of 32 who got further eight were named by the alphabet, and who had nothing before was not among them.
    #[test]
    fn whoever_could_do_nothing_before_is_named_first_and_how_to_see_all_is_said() {
        let staff: Vec<String> = (10..41).map(|number| format!("user:a{number}")).collect();
        let all: Vec<String> = staff.iter().cloned().chain(["user:mallory".to_owned()]).collect();
        let root = ["user:root".to_owned()];
        let lines = answers(&policy(&staff, &root), &policy(&staff, &all), Timestamp::UNIX_EPOCH);
        assert!(lines[0].starts_with("GETS FURTHER: user:mallory, user:a10, "), "{lines:#?}");
        assert!(lines[0].contains("user:a16, and 24 more; on "), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("`portcullis policy diff BEFORE AFTER`")), "{lines:#?}");
        // Where all are named nothing is left to be seen.
        let few = answers(&policy(&staff, &root), &policy(&staff, &staff[..2]), Timestamp::UNIX_EPOCH);
        assert!(!few.iter().any(|line| line.contains("BEFORE AFTER")), "{few:#?}");
    }
}
