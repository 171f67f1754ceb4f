//! What is lost on the way is sent again where that does no harm, and nothing else is.

use super::*;

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
