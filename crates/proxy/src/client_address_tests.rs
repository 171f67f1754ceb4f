//! Whom a request is said to come from, and who may say so.

use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.5";
const STRANGER: &str = "198.51.100.66";

fn settings(header: ForwardedHeader) -> ClientAddressSettings {
    let trusted_proxies = ["10.0.0.0/8", "fd00::/8", "::ffff:192.168.1.0/120"].map(|net| net.parse().unwrap()).to_vec();
    ClientAddressSettings { trusted_proxies, header }
}

fn derived(peer: &str, header: ForwardedHeader, lines: &[&[u8]]) -> Derived {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name(header), HeaderValue::from_bytes(line).unwrap());
    }
    derive(peer.parse().unwrap(), &headers, &settings(header))
}

/// The client as text, or `unknown`.
fn client(derived: &Derived) -> String {
    assert_eq!(derived.problem.is_some(), derived.client == ClientAddress::Unknown);
    derived.client.ip().map_or("unknown".into(), |client| client.to_string())
}

fn check(header: ForwardedHeader, lines: &[&str], expected: &str) {
    let bytes: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    assert_eq!(client(&derived(PEER, header, &bytes)), expected, "{lines:?}");
}

#[test]
fn x_forwarded_for_is_walked_from_the_right_to_the_first_untrusted_hop() {
    let check = |lines: &[&str], expected| check(ForwardedHeader::XForwardedFor, lines, expected);
    check(&[], PEER);
    check(&["203.0.113.7"], "203.0.113.7");
    check(&["203.0.113.7, 10.0.0.9"], "203.0.113.7");
    check(&["198.51.100.1,203.0.113.7,10.0.0.9,10.0.0.8"], "203.0.113.7");
    check(&["10.1.1.1, 10.0.0.9"], "10.1.1.1");
    check(&["198.51.100.1", "203.0.113.7", "10.0.0.9"], "203.0.113.7");
    check(&["203.0.113.7", "198.51.100.1, 10.0.0.9"], "198.51.100.1");
    check(&["203.0.113.7, , 10.0.0.9,", ""], "203.0.113.7");
    check(&["garbage, 203.0.113.7"], "203.0.113.7");
    check(&["203.0.113.7, garbage"], "unknown");
    check(&["203.0.113.7, garbage, 10.0.0.9"], "unknown");
    check(&["garbage, 10.0.0.9"], "unknown");
    check(&[""], "unknown");
    check(&[" , ,"], "unknown");
}

#[test]
fn addresses_are_parsed_strictly() {
    let check = |hop: &str, expected| check(ForwardedHeader::XForwardedFor, &[hop], expected);
    check("203.0.113.7:1", "203.0.113.7");
    check("203.0.113.7:65535", "203.0.113.7");
    check("2001:db8::1", "2001:db8::1");
    check("[2001:db8::1]", "2001:db8::1");
    check("[2001:DB8:0::1]:443", "2001:db8::1");
    check("::ffff:203.0.113.7", "203.0.113.7");
    check("[::ffff:203.0.113.7]:443", "203.0.113.7");
    check("::ffff:192.168.1.4", "192.168.1.4");
    for hop in [
        "203.0.113.7:",
        "203.0.113.7:65536",
        "203.0.113.7:000080",
        "203.0.113.7:+1",
        "203.0.113.7:http",
        "203.0.113.07",
        "0313.0.113.7",
        "0xcb.0.113.7",
        "203.0.113",
        "3405803783",
        "203.0.113.7.",
        "203.0.113.256",
        "203.0.113.7/32",
        "[203.0.113.7]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]443",
        "[2001:db8::1]:",
        "[2001:db8::1]:99999",
        "[fe80::1%eth0]",
        "fe80::1%1",
        "2001:db8::1::",
        "[]",
        "unknown",
        "_hidden",
        "localhost",
        "\"203.0.113.7\"",
        "2 03.0.113.7",
    ] {
        check(hop, "unknown");
    }
}

