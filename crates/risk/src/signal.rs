//! The signals: which of the facts about a caller speak for or against it, and how strongly.
//!
//! Pure: the engine gathers the facts. Only what is bad by itself is evidence: an address that attacks or is banned, one of bad repute, a token in
//! two places at once. Everything that is merely new, unusual or impossible, or that somebody else did under this principal's name, is
//! novelty and asks for a step-up at most. What speaks for a caller counts only where something speaks against it.
//!
//! What a signal says [in words](crate::words) is worked out when somebody asks: a score is summed up far more often than it is read.

use std::sync::Arc;

use portcullis_policy::{CountryCode, RiskAssessment, RiskSignal, SignalFamily};

use crate::account::AccountAttack;
use crate::habit::Unusual;
use crate::hierarchy::Levels;
use crate::ln::ln_ratio_mnats;
use crate::score::{Source, Weights, clipped, surprise_mnats, total};
use crate::travel::Trip;

/// What is known about a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// How often the principal was let in. At 0 nothing is new.
    pub(crate) history: u32,
    pub(crate) network: Option<NetworkFact>,
    /// The address is one of the organisation's own, which are never new.
    pub(crate) corporate: bool,
    /// Whether the device that the credential is bound to is usual.
    pub(crate) device: Option<bool>,
    /// How often this family of software was seen among how many sights, in sixteenths.
    pub(crate) user_agent: Option<(u32, u32)>,
    /// Visits in this hour of the week, and in all.
    pub(crate) hour: Option<(u32, u32)>,
    pub(crate) trip: Option<Trip>,
    /// A route that neither the principal nor its peers use.
    pub(crate) unusual_route: bool,
    /// Far more requests in this hour than the principal and its peers make.
    pub(crate) rate: Option<Unusual>,
    /// Far more bytes in this hour than they get.
    pub(crate) volume: Option<Unusual>,
    /// What the device lacks.
    pub(crate) posture: Option<Lack>,
    /// The worst network of bad repute that the address is in, with its milli-nats.
    pub(crate) reputation: Option<(Arc<str>, i32)>,
    /// The address is banned for anonymous traffic, and new to the principal; and whether others are let in from there.
    pub(crate) banned: Option<bool>,
    /// The account was attacked by failed credentials.
    pub(crate) attack: Option<AccountAttack>,
    /// The address failed as this many principals, too many.
    pub(crate) sprayed: Option<usize>,
    /// The same token was used from another system a moment ago, and this one is new to the principal.
    pub(crate) token_elsewhere: bool,
    /// A step-up was passed from here within 12 hours.
    pub(crate) stepped_up: bool,
    /// Something could not be looked up, so a signal may be missing.
    pub(crate) degraded: bool,
}

impl Facts {
    /// Whether anything is there that could speak against the caller.
    pub(crate) fn speaks_against(&self) -> bool {
        let new = self.network.is_some_and(|network| network.new.is_some()) || self.device == Some(false);
        let unusual = self.user_agent.is_some() || self.hour.is_some() || self.trip.is_some() || self.unusual_route;
        let much = self.rate.is_some() || self.volume.is_some();
        let bad = self.reputation.is_some() || self.banned.is_some() || self.sprayed.is_some() || self.token_elsewhere;
        new || unusual || much || bad || self.posture.is_some() || self.attack.is_some()
    }
}

/// What a device lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It does not meet the organisation's rules.
    Compliance,
    /// What was said of it is older than it may be.
    News,
    /// Nothing was said of it, where something is expected.
    Word,
}

/// How usual a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetworkFact {
    /// The coarsest level that is new to the principal.
    pub(crate) new: Option<NewLevel>,
    /// Where it stands among all that is known, where a database knows something of it.
    pub(crate) levels: Option<Levels>,
    /// How often it was seen, in sixteenths.
    pub(crate) sights: u32,
    /// How many other principals use it.
    pub(crate) users: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewLevel {
    Country(CountryCode),
    Asn(u32),
    Network,
}

/// A signal before its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contribution {
    pub(crate) kind: Kind,
    pub(crate) mnats: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    NewNetwork,
    UsualNetwork,
    CorporateNetwork,
    NewDevice,
    KnownDevice,
    NewUserAgent,
    UsualUserAgent,
    UnusualHour,
    ImpossibleTravel,
    UnusualRoute,
    UnusualRate,
    UnusualVolume,
    NotCompliant,
    StalePosture,
    NoPosture,
    BadReputation,
    AddressBanned,
    AccountFailures,
    AddressSpraying,
    TokenElsewhere,
    RecentStepUp,
}

