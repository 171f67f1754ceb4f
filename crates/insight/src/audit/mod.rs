//! The least-privilege audit: which grants are unused, too wide, out of the ordinary or dangerous, why, and what to write instead.
//!
//! It looks at a [`PolicyDraft`], which is the policy with its places, beside the [`Usage`] that the gateway counted, the sample of requests,
//! and the log of versions. Every finding says what it rests on and since when that is known; one that would rest on a shorter observation
//! than its window is not made, and that it is not is said ([`Report::not_looked_at`]). What is proposed as a removal was tried first: the
//! candidate is compiled, the sample is decided on again, and every use that was counted must still be granted as it was; then its text is put in
//! place and read ([`PolicyText`]). A proposal that fails that is withheld, with the reason.
//!
//! It reads no clock and no file, and changes nothing.

mod diff;
mod edit;
mod evidence;
mod finding;
mod history;
mod model;
mod preview;
mod render;
mod rightsize;
mod rules;
mod schedule;
mod settings;
mod stake;
mod suppress;
#[cfg(test)]
mod tests;
mod together;
pub mod usage;

pub use diff::{Difference, difference};
pub use evidence::{Activation, BreakGlassUse, KnownKey, KnownPrincipals, PolicyWriters};
pub use finding::{Evidence, Finding, Kind, Place, Recommendation, Report, Severity, Status, TrialResult};
pub use history::{GrantSet, History, PastVersion};
pub use preview::{Endless, Patience, PolicyText};
pub use render::{markdown, sarif, text};
pub use schedule::{Schedule, Weekly};
pub use settings::AuditSettings;
pub use stake::{Holders, SamePerson, Stake, Strangers};
pub use suppress::{Suppression, needs_another};
pub use together::{Together, together};
pub use usage::Usage;

use jiff::Timestamp;
use portcullis_policy::{LintFacts, Policy, PolicyDraft};

use crate::sample::Outlook;
use finding::{Around, shown};
use model::Model;
use rules::Findings;
use usage::AHEAD_S;

/// All that an audit looks at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy with its places.
    pub draft: &'a PolicyDraft,
    /// The same, compiled.
    pub policy: &'a Policy,
    /// What was used.
    pub usage: &'a Usage,
    /// Requests that were made.
    pub sample: Option<&'a Outlook>,
    /// Since when each grant is there, and who gave it.
    pub history: &'a History,
    /// Whom the sources of identity know.
    pub known: &'a KnownPrincipals,
    /// What was done with power for emergencies; `None`: nobody keeps a record of that.
    pub break_glass: Option<&'a [BreakGlassUse]>,
    /// When eligible assignments were activated, by whom; `None`: nobody keeps a record of that.
    pub activations: Option<&'a [Activation]>,
    /// Who can change the policy.
    pub writers: &'a PolicyWriters,
    /// What the lint must know of those who call.
    pub lint: &'a LintFacts,
    /// The thresholds.
    pub settings: &'a AuditSettings,
    /// Suppressions.
    pub suppressions: &'a [Suppression],
    /// Who is who.
    pub persons: &'a dyn SamePerson,
    /// The run before, for when each finding was first seen.
    pub before: Option<&'a Report>,
    /// Where the policy is written, so that what is suggested is tried as a text.
    pub text: &'a dyn PolicyText,
    /// How long there is for trying what is proposed.
    pub patience: &'a dyn Patience,
    /// Now.
    pub now: Timestamp,
}

const DAY_S: i64 = 24 * 60 * 60;

impl Input<'_> {
    /// The time before which something must have been used last to be unused: the window counts what was observed, so it is as far back as that
    /// takes. `since`: since when all of it is counted.
    ///
    /// # Errors
    /// Why nothing can be called unused.
    pub(crate) fn edge(&self, since: Option<i64>) -> Result<i64, String> {
        let now = self.now.as_second();
        let Some(since) = since else { return Err("nothing counts what is used: there is no store".to_owned()) };
        if since > now.saturating_add(AHEAD_S) {
            let shown = shown(since);
            return Err(format!(
                "usage is counted since {shown}, which is yet to come: the clock was wrong then, or is now"
            ));
        }
        let observed = self.usage.observed();
        let (seconds, needed) = (observed.seconds(since, now), self.settings.observed_for_s());
        let days = |seconds: i64| seconds.saturating_add(DAY_S - 1) / DAY_S;
        let edge = observed.edge(since, now, self.settings.unused_after_s()).filter(|_| seconds >= needed);
        let Some(edge) = edge else {
            let gap = self.gap_since(Some(since)).map_or(String::new(), |gap| format!(" ({gap})"));
            return Err(format!(
                "usage is counted since {}{gap}, and nothing is said before {} days of it",
                shown(since),
                days(needed)
            ));
        };
        match self.usage.forgotten() {
            Some(forgotten) if edge < forgotten => Err(format!(
                "the {} days that were observed last began before {}, and what was not used since then is forgotten",
                days(self.settings.unused_after_s()),
                shown(forgotten)
            )),
            Some(_) | None => Ok(edge),
        }
    }

    /// The time from which on a use must still be permitted by what is proposed: no later than what any finding goes by.
    pub(crate) fn used_from(&self) -> i64 {
        let now = self.now.as_second();
        let least = now.saturating_sub(self.settings.unused_after_s());
        let edges = [self.usage.since(), self.usage.addresses_since()].map(|since| self.edge(since).unwrap_or(least));
        edges.into_iter().fold(least, i64::min)
    }

    /// How much of the time since then was not observed, in words; `None`: hardly any.
    pub(crate) fn gap_since(&self, since: Option<i64>) -> Option<String> {
        let (since, now) = (since?, self.now.as_second());
        let all = now.saturating_sub(since);
        let seconds = self.usage.observed().seconds(since, now);
        (all.saturating_sub(seconds) >= DAY_S)
            .then(|| format!("observed for {} of the {} days since then", seconds / DAY_S, all / DAY_S))
    }
}

/// Looks at everything, and says what there is to say. `yields` is called now and then, so that who has work to do on the same processor can
/// do it.
pub fn audit(input: &Input<'_>, yields: &dyn Fn()) -> Report {
    let model = Model::new(input.draft, input.usage, input.known, input.now);
    yields();
    let mut findings = Findings::new(input, &model);
    rules::look(&mut findings, yields);
    let Findings { mut found, not_looked_at, left_out, .. } = findings;
    preview::try_all(input, &model, &mut found, yields);
    let holders = stake::holders_of(input, &model, &found, yields);
    let untried = preview::untried(&found);
    Report::new(input, found, Around { not_looked_at, left_out, holders, untried })
}
