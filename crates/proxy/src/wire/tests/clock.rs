//! Deadlines, draining and the lingering close, on a paused clock: no test waits.

use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::harness::{Connection, Seen, connect, connect_with, locally, read_once};
use super::limits;
use crate::wire::{BodyProblem, Gate};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Checks that the server ends the connection `after` so much time, give or take the clock's grain, and gives the answer.
async fn ends_after(connection: &mut Connection, after: Duration) -> String {
    let begun = Instant::now();
    let answer = connection.read_to_end().await;
    let took = begun.elapsed();
    assert!(took >= after && took < after + Duration::from_millis(10), "{took:?} instead of {after:?}");
    answer
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_nothing_is_closed_without_a_request() {
    locally(async {
        let mut connection = connect(limits());
        assert_eq!(ends_after(&mut connection, seconds(10)).await, "");
        assert!(connection.calls().is_empty());
        // Nothing is owed, so the server does not linger.
        timeout(Duration::from_millis(1), connection.server).await.unwrap().unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn empty_lines_do_not_begin_a_head() {
    locally(async {
        let mut connection = connect(limits());
        connection.send("\r\n\r\n").await;
        assert_eq!(ends_after(&mut connection, seconds(10)).await, "");
        assert!(connection.calls().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_not_finished_in_time_is_refused() {
    for begun in ["G", "\r", "GET /a HTTP/1.1\r\nHost: a\r\n", "POST /b "] {
        locally(async {
            let mut connection = connect(limits());
            sleep(seconds(3)).await;
            connection.send(begun).await;
            let answer = ends_after(&mut connection, seconds(10)).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
            assert!(connection.calls()[0].starts_with("refused Timeout"), "{:?}", connection.calls());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn dripping_bytes_do_not_move_the_head_deadline() {
    locally(async {
        let mut connection = connect(limits());
        for (second, byte) in "GET / HTTP/1.1".bytes().take(10).enumerate() {
            connection.send([byte]).await;
            sleep(seconds(if second == 9 { 0 } else { 1 })).await;
        }
        let answer = ends_after(&mut connection, seconds(1)).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_the_keep_alive_time() {
    locally(async {
        let mut connection = connect(limits());
        for (wait, answer) in [(0, "answer 1."), (40, "answer 2."), (74, "answer 3.")] {
            sleep(seconds(wait)).await;
            connection.send(REQUEST).await;
            connection.read_until(answer).await;
        }
        assert_eq!(ends_after(&mut connection, seconds(75)).await, "");
        assert_eq!(connection.calls().len(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_its_own_deadline() {
    locally(async {
        let mut connection = connect(limits());
        connection.send(REQUEST).await;
        connection.read_until("answer 1.").await;
        sleep(seconds(70)).await;
        connection.send("GET /").await;
        let answer = ends_after(&mut connection, seconds(10)).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_not_cut_off_by_the_idle_time() {
    locally(async {
        let seen = Seen { turnstile: Some(Semaphore::new(0)), ..Seen::default() };
        let mut connection = connect_with(limits(), seen, 64 * 1024);
        connection.send(REQUEST).await;
        sleep(seconds(500)).await;
        connection.seen.turnstile.as_ref().unwrap().add_permits(1);
        connection.read_until("answer 1.").await;
        // And the idle time begins at its end.
        assert_eq!(ends_after(&mut connection, seconds(75)).await, "");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_was_sent_ahead_has_its_time_from_the_end_of_the_answer() {
    locally(async {
        let seen = Seen { turnstile: Some(Semaphore::new(0)), ..Seen::default() };
        let mut connection = connect_with(limits(), seen, 64 * 1024);
        connection.send(format!("{REQUEST}GET /2 ")).await;
        sleep(seconds(60)).await;
        connection.seen.turnstile.as_ref().unwrap().add_permits(1);
        connection.read_until("answer 1.").await;
        sleep(seconds(9)).await;
        connection.send("HTTP/1.1\r\nHost: a\r\n\r\n").await;
        connection.seen.turnstile.as_ref().unwrap().add_permits(1);
        connection.read_until("answer 2.").await;
        assert_eq!(connection.calls()[1], "GET /2 0 ");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_but_not_idle() {
    locally(async {
        let mut connection = connect(limits());
        connection.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
        for byte in ["a", "b", "c"] {
            sleep(seconds(29)).await;
            connection.send(byte).await;
        }
        let begun = Instant::now();
        let answer = connection.read_until("answer 1.").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(begun.elapsed().as_secs(), 30);
        assert_eq!(connection.calls(), [format!("POST / 5 failed {:?}", Some(BodyProblem::TimedOut))]);
        assert_eq!(connection.read_to_end().await, "");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_bytes_is_given_up() {
    locally(async {
        let seen = Seen::default();
        seen.filling.set(10_000);
        let mut connection = connect_with(limits(), seen, 100);
        connection.send(REQUEST).await;
        let begun = Instant::now();
        let error = connection.server.await.unwrap().unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 30);
        assert!(format!("{error:?}").contains("takes no bytes"), "{error:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn draining_closes_an_idle_connection_at_once() {
    locally(async {
        let mut connection = connect(limits());
        connection.send(REQUEST).await;
        connection.read_until("answer 1.").await;
        sleep(seconds(5)).await;
        connection.handle.drain();
        assert_eq!(ends_after(&mut connection, Duration::ZERO).await, "");
        connection.server.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn draining_leaves_a_new_connection_half_a_second_for_its_request() {
    locally(async {
        let mut silent = connect(limits());
        let mut late = connect(limits());
        tokio::task::yield_now().await;
        silent.handle.drain();
        late.handle.drain();
        sleep(Duration::from_millis(400)).await;
        late.send(REQUEST).await;
        let answer = late.read_to_end().await;
        assert!(answer.contains("connection: close") && answer.ends_with("answer 1."), "{answer}");
        assert_eq!(ends_after(&mut silent, Duration::from_millis(100)).await, "");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn draining_lets_a_request_in_flight_finish() {
    locally(async {
        let seen = Seen { turnstile: Some(Semaphore::new(0)), ..Seen::default() };
        let mut connection = connect_with(limits(), seen, 64 * 1024);
        connection.send(REQUEST).await;
        sleep(seconds(1)).await;
        connection.handle.drain();
        sleep(seconds(20)).await;
        connection.seen.turnstile.as_ref().unwrap().add_permits(1);
        let answer = ends_after(&mut connection, Duration::ZERO).await;
        assert!(answer.ends_with("answer 1."), "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn draining_during_an_answer_closes_at_its_end() {
    locally(async {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let (mut gate, handle) = Gate::new(server, limits());
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        read_once(&mut gate, 8192).await.unwrap();
        let (_event, exchange) = handle.next_head().unwrap();
        // In a task of its own, so that nothing but the end of the exchange wakes it.
        let reader = spawn_local(async move { (read_once(&mut gate, 8192).await.unwrap(), Instant::now()) });
        sleep(seconds(1)).await;
        handle.drain();
        sleep(seconds(1)).await;
        drop(exchange);
        let ended = Instant::now();
        assert_eq!(reader.await.unwrap(), (Vec::new(), ended));
    })
    .await;
}

/// Closes a gate in the middle of a request, and gives how long that took while the client does `what`.
async fn close_while(what: impl AsyncFnOnce(tokio::io::DuplexStream)) -> Duration {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (mut gate, _handle) = Gate::new(server, limits());
    let begun = Instant::now();
    let close = std::future::poll_fn(|cx| hyper::rt::Write::poll_shutdown(Pin::new(&mut gate), cx));
    let (closed, ()) = tokio::join!(async { close.await.map(|()| begun.elapsed()) }, what(client));
    closed.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_close_lingers_until_the_client_ends_or_a_second_or_a_quarter_mebibyte() {
    let took = close_while(async |client| {
        sleep(Duration::from_millis(300)).await;
        drop(client);
    })
    .await;
    assert_eq!(took.as_millis() / 10, 30);

    let took = close_while(async |client| {
        sleep(seconds(5)).await;
        drop(client);
    })
    .await;
    assert_eq!(took.as_millis() / 10, 100);

    let took = close_while(async |mut client| {
        client.write_all(&[0; 300 * 1024]).await.unwrap();
        sleep(seconds(5)).await;
    })
    .await;
    assert!(took < Duration::from_millis(10), "{took:?}");
}
