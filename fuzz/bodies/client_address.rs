//! Any bytes as the header of trusted proxies: an untrusted peer is always itself, and the client that a trusted one
//! names was written in the header.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_policy::ClientAddress;
use portcullis_proxy::client_address::derive;
use portcullis_proxy::settings::{ClientAddressSettings, ForwardedHeader};

/// The first byte chooses the header, each line is one field.
pub(crate) fn body(bytes: &[u8]) {
    let Some((choice, fields)) = bytes.split_first() else { return };
    let (header, name) = match choice % 2 {
        0 => (ForwardedHeader::XForwardedFor, "x-forwarded-for"),
        _ => (ForwardedHeader::Forwarded, "forwarded"),
    };
    let mut headers = HeaderMap::new();
    for field in fields.split(|byte| *byte == b'\n').take(100) {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|prefix| prefix.parse().unwrap()).to_vec();
    let settings = ClientAddressSettings { trusted_proxies: trusted, header };
    let (proxy, stranger): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());

    let derived = derive(stranger, &headers, &settings);
    assert_eq!((derived.client, derived.proxies.len()), (ClientAddress::Known(stranger), 0));

    let derived = derive(proxy, &headers, &settings);
    assert!(derived.proxies.len() <= 65 && derived.forwarded.len() <= 32);
    assert!(derived.forwarded.iter().all(|entry| entry.len() <= 64));
    assert_eq!(derived.client == ClientAddress::Unknown, derived.problem.is_some());
    if let ClientAddress::Known(client) = derived.client {
        assert_eq!(client, client.to_canonical());
        // In a quoted string a backslash stands before what is meant (RFC 9110 section 5.6.4).
        let text = String::from_utf8_lossy(fields).replace('\\', "");
        let written = |word: &str| word.parse().is_ok_and(|address: IpAddr| address.to_canonical() == client);
        let apart = |each: char| !each.is_ascii_hexdigit() && each != ':' && each != '.';
        let named = text.split(apart).any(|word| {
            // `1.2.3.4:80` is an address and a port.
            written(word) || word.rsplit_once(':').is_some_and(|(address, _)| written(address))
        });
        assert!(client == proxy || named, "{client} is not in {text:?}");
    }
}
