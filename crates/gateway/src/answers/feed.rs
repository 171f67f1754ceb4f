//! The networks that keep themselves current: each of them, and which of all networks an address is in.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_admin::api::{Feed, FeedError, HeldUpdate, Located, PlaceOfAddress};
use portcullis_feeds::{FeedSettings, HeldReport, Report};
use portcullis_policy::{Policy, RuleRef};

/// As it is shown.
pub(crate) fn shown(report: Report) -> Feed {
    Feed {
        name: report.name.to_string(),
        source: report.source,
        state: report.state.as_str().to_owned(),
        entries: report.entries as u64,
        fixed: report.fixed as u64,
        sha256: report.sha256.map(|sha256| sha256.to_string()),
        age_s: report.age.map(|age| age.as_secs()),
        changed: report.changed.map(|changed| format!("{changed:.0}")),
        next_s: report.next.as_secs(),
        error: report.error.map(|(at, why)| FeedError { at: format!("{at:.0}"), why }),
        held: report.held.map(held),
        rolled_back: report.rolled_back,
        updated: report.counts.updated,
        unchanged: report.counts.unchanged,
        held_back: report.counts.held,
        failed: report.counts.failed,
    }
}

/// Prefixes as they are shown.
pub(crate) fn texts(sample: &[ipnet::IpNet]) -> Vec<String> {
    sample.iter().map(ToString::to_string).collect()
}

fn held(held: HeldReport) -> HeldUpdate {
    HeldUpdate {
        sha256: held.sha256.map(|sha256| sha256.to_string()),
        entries: held.entries as u64,
        since: format!("{:.0}", held.since),
        reasons: held.findings.iter().map(ToString::to_string).collect(),
        added: held.added.0 as u64,
        added_sample: texts(&held.added.1),
        removed: held.removed.0 as u64,
        removed_sample: texts(&held.removed.1),
        remedy: held.remedy,
    }
}

/// The networks that an address is in, and from where each of them has it.
pub(crate) fn located(policy: &Policy, feeds: &[Arc<FeedSettings>], address: IpAddr) -> Located {
    let address = address.to_canonical();
    let found = policy.whereabouts(address);
    let from = |name: &str| match feeds.iter().find(|feed| *feed.name == *name) {
        None => "configuration",
        Some(feed) if feed.fixed.iter().any(|prefix| prefix.contains(&address)) => "configuration",
        Some(_) => "feed",
    };
    let place = |rule: &RuleRef, from: &str| PlaceOfAddress {
        network: rule.name.to_string(),
        from: from.to_owned(),
        file: rule.file.to_string(),
        line: rule.line,
    };
    Located {
        address,
        networks: found.networks.into_iter().map(|rule| place(rule, from(&rule.name))).collect(),
        unknown: found.unknown.into_iter().map(|rule| place(rule, "feed")).collect(),
    }
}
