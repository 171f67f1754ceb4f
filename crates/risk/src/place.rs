//! Where an address is, as far as somebody outside knows.

use std::fmt;
use std::net::IpAddr;

use portcullis_policy::CountryCode;

pub use crate::distance::Position;

/// Knows where addresses are. Databases change, so the answer is part of what a decision was made from.
pub trait Locate: fmt::Debug {
    /// `None` where nothing was set up that could know.
    fn locate(&self, address: IpAddr) -> Option<Location>;
}

/// What is known of an address's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Location {
    /// The country; [`CountryCode::NOWHERE`] of a private address.
    pub country: Option<CountryCode>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// The place on the globe.
    pub position: Option<Position>,
    /// Something that was set up cannot be asked now, so the rest may be less than usual.
    pub missing: bool,
}
