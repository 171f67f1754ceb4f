//! What changes while a policy is in force: the same policy with other prefixes in its networks, or other thresholds of risk, without compiling it
//! anew.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::compile::MAX_PREFIXES;
use crate::decision::RuleRef;
use crate::draft::RiskThresholds;
use crate::network::{NetworkId, NetworkIndex};
use crate::policy::Policy;

/// What a network holds from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkContent {
    /// Which network.
    pub name: Arc<str>,
    /// Its prefixes, host bits zero.
    pub prefixes: Arc<[IpNet]>,
    /// Whether an address is in it, besides those of `prefixes`, is unknown.
    pub unknown: bool,
    /// The list that this is of, where the network has a source.
    pub list: Option<Listed>,
}

/// The list of a network that has a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What tells its source, and the addresses that the network has beside it, from others: with another one more differs than the list.
    pub origin: Arc<str>,
    /// What tells the list from others; `None`: none is in force.
    pub sha256: Option<Arc<str>>,
}

/// Why networks could not be replaced. The policy is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The policy was compiled without [`PolicyDraft::keep_prefixes`](crate::PolicyDraft::keep_prefixes).
    #[error("the policy has no networks that can be replaced")]
    NotKept,
    /// More prefixes than a policy may have.
    #[error("the networks would have more than {MAX_PREFIXES} prefixes altogether")]
    TooMany,
}

/// Thresholds of risk that were worked out from good traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibrated {
    /// What the record of them is called.
    pub id: Arc<str>,
    /// For sensitivity low, normal and high.
    pub thresholds: [RiskThresholds; 3],
    /// What was worked out, whatever a policy says of its own.
    worked_out: [Option<RiskThresholds>; 3],
}

/// The networks that an address is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts<'p> {
    /// Those that hold it.
    pub networks: Vec<&'p RuleRef>,
    /// Those of which nobody knows.
    pub unknown: Vec<&'p RuleRef>,
}

