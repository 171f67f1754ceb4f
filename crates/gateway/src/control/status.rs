//! How the process does, as the control channel shows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_admin::api::{
    AuditStatus, DiskState, DiskStatus, Endpoint, GeoDatabase, Listener, PolicyStatus, Reloads, Sink, Status, Store,
    Upstream,
};
use portcullis_config::{ProcessEnvironment, load};
use portcullis_events::SinkStats;

use super::{Operated, providers};
use crate::auditing::Auditing;

/// A worker looks after itself each second; more than this is no sign of life.
const ALIVE: Duration = Duration::from_secs(5);

/// All of it.
pub(super) fn whole(operated: &Operated) -> Status {
    let shared = operated.running.shared();
    let (started, uptime) = operated.running.started();
    let reloads = operated.running.reloads();
    let loaded = Timestamp::from_second(reloads.last_success.load(Ordering::Relaxed)).unwrap_or_default();
    let listener = |(name, address): &(Arc<str>, std::net::SocketAddr)| Listener {
        name: name.to_string(),
        address: address.to_string(),
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        node: operated.running.node().to_owned(),
        config: std::path::absolute(&operated.config).as_ref().unwrap_or(&operated.config).display().to_string(),
        started: format!("{started:.0}"),
        uptime_s: uptime.as_secs(),
        draining: shared.is_draining(),
        policy: policy(operated),
        disk: disk(operated),
        reloads: Reloads {
            ok: reloads.succeeded.load(Ordering::Relaxed),
            error: reloads.failed.load(Ordering::Relaxed),
            last_success: format!("{loaded:.0}"),
        },
        listeners: operated.running.addresses().iter().map(listener).collect(),
        workers: operated.running.workers(),
        workers_alive: alive(operated),
        connections: shared.metrics.connections.load(Ordering::Relaxed) as u64,
        requests: shared.metrics.in_flight() as u64,
        upstreams: upstreams(operated),
        sinks: sinks(operated),
        events: shared.recorder.recorded(),
        bans: shared.risk.bans_active(shared.clock.now()) as u64,
        geo: shared.geo.reports().into_iter().map(geo).collect(),
        store: operated.running.kept().map(|kept| store(kept.stats(), operated.running.revoking().damaged())),
        providers: providers::shown(&operated.running),
        audit: operated.running.auditing().map(|auditing| audit(auditing)),
    }
}

fn audit(auditing: &Auditing) -> AuditStatus {
    let latest = auditing.latest();
    let open = latest.as_ref().map_or(0, |latest| latest.counts.iter().map(|(_, count)| *count as u64).sum());
    AuditStatus {
        run: latest.as_ref().map(|latest| latest.run.clone()),
        at: latest.as_ref().map(|latest| latest.at.clone()),
        open,
        problem: auditing.trouble(),
    }
}

/// What is in force.
pub(super) fn policy(operated: &Operated) -> PolicyStatus {
    let snapshot = operated.running.shared().snapshot().load();
    let size = snapshot.policy.size();
    PolicyStatus {
        version: snapshot.policy.version(),
        sha256: snapshot.policy.sha256().to_owned(),
        routes: size.routes as u64,
        roles: size.roles as u64,
        assignments: size.assignments as u64,
        denies: size.denies as u64,
    }
}

/// What a reload would find, by doing all of it but the last step.
fn disk(operated: &Operated) -> DiskStatus {
    let governed = operated.running.governing().is_some_and(|governing| governing.demands_approvals());
    match load(&operated.config, &ProcessEnvironment) {
        Err(report) => {
            let first = report.diagnostics().next().map(|first| {
                let at = report.position(first.primary);
                format!("{}:{}:{}: {}", report.file(first.primary), at.line, at.column, first.message)
            });
            let problem =
                first.map_or_else(|| report.summary_line(), |first| format!("{}: {first}", report.summary_line()));
            DiskStatus {
                state: DiskState::Invalid,
                sha256: None,
                problem: Some(problem),
                restart: Vec::new(),
                governed,
            }
        }
        Ok(loaded) => DiskStatus {
            state: if operated.running.runs_on(&loaded) { DiskState::Same } else { DiskState::Differs },
            sha256: Some(loaded.policy.sha256().to_owned()),
            problem: None,
            restart: operated.running.fixed_but_changed(&loaded).into_iter().map(str::to_owned).collect(),
            governed,
        },
    }
}

fn upstreams(operated: &Operated) -> Vec<Upstream> {
    let states = operated.running.shared().upstreams.all();
    let endpoint = |report: portcullis_proxy::upstream::EndpointReport<'_>| Endpoint {
        endpoint: report.name.to_owned(),
        state: if report.down {
            "down"
        } else if report.ejected {
            "ejected"
        } else {
            "up"
        }
        .to_owned(),
        failures: report.failures,
    };
    let upstream = |state: &Arc<portcullis_proxy::upstream::UpstreamState>| Upstream {
        name: state.name().to_string(),
        circuit_open: state.is_open(),
        endpoints: state.endpoints().map(endpoint).collect(),
    };
    let mut upstreams: Vec<Upstream> = states.iter().map(upstream).collect();
    upstreams.sort_by(|a, b| a.name.cmp(&b.name));
    upstreams
}

fn sinks(operated: &Operated) -> Vec<Sink> {
    let stats = operated.running.shared().recorder.stats();
    let sink = |stats: &SinkStats| Sink {
        name: stats.name.to_string(),
        queue_depth: stats.queue_depth as u64,
        exported: stats.exported,
        failed: stats.failed,
        dropped: stats.dropped(),
        trouble: stats.trouble.as_deref().map(str::to_owned),
    };
    stats.iter().map(sink).collect()
}

/// Every worker has looked after itself a moment ago.
pub(super) fn alive(operated: &Operated) -> bool {
    let shared = operated.running.shared();
    shared.metrics.is_beating(&shared.clock, ALIVE)
}

fn geo(report: portcullis_geo::GeoReport) -> GeoDatabase {
    let built = i64::try_from(report.built).ok().filter(|built| *built > 0);
    GeoDatabase {
        database: report.database.to_owned(),
        path: report.path.display().to_string(),
        kind: report.kind.to_string(),
        built: built.and_then(|built| Timestamp::from_second(built).ok()).map(|built| built.to_string()),
        problem: report.problem,
    }
}

fn store(stats: portcullis_store::StoreStats, damaged_revocations: u64) -> Store {
    Store {
        path: stats.path.display().to_string(),
        bytes: stats.bytes,
        written: stats.written,
        failed: stats.failed,
        pending: stats.pending as u64,
        last_written: stats.last_written.map(|last| format!("{last:.0}")),
        trouble: stats.trouble.as_deref().map(str::to_owned),
        damaged_revocations,
    }
}
