//! Where a request comes from: the socket's peer, or whom a trusted proxy speaks for.
//!
//! Pure: addresses and headers in, a fact out. It does not decide what an address may do, and it never asks the network.
//!
//! A header counts only if the peer is a trusted proxy, and then it is walked from the right, because each proxy appends:
//! what stands right of the first untrusted address was written by proxies we trust, and what stands left of it by anyone.
//! So whatever a client puts into the header cannot change the answer, not even by being malformed.

use std::iter::Rev;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use portcullis_policy::ClientAddress;

use crate::settings::{ClientAddressSettings, ForwardedHeader};
use crate::upstream::headers::Scheme;

/// What was found out about a request's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The client. Unknown meets no allowlist; limits then count against the peer.
    pub client: ClientAddress,
    /// The peer is a trusted proxy that named somebody else.
    pub via_trusted_proxy: bool,
    /// The trusted proxies that the request came through, the nearest (the peer) last, without the client itself. Empty
    /// without any; at most 65.
    pub proxies: Vec<IpAddr>,
    /// What the header said, for the record: the nearest 32 entries in the header's order, each cut to 64 bytes. Empty
    /// unless the peer is a trusted proxy.
    pub forwarded: Vec<String>,
    /// Why the client is unknown, for the operator.
    pub problem: Option<String>,
}

/// Derives the client's address from the socket's peer and, if that is a trusted proxy, from the one configured header.
pub fn derive(peer: IpAddr, headers: &HeaderMap, settings: &ClientAddressSettings) -> Derived {
    let peer = peer.to_canonical();
    let itself = Derived {
        client: ClientAddress::Known(peer),
        via_trusted_proxy: false,
        proxies: Vec::new(),
        forwarded: Vec::new(),
        problem: None,
    };
    if settings.trusted_proxies.is_empty() || !is_trusted(peer, &settings.trusted_proxies) {
        return itself;
    }
    let header = settings.header;
    if !headers.contains_key(name(header)) {
        return itself;
    }
    let mut proxies = Vec::new();
    let walked = walk(Hops::new(headers, header), &settings.trusted_proxies, &mut proxies);
    proxies.reverse();
    proxies.push(peer);
    let (client, problem) = match walked {
        Ok(client) => (ClientAddress::Known(client), None),
        Err(problem) => (ClientAddress::Unknown, Some(format!("{}: {problem}", name(header)))),
    };
    let forwarded = record(Hops::new(headers, header));
    Derived { client, via_trusted_proxy: true, proxies, forwarded, problem }
}

/// From the right to the first address that is not trusted, or to the leftmost. The trusted ones right of it go into
/// `passed`, nearest first.
fn walk(mut hops: Hops<'_>, trusted: &[IpNet], passed: &mut Vec<IpAddr>) -> Result<IpAddr, &'static str> {
    let mut last = None;
    while let Some(hop) = hops.next() {
        passed.extend(last.take());
        let address = hops.address(hop).ok_or("a hop is no address")?.to_canonical();
        if !is_trusted(address, trusted) {
            return Ok(address);
        }
        last = Some(address);
    }
    if hops.too_many {
        passed.extend(last.take());
        return Err("too many hops");
    }
    last.ok_or("it names nobody")
}

/// The scheme that a trusted proxy says the client used: one `X-Forwarded-Proto` with one of the two values. Anything else
/// says nothing.
pub(crate) fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let mut values = headers.get_all("x-forwarded-proto").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let says = |scheme: &Scheme| value.as_bytes().eq_ignore_ascii_case(scheme.as_str().as_bytes());
    [Scheme::Http, Scheme::Https].into_iter().find(says)
}

/// Whether a canonical address is one of a trusted proxy, whose networks may be written in their IPv4-mapped form.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| match (network, address) {
        (IpNet::V6(network), IpAddr::V4(address)) => {
            network.prefix_len() >= MAPPED_PREFIX_BITS && network.contains(&address.to_ipv6_mapped())
        }
        _ => network.contains(&address),
    })
}

/// A shorter IPv6 prefix covers more than the IPv4-mapped addresses, and is not meant for them (RFC 4291 section 2.5.5.2).
const MAPPED_PREFIX_BITS: u8 = 96;

