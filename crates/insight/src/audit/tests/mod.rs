//! Each finding as it is made, and as it is not; what is proposed for it; and a world in which the answers are known.

mod findings;
mod forms;
mod properties;
mod stake;
mod together;
mod trial;
mod world;

use std::collections::BTreeSet;

use portcullis_policy::{
    AssignmentDraft, GroupDraft, LintFacts, Policy, PolicyDraft, Position, Principal, RoleDraft, RouteDraft,
};

use super::usage::Usage;
use super::{
    Activation, AuditSettings, BreakGlassUse, Endless, Finding, History, Input, KnownPrincipals, PolicyText,
    PolicyWriters, Report, SamePerson, Suppression, audit,
};

pub(super) const DAY: i64 = 86_400;
/// 2026-11-23, a Monday, at noon.
pub(super) const NOW: i64 = 1_795_435_200;

/// All that an audit looks at, as a test changes it.
pub(super) struct Site {
    pub(super) draft: PolicyDraft,
    pub(super) usage: Usage,
    pub(super) history: Option<History>,
    pub(super) known: KnownPrincipals,
    pub(super) break_glass: Option<Vec<BreakGlassUse>>,
    pub(super) activations: Option<Vec<Activation>>,
    pub(super) writers: PolicyWriters,
    pub(super) settings: AuditSettings,
    pub(super) suppressions: Vec<Suppression>,
    pub(super) lint: LintFacts,
    pub(super) before: Option<Report>,
    pub(super) text: &'static dyn PolicyText,
}

impl Site {
    /// Routes `app` and `other`, observed for 100 days.
    pub(super) fn new() -> Self {
        let draft = PolicyDraft {
            sources: vec!["portcullis.toml".into(), "policy.toml".into()],
            routes: vec![
                RouteDraft::new("app", ["/**"]),
                RouteDraft { hosts: vec!["o.test".to_owned().into()], ..RouteDraft::new("other", ["/**"]) },
            ],
            ..PolicyDraft::default()
        };
        Self {
            draft,
            usage: observed(100),
            history: None,
            known: KnownPrincipals { open: open(), ..KnownPrincipals::default() },
            break_glass: None,
            activations: Some(Vec::new()),
            writers: PolicyWriters::default(),
            settings: AuditSettings::default(),
            suppressions: Vec::new(),
            lint: LintFacts::default(),
            before: None,
            text: &Unread,
        }
    }

    pub(super) fn role(&mut self, name: &str, actions: &[&str]) {
        let mut role = RoleDraft::new(name, actions.iter().copied());
        let line = u32::try_from(10 * self.draft.roles.len()).unwrap() + 100;
        role.name.at = at(line);
        role.permissions[0].actions.iter_mut().for_each(|action| action.at = at(line + 1));
        self.draft.roles.push(role);
    }

    pub(super) fn grant(&mut self, name: &str, role: &str, principals: &[&str]) -> &mut AssignmentDraft {
        let mut assignment = AssignmentDraft::new(name, role, principals.iter().copied());
        assignment.name.at = at(u32::try_from(10 * self.draft.assignments.len()).unwrap() + 5_000);
        self.draft.assignments.push(assignment);
        self.draft.assignments.last_mut().unwrap()
    }

    pub(super) fn group(&mut self, name: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned().into()).collect();
        self.draft.groups.push(GroupDraft { name: name.to_owned().into(), members });
    }

    /// A principal used a permission on `app`, so many days ago.
    pub(super) fn uses(&mut self, principal: &str, action: &str, days_ago: i64) {
        self.note(principal, "app", action, true, days_ago);
    }

    pub(super) fn note(&mut self, principal: &str, route: &str, action: &str, permitted: bool, days_ago: i64) {
        let who = who(principal);
        self.usage.note(who.as_ref(), (route, action), permitted, 1, NOW - days_ago * DAY);
    }

    pub(super) fn run(&self) -> Report {
        self.ask(|input| audit(input, &|| {}))
    }

    /// Asks something of what an audit would look at.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Input<'_>) -> T) -> T {
        let (policy, _) = Policy::compile(&self.draft).unwrap_or_else(|problems| panic!("{problems:?}"));
        let old = History::of_one(&self.draft, NOW - 400 * DAY);
        ask(&Input {
            draft: &self.draft,
            policy: &policy,
            usage: &self.usage,
            sample: None,
            history: self.history.as_ref().unwrap_or(&old),
            known: &self.known,
            break_glass: self.break_glass.as_deref(),
            activations: self.activations.as_deref(),
            writers: &self.writers,
            lint: &LintFacts { now: Some(now()), ..self.lint.clone() },
            settings: &self.settings,
            suppressions: &self.suppressions,
            persons: &ByName,
            before: self.before.as_ref(),
            text: self.text,
            patience: &Endless,
            now: now(),
        })
    }

    /// The findings of one kind: whom they are about, and what.
    pub(super) fn found(&self, id: &str) -> Vec<(String, String)> {
        let of = |finding: &Finding| {
            (finding.principal.clone().unwrap_or_default(), finding.permission.clone().unwrap_or_default())
        };
        self.run().findings.iter().filter(|finding| finding.id == id).map(of).collect()
    }
}

/// Who knows no TOML takes every text for what was tried. That it is so is held by the tests of `config`, which does.
#[derive(Debug)]
pub(super) struct Unread;

impl PolicyText for Unread {
    fn comes_to(&self, _: &str, _: &dyn Fn(&PolicyDraft) -> PolicyDraft) -> Result<(), String> {
        Ok(())
    }
}

/// Who has the name of a user is that user.
#[derive(Debug)]
pub(super) struct ByName;

impl SamePerson for ByName {
    fn may_be(&self, names: &[String], principal: &str) -> bool {
        names.iter().any(|name| principal.strip_prefix("user:") == Some(name))
    }
}

/// Nothing yet, counted for so many days without a break.
pub(super) fn observed(days: i64) -> Usage {
    let mut usage = Usage::beginning(NOW - days * DAY);
    usage.observe(NOW - days * DAY, NOW);
    usage
}

/// Users and services may come from anywhere.
pub(super) fn open() -> Vec<(portcullis_policy::PrincipalKind, String)> {
    use portcullis_policy::PrincipalKind::{Certificate, Service, User};
    [User, Service, Certificate].map(|kind| (kind, String::new())).to_vec()
}

pub(super) fn who(principal: &str) -> Option<Principal> {
    let (kind, id) = principal.split_once(':')?;
    Some(Principal::stated(super::usage::kind_named(kind).unwrap(), id))
}

pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(NOW).unwrap()
}

pub(super) fn at(line: u32) -> Position {
    Position { source: 1, start: line, end: line + 1, line }
}

/// All changes that a report proposes and does not withhold.
pub(super) fn edits(report: &Report) -> BTreeSet<super::edit::Edit> {
    report.findings.iter().flat_map(|finding| finding.edits.iter().cloned()).collect()
}
