//! `run`: serve until told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_admin::{Control, Door};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::backing_up::{self, BackingUp};
use crate::calibrating::Calibrating;
use crate::cli::args::{Global, RunArgs};
use crate::cli::configuration::show;
use crate::cli::output::remark;
use crate::control::{Operated, Order, Orders};
use crate::exit::Exit;
use crate::feeding;
use crate::governing::{Asked, BeginError, Beginning, Pin, Refused, Why, begin};
use crate::indexing::Indexing;
use crate::inherited;
use crate::keying;
use crate::lending::Lender;
use crate::locating::Locating;
use crate::logins::LoginThread;
use crate::notify;
use crate::ops::Ops;
use crate::reload::reload;
use crate::rolling::RollingOut;
use crate::running::{Running, StartError};
use crate::tampering::Tampering;
use crate::telemetry;

pub(crate) fn run(global: &Global, args: &RunArgs) -> Exit {
    telemetry::start(global);
    // Before the first thread.
    let inherited = match inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(problem) => {
            remark(&format!("error: {problem}"));
            return Exit::Unreachable;
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            remark(&format!("error: no runtime: {error}"));
            return Exit::Internal;
        }
    };
    let pin = args.governed.as_ref().map(|store| Pin {
        store: store.clone(),
        instance: args.instance,
        at_least: args.at_least,
    });
    let Beginning { decided, governing } = match begin(&global.config, pin.as_ref()) {
        Ok(beginning) => beginning,
        Err(error) => return not_begun(error, global),
    };
    let loaded = &decided.loaded;
    if loaded.warnings.warnings() > 0 {
        show(&loaded.warnings, global);
    }
    let summary = loaded.summary.to_string();
    let settings = Settings {
        ops: loaded.ops,
        control: loaded.control.clone(),
        door: loaded.proxy.inbound.iter().find(|inbound| inbound.operators.is_some()).and_then(|_| Door::of_process()),
        index: loaded.index.clone(),
        backup: loaded.backup.clone().map(|backup| (backup, loaded.feeds.0.folder.clone())),
    };
    let alarm = decided.alarm.clone();
    let running = match Running::start(decided, governing, inherited) {
        Ok(running) => running,
        Err(error @ StartError::Identity(_)) => {
            remark(&format!("error: {error}"));
            return Exit::Configuration;
        }
        // A file that is wrong stays wrong, whereas one that cannot be opened may be there in a moment.
        Err(StartError::Store(error)) => {
            remark(&format!("error: {error}"));
            return if error.trouble.is_lasting() { Exit::Configuration } else { Exit::Unreachable };
        }
        Err(error) => {
            remark(&format!("error: {error}"));
            return Exit::Unreachable;
        }
    };
    for line in summary.lines() {
        tracing::info!("{line}");
    }
    if let Some(alarm) = alarm {
        tracing::error!("{}", alarm.message);
        running.record(alarm.kind(), alarm.message);
    }
    // It may have begun a moment before the process ended, or in the store alone, and approvers have to hear of it in time to say no.
    if let Err(error) = running.tell_recoveries(true, Timestamp::now()) {
        tracing::error!("{error}");
    }
    runtime.block_on(serve(global, Arc::new(running), settings))
}

/// The runtime of this thread. Where the process may write files of so many bytes alone (`ulimit -f`), a write that goes further fails as on a full disk, and ends
/// nobody: what the signal does by itself is replaced for as long as the process runs.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    {
        let _entered = runtime.enter();
        // Nobody waits for it: that it is handled at all is what counts, and it stays so.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    }
    Ok(runtime)
}

fn not_begun(error: BeginError, global: &Global) -> Exit {
    match error {
        BeginError::Refused(Refused::Files(report)) => show(&report, global),
        BeginError::Refused(Refused::Alarm(alarm)) => remark(&format!("error: {}", alarm.message)),
        BeginError::Refused(Refused::Other(reason)) => remark(&format!("error: {reason}")),
        BeginError::Governing(error) => {
            remark(&format!("error: {error}"));
            return if error.is_lasting() { Exit::Configuration } else { Exit::Unreachable };
        }
    }
    Exit::Configuration
}

/// What is served beside the listeners.
struct Settings {
    ops: Option<portcullis_config::OpsSettings>,
    control: Option<portcullis_admin::Settings>,
    /// Where the data plane hands in what it permitted of the operators' API; `None`: there is none.
    door: Option<&'static Door>,
    index: Option<portcullis_history::IndexSettings>,
    /// With the folder of the lists of networks.
    backup: Option<(portcullis_governance::backup::Settings, PathBuf)>,
}

/// The signals that the process listens to.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    status: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            status: signal(SignalKind::user_defined1())?,
        })
    }
}

