//! Where a provider's keys are.

use std::sync::Arc;
use std::time::Duration;

use portcullis_fetch::UrlSource;

/// Where a provider's keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Here: the text of a key set (RFC 7517 section 5), at most 1 MiB.
    Text(Arc<str>),
    /// They are fetched while the gateway runs.
    Remote(RemoteKeySource),
}

/// A key set that is fetched, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteKeySource {
    /// Where it is.
    pub location: KeyLocation,
    /// How often it is fetched, give or take a tenth. Default 10 min.
    pub refresh: Duration,
    /// How long a set is used after it was last confirmed. Default 24 h.
    pub max_stale: Duration,
    /// After a fetch, nobody who meets an unknown key asks for another one before that time is over; one that failed is tried again
    /// after it. Default 5 s.
    pub cooldown: Duration,
    /// How long fetching one document may take. Default 5 s.
    pub timeout: Duration,
}

impl RemoteKeySource {
    /// The default of `refresh`.
    pub const REFRESH: Duration = Duration::from_secs(10 * 60);
    /// The default of `max_stale`.
    pub const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
    /// The default of `cooldown`.
    pub const COOLDOWN: Duration = Duration::from_secs(5);
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// A source with the defaults.
    pub fn new(location: KeyLocation) -> Self {
        Self {
            location,
            refresh: Self::REFRESH,
            max_stale: Self::MAX_STALE,
            cooldown: Self::COOLDOWN,
            timeout: Self::TIMEOUT,
        }
    }
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// At this address.
    Url(UrlSource),
    /// At the address that the issuer's discovery document names.
    Discovery {
        /// Where the document is.
        document: UrlSource,
        /// The issuer that it must name.
        issuer: Arc<str>,
        /// The keys may be fetched without TLS. Default no.
        allow_http: bool,
    },
}

impl KeyLocation {
    /// Whether it is the same place, whoever may vouch for it.
    pub(crate) fn is_place_of(&self, other: &Self) -> bool {
        let place = |address: &UrlSource| UrlSource { roots: Vec::new(), ..address.clone() };
        match (self, other) {
            (Self::Url(own), Self::Url(other)) => place(own) == place(other),
            (
                Self::Discovery { document: own, issuer, .. },
                Self::Discovery { document: other, issuer: other_issuer, .. },
            ) => place(own) == place(other) && issuer == other_issuer,
            (Self::Url(_), Self::Discovery { .. }) | (Self::Discovery { .. }, Self::Url(_)) => false,
        }
    }

    /// As a person writes it, without a query.
    pub fn shown(&self) -> String {
        match self {
            Self::Url(address) => address.shown(),
            Self::Discovery { document, .. } => document.shown(),
        }
    }
}
