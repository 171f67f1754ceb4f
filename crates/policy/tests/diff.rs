//! The comparison of two policies against brute force: requests tried one by one under both.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases of each property.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a broken expectation is a failure"
)]

#[path = "properties/oracle.rs"]
#[expect(dead_code, reason = "only how a pattern is read is of interest here")]
mod oracle;
#[path = "properties/world.rs"]
mod world;

use std::collections::BTreeSet;

use jiff::Timestamp;
use portcullis_policy::*;
use proptest::collection::vec;
use proptest::prelude::*;

use oracle::specificity;
use world::{Facts, Identity, facts, policy_draft};

fn cases() -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() }
}

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn compile(draft: &PolicyDraft) -> Policy {
    Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

/// A draft and another one that has some of its sections.
fn two_drafts() -> impl Strategy<Value = (PolicyDraft, PolicyDraft)> {
    (policy_draft(), policy_draft(), 0u8..64).prop_map(|(before, other, sections)| {
        let mut after = before.clone();
        let takes = |section: u8| sections & (1 << section) != 0;
        if takes(0) {
            after.assignments.clone_from(&other.assignments);
        }
        if takes(1) {
            after.denies.clone_from(&other.denies);
        }
        if takes(2) {
            after.groups.clone_from(&other.groups);
        }
        if takes(3) {
            after.roles.clone_from(&other.roles);
        }
        if takes(4) {
            after.resources.clone_from(&other.resources);
        }
        if takes(5) {
            after.risk = other.risk.clone();
            after.networks.clone_from(&other.networks);
            after.step_up.max_age_s /= 2;
        }
        if Policy::compile(&after).is_err() { (before, other) } else { (before, after) }
    })
}

/// Facts that a running gateway can establish, without bans, of which the comparison says nothing.
fn plain_facts() -> impl Strategy<Value = Facts> {
    facts().prop_map(|mut facts| {
        facts.risk.stated = None;
        Facts { address_ban: None, principal_ban: None, ..facts }
    })
}

fn outcome(policy: &Policy, facts: &Facts) -> Outcome {
    match policy.decide(&facts.request(policy)) {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Deny(_) => Outcome::Deny,
        Decision::Challenge(_) => Outcome::Challenge,
        Decision::StepUp(_) => Outcome::StepUp,
        Decision::Undecided(_) => Outcome::Undecided,
    }
}

/// Every pattern of routes and actions, and every method that an action names.
fn patterns_and_methods(drafts: [&PolicyDraft; 2]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut patterns, mut methods) = (BTreeSet::new(), BTreeSet::new());
    for draft in drafts {
        patterns.extend(draft.routes.iter().flat_map(|route| &route.paths).map(|path| path.value.clone()));
        let permissions = draft.roles.iter().flat_map(|role| &role.permissions);
        let actions = permissions.flat_map(|each| each.actions.iter().chain(&each.not_actions));
        for action in actions.chain(draft.denies.iter().flat_map(|deny| &deny.actions)) {
            let (names, pattern) = action.value.split_once(' ').unwrap();
            patterns.insert(pattern.to_owned());
            methods.extend(names.split(',').filter(|name| *name != "*").map(str::to_owned));
        }
    }
    (patterns, methods)
}

/// Paths of a shape: a star becomes a segment that no pattern names.
fn paths_of(shape: &str) -> Vec<CanonicalPath> {
    let (whole, stem) = match shape.strip_suffix("/*/**") {
        Some(stem) => (false, Some(stem)),
        None => (true, shape.strip_suffix("/**")),
    };
    let mut texts = match stem {
        Some(stem) => vec![format!("{stem}/zz"), format!("{stem}/zz/zz")],
        None => vec![shape.to_owned()],
    };
    texts.extend(stem.filter(|stem| whole && !stem.is_empty()).map(str::to_owned));
    texts.iter().map(|text| CanonicalPath::parse(&text.replace('*', "zz")).unwrap()).collect()
}

fn matched<'p>(patterns: &'p BTreeSet<String>, path: &CanonicalPath) -> BTreeSet<&'p String> {
    patterns.iter().filter(|pattern| specificity(pattern, path).is_some()).collect()
}

fn is_at(class: &ChangedClass, facts: &Facts, patterns: &BTreeSet<String>, methods: &BTreeSet<String>) -> bool {
    let wanted = matched(patterns, &facts.path);
    class.places.iter().any(|place| {
        let method = match place.methods.iter().any(|method| method == facts.method) {
            true => true,
            false if place.methods == ["*"] => true,
            false => place.methods.iter().any(|method| method == "*") && !methods.contains(facts.method),
        };
        method && paths_of(&place.path).iter().any(|path| matched(patterns, path) == wanted)
    })
}

