//! Checks of endpoints, with servers that change their mind.

use std::sync::atomic::AtomicU16;

use tokio::task::LocalSet;

use super::*;
use crate::settings::{HealthSettings, UpstreamHttp};

fn checks(path: Option<&str>) -> HealthSettings {
    HealthSettings {
        path: path.map(Into::into),
        interval: Duration::from_millis(5),
        timeout: Duration::from_secs(5),
        healthy: 2,
        unhealthy: 3,
        status: Vec::new(),
    }
}

/// Waits until the endpoint is down, or up.
async fn until(stub: &Stub, down: bool) {
    while stub.upstream.state.endpoints().all(|endpoint| endpoint.down != down) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_endpoint_is_down_while_its_answers_are_bad() {
    let status = Arc::new(AtomicU16::new(200));
    let said = Arc::clone(&status);
    let stub = stub(
        |settings| settings.health = Some(checks(Some("/up?deep=1"))),
        move |mut peer, _| {
            let status = Arc::clone(&said);
            async move {
                let head = peer.head().await.unwrap();
                assert!(head.starts_with("GET /up?deep=1 HTTP/1.1\r\n"), "{head}");
                assert!(
                    head.contains("host: 127.0.0.1:") && head.contains("user-agent: portcullis-health\r\n"),
                    "{head}"
                );
                let status = status.load(Ordering::SeqCst);
                peer.say(&format!("HTTP/1.1 {status} It\r\ncontent-length: 0\r\n\r\n")).await;
                peer.closed().await;
            }
        },
    )
    .await;
    let test = async {
        stub.upstream.tend_health();
        stub.upstream.tend_health();
        for bad in [500, 404] {
            status.store(bad, Ordering::SeqCst);
            until(&stub, true).await;
            status.store(302, Ordering::SeqCst);
            until(&stub, false).await;
        }
        let checked = stub.connections();
        assert!(checked >= 10, "{checked}");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn what_takes_too_long_or_refuses_is_bad_and_other_statuses_can_be_good() {
    let slow = stub(
        |settings| {
            settings.health = Some(HealthSettings { timeout: Duration::from_millis(20), ..checks(Some("/")) });
        },
        |mut peer, _| async move { peer.closed().await },
    )
    .await;
    let test = async {
        slow.upstream.tend_health();
        until(&slow, true).await;
        let (_held, closed) = closed_port();
        let upstream: Rc<TestUpstream> = upstream_at(closed, |settings| settings.health = Some(checks(None)));
        upstream.tend_health();
        let refusing = Stub { upstream, connections: Arc::default() };
        until(&refusing, true).await;
        assert!(refusing.upstream.state.endpoints().all(|endpoint| endpoint.failed_checks >= 3));
    };
    LocalSet::new().run_until(test).await;
    let only = HealthSettings { status: vec![204, 503], ..checks(None) };
    let good: Vec<u16> = (100..600).filter(|status| only.accepts(*status)).collect();
    assert_eq!(good, [204, 503]);
    assert!(checks(None).accepts(200) && checks(None).accepts(399));
    assert!(!checks(None).accepts(199) && !checks(None).accepts(400));
}

#[tokio::test]
async fn checks_of_http_2_are_in_http_2() {
    for path in [None, Some("/up")] {
        let stub = stub(
            |settings| {
                settings.http = UpstreamHttp::Two;
                settings.health = Some(checks(path));
            },
            |peer, nth| async move {
                // Bad to begin with: it hangs up.
                if nth >= 3
                    && let Ok(mut server) = h2::server::handshake(peer.stream).await
                {
                    while let Some(Ok((request, mut respond))) = server.accept().await {
                        assert_eq!(request.uri().path(), "/up");
                        respond.send_response(Response::new(()), true).unwrap();
                    }
                }
            },
        )
        .await;
        let test = async {
            stub.upstream.tend_health();
            until(&stub, true).await;
            until(&stub, false).await;
            assert!(stub.connections() >= 5);
        };
        LocalSet::new().run_until(test).await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_checked_no_more() {
    let stub =
        stub(|settings| settings.health = Some(checks(None)), |mut peer, _| async move { peer.closed().await }).await;
    let test = async {
        stub.upstream.tend_health();
        while stub.connections() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let Stub { upstream, connections } = stub;
        let gone = Rc::downgrade(&upstream);
        drop(upstream);
        while gone.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        let last = connections.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(connections.load(Ordering::SeqCst) <= last + 1);
    };
    LocalSet::new().run_until(test).await;
}
