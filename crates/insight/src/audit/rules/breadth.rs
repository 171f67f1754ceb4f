//! LP05, LP13, LP14 and LP15: grants, routes and networks that are wider than they need be.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use portcullis_policy::prefix::in_canonical_form;
use portcullis_policy::{AuthenticationRule, Mode, ScopeDraft, WrittenAction};

use super::{Findings, Said, counted, listed};
use crate::audit::edit::Edit;
use crate::audit::finding::{Evidence, Kind, Severity, shown};
use crate::audit::model::{Unit, is_unconditional};

/// A grant covers so many times the routes on which it is used before that is said.
const TIMES: usize = 4;
/// Larger prefixes are more than one's own.
const WIDEST_V4: u8 = 16;
const WIDEST_V6: u8 = 32;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    wildcards(findings);
    spelled_out(findings);
    scopes(findings);
    public_routes(findings);
    let allowing = allowing(findings);
    broad_prefixes(findings, &allowing);
    unused_prefixes(findings, &allowing);
}

/// Methods that write, of which so many on every path are as good as all.
const WRITING: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
const MANY: usize = 3;

/// Every path, with most of the methods that write by name.
fn spelled_out(findings: &mut Findings<'_, '_>) {
    let (draft, model) = (findings.input.draft, findings.model);
    for role in &draft.roles {
        for (permission, written) in role.permissions.iter().enumerate() {
            for (action, text) in written.actions.iter().enumerate() {
                let parsed = WrittenAction::parse(&text.value);
                let is_wide = parsed.is_some_and(|parsed| {
                    parsed.pattern() == "/**"
                        && WRITING.iter().filter(|method| writes(&parsed.methods, method)).count() >= MANY
                });
                let is_it = |unit: &Unit<'_>| {
                    (unit.role, unit.permission, unit.action) == (role.name.value.as_str(), permission, action)
                };
                let place = model.units.iter().position(is_it).filter(|_| is_wide);
                let Some(whom) = place.and_then(|place| held_by(findings, place)) else { continue };
                let said = Said {
                    permission: Some(&text.value),
                    about: &role.name.value,
                    place: findings.place("role", &role.name.value, text.at),
                    ..Said::plain(
                        Kind::WildcardGrant,
                        Severity::High,
                        format!(
                            "the role `{}` permits to write in most ways on every path, to {whom}",
                            role.name.value
                        ),
                        "name the paths that are needed",
                    )
                };
                findings.add(said);
            }
        }
    }
}

fn writes(methods: &[String], method: &str) -> bool {
    methods.iter().any(|each| each.as_str() == method)
}

/// Who holds a unit, in words; `None`: nobody does.
fn held_by(findings: &Findings<'_, '_>, unit: usize) -> Option<String> {
    let model = findings.model;
    let grants = model.grants_of.get(unit).filter(|grants| !grants.is_empty())?;
    if grants.iter().any(|grant| model.grants.get(*grant).is_some_and(|grant| grant.collective)) {
        return Some("everybody".to_owned());
    }
    let holders = grants.iter().flat_map(|grant| model.holders_of.get(*grant).into_iter().flatten());
    let holders: BTreeSet<&str> = holders.filter_map(|place| Some(model.holders.get(*place)?.name.as_str())).collect();
    Some(format!("{} ({})", counted(holders.len(), "principal", "principals"), listed(holders.iter().copied(), 3)))
}