/// The answer, with its reason and its rule.
fn told(policy: &Policy, request: &AccessRequest<'_>) -> ExampleAnswer {
    let explained = policy.explain(request);
    let reason = explained.denial.as_ref().map(|denial| denial.reason);
    ExampleAnswer { outcome: explained.outcome, reason, rule: explained.rule }
}

/// The example of a class, asked by somebody whom its line names: `user:*` is somebody whom no rule names.
fn as_caller(class: &ChangedClass, name: &str) -> Option<ExampleRequest> {
    let mut example = class.example.clone();
    if let (ExampleIdentity::Verified(who), Some((kind, id))) = (&mut example.identity, name.split_once(':')) {
        let named = Principal::stated(
            match kind {
                "user" => PrincipalKind::User,
                "service" => PrincipalKind::Service,
                "certificate" => PrincipalKind::Certificate,
                _ => return None,
            },
            if id == "*" { "whom-no-rule-names" } else { id },
        );
        (who.kind, who.id) = (named.kind, named.id);
    }
    Some(example)
}

/// What the credential carries.
fn carried(facts: &Facts) -> usize {
    match &facts.identity {
        Identity::Verified(who) => who.groups.len() + who.roles.len(),
        Identity::Anonymous | Identity::Rejected(_) | Identity::Unavailable(_) => 0,
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_is_missed_and_nothing_is_invented((before, after) in two_drafts(), tried in vec(plain_facts(), 60)) {
        let (patterns, methods) = patterns_and_methods([&before, &after]);
        let (before, after) = (compile(&before), compile(&after));
        let diff = compare(&before, &after, now(), &DiffBounds::default());
        prop_assert_eq!(&diff.incomplete, &Vec::<String>::new());
        for class in &diff.classes {
            let answers = [&before, &after].map(|policy| policy.explain(&class.example.ask(policy)).outcome);
            prop_assert_eq!(answers, [class.before.outcome, class.after.outcome], "{:#?}", class);
            prop_assert_ne!(class.before.outcome, class.after.outcome);
            prop_assert!(class.is_about(&before, &after, &class.example.host, &class.example.ask(&before)), "{:#?}", class);
            // What a line says before and after is so, to the rule, for everybody whom it names.
            prop_assert!(class.is_uniform);
            for name in &class.callers {
                let Some(example) = as_caller(class, name) else { continue };
                let answers = [&before, &after].map(|policy| told(policy, &example.ask(policy)));
                prop_assert_eq!(&answers, &[class.before.clone(), class.after.clone()], "{} {:#?}", name, class);
            }
        }
        for facts in &tried {
            let answers = [outcome(&before, facts), outcome(&after, facts)];
            let about = |class: &&ChangedClass| {
                is_at(class, facts, &patterns, &methods) && class.is_about(&before, &after, "host", &facts.request(&before))
            };
            let reported: Vec<&ChangedClass> = diff.classes.iter().filter(about).collect();
            let as_answered = |class: &&&ChangedClass| [class.before.outcome, class.after.outcome] == answers;
            if answers[0] != answers[1] {
                prop_assert!(reported.iter().any(|class| as_answered(&class)), "missed {:?} {:#?}\n{:#?}", answers, facts, diff);
            }
            // `user:*` is anyone whom no rule names at that place: only where a class is of one place is that said of this one.
            let of_one_place = |class: &&&ChangedClass| {
                matches!(class.places.as_slice(), [place] if !place.path.ends_with("/**") && place.methods.len() == 1) && class.more_places == 0
            };
            let exact = reported.iter().filter(|class| class.claims.len() == carried(facts)).filter(of_one_place);
            for class in exact {
                prop_assert!(as_answered(&class), "invented {:?} {:#?}\n{:#?}", answers, facts, class);
                // Why a credential is refused, or cannot be checked, it says of itself: the example's stands for any.
                if matches!(facts.identity, Identity::Rejected(_) | Identity::Unavailable(_)) {
                    continue;
                }
                let told = [&before, &after].map(|policy| told(policy, &facts.request(policy)));
                prop_assert_eq!(&told, &[class.before.clone(), class.after.clone()], "{:#?}\n{:#?}", facts, class);
            }
        }
    }

    #[test]
    fn a_policy_does_not_differ_from_itself(draft in policy_draft()) {
        let diff = compare(&compile(&draft), &compile(&draft), now(), &DiffBounds { reasons: true, ..DiffBounds::default() });
        prop_assert_eq!(diff.effect(), Effect::None, "{:#?}", diff);
    }

    #[test]
    fn there_and_back_is_the_opposite((before, after) in two_drafts()) {
        let (before, after) = (compile(&before), compile(&after));
        let there = compare(&before, &after, now(), &DiffBounds::default());
        let back = compare(&after, &before, now(), &DiffBounds::default());
        let opposite = match there.effect() {
            Effect::Loosens => Effect::Tightens,
            Effect::Tightens => Effect::Loosens,
            same => same,
        };
        prop_assert_eq!(back.effect(), opposite);
        let outcomes = |diff: &PolicyDiff| -> BTreeSet<[Outcome; 2]> {
            diff.classes.iter().map(|class| [class.before.outcome, class.after.outcome]).collect()
        };
        let turned: BTreeSet<[Outcome; 2]> = outcomes(&back).into_iter().map(|[one, other]| [other, one]).collect();
        prop_assert_eq!(turned, outcomes(&there));
    }
}

/// Finding of 2026-11: whoever a deny that is removed no longer stops stood in one line with those who had no grant before, by
/// another rule, and the deny stood nowhere.
#[test]
fn whoever_was_denied_by_a_rule_that_is_removed_has_a_line_that_names_the_rule() {
    let draft = |staff: &[&str], denied: bool| {
        let texts = |list: &[&str]| -> Vec<_> { list.iter().map(|text| (*text).to_owned().into()).collect() };
        let role = |name: &str, action: &str| RoleDraft {
            name: name.to_owned().into(),
            permissions: vec![PermissionDraft { actions: texts(&[action]), not_actions: vec![] }],
            ..RoleDraft::default()
        };
        let assignment = |name: &str, principal: &str| AssignmentDraft {
            name: name.to_owned().into(),
            role: "reader".to_owned().into(),
            principals: texts(&[principal]),
            scope: ScopeDraft::All,
            ..AssignmentDraft::default()
        };
        PolicyDraft {
            routes: vec![RouteDraft { name: "site".to_owned().into(), ..RouteDraft::default() }],
            groups: vec![GroupDraft { name: "staff".to_owned().into(), members: texts(staff) }],
            roles: vec![role("reader", "GET /**")],
            assignments: vec![assignment("staff-reads", "group:staff"), assignment("u8", "user:u8")],
            denies: Vec::from_iter(denied.then(|| DenyDraft {
                name: "no-secret".to_owned().into(),
                principals: texts(&["user:u8"]),
                actions: texts(&["* /secret/**"]),
                scope: ScopeDraft::All,
                ..DenyDraft::default()
            })),
            ..PolicyDraft::default()
        }
    };
    let (before, after) =
        (compile(&draft(&["user:u0"], true)), compile(&draft(&["user:u0", "user:u1", "user:u2"], false)));
    let diff = compare(&before, &after, now(), &DiffBounds::default());
    let rule = |answer: &ExampleAnswer| answer.rule.as_ref().map(|rule| rule.name.to_string());
    let lines = |wanted: &str| -> Vec<_> {
        let is_there = |class: &&ChangedClass| class.places.iter().any(|place| place.path == wanted);
        let said = |class: &ChangedClass| {
            let reason = class.before.reason.map(|reason| reason.code());
            (class.callers.clone(), reason, rule(&class.before), rule(&class.after))
        };
        diff.classes.iter().filter(is_there).map(said).collect()
    };
    let of = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        lines("/secret/**"),
        [
            (of(&["user:u1", "user:u2"]), Some("rbac.no_matching_grant"), None, named("staff-reads")),
            (of(&["user:u8"]), Some("rbac.explicit_deny"), named("no-secret"), named("u8")),
        ],
        "{diff:#?}"
    );
}

