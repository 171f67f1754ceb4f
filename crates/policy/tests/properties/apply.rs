//! What a suggestion says, done to the facts themselves: through what a caller could really change, not through the
//! engine's own way of supposing it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_policy::*;

use crate::oracle::{is_within, network_has};
use crate::world::{Facts, Identity, bare_principal, stated_risk};

/// Every request that the needs stand for: each address of a network, each principal that some credential may prove.
pub(crate) fn apply(draft: &PolicyDraft, facts: &Facts, needs: &[&str]) -> Vec<Facts> {
    let mut variants = vec![facts.clone()];
    // A credential first: the other needs then speak of whoever holds it. Then the time, from which ages are counted.
    let mut ordered: Vec<&str> = needs.to_vec();
    ordered.sort_by_key(|need| (!need.starts_with("credential:"), !need.starts_with("hours:")));
    for need in ordered {
        let (kind, value) = need.split_once(':').unwrap();
        variants = variants.into_iter().flat_map(|facts| apply_one(draft, facts, kind, value)).collect();
    }
    variants
}

fn apply_one(draft: &PolicyDraft, mut facts: Facts, kind: &str, value: &str) -> Vec<Facts> {
    match kind {
        "credential" => {
            let taken = |who: &Principal| value == "any" || who.kind == PrincipalKind::Certificate;
            return someone(draft)
                .filter(taken)
                .map(|who| Facts { identity: Identity::Verified(who), ..facts.clone() })
                .collect();
        }
        "network" => {
            let places = addresses_of(draft, value);
            assert!(!places.is_empty(), "network {value} has no address to come from");
            return places.into_iter().map(|at| Facts { client: ClientAddress::known(at), ..facts.clone() }).collect();
        }
        "country" => facts.country = Some(CountryCode::parse(value).unwrap()),
        "hours" => facts.now = first_within(draft, value, facts.now),
        "risk" => facts.risk = stated_risk(RiskLevel::parse(value).unwrap()),
        "role" => change_principal(&mut facts, |who| who.roles.push(value.into())),
        "group" => {
            change_principal(&mut facts, |who| who.groups.push(GroupClaim { name: value.into(), trusted: true }))
        }
        "device" => {
            change_principal(&mut facts, |who| {
                who.device = Some(Device { id: "laptop".into(), compliant: Some(true) })
            });
        }
        "assurance" => {
            let now = facts.now;
            change_principal(&mut facts, |who| {
                who.authentication.stated_mfa = true;
                who.authentication.auth_time = Some(now);
            });
        }
        // As long ago as may be.
        "authentication" => {
            let unit = |name| value.strip_suffix(name).and_then(|number| number.parse::<i64>().ok());
            let seconds = unit("h").map(|hours| hours * 3_600).unwrap();
            let at = facts.now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
            change_principal(&mut facts, |who| who.authentication.auth_time = Some(at));
        }
        "activation" => {
            let until = facts.now.checked_add(jiff::SignedDuration::from_hours(10_000)).unwrap();
            facts.activations.push(Activation::of(value, until));
        }
        other => panic!("no need of the contract: {other}:{value}"),
    }
    vec![facts]
}

/// Without a verified principal there is nobody to change, and the change has no effect.
fn change_principal(facts: &mut Facts, change: impl FnOnce(&mut Principal)) {
    if let Identity::Verified(who) = &mut facts.identity {
        change(who);
    }
}

/// Every kind of principal, named by the policy or not, without groups, and in every one of them at once.
fn someone(draft: &PolicyDraft) -> impl Iterator<Item = Principal> {
    let groups: Vec<GroupClaim> = (draft.groups.iter().map(|group| group.name.value.as_str()).chain(["ext"]))
        .map(|name| GroupClaim { name: name.into(), trusted: true })
        .collect();
    let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
    kinds.into_iter().flat_map(|kind| ["u0", "u1", "c0", "stranger"].map(|id| bare_principal(kind, id))).flat_map(
        move |who| {
            let in_groups = Principal { groups: groups.clone(), ..who.clone() };
            [who, in_groups]
        },
    )
}

/// Addresses of a network: one at least of every range that the prefixes of all networks cut it into.
fn addresses_of(draft: &PolicyDraft, name: &str) -> Vec<IpAddr> {
    let network = draft.networks.iter().find(|network| network.name.value == name).unwrap();
    let edges: BTreeSet<IpAddr> = draft.networks.iter().flat_map(|each| &each.prefixes).flat_map(edges).collect();
    edges.into_iter().filter(|address| network_has(network, *address)).collect()
}

/// First and last address of a prefix, and the ones beside them.
fn edges(prefix: &IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            let beside = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
            beside.into_iter().flatten().map(|bits| IpAddr::V4(bits.into())).collect()
        }
        IpNet::V6(net) => {
            let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
            let beside = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
            beside.into_iter().flatten().map(|bits| IpAddr::V6(bits.into())).collect()
        }
    }
}

/// The first second from now on that is within the hours, found minute by minute.
fn first_within(draft: &PolicyDraft, text: &str, now: Timestamp) -> Timestamp {
    let all = (draft.assignments.iter()).filter_map(|each| each.when.hours.as_ref());
    let hours = &all.map(|hours| &hours.value).find(|hours| &*hours.text == text).unwrap();
    if is_within(hours, now) {
        return now;
    }
    let minute = now.as_second().div_euclid(60) + 1;
    (minute..minute + 9 * 24 * 60)
        .map(|minute| Timestamp::from_second(minute * 60).unwrap())
        .find(|at| is_within(hours, *at))
        .unwrap()
}
