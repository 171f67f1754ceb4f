//! The thread on which second factors are asked: what counts is forced to the disk before there is an answer, and no worker waits for a disk.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use portcullis_config::MfaLoaded;
use portcullis_identity::mfa::{FactorRefusal, SecondFactors};
use portcullis_store::{Database, KeptFactors, StoreError};
use tokio::sync::oneshot;

/// What is to be done on the thread.
type Errand = Box<dyn FnOnce(&SecondFactors) + Send>;

/// Errands that wait. Whoever comes then is told to come again.
const WAITING: usize = 256;

/// The second factors of a running gateway, where it has any.
pub(crate) struct Factors {
    /// `None`: there is no `[mfa]`.
    factors: Option<Arc<SecondFactors>>,
    errands: SyncSender<Errand>,
    waiting: Mutex<Option<Receiver<Errand>>>,
}

/// Nothing is known, as the text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// There is no `[mfa]`.
    Off,
    /// Too many wait.
    Busy,
}

impl Factors {
    /// Those that the store keeps. `mfa` is only there where there is a store.
    ///
    /// # Errors
    /// The store cannot be used.
    pub(crate) fn new(mfa: Option<MfaLoaded>, database: Option<&Database>) -> Result<Self, StoreError> {
        let (errands, waiting) = sync_channel(WAITING);
        let factors = match (mfa, database) {
            (Some(mfa), Some(database)) => {
                let store = Arc::new(KeptFactors::open(database)?);
                Some(Arc::new(SecondFactors::new(store, mfa.keys, mfa.settings)))
            }
            (Some(_) | None, _) => None,
        };
        Ok(Self { factors, errands, waiting: Mutex::new(Some(waiting)) })
    }

    /// Whether what is kept opens with what another configuration says. An exchange of keys names the one of before as `other_key`, or nobody could show a factor any more.
    ///
    /// # Errors
    /// It does not, or nobody can say.
    pub(crate) fn check(&self, mfa: Option<&MfaLoaded>) -> Result<(), String> {
        let (Some(factors), Some(mfa)) = (&self.factors, mfa) else { return Ok(()) };
        match factors.closed_by(&mfa.keys) {
            Ok(0) => Ok(()),
            Ok(closed) => Err(format!(
                "[mfa]: at least {closed} second factors are sealed with a key that is neither `key` nor `other_key` there, so nobody could show them any more: name the key of before as `other_key`"
            )),
            Err(error) => Err(format!("[mfa]: nobody can say whether second factors open with its keys: {error}")),
        }
    }

    /// Goes on with what another configuration says. Where there were none, there are none until a restart.
    pub(crate) fn configure(&self, mfa: Option<MfaLoaded>) {
        if let (Some(factors), Some(mfa)) = (&self.factors, mfa) {
            factors.configure(mfa.keys, mfa.settings);
            self.reseal();
        }
    }

    /// Starts the thread. It ends with what asks it.
    ///
    /// # Errors
    /// There is no thread.
    pub(crate) fn start(&self) -> std::io::Result<()> {
        let Some(factors) = self.factors.clone() else { return Ok(()) };
        let Some(errands) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        thread::Builder::new().name("factors".to_owned()).spawn(move || {
            while let Ok(errand) = errands.recv() {
                errand(&factors);
            }
        })?;
        self.reseal();
        Ok(())
    }

    /// Whether there are any.
    pub(crate) fn are_on(&self) -> bool {
        self.factors.is_some()
    }

    /// Whether whoever has none yet adds the first one by a login.
    pub(crate) fn are_begun_by_login(&self) -> bool {
        self.factors.as_ref().is_some_and(|factors| factors.settings().first_by_login)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why nobody was asked.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&SecondFactors) -> T + Send + 'static,
    ) -> Result<T, Unasked> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |factors| {
            // Whoever asked may have gone.
            let _ = answer.send(question(factors));
        }))?;
        answered.await.map_err(|_| Unasked::Busy)
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn ask_now<T>(&self, question: impl FnOnce(&SecondFactors) -> T) -> Result<T, Unasked> {
        self.factors.as_deref().map(question).ok_or(Unasked::Off)
    }

    fn send(&self, errand: Errand) -> Result<(), Unasked> {
        if self.factors.is_none() {
            return Err(Unasked::Off);
        }
        self.errands.try_send(errand).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Unasked::Busy,
        })
    }

    /// Has everything sealed with the key of now, in pieces between which others are answered.
    fn reseal(&self) {
        let again = self.errands.clone();
        // Where too much waits, it is done at the next start or reload.
        let _ = self.send(Box::new(move |factors| reseal(factors, &again)));
    }
}

fn reseal(factors: &SecondFactors, again: &SyncSender<Errand>) {
    match factors.reseal() {
        Ok((0, 0)) => {}
        Ok((0, closed)) => {
            tracing::error!(
                factors = closed,
                "second factors are sealed with a key that is neither `key` nor `other_key` of [mfa]"
            );
        }
        Ok((resealed, _)) => {
            tracing::info!(factors = resealed, "second factors were sealed with the key of now");
            let more = again.clone();
            let _ = again.try_send(Box::new(move |factors| reseal(factors, &more)));
        }
        Err(error) => tracing::error!(%error, "second factors could not be sealed with the key of now"),
    }
}

impl fmt::Debug for Factors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Factors").field("are_on", &self.are_on()).finish_non_exhaustive()
    }
}

/// What came of a wrong, a late or an unanswerable attempt, for an event.
pub(crate) fn failure(principal: &str, refusal: &FactorRefusal) -> String {
    format!("a second factor of {principal} was not accepted: {refusal}")
}
