//! HTTP/2 to upstreams, with servers of the h2 library that do what each test needs.

use futures_util::{StreamExt as _, stream};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::HeaderValue;
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

#[tokio::test]
async fn many_requests_share_one_connection_and_each_gets_its_own_answer() {
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |server, _| {
                answer_each(server, |asked| async move {
                    let path = asked.0.uri().path().to_owned();
                    say(asked, path);
                })
            },
        )
        .await;
        let fetch = |nth: usize| {
            let mut request = get();
            *request.uri_mut() = format!("/{nth}").parse().unwrap();
            let upstream = Rc::clone(&stub.upstream);
            tokio::task::spawn_local(async move { read(upstream.send(request, None).await.unwrap()).await })
        };
        let all: Vec<_> = (0..100).map(fetch).collect();
        for (nth, answer) in all.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), (200, format!("/{nth}")));
        }
        assert_eq!(stub.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_head_is_one_of_http_2() {
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |server, _| {
                answer_each(server, |mut asked| async move {
                    let head = format!("{} {} {:?}", asked.0.method(), asked.0.uri(), asked.0.headers());
                    let (body, _) = whole(&mut asked).await;
                    say(asked, format!("{head} {}", String::from_utf8_lossy(&body)));
                })
            },
        )
        .await;
        let check = async |request: Request<TestBody>, expected: &str| {
            assert_eq!(stub.fetch(request).await, (200, expected.to_owned()));
        };
        check(get(), "GET http://stub.internal/path?q=1 {} ").await;
        check(request("DELETE", empty()), "DELETE http://stub.internal/path?q=1 {} ").await;
        check(request("POST", empty()), r#"POST http://stub.internal/path?q=1 {"content-length": "0"} "#).await;
        let mut post = request("POST", full("body"));
        post.headers_mut().insert("content-length", HeaderValue::from_static("99"));
        post.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
        check(post, r#"POST http://stub.internal/path?q=1 {"content-length": "4"} body"#).await;
        let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"pieces")))]);
        let streamed = request("POST", BodyExt::boxed_unsync(StreamBody::new(frames)));
        check(streamed, "POST http://stub.internal/path?q=1 {} pieces").await;
        let mut port = get();
        port.headers_mut().insert("host", HeaderValue::from_static("[::1]:8443"));
        check(port, "GET http://[::1]:8443/path?q=1 {} ").await;
        assert_eq!(stub.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_none_is_its_senders_fault() {
    as_a_worker(async {
        let stub = h2_stub(|_| {}, |server, _| answer_each(server, |asked| async move { say(asked, "ok") })).await;
        for host in [None, Some("a b"), Some("a/b"), Some("")] {
            let mut request = get();
            request.headers_mut().remove("host");
            if let Some(host) = host {
                request.headers_mut().insert("host", HeaderValue::from_static(host));
            }
            assert_eq!(stub.send(request).await.err().unwrap().kind, FaultKind::RequestBody, "{host:?}");
        }
        assert!(stub.upstream.state.endpoints().all(|endpoint| endpoint.failures == 0));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_dies_is_followed_by_another_for_what_does_no_harm_twice() {
    as_a_worker(async {
        for (method, body, expected) in
            [("GET", "", Ok(200)), ("POST", "", Err(FaultKind::Protocol)), ("PUT", "body", Err(FaultKind::Protocol))]
        {
            // The first connection answers once, takes a second request and is gone.
            let stub = h2_stub(
                |_| {},
                |mut server, nth| async move {
                    let mut requests = 0;
                    while let Some(Ok(asked)) = server.accept().await {
                        requests += 1;
                        if nth == 0 && requests == 2 {
                            return;
                        }
                        say(asked, "ok");
                    }
                },
            )
            .await;
            assert_eq!(stub.fetch(get()).await, (200, "ok".into()));
            let content = if body.is_empty() { empty() } else { full(body) };
            let found = stub.send(request(method, content)).await.map(|response| response.status().as_u16());
            assert_eq!(found.map_err(|error| error.kind), expected, "{method} {body}");
        }
    })
    .await;
}

/// Answers from the second request on, or the second connection; `lose` loses the first.
async fn losing_the_first(
    lose: impl Fn(Asked, &mut Server) + Clone + Send + 'static,
) -> (Stub, mpsc::UnboundedReceiver<String>) {
    let (said, hears) = mpsc::unbounded_channel();
    let stub = h2_stub(
        |_| {},
        move |mut server, nth| {
            let (said, lose) = (said.clone(), lose.clone());
            async move {
                let mut first = nth == 0;
                while let Some(Ok(mut asked)) = server.accept().await {
                    if std::mem::take(&mut first) {
                        lose(asked, &mut server);
                        continue;
                    }
                    let said = said.clone();
                    tokio::spawn(async move {
                        let body = String::from_utf8(whole(&mut asked).await.0).unwrap();
                        said.send(format!("{} {body}", asked.0.method())).unwrap();
                        say(asked, "ok");
                    });
                }
            }
        },
    )
    .await;
    (stub, hears)
}

#[tokio::test]
async fn what_the_endpoint_did_not_begin_is_sent_again_with_its_body_whatever_it_is() {
    as_a_worker(async {
        for (method, body) in [("GET", ""), ("POST", ""), ("POST", "a body"), ("PATCH", "another")] {
            let refuse = |(_request, mut respond): Asked, _: &mut Server| respond.send_reset(Reason::REFUSED_STREAM);
            let (stub, mut hears) = losing_the_first(refuse).await;
            let content = if body.is_empty() { empty() } else { full(body) };
            assert_eq!(stub.fetch(request(method, content)).await, (200, "ok".into()), "{method}");
            assert_eq!(hears.recv().await.unwrap(), format!("{method} {body}"));
            assert_eq!(stub.connections(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_large_body_that_was_refused_is_not_sent_again_in_part() {
    as_a_worker(async {
        let refuse = |(request, mut respond): Asked, _: &mut Server| {
            // Once all that the windows hold has come.
            tokio::spawn(async move {
                let mut body = request.into_body();
                let mut read = 0;
                while read < 65_535 {
                    read += body.data().await.unwrap().unwrap().len();
                }
                respond.send_reset(Reason::REFUSED_STREAM);
            });
        };
        let (stub, mut hears) = losing_the_first(refuse).await;
        let error = stub.send(request("PUT", full(&"x".repeat(200_000)))).await.err().unwrap();
        assert_eq!(error.kind, FaultKind::Protocol, "{error}");
        assert!(hears.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn what_may_have_begun_is_sent_again_only_if_that_does_no_harm() {
    as_a_worker(async {
        let check = async |method: &str, body: TestBody, reason: Reason, expected: Result<u16, FaultKind>| {
            let reset = move |(_request, mut respond): Asked, _: &mut Server| respond.send_reset(reason);
            let (stub, _hears) = losing_the_first(reset).await;
            let found = stub.send(request(method, body)).await.map(|response| response.status().as_u16());
            assert_eq!(found.map_err(|error| error.kind), expected, "{method} {reason}");
        };
        // The endpoint gave up on it: that is its answer.
        check("GET", empty(), Reason::INTERNAL_ERROR, Err(FaultKind::Protocol)).await;
        check("POST", full("body"), Reason::CANCEL, Err(FaultKind::Protocol)).await;
        check("POST", full("body"), Reason::REFUSED_STREAM, Ok(200)).await;
    })
    .await;
}

#[tokio::test]
async fn after_a_goaway_requests_go_over_another_connection_and_none_is_lost() {
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |mut server, nth| async move {
                while let Some(Ok(asked)) = server.accept().await {
                    // The first connection ends gracefully with its first request.
                    if nth == 0 {
                        server.graceful_shutdown();
                    }
                    say(asked, nth.to_string());
                }
            },
        )
        .await;
        for nth in 0..20 {
            let post = request("POST", full("body"));
            let (status, by) = stub.fetch(post).await;
            assert_eq!((status, by.as_str()), (200, if nth == 0 { "0" } else { "1" }));
        }
        assert_eq!(stub.connections(), 2);
    })
    .await;
}

#[tokio::test]
async fn no_more_streams_are_begun_than_the_endpoint_allows_and_others_wait_their_turn() {
    as_a_worker(async {
        let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (Arc::clone(&most), Arc::clone(&now));
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(3);
        let stub = h2_stub_with(
            builder,
            |settings| settings.http2 = Http2Settings { max_connections: 1, ..Http2Settings::default() },
            move |server, _| {
                let (most, now) = (Arc::clone(&most), Arc::clone(&now));
                answer_each(server, move |asked| {
                    let (most, now) = (Arc::clone(&most), Arc::clone(&now));
                    async move {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        now.fetch_sub(1, Ordering::SeqCst);
                        say(asked, "ok");
                    }
                })
            },
        )
        .await;
        let fetch = |_| {
            let upstream = Rc::clone(&stub.upstream);
            tokio::task::spawn_local(async move { read(upstream.send(get(), None).await.unwrap()).await })
        };
        for answer in (0..50).map(fetch).collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), (200, "ok".into()));
        }
        assert!(seen.load(Ordering::SeqCst) <= 3 && counted.load(Ordering::SeqCst) == 0);
        assert_eq!((stub.connections(), stub.upstream.state.retries()), (1, (0, 0)));
    })
    .await;
}

#[tokio::test]
async fn who_finds_no_stream_in_time_hears_that_it_is_too_much() {
    as_a_worker(async {
        let held = |settings: &mut UpstreamSettings| {
            settings.http2 = Http2Settings { max_connections: 1, max_streams: 1, ..Http2Settings::default() };
            settings.timeouts.connect = Duration::from_millis(50);
        };
        let stub = h2_stub(held, |server, _| {
            answer_each(server, |asked| async move {
                let (_request, mut respond) = asked;
                let _body = respond.send_response(Response::new(()), false).unwrap();
                std::future::pending::<()>().await;
            })
        })
        .await;
        let first = stub.send(get()).await.unwrap();
        let error = stub.send(get()).await.err().unwrap();
        assert_eq!((error.kind, error.detail.as_str()), (FaultKind::Busy, "no stream became free in time"));
        let waits = Box::pin(stub.send(get()));
        let (waiting, surplus) = tokio::join!(waits, Box::pin(stub.send(get())));
        assert_eq!(waiting.err().unwrap().detail, "no stream became free in time");
        assert_eq!(surplus.err().unwrap().detail, "as many requests wait for a stream as may");
        drop(first);
        assert!(stub.send(get()).await.is_ok());
        assert_eq!(stub.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_leaves_resets_its_stream_and_no_other() {
    as_a_worker(async {
        let (said, mut hears) = mpsc::unbounded_channel();
        let stub = h2_stub(
            |_| {},
            move |server, _| {
                let said = said.clone();
                answer_each(server, move |(_request, mut respond)| {
                    let said = said.clone();
                    async move {
                        let mut body = respond.send_response(Response::new(()), false).unwrap();
                        body.send_data(Bytes::from_static(b"a piece"), false).unwrap();
                        said.send(poll_fn(|cx| body.poll_reset(cx)).await.unwrap()).unwrap();
                    }
                })
            },
        )
        .await;
        // One that is read, one whose upload is still going on, and one that is dropped while its head is awaited.
        let mut read = stub.send(get()).await.unwrap().into_body();
        assert!(read.frame().await.unwrap().unwrap().is_data());
        let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]).chain(stream::pending());
        let upload = request("POST", BodyExt::boxed_unsync(StreamBody::new(frames)));
        let uploading = stub.send(upload).await.unwrap();
        drop(uploading);
        assert_eq!(hears.recv().await, Some(Reason::CANCEL));
        drop(read);
        assert_eq!(hears.recv().await, Some(Reason::CANCEL));
        assert!(stub.send(get()).await.is_ok());
        assert_eq!(stub.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn bodies_stream_both_ways_and_no_faster_than_they_are_read() {
    const PIECE: usize = 64 * 1024;
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |server, _| {
                answer_each(server, |(request, mut respond)| async move {
                    let mut out = respond.send_response(Response::new(()), false).unwrap();
                    let mut body = request.into_body();
                    while let Some(data) = body.data().await {
                        let data = data.unwrap();
                        body.flow_control().release_capacity(data.len()).unwrap();
                        out.send_data(data, false).unwrap();
                    }
                    out.send_data(Bytes::new(), true).unwrap();
                })
            },
        )
        .await;
        let (feed, mut pieces) = mpsc::unbounded_channel::<Bytes>();
        let frames =
            stream::poll_fn(move |cx| pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))));
        let post = request("POST", BodyExt::boxed_unsync(StreamBody::new(frames)));
        let mut body = stub.send(post).await.unwrap().into_body();
        for nth in 0..100 {
            feed.send(Bytes::from(vec![nth as u8; PIECE])).unwrap();
            let mut received = 0;
            while received < PIECE {
                let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(data.iter().all(|byte| *byte == nth as u8));
                received += data.len();
            }
        }
        drop(feed);
        assert!(body.frame().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn answers_that_nobody_reads_do_not_hold_up_the_others() {
    as_a_worker(async {
        let stub = h2_stub(
            |settings| settings.http2.max_connections = 1,
            |server, _| {
                answer_each(server, |(request, mut respond)| async move {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    let size = if request.method() == Method::GET { 1_000_000 } else { 100_000 };
                    body.send_data(vec![b'x'; size].into(), true).unwrap();
                })
            },
        )
        .await;
        let mut unread = Vec::new();
        for _ in 0..99 {
            unread.push(stub.send(get()).await.unwrap());
        }
        for _ in 0..5 {
            let (status, text) = stub.fetch(request("POST", empty())).await;
            assert_eq!((status, text.len()), (200, 100_000));
        }
        assert_eq!((stub.connections(), unread.len()), (1, 99));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_times_mean_what_they_mean_with_http_1() {
    as_a_worker(async {
        let second = Duration::from_secs(1);
        let check = async |timeouts: UpstreamTimeouts, body: TestBody, answers: bool, expected: FaultKind| {
            let stub = h2_stub(
                |settings| settings.timeouts = timeouts,
                move |server, _| {
                    answer_each(server, move |(request, mut respond)| async move {
                        let _answer = answers.then(|| respond.send_response(Response::new(()), false).unwrap());
                        // Neither reads nor lets go.
                        let _held = request;
                        std::future::pending::<()>().await;
                    })
                },
            )
            .await;
            let found = match stub.send(request("POST", body)).await {
                Ok(response) => response.into_body().collect().await.err().unwrap().kind,
                Err(error) => error.kind,
            };
            assert_eq!(found, expected);
        };
        let stalled = || BodyExt::boxed_unsync(StreamBody::new(stream::pending()));
        let huge = || full(&"x".repeat(1_000_000));
        let of = |timeouts| UpstreamTimeouts { ..timeouts };
        check(of(UpstreamTimeouts { first_byte: second, ..patient() }), empty(), false, timed(TimeoutPhase::FirstByte))
            .await;
        check(of(UpstreamTimeouts { idle: second, ..patient() }), empty(), true, timed(TimeoutPhase::Idle)).await;
        check(of(UpstreamTimeouts { total: second, ..patient() }), empty(), false, timed(TimeoutPhase::Total)).await;
        check(of(UpstreamTimeouts { idle: second, ..patient() }), huge(), false, timed(TimeoutPhase::Send)).await;
        check(of(UpstreamTimeouts { idle: second, ..patient() }), stalled(), false, FaultKind::RequestBody).await;
    })
    .await;
}

fn timed(phase: TimeoutPhase) -> FaultKind {
    FaultKind::Timeout(phase)
}

#[tokio::test]
async fn what_does_not_speak_http_2_gets_no_request() {
    as_a_worker(async {
        let (said, mut hears) = mpsc::unbounded_channel();
        let stub = stub(
            |settings| settings.http = UpstreamHttp::Two,
            move |mut peer, _| {
                let said = said.clone();
                async move {
                    peer.head().await;
                    peer.say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
                    peer.closed().await;
                    said.send(String::from_utf8_lossy(&peer.unread).contains("path")).unwrap();
                }
            },
        )
        .await;
        let error = stub.send(get()).await.err().unwrap();
        assert_eq!(error.kind, FaultKind::Unreachable, "{error}");
        assert!(error.detail.starts_with("it does not answer in HTTP/2: "), "{error}");
        assert_eq!(hears.recv().await, Some(false));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dead_is_noticed_and_replaced() {
    as_a_worker(async {
        let settings = |settings: &mut UpstreamSettings| {
            settings.timeouts.first_byte = Duration::from_secs(15);
            settings.http2.ping_timeout = Duration::from_secs(5);
        };
        // The first connection answers one request, and is then read no more.
        let stub = h2_stub(settings, |mut server, nth| async move {
            while let Some(Ok(asked)) = server.accept().await {
                say(asked, nth.to_string());
                if nth == 0 {
                    // The answer goes out with the next request, of which nothing is heard any more.
                    let _ = server.accept().await;
                    std::future::pending::<()>().await;
                }
            }
        })
        .await;
        assert_eq!(stub.fetch(get()).await, (200, "0".into()));
        assert_eq!(stub.send(get()).await.err().unwrap().kind, timed(TimeoutPhase::FirstByte));
        // While it is in doubt, others are used.
        assert_eq!(stub.fetch(get()).await, (200, "1".into()));
        assert_eq!(stub.upstream.http2.as_ref().unwrap().len(), 2);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(stub.fetch(get()).await, (200, "1".into()));
        assert_eq!((stub.upstream.http2.as_ref().unwrap().len(), stub.connections()), (1, 2));
    })
    .await;
}

#[tokio::test]
async fn an_early_answer_is_whole_although_the_rest_of_the_request_is_not_wanted() {
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |server, _| {
                answer_each(server, |(_request, mut respond)| async move {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"no"), true).unwrap();
                    // What is left of the request is not wanted: with the last handle on the stream goes `NO_ERROR`.
                })
            },
        )
        .await;
        let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 16_384]))));
        let post = request("POST", BodyExt::boxed_unsync(StreamBody::new(endless)));
        assert_eq!(stub.fetch(post).await, (200, "no".into()));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    as_a_worker(async {
        for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
            let stub = h2_stub(
                |_| {},
                move |server, _| {
                    answer_each(server, move |(_request, mut respond)| async move {
                        let mut body = respond.send_response(Response::new(()), false).unwrap();
                        body.send_data(Bytes::from_static(b"a part"), false).unwrap();
                        body.send_reset(reason);
                    })
                },
            )
            .await;
            let body = stub.send(get()).await;
            let broken = match body {
                Ok(response) => response.into_body().collect().await.is_err(),
                Err(_) => true,
            };
            assert!(broken, "{reason}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_whose_body_breaks_off_is_to_blame_and_the_connection_stays() {
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |server, _| {
                answer_each(server, |mut asked| async move {
                    let (request, _) = &mut asked;
                    while let Some(Ok(_)) = request.body_mut().data().await {}
                    if request.method() == Method::GET {
                        say(asked, "ok");
                    }
                })
            },
        )
        .await;
        let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"x"))), Err("broken".into())]);
        let error = stub.send(request("POST", BodyExt::boxed_unsync(StreamBody::new(frames)))).await.err().unwrap();
        assert_eq!(error.kind, FaultKind::RequestBody);
        assert_eq!(stub.fetch(get()).await, (200, "ok".into()));
        assert_eq!(stub.connections(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_is_closed_after_a_while() {
    as_a_worker(async {
        let (said, mut hears) = mpsc::unbounded_channel();
        let stub = h2_stub(
            |settings| settings.timeouts.keep_alive = Duration::from_secs(4),
            move |server, nth| {
                let said = said.clone();
                async move {
                    answer_each(server, |asked| async move { say(asked, "ok") }).await;
                    said.send(nth).unwrap();
                }
            },
        )
        .await;
        stub.fetch(get()).await;
        stub.upstream.discard_expired();
        assert_eq!(stub.upstream.http2.as_ref().unwrap().len(), 1);
        tokio::time::advance(Duration::from_secs(5)).await;
        stub.upstream.discard_expired();
        assert_eq!(hears.recv().await, Some(0));
        assert_eq!(stub.upstream.http2.as_ref().unwrap().len(), 0);
    })
    .await;
}

/// Answers with what it was sent, its trailers in the body, and trailers of its own.
async fn echo_trailers(mut asked: Asked) {
    let (body, trailers) = whole(&mut asked).await;
    let trailers = trailers.map(|fields| format!("{fields:?}")).unwrap_or_default();
    let (_, mut respond) = asked;
    let mut out = respond.send_response(Response::new(()), false).unwrap();
    out.send_data(format!("{} {trailers}", String::from_utf8_lossy(&body)).into(), false).unwrap();
    let fields = [("grpc-status", "0"), ("set-cookie", "a=b"), ("x-forwarded-proto", "https"), ("x-sum", "1")];
    let fields =
        fields.into_iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    out.send_trailers(fields.collect()).unwrap();
}

#[tokio::test]
async fn trailers_pass_where_they_may_also_behind_a_second_try() {
    as_a_worker(async {
        let stub = h2_stub(|_| {}, |server, _| answer_each(server, echo_trailers)).await;
        let post = || request("POST", trailed("body", &[("x-t", "1"), ("x-auth-user", "root"), ("host", "b")]));
        let expected = "body {\"x-t\": \"1\"}\ngrpc-status: 0\nx-sum: 1";
        assert_eq!(read_all(stub.send(passing(post())).await.unwrap()).await, expected);
        assert_eq!(read_all(stub.send(post()).await.unwrap()).await, "body ");
        let without = passing(request("POST", full("body")));
        assert_eq!(read_all(stub.send(without).await.unwrap()).await, "body \ngrpc-status: 0\nx-sum: 1");

        let refusing = h2_stub(
            |_| {},
            |mut server, _| async move {
                let mut tries = 0;
                while let Some(Ok(mut asked)) = server.accept().await {
                    tries += 1;
                    if tries == 1 {
                        tokio::spawn(async move {
                            whole(&mut asked).await;
                            asked.1.send_reset(Reason::REFUSED_STREAM);
                        });
                    } else {
                        tokio::spawn(echo_trailers(asked));
                    }
                }
            },
        )
        .await;
        assert_eq!(read_all(refusing.send(passing(post())).await.unwrap()).await, expected);
        assert_eq!(refusing.upstream.state.retries(), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_too_many_trailers_does_not_look_whole() {
    as_a_worker(async {
        let stub = h2_stub(
            |_| {},
            |server, _| {
                answer_each(server, |(_request, mut respond)| async move {
                    let mut out = respond.send_response(Response::new(()), false).unwrap();
                    let fields = (0..65).map(|_| (HeaderName::from_static("x-t"), HeaderValue::from_static("1")));
                    out.send_trailers(fields.collect()).unwrap();
                })
            },
        )
        .await;
        let body = stub.send(passing(get())).await.unwrap().into_body();
        assert_eq!(body.collect().await.err().unwrap().kind, FaultKind::Protocol);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_asked_for_a_sign_of_life_where_that_is_wanted() {
    as_a_worker(async {
        let stub = h2_stub(
            |settings| {
                settings.http2.ping_interval = Duration::from_secs(10);
                settings.http2.ping_timeout = Duration::from_secs(5);
                settings.retry_percent = 0;
            },
            |mut server, nth| async move {
                while let Some(Ok(asked)) = server.accept().await {
                    if nth == 0 {
                        // Nothing more is read of this connection, nor answered.
                        std::future::pending::<()>().await;
                    }
                    // This one answers pings, and takes its time.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(45)).await;
                        say(asked, "at last");
                    });
                }
            },
        )
        .await;
        let began = Instant::now();
        let error = stub.send(get()).await.err().unwrap();
        assert_eq!(error.kind, FaultKind::Protocol, "{error}");
        let noticed = began.elapsed();
        assert!(noticed < Duration::from_secs(30), "{noticed:?}, long before any time ran out");
        assert_eq!(stub.fetch(get()).await, (200, "at last".into()));
        assert_eq!(stub.connections(), 2);
    })
    .await;
}

#[tokio::test]
async fn whatever_was_refused_arrives_whole_at_last_and_once() {
    as_a_worker(async {
        // Refuses each request once, after some of its pieces, and then takes it.
        let stub = h2_stub(
            |settings| settings.retry_percent = 100,
            |server, _| {
                let tries = Arc::new(AtomicUsize::new(0));
                answer_each(server, move |mut asked| {
                    let nth = tries.fetch_add(1, Ordering::SeqCst);
                    async move {
                        if nth % 2 == 1 {
                            let (body, trailers) = whole(&mut asked).await;
                            let sum = body
                                .iter()
                                .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
                            return say(asked, format!("{} {sum} {}", body.len(), trailers.is_some()));
                        }
                        let (request, mut respond) = asked;
                        let mut body = request.into_body();
                        for _ in 0..nth / 2 % 4 {
                            let _ = body.data().await;
                        }
                        respond.send_reset(Reason::REFUSED_STREAM);
                    }
                })
            },
        )
        .await;
        for seed in 1..40_usize {
            let pieces: Vec<Bytes> = (0..seed % 7)
                .map(|nth| Bytes::from(vec![(seed + nth) as u8; (seed * 977 + nth * 313) % 9_000]))
                .collect();
            let all: Vec<u8> = pieces.concat();
            let sum = all.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            let trailing = seed % 2 == 0;
            let end = trailing.then(|| {
                let fields = HeaderMap::from_iter([(HeaderName::from_static("x-t"), HeaderValue::from_static("1"))]);
                Ok(Frame::trailers(fields))
            });
            let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece))).chain(end);
            let body = BodyExt::boxed_unsync(StreamBody::new(stream::iter(frames)));
            let (status, said) = stub.fetch(passing(request("POST", body))).await;
            assert_eq!((status, said), (200, format!("{} {sum} {trailing}", all.len())), "{seed}");
        }
        assert_eq!(stub.upstream.state.retries(), (39, 0));
    })
    .await;
}
