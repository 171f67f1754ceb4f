//! `uri-host [ ":" port ]` (RFC 3986 §3.2.2, RFC 9110 §7.2), in the narrow form that a gateway routes by.
//!
//! Narrower than the RFC on purpose: no percent-encoding and no sub-delimiters in a name, no empty port, no zone id, no
//! `IPvFuture`. A name that two parsers could read differently must not choose a route.

use std::net::Ipv6Addr;

/// A host and maybe a port. Names compare without case and without their trailing dot, IPv6 addresses by value.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

/// The longest name that DNS can carry (RFC 1035 §2.3.4), with a trailing dot.
const MAX_NAME_BYTES: usize = 254;

#[derive(Debug, Clone, Copy)]
enum Host<'a> {
    /// A name or an IPv4 address, without its trailing dot.
    Name(&'a [u8]),
    Ipv6(Ipv6Addr),
}

impl<'a> Authority<'a> {
    /// Reads an authority.
    ///
    /// # Errors
    /// A few words for the operator: why these bytes are not an authority.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        // No part of an authority may have an `@`, so that it is looked for only to say what is wrong.
        Self::read(bytes).map_err(|problem| if bytes.contains(&b'@') { "userinfo in the authority" } else { problem })
    }

    fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let (host, port) = split_port(bytes)?;
        Ok(Self { host: Host::parse(host)?, port: port.map(parse_port).transpose()? })
    }

    /// The port that was written, if any.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same place, when a missing port means `default_port`.
    #[must_use]
    pub fn names_the_same_as(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.host.equals(&other.host) && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// Splits at the colon that comes before the port; the colons of an IPv6 literal are inside its brackets.
fn split_port(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), &'static str> {
    if bytes.first() == Some(&b'[') {
        let end = bytes.iter().position(|&byte| byte == b']').ok_or("an IPv6 literal without its closing bracket")?;
        let (host, rest) = bytes.split_at(end + 1);
        return match rest.split_first() {
            None => Ok((host, None)),
            Some((b':', port)) => Ok((host, Some(port))),
            Some(_) => Err("bytes behind an IPv6 literal"),
        };
    }
    Ok(match bytes.iter().position(|&byte| byte == b':') {
        None => (bytes, None),
        Some(colon) => (bytes.get(..colon).unwrap_or_default(), bytes.get(colon + 1..)),
    })
}

fn parse_port(digits: &[u8]) -> Result<u16, &'static str> {
    const PROBLEM: &str = "a port that is not a number from 0 to 65535";
    // Longer strings of digits could only be leading zeros or too large.
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(PROBLEM);
    }
    let value = digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(value).map_err(|_| PROBLEM)
}

impl<'a> Host<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        if let Some(literal) = bytes.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
            let text = str::from_utf8(literal).map_err(|_| "an IPv6 literal that is not ASCII")?;
            return text.parse().map(Self::Ipv6).map_err(|_| "not an IPv6 address in brackets");
        }
        if bytes.is_empty() {
            return Err("an empty host");
        }
        if bytes.len() > MAX_NAME_BYTES {
            return Err("a host name over 254 bytes");
        }
        let name = bytes.strip_suffix(b".").unwrap_or(bytes);
        let mut label_is_empty = true;
        for &byte in name {
            match byte {
                b'.' if label_is_empty => break,
                b'.' => label_is_empty = true,
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'~' | b'-' => label_is_empty = false,
                _ => return Err("a byte that a host name cannot have"),
            }
        }
        if label_is_empty { Err("an empty label in the host name") } else { Ok(Self::Name(name)) }
    }

    fn equals(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (Self::Ipv6(one), Host::Ipv6(two)) => one == two,
            (Self::Name(_), Host::Ipv6(_)) | (Self::Ipv6(_), Host::Name(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_host_and_port_is_an_authority() {
        let check = |input: &str, expected: bool| {
            assert_eq!(Authority::parse(input.as_bytes()).is_ok(), expected, "{input:?}");
        };
        for valid in ["a", "a.example", "a.example.", "A_b~c-d.x", "10.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:8080"] {
            check(valid, true);
        }
        for valid in ["a:0", "a:65535", "a:00080", "xn--bcher-kva.example"] {
            check(valid, true);
        }
        for invalid in ["", ":80", ".", "..", "a..b", ".a", "a..", "a:", "a:65536", "a:-1", "a:+1", "a:1a", "a:000080"]
        {
            check(invalid, false);
        }
        for invalid in ["u@a", "u:p@a", "a b", "a/b", "a,b", "a%41", "a%00", "b\u{fc}cher", "a:1:2", "a#", "a?"] {
            check(invalid, false);
        }
        for invalid in
            ["[::1", "::1", "[::1]x", "[::1]:", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[v1.x]", "[1.2.3.4]", "[]"]
        {
            check(invalid, false);
        }
        check(&"a".repeat(254), true);
        check(&"a".repeat(255), false);
    }

    #[test]
    fn case_trailing_dot_and_default_port_do_not_make_a_difference() {
        let check = |one: &str, two: &str, default_port: u16, expected: bool| {
            let (one, two) = (Authority::parse(one.as_bytes()).unwrap(), Authority::parse(two.as_bytes()).unwrap());
            assert_eq!(one.names_the_same_as(&two, default_port), expected, "{one:?} {two:?}");
            assert_eq!(two.names_the_same_as(&one, default_port), expected, "{two:?} {one:?}");
        };
        check("A.example", "a.EXAMPLE.", 80, true);
        check("a:80", "a", 80, true);
        check("a:443", "a", 443, true);
        check("a:443", "a", 80, false);
        check("a:8080", "a:8081", 80, false);
        check("a", "b", 80, false);
        check("[::1]", "[0:0:0:0:0:0:0:1]:80", 80, true);
        check("[::1]", "[::2]", 80, false);
        check("[::ffff:10.0.0.1]", "10.0.0.1", 80, false);
    }
}
