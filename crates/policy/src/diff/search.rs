//! The search of all combinations of facts, one fact after the other: what is left to say after each depends only on what the
//! rules can still do, so it is said once.

use std::rc::Rc;

use super::answer::Answered;
use super::products::{AXES, Point, Product};
use super::solve::{Axes, Kind, Problem};
use super::*;
use crate::condition::{ConditionKind, Conditions, Truth};

/// What is known of each rule once some facts are: the assignments and denies before, then those after.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    rules: Vec<Standing>,
    /// The route's networks refuse already.
    stopped: [Option<Answered>; 2],
}

/// What a rule can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Standing {
    /// It may apply.
    Open,
    /// It is a deny, and something it asks for is unknown.
    Unsure,
    /// It does not apply.
    Out,
    /// It does not apply, and that is the reason for a refusal: a condition, or the period.
    Unmet,
    Expired,
    Early,
}

/// The facts that rules can be out because of, in the order in which they are looked at, each with its place in a point.
pub(super) const LOOKED_AT: [(usize, ConditionKind); 5] = [
    (1, ConditionKind::Networks),
    (2, ConditionKind::Countries),
    (3, ConditionKind::Hours),
    (7, ConditionKind::Activation),
    (4, ConditionKind::Device),
];

/// One rule of one side.
#[derive(Clone, Copy)]
pub(super) struct Rule<'p> {
    pub(super) side: usize,
    is_deny: bool,
    pub(super) when: &'p Conditions,
    pub(super) period: Period,
    content: u32,
}

impl<'p> Problem<'p> {
    pub(super) fn all_rules(&self) -> Vec<Rule<'p>> {
        let mut all = Vec::new();
        for ((side, rules), index) in self.sides.iter().zip(&self.rules).zip(0..) {
            let assignments = rules
                .assignments
                .iter()
                .filter_map(|id| Some((side.policy.assignments.get(id.0 as usize)?, side.assignment_content(*id))));
            all.extend(assignments.map(|(each, content)| Rule {
                side: index,
                is_deny: false,
                when: &each.when,
                period: each.period,
                content,
            }));
            let denies = rules
                .denies
                .iter()
                .filter_map(|id| Some((side.policy.denies.get(id.0 as usize)?, side.deny_content(*id))));
            all.extend(denies.map(|(each, content)| Rule {
                side: index,
                is_deny: true,
                when: &each.when,
                period: each.period,
                content,
            }));
        }
        all
    }
}

/// Changes with the combinations that have them.
pub(super) type Changes = Vec<(Kind, Product)>;

pub(super) struct Search<'s, 'p> {
    pub(super) problem: &'s Problem<'p>,
    pub(super) axes: &'s Axes,
    pub(super) with_reasons: bool,
    pub(super) verified: bool,
    rules: Vec<Rule<'p>>,
    /// For each of [`LOOKED_AT`] and each of its classes, what it makes of each rule.
    standings: Vec<Vec<Vec<Standing>>>,
    /// For each class of addresses.
    stops: Vec<[Option<Answered>; 2]>,
    known: HashMap<(usize, State), Rc<Changes>>,
    pub(super) recorded: usize,
}

impl<'s, 'p> Search<'s, 'p> {
    pub(super) fn new(problem: &'s Problem<'p>, axes: &'s Axes, with_reasons: bool, verified: bool) -> Self {
        let mut search = Self {
            problem,
            axes,
            with_reasons,
            verified,
            rules: problem.all_rules(),
            standings: Vec::new(),
            stops: Vec::new(),
            known: HashMap::new(),
            recorded: 0,
        };
        let lengths = axes.lengths();
        for (axis, kind) in LOOKED_AT {
            let classes = lengths.get(axis).copied().unwrap_or_default();
            let of_class = |class: usize| search.standings_of(axis, kind, class);
            let table = (0..classes).map(of_class).collect();
            search.standings.push(table);
        }
        search.stops = (0..axes.addresses.classes.len()).map(|address| search.stops_at(address)).collect();
        search
    }

    /// All changes, for the callers of this search.
    pub(super) fn run(&mut self, budget: &mut Budget) -> Result<Rc<Changes>, String> {
        let state = State { rules: vec![Standing::Open; self.rules.len()], stopped: [None; 2] };
        self.explore(0, state, &mut [0; AXES], budget)
    }

    fn cell_with(axis: usize, class: usize) -> Point {
        let mut cell = [0; AXES];
        if let Some(place) = cell.get_mut(axis) {
            *place = u16::try_from(class).unwrap_or(u16::MAX);
        }
        cell
    }

    fn stops_at(&self, address: usize) -> [Option<Answered>; 2] {
        self.problem
            .with_views(self.axes, Self::cell_with(1, address), |views, _| {
                let stop = |index: usize| {
                    let (view, policy) = (views.get(index)?, self.problem.sides.get(index)?.policy);
                    let stop = policy.admission(view, &mut Silent)?;
                    Some((stop.outcome, self.with_reasons.then(|| stop.reason.code())))
                };
                [stop(0), stop(1)]
            })
            .unwrap_or_default()
    }

