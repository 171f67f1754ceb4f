//! What an answered request counts as, for whom, and the ban that may come of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portcullis_policy::{Ban, BanScope};

use super::RiskEngine;
use super::plan::Plan;
use crate::abuse::{Counted, FailedCredential, GUESSING_FACTOR, Offence, Probe, Subject};
use crate::actor::{Actor, Network};
use crate::ban::{BanNotice, Imposed, Sentence, Started};
use crate::charge::Charge;
use crate::moment::{Moment, TICK_MASK};
use crate::settings::{BanMode, RiskMode};
use crate::signature::{self, Found, Parts};
use crate::{Blame, Observation, Told};

/// The weight of a signature that a verified principal is charged for.
const UNMISTAKABLE: f64 = 2.5;

impl RiskEngine {
    /// Counts how a request was answered. The answer is a notice when this observation started a ban.
    pub fn observe(&self, observation: &Observation<'_>, now: Timestamp) -> Option<BanNotice> {
        if observation.blame == Blame::Anybody {
            return None;
        }
        let plan = self.plan.load();
        let now = Moment::from(now);
        let charge = Charge::of(observation);
        let address = observation.address.ip().unwrap_or(observation.peer).to_canonical();
        if charge == Charge::Credentials && plan.settings.risk_mode != RiskMode::Off {
            self.note_failed_account(observation, address, now);
        }
        if plan.settings.ban.mode == BanMode::Off {
            return None;
        }
        let principal = observation
            .principal
            .map(|who| observation.keys.principal.unwrap_or_else(|| self.keys.principal(who.kind, &who.id)));
        if principal.is_some() && let_in(observation) {
            self.abuse.healthy(&self.keys, address, &plan.limits, now.ticks);
        }
        let subject = principal.map_or(Subject::Address(address), Subject::Principal);
        if let Some(found) = self.signature(observation, address, &plan)
            && let Some((counted, offence)) = self.abuse.signature(&self.keys, subject, found, &plan.limits, now.ticks)
        {
            self.evidence.note(counted.key(), Some(found.name), observation.status, observation.path);
            if let Some(notice) = offence.and_then(|offence| self.ban(counted, offence, observation, &plan, now)) {
                return Some(notice);
            }
        }
        if plan.limits.floods()
            && let Some(notice) = self.flood(subject, address, observation, &plan, now)
        {
            return Some(notice);
        }
        let (counted, offence) = match charge {
            Charge::Nothing => return None,
            Charge::Good => {
                if let Some(route) = observation.route.filter(|_| let_in(observation)) {
                    self.climate.let_in(route);
                }
                self.abuse.good(&self.keys, subject, &plan.limits, now.ticks);
                return None;
            }
            Charge::Probing(_) | Charge::Credentials if plan.never.contains(address) => return None,
            // A credential that fails beside one that holds is nobody's offence: the principal did not fail, and the
            // address is not charged for a verified principal.
            Charge::Credentials if principal.is_some() => return None,
            Charge::Credentials => {
                let failure = FailedCredential { attempted: observation.attempted.map(|id| self.keys.account(id)) };
                self.abuse.failed_credential(&self.keys, address, failure, &plan.limits, now.ticks)
            }
            Charge::Probing(_) if self.upstream_refuses_everybody(observation, subject, now) => return None,
            Charge::Probing(weight) => {
                let on_few_paths = match observation {
                    // A head that could not be read has no path that could be told from others.
                    Observation { path: "", .. } => Some(1.0),
                    Observation { upstream: true, status: 401, .. } => Some(GUESSING_FACTOR),
                    _ => None,
                };
                let probe = Probe { weight, path: self.keys.path(observation.path), on_few_paths };
                self.abuse.probe(&self.keys, subject, probe, &plan.limits, now.ticks)
            }
        }?;
        self.evidence.note(counted.key(), observation.reason, observation.status, observation.path);
        self.ban(counted, offence?, observation, &plan, now)
    }

    /// What the request gives itself away by. Of a verified principal only what is unmistakable: its query may be text about an attack.
    fn signature(&self, observation: &Observation<'_>, address: IpAddr, plan: &Plan) -> Option<Found> {
        // What a ban refuses was looked at before there was one.
        if !plan.limits.signatures() || observation.reason == Some("ban.active") || plan.never.contains(address) {
            return None;
        }
        let Told { query, user_agent, referrer } = observation.told;
        let refused = (400..500).contains(&observation.status);
        let found = signature::look(&Parts { path: observation.path, query, user_agent, referrer, refused })?;
        (observation.principal.is_none() || found.weight >= UNMISTAKABLE).then_some(found)
    }