/// `* /**`, to whomever; and every method on less.
fn wildcards(findings: &mut Findings<'_, '_>) {
    let edge = findings.edge(findings.input.usage.since()).ok();
    let model = findings.model;
    for (place, unit) in model.units.iter().enumerate() {
        let written = WrittenAction::parse(&unit.text);
        let everything = written.as_ref().is_some_and(WrittenAction::is_everything);
        let grants = model.grants_of.get(place).map_or(&[][..], Vec::as_slice);
        let any_method = unit.method.is_none();
        if grants.is_empty() || !any_method {
            continue;
        }
        // Which of all methods are needed is known once usage is.
        let used: Option<BTreeSet<&str>> =
            edge.map(|edge| grants.iter().flat_map(|grant| model.how_used(*grant, unit, edge).0).collect());
        // Without an edge nothing is narrower.
        let from = edge.unwrap_or(i64::MIN);
        let narrower = used
            .as_ref()
            .filter(|used| !used.is_empty() && !used.contains("*") && !findings.input.usage.is_crowded_since(from));
        let sure = grants.iter().flat_map(|grant| model.holders_of.get(*grant).into_iter().flatten());
        let sure = sure
            .filter_map(|place| model.holders.get(*place))
            .all(|holder| findings.input.usage.is_sure_of(&holder.name, from));
        let edits: Vec<Edit> = narrower
            .filter(|_| sure)
            .map(|used| Edit::NarrowMethods {
                role: unit.role.to_owned(),
                permission: unit.permission,
                action: unit.action,
                to: used.iter().map(|method| (*method).to_owned()).collect(),
            })
            .into_iter()
            .collect();
        let mut evidence = if edge.is_some() { findings.observed(None, None) } else { Evidence::default() };
        if let Some(used) = used.as_ref().filter(|used| !used.is_empty()) {
            evidence.facts.push(format!("methods that were used: {}", listed(used.iter().copied(), 9)));
        }
        if !unit.except.is_empty() {
            evidence.facts.push(format!("but for {}", listed(unit.except.iter().copied(), 5)));
        }
        let Some(who) = held_by(findings, place) else { continue };
        let (severity, where_to) = match (everything, unit.text.split_once(' ')) {
            (false, Some((_, pattern))) => (Severity::Medium, format!("`{pattern}`")),
            (true, _) | (false, None) => (Severity::High, "every path".to_owned()),
        };
        let said = Said {
            permission: Some(&unit.text),
            about: unit.role,
            place: findings.place("role", unit.role, unit.at),
            evidence,
            edits,
            ..Said::plain(
                Kind::WildcardGrant,
                severity,
                format!("the role `{}` permits every method on {where_to}, to {who}", unit.role),
                "name the methods and paths that are needed",
            )
        };
        findings.add(said);
    }
}

/// Assignments for many more routes than are used.
fn scopes(findings: &mut Findings<'_, '_>) {
    let Ok(edge) = findings.edge(findings.input.usage.since()) else { return };
    let model = findings.model;
    for (place, grant) in model.grants.iter().enumerate() {
        let Some(assignment) = grant.assignment else { continue };
        let covered: Vec<&str> = match &assignment.scope {
            ScopeDraft::All => {
                let routes = findings.input.draft.routes.iter().filter(|route| !route.reserved);
                routes.map(|route| route.name.value.as_str()).collect()
            }
            ScopeDraft::Routes(routes) => routes.iter().map(|route| route.value.as_str()).collect(),
        };
        let used: BTreeSet<&str> =
            model.units_of(place).flat_map(|(_, unit)| model.how_used(place, unit, edge).1).collect();
        if used.is_empty() || covered.len() <= TIMES * used.len() {
            continue;
        }
        let holders = model.holders_of.get(place).map_or(&[][..], Vec::as_slice);
        let holders: Vec<_> = holders.iter().filter_map(|place| model.holders.get(*place)).collect();
        let old = |holder: &&crate::audit::model::Holder| {
            let held = holder.held.iter().find(|held| held.grant == place);
            held.and_then(|held| model.granted_since(findings.input.history, holder, held, None))
                .is_some_and(|since| since <= edge)
        };
        let judged = !findings.input.usage.is_crowded_since(edge)
            && !grant.collective
            && holders.iter().all(|holder| findings.input.usage.is_sure_of(&holder.name, edge) && old(holder));
        let routes = used.iter().map(|route| (*route).to_owned()).collect();
        let edits = judged.then(|| Edit::NarrowScope { assignment: assignment.name.value.clone(), routes });
        let said = Said {
            permission: Some(grant.role),
            about: &assignment.name.value,
            place: findings.place("assignment", &assignment.name.value, assignment.name.at),
            evidence: findings.observed(None, None),
            edits: edits.into_iter().collect(),
            ..Said::plain(
                Kind::WildcardGrant,
                Severity::High,
                format!(
                    "the assignment `{}` is for {} and is used on {} ({})",
                    assignment.name.value,
                    counted(covered.len(), "route", "routes"),
                    used.len(),
                    listed(used.iter().copied(), 5)
                ),
                "name the routes that are used as its scope",
            )
        };
        findings.add(said);
    }
}

