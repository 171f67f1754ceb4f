//! Work that nobody waits for in a hurry, on a thread of its own that yields to whatever serves requests.

use std::thread;

/// How much work yields to what serves requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// What somebody waits for who has something to mend: of a processor that is wanted by others, too, a tenth.
    Low,
    /// The lowest there is without privileges: a 68th part.
    Lowest,
}

impl Priority {
    fn nice(self) -> i32 {
        match self {
            Self::Low => 10,
            Self::Lowest => 19,
        }
    }
}

/// Does it, and waits for it. What runs long should call [`thread::yield_now`] now and then: a thread of a low priority is, once it runs, not
/// interrupted at once on every kernel.
///
/// # Errors
/// A sentence: there is no thread, or the work has panicked.
pub(crate) fn yielding<T: Send>(name: &str, priority: Priority, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let with_patience = || {
        // Of this thread alone: on Linux a priority is a thread's.
        if let Err(error) = rustix::process::nice(priority.nice()) {
            tracing::debug!(%error, "the thread {name} runs with the priority of the gateway");
        }
        work()
    };
    thread::scope(|scope| {
        let started = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, with_patience);
        let done = started.map_err(|error| format!("no thread: {error}"))?.join();
        // The panic was reported where it happened.
        done.map_err(|_| "that failed: see the log".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    #[test]
    fn the_work_is_done_beside_and_its_priority_is_its_own() {
        let (mine, caller) = (niceness(), thread::current().id());
        for priority in [Priority::Low, Priority::Lowest] {
            let (theirs, worker) = yielding("test", priority, || (niceness(), thread::current().id())).unwrap();
            assert!(theirs >= priority.nice().max(mine) && worker != caller, "{mine} {theirs}");
        }
        assert_eq!(niceness(), mine);
    }

    #[test]
    fn a_panic_is_told_and_ends_nobody_else() {
        let failed = yielding("test", Priority::Lowest, || {
            assert!(thread::current().name().is_none(), "the thread has a name");
        });
        assert_eq!(failed, Err("that failed: see the log".to_owned()));
    }
}
