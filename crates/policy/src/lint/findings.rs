//! What was found so far, bounded: who has made one mistake ten thousand times needs to be told of two hundred.

use std::collections::HashMap;

use crate::draft::{PolicyDraft, Position, Problem, ProblemKind, Severity};

/// Findings of one kind that are kept; more are counted.
const MOST_OF_A_KIND: usize = 200;

/// Collects warnings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Problem>,
    counts: HashMap<ProblemKind, usize>,
    /// By kind: the first one that was not kept.
    left_out: HashMap<ProblemKind, (Position, String)>,
    /// Where the rules begin, for what concerns all of them.
    beginning: Position,
}

impl Findings {
    pub(super) fn new(draft: &PolicyDraft) -> Self {
        let names =
            (draft.roles.iter().map(|role| role.name.at)).chain(draft.assignments.iter().map(|each| each.name.at));
        Self { beginning: names.min().unwrap_or_default(), ..Self::default() }
    }

    /// Adds a warning. They come in the order of names, so that which of them are kept does not hang on the file's.
    pub(super) fn add(&mut self, kind: ProblemKind, at: Position, message: String, help: &str) {
        self.add_related(kind, at, message, help, Vec::new());
    }

    /// The same with other places.
    pub(super) fn add_related(
        &mut self,
        kind: ProblemKind,
        at: Position,
        message: String,
        help: &str,
        related: Vec<(Position, String)>,
    ) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count > MOST_OF_A_KIND {
            self.left_out.entry(kind).or_insert((at, message));
            return;
        }
        self.kept.push(warning(kind, at, message, help, related));
    }

    /// Says that part of the policy was not looked at.
    pub(super) fn incomplete(&mut self, what: &str) {
        let message = format!("the policy is too large for the lint to look at all of it: {what}");
        let help = "what it did say holds; nothing is wrong with the policy because of this";
        self.add(ProblemKind::LintIncomplete, self.beginning, message, help);
    }

    /// Everything, by position.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        for (kind, (at, message)) in self.left_out {
            let more = self.counts.get(&kind).map_or(0, |count| count.saturating_sub(MOST_OF_A_KIND));
            let message = format!("{more} more like this one are not listed: {message}");
            let help = "mend those that are listed first, and check again";
            self.kept.push(warning(ProblemKind::LintIncomplete, at, message, help, Vec::new()));
        }
        self.kept.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.message.cmp(&b.message)));
        self.kept
    }
}

fn warning(kind: ProblemKind, at: Position, message: String, help: &str, related: Vec<(Position, String)>) -> Problem {
    Problem { at, severity: Severity::Warning, kind, message, help: Some(help.into()), related }
}

/// How much work a check may do, in steps of its own. It keeps the lint of the largest policies to a moment.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new(steps: usize) -> Self {
        Self { left: steps }
    }

    /// Takes steps, or says that there are not enough left, and from then on none at all.
    pub(super) fn spend(&mut self, steps: usize) -> bool {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }
}
