//! From combinations of facts to classes that a person can read: combinations that differ in one fact only are joined, and a
//! fact that makes no difference is left out.

use std::collections::HashMap;

use super::callers::{CallerClass, ClaimClass, device};
use super::change::distance;
use super::products::Product;
use super::solve::{Axes, Found, Kind, Problem, UNVERIFIED, activations};
use super::told::{Told, carrying};
use super::*;
use crate::principal::CredentialProblemKind;

/// The most groups or roles that one class lists, and so many callers at least.
const MOST_NAMES: usize = 32;
/// The most callers that one class lists, while all together list no more than [`MOST_CALLERS_OF_ALL`].
const MOST_CALLERS: usize = 1_000;
const MOST_CALLERS_OF_ALL: usize = 200_000;

/// The classes found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    classes: Vec<ChangedClass>,
    by_words: HashMap<Words, usize>,
    /// How many callers are listed in all classes.
    listed: usize,
    /// Examples that the policies do not answer as the search said: never, unless the search has a defect.
    contradicted: usize,
}

/// A part of a class: some combinations of facts at places with the same rules.
#[derive(Debug, Clone)]
pub(super) struct Region {
    /// The routes of its places, before and after.
    routes: BTreeSet<[Option<String>; 2]>,
    axes: Arc<Axes>,
    product: Product,
    verified: bool,
    /// All of these, of each any.
    claims: Vec<Vec<u16>>,
}

impl Region {
    fn holds(&self, policies: [&Policy; 2], request: &AccessRequest<'_>) -> bool {
        let Some((point, verified)) = self.axes.point_of(policies, request) else { return false };
        let within = point.iter().zip(&self.product).all(|(index, some)| some.contains(index));
        let carries = |claims: &Vec<u16>| match request.identity {
            IdentityFact::Verified(who) => claims
                .iter()
                .filter_map(|claim| self.axes.claims.get(usize::from(*claim)))
                .any(|claim| claim.is_carried_by(who)),
            IdentityFact::Anonymous | IdentityFact::Rejected(_) | IdentityFact::Unavailable(_) => false,
        };
        within && verified == self.verified && self.claims.iter().all(carries)
    }
}

/// What a class says, apart from its places and its example.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Words {
    outcomes: [Outcome; 2],
    reasons: Option<[Option<&'static str>; 2]>,
    told: Option<Told>,
    /// All of them, however few are listed.
    callers: Vec<Arc<str>>,
    claims: Vec<Vec<String>>,
    when: Vec<Circumstance>,
}

impl Report {
    pub(super) fn add(&mut self, problem: &Problem<'_>, places: &[ChangedPlace], found: &Found) {
        for (kind, products) in alternatives(found) {
            for product in products {
                self.add_product(problem, places, &found.axes, &kind, &product);
            }
        }
    }

    fn add_product(
        &mut self,
        problem: &Problem<'_>,
        places: &[ChangedPlace],
        axes: &Arc<Axes>,
        kind: &Alternatives,
        product: &Product,
    ) {
        let mut callers = kind.callers(axes, &product[0]);
        let words = Words {
            outcomes: [kind.kind.before, kind.kind.after],
            reasons: kind.kind.reasons,
            told: kind.kind.told,
            callers: callers.clone(),
            claims: kind.claims(axes),
            when: circumstances(axes, product, kind.kind.verified),
        };
        let region = Region {
            routes: places.iter().map(|place| place.routes.clone()).collect(),
            axes: axes.clone(),
            product: product.clone(),
            verified: kind.kind.verified,
            claims: kind.claims.clone(),
        };
        if let Some(index) = self.by_words.get(&words) {
            if let Some(class) = self.classes.get_mut(*index) {
                class.add_places(places);
                class.regions.push(region);
            }
            return;
        }
        let Some(example) = example(problem, axes, kind, product) else { return };
        let [before, after] = problem.sides.map(|side| answer_to(side.policy, &example));
        if [before.outcome, after.outcome] != words.outcomes {
            self.contradicted += 1;
            return;
        }
        let most = MOST_NAMES.max(MOST_CALLERS.min(MOST_CALLERS_OF_ALL.saturating_sub(self.listed)));
        let more_callers = callers.len().saturating_sub(most);
        callers.truncate(most);
        self.listed += callers.len();
        let mut class = ChangedClass {
            before,
            after,
            is_uniform: words.told.is_some(),
            places: Vec::new(),
            more_places: 0,
            callers: callers.iter().map(|name| name.to_string()).collect(),
            more_callers,
            claims: words.claims.clone(),
            when: words.when.clone(),
            example,
            regions: vec![region],
        };
        class.add_places(places);
        self.by_words.insert(words, self.classes.len());
        self.classes.push(class);
    }

