//! What is asked of providers for whoever waits, on the thread of logins: with a bound for each network, and one for all.
//!
//! Its place in the crowd, and what is held for it, belong to the errand and not to the request: HTTP/2 lets go of a request with four bytes (RFC 9113 section 6.4), and who begins
//! a thousand and lets go of them has begun a thousand all the same. An errand that nobody waits for any more ends; what it held is free a moment later, so that letting go is no
//! faster than being answered.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::crowd::Crowd;

/// What is to be done beside the requests.
pub(super) type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Errands that wait; whoever comes then is told to try again.
const WAITING: usize = 256;
/// How long what nobody waits for any more keeps its place, where a provider was asked about it already.
const LET_GO: Duration = Duration::from_secs(1);

/// Where they are left.
#[derive(Debug)]
pub(super) struct Errands {
    errands: mpsc::Sender<Errand>,
    /// Who has how many.
    crowd: Arc<Crowd>,
}

impl Errands {
    /// The place where they are left, and where they are fetched.
    pub(super) fn new() -> (Self, mpsc::Receiver<Errand>) {
        let (errands, waiting) = mpsc::channel(WAITING);
        (Self { errands, crowd: Arc::default() }, waiting)
    }

    /// Leaves one, and waits for what comes of it and gets back what was held for it. `None`: there are too many, from there or at all.
    pub(super) async fn run<T: Send + 'static, H: Send + 'static>(
        &self,
        from: Option<IpAddr>,
        held: H,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<(T, H)> {
        let place = self.crowd.enter(from)?;
        let (mut answer, answered) = oneshot::channel();
        let errand = async move {
            // It may have waited longer than whoever left it.
            if answer.is_closed() {
                return;
            }
            let done = tokio::select! {
                biased;
                () = answer.closed() => None,
                done = work => Some(done),
            };
            match done {
                // Before the answer: who has it may come again.
                Some(done) => {
                    drop(place);
                    let _ = answer.send((done, held));
                }
                None => {
                    tokio::time::sleep(LET_GO).await;
                    drop((place, held));
                }
            }
        };
        self.errands.try_send(Box::pin(errand)).ok()?;
        answered.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::{Context, Poll, Waker};

    use super::super::crowd::MOST_OF_ONE;
    use super::*;

    /// How many are under way, and how many were begun.
    #[derive(Debug, Default)]
    struct Asked {
        begun: AtomicUsize,
        under_way: AtomicUsize,
    }

    /// A provider that does not answer.
    fn hanging(asked: &Arc<Asked>) -> impl Future<Output = ()> + Send + use<> {
        struct One(Arc<Asked>);
        impl Drop for One {
            fn drop(&mut self) {
                self.0.under_way.fetch_sub(1, SeqCst);
            }
        }
        let asked = Arc::clone(asked);
        async move {
            asked.begun.fetch_add(1, SeqCst);
            asked.under_way.fetch_add(1, SeqCst);
            let _one = One(asked);
            std::future::pending().await
        }
    }

    /// As the thread of logins does it: somebody who takes all that comes.
    fn tend(mut waiting: mpsc::Receiver<Errand>) {
        tokio::spawn(async move {
            while let Some(errand) = waiting.recv().await {
                tokio::spawn(errand);
            }
        });
    }

    type Run<'r> = Pin<Box<dyn Future<Output = Option<((), Arc<()>)>> + 'r>>;

    /// One that is under way; `None`: there was no place.
    fn begin<'e>(errands: &'e Errands, from: &str, held: &Arc<()>, asked: &Arc<Asked>) -> Option<Run<'e>> {
        let mut run: Run<'e> = Box::pin(errands.run(Some(from.parse().unwrap()), Arc::clone(held), hanging(asked)));
        match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => None,
            Poll::Ready(Some(_)) => panic!("nobody answers"),
            Poll::Pending => Some(run),
        }
    }

    /// Lets everything that can go on do so. The time stands.
    async fn settle() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn who_hangs_up_keeps_the_places_that_were_taken_until_what_was_begun_has_ended() {
        in_standing_time(async {
            let (errands, waiting) = Errands::new();
            tend(waiting);
            let (held, asked) = (Arc::new(()), Arc::<Asked>::default());
            let one = |from: &str| begin(&errands, from, &held, &asked);
            let all: Vec<_> = (0..MOST_OF_ONE).map(|_| one("192.0.2.1").unwrap()).collect();
            settle().await;
            assert!(one("192.0.2.1").is_none());
            drop(all);
            // Before anybody has seen it, and after.
            assert!(one("192.0.2.1").is_none());
            settle().await;
            assert_eq!((asked.begun.load(SeqCst), asked.under_way.load(SeqCst)), (MOST_OF_ONE, 0), "none is asked on");
            assert!(one("192.0.2.1").is_none(), "the places are taken");
            assert_eq!(Arc::strong_count(&held), 1 + MOST_OF_ONE, "what is held for them is not free");
            let other = one("192.0.2.2");
            assert!(other.is_some());
            tokio::time::advance(2 * LET_GO).await;
            settle().await;
            assert_eq!(Arc::strong_count(&held), 2);
            assert!(one("192.0.2.1").is_some());
        });
    }

    #[test]
    fn what_nobody_waits_for_is_not_begun() {
        in_standing_time(async {
            let (errands, waiting) = Errands::new();
            let (held, asked) = (Arc::new(()), Arc::<Asked>::default());
            let all: Vec<_> = (0..MOST_OF_ONE).map(|_| begin(&errands, "192.0.2.1", &held, &asked).unwrap()).collect();
            drop(all);
            assert!(begin(&errands, "192.0.2.1", &held, &asked).is_none(), "they are still in the queue");
            tend(waiting);
            settle().await;
            assert_eq!((asked.begun.load(SeqCst), Arc::strong_count(&held)), (0, 1));
            assert!(begin(&errands, "192.0.2.1", &held, &asked).is_some());
        });
    }

    #[test]
    fn who_waits_gets_what_was_held_and_its_place_is_free() {
        in_standing_time(async {
            let (errands, waiting) = Errands::new();
            tend(waiting);
            for number in 0..4 * MOST_OF_ONE {
                let run = errands.run(Some([192, 0, 2, 1].into()), "held", async move { number });
                assert_eq!(run.await, Some((number, "held")));
            }
        });
    }

    fn in_standing_time(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(test);
    }
}
