//! The engine: one value that all workers share. What it answers and is told is in the files beside this one, each of one hop of a request.

mod assessing;
mod banned;
mod calibrated;
mod learning;
mod observing;
mod plan;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use portcullis_policy::Principal;

use crate::abuse::Abuse;
use crate::account::Accounts;
use crate::actor::Keys;
use crate::ban::BanTable;
use crate::by_hand::NetworkBans;
use crate::calibration::Calibrations;
use crate::climate::Climate;
use crate::commons::{mix, mix_text};
use crate::contain::Demands;
use crate::evidence::EvidenceRing;
use crate::pace::Pace;
use crate::passed::Passed;
use crate::profile::Profiles;
use crate::settings::{BanMode, RiskMode, Settings};
use crate::state::{Journal, Secret};

use plan::Plan;

/// Signals, profiles, counters and bans of the whole process.
#[derive(Debug)]
pub struct RiskEngine {
    plan: ArcSwap<Plan>,
    pub(crate) keys: Keys,
    pub(crate) profiles: Profiles,
    accounts: Accounts,
    pub(crate) abuse: Abuse,
    climate: Climate,
    /// How many bans were held back because too many callers that are known were banned already.
    held_back: AtomicU64,
    pub(crate) address_bans: BanTable,
    pub(crate) neighbourhood_bans: BanTable,
    pub(crate) principal_bans: BanTable,
    /// Credentials that were looked at in spite of bans, and did not hold.
    pub(crate) heard_of_all: Pace,
    /// Networks that were banned by hand. The table of neighbourhoods says whether there can be one.
    pub(crate) network_bans: NetworkBans,
    /// What alerts demand.
    pub(crate) demands: Demands,
    pub(crate) evidence: EvidenceRing,
    /// The scores of good traffic, where thresholds are to be worked out from them.
    pub(crate) passed: Passed,
    pub(crate) calibrations: Calibrations,
    /// What a store has to know of.
    pub(crate) journal: Journal,
}

const NEIGHBOURHOOD_BANS_MAX: usize = 1_024;

impl RiskEngine {
    /// An engine without memory. The bounds in `settings` hold for its whole life; each is at least one entry per table.
    pub fn new(settings: Settings) -> Self {
        Self::with_secret(settings, Secret::random())
    }

    /// The same with the secret of an earlier engine, under which its keys mean the same.
    pub fn with_secret(settings: Settings, secret: Secret) -> Self {
        let neighbourhood_bans = NEIGHBOURHOOD_BANS_MAX.min(settings.max_bans / 8);
        let principal_bans = settings.max_bans / 4;
        let address_bans = settings.max_bans.saturating_sub(neighbourhood_bans + principal_bans);
        Self {
            keys: Keys::new(secret),
            profiles: Profiles::new(settings.max_profiles),
            accounts: Accounts::new(settings.max_actors / 4),
            abuse: Abuse::new(settings.max_actors),
            climate: Climate::new(),
            held_back: AtomicU64::new(0),
            address_bans: BanTable::new(address_bans),
            neighbourhood_bans: BanTable::new(neighbourhood_bans),
            principal_bans: BanTable::new(principal_bans),
            heard_of_all: Pace::default(),
            network_bans: NetworkBans::default(),
            demands: Demands::default(),
            evidence: EvidenceRing::new(),
            passed: Passed::new(),
            calibrations: Calibrations::default(),
            journal: Journal::default(),
            plan: ArcSwap::from_pointee(Plan::of(settings)),
        }
    }

    /// Replaces the settings at a reload. Profiles, counters and bans stay, and so do the sizes of the tables.
    pub fn reconfigure(&self, settings: Settings) {
        self.plan.store(Arc::new(Plan::of(settings)));
    }

    pub(crate) fn risk_mode(&self) -> RiskMode {
        self.plan.load().settings.risk_mode
    }

    pub(crate) fn ban_mode(&self) -> BanMode {
        self.plan.load().settings.ban.mode
    }

    /// Whether offenders are banned, in earnest or as a simulation: else nobody is charged.
    pub fn charges(&self) -> bool {
        self.ban_mode() != BanMode::Off
    }
}

/// What a principal has in common with its peers: roles and groups, of which the first eight each count.
fn roles_of(principal: &Principal) -> Vec<u64> {
    const ROLES_MAX: usize = 8;
    let roles = principal.roles.iter().take(ROLES_MAX).map(|role| mix_text(role));
    roles.chain(principal.groups.iter().take(ROLES_MAX).map(|group| mix(mix_text(&group.name)))).collect()
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "behaviour_tests.rs"]
mod behaviour;

#[cfg(test)]
#[path = "flood_tests.rs"]
mod floods;

#[cfg(test)]
#[path = "honest_tests.rs"]
mod honest;

#[cfg(test)]
#[path = "place_tests.rs"]
mod places;