/// So many signals can fire at once.
const MOST: usize = 15;
/// Of a caller, in the order of [`contributions`].
type Contributions = [Option<Contribution>; MOST];
/// Where the signals of behaviour stand among them.
const BEHAVIOUR: std::ops::Range<usize> = 5..8;

const CORPORATE_MNATS: i32 = -1_500;
const KNOWN_DEVICE_MNATS: i32 = -3_000;
const UNUSUAL_ROUTE_MNATS: i32 = 1_000;
const UNUSUAL_RATE_MNATS: i32 = 1_000;
const UNUSUAL_VOLUME_MNATS: i32 = 1_500;
const NOT_COMPLIANT_MNATS: i32 = 2_000;
const STALE_POSTURE_MNATS: i32 = 1_000;
const NO_POSTURE_MNATS: i32 = 1_500;
const ADDRESS_BANNED_MNATS: i32 = 4_000;
/// Others are let in from there, so that it is an address of many: too little to deny.
const SHARED_ADDRESS_BANNED_MNATS: i32 = 1_000;
const ACCOUNT_FAILURES_MNATS: i32 = 2_000;
const ADDRESS_SPRAYING_MNATS: i32 = 3_000;
/// Phones change between two systems all day. With other software or another device it is evidence enough to deny.
const TOKEN_ELSEWHERE_MNATS: i32 = 1_000;
const TOKEN_ELSEWHERE_OTHER_DEVICE_MNATS: i32 = 2_500;
const RECENT_STEP_UP_MNATS: i32 = -3_000;
/// This many principals beside the caller make a network a place where colleagues are.
pub(crate) const COLLEAGUES_MIN: u32 = 3;

/// Folds the facts to an assessment, whose signals have no words yet. Where nothing speaks against the caller it allocates nothing.
pub(crate) fn assessment(facts: &Facts, weights: &Weights) -> RiskAssessment {
    let (fired, count) = fired(facts, weights);
    let mut signals = Vec::with_capacity(count);
    signals.extend(fired.iter().flatten().map(|fired| RiskSignal {
        name: fired.kind.name(),
        family: fired.kind.family(),
        mnats: fired.mnats,
        value: String::new(),
        reason: String::new(),
    }));
    let mnats = total(signals.iter().map(|signal| (signal.family, signal.mnats)));
    RiskAssessment { mnats, signals, degraded: facts.degraded, stated: None }
}

/// The signals that fire, the strongest first, and how many they are. None, where none speaks against the caller.
pub(crate) fn fired(facts: &Facts, weights: &Weights) -> (Contributions, usize) {
    let mut contributions = contributions(facts, weights);
    bound_behaviour(&mut contributions, weights);
    spare_evidence(&mut contributions, facts);
    let tells = |contribution: &Contribution| {
        contribution.mnats > 0
            || contribution.kind == Kind::ImpossibleTravel && weights.get(Source::Travel).is_enabled()
    };
    if !contributions.iter().flatten().any(tells) {
        return ([None; MOST], 0);
    }
    let mut fired = [None; MOST];
    let says = contributions.into_iter().flatten().filter(|each| each.mnats != 0 || tells(each));
    let count = fired.iter_mut().zip(says).map(|(place, each)| *place = Some(each)).count();
    // Few of them fire; no two have the same name.
    if let Some(places) = fired.get_mut(..count) {
        places.sort_unstable_by_key(|place| {
            place.map(|fired| (std::cmp::Reverse(fired.mnats.unsigned_abs()), fired.kind.name()))
        });
    }
    (fired, count)
}

