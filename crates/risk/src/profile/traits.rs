//! What a request is compared by, and what comes of it.

use crate::commons::mix;
use crate::habit::Unusual;
use crate::place::Location;
use crate::travel::Sight;

use super::record::asn_member;

/// What a request is compared by, and then remembered by. Hashes, as far as they are of something said or secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    pub(crate) network: Option<u64>,
    /// The device that the credential is bound to.
    pub(crate) device: Option<u64>,
    /// The user agent without its digits.
    pub(crate) agent: Option<u64>,
    /// The route.
    pub(crate) route: Option<u64>,
    /// 24 bits of what tells this token from others of the same principal.
    pub(crate) token: Option<u32>,
    /// Where it is, where that was looked up.
    pub(crate) location: Option<Location>,
    /// The network says nothing about where its users are.
    pub(crate) hidden: bool,
    /// The number of the autonomous system, also where the network is so usual that nothing was looked up.
    pub(crate) asn: Option<u32>,
}

/// How a caller compares with what is usual for its principal, at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Familiarity {
    /// How often the principal was let in, at most 4,096, faded. At 0 nothing is new.
    pub(crate) history: u32,
    /// Whether the network is usual; `None` where it is unknown.
    pub(crate) network: Option<bool>,
    /// Whether the device is usual; `None` where it is unknown, or where none was ever seen.
    pub(crate) device: Option<bool>,
    /// Whether exactly this software is usual, but for its version; `None` like `device`.
    pub(crate) agent: Option<bool>,
    /// Whether the hour of the week is usual; `None` where too few are known.
    pub(crate) hour: Option<bool>,
    /// Whether the route is.
    pub(crate) route: Option<bool>,
    /// It is remembered where this network is.
    pub(crate) placed: bool,
    /// The system of the network, where that is remembered.
    pub(crate) asn: Option<u32>,
    /// Far more requests in this hour than the principal makes, and far more bytes than it gets.
    pub(crate) rate: Option<Unusual>,
    pub(crate) volume: Option<Unusual>,
}

impl Familiarity {
    /// Whether nothing is new.
    pub(crate) fn is_usual(&self) -> bool {
        let news = [self.network, self.device, self.agent, self.hour, self.route];
        let much = self.rate.is_some() || self.volume.is_some();
        self.history == 0 || !(much || news.contains(&Some(false)))
    }
}

/// A closer comparison, for whom something is new about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Comparison {
    /// How often the principal was let in, in sixteenths.
    pub(crate) history: u32,
    /// How often from this network, system, country, and with this family of software; in sixteenths.
    pub(crate) network: u32,
    pub(crate) asn: u32,
    pub(crate) country: u32,
    pub(crate) family: u32,
    /// Sights in this hour of the week, and in all.
    pub(crate) hour: (u32, u32),
    /// Where the principal was last let in, if that is known.
    pub(crate) last: Option<Sight>,
    /// The network of then says nothing about where its users are.
    pub(crate) last_hidden: bool,
    /// A step-up was passed from here a while ago.
    pub(crate) stepped_up: bool,
    /// The token was used from another system a moment ago.
    pub(crate) token_elsewhere: bool,
}

impl Traits {
    /// What a passed step-up holds for: the device, or the software where no device is known, and the system or the network.
    pub(super) fn session(&self) -> Option<u64> {
        let from = self.asn.map(asn_member).or(self.network)?;
        Some(mix(self.device.or(self.agent)? ^ from.rotate_left(17)))
    }

    /// What a doubt is about: the same, and also somebody who does not say by what software it comes.
    pub(super) fn doubted(&self, asked: bool) -> Option<u64> {
        let from = self.asn.map(asn_member).or(self.network)?;
        Some(mix(mix(self.device.or(self.agent).unwrap_or(0) ^ from.rotate_left(17)) ^ u64::from(asked)))
    }

    /// The token, and the system that it comes from.
    pub(super) fn token_use(&self) -> Option<(u32, u32)> {
        Some((self.token?, self.asn?))
    }
}
