//! The thread that keeps the networks with a source current, and what the rest of the process asks of it.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_config::Loaded;
use portcullis_events::EventKind;
use portcullis_feeds::{AcceptError, Finished, Job, Keeper, Lost, Notice, NoticeKind, Now, Outcome, Report};
use portcullis_policy::NetworkContent;
use portcullis_proxy::Shared;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use crate::running::Running;

/// The feeds of a running gateway.
#[derive(Debug)]
pub(crate) struct Feeds {
    /// Held while a list is put in force, so that a reload and an update come one after the other. No request asks for it.
    keeper: Mutex<Keeper>,
    /// What was last told of them.
    reported: ArcSwap<Vec<Report>>,
    started: Instant,
    orders: mpsc::Sender<Order>,
    /// Until the thread takes it.
    ordered: Mutex<Option<mpsc::Receiver<Order>>>,
}

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    /// Fetch a list now, and say what came of it.
    Refresh(Arc<str>, Answer),
    /// Look again: the configuration is another one.
    Look,
}

/// Where what came of it goes.
type Answer = SyncSender<Finished>;

/// How long a refresh is waited for; a fetch takes 50 s at most.
const PATIENCE: Duration = Duration::from_secs(57);
/// Orders that wait; more are refused.
const ORDERS: usize = 16;

impl Feeds {
    /// The feeds of a configuration; the thread is not yet there.
    pub(crate) fn new(loaded: &mut Loaded) -> Self {
        let (settings, restored) = std::mem::take(&mut loaded.feeds);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let started = Instant::now();
        let now = Now { wall: Timestamp::now(), steady: started.elapsed() };
        let keeper = Mutex::new(Keeper::new(&settings, restored, now));
        Self { keeper, reported: ArcSwap::default(), started, orders, ordered: Mutex::new(Some(ordered)) }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: Timestamp::now(), steady: self.started.elapsed() }
    }

    pub(crate) fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of each feed; while a list is being put in force, what was known before.
    pub(crate) fn reports(&self) -> Arc<Vec<Report>> {
        match self.keeper.try_lock() {
            Ok(keeper) => {
                let reports = Arc::new(keeper.reports(self.now()));
                self.reported.store(Arc::clone(&reports));
                reports
            }
            Err(_) => self.reported.load_full(),
        }
    }

    /// Has the thread look at what is due.
    pub(crate) fn look(&self) {
        // A full queue is looked at anyway.
        let _ = self.orders.try_send(Order::Look);
    }

    /// Fetches a list now, and waits for what comes of it. `None`: there is no such feed, or the gateway stops.
    pub(crate) fn refresh(&self, name: &str) -> Option<Finished> {
        let (answer, finished) = sync_channel(1);
        self.orders.try_send(Order::Refresh(name.into(), answer)).ok()?;
        finished.recv_timeout(PATIENCE).ok()
    }
}

/// Puts other content in some networks of the policy in force. Whoever calls it holds the keeper.
pub(crate) fn put_in_force(shared: &Shared, contents: &[NetworkContent]) -> Result<(), String> {
    let snapshot = shared.snapshot().load_full();
    let policy = snapshot.policy.with_networks(contents).map_err(|error| error.to_string())?;
    shared.replace(snapshot.with_policy(Arc::new(policy)));
    Ok(())
}

/// The running thread. Dropping it ends it; a fetch that is under way is let go.
#[derive(Debug)]
pub(crate) struct Feeding {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Feeding {
    /// Starts it.
    ///
    /// # Errors
    /// No thread, or no runtime on it.
    pub(crate) fn start(running: &Arc<Running>) -> std::io::Result<Self> {
        let Some(orders) = running.feeds().ordered.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(std::io::Error::other("it runs already"));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        let (stop, stopped) = oneshot::channel();
        let running = Arc::clone(running);
        let thread = thread::Builder::new().name("feeds".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keep(&running, orders) => {}
                    _ = stopped => {}
                }
            });
            // A look-up of a name may take long; nobody waits for its end.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// What is being fetched, and who waits for it.
#[derive(Default)]
struct UnderWay {
    jobs: JoinSet<Outcome>,
    lost: HashMap<Id, Lost>,
    waiting: Vec<(Arc<str>, Answer)>,
}

impl UnderWay {
    fn begin(&mut self, job: Job) {
        let lost = job.lost();
        let id = self.jobs.spawn(job.run()).id();
        self.lost.insert(id, lost);
    }

