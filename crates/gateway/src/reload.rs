//! SIGHUP: reads the configuration anew and puts it in force as a whole, or keeps the old one and says why.

use std::path::Path;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portcullis_config::{Loaded, ProcessEnvironment, load};
use portcullis_events::EventKind;

use crate::running::Running;

/// Reloads. Files are read on another thread, so the ops listener answers meanwhile; the data plane never waits.
///
/// Returns what went wrong, for the service manager.
pub(crate) async fn reload(config: &Path, running: &Running) -> Option<String> {
    // Rotated logs are reopened whether or not the configuration is good.
    running.shared().recorder.reopen();
    if let Some(log) = &running.shared().access_log {
        log.reopen();
    }
    let path = config.to_owned();
    let loaded = tokio::task::spawn_blocking(move || load(&path, &ProcessEnvironment)).await;
    let failure = match loaded {
        Ok(Ok(loaded)) => apply(loaded, running).err(),
        Ok(Err(report)) => {
            tracing::error!("the configuration on disk is invalid:\n{}", report.render_human(false).trim_end());
            Some(report.summary_line())
        }
        Err(error) => Some(format!("the configuration could not be read: {error}")),
    };
    match failure {
        None => {
            running.reloads().succeeded.fetch_add(1, Ordering::Relaxed);
            running.reloads().last_success.store(Timestamp::now().as_second(), Ordering::Relaxed);
            None
        }
        Some(reason) => {
            running.reloads().failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%reason, "not reloaded: the last good configuration stays in force");
            running.record(
                EventKind::PolicyRejected,
                format!("not reloaded, the last good configuration stays: {reason}"),
            );
            Some(format!("not reloaded: {reason}"))
        }
    }
}

fn apply(loaded: Loaded, running: &Running) -> Result<(), String> {
    if loaded.warnings.warnings() > 0 {
        tracing::warn!("the configuration has warnings:\n{}", loaded.warnings.render_human(false).trim_end());
    }
    let changed = running.fixed_but_changed(&loaded);
    if !changed.is_empty() {
        tracing::warn!(tables = changed.join(", "), "fixed while the process runs: restart to change them");
    }
    let summary = loaded.summary.to_string();
    running.replace(loaded).map_err(|error| error.to_string())?;
    let snapshot = running.shared().snapshot().load();
    tracing::info!(version = snapshot.policy.version(), sha256 = snapshot.policy.sha256(), "reloaded");
    running.record(EventKind::PolicyReloaded, summary.replace('\n', "; "));
    Ok(())
}
