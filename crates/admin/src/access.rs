//! The shapes of power for a time. `POST /v1/access/VERB`, one of [`Access`], is answered by [`Answer`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Verb, target};

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Access {
    /// What is in force and what waits, and which assignments are eligible.
    List {
        /// What has ended, too.
        all: bool,
    },
    /// One of them, with what has to be signed.
    Show {
        /// Its number.
        id: u64,
    },
    /// Holds the log to its chain.
    Verify,
    /// Activates an eligible assignment.
    Activate(Activation),
    /// Approves what waits.
    Approve {
        /// Its number.
        id: u64,
        /// What an approver signed, a block of text; null: the account's word.
        approval: Option<String>,
    },
    /// Refuses what waits.
    Reject {
        /// Its number.
        id: u64,
        /// Why.
        reason: String,
    },
    /// Ends what is in force.
    End {
        /// Its number.
        id: u64,
        /// Why.
        reason: String,
    },
    /// Seals a code.
    Seal(Seal),
    /// Breaks glass with a sealed code.
    BreakGlass(BreakGlass),
    /// Breaks glass with what a person has signed.
    BreakGlassSigned {
        /// The statement, a block of text: for whom, what, for how long, why, and until when it may be used.
        statement: String,
    },
    /// Says that somebody has looked at what was done with a broken seal.
    Review {
        /// Its number.
        id: u64,
        /// What was found; may be left out.
        #[serde(default)]
        remark: String,
        /// What an approver signed, a block of text; null: the account's word.
        approval: Option<String>,
    },
    /// Asks for access after a refusal.
    Request(Requesting),
    /// Grants a request.
    Grant(Granting),
}

impl Verb for Access {
    const FOLDER: &str = "/v1/access/";

    fn verb(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            Self::Show { .. } => "show",
            Self::Verify => "verify",
            Self::Activate(_) => "activate",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::End { .. } => "end",
            Self::Seal(_) => "seal",
            Self::BreakGlass(_) => "break_glass",
            Self::BreakGlassSigned { .. } => "break_glass_signed",
            Self::Review { .. } => "review",
            Self::Request(_) => "request",
            Self::Grant(_) => "grant",
        }
    }

    fn question(&self) -> Option<String> {
        let parameters = match self {
            Self::List { all } => vec![("all", all.to_string())],
            Self::Show { id } => vec![("id", id.to_string())],
            Self::Verify => Vec::new(),
            Self::Activate(_)
            | Self::Approve { .. }
            | Self::Reject { .. }
            | Self::End { .. }
            | Self::Seal(_)
            | Self::BreakGlass(_)
            | Self::BreakGlassSigned { .. }
            | Self::Review { .. }
            | Self::Request(_)
            | Self::Grant(_) => return None,
        };
        Some(target(&format!("{}{}", Self::FOLDER, self.verb()), &parameters))
    }
}

/// A code that is to be sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// For whom: `user:alice`.
    pub principal: String,
    /// How long it is good, in seconds; null: a year.
    pub for_s: Option<u64>,
    /// Why, or where it lies.
    pub reason: String,
}

/// Glass that is to be broken.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// For whom: the principal of the code.
    pub principal: String,
    /// The role.
    pub role: String,
    /// The routes; empty: all that the policy allows.
    #[serde(default)]
    pub routes: Vec<String>,
    /// For how long, in seconds; null: as long as the policy allows.
    pub for_s: Option<u64>,
    /// The code.
    pub code: String,
    /// Why.
    pub reason: String,
    /// Where more is said.
    pub ticket: Option<String>,
}

impl std::fmt::Debug for BreakGlass {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the code.
        formatter.debug_struct("BreakGlass").field("principal", &self.principal).field("role", &self.role).finish()
    }
}

/// Access that somebody who was refused asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requesting {
    /// The id of the refusal's event.
    pub event: String,
    /// Whose request that was, where whoever asks speaks for one principal alone; null: whoever's it was.
    pub principal: Option<String>,
    /// Why.
    pub reason: String,
}

/// A request that is to be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Granting {
    /// Its number.
    pub id: u64,
    /// The role; null: the narrowest that permits what was refused.
    pub role: Option<String>,
    /// The routes; empty: the one where it was refused.
    #[serde(default)]
    pub routes: Vec<String>,
    /// For how long, in seconds.
    pub for_s: u64,
}

/// An eligible assignment that is to be activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Its name.
    pub assignment: String,
    /// For whom: `user:alice`.
    pub principal: String,
    /// For how long, in seconds; null: for as long as the assignment allows.
    pub for_s: Option<u64>,
    /// Why; empty: nobody says.
    pub reason: String,
    /// Where more is said.
    pub ticket: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccessAnswer")]
pub struct Answer {
    /// In one sentence.
    pub message: String,
    /// Power, the last asked for first. At most 10,000.
    #[serde(default)]
    pub access: Vec<Power>,
    /// There was more before these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Assignments that can be activated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub eligible: Vec<Eligible>,
    /// Roles that would permit what a request is about, the narrowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggested: Vec<String>,
    /// A code that was sealed: it is shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The gateway, for what is signed; null: nothing has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// Power for a time, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Power {
    /// Its number.
    pub id: u64,
    /// `activation`, `seal`, `break_glass`, `request` or `loan`.
    pub kind: String,
    /// `waiting`, `in_force`, `ended`, `rejected`, `lapsed`, or of a request `granted`.
    pub state: String,
    /// For whom.
    pub principal: String,
    /// What it gives: an assignment's name, or `role:NAME,ROUTE`; of a seal the hash of its code.
    pub gives: String,
    /// Of a seal: what its code opens by `[break_glass]` of the policy that is in force now, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<String>,
    /// For how many seconds it was asked for.
    pub for_s: u64,
    /// Why.
    pub reason: String,
    /// Where more is said.
    pub ticket: Option<String>,
    /// Who asked.
    pub by: String,
    /// When it was asked for, RFC 3339.
    pub asked: String,
    /// Since when it is or was in force; null: it never was.
    pub began: Option<String>,
    /// Until when: it is in force, it waits, or it was in force.
    pub until: Option<String>,
    /// How many persons must approve.
    pub approvals: u8,
    /// Who has.
    pub approved_by: Vec<String>,
    /// Who has reviewed it, and what they found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewed_by: Vec<String>,
    /// Two persons still have to look at what was done, or one of them has.
    #[serde(default)]
    pub unreviewed: bool,
    /// Why it ended or was rejected, and by whom.
    pub end: Option<String>,
    /// The entry of the log that asks for it, in Base64: its hash is what an approver signs.
    pub record: String,
}

/// An assignment that can be activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Eligible {
    /// Its name.
    pub assignment: String,
    /// The role that it grants.
    pub role: String,
    /// Whom it names.
    pub principals: Vec<String>,
    /// For at most so many seconds at once.
    pub max_s: u64,
    /// It must be said why.
    pub justification: bool,
    /// A ticket must be named.
    pub ticket: bool,
    /// How many other persons must approve.
    pub approvals: u8,
}
