//! What is proposed is tried: all together, then what goes together, and at last as a text.

use std::cell::Cell;
use std::collections::BTreeSet;

use portcullis_policy::{LintFacts, Policy, PolicyDraft};

use super::{DAY, NOW, Site, now};
use crate::audit::edit::Edit;
use crate::audit::model::Model;
use crate::audit::preview::{try_all, untried};
use crate::audit::{Endless, Finding, History, Input, Kind, Patience, PolicyText, Severity};

fn dropping(assignment: &str, severity: Severity) -> Finding {
    let mut finding = Finding::new(Kind::UnusedRoleBinding, severity, Some("user:alice"), None, assignment);
    finding.edits = vec![Edit::DropPrincipal { assignment: assignment.to_owned(), principal: "user:alice".to_owned() }];
    finding
}

fn tried(site: &Site, findings: &mut [Finding], text: &dyn PolicyText) {
    tried_within(site, findings, text, &Endless);
}

fn tried_within(site: &Site, findings: &mut [Finding], text: &dyn PolicyText, patience: &dyn Patience) {
    let (policy, _) = Policy::compile(&site.draft).unwrap();
    let input = Input {
        draft: &site.draft,
        policy: &policy,
        usage: &site.usage,
        sample: None,
        history: &History::of_one(&site.draft, NOW - 400 * DAY),
        known: &site.known,
        break_glass: None,
        activations: None,
        writers: &site.writers,
        lint: &LintFacts::default(),
        settings: &site.settings,
        suppressions: &[],
        persons: &super::ByName,
        before: None,
        text,
        patience,
        now: now(),
    };
    let model = Model::new(&site.draft, &site.usage, &site.known, now());
    try_all(&input, &model, findings, &|| {});
}

/// Alice has what she uses twice, and one thing that she does not use: so many times that halving has something to do.
fn twice() -> Site {
    let mut site = Site::new();
    site.role("reader", &["GET /a"]);
    site.role("idle", &["GET /b"]);
    for name in ["one", "two"] {
        site.grant(name, "reader", &["user:alice", "user:bob"]);
    }
    for number in 0..5 {
        site.grant(&format!("idle{number}"), "idle", &["user:alice", "user:bob"]);
    }
    site.uses("user:alice", "GET /a", 1);
    site
}

/// Each of the two goes alone; both would take away what is used. So one is proposed, the worse one, with all else.
#[test]
fn of_what_does_not_go_together_the_most_is_proposed() {
    let site = twice();
    let mut findings = vec![dropping("two", Severity::Medium)];
    findings.extend((0..5).map(|number| dropping(&format!("idle{number}"), Severity::Medium)));
    findings.insert(3, dropping("one", Severity::High));
    tried(&site, &mut findings, &super::Unread);
    let withheld: Vec<&str> =
        findings.iter().filter_map(|finding| finding.recommendation.withheld.as_deref()).collect();
    assert_eq!(withheld.len(), 1, "{withheld:?}");
    let why = findings[0].recommendation.withheld.as_deref().unwrap();
    assert!(why.starts_with("tried with all else that is proposed, it would refuse "), "{why}");
    let all: BTreeSet<Edit> = findings.iter().flat_map(|finding| finding.edits.iter().cloned()).collect();
    assert_eq!(all.len(), 6, "what was withheld proposes nothing");
    // What is left can be done at once.
    let mut at_once = Finding::new(Kind::UnusedRoleBinding, Severity::Medium, None, None, "");
    at_once.edits = all.into_iter().collect();
    let mut at_once = [at_once];
    tried(&site, &mut at_once, &super::Unread);
    assert_eq!(at_once[0].recommendation.preview.as_ref().unwrap().newly_denied, 0);
    assert!(findings.iter().skip(1).all(|finding| finding.recommendation.toml.is_some()));
}

