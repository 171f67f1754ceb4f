//! The PROXY protocol: whom a trusted proxy names is the client, and nobody else names anybody.

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::Conn;

use crate::harness::{Gateway, NO_BANS, OPEN, Site};

const REQUEST: &str = "GET /x HTTP/1.1\r\nhost: app.test\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

/// A gateway that trusts 127.0.0.1, and lets in 192.0.2.0/24 and 127.0.0.0/8 alone.
fn gateway(upstream: &Upstream, mode: &str, limits: &str) -> Gateway {
    let mut site = Site::new(&upstream.url());
    site.listen_with(&format!("proxy_protocol = {mode}"));
    site.add(&format!("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\n{limits}\n"));
    let networks = "networks = { allow = [\"near\"] }\n\n[[role]]";
    let network = "\n[[network]]\nname = \"near\"\naddresses = [\"192.0.2.0/24\", \"127.0.0.0/8\"]\n";
    site.policy(&[&OPEN.replacen("\n[[role]]", networks, 1), network, NO_BANS].concat());
    site.start()
}

#[test]
fn whom_a_trusted_proxy_names_is_the_client() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "true", "");
    let four = [192, 0, 2, 8, 198, 51, 100, 1, 0x12, 0x67, 1, 187];
    let binary = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".as_slice(), &four].concat();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();
    let cases = [
        (LINE.as_bytes().to_vec(), "192.0.2.7"),
        (binary, "192.0.2.8"),
        (local, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ];
    for (count, (header, client)) in cases.iter().enumerate() {
        let answer = gateway.send([header, REQUEST.as_bytes()].concat());
        assert_eq!(answer.status(), 200, "{client}");
        let seen = upstream.wait_for_requests(count + 1);
        assert_eq!(seen[count].header("x-forwarded-for"), Some(*client));
    }
    // What the named client writes of others is not believed: it is no trusted proxy.
    let answer = gateway.send(format!("{LINE}GET /x HTTP/1.1\r\nhost: app.test\r\nx-forwarded-for: 127.0.0.9\r\n\r\n"));
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.wait_for_requests(5)[4].header("x-forwarded-for"), Some("192.0.2.7"));
    // A header in pieces is one header.
    let mut slow = gateway.conn();
    slow.send(&LINE.as_bytes()[..20]);
    slow.send([&LINE.as_bytes()[20..], REQUEST.as_bytes()].concat());
    assert_eq!(slow.answer().status(), 200);
    // Who is named and may not come does not.
    let far = LINE.replace("192.0.2.7", "198.51.100.7");
    let answer = gateway.send([far.as_bytes(), REQUEST.as_bytes()].concat());
    let event = gateway.check_refused("far", &answer, 403, "ip.not_allowed");
    assert_eq!(event["client"]["ip"], "198.51.100.7");
}

#[test]
fn a_trusted_proxy_without_a_header_is_closed() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "true", "first_byte_timeout = \"500ms\"");
    for bytes in ["", REQUEST, "PROXY", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n\n", &"PROXY UNKNOWN ".repeat(20)]
    {
        let mut connection = gateway.conn();
        drop(connection.try_send(bytes));
        assert!(connection.closed_within(PATIENCE), "{bytes:?}");
        assert!(connection.next_bytes().unwrap_or_default().is_empty(), "{bytes:?}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn who_is_not_trusted_names_nobody() {
    let upstream = Upstream::start();
    let open = gateway(&upstream, "true", "");
    let from = |gateway: &Gateway, bytes: &str| {
        let mut connection = Conn::open_from("127.0.0.2".parse().unwrap(), gateway.address);
        drop(connection.try_send(bytes));
        connection
    };
    assert_eq!(from(&open, REQUEST).answer().status(), 200);
    assert_eq!(upstream.only_request().header("x-forwarded-for"), Some("127.0.0.2"));
    let answer = from(&open, &format!("{LINE}{REQUEST}")).answer();
    let event = open.check_refused("a header from anybody", &answer, 400, "request.malformed");
    assert_eq!(event["client"]["ip"], "127.0.0.2");
    let closed = gateway(&upstream, "\"required\"", "");
    assert!(from(&closed, REQUEST).closed_within(PATIENCE));
    assert_eq!(closed.send(format!("{LINE}{REQUEST}")).status(), 200);
}
