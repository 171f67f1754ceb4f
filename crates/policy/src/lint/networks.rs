//! Allowlists with prefixes so large that they are hardly a list of one's own addresses.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::draft::*;
use crate::lint::View;
use crate::lint::findings::Findings;
use crate::prefix::in_canonical_form;

/// A larger IPv4 prefix holds more than 65,536 addresses: more than most organisations were ever given.
const WIDEST_V4: u8 = 16;
/// A larger IPv6 prefix is more than what a whole provider is given (RIPE-738 section 5.1.1: a /32).
const WIDEST_V6: u8 = 32;
/// Prefixes that are named for each network; the rest is counted.
const MOST_NAMED: usize = 10;
/// Places of use that are shown.
const MOST_USES: usize = 3;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let mut wide: BTreeMap<&str, (&NetworkDraft, Vec<IpNet>)> = BTreeMap::new();
    for network in view.draft.networks.iter().filter(|network| !network.unknown) {
        let prefixes = wide_prefixes(network);
        if !prefixes.is_empty() {
            wide.insert(&network.name.value, (network, prefixes));
        }
    }
    if wide.is_empty() {
        return;
    }
    let uses = uses(view);
    for (name, (network, prefixes)) in wide {
        let Some(uses) = uses.get(name) else { continue };
        report(network, &prefixes, uses, findings);
    }
}

/// The prefixes of a network that are too large, the largest first.
fn wide_prefixes(network: &NetworkDraft) -> Vec<IpNet> {
    let too_large = |prefix: &IpNet| match prefix {
        IpNet::V4(net) => net.prefix_len() < WIDEST_V4,
        IpNet::V6(net) => net.prefix_len() < WIDEST_V6,
    };
    let mut prefixes: Vec<IpNet> = network.prefixes.iter().map(in_canonical_form).filter(too_large).collect();
    prefixes.sort_unstable_by_key(|prefix| (prefix.prefix_len(), *prefix));
    prefixes.dedup();
    prefixes
}

/// By network: where addresses in it are let in, by resources first.
fn uses<'a>(view: &View<'a>) -> BTreeMap<&'a str, Vec<(Position, String)>> {
    let mut uses: BTreeMap<&str, Vec<(Position, String)>> = BTreeMap::new();
    let mut resources: Vec<&ResourceDraft> = view.draft.resources.iter().collect();
    resources.sort_by(|a, b| a.route.value.cmp(&b.route.value));
    for resource in resources.into_iter().filter(|resource| resource.mode == Mode::Enforce) {
        for name in &resource.allow {
            let note = format!("the route `{}` lets it in", resource.route.value);
            uses.entry(&name.value).or_default().push((name.at, note));
        }
    }
    for assignment in view.assignments.iter().filter(|assignment| assignment.mode == Mode::Enforce) {
        for name in assignment.when.networks.iter().flatten() {
            let note = format!("the assignment `{}` holds there", assignment.name.value);
            uses.entry(&name.value).or_default().push((name.at, note));
        }
    }
    uses
}

fn report(network: &NetworkDraft, prefixes: &[IpNet], uses: &[(Position, String)], findings: &mut Findings) {
    let related: Vec<(Position, String)> = uses.iter().take(MOST_USES).cloned().collect();
    let used = match uses {
        [(_, only)] => only.clone(),
        [(_, first), more @ ..] => format!("{first}, and {} more use it", more.len()),
        [] => return,
    };
    let name = &network.name;
    let help = "list the prefixes that are your own; a very large one lets strangers in";
    for prefix in prefixes.iter().take(MOST_NAMED) {
        let widest = if matches!(prefix, IpNet::V4(_)) { WIDEST_V4 } else { WIDEST_V6 };
        let message = format!("the network `{}` holds {prefix}, which is larger than a /{widest}: {used}", name.value);
        findings.add_related(ProblemKind::WideNetwork, name.at, message, help, related.clone());
    }
    let more = prefixes.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        let message = format!("the network `{}` holds {more} more prefixes that are as large: {used}", name.value);
        findings.add_related(ProblemKind::WideNetwork, name.at, message, help, related);
    }
}
