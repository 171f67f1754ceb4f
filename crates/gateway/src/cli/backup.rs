//! `backup`: copies of the store.

mod asked;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_config::{ProcessEnvironment, backup_place, load, store_place};
use portcullis_governance::backup::{BackupError, BackupKey, Manifest};
use portcullis_governance::{GovernanceError, Request, parse_approval};
use serde_json::json;

use crate::answers::terminal::safe;
use crate::backing_up::{self, BackingUpError, Restored, Restoring};
use crate::cli::args::{BackupArgs, BackupCommand, BackupFileArgs, BackupFilesArgs, BackupRestoreArgs, Format, Global};
use crate::cli::files::open as opened;
use crate::cli::governing::{read, write};
use crate::cli::live::fail;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;
use crate::governing::Who;

pub(crate) fn run(global: &Global, args: &BackupArgs) -> Exit {
    let done = match &args.command {
        BackupCommand::Create { out: None, key: None, .. } => asked::create(global),
        BackupCommand::Create { out, force, key } => create(global, (out.as_deref(), *force), key.as_deref()),
        BackupCommand::List => asked::list(global),
        BackupCommand::Verify(args) if asked::is_meant(global, args) => asked::verify(global, args),
        BackupCommand::Drill(args) if asked::is_meant(global, args) => asked::drill(global, args),
        BackupCommand::Verify(args) => verify(global, args),
        BackupCommand::Drill(args) => restore(global, &drill(args)),
        BackupCommand::Files(args) => files(global, args),
        BackupCommand::Restore(args) => restore(global, args),
        BackupCommand::Keygen { out } => keygen(global, out),
    };
    done.unwrap_or_else(|exit| exit)
}

/// A restoration that is only tried.
fn drill(args: &BackupFileArgs) -> BackupRestoreArgs {
    BackupRestoreArgs {
        backup: args.clone(),
        drill: true,
        accept_rollback: false,
        head: None,
        request: None,
        approvals: Vec::new(),
    }
}

/// What the configuration says, as far as it can be read: a backup is restored when not everything is well.
struct Places {
    store: PathBuf,
    feeds: Option<PathBuf>,
    folder: PathBuf,
    /// An error in the file: nobody can say whether it names one.
    key: Result<Option<PathBuf>, String>,
    /// The file demands approvals.
    demanded: bool,
}

fn places(global: &Global) -> Result<Places, String> {
    let loaded = load(&global.config, &ProcessEnvironment).ok();
    let store = loaded.as_ref().and_then(|loaded| loaded.store.clone());
    let store = store.or_else(|| store_place(&global.config, &ProcessEnvironment));
    let Some(store) = store.map(|store| store.path) else {
        let config = global.config.display();
        return Err(match global.config.try_exists() {
            Ok(false) => format!(
                "{config}: there is no such file: nothing says where the store is. `portcullis backup files BACKUP --out FOLDER` writes the configuration that a backup holds"
            ),
            Ok(true) => format!("{config}: the configuration has no `[store]`, so there is nothing to copy"),
            Err(error) => format!("{config}: {error}"),
        });
    };
    // A policy with errors, say, keeps nothing from being encrypted, or from having been.
    let backup = match &loaded {
        Some(loaded) => Ok(loaded.backup.clone()),
        None => backup_place(&global.config, &ProcessEnvironment).map_err(|report| report.summary_line()),
    };
    let folder = backup.as_ref().ok().and_then(Option::as_ref).map(|backup| backup.path.clone());
    Ok(Places {
        folder: folder.unwrap_or_else(|| store.with_file_name("backups")),
        key: backup.map(|backup| backup.and_then(|backup| backup.key)),
        demanded: loaded.as_ref().is_some_and(|loaded| loaded.governance.required),
        feeds: loaded.map(|loaded| loaded.feeds.0.folder),
        store,
    })
}

/// The same, for what cannot go on without.
fn needed(global: &Global) -> Result<Places, Exit> {
    places(global).map_err(|why| {
        fail(global, &why);
        Exit::Configuration
    })
}

