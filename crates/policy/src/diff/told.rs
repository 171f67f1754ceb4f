//! For which reason, and by which rule, each of the requests found is answered before and after: only those that are answered
//! alike to the rule are reported together.
//!
//! The search asks for outcomes alone, which is what makes it cheap. What it found is asked once more here: of every fact one
//! class for each that the rules tell apart, under every caller found.

use super::callers::rejected;
use super::products::{AXES, Point, Product, joined};
use super::search::LOOKED_AT;
use super::solve::{Axes, Kind, Problem};
use super::*;
use crate::condition::Truth;

/// Before and after: the reason, and the rule.
pub(super) type Told = [(Option<&'static str>, Option<RuleId>); 2];

/// The most combinations of facts that are asked of one product.
const MOST_COMBINATIONS: u64 = 100_000;

/// What was found, cut by reasons and rules; what would take too much stays whole.
pub(super) fn tell(
    problem: &Problem<'_>,
    axes: &Axes,
    products: BTreeMap<Kind, Vec<Product>>,
    budget: &mut Budget,
) -> BTreeMap<Kind, Vec<Product>> {
    let mut told: BTreeMap<Kind, Vec<Product>> = BTreeMap::new();
    let mut tellings: [Option<Option<Telling<'_, '_>>>; 2] = [None, None];
    for (kind, list) in products {
        let [unverified, verified] = &mut tellings;
        let telling = if kind.verified { verified } else { unverified };
        let telling = telling.get_or_insert_with(|| Telling::new(problem, axes, kind.verified, budget));
        for product in list {
            match telling.as_ref().and_then(|telling| telling.ask_all(&kind, &product, budget)) {
                Some(parts) => {
                    for (answers, part) in parts {
                        let kind = Kind { told: Some(answers), ..kind.clone() };
                        told.entry(kind).or_default().extend(part);
                    }
                }
                None => told.entry(kind.clone()).or_default().push(product),
            }
        }
    }
    for list in told.values_mut() {
        *list = joined(std::mem::take(list));
    }
    told
}

/// A caller of a class who carries these claims; device and authentication are not said.
pub(super) fn carrying<'c>(axes: &Axes, caller: usize, claims: impl Iterator<Item = &'c u16>) -> Option<Principal> {
    let mut who = axes.callers.get(caller)?.principal.clone();
    for claim in claims {
        let claim = &axes.claims.get(usize::from(*claim))?.principal;
        who.groups.extend(claim.groups.iter().cloned());
        who.roles.extend(claim.roles.iter().cloned());
    }
    Some(who)
}

/// What one class of a fact makes of everything that looks at it: of each rule, and of whether the request is admitted.
type Trait = (Vec<(Truth, PeriodState)>, [Option<Stop>; 2]);

struct Telling<'t, 'p> {
    problem: &'t Problem<'p>,
    axes: &'t Axes,
    /// For each of [`LOOKED_AT`], of each class the number of those that do the same.
    alike: Vec<(usize, Vec<usize>)>,
    rejected: CredentialProblem,
}

impl<'t, 'p> Telling<'t, 'p> {
    /// `None`: that would take more than a bound.
    fn new(problem: &'t Problem<'p>, axes: &'t Axes, verified: bool, budget: &mut Budget) -> Option<Self> {
        let rules = problem.all_rules();
        let lengths = axes.lengths();
        // Each class of a fact is asked of every rule, and held to those that are known, which mostly differ soon.
        let looked_at = LOOKED_AT.iter().filter_map(|(axis, _)| lengths.get(*axis)).map(|length| *length as u64);
        let cost = looked_at.map(|length| length.saturating_mul(2 + rules.len() as u64 + length / 8));
        if !budget.may_tell(cost.fold(0, u64::saturating_add)) {
            return None;
        }
        let mut alike = Vec::new();
        for (axis, condition) in LOOKED_AT {
            let mut known: Vec<Trait> = Vec::new();
            let mut numbers = Vec::new();
            for class in (0..lengths.get(axis).copied().unwrap_or_default()).zip(0u16..).map(|(_, class)| class) {
                let mut cell: Point = [0; AXES];
                if let Some(place) = cell.get_mut(axis) {
                    *place = class;
                }
                let looked = problem.with_views(axes, cell, |views, dressed| -> Trait {
                    let sides = problem.sides.iter().zip(views);
                    let callers = sides.clone().map(|(side, view)| {
                        let resource = side.policy.resource_of(view);
                        let ignored = resource.is_some_and(|(_, each)| each.authentication == AuthenticationRule::None);
                        if verified && !ignored { Caller::Verified(dressed) } else { Caller::Anonymous }
                    });
                    let parties: Vec<_> = sides.clone().zip(callers).collect();
                    let of_rules = rules.iter().filter_map(|rule| {
                        let ((side, view), caller) = parties.get(rule.side)?;
                        Some((side.policy.condition(view, rule.when, condition, *caller), rule.period.state(view.now)))
                    });
                    let mut stops = sides.map(|(side, view)| side.policy.admission(view, &mut Silent));
                    (of_rules.collect(), [stops.next().flatten(), stops.next().flatten()])
                });
                budget.count(2 + rules.len() as u64);
                let Some(looked) = looked else { continue };
                let number = known.iter().position(|each| *each == looked).unwrap_or(known.len());
                if number == known.len() {
                    known.push(looked);
                }
                numbers.push(number);
            }
            alike.push((axis, numbers));
        }
        Some(Self { problem, axes, alike, rejected: rejected() })
    }

    /// The classes of a fact in a product, those together that do the same.
    fn groups(&self, axis: usize, classes: &[u16]) -> Vec<Vec<u16>> {
        let Some((_, numbers)) = self.alike.iter().find(|(looked_at, _)| *looked_at == axis) else {
            return classes.iter().map(|class| vec![*class]).collect();
        };
        let mut groups: BTreeMap<Option<usize>, Vec<u16>> = BTreeMap::new();
        for class in classes {
            groups.entry(numbers.get(usize::from(*class)).copied()).or_default().push(*class);
        }
        groups.into_values().collect()
    }

    /// A product by what is told of its requests; `None`: that would take more than a bound.
    fn ask_all(&self, kind: &Kind, product: &Product, budget: &mut Budget) -> Option<BTreeMap<Told, Vec<Product>>> {
        let mut groups: [Vec<Vec<u16>>; AXES] = Default::default();
        for (axis, (groups, classes)) in groups.iter_mut().zip(product).enumerate() {
            *groups = self.groups(axis, classes);
        }
        let [callers, facts @ ..] = &groups;
        let cells = facts.iter().fold(1u64, |all, groups| all.saturating_mul(groups.len() as u64));
        let combinations = cells.saturating_mul(callers.len() as u64);
        if combinations > MOST_COMBINATIONS || !budget.may_tell(combinations.saturating_mul(2)) {
            return None;
        }
        let mut found: BTreeMap<Told, Vec<Product>> = BTreeMap::new();
        for cell in 0..cells {
            budget.count(2 * callers.len() as u64);
            // Each cell is a number whose digits choose of each fact a group.
            let mut rest = cell;
            let mut part: Product = Default::default();
            for (place, groups) in part.iter_mut().skip(1).zip(facts) {
                let many = (groups.len() as u64).max(1);
                place.clone_from(groups.get(usize::try_from(rest % many).ok()?)?);
                rest /= many;
            }
            for (answers, callers) in self.ask_callers(kind, &part, &product[0])? {
                let mut part = part.clone();
                part[0] = callers;
                found.entry(answers).or_default().push(part);
            }
        }
        found.values_mut().for_each(|list| *list = joined(std::mem::take(list)));
        Some(found)
    }

    /// The callers by what is told of their requests, with the first class of each fact.
    fn ask_callers(&self, kind: &Kind, facts: &Product, callers: &[u16]) -> Option<BTreeMap<Told, Vec<u16>>> {
        let mut cell: Point = [0; AXES];
        for (place, classes) in cell.iter_mut().zip(facts).skip(1) {
            *place = *classes.first()?;
        }
        let mut found: BTreeMap<Told, Vec<u16>> = BTreeMap::new();
        let asked = self.problem.with_views(self.axes, cell, |views, dressed| {
            for caller in callers {
                let mut ask = |identity| found.entry(self.answers(views, identity)).or_default().push(*caller);
                match (kind.verified, *caller) {
                    (false, 0) => ask(IdentityFact::Anonymous),
                    (false, 1) => ask(IdentityFact::Rejected(&self.rejected)),
                    (false, _) => ask(IdentityFact::Unavailable(Dependency::Keys)),
                    (true, _) => {
                        let who = carrying(self.axes, usize::from(*caller), kind.claims.iter())?;
                        ask(IdentityFact::Verified(&Principal {
                            device: dressed.device.clone(),
                            authentication: dressed.authentication.clone(),
                            ..who
                        }));
                    }
                }
            }
            Some(())
        });
        asked.flatten().map(|()| found)
    }

    fn answers(&self, views: &[View<'_>; 2], identity: IdentityFact<'_>) -> Told {
        let [before, after] = views;
        let answer = |view: &View<'_>, policy: &Policy| {
            let request = AccessRequest { identity, ..*view.request };
            match policy.evaluate(&View { request: &request, ..view.clone() }, &mut Silent) {
                Verdict::Permit(grant) => (None, grant.map(RuleId::Assignment)),
                Verdict::Stop(stop) => (Some(stop.reason.code()), stop.rule),
            }
        };
        let [of_before, of_after] = self.problem.sides;
        [answer(before, of_before.policy), answer(after, of_after.policy)]
    }
}
