//! Bans that an operator makes: on an address, a principal, or any network.
//!
//! One on an address or a principal stands where those of its offences stand. Other networks have a short list of their own, which
//! is looked at only while there is such a ban.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_policy::{Ban, BanScope};
use thiserror::Error;

use crate::actor::{Actor, Network};
use crate::ban::{BanEntry, BanTable, Imposed};
use crate::engine::RiskEngine;
use crate::evidence::BanSample;
use crate::moment::Moment;
use crate::settings::BanMode;

/// How many networks can be banned by hand.
pub(crate) const MAX_NETWORKS: usize = 256;

/// Why there is no ban.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImposeError {
    /// The policy has switched bans off.
    #[error("bans are off in the policy (`[ban] mode`): it would have no effect")]
    Off,
    /// It is never banned.
    #[error("it is among the addresses that are never banned (`[ban] never`, or a trusted proxy)")]
    Never,
    /// There is no room.
    #[error("there is no room: remove a ban first")]
    NoRoom,
    /// Its end has passed.
    #[error("it would end before it begins")]
    Ended,
}

/// The networks that are banned by hand.
#[derive(Debug, Default)]
pub(crate) struct NetworkBans(ArcSwap<Vec<(IpNet, Imposed)>>);

impl NetworkBans {
    pub(crate) fn on(&self, address: IpAddr, now: Timestamp) -> Option<Arc<Ban>> {
        let address = address.to_canonical();
        let bans = self.0.load();
        let found = bans.iter().find(|(network, imposed)| network.contains(&address) && now < imposed.ban.until);
        found.map(|(_, imposed)| Arc::clone(&imposed.ban))
    }

    fn exactly_on(&self, network: IpNet, now: Timestamp) -> Option<Arc<Ban>> {
        let bans = self.0.load();
        let found = bans.iter().find(|(banned, imposed)| *banned == network && now < imposed.ban.until);
        found.map(|(_, imposed)| Arc::clone(&imposed.ban))
    }

    pub(crate) fn put(&self, network: IpNet, imposed: &Imposed, now: Timestamp) -> Result<(), ImposeError> {
        let mut room = true;
        self.0.rcu(|bans| {
            let others = bans.iter().filter(|(other, imposed)| *other != network && now < imposed.ban.until);
            let mut next: Vec<_> = others.cloned().collect();
            room = next.len() < MAX_NETWORKS;
            if room {
                next.push((network, imposed.clone()));
            }
            next
        });
        if room { Ok(()) } else { Err(ImposeError::NoRoom) }
    }

    fn remove(&self, network: IpNet) -> bool {
        let mut found = false;
        self.0.rcu(|bans| {
            let next: Vec<_> = bans.iter().filter(|(other, _)| *other != network).cloned().collect();
            found = next.len() < bans.len();
            next
        });
        found
    }

    pub(crate) fn list(&self, entries: &mut Vec<BanEntry>, now: Timestamp) {
        let bans = self.0.load();
        let in_force = bans.iter().filter(|(_, imposed)| now < imposed.ban.until);
        entries.extend(in_force.map(|(network, imposed)| imposed.entry(Actor::Network(*network))));
    }

    pub(crate) fn active(&self, now: Timestamp) -> usize {
        self.0.load().iter().filter(|(_, imposed)| now < imposed.ban.until).count()
    }

    /// Those in force and those that have just ended.
    pub(crate) fn for_each(&self, mut show: impl FnMut(Actor, &Imposed)) {
        self.0.load().iter().for_each(|(network, imposed)| show(Actor::Network(*network), imposed));
    }
}

/// What is known about somebody's bans.
#[derive(Debug, Clone, PartialEq)]
pub struct BanReport {
    /// Those in force that touch it: on itself, on its neighbourhood, on a network it is in.
    pub bans: Vec<BanEntry>,
    /// It is among those that are never banned.
    pub never: bool,
    /// The last requests that it was charged for, newest first. At most five.
    pub evidence: Vec<BanSample>,
    /// What its past offences mean for the next one, where there are any.
    pub outlook: Option<Outlook>,
}

/// What the past offences of somebody mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// How many are not forgotten.
    pub past: f64,
    /// About how long the next ban would be.
    pub next: Duration,
    /// Half of them are forgotten in this time.
    pub forget_half: Duration,
}