/// Finding of 2026-11: by their rules very many callers were more lines than are listed, and what only took something away was not known to.
#[test]
fn what_a_change_comes_to_does_not_depend_on_how_many_rules_it_is_told_by() {
    let draft = |users: usize| PolicyDraft {
        routes: vec![RouteDraft { name: "site".to_owned().into(), ..RouteDraft::default() }],
        roles: vec![RoleDraft {
            name: "reader".to_owned().into(),
            permissions: vec![PermissionDraft { actions: vec!["GET /**".to_owned().into()], not_actions: vec![] }],
            ..RoleDraft::default()
        }],
        assignments: Vec::from_iter((0..users).map(|user| AssignmentDraft {
            name: format!("reads-{user}").into(),
            role: "reader".to_owned().into(),
            principals: vec![format!("user:u{user}").into()],
            scope: ScopeDraft::All,
            ..AssignmentDraft::default()
        })),
        ..PolicyDraft::default()
    };
    let (before, after) = (compile(&draft(9)), compile(&draft(0)));
    let come_to = |rules| {
        let bounds = DiffBounds { classes: 4, rules, ..DiffBounds::default() };
        let diff = compare(&before, &after, now(), &bounds);
        (diff.effect(), diff.classes.len(), diff.incomplete.len())
    };
    assert_eq!(come_to(true), (Effect::Mixed, 4, 1));
    assert_eq!(come_to(false), (Effect::Tightens, 1, 0));
}
