//! What is said of the device of a caller, and what of that speaks against it.
//!
//! Who vouches for a device, and how that is verified, is known elsewhere: here it is a fact. It is never more than a reason to ask for a
//! step-up: its family is posture, which nothing can deny for.

use std::time::Duration;

use portcullis_policy::{Principal, PrincipalKind};

use crate::signal::Lack;

/// What is known of a device, where something is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posture {
    /// Nothing was said, or nothing that could be believed.
    Missing,
    /// What was said is older than it may be.
    Stale {
        /// How old it is.
        age: Duration,
    },
    /// It was said a moment ago.
    Known {
        /// The device meets the organisation's rules.
        compliant: bool,
    },
}

impl Posture {
    /// Whether the device is known to meet the rules, or known not to; `None` where nothing is known.
    #[must_use]
    pub fn compliant(self) -> Option<bool> {
        match self {
            Self::Known { compliant } => Some(compliant),
            Self::Missing | Self::Stale { .. } => None,
        }
    }

    pub(crate) fn lack(&self) -> Option<Lack> {
        match self {
            Self::Missing => Some(Lack::Word),
            Self::Stale { .. } => Some(Lack::News),
            Self::Known { compliant: false } => Some(Lack::Compliance),
            Self::Known { compliant: true } => None,
        }
    }
}

/// What the credential itself says of the device.
pub(crate) fn stated(principal: &Principal) -> Option<Lack> {
    let compliant = principal.device.as_ref().and_then(|device| device.compliant);
    (compliant == Some(false)).then_some(Lack::Compliance)
}

/// Of services and holders of certificates nothing is expected: they have no device that an agent runs on.
#[must_use]
pub fn is_expected_of(principal: &Principal) -> bool {
    principal.kind == PrincipalKind::User
}
