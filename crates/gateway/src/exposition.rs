//! Metrics in the OpenMetrics text format, read from the counters when they are asked for. No label holds an address, a
//! user, a path or a host: a caller could make as many of those as it likes.

mod events;
mod families;
mod identity;
mod loaded;
mod plain;
mod requests;
mod upstreams;

pub(crate) use plain::as_plain_text;

use std::fmt;
use std::sync::Arc;

use portcullis_identity::session::Sessions;
use portcullis_proxy::Shared;
use portcullis_store::StoreStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use crate::alerting::Alerting;
use crate::auditing::Auditing;
use crate::checking::Checking;
use crate::directing::Directories;
use crate::feeding::Feeds;
use crate::introspecting::Introspecting;
use crate::keeping::Kept;
use crate::keying::ProviderKeys;
use crate::running::{Reloads, Running};

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub(crate) struct Exposition {
    shared: Arc<Shared>,
    kept: Option<Arc<Kept>>,
    registry: Registry,
}

impl Exposition {
    pub(crate) fn new(running: &Running) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Counters {
            shared: Arc::clone(running.shared()),
            reloads: Arc::clone(running.reloads()),
            alerting: Arc::clone(running.alerting()),
            feeds: Arc::clone(running.feeds()),
            keys: Arc::clone(running.keys()),
            kept: running.kept().map(Arc::clone),
            directories: Arc::clone(running.directories()),
            introspecting: Arc::clone(running.introspecting()),
            sessions: Arc::clone(running.sessions()),
            checking: Arc::clone(running.checking()),
            auditing: running.auditing().map(Arc::clone),
        }));
        Self { shared: Arc::clone(running.shared()), kept: running.kept().map(Arc::clone), registry }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How the store does, where there is one.
    pub(crate) fn store(&self) -> Option<StoreStats> {
        self.kept.as_ref().map(|kept| kept.stats())
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; were it to, a short answer without its end mark is what scrapers reject.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[derive(Debug)]
struct Counters {
    shared: Arc<Shared>,
    reloads: Arc<Reloads>,
    alerting: Arc<Alerting>,
    feeds: Arc<Feeds>,
    keys: Arc<ProviderKeys>,
    kept: Option<Arc<Kept>>,
    directories: Arc<Directories>,
    introspecting: Arc<Introspecting>,
    sessions: Arc<Sessions>,
    checking: Arc<Checking>,
    auditing: Option<Arc<Auditing>>,
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.decisions(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.sinks(&mut encoder)?;
        self.access_log(&mut encoder)?;
        self.alerts(&mut encoder)?;
        self.traces(&mut encoder)?;
        self.policy(&mut encoder)?;
        self.feeds(&mut encoder)?;
        self.keys(&mut encoder)?;
        self.introspection(&mut encoder)?;
        self.assertions(&mut encoder)?;
        self.directories(&mut encoder)?;
        self.sessions(&mut encoder)?;
        self.passwords(&mut encoder)?;
        self.geo(&mut encoder)?;
        self.store(&mut encoder)?;
        self.audit(&mut encoder)?;
        self.upstreams(&mut encoder)?;
        self.process(&mut encoder)
    }
}
