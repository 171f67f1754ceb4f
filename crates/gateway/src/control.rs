//! What the control channel can have done: the running gateway as `admin` needs it.

mod factor;
mod feed;
mod preview;
mod providers;
mod risk;
mod spikes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{
    Acceptance, Alert, AlertTested, Alerts, Ban as ShownBan, BanReport, Bans, Calibrations, Contained, DiskState,
    DiskStatus, Done, Endpoint, Feeds, GeoDatabase, Health, Listener, Located, NewBan, NewBans, Outlook, PastLogins,
    PolicyStatus, PolicyText, Previewed, Problem, Profile, Reloaded, Reloads, Sample, Session, Sessions, Sink,
    SinkTested, Spikes, Status, Store, Tried, Upstream, WhereIs, WhichSessions,
};
use portcullis_admin::api::{FactorBegun, FactorCode, FactorConfirmed, Factors, NewFactor};
use portcullis_admin::api::{KeyUses, MutedAlert, NewMute, NewRevocation, Revocations, RevokedName};
use portcullis_admin::govern::{Answer as GovernAnswer, Governed};
use portcullis_admin::{Action, ActionKind, Gateway, Peer, Tail};
use portcullis_config::{ProcessEnvironment, load};
use portcullis_events::{Answer, Event, EventKind, SinkStats, Tap};
use portcullis_identity::session::SessionEntry;
use portcullis_policy::{Ban, BanScope};
use portcullis_risk::{Actor, BanEntry, CalibrationError, ImposeError};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::alerting::Entry;
use crate::cli::feed::located;
use crate::governing::{Who, Why};
use crate::reload::Outcome;
use crate::running::Running;

/// What the main thread is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Reload for this reason, as these names want it, and say what came of it.
    Reload(Why, Vec<String>, oneshot::Sender<Outcome>),
    /// Drain and end.
    Drain,
}

/// Where orders go.
pub(crate) type Orders = mpsc::Sender<Order>;

/// A running gateway under an operator's hand.
#[derive(Debug)]
pub(crate) struct Operated {
    running: Arc<Running>,
    config: PathBuf,
    orders: Orders,
    tail: Tail,
}

/// Shows the events to those who follow them.
#[derive(Debug)]
struct Followed(Tail);

impl Tap for Followed {
    fn is_looking(&self) -> bool {
        self.0.is_followed()
    }

    fn see(&self, line: &[u8]) {
        self.0.offer(line);
    }
}

/// A worker looks after itself each second; more than this is no sign of life.
const ALIVE: Duration = Duration::from_secs(5);
/// A ban by hand lasts no longer.
const LONGEST_BAN: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// How long the delivery of a test event is waited for, and how often it is looked at.
const TEST_PATIENCE: Duration = Duration::from_secs(10);
const TEST_POLL: Duration = Duration::from_millis(20);
/// A reason for a ban is no longer, in bytes.
const MAX_REASON: usize = 256;
/// Sessions that are listed.
const MOST_SESSIONS: usize = 10_000;
/// Bans that can be imported at once.
const MOST_IMPORTED: usize = 10_000;

impl Operated {
    pub(crate) fn new(running: Arc<Running>, config: &Path, orders: Orders) -> Self {
        let tail = Tail::default();
        running.shared().recorder.set_tap(Box::new(Followed(tail.clone())));
        Self { running, config: config.to_owned(), orders, tail }
    }

