//! A reload, by SIGHUP or over the control channel: reads the configuration anew and puts it in force as a whole, or keeps the old one and says why.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portcullis_config::{ProcessEnvironment, Report, load};
use portcullis_events::EventKind;

use crate::control::Kept;
use crate::governing::{Asked, Decided, Number, Overtaken, Refused, Why};
use crate::locating::tell;
use crate::running::{Running, StartError};

/// How often the files are read where something else becomes live meanwhile.
const ATTEMPTS: usize = 4;

/// What came of a reload.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What is in force now, or why the old one stays.
    pub(crate) result: Result<String, String>,
    /// Errors and warnings.
    pub(crate) report: Report,
    /// The tables that changed and are fixed while the process runs.
    pub(crate) restart: Vec<&'static str>,
}

impl Outcome {
    fn failed(reason: String) -> Self {
        Self { result: Err(reason), report: Report::default(), restart: Vec::new() }
    }

    /// What went wrong, for the service manager.
    pub(crate) fn failure(&self) -> Option<String> {
        self.result.as_ref().err().map(|reason| format!("not reloaded: {reason}"))
    }
}

/// Reloads, as these asked. Files are read, and what is to be is put in force, on threads where it may wait (for a disk, for whoever compares versions): the ops
/// listener answers meanwhile, and the data plane never waits.
pub(crate) async fn reload(config: &Path, running: &Arc<Running>, why: Why, asked: &Asked) -> Outcome {
    // Rotated logs are reopened whether or not the configuration is good.
    running.shared().recorder.reopen();
    if let Some(log) = &running.shared().access_log {
        log.reopen();
    }
    let mut attempts = 0;
    let (outcome, kind) = loop {
        attempts += 1;
        match attempt(config, running, why, asked).await {
            // The files that were read are those of before: what they are now is another thing.
            Err(Overtaken) if attempts < ATTEMPTS => {}
            Err(overtaken) => break (Outcome::failed(overtaken.to_string()), EventKind::PolicyRejected),
            Ok(ended) => break ended,
        }
    };
    match &outcome.result {
        Ok(_) => {
            running.reloads().last_success.store(Timestamp::now().as_second(), Ordering::Relaxed);
            running.reloads().succeeded.fetch_add(1, Ordering::Release);
        }
        Err(reason) => {
            tracing::error!(%reason, "not reloaded: the last good configuration stays in force");
            running.record(kind, format!("not reloaded, the last good configuration stays: {reason}"));
            // Last: whoever sees it counted finds its event.
            running.reloads().failed.fetch_add(1, Ordering::Release);
        }
    }
    outcome
}

/// Reads the files, and puts in force what of them is to be. Returns with what came of it of which kind its event is, where it failed.
async fn attempt(
    config: &Path,
    running: &Arc<Running>,
    why: Why,
    asked: &Asked,
) -> Result<(Outcome, EventKind), Overtaken> {
    let path = config.to_owned();
    let governing = running.governing().cloned();
    let in_force = running.shared().snapshot().load().policy.version();
    let kept = Kept(Arc::clone(running));
    let decided = tokio::task::spawn_blocking(move || match governing {
        Some(governing) => {
            // Who activates is told by the answer to that.
            let rolling = Some(()).filter(|()| why == Why::Asked).and_then(|()| governing.rollout());
            governing.choose(None, why, Some(in_force)).map(|decided| {
                let is_noted = matches!(decided.number, Number::Noted(..));
                let impact = if is_noted { governing.foresee_found(&decided.loaded, &kept) } else { Vec::new() };
                (decided, impact, rolling.map(|rolling| rolling.rollout.n))
            })
        }
        None => load(&path, &ProcessEnvironment)
            .map(|loaded| (Decided::unversioned(loaded), Vec::new(), None))
            .map_err(|report| Refused::Files(Box::new(report))),
    })
    .await;
    let mut kind = EventKind::PolicyRejected;
    let outcome = match decided {
        Ok(Ok((mut decided, impact, rolled_out))) => {
            // First the databases, which take a while: countries are known when the policy asks for them.
            let before = running.shared().geo.settings();
            locate(running, decided.loaded.geo.clone()).await;
            let alarm = decided.alarm.take();
            let asked = Asked { impact, ..asked.clone() };
            let on = Arc::clone(running);
            let applied = tokio::task::spawn_blocking(move || apply(decided, &on, &asked, rolled_out));
            let failed = |error| Ok(Outcome::failed(format!("the configuration could not be put in force: {error}")));
            let outcome = applied.await.unwrap_or_else(failed);
            if outcome.as_ref().map_or(true, |outcome| outcome.result.is_err()) {
                locate(running, before).await;
            } else if let Some(alarm) = alarm {
                // The version is in force, and the files are something else.
                tracing::error!("{}", alarm.message);
                running.record(alarm.kind(), alarm.message);
            }
            outcome?
        }
        Ok(Err(Refused::Alarm(alarm))) => {
            kind = alarm.kind();
            Outcome::failed(alarm.message)
        }
        Ok(Err(Refused::Other(reason))) => Outcome::failed(reason),
        Ok(Err(Refused::Files(report))) => {
            tracing::error!("the configuration on disk is invalid:\n{}", report.render_human(false).trim_end());
            Outcome { result: Err(report.summary_line()), report: *report, restart: Vec::new() }
        }
        Err(error) => Outcome::failed(format!("the configuration could not be read: {error}")),
    };
    Ok((outcome, kind))
}

