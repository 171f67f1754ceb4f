//! Any bytes as the beginning of a trusted proxy's connection: what is read of them is one header and not a byte more, and the
//! client that it names is written in it.

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use portcullis_proxy::proxy_protocol::{read, source};

pub(crate) fn body(bytes: &[u8]) {
    // Bytes that were never read, as one header: the parser alone must stand them.
    let _ = source(bytes);
    let mut rest = bytes;
    let Ok(header) = at_once(read(&mut rest)) else { return };
    assert_eq!([&header, rest].concat(), bytes, "nothing behind the header was touched");
    assert!(header.len() <= 4096);
    let Ok(Some(client)) = source(&header) else { return };
    if header.starts_with(b"PROXY ") {
        assert!(header.len() <= 107 && header.ends_with(b"\r\n"));
        let words: Vec<&str> = std::str::from_utf8(&header).expect("text").trim_end().split(' ').collect();
        assert_eq!((words[2].parse().ok(), words[4].parse().ok()), (Some(client.ip()), Some(client.port())));
        return;
    }
    let (address, port) = match client.ip() {
        IpAddr::V4(address) => (address.octets().to_vec(), 24),
        IpAddr::V6(address) => (Ipv6Addr::octets(&address).to_vec(), 48),
    };
    assert_eq!(&header[16..16 + address.len()], address);
    assert_eq!(&header[port..port + 2], client.port().to_be_bytes());
}

/// Bytes at hand are never waited for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => found,
        Poll::Pending => unreachable!("a slice was waited for"),
    }
}
