//! The thread of the rules: it takes what was seen, has what fires contained and recorded, and hands notifications on.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_events::Recorder;

use crate::Response;
use crate::engine::{Engine, MutesByHand, Now, RuleState};
use crate::firing::{Firing, Key, Phase};
use crate::grouping::{Grouping, Notification};
use crate::notify::{Couriers, Tried, try_all};
use crate::settings::{Mute, MuteTime, Rule, Settings};
use crate::sighting::Sighting;
use crate::stats::Stats;
use crate::watch::{Lookout, MAX_RULES, Plan, Watching};

/// How many summaries may wait for the thread.
const QUEUE: usize = 8_192;
/// How often the thread looks whether something has ended, while something holds.
const TICK: Duration = Duration::from_secs(1);
/// While nothing holds and nothing waits, it is woken by events alone.
const REST: Duration = Duration::from_secs(60 * 60);

/// What comes to the thread.
pub(crate) enum Message {
    /// An event that some rules take.
    Seen { sighting: Arc<Sighting>, takers: u64, plan: Arc<Plan> },
    /// New settings.
    Replace(Arc<Settings>),
    /// What operators have muted by now.
    Mute(Arc<MutesByHand>),
    /// How the rules do.
    Ask(SyncSender<Vec<RuleState>>),
    /// The end, which is to come by then.
    Stop(Instant),
}

impl fmt::Debug for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seen { .. } => "Seen",
            Self::Replace(_) => "Replace",
            Self::Mute(_) => "Mute",
            Self::Ask(_) => "Ask",
            Self::Stop(_) => "Stop",
        })
    }
}

/// The alerts of a gateway. Without a rule there is no thread, and nothing is watched.
pub struct Alerts {
    lookout: Arc<Lookout>,
    recorder: Recorder,
    response: Arc<dyn Response>,
    settings: ArcSwap<Settings>,
    thread: Mutex<Thread>,
    /// What operators have muted.
    by_hand: Mutex<Arc<MutesByHand>>,
}

enum Thread {
    /// Not needed so far.
    Waiting(Receiver<Message>),
    Running(JoinHandle<()>),
    Ended,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Alerts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How alerts do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The rules, in the order of the configuration.
    pub alerts: Vec<AlertState>,
    /// The notifiers, likewise.
    pub notifiers: Vec<NotifierState>,
    /// Events that no rule has seen, because too many waited.
    pub missed: u64,
}

/// How a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertState {
    /// Its name.
    pub name: Arc<str>,
    /// What it demands, in words.
    pub condition: String,
    /// How often it has fired since it is in force.
    pub fired: u64,
    /// The keys that have fired and hold still, or cool down. At most 100.
    pub firing: Vec<String>,
    /// How many keys it keeps apart.
    pub keys: usize,
    /// How many keys were forgotten for others.
    pub evicted: u64,
    /// Events that made a key fire for which there was no room among those that fire.
    pub crowded: u64,
    /// Events with a value of which nobody knows whether it is new, because the key has had too many.
    pub overflowed: u64,
    /// Why nobody is told at this moment.
    pub muted: Option<Arc<str>>,
    /// It still learns what is usual.
    pub learning: bool,
}

/// How a notifier does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierState {
    /// Its name.
    pub name: Arc<str>,
    /// `webhook` and so on.
    pub kind: &'static str,
}

