//! Work that nobody waits for in a hurry, on a thread of its own that yields to whatever serves requests.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// How much work yields to what serves requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// What somebody waits for who has something to mend: of a processor that is wanted by others, too, a tenth.
    Low,
    /// The lowest there is beside others without privileges: a 68th part.
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

/// How long work has processors that nobody else wants, before it is done beside others.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether some work waits for idle processors: there is one such thread at most, also of those that nobody waits for any more.
static IS_IDLING: AtomicBool = AtomicBool::new(false);

/// Once for each: what a sandbox forbids, it forbids every time.
static UNKIND: Once = Once::new();
static NEVER_IDLE: Once = Once::new();

/// Does it, and waits for it. What runs long should call [`thread::yield_now`] now and then: a thread of a low priority is, once it runs, not
/// interrupted at once on every kernel.
///
/// # Errors
/// A sentence: there is no thread, or the work has panicked.
pub(crate) fn yielding<T: Send>(name: &str, priority: Priority, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let with_patience = || {
        yield_to_others(name, priority);
        work()
    };
    thread::scope(|scope| {
        let started = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, with_patience);
        let done = started.map_err(|error| format!("no thread: {error}"))?.join();
        // The panic was reported where it happened.
        done.map_err(|_| "that failed: see the log".to_owned())
    })
}

/// Does it likewise, and waits for nothing: whoever asks looks for the result now and then.
///
/// # Errors
/// No thread.
pub(crate) fn aside<T: Send + 'static>(
    name: &'static str,
    priority: Priority,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        yield_to_others(name, priority);
        work()
    })
}

/// Of this thread alone: on Linux a priority is a thread's.
fn yield_to_others(name: &str, priority: Priority) {
    if let Err(error) = rustix::process::nice(priority.nice()) {
        UNKIND.call_once(|| {
            tracing::warn!(%error, "the thread {name}, and others like it, run with the priority of the gateway, beside requests: may it call setpriority?");
        });
    }
}

/// Does it while processors are idle (`SCHED_IDLE`, sched(7)): any other thread takes one away from it at once, so that no request waits for a
/// moment of it. Where they are not idle for half a second of it, it is done anew and with `otherwise`, as by [`yielding`]; what was begun
/// comes to its end when it can, and nobody hears of it.
///
/// # Errors
/// As [`yielding`].
pub(crate) fn idling<T: Send + 'static>(
    name: &str,
    otherwise: Priority,
    work: impl Fn() -> T + Send + Sync + 'static,
) -> Result<T, String> {
    idling_within(PATIENCE, name, otherwise, work)
}

fn idling_within<T: Send + 'static>(
    patience: Duration,
    name: &str,
    otherwise: Priority,
    work: impl Fn() -> T + Send + Sync + 'static,
) -> Result<T, String> {
    let work = Arc::new(work);
    if let Some(only) = Only::claim() {
        let (done, wait) = sync_channel(1);
        let theirs = Arc::clone(&work);
        let idle = move || {
            let _only = only;
            match wait_for_idle_processors() {
                // Whoever asked may have gone on without it.
                Ok(()) => drop(done.send(theirs())),
                Err(error) => NEVER_IDLE.call_once(|| {
                    tracing::warn!(%error, "no thread can be given idle processors alone: may the gateway call sched_setscheduler?");
                }),
            }
        };
        if thread::Builder::new().name(name.to_owned()).spawn(idle).is_ok()
            && let Ok(result) = wait.recv_timeout(patience)
        {
            return Ok(result);
        }
    }
    yielding(name, otherwise, || work())
}

/// The right to be the one that waits for idle processors.
struct Only;

impl Only {
    fn claim() -> Option<Self> {
        let free = IS_IDLING.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then_some(Self)
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        IS_IDLING.store(false, Ordering::Release);
    }
}

/// From now on this thread has what no other one wants. It cannot be taken back without privileges.
fn wait_for_idle_processors() -> Result<(), thread_priority::Error> {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// On a processor that others want all the time it has a thousandth, a few milliseconds at a time.
    const LONG: Duration = Duration::from_secs(300);

    /// The idle thread is one of the process.
    static ALONE: Mutex<()> = Mutex::new(());

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    fn is_idle() -> bool {
        let policy = thread_priority::unix::thread_schedule_policy().unwrap();
        policy == ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle)
    }

    #[test]
    fn the_work_is_done_beside_and_its_priority_is_its_own() {
        let (mine, caller) = (niceness(), thread::current().id());
        for priority in [Priority::Low, Priority::Lowest] {
            let (theirs, worker) = yielding("test", priority, || (niceness(), thread::current().id())).unwrap();
            assert!(theirs >= priority.nice().max(mine) && worker != caller, "{mine} {theirs}");
        }
        let waits = aside("test", Priority::Lowest, || (niceness(), thread::current().id())).unwrap();
        let (theirs, worker) = waits.join().unwrap();
        assert!(theirs >= Priority::Lowest.nice().max(mine) && worker != caller, "{mine} {theirs}");
        assert_eq!(niceness(), mine);
    }

    #[test]
    fn a_panic_is_told_and_ends_nobody_else() {
        let fails = || assert!(thread::current().name().is_none(), "the thread has a name");
        assert_eq!(yielding("test", Priority::Lowest, fails), Err("that failed: see the log".to_owned()));
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(idling("test", Priority::Lowest, fails), Err("that failed: see the log".to_owned()));
    }

    #[test]
    fn what_finds_no_idle_processor_is_done_beside_others_and_one_alone_waits_for_one() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (let_go, held): (_, Receiver<()>) = channel();
        let held = Mutex::new(held);
        // As if no processor became idle: whoever has the idle thread waits.
        let work = move || {
            if is_idle() {
                let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            (is_idle(), niceness())
        };
        let (idle, nice) = idling("test", Priority::Lowest, work).unwrap();
        assert!(!idle && nice >= Priority::Lowest.nice());
        // The first one is still there, so nobody else waits for its processor.
        assert_eq!(idling("test", Priority::Low, is_idle), Ok(false));
        drop(let_go);
        while IS_IDLING.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        // And now somebody does, who has the patience for a machine on which no processor is idle for long.
        assert_eq!(idling_within(LONG, "test", Priority::Low, is_idle), Ok(true));
    }
}