async fn serve(global: &Global, running: Arc<Running>, settings: Settings) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            remark(&format!("error: signals cannot be received: {error}"));
            return Exit::Internal;
        }
    };
    let ops = match settings.ops {
        Some(settings) => match Ops::start(settings.address, &running).await {
            Ok(ops) => Some(ops),
            Err(error) => {
                remark(&format!("error: the ops listener cannot listen on {}: {error}", settings.address));
                return Exit::Unreachable;
            }
        },
        None => None,
    };
    let (orders, mut ordered) = tokio::sync::mpsc::channel(ORDERS);
    let rolling_out = match RollingOut::start(&running, orders.clone()) {
        Ok(rolling_out) => rolling_out,
        Err(error) => {
            remark(&format!("error: there is no thread for versions that are rolled out: {error}"));
            return Exit::Internal;
        }
    };
    let control = match open_control((settings.control.as_ref(), settings.door), &global.config, &running, orders) {
        Ok(control) => control,
        Err(exit) => return exit,
    };
    let indexing = settings.index.and_then(Indexing::start);
    let feeding = match feeding::start(&running) {
        Ok(feeding) => feeding,
        Err(error) => {
            remark(&format!("error: there is no thread for the lists of networks: {error}"));
            return Exit::Internal;
        }
    };
    let keying = match keying::start(&running) {
        Ok(keying) => keying,
        Err(error) => {
            remark(&format!("error: there is no thread for keys: {error}"));
            return Exit::Internal;
        }
    };
    let backup = settings
        .backup
        .map(|(settings, feeds)| BackingUp::start(settings, &global.config, feeds, &running))
        .transpose();
    let backing_up = match backup {
        Ok(backing_up) => backing_up.flatten(),
        Err(error) => {
            remark(&format!("error: there is no thread for backups: {error}"));
            return Exit::Internal;
        }
    };
    let looking = match Tampering::start(&global.config, &running) {
        Ok(looking) => looking,
        Err(error) => {
            remark(&format!("error: there is no thread for the files: {error}"));
            return Exit::Internal;
        }
    };
    let tending = match LoginThread::start(running.logins()) {
        Ok(tending) => tending,
        Err(error) => {
            remark(&format!("error: there is no thread for logins: {error}"));
            return Exit::Internal;
        }
    };
    let locating = match Locating::start(running.shared()) {
        Ok(locating) => locating,
        Err(error) => {
            remark(&format!("error: there is no thread for geo databases: {error}"));
            return Exit::Internal;
        }
    };
    let calibrating = match Calibrating::start(&running) {
        Ok(calibrating) => calibrating,
        Err(error) => {
            remark(&format!("error: there is no thread for calibrations of risk: {error}"));
            return Exit::Internal;
        }
    };
    // First: whoever reads in the log where it listens, and comes at once, comes after its start.
    running.record_start();
    backing_up::tell_restored(&running);
    for (name, address) in running.addresses() {
        tracing::info!(listener = %name, %address, "listening");
    }
    if let Some(ops) = &ops {
        tracing::info!(address = %ops.address(), "ops listening");
    }
    notify::ready(&running.status());
    notify::watch(running.shared());
    #[cfg(feature = "mimalloc")]
    tokio::spawn(crate::memory::give_back());
    tokio::spawn(Lender::follow(Arc::clone(running.lender())));
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                notify::reloading();
                let ended = reload(&global.config, &running, Why::Asked, &Asked::by(vec!["signal".to_owned()])).await;
                notify::ready(&ended.failure().unwrap_or_else(|| running.status()));
            }
            Some(order) = ordered.recv() => match order {
                Order::Reload(why, asked, answer) => {
                    notify::reloading();
                    let ended = reload(&global.config, &running, why, &asked).await;
                    notify::ready(&ended.failure().unwrap_or_else(|| running.status()));
                    // Who asked may have gone meanwhile: the log and the event have it.
                    let _ = answer.send(ended);
                }
                Order::Drain => break,
            },
            _ = signals.status.recv() => running.log_status(),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    // Whoever asks for a reload from now on is told that it stops.
    drop(ordered);
    // Whoever takes over goes on with the steps of a version: two hands would write each over the other's progress.
    drop(rolling_out);
    let exit = stop(&running, &mut signals).await;
    // First what operators may wait for: the control channel ends when nobody waits on it any more.
    drop(feeding);
    drop(keying);
    drop(tending);
    drop((control, indexing, locating, calibrating, backing_up, looking));
    running.finish(LAST_EVENTS);
    exit
}

/// Orders that wait; more are refused.
const ORDERS: usize = 8;
/// How long events that wait may take to be written at the end.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Opens the control channel and the door of the operators' API, where they are wanted.
fn open_control(
    (settings, door): (Option<&portcullis_admin::Settings>, Option<&'static Door>),
    config: &Path,
    running: &Arc<Running>,
    orders: Orders,
) -> Result<Option<Control>, Exit> {
    if settings.is_none() && door.is_none() {
        return Ok(None);
    }
    let operated = Operated::new(Arc::clone(running), config, orders);
    match Control::start(settings, door, Arc::new(operated)) {
        Ok(control) => Ok(Some(control)),
        Err(error) => {
            remark(&format!("error: {error}"));
            Err(Exit::Unreachable)
        }
    }
}

/// Readiness goes first, then the listeners, then what is still open; a second signal cuts it short.
async fn stop(running: &Running, signals: &mut Signals) -> Exit {
    let shutdown = running.shutdown_settings();
    tracing::info!(delay = ?shutdown.delay, grace = ?shutdown.grace, "draining");
    let began = Instant::now();
    running.begin_draining();
    notify::stopping();
    let again = async {
        tokio::select! {
            _ = signals.terminate.recv() => {},
            _ = signals.interrupt.recv() => {},
        }
    };
    tokio::pin!(again);
    let hurried = tokio::select! {
        () = tokio::time::sleep(shutdown.delay) => false,
        () = &mut again => true,
    };
    let cut = drain(running, hurried, again).await;
    if cut > 0 {
        tracing::warn!(connections = cut, "connections were cut");
    }
    tracing::info!(took = ?began.elapsed(), "stopped");
    Exit::Success
}

async fn drain(running: &Running, hurried: bool, again: impl Future<Output = ()>) -> usize {
    let draining = running.drain();
    tokio::pin!(draining, again);
    if !hurried {
        tokio::select! {
            cut = &mut draining => return cut,
            () = &mut again => {}
        }
    }
    running.cut_short();
    draining.await
}
