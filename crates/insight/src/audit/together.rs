//! What some of the findings propose, as one change: tried again and put in place as a text, so that it can be proposed as a whole.

use std::collections::BTreeSet;

use super::Input;
use super::edit::{Edit, apply, toml};
use super::finding::{Finding, Report, TrialResult};
use super::model::Model;
use super::preview::{removes, try_one};

/// What several findings propose, as one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// What to write, as a suggestion has it.
    pub toml: String,
    /// What came of trying all of it at once.
    pub trial: TrialResult,
}

/// Makes one change of what these findings of a report propose, and tries it: on the sample, on every use, and as a text. The report is of the same
/// audit, by the same input.
///
/// # Errors
/// A sentence: why it is not to be made. A finding is not there, proposes nothing or would grant something; or all of it at once would refuse something that
/// was used, or does not come to what was tried.
pub fn together(
    input: &Input<'_>,
    report: &Report,
    fingerprints: &[String],
    yields: &dyn Fn(),
) -> Result<Together, String> {
    let mut edits: BTreeSet<Edit> = BTreeSet::new();
    for fingerprint in fingerprints {
        let finding = report.find(fingerprint).ok_or_else(|| {
            format!("an audit that was made just now has no finding {fingerprint} any more: look again at what it has")
        })?;
        edits.extend(proposed_by(finding)?.iter().cloned());
    }
    if edits.is_empty() {
        return Err("none of the findings proposes anything that can be applied".to_owned());
    }
    let model = Model::new(input.draft, input.usage, input.known, input.now);
    yields();
    let trial = try_one(input, &model, &edits, yields)?;
    if trial.newly_denied > 0 {
        return Err(format!(
            "together it would refuse {} that were permitted: apply fewer of them at once",
            trial.newly_denied
        ));
    }
    if trial.newly_permitted > 0 {
        return Err(format!("together it would permit {} that were refused", trial.newly_permitted));
    }
    let edits: Vec<Edit> = edits.into_iter().collect();
    let text = toml(input.draft, &edits).ok_or("there is nothing to write")?;
    let edits = edits.into_iter().collect();
    input.text.comes_to(&text, &|draft| apply(draft, &edits))?;
    Ok(Together { toml: text, trial })
}

/// What a finding proposes, where that takes away and was tried.
fn proposed_by(finding: &Finding) -> Result<&[Edit], String> {
    let named = || format!("{} {} ({})", finding.id, finding.fingerprint, finding.message);
    let is_tried = finding.recommendation.preview.is_some() && finding.recommendation.toml.is_some();
    if finding.edits.is_empty() || !is_tried {
        let why = match &finding.recommendation.withheld {
            Some(withheld) => withheld.clone(),
            None => format!("nothing but `{}`", finding.recommendation.change),
        };
        return Err(format!("{} proposes no text that could be applied: {why}", named()));
    }
    if !finding.edits.iter().all(removes) {
        return Err(format!("{} would grant something: propose that by hand", named()));
    }
    Ok(&finding.edits)
}

impl Finding {
    /// Whether it is open and proposes a text that was tried and only takes away, so that it can be applied.
    pub fn can_be_applied(&self) -> bool {
        let tried = self.recommendation.preview.as_ref().is_some_and(|preview| preview.newly_denied == 0);
        let narrows = self.id != super::finding::Kind::UnderPrivileged.id();
        self.is_open() && tried && narrows && self.recommendation.toml.is_some()
    }
}
