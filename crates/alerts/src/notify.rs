//! Telling people: each notifier has a bounded queue and a thread, tries again for a while, and says when it gives up.

mod email;
mod exec;
mod payload;
mod webhook;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_events::{Event, EventKind, Recorder};
use uuid::Uuid;

use crate::Response;
use crate::grouping::Notification;
use crate::settings::{NotifierKind, NotifierSettings, Settings};
use crate::stats::{Delivered, Stats};

/// How many notifications may wait for a notifier.
const QUEUE: usize = 256;
/// The first pause between two attempts; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, also where a receiver asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Something that can be told. A call may block, for as long as its settings say.
pub(crate) trait Teller: Send {
    /// Tells it, and says in a few words how that went.
    ///
    /// # Errors
    /// Why it was not taken.
    fn tell(&mut self, notification: &Notification) -> Result<String, Failure>;
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

/// Tells the notifiers of a rule once, side by side.
pub(crate) fn try_all(settings: &Settings, notification: &Notification) -> Vec<Tried> {
    let wanted = |notifier: &&Arc<NotifierSettings>| notification.rule.notify.contains(&notifier.name);
    thread::scope(|scope| {
        let tries: Vec<_> = settings
            .notifiers
            .iter()
            .filter(wanted)
            .map(|notifier| (notifier, scope.spawn(|| try_one(notifier, notification))))
            .collect();
        let outcome = |(notifier, thread): (&Arc<NotifierSettings>, thread::ScopedJoinHandle<'_, _>)| {
            let result: Result<String, String> = thread.join().unwrap_or_else(|_| Err("it failed: see the log".into()));
            Tried {
                notifier: Arc::clone(&notifier.name),
                kind: notifier.kind.as_str(),
                delivered: result.is_ok(),
                message: result.unwrap_or_else(|why| why),
            }
        };
        tries.into_iter().map(outcome).collect()
    })
}

fn try_one(notifier: &NotifierSettings, notification: &Notification) -> Result<String, String> {
    let mut teller = open(&notifier.kind).map_err(|error| error.to_string())?;
    teller.tell(notification).map_err(|failure| failure.why)
}

/// The notifiers in force, each with its thread.
pub(crate) struct Couriers {
    shared: Shared,
    couriers: HashMap<Arc<str>, Courier>,
    /// Those of earlier settings that still have something to tell.
    leaving: Vec<JoinHandle<()>>,
}

/// What all of them need.
#[derive(Clone)]
struct Shared {
    recorder: Recorder,
    response: Arc<dyn Response>,
    stats: Arc<Stats>,
    stopping: Arc<AtomicBool>,
}

struct Courier {
    settings: Arc<NotifierSettings>,
    queue: SyncSender<Arc<Notification>>,
    thread: JoinHandle<()>,
}

impl Couriers {
    pub(crate) fn new(
        recorder: Recorder,
        response: Arc<dyn Response>,
        stats: Arc<Stats>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let shared = Shared { recorder, response, stats, stopping };
        Self { shared, couriers: HashMap::new(), leaving: Vec::new() }
    }

    /// Puts notifiers in force. Those that are as they were keep what waits for them; others finish it.
    pub(crate) fn replace(&mut self, notifiers: &[Arc<NotifierSettings>]) {
        let mut before = std::mem::take(&mut self.couriers);
        for notifier in notifiers {
            let kept = before.remove(&notifier.name).and_then(|courier| match courier.settings == *notifier {
                true => Some(courier),
                false => {
                    self.leaving.push(courier.leave());
                    None
                }
            });
            match kept.map_or_else(|| self.shared.start(notifier), Ok) {
                Ok(courier) => {
                    self.couriers.insert(Arc::clone(&notifier.name), courier);
                }
                Err(error) => tracing::error!(notifier = %notifier.name, %error, "it cannot be started"),
            }
        }
        self.leaving.extend(before.into_values().map(Courier::leave));
        self.leaving.retain(|thread| !thread.is_finished());
    }

    /// Hands a notification to each notifier of its rule.
    pub(crate) fn send(&self, notification: &Arc<Notification>) {
        for name in &notification.rule.notify {
            // The configuration says that there is one; it is missing where it could not be started, which was said.
            let sent = self.couriers.get(name).map(|courier| courier.queue.try_send(Arc::clone(notification)));
            match sent {
                Some(Ok(())) => {}
                Some(Err(TrySendError::Full(_))) => {
                    self.shared.give_up(name, notification, Delivered::Dropped, "too many wait for it already");
                }
                Some(Err(TrySendError::Disconnected(_))) | None => {
                    self.shared.give_up(name, notification, Delivered::Dropped, "it is not running");
                }
            }
        }
    }

    /// Waits for those who still tell something.
    pub(crate) fn end(self) {
        let threads: Vec<_> = self.couriers.into_values().map(Courier::leave).chain(self.leaving).collect();
        for thread in threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread of a notifier panicked");
            }
        }
    }
}

impl Courier {
    /// It ends after what waits for it.
    fn leave(self) -> JoinHandle<()> {
        self.thread
    }
}

impl Shared {
    fn start(&self, notifier: &Arc<NotifierSettings>) -> io::Result<Courier> {
        let (queue, waiting) = sync_channel::<Arc<Notification>>(QUEUE);
        let mut teller = open(&notifier.kind)?;
        let (shared, settings) = (self.clone(), Arc::clone(notifier));
        let run = move || {
            while let Ok(notification) = waiting.recv() {
                shared.deliver(&settings, teller.as_mut(), &notification);
            }
        };
        let thread = thread::Builder::new().name(format!("notifier-{}", notifier.name)).spawn(run)?;
        Ok(Courier { settings: Arc::clone(notifier), queue, thread })
    }

    fn deliver(&self, notifier: &NotifierSettings, teller: &mut dyn Teller, notification: &Notification) {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let failure = match teller.tell(notification) {
                Ok(said) => {
                    self.stats.count_notification(&notifier.name, Delivered::Sent);
                    tracing::debug!(notifier = %notifier.name, alert = %notification.rule.name, said, "notified");
                    return;
                }
                Err(failure) => failure,
            };
            let ends = self.stopping.load(Ordering::Relaxed);
            if !failure.again || attempt >= notifier.attempts || ends {
                let times = if attempt == 1 { "once".to_owned() } else { format!("{attempt} times") };
                let why = format!("{} (tried {times})", failure.why);
                self.give_up(&notifier.name, notification, Delivered::Failed, &why);
                return;
            }
            self.stats.count_notification(&notifier.name, Delivered::Retried);
            tracing::warn!(notifier = %notifier.name, alert = %notification.rule.name, why = failure.why, "not notified; it is tried again");
            // A receiver that asks for less than the pause gets the pause: else all attempts are over in a moment.
            self.wait(failure.after.map_or(pause, |after| after.max(pause)).min(LONGEST_PAUSE));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits, unless the process ends.
    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stopping.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left.min(Duration::from_millis(250)));
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
