//! The signals: which of the facts about a caller speak for or against it, how strongly, and in which words.
//!
//! Pure: the engine gathers the facts. Only `address.spraying` is evidence; everything that is merely new, or that
//! somebody else did under this principal's name, is novelty and asks for a step-up at most.

use portcullis_policy::{RiskAssessment, RiskSignal, SignalFamily};

use crate::Caller;
use crate::account::AccountAttack;
use crate::actor::{Network, first_bytes};
use crate::profile::Familiarity;
use crate::score::{Weight, Weights, surprise_mnats, total};

/// What is known about a caller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts {
    pub(crate) familiarity: Familiarity,
    /// The address is one of the organisation's own, which are never new.
    pub(crate) corporate: bool,
    /// The account was attacked by failed credentials.
    pub(crate) attack: Option<AccountAttack>,
    /// The address failed as this many principals, too many.
    pub(crate) sprayed: Option<usize>,
    /// A verified principal came from an unknown address, so its network could not be compared.
    pub(crate) degraded: bool,
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
    CorporateNetwork,
    NewDevice,
    KnownDevice,
    AccountFailures,
    AddressSpraying,
}

const CORPORATE_MNATS: i32 = -1_500;
const KNOWN_DEVICE_MNATS: i32 = -1_000;
const ACCOUNT_FAILURES_MNATS: i32 = 2_000;
const ADDRESS_SPRAYING_MNATS: i32 = 3_000;
const VALUE_BYTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 256;

/// Folds the facts to an assessment. Where no signal fires it allocates nothing.
pub(crate) fn assessment(facts: &Facts, weights: &Weights, caller: &Caller<'_>) -> RiskAssessment {
    let mut fired: Vec<Contribution> = contributions(facts, weights, caller).collect();
    if fired.is_empty() {
        return RiskAssessment { degraded: facts.degraded, ..RiskAssessment::NONE };
    }
    fired.sort_by_key(|contribution| (std::cmp::Reverse(contribution.mnats.unsigned_abs()), contribution.kind.name()));
    let mnats = total(fired.iter().map(|contribution| (contribution.kind.family(), contribution.mnats)));
    let signals = fired.into_iter().map(|contribution| contribution.in_words(facts, caller)).collect();
    RiskAssessment { mnats, signals, degraded: facts.degraded, stated: None }
}

/// Every signal that fires, with its weighted contribution; one that is weighted to nothing does not fire.
fn contributions(facts: &Facts, weights: &Weights, caller: &Caller<'_>) -> impl Iterator<Item = Contribution> {
    let Familiarity { history, network, device } = facts.familiarity;
    let surprise = surprise_mnats(history);
    let elsewhere = history > 0 && network == Some(false);
    let new_device = history > 0 && device == Some(false);
    // A user agent is only said; a device that the credential is bound to is proved.
    let bound = caller.principal.is_some_and(|principal| principal.device.is_some());
    let known_device = elsewhere && device == Some(true) && bound;
    let corporate = facts.corporate && (elsewhere || new_device);
    let candidate = |fires: bool, kind: Kind, mnats: i32, weight: Weight| {
        fires.then(|| Contribution { kind, mnats: weight.apply(mnats) })
    };
    [
        candidate(elsewhere && !facts.corporate, Kind::NewNetwork, surprise, weights.network),
        candidate(corporate, Kind::CorporateNetwork, CORPORATE_MNATS, weights.network),
        candidate(new_device, Kind::NewDevice, surprise, weights.device),
        candidate(known_device, Kind::KnownDevice, KNOWN_DEVICE_MNATS, weights.device),
        candidate(facts.attack.is_some(), Kind::AccountFailures, ACCOUNT_FAILURES_MNATS, weights.failures),
        candidate(facts.sprayed.is_some(), Kind::AddressSpraying, ADDRESS_SPRAYING_MNATS, weights.spraying),
    ]
    .into_iter()
    .flatten()
    .filter(|contribution| contribution.mnats != 0)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::NewNetwork => "network.new",
            Self::CorporateNetwork => "network.corporate",
            Self::NewDevice => "device.new",
            Self::KnownDevice => "device.known",
            Self::AccountFailures => "account.failures",
            Self::AddressSpraying => "address.spraying",
        }
    }

    /// INVARIANT: what is only new is novelty, and so never denies.
    fn family(self) -> SignalFamily {
        match self {
            Self::NewNetwork | Self::NewDevice | Self::AccountFailures => SignalFamily::Novelty,
            Self::CorporateNetwork | Self::KnownDevice => SignalFamily::Trust,
            Self::AddressSpraying => SignalFamily::Evidence,
        }
    }
}

