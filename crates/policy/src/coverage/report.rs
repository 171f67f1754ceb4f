//! What the bookkeeping amounts to: counts by kind, and each rule that is not covered with its place and a hint.

use super::*;

/// How much of a policy is covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageReport {
    /// For each kind, in the order of [`CoverageKind::ALL`]; without rules in shadow mode.
    pub kinds: Vec<(CoverageKind, Count)>,
    /// The rules in shadow mode, which are no part of the other counts.
    pub shadow: Count,
    /// What is not covered, by file and line.
    pub missing: Vec<CoverageItem>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CoverageKind {
    /// An `[[assignment]]`.
    Assignment,
    /// One condition of an assignment's `when`.
    Condition,
    /// A `[[deny]]`.
    Deny,
    /// A permission of a role that is assigned, inherited ones once.
    Permission,
    /// A `[[resource]]`.
    Resource,
}

impl CoverageKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Assignment, Self::Condition, Self::Deny, Self::Permission, Self::Resource];

    /// The word for one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Condition => "condition",
            Self::Deny => "deny",
            Self::Permission => "permission",
            Self::Resource => "resource",
        }
    }

    /// The word for several.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Assignment => "assignments",
            Self::Condition => "conditions",
            Self::Deny => "denies",
            Self::Permission => "permissions",
            Self::Resource => "resources",
        }
    }
}

/// How many there are, and how many of them are covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Covered.
    pub covered: usize,
    /// All.
    pub total: usize,
}

impl Count {
    /// The share in whole percent, rounded, but 100 only if all are covered and 0 only if none is. Of nothing, all is covered.
    pub fn percent(self) -> usize {
        if self.covered >= self.total {
            return 100;
        }
        let rounded = self.covered.saturating_mul(200).saturating_add(self.total) / self.total.saturating_mul(2);
        rounded.clamp(usize::from(self.covered > 0), 99)
    }

    /// Whether the share, not rounded, is at least so many percent.
    pub fn is_at_least(self, percent: usize) -> bool {
        self.covered.saturating_mul(100) >= self.total.saturating_mul(percent)
    }

    fn count(&mut self, level: CoverageLevel) {
        self.total += 1;
        self.covered += usize::from(level == CoverageLevel::Covered);
    }
}

/// One rule, or part of one, that is not covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageItem {
    /// What it is.
    pub kind: CoverageKind,
    /// The rule: of a condition its assignment, of a permission its role, at the permission's own line.
    pub rule: RuleRef,
    /// Of a condition its key, of a permission its actions; else empty.
    pub part: String,
    /// How far it was put to the test.
    pub level: CoverageLevel,
    /// It is in shadow mode.
    pub shadow: bool,
    /// What no request shows, in a sentence without a full stop and without the place.
    pub hint: String,
}

impl CoverageReport {
    /// All kinds together, without rules in shadow mode.
    pub fn total(&self) -> Count {
        self.kinds.iter().fold(Count::default(), |sum, (_, count)| Count {
            covered: sum.covered + count.covered,
            total: sum.total + count.total,
        })
    }
}

