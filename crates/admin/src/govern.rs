//! The shapes of governance: versions, proposals, approvals, approvers. `POST /v1/govern/VERB` [`Governed`] is answered by [`Answer`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Verb, target};

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Governed {
    /// The versions, the last first, and what waits.
    List {
        /// At most so many versions.
        most: u64,
        /// Those before this one alone; null: from the last one on.
        #[serde(default)]
        before: Option<u64>,
    },
    /// One version with its files; or one change, with what an approver signs.
    Show {
        /// The version's number; null: a change is meant.
        #[serde(default)]
        n: Option<u64>,
        /// The change, or as much of its id as tells it from others; null: a version is meant.
        #[serde(default)]
        change: Option<String>,
    },
    /// Holds all of the log to its hashes and signatures.
    Verify,
    /// Proposes other files.
    Propose(Proposed),
    /// Proposes the files of an earlier version; makes them live where nobody has to be asked.
    Rollback {
        /// Which; null: the last one that was in force for everybody, was not taken back, and answers otherwise than what is live; where the last version
        /// took something back itself it has to be said. The last: what it says is written into the files on disk again.
        n: Option<u64>,
        /// Who, why, and where more is said.
        by: Author,
        /// Only say what it would do.
        #[serde(default)]
        dry_run: bool,
    },
    /// Proposes what is live without what one earlier version changed in it; makes it live where nobody has to be asked. What came behind that version stays,
    /// and where the same lines changed again since it is refused.
    Revert {
        /// Which.
        n: u64,
        /// Who, why, and where more is said.
        by: Author,
        /// Only say what it would do.
        #[serde(default)]
        dry_run: bool,
    },
    /// What has to be signed.
    Request {
        /// The change, or as much of its id as tells it from others.
        id: String,
    },
    /// Takes what somebody signed.
    Approve {
        /// A block of text.
        approval: String,
    },
    /// Ends a proposal.
    Reject {
        /// The change.
        id: String,
        /// Why.
        reason: String,
    },
    /// Makes a proposal live.
    Activate {
        /// The change.
        id: String,
        /// Why it is to be live for everybody at once, without the steps of `[governance]`; null: it takes them.
        #[serde(default)]
        at_once: Option<String>,
        /// Why it is to be live though it cannot be tried once more on the requests that are kept, where it was signed by what that foresaw; null: then it
        /// is refused.
        #[serde(default)]
        unseen: Option<String>,
    },
    /// Takes back the version that is rolled out step by step: the one before it serves everybody, as a new version. Nobody has to approve that.
    Abort {
        /// Why.
        reason: String,
    },
    /// The approvers.
    Approvers,
    /// Proposes a key of an approver, who may be new.
    ApproverAdd {
        /// Whose.
        approver: NewApprover,
        /// Who, why, and where more is said.
        by: Author,
    },
    /// Proposes to revoke keys of an approver.
    ApproverRevoke {
        /// Whose.
        person: String,
        /// Which; null: all.
        key: Option<String>,
        /// Who, why, and where more is said.
        by: Author,
    },
    /// Proposes the keys by which approvers' keys can be replaced where these are lost, in place of those of now.
    ApproverRecovery {
        /// How many different holders have to sign; at least 2.
        quorum: u8,
        /// How long any approver can say no, in seconds.
        delay_s: u64,
        /// The keys, each with who holds it as `person`; none: nobody can any more.
        keys: Vec<NewApprover>,
        /// Who, why, and where more is said.
        by: Author,
    },
    /// Proposes that approvers sign with other keys, and with none of before: holders of recovery keys have to sign that.
    ApproverRecover {
        /// The other keys. Everybody who is named is enrolled.
        keys: Vec<NewApprover>,
        /// Who, why, and where more is said.
        by: Author,
    },
    /// Begins governance.
    Init {
        /// The first approvers.
        approvers: Vec<NewApprover>,
        /// Who, why, and where more is said.
        by: Author,
    },
}

impl Verb for Governed {
    const FOLDER: &str = "/v1/govern/";

