//! The signals: which of the facts about a caller speak for or against it, how strongly, and in which words.
//!
//! Pure: the engine gathers the facts. Only what is bad by itself is evidence: an address that attacks, one of bad repute, a token in two
//! places at once. Everything that is merely new, unusual or impossible, or that somebody else did under this principal's name, is
//! novelty and asks for a step-up at most. What speaks for a caller counts only where something speaks against it.

use portcullis_policy::{CountryCode, RiskAssessment, RiskSignal, SignalFamily};

use crate::Caller;
use crate::account::AccountAttack;
use crate::actor::{Network, first_bytes};
use crate::ln::ln_ratio_mnats;
use crate::score::{Source, Weights, surprise_mnats, total};
use crate::travel::Trip;
use crate::user_agent::Family;

/// What is known about a caller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts<'a> {
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
    /// The device does not meet the organisation's rules.
    pub(crate) not_compliant: bool,
    /// The worst network of bad repute that the address is in, with its milli-nats.
    pub(crate) reputation: Option<(&'a str, i32)>,
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

impl Facts<'_> {
    /// Whether anything is there that could speak against the caller.
    pub(crate) fn speaks_against(&self) -> bool {
        let new = self.network.is_some_and(|network| network.new.is_some()) || self.device == Some(false);
        let unusual = self.user_agent.is_some() || self.hour.is_some() || self.trip.is_some() || self.unusual_route;
        let bad = self.not_compliant || self.reputation.is_some() || self.sprayed.is_some() || self.token_elsewhere;
        new || unusual || bad || self.attack.is_some()
    }
}

/// How usual a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetworkFact {
    /// The coarsest level that is new to the principal.
    pub(crate) new: Option<NewLevel>,
    /// What the levels come to, where a database knows some of them.
    pub(crate) levels_mnats: Option<i32>,
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
struct Contribution {
    kind: Kind,
    mnats: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    NotCompliant,
    BadReputation,
    AccountFailures,
    AddressSpraying,
    TokenElsewhere,
    RecentStepUp,
}

const CORPORATE_MNATS: i32 = -1_500;
const KNOWN_DEVICE_MNATS: i32 = -3_000;
const UNUSUAL_ROUTE_MNATS: i32 = 1_000;
const NOT_COMPLIANT_MNATS: i32 = 2_000;
const ACCOUNT_FAILURES_MNATS: i32 = 2_000;
const ADDRESS_SPRAYING_MNATS: i32 = 3_000;
/// Phones change between two systems all day. With other software or another device it is evidence enough to deny.
const TOKEN_ELSEWHERE_MNATS: i32 = 1_000;
const TOKEN_ELSEWHERE_OTHER_DEVICE_MNATS: i32 = 2_500;
const RECENT_STEP_UP_MNATS: i32 = -3_000;
/// This many principals beside the caller make a network a place where colleagues are.
pub(crate) const COLLEAGUES_MIN: u32 = 3;
const VALUE_BYTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 256;

/// Folds the facts to an assessment. Where nothing speaks against the caller it allocates nothing.
pub(crate) fn assessment(facts: &Facts<'_>, weights: &Weights, caller: &Caller<'_>) -> RiskAssessment {
    let mut contributions = contributions(facts, weights);
    spare_evidence(&mut contributions, facts);
    let tells = |contribution: &Contribution| {
        contribution.mnats > 0
            || contribution.kind == Kind::ImpossibleTravel && weights.get(Source::Travel).is_enabled()
    };
    if !contributions.iter().flatten().any(tells) {
        return RiskAssessment { degraded: facts.degraded, ..RiskAssessment::NONE };
    }
    let worth_telling = |contribution: &Contribution| contribution.mnats != 0 || tells(contribution);
    let mut fired: Vec<Contribution> = contributions.into_iter().flatten().filter(worth_telling).collect();
    fired.sort_by_key(|contribution| (std::cmp::Reverse(contribution.mnats.unsigned_abs()), contribution.kind.name()));
    let mnats = total(fired.iter().map(|contribution| (contribution.kind.family(), contribution.mnats)));
    let signals = fired.into_iter().map(|contribution| contribution.in_words(facts, caller)).collect();
    RiskAssessment { mnats, signals, degraded: facts.degraded, stated: None }
}

