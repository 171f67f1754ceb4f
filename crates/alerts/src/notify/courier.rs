//! One notifier at work: a thread that tells what waits for it, again after a pause where it was not taken, and says what it gives up.
//!
//! What waits stands in a mailbox of its own, so that it outlives the thread: where a reload changes a notifier, the next thread goes on with
//! it by the new settings; and what a thread that hangs has not told is not lost from sight.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Failure, Teller, Telling};
use crate::grouping::Notification;
use crate::settings::NotifierSettings;
use crate::stats::Delivered;

/// How many notifications may wait for a notifier.
const QUEUE: usize = 256;
/// The first pause between two attempts; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, also where a receiver asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A notifier, and the thread that tells through it.
pub(super) struct Courier {
    pub(super) settings: Arc<NotifierSettings>,
    mailbox: Arc<Mailbox>,
    /// What the thread tells at this moment. Who takes it out says what became of it.
    telling: Arc<Mutex<Option<Arc<Notification>>>>,
    turn: u64,
    thread: JoinHandle<()>,
}

/// Why a notification cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    NotRunning,
}

/// What waits for a notifier.
#[derive(Debug, Default)]
struct Mailbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    notifications: VecDeque<Arc<Notification>>,
    /// The number of the thread whose turn it is.
    turn: u64,
    /// From when on nothing is tried any more; until then each that waits is tried once. `None`: it goes on.
    ends: Option<Instant>,
}

/// What the thread has.
struct Round {
    telling: Telling,
    settings: Arc<NotifierSettings>,
    mailbox: Arc<Mailbox>,
    now: Arc<Mutex<Option<Arc<Notification>>>>,
    turn: u64,
}

impl Courier {
    /// Starts the thread. It goes on with what waits for the one before it, which ends after its attempt.
    pub(super) fn start(
        telling: &Telling,
        settings: &Arc<NotifierSettings>,
        mut teller: Box<dyn Teller>,
        before: Option<&Self>,
    ) -> std::io::Result<Self> {
        let mailbox = before.map(|before| Arc::clone(&before.mailbox)).unwrap_or_default();
        let now = Arc::<Mutex<Option<Arc<Notification>>>>::default();
        let turn = mailbox.lock().turn + 1;
        let round = Round {
            telling: telling.clone(),
            settings: Arc::clone(settings),
            mailbox: Arc::clone(&mailbox),
            now: Arc::clone(&now),
            turn,
        };
        let name = format!("notifier-{}", settings.name);
        let thread = thread::Builder::new().name(name).spawn(move || round.run(teller.as_mut()))?;
        mailbox.lock().turn = turn;
        mailbox.changed.notify_all();
        Ok(Self { settings: Arc::clone(settings), mailbox, telling: now, turn, thread })
    }

    /// Has a notification wait.
    pub(super) fn send(&self, notification: &Arc<Notification>) -> Result<(), Refused> {
        let mut waiting = self.mailbox.lock();
        if waiting.ends.is_some() || self.thread.is_finished() {
            return Err(Refused::NotRunning);
        }
        if waiting.notifications.len() >= QUEUE {
            return Err(Refused::Full);
        }
        waiting.notifications.push_back(Arc::clone(notification));
        self.mailbox.changed.notify_all();
        Ok(())
    }

    /// Lets it try each that waits once more, until then, and end.
    pub(super) fn leave(&self, until: Instant) {
        let mut waiting = self.mailbox.lock();
        waiting.ends = Some(waiting.ends.map_or(until, |ends| ends.min(until)));
        self.mailbox.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends with it: where its thread hangs, that is left behind. What was not told is returned.
    pub(super) fn end(self) -> Vec<Arc<Notification>> {
        let mine = self.telling.lock().unwrap_or_else(PoisonError::into_inner).take();
        let waiting = {
            let mut waiting = self.mailbox.lock();
            // Where there is a next one, it is for that to tell what waits.
            if waiting.turn == self.turn { std::mem::take(&mut waiting.notifications) } else { VecDeque::new() }
        };
        if self.thread.is_finished() && self.thread.join().is_err() {
            tracing::error!(notifier = %self.settings.name, "the thread of a notifier panicked");
        }
        mine.into_iter().chain(waiting).collect()
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Round {
    fn run(self, teller: &mut dyn Teller) {
        while let Some(notification) = self.next() {
            self.deliver(teller, &notification);
        }
    }

    /// What waits for longest; `None`: it is another's turn, or the end.
    fn next(&self) -> Option<Arc<Notification>> {
        let mut waiting = self.mailbox.lock();
        loop {
            if waiting.turn > self.turn {
                return None;
            }
            if let Some(next) = waiting.notifications.pop_front() {
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&next));
                return Some(next);
            }
            if waiting.ends.is_some() {
                return None;
            }
            waiting = self.mailbox.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn deliver(&self, teller: &mut dyn Teller, notification: &Arc<Notification>) {
        let (name, alert) = (&self.settings.name, &notification.rule.name);
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            if self.is_over() {
                self.give_up(notification, "there was no time left to tell it");
                return;
            }
            let failure = match teller.tell(notification, &|| self.is_over()) {
                Ok(said) => {
                    if self.settle() {
                        self.telling.stats.count_notification(name, Delivered::Sent);
                        tracing::debug!(notifier = %name, %alert, said, "notified");
                    }
                    return;
                }
                Err(failure) => failure,
            };
            if failure.again && self.hand_back(notification) {
                return;
            }
            if !failure.again || attempt >= self.settings.attempts || self.ends() {
                let times = if attempt == 1 { "once".to_owned() } else { format!("{attempt} times") };
                self.give_up(notification, &format!("{} (tried {times})", failure.why));
                return;
            }
            self.telling.stats.count_notification(name, Delivered::Retried);
            tracing::warn!(notifier = %name, %alert, why = failure.why, "not notified; it is tried again");
            self.pause(&failure, pause);
            if self.hand_back(notification) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A receiver that asks for less than the pause gets the pause: else all attempts are over in a moment.
    fn pause(&self, failure: &Failure, pause: Duration) {
        let until = Instant::now() + failure.after.map_or(pause, |after| after.max(pause)).min(LONGEST_PAUSE);
        let mut waiting = self.mailbox.lock();
        while waiting.ends.is_none() && waiting.turn <= self.turn {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.mailbox.changed.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn ends(&self) -> bool {
        self.mailbox.lock().ends.is_some()
    }

    fn is_over(&self) -> bool {
        self.mailbox.lock().ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Whether it is for this thread to say what became of it: else somebody has, who did not wait for it.
    fn settle(&self) -> bool {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Where it is another thread's turn, has that tell it before what waits.
    fn hand_back(&self, notification: &Arc<Notification>) -> bool {
        let mut waiting = self.mailbox.lock();
        let anothers = waiting.turn > self.turn && waiting.ends.is_none();
        if anothers && self.settle() {
            waiting.notifications.push_front(Arc::clone(notification));
            self.mailbox.changed.notify_all();
        }
        anothers
    }

    fn give_up(&self, notification: &Notification, why: &str) {
        if self.settle() {
            self.telling.give_up(&self.settings.name, notification, Delivered::Failed, why);
        }
    }
}
