//! The engine: one value that all workers share. Each method is one hop of a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, Ban, BanScope, CountryCode, Principal, PrincipalKind, RiskAssessment};

use crate::abuse::{Abuse, Counted, FailedCredential, GUESSING_FACTOR, Limits, Offence, Probe, Subject};
use crate::account::Accounts;
use crate::actor::{Actor, Keys, Network};
use crate::ban::{BanEntry, BanNotice, BanTable, Imposed, Sentence, Started};
use crate::by_hand::{NetworkBans, Outlook};
use crate::calibration::{Calibration, CalibrationError, Calibrations};
use crate::charge::Charge;
use crate::climate::Climate;
use crate::commons::{mix, mix_text};
use crate::contain::Demands;
use crate::evidence::EvidenceRing;
use crate::habit::Unusual;
use crate::inputs::{Assessed, Inputs};
use crate::moment::{Moment, TICK_MASK};
use crate::network_set::NetworkSet;
use crate::pace::Pace;
use crate::passed::Passed;
use crate::peers::Measure;
use crate::place::Location;
use crate::posture::{self, Posture};
use crate::profile::{Comparison, Familiarity, Profiles, Traits};
use crate::score::Weights;
use crate::settings::{BanMode, Calibrate, RiskMode, Settings};
use crate::signal::{self, COLLEAGUES_MIN, Facts, NetworkFact, NewLevel};
use crate::signature::{self, Found, Parts};
use crate::state::{Journal, Secret};
use crate::travel::{self, Excuse, Sight, Trip};
use crate::user_agent::Family;
use crate::{Caller, CallerKeys, Observation, Told};

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

/// The settings and what is worked out from them once.
#[derive(Debug)]
struct Plan {
    settings: Settings,
    limits: Limits,
    weights: Arc<Weights>,
    never: NetworkSet,
    corporate: NetworkSet,
    /// `[risk] reputation`, to share.
    reputation: Vec<(Arc<str>, i32)>,
}

