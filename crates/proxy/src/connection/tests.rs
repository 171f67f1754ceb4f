//! What a connection does with a refusal that must not be answered.

use portcullis_events::settings::{Fsync, SinkKind, SinkSettings};
use portcullis_events::{Recorder, Settings as Events};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::layers::tests::worker_with;
use crate::settings::Limits;
use crate::stack::stack;

/// A worker whose refusals must have their event on disk, which no longer can be.
fn forgetful() -> Rc<Worker> {
    let file = SinkSettings::new("events", SinkKind::File { path: "/dev/null".into() });
    let events = Events { sinks: vec![file], fsync: Fsync::Always, ..Events::default() };
    let recorder = Recorder::start(&events).unwrap();
    recorder.shutdown(std::time::Duration::from_secs(20));
    worker_with(Limits::default(), recorder)
}

/// The client's end of a connection that is served.
async fn connected(worker: &Rc<Worker>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let settings = InboundSettings {
        name: "main".into(),
        tls: None,
        http2: true,
        proxy_protocol: ProxyProtocol::Off,
        operators: None,
    };
    let accepted = Accepted { stream, peer, settings: Arc::new(settings) };
    let worker = Rc::clone(worker);
    spawn_local(async move { serve(Rc::clone(&worker), stack(&worker), accepted, |_| {}).await });
    client
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_refusal_whose_event_is_lost_closes_the_connection_without_a_word() {
    on_a_runtime(async {
        let worker = forgetful();
        let mut client = connected(&worker).await;
        client.write_all(b"GET /nowhere HTTP/1.1\r\nhost: gateway.test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "");
        assert_eq!(worker.shared.metrics.withheld.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn over_http2_it_resets_its_stream_and_no_other() {
    on_a_runtime(async {
        let worker = forgetful();
        let (mut client, h2) = h2::client::handshake(connected(&worker).await).await.unwrap();
        spawn_local(h2);
        for asked in 1..=2 {
            let request = Request::builder().uri("http://gateway.test/nowhere").body(()).unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            let error = answer.await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
            assert_eq!(worker.shared.metrics.withheld.load(Ordering::Relaxed), asked);
        }
    });
}