    pub(super) fn finish(mut self, most: usize, mut incomplete: Vec<String>) -> PolicyDiff {
        if self.contradicted > 0 {
            incomplete.push(format!("{} classes are left out: their examples contradict them", self.contradicted));
        }
        for class in &mut self.classes {
            class.join_places();
        }
        self.classes.sort_by_cached_key(|class| {
            let order = match class.effect() {
                Effect::Loosens => 0,
                Effect::Tightens => 1,
                Effect::None | Effect::Mixed => 2,
            };
            let outcomes = (distance(class.after.outcome), distance(class.before.outcome));
            (order, outcomes, class.places.clone(), class.claims.clone(), class.callers.clone(), class.when.clone())
        });
        if self.classes.len() > most {
            incomplete.push(format!("{} further classes are not listed", self.classes.len() - most));
            self.classes.truncate(most);
        }
        PolicyDiff { classes: self.classes, incomplete }
    }
}

/// Host, path and routes.
type Path = (Option<String>, String, [Option<String>; 2]);

impl ChangedClass {
    /// Whether the routes, the caller, the claims and the circumstances of a request to a host are those of the class; method
    /// and path are not looked at further. A caller who carries more than the class asks for may have another answer because
    /// of that.
    pub fn is_about(&self, before: &Policy, after: &Policy, host: &str, request: &AccessRequest<'_>) -> bool {
        let route =
            |policy: &Policy| policy.find_route(host, request.path).map(|route| policy.route_name(route).to_owned());
        let routes = [route(before), route(after)];
        let mut regions = self.regions.iter().filter(|region| region.routes.contains(&routes));
        regions.any(|region| region.holds([before, after], request))
    }

    fn add_places(&mut self, places: &[ChangedPlace]) {
        for place in places {
            if self.places.contains(place) {
                continue;
            }
            if self.places.len() < Self::MOST_PLACES { self.places.push(place.clone()) } else { self.more_places += 1 }
        }
    }

    /// Puts methods of one path together, and a path together with all that is below it.
    fn join_places(&mut self) {
        let mut by_path: BTreeMap<Path, BTreeSet<String>> = BTreeMap::new();
        for place in self.places.drain(..) {
            by_path.entry((place.host, place.path, place.routes)).or_default().extend(place.methods);
        }
        let below = |path: &str| format!("{}/*/**", path.trim_end_matches('/'));
        let mut joined = by_path.clone();
        for ((host, path, routes), methods) in &by_path {
            let all = (host.clone(), below(path), routes.clone());
            if !path.ends_with('*') && by_path.get(&all) == Some(methods) {
                joined.remove(&(host.clone(), path.clone(), routes.clone()));
                joined.remove(&all);
                let whole = format!("{}/**", path.trim_end_matches('/'));
                joined.insert((host.clone(), whole, routes.clone()), methods.clone());
            }
        }
        self.places = joined
            .into_iter()
            .map(|((host, path, routes), methods)| {
                let all = methods.contains("*") && methods.len() == 1;
                let methods = if all { vec!["*".to_owned()] } else { methods.into_iter().collect() };
                ChangedPlace { routes, host, path, methods }
            })
            .collect();
    }
}

/// A kind of change, with single claims that do the same as alternatives.
struct Alternatives {
    kind: Kind,
    claims: Vec<Vec<u16>>,
}

/// The kinds of change with their combinations. Where one claim does exactly what another does they are alternatives.
fn alternatives(found: &Found) -> Vec<(Alternatives, Vec<Product>)> {
    let mut joined: Vec<(Alternatives, Vec<Product>)> = Vec::new();
    let mut by_products: HashMap<(Kind, &[Product]), usize> = HashMap::new();
    for (kind, products) in &found.products {
        if let [claim] = kind.claims.as_slice() {
            let next = joined.len();
            let at = *by_products.entry((Kind { claims: Vec::new(), ..kind.clone() }, products)).or_insert(next);
            if let Some((known, _)) = joined.get_mut(at) {
                known.claims.iter_mut().for_each(|alternatives| alternatives.push(*claim));
                continue;
            }
        }
        let claims = kind.claims.iter().map(|claim| vec![*claim]).collect();
        joined.push((Alternatives { kind: kind.clone(), claims }, products.clone()));
    }
    joined
}

impl Alternatives {
    fn claims(&self, axes: &Axes) -> Vec<Vec<String>> {
        let names = |claims: &Vec<u16>| {
            let classes = claims.iter().filter_map(|claim| axes.claims.get(usize::from(*claim)));
            let mut names: Vec<String> = classes.flat_map(ClaimClass::shown).collect();
            if names.len() > MOST_NAMES {
                let more = names.len() - MOST_NAMES;
                names.truncate(MOST_NAMES);
                names.push(format!("{more} more"));
            }
            names
        };
        self.claims.iter().map(names).collect()
    }