/// Every signal whose facts are there, weighted.
fn contributions(facts: &Facts, weights: &Weights) -> Contributions {
    let weighted = |kind: Kind, mnats: i32| {
        // A bound above nothing is for what fires.
        let mnats = if mnats == 0 { 0 } else { weights.get(kind.source()).apply(mnats) };
        Some(Contribution { kind, mnats })
    };
    let when = |fires: bool, kind: Kind, mnats: i32| if fires { weighted(kind, mnats) } else { None };
    let history = facts.history > 0;
    let surprise = surprise_mnats(facts.history);
    let new_device = history && facts.device == Some(false);
    let (user_agent, user_agent_mnats) = match facts.user_agent.filter(|_| history) {
        Some((seen, of)) => (true, user_agent_mnats(seen, of)),
        None => (false, 0),
    };
    let new_user_agent = user_agent_mnats > 0;
    let network = facts.network.filter(|_| history).and_then(|network| {
        let mnats = network_mnats(&network, facts.history);
        match network.new {
            Some(_) if facts.corporate => weighted(Kind::CorporateNetwork, CORPORATE_MNATS),
            Some(_) => weighted(Kind::NewNetwork, mnats),
            None if facts.corporate => weighted(Kind::CorporateNetwork, CORPORATE_MNATS),
            None => weighted(Kind::UsualNetwork, mnats),
        }
    });
    let token_mnats =
        if new_device || new_user_agent { TOKEN_ELSEWHERE_OTHER_DEVICE_MNATS } else { TOKEN_ELSEWHERE_MNATS };
    [
        network,
        match facts.device.filter(|_| history) {
            Some(true) => weighted(Kind::KnownDevice, KNOWN_DEVICE_MNATS),
            Some(false) => weighted(Kind::NewDevice, surprise),
            None => None,
        },
        when(user_agent, if new_user_agent { Kind::NewUserAgent } else { Kind::UsualUserAgent }, user_agent_mnats),
        when(history, Kind::UnusualHour, facts.hour.map_or(0, hour_mnats)),
        facts
            .trip
            .and_then(|trip| weighted(Kind::ImpossibleTravel, if trip.excuse.is_some() { 0 } else { trip.mnats() })),
        when(facts.unusual_route, Kind::UnusualRoute, UNUSUAL_ROUTE_MNATS),
        when(facts.rate.is_some(), Kind::UnusualRate, UNUSUAL_RATE_MNATS),
        when(facts.volume.is_some(), Kind::UnusualVolume, UNUSUAL_VOLUME_MNATS),
        match facts.posture {
            Some(Lack::Compliance) => weighted(Kind::NotCompliant, NOT_COMPLIANT_MNATS),
            Some(Lack::News) => weighted(Kind::StalePosture, STALE_POSTURE_MNATS),
            Some(Lack::Word) => weighted(Kind::NoPosture, NO_POSTURE_MNATS),
            None => None,
        },
        facts.reputation.as_ref().and_then(|(_, mnats)| weighted(Kind::BadReputation, *mnats)),
        facts.banned.and_then(|shared| {
            weighted(Kind::AddressBanned, if shared { SHARED_ADDRESS_BANNED_MNATS } else { ADDRESS_BANNED_MNATS })
        }),
        when(facts.attack.is_some(), Kind::AccountFailures, ACCOUNT_FAILURES_MNATS),
        when(facts.sprayed.is_some(), Kind::AddressSpraying, ADDRESS_SPRAYING_MNATS),
        when(facts.token_elsewhere, Kind::TokenElsewhere, token_mnats),
        when(facts.stepped_up, Kind::RecentStepUp, RECENT_STEP_UP_MNATS),
    ]
}

/// What a principal does otherwise than usual has one bound for all of it, that of its source.
fn bound_behaviour(contributions: &mut Contributions, weights: &Weights) {
    let mut room = weights.get(Source::Behaviour).most();
    for contribution in contributions.get_mut(BEHAVIOUR).into_iter().flatten().flatten() {
        contribution.mnats = contribution.mnats.min(room);
        room = room.saturating_sub(contribution.mnats.max(0)).max(0);
    }
}

/// Whoever has stolen a credential may have stolen one that was just stepped up, and may come from anywhere: what is not bound to a device makes up for
/// what is new, and for nothing that is bad by itself.
fn spare_evidence(contributions: &mut Contributions, facts: &Facts) {
    let of = |family: SignalFamily| {
        let fired = contributions.iter().flatten().filter(|contribution| contribution.kind.family() == family);
        clipped(family, fired.map(|contribution| contribution.mnats))
    };
    if of(SignalFamily::Evidence) == 0 {
        return;
    }
    let mut room = of(SignalFamily::Novelty).saturating_add(of(SignalFamily::Posture)).max(0);
    for contribution in contributions.iter_mut().flatten() {
        let bound = match contribution.kind {
            Kind::CorporateNetwork => false,
            Kind::RecentStepUp => facts.device == Some(true),
            _ => true,
        };
        if !bound && contribution.mnats < 0 {
            contribution.mnats = contribution.mnats.max(-room);
            room += contribution.mnats;
        }
    }
}

