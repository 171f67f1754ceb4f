//! A recorder, rules over what it records, and one notifier.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_alerts::settings::*;
use portcullis_alerts::{Alerts, Delivered, Firing, Key, Response};
use portcullis_events::{Capture, Event, ReasonCode, Recorder, Severity};
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;
use uuid::Uuid;

/// What was contained, in words.
#[derive(Default)]
pub(crate) struct World(pub(crate) Mutex<Vec<String>>);

impl Response for World {
    fn contained(&self, _: &str) -> Vec<(Key, Containment)> {
        Vec::new()
    }

    fn contain(&self, firing: &Firing, containment: Containment) -> Result<String, String> {
        let what = format!("{} {}", containment.measure.as_str(), firing.key);
        self.0.lock().unwrap().push(what.clone());
        if firing.key.to_string().ends_with(".9") { Err("it is spared".to_owned()) } else { Ok(what) }
    }

    fn stamp(&self, event: &mut Event) {
        event.policy.version = Some(7);
    }
}

pub(crate) fn rule(notify: &str) -> Rule {
    Rule {
        name: "failing".into(),
        when: When::default(),
        condition: Condition::Count { count: 2, window: Duration::from_secs(60) },
        per: Per::Each(Facet::Address),
        cool_down: Duration::from_secs(60),
        batch: Duration::ZERO,
        resolve: false,
        severity: Severity::High,
        mutes: Vec::new(),
        runbook: None,
        notify: vec![notify.into()],
        contain: Vec::new(),
        max_contained: 100,
        max_keys: 100,
    }
}

pub(crate) struct Running {
    pub(crate) recorder: Recorder,
    pub(crate) capture: Capture,
    pub(crate) alerts: Alerts,
    pub(crate) world: Arc<World>,
}

pub(crate) fn start(rules: Vec<Rule>, kind: NotifierKind, attempts: u32) -> Running {
    let (recorder, capture) = Recorder::in_memory(1_000).unwrap();
    let world = Arc::<World>::default();
    let alerts = Alerts::start(settings(rules, kind, attempts), &recorder, world.clone()).unwrap();
    Running { recorder, capture, alerts, world }
}

pub(crate) fn settings(rules: Vec<Rule>, kind: NotifierKind, attempts: u32) -> Settings {
    Settings {
        rules: rules.into_iter().map(Arc::new).collect(),
        notifiers: vec![Arc::new(NotifierSettings { name: "hook".into(), kind, attempts })],
        help_base: "https://help.example/".into(),
        node: "gw-1".into(),
    }
}

impl Running {
    pub(crate) fn refuse(&self, address: &str, principal: Option<&str>) -> Uuid {
        let mut event = Event::denied(Uuid::now_v7(), Timestamp::now(), ReasonCode::AuthnInvalid);
        event.client.ip = Some(address.parse().unwrap());
        event.policy.route = Some("billing".into());
        if let Some(principal) = principal {
            event.identity.kind = Some("user");
            event.identity.id = Some(principal.to_owned());
        }
        let id = event.id;
        self.recorder.record(event);
        id
    }

    pub(crate) fn of_kind(&self, kind: &str, count: usize) -> Vec<Value> {
        let found = || {
            let events: Vec<Value> = self.capture.events().into_iter().filter(|event| event["kind"] == kind).collect();
            (events.len() >= count).then_some(events)
        };
        wait::until(PATIENCE, found).unwrap_or_else(|| panic!("no {kind}: {:?}", self.capture.lines()))
    }

    pub(crate) fn told(&self, result: Delivered) -> u64 {
        self.alerts.stats().notifications().iter().filter(|(_, each, _)| *each == result).map(|(.., count)| count).sum()
    }
}
