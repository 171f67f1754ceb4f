//! What alerts demand of principals and routes for a time: a fresh mfa, or credentials that are newer than the alert.
//!
//! While there is nothing of the kind it is one atomic load for each request. It goes by the mode of bans: what is off demands nothing,
//! and what is simulated is only reported. It is kept over a restart as bans are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_policy::{Contained, Containment, Principal, PrincipalKind};

use crate::actor::Actor;
use crate::by_hand::ImposeError;
use crate::engine::RiskEngine;
use crate::settings::BanMode;
use crate::state::SavedDemand;

/// How many demands there can be at once.
pub(crate) const MOST: usize = 10_000;

/// Something that is demanded, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// The principal must bring a fresh mfa.
    StepUp(PrincipalKind, Box<str>),
    /// What the principal was issued until now counts no longer.
    Revoke(PrincipalKind, Box<str>),
    /// Whoever comes to the route must bring a fresh mfa.
    Tighten(Box<str>),
}

impl Demand {
    /// A demand of a principal that is written as in a policy file. `None`: the text names no principal.
    pub fn of_principal(text: &str, make: impl FnOnce(PrincipalKind, Box<str>) -> Self) -> Option<Self> {
        match text.parse() {
            Ok(Actor::Principal { kind, id }) => Some(make(kind, id)),
            Ok(Actor::Network(_)) | Err(_) => None,
        }
    }
}

/// Everything that is demanded.
#[derive(Debug)]
pub(crate) struct Demands {
    /// The latest end of any demand there ever was, in microseconds: from then on nothing is looked up.
    latest_end: AtomicI64,
    table: ArcSwap<Table>,
}

impl Default for Demands {
    fn default() -> Self {
        Self { latest_end: AtomicI64::new(i64::MIN), table: ArcSwap::default() }
    }
}

#[derive(Debug, Clone, Default)]
struct Table {
    step_up: ByPrincipal,
    revoked: ByPrincipal,
    tightened: ByName,
}

/// By the kind of a principal, and its id.
#[derive(Debug, Clone, Default)]
struct ByPrincipal {
    users: ByName,
    services: ByName,
    certificates: ByName,
}

/// What is demanded of each; at most one thing by each alert.
type ByName = HashMap<Box<str>, Vec<Arc<Containment>>>;

/// What is demanded of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demanded {
    step_up: Option<Arc<Containment>>,
    revoked: Option<Arc<Containment>>,
    tightened: Option<Arc<Containment>>,
}

impl Demanded {
    /// The facts that a policy decides by.
    pub fn facts(&self) -> Contained<'_> {
        Contained {
            step_up: self.step_up.as_deref(),
            revoked: self.revoked.as_deref(),
            tightened: self.tightened.as_deref(),
        }
    }
}

