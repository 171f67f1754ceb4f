//! The facts that two policies tell apart where a rule looks at them, one value for each class.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, ToSpan as _};

use super::callers::somebody;
use super::*;
use crate::condition::{Conditions, is_recent, mfa_is_fresh, span_text};
use crate::draft::{Hours, StepUpRules};
use crate::network::NetworkId;
use crate::request::{RiskSignal, SignalFamily};

/// A class of client addresses.
#[derive(Debug, Clone)]
pub(super) struct AddressClass {
    pub(super) client: ClientAddress,
    /// Of the networks that are looked at, those that it is in, before and after; `None`: the address is unknown.
    held: Option<[Vec<NetworkId>; 2]>,
    /// The networks that it is in, as far as the rules look at them.
    pub(super) shown: String,
}

/// The classes of addresses, and the networks that tell them apart.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    looked: [BTreeSet<NetworkId>; 2],
    pub(super) classes: Vec<AddressClass>,
}

/// A class of times.
#[derive(Debug, Clone)]
pub(super) struct TimeClass {
    pub(super) at: Timestamp,
    /// Which span between the borders of periods.
    span: usize,
    /// Which hours hold.
    within: Vec<bool>,
}

/// How strongly the caller is authenticated.
#[derive(Debug, Clone, Default)]
pub(super) struct Strength {
    /// Whether it is a fresh mfa, before and after.
    fresh: [bool; 2],
    /// The ages that rules ask about, in seconds, in order, and whether it is within each.
    borders: Vec<u64>,
    within: Vec<bool>,
    pub(super) acr: Option<Box<str>>,
    pub(super) amr: Vec<Box<str>>,
    /// Seconds since the authentication; `None`: it is unknown.
    pub(super) age_s: Option<i64>,
    pub(super) shown: String,
}

/// A class of risk.
#[derive(Debug, Clone)]
pub(super) struct RiskClass {
    levels: [RiskLevel; 2],
    pub(super) assessment: RiskAssessment,
    pub(super) shown: String,
}

/// The rules of one side that look at a request, as far as facts go.
pub(super) struct Looking<'p> {
    pub(super) policy: &'p Policy,
    pub(super) route: Option<RouteId>,
    pub(super) conditions: Vec<&'p Conditions>,
    pub(super) periods: Vec<Period>,
}

impl Looking<'_> {
    fn resource(&self) -> Option<&Resource> {
        self.policy.resources.get(self.route?.index())
    }

    /// The networks that something looks at.
    fn networks(&self) -> BTreeSet<NetworkId> {
        let mut networks: BTreeSet<NetworkId> =
            self.conditions.iter().filter_map(|when| when.networks.as_deref()).flatten().copied().collect();
        if let Some(resource) = self.resource().filter(|resource| !resource.shadow) {
            networks.extend(resource.allow.iter().chain(&resource.deny));
        }
        networks
    }
}

