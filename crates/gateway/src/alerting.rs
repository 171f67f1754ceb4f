//! Alerts in a running gateway: what they contain and who lifts it, and what their events say of the policy.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_alerts::settings::{Containment, Measure};
use portcullis_alerts::{Alerts, Firing, Key, Response, Settings, Stats};
use portcullis_events::Event;
use portcullis_policy::{AuthenticationRule, BanScope};
use portcullis_proxy::Shared;
use portcullis_risk::state::SavedDemand;
use portcullis_risk::{Actor, BanEntry, Demand};
use uuid::Uuid;

/// The alerts, and what they contain.
#[derive(Debug)]
pub(crate) struct Alerting {
    pub(crate) alerts: Alerts,
    contained: Arc<Register>,
}

/// The gateway as the alerts act on it.
struct Surroundings {
    shared: Arc<Shared>,
    contained: Arc<Register>,
}

/// What was contained, why, and under which id: one entry for each alert, measure and key. What of it is in force says who enforces it.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<VecDeque<Entry>>);

/// One containment.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The measure, and the end of the id of the event by which it began: `ban-4f1c09a2b7d3`.
    pub(crate) id: String,
    pub(crate) alert: Arc<str>,
    pub(crate) measure: Measure,
    pub(crate) on: Key,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// The event of the last firing that demanded it.
    pub(crate) event: Uuid,
    pub(crate) simulated: bool,
}

/// How many containments are kept in mind at once.
const MOST_CONTAINED: usize = 10_000;

impl Alerting {
    pub(crate) fn start(settings: Settings, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let contained = Arc::new(Register(Mutex::new(restored(shared))));
        let surroundings = Surroundings { shared: Arc::clone(shared), contained: Arc::clone(&contained) };
        let alerts = Alerts::start(settings, &shared.recorder, Arc::new(surroundings))?;
        Ok(Self { alerts, contained })
    }

    pub(crate) fn stats(&self) -> &Stats {
        self.alerts.stats()
    }

    /// What is contained, the last first: what is in force of it, whoever lifted, replaced or prolonged it meanwhile.
    pub(crate) fn contained(&self, shared: &Shared, now: Timestamp) -> Vec<Entry> {
        self.contained.in_force(shared, now)
    }

    /// Lifts a containment, and says whom it was on.
    ///
    /// # Errors
    /// That there is none of this id, or that what is in force is another's.
    pub(crate) fn lift(&self, id: &str, shared: &Shared) -> Result<String, String> {
        let now = shared.clock.now();
        let entry = self.contained.in_force(shared, now).into_iter().find(|entry| entry.id == id);
        let Some(entry) = entry else { return Err(format!("nothing of that id is contained: {}", shown(id))) };
        let lifted = match entry.measure {
            Measure::BanAddress | Measure::BanPrincipal => shared.risk.lift(&actor(&entry.on)?),
            Measure::StepUpPrincipal | Measure::RevokePrincipal | Measure::TightenRoute => {
                demand(entry.measure, &entry.on).is_some_and(|demand| shared.risk.release(&demand, &entry.alert))
            }
        };
        if !lifted {
            return Err("it has just ended".to_owned());
        }
        self.contained.forget(id);
        Ok(format!("lifted: {} of {} by alert {}", entry.measure.as_str(), entry.on, entry.alert))
    }
}

/// What alerts had contained before the restart, from what the store has put in force again. It has a new id, and its event is not known.
fn restored(shared: &Shared) -> VecDeque<Entry> {
    let now = shared.clock.now();
    let entry = |measure, alert: &str, on, since, until, simulated| Entry {
        id: id_of(measure, Uuid::now_v7()),
        alert: alert.into(),
        measure,
        on,
        since,
        until,
        event: Uuid::nil(),
        simulated,
    };
    let of_demand = |saved: SavedDemand| {
        let (measure, on) = match saved.demand {
            Demand::StepUp(kind, id) => (Measure::StepUpPrincipal, Actor::Principal { kind, id }.to_string()),
            Demand::Revoke(kind, id) => (Measure::RevokePrincipal, Actor::Principal { kind, id }.to_string()),
            Demand::Tighten(route) => (Measure::TightenRoute, route.into_string()),
        };
        entry(measure, &saved.alert, Key::Text(on.into()), saved.since, saved.until, saved.simulated)
    };
    let of_ban = |BanEntry { actor, ban, began, .. }: BanEntry| {
        let alert = ban.cause.strip_prefix(CAUSE)?;
        let (measure, on) = match &actor {
            Actor::Network(network) => (Measure::BanAddress, Key::Address(network.addr())),
            Actor::Principal { .. } => (Measure::BanPrincipal, Key::Text(actor.to_string().into())),
        };
        Some(entry(measure, alert, on, began, ban.until, ban.simulated))
    };
    let demands = shared.risk.demands(now).into_iter().map(of_demand);
    let mut entries: Vec<_> = demands.chain(shared.risk.bans(now).into_iter().filter_map(of_ban)).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.since));
    entries.truncate(MOST_CONTAINED);
    entries.into()
}

