//! The events as they are recorded, for those who follow them.
//!
//! One bounded ring for everybody: who is slower than the events come misses some, and is told how many. Nobody who follows
//! ever holds up the recording.

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

/// How many lines the ring holds.
const LINES: usize = 1_024;

/// Longer lines are not passed on, and count as missed: the ring must not hold a gigabyte.
const MAX_LINE_BYTES: usize = 256 << 10;

/// The sending end.
#[derive(Debug, Clone)]
pub struct Tail {
    sender: broadcast::Sender<Line>,
}

/// A line of the ring; `None` stands for one that was too long.
pub(crate) type Line = Option<Bytes>;

impl Default for Tail {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(LINES) }
    }
}

impl Tail {
    /// Whether anybody follows.
    pub fn is_followed(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Passes on one native line, without its line feed. It costs a look at a counter while nobody follows, and never waits.
    pub fn offer(&self, line: &[u8]) {
        if !self.is_followed() {
            return;
        }
        let line = (line.len() <= MAX_LINE_BYTES).then(|| Bytes::copy_from_slice(line));
        // The last one may have gone meanwhile.
        let _ = self.sender.send(line);
    }

    /// Looks out for one event from now on.
    pub fn watch(&self) -> Watch {
        Watch { lines: self.sender.subscribe() }
    }

    /// Everything from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Line> {
        self.sender.subscribe()
    }
}

/// Looks out for one event.
#[derive(Debug)]
pub struct Watch {
    lines: broadcast::Receiver<Line>,
}

impl Watch {
    /// The line that holds this text, if it has come. It does not wait.
    pub fn find(&mut self, text: &str) -> Option<String> {
        loop {
            match self.lines.try_recv() {
                Ok(Some(line)) if memchr::memmem::find(&line, text.as_bytes()).is_some() => {
                    return Some(String::from_utf8_lossy(&line).into_owned());
                }
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_for_nobody() {
        let tail = Tail::default();
        tail.offer(b"before");
        let mut follower = tail.follow();
        assert_eq!(follower.try_recv(), Err(TryRecvError::Empty));
        tail.offer(b"after");
        assert_eq!(follower.try_recv(), Ok(Some(Bytes::from_static(b"after"))));
    }

    #[test]
    fn a_slow_follower_is_told_how_many_it_missed_and_goes_on() {
        let tail = Tail::default();
        let mut follower = tail.follow();
        for index in 0..LINES + 7 {
            tail.offer(index.to_string().as_bytes());
        }
        assert_eq!(follower.try_recv(), Err(TryRecvError::Lagged(7)));
        assert_eq!(follower.try_recv(), Ok(Some(Bytes::from_static(b"7"))));
    }

    #[test]
    fn a_watch_finds_its_event_among_others_or_says_that_it_has_not_come() {
        let tail = Tail::default();
        let mut watch = tail.watch();
        tail.offer(b"one");
        assert_eq!(watch.find("two"), None);
        tail.offer(b"the two");
        tail.offer(b"three");
        assert_eq!(watch.find("two").as_deref(), Some("the two"));
        assert_eq!(watch.find("two"), None);
    }

    #[test]
    fn a_huge_line_is_not_held() {
        let tail = Tail::default();
        let mut follower = tail.follow();
        tail.offer(&vec![b'x'; MAX_LINE_BYTES + 1]);
        tail.offer(&vec![b'x'; MAX_LINE_BYTES]);
        assert_eq!(follower.try_recv(), Ok(None));
        assert_eq!(follower.try_recv().map(|line| line.map(|line| line.len())), Ok(Some(MAX_LINE_BYTES)));
    }
}