    fn verb(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            Self::Show { .. } => "show",
            Self::Verify => "verify",
            Self::Propose(_) => "propose",
            Self::Rollback { .. } => "rollback",
            Self::Revert { .. } => "revert",
            Self::Request { .. } => "request",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::Activate { .. } => "activate",
            Self::Abort { .. } => "abort",
            Self::Approvers => "approvers",
            Self::ApproverAdd { .. } => "approver_add",
            Self::ApproverRevoke { .. } => "approver_revoke",
            Self::ApproverRecovery { .. } => "approver_recovery",
            Self::ApproverRecover { .. } => "approver_recover",
            Self::Init { .. } => "init",
        }
    }

    fn question(&self) -> Option<String> {
        let number = |name: &'static str, n: &Option<u64>| n.map(|n| (name, n.to_string()));
        let parameters: Vec<_> = match self {
            Self::List { most, before } => {
                [Some(("limit", most.to_string())), number("after", before)].into_iter().flatten().collect()
            }
            Self::Show { n, change } => {
                [number("n", n), change.clone().map(|id| ("change", id))].into_iter().flatten().collect()
            }
            Self::Verify | Self::Approvers => Vec::new(),
            Self::Propose(_)
            | Self::Rollback { .. }
            | Self::Revert { .. }
            | Self::Request { .. }
            | Self::Approve { .. }
            | Self::Reject { .. }
            | Self::Activate { .. }
            | Self::Abort { .. }
            | Self::ApproverAdd { .. }
            | Self::ApproverRevoke { .. }
            | Self::ApproverRecovery { .. }
            | Self::ApproverRecover { .. }
            | Self::Init { .. } => return None,
        };
        Some(target(&format!("{}{}", Self::FOLDER, self.verb()), &parameters))
    }
}

/// Who proposes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// As who proposes says; the account is added to it.
    pub name: Option<String>,
    /// Why.
    pub reason: String,
    /// Where more is said.
    pub ticket: Option<String>,
}

/// Files that are proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// A policy in place of the one that is live. Null, as `files` and `again`: what is on the gateway's disk.
    pub policy: Option<String>,
    /// All files that are governed, in Base64.
    pub files: Option<Vec<File>>,
    /// What this change was to change, for the version that is live now: it was overtaken. As much of its id as tells it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// The version that it is for: refused where another one is live by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Who, why, and where more is said.
    pub by: Author,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name: relative to the folder of the gateway's main file, or absolute.
    pub name: String,
    /// Its bytes, in Base64.
    pub content: String,
}

/// An approver's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApprover {
    /// The person.
    pub person: String,
    /// Under which other names the same person proposes.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The public key, in PEM.
    pub key: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GovernAnswer")]
pub struct Answer {
    /// In one sentence.
    pub message: String,
    /// What is live; null: nothing was ever.
    pub live: Option<Live>,
    /// Versions; of a rollback that is only tried those that it would undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
    /// Who gets further by what is only tried, and who less far, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
    /// Proposals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Approvers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<Approver>,
    /// By which keys approvers' keys can be replaced; null: nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Which files these are, where they are left out: where a version or a change was asked for by `GET`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Held>,
    /// A block of text to be signed elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// There are versions before these, which a list with `before` (as GET: `after`) has.
    #[serde(default)]
    pub more: bool,
}

impl Answer {
    /// Leaves out what only somebody needs who changes or signs something: the files, which may hold hashes of passwords, and what is signed, which has them in it.
    pub(crate) fn leave_out(&mut self) {
        // Base64 has four characters for three bytes, and pads.
        let bytes =
            |content: &str| (content.len() / 4 * 3).saturating_sub(content.len() - content.trim_end_matches('=').len());
        let held = |file: File| Held { bytes: bytes(&file.content) as u64, name: file.name };
        self.holds = std::mem::take(&mut self.files).into_iter().map(held).collect();
        self.request = None;
    }
}

/// A file of a version, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// Its name: relative to the folder of the gateway's main file, or absolute.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Live {
    /// The version.
    pub n: u64,
    /// Its hash: written down elsewhere, it tells this log from any other.
    pub hash: String,
    /// Which gateway it is; null until governance begins.
    pub instance: Option<String>,
    /// Only what was approved becomes live.
    pub required: bool,
    /// The version that the running gateway decides by; null: none runs. Another one than what is live, or serves while that is rolled out, until a
    /// reload has put it in force.
    #[serde(default)]
    pub in_force: Option<u64>,
    /// How far it has come, where it is rolled out step by step; null: it is in force for everybody.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// Why what the running gateway goes by could not be kept as a version, so that it is not the live one; null: it is that.
    #[serde(default)]
    pub unkept: Option<String>,
}

