//! The client against a peer that says exactly what the case says.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

/// A peer that accepts one connection, writes `says` piece by piece, closes, and then tells what it was sent.
fn peer(says: &[&str]) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let says: Vec<String> = says.iter().map(|piece| (*piece).to_owned()).collect();
    let told = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in says {
            stream.write_all(piece.as_bytes()).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).unwrap();
        told
    });
    (address, told)
}

fn check(says: &[&str], expected: Result<(u16, &str, Framing), &str>) {
    let answer = try_send(peer(says).0, "GET / HTTP/1.1\r\n\r\n");
    match (&answer, expected) {
        (Ok(answer), Ok((status, body, framing))) => {
            assert_eq!((answer.status(), answer.text(), answer.framing), (status, body, framing), "{says:?}");
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{says:?}: {error}"),
        _ => panic!("{says:?} gave {answer:?}, not {expected:?}"),
    }
}

#[test]
fn each_framing_is_read_to_its_end() {
    check(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"], Ok((200, "abc", Framing::Length(3))));
    check(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", "c"], Ok((200, "abc", Framing::Length(3))));
    check(&["HTTP/1.1 403 \r\ncontent-length: 0\r\n\r\n"], Ok((403, "", Framing::Length(0))));
    check(
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA", "\r\n0123456789\r\n0\r\n\r\n"],
        Ok((200, "abc0123456789", Framing::Chunked)),
    );
    check(&["HTTP/1.0 200 OK\r\n\r\nall ", "of it"], Ok((200, "all of it", Framing::UntilClose)));
    check(&["HTTP/1.1 204 No Content\r\n\r\n"], Ok((204, "", Framing::None)));
    check(&["HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"], Ok((304, "", Framing::None)));
}

#[test]
fn what_is_no_whole_answer_is_told_apart() {
    check(&[], Err("closed before the first byte"));
    check(&["HTTP/1.1 200 OK\r\ncontent"], Err("closed in the middle"));
    check(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"], Err("closed in the middle"));
    check(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"], Err("closed in the middle"));
    check(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"], Err("closed in the middle"));
    check(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"], Err("malformed: chunk size"));
    check(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"], Err("after a chunk"));
    check(&["HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"], Err("malformed: content-length"));
    check(&["ICY 200 OK\r\n\r\n"], Err("malformed: status line"));
    check(&["HTTP/1.1 20 OK\r\n\r\n"], Err("malformed: status line"));
}

#[test]
fn interim_answers_trailers_and_the_raw_head_are_shown() {
    let head = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    let answer = send(
        peer(&[
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
            head,
            "0\r\nChecked: yes\r\n\r\n",
        ])
        .0,
        "",
    );
    assert_eq!(answer.interim, [100, 103]);
    assert_eq!(answer.head.raw, head.as_bytes());
    assert_eq!(answer.head.reason, "Fine");
    assert_eq!(answer.head.header_values("set-cookie"), ["a", "b"]);
    assert_eq!(answer.trailers, [("Checked".to_owned(), "yes".to_owned())]);
    assert_eq!(answer.header("absent"), None);
}

#[test]
fn answers_are_read_one_after_the_other_and_head_has_no_body() {
    let one = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
    let mut connection = Conn::open(peer(&[one, "a", one, one, "c"]).0);
    assert_eq!(connection.answer().text(), "a");
    assert_eq!(connection.answer_without_body().header("content-length"), Some("1"));
    assert_eq!(connection.answer().text(), "c");
    assert!(matches!(connection.try_answer(), Err(ReadError::Closed)));
    assert!(connection.closed_within(PATIENCE));
}

#[test]
fn exactly_the_given_bytes_are_sent() {
    let (address, told) = peer(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]);
    let bytes =
        request("POST", "/a?b", &[("X-A", "1"), ("Transfer-Encoding", "chunked")], &chunked(&[b"ab", b"", b"c"]));
    let mut connection = Conn::open(address);
    connection.send(&bytes);
    connection.finish_sending();
    connection.answer();
    assert_eq!(
        String::from_utf8(told.join().unwrap()).unwrap(),
        "POST /a?b HTTP/1.1\r\nhost: gateway.test\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    );
    assert_eq!(
        request("PUT", "/", &[("Host", "h")], b"xy"),
        b"PUT / HTTP/1.1\r\nHost: h\r\ncontent-length: 2\r\n\r\nxy"
    );
}

#[test]
fn a_silent_peer_costs_no_more_than_the_patience() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = Conn::open(listener.local_addr().unwrap()).with_patience(Duration::from_millis(30));
    let (mut silent, _) = listener.accept().unwrap();
    assert!(!connection.closed_within(Duration::from_millis(10)));
    silent.write_all(b"HTTP/1.1 2").unwrap();
    assert!(matches!(connection.try_answer(), Err(ReadError::TimedOut(left)) if left == b"HTTP/1.1 2"));
    assert_eq!(connection.next_bytes().unwrap(), b"HTTP/1.1 2");
    drop(silent);
    assert!(connection.closed_within(PATIENCE));
    assert!(connection.next_bytes().unwrap().is_empty());
}

#[test]
fn a_client_can_come_from_another_loopback_address_and_go_with_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = Conn::open_from("127.0.0.7".parse().unwrap(), listener.local_addr().unwrap());
    let (mut accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer, connection.local_address());
    assert_eq!(peer.ip().to_string(), "127.0.0.7");
    connection.reset();
    assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
