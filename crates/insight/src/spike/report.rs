//! What is said of a spike.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counts::Count;
use crate::words::number;

/// A spike and its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SpikeExplained")]
pub struct Explained {
    /// When it began.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    #[schemars(with = "String")]
    pub onset: Timestamp,
    /// Until when it was looked at.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// Refusals in that time.
    pub observed: u64,
    /// As many as were to be expected.
    pub expected: u64,
    /// Of how many there are the facts.
    pub looked_at: u64,
    /// The causes, the largest first. At most 3; what was done, and the clock, have their places first.
    pub causes: Vec<Cause>,
    /// Refusals beyond the usual that none of them explains.
    pub unexplained: u64,
    /// Changes that came in time, and are no cause.
    pub ruled_out: Vec<String>,
    /// Changes that cannot be undone on requests that were made, and that may have to do with what is unexplained; and those that turned some away and are
    /// not among the causes.
    #[serde(default)]
    pub not_ruled_out: Vec<String>,
    /// How often something else was said of the same spike before.
    pub revision: u64,
}

/// One cause of a spike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SpikeCause")]
pub struct Cause {
    /// What kind of cause.
    pub kind: CauseKind,
    /// How many refusals beyond the usual it explains.
    pub requests: u64,
    /// The same of a hundred.
    pub share_percent: u64,
    /// Of what was done, and of the clock: which one, the same in each report of a spike. Null: it is a matter of who comes.
    #[serde(default)]
    pub due_to: Option<String>,
    /// In a sentence.
    pub summary: String,
    /// Who was refused, the most frequent first; at most 5.
    pub by_user: Vec<Count>,
    /// From where: /24 or /48; likewise.
    pub by_network: Vec<Count>,
    /// Why; likewise.
    pub by_reason: Vec<Count>,
    /// What would help, tried.
    pub fix: Option<Fix>,
}

/// What kind of cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SpikeCauseKind")]
pub enum CauseKind {
    /// The policy was changed.
    ConfigChange,
    /// The list of a network changed.
    FeedChange,
    /// The thresholds of risk changed.
    CalibrationChange,
    /// The upstream refuses.
    Upstream,
    /// Credentials do not verify any more.
    Keys,
    /// A software that is new.
    ClientRelease,
    /// Nobody that was ever let in.
    Attack,
    /// One principal that does what it may not.
    OnePrincipal,
    /// A ban: one that an operator made, or the gateway itself.
    Ban,
    /// What counts no longer, since an operator revoked it.
    Revocation,
    /// What was given for a time is over: by the clock.
    Expiry,
}

impl CauseKind {
    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigChange => "config_change",
            Self::FeedChange => "feed_change",
            Self::CalibrationChange => "calibration_change",
            Self::Upstream => "upstream",
            Self::Keys => "keys",
            Self::ClientRelease => "client_release",
            Self::Attack => "attack",
            Self::OnePrincipal => "one_principal",
            Self::Ban => "ban",
            Self::Revocation => "revocation",
            Self::Expiry => "expiry",
        }
    }
}

/// What would help, and what it would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SpikeFix")]
pub struct Fix {
    /// What to do.
    pub command: String,
    /// What it would do: what it restores, and what it opens besides.
    pub preview: String,
    /// How many of the refused requests that are put down to the cause it would restore, at most.
    pub restores: u64,
    /// What it would let get further besides, for everybody: a kind of request each; the last says how many more there are.
    pub opens: Vec<String>,
}

fn shown<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.0}"))
}

fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl Explained {
    /// What it says, in lines.
    pub fn in_words(&self) -> Vec<String> {
        let excess = self.observed.saturating_sub(self.expected);
        let mut lines = vec![format!(
            "spike of refusals {:.0} to {:.0}: {} more than expected ({} in place of {})",
            self.onset,
            self.until,
            number(excess),
            number(self.observed),
            number(self.expected)
        )];
        for (index, cause) in self.causes.iter().enumerate() {
            let (kind, share) = (cause.kind.as_str(), cause.share_percent);
            lines.push(format!("{}. {kind} {share} % ({}): {}", index + 1, number(cause.requests), cause.summary));
            lines.extend(cause.fix.iter().map(|fix| format!("   -> {} ({})", fix.command, fix.preview)));
        }
        let share = self.unexplained.saturating_mul(100).checked_div(excess).unwrap_or(0);
        lines.push(format!("unexplained {share} % ({})", number(self.unexplained)));
        lines.extend(self.not_ruled_out.iter().map(|what| format!("not ruled out: {what}")));
        lines.extend(self.ruled_out.iter().map(|what| format!("ruled out: {what}")));
        lines
    }
}
