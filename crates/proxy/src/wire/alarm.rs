//! One timer for all deadlines of a connection.
//!
//! Deadlines move with every request, and moving a timer in the runtime's wheel costs more than all the rest of the gate.
//! So a deadline that moves away leaves the timer where it is: it rings early, finds the deadline later, and is set anew.
//! A busy connection touches the wheel once in an idle time, not once in a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `deadline` has passed. While it is pending, the task is woken at the latest then, maybe before.
    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
