//! How risky a caller looks, by what is usual for its principal and what is known of where it comes from.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, CountryCode, Principal, PrincipalKind, RiskAssessment};

use super::plan::Plan;
use super::{RiskEngine, roles_of};
use crate::actor::Network;
use crate::commons::{mix, mix_text};
use crate::habit::Unusual;
use crate::inputs::{Assessed, Inputs};
use crate::moment::Moment;
use crate::peers::Measure;
use crate::place::Location;
use crate::posture::{self, Posture};
use crate::profile::{Comparison, Familiarity, TOKEN_MASK, Traits};
use crate::settings::{BanMode, RiskMode};
use crate::signal::{self, COLLEAGUES_MIN, Facts, NetworkFact, NewLevel};
use crate::travel::{self, Excuse, Sight, Trip};
use crate::user_agent::Family;
use crate::{Caller, CallerKeys};

/// Whoever was let in less often has no habits that a journey could contradict.
const TRAVEL_SIGHTS_MIN: u32 = 10;
const EVIDENCE: i32 = RiskAssessment::EVIDENCE_MNATS;

impl RiskEngine {
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
            let fastest = plan.settings.max_speed_kmh.max(1);
            facts.trip = compared.last.zip(position).and_then(|(last, position)| {
                let trip = travel::trip(last, Sight { at: now, position }, fastest)?;
                let hidden = traits.hidden || facts.corporate || compared.last_hidden;
                let excuses = [
                    (usual.device == Some(true), Excuse::SameDevice),
                    (hidden, Excuse::NotWhereItSeems),
                    (colleagues, Excuse::UsedByOthers),
                    (usual.history < TRAVEL_SIGHTS_MIN, Excuse::FewSights),
                ];
                let excuse = excuses.iter().find(|(holds, _)| *holds).map(|(_, excuse)| *excuse);
                let usual_place = || self.profiles.was_near(key, position).then_some(Excuse::UsualPlace);
                Some(Trip { excuse: excuse.or_else(usual_place), ..trip })
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
}

/// What tells one token of a user from another: when it was issued and ends, and when its holder authenticated. What is issued once and for all, an API
/// key or a certificate, may well be carried in two places, and so may the token of a service that runs in two.
fn token_of(principal: &Principal) -> Option<u32> {
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
    u32::try_from(joined & TOKEN_MASK).ok()
}