/// A version that comes into force step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// The version.
    pub n: u64,
    /// The version that serves whoever it does not decide for.
    pub serving: u64,
    /// The change that it was.
    pub change: String,
    /// The step, in words.
    pub stage: String,
    /// For what share of the callers it decides, in millionths.
    pub share_ppm: u32,
    /// How many seconds the step has lasted, as of a moment ago.
    pub spent_s: u64,
    /// How many it lasts.
    pub lasts_s: u64,
    /// Requests of this step that both versions have decided on, and that the one that serves permits.
    pub requests: u64,
    /// Those of them that it would newly deny, by callers who were let in before.
    pub newly_denied: u64,
    /// The same by turns: what a caller asks for within a minute is one, so that nobody counts more than once a minute.
    #[serde(default)]
    pub turns: u64,
    /// Turns in which something was newly denied to a caller who was let in before.
    #[serde(default)]
    pub turns_denied: u64,
    /// How many different callers had these, since the gateway started.
    #[serde(default)]
    pub callers_denied: u64,
    /// What share of the turns may be, in millionths: beyond that it is taken back.
    pub max_newly_denied_ppm: u32,
    /// Only where so many different callers are denied something.
    #[serde(default)]
    pub min_denied_callers: u32,
    /// Requests of this step that both versions have decided on, and that the one that serves refuses: not by a ban, or for a bad credential.
    #[serde(default)]
    pub refused: u64,
    /// Those of them that it would newly permit.
    #[serde(default)]
    pub newly_permitted: u64,
    /// The step does not end by itself before `requests` and `newly_permitted` together are so many; 0: it ends by the clock alone.
    #[serde(default)]
    pub min_requests: u32,
    /// How many different callers had these, since the gateway started.
    #[serde(default)]
    pub callers: u64,
    /// Nor before they came from so many.
    #[serde(default)]
    pub min_callers: u32,
    /// Why the step does not end though its time is over, and what has it go on or takes the version back, in a sentence; null: it does not wait.
    #[serde(default)]
    pub waits: Option<String>,
    /// What was found in this step since the gateway started, in sentences that name callers, actions and rules.
    #[serde(default)]
    pub found: Vec<String>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Its number.
    pub n: u64,
    /// Its hash.
    pub hash: String,
    /// The hash of its files.
    pub content: String,
    /// When it was activated, RFC 3339: from then on it is live, or comes step by step.
    pub time: String,
    /// `live`; `rolling_out`: it comes step by step; `taken_back`: it did, and never was live for everybody; `earlier`: another one is live since. Of a list and
    /// of one that is shown; else empty.
    #[serde(default)]
    pub state: String,
    /// Who made it live.
    pub by: String,
    /// The change that it was.
    pub change: Change,
}

/// A proposal, or what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What it is called.
    pub id: String,
    /// `open`, `activated`, `rejected`, `expired`, or `overtaken`: another version became live since, so that it never can.
    pub state: String,
    /// `change`, `rollback`, `undo`, `keys`, `revert`, `recovery`, `recovered` or `veto`.
    pub kind: String,
    /// What the engine finds that it does: `tightens`, `loosens`, `mixed` or `neutral`.
    pub class: String,
    /// The version that it changes.
    pub base: u64,
    /// The version whose files it has, of a rollback or a revert; of an undo the version whose change is taken out of what is live.
    pub restores: Option<u64>,
    /// Every name of the author.
    pub authors: Vec<String>,
    /// Why.
    pub reason: String,
    /// Where more is said.
    pub ticket: String,
    /// The hash of the report on what was foreseen of its impact, or on why nothing was; null: nobody looked.
    pub impact: Option<String>,
    /// What that report says, in sentences; empty in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreseen: Vec<String>,
    /// When it was proposed, RFC 3339.
    pub created: String,
    /// Until when it can be approved and activated, RFC 3339.
    pub expires: String,
    /// Who approves.
    pub approved: Vec<String>,
    /// Of a version: whose signatures these are, and when they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed: Vec<Signed>,
    /// How many must.
    pub need: u64,
    /// How many of those who approve from then on.
    pub need_new: u64,
    /// What is missing; null: nothing.
    pub missing: Option<String>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signed {
    /// Whose key it is, as far as that is known now; null: nobody's.
    pub person: Option<String>,
    /// The id of the key.
    pub key: String,
    /// When it was made, as the signer says, RFC 3339.
    pub time: String,
}

/// By which keys approvers' keys can be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ApproverRecovery")]
pub struct Recovery {
    /// How many different holders have to sign.
    pub quorum: u8,
    /// How long any approver can say no, in seconds.
    pub delay_s: u64,
    /// The keys.
    pub keys: Vec<RecoveryKey>,
    /// What has begun; null: nothing.
    pub begun: Option<RecoveryBegun>,
}

/// A recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryKey {
    /// Who holds it. A holder of several keys counts once.
    pub holder: String,
    /// Its id.
    pub id: String,
    /// Since when, RFC 3339.
    pub added: String,
}

/// A recovery that has begun, and that any approver can say no to until it is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryBegun {
    /// The version with which it began.
    pub n: u64,
    /// The change.
    pub change: String,
    /// Whose keys are replaced.
    pub persons: Vec<String>,
    /// From when on it can be ended, RFC 3339.
    pub due: String,
    /// When it cannot be ended any more, RFC 3339.
    pub lapses: String,
}

/// An approver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approver {
    /// The person.
    pub person: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// The keys.
    pub keys: Vec<Key>,
}

/// A key of an approver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Since when, RFC 3339.
    pub added: String,
    /// Since when it is revoked, RFC 3339; null: it is not.
    pub revoked: Option<String>,
}
