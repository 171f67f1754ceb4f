//! Whom an upstream connection wakes.
//!
//! hyper's halves of a connection tell each other through wakers that there is something to do. Here both are driven by the one
//! task that waits for the answer, and in turns: told by itself, it would be polled once more for nothing, once or twice for
//! each request. So they wake this instead, and this wakes the task for what happens while the connection is driven, and after
//! that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The waker of one connection: what hyper and the socket are given, and the task behind it.
#[derive(Debug)]
pub(super) struct Rouser {
    given: Waker,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The task that waits for the connection, if one does.
    task: AtomicWaker,
    /// The connection asked to be driven since it was last begun to be.
    woken: AtomicBool,
}

impl Rouser {
    pub(super) fn new() -> Self {
        let waiting = Arc::new(Waiting::default());
        Self { given: Waker::from(Arc::clone(&waiting)), waiting }
    }

    /// The connection is driven now, with this: what it asked for before is answered.
    pub(super) fn drive(&self) -> Context<'_> {
        self.waiting.woken.store(false, Ordering::Relaxed);
        Context::from_waker(&self.given)
    }

    /// The task waits now: it is woken when the connection asks to be driven, at once if it has done so already.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        self.waiting.task.register(cx.waker());
        if self.waiting.woken.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
    }

    /// Nobody waits any more.
    pub(super) fn rest(&self) {
        drop(self.waiting.task.take());
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_for_what_it_has_not_seen_to() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let (cx, rouser) = (Context::from_waker(&waker), Rouser::new());
        let connection = rouser.given.clone();
        let check = |expected: usize, what: &str| assert_eq!(count.0.swap(0, Ordering::Relaxed), expected, "{what}");
        connection.wake_by_ref();
        check(0, "nobody waits");
        rouser.drive();
        rouser.wait(&cx);
        check(0, "it was driven since");
        connection.wake_by_ref();
        check(1, "it waits");
        connection.wake_by_ref();
        check(0, "it was woken, and has not come yet");
        rouser.drive();
        connection.wake_by_ref();
        rouser.wait(&cx);
        check(1, "while it was driven");
        rouser.drive();
        rouser.wait(&cx);
        check(0, "it was driven again");
        rouser.rest();
        connection.wake_by_ref();
        check(0, "it waits no more");
    }
}
