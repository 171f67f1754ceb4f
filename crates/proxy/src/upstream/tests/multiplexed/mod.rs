//! HTTP/2 to upstreams, with servers of the h2 library that do what each test needs.

mod endings;
mod second_tries;
mod sharing;
mod trailers;

use futures_util::{StreamExt as _, stream};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::*;
use crate::settings::{Http2Settings, UpstreamHttp};

type Server = Connection<TcpStream, Bytes>;
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// Runs a test as a worker does: tasks of its own may be spawned on its thread.
async fn as_a_worker(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

/// The same on a paused clock that moves on by a tenth of a second for each five milliseconds that pass. By itself such a clock jumps to the next
/// deadline as soon as no task has anything to do, and what the kernel has not brought to its socket by then is late.
async fn as_a_worker_in_its_own_time(test: impl Future<Output = ()>) {
    let clock = async {
        loop {
            // While a blocking task runs the clock does not jump.
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5))).await.unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    };
    as_a_worker(async {
        tokio::select! {
            () = test => {}
            () = clock => {}
        }
    })
    .await;
}

/// Listens on a port of its own; `serve` gets each HTTP/2 connection with its number, from 0.
async fn h2_stub<F, S>(adjust: impl FnOnce(&mut UpstreamSettings), serve: F) -> Stub
where
    F: Fn(Server, usize) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    h2_stub_with(h2::server::Builder::new(), adjust, serve).await
}

async fn h2_stub_with<F, S>(builder: h2::server::Builder, adjust: impl FnOnce(&mut UpstreamSettings), serve: F) -> Stub
where
    F: Fn(Server, usize) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let adjust = |settings: &mut UpstreamSettings| {
        settings.http = UpstreamHttp::Two;
        adjust(settings);
    };
    stub(adjust, move |peer, nth| {
        let (builder, serve) = (builder.clone(), serve.clone());
        async move {
            if let Ok(connection) = builder.handshake(peer.stream).await {
                serve(connection, nth).await;
            }
        }
    })
    .await
}

/// Takes requests to the end of the connection, and gives each to `answer` in a task of its own.
async fn answer_each<S: Future<Output = ()> + Send + 'static>(mut server: Server, answer: impl Fn(Asked) -> S) {
    while let Some(Ok(asked)) = server.accept().await {
        tokio::spawn(answer(asked));
    }
}

/// Answers with this text, and nothing special.
fn say((_request, mut respond): Asked, text: impl Into<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(text.into(), true).unwrap();
}

async fn whole((request, _): &mut Asked) -> (Vec<u8>, Option<HeaderMap>) {
    let body = request.body_mut();
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    (read, body.trailers().await.unwrap())
}