fn failed(global: &Global, error: &BackingUpError) -> Exit {
    fail(global, &error.to_string());
    match error {
        BackingUpError::Backup(BackupError::Io { .. })
        | BackingUpError::Io { .. }
        | BackingUpError::Lock(_)
        | BackingUpError::Laying(_)
        | BackingUpError::InUse(_)
        | BackingUpError::There(_) => Exit::Unreachable,
        BackingUpError::Governance(GovernanceError::Shortfall(_)) | BackingUpError::Refused(_) => Exit::NotPermitted,
        BackingUpError::Backup(_)
        | BackingUpError::Store(_)
        | BackingUpError::Copy { .. }
        | BackingUpError::NotBelieved { .. }
        | BackingUpError::Governance(_) => Exit::Negative,
    }
}

fn key(global: &Global, named: Option<&Path>, places: Option<&Places>) -> Result<Option<BackupKey>, Exit> {
    let file = match (named, places.map(|places| &places.key)) {
        (Some(named), _) => Some(named),
        (None, Some(Ok(key))) => key.as_deref(),
        (None, Some(Err(why))) => return Err(not_known(global, why)),
        (None, None) if global.config.exists() => return Err(not_known(global, "it says nothing of a store")),
        // A backup that is looked at elsewhere.
        (None, None) => None,
    };
    file.map(backing_up::read_key).transpose().map_err(|error| failed(global, &error))
}

/// Whether backups are encrypted: one that is not would be made, or believed, where they are to be.
fn not_known(global: &Global, why: &str) -> Exit {
    let config = global.config.display();
    let message = format!(
        "{config}: nobody can say whether backups are encrypted ({why}): name the key with --key, or, where one is read that is not encrypted, --plain"
    );
    fail(global, &message);
    Exit::Configuration
}

fn create(global: &Global, (out, force): (Option<&Path>, bool), named: Option<&Path>) -> Result<Exit, Exit> {
    let places = needed(global)?;
    let key = key(global, named, Some(&places))?;
    if !places.store.exists() {
        fail(global, &format!("there is no store {}", places.store.display()));
        return Err(Exit::Unreachable);
    }
    // The folder of `[backup]` is made, and no other: a name is mistyped sooner than one is wanted.
    if let Some(folder) = out.map(backing_up::folder_of).filter(|folder| !folder.is_dir()) {
        fail(global, &format!("there is no folder {}", folder.display()));
        return Err(Exit::Unreachable);
    }
    let out = out.map_or_else(|| backing_up::place(&places.folder, Timestamp::now()), Path::to_owned);
    let store = portcullis_store::Settings { path: places.store };
    let make = if force { backing_up::make_again } else { backing_up::make };
    let made = make(&global.config, &store, places.feeds.as_deref(), &out, key.as_ref());
    let manifest = made.map_err(|error| failed(global, &error))?;
    told(global, &out, &manifest, "made");
    Ok(Exit::Success)
}

fn verify(global: &Global, args: &BackupFileArgs) -> Result<Exit, Exit> {
    let key = key_of(global, args, places(global).ok().as_ref())?;
    let manifest =
        backing_up::verify(&global.config, &args.file, key.as_ref()).map_err(|error| failed(global, &error))?;
    told(global, &args.file, &manifest, "is as it was made");
    Ok(Exit::Success)
}

fn files(global: &Global, args: &BackupFilesArgs) -> Result<Exit, Exit> {
    let key = key_of(global, &args.backup, places(global).ok().as_ref())?;
    let laid = backing_up::lay_files(&global.config, &args.backup.file, key.as_ref(), &args.out);
    let (manifest, laid) = laid.map_err(|error| failed(global, &error))?;
    let files: Vec<String> = laid.files.iter().map(|file| file.display().to_string()).collect();
    match global.output {
        Format::Human => files.iter().for_each(|file| answer(&safe(file))),
        Format::Json | Format::Jsonl => answer(
            &json!({ "version": manifest.n, "created": manifest.created().to_string(), "files": files, "outside": laid.outside })
                .to_string(),
        ),
    }
    if !global.quiet {
        remark(&format!(
            "the files of version {}, from a backup of {:.0}; secrets, private keys, certificates of listeners and the key of backups are in none: bring them",
            manifest.n,
            manifest.created()
        ));
    }
    for name in &laid.outside {
        fail(global, &format!("`{name}` is outside of the gateway's folder, and is not written: bring it by hand"));
    }
    Ok(if laid.outside.is_empty() { Exit::Success } else { Exit::Negative })
}