#[test]
fn what_is_refused_alone_is_said_to_be_so() {
    let mut site = twice();
    site.draft.assignments.remove(1);
    let mut findings = vec![dropping("one", Severity::High), dropping("idle0", Severity::Medium)];
    tried(&site, &mut findings, &super::Unread);
    let why = findings[0].recommendation.withheld.as_deref().unwrap();
    assert!(why.starts_with("tried, it would refuse "), "{why}");
    assert!(findings[1].recommendation.withheld.is_none());
}

/// Says no to every other text, and counts how often it is asked.
#[derive(Debug, Default)]
struct Choosy(Cell<u32>);

impl PolicyText for Choosy {
    fn comes_to(&self, suggestion: &str, tried: &dyn Fn(&PolicyDraft) -> PolicyDraft) -> Result<(), String> {
        self.0.set(self.0.get() + 1);
        let after = tried(&twice().draft);
        let is_done = after.assignments.iter().filter(|each| each.principals.len() == 1).count() == 1;
        assert!(is_done && suggestion.contains("principals = [\"user:bob\"]"), "{suggestion}");
        if suggestion.contains("idle0") { Err("it cannot be read".to_owned()) } else { Ok(()) }
    }
}

/// A text that does not come to what was tried is not given out, nor is the change; and what is proposed twice is asked about once.
#[test]
fn a_text_is_given_out_only_where_it_comes_to_what_was_tried() {
    let text = Choosy::default();
    let mut findings = vec![
        dropping("idle0", Severity::Medium),
        dropping("idle1", Severity::Medium),
        dropping("idle1", Severity::Low),
    ];
    tried(&twice(), &mut findings, &text);
    let held = &findings[0].recommendation;
    assert_eq!((held.toml.as_ref(), findings[0].edits.len()), (None, 0));
    assert_eq!(held.withheld.as_deref(), Some("its text is not given out: it cannot be read"));
    assert!(findings.iter().skip(1).all(|finding| finding.recommendation.toml.is_some()));
    assert_eq!(text.0.get(), 2);
}

/// Says that it is over once it was asked so often.
#[derive(Debug)]
struct Times(Cell<u32>);

impl Patience for Times {
    fn is_over(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left == 0
    }
}

/// Reads every text, and remembers it.
#[derive(Debug, Default)]
struct Seen(std::cell::RefCell<BTreeSet<String>>);

impl PolicyText for Seen {
    fn comes_to(&self, suggestion: &str, _: &dyn Fn(&PolicyDraft) -> PolicyDraft) -> Result<(), String> {
        self.0.borrow_mut().insert(suggestion.to_owned());
        Ok(())
    }
}

/// Wherever the time is over: what was not tried, as a change and as a text, is not proposed, and how much that is, is said.
#[test]
fn what_there_was_no_time_for_is_never_proposed() {
    let site = twice();
    let mut counts = Vec::new();
    for times in 0..40 {
        let mut findings: Vec<Finding> =
            (0..5).map(|number| dropping(&format!("idle{number}"), Severity::Medium)).collect();
        findings.push(dropping("one", Severity::Low));
        findings.push(dropping("two", Severity::Low));
        let seen = Seen::default();
        tried_within(&site, &mut findings, &seen, &Times(Cell::new(times)));
        for finding in &findings {
            let recommendation = &finding.recommendation;
            let proposed = recommendation.toml.as_ref();
            assert!(proposed.is_none_or(|text| seen.0.borrow().contains(text)), "{times}: {recommendation:?}");
            assert!(proposed.is_none() || recommendation.preview.as_ref().unwrap().newly_denied == 0, "{times}");
            assert_eq!(proposed.is_none(), finding.edits.is_empty(), "{times}: what has no text proposes nothing");
            assert_ne!(proposed.is_some(), recommendation.withheld.is_some(), "{times}: {recommendation:?}");
        }
        counts.push(untried(&findings));
    }
    assert_eq!((counts[0], counts[39]), (7, 0), "{counts:?}");
}
