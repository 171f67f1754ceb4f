//! An address or a prefix as text, and in the one form that addresses are compared in.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Reads an address, or an address and a length. `IpNet`'s own parser takes `010.0.0.0/8`, which others read as octal. Bits beyond the
/// length stay as they are written.
pub fn parse_prefix(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length: u8 = length.parse().ok().filter(|_| plain)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// A prefix of IPv4-mapped IPv6 addresses as the IPv4 prefix it is: addresses come in that form (RFC 4291 section
/// 2.5.5.2), so it would match none of them otherwise. Any other prefix is as it was.
#[must_use]
pub fn in_canonical_form(prefix: &IpNet) -> IpNet {
    if let IpNet::V6(net) = prefix
        && let Some(length) = net.prefix_len().checked_sub(96)
        && let Some(address) = net.network().to_ipv4_mapped()
        && let Ok(mapped) = Ipv4Net::new(address, length)
    {
        return IpNet::V4(mapped);
    }
    *prefix
}
