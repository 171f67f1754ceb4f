//! `[governance]`: who must approve what becomes live, and by which steps it does; and `[backup]`: copies of the store.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_governance::power::BreakGlassRules;
use portcullis_governance::{MAX_STEPS, Rules, Stages, WHOLE_PPM};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::kinds::{FilePath, Flag, Integer, Percentage, ResolvedPath, Time};
use crate::section::Section;

/// `[governance]`
#[derive(Debug)]
pub(crate) struct Governance {
    pub(crate) rules: Rules,
    /// Where it says that approvals are required.
    pub(crate) required_at: Option<Span>,
    pub(crate) stages: Stages,
    /// Where it says that there are any.
    pub(crate) stages_at: Option<Span>,
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
    /// With where it stands.
    pub(crate) key: Option<(Span, PathBuf)>,
}

/// Default and most of `break_glass_max`.
const BREAK_GLASS_MAX: Duration = Duration::from_secs(BreakGlassRules::LONGEST_S);
/// Different callers that can be demanded before a version is taken back.
pub(crate) const DENIED_CALLERS: std::ops::RangeInclusive<u64> = 1..=1_000;
/// What `min_requests` may be.
pub(crate) const STEP_REQUESTS: std::ops::RangeInclusive<u64> = 0..=1_000_000;
/// What `min_callers` may be.
pub(crate) const STEP_CALLERS: std::ops::RangeInclusive<u64> = 0..=10_000;
/// Persons that can be demanded.
const PERSONS: std::ops::RangeInclusive<u64> = 1..=16;

pub(crate) fn read_governance(root: &Section<'_>) -> Governance {
    let mut rules = Rules::default();
    let stages = Stages::default();
    let Some(section) = root.table("governance") else {
        return Governance { rules, required_at: None, stages, stages_at: None, break_glass_max: BREAK_GLASS_MAX };
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
    let (stages, stages_at) = read_stages(&section, stages);
    let break_glass_max = section.or("break_glass_max", Time::within("1m", "4h"), BREAK_GLASS_MAX);
    section.finish();
    let required_at = required.filter(|required| required.value).map(|required| required.span);
    Governance { rules, required_at, stages, stages_at, break_glass_max }
}

/// The steps by which a version becomes live, and where the first key stands that says so.
fn read_stages(section: &Section<'_>, default: Stages) -> (Stages, Option<Span>) {
    let shadow = section.optional("shadow", Time::within("0s", "7d"));
    let canary = section.list("canary", Percentage);
    let step = section.or("canary_step", Time::within("1s", "7d"), default.step);
    let max_newly_denied = section.optional("max_newly_denied", Percentage);
    let callers = section.or("min_denied_callers", Integer(DENIED_CALLERS), u64::from(default.min_denied_callers));
    let requests = section.or("min_requests", Integer(STEP_REQUESTS), u64::from(default.min_requests));
    let seen_callers = section.or("min_callers", Integer(STEP_CALLERS), u64::from(default.min_callers));
    let max_wait = section.or("max_wait", Time::within("1s", "30d"), default.max_wait);
    let at = shadow.as_ref().filter(|shadow| !shadow.value.is_zero()).map(|shadow| shadow.span);
    let at = at.or_else(|| canary.as_ref().filter(|canary| !canary.value.is_empty()).map(|canary| canary.span));
    let stages = Stages {
        shadow: shadow.map_or(default.shadow, |shadow| shadow.value),
        canary: canary.map_or_else(Vec::new, |canary| read_canary(section, &canary)),
        step,
        max_newly_denied: max_newly_denied.map_or(default.max_newly_denied, |share| millionths(share.value)),
        min_denied_callers: u32::try_from(callers).unwrap_or(default.min_denied_callers),
        min_requests: u32::try_from(requests).unwrap_or(default.min_requests),
        min_callers: u32::try_from(seen_callers).unwrap_or(default.min_callers),
        max_wait,
    };
    (stages, at)
}

/// Shares that grow: one that does not would take power back from callers that the new version decides for already.
fn read_canary(section: &Section<'_>, canary: &At<Vec<At<f64>>>) -> Vec<u32> {
    let wrong = |span, message: String, help: &str| {
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(help.to_owned()));
    };
    if canary.value.len() > MAX_STEPS {
        wrong(canary.span, format!("`canary` has more than {MAX_STEPS} steps"), "leave some out");
    }
    let mut steps: Vec<u32> = Vec::new();
    for share in &canary.value {
        let share_ppm = millionths(share.value);
        if share_ppm <= steps.last().copied().unwrap_or(0) {
            let message = "each step of `canary` is for a larger share of the callers than the one before".to_owned();
            wrong(share.span, message, "write them as in `canary = [\"5%\", \"25%\", \"100%\"]`");
        }
        steps.push(share_ppm);
    }
    steps
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
fn millionths(share: f64) -> u32 {
    (share * f64::from(WHOLE_PPM)).round() as u32
}

/// `None`: no backups are made by themselves.
pub(crate) fn read_backup(root: &Section<'_>) -> Option<Backup> {
    let section = root.table("backup")?;
    let at = section.span();
    let enabled = section.or("enabled", Flag, true);
    let path = section.optional("path", FilePath).map(|path| path.value);
    let every = section.or("every", Time::within("1m", "30d"), Duration::from_secs(6 * 3_600));
    let keep = section.or("keep", Integer(1..=10_000), 28);
    let key = section.optional("key", FilePath).map(|key| (key.span, key.value.path));
    section.finish();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    enabled.then_some(Backup { at, path, every, keep, key })
}
