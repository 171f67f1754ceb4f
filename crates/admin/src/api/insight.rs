//! Policies that are tried, and spikes that are explained.

use portcullis_insight::spike::Explained;
use portcullis_insight::{Preview, Stamped};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Told;

/// A policy that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// What its file is called, without a folder: it is read as if it stood where the policy's file does.
    pub name: String,
    /// The text. At most 32 MiB.
    pub text: String,
}

/// What a policy would have done to the requests of the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Previewed {
    /// In sentences.
    pub text: Vec<String>,
    /// Whether nobody is answered otherwise, as far as the sample tells.
    pub unchanged: bool,
    /// The report, `portcullis.impact/1`, with the hash that an approval binds.
    pub report: Told<Stamped<Preview>>,
}

/// Spikes of refusals that were explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spikes {
    /// The last one first. At most 64.
    pub spikes: Vec<Spike>,
    /// What is usual is not known yet: the gateway has not run for long enough.
    pub learning: bool,
}

/// One spike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spike {
    /// The id of its event.
    pub id: String,
    /// When it began, RFC 3339.
    pub onset: String,
    /// Refusals beyond the usual.
    pub excess: u64,
    /// The causes in a few words, such as `config_change 96 %, attack 3 %`.
    pub causes: String,
    /// What it says, in sentences.
    pub text: Vec<String>,
    /// The same for a machine.
    pub report: Told<Explained>,
}
