//! The running gateway: the crates wired together.

mod assembling;
mod before;
mod ending;
mod error;
mod fixed;
mod places;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_config::Loaded;
use portcullis_events::{AccessLog, Event, EventKind, Recorder, Tracer};
use portcullis_identity::session::Sessions;
use portcullis_proxy::data_plane::{Control, Inherited};
use portcullis_proxy::settings::ShutdownSettings;
use portcullis_proxy::{DataPlane, Sampling, Shared, UsageLanes};
use portcullis_store::{Database, KeptSessions};

use crate::alerting::Alerting;
use crate::auditing::{Auditing, Begun, Facts};
use crate::calibrating::calibrated;
use crate::checking::Checking;
use crate::directing::Directories;
use crate::factoring::Factors;
use crate::feeding::Feeds;
use crate::governing::{Asked, Decided, Governing};
use crate::insight::Insight;
use crate::introspecting::Introspecting;
use crate::keeping::{self, Kept};
use crate::keying::ProviderKeys;
use crate::lending::Lender;
use crate::locating::tell;
use crate::logins::Logins;
use crate::pages::OwnPages;
use crate::revoking::Revoking;
use crate::spiking::{self, WaysBack, parts_of};

pub(crate) use error::StartError;

use assembling::{Noted, STARTED, alone_from, digest, keep_sessions, snapshot};
use fixed::Fixed;

/// A gateway that serves.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    alerting: Arc<Alerting>,
    data_plane: Mutex<Option<DataPlane>>,
    control: Control,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    fixed: Fixed,
    reloads: Arc<Reloads>,
    feeds: Arc<Feeds>,
    keys: Arc<ProviderKeys>,
    /// `None`: bans and profiles end with the process.
    kept: Option<Arc<Kept>>,
    revoking: Revoking,
    lender: Arc<Lender>,
    /// `None`: no versions are kept.
    governing: Option<Arc<Governing>>,
    directories: Arc<Directories>,
    checking: Arc<Checking>,
    introspecting: Arc<Introspecting>,
    factors: Arc<Factors>,
    /// The sessions of browsers.
    sessions: Arc<Sessions>,
    kept_sessions: Option<Arc<KeptSessions>>,
    logins: Arc<Logins>,
    /// `None`: no requests are kept.
    insight: Option<Arc<Insight>>,
    /// `None`: nothing is counted of permissions.
    auditing: Option<Arc<Auditing>>,
    /// What the files held that are in force.
    files: ArcSwap<String>,
    started: (Instant, Timestamp),
}

/// How reloads went.
#[derive(Debug)]
pub(crate) struct Reloads {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Seconds since the epoch.
    pub(crate) last_success: AtomicI64,
}

