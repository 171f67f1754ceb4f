//! Deadlines, dead connections, answers and bodies that break off.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_times_mean_what_they_mean_with_http_1() {
    as_a_worker_in_its_own_time(async {
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
    as_a_worker_in_its_own_time(async {
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
    as_a_worker_in_its_own_time(async {
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

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_asked_for_a_sign_of_life_where_that_is_wanted() {
    as_a_worker_in_its_own_time(async {
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