impl Contribution {
    fn in_words(self, facts: &Facts, caller: &Caller<'_>) -> RiskSignal {
        let history = facts.familiarity.history;
        let (value, reason) = match self.kind {
            Kind::NewNetwork => {
                (network_of(caller), format!("a network that is new to this principal, let in {history} times before"))
            }
            Kind::CorporateNetwork => (network_of(caller), String::from("a network of the organisation itself")),
            Kind::NewDevice => {
                (device_of(caller), format!("a device that is new to this principal, let in {history} times before"))
            }
            Kind::KnownDevice => (device_of(caller), String::from("a device that this principal uses")),
            Kind::AccountFailures => {
                let (failures, networks) = facts.attack.map_or((0, 0), |attack| (attack.failures, attack.networks));
                let value = format!("{failures} failures from {networks} networks");
                (value, String::from("credentials for this account failed repeatedly in the last 10 minutes"))
            }
            Kind::AddressSpraying => {
                let value = format!("{} principals", facts.sprayed.unwrap_or(0));
                (value, String::from("this address failed to authenticate as many different principals"))
            }
        };
        RiskSignal {
            name: self.kind.name(),
            family: self.kind.family(),
            mnats: self.mnats,
            value: first_bytes(&value, VALUE_BYTES_MAX).into(),
            reason: first_bytes(&reason, REASON_BYTES_MAX).into(),
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

#[cfg(test)]
mod tests {
    use portcullis_policy::ClientAddress;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{Settings, SignalSetting};

    fn signals(facts: Facts, settings: &Settings) -> (i32, Vec<(&'static str, i32)>) {
        let agent = Some("curl");
        let caller =
            Caller { address: ClientAddress::known([203, 0, 113, 7].into()), principal: None, user_agent: agent };
        let assessment = assessment(&facts, &Weights::of(settings), &caller);
        (assessment.mnats, assessment.signals.iter().map(|signal| (signal.name, signal.mnats)).collect())
    }

    fn familiarity(history: u32, network: bool, device: bool) -> Facts {
        let familiarity = Familiarity { history, network: Some(network), device: Some(device) };
        Facts { familiarity, ..Facts::default() }
    }

    #[test]
    fn each_fact_gives_its_signal_strongest_first() {
        let check = |facts: Facts, mnats: i32, expected: &[(&'static str, i32)]| {
            assert_eq!(signals(facts, &Settings::default()), (mnats, expected.to_vec()));
        };
        check(familiarity(100, true, true), 0, &[]);
        check(familiarity(0, false, false), 0, &[]);
        check(familiarity(1, false, true), 416, &[("network.new", 416)]);
        check(familiarity(64, false, true), 2_500, &[("network.new", 2_500)]);
        check(familiarity(64, false, false), 4_000, &[("device.new", 2_500), ("network.new", 2_500)]);
        let corporate = Facts { corporate: true, ..familiarity(64, false, false) };
        check(corporate, 1_000, &[("device.new", 2_500), ("network.corporate", -1_500)]);
        check(Facts { corporate: true, ..familiarity(64, true, true) }, 0, &[]);
        let attack = Some(AccountAttack { failures: 7, networks: 3 });
        let attacked = Facts { attack, sprayed: Some(5), ..familiarity(64, true, true) };
        check(attacked, 5_000, &[("address.spraying", 3_000), ("account.failures", 2_000)]);
    }

    #[test]
    fn a_signal_can_be_weighed_bounded_and_turned_off() {
        let setting = |weight_milli, cap_mnats, enabled| Settings {
            signals: vec![SignalSetting { name: String::from("network"), weight_milli, cap_mnats, enabled }],
            ..Settings::default()
        };
        let check = |settings: Settings, expected: i32| {
            assert_eq!(signals(familiarity(64, false, true), &settings).0, expected);
        };
        check(setting(500, (-3_000, 4_000), true), 1_250);
        check(setting(1_000, (-3_000, 1_000), true), 1_000);
        check(setting(1_000, (-3_000, 4_000), false), 0);
        check(setting(0, (-3_000, 4_000), true), 0);
    }

    proptest! {
        #[test]
        fn only_spraying_is_ever_evidence(
            history in any::<u32>(), network in any::<Option<bool>>(), device in any::<Option<bool>>(),
            corporate in any::<bool>(), failures in any::<Option<u32>>(), sprayed in any::<Option<usize>>(),
            weight_milli in any::<i32>(), agent in ".{0,400}",
        ) {
            let facts = Facts {
                familiarity: Familiarity { history, network, device },
                corporate,
                attack: failures.map(|failures| AccountAttack { failures, networks: 3 }),
                sprayed,
                degraded: false,
            };
            let signals = ["network", "device", "failures", "spraying"].map(|name| {
                SignalSetting { name: name.into(), weight_milli, cap_mnats: (i32::MIN, i32::MAX), enabled: true }
            });
            let weights = Weights::of(&Settings { signals: signals.into(), ..Settings::default() });
            let caller = Caller { address: ClientAddress::Unknown, principal: None, user_agent: Some(&agent) };
            let assessment = assessment(&facts, &weights, &caller);
            for signal in &assessment.signals {
                prop_assert_eq!(signal.family == SignalFamily::Evidence, signal.name == "address.spraying");
                prop_assert!(signal.value.len() <= VALUE_BYTES_MAX && signal.reason.len() <= REASON_BYTES_MAX);
            }
            prop_assert!(assessment.signals.is_sorted_by_key(|signal| std::cmp::Reverse(signal.mnats.unsigned_abs())));
            prop_assert!(sprayed.is_some() || !assessment.has_evidence());
        }
    }
}
