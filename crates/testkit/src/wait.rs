//! Waiting for something that another thread or process does: often asked, never longer than a bound.

use std::time::{Duration, Instant};

/// How long the kit waits where a test names no bound. Long, because a busy machine must not fail a test; a test that
/// passes never waits it out.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `probe` until it gives a value; `None` when it gave none `within` that time. It is asked at least once, and once
/// more after the time has passed.
pub fn until<T>(within: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let late = Instant::now() >= deadline;
        if let Some(found) = probe() {
            return Some(found);
        }
        if late {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait_and_its_lack_is_bounded() {
        let mut asked = 0;
        let third = until(PATIENCE, || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third, Some(3));
        assert_eq!(until(Duration::ZERO, || None::<()>), None);
        assert_eq!(until(Duration::ZERO, || Some(1)), Some(1), "asked once even without time");
    }
}
