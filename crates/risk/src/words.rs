//! What a signal says to a person. It is worked out for an event or an explanation, and never for a score.

use portcullis_policy::{RiskAssessment, RiskSignal};

use crate::Caller;
use crate::actor::{Network, first_bytes};
use crate::score::Weights;
use crate::signal::{Facts, Kind, NewLevel, fired};
use crate::user_agent::Family;

pub(crate) const VALUE_BYTES_MAX: usize = 128;
pub(crate) const REASON_BYTES_MAX: usize = 256;

/// Gives the signals of an assessment their words. It was made from these facts; else it is as it was.
pub(crate) fn tell(assessment: &mut RiskAssessment, facts: &Facts, weights: &Weights, caller: &Caller<'_>) {
    let (fired, count) = fired(facts, weights);
    if count != assessment.signals.len() {
        return;
    }
    for (signal, contribution) in assessment.signals.iter_mut().zip(fired.iter().flatten()) {
        if signal.name == contribution.kind.name() {
            contribution.kind.tell(signal, facts, caller);
        }
    }
}

impl Kind {
    fn tell(self, signal: &mut RiskSignal, facts: &Facts, caller: &Caller<'_>) {
        let (value, reason) = self.words(facts, caller);
        signal.value = first_bytes(&value, VALUE_BYTES_MAX).into();
        signal.reason = first_bytes(&reason, REASON_BYTES_MAX).into();
    }

    fn words(self, facts: &Facts, caller: &Caller<'_>) -> (String, String) {
        let history = facts.history;
        let to_whom = |what: &str| format!("{what} that is new to this principal, let in {history} times before");
        match self {
            Self::NewNetwork => {
                let what = match facts.network.and_then(|network| network.new) {
                    Some(NewLevel::Country(code)) => format!("a country ({})", code.as_str()),
                    Some(NewLevel::Asn(number)) => format!("an autonomous system (AS{number})"),
                    Some(NewLevel::Network) | None => String::from("a network"),
                };
                (network_of(caller), to_whom(&what))
            }
            Self::UsualNetwork => (network_of(caller), String::from("a network that this principal uses")),
            Self::CorporateNetwork => (network_of(caller), String::from("a network of the organisation itself")),
            Self::NewDevice => (device_of(caller), to_whom("a device")),
            Self::KnownDevice => (device_of(caller), String::from("a device that this principal uses")),
            Self::NewUserAgent => (software_of(caller), to_whom("software")),
            Self::UsualUserAgent => (software_of(caller), String::from("software that this principal uses")),
            Self::UnusualHour => {
                let (here, all) = facts.hour.unwrap_or_default();
                let reason = "an hour of the week at which this principal does not come";
                (format!("{here} of {all} visits"), String::from(reason))
            }
            Self::ImpossibleTravel => {
                let Some(trip) = facts.trip else { return Default::default() };
                let value = trip.in_words();
                let reason = "farther from where this principal was last let in than anybody travels in that time";
                let excuse = trip.excuse.map(|excuse| format!("suppressed: {}", excuse.as_str()));
                (value, excuse.unwrap_or_else(|| String::from(reason)))
            }
            Self::UnusualRoute => {
                let reason = "a route that this principal never used, and hardly any of its peers";
                (caller.route.unwrap_or("unknown").into(), String::from(reason))
            }
            Self::UnusualRate | Self::UnusualVolume => {
                let unusual = if self == Self::UnusualRate { facts.rate } else { facts.volume };
                let what = if self == Self::UnusualRate { "requests" } else { "units of 64 KiB" };
                let value = unusual.map_or_else(String::new, |unusual| unusual.in_words(what));
                (value, String::from("far more in one hour than this principal is used to, and its peers are"))
            }
            Self::NotCompliant => {
                (device_of(caller), String::from("the device does not meet the rules, says who vouches for it"))
            }
            Self::StalePosture => {
                (device_of(caller), String::from("what was said of the device is older than it may be"))
            }
            Self::NoPosture => {
                (device_of(caller), String::from("nothing was said of the device, which is expected here"))
            }
            Self::BadReputation => {
                let network = facts.reputation.as_ref().map_or("unknown", |(network, _)| network);
                (network.into(), String::from("an address in a network that the policy counts as evidence"))
            }
            Self::AddressBanned => {
                let reason = match facts.banned {
                    Some(true) => {
                        "an address that is banned for others than principals, of whom some come from there, and new to this one"
                    }
                    Some(false) | None => "an address that is banned for others than principals, and new to this one",
                };
                (address_of(caller), String::from(reason))
            }
            Self::AccountFailures => {
                let (failures, networks) = facts.attack.map_or((0, 0), |attack| (attack.failures, attack.networks));
                let value = format!("{failures} failures from {networks} networks");
                (value, String::from("credentials for this account failed repeatedly in the last 10 minutes"))
            }
            Self::AddressSpraying => {
                let value = format!("{} principals", facts.sprayed.unwrap_or(0));
                (value, String::from("this address failed to authenticate as many different principals"))
            }
            Self::TokenElsewhere => {
                let reason = "the same token was used from another autonomous system within 5 minutes";
                (network_of(caller), String::from(reason))
            }
            Self::RecentStepUp => {
                (device_of(caller), String::from("a step-up was passed from here within the last 12 hours"))
            }
        }
    }
}

fn network_of(caller: &Caller<'_>) -> String {
    let network = caller.address.ip().map(|address| Network::neighbourhood(address).to_ipnet().to_string());
    network.unwrap_or_else(|| String::from("unknown"))
}

fn address_of(caller: &Caller<'_>) -> String {
    caller.address.ip().map_or_else(|| String::from("unknown"), |address| address.to_string())
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
