//! Whom observations are kept about: a network or a principal; and the secret keyed hashes they are kept under.
//!
//! An address counts as its network: one IPv4 address, or the IPv6 /64 that one subscriber holds. Nothing here knows
//! what is counted.

use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use portcullis_policy::{Principal, PrincipalKind};
use siphasher::sip::SipHasher13;
use thiserror::Error;

use crate::state::Secret;
use crate::user_agent::Family;

/// Whom a ban is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// An IPv4 address (`/32`), an IPv6 `/64`, or, where the table of addresses was full of offenders, their `/24` or `/48`.
    Network(IpNet),
    /// A principal whose credential was verified.
    Principal {
        /// The kind of actor.
        kind: PrincipalKind,
        /// The local id.
        id: Box<str>,
    },
}

impl Actor {
    /// The actor that an address counts as. An IPv4-mapped IPv6 address is IPv4 (RFC 4291 section 2.5.5.2).
    pub fn address(address: IpAddr) -> Self {
        Self::Network(Network::of_address(address).to_ipnet())
    }

    /// The actor that a verified principal is.
    pub fn principal(principal: &Principal) -> Self {
        Self::Principal { kind: principal.kind, id: principal.id.clone() }
    }
}

impl fmt::Display for Actor {
    /// A single IPv4 address without its prefix length, any other network with it (a single IPv6 address would be read as its /64), a
    /// principal as a policy file writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(IpNet::V4(network)) if network.prefix_len() == network.max_prefix_len() => {
                write!(formatter, "{}", network.addr())
            }
            Self::Network(network) => write!(formatter, "{network}"),
            Self::Principal { kind, id } => write!(formatter, "{}:{id}", kind.as_str()),
        }
    }
}

/// A text that names no actor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected an address, a network, or a principal such as user:alice")]
pub struct ActorError;

impl FromStr for Actor {
    type Err = ActorError;

    /// Reads what [`Display`](fmt::Display) writes; a single IPv6 address stands for its /64.
    fn from_str(text: &str) -> Result<Self, ActorError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::address(address));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        let (word, id) = text.split_once(':').ok_or(ActorError)?;
        let kind = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(ActorError)?;
        if id.is_empty() {
            return Err(ActorError);
        }
        Ok(Self::Principal { kind, id: id.into() })
    }
}

/// A network as a small value that hashes without allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    is_v4: bool,
    /// The network's bits; those of IPv4 stand in the lowest 32.
    bits: u128,
    prefix_len: u8,
}

impl Network {
    /// What one caller holds: an IPv4 address or an IPv6 /64.
    pub(crate) fn of_address(address: IpAddr) -> Self {
        Self::of(address, 32, 64)
    }

    /// The neighbourhood: the IPv4 /24 or the IPv6 /48. What is usual for a principal, and what is charged where single
    /// addresses no longer fit.
    pub(crate) fn neighbourhood(address: IpAddr) -> Self {
        Self::of(address, 24, 48)
    }

    fn of(address: IpAddr, v4_len: u8, v6_len: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(v4_len)).unwrap_or(0);
                Self { is_v4: true, bits: u128::from(v4.to_bits() & mask), prefix_len: v4_len }
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(v6_len)).unwrap_or(0);
                Self { is_v4: false, bits: v6.to_bits() & mask, prefix_len: v6_len }
            }
        }
    }

    pub(crate) fn to_ipnet(self) -> IpNet {
        let address = if self.is_v4 {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.bits).unwrap_or(0)))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(self.bits))
        };
        // The prefix lengths above are always valid, so the single address is never the answer.
        IpNet::new(address, self.prefix_len).unwrap_or_else(|_| IpNet::from(address))
    }
}

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        let len = network.prefix_len();
        Self::of(network.addr(), len, len)
    }
}

/// So much of a user agent is looked at.
const USER_AGENT_BYTES: usize = 256;

/// Hashes (SipHash-1-3) with a key that only this engine knows, so that nobody can choose names or paths that collide.
#[derive(Debug)]
pub(crate) struct Keys {
    secret: Secret,
    /// With the key worked in.
    hasher: SipHasher13,
}

