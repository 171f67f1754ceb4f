//! Backups over the channel: made, listed, verified, tried out. They are in the folder of `[backup]`: nobody who asks names a file elsewhere.
//!
//! To restore one is not among these: it takes the place of the store, so that no gateway may run meanwhile (`portcullis backup restore`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::ActionKind;
use crate::{Verb, target};

/// What is wanted of the backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum BackupWanted {
    /// Make one now.
    Create,
    /// Those that are there.
    List,
    /// Hold one to its manifest, and what is in it to its chain and signatures.
    Verify {
        /// What it is called, as a list says.
        name: String,
    },
    /// Try all of a restoration in a folder that is removed again.
    Drill {
        /// What it is called, as a list says.
        name: String,
    },
}

impl Verb for BackupWanted {
    const FOLDER: &str = "/v1/backups/";

    fn verb(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Verify { .. } => "verify",
            Self::Drill { .. } => "drill",
        }
    }

    fn question(&self) -> Option<String> {
        let parameters = match self {
            Self::List => Vec::new(),
            Self::Verify { name } => vec![("name", name.clone())],
            Self::Create | Self::Drill { .. } => return None,
        };
        Some(target(&format!("{}{}", Self::FOLDER, self.verb()), &parameters))
    }
}

impl BackupWanted {
    /// What it is as an action; `None`: a question. A drill changes nothing, and is recorded as what somebody may have to show later.
    pub fn action(&self) -> Option<ActionKind> {
        match self {
            Self::List | Self::Verify { .. } => None,
            Self::Create => Some(ActionKind::BackupCreate),
            Self::Drill { .. } => Some(ActionKind::BackupDrill),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct BackupAnswer {
    /// In a sentence.
    pub message: String,
    /// The folder that they are in, on the gateway's machine.
    #[serde(default)]
    pub folder: String,
    /// The backups, by their names: of each kind the oldest first.
    #[serde(default)]
    pub backups: Vec<Backup>,
    /// There are more than these.
    #[serde(default)]
    pub more: bool,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// What it is called: `portcullis-20261129T120000Z.backup`; `asked-…` is one that an operator had made.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, RFC 3339; null: nobody can say.
    pub written: Option<String>,
    /// What is in it; null: nobody has looked.
    #[serde(default)]
    pub content: Option<BackupContent>,
}

/// What is in a backup, by its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupContent {
    /// The last version of its log; 0: none.
    pub version: u64,
    /// The hash of that.
    pub head: String,
    /// Of which moment it is, RFC 3339.
    pub created: String,
    /// How many files are in it.
    pub files: u64,
}