fn public_routes(findings: &mut Findings<'_, '_>) {
    let draft = findings.input.draft;
    let by_route: BTreeMap<&str, _> =
        draft.resources.iter().map(|resource| (resource.route.value.as_str(), resource)).collect();
    for route in &draft.routes {
        let name = route.name.value.as_str();
        let resource = by_route.get(name);
        if resource.is_some_and(|resource| resource.public.value) {
            continue;
        }
        let authentication = resource.map_or(AuthenticationRule::Required, |resource| resource.authentication);
        let networks = resource.is_some_and(|resource| !resource.allow.is_empty() && resource.mode == Mode::Enforce);
        let open = |to: &str| {
            findings.model.grants.iter().find_map(|grant| {
                let assignment = grant.assignment.filter(|_| grant.covers(name))?;
                let names = assignment.principals.iter().any(|principal| principal.value == to);
                let free = is_unconditional(assignment);
                let acts = findings.model.role_units.get(grant.role).is_some_and(|units| !units.is_empty());
                (names && free && acts).then_some(assignment)
            })
        };
        let at = resource.map_or(route.name.at, |resource| resource.route.at);
        let (message, change, assignment) = match authentication {
            AuthenticationRule::None => {
                let message = format!("the route `{name}` looks at no credentials: whoever reaches it may be let in");
                (message, "demand a credential, or write `public = true` in its [[resource]]", None)
            }
            AuthenticationRule::Optional if !networks && open("anyone").is_some() => {
                let message = format!("the route `{name}` lets in whoever has no credential");
                (message, "demand a credential, or write `public = true` in its [[resource]]", open("anyone"))
            }
            AuthenticationRule::Required | AuthenticationRule::Certificate | AuthenticationRule::Optional
                if !networks && (open("authenticated").is_some() || open("anyone").is_some()) =>
            {
                let message = format!("the route `{name}` lets in whoever has any credential");
                (
                    message,
                    "grant it to groups, or write `public = true` in its [[resource]] if that is meant",
                    open("authenticated").or_else(|| open("anyone")),
                )
            }
            AuthenticationRule::Required | AuthenticationRule::Certificate | AuthenticationRule::Optional => continue,
        };
        let place = match assignment {
            Some(assignment) => findings.place("assignment", &assignment.name.value, assignment.name.at),
            None => findings.place("resource", name, at),
        };
        let said =
            Said { permission: Some(name), place, ..Said::plain(Kind::PublicRoute, Severity::High, message, change) };
        findings.add(said);
    }
}

/// The networks that let somebody in, each with one place where it does.
fn allowing(findings: &Findings<'_, '_>) -> BTreeMap<String, String> {
    let draft = findings.input.draft;
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for resource in draft.resources.iter().filter(|resource| resource.mode == Mode::Enforce) {
        for name in &resource.allow {
            used.entry(name.value.clone())
                .or_insert_with(|| format!("the route `{}` lets it in", resource.route.value));
        }
    }
    for assignment in draft.assignments.iter().filter(|assignment| assignment.mode == Mode::Enforce) {
        for name in assignment.when.networks.iter().flatten() {
            used.entry(name.value.clone())
                .or_insert_with(|| format!("the assignment `{}` holds there", assignment.name.value));
        }
    }
    used
}

