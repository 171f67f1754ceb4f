//! Every caller, with every set of claims that can matter, at one combination of the other facts.

use super::answer::{Answered, Asked, RuleEffect};
use super::callers::{device, rejected, somebody};
use super::products::{AXES, Point, products};
use super::search::{Changes, LOOKED_AT, Search};
use super::solve::{Axes, Kind, Problem, activations};
use super::*;

impl Problem<'_> {
    /// Both policies' views of a combination of facts, and a caller with its device and authentication.
    pub(super) fn with_views<R>(
        &self,
        axes: &Axes,
        cell: Point,
        then: impl FnOnce(&[View<'_>; 2], &Principal) -> R,
    ) -> Option<R> {
        let [_, address, country, time, device_at, strength, risk, activation] = cell.map(usize::from);
        let (address, time) = (axes.addresses.classes.get(address)?, axes.times.classes.get(time)?);
        let activations = activations(axes.activations.get(activation)?);
        let country = *axes.countries.get(country)?;
        let assessment = &axes.risks.get(risk)?.assessment;
        let requests = self.routes.map(|route| AccessRequest {
            method: &self.method,
            path: &self.path,
            route,
            client: address.client,
            country,
            identity: IdentityFact::Anonymous,
            risk: assessment,
            bans: Bans::default(),
            contained: Contained::default(),
            posture: None,
            activations: &activations,
            now: time.at,
        });
        let [before, after] = &requests;
        let views = [View::new(self.sides[0].policy, before), View::new(self.sides[1].policy, after)];
        let mut who = somebody(PrincipalKind::User);
        who.device = device(*axes.devices.get(device_at)?);
        axes.strengths.get(strength)?.put_on(&mut who, time.at);
        Some(then(&views, &who))
    }
}

impl Search<'_, '_> {
    /// Every caller, strength and risk with these facts.
    pub(super) fn decide(&mut self, cell: &Point, budget: &mut Budget) -> Result<Changes, String> {
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

    fn try_cell(
        &mut self,
        cell: Point,
        points: &mut BTreeMap<Kind, Vec<Point>>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let axes = self.axes;
        let mut found = Vec::new();
        let tried = self.problem.with_views(axes, cell, |views, dressed| {
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
            let Some((route, resource)) = policy.resource_of(view) else { return RuleEffect::NONE };
            let caller = match resource.authentication {
                AuthenticationRule::None => Caller::Anonymous,
                // Whom the route does not take stops before this is asked for.
                AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::Certificate => {
                    Caller::Verified(principal)
                }
            };
            policy.effect(view, route, caller)
        };
        let sides = self.problem.sides;
        Asked { effects: [effect(before, sides[0].policy), effect(after, sides[1].policy)] }
    }

    /// The answers of both policies to a caller; `asked` where more than the identity says who it is.
    fn answers(&self, views: &[View<'_>; 2], identity: IdentityFact<'_>, asked: Option<Asked>) -> [Answered; 2] {
        let [before, after] = views;
        let answer = |view: &View<'_>, policy: &Policy, effect: Option<RuleEffect>| {
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
            told: None,
        };
        found.push((kind, point));
    }
}

fn with_caller(cell: Point, caller: u16) -> Point {
    let [_, rest @ ..] = cell;
    let mut point = [caller; AXES];
    for (place, index) in point.iter_mut().skip(1).zip(rest) {
        *place = index;
    }
    point
}
