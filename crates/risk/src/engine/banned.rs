//! Which bans are in force, and on whom there may be none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_policy::{Ban, Principal};

use super::RiskEngine;
use crate::actor::{Actor, Network};
use crate::ban::{BanEntry, BanTable};
use crate::by_hand::Outlook;
use crate::moment::Moment;

/// A listing of bans is cut off here.
const LISTED_MAX: usize = 10_000;

impl RiskEngine {
    /// The ban in force on this address, of scope `Address` or `Anonymous`. One atomic load each for addresses and for
    /// neighbourhoods while nobody is banned.
    pub fn ban_on_address(&self, address: IpAddr, now: Timestamp) -> Option<Arc<Ban>> {
        let time = now;
        let now = Moment::from(now);
        let on_address = || self.address_bans.in_force(self.keys.network(Network::of_address(address)), now);
        let on_neighbourhood = || {
            let neighbourhood = self.keys.network(Network::neighbourhood(address));
            self.neighbourhood_bans.in_force(neighbourhood, now).or_else(|| self.network_bans.on(address, time))
        };
        let ban = self.address_bans.any(now).then(on_address).flatten();
        let ban = ban.or_else(|| self.neighbourhood_bans.any(now).then(on_neighbourhood).flatten())?;
        let plan = self.plan.load();
        // A reload may have put the address among those that are never banned, and a neighbourhood may contain such ones.
        if plan.never.contains(address) { None } else { plan.as_configured(ban) }
    }

    /// The ban in force on this verified principal. One atomic load while no principal is banned.
    pub fn ban_on_principal(&self, principal: &Principal, now: Timestamp) -> Option<Arc<Ban>> {
        let now = Moment::from(now);
        if !self.principal_bans.any(now) {
            return None;
        }
        let ban = self.principal_bans.in_force(self.keys.principal(principal.kind, &principal.id), now)?;
        self.plan.load().as_configured(ban)
    }

    /// How many bans are in force. It looks at every ban: for metrics and listings, not for requests.
    pub fn bans_active(&self, now: Timestamp) -> usize {
        let by_hand = self.network_bans.active(now);
        let now = Moment::from(now);
        self.ban_tables().iter().map(|table| table.active(now)).sum::<usize>() + by_hand
    }

    /// The bans in force, the one that ends last first. At most 10,000.
    pub fn bans(&self, now: Timestamp) -> Vec<BanEntry> {
        let mut entries = self.all_bans(now);
        entries.truncate(LISTED_MAX);
        entries
    }

    /// All of them: no more than the tables of bans have room for.
    pub fn all_bans(&self, now: Timestamp) -> Vec<BanEntry> {
        let mut entries = Vec::new();
        self.network_bans.list(&mut entries, now);
        let now = Moment::from(now);
        for table in self.ban_tables() {
            table.list(&mut entries, now);
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.ban.until));
        entries
    }

    /// Ends the ban on this actor and forgets what it did, past offences included. Says whether there was a ban to forget,
    /// in force or past.
    pub fn lift(&self, actor: &Actor) -> bool {
        let key = self.keys.actor(actor);
        self.abuse.forget(key);
        // Each actor has its place in one table alone.
        let lifted = self.ban_tables().iter().any(|table| table.lift(key)) || self.lift_network(actor);
        // A store may have a row of somebody for whom there was no room, or who was forgotten.
        self.journal.lifted(actor);
        lifted
    }

    pub(crate) fn outlook(&self, table: &BanTable, actor: &Actor, now: Timestamp) -> Option<Outlook> {
        let plan = self.plan.load();
        let settings = &plan.settings.ban;
        let (past, next) = table.outlook(self.keys.actor(actor), settings, Moment::from(now))?;
        (past > 0.0).then_some(Outlook { past, next, forget_half: settings.forget_half })
    }

    pub(crate) fn forget_half(&self) -> Duration {
        self.plan.load().settings.ban.forget_half
    }

    /// See [`Self::restore_healthy`]; in ticks of the engine's clock.
    pub(crate) fn restore_healthy_at(&self, key: u64, seen: u64, now: u64) -> bool {
        self.abuse.restore_healthy(key, seen, &self.plan.load().limits, now)
    }

    /// Whether an address is among those that are never banned.
    pub(crate) fn never_bans(&self, address: IpAddr) -> bool {
        self.plan.load().never.contains(address)
    }

    /// Whether all of a network is among those that are never banned.
    pub(crate) fn is_never_banned(&self, network: ipnet::IpNet) -> bool {
        let plan = self.plan.load();
        plan.settings.ban.never.iter().any(|never| never.contains(&network))
    }

    pub(crate) fn ban_tables(&self) -> [&BanTable; 3] {
        [&self.address_bans, &self.neighbourhood_bans, &self.principal_bans]
    }
}