impl RiskEngine {
    /// Bans somebody until then. A ban in force on the same one is replaced; offences are neither counted nor forgotten. A ban on
    /// an address refuses all of it, verified principals too.
    ///
    /// # Errors
    /// Why there is no ban.
    pub fn impose(
        &self,
        actor: &Actor,
        until: Timestamp,
        cause: &str,
        now: Timestamp,
    ) -> Result<Arc<Ban>, ImposeError> {
        let mode = self.ban_mode();
        if mode == BanMode::Off {
            return Err(ImposeError::Off);
        }
        if until <= now {
            return Err(ImposeError::Ended);
        }
        let scope = match actor {
            Actor::Network(network) if self.is_never_banned(*network) => return Err(ImposeError::Never),
            Actor::Network(_) => BanScope::Address,
            Actor::Principal { .. } => BanScope::Principal,
        };
        let ban =
            Arc::new(Ban { scope, until, offences: 0, cause: cause.into(), simulated: mode == BanMode::Simulate });
        let imposed = Imposed { ban: Arc::clone(&ban), began: now, evidence: Arc::default() };
        match (actor, self.table_of(actor)) {
            (_, Some(table)) => {
                let key = self.keys.actor(actor);
                table.impose(actor, key, imposed, Moment::from(now)).ok_or(ImposeError::NoRoom)?;
                self.journal.ban_changed();
            }
            (Actor::Network(network), None) => {
                self.network_bans.put(network.trunc(), &imposed, now)?;
                self.journal.networks_changed();
                // Whether anybody is banned is asked of the neighbourhoods, for these networks, too.
                self.neighbourhood_bans.ask_until(until);
            }
            // A principal has its table.
            (Actor::Principal { .. }, None) => return Err(ImposeError::NoRoom),
        }
        Ok(ban)
    }

    /// What is known about somebody's bans.
    pub fn report(&self, actor: &Actor, now: Timestamp) -> BanReport {
        let touches = |entry: &BanEntry| match (&entry.actor, actor) {
            (Actor::Network(banned), Actor::Network(asked)) => banned.contains(asked) || asked.contains(banned),
            (banned, asked) => banned == asked,
        };
        let bans: Vec<BanEntry> = self.bans(now).into_iter().filter(touches).collect();
        let never = matches!(actor, Actor::Network(network) if self.is_never_banned(*network));
        let mut evidence = self.evidence.samples(self.keys.actor(actor));
        if evidence.is_empty() {
            // Others have pushed it out of the ring meanwhile, or another process has gathered it.
            evidence = bans.iter().find(|ban| ban.actor == *actor).map_or_else(Vec::new, |ban| ban.evidence.to_vec());
        }
        let outlook = self.table_of(actor).and_then(|table| self.outlook(table, actor, now));
        BanReport { bans, never, evidence, outlook }
    }

    /// The ban in force on this very actor, as the mode of now has it; not one on a network around it.
    pub fn own_ban(&self, actor: &Actor, now: Timestamp) -> Option<Arc<Ban>> {
        let ban = match (self.table_of(actor), actor) {
            (Some(table), _) => table.in_force(self.keys.actor(actor), Moment::from(now)),
            (None, Actor::Network(network)) => self.network_bans.exactly_on(network.trunc(), now),
            (None, Actor::Principal { .. }) => None,
        }?;
        match self.ban_mode() {
            BanMode::Off => None,
            BanMode::Simulate if !ban.simulated => Some(Arc::new(Ban { simulated: true, ..Ban::clone(&ban) })),
            BanMode::Simulate | BanMode::Enforce => Some(ban),
        }
    }

    /// Whether somebody is never banned, as a whole.
    pub fn is_never(&self, actor: &Actor) -> bool {
        matches!(actor, Actor::Network(network) if self.is_never_banned(*network))
    }

    /// Whether an address is among those that are never banned.
    pub fn is_spared(&self, address: IpAddr) -> bool {
        self.never_bans(address)
    }

    pub(crate) fn lift_network(&self, actor: &Actor) -> bool {
        match actor {
            Actor::Network(network) => self.network_bans.remove(network.trunc()),
            Actor::Principal { .. } => false,
        }
    }