#[test]
fn forwarded_is_read_by_its_own_grammar() {
    let check = |lines: &[&str], expected| check(ForwardedHeader::Forwarded, lines, expected);
    check(&["for=203.0.113.7"], "203.0.113.7");
    check(&["For=203.0.113.7;proto=https;by=10.0.0.5"], "203.0.113.7");
    check(&["proto=https; for=\"203.0.113.7:80\" ;host=\"a,b;c\""], "203.0.113.7");
    check(&["for=\"[2001:db8::1]\""], "2001:db8::1");
    check(&["for=\"[2001:db8::1]:443\", for=10.0.0.9"], "2001:db8::1");
    check(&["for=\"\\203.0.113.7\""], "203.0.113.7");
    check(&["for=198.51.100.1", "for=203.0.113.7;by=\"x\\\",y\", for=10.0.0.9"], "203.0.113.7");
    check(&[";for=203.0.113.7;;"], "203.0.113.7");
    for line in [
        "for=unknown",
        "for=_hidden",
        "for=\"_hidden\"",
        "for=203.0.113.7:80",
        "for=[2001:db8::1]",
        "for=2001:db8::1",
        "for=\"2001:db8::1\"",
        "for=",
        "for=\"\"",
        "for=\"203.0.113.7",
        "for",
        "203.0.113.7",
        "proto=https",
        ";",
        "for=203.0.113.7;for=203.0.113.7",
        "for=203.0.113.7 proto=https",
        "for = 203.0.113.7",
        "=203.0.113.7",
        "for=\"203.0.113.7\"x",
        "f\"or=203.0.113.7",
    ] {
        check(&[line], "unknown");
    }
}

#[test]
fn an_unbalanced_quote_cannot_swallow_what_a_proxy_appended() {
    for spoofed in ["for=\"", "\"", "for=\"10.0.0.9\\", "for=\"a\\\"", ";;=\"\"\"", "for=\"[2001:db8::66]"] {
        for appended in ["for=203.0.113.7", "for=203.0.113.7;host=\"a,b\"", "by=\"c\\\",d\";for=\"203.0.113.7:1\""] {
            check(ForwardedHeader::Forwarded, &[&format!("{spoofed}, {appended}")], "203.0.113.7");
            check(ForwardedHeader::Forwarded, &[spoofed, appended], "203.0.113.7");
        }
    }
}

#[test]
fn only_the_configured_header_counts() {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1"));
    headers.insert("x-real-ip", HeaderValue::from_static("198.51.100.2"));
    let found = derive(PEER.parse().unwrap(), &headers, &settings(ForwardedHeader::Forwarded));
    assert_eq!((client(&found), found.via_trusted_proxy), (PEER.into(), false));
    headers.insert("forwarded", HeaderValue::from_static("for=203.0.113.7"));
    let found = derive(PEER.parse().unwrap(), &headers, &settings(ForwardedHeader::Forwarded));
    assert_eq!((client(&found), found.via_trusted_proxy), ("203.0.113.7".into(), true));
}

#[test]
fn without_trusted_proxies_the_peer_is_the_client() {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.7"));
    let found = derive("::ffff:10.0.0.5".parse().unwrap(), &headers, &ClientAddressSettings::default());
    assert_eq!(client(&found), PEER);
    assert!(found.proxies.is_empty() && found.forwarded.is_empty() && !found.via_trusted_proxy);
}

#[test]
fn a_short_ipv6_prefix_does_not_trust_ipv4() {
    let trusted_proxies = vec!["::/0".parse().unwrap()];
    let settings = ClientAddressSettings { trusted_proxies, header: ForwardedHeader::XForwardedFor };
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.7"));
    assert_eq!(client(&derive(PEER.parse().unwrap(), &headers, &settings)), PEER);
    assert_eq!(client(&derive("2001:db8::5".parse().unwrap(), &headers, &settings)), "203.0.113.7");
}

#[test]
fn the_chain_holds_only_what_was_walked_and_trusted() {
    let found = derived(PEER, ForwardedHeader::XForwardedFor, &[b"spoofed, 203.0.113.7, fd00::9, 10.0.0.8"]);
    let proxies: Vec<_> = found.proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["fd00::9", "10.0.0.8", PEER]);
    assert_eq!(found.forwarded, ["spoofed", "203.0.113.7", "fd00::9", "10.0.0.8"]);
    let found = derived(PEER, ForwardedHeader::XForwardedFor, &[b"203.0.113.7, garbage, 10.0.0.8"]);
    assert_eq!(found.proxies.len(), 2);
}

#[test]
fn the_walk_is_bounded() {
    let header = ForwardedHeader::XForwardedFor;
    let trusted = |hops: usize| vec!["10.0.0.9"; hops].join(",");
    check(header, &[&format!("203.0.113.7,{}", trusted(63))], "203.0.113.7");
    check(header, &[&format!("203.0.113.7,{}", trusted(64))], "unknown");
    check(header, &[&trusted(64)], "10.0.0.9");
    check(header, &[&trusted(65)], "unknown");
    check(header, &[&trusted(65), "203.0.113.7"], "203.0.113.7");
    let spaces = " ".repeat(8 * 1024);
    check(header, &[&format!("203.0.113.7,{spaces},10.0.0.9")], "unknown");
    check(header, &[&format!("{spaces},203.0.113.7,10.0.0.9")], "203.0.113.7");
}