/// Puts other geo databases in force, on another thread.
async fn locate(running: &Running, settings: portcullis_geo::GeoSettings) {
    let shared = Arc::clone(running.shared());
    match tokio::task::spawn_blocking(move || shared.geo.configure(&settings)).await {
        Ok(changes) => tell(&changes),
        Err(error) => tracing::error!(%error, "the geo databases could not be read"),
    }
}

/// Puts it in force. It waits for whoever keeps the log of versions, or a list. `rolled_out`: the version that was being rolled out before.
fn apply(
    mut decided: Decided,
    running: &Running,
    asked: &Asked,
    rolled_out: Option<u64>,
) -> Result<Outcome, Overtaken> {
    let report = std::mem::take(&mut decided.loaded.warnings);
    if report.warnings() > 0 {
        tracing::warn!("the configuration has warnings:\n{}", report.render_human(false).trim_end());
    }
    let restart = running.fixed_but_changed(&decided.loaded);
    if !restart.is_empty() {
        tracing::warn!(tables = restart.join(", "), "fixed while the process runs: restart to change them");
    }
    let mut summary = decided.loaded.summary.to_string().replace('\n', "; ");
    match running.replace(decided, asked) {
        Ok(()) => {}
        Err(StartError::Overtaken(overtaken)) => return Err(overtaken),
        Err(error) => return Ok(Outcome { result: Err(error.to_string()), report, restart }),
    }
    if let Some(why) = running.governing().and_then(|governing| governing.unkept()) {
        summary.push_str(&format!(
            "; THIS IS NO VERSION, and nothing to go back to: {why}; `portcullis reload` keeps it as one, once that is mended"
        ));
    }
    if let Some(ended) = rolled_out.and_then(|n| ended(running, n)) {
        tracing::warn!("{ended}");
        summary.push_str(&format!("; {ended}"));
    }
    let snapshot = running.shared().snapshot().load();
    tracing::info!(version = snapshot.policy.version(), sha256 = snapshot.policy.sha256(), "reloaded");
    running.record(EventKind::PolicyReloaded, summary.clone());
    Ok(Outcome { result: Ok(summary), report, restart })
}

/// What became of a version that was being rolled out before the reload, where it is not any more.
fn ended(running: &Running, n: u64) -> Option<String> {
    let governing = running.governing().filter(|governing| governing.rollout().is_none())?;
    let live = governing.n();
    Some(match live == n {
        true => format!("version {n}, which was being rolled out, is live for everybody"),
        false => format!(
            "version {n}, which was being rolled out, is rolled out no more: version {live} is live, and what {n} was to change is in it only where the files hold it"
        ),
    })
}