/// The entries of the header, from the right. Several lines are one list (RFC 9110 section 5.3), and empty entries are none
/// (section 5.6.1).
struct Hops<'a> {
    lines: Rev<header::ValueIter<'a, HeaderValue>>,
    /// What is left of the current line.
    line: Option<&'a [u8]>,
    syntax: ForwardedHeader,
    count: usize,
    bytes: usize,
    /// The walk ended at a bound, not at the header's beginning.
    too_many: bool,
}

impl<'a> Hops<'a> {
    fn new(headers: &'a HeaderMap, syntax: ForwardedHeader) -> Self {
        let lines = headers.get_all(name(syntax)).iter().rev();
        Self { lines, line: None, syntax, count: 0, bytes: 0, too_many: false }
    }

    /// The address that an entry names.
    fn address(&self, hop: &[u8]) -> Option<IpAddr> {
        match self.syntax {
            ForwardedHeader::XForwardedFor => {
                let text = std::str::from_utf8(hop).ok()?;
                text.parse::<Ipv6Addr>().map(IpAddr::V6).ok().or_else(|| node(text))
            }
            ForwardedHeader::Forwarded => node(&forwarded_for(hop)?),
        }
    }

    fn last_comma(&self, line: &[u8]) -> Option<usize> {
        match self.syntax {
            ForwardedHeader::XForwardedFor => line.iter().rposition(|byte| *byte == b','),
            ForwardedHeader::Forwarded => last_unquoted_comma(line),
        }
    }
}

impl<'a> Iterator for Hops<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.too_many {
            let line = match self.line.take() {
                Some(line) => line,
                None => self.lines.next()?.as_bytes(),
            };
            let hop = match self.last_comma(line).and_then(|comma| line.split_at_checked(comma)) {
                Some((before, from_comma)) => {
                    self.line = Some(before);
                    from_comma.get(1..).unwrap_or_default()
                }
                None => line,
            };
            self.count += 1;
            self.bytes += hop.len() + 1;
            if self.count > HOPS_MAX || self.bytes > HOP_BYTES_MAX {
                self.too_many = true;
                break;
            }
            let hop = hop.trim_ascii();
            if !hop.is_empty() {
                return Some(hop);
            }
        }
        None
    }
}

fn name(syntax: ForwardedHeader) -> HeaderName {
    match syntax {
        ForwardedHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        ForwardedHeader::Forwarded => header::FORWARDED,
    }
}

const HOPS_MAX: usize = 64;
const HOP_BYTES_MAX: usize = 8 * 1024;

/// The last comma outside a quoted string. Read from the right, so that an unbalanced quote that a client sent cannot
/// swallow what a proxy appended to it.
fn last_unquoted_comma(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !is_escaped(line, at) => quoted = !quoted,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether an odd number of backslashes stands before this place (RFC 9110 section 5.6.4).
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]` or `[2001:db8::1]:80` (RFC 7239 section 6). The standard library's parsers
/// refuse octal, hexadecimal and short forms; a zone id, `unknown` and `_obfuscated` are no addresses either.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (address, port) = text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    port.is_none_or(is_port).then_some(address)
}

/// One to five digits, at most 65535.
fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && text.parse::<u16>().is_ok()
}

/// The value of the one `for` parameter of a `Forwarded` element (RFC 7239 section 4), without its quotes.
fn forwarded_for(element: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(element).ok()?;
    let mut found = None;
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix(';') {
            rest = next.trim_ascii_start();
            continue;
        }
        let (parameter, value) = rest.split_once('=')?;
        let (value, after) = forwarded_value(value)?;
        if !is_token(parameter) {
            return None;
        }
        if parameter.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
        rest = after.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
    }
    found
}

/// A token or a quoted string, and what follows it.
fn forwarded_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|character| !is_token_character(character)).unwrap_or(text.len());
        let (token, after) = text.split_at_checked(end)?;
        return (!token.is_empty()).then(|| (token.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_character)
}

/// RFC 9110 section 5.6.2.
fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// The nearest entries, in the header's order.
fn record(hops: Hops<'_>) -> Vec<String> {
    let mut entries: Vec<String> = hops.take(RECORDED_MAX).map(recorded).collect();
    entries.reverse();
    entries
}

fn recorded(hop: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(hop.get(..RECORDED_BYTES_MAX).unwrap_or(hop)).into_owned();
    text.truncate(text.floor_char_boundary(RECORDED_BYTES_MAX));
    text
}

const RECORDED_MAX: usize = 32;
const RECORDED_BYTES_MAX: usize = 64;

#[cfg(test)]
#[path = "client_address_tests.rs"]
mod tests;
