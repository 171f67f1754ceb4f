//! The thread that serves the channel.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::gateway::Gateway;
use crate::peer::{Access, Peer};
use crate::request::{Desk, FOLLOWERS};
use crate::settings::Settings;
use crate::socket::{BindError, Socket};

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 32;
/// How long a connection may take to send the head of a request, also between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Threads for what may block, such as reading files for a status.
const BLOCKING_THREADS: usize = 4;
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
}

/// The running channel. Dropping it ends it and removes the socket.
#[derive(Debug)]
pub struct Control {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Opens the socket and serves on a thread of its own.
    ///
    /// A path that nobody chose is no reason not to start: where it cannot be had there is a warning and no channel, and where
    /// another gateway has it (one that is about to be taken over from) it is tried again until that one is gone.
    ///
    /// # Errors
    /// A socket that was asked for and cannot be had, or no thread.
    pub fn start<G: Gateway>(settings: &Settings, gateway: Arc<G>) -> Result<Self, StartError> {
        let socket = match Socket::bind(settings) {
            Ok(socket) => Some(socket),
            Err(error) if settings.required => return Err(error.into()),
            Err(error @ BindError::Living { .. }) => {
                tracing::warn!(%error, "the control channel waits for it to go");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "there is no control channel; `[control] socket` names another place");
                return Ok(Self { stop: watch::Sender::new(true), thread: None });
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(StartError::Thread)?;
        let stop = watch::Sender::new(false);
        let (settings, told) = (settings.clone(), stop.subscribe());
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || run(&runtime, socket, &settings, &gateway, told))
            .map_err(StartError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
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

fn run<G: Gateway>(
    runtime: &Runtime,
    socket: Option<Socket>,
    settings: &Settings,
    gateway: &Arc<G>,
    mut told: watch::Receiver<bool>,
) {
    let tasks = LocalSet::new();
    tasks.block_on(runtime, async {
        let serving = async {
            let Some(socket) = wait_for_socket(socket, settings).await else { return };
            if let Err(error) = serve(&socket, gateway).await {
                tracing::error!(%error, "the control channel cannot be served");
            }
        };
        tokio::select! {
            () = serving => {}
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
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let followers = Arc::new(Semaphore::new(FOLLOWERS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, socket.access, Arc::clone(gateway), Arc::clone(&followers));
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

async fn connection<G: Gateway>(stream: UnixStream, access: Access, gateway: Arc<G>, followers: Arc<Semaphore>) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            // Whom nobody knows nobody lets in.
            tracing::warn!(%error, "the peer of a control connection is unknown");
            return;
        }
    };
    let permitted = access.permits(&peer);
    let desk = Arc::new(Desk { gateway, peer, permitted, followers });
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, std::convert::Infallible>(desk.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        // One request for those who may not ask: each is an event.
        .keep_alive(permitted)
        .serve_connection(TokioIo::new(stream), service);
    // Who goes away in the middle is no news.
    let _ = serving.await;
}
