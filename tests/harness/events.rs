//! The events of a gateway under test, none of them still on its way when they are read.
//!
//! Whatever else shows first what an event tells (an answer, a counter, a line of the log, a command that ended), the event itself is still
//! to be written to its file then. So a test cannot read what merely stands in the file: [`Events::all`] first waits until everything
//! that was recorded before the call is there. What another thread of the gateway records after its effect is seen is awaited by what it says:
//! [`Events::until`], `Gateway::wait_for_events`. That something was *not* recorded is asserted after whatever would have recorded it is over.

use std::net::SocketAddr;
use std::path::Path;

use portcullis_testkit::events::EventFile;
use portcullis_testkit::process::Life;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

/// The sink's depth, which falls once its events are in the file.
const WAITING: &str = "portcullis_event_queue_depth{sink=\"events\"} ";

/// What the sink `events` writes, read when nothing waits for it.
pub(crate) struct Events {
    file: EventFile,
    /// Where the gateway says how many events wait, and whether there is a gateway.
    ops: SocketAddr,
    life: Life,
}

impl Events {
    pub(super) fn of(file: EventFile, ops: SocketAddr, life: Life) -> Self {
        Self { file, ops, life }
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// All events that were recorded before the call, in order.
    #[track_caller]
    pub(crate) fn all(&self) -> Vec<Value> {
        self.settle();
        self.file.so_far()
    }

    /// The same as they are written.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        self.settle();
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// What `find` makes of the events, once it makes something of them.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut find: impl FnMut(&[Value]) -> Option<T>) -> T {
        let found = wait::until(PATIENCE, || find(&self.file.so_far()));
        found.unwrap_or_else(|| panic!("{what} did not come; there are: {:#?}", self.file.so_far()))
    }

    /// All events, once there are so many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Value> {
        self.file.wait_for(count)
    }

    /// The one event of the request with this id.
    pub(crate) fn wait_for_request(&self, id: &str) -> Value {
        self.file.wait_for_request(id)
    }

    /// Waits until everything that was recorded before the call is in the file: an event has its place in the queue from when it is recorded until
    /// it is written. The events of a gateway that has ended are all there.
    #[track_caller]
    fn settle(&self) {
        let settled = || match self.life.is_over() {
            true => Some(()),
            false => (self.waiting()? == 0).then_some(()),
        };
        let settled = wait::until(PATIENCE, settled);
        assert!(
            settled.is_some(),
            "events still wait to be written, or the gateway does not say: {:?}",
            self.waiting()
        );
    }

    /// How many events wait. `None`: nobody says so, such as of a gateway that is about to end.
    #[track_caller]
    fn waiting(&self) -> Option<u64> {
        let mut connection = Conn::try_open(self.ops).ok()?;
        connection.try_send(request("GET", "/metrics", &[], b"")).ok()?;
        let answer = connection.try_answer().ok()?;
        let depth = answer.text().lines().find_map(|line| line.strip_prefix(WAITING)?.parse().ok());
        Some(depth.expect("the sink `events` has a depth"))
    }
}
