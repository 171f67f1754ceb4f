//! One connection for many requests: each has its own answer, and none holds up the others.

use super::*;

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
