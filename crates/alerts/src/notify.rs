//! Telling people: each notifier has a bounded queue and a thread, tries again for a while, and says when it gives up.

mod courier;
mod email;
mod exec;
mod payload;
mod webhook;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_events::{Event, EventKind, Recorder};
use uuid::Uuid;

use crate::Response;
use crate::grouping::Notification;
use crate::settings::{NotifierKind, NotifierSettings, Settings};
use crate::stats::{Delivered, Stats};

use courier::{Courier, Refused};

/// How long a notifier that a reload takes away may go on telling what waits for it.
const LEAVE: Duration = Duration::from_secs(60);
/// How long past its deadline a program has to die, before its notification is given up.
const GRACE: Duration = Duration::from_millis(500);
/// How long a test is waited for: less than who asks for it waits.
const TEST: Duration = Duration::from_secs(50);

/// Something that can be told. A call may block, for as long as its settings say.
pub(crate) trait Teller: Send {
    /// Tells it, and says in a few words how that went. It gives up once `is_over`, where it can.
    ///
    /// # Errors
    /// Why it was not taken.
    fn tell(&mut self, notification: &Notification, is_over: &dyn Fn() -> bool) -> Result<String, Failure>;
}

/// Why a notification was not taken.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For the operator; never a secret.
    pub(crate) why: String,
    /// Whether another attempt could go better.
    pub(crate) again: bool,
    /// How long to wait, where the receiver says so.
    pub(crate) after: Option<Duration>,
}

impl Failure {
    /// It could go better another time.
    pub(crate) fn passing(why: impl ToString) -> Self {
        Self { why: why.to_string(), again: true, after: None }
    }

    /// It will never go better.
    pub(crate) fn lasting(why: impl ToString) -> Self {
        Self { why: why.to_string(), again: false, after: None }
    }
}

/// What came of a test of a notifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its name.
    pub notifier: Arc<str>,
    /// What kind it is.
    pub kind: &'static str,
    /// It took the test.
    pub delivered: bool,
    /// What happened, in one sentence.
    pub message: String,
}

/// Opens a notifier. It connects when there is something to tell.
fn open(kind: &NotifierKind) -> io::Result<Box<dyn Teller>> {
    match kind {
        NotifierKind::Webhook(settings) => Ok(Box::new(webhook::Webhook::new(settings)?)),
        NotifierKind::Email(settings) => Ok(Box::new(email::Email::new(settings)?)),
        NotifierKind::Exec(settings) => Ok(Box::new(exec::Exec::new(settings))),
    }
}

/// Tells the notifiers of a rule once, side by side, for at most a minute.
pub(crate) fn try_all(settings: &Settings, notification: &Notification) -> Vec<Tried> {
    try_within(settings, notification, TEST)
}

