//! `policy`, `replay`, `approver` and `governance`: policies beside each other, versions of them, and who approves these.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show every class of requests whose answer changes from one policy to another: exit code 0 none, 1 some, or not all
    /// could be compared
    Diff(PolicyDiffArgs),
    /// List the versions that were live, the last first, and the changes that wait
    List(PolicyListArgs),
    /// Say which version is live, and how far one has come that is rolled out step by step
    Status,
    /// Show a version and its policy
    Show(PolicyShowArgs),
    /// Propose another policy, or what is on the gateway's disk
    Propose(PolicyProposeArgs),
    /// Write what has to be signed to a file, for another machine
    Request(PolicyRequestArgs),
    /// Look at a request and sign it, without a gateway
    Sign(PolicySignArgs),
    /// Approve a change: sign it with a key, or bring what was signed elsewhere
    Approve(PolicyApproveArgs),
    /// End a change that waits
    Reject(PolicyRejectArgs),
    /// Make a change live: exit code 1 where it may not be
    Activate(PolicyActivateArgs),
    /// Take back the version that is rolled out step by step: the one before it serves everybody, as a new version, and nobody has to approve that
    Abort(PolicyAbortArgs),
    /// Have an earlier version live again, as a new one; where approvals are required it is proposed
    Rollback(PolicyRollbackArgs),
    /// Undo one version alone, and keep what came after it: refused, with the lines, where that changed the same; where approvals are required it is proposed
    Revert(PolicyRevertArgs),
    /// Hold all versions to their hashes, their signatures and the rules of their time
    Verify,
    /// Show what a policy would have done to the requests that the running gateway has kept: exit code 0 if nobody is
    /// answered otherwise, 1 if somebody is, 3 if it does not compile, 4 if the gateway cannot look
    Preview(PolicyPreviewArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyPreviewArgs {
    /// The policy as it would be; `-` reads it from standard input
    #[arg(value_name = "CANDIDATE")]
    pub(crate) candidate: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Files of native events or of the access log in JSON, plain or compressed with gzip; `-` is standard input
    #[arg(required_unless_present = "kept", value_name = "EVENTS")]
    pub(crate) files: Vec<PathBuf>,
    /// Have the running gateway replay the events that it has kept, instead of files
    #[arg(long, conflicts_with = "files")]
    pub(crate) kept: bool,
    /// With --kept: from when on, a time in RFC 3339 or how long ago; left out, a day ago
    #[arg(long, value_name = "TIME|DURATION", requires = "kept", value_parser = crate::cli::events::moment)]
    pub(crate) since: Option<crate::cli::events::Moment>,
    /// With --kept: before when, likewise
    #[arg(long, value_name = "TIME|DURATION", requires = "kept", value_parser = crate::cli::events::moment)]
    pub(crate) until: Option<crate::cli::events::Moment>,
    /// With --kept: at most so many events
    #[arg(long, value_name = "COUNT", requires = "kept", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: Option<u32>,
    /// The policy as it would be; or a whole configuration
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyDiffArgs {
    /// The policy as it is; or a whole configuration, the number of a version, or a change by its id. With `--admin` the gateway compares: versions,
    /// policies, and `in_force`, with the lists that its networks have now
    pub(crate) before: PathBuf,
    /// The policy as it would be; or a whole configuration, the number of a version, or a change by its id
    pub(crate) after: PathBuf,
    /// Another reason for the same outcome counts as a change, too
    #[arg(long)]
    pub(crate) reasons: bool,
    /// Exit code 1 for any change, or only where some request gets further than before, or where it cannot be told: no new access
    #[arg(long, value_name = "WHAT", default_value = "any")]
    pub(crate) fail_on: DiffFailOn,
    /// The time from which examples are chosen, in RFC 3339; left out, now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
}

/// Which difference makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DiffFailOn {
    /// Any, and what could not be compared
    Any,
    /// One by which some request gets further than before, and what could not be compared
    Loosens,
    /// None; what could not be compared makes it 1 all the same
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyListArgs {
    /// At most so many versions
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) most: u64,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyShowArgs {
    /// The version's number, or a change by the first digits of its id (at least eight)
    #[arg(value_name = "N|CHANGE")]
    pub(crate) of: Named,
    /// Print this file of it alone, as it was
    #[arg(long, value_name = "NAME")]
    pub(crate) file: Option<String>,
}

/// A version, or a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// A version, by its number.
    Version(u64),
    /// A change, by the first digits of its id.
    Change(String),
}

impl Named {
    /// Digits are a version, and what has the form of the beginning of an id is a change. `None`: neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        /// As short as ids are shown, and longer than the number of any version.
        const SHORTEST: usize = 8;
        let text = text.to_ascii_lowercase();
        if text.len() < SHORTEST {
            let n = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
            return n.flatten().map(Self::Version);
        }
        text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(Self::Change(text))
    }
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
            .ok_or_else(|| "expected the number of a version, or at least eight digits of a change's id".to_owned())
    }
}