impl Response for Surroundings {
    fn contain(&self, firing: &Firing, containment: Containment) -> Result<String, String> {
        let now = self.shared.clock.now();
        let Containment { measure, lasts } = containment;
        let until = end(now, lasts);
        let simulated = match measure {
            Measure::BanAddress | Measure::BanPrincipal => self.ban(firing, until, now)?,
            Measure::StepUpPrincipal | Measure::RevokePrincipal | Measure::TightenRoute => {
                self.demand(measure, firing, until, now)?
            }
        };
        let entry = Entry {
            id: id_of(measure, firing.id),
            alert: Arc::clone(&firing.rule.name),
            measure,
            on: firing.key.clone(),
            since: now,
            until,
            event: firing.id,
            simulated,
        };
        let id = self.contained.note(entry, &self.shared, now);
        let simulated = if simulated { " (simulated: `[ban] mode` only reports)" } else { "" };
        Ok(format!("until {until:.0}{simulated}; lift it with `portcullis alert lift {id}`"))
    }

    fn contained(&self, rule: &str) -> Vec<(Key, Containment)> {
        let now = self.shared.clock.now();
        let left = |entry: Entry| {
            let lasts = Duration::try_from(entry.until.duration_since(now)).unwrap_or_default();
            (entry.on, Containment { measure: entry.measure, lasts })
        };
        self.contained.in_force(&self.shared, now).into_iter().filter(|entry| *entry.alert == *rule).map(left).collect()
    }

    fn stamp(&self, event: &mut Event) {
        let snapshot = self.shared.snapshot().load();
        event.policy.version = Some(snapshot.policy.version());
        event.policy.sha256 = Some(Arc::clone(&snapshot.policy_sha256));
    }
}

impl Surroundings {
    /// Says whether the ban is only simulated.
    fn ban(&self, firing: &Firing, until: Timestamp, now: Timestamp) -> Result<bool, String> {
        let risk = &self.shared.risk;
        let actor = actor(&firing.key)?;
        if let Actor::Principal { .. } = actor {
            self.check_spared(firing)?;
        }
        let report = risk.report(&actor, now);
        let longer = |entry: &&BanEntry| {
            let whole = entry.ban.scope != BanScope::Anonymous;
            entry.actor == actor && whole && !entry.ban.simulated && entry.ban.until >= until
        };
        if let Some(entry) = report.bans.iter().find(longer) {
            return Err(format!("it is banned already, until {:.0}: {}", entry.ban.until, entry.ban.cause));
        }
        let imposed = risk.impose(&actor, until, &cause(&firing.rule.name), now).map_err(|error| error.to_string())?;
        Ok(imposed.simulated)
    }
}

impl Surroundings {
    /// Says whether it is only simulated.
    fn demand(&self, measure: Measure, firing: &Firing, until: Timestamp, now: Timestamp) -> Result<bool, String> {
        let wanted = demand(measure, &firing.key).ok_or_else(|| format!("{} is nobody's name", firing.key))?;
        match &wanted {
            Demand::Tighten(route) => self.check_takes_credentials(route)?,
            Demand::StepUp(..) | Demand::Revoke(..) => self.check_spared(firing)?,
        }
        // What was issued counts by the clock on the wall, as the issuer's does.
        let since = Timestamp::now();
        self.shared.risk.demand(&wanted, &firing.rule.name, since, until, now).map_err(|error| error.to_string())
    }

    /// A route that asks for no credential has nobody on it who could bring a fresh mfa: to tighten it is to close it for everybody, and whoever
    /// comes from outside could have that done.
    fn check_takes_credentials(&self, route: &str) -> Result<(), String> {
        let snapshot = self.shared.snapshot().load();
        let policy = &snapshot.policy;
        let rule = policy.route_named(route).map(|route| policy.authentication(route));
        if rule == Some(AuthenticationRule::None) {
            return Err("the route asks for no credential: that would close it for everybody".to_owned());
        }
        Ok(())
    }