/// Every signal whose facts are there, weighted.
fn contributions(facts: &Facts<'_>, weights: &Weights) -> [Option<Contribution>; 12] {
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
            .and_then(|trip| weighted(Kind::ImpossibleTravel, if trip.excuse.is_some() { 0 } else { trip.mnats })),
        when(facts.unusual_route, Kind::UnusualRoute, UNUSUAL_ROUTE_MNATS),
        when(facts.not_compliant, Kind::NotCompliant, NOT_COMPLIANT_MNATS),
        facts.reputation.and_then(|(_, mnats)| weighted(Kind::BadReputation, mnats)),
        when(facts.attack.is_some(), Kind::AccountFailures, ACCOUNT_FAILURES_MNATS),
        when(facts.sprayed.is_some(), Kind::AddressSpraying, ADDRESS_SPRAYING_MNATS),
        when(facts.token_elsewhere, Kind::TokenElsewhere, token_mnats),
        when(facts.stepped_up, Kind::RecentStepUp, RECENT_STEP_UP_MNATS),
    ]
}

/// Whoever has stolen a credential may have stolen one that was just stepped up, and may come from anywhere: what is not bound to a device makes up for
/// what is new, and for nothing that is bad by itself.
fn spare_evidence(contributions: &mut [Option<Contribution>; 12], facts: &Facts<'_>) {
    let of = |family: SignalFamily| {
        let fired = contributions.iter().flatten().filter(|contribution| contribution.kind.family() == family);
        total(fired.map(|contribution| (family, contribution.mnats)))
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
    match (network.levels_mnats, network.new) {
        (Some(mnats), _) => mnats,
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
    fn name(self) -> &'static str {
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
            Self::NotCompliant => "device.not_compliant",
            Self::BadReputation => "address.reputation",
            Self::AccountFailures => "account.failures",
            Self::AddressSpraying => "address.spraying",
            Self::TokenElsewhere => "token.elsewhere",
            Self::RecentStepUp => "step_up.recent",
        }
    }

    /// INVARIANT: what is only new is novelty, and so never denies.
    fn family(self) -> SignalFamily {
        match self {
            Self::NewNetwork
            | Self::UsualNetwork
            | Self::NewDevice
            | Self::NewUserAgent
            | Self::UsualUserAgent
            | Self::UnusualHour
            | Self::ImpossibleTravel
            | Self::UnusualRoute
            | Self::AccountFailures => SignalFamily::Novelty,
            Self::CorporateNetwork | Self::KnownDevice | Self::RecentStepUp => SignalFamily::Trust,
            Self::NotCompliant => SignalFamily::Posture,
            Self::BadReputation | Self::AddressSpraying | Self::TokenElsewhere => SignalFamily::Evidence,
        }
    }

    fn source(self) -> Source {
        match self {
            Self::NewNetwork | Self::UsualNetwork | Self::CorporateNetwork => Source::Network,
            Self::NewDevice | Self::KnownDevice => Source::Device,
            Self::NewUserAgent | Self::UsualUserAgent => Source::UserAgent,
            Self::UnusualHour => Source::Hour,
            Self::ImpossibleTravel => Source::Travel,
            Self::UnusualRoute => Source::Behaviour,
            Self::NotCompliant => Source::Posture,
            Self::BadReputation => Source::Reputation,
            Self::AccountFailures => Source::Failures,
            Self::AddressSpraying => Source::Spraying,
            Self::TokenElsewhere => Source::Token,
            Self::RecentStepUp => Source::StepUp,
        }
    }
}

impl Contribution {
    fn in_words(self, facts: &Facts<'_>, caller: &Caller<'_>) -> RiskSignal {
        let (value, reason) = self.words(facts, caller);
        RiskSignal {
            name: self.kind.name(),
            family: self.kind.family(),
            mnats: self.mnats,
            value: first_bytes(&value, VALUE_BYTES_MAX).into(),
            reason: first_bytes(&reason, REASON_BYTES_MAX).into(),
        }
    }

