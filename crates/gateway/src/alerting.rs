//! Alerts in a running gateway: what they contain and who lifts it, and what their events say of the policy.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_alerts::settings::{Containment, Measure};
use portcullis_alerts::{Alerts, Firing, Key, Response, Settings, Stats};
use portcullis_events::Event;
use portcullis_policy::BanScope;
use portcullis_proxy::Shared;
use portcullis_risk::{Actor, Demand};
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

/// What is contained at this moment.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    numbered: u64,
    entries: VecDeque<Entry>,
}

/// One containment.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Unique in this process: `c1`.
    pub(crate) id: String,
    pub(crate) alert: Arc<str>,
    pub(crate) measure: Measure,
    pub(crate) on: Key,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// The event of the firing.
    pub(crate) event: Uuid,
    pub(crate) simulated: bool,
}

/// How many containments are kept in mind at once.
const MOST_CONTAINED: usize = 10_000;

impl Alerting {
    pub(crate) fn start(settings: Settings, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let contained = Arc::<Register>::default();
        let surroundings = Surroundings { shared: Arc::clone(shared), contained: Arc::clone(&contained) };
        let alerts = Alerts::start(settings, &shared.recorder, Arc::new(surroundings))?;
        Ok(Self { alerts, contained })
    }

    pub(crate) fn stats(&self) -> &Stats {
        self.alerts.stats()
    }

    /// What is contained, the last first.
    pub(crate) fn contained(&self, now: Timestamp) -> Vec<Entry> {
        self.contained.in_force(now)
    }

    /// Lifts a containment, and says whom it was on.
    ///
    /// # Errors
    /// That there is none of this id, or that what is in force is another's.
    pub(crate) fn lift(&self, id: &str, shared: &Shared) -> Result<String, String> {
        let now = shared.clock.now();
        let entry = self.contained.in_force(now).into_iter().find(|entry| entry.id == id);
        let Some(entry) = entry else { return Err(format!("nothing of that id is contained: {}", shown(id))) };
        let said = format!("{} of {} by alert {}", entry.measure.as_str(), entry.on, entry.alert);
        let lifted = match entry.measure {
            Measure::BanAddress | Measure::BanPrincipal => lift_ban(&entry, shared, now),
            Measure::StepUpPrincipal | Measure::RevokePrincipal | Measure::TightenRoute => {
                match demand(entry.measure, &entry.on) {
                    Some(demand) if shared.risk.release(&demand, &entry.alert) => Ok(()),
                    Some(_) | None => Err("it has ended, or another alert has taken its place".to_owned()),
                }
            }
        };
        self.contained.forget(id);
        lifted.map(|()| format!("lifted: {said}"))
    }
}

/// Lifts the ban that the entry speaks of, and no other one.
fn lift_ban(entry: &Entry, shared: &Shared, now: Timestamp) -> Result<(), String> {
    let actor = actor(&entry.on)?;
    let cause = cause(&entry.alert);
    let own = |ban: &portcullis_risk::BanEntry| ban.actor == actor && *ban.ban.cause == *cause;
    if !shared.risk.report(&actor, now).bans.iter().any(own) {
        return Err("the ban in force is not the alert's: see `portcullis ban explain`".to_owned());
    }
    if shared.risk.lift(&actor) { Ok(()) } else { Err("the ban has just ended".to_owned()) }
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
            id: String::new(),
            alert: Arc::clone(&firing.rule.name),
            measure,
            on: firing.key.clone(),
            since: now,
            until,
            event: firing.id,
            simulated,
        };
        let id = self.contained.note(entry, now);
        let simulated = if simulated { " (simulated: `[ban] mode` only reports)" } else { "" };
        Ok(format!("until {until:.0}{simulated}; lift it with `portcullis alert lift {id}`"))
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
        let longer = |entry: &&portcullis_risk::BanEntry| {
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
        if measure != Measure::TightenRoute {
            self.check_spared(firing)?;
        }
        // What was issued counts by the clock on the wall, as the issuer's does.
        let since = Timestamp::now();
        self.shared.risk.demand(&wanted, &firing.rule.name, since, until, now).map_err(|error| error.to_string())
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
    /// Keeps an entry in mind under a new id.
    fn note(&self, entry: Entry, now: Timestamp) -> String {
        let mut register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        register.numbered += 1;
        let id = format!("c{}", register.numbered);
        register.entries.retain(|other| now < other.until);
        // What is no longer listed ends by itself, and a ban is listed among the bans.
        register.entries.truncate(MOST_CONTAINED - 1);
        register.entries.push_front(Entry { id: id.clone(), ..entry });
        id
    }

    fn in_force(&self, now: Timestamp) -> Vec<Entry> {
        let register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        register.entries.iter().filter(|entry| now < entry.until).cloned().collect()
    }

    fn forget(&self, id: &str) {
        let mut register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        register.entries.retain(|entry| entry.id != id);
    }
}

fn cause(alert: &str) -> String {
    format!("alert {alert}")
}

/// What a measure demands of a key; `None` for one that is no such demand.
fn demand(measure: Measure, key: &Key) -> Option<Demand> {
    match (measure, key) {
        (Measure::StepUpPrincipal, Key::Text(name)) => Demand::of_principal(name, Demand::StepUp),
        (Measure::RevokePrincipal, Key::Text(name)) => Demand::of_principal(name, Demand::Revoke),
        (Measure::TightenRoute, Key::Text(route)) => Some(Demand::Tighten(Box::from(&**route))),
        (Measure::BanAddress | Measure::BanPrincipal, _)
        | (Measure::StepUpPrincipal | Measure::RevokePrincipal | Measure::TightenRoute, Key::Address(_) | Key::All) => {
            None
        }
    }
}

/// Whom a key names.
fn actor(key: &Key) -> Result<Actor, String> {
    match key {
        Key::Address(address) => Ok(Actor::address(*address)),
        Key::Text(text) => text.parse().map_err(|error| format!("{}: {error}", shown(text))),
        Key::All => Err("nobody in particular is counted".to_owned()),
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
