//! The thread that serves the channel.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HeaderMap, HeaderValue};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::door::Door;
use crate::gateway::{Action, ActionKind, Gateway};
use crate::peer::{Access, Account, Peer};
use crate::places::{BLOCKING_THREADS, Places};
use crate::request::Desk;
use crate::settings::Settings;
use crate::socket::{BindError, Socket};

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 32;
/// How long a connection may take to send the head of a request, also between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// How often a path by default that another gateway has is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Why the channel could not be opened.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no socket.
    #[error("the control channel: {0}")]
    Bind(#[from] BindError),
    /// There is no thread, or no runtime on it.
    #[error("the control channel: no thread: {0}")]
    Thread(io::Error),
    /// There is no socket for what the data plane hands in.
    #[error("the operators' API: no socket: {0}")]
    Door(io::Error),
}

/// The running channel. Dropping it ends it and removes the socket.
#[derive(Debug)]
pub struct Control {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Opens the socket, where there is to be one, and the door for the data plane, where it has one, and serves on a thread of its own.
    ///
    /// A path that nobody chose is no reason not to start: where it cannot be had there is a warning and no channel, and where
    /// another gateway has it (one that is about to be taken over from) it is tried again until that one is gone.
    ///
    /// # Errors
    /// A socket that was asked for and cannot be had, no door, or no thread.
    pub fn start<G: Gateway>(
        settings: Option<&Settings>,
        door: Option<&'static Door>,
        gateway: Arc<G>,
    ) -> Result<Self, StartError> {
        let (mut socket, mut settings) = (None, settings.cloned());
        if let Some(wanted) = &settings {
            match Socket::bind(wanted) {
                Ok(bound) => socket = Some(bound),
                Err(error) if wanted.required => return Err(error.into()),
                Err(error @ BindError::Living { .. }) => {
                    tracing::warn!(%error, "the control channel waits for it to go");
                }
                Err(error) => {
                    tracing::warn!(%error, "there is no control channel; `[control] socket` names another place");
                    settings = None;
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(StartError::Thread)?;
        let bound = door.map(|door| {
            let _entered = runtime.enter();
            UnixListener::bind(door.path()).map(|listener| (listener, door)).map_err(StartError::Door)
        });
        let bound = bound.transpose()?;
        if bound.is_none() && settings.is_none() {
            return Ok(Self { stop: watch::Sender::new(true), thread: None });
        }
        let stop = watch::Sender::new(false);
        let told = stop.subscribe();
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || run(&runtime, Opened { socket, settings, door: bound }, &gateway, told))
            .map_err(StartError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

/// Where requests come from.
struct Opened {
    /// `None` with settings: it can be had later.
    socket: Option<Socket>,
    settings: Option<Settings>,
    door: Option<(UnixListener, &'static Door)>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn run<G: Gateway>(runtime: &Runtime, opened: Opened, gateway: &Arc<G>, mut told: watch::Receiver<bool>) {
    let tasks = LocalSet::new();
    let Opened { socket, settings, door } = opened;
    tasks.block_on(runtime, async {
        let channel = async {
            let Some(settings) = settings else { return };
            let Some(socket) = wait_for_socket(socket, &settings).await else { return };
            if let Err(error) = serve(&socket, gateway).await {
                tracing::error!(%error, "the control channel cannot be served");
            }
        };
        let api = async {
            let Some((listener, door)) = door else { return };
            let mut strangers = Strangers::default();
            let is_own = |stream: &UnixStream| {
                let is_own = Account::is_this_process(stream);
                if !is_own {
                    strangers.note(stream, gateway);
                }
                is_own
            };
            let places = Places::new();
            let serve = |stream| from_door(stream, door, Arc::clone(gateway), places.clone());
            accept(&listener, is_own, serve).await;
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(channel, api) } => {}
            _ = told.wait_for(|stop| *stop) => {}
        }
    });
}

/// The socket, or one that can be had later. `None`: it will never be.
async fn wait_for_socket(socket: Option<Socket>, settings: &Settings) -> Option<Socket> {
    if socket.is_some() {
        return socket;
    }
    loop {
        sleep(TRY_AGAIN).await;
        match Socket::bind(settings) {
            Ok(socket) => {
                tracing::info!(path = %settings.socket.display(), "the control channel is open");
                return Some(socket);
            }
            Err(BindError::Living { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "there is no control channel");
                return None;
            }
        }
    }
}

async fn serve<G: Gateway>(socket: &Socket, gateway: &Arc<G>) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    let places = Places::new();
    let serve = |stream| connection(stream, socket.access, Arc::clone(gateway), places.clone());
    accept(&listener, |_| true, serve).await;
    Ok(())
}

/// Serves connections, so many at once. Whom nobody lets in is sent away before it takes a place.
async fn accept<F: Future<Output = ()> + 'static>(
    listener: &UnixListener,
    mut lets_in: impl FnMut(&UnixStream) -> bool,
    serve: impl Fn(UnixStream) -> F,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if !lets_in(&stream) => {}
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                let connection = serve(stream);
                tokio::task::spawn_local(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control channel could not accept");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Other processes of the machine that connect to the door: its name is for everybody to read. They are sent away unheard, and what would be an event for
/// each connection is one event in a while.
#[derive(Debug, Default)]
struct Strangers {
    told: Option<Instant>,
    /// Since then.
    more: u64,
}

/// How often strangers at the door are an event.
const TELL_OF_STRANGERS: Duration = Duration::from_secs(60);

impl Strangers {
    /// How many came since the last time, and now; `None`: that was a short while ago.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.more = self.more.saturating_add(1);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TELL_OF_STRANGERS) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.more))
    }

    fn note<G: Gateway>(&mut self, stream: &UnixStream, gateway: &Arc<G>) {
        let Some(count) = self.count(Instant::now()) else { return };
        let Some(account) = account(stream) else { return };
        let process = account.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        let message = format!(
            "another process{process} than the gateway connected to the socket of the operators' API, and was sent away: {count} since the last event of that"
        );
        gateway.record(&Action { kind: ActionKind::Refused, peer: &Peer::Account(account), succeeded: false, message });
    }
}

/// The account at the other end. Whom nobody knows nobody lets in.
fn account(stream: &UnixStream) -> Option<Account> {
    Account::of(stream).map_err(|error| tracing::warn!(%error, "the peer of a control connection is unknown")).ok()
}

async fn connection<G: Gateway>(stream: UnixStream, access: Access, gateway: Arc<G>, places: Places) {
    let Some(account) = account(&stream) else { return };
    let permitted = access.permits(&account);
    let desk = Arc::new(Desk { gateway, peer: Peer::Account(account), permitted, places });
    converse(stream, move |_| Arc::clone(&desk)).await;
}

/// What the data plane hands in: who asks is told with each request.
async fn from_door<G: Gateway>(stream: UnixStream, door: &'static Door, gateway: Arc<G>, places: Places) {
    let Some(account) = account(&stream) else { return };
    converse(stream, move |headers| {
        let introduced = door.introduced(headers);
        let permitted = introduced.is_some();
        // This process connected; without the token it was not its data plane.
        let peer = introduced.map_or_else(|| Peer::Account(account.clone()), Peer::Operator);
        Arc::new(Desk { gateway: Arc::clone(&gateway), peer, permitted, places: places.clone() })
    })
    .await;
}

async fn converse<G: Gateway>(stream: UnixStream, desk: impl Fn(&HeaderMap) -> Arc<Desk<G>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let desk = desk(request.headers());
        async move {
            let permitted = desk.permitted;
            let mut answer = desk.answer(request).await;
            if !permitted {
                // One request for those who may not ask: each is an event.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Who goes away in the middle is no news.
    let _ = serving.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_one_event_in_a_while() {
        let mut strangers = Strangers::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(strangers.count(at(0)), Some(1));
        for _ in 0..1_000 {
            assert_eq!(strangers.count(at(59)), None);
        }
        assert_eq!(strangers.count(at(60)), Some(1_001));
        assert_eq!((strangers.count(at(61)), strangers.count(at(200))), (None, Some(2)));
    }
}