    fn standings_of(&self, axis: usize, kind: ConditionKind, class: usize) -> Vec<Standing> {
        let answers = self.problem.with_views(self.axes, Self::cell_with(axis, class), |views, dressed| {
            let standing = |rule: &Rule<'p>| self.standing(rule, kind, views.get(rule.side), dressed);
            self.rules.iter().map(standing).collect()
        });
        answers.unwrap_or_default()
    }

    /// What one fact makes of a rule.
    fn standing(&self, rule: &Rule<'_>, kind: ConditionKind, view: Option<&View<'_>>, dressed: &Principal) -> Standing {
        let (Some(view), Some(side)) = (view, self.problem.sides.get(rule.side)) else { return Standing::Open };
        if kind == ConditionKind::Hours {
            match rule.period.state(view.now) {
                PeriodState::Within => {}
                PeriodState::Before => return if self.with_reasons { Standing::Early } else { Standing::Out },
                PeriodState::After => return if self.with_reasons { Standing::Expired } else { Standing::Out },
            }
        }
        let ignored =
            side.policy.resource_of(view).is_some_and(|(_, each)| each.authentication == AuthenticationRule::None);
        let caller = if self.verified && !ignored { Caller::Verified(dressed) } else { Caller::Anonymous };
        match side.policy.condition(view, rule.when, kind, caller) {
            Truth::Yes => Standing::Open,
            Truth::Unknown if rule.is_deny => Standing::Unsure,
            Truth::No | Truth::Unknown if self.with_reasons && !rule.is_deny => Standing::Unmet,
            Truth::No | Truth::Unknown => Standing::Out,
        }
    }

    /// Looks at one fact after the other. What is left to say depends on the state alone, so it is said once.
    fn explore(
        &mut self,
        depth: usize,
        state: State,
        cell: &mut Point,
        budget: &mut Budget,
    ) -> Result<Rc<Changes>, String> {
        if self.is_alike(&state) {
            return Ok(Rc::default());
        }
        let key = (depth, state);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let (_, state) = &key;
        let changes = match LOOKED_AT.get(depth) {
            Some((axis, _)) => self.explore_axis(depth, *axis, state, cell, budget)?,
            None => self.decide(cell, budget)?,
        };
        let changes = Rc::new(changes);
        self.known.insert(key, changes.clone());
        Ok(changes)
    }

    fn explore_axis(
        &mut self,
        depth: usize,
        axis: usize,
        state: &State,
        cell: &mut Point,
        budget: &mut Budget,
    ) -> Result<Changes, String> {
        let classes = self.standings.get(depth).map_or(0, Vec::len);
        budget.spend((classes * self.rules.len() / 16 + 1) as u64)?;
        let mut by_state: BTreeMap<State, Vec<u16>> = BTreeMap::new();
        for (class, index) in (0..classes).zip(0u16..) {
            by_state.entry(self.next_state(depth, state, class)).or_default().push(index);
        }
        let mut joined: BTreeMap<(Kind, Product), BTreeSet<u16>> = BTreeMap::new();
        for (next, classes) in by_state {
            if let (Some(place), Some(first)) = (cell.get_mut(axis), classes.first()) {
                *place = *first;
            }
            for change in self.explore(depth + 1, next, cell, budget)?.iter() {
                joined.entry(change.clone()).or_default().extend(&classes);
            }
            if joined.len() > Budget::MOST_POINTS {
                return Err(format!("more than {} combinations of facts are answered otherwise", Budget::MOST_POINTS));
            }
        }
        let changes = joined.into_iter().map(|((kind, mut product), classes)| {
            if let Some(place) = product.get_mut(axis) {
                *place = classes.into_iter().collect();
            }
            (kind, product)
        });
        Ok(changes.collect())
    }

    fn next_state(&self, depth: usize, state: &State, class: usize) -> State {
        let mut next = state.clone();
        if depth == 0 {
            next.stopped = self.stops.get(class).copied().unwrap_or_default();
        }
        let table = self.standings.get(depth).and_then(|classes| classes.get(class));
        for ((standing, found), rule) in next.rules.iter_mut().zip(table.into_iter().flatten()).zip(&self.rules) {
            *standing = match (*standing, *found) {
                // A route that refuses already looks at no rule.
                _ if next.stopped.get(rule.side).is_some_and(Option::is_some) => Standing::Out,
                (Standing::Out, _) | (_, Standing::Out) => Standing::Out,
                (known, Standing::Open) => known,
                // The period is asked before the conditions.
                (Standing::Open | Standing::Unmet, period @ (Standing::Early | Standing::Expired)) => period,
                (Standing::Open | Standing::Unsure, found) => found,
                (known, _) => known,
            };
        }
        next
    }

    /// What is left is the same before and after, so the answers are.
    fn is_alike(&self, state: &State) -> bool {
        let [before, after] = &state.stopped;
        if before.is_some() || after.is_some() {
            return before == after;
        }
        if self.problem.everywhere || !self.problem.keys[0].is_alike_but_for_rules(&self.problem.keys[1]) {
            return false;
        }
        let of = |side: usize| -> BTreeSet<(bool, u32, Standing)> {
            let rules = self
                .rules
                .iter()
                .zip(&state.rules)
                .filter(|(rule, standing)| rule.side == side && **standing != Standing::Out);
            rules.map(|(rule, standing)| (rule.is_deny, rule.content, *standing)).collect()
        };
        of(0) == of(1)
    }
}