/// The key of a backup that is read; none for one that is said to be plain.
fn key_of(global: &Global, args: &BackupFileArgs, places: Option<&Places>) -> Result<Option<BackupKey>, Exit> {
    // What is no file would be waited for, and so would a key.
    let named = [Some(args.file.as_path()), args.key.as_deref()].into_iter().flatten();
    for file in named {
        opened(file).map_err(|error| failed(global, &BackingUpError::Io { path: file.to_owned(), source: error }))?;
    }
    if args.plain { Ok(None) } else { key(global, args.key.as_deref(), places) }
}

fn told(global: &Global, file: &Path, manifest: &Manifest, what: &str) {
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&format!(
            "{}: {what}: version {}, {} files, of {:.0}",
            safe(&file.display().to_string()),
            manifest.n,
            manifest.files.len(),
            manifest.created()
        )),
        Format::Json | Format::Jsonl => {
            let value = json!({
                "file": file.display().to_string(), "version": manifest.n, "head": manifest.head.to_string(),
                "created": manifest.created().to_string(), "files": manifest.files.len(),
            });
            answer(&value.to_string());
        }
    }
}

fn restore(global: &Global, args: &BackupRestoreArgs) -> Result<Exit, Exit> {
    let places = needed(global)?;
    let key = key_of(global, &args.backup, Some(&places))?;
    let signed = match (&args.request, args.approvals.as_slice()) {
        (Some(request), [_, ..]) => Some(signed(global, request, &args.approvals)?),
        _ => None,
    };
    // Whoever wants to know what has to be signed wants nothing else yet.
    let asks = args.request.is_some() && args.approvals.is_empty();
    let restoring = Restoring {
        config: &global.config,
        store: &places.store,
        feeds: places.feeds.as_deref(),
        drill: args.drill || asks,
        accept_rollback: args.accept_rollback,
        written_down: args.head,
        demanded: places.demanded,
        signed,
        who: Who::of_this_process().names,
    };
    let done = backing_up::restore(&args.backup.file, key.as_ref(), &restoring);
    match done.map_err(|error| failed(global, &error))? {
        Restored::Done(_) if asks && !args.drill => {
            fail(
                global,
                "nothing has to be approved, so that there is nothing to sign, and nothing was put in place: restore it without --request",
            );
            Err(Exit::Negative)
        }
        Restored::Done(message) => {
            match global.output {
                Format::Human => answer(&safe(&message)),
                Format::Json | Format::Jsonl => answer(&json!({ "message": message }).to_string()),
            }
            Ok(Exit::Success)
        }
        Restored::ToSign(request) => {
            let Some(out) = &args.request else {
                fail(global, "approvals are required: name a file for the request with --request, and have it signed");
                return Err(Exit::NotPermitted);
            };
            // What is in it is what the files of the gateway hold, hashes of keys and passwords among it.
            write(global, out, request.armored().as_bytes(), 0o600)?;
            remark(&format!(
                "approvals are required: have {0} signed with `portcullis policy sign`, and restore again with --accept-rollback --request {0} and --approval for each",
                out.display()
            ));
            Err(Exit::NotPermitted)
        }
    }
}

fn signed(
    global: &Global,
    request: &Path,
    approvals: &[PathBuf],
) -> Result<(Request, Vec<portcullis_governance::Approval>), Exit> {
    let wrong = |file: &Path, error: &dyn std::fmt::Display| {
        fail(global, &format!("{}: {error}", file.display()));
        Exit::Negative
    };
    let parsed = Request::from_armored(&read(global, request)?).map_err(|error| wrong(request, &error))?;
    let approvals = approvals.iter().map(|file| {
        let (_, approval) = parse_approval(&read(global, file)?).map_err(|error| wrong(file, &error))?;
        Ok(approval)
    });
    Ok((parsed, approvals.collect::<Result<_, Exit>>()?))
}

fn keygen(global: &Global, out: &Path) -> Result<Exit, Exit> {
    let (_, text) = BackupKey::generate().map_err(|error| {
        fail(global, &error.to_string());
        Exit::Internal
    })?;
    write(global, out, text.as_bytes(), 0o600)?;
    remark(&format!("{} encrypts backups, and nothing reads them without it: keep a copy elsewhere", out.display()));
    Ok(Exit::Success)
}
