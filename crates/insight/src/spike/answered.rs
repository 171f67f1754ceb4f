//! Whom the upstream refuses, place by place: everybody, as after an upgrade, or one among many who are answered as ever.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use portcullis_policy::{KeptRequest, PrincipalKind};

use crate::sample::{Answered, Outlook, Seen, network_of};
use crate::spike::familiar::place;

/// Of those who come to a place so many are refused, in percent: then it is the place's doing, wherever they come from.
const NEARLY_ALL: usize = 80;
/// So many are enough where they come from several networks, or nobody comes from elsewhere.
const MANY: usize = 33;
/// Or so many, where they are several.
const SOME: usize = 15;
const SEVERAL: usize = 3;

/// Who it is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Caller {
    Principal(PrincipalKind, Box<str>),
    Network(u64),
}

/// What the upstream answered to whom.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    places: HashMap<u64, Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// Answered before the incident began.
    before: HashSet<Caller>,
    /// Answered since.
    answered: HashSet<Caller>,
    /// Refused since, and from where.
    refused: HashMap<Caller, Option<u64>>,
    /// From where callers come that are answered since.
    networks: HashSet<u64>,
}

impl Upstreams {
    /// Of the refusals of a spike that began at `onset`.
    pub(super) fn of(refused: &[&Seen], sample: &Outlook, onset: Timestamp) -> Self {
        let mut upstreams = Self::default();
        let mut times = Vec::new();
        for seen in refused.iter().filter(|seen| matches!(seen.answered, Answered::Permitted(_))) {
            let Some(caller) = caller(&seen.request) else { continue };
            let network = network_of(seen.request.client.ip());
            upstreams.places.entry(place(&seen.request)).or_default().refused.insert(caller, network);
            times.push(seen.request.now);
        }
        if upstreams.places.is_empty() {
            return upstreams;
        }
        times.sort_unstable();
        let began = times.get(times.len() / 10).copied().unwrap_or(onset);
        for seen in &sample.recent {
            upstreams.note(seen, seen.request.now, onset, began);
        }
        for one in sample.older.iter().chain(&sample.lasting) {
            upstreams.note(&one.seen, one.since, onset, began);
        }
        upstreams
    }

    fn note(&mut self, seen: &Seen, since: Timestamp, onset: Timestamp, began: Timestamp) {
        let good = matches!(seen.answered, Answered::Permitted(status) if status < 400);
        let Some(place) = self.places.get_mut(&place(&seen.request)).filter(|_| good) else { return };
        let Some(caller) = caller(&seen.request) else { return };
        if seen.request.now >= began {
            place.answered.insert(caller.clone());
            place.networks.extend(network_of(seen.request.client.ip()));
        }
        if since < onset {
            place.before.insert(caller);
        }
    }

    /// Whether this caller was answered at such a place before.
    pub(super) fn knows(&self, request: &KeptRequest) -> bool {
        let before = self.places.get(&place(request)).map(|place| &place.before);
        caller(request).is_some_and(|caller| before.is_some_and(|before| before.contains(&caller)))
    }

    /// Whether a good part of those who were answered at such a place are refused there now.
    pub(super) fn refuses_many(&self, request: &KeptRequest) -> bool {
        let Some(place) = self.places.get(&place(request)) else { return false };
        let from: Vec<Option<u64>> = place.before.iter().filter_map(|who| place.refused.get(who)).copied().collect();
        let refused = from.len();
        let there = place.before.iter().filter(|who| place.answered.contains(*who) || place.refused.contains_key(*who));
        let there = there.count();
        // Some of one network may be one who has several accounts, unless nobody comes from elsewhere, or hardly anybody is left.
        let first = from.first().copied().flatten();
        let others = from.iter().any(|network| *network != first);
        let alone = place.networks.iter().all(|network| Some(*network) == first);
        let is_least = |percent: usize| refused * 100 >= there * percent;
        let several = others || alone;
        // One among others does something else than they.
        let is_one_of_many = refused == 1 && there > 1;
        match refused {
            0 => false,
            _ if is_least(NEARLY_ALL) => true,
            _ if is_one_of_many || !several => false,
            SEVERAL.. => is_least(SOME),
            _ => is_least(MANY),
        }
    }
}

fn caller(request: &KeptRequest) -> Option<Caller> {
    match request.principal() {
        Some(principal) => Some(Caller::Principal(principal.kind, principal.id.clone())),
        None => network_of(request.client.ip()).map(Caller::Network),
    }
}