impl Alerts {
    /// Watches what this recorder records.
    ///
    /// # Errors
    /// When the thread cannot be started, or a notifier cannot be set up.
    pub fn start(settings: Settings, recorder: &Recorder, response: Arc<dyn Response>) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let lookout = Arc::new(Lookout {
            looking: AtomicBool::new(false),
            plan: ArcSwap::default(),
            queue,
            stats: Arc::default(),
        });
        recorder.set_watch(Box::new(Watching(Arc::clone(&lookout))));
        let alerts = Self {
            lookout,
            recorder: recorder.clone(),
            response,
            settings: ArcSwap::default(),
            thread: Mutex::new(Thread::Waiting(messages)),
            by_hand: Mutex::default(),
        };
        alerts.replace(settings)?;
        Ok(alerts)
    }

    /// Puts new settings in force. Rules that count as they did go on where they are.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn replace(&self, settings: Settings) -> io::Result<()> {
        let settings = Arc::new(settings);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Thread::Waiting(_) = *thread {
            if settings.rules.is_empty() {
                self.settings.store(settings);
                return Ok(());
            }
            if let Thread::Waiting(messages) = std::mem::replace(&mut *thread, Thread::Ended) {
                let runner = self.runner(messages);
                *thread = Thread::Running(thread::Builder::new().name("alerts".into()).spawn(move || runner.run())?);
            }
        }
        for rule in &settings.rules {
            self.lookout.stats.know(&rule.name);
        }
        self.settings.store(Arc::clone(&settings));
        // First the thread, then the lookout: what is seen in between is counted by the rules that are in both.
        let _ = self.lookout.queue.send(Message::Replace(Arc::clone(&settings)));
        self.lookout.plan.store(Arc::new(Plan { rules: settings.rules.clone() }));
        self.lookout.looking.store(!settings.rules.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    fn runner(&self, messages: Receiver<Message>) -> Runner {
        Runner {
            messages,
            clock: Clock { began: Instant::now() },
            engine: Engine::counting_in(Arc::clone(&self.lookout.stats)),
            grouping: Grouping::default(),
            plan: Arc::default(),
            settings: Arc::default(),
            couriers: Couriers::new(self.recorder.clone(), Arc::clone(&self.response), Arc::clone(&self.lookout.stats)),
            recorder: self.recorder.clone(),
            response: Arc::clone(&self.response),
            stats: Arc::clone(&self.lookout.stats),
        }
    }

    /// What is counted.
    pub fn stats(&self) -> &Stats {
        &self.lookout.stats
    }

    /// How the rules and the notifiers do.
    pub fn overview(&self) -> Overview {
        let settings = self.settings.load();
        let running = matches!(*self.thread.lock().unwrap_or_else(PoisonError::into_inner), Thread::Running(_));
        let states = if running { self.ask() } else { Vec::new() };
        let alert = |state: RuleState| AlertState {
            name: Arc::clone(&state.rule.name),
            condition: state.rule.condition_in_words(),
            fired: state.fired,
            firing: state.firing.iter().map(Key::to_string).collect(),
            keys: state.keys,
            evicted: state.evicted,
            crowded: state.crowded,
            overflowed: state.overflowed,
            muted: state.muted,
            learning: state.learning,
        };
        Overview {
            alerts: states.into_iter().map(alert).collect(),
            notifiers: settings
                .notifiers
                .iter()
                .map(|notifier| NotifierState { name: Arc::clone(&notifier.name), kind: notifier.kind.as_str() })
                .collect(),
            missed: self.lookout.stats.missed(),
        }
    }

    fn ask(&self) -> Vec<RuleState> {
        let (answer, states) = sync_channel(1);
        if self.lookout.queue.send(Message::Ask(answer)).is_err() {
            return Vec::new();
        }
        states.recv_timeout(Duration::from_secs(5)).unwrap_or_default()
    }

    /// Has each notifier of a rule told once, in a message that says it is a test. Nothing is contained or recorded. `None`: there is no
    /// such rule.
    pub fn test(&self, name: &str) -> Option<Vec<Tried>> {
        let settings = self.settings.load_full();
        let rule = settings.rules.iter().find(|rule| *rule.name == *name)?;
        Some(try_all(&settings, &Notification::of_test(rule, &settings)))
    }

    /// Mutes a rule, or all of them, until then: what fires is recorded and nothing else. A mute of the same before it is replaced. `false`: there is
    /// no such rule.
    pub fn mute(&self, name: Option<&str>, until: Timestamp, reason: &str) -> bool {
        let known = match name {
            Some(name) => self.has(name),
            None => !self.settings.load().rules.is_empty(),
        };
        if !known {
            return false;
        }
        let now = Timestamp::now();
        let reason = format!("{reason} (by hand, until {until:.0})");
        let mute = Mute { time: MuteTime::Span(now, until), reason: reason.into() };
        self.change_mutes(|mutes| {
            mutes.retain(|_, mute| mute.holds(now));
            mutes.insert(name.map(Arc::from), mute);
            true
        })
    }

    /// Ends such a mute. `false`: there is none of this rule, or of all of them.
    pub fn unmute(&self, name: Option<&str>) -> bool {
        let now = Timestamp::now();
        self.change_mutes(|mutes| mutes.remove(&name.map(Arc::from)).is_some_and(|mute| mute.holds(now)))
    }

    /// Says whether there was something to change.
    fn change_mutes(&self, change: impl FnOnce(&mut MutesByHand) -> bool) -> bool {
        let mut by_hand = self.by_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(Arc::make_mut(&mut by_hand));
        if changed {
            // While it is held, so that the thread gets the last one last.
            let _ = self.lookout.queue.send(Message::Mute(Arc::clone(&by_hand)));
        }
        changed
    }

    /// Whether there is a rule of this name.
    pub fn has(&self, name: &str) -> bool {
        self.settings.load().rules.iter().any(|rule| *rule.name == *name)
    }

    /// Watches no more, tells at once what waits, each notifier once, and ends, in at most about `timeout`. What could not be told by then is
    /// given up, which is counted and recorded: shut the recorder down afterwards.
    pub fn shutdown(&self, timeout: Duration) {
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + REST);
        self.lookout.looking.store(false, Ordering::Relaxed);
        let thread = std::mem::replace(&mut *self.thread.lock().unwrap_or_else(PoisonError::into_inner), Thread::Ended);
        let Thread::Running(thread) = thread else { return };
        let _ = self.lookout.queue.send(Message::Stop(deadline));
        // It waits for nothing beyond the deadline, so it needs only time to be run.
        let patience = deadline + Duration::from_secs(5);
        while !thread.is_finished() && Instant::now() < patience {
            thread::park_timeout(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            tracing::error!("the thread of the alerts does not end and is left behind");
        } else if thread.join().is_err() {
            tracing::error!("the thread of the alerts panicked");
        }
    }
}

