//! The thread that keeps the networks with a source current, and what the rest of the process asks of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_config::Loaded;
use portcullis_events::EventKind;
use portcullis_feeds::{AcceptError, Finished, Job, Keeper, Notice, NoticeKind, Now, Outcome, Report, RollbackError};
use portcullis_policy::NetworkContent;
use portcullis_proxy::Shared;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::beside::{Beside, UnderWay};
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
type Answer = oneshot::Sender<Finished>;

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
    pub(crate) async fn refresh(&self, name: &str) -> Option<Finished> {
        let (answer, finished) = oneshot::channel();
        self.orders.try_send(Order::Refresh(name.into(), answer)).ok()?;
        timeout(PATIENCE, finished).await.ok()?.ok()
    }
}

/// Puts other content in some networks of the policy in force. Whoever calls it holds the keeper.
pub(crate) fn put_in_force(shared: &Shared, contents: &[NetworkContent]) -> Result<(), String> {
    let snapshot = shared.snapshot().load_full();
    let renewed = snapshot.with_policies(|policy| policy.with_networks(contents));
    shared.replace(renewed.map_err(|error| error.to_string())?);
    Ok(())
}

/// Starts the thread.
///
/// # Errors
/// No thread, or no runtime on it.
pub(crate) fn start(running: &Arc<Running>) -> std::io::Result<Beside> {
    let Some(orders) = running.feeds().ordered.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return Err(std::io::Error::other("it runs already"));
    };
    let running = Arc::clone(running);
    Beside::start("feeds", 4, move || async move { keep(&running, orders).await })
}

/// Who waits for a list.
#[derive(Default)]
struct Waiting(Vec<(Arc<str>, Answer)>);

impl Waiting {
    /// Says what came of it to those who asked for it.
    fn answer(&mut self, finished: &Finished) {
        for (_, answer) in self.0.extract_if(.., |(name, _)| *name == finished.feed) {
            // Who asked may have gone meanwhile.
            let _ = answer.send(finished.clone());
        }
    }
}

async fn keep(running: &Running, mut orders: mpsc::Receiver<Order>) {
    let (mut under_way, mut waiting) = (UnderWay::default(), Waiting::default());
    loop {
        let sleep = running.tend_feeds(|job| {
            let lost = job.lost().outcome();
            under_way.begin(job.run(), lost);
        });
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                // Nothing will come for a feed that is gone: who waits for it is told by the end of the channel.
                Some(Order::Look) => waiting.0.retain(|(name, _)| running.feeds().keeper().has(name)),
                Some(Order::Refresh(name, answer)) => {
                    let feeds = running.feeds();
                    // Where there is none of that name, the answer is dropped.
                    if feeds.keeper().ask(&name, feeds.now()) {
                        waiting.0.push((name, answer));
                    }
                }
            },
            outcome = under_way.next() => waiting.answer(&running.finish_feed(outcome)),
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

    /// Puts the list before the one in force back, and holds that one back.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn roll_feed_back(&self, name: &str) -> Result<Finished, RollbackError> {
        let feeds = self.feeds();
        let now = feeds.now();
        let finished = feeds.keeper().rollback(name, now, &mut |contents| put_in_force(self.shared(), contents));
        if let Ok(finished) = &finished {
            self.tell(&finished.notices);
        }
        finished
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
            self.record_notice(kind, &notice.feed, &notice.message);
        }
    }
}