    /// What an upstream answers to everybody alike is held against nobody. That something is not there is said of a path, not of a caller.
    fn upstream_refuses_everybody(&self, observation: &Observation<'_>, subject: Subject, now: Moment) -> bool {
        let says_no = observation.reason.is_none() && matches!(observation.status, 400 | 401 | 403 | 405 | 429);
        let Some(route) = observation.route.filter(|_| says_no) else { return false };
        let actor = match subject {
            Subject::Principal(key) => key,
            Subject::Address(address) => self.keys.network(Network::of_address(address)),
        };
        self.climate.refuses_everybody(route, actor, now.ticks)
    }

    /// A request counts whatever became of it, but for what a ban refuses: else a ban would prolong itself.
    fn flood(
        &self,
        subject: Subject,
        address: IpAddr,
        observation: &Observation<'_>,
        plan: &Plan,
        now: Moment,
    ) -> Option<BanNotice> {
        if observation.reason == Some("ban.active") || plan.never.contains(address) {
            return None;
        }
        let (counted, offence) = self.abuse.flood(&self.keys, subject, &plan.limits, now)?;
        let offence = offence?;
        self.evidence.note(counted.key(), observation.reason, observation.status, observation.path);
        self.ban(counted, offence, observation, plan, now)
    }

    /// How many bans were held back because too many callers that are known were banned already.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// How many callers that are known the gateway has banned by itself, where they are too many.
    fn too_many_known(&self, plan: &Plan, now: Moment) -> Option<usize> {
        let own = |ban: &Ban| ban.offences > 0 && !ban.simulated && ban.scope != BanScope::Address;
        let banned = self.address_bans.count(now, own) + self.principal_bans.count(now, own);
        let radius = plan.settings.ban.blast_radius;
        let least = usize::try_from(radius.bans).unwrap_or(usize::MAX);
        // Who is known is counted only where it matters: that takes a look at every record.
        let known = || self.abuse.known(now.ticks) as f64;
        (banned >= least && banned as f64 >= radius.share * known()).then_some(banned)
    }

    fn note_failed_account(&self, observation: &Observation<'_>, address: IpAddr, now: Moment) {
        if let Some(id) = observation.attempted {
            let network = self.keys.network(Network::neighbourhood(address));
            self.accounts.note(self.keys.account(id), network, now.ticks);
        }
    }

    fn ban(
        &self,
        counted: Counted,
        offence: Offence,
        observation: &Observation<'_>,
        plan: &Plan,
        now: Moment,
    ) -> Option<BanNotice> {
        let (table, actor, scope) = match (counted, observation.principal) {
            (Counted::Principal { .. }, principal) => {
                (&self.principal_bans, Actor::principal(principal?), BanScope::Principal)
            }
            (Counted::Address { network, healthy, .. }, _) => {
                let scope = if healthy { BanScope::Anonymous } else { BanScope::Address };
                (&self.address_bans, Actor::Network(network.to_ipnet()), scope)
            }
            // A whole neighbourhood may hold verified principals that nobody counted.
            (Counted::Neighbourhood { network, .. }, _) => {
                (&self.neighbourhood_bans, Actor::Network(network.to_ipnet()), BanScope::Anonymous)
            }
        };
        let mut simulated = plan.settings.ban.mode == BanMode::Simulate;
        let mut cause = offence;
        let is_known = scope != BanScope::Address && !matches!(counted, Counted::Neighbourhood { .. });
        let is_banned = table.in_force(counted.key(), now).is_some();
        if is_known
            && !simulated
            && !is_banned
            && let Some(banned) = self.too_many_known(plan, now)
        {
            simulated = true;
            cause.push_str(&format!("; held back: {banned} callers that are known are banned already"));
            self.held_back.fetch_add(1, Ordering::Relaxed);
        }
        let sentence = Sentence { actor: actor.clone(), key: counted.key(), scope, cause, simulated };
        let evidence = || self.evidence.samples(counted.key());
        match table.start(sentence, evidence, &plan.settings.ban, &self.keys, now) {
            Started::New(imposed) => {
                self.journal.ban_changed();
                let Imposed { ban, evidence, .. } = &*imposed;
                let until = u64::try_from(ban.until.as_second()).unwrap_or(0).saturating_mul(16).min(TICK_MASK);
                self.abuse.settle(counted, until);
                Some(BanNotice { actor, ban: Arc::clone(ban), evidence: evidence.to_vec() })
            }
            Started::InForce | Started::NoRoom => None,
        }
    }
}

/// Whether the upstream answered without complaint.
fn let_in(observation: &Observation<'_>) -> bool {
    observation.upstream && observation.reason.is_none() && observation.status < 400
}
