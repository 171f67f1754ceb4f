//! Who gets further, and who less far: what an approver decides on, in sentences. It is the comparison by which a change is classed.

use jiff::Timestamp;
use portcullis_policy::{ChangedClass, ChangedPlace, DiffBounds, Effect, Policy, compare};

/// Kinds of requests that are named; of more it is said how many there are.
const NAMED: usize = 20;
/// Callers and places that are named of one kind.
const EACH: usize = 8;

/// What of the answers to all requests changes, those that let somebody in first.
pub(crate) fn in_words(before: &Policy, after: &Policy, now: Timestamp) -> Vec<String> {
    let diff = compare(before, after, now, &DiffBounds::default());
    let rank = |class: &&ChangedClass| match class.effect() {
        Effect::Loosens => 0,
        Effect::Mixed => 1,
        Effect::Tightens => 2,
        Effect::None => 3,
    };
    let mut classes: Vec<&ChangedClass> = diff.classes.iter().filter(|class| class.effect() != Effect::None).collect();
    classes.sort_by_key(rank);
    let mut lines: Vec<String> = classes.iter().take(NAMED).map(|class| sentence(class)).collect();
    if let Some(more) = classes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let loosen = classes.iter().skip(NAMED).filter(|class| class.effect() != Effect::Tightens).count();
        lines.push(format!(
            "and {more} more kinds of request, of which {loosen} get further: `portcullis policy diff` shows all"
        ));
    }
    lines.extend(diff.incomplete.iter().map(|why| format!("not all of it was compared: {why}")));
    if lines.is_empty() {
        lines.push("every request is answered alike by the policy".to_owned());
    }
    lines
}

fn sentence(class: &ChangedClass) -> String {
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
    let mut callers = some(class.callers.clone(), class.more_callers);
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