/// With databases, what the levels say; without, how much is known of the principal, and half of that where colleagues are.
fn network_mnats(network: &NetworkFact, history: u32) -> i32 {
    match (network.levels, network.new) {
        (Some(levels), _) => levels.novelty_mnats(),
        (None, Some(_)) if network.users >= COLLEAGUES_MIN => surprise_mnats(history) / 2,
        (None, Some(_)) => surprise_mnats(history),
        (None, None) => -surprise_mnats(network.sights.div_ceil(crate::decay::ONCE)) / 2,
    }
}

/// Half the logarithm of how much likelier the software is for anybody (one in sixteen) than for this principal. What is new
/// never speaks for the caller, and what is usual never against.
fn user_agent_mnats(seen: u32, of: u32) -> i32 {
    let (seen, of) = (u128::from(seen), u128::from(of.max(seen)));
    // (1/16) / ((seen + 1/16) / (of + 1)), in 256ths.
    let half = ln_ratio_mnats(of + 16, 16 * seen + 16) / 2;
    if seen == 0 { half.max(0) } else { half.min(0) }
}

/// The logarithm of how much likelier the hour is for anybody (one in 28) than for this principal, whose habits weigh three
/// visits less than they are.
fn hour_mnats((here, all): (u32, u32)) -> i32 {
    // (1/28) / ((here + 3/28) / (all + 3))
    let mnats = ln_ratio_mnats(u128::from(all) + 3, 28 * u128::from(here) + 3);
    if here == 0 { mnats.max(0) } else { mnats.min(0) }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NewNetwork => "network.new",
            Self::UsualNetwork => "network.usual",
            Self::CorporateNetwork => "network.corporate",
            Self::NewDevice => "device.new",
            Self::KnownDevice => "device.known",
            Self::NewUserAgent => "user_agent.new",
            Self::UsualUserAgent => "user_agent.usual",
            Self::UnusualHour => "hour.unusual",
            Self::ImpossibleTravel => "travel.impossible",
            Self::UnusualRoute => "route.unusual",
            Self::UnusualRate => "rate.unusual",
            Self::UnusualVolume => "volume.unusual",
            Self::NotCompliant => "device.not_compliant",
            Self::StalePosture => "posture.stale",
            Self::NoPosture => "posture.missing",
            Self::BadReputation => "address.reputation",
            Self::AddressBanned => "address.banned",
            Self::AccountFailures => "account.failures",
            Self::AddressSpraying => "address.spraying",
            Self::TokenElsewhere => "token.elsewhere",
            Self::RecentStepUp => "step_up.recent",
        }
    }

    /// INVARIANT: what is only new is novelty, and so never denies.
    pub(crate) fn family(self) -> SignalFamily {
        match self {
            Self::NewNetwork
            | Self::UsualNetwork
            | Self::NewDevice
            | Self::NewUserAgent
            | Self::UsualUserAgent
            | Self::UnusualHour
            | Self::ImpossibleTravel
            | Self::UnusualRoute
            | Self::UnusualRate
            | Self::UnusualVolume
            | Self::AccountFailures => SignalFamily::Novelty,
            Self::CorporateNetwork | Self::KnownDevice | Self::RecentStepUp => SignalFamily::Trust,
            Self::NotCompliant | Self::StalePosture | Self::NoPosture => SignalFamily::Posture,
            Self::BadReputation | Self::AddressBanned | Self::AddressSpraying | Self::TokenElsewhere => {
                SignalFamily::Evidence
            }
        }
    }

    fn source(self) -> Source {
        match self {
            Self::NewNetwork | Self::UsualNetwork | Self::CorporateNetwork => Source::Network,
            Self::NewDevice | Self::KnownDevice => Source::Device,
            Self::NewUserAgent | Self::UsualUserAgent => Source::UserAgent,
            Self::UnusualHour => Source::Hour,
            Self::ImpossibleTravel => Source::Travel,
            Self::UnusualRoute | Self::UnusualRate | Self::UnusualVolume => Source::Behaviour,
            Self::NotCompliant | Self::StalePosture | Self::NoPosture => Source::Posture,
            Self::BadReputation | Self::AddressBanned => Source::Reputation,
            Self::AccountFailures => Source::Failures,
            Self::AddressSpraying => Source::Spraying,
            Self::TokenElsewhere => Source::Token,
            Self::RecentStepUp => Source::StepUp,
        }
    }
}

#[cfg(test)]
#[path = "signal_tests.rs"]
pub(crate) mod tests;