/// A listing of bans is cut off here.
const LISTED_MAX: usize = 10_000;
const NEIGHBOURHOOD_BANS_MAX: usize = 1_024;
/// The weight of a signature that a verified principal is charged for.
const UNMISTAKABLE: f64 = 2.5;
/// Whoever was let in less often has no habits that a journey could contradict.
const TRAVEL_SIGHTS_MIN: u32 = 10;
const EVIDENCE: i32 = RiskAssessment::EVIDENCE_MNATS;

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

    /// Works out, once for a request, what [`Self::assess`], [`Self::learn`] and [`Self::observe`] know the caller by.
    pub fn keys_of(&self, caller: &Caller<'_>) -> CallerKeys {
        let Some(principal) = caller.principal else { return CallerKeys::default() };
        let device = principal.device.as_ref();
        let traits = Traits {
            network: caller.address.ip().map(|address| self.keys.network(Network::neighbourhood(address))),
            device: device.map(|device| self.keys.device(&device.id)),
            agent: caller.user_agent.map(|agent| self.keys.user_agent(agent)),
            route: caller.route.map(mix_text),
            token: token_of(principal),
            ..Traits::default()
        };
        CallerKeys { principal: Some(self.keys.principal(principal.kind, &principal.id)), traits }
    }

    /// How risky this caller looks. A familiar one has no signals, and costs no allocation. `keys` are the caller's; where the caller
    /// had to be looked up, they say afterwards where it is. The signals have [no words](Inputs::tell) yet.
    pub fn assess(&self, caller: &Caller<'_>, keys: &mut CallerKeys, now: Timestamp) -> Assessed {
        let plan = self.plan.load();
        if plan.settings.risk_mode == RiskMode::Off {
            return Assessed::default();
        }
        let time = now;
        let now = Moment::from(now).ticks;
        let address = caller.address.ip();
        let mut facts = Facts {
            sprayed: address.and_then(|address| self.abuse.spraying(&self.keys, address, &plan.limits, now)),
            reputation: address.and_then(|address| plan.reputation(caller, address)),
            ..Facts::default()
        };
        if let (Some(principal), Some(key)) = (caller.principal, keys.principal) {
            let usual = self.profiles.compare(key, &keys.traits, now);
            self.look_up(caller, &usual, &mut keys.traits, &plan, facts.reputation.is_some());
            facts.history = usual.history;
            facts.degraded = address.is_none() || keys.traits.location.is_some_and(|location| location.missing);
            facts.attack = self.accounts.attack(|| self.keys.account(&principal.id), now);
            facts.posture = caller.posture.as_ref().and_then(Posture::lack).or_else(|| posture::stated(principal));
            if usual.network == Some(true) && facts.reputation.as_ref().is_some_and(|(_, mnats)| *mnats < EVIDENCE) {
                // Where the principal comes from anyway is held against it only where that is bad enough to deny.
                facts.reputation = None;
            }
            if !usual.is_usual() || facts.speaks_against() {
                self.look_closely(&mut facts, &usual, caller, keys, &plan, time);
            }
        }
        if !facts.speaks_against() {
            return Assessed::of(RiskAssessment { degraded: facts.degraded, ..RiskAssessment::NONE });
        }
        let assessment = signal::assessment(&facts, &plan.weights);
        let inputs = Inputs { facts, weights: Arc::clone(&plan.weights) };
        let inputs = (!assessment.signals.is_empty()).then(|| Box::new(inputs));
        Assessed { assessment, inputs }
    }

    /// Counts the score of a request that the engine learns from, where thresholds are to be worked out: `sensitivity` is that of its resource, 0
    /// low, 1 normal, 2 high. Only users count: nobody else can be asked to step up.
    pub fn count_passed(&self, keys: &CallerKeys, sensitivity: usize, mnats: i32, now: Timestamp) {
        if let Some(key) = keys.principal
            && self.plan.load().settings.step_up_budget.is_some()
        {
            self.passed.note(key, sensitivity, mnats, Moment::from(now).ticks);
        }
    }

    /// Notes how many bytes a principal was sent. `roles` are asked for where an hour of its has ended.
    pub fn exported(&self, keys: &CallerKeys, principal: Option<&Principal>, bytes: u64, now: Timestamp) {
        if let Some(key) = keys.principal
            && self.plan.load().settings.risk_mode != RiskMode::Off
        {
            let roles = || principal.map(roles_of).unwrap_or_default();
            self.profiles.exported(key, bytes, roles, Moment::from(now).ticks);
        }
    }

    /// Works out thresholds from what was counted, as a record that is not in force yet. With `fade` what was counted counts half from then on.
    ///
    /// # Errors
    /// There is no budget, or too little was counted.
    pub fn calibrate(&self, made_at: Timestamp, fade: bool) -> Result<Arc<Calibration>, CalibrationError> {
        let budget = self.plan.load().settings.step_up_budget.ok_or(CalibrationError::NoBudget)?;
        let counts = self.passed.counts();
        let made = self.calibrations.make(|number| Calibration::of(&counts, budget, number, made_at))?;
        if fade {
            self.passed.fade();
        }
        self.journal.ban_changed();
        Ok(made)
    }

    /// `[risk] step_up_budget` in millionths, and how many visits of users were counted for each sensitivity.
    pub fn counted(&self) -> (Option<u32>, [u64; 3]) {
        (self.plan.load().settings.step_up_budget, self.passed.counts().totals())
    }

    /// Whether the gateway itself has thresholds worked out once a day.
    pub fn calibrates_daily(&self) -> bool {
        let plan = self.plan.load();
        plan.settings.step_up_budget.is_some() && plan.settings.calibrate == Calibrate::Daily
    }

    /// The calibration in force, for who puts its thresholds into a policy: `None` also where the policy has no budget.
    pub fn calibration(&self) -> Option<Arc<Calibration>> {
        self.plan.load().settings.step_up_budget?;
        self.calibrations.in_force()
    }

    /// All that are kept, the latest first.
    pub fn calibrations(&self) -> Vec<Arc<Calibration>> {
        self.calibrations.all()
    }

    /// One of them.
    pub fn calibration_named(&self, id: &str) -> Option<Arc<Calibration>> {
        self.calibrations.find(id)
    }

    /// When the last one was made.
    pub fn last_calibrated(&self) -> Option<Timestamp> {
        self.calibrations.last_made()
    }

    /// Puts one in force. Whoever calls it puts its thresholds into the policy.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn put_calibration(&self, id: &str) -> Result<Arc<Calibration>, CalibrationError> {
        let put = self.calibrations.put_in_force(id)?;
        self.journal.ban_changed();
        Ok(put)
    }

    /// Takes the one in force back. The answer is what was in force before it; `None`: what is built in.
    ///
    /// # Errors
    /// None is in force.
    pub fn take_calibration_back(&self) -> Result<Option<Arc<Calibration>>, CalibrationError> {
        let before = self.calibrations.take_back()?;
        self.journal.ban_changed();
        Ok(before)
    }

    /// What a score means, from 0 to 1,000, by the calibration of this id; `None` where another one is in force.
    pub fn display(&self, id: &str, mnats: i32) -> Option<u16> {
        let in_force = self.calibrations.in_force()?;
        (*in_force.id == *id).then(|| in_force.display(mnats))
    }

    /// Notes a doubt about who comes as a principal: it is asked to step up, or (`asked` is false) let in in spite of it. `since` is now, or later where its
    /// credential says that it was got later: that credential can never [answer](Self::answered) it.
    pub fn doubt(&self, keys: &CallerKeys, asked: bool, since: Timestamp) {
        if let Some(key) = keys.principal
            && self.plan.load().settings.risk_mode != RiskMode::Off
        {
            self.profiles.doubt(key, &keys.traits, asked, Moment::from(since).ticks);
        }
    }

    /// Whether a principal that authenticated at this time answered a doubt: it did so after somebody first came from there, with that software or
    /// device. And whether it was asked to. A credential that was stolen before it was used from there never does.
    pub fn answered(&self, keys: &CallerKeys, authenticated: Timestamp) -> Option<bool> {
        self.profiles.answered(keys.principal?, &keys.traits, Moment::from(authenticated).ticks)
    }

    /// Remembers what is usual for a principal. Call it for a request that the policy let through below the step-up threshold, or
    /// after a doubt that was [answered](Self::answered), with a step-up if `stepped_up`; for no other, or an intruder teaches the engine to trust it. `keys` are
    /// those that [`Self::assess`] has seen.
    pub fn learn(&self, caller: &Caller<'_>, keys: &CallerKeys, stepped_up: bool, now: Timestamp) {
        self.learn_with(keys, || *caller, stepped_up, now);
    }

    /// [`learn`](Self::learn), for who has to look the caller up: that is asked for where something about it is new, which is seldom.
    pub fn learn_with<'a>(&self, keys: &CallerKeys, caller: impl Fn() -> Caller<'a>, stepped_up: bool, now: Timestamp) {
        let Some(key) = keys.principal else { return };
        if self.plan.load().settings.risk_mode == RiskMode::Off {
            return;
        }
        let family = || caller().user_agent.map(|agent| self.keys.family(Family::of(agent)));
        let roles = || caller().principal.map(roles_of).unwrap_or_default();
        self.profiles.learn(key, &keys.traits, family, roles, stepped_up, Moment::from(now).ticks);
    }

    /// Finds out where the caller is, where that is not remembered.
    fn look_up(&self, caller: &Caller<'_>, usual: &Familiarity, traits: &mut Traits, plan: &Plan, hidden: bool) {
        traits.asn = usual.asn;
        if usual.placed || traits.network.is_none() {
            return;
        }
        let (Some(address), Some(places)) = (caller.address.ip(), caller.places) else { return };
        traits.location = places.locate(address);
        traits.asn = traits.location.and_then(|location| location.asn);
        traits.hidden = hidden || plan.is_corporate(caller, address);
    }

    /// All that is to be known of a caller about whom something is new.
    fn look_closely(
        &self,
        facts: &mut Facts,
        usual: &Familiarity,
        caller: &Caller<'_>,
        keys: &CallerKeys,
        plan: &Plan,
        time: Timestamp,
    ) {
        let now = Moment::from(time).ticks;
        let (Some(principal), Some(key)) = (caller.principal, keys.principal) else { return };
        let traits = &keys.traits;
        let family = caller.user_agent.map(|agent| self.keys.family(Family::of(agent)));
        let compared = self.profiles.compare_closely(key, traits, family, now);
        facts.corporate = caller.address.ip().is_some_and(|address| plan.is_corporate(caller, address));
        facts.network = usual.network.map(|is_usual| self.network_fact(is_usual, &compared, (key, traits), now));
        facts.device = usual.device;
        facts.user_agent = usual.agent.map(|is_usual| (compared.family.max(u32::from(is_usual)), compared.history));
        facts.hour = (usual.hour == Some(false)).then_some(compared.hour);
        facts.stepped_up = compared.stepped_up;
        facts.unusual_route = usual.route == Some(false)
            && traits.route.is_some_and(|route| self.profiles.is_route_unusual(route, &roles_of(principal)));
        let alone = |measure, much: &Unusual| !self.profiles.peers_are_used_to(measure, &roles_of(principal), much.now);
        facts.rate = usual.rate.filter(|much| alone(Measure::Requests, much));
        facts.volume = usual.volume.filter(|much| alone(Measure::Exported, much));
        let colleagues = facts.network.is_some_and(|network| network.users >= COLLEAGUES_MIN);
        // INVARIANT: only what is usual for this principal, and what the operator says, takes away evidence.
        facts.token_elsewhere = compared.token_elsewhere && compared.asn == 0 && !facts.corporate;
        if usual.network == Some(false) {
            facts.banned = (usual.history > 0 && self.is_banned_for_others(caller, plan, time)).then_some(colleagues);
            let position = traits.location.and_then(|location| location.position);
            let (trip, fastest) = (compared.last.zip(position), plan.settings.max_speed_kmh.max(1));
            facts.trip = trip
                .and_then(|(last, position)| travel::trip(last, Sight { at: now, position }, fastest))
                .map(|trip| {
                    let hidden = traits.hidden || facts.corporate || compared.last_hidden;
                    let excuses = [
                        (usual.device == Some(true), Excuse::SameDevice),
                        (hidden, Excuse::NotWhereItSeems),
                        (colleagues, Excuse::UsedByOthers),
                        (usual.history < TRAVEL_SIGHTS_MIN, Excuse::FewSights),
                        (compared.near, Excuse::UsualPlace),
                    ];
                    Trip { excuse: excuses.iter().find(|(holds, _)| *holds).map(|(_, excuse)| *excuse), ..trip }
                });
        }
    }

    /// Whether the address is banned, in earnest, for whoever is no verified principal.
    fn is_banned_for_others(&self, caller: &Caller<'_>, plan: &Plan, now: Timestamp) -> bool {
        let banned = caller.address.ip().and_then(|address| self.ban_on_address(address, now));
        plan.settings.ban.mode == BanMode::Enforce && banned.is_some_and(|ban| !ban.simulated)
    }

    fn network_fact(
        &self,
        is_usual: bool,
        compared: &Comparison,
        (principal, traits): (u64, &Traits),
        now: u64,
    ) -> NetworkFact {
        let Location { country, asn, .. } = traits.location.unwrap_or_default();
        let country = country.filter(|code| *code != CountryCode::NOWHERE && compared.country == 0);
        let new = match (country, asn.filter(|_| compared.asn == 0)) {
            _ if is_usual => None,
            (Some(code), _) => Some(NewLevel::Country(code)),
            (None, Some(number)) => Some(NewLevel::Asn(number)),
            (None, None) => Some(NewLevel::Network),
        };
        NetworkFact {
            new,
            levels: self.profiles.levels(compared, traits),
            sights: compared.network.max(u32::from(is_usual)),
            users: traits.network.map_or(0, |network| self.profiles.colleagues(network, principal, now)),
        }
    }

    /// Counts how a request was answered. The answer is a notice when this observation started a ban.
    pub fn observe(&self, observation: &Observation<'_>, now: Timestamp) -> Option<BanNotice> {
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

    /// How many bans are in force. It looks at every ban: for metrics and listings, not for requests.
    pub fn bans_active(&self, now: Timestamp) -> usize {
        let by_hand = self.network_bans.active(now);
        let now = Moment::from(now);
        self.ban_tables().iter().map(|table| table.active(now)).sum::<usize>() + by_hand
    }

    /// The bans in force, the one that ends last first. At most 10,000.
    pub fn bans(&self, now: Timestamp) -> Vec<BanEntry> {
        let mut entries = Vec::new();
        self.network_bans.list(&mut entries, now);
        let now = Moment::from(now);
        for table in self.ban_tables() {
            table.list(&mut entries, now);
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.ban.until));
        entries.truncate(LISTED_MAX);
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

    pub(crate) fn risk_mode(&self) -> RiskMode {
        self.plan.load().settings.risk_mode
    }

    pub(crate) fn ban_mode(&self) -> BanMode {
        self.plan.load().settings.ban.mode
    }

    pub(crate) fn outlook(&self, table: &BanTable, actor: &Actor, now: Timestamp) -> Option<Outlook> {
        let plan = self.plan.load();
        let settings = &plan.settings.ban;
        let (past, next) = table.outlook(self.keys.actor(actor), settings, Moment::from(now))?;
        (past > 0.0).then_some(Outlook { past, next, forget_half: settings.forget_half })
    }

    pub(crate) fn forget_half(&self) -> std::time::Duration {
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

    /// Whether offenders are banned, in earnest or as a simulation: else nobody is charged.
    pub fn charges(&self) -> bool {
        self.ban_mode() != BanMode::Off
    }

    /// Whether all of a network is among those that are never banned.
    pub(crate) fn is_never_banned(&self, network: ipnet::IpNet) -> bool {
        let plan = self.plan.load();
        plan.settings.ban.never.iter().any(|never| never.contains(&network))
    }

    pub(crate) fn ban_tables(&self) -> [&BanTable; 3] {
        [&self.address_bans, &self.neighbourhood_bans, &self.principal_bans]
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

impl Plan {
    fn of(settings: Settings) -> Self {
        Self {
            limits: Limits::of(&settings.ban),
            weights: Arc::new(Weights::of(&settings)),
            reputation: settings.reputation.iter().map(|each| (each.network.as_str().into(), each.mnats)).collect(),
            never: NetworkSet::of(&settings.ban.never),
            corporate: NetworkSet::of(&settings.corporate_egress),
            settings,
        }
    }

    /// The worst of the networks of bad repute that an address is in.
    fn reputation(&self, caller: &Caller<'_>, address: IpAddr) -> Option<(Arc<str>, i32)> {
        let policy = caller.policy.filter(|_| !self.reputation.is_empty())?;
        // Where it is not known what is in a network, nothing can be held against anybody.
        let in_it = self.reputation.iter().filter(|(network, _)| policy.network_with(network, address).is_some());
        in_it.max_by_key(|(_, mnats)| *mnats).cloned()
    }

    /// Whether the address is one of the organisation's: by what the policy's networks hold now, which feeds keep current, or, where nobody knows the
    /// policy, by what its file says.
    fn is_corporate(&self, caller: &Caller<'_>, address: IpAddr) -> bool {
        self.corporate.contains(address)
            || caller.policy.is_some_and(|policy| {
                self.settings.corporate_networks.iter().any(|name| policy.network_with(name, address).is_some())
            })
    }

    /// A ban as the mode of now has it: one that began under another mode is not stronger than this one allows.
    fn as_configured(&self, ban: Arc<Ban>) -> Option<Arc<Ban>> {
        match self.settings.ban.mode {
            BanMode::Off => None,
            BanMode::Simulate if !ban.simulated => Some(Arc::new(Ban { simulated: true, ..Ban::clone(&ban) })),
            BanMode::Simulate | BanMode::Enforce => Some(ban),
        }
    }
}

/// What tells one token of a user from another: when it was issued and ends, and when its holder authenticated. What is issued once and for all, an API
/// key or a certificate, may well be carried in two places, and so may the token of a service that runs in two.
fn token_of(principal: &Principal) -> Option<u16> {
    let authentication = &principal.authentication;
    let is_carried = match authentication.method {
        // A session's cookie is carried like a token, and its times are those of its login.
        AuthenticationMethod::Jwt
        | AuthenticationMethod::Introspection
        | AuthenticationMethod::Oidc
        | AuthenticationMethod::Password => true,
        AuthenticationMethod::ApiKey | AuthenticationMethod::ClientCertificate | AuthenticationMethod::Stated => false,
    };
    if !is_carried || principal.kind != PrincipalKind::User {
        return None;
    }
    let micros = |time: Option<Timestamp>| time.map_or(0, |time| time.as_microsecond().cast_unsigned());
    let issued = micros(Some(authentication.issued?));
    let joined = mix(mix(issued) ^ micros(authentication.expires).rotate_left(21) ^ micros(authentication.auth_time));
    u16::try_from(joined & 0xffff).ok()
}

/// What a principal has in common with its peers: roles and groups, of which the first eight each count.
fn roles_of(principal: &Principal) -> Vec<u64> {
    const ROLES_MAX: usize = 8;
    let roles = principal.roles.iter().take(ROLES_MAX).map(|role| mix_text(role));
    roles.chain(principal.groups.iter().take(ROLES_MAX).map(|group| mix(mix_text(&group.name)))).collect()
}

/// Whether the upstream answered without complaint.
fn let_in(observation: &Observation<'_>) -> bool {
    observation.upstream && observation.reason.is_none() && observation.status < 400
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
