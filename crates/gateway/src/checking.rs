//! The threads that check passwords.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use portcullis_identity::Authenticator;
use portcullis_identity::password::{PasswordBench, PasswordReport};

/// The threads, once there are users with passwords. They stay until the end.
#[derive(Debug)]
pub(crate) struct Checking {
    threads: usize,
    bench: Mutex<Option<Arc<PasswordBench>>>,
}

impl Checking {
    /// So many threads for this configuration, where it has such users.
    ///
    /// # Errors
    /// There is no thread.
    pub(crate) fn new(threads: usize, authenticator: &Authenticator) -> std::io::Result<Self> {
        let checking = Self { threads, bench: Mutex::default() };
        checking.watch(authenticator)?;
        Ok(checking)
    }

    /// The same for another configuration: one that goes on with the bench of the one before has its threads already.
    ///
    /// # Errors
    /// There is no thread.
    pub(crate) fn watch(&self, authenticator: &Authenticator) -> std::io::Result<()> {
        let wanted = authenticator.password_bench();
        let mut held = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = |wanted: &Arc<PasswordBench>| held.as_ref().is_some_and(|bench| Arc::ptr_eq(bench, wanted));
        if wanted.is_none_or(is_held) {
            return Ok(());
        }
        // Those of a bench that nobody asks any more end with what they do.
        if let Some(bench) = held.take() {
            bench.close();
        }
        let Some(bench) = wanted else { return Ok(()) };
        for _ in 0..self.threads.max(1) {
            let bench = Arc::clone(bench);
            thread::Builder::new().name("passwords".to_owned()).spawn(move || bench.work())?;
        }
        *held = Some(Arc::clone(bench));
        Ok(())
    }

    /// How it goes; `None` where there are no users with passwords.
    pub(crate) fn report(&self) -> Option<PasswordReport> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|bench| bench.report())
    }
}