impl Keys {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { secret, hasher: SipHasher13::new_with_key(&secret.to_bytes()) }
    }

    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    /// The same for the same secret and the same way of hashing: keys that were kept under another one mean nothing.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.text(8, 0, "the way that keys are made")
    }

    pub(crate) fn network(&self, network: Network) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u16(0x0100 | u16::from(network.prefix_len) | if network.is_v4 { 0x80 << 8 } else { 0 });
        hasher.write_u128(network.bits);
        finish(hasher)
    }

    pub(crate) fn principal(&self, kind: PrincipalKind, id: &str) -> u64 {
        let kind = match kind {
            PrincipalKind::User => 0,
            PrincipalKind::Service => 1,
            PrincipalKind::Certificate => 2,
        };
        self.text(2, kind, id)
    }

    pub(crate) fn actor(&self, actor: &Actor) -> u64 {
        match actor {
            Actor::Network(network) => self.network(Network::from(*network)),
            Actor::Principal { kind, id } => self.principal(*kind, id),
        }
    }

    /// An account id as a credential claims it, verified or not. Longer claims count as their first 256 bytes.
    pub(crate) fn account(&self, id: &str) -> u64 {
        self.text(3, 0, first_bytes(id, 256))
    }

    pub(crate) fn device(&self, id: &str) -> u64 {
        self.text(4, 0, id)
    }

    /// A user agent without its version numbers: a newer version of the same software is the same. The first 256
    /// bytes count.
    pub(crate) fn user_agent(&self, text: &str) -> u64 {
        // One write: each costs as much as a dozen bytes.
        let mut said = [5; 1 + USER_AGENT_BYTES];
        let mut length = 1;
        let words =
            text.bytes().take(USER_AGENT_BYTES).filter(|byte| !byte.is_ascii_digit() && !matches!(byte, b'.' | b'_'));
        for (place, byte) in said.iter_mut().skip(1).zip(words) {
            *place = byte;
            length += 1;
        }
        let mut hasher = self.hasher;
        hasher.write(said.get(..length).unwrap_or_default());
        finish(hasher)
    }

    /// A family of user agents.
    pub(crate) fn family(&self, family: Family<'_>) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u8(8);
        hasher.write(family.system.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(family.software.as_bytes());
        finish(hasher)
    }

    /// A path without its query. The first 1,024 bytes count.
    pub(crate) fn path(&self, path: &str) -> u64 {
        let path = path.split('?').next().unwrap_or(path);
        self.text(6, 0, first_bytes(path, 1024))
    }

    /// A number for the jitter of a ban.
    pub(crate) fn jitter(&self, actor_key: u64, offence: u32) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u8(7);
        hasher.write_u64(actor_key);
        hasher.write_u32(offence);
        hasher.finish()
    }

    fn text(&self, domain: u8, kind: u8, text: &str) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u8(domain);
        hasher.write_u8(kind);
        hasher.write(text.as_bytes());
        finish(hasher)
    }
}

/// Tables keep 0 and 1 for themselves.
fn finish(hasher: impl Hasher) -> u64 {
    hasher.finish().max(2)
}

/// The longest start of a text that is at most `limit` bytes and ends between two characters.
pub(crate) fn first_bytes(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_its_canonical_network() {
        let check = |address: &str, expected: &str| {
            let actor = Actor::address(address.parse().unwrap());
            assert_eq!(actor.to_string(), expected);
            assert_eq!(expected.parse(), Ok(actor));
        };
        check("192.0.2.1", "192.0.2.1");
        check("::ffff:192.0.2.1", "192.0.2.1");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
    }

    #[test]
    fn an_actor_is_read_as_it_is_written() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(text.parse::<Actor>().ok().map(|actor| actor.to_string()).as_deref(), expected, "{text}");
        };
        check("user:alice", Some("user:alice"));
        check("service:a:b", Some("service:a:b"));
        check("2001:db8::1/128", Some("2001:db8::1/128"));
        check("2001:db8::/64", Some("2001:db8::/64"));
        check("2001:db8::1", Some("2001:db8::/64"));
        check("198.51.100.7/24", Some("198.51.100.0/24"));
        check("user:", None);
        check("group:finance", None);
        check("nobody", None);
        check("", None);
    }

    #[test]
    fn keys_tell_apart_what_differs_and_join_what_is_the_same() {
        let keys = Keys::new(Secret::from_bytes([7; 16]));
        let network = |text: &str| keys.network(Network::of_address(text.parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("192.0.2.1"), network("::192.0.2.1"));
        assert_ne!(keys.principal(PrincipalKind::User, "a"), keys.principal(PrincipalKind::Service, "a"));
        assert_eq!(keys.user_agent("Mozilla/5.0 Firefox/120.0"), keys.user_agent("Mozilla/5.0 Firefox/121.1"));
        assert_ne!(keys.user_agent("Mozilla/5.0 Firefox/120.0"), keys.user_agent("curl/8.5.0"));
        let long = |end: &str| keys.user_agent(&format!("{}{end}", "a".repeat(255)));
        assert!(long("b") != long("c") && long("bb") == long("bc"));
        assert_eq!(keys.path("/a?x=1"), keys.path("/a?x=2"));
        let actor = Actor::address("192.0.2.1".parse().unwrap());
        assert_eq!(keys.actor(&actor), network("192.0.2.1"));
    }

    #[test]
    fn keys_are_those_of_their_secret() {
        let (one, same) = (Keys::new(Secret::from_bytes([7; 16])), Keys::new(Secret::from_bytes([7; 16])));
        let other = Keys::new(Secret::random());
        assert_eq!((one.path("/a"), one.fingerprint()), (same.path("/a"), same.fingerprint()));
        assert_ne!(one.path("/a"), other.path("/a"));
        assert_ne!(one.fingerprint(), other.fingerprint());
        // What stands in stores: another value here needs another way to read them.
        assert_eq!(one.fingerprint(), 18_144_130_348_423_253_867);
        assert_ne!(Secret::random(), Secret::random());
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(first_bytes("aé", 2), "a");
        assert_eq!(first_bytes("aé", 3), "aé");
        assert_eq!(first_bytes("abc", 0), "");
    }
}
