//! The PROXY protocol, versions 1 and 2: a trusted proxy says, before anything else, for whom it opened the connection.
//!
//! It is spoken only by trusted proxies (`trusted_proxies`), and by them always: whether a connection begins with a header is
//! never guessed from its bytes, since then a client behind a proxy that does not speak it could name itself. What anybody else
//! writes is HTTP, and a header of this protocol is none.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client_address::is_trusted;
use crate::settings::ProxyProtocol;

/// The longest header of version 1, line end included.
const MAX_TEXT_BYTES: usize = 107;
/// What is common to all headers of version 2.
const FIXED_BYTES: usize = 16;
/// The longest header of version 2 that is read. Addresses take at most 216 bytes; the rest are extensions, which are not looked at.
const MAX_BINARY_BYTES: usize = 4096;
/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header where one is due, exactly to its end, and says whose connection it is.
///
/// # Errors
/// Why the connection is closed, for the log.
pub(crate) async fn accept(
    stream: &mut TcpStream,
    peer: SocketAddr,
    mode: ProxyProtocol,
    trusted: &[IpNet],
    limit: Duration,
) -> Result<SocketAddr, String> {
    match (mode, is_trusted(peer.ip().to_canonical(), trusted)) {
        (ProxyProtocol::Off, _) | (ProxyProtocol::Trusted, false) => Ok(peer),
        (ProxyProtocol::Required, false) => Err("it is no trusted proxy".to_owned()),
        (ProxyProtocol::Trusted | ProxyProtocol::Required, true) => match timeout(limit, read(stream)).await {
            Ok(Ok(header)) => source(&header).map(|named| named.unwrap_or(peer)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no header of the PROXY protocol came in time".to_owned()),
        },
    }
}

/// Whom a whole header names; `None` where the proxy speaks for itself, or for somebody whom it cannot name.
///
/// # Errors
/// What is wrong with it.
pub fn source(header: &[u8]) -> Result<Option<SocketAddr>, String> {
    if header.starts_with(SIGNATURE) {
        let parsed = v2::Header::try_from(header).map_err(|error| format!("a broken header: {error}"))?;
        if parsed.header.len() != header.len() {
            return Err("bytes behind the header".to_owned());
        }
        return match (parsed.command, parsed.protocol, parsed.addresses) {
            (v2::Command::Local, _, _) => Ok(None),
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(it)) => {
                Ok(Some(SocketAddr::new(IpAddr::V4(it.source_address), it.source_port)))
            }
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(it)) => {
                Ok(Some(SocketAddr::new(IpAddr::V6(it.source_address), it.source_port)))
            }
            (v2::Command::Proxy, _, v2::Addresses::Unspecified) => Ok(None),
            (v2::Command::Proxy, _, _) => Err("a header for another transport than TCP".to_owned()),
        };
    }
    if header.contains(&b'+') {
        return Err("a sign before a number".to_owned());
    }
    let parsed = v1::Header::try_from(header).map_err(|error| format!("a broken header: {error}"))?;
    if parsed.header.len() != header.len() {
        return Err("bytes behind the header".to_owned());
    }
    Ok(match parsed.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(it) => Some(SocketAddr::new(IpAddr::V4(it.source_address), it.source_port)),
        v1::Addresses::Tcp6(it) => Some(SocketAddr::new(IpAddr::V6(it.source_address), it.source_port)),
    })
}

/// Reads one header of either version, exactly to its end.
///
/// # Errors
/// When there is none, or one over the bounds, or the stream ends or fails before its end.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let invalid = |problem: &'static str| io::Error::new(io::ErrorKind::InvalidData, problem);
    // The shortest header of version 1 has 15 bytes.
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(FIXED_BYTES, 0);
        stream.read_exact(header.get_mut(SIGNATURE.len()..).unwrap_or_default()).await?;
        let [.., high, low] = header.as_slice() else { return Err(invalid("a header without a length")) };
        let length = FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
        if length > MAX_BINARY_BYTES {
            return Err(invalid("a header over 4 KiB"));
        }
        header.resize(length, 0);
        stream.read_exact(header.get_mut(FIXED_BYTES..).unwrap_or_default()).await?;
        return Ok(header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(invalid("it does not begin with a header of the PROXY protocol"));
    }
    // What follows the line is not this function's to read, so each byte is asked for by itself: there are few.
    while !header.ends_with(b"\r\n") {
        if header.len() == MAX_TEXT_BYTES {
            return Err(invalid("a header over 107 bytes"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, payload].concat()
    }

    #[test]
    fn a_header_names_the_client_or_nobody_or_is_broken() {
        let check = |header: &[u8], expected: Result<Option<&str>, ()>| {
            let found = source(header).map_err(|_| ());
            let expected = expected.map(|named| named.map(|named| named.parse::<SocketAddr>().unwrap()));
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(header));
        };
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", Ok(Some("192.0.2.7:4711")));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Ok(Some("[2001:db8::7]:4711")));
        check(b"PROXY UNKNOWN\r\n", Ok(None));
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Ok(None));
        for broken in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +4711 443\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nGET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\n",
            "",
        ] {
            check(broken.as_bytes(), Err(()));
        }
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 187];
        let six = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
        let six = [six.as_slice(), &[0x12, 0x67, 1, 187]].concat();
        check(&binary(0x21, 0x11, &four), Ok(Some("192.0.2.7:4711")));
        check(&binary(0x21, 0x21, &six), Ok(Some("[2001:db8::7]:4711")));
        // Extensions are not looked at.
        check(&binary(0x21, 0x11, &[four.as_slice(), &[4, 0, 2, 0, 0]].concat()), Ok(Some("192.0.2.7:4711")));
        check(&binary(0x20, 0x11, &four), Ok(None));
        check(&binary(0x20, 0x00, &[]), Ok(None));
        check(&binary(0x21, 0x00, &[]), Ok(None));
        check(&binary(0x11, 0x11, &four), Err(()));
        check(&binary(0x22, 0x11, &four), Err(()));
        check(&binary(0x21, 0x12, &four), Err(()));
        check(&binary(0x21, 0x31, &[0; 216]), Err(()));
        check(&binary(0x21, 0x11, &four[..11]), Err(()));
        check(&[binary(0x21, 0x11, &four), b"x".to_vec()].concat(), Err(()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), signed in any::<bool>()) {
            let header = if signed { [SIGNATURE.as_slice(), &bytes].concat() } else { bytes };
            let _ = source(&header);
        }
    }
}