impl Addresses {
    /// One address for each set of networks that the rules tell apart, and the unknown one. `joint` is every pair of sets of
    /// both policies.
    pub(super) fn new(sides: [&Looking<'_>; 2], joint: &[(NetworkSetId, NetworkSetId, IpAddr)]) -> Self {
        let looked = sides.map(Looking::networks);
        if looked.iter().all(BTreeSet::is_empty) {
            let client = joint.first().map_or(ClientAddress::Unknown, |(_, _, at)| ClientAddress::known(*at));
            let held = Some(Default::default());
            return Self { looked, classes: vec![AddressClass { client, held, shown: String::new() }] };
        }
        let policies = sides.map(|side| side.policy);
        let mut classes = Vec::new();
        let mut seen = HashSet::new();
        for (before, after, address) in joint {
            let held = [among(policies[0], *before, &looked[0]), among(policies[1], *after, &looked[1])];
            if !seen.insert(held.clone()) {
                continue;
            }
            let names = |policy: &Policy, networks: &[NetworkId]| -> BTreeSet<String> {
                let facts = networks.iter().filter_map(|network| policy.network_facts.get(network.0 as usize));
                facts.map(|facts| facts.rule.name.to_string()).collect()
            };
            let shown = side_by_side(&names(policies[0], &held[0]), &names(policies[1], &held[1]));
            let shown = if shown.is_empty() { "elsewhere".to_owned() } else { shown };
            classes.push(AddressClass { client: ClientAddress::known(*address), held: Some(held), shown });
        }
        let shown = "an unknown address".to_owned();
        classes.push(AddressClass { client: ClientAddress::Unknown, held: None, shown });
        Self { looked, classes }
    }

    /// The class of a client.
    pub(super) fn class_of(&self, policies: [&Policy; 2], client: ClientAddress) -> Option<usize> {
        if self.classes.len() == 1 {
            return Some(0);
        }
        let held = client.ip().map(|address| {
            let address = address.to_canonical();
            let set = |policy: &Policy| policy.networks.lookup(address);
            [
                among(policies[0], set(policies[0]), &self.looked[0]),
                among(policies[1], set(policies[1]), &self.looked[1]),
            ]
        });
        self.classes.iter().position(|class| class.held == held)
    }
}

/// The networks of a set that are looked at.
fn among(policy: &Policy, set: NetworkSetId, looked: &BTreeSet<NetworkId>) -> Vec<NetworkId> {
    policy.networks.members(set).all().into_iter().filter(|network| looked.contains(network)).collect()
}

/// `office, partner (after only)`
fn side_by_side(before: &BTreeSet<String>, after: &BTreeSet<String>) -> String {
    let all: BTreeSet<&String> = before.union(after).collect();
    let shown = all.into_iter().map(|name| match (before.contains(name), after.contains(name)) {
        (true, false) => format!("{name} (before)"),
        (false, true) => format!("{name} (after)"),
        _ => name.clone(),
    });
    shown.collect::<Vec<_>>().join(" and ")
}

/// Every country that a rule names, one that none names, and the unknown one.
pub(super) fn countries(sides: [&Looking<'_>; 2]) -> Vec<Option<CountryCode>> {
    let conditions = sides.iter().flat_map(|side| &side.conditions);
    let named: BTreeSet<CountryCode> =
        conditions.filter_map(|when| when.countries.as_deref()).flatten().copied().collect();
    if named.is_empty() {
        return vec![None];
    }
    let letters = || 'A'..='Z';
    let other = letters()
        .rev()
        .flat_map(|first| letters().rev().map(move |second| format!("{first}{second}")))
        .filter_map(|text| CountryCode::parse(&text))
        .find(|code| !named.contains(code));
    named.iter().copied().map(Some).chain(other.map(Some)).chain([None]).collect()
}

/// Compliant, not compliant, unknown; or only unknown where nobody asks.
pub(super) fn devices(sides: [&Looking<'_>; 2]) -> Vec<Option<bool>> {
    let asked = sides.iter().any(|side| side.conditions.iter().any(|when| when.compliant_device));
    if asked { vec![Some(true), Some(false), None] } else { vec![None] }
}

/// One strength of authentication for each set of answers to "is it a fresh mfa?" and "is it recent?", as far as the rules ask.
pub(super) fn strengths(sides: [&Looking<'_>; 2], now: Timestamp) -> Vec<Strength> {
    let asks = |side: &&Looking<'_>| {
        side.policy.risk.enforce
            || side.conditions.iter().any(|when| when.assurance_mfa)
            || side.resource().is_some_and(|resource| resource.proof.mfa)
    };
    let mfa = sides.iter().any(asks);
    let of_grants = sides.iter().flat_map(|side| side.conditions.iter().filter_map(|when| when.max_age_s));
    let of_routes = sides.iter().filter_map(|side| side.resource()?.proof.max_age_s);
    let borders: BTreeSet<u64> = of_grants.chain(of_routes).collect();
    let borders: Vec<u64> = borders.into_iter().collect();
    let mut weak = Strength { within: vec![false; borders.len()], borders: borders.clone(), ..Strength::default() };
    weak.shown = weak.text(mfa);
    let mut classes = vec![weak];
    if !mfa && borders.is_empty() {
        return classes;
    }
    let rules = sides.map(|side| &side.policy.step_up);
    let number = |age: u64| i64::try_from(age).unwrap_or(i64::MAX);
    // On each border, and beyond it.
    let edges = borders.iter().copied().chain(rules.iter().filter(|_| mfa).map(|rule| rule.max_age_s));
    let ages: BTreeSet<i64> =
        std::iter::once(0).chain(edges.flat_map(|age| [number(age), number(age).saturating_add(1)])).collect();
    let tokens = |pick: fn(&StepUpRules) -> &[Arc<str>]| rules.map(pick).into_iter().flatten();
    let by_acr = tokens(|rule| &rule.acr).map(|acr| (Some(Box::from(&**acr)), Vec::new()));
    let by_amr = tokens(|rule| &rule.amr).map(|amr| (None, vec![Box::from(&**amr)]));
    let strong = by_acr.chain(by_amr).filter(|_| mfa);
    for (acr, amr) in strong.chain([(None, Vec::new())]) {
        for age_s in &ages {
            let (acr, amr, borders) = (acr.clone(), amr.clone(), borders.clone());
            let mut strength = Strength { acr, amr, borders, age_s: Some(*age_s), ..Strength::default() };
            let mut who = somebody(PrincipalKind::User);
            strength.put_on(&mut who, now);
            (strength.fresh, strength.within) = answers(&strength.borders, rules, &who, now);
            if classes.iter().any(|known| known.fresh == strength.fresh && known.within == strength.within) {
                continue;
            }
            strength.shown = strength.text(mfa);
            classes.push(strength);
        }
    }
    classes
}

/// Whether it is a fresh mfa, before and after, and whether it is within each border of age.
fn answers(borders: &[u64], rules: [&StepUpRules; 2], who: &Principal, now: Timestamp) -> ([bool; 2], Vec<bool>) {
    let within = borders.iter().map(|most| is_recent(who, *most, now)).collect();
    (rules.map(|rule| mfa_is_fresh(who, rule, now)), within)
}

/// The class of a principal's authentication.
pub(super) fn strength_of(
    classes: &[Strength],
    policies: [&Policy; 2],
    who: &Principal,
    now: Timestamp,
) -> Option<usize> {
    let first = classes.first().filter(|_| classes.len() > 1);
    let Some(first) = first else { return Some(0) };
    let asks_mfa = classes.iter().any(|class| class.fresh != [false; 2]);
    let (fresh, within) = answers(&first.borders, policies.map(|policy| &policy.step_up), who, now);
    let fresh = if asks_mfa { fresh } else { [false; 2] };
    classes.iter().position(|class| class.fresh == fresh && class.within == within)
}

impl Strength {
    /// In words. `mfa`: some rule asks for that.
    fn text(&self, mfa: bool) -> String {
        let strong = match self.fresh {
            _ if !mfa => String::new(),
            [false, false] => "without a fresh mfa".to_owned(),
            [true, true] => "with a fresh mfa".to_owned(),
            [before, _] => {
                let token = self.acr.as_deref().or(self.amr.first().map(|amr| &**amr)).unwrap_or_default();
                let side = if before { "before" } else { "after" };
                format!("with {token} of {} s ago, a fresh mfa only {side}", self.age_s.unwrap_or_default())
            }
        };
        let border = |wanted: bool| self.borders.iter().zip(&self.within).filter(move |(_, within)| **within == wanted);
        let most = border(true).next().map(|(most, _)| format!("authenticated at most {} ago", span_text(*most)));
        let least = border(false)
            .next_back()
            .map(|(least, _)| format!("authenticated more than {} ago, or nobody knows when", span_text(*least)));
        let parts = [strong].into_iter().filter(|text| !text.is_empty()).chain(most).chain(least);
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Makes the principal one that authenticated so.
    pub(super) fn put_on(&self, who: &mut Principal, now: Timestamp) {
        who.authentication.acr.clone_from(&self.acr);
        who.authentication.amr.clone_from(&self.amr);
        let at = self.age_s.and_then(|age| now.checked_sub(SignedDuration::from_secs(age)).ok());
        who.authentication.auth_time = at;
    }
}

/// One assessment for each pair of bands, with evidence and without.
pub(super) fn risks(sides: [&Looking<'_>; 2]) -> Vec<RiskClass> {
    let asked =
        sides.iter().any(|side| side.policy.risk.enforce || side.conditions.iter().any(|when| when.max_risk.is_some()));
    let none = RiskClass { levels: [RiskLevel::Low; 2], assessment: RiskAssessment::NONE, shown: "low".to_owned() };
    if !asked {
        return vec![none];
    }
    let thresholds = sides.iter().flat_map(|side| side.policy.risk_thresholds());
    let borders: BTreeSet<i32> = thresholds.flat_map(|each| [each.step_up_mnats, each.deny_mnats]).collect();
    let lowest = borders.first().map_or(0, |border| border.saturating_sub(1));
    let policies = sides.map(|side| side.policy);
    let mut classes: Vec<RiskClass> = Vec::new();
    for mnats in std::iter::once(lowest).chain(borders) {
        let assessment = RiskAssessment { mnats, ..RiskAssessment::NONE };
        let levels = levels(policies, sides.map(|side| side.route), &assessment);
        if classes.iter().any(|known| known.levels == levels) {
            continue;
        }
        let shown = match levels {
            [before, after] if before == after => before.as_str().to_owned(),
            [before, after] => format!("{} (before) or {} (after)", before.as_str(), after.as_str()),
        };
        classes.push(RiskClass { levels, assessment, shown });
    }
    let evident = |class: &RiskClass| RiskClass {
        levels: class.levels,
        assessment: RiskAssessment {
            signals: vec![RiskSignal {
                name: "evidence",
                family: SignalFamily::Evidence,
                mnats: RiskAssessment::EVIDENCE_MNATS,
                value: String::new(),
                reason: "evidence of an attack".to_owned(),
            }],
            ..class.assessment.clone()
        },
        shown: format!("{} with evidence", class.shown),
    };
    classes.into_iter().flat_map(|class| [evident(&class), class]).collect()
}

fn levels(policies: [&Policy; 2], routes: [Option<RouteId>; 2], assessment: &RiskAssessment) -> [RiskLevel; 2] {
    let level = |policy: &Policy, route: Option<RouteId>| match route {
        Some(route) => policy.risk_level(route, assessment).0,
        None => RiskLevel::Low,
    };
    [level(policies[0], routes[0]), level(policies[1], routes[1])]
}

/// The class of an assessment. One that an operator states has none.
pub(super) fn risk_of(
    classes: &[RiskClass],
    policies: [&Policy; 2],
    routes: [Option<RouteId>; 2],
    assessment: &RiskAssessment,
) -> Option<usize> {
    if classes.len() == 1 {
        return Some(0);
    }
    let levels = levels(policies, routes, assessment);
    let same =
        |class: &RiskClass| class.levels == levels && class.assessment.has_evidence() == assessment.has_evidence();
    classes.iter().position(same).filter(|_| assessment.stated.is_none())
}

/// The class of a country.
pub(super) fn country_of(classes: &[Option<CountryCode>], country: Option<CountryCode>) -> Option<usize> {
    if classes.len() == 1 {
        return Some(0);
    }
    // The last but one is any country that no rule names.
    classes.iter().position(|class| *class == country).or(classes.len().checked_sub(2))
}

/// The times that periods and hours cut, and what is asked about each.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// The borders of periods, in order.
    borders: Vec<Timestamp>,
    hours: Vec<Hours>,
    pub(super) classes: Vec<TimeClass>,
}

/// Beyond the borders of all periods times are looked at for this long: zones keep their rules, and after ten years every
/// weekday has met every rule.
const BEYOND: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);
/// The most changes of offset of one zone that are looked at.
const MOST_TRANSITIONS: usize = 2_000;

impl Times {
    /// One time for each combination of periods and hours that occurs from ten years before the first border, or now, until ten
    /// years after the last.
    pub(super) fn new(sides: [&Looking<'_>; 2], now: Timestamp) -> Self {
        let periods = sides.iter().flat_map(|side| &side.periods);
        let borders: BTreeSet<Timestamp> =
            periods.flat_map(|period| [period.starts, period.expires]).flatten().collect();
        let mut hours: BTreeMap<&str, &Hours> = BTreeMap::new();
        for side in sides {
            for each in side.conditions.iter().filter_map(|when| when.hours.as_deref()) {
                hours.insert(&each.text, each);
            }
        }
        let mut times = Self {
            borders: borders.into_iter().collect(),
            hours: hours.into_values().cloned().collect(),
            classes: Vec::new(),
        };
        times.fill(now);
        times
    }

    fn fill(&mut self, now: Timestamp) {
        let first = self.borders.first().map_or(now, |border| (*border).min(now));
        let last = self.borders.last().map_or(now, |border| (*border).max(now));
        let begin = first.saturating_sub(BEYOND).unwrap_or(Timestamp::MIN);
        let end = last.saturating_add(BEYOND).unwrap_or(Timestamp::MAX);
        let mut edges = vec![begin];
        edges.extend(&self.borders);
        edges.push(end);
        for (span, (from, until)) in edges.iter().zip(edges.iter().skip(1)).enumerate() {
            let mut candidates = self.candidates(*from, *until);
            candidates.extend(Some(now).filter(|now| from <= now && now < until));
            // A time that is still to come says more than one that is past.
            candidates.sort_unstable_by_key(|at| (*at < now, *at));
            let mut seen: HashSet<Vec<bool>> = HashSet::new();
            for at in candidates {
                let within: Vec<bool> = self.hours.iter().map(|hours| hours.hold(at)).collect();
                if seen.insert(within.clone()) {
                    self.classes.push(TimeClass { at, span, within });
                }
            }
        }
    }

    /// Times within a span: one at least of each combination of hours that occurs in it.
    fn candidates(&self, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let mut found = vec![from];
        if self.hours.is_empty() {
            return found;
        }
        let zones: Vec<&TimeZone> = self.hours.iter().map(|hours| &hours.zone).collect();
        let mut regimes: BTreeSet<Timestamp> = BTreeSet::from([from]);
        for zone in &zones {
            let transitions = zone.following(from).take(MOST_TRANSITIONS).map(|transition| transition.timestamp());
            regimes.extend(transitions.take_while(|at| *at < until));
        }
        let starts: Vec<Timestamp> = regimes.into_iter().collect();
        let mut whole_weeks: HashSet<Vec<Offset>> = HashSet::new();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(until);
            let week = start.saturating_add(SignedDuration::from_hours(8 * 24)).unwrap_or(Timestamp::MAX);
            let offsets: Vec<Offset> = zones.iter().map(|zone| zone.to_offset(*start)).collect();
            if whole_weeks.contains(&offsets) {
                continue;
            }
            if week <= end {
                whole_weeks.insert(offsets);
            }
            found.push(*start);
            let end = end.min(week);
            for hours in &self.hours {
                found.extend(edges_of(hours, *start).into_iter().filter(|at| start < at && *at < end));
            }
        }
        found
    }

    /// The class of a time; `None` for one that is further away than is looked.
    pub(super) fn class_of(&self, at: Timestamp) -> Option<usize> {
        let span = self.borders.partition_point(|border| *border <= at);
        let within: Vec<bool> = self.hours.iter().map(|hours| hours.hold(at)).collect();
        self.classes.iter().position(|class| class.span == span && class.within == within)
    }

    /// In words, for some of the classes; `None` for all of them.
    pub(super) fn shown(&self, classes: &[u16]) -> Option<Vec<String>> {
        if classes.len() == self.classes.len() {
            return None;
        }
        // By what the hours say, the spans in which they say it.
        let mut spans: BTreeMap<&[bool], Vec<usize>> = BTreeMap::new();
        for class in classes.iter().filter_map(|index| self.classes.get(usize::from(*index))) {
            spans.entry(&class.within).or_default().push(class.span);
        }
        let mut shown = Vec::new();
        for (within, spans) in spans {
            let hours: Vec<String> = (self.hours.iter().zip(within))
                .map(|(hours, holds)| format!("{} {}", if *holds { "within" } else { "outside" }, hours.text))
                .collect();
            for (first, last) in runs(&spans) {
                let from = first.checked_sub(1).and_then(|border| self.borders.get(border));
                let period = match (from, self.borders.get(last)) {
                    (Some(from), Some(until)) => format!("from {from} until {until}"),
                    (Some(from), None) => format!("from {from} on"),
                    (None, Some(until)) => format!("until {until}"),
                    (None, None) => String::new(),
                };
                let parts = [period].into_iter().filter(|period| !period.is_empty()).chain(hours.iter().cloned());
                shown.push(parts.collect::<Vec<_>>().join(", "));
            }
        }
        Some(shown)
    }
}

/// Consecutive numbers as their first and last.
fn runs(sorted: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in sorted {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}

/// Every moment of the nine days around which the hours begin or end, by the zone's clock; a moment that the clock shows
/// twice, twice.
fn edges_of(hours: &Hours, start: Timestamp) -> Vec<Timestamp> {
    let today = hours.zone.to_datetime(start).date();
    let mut edges = Vec::new();
    for day in -1..=9i64 {
        let Ok(date) = today.checked_add(day.days()) else { continue };
        for minute in [hours.from_minute, hours.to_minute] {
            // Midnight at the end of a day is the beginning of the next one.
            let (date, minute) =
                if minute >= 1_440 { (date.tomorrow().unwrap_or(date), minute - 1_440) } else { (date, minute) };
            let (Ok(hour), Ok(minute)) = (i8::try_from(minute / 60), i8::try_from(minute % 60)) else { continue };
            let shown = hours.zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
            edges.extend([shown.earlier(), shown.later()].into_iter().flatten());
        }
    }
    edges
}
