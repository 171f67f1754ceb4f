//! Which callers, from where, when and how, are answered otherwise at one place.
//!
//! Every combination of the facts' classes is decided by the engine's own stages, under both policies. Whom a caller is to the
//! rules is a set of subjects, and of those only the strictest deny and the best grant decide. So whatever a set of claims
//! changes, two of them at most change as well: one for the answer before, one for the answer after. That makes an exact
//! search of all sets of groups and roles a search of pairs.

use std::collections::HashMap;
use std::rc::Rc;

use super::callers::{CallerClass, ClaimClass, caller_of, classes, device, rejected, somebody};
use super::facts::*;
use super::rules::{LocalKey, LocalRules, Side};
use super::*;
use crate::condition::{ConditionKind, Conditions, Truth};

/// More eligible assignments than this at one place are not combined.
const MOST_ACTIVATIONS: usize = 8;

/// One place, with the rules that look at it.
pub(super) struct Problem<'p> {
    pub(super) sides: [&'p Side<'p>; 2],
    pub(super) rules: [LocalRules; 2],
    pub(super) keys: [LocalKey; 2],
    pub(super) routes: [Option<RouteId>; 2],
    pub(super) host: String,
    pub(super) path: CanonicalPath,
    pub(super) method: String,
    /// What holds everywhere differs, so that equal rules may give different answers.
    pub(super) everywhere: bool,
}

/// The classes of facts at one place.
#[derive(Debug)]
pub(super) struct Axes {
    pub(super) routes: [Option<RouteId>; 2],
    pub(super) now: Timestamp,
    pub(super) callers: Vec<CallerClass>,
    pub(super) claims: Vec<ClaimClass>,
    pub(super) addresses: Addresses,
    pub(super) countries: Vec<Option<CountryCode>>,
    pub(super) times: Times,
    pub(super) devices: Vec<Option<bool>>,
    pub(super) strengths: Vec<Strength>,
    pub(super) risks: Vec<RiskClass>,
    /// Sets of eligible assignments, each in order.
    pub(super) activations: Vec<Vec<Arc<str>>>,
}

/// One combination: who, and then the facts in the order of [`Axes`].
pub(super) type Point = [u16; AXES];
pub(super) const AXES: usize = 8;

/// Combinations that form a product: of each axis some classes, in order.
pub(super) type Product = [Vec<u16>; AXES];

/// A change, with the claims that it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) before: Outcome,
    pub(super) after: Outcome,
    /// Where reasons are compared, too.
    pub(super) reasons: Option<[Option<&'static str>; 2]>,
    /// Whether the callers are verified, or the unverified ones of [`UNVERIFIED`].
    pub(super) verified: bool,
    /// Indexes of claims, all of which it takes.
    pub(super) claims: Vec<u16>,
}

/// The callers who are nobody.
pub(super) const UNVERIFIED: [&str; 3] =
    ["anonymous", "whoever sends a bad credential", "whoever sends a credential that cannot be checked"];

/// What was found at a place.
pub(super) struct Found {
    pub(super) axes: Arc<Axes>,
    pub(super) products: BTreeMap<Kind, Vec<Product>>,
}

#[derive(Debug, Clone, Copy)]
struct Effect {
    deny: Option<Stop>,
    grant: GrantOutcome,
}

impl Effect {
    const NONE: Self = Self { deny: None, grant: GrantOutcome::Nothing };

    /// What decides when the caller is both.
    fn and(self, other: Self) -> Self {
        let deny = match (self.deny, other.deny) {
            (Some(one), Some(two)) if one.outcome == Outcome::Undecided => Some(two),
            (one, two) => one.or(two),
        };
        Self { deny, grant: self.grant.better(other.grant) }
    }

    fn signature(&self) -> (Option<Outcome>, u8) {
        (self.deny.map(|stop| stop.outcome), self.grant.rank())
    }
}