/// The state of the thread.
struct Runner {
    messages: Receiver<Message>,
    clock: Clock,
    engine: Engine,
    grouping: Grouping,
    plan: Arc<Plan>,
    settings: Arc<Settings>,
    couriers: Couriers,
    recorder: Recorder,
    response: Arc<dyn Response>,
    stats: Arc<Stats>,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    began: Instant,
}

impl Clock {
    fn now(self) -> Now {
        let steady_us = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        Now { steady_us, wall: Timestamp::now() }
    }
}

impl Runner {
    fn run(mut self) {
        let mut ticked = Instant::now();
        let deadline = loop {
            let message = self.messages.recv_timeout(self.pause());
            let now = self.clock.now();
            let mut firings = Vec::new();
            match message {
                Ok(Message::Seen { sighting, takers, plan }) => {
                    self.observe(&sighting, takers, &plan, now, &mut firings)
                }
                Ok(Message::Replace(settings)) => self.replace(settings, now),
                Ok(Message::Ask(answer)) => {
                    // Who does not wait any more needs no answer.
                    let _ = answer.try_send(self.engine.states(now.wall));
                }
                Ok(Message::Mute(mutes)) => self.engine.mute_by_hand(&mutes),
                Ok(Message::Stop(deadline)) => break deadline,
                Err(RecvTimeoutError::Disconnected) => break Instant::now(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.engine.tick(now, &mut firings);
            }
            firings.into_iter().for_each(|firing| self.respond(firing, now));
            let due = self.grouping.due(now);
            self.tell(due);
        };
        let rest = self.grouping.rest();
        self.tell(rest);
        self.couriers.end(deadline);
    }

    fn pause(&self) -> Duration {
        let rest = if self.engine.is_firing() { TICK } else { REST };
        let Some(next) = self.grouping.next_us() else { return rest };
        let left = next.saturating_sub(self.clock.now().steady_us);
        rest.min(Duration::from_micros(u64::try_from(left).unwrap_or(0)))
    }

    fn observe(&mut self, sighting: &Arc<Sighting>, takers: u64, plan: &Arc<Plan>, now: Now, fired: &mut Vec<Firing>) {
        let is_taken = |index: &usize| takers & 1 << index != 0;
        let current = Arc::ptr_eq(plan, &self.plan) || plan.rules == self.plan.rules;
        let place = |index: usize| {
            if current {
                return Some(index);
            }
            // It was seen by the rules before a reload, or by those after it: what is in both counts.
            let rule = plan.rules.get(index)?;
            self.plan.rules.iter().position(|other| other.counts_like(rule))
        };
        let places: Vec<usize> = (0..plan.rules.len().min(MAX_RULES)).filter(is_taken).filter_map(place).collect();
        self.engine.observe(sighting, &places, now, fired);
    }

    fn replace(&mut self, settings: Arc<Settings>, now: Now) {
        self.plan = Arc::new(Plan { rules: settings.rules.clone() });
        self.engine.replace(&settings.rules, now);
        for rule in settings.rules.iter().filter(|rule| !rule.contain.is_empty()) {
            for (key, containment) in self.response.contained(&rule.name) {
                self.engine.note_contained(rule, &key, containment, now);
            }
        }
        // What a rule that goes has gathered is for those whom it named.
        let orphaned = self.grouping.without_rule(&settings.rules);
        self.tell(orphaned);
        self.couriers.replace(&settings.notifiers);
        self.settings = settings;
    }

    /// Contains, records, and puts into a notification.
    fn respond(&mut self, mut firing: Firing, now: Now) {
        if firing.phase == Phase::Fired {
            self.stats.count_fired(&firing.rule.name);
        }
        if firing.muted.is_none() {
            if firing.phase == Phase::Fired {
                self.contain(&mut firing, now);
            }
            let names: BTreeMap<&str, ()> = firing.rule.notify.iter().map(|name| (&**name, ())).collect();
            firing.actions.extend(names.keys().map(|name| format!("notify {name}")));
        }
        let mut event = firing.event(&self.settings.help_base);
        self.response.stamp(&mut event);
        match firing.phase {
            Phase::Fired => tracing::warn!(alert = %firing.rule.name, key = %firing.key, "{}", firing.sentence()),
            Phase::Resolved => tracing::info!(alert = %firing.rule.name, key = %firing.key, "{}", firing.sentence()),
        }
        self.recorder.record(event);
        if firing.muted.is_none() && !firing.rule.notify.is_empty() {
            self.grouping.add(firing, &self.settings, now);
        }
    }

    fn contain(&mut self, firing: &mut Firing, now: Now) {
        let rule: Arc<Rule> = Arc::clone(&firing.rule);
        for containment in &rule.contain {
            let word = containment.measure.as_str();
            let done = match &firing.key {
                Key::Cut(_) => Err("its name is too long to be sure of it".to_owned()),
                Key::Others => Err("there are too many of them (max_keys)".to_owned()),
                key if self.engine.may_contain(&rule, key, now) => self.response.contain(firing, *containment),
                Key::All | Key::Address(_) | Key::Text(_) => {
                    Err(format!("the alert has contained {} already (max_contained)", rule.max_contained))
                }
            };
            if done.is_ok() {
                self.engine.note_contained(&rule, &firing.key, *containment, now);
            }
            firing.actions.push(match done {
                Ok(done) => format!("{word}: {done}"),
                Err(why) => {
                    tracing::warn!(alert = %rule.name, key = %firing.key, %why, "not contained");
                    format!("{word}: not done, {why}")
                }
            });
        }
    }

    fn tell(&mut self, notifications: Vec<Notification>) {
        for notification in notifications {
            self.couriers.send(&Arc::new(notification));
        }
    }
}