impl RiskEngine {
    /// Demands something until then. What other alerts demand of the same stays beside it, and the strictest of what is in force counts. Where
    /// this alert demands it already, it does so from now on anew, and until the later end. Says whether it is only simulated.
    ///
    /// # Errors
    /// Why nothing is demanded.
    pub fn demand(
        &self,
        demand: &Demand,
        alert: &str,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, ImposeError> {
        let mode = self.ban_mode();
        if mode == BanMode::Off {
            return Err(ImposeError::Off);
        }
        if until <= now {
            return Err(ImposeError::Ended);
        }
        let simulated = mode == BanMode::Simulate;
        let containment = Arc::new(Containment { alert: alert.into(), since, until, simulated });
        self.demands.put(demand, &containment, now)?;
        self.journal.demand_changed(demand, alert);
        Ok(simulated)
    }

    /// Demands it no longer, where it is this alert that demands it. Says whether it was.
    pub fn release(&self, demand: &Demand, alert: &str) -> bool {
        let released = self.demands.remove(demand, alert);
        if released {
            self.journal.demand_changed(demand, alert);
        }
        released
    }

    /// What this alert demands, where it is in force; as the mode of now has it.
    pub fn demanded_by(&self, demand: &Demand, alert: &str, now: Timestamp) -> Option<Arc<Containment>> {
        let mode = self.ban_mode();
        let table = self.demands.table.load();
        let containment = table.of(demand).iter().find(|containment| *containment.alert == *alert)?;
        (mode != BanMode::Off).then(|| as_of(containment, mode == BanMode::Simulate, now)).flatten()
    }

    /// Everything that is demanded at this moment, whose `until` is by the engine's clock.
    pub fn demands(&self, now: Timestamp) -> Vec<SavedDemand> {
        let mut all = self.demands.all();
        all.retain(|demand| now < demand.until);
        all
    }

    /// What is demanded of a request, where there is anything: one atomic load while there is nothing at all. Nothing is demanded of who comes
    /// from an address that is never banned.
    pub fn demanded(
        &self,
        principal: Option<&Principal>,
        route: Option<&str>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<Box<Demanded>> {
        if now.as_microsecond() >= self.demands.latest_end.load(Ordering::Relaxed) {
            return None;
        }
        let mode = self.ban_mode();
        if mode == BanMode::Off || address.is_some_and(|address| self.is_spared(address)) {
            return None;
        }
        self.demands.on(principal, route, now, mode == BanMode::Simulate)
    }
}

impl Demands {
    /// Everything, as it is kept, but for `until`, which is by the engine's clock.
    pub(crate) fn all(&self) -> Vec<SavedDemand> {
        let table = self.table.load();
        let mut all = Vec::new();
        let mut add = |map: &ByName, make: &dyn Fn(Box<str>) -> Demand| {
            for (name, containments) in map {
                all.extend(containments.iter().map(|containment| saved(make(name.clone()), containment)));
            }
        };
        for kind in [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate] {
            add(table.step_up.of(kind), &|id| Demand::StepUp(kind, id));
            add(table.revoked.of(kind), &|id| Demand::Revoke(kind, id));
        }
        add(&table.tightened, &Demand::Tighten);
        all
    }

    /// What this alert demands, as [`Self::all`] has it.
    pub(crate) fn find(&self, demand: &Demand, alert: &str) -> Option<SavedDemand> {
        let table = self.table.load();
        let containment = table.of(demand).iter().find(|containment| *containment.alert == *alert)?;
        Some(saved(demand.clone(), containment))
    }

    pub(crate) fn put(
        &self,
        demand: &Demand,
        containment: &Arc<Containment>,
        now: Timestamp,
    ) -> Result<(), ImposeError> {
        let mut room = true;
        self.table.rcu(|table| {
            let mut next = Table::clone(table);
            next.retain(|other| now < other.until);
            room = next.len() < MOST || next.of(demand).iter().any(|other| other.alert == containment.alert);
            if room {
                next.put(demand, containment);
            }
            next
        });
        if !room {
            return Err(ImposeError::NoRoom);
        }
        self.latest_end.fetch_max(containment.until.as_microsecond(), Ordering::AcqRel);
        Ok(())
    }

    fn remove(&self, demand: &Demand, alert: &str) -> bool {
        let mut found = false;
        self.table.rcu(|table| {
            found = table.of(demand).iter().any(|containment| *containment.alert == *alert);
            let mut next = Table::clone(table);
            if found {
                next.remove(demand, alert);
            }
            next
        });
        found
    }

    fn on(
        &self,
        principal: Option<&Principal>,
        route: Option<&str>,
        now: Timestamp,
        simulate: bool,
    ) -> Option<Box<Demanded>> {
        let table = self.table.load();
        let strictest = |containments: &Vec<Arc<Containment>>| {
            let in_force = containments.iter().filter_map(|containment| as_of(containment, simulate, now));
            in_force.max_by_key(|containment| (!containment.simulated, containment.since, containment.until))
        };
        let of = |map: &ByPrincipal| principal.and_then(|who| map.of(who.kind).get(&who.id)).and_then(strictest);
        let tightened = route.and_then(|route| table.tightened.get(route)).and_then(strictest);
        let demanded = Demanded { step_up: of(&table.step_up), revoked: of(&table.revoked), tightened };
        (demanded != Demanded::default()).then(|| Box::new(demanded))
    }
}

fn saved(demand: Demand, containment: &Containment) -> SavedDemand {
    SavedDemand {
        demand,
        alert: containment.alert.clone(),
        since: containment.since,
        until: containment.until,
        simulated: containment.simulated,
    }
}

/// What is in force of it, in a mode that may only simulate.
fn as_of(containment: &Arc<Containment>, simulate: bool, now: Timestamp) -> Option<Arc<Containment>> {
    (now < containment.until).then(|| match simulate && !containment.simulated {
        true => Arc::new(Containment { simulated: true, ..Containment::clone(containment) }),
        false => Arc::clone(containment),
    })
}

impl Table {
    fn maps(&mut self) -> [&mut ByName; 7] {
        let Self { step_up, revoked, tightened } = self;
        [
            &mut step_up.users,
            &mut step_up.services,
            &mut step_up.certificates,
            &mut revoked.users,
            &mut revoked.services,
            &mut revoked.certificates,
            tightened,
        ]
    }

    fn retain(&mut self, keep: impl Fn(&Containment) -> bool) {
        for map in self.maps() {
            map.retain(|_, containments| {
                containments.retain(|containment| keep(containment));
                !containments.is_empty()
            });
        }
    }

    fn len(&mut self) -> usize {
        self.maps().iter().flat_map(|map| map.values()).map(Vec::len).sum()
    }

    fn of(&self, demand: &Demand) -> &[Arc<Containment>] {
        let containments = match demand {
            Demand::StepUp(kind, id) => self.step_up.of(*kind).get(id),
            Demand::Revoke(kind, id) => self.revoked.of(*kind).get(id),
            Demand::Tighten(route) => self.tightened.get(route),
        };
        containments.map(Vec::as_slice).unwrap_or_default()
    }

    fn map_of(&mut self, demand: &Demand) -> (&mut ByName, Box<str>) {
        match demand {
            Demand::StepUp(kind, id) => (self.step_up.of_mut(*kind), id.clone()),
            Demand::Revoke(kind, id) => (self.revoked.of_mut(*kind), id.clone()),
            Demand::Tighten(route) => (&mut self.tightened, route.clone()),
        }
    }

    fn put(&mut self, demand: &Demand, containment: &Arc<Containment>) {
        let (map, name) = self.map_of(demand);
        let containments = map.entry(name).or_default();
        match containments.iter_mut().find(|other| other.alert == containment.alert) {
            Some(old) => {
                let until = old.until.max(containment.until);
                *old = Arc::new(Containment { until, ..Containment::clone(containment) });
            }
            None => containments.push(Arc::clone(containment)),
        }
    }

    fn remove(&mut self, demand: &Demand, alert: &str) {
        let (map, name) = self.map_of(demand);
        if let Some(containments) = map.get_mut(&name) {
            containments.retain(|containment| *containment.alert != *alert);
            if containments.is_empty() {
                map.remove(&name);
            }
        }
    }
}

impl ByPrincipal {
    fn of(&self, kind: PrincipalKind) -> &ByName {
        match kind {
            PrincipalKind::User => &self.users,
            PrincipalKind::Service => &self.services,
            PrincipalKind::Certificate => &self.certificates,
        }
    }

    fn of_mut(&mut self, kind: PrincipalKind) -> &mut ByName {
        match kind {
            PrincipalKind::User => &mut self.users,
            PrincipalKind::Service => &mut self.services,
            PrincipalKind::Certificate => &mut self.certificates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::engine_of;
    use crate::settings::{BanSettings, Settings};

    fn engine(mode: BanMode) -> RiskEngine {
        engine_of(Settings { ban: BanSettings { mode, ..BanSettings::default() }, ..Settings::default() })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn alice(make: fn(PrincipalKind, Box<str>) -> Demand) -> Demand {
        Demand::of_principal("user:alice", make).unwrap()
    }

    #[test]
    fn a_demand_is_of_whom_it_names_until_it_ends_or_is_released() {
        let engine = engine(BanMode::Enforce);
        let (alice_calls, bob) = (Principal::user("alice"), Principal::user("bob"));
        let service = Principal::service("alice");
        let facts = |who: &Principal, route: &str, second: i64| {
            engine.demanded(Some(who), Some(route), None, at(second)).map(|demanded| {
                let Contained { step_up, revoked, tightened } = demanded.facts();
                [step_up, revoked, tightened].map(|each| each.map(|each| each.alert.to_string()))
            })
        };
        assert_eq!(facts(&alice_calls, "billing", 0), None);
        engine.demand(&alice(Demand::StepUp), "a", at(0), at(60), at(0)).unwrap();
        engine.demand(&alice(Demand::Revoke), "b", at(0), at(30), at(0)).unwrap();
        engine.demand(&Demand::Tighten("billing".into()), "c", at(0), at(30), at(0)).unwrap();
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(facts(&alice_calls, "billing", 29), Some([some("a"), some("b"), some("c")]));
        assert_eq!(facts(&alice_calls, "billing", 30), Some([some("a"), None, None]));
        assert_eq!(facts(&alice_calls, "billing", 60), None);
        assert_eq!(facts(&bob, "billing", 29), Some([None, None, some("c")]));
        assert_eq!(facts(&service, "other", 29), None, "another kind is another principal");
        assert!(!engine.release(&alice(Demand::StepUp), "b"), "it is another alert's");
        assert!(engine.release(&alice(Demand::StepUp), "a") && !engine.release(&alice(Demand::StepUp), "a"));
        assert_eq!(facts(&alice_calls, "other", 29), Some([None, some("b"), None]));
        assert!(Demand::of_principal("192.0.2.1", Demand::StepUp).is_none());
        assert!(engine.demanded(None, None, None, at(1)).is_none());
    }

    #[test]
    fn a_second_demand_never_shortens_the_first_and_revokes_what_came_between() {
        let engine = engine(BanMode::Enforce);
        engine.demand(&alice(Demand::Revoke), "a", at(0), at(600), at(0)).unwrap();
        engine.demand(&alice(Demand::Revoke), "a", at(10), at(60), at(10)).unwrap();
        let demanded = engine.demanded(Some(&Principal::user("alice")), None, None, at(20)).unwrap();
        let revoked = demanded.facts().revoked.unwrap();
        assert_eq!((revoked.since, revoked.until), (at(10), at(600)));
    }

    #[test]
    fn what_two_alerts_demand_is_lifted_one_by_one_and_the_strictest_counts() {
        let engine = engine(BanMode::Enforce);
        let revoke = alice(Demand::Revoke);
        let in_force = |second: i64| {
            let demanded = engine.demanded(Some(&Principal::user("alice")), None, None, at(second));
            demanded.map(|demanded| {
                let revoked = demanded.facts().revoked.unwrap();
                (revoked.alert.to_string(), revoked.since, revoked.until)
            })
        };
        engine.demand(&revoke, "long", at(0), at(600), at(0)).unwrap();
        engine.demand(&revoke, "late", at(10), at(60), at(10)).unwrap();
        // Of the two the one that revokes more, as long as it lasts.
        assert_eq!(in_force(20), Some(("late".into(), at(10), at(60))));
        assert_eq!(in_force(60), Some(("long".into(), at(0), at(600))));
        let by = |alert: &str, second: i64| {
            engine.demanded_by(&revoke, alert, at(second)).map(|containment| containment.until)
        };
        assert_eq!(
            (by("long", 20), by("late", 20), by("late", 60), by("other", 20)),
            (Some(at(600)), Some(at(60)), None, None)
        );
        // Lifting one leaves the other.
        assert!(engine.release(&revoke, "late") && !engine.release(&revoke, "late"));
        assert_eq!(in_force(20), Some(("long".into(), at(0), at(600))));
        assert!(engine.release(&revoke, "long"));
        assert_eq!((in_force(20), by("long", 20)), (None, None));
        // What is only simulated hides nothing that is not.
        let table = |simulated: bool, alert: &str, since: i64| {
            Arc::new(Containment { alert: alert.into(), since: at(since), until: at(600), simulated })
        };
        engine.demands.put(&revoke, &table(false, "earnest", 0), at(0)).unwrap();
        engine.demands.put(&revoke, &table(true, "simulated", 10), at(0)).unwrap();
        assert_eq!(in_force(20).unwrap().0, "earnest");
    }

    #[test]
    fn it_goes_by_the_mode_of_bans_and_is_bounded() {
        let ask = |engine: &RiskEngine| engine.demanded(Some(&Principal::user("alice")), None, None, at(1));
        let until = at(60);
        let off = engine(BanMode::Off);
        assert_eq!(off.demand(&alice(Demand::StepUp), "a", at(0), until, at(0)), Err(ImposeError::Off));
        let simulating = engine(BanMode::Simulate);
        assert_eq!(simulating.demand(&alice(Demand::StepUp), "a", at(0), until, at(0)), Ok(true));
        assert!(ask(&simulating).unwrap().facts().step_up.unwrap().simulated);
        let enforcing = engine(BanMode::Enforce);
        assert_eq!(enforcing.demand(&alice(Demand::StepUp), "a", at(0), at(0), at(0)), Err(ImposeError::Ended));
        assert_eq!(enforcing.demand(&alice(Demand::StepUp), "a", at(0), until, at(0)), Ok(false));
        // What began under another mode is not stronger than the one of now allows.
        for (mode, expected) in [(BanMode::Simulate, Some(true)), (BanMode::Off, None), (BanMode::Enforce, Some(false))]
        {
            enforcing
                .reconfigure(Settings { ban: BanSettings { mode, ..BanSettings::default() }, ..Settings::default() });
            assert_eq!(ask(&enforcing).map(|demanded| demanded.facts().step_up.unwrap().simulated), expected);
        }
        let full = Demands::default();
        let containment = Arc::new(Containment { alert: "a".into(), since: at(0), until, simulated: false });
        let mut table = Table::default();
        for index in 0..MOST {
            table.put(&Demand::Tighten(format!("r{index}").into()), &containment);
        }
        full.table.store(Arc::new(table));
        let more = Demand::Tighten("more".into());
        assert_eq!(full.put(&more, &containment, at(0)), Err(ImposeError::NoRoom));
        assert_eq!(full.put(&Demand::Tighten("r1".into()), &containment, at(0)), Ok(()));
        assert_eq!(full.put(&more, &containment, at(60)), Ok(()), "what has ended makes room");
    }
}