type Answered = (Outcome, Option<&'static str>);

impl<'p> Problem<'p> {
    fn looking(&self) -> [Looking<'p>; 2] {
        [0, 1].map(|index| {
            let (side, rules) = match index {
                0 => (self.sides[0], &self.rules[0]),
                _ => (self.sides[1], &self.rules[1]),
            };
            let route = if index == 0 { self.routes[0] } else { self.routes[1] };
            let assignments = rules.assignments.iter().filter_map(|id| side.policy.assignments.get(id.0 as usize));
            let denies = rules.denies.iter().filter_map(|id| side.policy.denies.get(id.0 as usize));
            Looking {
                policy: side.policy,
                route,
                conditions: assignments
                    .clone()
                    .map(|each| &each.when)
                    .chain(denies.clone().map(|each| &each.when))
                    .collect(),
                periods: assignments.map(|each| each.period).chain(denies.map(|each| each.period)).collect(),
            }
        })
    }

    /// The classes of facts that the rules at this place tell apart; an error names what there is too much of.
    pub(super) fn axes(&self, joint: &[(NetworkSetId, NetworkSetId, IpAddr)], now: Timestamp) -> Result<Axes, String> {
        let looking = self.looking();
        let [before, after] = &looking;
        let sides = [before, after];
        let (callers, claims) = classes(self.sides, [&self.rules[0], &self.rules[1]], [&self.keys[0], &self.keys[1]]);
        let eligible: BTreeSet<Arc<str>> = (sides.iter().flat_map(|side| &side.conditions))
            .filter_map(|when| when.activation.as_ref())
            .map(|eligible| eligible.assignment.clone())
            .collect();
        if eligible.len() > MOST_ACTIVATIONS {
            return Err(format!(
                "{} eligible assignments, of which at most {MOST_ACTIVATIONS} are combined",
                eligible.len()
            ));
        }
        let axes = Axes {
            routes: self.routes,
            now,
            callers,
            claims,
            addresses: Addresses::new(sides, joint),
            countries: countries(sides),
            times: Times::new(sides, now),
            devices: devices(sides),
            strengths: strengths(sides, now),
            risks: risks(sides),
            activations: subsets(&eligible),
        };
        match axes.lengths().iter().any(|length| *length > usize::from(u16::MAX)) {
            true => Err("more than 65,535 classes of one fact".to_owned()),
            false => Ok(axes),
        }
    }

    /// Every combination of facts that is answered otherwise.
    pub(super) fn solve(&self, axes: Axes, with_reasons: bool, budget: &mut Budget) -> Result<Found, String> {
        let mut products: BTreeMap<Kind, Vec<Product>> = BTreeMap::new();
        for verified in [false, true] {
            let changes = Search::new(self, &axes, with_reasons, verified).run(budget)?;
            for (kind, product) in changes.iter() {
                products.entry(kind.clone()).or_default().push(product.clone());
            }
        }
        for list in products.values_mut() {
            *list = joined(std::mem::take(list));
        }
        Ok(Found { axes: Arc::new(axes), products })
    }

    fn all_rules(&self) -> Vec<Rule<'p>> {
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

fn subsets(names: &BTreeSet<Arc<str>>) -> Vec<Vec<Arc<str>>> {
    let mut subsets: Vec<Vec<Arc<str>>> = vec![Vec::new()];
    for name in names {
        let with: Vec<Vec<Arc<str>>> =
            subsets.iter().map(|subset| subset.iter().chain([name]).cloned().collect()).collect();
        subsets.extend(with);
    }
    subsets
}

impl Axes {
    /// How many classes each axis has, callers first.
    pub(super) fn lengths(&self) -> [usize; AXES] {
        [
            self.callers.len(),
            self.addresses.classes.len(),
            self.countries.len(),
            self.times.classes.len(),
            self.devices.len(),
            self.strengths.len(),
            self.risks.len(),
            self.activations.len(),
        ]
    }
}

impl Axes {
    /// Where the facts of a request lie: the caller's index among the verified or the unverified ones, whether they are
    /// verified, and the other axes. `None` where they lie beyond what was looked at.
    pub(super) fn point_of(&self, policies: [&Policy; 2], request: &AccessRequest<'_>) -> Option<(Point, bool)> {
        let (caller, who) = match request.identity {
            IdentityFact::Anonymous => (0, None),
            IdentityFact::Rejected(_) => (1, None),
            IdentityFact::Unavailable(_) => (2, None),
            IdentityFact::Verified(who) => (caller_of(&self.callers, who)?, Some(who)),
        };
        let (device, strength) = match who {
            None => (0, 0),
            Some(who) => {
                let compliant = who.device.as_ref().and_then(|device| device.compliant);
                let device = self.devices.iter().position(|each| *each == compliant);
                let device = if self.devices.len() == 1 { 0 } else { device? };
                (device, strength_of(&self.strengths, policies, who, request.now)?)
            }
        };
        let is_active = |name: &Arc<str>| {
            request.activations.iter().any(|each| *each.assignment == **name && request.now < each.until)
        };
        // The last set is the one of all.
        let active: Vec<Arc<str>> = self.activations.last()?.iter().filter(|name| is_active(name)).cloned().collect();
        let point = [
            caller,
            self.addresses.class_of(policies, request.client)?,
            country_of(&self.countries, request.country)?,
            self.times.class_of(request.now)?,
            device,
            strength,
            risk_of(&self.risks, policies, self.routes, request.risk)?,
            self.activations.iter().position(|set| *set == active)?,
        ];
        Some((point.map(|index| u16::try_from(index).unwrap_or(u16::MAX)), who.is_some()))
    }
}

/// One caller under both policies.
#[derive(Debug, Clone, Copy)]
struct Asked {
    effects: [Effect; 2],
}

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
const LOOKED_AT: [(usize, ConditionKind); 5] = [
    (1, ConditionKind::Networks),
    (2, ConditionKind::Countries),
    (3, ConditionKind::Hours),
    (7, ConditionKind::Activation),
    (4, ConditionKind::Device),
];

/// One rule of one side.
#[derive(Clone, Copy)]
struct Rule<'p> {
    side: usize,
    is_deny: bool,
    when: &'p Conditions,
    period: Period,
    content: u32,
}

/// Changes with the combinations that have them.
type Changes = Vec<(Kind, Product)>;

struct Search<'s, 'p> {
    problem: &'s Problem<'p>,
    axes: &'s Axes,
    with_reasons: bool,
    verified: bool,
    rules: Vec<Rule<'p>>,
    /// For each of [`LOOKED_AT`] and each of its classes, what it makes of each rule.
    standings: Vec<Vec<Vec<Standing>>>,
    /// For each class of addresses.
    stops: Vec<[Option<Answered>; 2]>,
    known: HashMap<(usize, State), Rc<Changes>>,
    recorded: usize,
}

impl<'s, 'p> Search<'s, 'p> {
    fn new(problem: &'s Problem<'p>, axes: &'s Axes, with_reasons: bool, verified: bool) -> Self {
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
    fn run(&mut self, budget: &mut Budget) -> Result<Rc<Changes>, String> {
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
        self.with_views(Self::cell_with(1, address), |views, _| {
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
        let answers = self.with_views(Self::cell_with(axis, class), |views, dressed| {
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

    /// Every caller, strength and risk with these facts.
    fn decide(&mut self, cell: &Point, budget: &mut Budget) -> Result<Changes, String> {
        let mut points: BTreeMap<Kind, Vec<Point>> = BTreeMap::new();
        let strengths = if self.verified { self.axes.strengths.len() } else { 1 };
        for strength in (0..strengths).zip(0u16..).map(|(_, index)| index) {
            for risk in (0..self.axes.risks.len()).zip(0u16..).map(|(_, index)| index) {
                let mut cell = *cell;
                (cell[5], cell[6]) = (strength, risk);
                self.try_cell(cell, &mut points, budget)?;
            }
        }
        let mut changes = Changes::new();
        for (kind, points) in points {
            for mut product in products(&points) {
                // What was looked at before is filled in by who asked.
                for (axis, _) in LOOKED_AT {
                    if let Some(place) = product.get_mut(axis) {
                        place.clear();
                    }
                }
                changes.push((kind.clone(), product));
            }
        }
        Ok(changes)
    }

    /// Both policies' views of a combination of facts, and a caller with its device and authentication.
    fn with_views<R>(&self, cell: Point, then: impl FnOnce(&[View<'_>; 2], &Principal) -> R) -> Option<R> {
        let (problem, axes) = (self.problem, self.axes);
        let [_, address, country, time, device_at, strength, risk, activation] = cell.map(usize::from);
        let (address, time) = (axes.addresses.classes.get(address)?, axes.times.classes.get(time)?);
        let activations = activations(axes.activations.get(activation)?);
        let country = *axes.countries.get(country)?;
        let assessment = &axes.risks.get(risk)?.assessment;
        let requests = problem.routes.map(|route| AccessRequest {
            method: &problem.method,
            path: &problem.path,
            route,
            client: address.client,
            country,
            identity: IdentityFact::Anonymous,
            risk: assessment,
            bans: Bans::default(),
            activations: &activations,
            now: time.at,
        });
        let [before, after] = &requests;
        let views = [View::new(problem.sides[0].policy, before), View::new(problem.sides[1].policy, after)];
        let mut who = somebody(PrincipalKind::User);
        who.device = device(*axes.devices.get(device_at)?);
        axes.strengths.get(strength)?.put_on(&mut who, time.at);
        Some(then(&views, &who))
    }

    fn try_cell(
        &mut self,
        cell: Point,
        points: &mut BTreeMap<Kind, Vec<Point>>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let axes = self.axes;
        let mut found = Vec::new();
        let tried = self.with_views(cell, |views, dressed| {
            if !self.verified {
                return self.try_unverified(views, cell, &mut found, budget);
            }
            let dress = |who: &Principal| Principal {
                device: dressed.device.clone(),
                authentication: dressed.authentication.clone(),
                ..who.clone()
            };
            let callers: Vec<Principal> = axes.callers.iter().map(|class| dress(&class.principal)).collect();
            let claims: Vec<Principal> = axes.claims.iter().map(|class| dress(&class.principal)).collect();
            self.try_verified(views, cell, &callers, &claims, &mut found, budget)
        });
        tried.unwrap_or(Ok(()))?;
        self.recorded += found.len();
        if self.recorded > Budget::MOST_POINTS {
            return Err(format!("more than {} combinations of facts are answered otherwise", Budget::MOST_POINTS));
        }
        for (kind, point) in found {
            points.entry(kind).or_default().push(point);
        }
        Ok(())
    }

    fn try_unverified(
        &self,
        views: &[View<'_>; 2],
        cell: Point,
        found: &mut Vec<(Kind, Point)>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let problem = rejected();
        let identities =
            [IdentityFact::Anonymous, IdentityFact::Rejected(&problem), IdentityFact::Unavailable(Dependency::Keys)];
        for (identity, caller) in identities.into_iter().zip(0u16..) {
            budget.spend(2)?;
            let answers = self.answers(views, identity, None);
            self.record(answers, &[], with_caller(cell, caller), found);
        }
        Ok(())
    }

    fn try_verified(
        &self,
        views: &[View<'_>; 2],
        cell: Point,
        callers: &[Principal],
        claims: &[Principal],
        found: &mut Vec<(Kind, Point)>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        budget.spend(2 * (callers.len() + claims.len()) as u64)?;
        // Claims that do the same here are one.
        let mut kinds: Vec<(Asked, Vec<u16>)> = Vec::new();
        for (claim, index) in claims.iter().zip(0u16..) {
            let asked = self.asked(views, claim);
            match kinds.iter_mut().find(|(known, _)| known.signature() == asked.signature()) {
                Some((_, indexes)) => indexes.push(index),
                None => kinds.push((asked, vec![index])),
            }
        }
        for (principal, caller) in callers.iter().zip(0u16..) {
            let point = with_caller(cell, caller);
            let identity = IdentityFact::Verified(principal);
            let base = self.asked(views, principal);
            let alone = self.answers(views, identity, Some(base));
            self.record(alone, &[], point, found);
            budget.spend((kinds.len() * (kinds.len() + 1) / 2) as u64)?;
            let with_one: Vec<[Answered; 2]> =
                kinds.iter().map(|(asked, _)| self.answers(views, identity, Some(base.and(*asked)))).collect();
            for ((_, indexes), answers) in kinds.iter().zip(&with_one) {
                if self.is_new(*answers, &[alone]) {
                    indexes.iter().for_each(|index| self.record(*answers, &[*index], point, found));
                }
            }
            for (first, (one, one_indexes)) in kinds.iter().enumerate() {
                for (second, (two, two_indexes)) in kinds.iter().enumerate().skip(first + 1) {
                    let answers = self.answers(views, identity, Some(base.and(*one).and(*two)));
                    let known = [Some(alone), with_one.get(first).copied(), with_one.get(second).copied()];
                    if !self.is_new(answers, &known.into_iter().flatten().collect::<Vec<_>>()) {
                        continue;
                    }
                    budget.spend((one_indexes.len() * two_indexes.len()) as u64)?;
                    for pair in one_indexes.iter().flat_map(|one| two_indexes.iter().map(|two| [*one, *two])) {
                        self.record(answers, &pair, point, found);
                    }
                }
            }
        }
        Ok(())
    }

    fn asked(&self, views: &[View<'_>; 2], principal: &Principal) -> Asked {
        let [before, after] = views;
        let effect = |view: &View<'_>, policy: &Policy| {
            let Some((route, resource)) = policy.resource_of(view) else { return Effect::NONE };
            let caller = match resource.authentication {
                AuthenticationRule::None => Caller::Anonymous,
                AuthenticationRule::Required | AuthenticationRule::Optional => Caller::Verified(principal),
            };
            policy.effect(view, route, caller)
        };
        let sides = self.problem.sides;
        Asked { effects: [effect(before, sides[0].policy), effect(after, sides[1].policy)] }
    }

    /// The answers of both policies to a caller; `asked` where more than the identity says who it is.
    fn answers(&self, views: &[View<'_>; 2], identity: IdentityFact<'_>, asked: Option<Asked>) -> [Answered; 2] {
        let [before, after] = views;
        let answer = |view: &View<'_>, policy: &Policy, effect: Option<Effect>| {
            let request = AccessRequest { identity, ..*view.request };
            policy.answer(&View { request: &request, ..view.clone() }, effect)
        };
        let effects = asked.map(|asked| asked.effects);
        let sides = self.problem.sides;
        [
            answer(before, sides[0].policy, effects.map(|[effect, _]| effect)),
            answer(after, sides[1].policy, effects.map(|[_, effect]| effect)),
        ]
    }

    fn differs(&self, [before, after]: [Answered; 2]) -> bool {
        before.0 != after.0 || self.with_reasons && before.1 != after.1
    }

    /// Whether it is a change, and another one than those that less leads to.
    fn is_new(&self, answers: [Answered; 2], known: &[[Answered; 2]]) -> bool {
        let same = |[before, after]: &[Answered; 2]| {
            let outcomes = before.0 == answers[0].0 && after.0 == answers[1].0;
            outcomes && (!self.with_reasons || before.1 == answers[0].1 && after.1 == answers[1].1)
        };
        self.differs(answers) && !known.iter().any(same)
    }

    fn record(&self, answers: [Answered; 2], claims: &[u16], point: Point, found: &mut Vec<(Kind, Point)>) {
        if !self.differs(answers) {
            return;
        }
        let [before, after] = answers;
        let kind = Kind {
            before: before.0,
            after: after.0,
            reasons: self.with_reasons.then_some([before.1, after.1]),
            verified: self.verified,
            claims: claims.to_vec(),
        };
        found.push((kind, point));
    }
}

impl Asked {
    fn and(self, other: Self) -> Self {
        let ([before, after], [other_before, other_after]) = (self.effects, other.effects);
        Self { effects: [before.and(other_before), after.and(other_after)] }
    }

    fn signature(&self) -> [(Option<Outcome>, u8); 2] {
        let [before, after] = &self.effects;
        [before.signature(), after.signature()]
    }
}

fn products(points: &[Point]) -> Vec<Product> {
    joined(points.iter().map(|point| point.map(|index| vec![index])).collect())
}

/// Joins products that differ on one axis only, axis by axis, until nothing more can be joined.
fn joined(mut products: Vec<Product>) -> Vec<Product> {
    loop {
        let before = products.len();
        for axis in (0..AXES).rev() {
            products = joined_along(axis, products);
        }
        if products.len() == before {
            products.sort_unstable();
            return products;
        }
    }
}

fn joined_along(axis: usize, products: Vec<Product>) -> Vec<Product> {
    let mut by_rest: BTreeMap<Product, BTreeSet<u16>> = BTreeMap::new();
    for mut product in products {
        let along = product.get_mut(axis).map(std::mem::take).unwrap_or_default();
        by_rest.entry(product).or_default().extend(along);
    }
    let put_back = |(mut product, along): (Product, BTreeSet<u16>)| {
        if let Some(place) = product.get_mut(axis) {
            *place = along.into_iter().collect();
        }
        product
    };
    by_rest.into_iter().map(put_back).collect()
}

/// Assignments activated for longer than any time that is looked at.
pub(super) fn activations(active: &[Arc<str>]) -> Vec<Activation> {
    active.iter().map(|name| Activation { assignment: (&**name).into(), until: Timestamp::MAX }).collect()
}

fn with_caller(cell: Point, caller: u16) -> Point {
    let [_, rest @ ..] = cell;
    let mut point = [caller; AXES];
    for (place, index) in point.iter_mut().skip(1).zip(rest) {
        *place = index;
    }
    point
}

impl Policy {
    /// What the denies and the grants say of a caller.
    fn effect(&self, view: &View<'_>, route: RouteId, caller: Caller<'_>) -> Effect {
        Effect {
            deny: self.deny_stage(view, route, caller, &mut Silent),
            grant: self.grants_stage(view, route, caller, &mut Silent),
        }
    }

    /// The answer, when the denies and the grants say this of the caller; without it they are asked.
    fn answer(&self, view: &View<'_>, effect: Option<Effect>) -> Answered {
        let stop = self.stop(view, effect);
        stop.map_or((Outcome::Permit, None), |stop| (stop.outcome, Some(stop.reason.code())))
    }

    fn stop(&self, view: &View<'_>, effect: Option<Effect>) -> Option<Stop> {
        if let Some(stop) = self.admission(view, &mut Silent) {
            return Some(stop);
        }
        let Some((route, resource)) = self.resource_of(view) else { return Some(Stop::NO_ROUTE) };
        if let Some(stop) = self.authentication_stage(view, resource, &mut Silent) {
            return Some(stop);
        }
        let caller = view.caller(resource.authentication);
        let effect = effect.unwrap_or_else(|| self.effect(view, route, caller));
        effect.deny.or_else(|| self.conclude(view, route, resource, caller, effect.grant, &mut Silent).err())
    }
}
