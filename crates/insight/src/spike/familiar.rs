//! Who and what was let in before: by that a lock-out is told from an attack.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{KeptRequest, PrincipalKind};

use crate::sample::{Answered, Outlook, Seen, network_of};
use crate::spike::remembered::Remembered;

/// Networks, principals, software and places that were let in, or let in to, before a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Familiar {
    /// From where anybody was let in.
    pub(super) networks: HashSet<u64>,
    /// From where somebody was let in whose credential was verified. Anybody can fetch a public page once, and is then no acquaintance.
    pub(super) people: HashSet<u64>,
    pub(super) principals: HashSet<(PrincipalKind, Box<str>)>,
    pub(super) software: HashSet<Box<str>>,
    pub(super) places: HashSet<u64>,
    /// From where somebody came again and again to such a place: network and place.
    pub(super) regulars: HashSet<(u64, u64)>,
}

/// Whoever came once, or several times at once, is no regular.
const REGULAR: SignedDuration = SignedDuration::from_mins(1);

impl Familiar {
    /// Of the requests of a sample that were let in and answered well before this time. A release comes to few callers at first: software that was
    /// only refused is no old acquaintance unless it came so long before.
    pub(super) fn of(
        sample: &Outlook,
        remembered: &Remembered,
        before: Timestamp,
        first_callers: SignedDuration,
    ) -> Self {
        let mut familiar = Self::default();
        familiar.remember(remembered);
        let long_before = before.checked_sub(first_callers).unwrap_or(Timestamp::MIN);
        // What was refused says nothing of who may come, but the software was there.
        let known_long = sample.software.iter().filter(|(_, first)| *first < long_before);
        familiar.software.extend(known_long.map(|(name, _)| Box::from(&**name)));
        for seen in sample.recent.iter().filter(|seen| seen.request.now < before) {
            familiar.learn(seen, true);
        }
        for one in sample.older.iter().chain(&sample.lasting).filter(|one| one.since < before) {
            // With what, and where, the newest of its kind came says nothing of the first one.
            familiar.learn(&one.seen, one.seen.request.now < before);
            if one.weight > 1 && one.since < long_before && one.seen.request.now < before {
                familiar.learn_regular(&one.seen, one.since);
            }
        }
        familiar
    }

    /// Whoever was let in before the process began.
    fn remember(&mut self, remembered: &Remembered) {
        let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
        let kind_of = |word: &str| kinds.into_iter().find(|kind| kind.as_str() == word);
        self.networks.extend(remembered.networks.iter());
        self.people.extend(remembered.people.iter());
        let principals = remembered.principals.iter();
        self.principals.extend(principals.filter_map(|(kind, id)| Some((kind_of(kind)?, Box::from(&**id)))));
        self.software.extend(remembered.software.iter().map(|name| Box::from(&**name)));
        self.places.extend(remembered.places.iter());
        self.regulars.extend(remembered.regulars.iter());
    }

    fn learn(&mut self, seen: &Seen, itself: bool) {
        let Seen { request, answered } = seen;
        let Answered::Permitted(status) = *answered else { return };
        if itself {
            self.software.insert(request.software().into());
        }
        if matches!(status, 401 | 403) {
            return;
        }
        if itself {
            self.places.insert(place(request));
        }
        let network = network_of(request.client.ip());
        self.networks.extend(network);
        if let Some(principal) = request.principal() {
            self.people.extend(network);
            self.principals.insert((principal.kind, principal.id.clone()));
        }
    }

    /// One of a kind that came first at this time.
    fn learn_regular(&mut self, Seen { request, answered }: &Seen, since: Timestamp) {
        let let_in = matches!(answered, Answered::Permitted(status) if !matches!(status, 401 | 403));
        if let_in && request.now.duration_since(since) >= REGULAR {
            self.regulars.extend(network_of(request.client.ip()).map(|network| (network, place(request))));
        }
    }

    /// Whether somebody came from this network to this very place again and again, verified or not, since long before.
    pub(super) fn has_regular(&self, request: &KeptRequest) -> bool {
        network_of(request.client.ip()).is_some_and(|network| self.regulars.contains(&(network, place(request))))
    }

    /// Whether anybody was let in from the network of this address, verified or not.
    pub(super) fn has_network(&self, address: Option<IpAddr>) -> bool {
        network_of(address).is_some_and(|network| self.networks.contains(&network))
    }

    /// Whether somebody who was verified was let in from the network of this address.
    pub(super) fn has_people(&self, address: Option<IpAddr>) -> bool {
        network_of(address).is_some_and(|network| self.people.contains(&network))
    }

    /// Whether this caller, or somebody from its network, was let in with a credential.
    pub(super) fn has_caller(&self, request: &KeptRequest) -> bool {
        self.has_principal(request) || self.has_people(request.client.ip())
    }

    /// Whether this caller was let in, from wherever.
    pub(super) fn has_principal(&self, request: &KeptRequest) -> bool {
        request.principal().is_some_and(|it| self.principals.contains(&(it.kind, it.id.clone())))
    }

    /// Whether somebody came with this software; also where nothing says which it is.
    pub(super) fn has_software(&self, software: &str) -> bool {
        software.is_empty() || self.software.contains(software)
    }

    /// Whether somebody was let in to such a place; also where nothing could be read.
    pub(super) fn has_place(&self, request: &KeptRequest) -> bool {
        request.path().is_empty() || self.places.contains(&place(request))
    }
}

/// Where a request goes: host and first segment of its path, as a hash. It is kept beyond the process: where another version of the program hashes
/// otherwise, places are learnt anew.
pub(super) fn place(request: &KeptRequest) -> u64 {
    let mut hash = DefaultHasher::new();
    request.host().hash(&mut hash);
    request.path().split('/').nth(1).hash(&mut hash);
    hash.finish()
}
