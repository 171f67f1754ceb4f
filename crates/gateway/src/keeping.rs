//! Whose state the store keeps, and the engine that begins with what was kept.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_proxy::Shared;
use portcullis_risk::state::{Reading, StateStore as _};
use portcullis_risk::{RiskEngine, Settings as RiskSettings};
use portcullis_store::{Database, Keeping, Settings, Source, StoreError, StoreStats};

/// The state of a running gateway, and the thread that writes it down.
#[derive(Debug)]
pub(crate) struct Kept {
    keeping: Keeping,
    source: Arc<State>,
}

#[derive(Debug)]
struct State(Arc<Shared>);

impl Source for State {
    fn risk(&self) -> &RiskEngine {
        &self.0.risk
    }

    fn now(&self) -> Reading {
        Reading { steady: self.0.clock.now(), wall: Timestamp::now() }
    }
}

/// Opens the store, where there is one.
pub(crate) fn open(settings: Option<&Settings>) -> Result<Option<Database>, StoreError> {
    settings.map(Database::open).transpose()
}

/// An engine with what was kept.
pub(crate) fn engine(settings: RiskSettings, database: Option<&mut Database>) -> Result<RiskEngine, StoreError> {
    let Some(database) = database else { return Ok(RiskEngine::new(settings)) };
    let engine = RiskEngine::with_secret(settings, database.secret());
    // The clock of bans is set by the time of day a moment later.
    let restored = database.restore(&engine, Reading::beginning(Timestamp::now()))?;
    tracing::info!(
        bans = restored.bans,
        past = restored.past,
        profiles = restored.profiles,
        demands = restored.demands,
        forgotten = restored.forgotten,
        "the state of before is in force"
    );
    Ok(engine)
}

impl Kept {
    pub(crate) fn start(database: Database, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let source = Arc::new(State(Arc::clone(shared)));
        let keeping = Keeping::start(database, Arc::clone(&source) as Arc<dyn Source>)?;
        Ok(Self { keeping, source })
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.keeping.stats(&*self.source)
    }

    /// Writes what has changed, and ends.
    pub(crate) fn shutdown(&self, timeout: Duration) {
        if !self.keeping.shutdown(timeout) {
            tracing::error!("what has changed last is not in the store");
        }
    }
}
