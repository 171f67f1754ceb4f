//! What a connection holds in memory while nothing comes.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use portcullis_proxy::settings::Limits;
use portcullis_proxy::wire::{Gate, WireLimits, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

const CONNECTIONS: i64 = 100;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &str = "an answer";

/// Serves one end of a pipe and gives the other.
fn open(limits: &Rc<WireLimits>) -> DuplexStream {
    let (client, server) = duplex(1024);
    let limits = Rc::clone(limits);
    spawn_local(async move {
        let (gate, handle) = Gate::new(server, Rc::clone(&limits));
        let of_service = handle.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let exchange = of_service.next_head();
            async move {
                drop(exchange);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes()))))
            }
        });
        serve(Box::new(gate), &handle, &limits, service).await.served.unwrap();
    });
    client
}

async fn ask(client: &mut DuplexStream) {
    client.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(ANSWER.as_bytes()) {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
    }
}

/// The bytes of memory that each connection holds more after `work`.
fn more(runtime: &Runtime, local: &LocalSet, work: impl AsyncFnOnce()) -> i64 {
    measure(|| runtime.block_on(local.run_until(work()))).bytes_current / CONNECTIONS
}

#[test]
fn a_connection_holds_buffers_only_while_it_is_used() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let local = LocalSet::new();
    let limits = Rc::new(WireLimits::from(&Limits::default()));
    let mut clients = Vec::with_capacity(CONNECTIONS as usize);
    let opened = more(&runtime, &local, async || {
        clients.extend((0..CONNECTIONS).map(|_| open(&limits)));
        sleep(Duration::from_millis(100)).await;
    });
    assert!(opened < 4 * 1024, "{opened} bytes before the first byte");
    let mut held = opened;
    for round in ["the first time", "once more"] {
        let used = more(&runtime, &local, async || {
            for client in &mut clients {
                ask(client).await;
            }
        });
        assert!(used > 16 * 1024, "hyper's buffers are counted {round}: {used}");
        let kept = more(&runtime, &local, async || sleep(Duration::from_millis(40)).await);
        assert_eq!(kept, 0, "soon after an answer nothing is let go {round}");
        let rested = more(&runtime, &local, async || sleep(Duration::from_millis(20)).await);
        held += used + rested;
        assert!(held < 4 * 1024, "{held} bytes at rest {round}");
    }
}
