//! `[governance]`: who must approve what becomes live; and `[backup]`: copies of the store.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_governance::Rules;
use portcullis_governance::power::BreakGlassRules;

use crate::diagnostics::{At, Span};
use crate::kinds::{FilePath, Flag, Integer, ResolvedPath, Time};
use crate::section::Section;

/// `[governance]`
#[derive(Debug)]
pub(crate) struct Governance {
    pub(crate) rules: Rules,
    /// Where it says that approvals are required.
    pub(crate) required_at: Option<Span>,
    /// Glass is broken for no longer.
    pub(crate) break_glass_max: Duration,
}

/// `[backup]`, where it is on.
#[derive(Debug)]
pub(crate) struct Backup {
    /// Where it stands.
    pub(crate) at: Span,
    /// `None`: `backups` beside the store.
    pub(crate) path: Option<ResolvedPath>,
    pub(crate) every: Duration,
    pub(crate) keep: usize,
    pub(crate) key: Option<PathBuf>,
}

/// Default and most of `break_glass_max`.
const BREAK_GLASS_MAX: Duration = Duration::from_secs(BreakGlassRules::LONGEST_S);
/// Persons that can be demanded.
const PERSONS: std::ops::RangeInclusive<u64> = 1..=16;

pub(crate) fn read_governance(root: &Section<'_>) -> Governance {
    let mut rules = Rules::default();
    let Some(section) = root.table("governance") else {
        return Governance { rules, required_at: None, break_glass_max: BREAK_GLASS_MAX };
    };
    let required: Option<At<bool>> = section.optional("required", Flag);
    rules.required = required.as_ref().is_some_and(|required| required.value);
    if let Some(approvals) = section.table("approvals") {
        let persons = |key, default: u8| {
            let wanted = approvals.or(key, Integer(PERSONS), u64::from(default));
            u8::try_from(wanted).unwrap_or(default)
        };
        rules.tighten = persons("tighten", rules.tighten);
        rules.loosen = persons("loosen", rules.loosen);
        rules.keys = persons("keys", rules.keys);
        approvals.finish();
    }
    let ttl = section.or("proposal_ttl", Time::within("1m", "30d"), Duration::from_secs(rules.proposal_ttl_s));
    rules.proposal_ttl_s = ttl.as_secs();
    let break_glass_max = section.or("break_glass_max", Time::within("1m", "4h"), BREAK_GLASS_MAX);
    for (key, help) in LATER {
        section.unavailable(key, help);
    }
    section.finish();
    let required_at = required.filter(|required| required.value).map(|required| required.span);
    Governance { rules, required_at, break_glass_max }
}

/// Keys of the contract that later versions read.
const LATER: &[(&str, &str)] = &[
    ("shadow", "remove it; write `mode = \"shadow\"` in the policy to try a rule"),
    ("canary", "remove it; a version is live for everybody at once"),
    ("max_newly_denied", "remove it; watch `portcullis_decisions_total` after a change"),
];

/// `None`: no backups are made by themselves.
pub(crate) fn read_backup(root: &Section<'_>) -> Option<Backup> {
    let section = root.table("backup")?;
    let at = section.span();
    let enabled = section.or("enabled", Flag, true);
    let path = section.optional("path", FilePath).map(|path| path.value);
    let every = section.or("every", Time::within("1m", "30d"), Duration::from_secs(6 * 3_600));
    let keep = section.or("keep", Integer(1..=10_000), 28);
    let key = section.optional("key", FilePath).map(|key| key.value.path);
    section.finish();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    enabled.then_some(Backup { at, path, every, keep, key })
}