/// Who proposes, and why.
#[derive(Debug, Args)]
pub(crate) struct AuthorArgs {
    /// Why: it stands in the log and in what is signed
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Who proposes, besides the account that asks
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Option<String>,
    /// Where more is said of it
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyProposeArgs {
    /// A policy in place of the one that is live, or a whole configuration; left out, what is on the gateway's disk
    pub(crate) file: Option<PathBuf>,
    /// What this change was to change, for the version that is live now: it was overtaken by another one
    #[arg(long, value_name = "CHANGE", conflicts_with = "file")]
    pub(crate) again: Option<String>,
    #[command(flatten)]
    pub(crate) by: AuthorArgs,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("otherwise").args(["now", "unseen"]).multiple(true))]
pub(crate) struct PolicyActivateArgs {
    /// The change, or the first digits of its id
    pub(crate) change: String,
    /// Live for everybody at once, without the steps of `[governance]` that are left: where power is withdrawn in an emergency
    #[arg(long, requires = "reason")]
    pub(crate) now: bool,
    /// Live also where it cannot be tried once more on the requests that are kept, though it was signed by what that foresaw: where no gateway can run
    /// before it is live
    #[arg(long, requires = "reason")]
    pub(crate) unseen: bool,
    /// With --now or --unseen: why
    #[arg(long, value_name = "TEXT", requires = "otherwise")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyAbortArgs {
    /// Why: it stands in the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyRequestArgs {
    /// The change, or the first digits of its id
    pub(crate) change: String,
    /// Where the request goes; left out, to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicySignArgs {
    /// The request
    pub(crate) request: PathBuf,
    /// The private key; left out, the request is only shown
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Sign that it must not become live
    #[arg(long, requires = "key")]
    pub(crate) reject: bool,
    /// The first digits of the impact's hash (at least eight), where somebody would newly be denied or let in: that this is wanted
    #[arg(long, value_name = "IMPACT", requires = "key")]
    pub(crate) acknowledge: Option<String>,
    /// Where the approval goes; left out, to standard output
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyApproveArgs {
    /// The change, or the first digits of its id
    #[arg(required_unless_present = "approval")]
    pub(crate) change: Option<String>,
    /// The private key that signs it here
    #[arg(long, value_name = "FILE", required_unless_present = "approval", conflicts_with = "approval")]
    pub(crate) key: Option<PathBuf>,
    /// What `policy sign` wrote elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "change")]
    pub(crate) approval: Option<PathBuf>,
    /// The first digits of the impact's hash (at least eight), where somebody would newly be denied or let in: that this is wanted
    #[arg(long, value_name = "IMPACT", requires = "key")]
    pub(crate) acknowledge: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyRejectArgs {
    /// The changes, or the first digits of their ids
    #[arg(value_name = "CHANGE", required_unless_present = "all_of", conflicts_with = "all_of")]
    pub(crate) changes: Vec<String>,
    /// All that somebody has proposed, by any of their names, and that still waits
    #[arg(long, value_name = "PERSON")]
    pub(crate) all_of: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "not wanted")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyRollbackArgs {
    /// Which version; left out, the last one that was in force for everybody and answers otherwise than what is live, unless that took something back
    /// itself; the last one, which is live: its files are written on the disk again
    #[arg(value_name = "N")]
    pub(crate) n: Option<u64>,
    /// Only say what it would do, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) by: AuthorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyRevertArgs {
    /// Which version: what it changed is taken out of what is live
    #[arg(value_name = "N")]
    pub(crate) n: u64,
    /// Only say what it would do, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) by: AuthorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApproverArgs {
    #[command(subcommand)]
    pub(crate) command: ApproverCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApproverCommand {
    /// List who may approve, and with which keys
    List,
    /// Make a key, write its private half to a file, and print the public one
    Keygen {
        /// Where the private key goes, for its owner alone: a file that is not there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Encrypt it with a passphrase, which the terminal asks for twice, or which `--passphrase-file` has
        #[arg(long)]
        passphrase: bool,
    },
    /// Propose a key of a person, who may be new
    Add {
        #[command(flatten)]
        approver: ApproverKeyArgs,
        #[command(flatten)]
        by: AuthorArgs,
    },
    /// Propose that a person's keys count no more: for good
    Revoke {
        /// The person
        person: String,
        /// Only the key of this id
        #[arg(long, value_name = "ID")]
        key: Option<String>,
        #[command(flatten)]
        by: AuthorArgs,
    },
    /// Propose the keys that replace those of approvers who lose theirs, in place of those of now
    Recovery {
        /// Who holds it, and the file of the public key: `notary=notary.pub`; repeated. A holder of several keys counts once
        #[arg(long = "key", value_name = "HOLDER=FILE", required_unless_present = "none")]
        keys: Vec<String>,
        /// How many different holders have to sign, at least 2
        #[arg(long, value_name = "N", default_value_t = 2)]
        quorum: u8,
        /// How long any approver can say no once it has begun, from 1h to 30d
        #[arg(long, value_name = "DURATION", value_parser = crate::cli::span::parse, default_value = "24h")]
        delay: Duration,
        /// Nobody can any more
        #[arg(long, conflicts_with_all = ["keys", "quorum", "delay"])]
        none: bool,
        #[command(flatten)]
        by: AuthorArgs,
    },
    /// Propose other keys for approvers who have lost theirs: holders of recovery keys sign that
    Recover {
        /// An approver and the file of the other public key: `ana=ana-new.pub`; repeated. All keys of before are revoked
        #[arg(long = "key", value_name = "PERSON=FILE", required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        by: AuthorArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ApproverKeyArgs {
    /// The person
    pub(crate) person: String,
    /// The public key, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Another name under which the same person proposes, such as unix:alice; may be repeated
    #[arg(long = "alias", value_name = "NAME")]
    pub(crate) aliases: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GovernanceArgs {
    #[command(subcommand)]
    pub(crate) command: GovernanceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GovernanceCommand {
    /// Begin: name the first approvers. The configuration must say `[governance] required = true`
    Init {
        /// A person and the file of the public key, with further names: `alice=alice.pub` or `alice,unix:al=alice.pub`; repeated
        #[arg(long = "approver", value_name = "PERSON=FILE", required = true)]
        approvers: Vec<String>,
        #[command(flatten)]
        by: AuthorArgs,
    },
    /// Say what is live, which instance it is, and what is demanded: exit code 0 if approvals are, else 1
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    pub(crate) command: BackupCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Have the running gateway copy its store to one file, or copy it here where none answers
    Create {
        /// A file of this machine that is not there yet, in a folder that is; left out, one with the time in its name, in the folder of `[backup]`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// With --out: in the place of an earlier backup, and of nothing else
        #[arg(long, requires = "out")]
        force: bool,
        /// Encrypt it with this key; left out, as `[backup]` says
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// List the backups of the gateway, those of its schedule and those that were asked for
    List,
    /// Hold a backup to its manifest, and what is in it to its chain and signatures
    Verify(BackupFileArgs),
    /// Try all of a restoration, and change nothing
    Drill(BackupFileArgs),
    /// Write the configuration that a backup holds into a folder: for a machine that has none
    Files(BackupFilesArgs),
    /// Put a backup in the place of the store, while no gateway runs
    Restore(BackupRestoreArgs),
    /// Make a key that encrypts backups
    Keygen {
        /// Where it goes, for the gateway's user alone: a file that is not there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BackupFileArgs {
    /// The backup: a file of this machine, or what the running gateway calls one of its own
    pub(crate) file: PathBuf,
    /// The key that it is encrypted with; left out, as `[backup]` says
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// It is not encrypted, although `[backup]` names a key: whoever can write to its folder can have made it
    #[arg(long, conflicts_with = "key")]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupFilesArgs {
    #[command(flatten)]
    pub(crate) backup: BackupFileArgs,
    /// Where they go, each for its owner alone: a folder in which none of them is yet; it is made
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BackupRestoreArgs {
    #[command(flatten)]
    pub(crate) backup: BackupFileArgs,
    /// Try all of it in a folder that is removed again, and change nothing
    #[arg(long)]
    pub(crate) drill: bool,
    /// The backup is older than the store was: versions are lost. Where approvals are required, --approval says who wants that
    #[arg(long)]
    pub(crate) accept_rollback: bool,
    /// The last version that there was, as it was written down elsewhere (`governance status` shows it): a backup that ends with it is not older
    #[arg(long, value_name = "N:HASH")]
    pub(crate) head: Option<portcullis_governance::Anchor>,
    /// With --accept-rollback: write what has to be signed to this file, and put nothing in place; with --approval, what was written there
    #[arg(long, value_name = "FILE", requires = "accept_rollback")]
    pub(crate) request: Option<PathBuf>,
    /// With --request: what `policy sign` wrote; may be repeated
    #[arg(long = "approval", value_name = "FILE", requires = "request")]
    pub(crate) approvals: Vec<PathBuf>,
}
