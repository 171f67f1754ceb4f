//! A thread beside those of the requests, with a runtime of its own, and what is under way on it.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};

/// The running thread. Dropping it ends it; what is under way on it is let go.
#[derive(Debug)]
pub(crate) struct Beside {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Starts it. `blocking`: how many look-ups of names, or files, may be waited for at once.
    ///
    /// # Errors
    /// No thread, or no runtime on it.
    pub(crate) fn start<F>(name: &str, blocking: usize, work: impl FnOnce() -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(blocking).build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work() => {}
                    _ = stopped => {}
                }
            });
            // A look-up of a name may take long; nobody waits for its end.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Tasks that are under way, and what each comes to if it ends without an outcome.
#[derive(Debug)]
pub(crate) struct UnderWay<O> {
    tasks: JoinSet<O>,
    lost: HashMap<Id, O>,
}

impl<O> Default for UnderWay<O> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), lost: HashMap::new() }
    }
}

impl<O: Send + 'static> UnderWay<O> {
    /// Begins one.
    pub(crate) fn begin(&mut self, task: impl Future<Output = O> + Send + 'static, lost: O) {
        let id = self.tasks.spawn(task).id();
        self.lost.insert(id, lost);
    }

    /// The next outcome. Never while nothing is under way.
    pub(crate) async fn next(&mut self) -> O {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(Ok((id, outcome))) => {
                    self.lost.remove(&id);
                    return outcome;
                }
                Some(Err(error)) => {
                    if let Some(lost) = self.lost.remove(&error.id()) {
                        return lost;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_has_an_outcome_also_where_it_ends_without_one() {
        let mut under_way = UnderWay::default();
        under_way.begin(async { 1 }, -1);
        under_way.begin(async { panic!("it happens") }, -2);
        let mut outcomes = [under_way.next().await, under_way.next().await];
        outcomes.sort_unstable();
        assert_eq!(outcomes, [-2, 1]);
        assert!(under_way.lost.is_empty());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), under_way.next()).await.is_err());
    }

    #[test]
    fn dropping_it_ends_what_it_does() {
        let (began, begins) = std::sync::mpsc::sync_channel(1);
        let (held, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let beside = Beside::start("test", 1, move || async move {
            began.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(held);
        });
        begins.recv().unwrap();
        drop(beside.unwrap());
        assert!(ended.recv().is_err(), "what it held is gone");
    }
}