impl Coverage<'_> {
    /// What the requests so far amount to.
    pub fn report(&self) -> CoverageReport {
        let mut tally = Tally { kinds: [Count::default(); 5], shadow: Count::default(), missing: Vec::new() };
        self.tally_assignments(&mut tally);
        for (deny, level) in self.policy.denies.iter().zip(&self.denies) {
            tally.add(CoverageKind::Deny, *level, deny.shadow, || {
                (deny.rule.clone(), String::new(), deny_hint(&deny.rule.name, *level, deny.shadow))
            });
        }
        for (place, level) in self.policy.permissions.iter().zip(&self.permissions) {
            let Some(level) = level else { continue };
            tally.add(CoverageKind::Permission, *level, false, || {
                let hint = format!("no permitted case does `{}` of role `{}`", place.actions, place.rule.name);
                (place.rule.clone(), place.actions.to_string(), hint)
            });
        }
        for (resource, level) in self.policy.resources.iter().zip(&self.resources) {
            let Some(rule) = &resource.rule else { continue };
            tally.add(CoverageKind::Resource, *level, resource.shadow, || {
                (rule.clone(), String::new(), resource_hint(&rule.name, *level, resource.shadow))
            });
        }
        let Tally { kinds, shadow, mut missing } = tally;
        missing.sort_by(|a, b| {
            (&a.rule.file, a.rule.line, a.kind, &a.part).cmp(&(&b.rule.file, b.rule.line, b.kind, &b.part))
        });
        CoverageReport { kinds: CoverageKind::ALL.into_iter().zip(kinds).collect(), shadow, missing }
    }

    fn tally_assignments(&self, tally: &mut Tally) {
        let each = self.policy.assignments.iter().zip(&self.assignments).zip(&self.conditions);
        for ((assignment, level), shown) in each {
            tally.add(CoverageKind::Assignment, *level, assignment.shadow, || {
                let hint = assignment_hint(&assignment.rule.name, *level, assignment.shadow);
                (assignment.rule.clone(), String::new(), hint)
            });
            // The conditions of an assignment in shadow mode decide nothing.
            for kind in demanded(&assignment.when).filter(|_| !assignment.shadow) {
                let seen = (shown.met & bit(kind) != 0, shown.unmet & bit(kind) != 0);
                let level = match seen {
                    (true, true) => CoverageLevel::Covered,
                    (false, false) => CoverageLevel::Untouched,
                    _ => CoverageLevel::Touched,
                };
                tally.add(CoverageKind::Condition, level, false, || {
                    let hint = condition_hint(kind.as_str(), &assignment.rule.name, seen);
                    (assignment.rule.clone(), kind.as_str().to_owned(), hint)
                });
            }
        }
    }
}

struct Tally {
    kinds: [Count; 5],
    shadow: Count,
    missing: Vec<CoverageItem>,
}

impl Tally {
    fn add(
        &mut self,
        kind: CoverageKind,
        level: CoverageLevel,
        shadow: bool,
        item: impl FnOnce() -> (RuleRef, String, String),
    ) {
        let place = CoverageKind::ALL.iter().position(|each| *each == kind).unwrap_or_default();
        match self.kinds.get_mut(place).filter(|_| !shadow) {
            Some(count) => count.count(level),
            None => self.shadow.count(level),
        }
        if level != CoverageLevel::Covered {
            let (rule, part, hint) = item();
            self.missing.push(CoverageItem { kind, rule, part, level, shadow, hint });
        }
    }
}

fn assignment_hint(name: &str, level: CoverageLevel, shadow: bool) -> String {
    match (shadow, level) {
        (true, _) => format!("no case would be permitted through `{name}`, which is in shadow mode"),
        (false, CoverageLevel::Touched) => format!("no case is permitted through `{name}`; it only refused"),
        (false, _) => format!("no case is permitted through `{name}`"),
    }
}

fn deny_hint(name: &str, level: CoverageLevel, shadow: bool) -> String {
    match (shadow, level) {
        (true, _) => format!("no case would be refused by deny `{name}`, which is in shadow mode"),
        (false, CoverageLevel::Touched) => {
            format!("no case is refused by deny `{name}`; it only left one undecided")
        }
        (false, _) => format!("no case is refused by deny `{name}`"),
    }
}

fn resource_hint(route: &str, level: CoverageLevel, shadow: bool) -> String {
    match (shadow, level) {
        (true, _) => format!("no case shows what the resource of route `{route}`, which is in shadow mode, would do"),
        (false, CoverageLevel::Touched) => {
            format!("no case on route `{route}` gets past its networks to its authentication")
        }
        (false, _) => format!("no case is on route `{route}`"),
    }
}

fn condition_hint(condition: &str, assignment: &str, (met, unmet): (bool, bool)) -> String {
    match (met, unmet) {
        (true, false) => format!("no case is refused because `{condition}` of `{assignment}` is not met"),
        (false, true) => format!("no case has `{condition}` of `{assignment}` met"),
        _ => format!("no case depends on `{condition}` of `{assignment}`"),
    }
}