    fn policy(&self) -> PolicyStatus {
        let snapshot = self.running.shared().snapshot().load();
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
    fn disk(&self) -> DiskStatus {
        match load(&self.config, &ProcessEnvironment) {
            Err(report) => {
                let first = report.diagnostics().next().map(|first| {
                    let at = report.position(first.primary);
                    format!("{}:{}:{}: {}", report.file(first.primary), at.line, at.column, first.message)
                });
                let problem =
                    first.map_or_else(|| report.summary_line(), |first| format!("{}: {first}", report.summary_line()));
                DiskStatus { state: DiskState::Invalid, sha256: None, problem: Some(problem), restart: Vec::new() }
            }
            Ok(loaded) => DiskStatus {
                state: if self.running.runs_on(&loaded) { DiskState::Same } else { DiskState::Differs },
                sha256: Some(loaded.policy.sha256().to_owned()),
                problem: None,
                restart: self.running.fixed_but_changed(&loaded).into_iter().map(str::to_owned).collect(),
            },
        }
    }

    fn upstreams(&self) -> Vec<Upstream> {
        let states = self.running.shared().upstreams.all();
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

    fn sinks(&self) -> Vec<Sink> {
        let stats = self.running.shared().recorder.stats();
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

    fn alive(&self) -> bool {
        let shared = self.running.shared();
        shared.metrics.is_beating(&shared.clock, ALIVE)
    }

    fn shown(&self, entry: &BanEntry) -> ShownBan {
        let left = entry.ban.until.duration_since(self.running.shared().clock.now());
        ShownBan {
            on: entry.actor.to_string(),
            scope: entry.ban.scope.as_str().to_owned(),
            until: format!("{:.0}", entry.ban.until),
            left_s: u64::try_from(left.as_secs()).unwrap_or_default(),
            offences: entry.ban.offences,
            cause: entry.ban.cause.to_string(),
            simulated: entry.ban.simulated,
            began: format!("{:.0}", entry.began),
        }
    }

    /// On whom a ban by hand is to be, until when and why.
    fn wanted(&self, ban: &NewBan, now: Timestamp) -> Result<(Actor, Timestamp, String), Problem> {
        let actor = actor(&ban.on)?;
        let length = Duration::from_secs(ban.for_s);
        if length.is_zero() || length > LONGEST_BAN {
            return Err(problem("a ban lasts from a second to a year"));
        }
        if ban.reason.trim().is_empty() || ban.reason.len() > MAX_REASON || ban.reason.chars().any(char::is_control) {
            return Err(problem(format!("the reason must be there, on one line of at most {MAX_REASON} bytes")));
        }
        let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(length).unwrap_or(Timestamp::MAX);
        Ok((actor, until, format!("by hand: {}", ban.reason)))
    }
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

fn store(stats: portcullis_store::StoreStats) -> Store {
    Store {
        path: stats.path.display().to_string(),
        bytes: stats.bytes,
        written: stats.written,
        failed: stats.failed,
        pending: stats.pending as u64,
        last_written: stats.last_written.map(|last| format!("{last:.0}")),
        trouble: stats.trouble.as_deref().map(str::to_owned),
    }
}

fn problem(error: impl Into<String>) -> Problem {
    Problem { error: error.into() }
}

/// Whom a text names.
fn actor(text: &str) -> Result<Actor, Problem> {
    let actor: Actor = text.parse().map_err(|error| problem(format!("`{}`: {error}", shown(text))))?;
    let mapped = match &actor {
        Actor::Network(ipnet::IpNet::V6(network)) => network.addr().to_ipv4_mapped().is_some(),
        Actor::Network(ipnet::IpNet::V4(_)) | Actor::Principal { .. } => false,
    };
    if mapped {
        return Err(problem(format!("`{}`: write the IPv4 network", shown(text))));
    }
    Ok(actor)
}

/// The beginning of what somebody wrote, fit for a line.
fn shown(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}

impl Gateway for Operated {
    fn status(&self) -> Status {
        let shared = self.running.shared();
        let (started, uptime) = self.running.started();
        let reloads = self.running.reloads();
        let loaded = Timestamp::from_second(reloads.last_success.load(Ordering::Relaxed)).unwrap_or_default();
        let listener = |(name, address): &(Arc<str>, std::net::SocketAddr)| Listener {
            name: name.to_string(),
            address: address.to_string(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: self.running.node().to_owned(),
            config: std::path::absolute(&self.config).as_ref().unwrap_or(&self.config).display().to_string(),
            started: format!("{started:.0}"),
            uptime_s: uptime.as_secs(),
            draining: shared.is_draining(),
            policy: self.policy(),
            disk: self.disk(),
            reloads: Reloads {
                ok: reloads.succeeded.load(Ordering::Relaxed),
                error: reloads.failed.load(Ordering::Relaxed),
                last_success: format!("{loaded:.0}"),
            },
            listeners: self.running.addresses().iter().map(listener).collect(),
            workers: self.running.workers(),
            workers_alive: self.alive(),
            connections: shared.metrics.connections.load(Ordering::Relaxed) as u64,
            requests: shared.metrics.in_flight() as u64,
            upstreams: self.upstreams(),
            sinks: self.sinks(),
            events: shared.recorder.recorded(),
            bans: shared.risk.bans_active(shared.clock.now()) as u64,
            geo: shared.geo.reports().into_iter().map(geo).collect(),
            store: self.running.kept().map(|kept| store(kept.stats())),
            providers: providers::shown(&self.running),
        }
    }

    fn health(&self) -> Health {
        Health { live: self.alive(), ready: !self.running.shared().is_draining() }
    }

    async fn reload(&self) -> Reloaded {
        let (answer, outcome) = oneshot::channel();
        // Where the main thread does not take it, the answer is dropped with it.
        let _ = self.orders.try_send(Order::Reload(Why::Asked, vec!["operator".to_owned()], answer));
        let outcome = outcome.await;
        let sha256 = self.policy().sha256;
        let Ok(outcome) = outcome else {
            let message = "not reloaded: the gateway stops, or reloads already".to_owned();
            return Reloaded {
                reloaded: false,
                message,
                sha256,
                report: None,
                problems: Value::Null,
                restart: Vec::new(),
            };
        };
        let report = &outcome.report;
        let any = report.errors() + report.warnings() > 0;
        Reloaded {
            reloaded: outcome.result.is_ok(),
            report: any.then(|| report.render_human(false)),
            problems: serde_json::from_str(&report.render_json()).unwrap_or_default(),
            restart: outcome.restart.iter().map(|table| (*table).to_owned()).collect(),
            message: outcome.result.unwrap_or_else(|reason| format!("not reloaded: {reason}")),
            sha256,
        }
    }

    fn drain(&self) {
        // A full queue holds an order to drain already, or reloads that end soon: then there is a signal for it.
        if self.orders.try_send(Order::Drain).is_err() {
            tracing::warn!("the order to drain could not be given: it stops already, or is busy");
        }
    }

    fn bans(&self) -> Bans {
        let shared = self.running.shared();
        Bans { bans: shared.risk.bans(shared.clock.now()).iter().map(|entry| self.shown(entry)).collect() }
    }

    fn explain_ban(&self, on: &str) -> Result<BanReport, Problem> {
        let shared = self.running.shared();
        let actor = actor(on)?;
        let report = shared.risk.report(&actor, shared.clock.now());
        let sample = |sample: &portcullis_risk::BanSample| Sample {
            reason: sample.reason.to_string(),
            path: sample.path.to_string(),
        };
        Ok(BanReport {
            on: actor.to_string(),
            bans: report.bans.iter().map(|entry| self.shown(entry)).collect(),
            never: report.never,
            evidence: report.evidence.iter().map(sample).collect(),
            outlook: report.outlook.map(|outlook| Outlook {
                past_offences: (outlook.past * 100.0).round() / 100.0,
                next_s: outlook.next.as_secs(),
                forget_half_s: outlook.forget_half.as_secs(),
            }),
        })
    }

    fn profile(&self, on: &str) -> Result<Profile, Problem> {
        let shared = self.running.shared();
        let actor = actor(on)?;
        let report = shared.risk.profile_of(&actor, shared.clock.now());
        let report = report.ok_or_else(|| problem(format!("nothing is known of {actor}")))?;
        Ok(risk::shown(actor.to_string(), report))
    }

    fn forget_profile(&self, on: &str) -> Result<Done, Problem> {
        let actor = actor(on)?;
        if self.running.shared().risk.forget_profile(&actor) {
            Ok(Done { message: format!("what was usual for {actor} is forgotten") })
        } else {
            Err(problem(format!("nothing is known of {actor}")))
        }
    }

    fn warm(&self, logins: &PastLogins) -> Result<Done, Problem> {
        let shared = self.running.shared();
        if !shared.risk.scores() {
            return Err(problem("risk is off, so nothing is learnt"));
        }
        let risk::Warmed { learnt, left_out } = risk::warm(shared, logins);
        Ok(Done { message: format!("learnt from {learnt} logins of the past, {left_out} left out") })
    }

    fn calibrations(&self) -> Calibrations {
        risk::calibrations(&self.running.shared().risk)
    }

    fn propose_calibration(&self) -> Result<Done, Problem> {
        let made = self.running.shared().risk.calibrate(Timestamp::now(), false);
        let made = made.map_err(|error| problem(error.to_string()))?;
        Ok(Done {
            message: format!(
                "calibration {} is made, and not in force: `risk calibration show {0}`, then `activate {0}`",
                made.id
            ),
        })
    }

    fn activate_calibration(&self, id: &str) -> Result<Done, Problem> {
        if self.running.shared().risk.counted().0.is_none() {
            return Err(problem(CalibrationError::NoBudget.to_string()));
        }
        let put = self.running.put_calibration(id).map_err(|error| problem(error.to_string()))?;
        Ok(Done { message: format!("calibration {} is in force: {}", put.id, self.running.thresholds_in_words()) })
    }

    fn roll_calibration_back(&self) -> Result<Done, Problem> {
        let before = self.running.take_calibration_back().map_err(|error| problem(error.to_string()))?;
        let what = before.map_or_else(|| "none is".to_owned(), |before| format!("{} is again", before.id));
        Ok(Done { message: format!("of the calibrations {what} in force: {}", self.running.thresholds_in_words()) })
    }

    fn add_ban(&self, ban: &NewBan) -> Result<Done, Problem> {
        let shared = self.running.shared();
        let now = shared.clock.now();
        let (actor, until, cause) = self.wanted(ban, now)?;
        let imposed = shared.risk.impose(&actor, until, &cause, now).map_err(|error| problem(error.to_string()))?;
        tracing::warn!(%actor, until = %imposed.until, reason = %ban.reason, "banned by hand");
        let simulated = if imposed.simulated { " (simulated: the policy only reports bans)" } else { "" };
        Ok(Done { message: format!("{actor} is banned until {:.0}{simulated}: {}", imposed.until, ban.reason) })
    }

    fn import_bans(&self, bans: &NewBans) -> Result<Done, Problem> {
        let risk = &self.running.shared().risk;
        let now = self.running.shared().clock.now();
        if bans.bans.is_empty() || bans.bans.len() > MOST_IMPORTED {
            return Err(problem(format!("from 1 to {MOST_IMPORTED} bans can be imported at once")));
        }
        let wanted = bans.bans.iter().map(|ban| {
            self.wanted(ban, now)
                .map_err(|Problem { error }| problem(format!("{}: {error}; none is imported", shown(&ban.on))))
        });
        let wanted: Vec<_> = wanted.collect::<Result<_, _>>()?;
        for (actor, ..) in &wanted {
            if risk.is_never(actor) {
                return Err(problem(format!("{actor}: {}; none is imported", ImposeError::Never)));
            }
        }
        // First those on whom there is none: only for these there may be no room, and then each is lifted again.
        let (replaced, new): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|(actor, ..)| risk.own_ban(actor, now).is_some());
        let (mut imposed, mut simulated) = (Vec::new(), false);
        for (actor, until, cause) in new.into_iter().chain(replaced) {
            let longer = |ban: &Ban| !ban.simulated && ban.scope != BanScope::Anonymous && ban.until >= *until;
            if risk.own_ban(actor, now).is_some_and(|ban| longer(&ban)) {
                continue;
            }
            match risk.impose(actor, *until, cause, now) {
                Ok(ban) => {
                    simulated |= ban.simulated;
                    imposed.push(actor);
                }
                Err(error) => {
                    for actor in imposed {
                        risk.lift(actor);
                    }
                    return Err(problem(format!("{actor}: {error}; none is imported")));
                }
            }
        }
        let (new, all) = (imposed.len(), wanted.len());
        let simulated = if simulated { " (simulated: the policy only reports bans)" } else { "" };
        let message = format!(
            "{new} bans of {all} are imported from {}{simulated}; the others are in force for longer",
            shown(&bans.from)
        );
        let message = if new == all { message.split("; ").next().unwrap_or(&message).to_owned() } else { message };
        tracing::warn!(bans = new, from = %shown(&bans.from), "bans were imported by hand");
        Ok(Done { message })
    }

    fn remove_ban(&self, on: &str) -> Result<Done, Problem> {
        let actor = actor(on)?;
        if !self.running.shared().risk.lift(&actor) {
            return Err(problem(format!("there is no ban on {actor}")));
        }
        tracing::info!(%actor, "a ban was lifted by hand");
        Ok(Done { message: format!("the ban on {actor} is lifted, and its offences are forgotten") })
    }

    fn test_sink(&self, peer: &Peer, name: &str) -> Result<SinkTested, Problem> {
        let Some(before) = self.sink_stats(name) else {
            let error = format!("there is no sink `{}`", shown(name));
            self.record(&Action { kind: ActionKind::SinkTest, peer, succeeded: false, message: error.clone() });
            return Err(problem(error));
        };
        let mut watch = self.tail.watch();
        let message = format!("a test of the sink {name}: nothing happened");
        let event = self.event(&Action { kind: ActionKind::SinkTest, peer, succeeded: true, message });
        let id = event.id.to_string();
        self.running.shared().recorder.record(event);
        let (began, mut line) = (Instant::now(), None);
        loop {
            line = line.or_else(|| watch.find(&id));
            let now = self.sink_stats(name).unwrap_or_else(|| before.clone());
            if let Some((delivered, message)) = verdict(&before, &now, began.elapsed()) {
                let line = line.or_else(|| watch.find(&id));
                let recorder = &self.running.shared().recorder;
                let wire = line.as_deref().and_then(|line| recorder.wire(name, line.as_bytes()));
                return Ok(SinkTested { delivered, message, id, line, wire });
            }
            std::thread::sleep(TEST_POLL);
        }
    }

    fn alerts(&self) -> Alerts {
        let now = self.running.shared().clock.now();
        let overview = self.running.alerting().alerts.overview();
        Alerts {
            alerts: overview.alerts.into_iter().map(shown_alert).collect(),
            contained: self
                .running
                .alerting()
                .contained(self.running.shared(), now)
                .iter()
                .map(|entry| contained(entry, now))
                .collect(),
            missed: overview.missed,
        }
    }

    fn test_alert(&self, name: &str) -> Result<AlertTested, Problem> {
        let tried = self.running.alerting().alerts.test(name);
        let tried = tried.ok_or_else(|| problem(format!("there is no alert `{}`", shown(name))))?;
        let of = |tried: portcullis_alerts::Tried| Tried {
            notifier: tried.notifier.to_string(),
            kind: tried.kind.to_owned(),
            delivered: tried.delivered,
            message: tried.message,
        };
        Ok(AlertTested { name: name.to_owned(), tried: tried.into_iter().map(of).collect() })
    }

    fn lift_containment(&self, id: &str) -> Result<Done, Problem> {
        let lifted = self.running.alerting().lift(id, self.running.shared());
        lifted.map(|message| Done { message }).map_err(problem)
    }

    fn mute_alerts(&self, mute: &NewMute) -> Result<Done, Problem> {
        if mute.for_s == 0 || mute.for_s > MUTE_MAX_S {
            return Err(problem("alerts are muted for a second to 7 days".to_owned()));
        }
        if mute.reason.trim().is_empty() || mute.reason.len() > 256 {
            return Err(problem("the reason is 1 to 256 bytes long".to_owned()));
        }
        let lasts = SignedDuration::from_secs(i64::try_from(mute.for_s).unwrap_or(i64::MAX));
        // The hours of a mute go by the clock on the wall.
        let until = Timestamp::now().checked_add(lasts).map_err(|error| problem(error.to_string()))?;
        let whose = whose(mute.alert.as_deref());
        if !self.running.alerting().alerts.mute(mute.alert.as_deref(), until, &mute.reason) {
            let named = mute.alert.as_deref().map(|name| format!(" `{}`", shown(name)));
            return Err(problem(format!("there is no alert{}", named.unwrap_or_default())));
        }
        tracing::warn!(%whose, %until, reason = mute.reason, "muted by hand");
        Ok(Done { message: format!("{whose} muted until {until:.0}: {}", mute.reason) })
    }

    fn unmute_alerts(&self, muted: &MutedAlert) -> Result<Done, Problem> {
        let whose = whose(muted.alert.as_deref());
        if !self.running.alerting().alerts.unmute(muted.alert.as_deref()) {
            return Err(problem(format!("{whose} not muted by hand: see `portcullis alert list`")));
        }
        tracing::info!(%whose, "not muted any more");
        Ok(Done { message: format!("{whose} not muted by hand any more") })
    }

    fn feeds(&self) -> Feeds {
        Feeds { feeds: self.running.feeds().reports().iter().cloned().map(feed::shown).collect() }
    }

    fn refresh_feed(&self, name: &str) -> Result<Done, Problem> {
        match self.running.feeds().refresh(name) {
            Some(finished) if finished.is_current => Ok(Done { message: finished.message }),
            Some(finished) => Err(problem(finished.message)),
            None if self.running.feeds().keeper().has(name) => Err(problem("it takes too long, or the gateway stops")),
            None => Err(problem(format!("there is no network `{}` with a source", shown(name)))),
        }
    }

    fn locate(&self, address: &WhereIs) -> Located {
        let settings = self.running.feeds().keeper().settings();
        located(&self.running.shared().snapshot().load().policy, &settings, address.address)
    }

    fn accept_feed(&self, acceptance: &Acceptance) -> Result<Done, Problem> {
        let accepted = self.running.accept_feed(&acceptance.name, &acceptance.sha256);
        accepted.map(|finished| Done { message: finished.message }).map_err(|error| problem(error.to_string()))
    }

    fn key_uses(&self) -> KeyUses {
        self.running.key_uses()
    }

    fn revocations(&self) -> Revocations {
        self.running.revoking().shown()
    }

    fn revoke(&self, revocation: &NewRevocation) -> Result<Done, Problem> {
        self.running.revoking().revoke(revocation).map(|message| Done { message }).map_err(problem)
    }

    fn lift_revocation(&self, revoked: &RevokedName) -> Result<Done, Problem> {
        let lifted = self.running.revoking().lift(&revoked.what, &revoked.name);
        lifted.map(|message| Done { message }).map_err(problem)
    }

    async fn govern(&self, peer: &Peer, wanted: Governed) -> Result<GovernAnswer, Problem> {
        let governing = self.running.governing().cloned();
        let governing =
            governing.ok_or_else(|| problem("versions are kept in the store, and there is none: add `[store]`"))?;
        let who = Who::of(peer);
        let names = who.names.clone();
        let performed = tokio::task::spawn_blocking(move || governing.perform(wanted, &who, Timestamp::now())).await;
        let performed = performed.map_err(|error| problem(error.to_string()))?.map_err(problem)?;
        let Some(n) = performed.activated else { return Ok(performed.answer) };
        let (answer, outcome) = oneshot::channel();
        let _ = self.orders.try_send(Order::Reload(Why::Activated, names, answer));
        let trouble = match outcome.await {
            Ok(Outcome { result: Ok(_), .. }) => return Ok(performed.answer),
            Ok(Outcome { result: Err(reason), .. }) => reason,
            Err(_) => "the gateway stops, or reloads already".to_owned(),
        };
        Err(problem(format!(
            "version {n} is approved and the last one, but not in force yet: {trouble}; `portcullis reload` tries again"
        )))
    }

    fn factors(&self, on: &str) -> Result<Factors, Problem> {
        factor::list(self.running.factors(), on)
    }

    fn enroll_factor(&self, new: &NewFactor) -> Result<FactorBegun, Problem> {
        factor::enroll(self.running.factors(), new)
    }

    fn confirm_factor(&self, code: &FactorCode) -> Result<FactorConfirmed, Problem> {
        factor::confirm(self.running.factors(), code)
    }

    fn reset_factors(&self, on: &str) -> Result<Done, Problem> {
        factor::reset(self.running.factors(), on)
    }

    fn sessions(&self) -> Sessions {
        let sessions = self.running.sessions();
        let (opened, ended) = sessions.counts();
        let entries = sessions.entries(Timestamp::now(), MOST_SESSIONS);
        Sessions { sessions: entries.iter().map(shown_session).collect(), opened, ended }
    }

    fn revoke_sessions(&self, which: &WhichSessions) -> Result<Done, Problem> {
        let sessions = self.running.sessions();
        let (ended, written) = match (which.id.as_deref(), which.principal.as_deref()) {
            (Some(id), None) if id.len() < 8 => {
                return Err(problem("name at least eight characters of the session's id"));
            }
            (Some(id), None) => sessions.revoke(id),
            (None, Some(principal)) => sessions.revoke_principal(principal),
            (Some(_), Some(_)) | (None, None) => return Err(problem("name a session or a principal")),
        };
        // It opens nothing from now on, whatever the store says.
        let kept = written.wait();
        let Some(first) = ended.first() else { return Err(problem("there is no such session")) };
        tracing::warn!(principal = %first, sessions = ended.len(), "sessions were ended by hand");
        let count = ended.len();
        let what = format!("{count} session{} of {}", if count == 1 { "" } else { "s" }, shown(first));
        match kept {
            Ok(()) => Ok(Done { message: format!("{what} ended") }),
            Err(why) => Err(problem(format!(
                "{what} ended, but the store could not be written, and a restart now would bring it back: {why}"
            ))),
        }
    }

    fn preview_policy(&self, candidate: &PolicyText) -> Result<Previewed, Problem> {
        preview::preview(&self.running, &self.config, candidate).map_err(problem)
    }

    fn spikes(&self) -> Result<Spikes, Problem> {
        spikes::shown(&self.running).map_err(problem)
    }

    fn tail(&self) -> &Tail {
        &self.tail
    }

    fn record(&self, action: &Action<'_>) {
        self.running.shared().recorder.record(self.event(action));
    }
}

impl Operated {
    fn sink_stats(&self, name: &str) -> Option<SinkStats> {
        self.running.shared().recorder.stats().into_iter().find(|sink| &*sink.name == name)
    }

    /// The event of an action.
    fn event(&self, action: &Action<'_>) -> Event {
        let kind = kind(action.kind);
        tracing::info!(peer = %action.peer.shown(), succeeded = action.succeeded, "{}", action.message);
        let mut event = self.running.event(kind, action.message.clone());
        event.decision = Some(if action.succeeded { Answer::Permit } else { Answer::Deny });
        match action.peer {
            Peer::Account(account) => {
                event.identity.id = Some(account.uid.to_string());
                event.identity.name.clone_from(&account.name);
                event.identity.method = Some("unix_socket");
            }
            Peer::Operator(operator) => {
                event.identity.id = Some(operator.principal.clone());
                event.identity.method = Some("admin_api");
                event.client.ip = operator.client;
            }
        }
        event.identity.kind = Some("operator");
        event
    }
}

fn shown_session(entry: &SessionEntry) -> Session {
    Session {
        id: entry.reference.clone(),
        principal: entry.principal.clone(),
        provider: entry.provider.to_string(),
        created: format!("{:.0}", entry.created),
        last_seen: format!("{:.0}", entry.last_seen),
        idle_until: format!("{:.0}", entry.idle_until),
        until: format!("{:.0}", entry.until),
        raised: entry.raised.as_ref().map(|(method, at)| format!("{method} at {at:.0}")),
    }
}

fn shown_alert(state: portcullis_alerts::AlertState) -> Alert {
    Alert {
        name: state.name.to_string(),
        condition: state.condition,
        fired: state.fired,
        firing: state.firing,
        keys: state.keys as u64,
        evicted: state.evicted,
        crowded: state.crowded,
        overflowed: state.overflowed,
        muted: state.muted.map(|reason| reason.to_string()),
        learning: state.learning,
    }
}

/// The longest mute by hand: seven days. What is to be quiet for longer belongs into the configuration.
const MUTE_MAX_S: u64 = 7 * 24 * 60 * 60;

/// The beginning of a sentence about an alert, or all of them.
fn whose(alert: Option<&str>) -> String {
    alert.map_or_else(|| "all alerts are".to_owned(), |alert| format!("the alert {} is", shown(alert)))
}

fn contained(entry: &Entry, now: Timestamp) -> Contained {
    Contained {
        id: entry.id.clone(),
        alert: entry.alert.to_string(),
        measure: entry.measure.as_str().to_owned(),
        on: entry.on.to_string(),
        since: format!("{:.0}", entry.since),
        until: format!("{:.0}", entry.until),
        left_s: u64::try_from(entry.until.duration_since(now).as_secs()).unwrap_or_default(),
        event: entry.event.to_string(),
        simulated: entry.simulated,
    }
}

fn kind(kind: ActionKind) -> EventKind {
    match kind {
        ActionKind::Reload => EventKind::AdminReload,
        ActionKind::Drain => EventKind::AdminDrain,
        ActionKind::BanAdd => EventKind::AdminBanAdd,
        ActionKind::BanRemove => EventKind::AdminBanRemove,
        ActionKind::RiskForget => EventKind::AdminRiskForget,
        ActionKind::RiskWarm => EventKind::AdminRiskWarm,
        ActionKind::RiskCalibration => EventKind::AdminRiskCalibration,
        ActionKind::SinkTest => EventKind::AdminSinkTest,
        ActionKind::AlertTest => EventKind::AdminAlertTest,
        ActionKind::AlertLift => EventKind::AdminAlertLift,
        ActionKind::AlertMute => EventKind::AdminAlertMute,
        ActionKind::FeedRefresh => EventKind::AdminFeedRefresh,
        ActionKind::FeedAccept => EventKind::AdminFeedAccept,
        ActionKind::Revoke => EventKind::AdminRevoke,
        ActionKind::RevokeLift => EventKind::AdminRevokeLift,
        ActionKind::PolicyPropose => EventKind::AdminPolicyPropose,
        ActionKind::PolicyApprove => EventKind::AdminPolicyApprove,
        ActionKind::PolicyReject => EventKind::AdminPolicyReject,
        ActionKind::PolicyActivate => EventKind::AdminPolicyActivate,
        ActionKind::PolicyRollback => EventKind::AdminPolicyRollback,
        ActionKind::Approvers => EventKind::AdminApprovers,
        ActionKind::FactorEnroll => EventKind::AdminFactorEnroll,
        ActionKind::FactorReset => EventKind::AdminFactorReset,
        ActionKind::SessionRevoke => EventKind::AdminSessionRevoke,
        ActionKind::EventsTail => EventKind::AdminEventsTail,
        ActionKind::Refused => EventKind::AdminRefused,
    }
}

/// What became of an event that was recorded when the counts were `before`: whether it was delivered, and what happened. `None`:
/// it is still on its way.
fn verdict(before: &SinkStats, now: &SinkStats, waited: Duration) -> Option<(bool, String)> {
    let milliseconds = waited.as_millis();
    let failed = now.failed.saturating_sub(before.failed);
    // All that waited before it, and it.
    let due = before.exported.saturating_add(before.queue_depth as u64).saturating_add(1);
    if now.dropped() > before.dropped() && now.queue_depth == 0 {
        return Some((false, "the event was lost: it was dropped, and counted".to_owned()));
    }
    if now.exported >= due || (now.exported > before.exported && now.queue_depth == 0) {
        let attempts = if failed > 0 { format!(" after {failed} attempts that failed") } else { String::new() };
        return Some((true, format!("delivered within {milliseconds} ms{attempts}")));
    }
    if waited < TEST_PATIENCE {
        return None;
    }
    let waiting = now.queue_depth;
    Some((
        false,
        if failed > 0 {
            format!(
                "not delivered in {milliseconds} ms: {failed} attempts failed, {waiting} events wait; the log says why"
            )
        } else if waiting > 0 {
            format!("not delivered in {milliseconds} ms: {waiting} events wait")
        } else {
            format!("nothing was written in {milliseconds} ms: the sink's filter leaves such events out")
        },
    ))
}