fn broad_prefixes(findings: &mut Findings<'_, '_>, allowing: &BTreeMap<String, String>) {
    for network in &findings.input.draft.networks {
        let Some(why) = allowing.get(&network.name.value) else { continue };
        for prefix in network.prefixes.iter().map(in_canonical_form) {
            let Some(what) = what_is_wrong_with(&prefix) else { continue };
            let text = prefix.to_string();
            let said = Said {
                permission: Some(&text),
                about: &network.name.value,
                place: findings.place("network", &network.name.value, network.name.at),
                ..Said::plain(
                    Kind::BroadCidr,
                    Severity::High,
                    format!("the network `{}` holds {prefix}, {what}: {why}", network.name.value),
                    "list the prefixes that are your own",
                )
            };
            findings.add(said);
        }
    }
}

/// Why a prefix has no place in a list of those who are let in.
fn what_is_wrong_with(prefix: &IpNet) -> Option<String> {
    let within = |bogons: &[(&'static str, &'static str)]| {
        let found = bogons.iter().find(|(text, _)| text.parse::<IpNet>().is_ok_and(|bogon| bogon.contains(prefix)));
        found.map(|(_, what)| (*what).to_owned())
    };
    match prefix {
        IpNet::V4(net) => within(BOGONS_V4).or_else(|| too_wide_v4(*net)),
        IpNet::V6(net) => within(BOGONS_V6).or_else(|| too_wide_v6(*net)),
    }
}

fn too_wide_v4(net: Ipv4Net) -> Option<String> {
    (net.prefix_len() < WIDEST_V4).then(|| format!("which is larger than a /{WIDEST_V4}"))
}

fn too_wide_v6(net: Ipv6Net) -> Option<String> {
    (net.prefix_len() < WIDEST_V6).then(|| format!("which is larger than a /{WIDEST_V6}"))
}

/// Where nobody comes from over a network (RFC 6890 and its registries). Private addresses and those of the machine itself are
/// not among them: gateways serve networks of their own.
const BOGONS_V4: &[(&str, &str)] = &[
    ("0.0.0.0/8", "which is nobody's (\"this network\", RFC 791)"),
    ("169.254.0.0/16", "which is link-local (RFC 3927)"),
    ("192.0.0.0/24", "which is reserved for protocols (RFC 6890)"),
    ("192.0.2.0/24", "which is for documentation (RFC 5737)"),
    ("198.18.0.0/15", "which is for benchmarks (RFC 2544)"),
    ("198.51.100.0/24", "which is for documentation (RFC 5737)"),
    ("203.0.113.0/24", "which is for documentation (RFC 5737)"),
    ("224.0.0.0/4", "which is multicast (RFC 5771)"),
    ("240.0.0.0/4", "which is reserved (RFC 1112)"),
];
const BOGONS_V6: &[(&str, &str)] = &[
    ("::/128", "which is the unspecified address (RFC 4291)"),
    ("100::/64", "which is discarded (RFC 6666)"),
    ("2001:db8::/32", "which is for documentation (RFC 3849)"),
    ("3fff::/20", "which is for documentation (RFC 9637)"),
    ("fe80::/10", "which is link-local (RFC 4291)"),
    ("ff00::/8", "which is multicast (RFC 4291)"),
];

