//! What the service manager is told (`sd_notify(3)`): that the gateway is ready, reloads, stops, and lives.
//!
//! Without `NOTIFY_SOCKET` nobody is told anything. A message that cannot be sent is logged: the manager draws its own
//! conclusions.

use std::sync::Arc;
use std::time::Duration;

use portcullis_proxy::Shared;
use sd_notify::NotifyState;

/// Connections are accepted, or a reload has ended.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins. The manager matches it to its request by the time.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => tell(&[NotifyState::Reloading, time]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The gateway drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Tells the manager that the gateway lives, as often as it asks for (`WatchdogSec=`), and only while every worker does: one
/// that is stuck serves nobody and would not be noticed otherwise.
pub(crate) fn watch(shared: &Arc<Shared>) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        loop {
            if shared.is_draining() || shared.metrics.is_beating(&shared.clock, patience.max(SLOWEST_BEAT)) {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!("a worker is stuck: the service manager's watchdog is not told that all is well");
            }
            tokio::time::sleep(patience / 3).await;
        }
    });
}

/// A worker's heart beats each second; twice is no sign of trouble on a busy machine.
const SLOWEST_BEAT: Duration = Duration::from_secs(3);

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