impl Running {
    /// Starts everything but the ops listener. `inherited` are sockets that were passed on.
    ///
    /// # Errors
    /// What could not be opened, bound or used.
    pub(crate) fn start(
        decided: Decided,
        governing: Option<Arc<Governing>>,
        inherited: Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let Decided { mut loaded, number, staged, alarm: _ } = decided;
        // First, so that a store that cannot be used leaves everything as it was.
        let mut database = keeping::open(loaded.store.as_ref())?;
        let is_beside = database.as_ref().map(Database::has_owner).transpose()?.unwrap_or(false);
        let risk = keeping::engine(loaded.risk.clone(), database.as_mut())?;
        let revoking = Revoking::restored(loaded.store.as_ref(), database.as_ref())?;
        let key_uses = database.as_ref().map(Database::key_uses).transpose()?;
        let begun = Begun::open(loaded.audit.is_some(), database.as_ref())?;
        let spikes = spiking::Begun::open(&loaded, database.as_ref())?;
        let recorder = Recorder::start(&loaded.events)?;
        let access_log = loaded.events.access_log.as_ref().map(AccessLog::start).transpose()?;
        let tracer = Tracer::start(&loaded.events)?;
        let fixed = Fixed::of(&loaded);
        let files = ArcSwap::from_pointee(digest(&loaded));
        let alerts = std::mem::take(&mut loaded.alerts);
        let mfa = loaded.mfa.take();
        let (access, break_glass) = (loaded.access, loaded.break_glass.clone());
        let feeds = Feeds::new(&mut loaded);
        let geo = loaded.geo.clone();
        let begun = begun.map(|begun| (begun, Facts::of(&mut loaded)));
        let asked = Asked { reason: "found at a start".to_owned(), ..Asked::by(vec![STARTED.to_owned()]) };
        let noted = Noted { governing: governing.as_deref(), number, asked: &asked };
        let staged = staged.map(|staged| Arc::new(staged.into_staged()));
        let sessions = Arc::<Sessions>::default();
        let snapshot = snapshot(loaded, None, &revoking, &sessions, noted)?.with_staged(staged);
        let (snapshot, settled) = calibrated(snapshot, &risk);
        snapshot.authenticator.remember_key_uses(key_uses.unwrap_or_default());
        snapshot.authenticator.proofs_begin_after(alone_from(is_beside, &fixed.process.shutdown));
        let kept_sessions =
            database.as_ref().map(|database| keep_sessions(database, &snapshot, &sessions)).transpose()?;
        let keys = ProviderKeys::restored(&snapshot.authenticator, fixed.store.as_ref(), database.as_ref())?;
        let directories = Directories::new(&snapshot.authenticator);
        let checking = Checking::new(fixed.password_threads, &snapshot.authenticator).map_err(StartError::Checking)?;
        let introspecting = Introspecting::new(&snapshot.authenticator);
        let sampling = fixed.sample.map(|_| Sampling::new(fixed.process.workers));
        let shared = Shared::new(snapshot, risk, recorder).with_access_log(access_log).with_tracer(tracer);
        let usage = begun.as_ref().map(|_| UsageLanes::new(fixed.process.workers));
        let shared = Arc::new(shared.with_sampling(sampling).with_usage(usage));
        if let Some(governing) = &governing {
            before::tell_what_was_replaced(governing, &shared);
        }
        let logins = Arc::new(Logins::new(&shared, &sessions));
        let factors = Arc::new(Factors::new(mfa, database.as_ref())?);
        factors.start().map_err(StartError::Keeping)?;
        // Before the first request, so that it is decided on as all others.
        tell(&shared.geo.configure(&geo));
        let lender = Lender::open(fixed.store.as_ref(), (access, break_glass), &shared, governing.clone())?;
        let lender = Arc::new(lender);
        // Nobody has set it before.
        let _ = shared.pages.set(Arc::new(OwnPages::new(&shared, &sessions, &logins, &factors, &lender)));
        let alerting = Alerting::start(alerts, &shared).map_err(StartError::Alerts)?;
        let kept = database.map(|database| Kept::start(database, &shared)).transpose().map_err(StartError::Keeping)?;
        let data_plane =
            DataPlane::start(&fixed.process, &shared, inherited).map_err(|error| StartError::DataPlane { error })?;
        let feeds = Arc::new(feeds);
        let ways = WaysBack { governing: governing.clone(), feeds: Arc::clone(&feeds) };
        let spike = fixed.spike.map(|settings| (settings, spikes));
        let insight = fixed.sample.map(|limits| Insight::start(limits, spike, ways, &shared));
        let insight = insight.transpose().map_err(StartError::Insight)?.map(Arc::new);
        let auditing =
            begun.map(|(begun, facts)| Auditing::start(begun, facts, governing.clone(), insight.clone(), &shared));
        let auditing = auditing.transpose().map_err(StartError::Usage)?;
        let reloads = Reloads {
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_success: AtomicI64::new(Timestamp::now().as_second()),
        };
        settle(governing.as_deref(), &shared);
        let running = Self {
            shared,
            alerting: Arc::new(alerting),
            addresses: data_plane.addresses().to_vec(),
            control: data_plane.control(),
            data_plane: Mutex::new(Some(data_plane)),
            fixed,
            reloads: Arc::new(reloads),
            feeds,
            keys: Arc::new(keys),
            kept: kept.map(Arc::new),
            revoking,
            lender,
            governing,
            directories: Arc::new(directories),
            checking: Arc::new(checking),
            introspecting: Arc::new(introspecting),
            factors,
            sessions,
            kept_sessions,
            logins,
            insight,
            auditing: auditing.map(Arc::new),
            files,
            started: (Instant::now(), Timestamp::now()),
        };
        running.tell_settled(&settled);
        Ok(running)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn alerting(&self) -> &Arc<Alerting> {
        &self.alerting
    }

    pub(crate) fn reloads(&self) -> &Arc<Reloads> {
        &self.reloads
    }

    /// The networks that keep themselves current.
    pub(crate) fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }

    /// The identity providers' keys that are fetched.
    pub(crate) fn keys(&self) -> &Arc<ProviderKeys> {
        &self.keys
    }

    /// What survives a restart, where that is wanted.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// What is revoked.
    pub(crate) fn revoking(&self) -> &Revoking {
        &self.revoking
    }

    /// Power for a time.
    pub(crate) fn lender(&self) -> &Arc<Lender> {
        &self.lender
    }