    fn callers(&self, axes: &Axes, callers: &[u16]) -> Vec<Arc<str>> {
        if !self.kind.verified {
            let names = callers.iter().filter_map(|caller| UNVERIFIED.get(usize::from(*caller)));
            return names.map(|name| (*name).into()).collect();
        }
        if callers.len() == axes.callers.len() {
            return vec!["authenticated".into()];
        }
        let classes = callers.iter().filter_map(|caller| axes.callers.get(usize::from(*caller)));
        classes.flat_map(CallerClass::shown).collect()
    }
}

/// The facts that make a difference, in words.
fn circumstances(axes: &Axes, product: &Product, verified: bool) -> Vec<Circumstance> {
    let [_, addresses, countries, times, devices, strengths, risks, activations] = product;
    let mut when = Vec::new();
    let mut add = |fact: &'static str, all: usize, some: &[u16], shown: &dyn Fn(usize) -> Option<String>| {
        if some.len() < all {
            let values = some.iter().filter_map(|index| shown(usize::from(*index))).collect();
            when.push(Circumstance { fact, values });
        }
    };
    add("network", axes.addresses.classes.len(), addresses, &|index| {
        axes.addresses.classes.get(index).map(|each| each.shown.clone())
    });
    add("country", axes.countries.len(), countries, &|index| {
        let country = axes.countries.get(index)?;
        Some(country.map_or_else(|| "unknown".to_owned(), |country| country.as_str().to_owned()))
    });
    if verified {
        add("device", axes.devices.len(), devices, &|index| {
            Some(match axes.devices.get(index)? {
                Some(true) => "compliant".to_owned(),
                Some(false) => "not compliant".to_owned(),
                None => "unknown".to_owned(),
            })
        });
        add("assurance", axes.strengths.len(), strengths, &|index| {
            axes.strengths.get(index).map(|each| each.shown.clone())
        });
    }
    add("risk", axes.risks.len(), risks, &|index| axes.risks.get(index).map(|each| each.shown.clone()));
    add("activation", axes.activations.len(), activations, &|index| {
        let active = axes.activations.get(index)?;
        Some(if active.is_empty() { "none".to_owned() } else { active.join(" and ") })
    });
    if let Some(values) = axes.times.shown(times) {
        when.push(Circumstance { fact: "time", values });
    }
    when.sort_unstable();
    when
}

/// One request of the class.
fn example(problem: &Problem<'_>, axes: &Axes, kind: &Alternatives, product: &Product) -> Option<ExampleRequest> {
    let first = |axis: usize| product.get(axis).and_then(|some| some.first()).map(|index| usize::from(*index));
    let times = product.get(3)?.iter().filter_map(|index| axes.times.classes.get(usize::from(*index)));
    // A time to come says more than one that is past.
    let now = times.map(|class| class.at).min_by_key(|at| (*at < axes.now, *at))?;
    let identity = match (kind.kind.verified, first(0)?) {
        (false, 0) => ExampleIdentity::Anonymous,
        (false, 1) => ExampleIdentity::Rejected(CredentialProblem {
            kind: CredentialProblemKind::Invalid,
            detail: "an example".to_owned(),
            provider: None,
        }),
        (false, _) => ExampleIdentity::Unavailable(Dependency::Keys),
        (true, caller) => {
            let claims = kind.claims.iter().filter_map(|claims| claims.first());
            let mut who = carrying(axes, caller, claims)?;
            who.device = device(*axes.devices.get(first(4)?)?);
            axes.strengths.get(first(5)?)?.put_on(&mut who, now);
            ExampleIdentity::Verified(who)
        }
    };
    Some(ExampleRequest {
        method: problem.method.clone(),
        host: problem.host.clone(),
        path: problem.path.clone(),
        identity,
        client: axes.addresses.classes.get(first(1)?)?.client,
        country: *axes.countries.get(first(2)?)?,
        risk: axes.risks.get(first(6)?)?.assessment.clone(),
        activations: activations(axes.activations.get(first(7)?)?),
        now,
    })
}

/// What the whole engine says to the example, so that no class rests on the search alone.
fn answer_to(policy: &Policy, example: &ExampleRequest) -> ExampleAnswer {
    let explained = policy.explain(&example.ask(policy));
    ExampleAnswer {
        outcome: explained.outcome,
        reason: explained.denial.as_ref().map(|denial| denial.reason),
        rule: explained.rule,
    }
}
