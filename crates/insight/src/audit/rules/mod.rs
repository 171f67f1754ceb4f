//! The rules of the eighteen findings.

use std::collections::{BTreeMap, HashMap};

use portcullis_policy::Position;

use super::Input;
use super::edit::Edit;
use super::finding::{Evidence, Finding, Kind, Place, Severity, shown};
use super::model::Model;
use super::stake::matters_of;

mod breadth;
mod covered;
mod denied;
mod eligible;
mod escalation;
mod keys;
mod peers;
mod principals;
mod recent;
mod roles;
mod time;
mod unused;

/// Findings of one kind that are listed; more are counted.
const MOST_OF_A_KIND: usize = 2_000;

/// What was found so far.
pub(super) struct Findings<'a, 'm> {
    pub(super) input: &'a Input<'a>,
    pub(super) model: &'m Model<'a>,
    pub(super) found: Vec<Finding>,
    pub(super) not_looked_at: BTreeMap<String, String>,
    pub(super) left_out: BTreeMap<String, u64>,
    counts: HashMap<Kind, usize>,
}

/// What a finding says.
pub(super) struct Said<'s> {
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) principal: Option<&'s str>,
    pub(super) permission: Option<&'s str>,
    /// What tells it from others of the same kind, principal and permission.
    pub(super) about: &'s str,
    pub(super) message: String,
    pub(super) place: Option<Place>,
    pub(super) evidence: Evidence,
    pub(super) change: String,
    pub(super) edits: Vec<Edit>,
    /// What it is about that somebody holds, besides what its place says.
    pub(super) held: Vec<String>,
}

impl Said<'_> {
    /// One without evidence of usage and without a change that could be tried.
    pub(super) fn plain<'s>(kind: Kind, severity: Severity, message: String, change: &str) -> Said<'s> {
        Said {
            kind,
            severity,
            principal: None,
            permission: None,
            about: "",
            message,
            place: None,
            evidence: Evidence::default(),
            change: change.to_owned(),
            edits: Vec::new(),
            held: Vec::new(),
        }
    }
}

impl<'a, 'm> Findings<'a, 'm> {
    pub(super) fn new(input: &'a Input<'a>, model: &'m Model<'a>) -> Self {
        Self {
            input,
            model,
            found: Vec::new(),
            not_looked_at: BTreeMap::new(),
            left_out: BTreeMap::new(),
            counts: HashMap::new(),
        }
    }

    fn add(&mut self, said: Said<'_>) {
        let count = self.counts.entry(said.kind).or_default();
        *count += 1;
        if *count > MOST_OF_A_KIND {
            *self.left_out.entry(said.kind.id().to_owned()).or_default() += 1;
            return;
        }
        let mut finding = Finding::new(said.kind, said.severity, said.principal, said.permission, said.about);
        finding.message = said.message;
        finding.place = said.place;
        finding.evidence = said.evidence;
        finding.recommendation.change = said.change;
        finding.edits = said.edits;
        let place = finding.place.as_ref().map(|place| (place.kind.as_str(), place.name.as_str()));
        finding.held = said.held;
        finding.held.extend(matters_of(finding.principal.as_deref(), place));
        finding.held.sort_unstable();
        finding.held.dedup();
        self.found.push(finding);
    }

    fn skip(&mut self, kinds: &[Kind], why: &str) {
        for kind in kinds {
            self.not_looked_at.insert(kind.id().to_owned(), why.to_owned());
        }
    }

    /// The time before which something must have been used last to be unused.
    ///
    /// # Errors
    /// Why nothing can be called unused: usage has not been observed for long enough.
    fn edge(&self, since: Option<i64>) -> Result<i64, String> {
        self.input.edge(since)
    }

    /// Whether the log of versions is known far enough back to say of anything that it was granted before the edge.
    ///
    /// # Errors
    /// Why not.
    fn ages_reach(&self, edge: i64) -> Result<(), String> {
        let history = self.input.history;
        match history.oldest() {
            Some(oldest) if oldest <= edge => Ok(()),
            Some(oldest) => {
                let gaps = match history.gaps() {
                    [] => String::new(),
                    gaps => format!(" ({})", gaps.join("; ")),
                };
                Err(format!(
                    "since when something is granted is known from {} on{gaps}, and the window begins at {}: nothing is known to be that old",
                    shown(oldest),
                    shown(edge)
                ))
            }
            None => Err("there is no log of versions: since when something is granted is not known".to_owned()),
        }
    }

    /// Evidence that rests on usage.
    fn observed(&self, granted: Option<i64>, last_used: Option<u32>) -> Evidence {
        let since = self.input.usage.since();
        Evidence {
            granted_at: granted.filter(|since| *since > i64::MIN).map(shown),
            last_used: last_used.map(|last| shown(i64::from(last))),
            observed_since: since.map(shown),
            facts: self.input.gap_since(since).into_iter().collect(),
            ..Evidence::default()
        }
    }

    fn place(&self, kind: &str, name: &str, at: Position) -> Option<Place> {
        let file = self.input.draft.sources.get(at.source as usize)?;
        Some(Place { kind: kind.to_owned(), name: name.to_owned(), file: file.to_string(), line: at.line })
    }

    fn days(&self) -> u64 {
        self.input.settings.unused_after.as_secs() / 86_400
    }
}

pub(super) fn look(findings: &mut Findings<'_, '_>, yields: &dyn Fn()) {
    let rules: [fn(&mut Findings<'_, '_>); 11] = [
        unused::look,
        keys::look,
        eligible::look,
        principals::look,
        breadth::look,
        peers::look,
        recent::look,
        escalation::look,
        time::look,
        roles::look,
        denied::look,
    ];
    for rule in rules {
        rule(findings);
        yields();
    }
    if let Some(what) = findings.model.incomplete {
        findings.not_looked_at.insert("*".to_owned(), format!("{what}: what is said holds, and there may be more"));
    }
}

/// `1 thing`, `2 things`
fn counted(count: usize, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {several}") }
}

/// The first names, and how many more there are.
fn listed<'n>(names: impl IntoIterator<Item = &'n str>, most: usize) -> String {
    let all: Vec<&str> = names.into_iter().collect();
    let first: Vec<String> = all.iter().take(most).map(|name| format!("`{name}`")).collect();
    match all.len().saturating_sub(most) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
