//! What only a restart changes.

use portcullis_config::Loaded;
use portcullis_events::Settings as Events;
use portcullis_proxy::settings::ProcessSettings;

/// What stays as it was when the process started, whatever a reload reads.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    pub(super) process: ProcessSettings,
    pub(super) events: Events,
    pub(super) ops: Option<portcullis_config::OpsSettings>,
    pub(super) control: Option<portcullis_admin::Settings>,
    pub(super) index: Option<portcullis_history::IndexSettings>,
    pub(super) store: Option<portcullis_store::Settings>,
    pub(super) backup: Option<portcullis_governance::backup::Settings>,
    /// Where the lists of networks are kept that were last good.
    pub(super) lists: std::path::PathBuf,
    pub(super) sample: Option<portcullis_insight::SampleLimits>,
    pub(super) spike: Option<portcullis_insight::SpikeSettings>,
    pub(super) audit: bool,
    pub(super) max_connections: usize,
    pub(super) password_threads: usize,
    pub(super) mfa: bool,
}

impl Fixed {
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self {
            process: loaded.process.clone(),
            events: loaded.events.clone(),
            ops: loaded.ops,
            control: loaded.control.clone(),
            index: loaded.index.clone(),
            store: loaded.store.clone(),
            backup: loaded.backup.clone(),
            lists: loaded.feeds.0.folder.clone(),
            sample: loaded.sample,
            spike: loaded.spike,
            audit: loaded.audit.is_some(),
            max_connections: loaded.proxy.limits.max_connections,
            password_threads: loaded.identity.password_threads,
            mfa: loaded.mfa.is_some(),
        }
    }

    /// The tables of the file whose change would need a restart.
    pub(super) fn changed(&self, now: &Self) -> Vec<&'static str> {
        let event = |events: &Events| {
            (events.node.clone(), events.cluster.clone(), events.integrity, events.checkpoint.clone())
        };
        let spool = |events: &Events| (events.spool.clone(), events.fsync, events.fsync_interval);
        let pairs = [
            ("[[listener]]", self.process.listeners == now.process.listeners),
            ("[process]", self.process.workers == now.process.workers),
            ("[shutdown]", self.process.shutdown == now.process.shutdown),
            ("[[sink]]", self.events.sinks == now.events.sinks),
            ("[access_log]", self.events.access_log == now.events.access_log),
            ("[trace]", self.events.trace == now.events.trace),
            ("[event]", event(&self.events) == event(&now.events)),
            ("[spool]", spool(&self.events) == spool(&now.events)),
            ("[ops]", self.ops == now.ops),
            ("[control]", self.control == now.control),
            ("[index]", self.index == now.index),
            ("[store]", self.store == now.store),
            ("[backup]", self.backup == now.backup),
            ("[sample]", self.sample == now.sample),
            ("[spike]", self.spike == now.spike),
            ("[audit] enabled", self.audit == now.audit),
            ("[limits] max_connections", self.max_connections == now.max_connections),
            ("[mfa] enabled", self.mfa == now.mfa),
            ("[identity] password_threads", self.password_threads == now.password_threads),
        ];
        pairs.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}