#[test]
fn the_record_is_bounded() {
    let long = format!("{}, 203.0.113.7", vec!["é".repeat(40); 50].join(","));
    let found = derived(PEER, ForwardedHeader::XForwardedFor, &[long.as_bytes()]);
    assert_eq!(found.forwarded.len(), 32);
    assert_eq!(found.forwarded.last().unwrap(), "203.0.113.7");
    assert!(found.forwarded.iter().all(|entry| entry.len() <= 64));
    assert_eq!(recorded(&[0xff; 100]).len(), 63);
}

fn header_kind() -> impl Strategy<Value = ForwardedHeader> {
    prop_oneof![Just(ForwardedHeader::XForwardedFor), Just(ForwardedHeader::Forwarded)]
}

/// Bytes that a header value may hold, with a liking for those that mean something.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b" \t,;=\"\\[]:.%_0123456789abcdef".to_vec()),
        (0x20_u8..=0xff).prop_filter("no DEL", |byte| *byte != 0x7f),
    ];
    let words = prop::sample::select(vec![
        "10.0.0.9",
        "203.0.113.7",
        "for=",
        "for=10.0.0.9",
        "for=\"[fd00::1]\"",
        ", ",
        "::ffff:10.0.0.1",
    ]);
    let part = prop_oneof![byte.prop_map(|byte| vec![byte]), words.prop_map(|word| word.as_bytes().to_vec())];
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn nothing_that_a_header_can_hold_panics(kind in header_kind(), lines in prop::collection::vec(value(), 0..4)) {
        let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
        let found = derived(PEER, kind, &lines);
        prop_assert!(found.forwarded.len() <= 32 && found.proxies.len() <= 65);
        prop_assert_eq!(found.problem.is_some(), found.client == ClientAddress::Unknown);
        if let Some(client) = found.client.ip() {
            prop_assert_eq!(client, client.to_canonical());
        }
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_sends(kind in header_kind(), line in value()) {
        prop_assert_eq!(derived(STRANGER, kind, &[&line]), derived(STRANGER, kind, &[]));
        prop_assert_eq!(client(&derived(STRANGER, kind, &[&line])), STRANGER);
    }

    #[test]
    fn what_stands_left_of_the_first_untrusted_hop_changes_nothing(kind in header_kind(), spoofed in value(), own_line: bool) {
        let walked: &[u8] = match kind {
            ForwardedHeader::XForwardedFor => b"203.0.113.7, 10.0.0.9",
            ForwardedHeader::Forwarded => b"for=203.0.113.7;host=\"a,\\\"b\", for=10.0.0.9",
        };
        let joined = [spoofed.as_slice(), b",", walked].concat();
        let lines = if own_line { vec![spoofed.as_slice(), walked] } else { vec![joined.as_slice()] };
        let (plain, found) = (derived(PEER, kind, &[walked]), derived(PEER, kind, &lines));
        prop_assert_eq!(client(&plain), "203.0.113.7");
        prop_assert_eq!((found.client, found.proxies, found.problem), (plain.client, plain.proxies, plain.problem));
    }

    #[test]
    fn a_mapped_address_is_the_address_it_maps(peer: [u8; 4], hop: [u8; 4]) {
        let (peer, hop) = (Ipv4Addr::from(peer), Ipv4Addr::from(hop));
        let settings = ClientAddressSettings { trusted_proxies: vec!["0.0.0.0/1".parse().unwrap()], ..Default::default() };
        let derived = |peer: IpAddr, hop: String| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_str(&hop).unwrap());
            let found = derive(peer, &headers, &settings);
            (found.client, found.via_trusted_proxy, found.proxies)
        };
        let plain = derived(peer.into(), hop.to_string());
        prop_assert_eq!(&plain, &derived(peer.to_ipv6_mapped().into(), hop.to_string()));
        prop_assert_eq!(&plain, &derived(peer.into(), hop.to_ipv6_mapped().to_string()));
        prop_assert_eq!(&plain, &derived(peer.into(), format!("[{}]:80", hop.to_ipv6_mapped())));
    }
}