    /// The versions, where they are kept.
    pub(crate) fn governing(&self) -> Option<&Arc<Governing>> {
        self.governing.as_ref()
    }

    /// The provider that is asked about opaque tokens.
    pub(crate) fn introspecting(&self) -> &Arc<Introspecting> {
        &self.introspecting
    }

    /// The directories that are asked.
    pub(crate) fn directories(&self) -> &Arc<Directories> {
        &self.directories
    }

    /// The second factors that it keeps.
    pub(crate) fn factors(&self) -> &Arc<Factors> {
        &self.factors
    }

    /// Where passwords are checked.
    pub(crate) fn checking(&self) -> &Arc<Checking> {
        &self.checking
    }

    /// The sessions of browsers.
    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// What logins have done beside the requests.
    pub(crate) fn logins(&self) -> &Arc<Logins> {
        &self.logins
    }

    /// The requests that are kept, where they are.
    pub(crate) fn insight(&self) -> Option<&Arc<Insight>> {
        self.insight.as_ref()
    }

    /// What counts which permissions are used, where that is wanted.
    pub(crate) fn auditing(&self) -> Option<&Arc<Auditing>> {
        self.auditing.as_ref()
    }

    /// Each listener's name and address.
    pub(crate) fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// What a new configuration says otherwise and only a restart would change.
    pub(crate) fn fixed_but_changed(&self, loaded: &Loaded) -> Vec<&'static str> {
        self.fixed.changed(&Fixed::of(loaded))
    }

    pub(crate) fn shutdown_settings(&self) -> ShutdownSettings {
        self.fixed.process.shutdown.clone()
    }

    /// Puts a new configuration in force.
    ///
    /// # Errors
    /// An identity provider that cannot be used; then the old configuration stays.
    pub(crate) fn replace(&self, decided: Decided, asked: &Asked) -> Result<(), StartError> {
        let Decided { mut loaded, number, staged, alarm: _ } = decided;
        let alerts = std::mem::take(&mut loaded.alerts);
        let mfa = loaded.mfa.take();
        self.factors.check(mfa.as_ref()).map_err(StartError::Factors)?;
        // Second factors are turned on and off by a restart alone: until then nobody is led to a page that is not there, nor kept from one that is.
        if let Some(pages) = &mut loaded.proxy.pages {
            pages.step_up = self.factors.are_on() && pages.login;
        }
        let risk = loaded.risk.clone();
        let (access, break_glass) = (loaded.access, loaded.break_glass.clone());
        let files = digest(&loaded);
        let facts = self.auditing.as_ref().map(|_| Facts::of(&mut loaded));
        let (settings, restored) = std::mem::take(&mut loaded.feeds);
        let parts = parts_of(&loaded);
        let before = self.shared.snapshot().load_full();
        let noted = Noted { governing: self.governing.as_deref(), number, asked };
        let snapshot = snapshot(loaded, Some(&before.authenticator), &self.revoking, &self.sessions, noted)?;
        let mut snapshot = snapshot.with_staged(staged.map(|staged| Arc::new(staged.into_staged())));
        // Before it is in force: without a thread every password would wait for nothing.
        self.checking.watch(&snapshot.authenticator).map_err(StartError::Checking)?;
        // From here to the end no update is put in force, so that the lists of this snapshot are those of the keeper.
        let mut keeper = self.feeds.keeper();
        let now = self.feeds.now();
        keeper.reconfigure(&settings, restored, now);
        let kept = keeper.sync(now, &mut |contents| {
            let renewed = snapshot.with_policies(|policy| policy.with_networks(contents));
            snapshot = renewed.map_err(|error| error.to_string())?;
            Ok(())
        });
        if let Err(error) = kept {
            // Then what was read from the disk is in force, until it can be done.
            tracing::error!(error, "the lists in force could not be kept through the reload");
        }
        self.shared.risk.reconfigure(risk);
        let (snapshot, settled) = calibrated(snapshot, &self.shared.risk);
        let authenticator = Arc::clone(&snapshot.authenticator);
        if let Some(insight) = &self.insight {
            insight.read_anew(parts, &authenticator);
        }
        self.shared.replace(snapshot);
        settle(self.governing.as_deref(), &self.shared);
        self.tell_settled(&settled);
        self.keys.watch(&authenticator);
        self.factors.configure(mfa);
        self.lender.configure(access, break_glass);
        if let Some((auditing, facts)) = self.auditing.as_ref().zip(facts) {
            auditing.replace(facts);
        }
        self.directories.watch(&authenticator);
        self.introspecting.watch(&authenticator);
        // The policy is in force, and stays so: alerts that cannot be watched for are said, and the old ones go on.
        if let Err(error) = self.alerting.alerts.replace(alerts) {
            tracing::error!(%error, "the alerts stay as they were");
        }
        self.files.store(Arc::new(files));
        drop(keeper);
        self.feeds.look();
        Ok(())
    }

    /// Whether this is what is in force, file by file.
    pub(crate) fn runs_on(&self, loaded: &Loaded) -> bool {
        *self.files.load().as_str() == digest(loaded)
    }

    /// When it started, and how long ago that is.
    pub(crate) fn started(&self) -> (Timestamp, Duration) {
        (self.started.1, self.started.0.elapsed())
    }

    /// `node` of its events.
    pub(crate) fn node(&self) -> &str {
        &self.fixed.events.node
    }

    /// How many workers it was started with.
    pub(crate) fn workers(&self) -> usize {
        self.fixed.process.workers
    }

    /// Records an event about the gateway itself.
    pub(crate) fn record(&self, kind: EventKind, message: String) {
        self.shared.recorder.record(self.event(kind, message));
    }

    /// Tells what became of recoveries of approvers' keys, whoever wrote it. `starts`: also of one that was told before and is under way.
    ///
    /// # Errors
    /// A sentence: that it was told cannot be written down, and it is to be tried again.
    pub(crate) fn tell_recoveries(&self, starts: bool, now: Timestamp) -> Result<(), String> {
        let Some(governing) = self.governing() else { return Ok(()) };
        governing.tell_recoveries(starts, now, |message| {
            tracing::error!("{message}");
            self.record(EventKind::GovernanceRecovery, message);
        })
    }

    /// An event about the gateway itself.
    pub(crate) fn event(&self, kind: EventKind, message: String) -> Event {
        let mut event = self.shared.event(kind, Timestamp::now());
        event.message = Some(message);
        event
    }

    /// One event of what a thread beside the requests has to say of something that has a name.
    pub(crate) fn record_notice(&self, kind: EventKind, about: &Arc<str>, message: &str) {
        let mut event = self.event(kind, message.to_owned());
        event.policy.rule = Some(Arc::clone(about));
        self.shared.recorder.record(event);
    }

    pub(crate) fn record_start(&self) {
        let places: Vec<String> = self.addresses.iter().map(|(name, address)| format!("{name} on {address}")).collect();
        let mut message = format!("listening: {}", places.join(", "));
        if let Some(earlier) = self.shared.recorder.earlier().filter(|earlier| !earlier.in_order) {
            let _ = write!(message, "; {earlier}");
        }
        self.record(EventKind::GatewayStarted, message);
    }

    /// A line for the service manager.
    pub(crate) fn status(&self) -> String {
        let snapshot = self.shared.snapshot().load();
        let sha256 = snapshot.policy.sha256();
        let size = snapshot.policy.size();
        format!("policy {}, {} routes", sha256.get(..12).unwrap_or(sha256), size.routes)
    }

    pub(crate) fn log_status(&self) {
        let snapshot = self.shared.snapshot().load();
        let size = snapshot.policy.size();
        let connections = self.shared.metrics.connections.load(Ordering::Relaxed);
        let bans = self.shared.risk.bans_active(self.shared.clock.now());
        tracing::info!(
            version = snapshot.policy.version(),
            sha256 = snapshot.policy.sha256(),
            routes = size.routes,
            roles = size.roles,
            assignments = size.assignments,
            denies = size.denies,
            networks = size.networks,
            connections,
            bans,
            events = self.shared.recorder.recorded(),
            "status"
        );
    }

    /// `/readyz` says no from now on.
    pub(crate) fn begin_draining(&self) {
        self.shared.set_draining();
    }

    /// Stops accepting and waits, at most the grace. Returns how many connections were cut.
    pub(crate) async fn drain(&self) -> usize {
        let data_plane = self.data_plane.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(data_plane) = data_plane else { return 0 };
        self.control.drain();
        tokio::task::spawn_blocking(move || data_plane.join()).await.unwrap_or(0)
    }

    /// Cuts what is still open.
    pub(crate) fn cut_short(&self) {
        self.control.stop();
    }
}

/// Says to whoever counts versions which of them are in force.
fn settle(governing: Option<&Governing>, shared: &Shared) {
    let Some(governing) = governing else { return };
    let snapshot = shared.snapshot().load();
    let staged = snapshot.staged.as_ref().map(|staged| staged.policy.version());
    governing.is_in_force(staged.or(Some(snapshot.policy.version())));
}