impl Policy {
    /// The same policy with other content in some networks; names that it does not have are passed over. It costs a copy of the
    /// policy and a new index of all prefixes, and nothing else is compiled.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn with_networks(&self, contents: &[NetworkContent]) -> Result<Self, ContentError> {
        let mut prefixes = self.prefixes.clone().ok_or(ContentError::NotKept)?;
        let mut policy = self.clone();
        for content in contents {
            let Some(NetworkId(index)) = self.network_named(&content.name) else { continue };
            if let Some(kept) = prefixes.get_mut(index as usize) {
                *kept = Arc::clone(&content.prefixes);
            }
            if let Some(facts) = policy.network_facts.get_mut(index as usize) {
                facts.unknown = content.unknown;
                facts.list.clone_from(&content.list);
            }
        }
        if prefixes.iter().fold(0usize, |total, each| total.saturating_add(each.len())) > MAX_PREFIXES {
            return Err(ContentError::TooMany);
        }
        let unknown: Vec<bool> = policy.network_facts.iter().map(|facts| facts.unknown).collect();
        let each: Vec<&[IpNet]> = prefixes.iter().map(|prefixes| &**prefixes).collect();
        policy.networks = NetworkIndex::build(&each, &unknown);
        policy.prefixes = Some(prefixes);
        Ok(policy)
    }

    /// The same policy with the thresholds of a calibration, for sensitivity low, normal and high, where it has some and the policy does not say its
    /// own; with `None`, as its files have it. Nothing else changes, and so neither does its hash.
    #[must_use]
    pub fn with_calibration(&self, calibration: Option<(Arc<str>, [Option<RiskThresholds>; 3])>) -> Self {
        let mut policy = self.clone();
        policy.calibrated = calibration.map(|(id, worked_out)| {
            let mut thresholds = self.risk.thresholds;
            let mut less_sensitive: Option<RiskThresholds> = None;
            for ((threshold, worked_out), stated) in thresholds.iter_mut().zip(worked_out).zip(self.risk.stated) {
                // What does more harm is not asked about later than what does less, also where too little was counted of it.
                let inherited = less_sensitive.filter(|less| less.step_up_mnats < threshold.step_up_mnats);
                if let Some(other) = worked_out.or(inherited).filter(|_| !stated) {
                    *threshold = other;
                }
                less_sensitive = worked_out.or(less_sensitive);
            }
            Calibrated { id, thresholds, worked_out }
        });
        policy
    }

    /// The same policy with the calibration that the other one has, or without one where that has none.
    #[must_use]
    pub fn with_calibration_of(&self, other: &Self) -> Self {
        let of_other = other.calibrated.as_ref();
        self.with_calibration(of_other.map(|calibrated| (Arc::clone(&calibrated.id), calibrated.worked_out)))
    }

    /// The same policy, of which it is known from which lists its networks are; names that it does not have are passed over.
    #[must_use]
    pub fn listing<'l>(mut self, lists: impl IntoIterator<Item = (&'l str, Option<Listed>)>) -> Self {
        for (name, list) in lists {
            let facts =
                self.network_named(name).and_then(|NetworkId(index)| self.network_facts.get_mut(index as usize));
            if let Some(facts) = facts {
                facts.list = list;
            }
        }
        self
    }

    /// The networks that have a source, by name, and of which list each is.
    pub fn lists(&self) -> impl Iterator<Item = (&Arc<str>, &Listed)> {
        self.network_facts.iter().filter_map(|facts| Some((&facts.rule.name, facts.list.as_ref()?)))
    }

    /// The networks that have another list than under that policy, and the same source and the same addresses beside it.
    pub fn lists_other_than(&self, before: &Self) -> Vec<&str> {
        let differs = |(name, list): &(&Arc<str>, &Listed)| {
            let then = before.network_named(name).and_then(|NetworkId(index)| before.network_facts.get(index as usize));
            let then = then.and_then(|facts| facts.list.as_ref());
            then.is_some_and(|then| then.origin == list.origin && then.sha256 != list.sha256)
        };
        self.lists().filter(differs).map(|(name, _)| &**name).collect()
    }

    /// The same policy with the lists that the other one has: of networks that have the same source and the same addresses beside it in both.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn with_lists_of(&self, other: &Self) -> Result<Self, ContentError> {
        let content = |name: &str| {
            let NetworkId(index) = other.network_named(name)?;
            let facts = other.network_facts.get(index as usize)?;
            let prefixes = Arc::clone(other.prefixes.as_ref()?.get(index as usize)?);
            Some(NetworkContent { name: name.into(), prefixes, unknown: facts.unknown, list: facts.list.clone() })
        };
        let contents: Vec<NetworkContent> = self.lists_other_than(other).into_iter().filter_map(content).collect();
        if contents.is_empty() { Ok(self.clone()) } else { self.with_networks(&contents) }
    }

    /// The networks that hold something else than under that policy, which has the same ones.
    pub fn networks_other_than(&self, before: &Self) -> Vec<&str> {
        let content = |policy: &Self, NetworkId(index): NetworkId| {
            let prefixes = policy.prefixes.as_ref()?.get(index as usize).map(Arc::clone)?;
            Some((prefixes, policy.network_facts.get(index as usize)?.unknown))
        };
        let names = self.network_facts.iter().map(|facts| &*facts.rule.name);
        let differs = |name: &&str| {
            let [now, then] = [self, before].map(|policy| content(policy, policy.network_named(name)?));
            match (now, then) {
                (Some(now), Some(then)) => now.1 != then.1 || (!Arc::ptr_eq(&now.0, &then.0) && now.0 != then.0),
                (now, then) => now.is_some() != then.is_some(),
            }
        };
        names.filter(differs).collect()
    }

    /// The calibration that its thresholds are by, where one is in force.
    pub fn calibration(&self) -> Option<&Arc<str>> {
        self.calibrated.as_ref().map(|calibrated| &calibrated.id)
    }

    /// The prefixes of the networks that are denied where this one is allowed: what a list for it should not touch.
    pub fn denied_beside(&self, name: &str) -> Vec<(Arc<str>, Arc<[IpNet]>)> {
        let Some(network) = self.network_named(name) else { return Vec::new() };
        let mut denied: Vec<NetworkId> = self
            .resources
            .iter()
            .filter(|resource| resource.allow.contains(&network))
            .flat_map(|resource| resource.deny.iter().copied())
            .filter(|denied| *denied != network)
            .collect();
        denied.sort_unstable();
        denied.dedup();
        let content = |NetworkId(index): NetworkId| {
            let prefixes = self.prefixes.as_ref()?.get(index as usize)?;
            Some((Arc::clone(&self.network_facts.get(index as usize)?.rule.name), Arc::clone(prefixes)))
        };
        denied.into_iter().filter_map(content).collect()
    }

    /// The networks that an address is in.
    pub fn whereabouts(&self, address: IpAddr) -> Whereabouts<'_> {
        let members = self.networks.members(self.networks.lookup(address.to_canonical()));
        let mut found = Whereabouts { networks: Vec::new(), unknown: Vec::new() };
        for (facts, id) in self.network_facts.iter().zip(0..) {
            if members.contains(NetworkId(id)) {
                found.networks.push(&facts.rule);
            } else if facts.unknown {
                found.unknown.push(&facts.rule);
            }
        }
        found
    }

    pub(crate) fn network_named(&self, name: &str) -> Option<NetworkId> {
        // INVARIANT: ids are ranks by name.
        let index = self.network_facts.binary_search_by(|facts| (*facts.rule.name).cmp(name)).ok()?;
        u32::try_from(index).ok().map(NetworkId)
    }
}
