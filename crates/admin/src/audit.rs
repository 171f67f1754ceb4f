//! Audits over the channel: made, shown, compared, suppressed.

use portcullis_insight::audit::{Difference, Report, Suppression, TrialResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Verb, target};

/// What is wanted of the audits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum AuditWanted {
    /// Make one now. With findings in `apply` say, too, what applying these comes to, as one change that was tried: nothing is changed by that.
    Run {
        /// The fingerprints of findings whose proposals are to be one change.
        #[serde(default)]
        apply: Vec<String>,
        /// The SHA-256 of the policy that they were found in: of another one nothing is applied.
        #[serde(default)]
        of_policy: Option<String>,
    },
    /// The runs that are kept.
    Runs,
    /// A run; left out, the last one.
    Show {
        /// What it is called, or the beginning of that.
        run: Option<String>,
    },
    /// What is new, what is resolved and what is of another severity in a run, compared with an earlier one.
    Diff {
        /// The earlier one; left out, the last but one.
        #[serde(default)]
        from: Option<String>,
        /// The later one; left out, the last one.
        #[serde(default)]
        to: Option<String>,
    },
    /// The suppressions.
    Suppressions,
    /// A finding may stay for a while. Nobody says so of what is found about themselves. What whoever holds says of what they hold needs a second one, and so
    /// does a critical one where changes need approvals: the second one, who asks the same, confirms what the first one wrote.
    Suppress {
        /// Of which finding.
        fingerprint: String,
        /// Who answers for it.
        owner: String,
        /// Why.
        reason: String,
        /// When it ends, in seconds since 1970.
        until: i64,
    },
    /// It may not any more.
    Unsuppress {
        /// Of which finding.
        fingerprint: String,
    },
}

impl Verb for AuditWanted {
    const FOLDER: &str = "/v1/audit/";

    fn verb(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Runs => "runs",
            Self::Show { .. } => "show",
            Self::Diff { .. } => "diff",
            Self::Suppressions => "suppressions",
            Self::Suppress { .. } => "suppress",
            Self::Unsuppress { .. } => "unsuppress",
        }
    }

    fn question(&self) -> Option<String> {
        let run = |name: &'static str, run: &Option<String>| run.clone().map(|run| (name, run));
        let parameters: Vec<_> = match self {
            Self::Show { run: shown } => run("run", shown).into_iter().collect(),
            Self::Diff { from, to } => [run("from", from), run("to", to)].into_iter().flatten().collect(),
            Self::Runs | Self::Suppressions => Vec::new(),
            Self::Run { .. } | Self::Suppress { .. } | Self::Unsuppress { .. } => return None,
        };
        Some(target(&format!("{}{}", Self::FOLDER, self.verb()), &parameters))
    }
}

impl AuditWanted {
    /// An audit, and nothing else.
    pub const fn run() -> Self {
        Self::Run { apply: Vec::new(), of_policy: None }
    }

    /// Whether it changes what is kept, so that it is recorded.
    pub fn changes(&self) -> bool {
        match self {
            Self::Run { .. } | Self::Runs | Self::Show { .. } | Self::Diff { .. } | Self::Suppressions => false,
            Self::Suppress { .. } | Self::Unsuppress { .. } => true,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AuditAnswer {
    /// In a sentence.
    pub message: String,
    /// The run, `portcullis.audit/1`.
    #[serde(default)]
    pub report: Option<Report>,
    /// The runs, the last one first.
    #[serde(default)]
    pub runs: Vec<AuditRun>,
    /// The suppressions, those that are over too.
    #[serde(default)]
    pub suppressions: Vec<Suppression>,
    /// How two runs differ.
    #[serde(default)]
    pub diff: Option<Difference>,
    /// What applying the findings that were named comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<Prepared>,
    /// The run has more findings than these.
    #[serde(default)]
    pub more: bool,
}

/// A change that is made of what findings propose. Nothing was changed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditPrepared")]
pub struct Prepared {
    /// What to write, as a suggestion has it.
    pub toml: String,
    /// The files that change, as they are then.
    pub files: Vec<PreparedFile>,
    /// What came of trying all of it at once.
    pub trial: TrialResult,
}

/// A file of such a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditPreparedFile")]
pub struct PreparedFile {
    /// Its name: relative to the folder of the gateway's main file, or absolute.
    pub name: String,
    /// The SHA-256 of what it says now: in place of anything else it is not put.
    pub was_sha256: String,
    /// What it says then.
    pub text: String,
}

/// A run that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRun {
    /// What it is called.
    pub run: String,
    /// When it was made, RFC 3339.
    pub at: String,
}