    /// The table that bans on such actors stand in.
    pub(crate) fn table_of(&self, actor: &Actor) -> Option<&BanTable> {
        match actor {
            Actor::Principal { .. } => Some(&self.principal_bans),
            Actor::Network(network) => {
                let single = Network::of_address(network.addr()).to_ipnet();
                let neighbourhood = Network::neighbourhood(network.addr()).to_ipnet();
                match network.trunc() {
                    network if network == single => Some(&self.address_bans),
                    network if network == neighbourhood => Some(&self.neighbourhood_bans),
                    _ => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::Principal;

    use super::*;
    use crate::fixtures::engine_of;
    use crate::settings::{BanSettings, Settings};

    fn engine(mode: BanMode) -> RiskEngine {
        let never = vec!["192.0.2.0/28".parse().unwrap()];
        engine_of(Settings { ban: BanSettings { mode, never, ..BanSettings::default() }, ..Settings::default() })
    }

    fn actor(text: &str) -> Actor {
        text.parse().unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_ban_by_hand_holds_for_whom_it_names_and_until_it_ends_or_is_lifted() {
        let check = |on: &str, banned: &[&str], free: &[&str]| {
            let engine = engine(BanMode::Enforce);
            let is_banned = |address: &str, now| engine.ban_on_address(address.parse().unwrap(), now).is_some();
            engine.impose(&actor(on), later(60), "by hand", later(0)).unwrap();
            for address in banned {
                assert!(is_banned(address, later(0)) && is_banned(address, later(59)), "{on}: {address}");
                assert!(!is_banned(address, later(60)), "{on}: {address} after its end");
            }
            for address in free {
                assert!(!is_banned(address, later(0)), "{on}: {address}");
            }
            assert_eq!((engine.bans_active(later(0)), engine.bans(later(0)).len()), (1, 1), "{on}");
            assert_eq!(engine.report(&actor(on), later(0)).bans.len(), 1, "{on}");
            let own =
                |on: &str, second: i64| engine.own_ban(&actor(on), later(second)).map(|ban| ban.cause.to_string());
            assert_eq!((own(on, 59), own(on, 60)), (Some("by hand".into()), None), "{on}");
            assert_eq!(own("203.0.0.0/16", 0), None, "{on}");
            assert!(engine.lift(&actor(on)), "{on}");
            assert!(banned.iter().all(|address| !is_banned(address, later(0))), "{on}: lifted");
            assert!(!engine.lift(&actor(on)), "{on}: there is nothing left to lift");
            assert_eq!(engine.bans_active(later(0)), 0, "{on}");
        };
        check("203.0.113.7", &["203.0.113.7", "::ffff:203.0.113.7"], &["203.0.113.8"]);
        check("203.0.113.0/24", &["203.0.113.1", "203.0.113.255"], &["203.0.114.1"]);
        check("203.0.112.0/20", &["203.0.113.1", "203.0.127.255"], &["203.0.128.1"]);
        check("203.0.113.6/31", &["203.0.113.6", "203.0.113.7"], &["203.0.113.8"]);
        check("2001:db8::1", &["2001:db8::ffff"], &["2001:db8:0:1::1"]);
        check("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::1"]);
    }

    #[test]
    fn a_principal_is_banned_wherever_it_comes_from() {
        let engine = engine(BanMode::Enforce);
        engine.impose(&actor("user:alice"), later(60), "left", later(0)).unwrap();
        let ban = |id: &str| engine.ban_on_principal(&Principal::user(id), later(1));
        assert_eq!(ban("alice").unwrap().cause.as_ref(), "left");
        assert!(ban("bob").is_none());
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let check = |mode: BanMode, on: &str, until: i64, expected: Result<bool, ImposeError>| {
            let found = engine(mode).impose(&actor(on), later(until), "x", later(0));
            assert_eq!(found.map(|ban| ban.simulated), expected, "{on}");
        };
        check(BanMode::Off, "203.0.113.7", 60, Err(ImposeError::Off));
        check(BanMode::Simulate, "203.0.113.7", 60, Ok(true));
        check(BanMode::Enforce, "203.0.113.7", 60, Ok(false));
        check(BanMode::Enforce, "203.0.113.7", 0, Err(ImposeError::Ended));
        check(BanMode::Enforce, "192.0.2.7", 60, Err(ImposeError::Never));
        check(BanMode::Enforce, "192.0.2.16", 60, Ok(false));
        // A network around them is banned, and they are not.
        let engine = engine(BanMode::Enforce);
        engine.impose(&actor("192.0.2.0/24"), later(60), "x", later(0)).unwrap();
        let is_banned = |address: &str| engine.ban_on_address(address.parse().unwrap(), later(1)).is_some();
        assert!(is_banned("192.0.2.16") && !is_banned("192.0.2.7"));
    }

    #[test]
    fn a_second_ban_replaces_the_first_and_networks_are_bounded() {
        let engine = engine(BanMode::Enforce);
        let single = actor("203.0.113.7");
        engine.impose(&single, later(3_600), "long", later(0)).unwrap();
        engine.impose(&single, later(60), "short", later(0)).unwrap();
        let until = engine.ban_on_address([203, 0, 113, 7].into(), later(1)).unwrap().until;
        assert_eq!(until, later(60));
        for index in 0..MAX_NETWORKS {
            let network = format!("10.{}.{}.0/25", index / 256, index % 256);
            engine.impose(&actor(&network), later(60), "x", later(0)).unwrap();
        }
        let one_more = engine.impose(&actor("198.51.100.0/25"), later(60), "x", later(0));
        assert_eq!(one_more, Err(ImposeError::NoRoom));
        let after = later(61);
        let end = after.checked_add(Duration::from_secs(60)).unwrap();
        engine.impose(&actor("198.51.100.0/25"), end, "x", after).unwrap();
    }
}