    fn words(self, facts: &Facts<'_>, caller: &Caller<'_>) -> (String, String) {
        let history = facts.history;
        let to_whom = |what: &str| format!("{what} that is new to this principal, let in {history} times before");
        match self.kind {
            Kind::NewNetwork => {
                let what = match facts.network.and_then(|network| network.new) {
                    Some(NewLevel::Country(code)) => format!("a country ({})", code.as_str()),
                    Some(NewLevel::Asn(number)) => format!("an autonomous system (AS{number})"),
                    Some(NewLevel::Network) | None => String::from("a network"),
                };
                (network_of(caller), to_whom(&what))
            }
            Kind::UsualNetwork => (network_of(caller), String::from("a network that this principal uses")),
            Kind::CorporateNetwork => (network_of(caller), String::from("a network of the organisation itself")),
            Kind::NewDevice => (device_of(caller), to_whom("a device")),
            Kind::KnownDevice => (device_of(caller), String::from("a device that this principal uses")),
            Kind::NewUserAgent => (software_of(caller), to_whom("software")),
            Kind::UsualUserAgent => (software_of(caller), String::from("software that this principal uses")),
            Kind::UnusualHour => {
                let (here, all) = facts.hour.unwrap_or_default();
                let reason = "an hour of the week at which this principal does not come";
                (format!("{here} of {all} visits"), String::from(reason))
            }
            Kind::ImpossibleTravel => {
                let Some(trip) = facts.trip else { return Default::default() };
                let value = format!("{} km in {} min: {} km/h", trip.km, trip.minutes, trip.speed);
                let reason = "farther from where this principal was last let in than anybody travels in that time";
                let excuse = trip.excuse.map(|excuse| format!("suppressed: {}", excuse.as_str()));
                (value, excuse.unwrap_or_else(|| String::from(reason)))
            }
            Kind::UnusualRoute => {
                let reason = "a route that this principal never used, and hardly any of its peers";
                (caller.route.unwrap_or("unknown").into(), String::from(reason))
            }
            Kind::NotCompliant => {
                (device_of(caller), String::from("the device does not meet the rules, says who issued the credential"))
            }
            Kind::BadReputation => {
                let (network, _) = facts.reputation.unwrap_or(("unknown", 0));
                (network.into(), String::from("an address in a network that the policy counts as evidence"))
            }
            Kind::AccountFailures => {
                let (failures, networks) = facts.attack.map_or((0, 0), |attack| (attack.failures, attack.networks));
                let value = format!("{failures} failures from {networks} networks");
                (value, String::from("credentials for this account failed repeatedly in the last 10 minutes"))
            }
            Kind::AddressSpraying => {
                let value = format!("{} principals", facts.sprayed.unwrap_or(0));
                (value, String::from("this address failed to authenticate as many different principals"))
            }
            Kind::TokenElsewhere => {
                let reason = "the same token was used from another autonomous system within 5 minutes";
                (network_of(caller), String::from(reason))
            }
            Kind::RecentStepUp => {
                (device_of(caller), String::from("a step-up was passed from here within the last 12 hours"))
            }
        }
    }
}

fn network_of(caller: &Caller<'_>) -> String {
    let network = caller.address.ip().map(|address| Network::neighbourhood(address).to_ipnet().to_string());
    network.unwrap_or_else(|| String::from("unknown"))
}

fn device_of(caller: &Caller<'_>) -> String {
    let device = caller.principal.and_then(|principal| principal.device.as_ref()).map(|device| &*device.id);
    first_bytes(device.or(caller.user_agent).unwrap_or("unknown"), VALUE_BYTES_MAX).into()
}

fn software_of(caller: &Caller<'_>) -> String {
    let family = Family::of(caller.user_agent.unwrap_or(""));
    match (family.software, family.system) {
        ("", "") => String::from("unknown"),
        (software, "") => software.into(),
        (software, system) => format!("{software} on {system}"),
    }
}

#[cfg(test)]
#[path = "signal_tests.rs"]
mod tests;
