//! One entry of a list: an address or a prefix.

use ipnet::IpNet;
use portcullis_policy::prefix::{self, in_canonical_form};

/// Parses an address or a prefix. A prefix of IPv4-mapped IPv6 addresses is the IPv4 prefix it is (RFC 4291 section 2.5.5.2), since
/// addresses are compared in that form. The error is what is wrong with it, without the text.
///
/// # Errors
/// What is no prefix, and one with bits set beyond its length: it says two things at once, and which of them is meant nobody knows.
pub fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let prefix = prefix::parse_prefix(text).ok_or_else(|| "is no address or prefix".to_owned())?;
    let network = prefix.trunc();
    if network != prefix {
        return Err(format!("has bits set beyond its length: {network} or {}", prefix.addr()));
    }
    Ok(in_canonical_form(&network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_address_or_a_prefix_and_nothing_else() {
        let check = |text: &str, expected: Result<&str, &str>| match (parse_prefix(text), expected) {
            (Ok(prefix), Ok(expected)) => assert_eq!(prefix.to_string(), expected, "{text}"),
            (Err(problem), Err(fragment)) => assert!(problem.contains(fragment), "{text}: {problem}"),
            (parsed, expected) => panic!("{text}: {parsed:?}, not {expected:?}"),
        };
        check("203.0.113.7", Ok("203.0.113.7/32"));
        check("203.0.113.0/24", Ok("203.0.113.0/24"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("2001:db8::/32", Ok("2001:db8::/32"));
        check("2001:DB8::1", Ok("2001:db8::1/128"));
        check("::ffff:192.0.2.0/120", Ok("192.0.2.0/24"));
        check("::ffff:192.0.2.1", Ok("192.0.2.1/32"));
        check("::ffff:0.0.0.0/96", Ok("0.0.0.0/0"));
        check("203.0.113.7/24", Err("203.0.113.0/24 or 203.0.113.7"));
        check("2001:db8::1/64", Err("beyond its length"));
        for bad in [
            "",
            "x",
            "203.0.113",
            "203.0.113.0/33",
            "203.0.113.0/",
            "203.0.113.0/024",
            "203.0.113.0/+24",
            "010.0.0.0/8",
            "203.0.113.0/24/1",
            "203.0.113.7-203.0.113.9",
            "203.0.113.0 /24",
            "2001:db8::/129",
            "fe80::1%eth0",
            "203.0.113.0/255.255.255.0",
            "1",
            "0x7f000001",
            "٢٠٣.0.113.7",
        ] {
            check(bad, Err("is no address or prefix"));
        }
    }
}