    fn outcome(&mut self, ended: Result<(Id, Outcome), JoinError>) -> Option<Outcome> {
        match ended {
            Ok((id, outcome)) => {
                self.lost.remove(&id);
                Some(outcome)
            }
            Err(error) => self.lost.remove(&error.id()).map(Lost::outcome),
        }
    }

    /// Says what came of it to those who asked for it.
    fn answer(&mut self, finished: &Finished) {
        let (asked, others) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(name, _)| *name == finished.feed);
        self.waiting = others;
        let asked: Vec<(Arc<str>, Answer)> = asked;
        for (_, answer) in asked {
            // Who asked may have gone meanwhile.
            let _ = answer.try_send(finished.clone());
        }
    }
}

async fn keep(running: &Running, mut orders: mpsc::Receiver<Order>) {
    let mut under_way = UnderWay::default();
    loop {
        let sleep = running.tend_feeds(|job| under_way.begin(job));
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                // Nothing will come for a feed that is gone: who waits for it is told by the end of the channel.
                Some(Order::Look) => under_way.waiting.retain(|(name, _)| running.feeds().keeper().has(name)),
                Some(Order::Refresh(name, answer)) => {
                    let feeds = running.feeds();
                    // Where there is none of that name, the answer is dropped.
                    if feeds.keeper().ask(&name, feeds.now()) {
                        under_way.waiting.push((name, answer));
                    }
                }
            },
            Some(ended) = under_way.jobs.join_next_with_id() => {
                if let Some(outcome) = under_way.outcome(ended) {
                    let finished = running.finish_feed(outcome);
                    under_way.answer(&finished);
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Running {
    /// Says what became too old, begins what is due, and says when to look again.
    fn tend_feeds(&self, begin: impl FnMut(Job)) -> Duration {
        let feeds = self.feeds();
        let mut keeper = feeds.keeper();
        let now = feeds.now();
        let notices = keeper.tick(now, &mut |contents| put_in_force(self.shared(), contents));
        keeper.due(now).into_iter().for_each(begin);
        let sleep = keeper.sleep(now);
        drop(keeper);
        self.tell(&notices);
        sleep
    }

    fn finish_feed(&self, outcome: Outcome) -> Finished {
        let feeds = self.feeds();
        let mut keeper = feeds.keeper();
        let denied = self.shared().snapshot().load().policy.denied_beside(outcome.feed());
        let finished =
            keeper.finish(outcome, &denied, feeds.now(), &mut |contents| put_in_force(self.shared(), contents));
        drop(keeper);
        self.tell(&finished.notices);
        finished
    }

    /// Puts in force what is held back.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn accept_feed(&self, name: &str, sha256: &str) -> Result<Finished, AcceptError> {
        let feeds = self.feeds();
        let now = feeds.now();
        let accepted = feeds.keeper().accept(name, sha256, now, &mut |contents| put_in_force(self.shared(), contents));
        if let Ok(finished) = &accepted {
            self.tell(&finished.notices);
        }
        accepted
    }

    /// One event for each, and a line in the log.
    fn tell(&self, notices: &[Notice]) {
        for notice in notices {
            let kind = match notice.kind {
                NoticeKind::Updated => {
                    tracing::info!(feed = %notice.feed, "{}", notice.message);
                    EventKind::FeedUpdated
                }
                NoticeKind::Held => {
                    tracing::warn!(feed = %notice.feed, "{}", notice.message);
                    EventKind::FeedHeld
                }
                NoticeKind::Failed => {
                    tracing::warn!(feed = %notice.feed, "{}", notice.message);
                    EventKind::FeedFailed
                }
                NoticeKind::Stale => {
                    tracing::error!(feed = %notice.feed, "{}", notice.message);
                    EventKind::FeedStale
                }
            };
            let mut event = self.event(kind, notice.message.clone());
            event.policy.rule = Some(Arc::clone(&notice.feed));
            self.shared().recorder.record(event);
        }
    }
}
