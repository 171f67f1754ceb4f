//! Which callers, from where, when and how, are answered otherwise at one place.
//!
//! Every combination of the facts' classes is decided by the engine's own stages, under both policies. Whom a caller is to the
//! rules is a set of subjects, and of those only the strictest deny and the best grant decide. So whatever a set of claims
//! changes, two of them at most change as well: one for the answer before, one for the answer after. That makes an exact
//! search of all sets of groups and roles a search of pairs.

use super::callers::{CallerClass, ClaimClass, caller_of, classes};
use super::facts::*;
use super::products::{AXES, Point, Product, joined};
use super::rules::{LocalKey, LocalRules, Side};
use super::search::Search;
use super::told::{Told, tell};
use super::*;

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
    /// The reasons and the rules, which all of it has alike; `None`: that was not asked.
    pub(super) told: Option<Told>,
}

/// The callers who are nobody.
pub(super) const UNVERIFIED: [&str; 3] =
    ["anonymous", "whoever sends a bad credential", "whoever sends a credential that cannot be checked"];

/// What was found at a place.
pub(super) struct Found {
    pub(super) axes: Arc<Axes>,
    pub(super) products: BTreeMap<Kind, Vec<Product>>,
}
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
    pub(super) fn solve(&self, axes: Axes, bounds: &DiffBounds, budget: &mut Budget) -> Result<Found, String> {
        let mut products: BTreeMap<Kind, Vec<Product>> = BTreeMap::new();
        for verified in [false, true] {
            let changes = Search::new(self, &axes, bounds.reasons, verified).run(budget)?;
            for (kind, product) in changes.iter() {
                products.entry(kind.clone()).or_default().push(product.clone());
            }
        }
        for list in products.values_mut() {
            *list = joined(std::mem::take(list));
        }
        if bounds.rules {
            products = tell(self, &axes, products, budget);
        }
        Ok(Found { axes: Arc::new(axes), products })
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
            IdentityFact::Verified(who) => (caller_of(&self.callers, who, policies[1].spelling())?, Some(who)),
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
            request.activations.iter().any(|each| each.assignment() == Some(name) && each.is_in_force(request.now))
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
/// Assignments activated for longer than any time that is looked at.
pub(super) fn activations(active: &[Arc<str>]) -> Vec<Activation> {
    active.iter().map(|name| Activation::of(name, Timestamp::MAX)).collect()
}
