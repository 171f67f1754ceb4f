//! What came of a rule: it fired for a key, or holds no longer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_events::event::{Alert, AlertKey, AlertState};
use portcullis_events::{Event, EventKind, Severity, help_url};
use uuid::Uuid;

use crate::settings::{Facet, Per, Rule};
use crate::sighting::Sighting;

/// What a rule counts together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Everything.
    All,
    /// An address, or of IPv6 the first one of a /64.
    Address(IpAddr),
    /// A principal, a route or a reason.
    Text(Arc<str>),
    /// The beginning of a principal's name that was cut to its bound. The rest could be anybody's: it is never contained.
    Cut(Arc<str>),
    /// All for which there is no room among those that fire.
    Others,
}

impl Key {
    /// The key of an event, where it has one.
    pub(crate) fn of(per: Per, sighting: &Sighting) -> Option<Self> {
        match per {
            Per::All => Some(Self::All),
            Per::Each(Facet::Address) => {
                sighting.address.map(|address| Self::Address(crate::sighting::network(address)))
            }
            Per::Each(Facet::Principal) => {
                sighting.principal.clone().map(if sighting.is_cut { Self::Cut } else { Self::Text })
            }
            Per::Each(Facet::Route) => sighting.route.clone().map(Self::Text),
            Per::Each(Facet::Reason) => sighting.reason.map(|reason| Self::Text(reason.code().into())),
            Per::Each(Facet::Path) => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Address(IpAddr::V4(address)) => write!(formatter, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "{address}/64"),
            Self::Text(text) => formatter.write_str(text),
            Self::Cut(text) => write!(formatter, "{text}\u{2026}"),
            Self::Others => formatter.write_str("others"),
        }
    }
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The rule holds.
    Fired,
    /// It holds no longer.
    Resolved,
}

/// One firing of one key, or its end.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The id of its event.
    pub id: Uuid,
    /// Which of the two it is.
    pub phase: Phase,
    /// The rule.
    pub rule: Arc<Rule>,
    /// What the rule counted together.
    pub key: Key,
    /// How many events, or different values, there are within the window.
    pub count: usize,
    /// When the first of them was seen, within the window; of an end, when the key fired.
    pub since: Timestamp,
    /// When it fired, or ended.
    pub time: Timestamp,
    /// The last events that counted, newest first. At most five.
    pub evidence: Vec<Arc<Sighting>>,
    /// Why nobody is told and nothing done.
    pub muted: Option<Arc<str>>,
    /// What was done.
    pub actions: Vec<String>,
}

impl Firing {
    /// The page that says what to do: the rule's, else the one of the reason.
    pub fn runbook(&self, help_base: &str) -> Option<String> {
        if let Some(page) = &self.rule.runbook {
            return Some(page.to_string());
        }
        let reason = self.evidence.iter().find_map(|sighting| sighting.reason)?;
        (!help_base.is_empty()).then(|| help_url(help_base, reason))
    }

    /// The event of it, but for what it says of the policy.
    pub(crate) fn event(&self, help_base: &str) -> Event {
        let (kind, state, severity) = match self.phase {
            Phase::Fired => (EventKind::AlertFired, AlertState::Fired, self.rule.severity),
            Phase::Resolved => (EventKind::AlertResolved, AlertState::Resolved, Severity::Low),
        };
        let mut event = Event::new(kind, self.id, self.time);
        event.severity = severity;
        event.message = Some(self.sentence());
        event.remedy.help = self.runbook(help_base);
        let key = self.key.to_string();
        match (&self.key, self.rule.per) {
            (Key::Address(address), _) => event.client.ip = Some(*address),
            (Key::Text(_) | Key::Cut(_), Per::Each(Facet::Principal)) => {
                if let Some((kind, id)) = key.split_once(':') {
                    event.identity.kind = kind_of(kind);
                    event.identity.id = Some(id.to_owned());
                }
            }
            (Key::Text(route), Per::Each(Facet::Route)) => event.policy.route = Some(Arc::clone(route)),
            (Key::Text(_) | Key::Cut(_) | Key::All | Key::Others, _) => {}
        }
        event.alert = Some(Box::new(Alert {
            rule: Arc::clone(&self.rule.name),
            state,
            condition: self.condition(),
            key: AlertKey { per: self.rule.per.as_str(), value: key },
            count: self.count as u64,
            since: self.since,
            evidence: self.evidence.iter().map(|sighting| sighting.id).collect(),
            actions: self.actions.clone(),
            muted: self.muted.as_deref().map(str::to_owned),
            runbook: self.runbook(help_base),
        }));
        event
    }
}

/// The static word of a kind of principal.
fn kind_of(word: &str) -> Option<&'static str> {
    use portcullis_policy::PrincipalKind::{Certificate, Service, User};
    [User, Service, Certificate].into_iter().map(portcullis_policy::PrincipalKind::as_str).find(|kind| *kind == word)
}