fn unused_prefixes(findings: &mut Findings<'_, '_>, allowing: &BTreeMap<String, String>) {
    let edge = match findings.edge(findings.input.usage.addresses_since()) {
        Ok(edge) => edge,
        Err(why) => return findings.skip(&[Kind::UnusedCidr], &why),
    };
    let seen: Vec<(IpNet, u32)> = findings.input.usage.addresses().map(|(net, seen)| (*net, seen.last)).collect();
    let recent: Vec<IpNet> = seen.iter().filter(|(_, last)| i64::from(*last) >= edge).map(|(net, _)| *net).collect();
    // Looked up by the address that they begin with, so that a prefix need not be held against all of them.
    let starts: BTreeSet<std::net::IpAddr> = recent.iter().map(IpNet::network).collect();
    let wide: HashSet<IpNet> = recent.iter().filter(|net| !matches!(net.prefix_len(), 32 | 64)).copied().collect();
    let is_used = |prefix: &IpNet| {
        let canonical = in_canonical_form(prefix);
        let inside = starts.range(canonical.network()..=canonical.broadcast()).next().is_some();
        // A longer prefix than what is counted is used as soon as its surroundings are.
        inside || wide.iter().any(|net| net.contains(&canonical)) || in_a_64(&canonical, &starts)
    };
    let refusing = refusing(findings);
    for network in findings.input.draft.networks.iter().filter(|network| !network.unknown) {
        let name = &network.name.value;
        if !allowing.contains_key(name) {
            continue;
        }
        let unused: Vec<&IpNet> = network.prefixes.iter().filter(|prefix| !is_used(prefix)).collect();
        // A network without prefixes lets nobody in, and one that denies somewhere would deny less.
        let may_go = unused.len() < network.prefixes.len() && !refusing.contains(name.as_str());
        for prefix in &unused {
            let canonical = in_canonical_form(prefix);
            let text = prefix.to_string();
            let last = seen.iter().filter(|(net, _)| canonical.contains(net)).map(|(_, last)| *last).max();
            let days = findings.days();
            let said = Said {
                permission: Some(&text),
                about: &network.name.value,
                place: findings.place("network", &network.name.value, network.name.at),
                evidence: Evidence {
                    last_used: last.map(|last| shown(i64::from(last))),
                    observed_since: findings.input.usage.addresses_since().map(shown),
                    ..Evidence::default()
                },
                edits: may_go
                    .then(|| Edit::DropPrefix { network: name.clone(), prefix: text.clone() })
                    .into_iter()
                    .collect(),
                ..Said::plain(
                    Kind::UnusedCidr,
                    Severity::Low,
                    format!("nobody was let in from {prefix} of the network `{}` for {days} days", network.name.value),
                    if may_go { "take it out of the network" } else { "look whether the network is still needed" },
                )
            };
            findings.add(said);
        }
    }
}

/// The networks that keep somebody out.
fn refusing<'d>(findings: &Findings<'d, '_>) -> BTreeSet<&'d str> {
    let draft = findings.input.draft;
    let resources = draft.resources.iter().flat_map(|resource| &resource.deny);
    let denies = draft.denies.iter().flat_map(|deny| deny.when.networks.iter().flatten());
    resources.chain(denies).map(|name| name.value.as_str()).collect()
}

/// Whether an IPv6 prefix longer than a /64 lies in a /64 that somebody came from.
fn in_a_64(prefix: &IpNet, starts: &BTreeSet<std::net::IpAddr>) -> bool {
    match prefix {
        IpNet::V4(_) => false,
        IpNet::V6(net) if net.prefix_len() > 64 => {
            let start = std::net::Ipv6Addr::from_bits(net.network().to_bits() >> 64 << 64);
            starts.contains(&start.into())
        }
        IpNet::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_too_wide_or_a_bogon_or_fine() {
        let check = |prefix: &str, expected: Option<&str>| {
            let found = what_is_wrong_with(&prefix.parse().unwrap());
            assert_eq!(found.is_some(), expected.is_some(), "{prefix} {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{prefix}");
        };
        check("198.18.7.0/24", Some("benchmarks"));
        check("5.0.0.0/15", Some("larger than a /16"));
        check("5.0.0.0/16", None);
        check("0.0.0.0/0", Some("larger"));
        check("0.1.2.0/24", Some("nobody's"));
        check("10.0.0.0/16", None);
        check("10.0.0.0/8", Some("larger"));
        check("127.0.0.0/24", None);
        check("2a00:1450::/31", Some("larger than a /32"));
        check("2a00:1450::/32", None);
        check("2001:db8:7::/48", Some("documentation"));
        check("::/0", Some("larger"));
        check("fe80::1/128", Some("link-local"));
    }
}