    /// A principal that comes only from where nobody is banned is not contained, either. One that was seen elsewhere, too, is: its token may be
    /// stolen.
    fn check_spared(&self, firing: &Firing) -> Result<(), String> {
        let mut addresses = firing.evidence.iter().map(|seen| seen.address).peekable();
        let spared = |address: Option<IpAddr>| address.is_some_and(|address| self.shared.risk.is_spared(address));
        if addresses.peek().is_some() && addresses.all(spared) {
            return Err("it comes from an address that is never banned (`[ban] never`, or a trusted proxy)".to_owned());
        }
        Ok(())
    }
}

impl Register {
    /// Keeps an entry in mind, and says its id: the one that it had, where it is only prolonged.
    fn note(&self, entry: Entry, shared: &Shared, now: Timestamp) -> String {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|other| other.as_enforced(shared, now).is_some());
        let same = |other: &Entry| other.alert == entry.alert && other.measure == entry.measure && other.on == entry.on;
        let before = entries.iter().position(same).and_then(|place| entries.remove(place));
        // What is no longer listed ends by itself, and a ban is listed among the bans.
        entries.truncate(MOST_CONTAINED - 1);
        let (id, since) = before.map_or((entry.id, entry.since), |before| (before.id, before.since));
        entries.push_front(Entry { id: id.clone(), since, ..entry });
        id
    }

    fn in_force(&self, shared: &Shared, now: Timestamp) -> Vec<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter_map(|entry| entry.as_enforced(shared, now)).collect()
    }

    fn forget(&self, id: &str) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.id != id);
    }
}

impl Entry {
    /// What is in force of it: `None` where it has ended, was lifted, or is another's by now.
    fn as_enforced(&self, shared: &Shared, now: Timestamp) -> Option<Self> {
        let (until, simulated) = match self.measure {
            Measure::BanAddress | Measure::BanPrincipal => {
                let ban = shared.risk.own_ban(&actor(&self.on).ok()?, now)?;
                (*ban.cause == *cause(&self.alert)).then_some((ban.until, ban.simulated))?
            }
            Measure::StepUpPrincipal | Measure::RevokePrincipal | Measure::TightenRoute => {
                let demanded = shared.risk.demanded_by(&demand(self.measure, &self.on)?, &self.alert, now)?;
                (demanded.until, demanded.simulated)
            }
        };
        Some(Self { until, simulated, ..self.clone() })
    }
}

/// The id of what a firing demands: a firing has one key, and demands a measure of it once.
fn id_of(measure: Measure, event: Uuid) -> String {
    // The end of a UUID of version 7 is random (RFC 9562 section 5.7).
    let text = event.simple().to_string();
    format!("{}-{}", measure.as_str(), text.get(text.len().saturating_sub(12)..).unwrap_or(&text))
}

fn cause(alert: &str) -> String {
    format!("{CAUSE}{alert}")
}

/// What the cause of a ban by an alert begins with. An operator's begins otherwise.
const CAUSE: &str = "alert ";

/// What a measure demands of a key; `None` for one that is no such demand.
fn demand(measure: Measure, key: &Key) -> Option<Demand> {
    match (measure, key) {
        (Measure::StepUpPrincipal, Key::Text(name)) => Demand::of_principal(name, Demand::StepUp),
        (Measure::RevokePrincipal, Key::Text(name)) => Demand::of_principal(name, Demand::Revoke),
        (Measure::TightenRoute, Key::Text(route)) => Some(Demand::Tighten(Box::from(&**route))),
        (Measure::BanAddress | Measure::BanPrincipal, _)
        | (
            Measure::StepUpPrincipal | Measure::RevokePrincipal | Measure::TightenRoute,
            Key::Address(_) | Key::Cut(_) | Key::All | Key::Others,
        ) => None,
    }
}

/// Whom a key names.
fn actor(key: &Key) -> Result<Actor, String> {
    match key {
        Key::Address(address) => Ok(Actor::address(*address)),
        Key::Text(text) => text.parse().map_err(|error| format!("{}: {error}", shown(text))),
        Key::Cut(_) | Key::All | Key::Others => Err("nobody in particular is counted".to_owned()),
    }
}

fn end(now: Timestamp, lasts: Duration) -> Timestamp {
    let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
    now.checked_add(lasts).unwrap_or(Timestamp::MAX)
}

/// The beginning of what somebody wrote, fit for a line.
fn shown(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}