fn try_within(settings: &Settings, notification: &Notification, patience: Duration) -> Vec<Tried> {
    let deadline = Instant::now() + patience;
    let wanted = |notifier: &&Arc<NotifierSettings>| notification.rule.notify.contains(&notifier.name);
    let tries: Vec<_> = settings
        .notifiers
        .iter()
        .filter(wanted)
        .map(|notifier| {
            let (answer, said) = channel();
            let (settings, notification) = (Arc::clone(notifier), notification.clone());
            // Nobody may wait for what it says any more.
            let run = move || drop(answer.send(try_one(&settings, &notification, deadline)));
            let thread = thread::Builder::new().name(format!("test-{}", notifier.name)).spawn(run);
            (notifier, thread.map(|_| said))
        })
        .collect();
    let outcome = |(notifier, said): (&Arc<NotifierSettings>, io::Result<std::sync::mpsc::Receiver<_>>)| {
        let left = deadline.saturating_duration_since(Instant::now());
        let result = match said.map(|said| said.recv_timeout(left)) {
            Ok(Ok(result)) => result,
            Ok(Err(RecvTimeoutError::Timeout)) => {
                Err(format!("it has not answered within {} s and is not waited for", patience.as_secs()))
            }
            Ok(Err(RecvTimeoutError::Disconnected)) => Err("it failed: see the log".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Tried {
            notifier: Arc::clone(&notifier.name),
            kind: notifier.kind.as_str(),
            delivered: result.is_ok(),
            message: result.unwrap_or_else(|why| why),
        }
    };
    tries.into_iter().map(outcome).collect()
}

fn try_one(notifier: &NotifierSettings, notification: &Notification, deadline: Instant) -> Result<String, String> {
    let mut teller = open(&notifier.kind).map_err(|error| error.to_string())?;
    teller.tell(notification, &|| Instant::now() >= deadline).map_err(|failure| failure.why)
}

/// The notifiers in force, each with its thread.
pub(crate) struct Couriers {
    telling: Telling,
    couriers: HashMap<Arc<str>, Courier>,
    /// Those of earlier settings that still have something to tell.
    leaving: Vec<Courier>,
}

/// What all of them need.
#[derive(Clone)]
struct Telling {
    recorder: Recorder,
    response: Arc<dyn Response>,
    stats: Arc<Stats>,
}

impl Couriers {
    pub(crate) fn new(recorder: Recorder, response: Arc<dyn Response>, stats: Arc<Stats>) -> Self {
        Self { telling: Telling { recorder, response, stats }, couriers: HashMap::new(), leaving: Vec::new() }
    }

    /// Puts notifiers in force. Those that are as they were keep what waits for them; one that is another now tells it by its new settings;
    /// and one that is gone tries each once more, within a minute.
    pub(crate) fn replace(&mut self, notifiers: &[Arc<NotifierSettings>]) {
        let mut before = std::mem::take(&mut self.couriers);
        for notifier in notifiers {
            let old = before.remove(&notifier.name);
            let (kept, old) = match old {
                Some(old) if old.settings == *notifier && !old.has_ended() => (Some(old), None),
                old => (None, old),
            };
            let courier = kept.map_or_else(|| self.telling.start(notifier, old.as_ref()), Ok);
            match courier {
                Ok(courier) => {
                    self.couriers.insert(Arc::clone(&notifier.name), courier);
                }
                Err(error) => {
                    tracing::error!(notifier = %notifier.name, %error, "it cannot be started");
                    old.iter().for_each(|old| old.leave(Instant::now() + LEAVE));
                }
            }
            self.leaving.extend(old);
        }
        before.values().for_each(|courier| courier.leave(Instant::now() + LEAVE));
        self.leaving.extend(before.into_values());
        self.sweep();
    }

    /// Lets those go that have ended.
    fn sweep(&mut self) {
        let (ended, leaving) = std::mem::take(&mut self.leaving).into_iter().partition(Courier::has_ended);
        self.leaving = leaving;
        ended.into_iter().for_each(|courier: Courier| self.telling.end(courier));
    }

    /// Hands a notification to each notifier of its rule.
    pub(crate) fn send(&self, notification: &Arc<Notification>) {
        for name in &notification.rule.notify {
            // The configuration says that there is one; it is missing where it could not be started, which was said.
            let sent = self.couriers.get(name).map_or(Err(Refused::NotRunning), |courier| courier.send(notification));
            let why = match sent {
                Ok(()) => continue,
                Err(Refused::Full) => "too many wait for it already",
                Err(Refused::NotRunning) => "it is not running",
            };
            self.telling.give_up(name, notification, Delivered::Dropped, why);
        }
    }

    /// Has each that waits tried once more until then, and gives up what is left: nothing is lost without a word.
    pub(crate) fn end(self, deadline: Instant) {
        let couriers: Vec<Courier> = self.couriers.into_values().chain(self.leaving).collect();
        couriers.iter().for_each(|courier| courier.leave(deadline));
        while !couriers.iter().all(Courier::has_ended) && Instant::now() < deadline + GRACE {
            thread::park_timeout(Duration::from_millis(5));
        }
        couriers.into_iter().for_each(|courier| self.telling.end(courier));
    }
}

impl Telling {
    fn start(&self, notifier: &Arc<NotifierSettings>, before: Option<&Courier>) -> io::Result<Courier> {
        Courier::start(self, notifier, open(&notifier.kind)?, before)
    }

    /// Gives up what a notifier has not told.
    fn end(&self, courier: Courier) {
        let settings = Arc::clone(&courier.settings);
        for notification in courier.end() {
            self.give_up(&settings.name, &notification, Delivered::Failed, "there was no time left to tell it");
        }
    }

    /// Counts and records that nobody was told.
    fn give_up(&self, notifier: &Arc<str>, notification: &Notification, result: Delivered, why: &str) {
        self.stats.count_notification(notifier, result);
        let alert = &notification.rule.name;
        tracing::error!(%notifier, %alert, why, "not notified");
        let mut event = Event::new(EventKind::AlertUndelivered, Uuid::now_v7(), Timestamp::now());
        event.message = Some(format!("nobody was told of alert {alert} through {notifier}: {why}"));
        self.response.stamp(&mut event);
        self.recorder.record(event);
    }
}

#[cfg(test)]
mod tests;
