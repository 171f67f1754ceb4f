//! Trying a policy on the requests that are kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_admin::api::{PolicyText, Previewed};
use portcullis_admin::{Told, Untried};
use portcullis_config::{Loaded, ProcessEnvironment, Report, load_with_policy_text};
use portcullis_insight::{Preview, Stamped};
use portcullis_policy::Policy;

use super::{problem, shown};
use crate::calibrating::digest_of;
use crate::insight::Insight;
use crate::running::Running;
use crate::yielding::{Priority, idling};

/// The longest text of a policy, in bytes.
const MAX_TEXT: usize = 32 << 20;
/// Problems of a policy that are told.
const TOLD: usize = 20;

/// Tries a policy that is not in force.
///
/// # Errors
/// What is wrong with it; or that no requests are kept, or that another policy is being tried.
pub(super) fn preview(running: &Running, config: &Path, candidate: &PolicyText) -> Result<Previewed, Untried> {
    // One at a time, from reading it to the answer: reading and compiling is as much work as the rest, and as much memory.
    let refused = |error: String| Untried::Refused(problem(error));
    let insight = kept(running).map_err(refused)?;
    let _turn = insight.turn().map_err(refused)?;
    // Reading on idle processors that is given up for its want of them holds what it has read until it ends: that is one beside this one at most.
    let (config, text) = (config.to_owned(), candidate.clone());
    let read = idling("preview", Priority::Lowest, move || compile(&config, &text)).map_err(refused)?;
    let read = read.map_err(|error| Untried::Invalid(problem(error)))?;
    let candidate = as_in_force(running, read, |work| idling("preview", Priority::Lowest, work)?).map_err(refused)?;
    let stamped = try_on(running, candidate, (Priority::Lowest, Duration::ZERO)).map_err(refused)?;
    let unchanged = stamped.report.recent.is_none() && stamped.report.older.is_none();
    let text = stamped.report.in_words();
    let report = Told::of(&stamped).map_err(|error| refused(error.to_string()))?;
    Ok(Previewed { text, unchanged, report })
}

/// Tries what was read on the requests that are kept, for who proposes it, activates it or takes something back, and waits for its turn for so long.
///
/// # Errors
/// A sentence: that no requests are kept, or that another policy is being tried.
pub(super) fn foresee(running: &Running, candidate: Loaded, patience: Duration) -> Result<Stamped<Preview>, String> {
    try_on(running, as_in_force(running, candidate, |work| work())?, (Priority::Low, patience))
}

/// Tries the policy in force with something changed in it, on processors that nothing else wants, for who merely asks.
///
/// # Errors
/// A sentence: that no requests are kept, that another policy is being tried, or why it cannot be changed so.
pub(super) fn try_changed(
    running: &Running,
    change: impl Fn() -> Result<Policy, String> + Send + Sync + 'static,
) -> Result<Stamped<Preview>, String> {
    let _turn = kept(running)?.turn()?;
    let policy = idling("preview", Priority::Lowest, change)??;
    try_on(running, policy, (Priority::Lowest, Duration::ZERO))
}

fn kept(running: &Running) -> Result<&Arc<Insight>, String> {
    running
        .insight()
        .ok_or_else(|| "no requests are kept: the configuration says `[sample] enabled = false`".to_owned())
}

fn try_on(running: &Running, policy: Policy, how: (Priority, Duration)) -> Result<Stamped<Preview>, String> {
    let insight = kept(running)?;
    let present = Arc::clone(&running.shared().snapshot().load().policy);
    insight.preview(present, policy, how)
}

pub(super) fn compile(config: &Path, candidate: &PolicyText) -> Result<Loaded, String> {
    let PolicyText { name, text } = candidate;
    if text.len() > MAX_TEXT {
        return Err(format!("the policy is larger than {} MiB", MAX_TEXT >> 20));
    }
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || matches!(name.as_str(), "." | "..") {
        return Err(format!("`{}` is not the name of a file", shown(name)));
    }
    let loaded = load_with_policy_text(config, name, text, &ProcessEnvironment);
    loaded.map_err(|report| problems(&report, name))
}

/// Gives networks their lists; as often as it is called.
type Renewing = Box<dyn Fn() -> Result<Policy, String> + Send + Sync>;

/// The policy as it would be in force now: with the lists that its networks have at this moment. What others wait for is asked here, by the thread of
/// whoever calls, and not by one that may be without a processor meanwhile; the work that is left is done by `with`.
pub(super) fn as_in_force(
    running: &Running,
    candidate: Loaded,
    with: impl FnOnce(Renewing) -> Result<Policy, String>,
) -> Result<Policy, String> {
    let Loaded { policy, risk, feeds: (settings, _), .. } = candidate;
    // With the thresholds that a reload would give it: those of the calibration that it names, or of the one in force, also where it is the first with a budget.
    let in_force = running.shared().risk.calibration_under(&risk, digest_of);
    let policy = policy.with_calibration(in_force.map(|made| (Arc::clone(&made.id), made.thresholds)));
    let (keeper, now) = (running.feeds().keeper(), running.feeds().now());
    let contents = keeper.contents_of(&settings.feeds, now);
    drop(keeper);
    if contents.is_empty() {
        return Ok(policy);
    }
    with(Box::new(move || policy.with_networks(&contents).map_err(|error| error.to_string())))
}

/// What is wrong with the text itself. Whoever asks may have named other files in it: what stands in those is not told.
fn problems(report: &Report, name: &str) -> String {
    let mut lines = vec![format!("{}: {}", shown(name), report.summary_line())];
    let of_the_text = |diagnostic: &&portcullis_config::Diagnostic| {
        Path::new(&*report.file(diagnostic.primary)).file_name().is_some_and(|file| file == name)
    };
    for diagnostic in report.diagnostics().filter(of_the_text).take(TOLD) {
        let at = report.position(diagnostic.primary);
        lines.push(format!("{}:{}:{}: {}", shown(name), at.line, at.column, diagnostic.message));
    }
    lines.join("; ")
}
