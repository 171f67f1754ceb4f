//! Trailers, both ways.

use super::*;

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
